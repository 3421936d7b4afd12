//! Entries, configurations and saves to try a storage with.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::Arc;

use actix_raft::messages::{
    Address, Entry, EntryPayload, Index, LogPosition, MembershipConfig, NodeId, Term,
};
use actix_raft::replicated::payload;
use actix_raft::storage::{Base, Save};
use actix_raft_core::types::HardState;
use bytes::Bytes;

use super::Subject;

/// How many different commands are used.
const COMMANDS: u64 = 64;

/// Makes entries of a subject's commands.
#[derive(Clone)]
pub(super) struct Samples {
    commands: Arc<[Bytes]>,
}

impl Samples {
    pub(super) fn of<S: Subject>(subject: &mut S) -> Samples {
        let encode = |n| payload::<S::Application>(subject.command(n));
        Samples { commands: (0..COMMANDS).map(encode).collect() }
    }

    /// The entry at this place: most are commands.
    pub(super) fn entry(&self, term: u64, index: u64) -> Entry {
        let payload = match index % 7 {
            3 => EntryPayload::Blank,
            5 => EntryPayload::ConfigChange(membership(term + index)),
            _ => {
                let n = (term * 7 + index) as usize % self.commands.len();
                EntryPayload::Normal(self.commands[n].clone())
            }
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
    HardState { current_term: Term(term), voted_for: voted_for.map(NodeId), trusted: false }
}

pub(super) fn vote(term: u64, voted_for: Option<u64>) -> Save {
    Save { hard_state: Some(hard_state(term, voted_for)), ..Save::default() }
}

pub(super) fn base(membership: Arc<MembershipConfig>) -> Save {
    let base =
        Base { last_included: LogPosition::ZERO, membership: Some((Index::ZERO, membership)) };
    Save { base: Some(base), ..Save::default() }
}

/// Configurations of all kinds: simple and joint, with non-voters and without, with addresses of
/// any text or none.
pub(super) fn membership(n: u64) -> Arc<MembershipConfig> {
    let ids = |ids: RangeInclusive<u64>| ids.map(NodeId).collect::<BTreeSet<_>>();
    let voters = ids(1..=1 + n % 3);
    let outgoing = n.is_multiple_of(2).then(|| ids(2..=2 + n % 4));
    let address = |id: u64| match (n + id) % 4 {
        0 => Address::default(),
        1 => Address::new(format!("host-{id}:{n}"), ""),
        2 => Address::new(format!("[2001:db8::{id}]:7001"), format!("https://node{id}.example/")),
        _ => Address::new("ünïcödé ☃".to_string(), "x".repeat(n as usize % 300)),
    };
    // Voters have ids up to 5; one that is no voter has a large one.
    let members = (1..=5 + n % 2).chain([u64::MAX - n]).map(|id| (NodeId(id), address(id % 1000)));
    let membership = MembershipConfig::joint(voters, outgoing, members);
    Arc::new(membership.expect("no set of voters is empty, and all voters are members"))
}
