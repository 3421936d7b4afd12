//! Disks at work, and what happens to them when a server crashes and starts again.

use actix_raft_core::config::Config;
use actix_raft_core::event::Event;
use actix_raft_core::raft::Raft;
use actix_raft_core::snapshot::Snapshot;
use actix_raft_core::status::RoleName;
use actix_raft_core::stored::{Save, StoredState};
use actix_raft_core::types::{GroupId, Index};

use super::clients::Reply;
use super::snapshots::restore;
use super::{Happening, World};
use crate::coverage::Situation;
use crate::disk::{Trap, read_back};
use crate::fault::Crash;
use crate::laws::{Broken, law};
use crate::server::{Running, State};
use crate::workload::Workload;

const RECOVERY_LAW: &str = "what was acknowledged is found again, and a save whole or not at all";

impl<W: Workload> World<W> {
    /// The log's writer takes what waits, if it is idle.
    pub(super) fn start_save(&mut self, at: usize) {
        let server = &mut self.servers[at];
        let (life, slower, stalled) = (server.life, server.disk.slower, server.disk.stalled_until);
        let Some(running) = server.running() else { return };
        if running.saves.is_empty() || !running.saving.is_empty() {
            return;
        }
        // All that waits; but some of it may have come too late to be taken along.
        let waiting = running.saves.len();
        let late = self.shown.is_none() && self.dice.below(4) == 0;
        let taken = if late { 1 + self.dice.place(waiting) } else { waiting };
        running.saving = running.saves.drain(..taken).collect();
        let begin = self.now.max(stalled);
        let wait = self.dice.duration(self.weather.save.0, self.weather.save.1) + slower;
        self.queue.put(begin + wait, Happening::Saved(at, life));
    }

    /// The writer is done: now is when all of it happens to the disk.
    pub(super) fn saved(&mut self, at: usize) -> Result<(), Broken> {
        let server = &mut self.servers[at];
        if server.running().is_none_or(|running| running.saving.is_empty()) {
            return Ok(());
        }
        if server.disk.stalled_until > self.now {
            let (life, until) = (server.life, server.disk.stalled_until);
            self.queue.put(until, Happening::Saved(at, life));
            return Ok(());
        }
        match server.disk.trap.take() {
            Some(Trap::Crash(crash, operations, restart)) => {
                self.coverage.note(Situation::CrashedInSave);
                self.crash_in_save(at, crash, Some(operations))?;
                self.queue.put(restart, Happening::Restart(at));
                return Ok(());
            }
            Some(Trap::Error(operations)) => server.disk.fail_after(operations, false),
            None => {}
        }
        let segments = server.disk.segments();
        let Some(running) = server.running() else { return Ok(()) };
        let batch = std::mem::take(&mut running.saving);
        let saves: Vec<Save> = batch.iter().map(|(_, save)| save.clone()).collect();
        if let Err(error) = running.wal.save(&saves) {
            law!(!error.is_refusal(), "a core saves what continues its log", "{error}");
            let again = running.wal.save(&saves);
            law!(
                again.is_err(),
                "after a failed write or sync nothing more is acknowledged",
                "server {}: {error}",
                at + 1
            );
            let full = server.disk.full;
            self.coverage.note(if full { Situation::DiskFull } else { Situation::DiskFailed });
            self.tell(|| format!("server {} stops: {error}", at + 1));
            self.servers[at].in_doubt = saves;
            self.fail_stop(at);
            return Ok(());
        }
        self.is_durable(at, &saves)?;
        let Some(running) = self.servers[at].running() else { return Ok(()) };
        let idle = running.saves.is_empty();
        if idle && let Err(error) = running.wal.mark() {
            self.tell(|| format!("server {} stops: {error}", at + 1));
            self.fail_stop(at);
            return Ok(());
        }
        let state = running.wal.state();
        let durable = &self.shadows[at].durable;
        law!(
            state.hard_state == durable.hard_state && state.last_log == durable.last(),
            "a log holds what was saved",
            "server {}: {state:?}",
            at + 1
        );
        if self.servers[at].disk.segments() > segments {
            self.coverage.note(Situation::SegmentBegun);
        }
        self.flip_bit(at);
        // A writer tells of each save, or of the last only.
        let each = self.shown.is_none() && self.dice.below(2) == 0;
        let last = batch.last().map(|(id, _)| *id);
        for (id, _) in batch {
            if each || Some(id) == last {
                self.hears(at, Event::Saved { id });
            }
        }
        self.start_save(at);
        Ok(())
    }

