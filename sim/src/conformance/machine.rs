//! Applying entries, and going on after a restart.

use actix_raft::application::Application;
use actix_raft::messages::{EntryPayload, Index};
use actix_raft::storage::{Save, StoredState};

use super::contract::{Contract, Failure};
use super::model::{Model, show};
use super::probe::{Probe, answer, applied_singly};
use super::samples::{base, entry, membership, vote};
use super::{Subject, Suite};

impl<S: Subject> Suite<'_, S> {
    pub(super) async fn check_machine(&mut self) -> Result<(), Failure> {
        self.check_responses().await?;
        if self.reopens {
            self.check_restart().await?;
            self.check_last_applied().await
        } else {
            self.skip(Contract::Restart);
            self.skip(Contract::LastApplied);
            Ok(())
        }
    }

    /// Entries in batches must answer what they answer one by one.
    async fn check_responses(&mut self) -> Result<(), Failure> {
        let contract = Contract::Responses;
        let mut entries = self.samples.run(1, 1..=60).to_vec();
        // A batch without a command.
        entries.extend((61..=62).map(|index| entry(1, index, EntryPayload::Blank)));
        entries.push(entry(1, 63, EntryPayload::ConfigChange(membership(3))));
        entries.extend(self.samples.run(2, 64..=70).iter().cloned());
        let mut journal = applied_singly(self.subject, &entries, contract).await?;
        let mut probe = self.open(contract).await?;
        let save = Save { entries: vec![entries.clone().into()], ..Save::default() };
        probe.save(save).await?;
        probe.step("entries are applied in batches that were applied one by one before");
        let mut rest = entries.as_slice();
        for count in [1, 2, 3, 54, 3, 7] {
            let (batch, after) = rest.split_at(count);
            journal.apply(&probe, batch).await?;
            rest = after;
        }
        self.holds(contract);
        Ok(())
    }

    /// The storage is dropped with saves outstanding, again and again.
    async fn check_restart(&mut self) -> Result<(), Failure> {
        let contract = Contract::Restart;
        let mut probe = self.open(contract).await?;
        let mut models = vec![Model::default()];
        for round in 1..=20u64 {
            probe.step("saves are sent");
            let last = models[0].last().0;
            let term = 2 * round;
            let saves = [
                vote(term, Some(round)),
                self.samples.save([(term, last + 1..=last + 4)]),
                self.samples.save([(term, last + 3..=last + 5)]),
                self.samples.save([(term + 1, last.max(2) - 1..=last + 1), (term + 1, 1..=round)]),
                base(membership(round)),
            ];
            // In every round another number of them is waited for.
            let waited = round as usize % (saves.len() + 1);
            let mut requests = Vec::new();
            for save in saves {
                models.push(models[models.len() - 1].after(&save));
                requests.push(probe.storage().save(save));
            }
            for request in requests.drain(..waited) {
                let answered = answer(request).await;
                answered.map_err(|refusal| probe.failure("an answer to a save", refusal))?;
            }
            models.drain(..waited);
            // A request that is dropped may be dropped from the mailbox: the last one first, so
            // that none is missing before one that is not.
            while requests.pop().is_some() {}
            let step = format!("it is opened again with {} saves unanswered", models.len() - 1);
            drop(probe);
            probe = self.reopen(contract, step).await?;
            let (which, _, found) = probe.which(&models).await?;
            let Some(which) = which else {
                let Model { hard_state, base, entries } = &models[0];
                let acknowledged = show(*hard_state, base, entries);
                let expected = format!("{acknowledged}, or that after one of the next saves");
                return Err(probe.failure(expected, found));
            };
            models = vec![models.swap_remove(which)];
            probe.check_log(&models[0]).await?;
        }
        self.holds(contract);
        Ok(())
    }

    async fn check_last_applied(&mut self) -> Result<(), Failure> {
        let contract = Contract::LastApplied;
        let entries = self.samples.run(1, 1..=60).to_vec();
        let mut journal = applied_singly(self.subject, &entries, contract).await?;
        let mut probe = self.open(contract).await?;
        let save = Save { entries: vec![entries.clone().into()], ..Save::default() };
        probe.save(save).await?;
        let mut applied = 0;
        for until in [0, 1, 4, 5, 20, 21, 40, 60] {
            probe.step(format!("entries {} to {until} are applied", applied + 1));
            if until > applied {
                journal.apply(&probe, &entries[applied..until]).await?;
            }
            drop(probe);
            let step = format!("it is opened again after entry {until} was applied");
            probe = self.reopen(contract, step).await?;
            let state = probe.initial_state().await?;
            applied = last_applied(&probe, &state, until as u64)? as usize;
            // All that is not applied any more is applied again, with the same responses.
            if applied < until {
                journal.apply(&probe, &entries[applied..until]).await?;
            }
            applied = until;
        }
        self.holds(contract);
        Ok(())
    }

    pub(super) async fn reopen(
        &mut self,
        contract: Contract,
        step: String,
    ) -> Result<Probe<S::Application>, Failure> {
        match self.subject.reopen().await {
            Some(opened) => Probe::new(opened, contract, step),
            None => {
                let expected = "a storage that can be reopened, as before".to_string();
                Err(Failure { contract, step, expected, found: "none".to_string() })
            }
        }
    }
}

/// The last entry that the state machine holds: none that it was not given, and all that the latest
/// snapshot includes.
pub(super) fn last_applied<A: Application>(
    probe: &Probe<A>,
    state: &StoredState,
    given: u64,
) -> Result<u64, Failure> {
    let included = state.snapshot.as_ref().map_or(0, |snapshot| snapshot.last_included().index.0);
    let most = given.min(state.last_log.index.0).max(included);
    match state.last_applied {
        Index(found) if (included..=most).contains(&found) => Ok(found),
        found if included == 0 => {
            Err(probe.failure(format!("last_applied of at most {most}"), found))
        }
        found => Err(probe.failure(format!("last_applied between {included} and {most}"), found)),
    }
}
