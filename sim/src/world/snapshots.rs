//! Snapshots at work: built from state machines, read for followers, received, installed (§7).

use actix_raft::application::{Snapshotting, StateMachine};
use actix_raft_core::event::Event;
use actix_raft_core::snapshot::{Snapshot, SnapshotChunk};
use actix_raft_core::stored::Base;
use actix_raft_core::types::{Index, LogPosition, NodeId};
use actix_raft_log::error::SnapshotError;
use actix_raft_log::snapshots::SnapshotStore;

use super::clients::Reply;
use super::{Happening, World};
use crate::coverage::Situation;
use crate::disk::Trap;
use crate::fault::Crash;
use crate::laws::{Broken, law};
use crate::workload::Workload;

/// What a server's disk does for a snapshot, one thing after another.
pub(crate) enum Job {
    /// Write this state.
    Build(Base, Option<Snapshotting>),
    /// Store a piece of a leader's snapshot.
    Store(Snapshot, SnapshotChunk),
    /// Put what was received in the place of everything.
    Install(Snapshot),
}

impl Job {
    /// What it makes the latest snapshot, if it comes so far.
    fn makes(&self) -> Option<&Base> {
        match self {
            Job::Build(base, _) => Some(base),
            Job::Install(snapshot) => Some(&snapshot.base),
            Job::Store(..) => None,
        }
    }
}

/// A piece that a leader wants of its snapshot.
pub(crate) struct Piece {
    pub(crate) snapshot: Snapshot,
    pub(crate) offset: u64,
    pub(crate) max_bytes: usize,
}

/// What came of a job.
enum Made {
    /// A snapshot, or nothing: the state machine takes none.
    Built(Option<Snapshot>),
    Stored(LogPosition, u64),
    Installed(Snapshot, bool),
}

fn work(store: &SnapshotStore, job: Job) -> Result<Made, SnapshotError> {
    match job {
        Job::Build(_, None) => Ok(Made::Built(None)),
        Job::Build(base, Some(state)) => {
            let position = base.last_included;
            let mut writer = store.create(base)?;
            state(&mut writer).map_err(|source| SnapshotError::Io {
                operation: "write the state into",
                file: format!("the snapshot of {position}"),
                source,
            })?;
            writer.finish().map(|snapshot| Made::Built(Some(snapshot)))
        }
        Job::Store(snapshot, chunk) => {
            let received = store.receive(&snapshot, &chunk)?;
            Ok(Made::Stored(snapshot.last_included(), received))
        }
        Job::Install(snapshot) => {
            let installed = store.install(&snapshot)?;
            Ok(Made::Installed(snapshot, installed))
        }
    }
}

impl<W: Workload> World<W> {
    /// The core wants a snapshot of the state as it is.
    pub(super) fn build_snapshot(&mut self, at: usize, base: Base) {
        let Some(running) = self.servers[at].running() else { return };
        let state = running.machine.snapshot();
        self.will_work(at, Job::Build(base, state));
    }

    pub(super) fn will_work(&mut self, at: usize, job: Job) {
        let Some(running) = self.servers[at].running() else { return };
        running.jobs.push_back(job);
        self.start_job(at);
    }

    fn start_job(&mut self, at: usize) {
        let server = &mut self.servers[at];
        let (life, slower, stalled) = (server.life, server.disk.slower, server.disk.stalled_until);
        let Some(running) = server.running() else { return };
        if running.jobs.is_empty() || running.works {
            return;
        }
        running.works = true;
        let begin = self.now.max(stalled);
        let wait = self.dice.duration(self.weather.snapshot.0, self.weather.snapshot.1) + slower;
        self.queue.put(begin + wait, Happening::Worked(at, life));
    }

