//! The node's log and its snapshots: building them, purging what they include, and putting one
//! from the leader in the place of everything (§7).

use std::sync::Arc;

use super::Node;
use crate::admin::{PurgeError, RequestId, SnapshotError};
use crate::effect::Effect;
use crate::mutants::{Mutant, is_planted};
use crate::snapshot::Snapshot;
use crate::stored::Base;
use crate::types::{Index, LogPosition, Time};

impl Node {
    /// The last position that the latest snapshot includes.
    pub(crate) fn snapshot_position(&self) -> LogPosition {
        self.snapshot.as_ref().map_or(LogPosition::ZERO, Snapshot::last_included)
    }

    /// What would stand in front of the log if it began after this index, whose term it knows.
    fn base_at(&self, index: Index) -> Option<Base> {
        let last_included = self.log.position_at(index)?;
        let holds_there = self.memberships.iter().rev().find(|(from, _)| *from <= index);
        Some(Base { last_included, membership: holds_there.cloned() })
    }

    /// Whether all that was handed to the state machine is applied, and nothing is about to be.
    fn state_machine_is_idle(&self) -> bool {
        self.applying == self.last_applied && !self.reading_to_apply
    }

    /// When a snapshot is due by time.
    pub(crate) fn snapshot_deadline(&self) -> Option<Time> {
        if self.applying != self.last_applied || self.receiving.is_installing() {
            return None;
        }
        let policy = &self.config.snapshot_policy;
        self.taking.deadline(policy, self.last_applied, self.sending_from.is_some())
    }

    /// An operator wants a snapshot now.
    pub(crate) fn trigger_snapshot(&mut self, id: RequestId) {
        if self.receiving.is_installing() {
            let result = Err(SnapshotError::Installing);
            return self.effect(Effect::SnapshotTaken { id, result });
        }
        self.taking.ask(id, self.applying);
    }

    /// Asks for a snapshot of the state as it is now, if one is due or asked for. Between two
    /// batches for the state machine, it is known which state that is.
    pub(super) fn take_snapshot(&mut self) {
        if self.applying != self.last_applied
            || self.taking.is_building()
            || self.receiving.is_installing()
        {
            return;
        }
        let (applied, included) = (self.last_applied, self.snapshot_position());
        if applied <= included.index {
            for id in self.taking.take_asked() {
                let result = Err(SnapshotError::NothingNew(included));
                self.effect(Effect::SnapshotTaken { id, result });
            }
            return;
        }
        let (policy, is_sending) = (&self.config.snapshot_policy, self.sending_from.is_some());
        if self.taking.is_due(policy, applied, self.now, is_sending)
            && let Some(base) = self.base_at(applied)
        {
            self.taking.begin(base.clone(), self.now);
            self.effect(Effect::BuildSnapshot { base });
        }
    }

    /// The snapshot asked for is on disk; `None` if the storage takes none.
    pub(crate) fn on_built(&mut self, snapshot: Option<Snapshot>) {
        let Some(build) = self.taking.end() else { return };
        let result = match &snapshot {
            Some(snapshot) => Ok(snapshot.last_included()),
            None => Err(SnapshotError::Unsupported),
        };
        for id in build.asked {
            self.effect(Effect::SnapshotTaken { id, result });
        }
        match snapshot {
            Some(snapshot) => {
                assert_eq!(snapshot.base, build.base, "a snapshot is of the state it was asked of");
                self.snapshot = Some(snapshot);
                self.purge_behind_snapshot();
            }
            None => self.taking.refused(self.now, self.config.election_timeout),
        }
    }

    /// The latest snapshot can't be read: it is of no use to anyone.
    pub(crate) fn lose_snapshot(&mut self, last_included: LogPosition) {
        self.snapshot.take_if(|snapshot| snapshot.last_included() == last_included);
    }

    /// Purges what a new snapshot includes but for the entries that are kept for slow followers:
    /// so many, and whatever follows an older snapshot that is still on its way to one of them,
    /// while there is room on the disk.
    fn purge_behind_snapshot(&mut self) {
        let included = self.snapshot_position().index;
        let mut until = included.0.saturating_sub(self.config.entries_kept);
        if let Some(held) = self.sending_from.filter(|_| !self.disk_is_full) {
            until = until.min(held.0);
        }
        if is_planted(Mutant::PurgesBeyondSnapshot) {
            until = self.last_applied.0;
        }
        self.purge(Index(until));
    }

    /// An operator wants entries gone.
    pub(crate) fn purge_log(&mut self, id: RequestId, until: Option<Index>) {
        let included = self.snapshot_position().index.max(self.log.base().index);
        let until = until.unwrap_or(included);
        if until > included {
            let result = Err(PurgeError::NotInSnapshot(included));
            return self.effect(Effect::LogPurged { id, result });
        }
        self.purge(until);
        let result = Ok(self.log.base());
        self.promise_effect(Effect::LogPurged { id, result });
    }

    fn purge(&mut self, until: Index) {
        if until > self.log.base().index
            && let Some(base) = self.base_at(until)
        {
            self.begin_log_after(base);
        }
    }

    /// Puts this in front of the log. What it includes is gone; all is, if the log does not have the
    /// last entry that it includes.
    pub(super) fn begin_log_after(&mut self, base: Base) {
        let at = base.last_included;
        let keeps_tail = self.log.matches(at);
        self.log.begin_after(at);
        if !is_planted(Mutant::InstallKeepsMembership) || keeps_tail {
            self.memberships.retain(|(from, _)| keeps_tail && *from > at.index);
            self.memberships.splice(0..0, base.membership.clone());
        }
        // What this step stores comes after the base.
        let runs = std::mem::take(&mut self.saving.entries);
        for run in runs.iter().filter(|_| keeps_tail) {
            match run.iter().position(|entry| entry.index > at.index) {
                Some(0) => self.saving.entries.push(Arc::clone(run)),
                Some(first) => self.saving.entries.push(Arc::from(&run[first..])),
                None => {}
            }
        }
        if !is_planted(Mutant::BaseNotSaved) {
            self.saving.base = Some(base);
        }
    }

    /// Tells the storage to install the snapshot that waits for it, once nothing is applied or
    /// built: the new state takes the old one's place as a whole.
    pub(super) fn install_snapshot(&mut self) {
        let Some(snapshot) = self.receiving.waiting() else { return };
        let at = snapshot.last_included();
        let is_needed = at.index > self.commit_index && !self.log.matches(at);
        if !is_needed && !is_planted(Mutant::StaleSnapshotInstalled) {
            // Entries came meanwhile that make it superfluous.
            return self.receiving.forget();
        }
        if self.state_machine_is_idle() && !self.taking.is_building() {
            let snapshot = snapshot.clone();
            self.receiving.install();
            self.effect(Effect::InstallSnapshot { snapshot });
        }
    }

    /// A snapshot from the leader is in place: the state machine holds what it includes.
    pub(crate) fn on_installed(&mut self, snapshot: Snapshot) {
        let at = snapshot.last_included();
        self.begin_log_after(snapshot.base.clone());
        let mut applied = at.index;
        if is_planted(Mutant::SkipsEntryAfterInstall) {
            applied = applied.next();
        }
        (self.last_applied, self.applying) = (applied, applied);
        self.snapshot = Some(snapshot);
        self.taking.start_over(at.index, self.now);
        self.commit(self.commit_index.max(at.index));
    }
}
