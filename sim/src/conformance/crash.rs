//! Power failures and failed writes at every operation on the disk.

use actix_raft::application::Application;
use actix_raft::messages::Entry;
use actix_raft::storage::{Save, StoredState};
use actix_raft_log::crash::{CrashDisk, Survives};

use super::contract::{Contract, Failure};
use super::machine::last_applied;
use super::model::{Model, show};
use super::probe::{Journal, Probe, Refusal, answer, answers_in_order, applied_singly};
use super::samples::{Samples, base, hard_state, membership, vote};
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

/// How far the script applies its entries: they are never overwritten.
const COMMITTED: u64 = 6;

enum Step {
    /// Saves that are outstanding together.
    Save(Vec<Save>),
    /// Apply the entries up to this one.
    Apply(u64),
}

/// Everything a storage goes through: a first configuration, votes, appends, truncations, several
/// saves at a time, a large one.
fn script(samples: &Samples) -> Vec<Step> {
    let both = |term, save: Save| Save { hard_state: Some(hard_state(term, Some(3))), ..save };
    vec![
        Step::Save(vec![base(membership(4))]),
        Step::Save(vec![vote(1, Some(1))]),
        Step::Save(vec![samples.save([(1, 1..=1)])]),
        Step::Save(vec![samples.save([(1, 2..=4)]), samples.save([(1, 5..=9)])]),
        Step::Apply(3),
        Step::Save(vec![both(2, samples.save([(2, 5..=6)]))]),
        Step::Save(vec![samples.save([(2, 7..=12)])]),
        Step::Save(vec![
            samples.save([(3, 13..=16), (4, 10..=14)]),
            vote(5, None),
            both(5, samples.save([(5, 15..=20)])),
        ]),
        Step::Apply(COMMITTED),
        Step::Save(vec![samples.save([(5, 21..=90)])]),
        Step::Save(vec![
            samples.save([(5, 91..=120)]),
            both(6, samples.save([(6, 88..=88)])),
            samples.save([(6, 89..=89), (7, 89..=95), (8, 94..=94)]),
        ]),
        Step::Save(vec![vote(9, Some(2))]),
        Step::Save(vec![samples.save([(9, 30..=34)])]),
    ]
}

/// What became of a script.
struct Played {
    /// What the log must be after each save that was sent; first, before any.
    models: Vec<Model>,
    /// How many saves were acknowledged.
    acknowledged: usize,
    /// How far entries were handed to the state machine.
    applied: u64,
    failed: bool,
}

type JournalOf<S> = Journal<<<S as Subject>::Application as Application>::Response>;

