//! What a log does in good times: reading back, group commit, the thread, real directories.

mod support;

use std::sync::{Arc, mpsc};

use actix_raft_core::entry::{Entry, EntryPayload};
use actix_raft_core::stored::{Base, Save};
use actix_raft_core::types::{Index, NodeId, Term};
use actix_raft_log::crash::{CrashDisk, Survives};
use actix_raft_log::disk::Disk;
use actix_raft_log::error::{OpenError, ReadError, WriteError};
use actix_raft_log::format::{HEADER_BYTES, segment_name};
use actix_raft_log::real::RealDisk;
use actix_raft_log::wal::Wal;
use actix_raft_log::writer::Log;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use support::{Model, Step, membership, open, options, perform, run, vote};

#[test]
fn the_first_bytes_of_format_version_2_are_these() {
    let disk = CrashDisk::new();
    let (mut wal, _) = open(&disk).unwrap();
    wal.save(&[vote(3, Some(2)), run(3, 1, 1)]).unwrap();
    wal.mark().unwrap();
    let bytes = disk.bytes(&segment_name(1)).unwrap();
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(hex(&bytes[..51]), include_str!("golden/header.hex").trim());
    assert_eq!(
        hex(&bytes[HEADER_BYTES..HEADER_BYTES + 120]),
        include_str!("golden/frame.hex").trim()
    );
}

#[test]
fn saves_that_come_together_cost_one_sync() {
    let disk = CrashDisk::new();
    let (mut wal, _) = open(&disk).unwrap();
    let before = disk.syncs();
    wal.save(&[vote(1, None), run(1, 1, 3), run(1, 4, 4), run(1, 5, 9)]).unwrap();
    assert_eq!(disk.syncs(), before + 1);
    wal.save(&[Save::default()]).unwrap();
    assert_eq!(disk.syncs(), before + 1, "nothing to save, nothing to sync");
}

#[test]
fn entries_that_would_leave_a_gap_are_refused_and_change_nothing() {
    let disk = CrashDisk::new();
    let (mut wal, _) = open(&disk).unwrap();
    wal.save(&[run(1, 1, 3)]).unwrap();
    let refused = wal.save(&[run(1, 4, 4), run(1, 6, 6)]).unwrap_err();
    assert!(matches!(refused, WriteError::Gap { first: Index(6), last: Index(4), .. }));
    assert_eq!(wal.state().last_log.index, Index(3));
    wal.save(&[run(1, 4, 4)]).unwrap();
}

#[test]
fn what_is_purged_beyond_or_not_there_is_not_read() {
    let disk = CrashDisk::new();
    let (mut wal, _) = open(&disk).unwrap();
    let mut model = Model::default();
    for step in [Step::Save(vec![run(1, 1, 40)]), Step::Snapshot(20), Step::Purge(20)] {
        assert!(perform(&mut wal, &model, &step));
        model.apply(&step);
    }
    let reader = wal.reader();
    assert!(matches!(
        reader.read(Index(20), Index(30), 1),
        Err(ReadError::Purged { base: Index(20), .. })
    ));
    assert!(matches!(
        reader.read(Index(30), Index(41), 1),
        Err(ReadError::Beyond { end: Index(40), .. })
    ));
    assert_eq!(reader.read(Index(21), Index(40), 1).unwrap(), model.entries[..1]);
    assert_eq!(reader.read(Index(21), Index(40), usize::MAX).unwrap(), model.entries);
}

#[test]
fn purged_segments_are_removed() {
    let disk = CrashDisk::new();
    let (mut wal, _) = open(&disk).unwrap();
    let mut model = Model::default();
    for first in (1..100).step_by(4) {
        let step = Step::Save(vec![run(1, first, first + 3)]);
        perform(&mut wal, &model, &step);
        model.apply(&step);
    }
    assert!(disk.bytes(&segment_name(1)).is_some());
    for step in [Step::Snapshot(94), Step::Purge(90)] {
        assert!(perform(&mut wal, &model, &step));
        model.apply(&step);
    }
    assert!(disk.bytes(&segment_name(1)).is_none());
    drop(wal);
    let (wal, _) = open(&disk.crash(Survives::Nothing)).unwrap();
    assert_eq!(Model::of(&wal), model);
}

#[test]
fn a_segment_begins_with_what_is_lost_when_older_ones_are_removed() {
    let disk = CrashDisk::new();
    let (mut wal, _) = open(&disk).unwrap();
    let mut model = Model::default();
    let first = Base { membership: Some((Index(0), Arc::new(membership(0)))), ..Base::default() };
    let first = Save { base: Some(first), ..Save::default() };
    let steps = [
        Step::Save(vec![first, vote(4, Some(2))]),
        Step::Save(vec![run(4, 1, 60)]),
        Step::Snapshot(20),
        Step::Purge(20),
        Step::Save(vec![run(4, 61, 120)]),
        Step::Snapshot(70),
        Step::Purge(70),
    ];
    for step in steps {
        assert!(perform(&mut wal, &model, &step));
        model.apply(&step);
    }
    assert!(disk.bytes(&segment_name(1)).is_none());
    assert_eq!(model.hard_state.voted_for, Some(NodeId(2)));
    drop(wal);
    let disk = disk.crash(Survives::Nothing);
    let (wal, _) = open(&disk).unwrap();
    assert_eq!(Model::of(&wal), model);
    for name in disk.list().unwrap().into_iter().filter(|name| name.ends_with(".wal")) {
        let records = &disk.bytes(&name).unwrap()[HEADER_BYTES + 16..];
        assert_eq!((records[0], records[19]), (1, 2), "{name}: the hard state, then the base");
    }
}

