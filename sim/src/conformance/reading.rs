//! Reading: ranges, weights, what is gone, and that every byte comes back.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use actix_raft::messages::{Address, Entry, EntryPayload, Index, MembershipConfig, NodeId};
use actix_raft::storage::{ReadLog, Save};
use actix_raft_core::random::Random;
use bytes::Bytes;

use super::contract::{Contract, Failure};
use super::model::Model;
use super::samples::{entry, membership};
use super::{Subject, Suite};

impl<S: Subject> Suite<'_, S> {
    pub(super) async fn check_reading(&mut self) -> Result<(), Failure> {
        self.check_ranges().await?;
        self.check_max_bytes().await?;
        self.check_payloads().await
    }

    async fn check_ranges(&mut self) -> Result<(), Failure> {
        let contract = Contract::ReadRange;
        let mut probe = self.open(contract).await?;
        probe.step("every range of a log is read");
        let mut model = Model::default();
        for (first, last) in [(1, 1), (2, 5), (6, 6), (7, 14), (15, 17)] {
            let save = commands(first..=last, |index| 20 * index as usize);
            model.save(&save);
            probe.save(save).await?;
        }
        for first in 1..=model.last().0 {
            for last in first..=model.last().0 {
                let (first, last) = (Index(first), Index(last));
                probe.check_read(&model, ReadLog { first, last, max_bytes: usize::MAX }).await?;
            }
        }
        self.holds(contract);
        Ok(())
    }

    async fn check_max_bytes(&mut self) -> Result<(), Failure> {
        let contract = Contract::MaxBytes;
        let mut probe = self.open(contract).await?;
        probe.step("a log of small and large entries is read");
        let lengths = [10, 0, 1000, 3, 100, 100, 3000, 1, 0, 0, 64, 2500, 7];
        let save = commands(1..=13, |index| lengths[index as usize - 1]);
        let model = Model::default().after(&save);
        probe.save(save).await?;
        let last = model.last();
        for first in (1..=last.0).map(Index) {
            let mut limits = vec![0, 1, 63, usize::MAX];
            let mut weight = 0;
            for entry in model.range(first, last) {
                weight += entry.weight();
                limits.extend([weight - 1, weight, weight + 1]);
            }
            for max_bytes in limits {
                probe.check_read(&model, ReadLog { first, last, max_bytes }).await?;
                probe.check_read(&model, ReadLog { first, last: first, max_bytes }).await?;
            }
        }
        self.holds(contract);
        Ok(())
    }

    pub(super) async fn check_gone(&mut self) -> Result<(), Failure> {
        let contract = Contract::ReadGone;
        let mut probe = self.open(contract).await?;
        let mut model = Model::default();
        let mut read_all = async |save: Save, step: &str| {
            probe.step(step);
            model.save(&save);
            probe.save(save).await?;
            for first in (1..=30).map(Index) {
                for last in [first.0, first.0 + 1, 12, 13, 30].map(Index) {
                    if first <= last {
                        let read = ReadLog { first, last, max_bytes: usize::MAX };
                        probe.check_read(&model, read).await?;
                        probe.check_read(&model, ReadLog { max_bytes: 150, ..read }).await?;
                    }
                }
            }
            Ok::<(), Failure>(())
        };
        read_all(self.samples.save([(1, 1..=30)]), "a log is read").await?;
        let step = "entries are read of which some were overwritten and some removed";
        read_all(self.samples.save([(2, 9..=12)]), step).await?;
        read_all(self.samples.save([(3, 1..=1)]), "entries are read that were removed").await?;
        self.holds(contract);
        Ok(())
    }

    async fn check_payloads(&mut self) -> Result<(), Failure> {
        let contract = Contract::Payloads;
        let mut random = Random::new(1);
        let random: Vec<u8> = std::iter::repeat_with(|| random.next_u64().to_le_bytes())
            .take((1 << 20) / 8)
            .flatten()
            .collect();
        let commands: Vec<Bytes> = vec![
            Bytes::new(),
            Bytes::from_static(&[0]),
            Bytes::from_static(&[255]),
            (0..=255).collect(),
            Bytes::from(vec![0; 5000]),
            Bytes::from(vec![255; 4096]),
            Bytes::from_static(b"\r\n\0\"'\\"),
            Bytes::from(random),
        ];
        let commands = commands.into_iter().map(EntryPayload::Normal);
        let members: BTreeMap<_, _> =
            (1..200).map(|id| (NodeId(id), Address::new(format!("10.0.0.{id}:1"), "c"))).collect();
        let many = MembershipConfig::joint(members.keys().copied(), None, members.clone());
        let many = Arc::new(many.unwrap_or_default());
        let configurations = (0..12).map(membership).chain([many]).map(EntryPayload::ConfigChange);
        let payloads: Vec<EntryPayload> =
            commands.chain([EntryPayload::Blank]).chain(configurations).collect();
        let mut probe = self.open(contract).await?;
        let mut model = Model::default();
        for (index, payload) in (1..).zip(&payloads) {
            let save = one_run([entry(1, index, payload.clone())].into());
            model.save(&save);
            probe.step(format!("entry {index} is saved"));
            probe.save(save).await?;
        }
        probe.check_log(&model).await?;
        self.found_again(probe, &model, "saves of one entry each").await?;
        let mut probe = self.open(contract).await?;
        let all = (1..).zip(payloads).map(|(index, payload)| entry(2, index, payload)).collect();
        let save = one_run(all);
        let model = Model::default().after(&save);
        probe.step("entries of all kinds are saved at once");
        probe.save(save).await?;
        probe.check_log(&model).await?;
        self.found_again(probe, &model, "a save of entries of all kinds").await?;
        self.holds(contract);
        Ok(())
    }
}

fn one_run(entries: Arc<[Entry]>) -> Save {
    Save { entries: vec![entries], ..Save::default() }
}

/// One save of commands, each as long as `length` says.
fn commands(indexes: RangeInclusive<u64>, length: impl Fn(u64) -> usize) -> Save {
    let command = |index| {
        let bytes = Bytes::from(vec![index as u8; length(index)]);
        entry(1, index, EntryPayload::Normal(bytes))
    };
    one_run(indexes.map(command).collect())
}
