//! Logs that begin after a snapshot: whatever was done before, they are read back as they were.

mod support;

use std::sync::Arc;

use actix_raft_core::stored::Save;
use actix_raft_core::types::Index;
use actix_raft_log::crash::{CrashDisk, Survives};
use actix_raft_log::disk::Disk;
use actix_raft_log::wal::Wal;
use actix_raft_log::writer::Log;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use support::{Model, Step, base, begin_after, build, open, options, perform, run, vote};

fn segments(disk: &CrashDisk) -> Vec<String> {
    disk.list().unwrap().into_iter().filter(|name| name.ends_with(".wal")).collect()
}

/// What a server does next, by a number that is scaled to what is possible.
#[derive(Clone, Debug)]
enum Act {
    /// So many entries, over so many that are there and not included in a snapshot.
    Append {
        over: u64,
        count: u64,
    },
    Snapshot(f64),
    Purge(f64),
    /// A leader's snapshot, so far beyond the log's end or before it.
    Install(u64),
    Vote,
    Restart,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        8 => (0u64..6, 1u64..12).prop_map(|(over, count)| Act::Append { over, count }),
        2 => (0.0..1.0).prop_map(Act::Snapshot),
        3 => (0.0..1.0).prop_map(Act::Purge),
        1 => (0u64..12).prop_map(Act::Install),
        1 => Just(Act::Vote),
        2 => Just(Act::Restart),
    ]
}

