//! What must hold after every step, whatever happened: Figure 3's properties, and the promises that
//! servers make to each other, to their disks and to their clients.
//!
//! The laws look at a cluster from above: at all disks at once, at every message as it leaves, at
//! every commit ever announced. They know the paper, and nothing of how a core decides.
//!
//! | file | laws of |
//! | --- | --- |
//! | here | terms, votes, the order in which all are checked |
//! | `laws/quorums.rs` | what a majority is |
//! | `laws/roles.rs` | who leads |
//! | `laws/members.rs` | changes of the members |
//! | `laws/requests.rs` | what operators are answered |
//! | `laws/logs.rs` | what is stored |
//! | `laws/answers.rs` | what clients and those who form a cluster are told at once |
//! | `laws/ballots.rs` | standing for election |
//! | `laws/conflicts.rs` | finding where two logs agree |
//! | `laws/commits.rs` | commits, applied entries |
//! | `laws/reads.rs` | reads |
//! | `laws/disks.rs` | servers that lose their disks |
//! | `laws/snapshots.rs` | snapshots, and logs that are purged |
//! | `laws/sent.rs` | messages that leave |
//! | `laws/heard.rs` | a single event and what it may change |
//! | `laws/memory.rs` | what is remembered of a server |
//! | `laws/unmoved.rs` | what no correct server says |
//! | `laws/timers.rs` | deadlines, and leaders without a majority |

mod answers;
mod ballots;
mod commits;
mod conflicts;
mod disks;
mod heard;
mod logs;
mod members;
mod memory;
pub(crate) mod quorums;
mod reads;
pub(crate) mod requests;
mod roles;
mod sent;
mod snapshots;
mod timers;
mod unmoved;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use actix_raft_core::config::Config;
use actix_raft_core::effect::Effect;
use actix_raft_core::entry::Entry;
use actix_raft_core::event::Event;
use actix_raft_core::membership::Membership;
use actix_raft_core::snapshot::Snapshot;
use actix_raft_core::status::{RoleName, Status};
use actix_raft_core::types::{DiskId, HardState, Index, LogPosition, NodeId, Term, Time};

use crate::coverage::Coverage;
use crate::image::Image;
use disks::Lost;
use memory::{Known, LeaderLog, Life, Limits};
pub(crate) use unmoved::Unmoved;

/// A law that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The law, by its name.
    pub law: &'static str,
    /// What happened instead.
    pub what: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.law, self.what)
    }
}

/// Returns an error unless the condition holds.
macro_rules! law {
    ($holds:expr, $law:expr, $($what:tt)+) => {
        if !$holds {
            return Err($crate::laws::Broken { law: $law, what: format!($($what)+) });
        }
    };
}
pub(crate) use law;

/// What is known of a server from outside its core.
#[derive(Debug)]
pub(crate) struct Shadow {
    pub(crate) id: NodeId,
    /// What its core believes to be in its log.
    pub(crate) live: Image,
    /// What is on its disk, also while it is down.
    pub(crate) durable: Image,
    /// The last entry that its state machine was given.
    pub(crate) applying: Index,
    /// The last entry that its state machine has applied.
    pub(crate) applied: Index,
    /// Its latest snapshot.
    pub(crate) snapshot: Option<Snapshot>,
    /// What was on a disk that it lost, until it is trusted again.
    pub(crate) lost: Option<Lost>,
}

/// One step of one server.
pub(crate) struct Step<'a> {
    pub(crate) at: usize,
    /// The time by its own clock.
    pub(crate) now: Time,
    pub(crate) before: Status,
    pub(crate) after: Status,
    pub(crate) is_voter: bool,
    /// The times by the clocks of all servers.
    pub(crate) clocks: &'a [Time],
    pub(crate) deadlines: (Option<Time>, Option<Time>),
    pub(crate) events: &'a [Event],
    pub(crate) effects: &'a [Effect],
}

