//! What a node looks like from outside at one moment, and the trace of how it got there.

use core::fmt;
use core::time::Duration;

use crate::message::VoteRefusal;
use crate::types::{Index, LogPosition, NodeId, Term, Time};

/// A node's role (Figure 4), as shown to people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoleName {
    /// Has no vote: it was never part of a cluster, or receives the log without counting.
    NonVoter,
    /// Follows a leader, or waits for one.
    Follower,
    /// Asks whether it could win an election (diss. §9.6).
    PreCandidate,
    /// Asks for votes.
    Candidate,
    /// Leads.
    Leader,
}

/// A node at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// The node.
    pub id: NodeId,
    /// Its role.
    pub role: RoleName,
    /// The leader of the current term, if this node knows it.
    pub leader: Option<NodeId>,
    /// The latest term it has seen.
    pub current_term: Term,
    /// Its vote in that term.
    pub voted_for: Option<NodeId>,
    /// The highest entry it knows to be committed.
    pub commit_index: Index,
    /// The highest entry its state machine has applied.
    pub last_applied: Index,
    /// The last entry of its log.
    pub last_log: LogPosition,
    /// The last entry of its log that is on its own disk, with all before it.
    pub last_durable: Index,
    /// The last position that is not in its log any more, since a snapshot includes it.
    pub purged: LogPosition,
    /// The last position that its latest snapshot includes; zero if it has none.
    pub snapshot: LogPosition,
    /// Whether it may vote: not before it has caught up, if its disk is new.
    pub trusted: bool,
    /// To whom it is handing leadership over.
    pub transferring_to: Option<NodeId>,
    /// Whether its disk is short of room.
    pub disk_is_full: bool,
}

/// One peer in a leader's eyes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    /// The peer.
    pub id: NodeId,
    /// The last entry known to be on its disk.
    pub match_index: Index,
    /// The next entry to send to it.
    pub next_index: Index,
    /// How many bytes of entries are on their way to it, unanswered.
    pub in_flight_bytes: usize,
    /// How entries go to it.
    pub pace: PaceName,
    /// When it was heard last; the begin of the leader's term, if never in it.
    pub last_contact: Time,
    /// Whether its answers count: not so while its disk is new and it has not caught up.
    pub counts: bool,
    /// Whether its disk is short of room.
    pub disk_is_full: bool,
}

/// How entries go to a peer, as shown to people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PaceName {
    /// The leader seeks the place where the logs agree.
    Probe,
    /// Entries stream.
    Replicate,
    /// A snapshot is on its way.
    Snapshot {
        /// How many of its bytes the peer holds.
        received: u64,
        /// How many there are.
        size: u64,
    },
}

/// Why there is no leader, or why a write waits: what a server knows of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Explanation {
    /// If it hears no leader: what each other voter answered when it stood for election last, in a
    /// ballot or before one. `None`: nothing. Empty, if it did not stand.
    pub votes: Vec<(NodeId, Option<Result<(), VoteRefusal>>)>,
    /// If it does not stand for election, and hears no leader: why.
    pub not_standing: Option<NotStanding>,
    /// If it leads: the other voters that have not stored its last entry, or don't count. A write
    /// waits for as many of them as a majority lacks.
    pub lagging: Vec<PeerStatus>,
    /// How long its own disk has been busy with the oldest save.
    pub disk_busy_for: Duration,
}

/// Why a server does not stand for election.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NotStanding {
    /// It was never told of a cluster.
    NoCluster,
    /// It has no vote.
    NonVoter,
    /// Its configuration forbids it: elections are off, or its priority is 0.
    Disabled,
    /// Its disk is new, and it waits for a leader.
    Untrusted,
    /// It installs a snapshot.
    InstallingSnapshot,
    /// Its disk does not answer.
    DiskBusy,
    /// It waits until its election timeout passes.
    Waiting,
}

/// One event and what the node was after it.
#[derive(Clone, Debug)]
pub struct TraceLine {
    /// When the event was handled.
    pub time: Time,
    /// The event in a few words.
    pub event: String,
    /// The node after it.
    pub status: Status,
}

/// Receives a line for each event that a node handles.
pub type TraceHook = Box<dyn FnMut(TraceLine) + Send>;

impl fmt::Display for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RoleName::NonVoter => "non-voter",
            RoleName::Follower => "follower",
            RoleName::PreCandidate => "pre-candidate",
            RoleName::Candidate => "candidate",
            RoleName::Leader => "leader",
        })
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id_or_dash = |id: Option<NodeId>| id.map_or("-".to_string(), |id| id.to_string());
        write!(
            f,
            "id={} role={} term={} vote={} leader={} commit={} applied={} last={}",
            self.id,
            self.role,
            self.current_term,
            id_or_dash(self.voted_for),
            id_or_dash(self.leader),
            self.commit_index,
            self.last_applied,
            self.last_log,
        )
    }
}

impl fmt::Display for TraceLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} <- {}", self.time, self.status, self.event)
    }
}
