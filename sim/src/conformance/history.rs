//! A long random history, the same each time, beside the plain list.

use std::collections::VecDeque;

use actix::dev::RecipientRequest;
use actix_raft::application::Application;
use actix_raft::messages::{Entry, Index, LogPosition};
use actix_raft::storage::{Base, ReadLog, Save, SaveLog, Snapshot};
use actix_raft_core::random::Random;

use super::contract::{Contract, Failure};
use super::machine::last_applied;
use super::model::{Model, show};
use super::probe::{Journal, Probe, answer, applied_singly};
use super::samples::{Samples, hard_state, membership};
use super::transfer::base_of;
use super::{Subject, Suite};

const STEPS: usize = 1500;

/// The history as far as it has come.
struct History<A: Application> {
    probe: Probe<A>,
    random: Random,
    samples: Samples,
    term: u64,
    /// What the log is after the saves that were answered, then after each one outstanding.
    models: VecDeque<Model>,
    outstanding: VecDeque<RecipientRequest<SaveLog>>,
    journal: Journal<A::Response>,
    /// How far entries were applied in this life.
    applied: u64,
    /// The latest snapshot, if the state machine takes any.
    snapshots: Snapshots,
}

enum Snapshots {
    None,
    Latest(Option<Snapshot>),
}

impl<S: Subject> Suite<'_, S> {
    pub(super) async fn check_history(&mut self) -> Result<(), Failure> {
        let contract = Contract::History;
        let mut history = History {
            probe: self.open(contract).await?,
            random: Random::new(42),
            samples: self.samples.clone(),
            term: 1,
            models: VecDeque::from([Model::default()]),
            outstanding: VecDeque::new(),
            journal: Journal::new(),
            applied: 0,
            snapshots: match self.takes_snapshots {
                true => Snapshots::Latest(None),
                false => Snapshots::None,
            },
        };
        for step in 0..STEPS {
            history.probe.step(format!("step {step} of a random history is taken"));
            match history.below(100) {
                0..50 => history.save(),
                50..70 => history.read().await?,
                70..82 => history.wait().await?,
                82..94 => history.apply().await?,
                94..97 => history.build().await?,
                _ if self.reopens => history = self.restart(history, step).await?,
                _ => {}
            }
        }
        while !history.outstanding.is_empty() {
            history.wait().await?;
        }
        history.probe.check_log(&history.models[0]).await?;
        let History { probe, models, journal, .. } = history;
        let probe = self.found_again(probe, &models[0], "a random history").await?;
        drop(probe);
        // One by one, on a new storage, the same entries answer the same.
        let again = applied_singly(self.subject, &journal.entries, contract).await?;
        let differs = (0..journal.responses.len())
            .find(|place| journal.responses[*place] != again.responses[*place]);
        if let Some(place) = differs {
            let what = |journal: &Journal<_>| format!("{:?}", journal.responses[place]);
            let step = format!("entry {} was applied in a random history", place + 1);
            let (expected, found) = (what(&again), what(&journal));
            return Err(Failure { contract, step, expected, found });
        }
        self.holds(contract);
        Ok(())
    }

    /// Opens the storage again, with whatever is outstanding.
    async fn restart(
        &mut self,
        history: History<S::Application>,
        step: usize,
    ) -> Result<History<S::Application>, Failure> {
        let History { probe, mut outstanding, models, .. } = history;
        drop(probe);
        while outstanding.pop_back().is_some() {}
        let step = format!("it is opened again at step {step} of a random history");
        let probe = self.reopen(Contract::History, step).await?;
        let mut models: Vec<Model> = models.into();
        let (which, state, found) = probe.which(&models).await?;
        let Some(which) = which else {
            let Model { hard_state, base, entries } = &models[0];
            let expected = show(*hard_state, base, entries);
            let unanswered = models.len() - 1;
            let expected = format!("{expected}, or that after some of {unanswered} more saves");
            return Err(probe.failure(expected, found));
        };
        if let Snapshots::Latest(latest) = &history.snapshots
            && *latest != state.snapshot
        {
            return Err(probe.failure(format!("{latest:?}"), format!("{:?}", state.snapshot)));
        }
        let given = history.journal.entries.len() as u64;
        let applied = last_applied(&probe, &state, given)?;
        let models = VecDeque::from([models.swap_remove(which)]);
        Ok(History { probe, models, outstanding, applied, ..history })
    }
}