/// The step that this act is now, if it is possible.
fn step(act: &Act, model: &Model, term: u64) -> Option<Step> {
    let included = model.snapshot.as_ref().map_or(0, |base| base.last_included.index.0);
    let begins = model.base.last_included.index.0;
    let last = model.entries.last().map_or(begins, |entry| entry.index.0);
    let between = |from: u64, to: u64, scale: f64| {
        (from < to).then(|| from + 1 + ((to - from - 1) as f64 * scale) as u64)
    };
    match act {
        Act::Append { over, count } => {
            let first = last.saturating_sub(*over).max(included).max(begins) + 1;
            Some(Step::Save(vec![run(term, first, first + count - 1)]))
        }
        Act::Snapshot(scale) => between(included.max(begins), last, *scale).map(Step::Snapshot),
        Act::Purge(scale) => between(begins, included, *scale).map(Step::Purge),
        Act::Install(beyond) => {
            let at = (last + beyond).saturating_sub(6).max(included + 1);
            Some(Step::Install(base(term, at)))
        }
        Act::Vote => Some(Step::Save(vec![vote(term, Some(term % 3))])),
        Act::Restart => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300,
        rng_seed: RngSeed::Fixed(20_140_522),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_log_is_read_back_as_it_was(acts in prop::collection::vec(act(), 1..60)) {
        let mut disk = CrashDisk::new();
        let (mut wal, _) = open(&disk).unwrap();
        let mut model = Model::default();
        for (term, act) in (1..).zip(acts) {
            match step(&act, &model, term) {
                Some(step) => {
                    prop_assert!(perform(&mut wal, &model, &step), "{:?} after {:?}", step, model);
                    model.apply(&step);
                }
                None => {
                    disk = disk.crash(Survives::Nothing);
                    wal = open(&disk).unwrap().0;
                    prop_assert_eq!(Model::of(&wal), model.clone());
                }
            }
        }
        prop_assert_eq!(Model::of(&wal), model.clone());
        let (wal, _) = open(&disk.crash(Survives::Nothing)).unwrap();
        prop_assert_eq!(Model::of(&wal), model);
    }
}

/// A log of many small segments.
fn long(entries: u64) -> (CrashDisk, Wal) {
    let disk = CrashDisk::new();
    let (mut wal, _) = open(&disk).unwrap();
    for first in (1..=entries).step_by(4) {
        wal.save(&[run(1, first, first + 3)]).unwrap();
    }
    (disk, wal)
}

#[test]
fn a_base_that_came_before_entries_whose_segments_are_gone_takes_nothing_with_it() {
    let (disk, mut wal) = long(60);
    build(&wal.snapshots(), base(1, 58)).unwrap();
    // The first base is in a segment that stays, the entries that it includes are in those that go.
    wal.save(&[begin_after(base(1, 4))]).unwrap();
    wal.save(&[begin_after(base(1, 50))]).unwrap();
    assert!(segments(&disk).len() < 5);
    let model = Model::of(&wal);
    assert_eq!(model.entries.len(), 10);
    let (wal, state) = open(&disk.crash(Survives::Nothing)).unwrap();
    assert_eq!((state.base, state.last_log.index), (base(1, 50), Index(60)));
    assert_eq!(Model::of(&wal), model);
}

#[test]
fn a_log_that_is_replaced_keeps_no_segment_for_what_is_gone() {
    let (disk, mut wal) = long(100);
    // Its end is far beyond what the snapshot includes, and contradicts it.
    build(&wal.snapshots(), base(2, 10)).unwrap();
    wal.save(&[begin_after(base(2, 10))]).unwrap();
    assert_eq!(segments(&disk).len(), 1);
    wal.save(&[run(2, 11, 13)]).unwrap();
    let model = Model::of(&wal);
    assert_eq!(Model::of(&open(&disk.crash(Survives::Nothing)).unwrap().0), model);
}

#[test]
fn a_segment_that_can_not_be_removed_stays_with_all_after_it_until_the_next_life() {
    let (disk, mut wal) = long(100);
    build(&wal.snapshots(), base(1, 90)).unwrap();
    let before = segments(&disk);
    // The save is written and synced, then a segment is removed, and the directory synced.
    for operation in [3, 4] {
        let disk = disk.crash(Survives::Everything);
        let (mut wal, _) = open(&disk).unwrap();
        disk.fail_at(disk.operations() + operation, std::io::ErrorKind::Other);
        wal.save(&[begin_after(base(1, 90))]).unwrap();
        assert!(segments(&disk).len() + 1 >= before.len());
        wal.save(&[run(1, 101, 140), begin_after(base(1, 90))]).unwrap();
        let left = segments(&disk);
        assert!(before[1..].iter().all(|name| left.contains(name)), "{left:?}");
        let model = Model::of(&wal);
        drop(wal);
        for survives in support::SURVIVALS {
            let disk = disk.crash(survives);
            let (mut wal, _) = open(&disk).unwrap();
            assert_eq!(Model::of(&wal), model, "{survives:?}");
            wal.save(&[begin_after(base(1, 90))]).unwrap();
            assert!(segments(&disk).len() < 6, "{:?}", segments(&disk));
        }
    }
    wal.save(&[begin_after(base(1, 90))]).unwrap();
    assert!(segments(&disk).len() < 6);
}

#[test]
fn a_reader_that_comes_too_late_is_told_that_the_entries_are_purged() {
    let (_, mut wal) = long(200);
    let reader = wal.reader();
    build(&wal.snapshots(), base(1, 190)).unwrap();
    wal.save(&[begin_after(base(1, 190))]).unwrap();
    let read = reader.read(Index(3), Index(9), 1_000);
    assert!(matches!(read, Err(actix_raft_log::error::ReadError::Purged { .. })), "{read:?}");
    assert_eq!(reader.read(Index(191), Index(200), usize::MAX).unwrap().len(), 10);
}

/// A log that is empty behind its base, in a segment that has no room for much more.
fn empty_but_for_its_base() -> (CrashDisk, Model) {
    let (disk, mut wal) = long(60);
    build(&wal.snapshots(), base(1, 60)).unwrap();
    wal.save(&[vote(4, Some(2)), begin_after(base(1, 60))]).unwrap();
    let model = Model::of(&wal);
    (disk, model)
}

#[test]
fn a_segment_that_has_no_frame_yet_does_not_take_the_place_of_those_before() {
    let (disk, model) = empty_but_for_its_base();
    for operation in 1.. {
        // The power fails between the making of a segment and its first frame, among others.
        let disk = disk.crash(Survives::Everything);
        let (mut wal, _) = open(&disk).unwrap();
        disk.power_off_at(disk.operations() + operation);
        let saved = wal.save(&[run(1, 61, 90)]).is_ok();
        let after = if saved { Model::of(&wal) } else { model.clone() };
        for survives in support::SURVIVALS {
            let disk = disk.crash(survives);
            let (mut wal, state) = open(&disk).unwrap();
            // A moment for removing what is not needed.
            wal.save(&[Save::default()]).unwrap();
            let (wal, again) = open(&disk.crash(Survives::Nothing)).unwrap();
            assert_eq!(again, state, "{survives:?}, operation {operation}");
            let found = Model::of(&wal);
            assert!(found == after || found.entries.len() == 30, "{found:?}");
        }
        if saved {
            break;
        }
    }
}

#[test]
fn a_segment_whose_first_frame_fails_does_not_take_the_place_of_those_before() {
    let (disk, model) = empty_but_for_its_base();
    // The helper's operations, which come at any time, are among them.
    for operation in 1..=30 {
        let disk = disk.crash(Survives::Everything);
        let (log, _) = Log::open(Arc::new(disk.clone()), options()).unwrap();
        disk.fail_at(disk.operations() + operation, std::io::ErrorKind::StorageFull);
        let (answer, answered) = std::sync::mpsc::channel();
        log.save(run(1, 61, 90), move |result| answer.send(result.is_ok()).unwrap());
        let saved = answered.recv().unwrap();
        // Whatever else it does, it does it before it ends.
        let _ = log.close();
        let (wal, _) = open(&disk.crash(Survives::Nothing)).unwrap();
        if !saved {
            assert_eq!(Model::of(&wal), model, "operation {operation}");
        }
    }
}
