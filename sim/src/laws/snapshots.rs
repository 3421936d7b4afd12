//! Laws of snapshots (§7): what they stand for, when the log may be purged, and how they reach a
//! follower.

use actix_raft_core::effect::Effect;
use actix_raft_core::entry::Entry;
use actix_raft_core::event::Event;
use actix_raft_core::message::{InstallOutcome, InstallSnapshotRequest, InstallSnapshotResponse};
use actix_raft_core::snapshot::Snapshot;
use actix_raft_core::status::RoleName;
use actix_raft_core::stored::Base;
use actix_raft_core::types::{Index, LogPosition, NodeId};

use super::{Broken, Laws, Shadow, Step, law};
use crate::coverage::{Coverage, Situation};

const BASE_LAW: &str = "a snapshot stands for a committed entry and the configuration there (§7)";
const INSTALL_LAW: &str = "nothing else happens to a state that a snapshot replaces (§7)";

/// How many pieces may be unanswered.
const WINDOW: usize = 2;

impl Laws {
    /// A base stands for what was agreed upon.
    fn is_agreed(&self, id: NodeId, base: &Base) -> Result<(), Broken> {
        let at = base.last_included;
        let committed = self.committed.get(at.index.prev().0 as usize).map(Entry::position);
        law!(
            committed == Some(at),
            BASE_LAW,
            "{id} has one of {at}, and {committed:?} was committed there"
        );
        law!(
            base.membership.as_ref() == self.membership_at(at.index),
            BASE_LAW,
            "{id} has {:?} at {at}, and in force there was {:?}",
            base.membership,
            self.membership_at(at.index)
        );
        Ok(())
    }

    /// The snapshot that a server has on its disk: equal byte for byte wherever it was taken.
    pub(crate) fn is_snapshot(&mut self, shadow: &Shadow) -> Result<(), Broken> {
        let Some(snapshot) = &shadow.snapshot else { return Ok(()) };
        self.is_agreed(shadow.id, &snapshot.base)?;
        let known = self.snapshots.entry(snapshot.last_included());
        let known = known.or_insert_with(|| snapshot.clone());
        law!(
            known == snapshot,
            "two snapshots of one position are equal (§7)",
            "{} has {snapshot:?}, and another has {known:?}",
            shadow.id
        );
        Ok(())
    }

    /// The log of a server begins after another position (§7).
    pub(super) fn begins_after(
        &mut self,
        step: &Step<'_>,
        base: &Base,
        shadow: &mut Shadow,
        coverage: &mut Coverage,
    ) -> Result<(), Broken> {
        let at = base.last_included;
        let law = "only what a snapshot includes is purged (§7)";
        let before = shadow.live.purged();
        law!(
            at.index >= before,
            "what is purged never comes back (§7)",
            "the log of {} began after {before}, and now after {at}",
            shadow.id
        );
        if at != LogPosition::ZERO {
            self.is_agreed(shadow.id, base)?;
            let latest = shadow.snapshot.as_ref().map(|snapshot| snapshot.last_included().index);
            law!(
                latest.is_some_and(|latest| at.index <= latest),
                law,
                "{} begins its log after {at}, and has a snapshot up to {latest:?}",
                shadow.id
            );
            coverage.note(Situation::LogPurged);
            let kept = self.config(step).entries_kept;
            let asked = step
                .events
                .iter()
                .any(|event| matches!(event, Event::PurgeLog { .. } | Event::Configure(_)));
            law!(
                asked
                    || step.installs()
                    || latest.is_some_and(|latest| at.index.0 + kept <= latest.0),
                "as many entries stay behind a snapshot as are to be kept (§7)",
                "{} begins its log after {at}, with a snapshot up to {latest:?}",
                shadow.id
            );
            let kept = shadow.live.term_at(at.index) == Some(at.term);
            law!(
                kept || step.installs(),
                law,
                "{} drops its log up to {at}, which is not in it",
                shadow.id
            );
            let differs = |entry: &Entry| {
                self.committed.get(entry.index.prev().0 as usize).is_none_or(|own| own != entry)
            };
            if !kept && shadow.live.entries().iter().any(differs) {
                coverage.note(Situation::ConflictingLogDropped);
            }
        }
        shadow.live.begin_after(base);
        Ok(())
    }

    /// "Saves a snapshot of its current state" (§7).
    pub(super) fn builds(
        &mut self,
        step: &Step<'_>,
        base: &Base,
        shadow: &Shadow,
    ) -> Result<(), Broken> {
        self.is_agreed(shadow.id, base)?;
        law!(
            base.last_included.index == shadow.applied && shadow.applying == shadow.applied,
            "a snapshot is of the state as it is (§7)",
            "{} takes one of {} and has applied {}",
            shadow.id,
            base.last_included,
            shadow.applied
        );
        let life = &mut self.lives[step.at];
        law!(life.installing.is_none(), INSTALL_LAW, "{} takes a snapshot", shadow.id);
        let law = "one snapshot is taken at a time (§7)";
        law!(life.building.is_none(), law, "{} takes another", shadow.id);
        life.building = Some(base.clone());
        Ok(())
    }

