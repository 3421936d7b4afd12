//! Laws of logs as they are stored: Log Matching, and what may be overwritten.

use std::sync::Arc;

use actix_raft_core::entry::Entry;
use actix_raft_core::status::Status;
use actix_raft_core::stored::Base;
use actix_raft_core::types::{LogPosition, Term};

use super::{Broken, Laws, Shadow, Step, law};
use crate::coverage::{Coverage, Situation};

impl Laws {
    /// The log begins after another position: its own, or one that a snapshot includes (§7).
    pub(super) fn begins_after(
        &mut self,
        step: &Step<'_>,
        base: &Base,
        shadow: &mut Shadow,
    ) -> Result<(), Broken> {
        let at = base.last_included;
        law!(
            at.index >= shadow.live.purged(),
            "what is purged never comes back (§7)",
            "the log of {} began after {}, and now after {at}",
            step.after.id,
            shadow.live.purged()
        );
        if at != LogPosition::ZERO {
            let committed = self.committed.get(at.index.prev().0 as usize).map(Entry::position);
            law!(
                committed == Some(at),
                "only what is committed is purged (§7)",
                "{} begins its log after {at}, and {committed:?} was committed there",
                step.after.id
            );
        }
        shadow.live.begin_after(base);
        Ok(())
    }

    /// A run of entries is stored: Log Matching (§5.3), step by step: each entry is the same wherever
    /// it stands, and so is the one before it.
    pub(super) fn stored(
        &mut self,
        step: &Step<'_>,
        run: &Arc<[Entry]>,
        shadow: &mut Shadow,
        coverage: &mut Coverage,
    ) -> Result<(), Broken> {
        let Some(first) = run.first() else { return Ok(()) };
        let last = shadow.live.last();
        law!(
            first.index > shadow.live.purged() && first.index <= last.index.next(),
            "a log has no gaps",
            "{} is stored after {last}",
            first.position()
        );
        if first.index <= last.index {
            coverage.note(Situation::SuffixTruncated);
            law!(
                !step.leads_on(),
                "Leader Append-Only (Figure 3)",
                "leader {} overwrites its entry {}",
                step.after.id,
                first.index
            );
            law!(
                first.index > step.before.commit_index,
                "what is committed is never overwritten (§5.4)",
                "{} overwrites {}, and had committed {}",
                step.after.id,
                first.index,
                step.before.commit_index
            );
            law!(
                shadow.live.term_at(first.index) != Some(first.term),
                "only a conflict truncates (§5.3)",
                "{} overwrites {} by the same entry",
                step.after.id,
                first.position()
            );
        }
        shadow.live.append(run);
        let mut prev = shadow.live.term_at(first.index.prev()).unwrap_or_default();
        for entry in run.iter() {
            self.same_everywhere(entry, prev)?;
            prev = entry.term;
        }
        Ok(())
    }

    fn same_everywhere(&mut self, entry: &Entry, prev: Term) -> Result<(), Broken> {
        let place = entry.index.prev().0 as usize;
        if self.entries.len() <= place {
            self.entries.resize_with(place + 1, Vec::new);
        }
        let known = self.entries[place].iter().find(|(known, _)| known.term == entry.term);
        match known {
            None => self.entries[place].push((entry.clone(), prev)),
            Some((known, known_prev)) => law!(
                known == entry && *known_prev == prev,
                "Log Matching (Figure 3)",
                "two logs differ at {} or before it",
                entry.position()
            ),
        }
        Ok(())
    }

    /// What a core says of itself is what it has stored.
    pub(super) fn same_as_core(&self, step: &Step<'_>, shadow: &Shadow) -> Result<(), Broken> {
        let Status { current_term, voted_for, last_log, last_durable, .. } = step.after;
        let law = "a server acts on what it stores (Figure 2)";
        let stored = shadow.live.hard_state;
        law!(
            (stored.current_term, stored.voted_for) == (current_term, voted_for),
            law,
            "it stores {stored:?} and acts on {}",
            step.after
        );
        law!(
            shadow.live.last() == last_log,
            law,
            "its log ends at {}: {}",
            shadow.live.last(),
            step.after
        );
        law!(
            shadow.durable.term_at(last_durable) == shadow.live.term_at(last_durable),
            "what counts as durable is on disk",
            "{last_durable} is not: {}",
            step.after
        );
        Ok(())
    }
}