    /// Saves are on disk.
    fn is_durable(&mut self, at: usize, saves: &[Save]) -> Result<(), Broken> {
        for save in saves {
            self.shadows[at].durable.write(save);
            self.laws.is_durable(&self.shadows[at])?;
            self.laws.is_trusted(&mut self.shadows[at])?;
        }
        Ok(())
    }

    /// A flipped bit is told from a torn tail only if something whole comes after it: so it hits
    /// what was written before the last save.
    fn flip_bit(&mut self, at: usize) {
        let server = &mut self.servers[at];
        let Some(seed) = server.flip else { return };
        if server.disk.flip_bit(seed) {
            server.flip = None;
            self.tell(|| format!("a bit flips on the disk of server {}", at + 1));
        }
    }

    pub(super) fn crash(&mut self, at: usize, crash: Crash) -> Result<(), Broken> {
        self.crash_in_save(at, crash, None)
    }

    /// A server stops. If it was writing, it stops somewhere in that.
    pub(super) fn crash_in_save(
        &mut self,
        at: usize,
        crash: Crash,
        operations: Option<u64>,
    ) -> Result<(), Broken> {
        let leads = self.servers[at].leads();
        let Some(running) = self.servers[at].running() else { return Ok(()) };
        self.counts.crashes += 1;
        let batch = std::mem::take(&mut running.saving);
        let saves: Vec<Save> = batch.into_iter().map(|(_, save)| save).collect();
        let operations = operations.or_else(|| self.dice.below(10).checked_sub(1));
        if let Some(operations) = operations.filter(|_| !saves.is_empty()) {
            self.servers[at].disk.fail_after(operations, true);
            let Some(running) = self.servers[at].running() else { return Ok(()) };
            match running.wal.save(&saves) {
                // It was done before the crash, and nobody was told.
                Ok(()) => self.is_durable(at, &saves)?,
                Err(_) => self.servers[at].in_doubt = saves,
            }
        }
        self.crash_in_job(at);
        self.coverage.note(match crash {
            Crash::Process => Situation::CrashedByKill,
            Crash::Power(_) => Situation::CrashedByPower,
        });
        if leads {
            self.coverage.note(Situation::LeaderCrashed);
        }
        self.tell(|| format!("server {} crashes: {crash}", at + 1));
        self.go_down(at);
        self.servers[at].disk.crash(crash);
        Ok(())
    }

    /// A server's disk has failed it: it stops, and is started again by someone later.
    pub(super) fn fail_stop(&mut self, at: usize) {
        self.go_down(at);
        self.servers[at].disk.crash(Crash::Process);
        if self.shown.is_none() {
            let patience = self.plan.config.election_timeout;
            let wait = self.dice.duration(patience, patience * 8);
            self.after(wait, Happening::Restart(at));
        }
    }

    fn go_down(&mut self, at: usize) {
        if let Some(running) = self.servers[at].running() {
            let waiting = running.waiting();
            // Their connections break: perhaps done, perhaps not.
            self.refuse(waiting, || Reply::Unknown);
        }
        let down = std::mem::replace(&mut self.servers[at].state, State::Down);
        if let State::Up(running) = down
            && self.plan.durable_machines
        {
            self.servers[at].kept = Some((running.machine, self.shadows[at].applied));
        }
        self.servers[at].life += 1;
        let shadow = &mut self.shadows[at];
        shadow.live = shadow.durable.clone();
        shadow.applied = Index::ZERO;
        shadow.applying = Index::ZERO;
        self.laws.crashed(at);
    }

