//! What stands in front of a log instead of its begin, and what is found of it after a restart.

use actix_raft::messages::Index;
use actix_raft::storage::{ReadLog, Save, Snapshot, StoredState};

use super::contract::{Contract, Failure};
use super::machine::last_applied;
use super::model::Model;
use super::probe::Probe;
use super::samples::vote;
use super::snapshots::{END, LATE, Source};
use super::transfer::piece_bytes;
use super::{Subject, Suite};

impl<S: Subject> Suite<'_, S> {
    pub(super) async fn check_purge(&mut self, source: &Source<S>) -> Result<(), Failure> {
        self.check_own_purge(source).await?;
        self.check_contrary_base(source).await
    }

    /// The log begins after entries that a snapshot of its own includes.
    async fn check_own_purge(&mut self, source: &Source<S>) -> Result<(), Failure> {
        let mut probe = self.open_applied(Contract::Purge, source.entries(0, 24)).await?;
        probe.snapshot(source.base(24)).await?;
        let whole = Save { entries: vec![source.entries(0, 30).into()], ..Save::default() };
        let mut model = Model::default().after(&whole);
        probe.save(whole).await?;
        let base = |index| Save { base: Some(source.base(index)), ..Save::default() };
        let vote_too = Save { hard_state: vote(1, Some(2)).hard_state, ..base(9) };
        let over = Save { entries: vec![self.samples.run(2, 28..=33)], ..base(21) };
        let saves = [
            ("a base after the first entry", base(1)),
            ("a base at the same place", base(1)),
            ("a base further on, and a vote", vote_too),
            ("entries after that", self.samples.save([(1, 31..=35)])),
            ("a base, and entries over the log's end", over),
            ("a vote", vote(2, None)),
            ("entries up to the next base", self.samples.save([(1, 22..=24)])),
            ("a base at the log's end", base(24)),
            ("entries after it", self.samples.save([(3, 25..=40), (4, 36..=38)])),
        ];
        for (what, save) in saves {
            probe.step(format!("{what} is saved"));
            model.save(&save);
            probe.save(save).await?;
            check_purged(&probe, &model).await?;
            probe.check_log(&model).await?;
            probe = self.found_again(probe, &model, what).await?;
            check_purged(&probe, &model).await?;
        }
        Ok(())
    }

    /// The log begins after a snapshot whose last entry it does not have.
    async fn check_contrary_base(&mut self, source: &Source<S>) -> Result<(), Failure> {
        let logs = [
            ("an empty log", Save::default()),
            ("a shorter log", self.samples.save([(1, 1..=LATE - 1)])),
            ("a log of another term", self.samples.save([(1, 1..=9), (7, 10..=LATE + 20)])),
            ("a log with that entry", self.samples.save([(1, 1..=LATE + 9)])),
            ("a log that ends there", self.samples.save([(1, 1..=LATE)])),
        ];
        for (what, log) in logs {
            let mut probe = self.open(Contract::Purge).await?;
            let mut model = Model::default().after(&log);
            probe.save(log).await?;
            probe.step(format!("a snapshot is installed over {what}"));
            probe.fetch(&source.snapshot, &source.probe).await?;
            let base = Save { base: Some(source.base(LATE)), ..vote(8, None) };
            let next = model.after(&base).last().0 + 1;
            for save in [base, self.samples.save([(8, next..=next + 3)])] {
                probe.step(format!("a base, then entries are saved over {what}"));
                model.save(&save);
                probe.save(save).await?;
                check_purged(&probe, &model).await?;
                probe.check_log(&model).await?;
            }
            let probe = self.found_again(probe, &model, &format!("a base over {what}")).await?;
            check_purged(&probe, &model).await?;
        }
        Ok(())
    }

    pub(super) async fn check_snapshot_restart(
        &mut self,
        source: &mut Source<S>,
    ) -> Result<(), Failure> {
        self.check_built_restart(source).await?;
        self.check_received_restart(source).await?;
        self.holds(Contract::SnapshotRestart);
        Ok(())
    }

    /// Snapshots that were built.
    async fn check_built_restart(&mut self, source: &mut Source<S>) -> Result<(), Failure> {
        let contract = Contract::SnapshotRestart;
        let mut probe = self.open_applied(contract, source.entries(0, 10)).await?;
        let save = Save { entries: vec![source.entries(0, END).into()], ..Save::default() };
        let mut model = Model::default().after(&save);
        probe.save(save).await?;
        for at in [10, 20, 30, 40, 50] {
            let snapshot = probe.snapshot(source.base(at)).await?;
            let bytes = probe.snapshot_bytes(&snapshot).await?;
            // What comes after it may be gone with the process, or not.
            source.check_apply(&probe, at, at + 3).await?;
            let base = Save { base: Some(source.base(at - 5)), ..Save::default() };
            if at > 20 {
                model.save(&base);
                probe.save(base).await?;
            }
            drop(probe);
            let step = format!("it is opened again after a snapshot of {at} was built");
            probe = self.reopen(contract, step).await?;
            let state = probe.initial_state().await?;
            probe.compare_states(&model, &state)?;
            let applied = self.check_found(&probe, &state, &snapshot, at + 3)?;
            if probe.snapshot_bytes(&snapshot).await? != bytes {
                return Err(probe.failure("the same bytes of the snapshot as before", "others"));
            }
            source.check_apply(&probe, applied, at + 10).await?;
        }
        Ok(())
    }

    /// A snapshot that is received, with restarts in between.
    async fn check_received_restart(&mut self, source: &mut Source<S>) -> Result<(), Failure> {
        let contract = Contract::SnapshotRestart;
        let snapshot = source.snapshot.clone();
        let pieces = source.probe.pieces(&snapshot, 0, piece_bytes(&snapshot)).await?;
        let mut probe = self.open_applied(contract, source.entries(0, 5)).await?;
        let contrary = self.samples.save([(1, 1..=9), (7, 10..=LATE + 20)]);
        let mut model = Model::default().after(&contrary);
        probe.save(contrary).await?;
        for count in 0..=pieces.len() {
            let stored: u64 = pieces[..count].iter().map(|piece| piece.data.len() as u64).sum();
            let held = probe.held(&snapshot).await?;
            if held < stored {
                let more = source.probe.pieces(&snapshot, held, piece_bytes(&snapshot)).await?;
                let more = more.iter().take_while(|piece| piece.offset < stored);
                probe.store_all(&snapshot, &more.cloned().collect::<Vec<_>>()).await?;
            }
            let stored = probe.held(&snapshot).await?;
            drop(probe);
            let step = format!("it is opened again after {stored} bytes of a snapshot came");
            probe = self.reopen(contract, step).await?;
            let state = probe.initial_state().await?;
            probe.compare_states(&model, &state)?;
            if state.snapshot.is_some() {
                let found = format!("{:?}", state.snapshot);
                return Err(probe.failure("no snapshot before it is installed", found));
            }
            let held = probe.held(&snapshot).await?;
            if held > stored {
                return Err(probe.failure(format!("at most {stored} bytes held"), held));
            }
        }
        probe.step("a snapshot that came in several lives is installed");
        probe.fetch(&snapshot, &source.probe).await?;
        drop(probe);
        let step =
            "it is opened again after a snapshot was installed, and before its base is saved";
        let probe = self.reopen(contract, step.to_string()).await?;
        let state = probe.initial_state().await?;
        self.check_found(&probe, &state, &snapshot, LATE)?;
        let save = Save { base: Some(snapshot.base.clone()), ..Save::default() };
        // It may finish what was begun, or leave it to the node.
        if probe.which(std::slice::from_ref(&model)).await?.0.is_none() {
            let after = model.after(&save);
            probe.compare_states(&after, &state)?;
            probe.check_log(&after).await?;
        }
        model.save(&save);
        probe.save(save).await?;
        let save = source.save_after(LATE, END);
        model.save(&save);
        probe.save(save).await?;
        source.check_apply(&probe, LATE, LATE + 5).await?;
        let probe = self.found_again(probe, &model, "a snapshot was installed").await?;
        let state = probe.initial_state().await?;
        let applied = self.check_found(&probe, &state, &snapshot, LATE + 5)?;
        source.check_apply(&probe, applied, END).await
    }

    /// The latest snapshot must be this one; how far the state machine holds the log.
    fn check_found(
        &self,
        probe: &Probe<S::Application>,
        state: &StoredState,
        snapshot: &Snapshot,
        given: u64,
    ) -> Result<u64, Failure> {
        if state.snapshot.as_ref() != Some(snapshot) {
            let found = format!("{:?}", state.snapshot);
            return Err(probe.failure(format!("{snapshot:?}"), found));
        }
        last_applied(probe, state, given)
    }
}

/// Whatever is read from before a log's first entry on must be answered with nothing.
async fn check_purged<A>(probe: &Probe<A>, model: &Model) -> Result<(), Failure>
where
    A: actix_raft::application::Application,
{
    let base = model.base_index().0;
    for first in [1, base.saturating_sub(1), base].into_iter().filter(|first| *first > 0) {
        for last in [first, base, base + 1, base + 5, model.last().0] {
            let read = ReadLog { first: Index(first), last: Index(last), max_bytes: usize::MAX };
            if first <= base && last >= first {
                probe.check_read(model, read).await?;
            }
        }
    }
    Ok(())
}
