//! What a node shows of itself.

use std::sync::Arc;

use actix::Message;
use actix::dev::MessageResponse;
pub use actix_raft_core::status::RoleName;

use crate::messages::{Index, MembershipConfig, NodeId, Term};

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

    /// Whether these differ in what an application must learn at once, not only in how far the
    /// log has come.
    pub(crate) fn has_news(&self, before: &RaftMetrics) -> bool {
        let view = |m: &RaftMetrics| {
            (m.state.clone(), m.current_term, m.leader, m.membership_index, m.membership.is_some())
        };
        view(self) != view(before)
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
