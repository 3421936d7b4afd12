//! Laws of logs as they are stored: Log Matching, and what may be overwritten.

use std::sync::Arc;

use actix_raft_core::entry::{Entry, EntryPayload};
use actix_raft_core::status::{RoleName, Status};
use actix_raft_core::types::Term;

use super::memory::Known;
use super::{Broken, Laws, Shadow, Step, law};
use crate::coverage::{Coverage, Situation};

impl Laws {
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
            if shadow.live.membership().is_some_and(|(since, _)| *since >= first.index) {
                coverage.note(Situation::ConfigurationTruncated);
            }
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
        if let Some(entry) = run.iter().find(|entry| is_configuration(entry)) {
            self.configures(step, entry, shadow, coverage)?;
        }
        shadow.live.append(run);
        let mut prev = shadow.live.term_at(first.index.prev()).unwrap_or_default();
        let led = step.before.role == RoleName::Leader;
        for entry in run.iter() {
            self.same_everywhere(entry, prev)?;
            prev = entry.term;
            if let Some(log) = self.leader_logs.get_mut(&entry.term)
                && led
                && entry.term == step.before.current_term
            {
                log.last = log.last.max(entry.index);
            }
        }
        Ok(())
    }

    fn same_everywhere(&mut self, entry: &Entry, prev: Term) -> Result<(), Broken> {
        let place = entry.index.prev().0 as usize;
        if self.entries.len() <= place {
            self.entries.resize_with(place + 1, Vec::new);
        }
        let known = self.entries[place].iter().find(|known| known.entry.term == entry.term);
        match known {
            None => {
                let since = self.steps;
                self.entries[place].push(Known { entry: entry.clone(), prev, since });
            }
            Some(known) => law!(
                known.entry == *entry && known.prev == prev,
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
            shadow.live.base().last_included == step.after.purged,
            law,
            "its log begins after {}: {} purged={}",
            shadow.live.base().last_included,
            step.after,
            step.after.purged
        );
        law!(
            shadow.durable.term_at(last_durable) == shadow.live.term_at(last_durable)
                || last_durable <= shadow.live.purged(),
            "what counts as durable is on disk",
            "{last_durable} is not: {}",
            step.after
        );
        Ok(())
    }
}

fn is_configuration(entry: &Entry) -> bool {
    matches!(entry.payload, EntryPayload::ConfigChange(_))
}