    pub(super) fn restart(&mut self, at: usize) -> Result<(), Broken> {
        let server = &mut self.servers[at];
        if !matches!(server.state, State::Down) {
            return Ok(());
        }
        let is_sound = !server.disk.full && !server.disk.flipped && server.life > 0;
        if self.shown.is_none() && is_sound && self.odd_dice.below(6) == 0 {
            server.disk.dies_opening(self.odd_dice.below(10), self.odd_dice.number());
            self.coverage.note(Situation::CrashedInOpening);
            self.tell(|| format!("server {} loses power while it opens its log", at + 1));
        }
        let server = &mut self.servers[at];
        let used = server.disk.used_bytes();
        let failing = server.disk.opening.is_some();
        let opened = server.disk.open();
        let wal = match opened {
            Ok(wal) => wal,
            Err(error) if server.disk.flipped => return self.lose(at, &error.to_string()),
            Err(error) => {
                let refused = server.disk.full || failing;
                law!(refused, "a log opens after a crash", "server {}: {error}", at + 1);
                if failing {
                    self.coverage.note(Situation::OpeningFailed);
                }
                self.tell(|| format!("server {} does not start: {error}", at + 1));
                if self.shown.is_none() {
                    let wait = self.plan.config.election_timeout * 2;
                    self.after(wait, Happening::Restart(at));
                }
                return Ok(());
            }
        };
        if server.disk.used_bytes() < used {
            self.coverage.note(Situation::TornTailCut);
        }
        let image = match read_back(&wal) {
            Ok(image) => image,
            Err(error) if server.disk.flipped => return self.lose(at, &error),
            Err(error) => {
                law!(false, RECOVERY_LAW, "server {}: {error}", at + 1);
                return Ok(());
            }
        };
        let in_doubt = std::mem::take(&mut server.in_doubt);
        let latest = wal.state().snapshot.clone();
        self.finds_snapshot(at, latest.as_ref())?;
        let durable = &self.shadows[at].durable;
        if image != *durable || !in_doubt.is_empty() {
            let (mut without, mut with) = (durable.clone(), durable.clone());
            in_doubt.iter().for_each(|save| with.write(save));
            without.begin_after_installed(latest.as_ref());
            with.begin_after_installed(latest.as_ref());
            if without.purged() > durable.purged() {
                self.coverage.note(Situation::InstallFinished);
            }
            law!(
                image == without || image == with,
                RECOVERY_LAW,
                "server {} finds {:?} and a log that ends at {}; acknowledged were {:?} and {}",
                at + 1,
                image.hard_state,
                image.last(),
                durable.hard_state,
                durable.last()
            );
            let kept = image == with;
            self.coverage.note(if kept { Situation::SaveKept } else { Situation::SaveLost });
        }
        self.shadows[at].durable = image.clone();
        self.shadows[at].live = image;
        self.laws.is_durable(&self.shadows[at])?;
        self.laws.is_trusted(&mut self.shadows[at])?;
        self.start(at, wal)
    }