#[test]
fn no_write_changes_the_length_of_a_segment() {
    for length in 1300..1600 {
        let disk = CrashDisk::new();
        let (mut wal, _) = open(&disk).unwrap();
        let payload = EntryPayload::Normal(vec![1; length].into());
        let entry = Entry { term: Term(1), index: Index(1), payload };
        wal.save(&[Save { entries: vec![Arc::from([entry])], ..Save::default() }]).unwrap();
        let newest = disk.list().unwrap().pop().unwrap();
        let before = disk.bytes(&newest).unwrap().len();
        wal.mark().unwrap();
        assert_eq!(disk.bytes(&newest).unwrap().len(), before, "a command of {length} bytes");
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 200,
        rng_seed: RngSeed::Fixed(20_140_522),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Any appends and truncations, in any batches, read in any ranges, before and after a restart.
    #[test]
    fn ranges_are_those_of_a_plain_list(
        writes in prop::collection::vec((0u64..12, 1u64..20, any::<bool>()), 1..40),
        ranges in prop::collection::vec((0u64..400, 0u64..400, 0usize..5000), 10),
    ) {
        let disk = CrashDisk::new();
        let (mut wal, _) = open(&disk).unwrap();
        let mut model = Model::default();
        let mut batch = Vec::new();
        let mut last = 0u64;
        for (term, (back, count, flush)) in (1..).zip(writes) {
            let first = last.saturating_sub(back) + 1;
            last = first + count - 1;
            batch.push(run(term, first, last));
            if flush {
                let step = Step::Save(std::mem::take(&mut batch));
                prop_assert!(perform(&mut wal, &model, &step));
                model.apply(&step);
            }
        }
        let (again, _) = open(&disk.crash(Survives::Nothing)).unwrap();
        prop_assert_eq!(Model::of(&again), model.clone());
        let end = model.entries.len() as u64;
        for (from, length, max_bytes) in ranges.into_iter().filter(|_| end > 0) {
            let first = from % end + 1;
            let until = (first + length).min(end);
            for reader in [wal.reader(), again.reader()] {
                let read = reader.read(Index(first), Index(until), max_bytes).unwrap();
                let expected = &model.entries[first as usize - 1..until as usize];
                prop_assert!(!read.is_empty() && expected.starts_with(&read));
                let weight = |entries: &[Entry]| -> usize {
                    entries.iter().map(|entry| entry.weight()).sum()
                };
                prop_assert!(read.len() == 1 || weight(&read) <= max_bytes);
                let more = &expected[..(read.len() + 1).min(expected.len())];
                prop_assert!(read.len() == expected.len() || weight(more) > max_bytes);
            }
        }
    }
}

#[test]
fn the_thread_answers_in_order_and_joins_what_waits() {
    let disk = CrashDisk::new();
    let (log, _) = Log::open(Arc::new(disk.clone()), options()).unwrap();
    let (answered, answers) = mpsc::channel();
    // The first answer holds the thread until all the others are in its queue.
    let (go, wait) = mpsc::channel::<()>();
    let first = answered.clone();
    log.save(run(1, 1, 1), move |result| {
        wait.recv().unwrap();
        first.send((1, result.is_ok())).unwrap();
    });
    for index in 2..=100 {
        let answered = answered.clone();
        log.save(run(1, index, index), move |result| {
            answered.send((index, result.is_ok())).unwrap();
        });
    }
    let before = disk.syncs();
    go.send(()).unwrap();
    let expected: Vec<(u64, bool)> = (1..=100).map(|index| (index, true)).collect();
    assert_eq!(answers.iter().take(100).collect::<Vec<_>>(), expected);
    assert!(disk.syncs() - before < 20, "99 saves cost {} syncs", disk.syncs() - before);
    assert_eq!(log.reader().read(Index(1), Index(100), usize::MAX).unwrap().len(), 100);
    drop(log);
    let (wal, _) = open(&disk.crash(Survives::Nothing)).unwrap();
    assert_eq!(Model::of(&wal).entries.len(), 100);
}

#[test]
fn a_failed_sync_is_told_to_everyone_who_waits_and_who_comes_later() {
    let disk = CrashDisk::new();
    let (log, _) = Log::open(Arc::new(disk.clone()), options()).unwrap();
    disk.power_off_at(disk.operations() + 2);
    let (answered, answers) = mpsc::channel();
    for index in 1..=3 {
        let answered = answered.clone();
        log.save(run(1, index, index), move |result| answered.send(result).unwrap());
    }
    for result in answers.iter().take(3) {
        let error = result.unwrap_err().to_string();
        assert!(error.contains("can't sync /crash-disk/0000000000000001.wal"), "{error}");
    }
}

#[test]
fn a_real_directory_is_made_locked_and_found_again() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("data");
    let disk = Arc::new(RealDisk::open(&directory).unwrap());
    let (mut wal, stored) = Wal::open(disk.clone(), options()).unwrap();
    assert!(stored.is_pristine());
    let mut model = Model::default();
    for first in (1..200).step_by(10) {
        let step = Step::Save(vec![run(1, first, first + 9)]);
        assert!(perform(&mut wal, &model, &step));
        model.apply(&step);
    }
    assert!(matches!(RealDisk::open(&directory), Err(OpenError::InUse { .. })));
    drop((wal, disk));
    let disk = Arc::new(RealDisk::open(&directory).unwrap());
    let (wal, _) = Wal::open(disk, options()).unwrap();
    assert_eq!(Model::of(&wal), model);

    let nowhere = parent.path().join("no").join("such");
    let error = RealDisk::open(&nowhere).unwrap_err().to_string();
    assert!(error.starts_with("can't create the directory"), "{error}");
}
