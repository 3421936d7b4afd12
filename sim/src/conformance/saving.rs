//! Saving: term and vote, what stands in front of the log, entries at its end and over it.

use actix_raft::messages::Index;
use actix_raft::storage::{HardState, ReadLog, Save};

use super::contract::{Contract, Failure};
use super::model::Model;
use super::probe::{answer, answers_in_order};
use super::samples::{base, hard_state, membership, vote};
use super::{Subject, Suite};

impl<S: Subject> Suite<'_, S> {
    pub(super) async fn check_saving(&mut self) -> Result<(), Failure> {
        self.check_append().await?;
        self.check_truncate().await?;
        self.check_gone().await?;
        self.check_hard_state().await?;
        self.check_base().await?;
        self.check_stored_state().await?;
        self.check_save_order().await?;
        self.check_reads_during_saves().await
    }

    /// Carries out saves one by one; after each the log must be what the list says.
    async fn carry_out(
        &mut self,
        contract: Contract,
        saves: Vec<(&str, Save)>,
    ) -> Result<(), Failure> {
        let mut probe = self.open(contract).await?;
        let mut model = Model::default();
        for (what, save) in saves {
            probe.step(format!("{what} is saved"));
            model.save(&save);
            probe.save(save).await?;
            probe.check_log(&model).await?;
        }
        Ok(())
    }

    /// Carries out saves one by one; after each the storage must hold what the list says, opened
    /// again if it can be.
    async fn carry_out_and_reopen(
        &mut self,
        contract: Contract,
        saves: Vec<(&str, Save)>,
    ) -> Result<(), Failure> {
        let mut probe = self.open(contract).await?;
        let mut model = Model::default();
        for (what, save) in saves {
            probe.step(format!("{what} is saved"));
            model.save(&save);
            probe.save(save).await?;
            probe = self.found_again(probe, &model, what).await?;
        }
        Ok(())
    }

    async fn check_hard_state(&mut self) -> Result<(), Failure> {
        let log = self.samples.save([(2, 1..=3)]);
        let both = Save { hard_state: Some(hard_state(7, Some(3))), ..log.clone() };
        let saves = vec![
            ("entries without term and vote", log),
            ("a term without a vote", vote(5, None)),
            ("a vote", vote(5, Some(2))),
            ("a higher term without a vote", vote(6, None)),
            ("a vote for node 0", vote(6, Some(0))),
            ("that the disk can be trusted", trusted(6, true)),
            ("that it can't", trusted(6, false)),
            ("a vote together with entries", both),
            ("entries alone", self.samples.save([(7, 4..=4)])),
            ("the largest numbers", vote(u64::MAX, Some(u64::MAX))),
            ("nothing", Save::default()),
        ];
        self.carry_out_and_reopen(Contract::HardState, saves).await?;
        self.holds(Contract::HardState);
        Ok(())
    }

    async fn check_base(&mut self) -> Result<(), Failure> {
        let saves = vec![
            ("a first configuration", base(membership(1))),
            ("a vote after it", vote(1, Some(1))),
            ("an entry after it", self.samples.save([(1, 1..=6)])),
            ("entries in place of it", self.samples.save([(2, 1..=2)])),
        ];
        self.carry_out_and_reopen(Contract::Base, saves).await?;
        let together = Save {
            hard_state: Some(hard_state(1, Some(1))),
            entries: vec![self.samples.run(1, 1..=3)],
            ..base(membership(4))
        };
        let saves = vec![("a first configuration with a vote and entries", together)];
        self.carry_out_and_reopen(Contract::Base, saves).await?;
        self.holds(Contract::Base);
        Ok(())
    }

    async fn check_append(&mut self) -> Result<(), Failure> {
        let samples = self.samples.clone();
        let saves = vec![
            ("the first entry", samples.save([(1, 1..=1)])),
            ("a run of entries", samples.save([(1, 2..=9)])),
            ("a save of nothing", Save::default()),
            ("two runs in one save", samples.save([(1, 10..=12), (2, 13..=20)])),
            ("three runs in one save", samples.save([(2, 21..=21), (3, 22..=24), (9, 25..=25)])),
            ("a long run", samples.save([(9, 26..=200)])),
        ];
        self.carry_out(Contract::Append, saves).await?;
        self.holds(Contract::Append);
        Ok(())
    }

    async fn check_truncate(&mut self) -> Result<(), Failure> {
        let samples = self.samples.clone();
        let saves = vec![
            ("a log", samples.save([(1, 1..=20)])),
            ("an entry in place of the last one", samples.save([(2, 20..=20)])),
            ("an entry in the middle", samples.save([(3, 12..=12)])),
            ("entries beyond the old end", samples.save([(4, 10..=30)])),
            ("the same entries once more", samples.save([(4, 25..=30)])),
            (
                "runs over earlier runs of the same save",
                samples.save([(5, 31..=40), (6, 33..=36), (7, 36..=36), (8, 37..=38)]),
            ),
            ("a run over the log and one over that run", samples.save([(9, 5..=20), (10, 8..=9)])),
            ("a whole new log", samples.save([(11, 1..=2)])),
            ("entries at its end", samples.save([(11, 3..=8)])),
            ("a run and a shorter log in its place", samples.save([(12, 9..=30), (13, 1..=1)])),
        ];
        self.carry_out(Contract::Truncate, saves).await?;
        self.holds(Contract::Truncate);
        Ok(())
    }

    async fn check_stored_state(&mut self) -> Result<(), Failure> {
        let samples = self.samples.clone();
        let saves = vec![
            ("a first configuration", base(membership(2))),
            ("entries of several terms", samples.save([(1, 1..=3), (2, 4..=4), (5, 5..=12)])),
            ("entries that cut a term off", samples.save([(6, 5..=5)])),
            ("entries that cut a term short", samples.save([(6, 6..=14), (7, 15..=30)])),
            ("a configuration in place of another", samples.save([(8, 19..=19)])),
            ("an end with no configuration", samples.save([(9, 6..=8)])),
            ("a log with none", samples.save([(10, 1..=2)])),
            ("a run in place of another", samples.save([(11, 3..=13), (12, 5..=5), (12, 6..=9)])),
        ];
        self.carry_out_and_reopen(Contract::StoredState, saves).await?;
        self.holds(Contract::StoredState);
        Ok(())
    }

    async fn check_save_order(&mut self) -> Result<(), Failure> {
        let contract = Contract::SaveOrder;
        let mut probe = self.open(contract).await?;
        probe.step("200 saves are sent one after the other");
        let mut model = Model::default();
        let mut requests = Vec::new();
        for n in 1..=200 {
            // Each one overwrites the end of the one before.
            let mut save = self.samples.save([(n, n..=n + n % 5)]);
            if n % 3 == 0 {
                save.hard_state = Some(hard_state(n, Some(n % 4)));
            }
            model.save(&save);
            requests.push(probe.storage().save(save));
        }
        let answers = answers_in_order(requests).await.map_err(|overtaken| {
            let number = |place: usize| place + 1;
            let (waiting, answered) = (number(overtaken.waiting), number(overtaken.answered));
            let found = format!("an answer to save {answered}");
            probe.failure(format!("an answer to save {waiting} before one to later ones"), found)
        })?;
        for (place, answer) in answers.into_iter().enumerate() {
            if let Err(refusal) = answer {
                return Err(probe.failure(format!("an answer to save {}", place + 1), refusal));
            }
        }
        probe.check_log(&model).await?;
        self.found_again(probe, &model, "200 saves that were outstanding together").await?;
        self.holds(contract);
        Ok(())
    }

    async fn check_reads_during_saves(&mut self) -> Result<(), Failure> {
        let contract = Contract::ReadDuringSaves;
        let mut probe = self.open(contract).await?;
        let first = self.samples.save([(1, 1..=60)]);
        let mut models = vec![Model::default().after(&first)];
        probe.save(first).await?;
        probe.step("entries are read while 100 saves are outstanding");
        let (mut saves, mut reads) = (Vec::new(), Vec::new());
        for n in 0..100u64 {
            // Entries up to 30 stay as they are.
            let start = 31 + n * 7 % 25;
            let save = self.samples.save([(2 + n, start..=start + 30)]);
            models.push(models[models.len() - 1].after(&save));
            saves.push(probe.storage().save(save));
            let (first, last) = match n % 4 {
                0 => (1, 30),
                1 => (25, 40),
                2 => (31, 60),
                _ => (n % 30 + 1, n % 30 + 1),
            };
            let max_bytes = if n % 2 == 0 { usize::MAX } else { 500 };
            let read = ReadLog { first: Index(first), last: Index(last), max_bytes };
            reads.push((read, probe.storage().read(read)));
        }
        for (read, request) in reads {
            let expected = || format!("an answer to a read of {} to {}", read.first, read.last);
            let found = answer(request).await;
            let found = found.map_err(|refusal| probe.failure(expected(), refusal))?;
            let differences = models.iter().map(|model| model.misread(read, &found));
            // Any moment will do; if none does, the first one tells.
            let differences: Option<Vec<_>> = differences.collect();
            if let Some(difference) = differences.and_then(|mut all| all.drain(..).next()) {
                return Err(probe.misread(read, difference));
            }
        }
        for save in saves {
            let answered = answer(save).await;
            answered.map_err(|refusal| probe.failure("an answer to a save", refusal))?;
        }
        probe.check_log(&models[models.len() - 1]).await?;
        self.holds(contract);
        Ok(())
    }
}

fn trusted(term: u64, trusted: bool) -> Save {
    let hard_state = HardState { trusted, ..hard_state(term, Some(1)) };
    Save { hard_state: Some(hard_state), ..Save::default() }
}
