//! The server: one door for events, and every change of role (Figure 4).
//!
//! ```text
//!             times out               would win                majority of votes
//!  Follower -----------> PreCandidate ---------> Candidate ----------------------> Leader
//!     ^                      |    ^                  |                                |
//!     |      outvoted,       |    |    times out     | outvoted, hears a leader or    |
//!     +----------------------+    +------------------+ a later term                   |
//!     +----------------------------------------------+                                |
//!     +---------------- hears a later term, or no majority any more ------------------+
//! ```

mod configure;
mod disk;
mod explain;
mod handover;
mod installing;
mod members;
mod reading;
mod receive;
mod snapshots;

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::candidate::{Candidate, Tally, Vote};
use crate::config::Config;
use crate::effect::{Effect, InitializeError, ProposeError};
use crate::event::{Event, LogReader};
use crate::follower::Follower;
use crate::leader::{Leader, Transfer};
use crate::membership::Membership;
use crate::message::VoteKind;
use crate::mutants::{Mutant, is_planted};
use crate::node::Node;
use crate::questions::Questions;
use crate::random::Random;
use crate::status::{RoleName, Status, TraceHook, TraceLine};
use crate::stored::StoredState;
use crate::types::{GroupId, Index, LogPosition, NodeId, Time};

/// One server of one group.
pub struct Raft {
    node: Node,
    role: Role,
    /// The reads of this server while it does not lead.
    questions: Questions,
    /// A transfer of leadership from this server, until it hears who leads now.
    handed_over: Option<Transfer>,
    /// What others answered when this server stood last. Nothing is decided by it.
    last_ballot: Option<BTreeMap<NodeId, Vote>>,
    trace: Option<TraceHook>,
}

#[derive(Clone, Hash)]
enum Role {
    Follower(Follower),
    PreCandidate(Candidate),
    Candidate(Candidate),
    Leader(Box<Leader>),
}

/// A twin that will do the same from here on; the trace hook stays with the original.
impl Clone for Raft {
    fn clone(&self) -> Raft {
        let Raft { node, role, questions, handed_over, last_ballot, trace: _ } = self;
        let (node, role, questions) = (node.clone(), role.clone(), questions.clone());
        let (handed_over, last_ballot) = (handed_over.clone(), last_ballot.clone());
        Raft { node, role, questions, handed_over, last_ballot, trace: None }
    }
}

/// All that decides what the server does next: two that hash alike behave alike.
impl Hash for Raft {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.node.hash(state);
        self.role.hash(state);
        self.questions.hash(state);
        self.handed_over.hash(state);
    }
}

impl Raft {
    /// A server as it starts or restarts, with what its storage holds: always a follower (§5.2).
    #[must_use]
    pub fn new(
        id: NodeId,
        group: GroupId,
        config: Config,
        stored: &StoredState,
        now: Time,
    ) -> Raft {
        let mut node = Node::new(id, group, config, stored, now);
        let deadline = node.patience();
        let (role, questions) =
            (Role::Follower(Follower::new(None, deadline)), Questions::default());
        Raft { node, role, questions, handed_over: None, last_ballot: None, trace: None }
    }

    /// Calls `hook` with one line after each event.
    pub fn set_trace(&mut self, hook: TraceHook) {
        self.trace = Some(hook);
    }

    /// Draws election timeouts and ballot numbers from this seed from now on, which is not mixed
    /// with the node's id. A search over all runs brings servers together by it that differ only
    /// in how many numbers they drew.
    pub fn reseed(&mut self, seed: u64) {
        self.node.random = Random::new(seed);
    }

    /// Handles what happened up to `now`, in order, and says what is to be done about all of it.
    /// Events that happened together are best brought together: their entries, messages and
    /// acknowledgements are then joined. `now` is read after the last of them happened: a lease
    /// read relies on it.
    #[must_use]
    pub fn step(&mut self, now: Time, events: impl IntoIterator<Item = Event>) -> Vec<Effect> {
        self.node.now = self.node.now.max(now);
        for event in events {
            let summary = self.trace.is_some().then(|| event.summary());
            self.on_event(event);
            if let Some(event) = summary {
                let line = TraceLine { time: self.node.now, event, status: self.status() };
                self.trace.as_mut().into_iter().for_each(|hook| hook(line.clone()));
            }
        }
        assert!(
            matches!(self.role, Role::Follower(_)) || !self.node.receiving.is_installing(),
            "only followers install snapshots"
        );
        match &mut self.role {
            Role::Follower(follower) => follower.acknowledge(&mut self.node),
            Role::PreCandidate(_) | Role::Candidate(_) => {}
            Role::Leader(leader) => {
                if !leader.finish_step(&mut self.node) {
                    self.become_follower(None);
                }
            }
        }
        self.ask_leader();
        self.settle_handover();
        self.node.finish_step()
    }

