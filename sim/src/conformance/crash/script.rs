//! What a storage goes through until its disk fails.

use std::sync::Arc;

use actix_raft::application::Application;
use actix_raft::messages::Entry;
use actix_raft::storage::{Base, Save, Snapshot, SnapshotChunk};

use super::super::Failure;
use super::super::probe::Probe;
use super::super::samples::{Samples, base, hard_state, membership, vote};
use super::super::transfer::{base_of, piece_bytes};

/// How far entries are applied before a snapshot comes from another.
pub(super) const COMMITTED: u64 = 6;
/// What that snapshot includes.
pub(super) const RECEIVED: u64 = 40;
/// How far entries are applied in the end.
const END: u64 = 47;

pub(super) enum Step {
    /// Saves that are outstanding together.
    Save(Vec<Save>),
    /// Apply the entries up to this one.
    Apply(u64),
    /// Take a snapshot of what is applied.
    Build(Base),
    /// Store these pieces of the snapshot that another has built.
    Receive(Vec<SnapshotChunk>),
    /// Put that in place.
    Install,
}

/// A snapshot that another storage has built, where that is, and what it stands for.
pub(super) struct Other<A: Application> {
    pub(super) probe: Probe<A>,
    pub(super) snapshot: Snapshot,
}

impl<A: Application> Other<A> {
    pub(super) async fn build(probe: Probe<A>, committed: &[Entry]) -> Result<Other<A>, Failure> {
        let entries = &committed[..RECEIVED as usize];
        probe.save(Save { entries: vec![entries.into()], ..Save::default() }).await?;
        probe.apply(entries).await?;
        let snapshot = probe.snapshot(base_of(entries)).await?;
        Ok(Other { probe, snapshot })
    }
}

/// The entries that are applied, here and by the other storage.
pub(super) fn committed(samples: &Samples) -> Vec<Entry> {
    let runs = [
        samples.run(1, 1..=4),
        samples.run(2, 5..=COMMITTED),
        samples.run(30, COMMITTED + 1..=END),
    ];
    runs.iter().flat_map(|run| run.iter().cloned()).collect()
}

/// Everything a storage goes through: a first configuration, votes, appends, truncations, several
/// saves at a time, a large one; then snapshots of its own and from another, and purges.
pub(super) async fn script<A: Application>(
    samples: &Samples,
    other: Option<&Other<A>>,
) -> Result<Vec<Step>, Failure> {
    let both = |term, save: Save| Save { hard_state: Some(hard_state(term, Some(3))), ..save };
    let mut steps = vec![
        Step::Save(vec![base(membership(4))]),
        Step::Save(vec![vote(1, Some(1))]),
        Step::Save(vec![samples.save([(1, 1..=1)])]),
        Step::Save(vec![samples.save([(1, 2..=4)]), samples.save([(1, 5..=9)])]),
        Step::Apply(3),
        Step::Save(vec![both(2, samples.save([(2, 5..=6)]))]),
        Step::Save(vec![samples.save([(2, 7..=12)])]),
        Step::Save(vec![
            samples.save([(3, 13..=16), (4, 10..=14)]),
            vote(5, None),
            both(5, samples.save([(5, 15..=20)])),
        ]),
        Step::Apply(COMMITTED),
        Step::Save(vec![samples.save([(5, 21..=90)])]),
        Step::Save(vec![
            samples.save([(5, 91..=120)]),
            both(6, samples.save([(6, 88..=88)])),
            samples.save([(6, 89..=89), (7, 89..=95), (8, 94..=94)]),
        ]),
        Step::Save(vec![vote(9, Some(2))]),
        Step::Save(vec![samples.save([(9, 30..=34)])]),
    ];
    let Some(Other { probe, snapshot }) = other else { return Ok(steps) };
    let committed = committed(samples);
    let base_at = |index: u64| base_of(&committed[..index as usize]);
    let with_base = |index, save: Save| Save { base: Some(base_at(index)), ..save };
    let pieces = probe.pieces(snapshot, 0, piece_bytes(snapshot)).await?;
    let (first, rest) = pieces.split_at(pieces.len() / 2);
    let after = |first: u64, last: u64| Save {
        entries: vec![Arc::from(&committed[first as usize..last as usize])],
        ..Save::default()
    };
    steps.extend([
        Step::Build(base_at(COMMITTED)),
        Step::Save(vec![with_base(4, Save::default()), vote(10, None)]),
        Step::Save(vec![with_base(COMMITTED, samples.save([(10, 28..=36)]))]),
        Step::Receive(first.to_vec()),
        Step::Save(vec![both(30, Save::default())]),
        Step::Receive(rest.to_vec()),
        Step::Install,
        Step::Save(vec![with_base(RECEIVED, Save::default())]),
        Step::Save(vec![after(RECEIVED, RECEIVED + 2), after(RECEIVED + 2, END)]),
        Step::Apply(END - 2),
        Step::Build(base_at(END - 2)),
        Step::Save(vec![with_base(END - 4, Save::default())]),
        Step::Save(vec![samples.save([(31, END + 1..=END + 40)])]),
        Step::Save(vec![with_base(END - 2, vote(31, None))]),
    ]);
    Ok(steps)
}