impl<S: Subject> Suite<'_, S> {
    pub(super) async fn check_crashes(&mut self) -> Result<(), Failure> {
        let contracts = [
            Contract::OpensAfterPowerFailure,
            Contract::PowerFailure,
            Contract::AtomicSaves,
            Contract::SnapshotPowerFailure,
            Contract::FailStop,
        ];
        if self.subject.open_on(CrashDisk::new()).await.is_none() {
            self.report.skipped.extend(contracts);
            return Ok(());
        }
        let committed = committed(&self.samples);
        let contract = Contract::OpensAfterPowerFailure;
        let mut journal = applied_singly(self.subject, &committed, contract).await?;
        self.check_power_failures(&mut journal).await?;
        self.check_failed_operations(&mut journal).await?;
        self.report.held.extend(contracts);
        Ok(())
    }

    async fn check_power_failures(&mut self, journal: &mut JournalOf<S>) -> Result<(), Failure> {
        for operation in 1.. {
            let disk = CrashDisk::new();
            disk.power_off_at(operation);
            let when = format!("the power failed at operation {operation}");
            let played = self.play(&disk, operation, journal, &when).await?;
            let done = !played.failed && disk.operations() < operation;
            for (n, survives) in (0..).zip(SURVIVALS) {
                let when = format!("{when}, and of what was not synced survived {survives:?}");
                let crashed = disk.crash(survives);
                // Each in its turn: all would take long and tell little more.
                if operation % (3 * SURVIVALS.len() as u64) == 3 * n {
                    self.check_crashed_opening(&crashed, &played, journal, &when).await?;
                }
                self.check_survivor(&crashed, &played, journal, &when).await?;
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
        journal: &mut JournalOf<S>,
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
                self.check_survivor(&disk.crash(survives), played, journal, &when).await?;
            }
            if done {
                break;
            }
        }
        Ok(())
    }

    /// One operation fails, and all later ones work.
    async fn check_failed_operations(&mut self, journal: &mut JournalOf<S>) -> Result<(), Failure> {
        for operation in 1.. {
            let disk = CrashDisk::new();
            disk.fail_at(operation, std::io::ErrorKind::StorageFull);
            let when = format!("operation {operation} failed");
            let played = self.play(&disk, operation, journal, &when).await?;
            let done = !played.failed && disk.operations() < operation;
            // The process ends, and the system goes on; or its power fails.
            for survives in [Survives::Everything, Survives::Nothing] {
                let when = format!("{when}, and of what was not synced survived {survives:?}");
                self.check_survivor(&disk.crash(survives), &played, journal, &when).await?;
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
        journal: &mut JournalOf<S>,
        when: &str,
    ) -> Result<Played, Failure> {
        let contract = Contract::FailStop;
        let models = vec![Model::default()];
        let mut played = Played { models, acknowledged: 0, applied: 0, failed: true };
        let step = format!("a script of saves was played and {when}");
        let opened = self.subject.open_on(disk.clone()).await;
        let probe = match opened.map(|opened| Probe::new(opened, contract, step)) {
            Some(Ok(probe)) => probe,
            Some(Err(failure)) if disk.operations() < operation => return Err(failure),
            Some(Err(_)) | None => return Ok(played),
        };
        match probe.initial_state().await {
            Ok(_) => {}
            Err(failure) if disk.operations() < operation => return Err(failure),
            Err(_) => return Ok(played),
        }
        played.failed = false;
        let committed = committed(&self.samples);
        for step in script(&self.samples) {
            match step {
                Step::Save(saves) => played.save(&probe, saves).await?,
                Step::Apply(until) => {
                    let entries = &committed[played.applied as usize..until as usize];
                    played.applied = until;
                    match journal.apply(&probe, entries).await {
                        Ok(()) => {}
                        Err(failure) if disk.operations() < operation => return Err(failure),
                        // A state machine that is on the disk fails with it; the log may go on.
                        Err(_) => {
                            played.failed = true;
                            break;
                        }
                    }
                }
            }
            if played.failed && disk.operations() < operation {
                return Err(probe.failure("saves that are acknowledged before that", "an error"));
            }
            if played.failed {
                // Whatever is tried now, the storage must not promise anything.
                let last = played.models[played.models.len() - 1].last().0;
                let more = self.samples.save([(10, last + 1..=last + 1)]);
                played.save(&probe, vec![vote(10, None), more]).await?;
                break;
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
        journal: &mut JournalOf<S>,
        when: &str,
    ) -> Result<(), Failure> {
        let (probe, which, state) = self.open_survivor(disk, played, when).await?;
        // A node tells others what it found, so that must not be lost either.
        let models = played.models[..=which].to_vec();
        let found = models[which].clone();
        let again = Played { models, acknowledged: which, applied: played.applied, failed: false };
        let again_when = format!("{when}, and once more after it was opened");
        self.open_survivor(&disk.crash(Survives::Nothing), &again, &again_when).await?;
        let applied = last_applied(&probe, &state, played.applied)?;
        let given = &committed(&self.samples)[applied as usize..];
        let given = &given[..(played.applied - applied) as usize];
        if !given.is_empty() {
            journal.apply(&probe, given).await?;
        }
        let last = found.last().0;
        // Over the last entry, if it is not one that was applied.
        let first = if last > COMMITTED { last } else { last + 1 };
        let more = self.samples.save([(20, first..=first + 3), (21, first + 4..=first + 5)]);
        let more = Save { hard_state: Some(hard_state(21, Some(1))), ..more };
        let after = found.after(&more);
        probe.save(more).await?;
        let when = format!("{when}, and once more after a save");
        let (models, applied) = (vec![found, after.clone()], played.applied);
        let again = Played { models, acknowledged: 1, applied, failed: false };
        let disk = disk.crash(Survives::Nothing);
        let (survivor, _, state) = self.open_survivor(&disk, &again, &when).await?;
        last_applied(&survivor, &state, applied)?;
        probe.check_log(&after).await
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
            Some(which) if which >= *acknowledged => Ok((probe, which, state)),
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
}

impl Played {
    /// Sends saves together. After one that is refused none may be acknowledged.
    async fn save<A: Application>(
        &mut self,
        probe: &Probe<A>,
        saves: Vec<Save>,
    ) -> Result<(), Failure> {
        let mut requests = Vec::new();
        for save in saves {
            self.models.push(self.models[self.models.len() - 1].after(&save));
            requests.push(probe.storage().save(save));
        }
        let in_order = "answers to saves in the order in which they were sent";
        let answers = answers_in_order(requests).await;
        for answer in answers.map_err(|_| probe.failure(in_order, "another order"))? {
            match answer {
                Ok(()) if self.failed => {
                    return Err(probe.failure("errors only", "a save that is acknowledged"));
                }
                Ok(()) => self.acknowledged += 1,
                Err(Refusal::Error(_)) => self.failed = true,
                Err(Refusal::Silence) => {
                    return Err(probe.failure("an answer to each save", Refusal::Silence));
                }
            }
        }
        Ok(())
    }
}

/// The script's first entries, which it applies.
fn committed(samples: &Samples) -> Vec<Entry> {
    let old = samples.run(1, 1..=4);
    let new = samples.run(2, 5..=COMMITTED);
    old.iter().chain(new.iter()).cloned().collect()
}