    /// A server puts a leader's snapshot in the place of its state.
    pub(super) fn installs(
        &mut self,
        step: &Step<'_>,
        snapshot: &Snapshot,
        shadow: &Shadow,
    ) -> Result<(), Broken> {
        let (id, at) = (shadow.id, snapshot.last_included());
        self.is_agreed(id, &snapshot.base)?;
        law!(
            self.snapshots.get(&at) == Some(snapshot),
            "a leader's snapshot is one that was taken (§7)",
            "{id} installs {snapshot:?}, and known is {:?}",
            self.snapshots.get(&at)
        );
        law!(
            at.index > step.before.commit_index.min(shadow.applied),
            "a snapshot of the past is not installed (§7)",
            "{id} installs one of {at}, and has applied {}",
            shadow.applied
        );
        law!(
            shadow.applying == shadow.applied,
            INSTALL_LAW,
            "{id} installs {at} while it applies {}",
            shadow.applying
        );
        let life = &mut self.lives[step.at];
        law!(life.building.is_none(), INSTALL_LAW, "{id} installs {at} while it takes one");
        law!(life.installing.is_none(), INSTALL_LAW, "{id} installs {at} while it installs one");
        life.installing = Some(snapshot.clone());
        Ok(())
    }

    /// While a snapshot is installed a server lacks what is committed, and does not stand.
    pub(super) fn stands_still(&self, step: &Step<'_>) -> Result<(), Broken> {
        let follows = matches!(step.after.role, RoleName::Follower | RoleName::NonVoter);
        let installs = self.lives[step.at].installing.is_some();
        law!(follows || !installs, INSTALL_LAW, "{} stands while it installs", step.after);
        let applies = step.effects.iter().any(|effect| matches!(effect, Effect::Apply { .. }));
        law!(
            !applies || !installs,
            INSTALL_LAW,
            "{} applies entries while it installs a snapshot",
            step.after
        );
        Ok(())
    }

    /// A leader sends a piece of a snapshot that it has.
    pub(super) fn install_request(
        &mut self,
        step: &Step<'_>,
        to: NodeId,
        request: &InstallSnapshotRequest,
        shadow: &Shadow,
        coverage: &mut Coverage,
    ) -> Result<(), Broken> {
        let InstallSnapshotRequest { term, snapshot, chunk, .. } = request;
        let (id, at) = (shadow.id, snapshot.last_included());
        law!(
            self.leaders.get(term) == Some(&id),
            "Election Safety (Figure 3)",
            "{id} speaks as the leader of term {term}"
        );
        law!(
            self.snapshots.get(&at) == Some(snapshot),
            "a leader sends its own snapshot (§7)",
            "{id} sends {snapshot:?}, and known is {:?}",
            self.snapshots.get(&at)
        );
        law!(
            shadow.snapshot.as_ref().is_some_and(|latest| latest.last_included() >= at),
            "a leader sends its own snapshot (§7)",
            "{id} sends one of {at}, and has {:?}",
            shadow.snapshot
        );
        self.lives[step.at].spoken.insert(to, step.now);
        if chunk.data.is_empty() {
            coverage.note(Situation::SnapshotOffered);
            return Ok(());
        }
        let life = &mut self.lives[step.at];
        let has = life.received.get(&to).filter(|(of, _)| *of == at).map_or(0, |(_, bytes)| *bytes);
        law!(
            chunk.offset >= has || step.events.len() > 1,
            "a transfer goes on where it stopped (§7)",
            "{id} sends {to} what follows {}, and heard that it has {has}",
            chunk.offset
        );
        let (since, bytes) = life.sent_bytes.entry(to).or_insert((step.now, 0));
        *bytes += chunk.data.len() as u64;
        if let Some(rate) = self.configs[step.at].snapshot_bytes_per_second {
            let pieces = 2 * self.limits[step.at].piece_bytes as u64;
            let most = step.now.since(*since).as_secs_f64() * rate as f64 + pieces as f64;
            let in_time = *bytes as f64 <= most;
            law!(
                in_time,
                "a snapshot is sent no faster than it may be",
                "{id} has sent {bytes} bytes to {to} since {since}"
            );
        }
        let sent = self.lives[step.at].pieces.entry(to).or_default();
        sent.requests += 1;
        sent.bytes += chunk.data.len();
        law!(
            chunk.data.len() <= self.limits[step.at].piece_bytes,
            "a piece of a snapshot is bounded (§7)",
            "{id} sends {} bytes to {to}",
            chunk.data.len()
        );
        // One may be on its way from the disk when an answer lets the window begin anew.
        let most = WINDOW * (1 + sent.chances) + 1;
        law!(
            sent.requests <= most,
            "what is in flight to a follower is bounded",
            "{id} has sent {} pieces to {to}, unanswered",
            sent.requests
        );
        Ok(())
    }

    /// What a follower says that it has is on its disk.
    pub(super) fn install_response(
        &mut self,
        response: &InstallSnapshotResponse,
        shadow: &Shadow,
        coverage: &mut Coverage,
    ) -> Result<(), Broken> {
        let at = response.last_included;
        match response.outcome {
            InstallOutcome::Received { offset } => {
                let size = self.snapshots.get(&at).map_or(u64::MAX, |snapshot| snapshot.size);
                law!(
                    offset <= size,
                    "a follower has no more of a snapshot than there is (§7)",
                    "{} has {offset} bytes of {size}",
                    shadow.id
                );
            }
            InstallOutcome::Installed => {
                coverage.note(Situation::InstallAnswered);
                let held = shadow.durable.purged() >= at.index
                    || shadow.durable.term_at(at.index) == Some(at.term);
                let snapshot = shadow.snapshot.as_ref().map(|snapshot| snapshot.last_included());
                let base = shadow.durable.purged();
                law!(
                    held && (base == Index::ZERO
                        || snapshot.is_some_and(|snapshot| snapshot.index >= base)),
                    "what is acknowledged is on disk, and is the leader's (§5.3)",
                    "{} acknowledges the snapshot of {at}, and its log begins after {base}",
                    shadow.id
                );
            }
        }
        Ok(())
    }
}