impl Step<'_> {
    /// Whether a snapshot of the leader's was installed.
    fn installs(&self) -> bool {
        let installed =
            |event: &Event| matches!(event, Event::SnapshotInstalled { installed: true, .. });
        self.events.iter().any(installed)
    }

    /// Whether the server led the same term before and after.
    fn leads_on(&self) -> bool {
        self.before.role == RoleName::Leader
            && self.after.role == RoleName::Leader
            && self.before.current_term == self.after.current_term
    }
}

/// The laws, and what they remember.
pub(crate) struct Laws {
    /// The widest limits of each server since it started.
    limits: Vec<Limits>,
    /// The disk of each server.
    disks: Vec<DiskId>,
    /// The settings of each server.
    configs: Vec<Config>,
    /// The configurations in force at the server in the course of the present step.
    in_force: Vec<Arc<Membership>>,
    /// How many steps there were.
    steps: u64,
    leaders: BTreeMap<Term, NodeId>,
    leader_logs: BTreeMap<Term, LeaderLog>,
    /// Every entry that was ever in a log, by index.
    entries: Vec<Vec<Known>>,
    /// Servers that ever lost a disk.
    wiped: BTreeSet<NodeId>,
    committed: Vec<Entry>,
    /// The term of the leader that announced each.
    committed_in: Vec<Term>,
    /// Every snapshot that was ever taken, by its position.
    snapshots: BTreeMap<LogPosition, Snapshot>,
    /// The configurations among them, and the first.
    memberships: Vec<(Index, Arc<Membership>)>,
    votes: BTreeMap<(NodeId, Term), NodeId>,
    /// When each server last took in a request of the leader of a term.
    followed: BTreeMap<(NodeId, Term), u64>,
    lives: Vec<Life>,
    /// How many election deadlines were drawn near either end of their range, and in all.
    /// Those of followers, and those of candidates.
    draws: [[u64; 3]; 2],
    /// How long each server waited for a leader when it last started.
    start_waits: Vec<Option<Duration>>,
}

impl Laws {
    pub(crate) fn new(config: &Config, membership: &Membership, nodes: usize) -> Laws {
        Laws {
            disks: vec![DiskId::UNKNOWN; nodes],
            limits: vec![Limits::of(config); nodes],
            configs: vec![config.clone(); nodes],
            in_force: Vec::new(),
            steps: 0,
            leaders: BTreeMap::new(),
            leader_logs: BTreeMap::new(),
            entries: Vec::new(),
            wiped: BTreeSet::new(),
            committed: Vec::new(),
            committed_in: Vec::new(),
            snapshots: BTreeMap::new(),
            memberships: vec![(Index::ZERO, Arc::new(membership.clone()))],
            votes: BTreeMap::new(),
            followed: BTreeMap::new(),
            lives: (0..nodes).map(|_| Life::default()).collect(),
            draws: [[0; 3]; 2],
            start_waits: vec![None; nodes],
        }
    }

    /// All that was ever announced as committed, from index 1 on.
    pub(crate) fn committed(&self) -> &[Entry] {
        &self.committed
    }

    /// The latest term that had a leader, and who it was.
    pub(crate) fn latest_leader(&self) -> Option<(Term, NodeId)> {
        self.leaders.last_key_value().map(|(term, id)| (*term, *id))
    }

    /// A server forgets all that is not on its disk.
    pub(crate) fn crashed(&mut self, at: usize) {
        self.lives[at] = Life::default();
    }

    /// A server starts with these settings, on this disk.
    pub(crate) fn is_configured(&mut self, at: usize, config: &Config, disk: DiskId) {
        self.configs[at] = config.clone();
        self.disks[at] = disk;
        self.limits[at] = Limits::of(config);
    }

    /// A server's term and vote are on its disk.
    pub(crate) fn is_durable(&mut self, shadow: &Shadow) -> Result<(), Broken> {
        let HardState { current_term, voted_for, trusted: _ } = shadow.durable.hard_state;
        match voted_for {
            // Who has forgotten may vote for itself, and gives that to nobody.
            Some(voted_for) if shadow.lost.is_none() => {
                self.votes_for(shadow.id, current_term, voted_for)
            }
            Some(_) | None => Ok(()),
        }
    }