    /// When to bring [`Event::Timeout`] if nothing else happens; `None` if there is nothing to wait
    /// for. It may move after every step.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        let reads = self.questions.deadline(&self.node, self.leader());
        let handover = self.handed_over.as_ref().map(|transfer| transfer.deadline);
        let snapshot = self.node.snapshot_deadline();
        [self.role_deadline(), reads, handover, snapshot].into_iter().flatten().min()
    }

    fn role_deadline(&self) -> Option<Time> {
        match &self.role {
            Role::Follower(follower) => follower.deadline,
            Role::PreCandidate(candidate) | Role::Candidate(candidate) => Some(candidate.deadline),
            Role::Leader(leader) => Some(leader.deadline(&self.node)),
        }
    }

    /// What this server looks like now.
    #[must_use]
    pub fn status(&self) -> Status {
        Status {
            id: self.node.id,
            role: match &self.role {
                Role::Follower(_) if !self.node.is_voter() => RoleName::NonVoter,
                Role::Follower(_) => RoleName::Follower,
                Role::PreCandidate(_) => RoleName::PreCandidate,
                Role::Candidate(_) => RoleName::Candidate,
                Role::Leader(_) => RoleName::Leader,
            },
            leader: self.leader(),
            current_term: self.node.current_term(),
            voted_for: self.node.voted_for(),
            commit_index: self.node.commit_index,
            last_applied: self.node.last_applied,
            last_log: self.node.log.last(),
            last_durable: self.node.log.durable(),
            purged: self.node.log.base(),
            snapshot: self.node.snapshot_position(),
            trusted: self.node.is_trusted(),
            transferring_to: match &self.role {
                Role::Leader(leader) => leader.transferring_to(),
                Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) => None,
            },
            disk_is_full: self.node.disk_is_full,
        }
    }

    /// The configuration in force here, and the index of the entry that brought it (0 for a first
    /// configuration given by [`Event::Initialize`]); `None` on a server that was never told of a
    /// cluster.
    #[must_use]
    pub fn membership(&self) -> Option<&(Index, Arc<Membership>)> {
        self.node.membership()
    }

    fn leader(&self) -> Option<NodeId> {
        match &self.role {
            Role::Follower(follower) => follower.leader,
            Role::PreCandidate(_) | Role::Candidate(_) => None,
            Role::Leader(_) => Some(self.node.id),
        }
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Initialize { membership } => self.on_initialize(membership),
            Event::Receive(message) => self.on_message(message),
            Event::Propose { id, commands } => {
                let result = match &mut self.role {
                    Role::Leader(leader) => leader.propose(&mut self.node, commands),
                    _ => Err(ProposeError::NotLeader { leader: self.leader() }),
                };
                self.node.effect(Effect::Proposed { id, result });
            }
            Event::Read { id, consistency } => self.on_read(id, consistency),
            Event::ChangeMembers { id, changes, expected, answer } => {
                self.on_change_members(id, changes, expected, answer);
            }
            Event::TransferLeadership { id, to } => self.on_transfer_leadership(id, to),
            Event::TriggerElection { id } => self.on_trigger_election(id),
            Event::TriggerSnapshot { id } => self.on_trigger_snapshot(id),
            Event::PurgeLog { id, until } => self.on_purge_log(id, until),
            Event::Configure(config) => self.on_configure(config),
            Event::SnapshotBuilt { snapshot } => self.on_snapshot_built(snapshot),
            Event::SnapshotRead { to, last_included, chunk } => {
                self.on_snapshot_read(to, last_included, chunk);
            }
            Event::SnapshotChunkStored { last_included, received } => {
                self.on_snapshot_chunk_stored(last_included, received);
            }
            Event::SnapshotInstalled { last_included, installed } => {
                self.on_snapshot_installed(last_included, installed);
            }
            Event::DiskSpace { low } => self.node.disk_is_full = low,
            Event::Saved { id } => {
                self.node.on_saved(id);
                // The own vote counts from now on.
                self.count_votes();
            }
            Event::LogRead { reader, entries } => match (reader, &mut self.role) {
                (LogReader::StateMachine, _) => self.node.on_read_to_apply(entries),
                (LogReader::Follower(id), Role::Leader(leader)) => {
                    leader.on_read(&mut self.node, id, &entries);
                }
                (LogReader::Follower(_), _) => {}
            },
            Event::Applied { index } => self.node.on_applied(index),
            Event::Unreachable { peer } => {
                if let Role::Leader(leader) = &mut self.role {
                    leader.on_unreachable(peer);
                }
            }
            Event::Timeout => self.on_timeout(),
        }
    }

    fn on_initialize(&mut self, membership: Membership) {
        let pristine =
            self.node.membership().is_none() && self.node.log.last() == LogPosition::ZERO;
        let result = if !pristine {
            Err(InitializeError::AlreadyInitialized)
        } else if !membership.is_voter(self.node.id) {
            Err(InitializeError::NotAVoter)
        } else {
            let alone = membership.members().len() == 1;
            self.node.initialize(membership);
            if let Role::Follower(follower) = &mut self.role {
                let wait = self.node.patience();
                // Nobody else could be the leader.
                follower.deadline = wait.map(|wait| if alone { self.node.now } else { wait });
            }
            Ok(())
        };
        self.node.promise_effect(Effect::Initialized(result));
    }

    fn on_timeout(&mut self) {
        if self.role_deadline().is_none_or(|deadline| self.node.now < deadline) {
            return;
        }
        if matches!(self.role, Role::Leader(_)) && self.gives_its_disk_up() {
            return self.give_way();
        }
        match &mut self.role {
            // "If election timeout elapses without receiving AppendEntries RPC from current leader
            // or granting vote to candidate: convert to candidate" (Figure 2).
            Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) => {
                match self.node.stands_by_itself() {
                    true => self.campaign(),
                    // It was asked to stand, and was not elected.
                    false => self.become_follower(None),
                }
            }
            Role::Leader(leader) => {
                if !leader.on_timeout(&mut self.node) {
                    self.become_follower(None);
                }
            }
        }
    }

    fn campaign(&mut self) {
        if let Some(obstacle) = self.obstacle() {
            return self.wait_again(obstacle);
        }
        if self.node.config.pre_vote {
            self.become_pre_candidate();
        } else {
            self.become_candidate(VoteKind::Vote);
        }
    }

    fn count_votes(&mut self) {
        let tally = match &mut self.role {
            Role::PreCandidate(candidate) | Role::Candidate(candidate) => {
                candidate.tally(&self.node)
            }
            Role::Follower(_) | Role::Leader(_) => return,
        };
        match (tally, &self.role) {
            (Tally::Open, _) => {}
            (Tally::Won, Role::PreCandidate(_)) => self.become_candidate(VoteKind::Vote),
            (Tally::Won, _) => self.become_leader(),
            (Tally::Outvoted, _) => self.become_follower(None),
        }
    }

    fn become_follower(&mut self, leader: Option<NodeId>) {
        if let Role::Leader(old) = &mut self.role {
            let transfer = old.step_down(&mut self.node, leader);
            self.await_successor(transfer);
        }
        if let Role::PreCandidate(candidate) | Role::Candidate(candidate) = &self.role {
            self.last_ballot = Some(candidate.answers());
        }
        let deadline = match &self.role {
            // Another's candidacy is no reason to wait longer for a leader.
            Role::Follower(follower) => follower.deadline.filter(|_| self.node.may_stand()),
            _ => self.node.patience(),
        };
        let mut follower = Follower::new(leader, deadline);
        if is_planted(Mutant::AckOutlivesTerm)
            && let Role::Follower(old) = &self.role
        {
            follower.keep_verified(old);
        }
        if is_planted(Mutant::VoteForgottenOnStepDown) {
            self.node.forget_vote();
        }
        self.role = Role::Follower(follower);
    }

    fn become_pre_candidate(&mut self) {
        if is_planted(Mutant::VoteForgottenByPreCandidate) {
            self.node.forget_vote();
        }
        let candidate = Candidate::ask(&mut self.node, VoteKind::PreVote);
        self.role = Role::PreCandidate(candidate);
        // A single voter needs nobody's answer.
        self.count_votes();
    }

    /// "On conversion to candidate, start election: increment currentTerm, vote for self, reset
    /// election timer, send RequestVote RPCs to all other servers" (Figure 2).
    fn become_candidate(&mut self, kind: VoteKind) {
        self.node.enter_term(self.node.current_term().next());
        self.node.vote_for(self.node.id);
        let candidate = Candidate::ask(&mut self.node, kind);
        self.role = Role::Candidate(candidate);
    }

    fn become_leader(&mut self) {
        assert_eq!(self.node.voted_for(), Some(self.node.id), "a leader voted for itself (§5.2)");
        let founders = match &self.role {
            Role::Candidate(candidate) => candidate.disks_of_electors(),
            Role::Follower(_) | Role::PreCandidate(_) | Role::Leader(_) => BTreeMap::new(),
        };
        self.node.become_trusted(self.node.id);
        self.node.receiving.forget();
        let leader = Leader::new(&mut self.node, founders);
        self.role = Role::Leader(Box::new(leader));
        self.serve_own_questions();
    }
}