impl<A: Application<Response: PartialEq + std::fmt::Debug>> History<A> {
    fn below(&mut self, limit: u64) -> u64 {
        self.random.next_u64() % limit
    }

    /// Sends a save, and does not wait for it.
    fn save(&mut self) {
        let mut model = self.models[self.models.len() - 1].clone();
        let mut save = Save::default();
        self.term += u64::from(self.below(4) == 0);
        if self.below(4) == 0 {
            let vote = self.below(4);
            save.hard_state = Some(hard_state(self.term, vote.checked_sub(1)));
        }
        if self.below(20) == 0 {
            save.base = Some(self.base(model.base_index().0));
        }
        // What was applied is never overwritten.
        let floor = self.journal.entries.len() as u64 + 1;
        let mut end = model.last().0 + 1;
        for _ in 0..self.below(4) {
            let back = if self.below(3) == 0 { self.below(12) } else { 0 };
            let first = end.saturating_sub(back).max(floor);
            let last = first + self.below(8);
            save.entries.push(self.samples.run(self.term, first..=last));
            end = last + 1;
        }
        model.save(&save);
        self.models.push_back(model);
        self.outstanding.push_back(self.probe.storage().save(save));
    }

    /// What the log shall begin after: an entry that the latest snapshot includes, not before the
    /// present base; a first configuration if there is none.
    fn base(&mut self, present: u64) -> Base {
        let latest = match &self.snapshots {
            Snapshots::Latest(Some(snapshot)) => snapshot.last_included().index.0,
            Snapshots::Latest(None) | Snapshots::None => 0,
        };
        let index = present + self.below(latest - present + 1);
        let last_included = match index.checked_sub(1) {
            Some(place) => self.journal.entries[place as usize].position(),
            None => LogPosition::ZERO,
        };
        Base { last_included, membership: Some((Index(index / 2), membership(self.term))) }
    }

    /// Takes a snapshot of what is applied, if there is something new in it.
    async fn build(&mut self) -> Result<(), Failure> {
        let Snapshots::Latest(latest) = &mut self.snapshots else { return Ok(()) };
        let included = latest.as_ref().map_or(0, |latest| latest.last_included().index.0);
        if self.applied <= included {
            return Ok(());
        }
        let base = base_of(&self.journal.entries[..self.applied as usize]);
        *latest = Some(self.probe.snapshot(base).await?);
        Ok(())
    }

    /// Waits for the first save that is outstanding.
    async fn wait(&mut self) -> Result<(), Failure> {
        let Some(request) = self.outstanding.pop_front() else { return Ok(()) };
        let answered = answer(request).await;
        answered.map_err(|refusal| self.probe.failure("an answer to a save", refusal))?;
        self.models.pop_front();
        Ok(())
    }

    /// Reads some of what was acknowledged; saves that are outstanding may be seen already.
    async fn read(&mut self) -> Result<(), Failure> {
        let end = self.models[0].last().0;
        if end == 0 {
            return Ok(());
        }
        let first = 1 + self.below(end);
        let last = first + self.below((end - first + 1).min(30));
        let max_bytes = if self.below(3) == 0 { self.below(2000) as usize } else { usize::MAX };
        let read = ReadLog { first: Index(first), last: Index(last), max_bytes };
        let found = self.probe.read(read).await?;
        let differences = self.models.iter().map(|model| model.misread(read, &found));
        let differences: Option<Vec<_>> = differences.collect();
        match differences.and_then(|mut all| all.drain(..).next()) {
            None => Ok(()),
            Some(difference) => Err(self.probe.misread(read, difference)),
        }
    }

    /// Applies what no save that is outstanding overwrites; in another life it may have been
    /// applied already.
    async fn apply(&mut self) -> Result<(), Failure> {
        let kept = |index: u64| {
            let entry = self.models[0].entry(Index(index));
            let is_kept = |model: &Model| model.entry(Index(index)) == entry;
            entry.filter(|_| self.models.iter().all(is_kept)).cloned()
        };
        let kept: Vec<Entry> = (self.applied + 1..).map_while(kept).take(10).collect();
        let count = kept.len().min(1 + self.below(10) as usize);
        if count == 0 {
            return Ok(());
        }
        let entries = kept[..count].to_vec();
        self.applied += count as u64;
        self.journal.apply(&self.probe, &entries).await
    }
}