    fn votes_for(&mut self, id: NodeId, term: Term, voted_for: NodeId) -> Result<(), Broken> {
        let first = *self.votes.entry((id, term)).or_insert(voted_for);
        // One that has forgotten notes down that it follows the leader of the term.
        let follows = self.was_wiped().contains(&id) && self.leaders.get(&term) == Some(&voted_for);
        law!(
            first == voted_for || follows,
            "at most one vote in a term (§5.2)",
            "{id} voted for {first} and for {voted_for} in term {term}"
        );
        Ok(())
    }

    fn config(&self, step: &Step<'_>) -> &Config {
        &self.configs[step.at]
    }

    /// Checks a step; the shadow of the server is brought up to date.
    pub(crate) fn after_step(
        &mut self,
        step: &Step<'_>,
        shadows: &mut [Shadow],
        coverage: &mut Coverage,
    ) -> Result<(), Broken> {
        self.steps += 1;
        self.in_force.clear();
        self.in_force(step, &shadows[step.at]);
        self.take_in(step, &shadows[step.at]);
        self.monotonic(step)?;
        if let [event] = step.events {
            self.single(step, event, &shadows[step.at], coverage)?;
        }
        for effect in step.effects {
            if let Effect::Save { save, .. } = effect {
                let live = &mut shadows[step.at].live;
                live.hard_state = save.hard_state.unwrap_or(live.hard_state);
                self.votes_for_itself(step, &shadows[step.at]);
                if let Some(base) = &save.base {
                    let shadow = &mut shadows[step.at];
                    self.begins_after(step, base, shadow, coverage)?;
                    self.in_force(step, shadow);
                }
                for run in &save.entries {
                    self.joined(step, run, shadows)?;
                    let shadow = &mut shadows[step.at];
                    self.stored(step, run, shadow, coverage)?;
                    self.in_force(step, shadow);
                }
            }
        }
        self.same_as_core(step, &shadows[step.at])?;
        self.role(step, &shadows[step.at], coverage)?;
        for effect in step.effects {
            match effect {
                Effect::Save { id, save } => {
                    self.lives[step.at].saves.push_back((*id, step.now));
                    if save.hard_state.is_some() || save.base.is_some() {
                        self.lives[step.at].unsaved = Some(*id);
                    }
                }
                Effect::ReadLog { reader, first, last, .. } => {
                    self.reads_log(step, *reader, (*first, *last))?;
                }
                Effect::Proposed { result, .. } => {
                    self.proposed(step, *result, &shadows[step.at])?;
                }
                Effect::Send(message) => self.sent(step, message, &shadows[step.at], coverage)?,
                Effect::Apply { entries } => self.applying(step, entries, &mut shadows[step.at])?,
                Effect::Initialized(result) => self.formed(step, *result, &shadows[step.at])?,
                Effect::Committed { index } => self.commit(step, *index, shadows, coverage)?,
                Effect::LeadershipLost => self.left_office(step, coverage)?,
                Effect::ReadReady { id } => self.read_ready(step, *id, shadows, coverage)?,
                Effect::ReadRefused { id, error } => {
                    self.read_refused(step, *id, *error)?;
                }
                Effect::BuildSnapshot { base } => self.builds(step, base, &shadows[step.at])?,
                Effect::InstallSnapshot { snapshot } => {
                    self.installs(step, snapshot, &shadows[step.at])?;
                }
                // What is read and stored is looked at as it leaves and arrives.
                Effect::ReadSnapshot { .. } | Effect::StoreSnapshotChunk { .. } => {}
                Effect::MembersChanged { id, result } => {
                    self.members_changed(step, *id, result, &shadows[step.at])?;
                }
                Effect::Transferred { id, result } => self.transferred(step, *id, *result)?,
                Effect::ElectionTriggered { id, result } => {
                    self.election_triggered(step, *id, *result)?;
                }
                Effect::SnapshotTaken { id, result } => {
                    self.snapshot_taken(step, *id, *result, &shadows[step.at])?;
                }
                Effect::LogPurged { id, result } => {
                    self.log_purged(step, *id, *result, &shadows[step.at])?;
                }
                Effect::Violation { from, what } => {
                    law!(false, "no correct server is accused", "{from} said {what}");
                }
            }
        }
        self.reads_end_with_office(step)?;
        self.read_asked(step, &shadows[step.at])?;
        self.stands(step)?;
        self.stands_still(step)?;
        self.asks(step)?;
        self.next_probe(step, &shadows[step.at])?;
        self.asked(step);
        self.timers(step)
    }

