//! A server's log as the core sees it: the term of every entry, and the recent entries themselves.
//!
//! ```text
//!   base          evicted: on disk only        window: in memory
//!  ......|------------------------------|-------------------------------|
//!        last_included                          ^ durable                ^ last
//! ```
//!
//! Terms grow along the log, so the first position of each term tells the term of every entry, and
//! consistency checks never wait for a disk, however long the log is. Of what is before the base,
//! no term is known; a guess would be taken for a match.

use std::collections::VecDeque;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::entry::Entry;
use crate::mutants::{Mutant, is_planted};
use crate::stored::{SaveId, StoredState};
use crate::types::{Index, LogPosition, Term};

/// The log.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    base: LogPosition,
    term_starts: Vec<LogPosition>,
    last: LogPosition,
    window: VecDeque<Entry>,
    window_bytes: usize,
    durable: Index,
    saving: VecDeque<Saving>,
}

/// A save with entries that is not known to be on disk yet.
#[derive(Clone, Copy, Debug)]
struct Saving {
    id: SaveId,
    first: Index,
    last: Index,
}

/// Where entries are.
pub(crate) enum Found {
    InMemory(Arc<[Entry]>),
    OnDisk,
}

impl Log {
    pub(crate) fn new(stored: &StoredState) -> Log {
        Log {
            base: stored.base.last_included,
            term_starts: stored.term_starts.clone(),
            last: stored.last_log,
            window: VecDeque::new(),
            window_bytes: 0,
            durable: stored.last_log.index,
            saving: VecDeque::new(),
        }
    }

    /// Hashes the log, with its saves by how long before the last save of all they were asked for.
    pub(crate) fn hash_since<H: Hasher>(&self, last_save: SaveId, state: &mut H) {
        let Log { base, term_starts, last, window, window_bytes, durable, saving } = self;
        (base, term_starts, last, window, window_bytes, durable, saving.len()).hash(state);
        for Saving { id, first, last } in saving {
            (last_save.0.abs_diff(id.0), first, last).hash(state);
        }
    }

    /// The last position that is not in the log any more, since a snapshot includes it (§7).
    pub(crate) fn base(&self) -> LogPosition {
        self.base
    }

    /// The last entry's position; the base's if there is none.
    pub(crate) fn last(&self) -> LogPosition {
        self.last
    }

    /// The last index up to which the log, as it is now, is on this server's disk.
    pub(crate) fn durable(&self) -> Index {
        self.durable
    }

    /// The term of the entry here, if the log knows it.
    pub(crate) fn term_at(&self, index: Index) -> Option<Term> {
        if index == self.base.index {
            return Some(self.base.term);
        }
        if index < self.base.index || index > self.last.index {
            return None;
        }
        let after = self.term_starts.partition_point(|start| start.index <= index);
        after.checked_sub(1).map(|run| self.term_starts[run].term)
    }

    /// The position of the entry here, if the log knows its term.
    pub(crate) fn position_at(&self, index: Index) -> Option<LogPosition> {
        self.term_at(index).map(|term| LogPosition { term, index })
    }

    /// Whether the log has this entry. If so, it agrees with every log that has it in all that
    /// comes before (Log Matching, §5.3).
    pub(crate) fn matches(&self, position: LogPosition) -> bool {
        self.term_at(position.index) == Some(position.term)
    }

    /// The last position at or below this one in both term and index: whatever two logs have in
    /// common cannot lie after it. The base if there is none.
    pub(crate) fn floor(&self, position: LogPosition) -> LogPosition {
        let mut index = position.index.min(self.last.index);
        for start in self.term_starts.iter().rev() {
            if start.index > index {
                continue;
            }
            if start.term <= position.term {
                return LogPosition { term: start.term, index };
            }
            index = start.index.prev();
        }
        self.base
    }

    /// Appends entries, contiguous with the log or overlapping its end; what they overlap is gone.
    pub(crate) fn append(&mut self, entries: &[Entry]) {
        let Some(first) = entries.first() else { return };
        assert!(
            first.index > self.base.index && first.index <= self.last.index.next(),
            "entries from {} on leave a gap in a log that ends at {}",
            first.index,
            self.last
        );
        if first.index <= self.last.index {
            self.truncate_from(first.index);
        }
        for entry in entries {
            debug_assert_eq!(entry.index, self.last.index.next());
            assert!(entry.term >= self.last.term, "terms never fall along a log");
            if entry.term > self.last.term || self.term_starts.is_empty() {
                self.term_starts.push(entry.position());
            }
            self.last = entry.position();
            self.window_bytes += entry.weight();
            self.window.push_back(entry.clone());
        }
    }

