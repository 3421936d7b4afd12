//! The node's state machine: committed entries are handed to it in order, once, one batch at a time
//! (§5.3).

use std::sync::Arc;

use super::Node;
use crate::effect::Effect;
use crate::entry::Entry;
use crate::event::LogReader;
use crate::log::Found;
use crate::mutants::{Mutant, is_planted};
use crate::taking::Taking;
use crate::types::Index;

impl Node {
    pub(crate) fn on_applied(&mut self, index: Index) {
        assert!(
            index > self.last_applied && index <= self.applying,
            "entries are applied once, in order: {index} after {}",
            self.last_applied
        );
        self.last_applied = index;
    }

    /// Entries came from storage to be applied.
    pub(crate) fn on_read_to_apply(&mut self, entries: Arc<[Entry]>) {
        self.reading_to_apply = false;
        let Some(last) = entries.last().map(|entry| entry.index) else {
            return;
        };
        let first = last.0 + 1 - entries.len() as u64;
        let applies = self.applying == self.last_applied
            && first == self.applying.next().0
            && !self.receiving.is_installing();
        if applies && (last <= self.commit_index || is_planted(Mutant::AppliesUncommitted)) {
            self.hand_to_state_machine(entries);
        }
    }

    fn hand_to_state_machine(&mut self, entries: Arc<[Entry]>) {
        self.taking.handed(entries.iter().map(Entry::weight).sum());
        self.applying = Index(self.applying.0 + entries.len() as u64);
        self.effects.push(Effect::Apply { entries });
    }

    /// Hands committed entries to the state machine, in order, one batch at a time (§5.3).
    pub(super) fn apply_committed(&mut self) {
        // Entries that are committed elsewhere but not on this disk yet wait: a state machine that
        // survives a crash must not be ahead of its log.
        let mut until = self.commit_index.min(self.log.durable());
        if is_planted(Mutant::AppliesUncommitted) {
            until = self.log.durable();
        }
        if is_planted(Mutant::AppliesBeforeSave) {
            until = self.commit_index;
        }
        let idle = self.applying == self.last_applied && !self.reading_to_apply;
        // What is applied while a snapshot takes the state machine's place would be lost, or done
        // twice.
        let installing =
            self.receiving.is_installing() && !is_planted(Mutant::AppliesWhileInstalling);
        if !idle || installing || until <= self.last_applied {
            return;
        }
        let (first, max_bytes) = (self.applying.next(), self.config.max_apply_bytes);
        until = until.min(Taking::batch_end(&self.config.snapshot_policy, first));
        match self.log.entries(first, until, max_bytes) {
            Found::InMemory(entries) => self.hand_to_state_machine(entries),
            Found::OnDisk => {
                self.reading_to_apply = true;
                let reader = LogReader::StateMachine;
                self.effects.push(Effect::ReadLog { reader, first, last: until, max_bytes });
            }
        }
    }
}
