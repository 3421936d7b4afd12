//! Saves that are refused change nothing, on disk or in memory, and the log goes on.

mod support;

use std::sync::Arc;

use actix_raft_core::stored::Save;
use actix_raft_core::types::{Index, LogPosition};
use actix_raft_log::crash::{CrashDisk, Survives};
use actix_raft_log::error::{ReadError, WriteError};
use actix_raft_log::wal::{LogOptions, Wal};
use support::{Model, base, begin_after, build, entry, open, options, run, vote};

/// Ten entries of term 2 after a base of three.
fn written() -> (CrashDisk, Wal) {
    let disk = CrashDisk::new();
    let (mut wal, _) = open(&disk).unwrap();
    wal.save(&[run(2, 1, 13)]).unwrap();
    build(&wal.snapshots(), base(2, 3)).unwrap();
    wal.save(&[begin_after(base(2, 3))]).unwrap();
    (disk, wal)
}

fn refused(saves: &[Save]) -> WriteError {
    let (disk, mut wal) = written();
    let (model, before) = (Model::of(&wal), disk.operations());
    let error = wal.save(saves).unwrap_err();
    assert!(error.is_refusal(), "{error}");
    assert_eq!(disk.operations(), before, "{error}");
    assert_eq!(Model::of(&wal), model, "{error}");
    wal.save(&[vote(9, None), run(9, 14, 14)]).unwrap();
    error
}

#[test]
fn entries_that_leave_a_gap() {
    let error = refused(&[vote(5, None), run(2, 15, 15)]);
    assert_eq!(error.to_string(), "entries from 15 on do not follow a log of 3 to 13");
    refused(&[run(2, 14, 14), run(2, 16, 16)]);
    refused(&[run(2, 5, 5), run(2, 7, 7)]);
}

#[test]
fn entries_that_would_replace_what_the_base_includes() {
    for first in [0, 1, 3] {
        let error = refused(&[run(3, first, first)]);
        assert!(matches!(error, WriteError::Gap { base: Index(3), .. }), "{error}");
    }
}

#[test]
fn runs_that_do_not_count_up_by_one() {
    for (first, second) in [(14, 16), (14, 14), (14, 13)] {
        let entries = Arc::from([entry(2, first), entry(2, second)]);
        let error = refused(&[Save { entries: vec![entries], ..Save::default() }]);
        assert_eq!(error.to_string(), format!("entry {second} follows entry {first} in a run"));
    }
}

#[test]
fn a_base_before_the_one_there_is() {
    let error = refused(&[begin_after(base(2, 2))]);
    assert_eq!(error.to_string(), "the log can't begin after 2, it begins after 3");
}

#[test]
fn a_base_that_no_snapshot_includes() {
    let error = refused(&[begin_after(base(2, 4))]);
    assert_eq!(error.to_string(), "the log can't begin after 4: the latest snapshot is up to 3");
}

#[test]
fn more_than_may_be_saved_at_once() {
    let disk = CrashDisk::new();
    let options = LogOptions { max_frame_bytes: 2000, ..options() };
    let (mut wal, _) = Wal::open(Arc::new(disk.clone()), options).unwrap();
    let before = disk.operations();
    let error = wal.save(&[run(1, 1, 100)]).unwrap_err();
    assert!(matches!(error, WriteError::TooLarge { limit: 2000, .. }), "{error}");
    assert_eq!(disk.operations(), before);
    wal.save(&[run(1, 1, 10)]).unwrap();
}

#[test]
fn a_base_that_contradicts_the_log_replaces_all_of_it() {
    let (disk, mut wal) = written();
    // A snapshot of a later term at an index that the log has in an earlier one.
    build(&wal.snapshots(), base(3, 8)).unwrap();
    wal.save(&[begin_after(base(3, 8))]).unwrap();
    assert_eq!(wal.state().last_log, LogPosition::new(3, 8));
    let beyond = wal.reader().read(Index(9), Index(9), 1000);
    assert!(matches!(beyond, Err(ReadError::Beyond { end: Index(8), .. })), "{beyond:?}");
    assert!(wal.save(&[run(3, 14, 14)]).unwrap_err().is_refusal(), "after what is gone");
    wal.save(&[run(3, 9, 10)]).unwrap();
    let model = Model::of(&wal);
    assert_eq!(model.entries, [entry(3, 9), entry(3, 10)]);
    drop(wal);
    let (wal, _) = open(&disk.crash(Survives::Nothing)).unwrap();
    assert_eq!(Model::of(&wal), model);
}

#[test]
fn a_base_beyond_the_log_leaves_nothing_of_it() {
    let (disk, mut wal) = written();
    build(&wal.snapshots(), base(2, 100)).unwrap();
    wal.save(&[begin_after(base(2, 100))]).unwrap();
    assert_eq!(wal.state().last_log, LogPosition::new(2, 100));
    wal.save(&[run(3, 101, 102)]).unwrap();
    drop(wal);
    let (wal, _) = open(&disk.crash(Survives::Nothing)).unwrap();
    assert_eq!(Model::of(&wal).entries, [entry(3, 101), entry(3, 102)]);
}