    pub(crate) fn truncate_from(&mut self, first: Index) {
        self.term_starts.retain(|start| start.index < first || is_planted(Mutant::TermsNotCut));
        while self.window.back().is_some_and(|entry| entry.index >= first) {
            self.window_bytes -= self.window.pop_back().map_or(0, |entry| entry.weight());
        }
        self.durable = self.durable.min(first.prev());
        let last = first.prev();
        let term = self.term_starts.last().map_or(self.base.term, |start| start.term);
        self.last = LogPosition { term, index: last };
    }

    /// Begins the log after this position. Entries up to it are gone. "If existing log entry has
    /// same index and term as snapshot's last included entry, retain log entries following it";
    /// otherwise "discard the entire log" (Figure 13).
    pub(crate) fn begin_after(&mut self, base: LogPosition) {
        assert!(base.index >= self.base.index, "what was purged does not come back");
        let first = base.index.next();
        let conflicting = base.index <= self.last.index && is_planted(Mutant::InstallKeepsConflict);
        if self.matches(base) || conflicting {
            let run = self.term_starts.partition_point(|start| start.index <= first);
            self.term_starts.drain(..run.saturating_sub(1));
            match self.term_starts.first_mut() {
                Some(start) if self.last.index >= first => start.index = start.index.max(first),
                _ => self.term_starts.clear(),
            }
            while self.window.front().is_some_and(|entry| entry.index < first) {
                self.window_bytes -= self.window.pop_front().map_or(0, |entry| entry.weight());
            }
            // The snapshot is on disk.
            self.durable = self.durable.max(base.index);
        } else {
            self.term_starts.clear();
            self.window.clear();
            self.window_bytes = 0;
            self.last = base;
            self.durable = base.index;
        }
        self.base = base;
    }

    /// Takes note of a save under way that holds the entries of these indexes.
    pub(crate) fn saving(&mut self, id: SaveId, first: Index, last: Index) {
        self.saving.push_back(Saving { id, first, last });
    }

    /// Takes note that this save and all before it are on disk. Entries that a later save is about
    /// to overwrite don't count: what is acknowledged is the log as it is now.
    pub(crate) fn saved(&mut self, id: SaveId) {
        while let Some(saving) = self.saving.front().copied().filter(|saving| saving.id <= id) {
            self.saving.pop_front();
            let mut overwritten = self.saving.iter().map(|later| later.first).min();
            if is_planted(Mutant::OverwrittenSaveCounts) {
                overwritten = None;
            }
            let last = overwritten.map_or(saving.last, |first| saving.last.min(first.prev()));
            self.durable = self.durable.max(last.min(self.last.index));
        }
    }

    /// The entries of these indexes up to a weight, at least one; `first` and `last` are in the
    /// log.
    pub(crate) fn entries(&self, first: Index, last: Index, max_bytes: usize) -> Found {
        let Some(oldest) = self.window.front().filter(|oldest| oldest.index <= first) else {
            return Found::OnDisk;
        };
        let start = (first.0 - oldest.index.0) as usize;
        let longest = (last.min(self.last.index).0 + 1 - first.0) as usize;
        let mut bytes = 0;
        let mut count = 0;
        for entry in self.window.range(start..start + longest) {
            bytes += entry.weight();
            if bytes > max_bytes && count > 0 && is_planted(Mutant::BatchSkipsLargeEntry) {
                return Found::InMemory(self.all_that_fit(start, longest, max_bytes));
            }
            if bytes > max_bytes && count > 0 {
                break;
            }
            count += 1;
        }
        Found::InMemory(self.window.range(start..start + count).cloned().collect())
    }

    /// As many entries as fit, with gaps where one does not: a planted bug.
    fn all_that_fit(&self, start: usize, longest: usize, max_bytes: usize) -> Arc<[Entry]> {
        let mut bytes = 0;
        let fits = |entry: &&Entry| {
            let fits = bytes == 0 || bytes + entry.weight() <= max_bytes;
            bytes += if fits { entry.weight() } else { 0 };
            fits
        };
        self.window.range(start..start + longest).filter(fits).cloned().collect()
    }