    /// The disk is done with a job: now is when all of it happens.
    pub(super) fn worked(&mut self, at: usize) -> Result<(), Broken> {
        let server = &mut self.servers[at];
        if server.running().is_none_or(|running| !running.works) {
            return Ok(());
        }
        if server.disk.stalled_until > self.now {
            let (life, until) = (server.life, server.disk.stalled_until);
            self.queue.put(until, Happening::Worked(at, life));
            return Ok(());
        }
        match server.disk.trap.take() {
            Some(Trap::Crash(crash, operations, restart)) => {
                self.coverage.note(Situation::CrashedInSnapshot);
                self.crash_in_save(at, crash, Some(operations))?;
                self.queue.put(restart, Happening::Restart(at));
                return Ok(());
            }
            Some(Trap::Error(operations)) => server.disk.fail_after(operations, false),
            None => {}
        }
        let Some(running) = server.running() else { return Ok(()) };
        running.works = false;
        let Some(job) = running.jobs.pop_front() else { return Ok(()) };
        let makes = job.makes().cloned();
        let installs = matches!(job, Job::Install(_));
        let made = work(&running.wal.snapshots(), job);
        self.servers[at].disk.repair();
        match made {
            Ok(_) if installs && self.dies_now() => {
                // Before anybody hears of it: the log does not know it yet.
                let power = self.odd_dice.number();
                self.servers[at].snapshot_in_doubt = makes;
                self.crash(at, Crash::Power(power))?;
                let wait = self.plan.config.election_timeout;
                self.after(wait, Happening::Restart(at));
            }
            Ok(made) => self.made(at, made)?,
            Err(SnapshotError::Damaged { .. }) if self.servers[at].disk.flipped => {
                self.coverage.note(Situation::BitFlipFound);
                self.fail_stop(at);
            }
            Err(error) => {
                let refused = matches!(error, SnapshotError::Io { .. });
                law!(refused, "a snapshot is stored", "server {}: {error}", at + 1);
                self.coverage.note(Situation::SnapshotFailed);
                self.tell(|| format!("server {} stops: {error}", at + 1));
                self.servers[at].snapshot_in_doubt = makes;
                self.fail_stop(at);
            }
        }
        self.start_job(at);
        Ok(())
    }

    fn dies_now(&mut self) -> bool {
        let chaos = self.shown.is_none() && self.cleared.is_none();
        chaos && self.odd_dice.below(6) == 0
    }

    fn made(&mut self, at: usize, made: Made) -> Result<(), Broken> {
        match made {
            Made::Built(None) => self.hears(at, Event::SnapshotBuilt { snapshot: None }),
            Made::Built(Some(snapshot)) => {
                self.coverage.note(Situation::SnapshotBuilt);
                self.shadows[at].snapshot = Some(snapshot.clone());
                self.laws.is_snapshot(&self.shadows[at])?;
                self.hears(at, Event::SnapshotBuilt { snapshot: Some(snapshot) });
            }
            Made::Stored(last_included, received) => {
                self.flip_incoming(at);
                self.hears(at, Event::SnapshotChunkStored { last_included, received });
            }
            Made::Installed(snapshot, installed) => {
                let last_included = snapshot.last_included();
                if installed {
                    self.coverage.note(Situation::SnapshotInstalled);
                    self.shadows[at].snapshot = Some(snapshot);
                    self.laws.is_snapshot(&self.shadows[at])?;
                    self.restores(at)?;
                } else {
                    let known = std::mem::take(&mut self.servers[at].disk.incoming_flipped);
                    law!(
                        known,
                        "what a leader sends is installed (§7)",
                        "server {} finds the snapshot of {last_included} damaged",
                        at + 1
                    );
                    self.coverage.note(Situation::DamagedSnapshotRefused);
                }
                self.hears(at, Event::SnapshotInstalled { last_included, installed });
            }
        }
        Ok(())
    }

    /// The state machine takes its state from the latest snapshot.
    fn restores(&mut self, at: usize) -> Result<(), Broken> {
        let Some(running) = self.servers[at].running() else { return Ok(()) };
        let store = running.wal.snapshots();
        let index = restore::<W>(&store, &mut running.machine)
            .map_err(|what| Broken { law: "a snapshot is read back (§7)", what })?;
        running.applying = None;
        // Their commands are part of that state, and what they were answered is not.
        let passed = running.writes.partition_point(|(waiting, _)| *waiting <= index);
        let passed: Vec<_> = running.writes.drain(..passed).map(|(_, id)| id).collect();
        let fingerprint = W::fingerprint(&running.machine);
        self.refuse(passed, || Reply::Unknown);
        self.shadows[at].applied = index;
        self.shadows[at].applying = index;
        self.answer_included(at, index);
        self.is_state_of(at, index, fingerprint)
    }

