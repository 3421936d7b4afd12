//! Whether saves continue a log: asked before the disk is touched.

use actix_raft_core::entry::Entry;
use actix_raft_core::snapshot::Snapshot;
use actix_raft_core::stored::{Base, Save, StoredState};
use actix_raft_core::types::LogPosition;

use crate::error::WriteError;
use crate::record::Rest;

/// Whether these saves continue the log; says for each what its base leaves of it, if any has one.
pub(crate) fn check(
    state: &StoredState,
    snapshot: Option<&Snapshot>,
    saves: &[Save],
) -> Result<Vec<Rest>, WriteError> {
    let mut rests = Vec::new();
    if saves.iter().all(|save| save.base.is_none()) {
        let mut log = (state.base.last_included, state.last_log);
        for run in saves.iter().flat_map(|save| &save.entries) {
            log = with_run(log, run)?;
        }
        return Ok(rests);
    }
    // A base is rare: what the log will hold is worth a copy.
    let mut state = state.clone();
    let latest = snapshot.map_or(LogPosition::ZERO, Snapshot::last_included);
    for save in saves {
        rests.push(match &save.base {
            Some(base) => with_base(&mut state, base, latest)?,
            None => Rest::Stays,
        });
        for run in &save.entries {
            with_run((state.base.last_included, state.last_log), run)?;
            run.iter().for_each(|entry| state.note_entry(entry));
        }
    }
    Ok(rests)
}

/// What a log begins after, and its last position.
type Ends = (LogPosition, LogPosition);

/// Gives the log another base, and says what that leaves of it.
fn with_base(
    state: &mut StoredState,
    base: &Base,
    latest: LogPosition,
) -> Result<Rest, WriteError> {
    let (current, last_included) = (state.base.last_included, base.last_included);
    if last_included.index < current.index {
        return Err(WriteError::Backwards { base: last_included.index, current: current.index });
    }
    if last_included.index > latest.index {
        let (base, snapshot) = (last_included.index, latest.index);
        return Err(WriteError::NoSnapshot { base, snapshot });
    }
    let has_last = state.term_at(last_included.index) == Some(last_included.term);
    state.note_base(base.clone());
    Ok(if has_last { Rest::Stays } else { Rest::Goes })
}

/// A log with a run of entries at its end or over it.
fn with_run((base, last): Ends, run: &[Entry]) -> Result<Ends, WriteError> {
    let (Some(first), Some(end)) = (run.first(), run.last()) else { return Ok((base, last)) };
    if first.index <= base.index || first.index > last.index.next() {
        let (first, base, last) = (first.index, base.index, last.index);
        return Err(WriteError::Gap { first, base, last });
    }
    let broken = run.windows(2).find(|pair| pair[1].index.0 != pair[0].index.0.wrapping_add(1));
    match broken {
        Some(pair) => Err(WriteError::Broken { index: pair[0].index, next: pair[1].index }),
        None => Ok((base, end.position())),
    }
}