    /// Forgets the oldest entries in memory beyond this weight, as far as they are on disk.
    pub(crate) fn evict(&mut self, max_bytes: usize) {
        while self.window_bytes > max_bytes
            && let Some(oldest) = self.window.front().filter(|oldest| oldest.index <= self.durable)
        {
            self.window_bytes -= oldest.weight();
            self.window.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::entry::EntryPayload;

    fn run(first: u64, terms: &[u64]) -> Vec<Entry> {
        let entry = |(i, term): (usize, &u64)| Entry {
            term: Term(*term),
            index: Index(first + i as u64),
            payload: EntryPayload::Blank,
        };
        terms.iter().enumerate().map(entry).collect()
    }

    fn log_of(terms: &[u64]) -> Log {
        let mut log = Log::new(&StoredState::default());
        log.append(&run(1, terms));
        log
    }

    #[test]
    fn an_acknowledged_save_that_was_overwritten_since_does_not_count() {
        let mut log = log_of(&[1, 1, 1]);
        log.saving(SaveId(1), Index(1), Index(3));
        log.append(&run(2, &[2]));
        log.saving(SaveId(2), Index(2), Index(2));
        log.append(&run(2, &[3, 3]));
        log.saving(SaveId(3), Index(2), Index(3));

        log.saved(SaveId(1));
        assert_eq!(log.durable(), Index(1));
        log.saved(SaveId(2));
        assert_eq!(log.durable(), Index(1), "index 2 of term 2 is not the log's index 2");
        log.saved(SaveId(3));
        assert_eq!(log.durable(), Index(3));
    }

    #[test]
    fn a_batch_holds_what_fits_and_a_single_entry_always_passes() {
        let log = log_of(&[1, 1, 1]);
        let count = |max_bytes| match log.entries(Index(1), Index(3), max_bytes) {
            Found::InMemory(entries) => entries.len(),
            Found::OnDisk => panic!("all entries are in memory"),
        };
        let one = Entry::OVERHEAD;
        assert_eq!([count(0), count(one), count(2 * one - 1), count(2 * one)], [1, 1, 1, 2]);
        assert_eq!(count(usize::MAX), 3);
    }

    #[test]
    fn only_durable_entries_are_evicted() {
        let mut log = log_of(&[1, 1, 1]);
        log.evict(0);
        assert!(matches!(log.entries(Index(1), Index(1), 1), Found::InMemory(_)));
        log.saving(SaveId(1), Index(1), Index(2));
        log.saved(SaveId(1));
        log.evict(0);
        assert!(matches!(log.entries(Index(2), Index(2), 1), Found::OnDisk));
        assert!(matches!(log.entries(Index(3), Index(3), 1), Found::InMemory(_)));
        assert_eq!(log.term_at(Index(1)), Some(Term(1)), "terms outlive the window");
    }

    proptest! {
        #[test]
        fn terms_and_floors_agree_with_a_plain_list(
            mut terms in prop::collection::vec(1u64..6, 0..12),
            cut in 1u64..12,
            mut tail in prop::collection::vec(1u64..9, 0..6),
            (term, index) in (0u64..10, 0u64..20),
        ) {
            terms.sort_unstable();
            let mut log = log_of(&terms);
            terms.truncate((cut - 1) as usize);
            let low = terms.last().copied().unwrap_or(1);
            tail.iter_mut().for_each(|term| *term = (*term).max(low));
            tail.sort_unstable();
            if tail.is_empty() || cut > log.last().index.0 + 1 {
                return Ok(());
            }
            log.append(&run(cut, &tail));
            terms.extend(&tail);

            let mut plain = vec![LogPosition::ZERO];
            plain.extend((1..).zip(&terms).map(|(index, term)| LogPosition::new(*term, index)));
            prop_assert_eq!(log.last(), *plain.last().unwrap());
            for index in 0..20 {
                let expected = plain.get(index as usize).map(|position| position.term);
                prop_assert_eq!(log.term_at(Index(index)), expected);
            }
            let below = |p: &&LogPosition| p.term.0 <= term && p.index.0 <= index;
            let floor = plain.iter().rfind(below).copied().unwrap();
            prop_assert_eq!(log.floor(LogPosition::new(term, index)), floor);
        }
    }
}