    /// A state that was read from a snapshot is that which the log leads to.
    pub(super) fn is_state_of(
        &mut self,
        at: usize,
        index: Index,
        fingerprint: u64,
    ) -> Result<(), Broken> {
        let known = *self.fingerprints.entry(index).or_insert(fingerprint);
        law!(
            known == fingerprint,
            "a snapshot holds the state at its last included entry (§7)",
            "server {}, at {index}",
            at + 1
        );
        Ok(())
    }

    /// A leader wants a piece of its snapshot.
    pub(super) fn read_piece(&mut self, at: usize, to: NodeId, piece: Piece) {
        let Some(running) = self.servers[at].running() else { return };
        running.pieces.insert(to, piece);
        let wait = self.dice.duration(self.weather.read.0, self.weather.read.1);
        self.after(wait, Happening::PieceRead(at, self.servers[at].life, to));
    }

    pub(super) fn piece_read(&mut self, at: usize, to: NodeId) -> Result<(), Broken> {
        let Some(running) = self.servers[at].running() else { return Ok(()) };
        let Some(Piece { snapshot, offset, max_bytes }) = running.pieces.remove(&to) else {
            return Ok(());
        };
        let last_included = snapshot.last_included();
        let chunk = match running.wal.snapshots().read(&snapshot, offset, max_bytes) {
            Ok(chunk) => chunk,
            Err(error) => {
                let known = self.servers[at].disk.flipped;
                law!(known, "what was stored can be read", "server {}: {error}", at + 1);
                self.coverage.note(Situation::BitFlipFound);
                self.tell(|| format!("server {} can't use its snapshot: {error}", at + 1));
                None
            }
        };
        self.hears(at, Event::SnapshotRead { to, last_included, chunk });
        Ok(())
    }

    /// A server crashes while its disk works for a snapshot: it has come somewhere.
    pub(super) fn crash_in_job(&mut self, at: usize) {
        let Some(running) = self.servers[at].running() else { return };
        let works = std::mem::take(&mut running.works);
        let Some(job) = running.jobs.pop_front().filter(|_| works) else { return };
        let makes = job.makes().cloned();
        // Whether it came to its end or not, nobody is told.
        let _ = work(&running.wal.snapshots(), job);
        self.servers[at].snapshot_in_doubt = makes;
    }

    fn flip_incoming(&mut self, at: usize) {
        let server = &mut self.servers[at];
        let Some(seed) = server.flip_incoming else { return };
        if server.disk.flip_incoming(seed) {
            server.flip_incoming = None;
            self.tell(|| format!("a bit flips in what server {} receives", at + 1));
        }
    }

    /// What was found to be the latest snapshot when a log was opened is what was reported, or what
    /// was about to be.
    pub(super) fn finds_snapshot(
        &mut self,
        at: usize,
        found: Option<&Snapshot>,
    ) -> Result<(), Broken> {
        let in_doubt = self.servers[at].snapshot_in_doubt.take();
        let known = &self.shadows[at].snapshot;
        let is_new = found.is_some_and(|found| Some(&found.base) == in_doubt.as_ref());
        law!(
            found == known.as_ref() || is_new,
            "a snapshot is found again, or the one before it (§7)",
            "server {} finds {found:?}, and had {known:?}",
            at + 1
        );
        if in_doubt.is_some() && found.is_some() {
            self.coverage.note(match is_new {
                true => Situation::SnapshotKept,
                false => Situation::SnapshotLost,
            });
        }
        self.shadows[at].snapshot = found.cloned();
        self.laws.is_snapshot(&self.shadows[at])
    }
}

/// Gives a machine the state of the latest snapshot; returns the last index that it includes.
pub(super) fn restore<W: Workload>(
    store: &SnapshotStore,
    machine: &mut W::Machine,
) -> Result<Index, String> {
    let reader = store.open_latest().map_err(|error| error.to_string())?;
    let Some(mut reader) = reader else { return Ok(Index::ZERO) };
    let index = reader.snapshot().last_included().index;
    machine.restore(&mut reader).map_err(|error| error.to_string())?;
    machine.applied(index);
    Ok(index)
}
