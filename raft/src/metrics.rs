//! What a node shows of itself.

use std::sync::Arc;
use std::time::Duration;

use actix::Message;
use actix::dev::MessageResponse;
pub use actix_raft_core::status::{PaceName, RoleName};

use crate::messages::{Index, LogPosition, MembershipConfig, NodeId, Term};

/// A node at one moment. Sent to the recipient given to
/// [`Raft::start`](crate::raft::Raft::start) whenever the state, term, leader or membership has
/// changed, and at [`metrics_rate`](crate::config::ConfigBuilder::metrics_rate) if anything else has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RaftMetrics {
    /// The node.
    pub id: NodeId,
    /// Whether it runs, and in which role.
    pub state: RaftState,
    /// The latest term it has seen.
    pub current_term: Term,
    /// Its vote in that term.
    pub voted_for: Option<NodeId>,
    /// The leader of that term, if it knows it.
    pub leader: Option<NodeId>,
    /// The highest entry it knows to be committed.
    pub commit_index: Index,
    /// The highest entry its state machine has applied.
    pub last_applied: Index,
    /// The last entry of its log.
    pub last_log_index: Index,
    /// The last entry of its log that is on its own disk, with all before it.
    pub last_durable_index: Index,
    /// The configuration in force; `None` if it was never told of a cluster.
    pub membership: Option<Arc<MembershipConfig>>,
    /// The index of the entry that brought the configuration; 0 for the one given by
    /// [`InitWithConfig`](crate::admin::InitWithConfig).
    pub membership_index: Index,
    /// The last position that its latest snapshot includes; zero if it has none.
    pub snapshot: LogPosition,
    /// The last position that is not in its log any more, since a snapshot includes it.
    pub purged: LogPosition,
    /// Whether it may vote: on a new disk not before it has caught up, since it may have promised
    /// something on an earlier one.
    pub trusted: bool,
    /// To whom it is handing leadership over.
    pub transferring_to: Option<NodeId>,
    /// Whether its disk is nearly full.
    pub disk_is_full: bool,
    /// The other members, if it leads.
    pub peers: Vec<PeerMetrics>,
}

/// A member in its leader's eyes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerMetrics {
    /// The member.
    pub id: NodeId,
    /// The last entry that is known to be on its disk.
    pub match_index: Index,
    /// The next entry to send to it.
    pub next_index: Index,
    /// How many entries of the leader's log are not known to be on its disk.
    pub lag: u64,
    /// How many bytes of entries are on their way to it, unanswered.
    pub in_flight_bytes: usize,
    /// How entries go to it; if as a snapshot, how far that is.
    pub pace: PaceName,
    /// How long ago it was heard last, or the leader's term began.
    pub since_contact: Duration,
    /// Whether its answers count: not so while its disk is new and it has not caught up.
    pub counts: bool,
    /// Whether its disk is nearly full.
    pub disk_is_full: bool,
}

/// Whether a node runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RaftState {
    /// It runs in this role.
    Running(RoleName),
    /// It was stopped, or its storage failed.
    Stopped {
        /// Why.
        reason: Arc<str>,
    },
}

impl RaftMetrics {
    /// Whether the node leads.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.state == RaftState::Running(RoleName::Leader)
    }

    /// The last metrics of a node that stops.
    pub(crate) fn stopped(self, reason: &Arc<str>) -> RaftMetrics {
        let state = RaftState::Stopped { reason: Arc::clone(reason) };
        RaftMetrics { state, leader: None, transferring_to: None, peers: Vec::new(), ..self }
    }

    /// Whether these differ in what an application must learn at once, not only in how far the
    /// log has come.
    pub(crate) fn has_news(&self, before: &RaftMetrics) -> bool {
        let view = |m: &RaftMetrics| {
            (m.state.clone(), m.current_term, m.leader, m.membership_index, m.membership.is_some())
        };
        view(self) != view(before)
    }

    /// Whether these are the same but for the passing of time.
    pub(crate) fn is_like(&self, before: &RaftMetrics) -> bool {
        let timeless = |metrics: &RaftMetrics| {
            let mut metrics = metrics.clone();
            metrics.peers.iter_mut().for_each(|peer| peer.since_contact = Duration::ZERO);
            metrics
        };
        timeless(self) == timeless(before)
    }
}

impl Message for RaftMetrics {
    type Result = ();
}

impl<A, M> MessageResponse<A, M> for RaftMetrics
where
    A: actix::Actor,
    M: Message<Result = RaftMetrics>,
{
    fn handle(self, _: &mut A::Context, tx: Option<actix::dev::OneshotSender<RaftMetrics>>) {
        if let Some(tx) = tx {
            // The asker may have gone.
            let _ = tx.send(self);
        }
    }
}