    /// Notes what a server heard in this step.
    fn take_in(&mut self, step: &Step<'_>, shadow: &Shadow) {
        for event in step.events {
            match event {
                Event::Read { id, consistency } => self.read_arrives(step, *id, *consistency),
                Event::Receive(message) => self.received(step, message),
                Event::Unreachable { peer } => {
                    let life = &mut self.lives[step.at];
                    life.in_flight.remove(peer);
                    life.pieces.remove(peer);
                    life.asked.remove(peer);
                }
                Event::Saved { id } => {
                    let life = &mut self.lives[step.at];
                    life.unsaved = life.unsaved.filter(|unsaved| unsaved > id);
                    while life.saves.pop_front_if(|(save, _)| *save <= *id).is_some() {}
                }
                Event::LogRead { reader, .. } => {
                    let life = &mut self.lives[step.at];
                    life.reading.remove(reader);
                    life.in_flight.values_mut().for_each(|in_flight| in_flight.chances += 1);
                }
                Event::Timeout => {
                    let life = &mut self.lives[step.at];
                    let windows = life.in_flight.values_mut().chain(life.pieces.values_mut());
                    windows.for_each(|in_flight| in_flight.chances += 1);
                }
                Event::SnapshotBuilt { .. } => self.lives[step.at].building = None,
                Event::SnapshotInstalled { .. } => self.lives[step.at].installing = None,
                Event::Initialize { membership } => self.forms(step, membership, shadow),
                Event::ChangeMembers { .. }
                | Event::TransferLeadership { .. }
                | Event::TriggerElection { .. }
                | Event::TriggerSnapshot { .. }
                | Event::PurgeLog { .. } => self.requested(step, event),
                Event::Configure(config) => {
                    self.configs[step.at] = config.clone();
                    self.limits[step.at].widen(config);
                    self.lives[step.at].configured = step.now;
                }
                Event::Propose { .. }
                | Event::Applied { .. }
                | Event::SnapshotRead { .. }
                | Event::SnapshotChunkStored { .. }
                | Event::DiskSpace { .. } => {}
            }
        }
    }

    fn monotonic(&self, step: &Step<'_>) -> Result<(), Broken> {
        let Step { before, after, .. } = step;
        let law = "term, vote, commit and applied never fall (Figure 2)";
        law!(after.current_term >= before.current_term, law, "the term fell: {after}");
        law!(after.commit_index >= before.commit_index, law, "the commit index fell: {after}");
        law!(after.last_applied >= before.last_applied, law, "the applied index fell: {after}");
        if after.current_term == before.current_term && before.voted_for.is_some() {
            law!(after.voted_for == before.voted_for, law, "the vote changed: {after}");
        }
        // Without a snapshot, since it was damaged, the log may begin later all the same.
        let has_snapshot = after.snapshot != LogPosition::ZERO;
        let order = (after.purged.index <= after.snapshot.index || !has_snapshot)
            && after.snapshot.index <= after.last_applied
            && after.last_applied <= after.commit_index
            && after.commit_index <= after.last_log.index
            && after.last_durable <= after.last_log.index;
        law!(
            order,
            "purged <= snapshot <= applied <= commit <= last",
            "{after} durable={} purged={} snapshot={}",
            after.last_durable,
            after.purged,
            after.snapshot
        );
        Ok(())
    }
}
