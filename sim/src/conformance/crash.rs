//! Power failures and failed writes at every operation on the disk.

mod played;
mod script;

use actix_raft::messages::Entry;
use actix_raft::storage::{Save, Snapshot, StoredState};
use actix_raft_log::crash::{CrashDisk, Survives};

use self::played::{Pending, Played};
use self::script::{Other, RECEIVED, Step, committed, script};
use super::contract::{Contract, Failure};
use super::machine::last_applied;
use super::model::{Model, show};
use super::probe::{Probe, answer, applied_singly};
use super::samples::{hard_state, vote};
use super::snapshots::JournalOf;
use super::transfer::base_of;
use super::{Subject, Suite};

/// What may be left of what was not synced.
const SURVIVALS: [Survives; 7] = [
    Survives::Nothing,
    Survives::Everything,
    Survives::FirstHalf,
    Survives::SecondHalf,
    Survives::Some(1),
    Survives::Some(2),
    Survives::Some(3),
];

/// What is played again and again.
struct Play<S: Subject> {
    steps: Vec<Step>,
    /// The entries that are applied, and what they are answered.
    committed: Vec<Entry>,
    journal: JournalOf<S>,
    /// Where a snapshot comes from, if there are any.
    other: Option<Other<S::Application>>,
}

impl<S: Subject> Suite<'_, S> {
    pub(super) async fn check_crashes(&mut self) -> Result<(), Failure> {
        let contracts = [
            Contract::OpensAfterPowerFailure,
            Contract::PowerFailure,
            Contract::AtomicSaves,
            Contract::FailStop,
        ];
        if self.subject.open_on(CrashDisk::new()).await.is_none() {
            self.report.skipped.extend(contracts);
            self.skip(Contract::SnapshotPowerFailure);
            return Ok(());
        }
        let contract = Contract::OpensAfterPowerFailure;
        let committed = committed(&self.samples);
        let journal = applied_singly(self.subject, &committed, contract).await?;
        let other = match self.takes_snapshots {
            true => Some(Other::build(self.open(contract).await?, &committed).await?),
            false => None,
        };
        let steps = script(&self.samples, other.as_ref()).await?;
        let play = Play { steps, committed, journal, other };
        self.check_power_failures(&play).await?;
        self.check_failed_operations(&play).await?;
        self.report.held.extend(contracts);
        match self.takes_snapshots {
            true => self.holds(Contract::SnapshotPowerFailure),
            false => self.skip(Contract::SnapshotPowerFailure),
        }
        Ok(())
    }

    async fn check_power_failures(&mut self, play: &Play<S>) -> Result<(), Failure> {
        for operation in 1.. {
            let disk = CrashDisk::new();
            disk.power_off_at(operation);
            let when = format!("the power failed at operation {operation}");
            let played = self.play(&disk, operation, play, &when).await?;
            let done = !played.failed && disk.operations() < operation;
            for (n, survives) in (0..).zip(SURVIVALS) {
                let when = format!("{when}, and of what was not synced survived {survives:?}");
                let crashed = disk.crash(survives);
                // Each in its turn: all would take long and tell little more.
                if operation % (3 * SURVIVALS.len() as u64) == 3 * n {
                    self.check_crashed_opening(&crashed, &played, play, &when).await?;
                }
                self.check_resumed(&crashed, &played, play, &when).await?;
                self.check_survivor(&crashed, &played, play, &when).await?;
            }
            if done {
                break;
            }
        }
        Ok(())
    }

    /// The power fails again, while the storage is opened.
    async fn check_crashed_opening(
        &mut self,
        crashed: &CrashDisk,
        played: &Played,
        play: &Play<S>,
        when: &str,
    ) -> Result<(), Failure> {
        for operation in 1.. {
            let disk = crashed.crash(Survives::Everything);
            disk.power_off_at(operation);
            let opened = match self.subject.open_on(disk.clone()).await {
                Some(Ok(storage)) => answer(storage.initial_state()).await.is_ok(),
                Some(Err(_)) | None => false,
            };
            let done = opened && disk.operations() < operation;
            let when = format!("{when}, and it failed again at operation {operation} of opening");
            for survives in [Survives::Nothing, Survives::Some(operation)] {
                self.check_survivor(&disk.crash(survives), played, play, &when).await?;
            }
            if done {
                break;
            }
        }
        Ok(())
    }

    /// One operation fails, and all later ones work.
    async fn check_failed_operations(&mut self, play: &Play<S>) -> Result<(), Failure> {
        for operation in 1.. {
            let disk = CrashDisk::new();
            disk.fail_at(operation, std::io::ErrorKind::StorageFull);
            let when = format!("operation {operation} failed");
            let played = self.play(&disk, operation, play, &when).await?;
            let done = !played.failed && disk.operations() < operation;
            // The process ends, and the system goes on; or its power fails.
            for survives in [Survives::Everything, Survives::Nothing] {
                let when = format!("{when}, and of what was not synced survived {survives:?}");
                self.check_survivor(&disk.crash(survives), &played, play, &when).await?;
            }
            if done {
                break;
            }
        }
        Ok(())
    }

    /// Plays the script until the disk fails, at this operation, and a little on.
    async fn play(
        &mut self,
        disk: &CrashDisk,
        operation: u64,
        play: &Play<S>,
        when: &str,
    ) -> Result<Played, Failure> {
        let contract = Contract::FailStop;
        let models = vec![Model::default()];
        let mut played = Played { models, failed: true, ..Played::default() };
        let step = format!("a script of saves was played and {when}");
        let opened = self.subject.open_on(disk.clone()).await;
        let probe = match opened.map(|opened| Probe::new(opened, contract, step)) {
            Some(Ok(probe)) => probe,
            Some(Err(failure)) if disk.operations() < operation => return Err(failure),
            Some(Err(_)) | None => return Ok(played),
        };
        match probe.initial_state().await {
            Ok(state) => played.disk = state.disk,
            Err(failure) if disk.operations() < operation => return Err(failure),
            Err(_) => return Ok(played),
        }
        played.failed = false;
        for step in &play.steps {
            let refused = match step {
                Step::Save(saves) => played.save(&probe, saves.clone()).await?,
                Step::Apply(until) => {
                    let entries = &play.committed[played.applied as usize..*until as usize];
                    played.applied = *until;
                    let applied = probe.apply(entries).await;
                    applied.and_then(|got| play.journal.compare(&probe, entries, got)).err()
                }
                Step::Build(base) => played.build(&probe, base).await,
                Step::Receive(pieces) => {
                    played.receiving = true;
                    let Some(other) = &play.other else { continue };
                    probe.store_all(&other.snapshot, pieces).await.err()
                }
                Step::Install => {
                    let Some(other) = &play.other else { continue };
                    played.install(&probe, &other.snapshot).await
                }
            };
            match refused {
                None => {}
                Some(failure) if disk.operations() < operation => return Err(failure),
                Some(_) => {
                    if played.failed {
                        // Whatever is tried now, the storage must not promise anything.
                        let last = played.models[played.models.len() - 1].last().0;
                        let more = self.samples.save([(40, last + 1..=last + 1)]);
                        played.save(&probe, vec![vote(40, None), more]).await?;
                    }
                    // If it was something else that failed, the log may go on.
                    break;
                }
            }
        }
        Ok(played)
    }

    /// Opens what is left; it must hold what was acknowledged, or some of the next saves too, and
    /// go on.
    async fn check_survivor(
        &mut self,
        disk: &CrashDisk,
        played: &Played,
        play: &Play<S>,
        when: &str,
    ) -> Result<(), Failure> {
        let (probe, which, state) = self.open_survivor(disk, played, when).await?;
        // A node tells others what it found, so that must not be lost either.
        let models = played.models[..=which].to_vec();
        let mut found = models[which].clone();
        let again = Played {
            models,
            acknowledged: which,
            snapshot: state.snapshot.clone(),
            pending: None,
            disk: state.disk,
            ..played.clone()
        };
        let again_when = format!("{when}, and once more after it was opened");
        self.open_survivor(&disk.crash(Survives::Nothing), &again, &again_when).await?;
        let applied = last_applied(&probe, &state, played.applied)?;
        let until = played.applied.max(applied);
        let mut last = found.last().0;
        if let Some(snapshot) = &state.snapshot
            && !found.reaches(snapshot.last_included())
        {
            // The power failed before the base was saved; a node goes on with that.
            let save = Save { base: Some(snapshot.base.clone()), ..Save::default() };
            found = found.after(&save);
            last = found.last().0;
            probe.save(save).await?;
        }
        let given = &play.committed[applied as usize..until as usize];
        if !given.is_empty() {
            play.journal.compare(&probe, given, probe.apply(given).await?)?;
        }
        // Over the last entry, if it is not one that was applied.
        let first = if last > until { last } else { last + 1 };
        let more = self.samples.save([(50, first..=first + 3), (51, first + 4..=first + 5)]);
        let more = Save { hard_state: Some(hard_state(51, Some(1))), ..more };
        let after = found.after(&more);
        probe.save(more).await?;
        let when = format!("{when}, and once more after a save");
        let models = vec![found, after.clone()];
        let again = Played { models, acknowledged: 1, applied: until, ..again };
        let disk = disk.crash(Survives::Nothing);
        let (survivor, _, state) = self.open_survivor(&disk, &again, &when).await?;
        last_applied(&survivor, &state, until)?;
        probe.check_log(&after).await
    }

    /// Opens what is left, and lets a snapshot come to its end that was being received.
    async fn check_resumed(
        &mut self,
        disk: &CrashDisk,
        played: &Played,
        play: &Play<S>,
        when: &str,
    ) -> Result<(), Failure> {
        let Some(other) = play.other.as_ref().filter(|_| played.receiving) else { return Ok(()) };
        let disk = disk.crash(Survives::Nothing);
        let (mut probe, _, state) = self.open_survivor(&disk, played, when).await?;
        if state.snapshot.as_ref() == Some(&other.snapshot) {
            return Ok(());
        }
        probe.step(format!("the rest of a snapshot is received after {when}"));
        probe.about(Contract::SnapshotPowerFailure);
        probe.fetch(&other.snapshot, &other.probe).await?;
        let (base, end) = (RECEIVED as usize, RECEIVED as usize + 5);
        let entries = &play.committed[base..end];
        let base = Some(base_of(&play.committed[..base]));
        probe.save(Save { base, entries: vec![entries.into()], ..Save::default() }).await?;
        play.journal.compare(&probe, entries, probe.apply(entries).await?)
    }

    /// Opens what is left: after how many of the saves it is.
    async fn open_survivor(
        &mut self,
        disk: &CrashDisk,
        played: &Played,
        when: &str,
    ) -> Result<(Probe<S::Application>, usize, StoredState), Failure> {
        let contract = Contract::OpensAfterPowerFailure;
        let step = format!("it was opened after {when}");
        let Some(opened) = self.subject.open_on(disk.clone()).await else {
            let expected = "a storage that can run on a disk, as before".to_string();
            return Err(Failure { contract, step, expected, found: "none".to_string() });
        };
        let probe = Probe::new(opened, contract, step.clone())?;
        let (which, state, found) = probe.which(&played.models).await?;
        let Played { models, acknowledged, .. } = played;
        match which {
            Some(which) if which >= *acknowledged => {
                self.check_snapshot(probe, which, state, played).await
            }
            which => {
                let contract = match which {
                    Some(_) => Contract::PowerFailure,
                    None => Contract::AtomicSaves,
                };
                let Model { hard_state, base, entries } = &models[*acknowledged];
                let expected = show(*hard_state, base, entries);
                let unanswered = models.len() - 1 - acknowledged;
                let expected = match unanswered {
                    0 => format!("what was acknowledged: {expected}"),
                    _ => format!("{expected}, or that after some of {unanswered} more saves"),
                };
                Err(Failure { contract, step, expected, found })
            }
        }
    }

    /// The snapshot that is found must be the latest one, or the one that was to become it.
    async fn check_snapshot(
        &self,
        mut probe: Probe<S::Application>,
        which: usize,
        state: StoredState,
        played: &Played,
    ) -> Result<(Probe<S::Application>, usize, StoredState), Failure> {
        let contract = probe.contract();
        if played.acknowledged > 0 && state.disk != played.disk {
            probe.about(Contract::DiskId);
            return Err(probe.failure(format!("{:?}", played.disk), format!("{:?}", state.disk)));
        }
        probe.about(Contract::SnapshotPowerFailure);
        let is_pending = match &played.pending {
            Some(Pending::Built(base)) => {
                state.snapshot.as_ref().is_some_and(|snapshot| snapshot.base == *base)
            }
            Some(Pending::Installed(snapshot)) => state.snapshot.as_ref() == Some(snapshot),
            None => false,
        };
        if state.snapshot != played.snapshot && !is_pending {
            let show = |snapshot: &Option<Snapshot>| match snapshot {
                Some(snapshot) => format!("a snapshot of {}", snapshot.last_included()),
                None => "no snapshot".to_string(),
            };
            return Err(probe.failure(show(&played.snapshot), show(&state.snapshot)));
        }
        if let Some(snapshot) = &state.snapshot {
            probe.snapshot_bytes(snapshot).await?;
        }
        probe.about(contract);
        Ok((probe, which, state))
    }
}