    fn start(&mut self, at: usize, wal: actix_raft_log::wal::Wal) -> Result<(), Broken> {
        let server = &mut self.servers[at];
        if server.life > 0 {
            self.coverage.note(Situation::Restarted);
        }
        server.life += 1;
        server.paused_until = self.now;
        let seed = self.dice.number();
        // Alike for all servers, but never for two lives of one: ballots are told apart by it.
        let alike = self.plan.config.seed ^ server.life;
        let seed = if self.plan.same_seed { alike } else { seed };
        let config = Config { seed, ..server.config.clone() };
        server.config = config.clone();
        self.laws.is_configured(at, &config, wal.state().disk);
        let now = server.clock.show(self.now);
        let kept = server.kept.take();
        let (mut machine, mut applied) =
            kept.unwrap_or_else(|| (self.workload.machine(), Index::ZERO));
        let latest = self.shadows[at].snapshot.as_ref().map(Snapshot::last_included);
        if latest.is_some_and(|latest| latest.index > applied) {
            self.coverage.note(Situation::Restored);
            applied = match restore::<W>(&wal.snapshots(), &mut machine) {
                Ok(applied) => applied,
                Err(error) if self.servers[at].disk.flipped => return self.lose(at, &error),
                Err(what) => return Err(Broken { law: "a snapshot is read back (§7)", what }),
            };
            self.is_state_of(at, applied, W::fingerprint(&machine))?;
        }
        let server = &mut self.servers[at];
        self.shadows[at].applied = applied;
        self.shadows[at].applying = applied;
        let stored = StoredState { last_applied: applied, ..wal.state().clone() };
        let raft = Raft::new(server.id, GroupId(0), config, &stored, now);
        let status = raft.status();
        self.laws.starts(at, status.current_term, now, raft.deadline())?;
        law!(
            matches!(status.role, RoleName::Follower | RoleName::NonVoter)
                && (status.current_term, status.voted_for)
                    == (stored.hard_state.current_term, stored.hard_state.voted_for)
                && status.last_log == stored.last_log,
            "a server starts as a follower with what it has stored (§5.2)",
            "{status}"
        );
        let server_is_new = server.disk.times_wiped() == 0;
        let running = Running::new(raft, wal, machine, now);
        server.state = State::Up(Box::new(running));
        self.tell(|| format!("server {} starts: {status}", at + 1));
        self.arm_timer(at);
        if self.servers[at].low {
            self.hears(at, Event::DiskSpace { low: true });
        }
        let told = at < self.plan.voters && (self.plan.all_told || at == 0);
        // One that lost its disk is told again by a careless operator, which must do no harm.
        let told = told && self.shown.is_none();
        let again = server_is_new || (!self.plan.changes() && self.odd_dice.below(2) == 0);
        let told = told && again;
        if stored.is_pristine() && told {
            let wait = self.plan.config.election_timeout / 4;
            let wait = self.dice.duration(std::time::Duration::ZERO, wait);
            self.after(wait, Happening::Initialize(at));
        }
        if self.shown.is_none() && self.odd_dice.below(4) == 0 {
            let wait = self.plan.config.election_timeout * (1 + self.odd_dice.below(8) as u32);
            self.after(wait, Happening::FormsAgain(at));
        }
        Ok(())
    }

    /// A server loses its disk with all that is on it; it may start again with an empty one.
    pub(super) fn wipe(&mut self, at: usize, crash: Crash) -> Result<(), Broken> {
        self.crash(at, crash)?;
        let server = &mut self.servers[at];
        server.in_doubt.clear();
        (server.snapshot_in_doubt, server.kept) = (None, None);
        (server.flip, server.flip_incoming) = (None, None);
        server.disk.wipe(server.id);
        self.coverage.note(Situation::DiskLost);
        self.laws.loses_disk(at, &mut self.shadows[at]);
        self.tell(|| format!("server {} loses its disk", at + 1));
        Ok(())
    }

    fn lose(&mut self, at: usize, error: &str) -> Result<(), Broken> {
        self.coverage.note(Situation::BitFlipFound);
        self.tell(|| format!("server {} is lost: {error}", at + 1));
        self.servers[at].state = State::Lost;
        Ok(())
    }

    /// Someone forms the cluster on a server that was never told of one.
    pub(super) fn initialize(&mut self, at: usize) {
        let Some(running) = self.servers[at].running() else { return };
        // Another server's entries may have come first.
        let status = running.raft.status();
        if running.raft.membership().is_none() && status.last_log.index == Index::ZERO {
            let membership = self.membership.clone();
            let event = Event::Initialize { membership };
            let alone = running.inbox.iter().all(|event| !matches!(event, Event::Receive(_)));
            match alone {
                true => self.hears(at, event),
                // What waits may bring a configuration.
                false => self.after(self.plan.config.heartbeat_interval, Happening::Initialize(at)),
            }
        }
    }
}
