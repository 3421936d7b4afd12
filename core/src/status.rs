//! What a node looks like from outside at one moment, and the trace of how it got there.

use core::fmt;

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
