//! Entries, configurations and saves to try a storage with.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use actix_raft::messages::{
    Address, Entry, EntryPayload, Index, LogPosition, MembershipConfig, NodeId, Term,
};
use actix_raft::sessions::{Serial, SessionId};
use actix_raft::storage::{Base, DiskId, HardState, Save};
use actix_raft::testing::payloads;

use super::Subject;

/// How many different commands are used.
const COMMANDS: u64 = 64;

/// The time of all that is done in a session, which may be idle for so long.
const LATE: Duration = Duration::from_secs(1000);

/// The session that an entry at index 1 begins.
const SESSION: SessionId = SessionId(1);

/// Makes entries of a subject's commands.
#[derive(Clone)]
pub(super) struct Samples {
    commands: Arc<[[EntryPayload; 2]]>,
}

impl Samples {
    pub(super) fn of<S: Subject>(subject: &mut S) -> Samples {
        let payloads = |n| {
            let alone = payloads::of_command::<S::Application>(subject.command(n));
            let serial = Serial { session: SESSION, number: n / 2, answered_below: 0 };
            let in_session = payloads::of_write::<S::Application>(subject.command(n), serial, LATE);
            [alone, in_session]
        };
        Samples { commands: (0..COMMANDS).map(payloads).collect() }
    }

    /// The entry at this place: most are commands. The first one begins a session; of the commands
    /// in it, some were there before.
    pub(super) fn entry(&self, term: u64, index: u64) -> Entry {
        let command = |n: u64| &self.commands[n as usize % self.commands.len()];
        let payload = match index % 7 {
            3 => EntryPayload::Blank,
            5 => EntryPayload::ConfigChange(membership(term + index)),
            6 => command(index / 7)[1].clone(),
            _ if index == SESSION.0 => payloads::of_session(LATE, 10, Duration::ZERO),
            _ => command(term * 7 + index)[0].clone(),
        };
        entry(term, index, payload)
    }

    pub(super) fn run(&self, term: u64, indexes: RangeInclusive<u64>) -> Arc<[Entry]> {
        indexes.map(|index| self.entry(term, index)).collect()
    }

    /// One save of these runs.
    pub(super) fn save<const N: usize>(&self, runs: [(u64, RangeInclusive<u64>); N]) -> Save {
        let entries = runs.into_iter().map(|(term, indexes)| self.run(term, indexes)).collect();
        Save { entries, ..Save::default() }
    }
}

pub(super) fn entry(term: u64, index: u64, payload: EntryPayload) -> Entry {
    Entry { term: Term(term), index: Index(index), payload }
}

pub(super) fn hard_state(term: u64, voted_for: Option<u64>) -> HardState {
    HardState { current_term: Term(term), voted_for: voted_for.map(NodeId), trusted: term % 3 == 1 }
}

pub(super) fn vote(term: u64, voted_for: Option<u64>) -> Save {
    Save { hard_state: Some(hard_state(term, voted_for)), ..Save::default() }
}

pub(super) fn base(membership: Arc<MembershipConfig>) -> Save {
    let base =
        Base { last_included: LogPosition::ZERO, membership: Some((Index::ZERO, membership)) };
    Save { base: Some(base), ..Save::default() }
}

/// Configurations of all kinds: simple and joint, with non-voters and without, on the way to others
/// and not, with addresses of any text or none, with the disks of those who formed the cluster.
pub(super) fn membership(n: u64) -> Arc<MembershipConfig> {
    let ids = |ids: RangeInclusive<u64>| ids.map(NodeId).collect::<BTreeSet<_>>();
    let address = |id: u64| match (n + id) % 4 {
        0 => Address::default(),
        1 => Address::new(format!("host-{id}:{n}"), ""),
        2 => Address::new(format!("[2001:db8::{id}]:7001"), format!("https://node{id}.example/")),
        _ => Address::new("ünïcödé ☃".to_string(), "x".repeat(n as usize % 300)),
    };
    // Voters have ids up to 5; one that is no voter has a large one.
    let members =
        || (1..=5 + n % 2).chain([u64::MAX - n]).map(|id| (NodeId(id), address(id % 1000)));
    let founders = (1..=n % 4).map(|id| (NodeId(id), DiskId(u64::MAX - id * n))).collect();
    let joint = |outgoing| MembershipConfig::joint(ids(1..=1 + n % 3), outgoing, members());
    let goal = joint(None).map(Arc::new);
    let membership = joint(n.is_multiple_of(2).then(|| ids(2..=2 + n % 4)));
    let membership = membership.map(|membership| membership.founded_on(founders));
    let membership = match n % 5 {
        0..3 => membership,
        _ => membership.and_then(|membership| membership.on_the_way_to(goal?)),
    };
    Arc::new(membership.expect("no set of voters is empty, all are members, the goal is final"))
}
