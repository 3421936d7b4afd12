//! Damage to what was acknowledged is found, named, and never cut or served.

mod support;

use std::sync::Arc;

use actix_raft_core::types::{Index, NodeId};
use actix_raft_log::crash::{CrashDisk, Survives};
use actix_raft_log::disk::Disk;
use actix_raft_log::error::{Identity, OpenError, ReadError};
use actix_raft_log::wal::{LogOptions, Wal};
use support::{Model, identity, open, options, perform, run, script, vote};

/// A log that has been through everything, and was closed properly.
fn written() -> (CrashDisk, Model) {
    let (disk, mut model) = (CrashDisk::new(), Model::default());
    let (mut wal, _) = open(&disk).unwrap();
    for step in script() {
        assert!(perform(&mut wal, &model, &step));
        model.apply(&step);
    }
    wal.close().unwrap();
    (disk, model)
}

/// A log of several segments that was not purged.
fn unpurged() -> (CrashDisk, Model) {
    let (disk, mut model) = (CrashDisk::new(), Model::default());
    let (mut wal, _) = open(&disk).unwrap();
    for first in (1..60).step_by(4) {
        let step = support::Step::Save(vec![run(1, first, first + 3)]);
        assert!(perform(&mut wal, &model, &step));
        model.apply(&step);
    }
    wal.close().unwrap();
    (disk, model)
}

fn segments(disk: &CrashDisk) -> Vec<String> {
    disk.list().unwrap().into_iter().filter(|name| name.ends_with(".wal")).collect()
}

fn used(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1
}

#[test]
fn one_flipped_bit_anywhere_is_found_and_named() {
    for (disk, model) in [written(), unpurged()] {
        for name in segments(&disk) {
            let bytes = disk.bytes(&name).unwrap();
            for place in 0..used(&bytes) {
                let damaged = disk.crash(Survives::Everything);
                damaged.damage(&name, |bytes| bytes[place] ^= 1 << (place % 8));
                match open(&damaged) {
                    Err(OpenError::Damaged { file, offset, .. }) => {
                        let behind = segments(&disk).into_iter().filter(|it| *it > name);
                        let named: Vec<String> =
                            behind.chain([name.clone()]).map(|it| damaged.describe(&it)).collect();
                        assert!(named.contains(&file), "{file}, not {name}");
                        assert!(offset <= place as u64 || !file.ends_with(&name));
                    }
                    Err(error) => panic!("byte {place} of {name}: {error}"),
                    // Padding says nothing, and the marker at the end of a segment is no data.
                    Ok((wal, _)) => assert_eq!(Model::of(&wal), model, "byte {place} of {name}"),
                }
            }
        }
    }
}

#[test]
fn a_last_segment_cut_anywhere_opens_without_its_tail() {
    let (disk, model) = unpurged();
    let name = segments(&disk).pop().unwrap();
    let length = disk.bytes(&name).unwrap().len();
    for cut in 512..=length {
        let damaged = disk.crash(Survives::Everything);
        damaged.damage(&name, |bytes| bytes.truncate(cut));
        let (mut wal, _) = open(&damaged).unwrap();
        let found = Model::of(&wal);
        assert!(model.entries.starts_with(&found.entries), "cut at {cut}");
        let next = found.entries.len() as u64 + 1;
        wal.save(&[run(2, next, next)]).unwrap();
        drop(wal);
        let (wal, _) = open(&damaged.crash(Survives::Nothing)).unwrap();
        assert_eq!(wal.state().last_log.index, Index(next), "cut at {cut}");
    }
}

#[test]
fn a_missing_or_swapped_segment_is_refused() {
    let (disk, _) = unpurged();
    let names = segments(&disk);
    assert!(names.len() > 3);
    // Without the first the log would begin in the middle, without the last end early; the latter
    // can't be told from a log that never had it.
    for name in &names[..names.len() - 1] {
        let damaged = disk.crash(Survives::Everything);
        damaged.remove(name).unwrap();
        let Err(OpenError::Missing { file }) = open(&damaged) else { panic!("without {name}") };
        assert_eq!(file, damaged.describe(name));
    }
    let damaged = disk.crash(Survives::Everything);
    let (first, second) = (disk.bytes(&names[0]).unwrap(), disk.bytes(&names[1]).unwrap());
    damaged.damage(&names[0], |bytes| *bytes = second);
    damaged.damage(&names[1], |bytes| *bytes = first);
    let error = open(&damaged).err().unwrap().to_string();
    assert!(error.contains("the file is that of another segment"), "{error}");
}

#[test]
fn an_old_copy_of_a_segment_is_refused() {
    let disk = CrashDisk::new();
    let (mut wal, _) = open(&disk).unwrap();
    wal.save(&[run(1, 1, 4)]).unwrap();
    let name = segments(&disk).pop().unwrap();
    let old = disk.bytes(&name).unwrap();
    for first in (5..60).step_by(4) {
        wal.save(&[run(1, first, first + 3)]).unwrap();
    }
    drop(wal);
    let damaged = disk.crash(Survives::Everything);
    damaged.damage(&name, |bytes| *bytes = old);
    assert!(matches!(open(&damaged), Err(OpenError::Damaged { .. })));
}

#[test]
fn a_directory_belongs_to_one_server_of_one_cluster() {
    let (disk, _) = unpurged();
    let others = [
        Identity { cluster_id: "others".to_string(), ..identity() },
        Identity { node_id: NodeId(2), ..identity() },
    ];
    for other in others {
        let refused = Wal::open(Arc::new(disk.clone()), LogOptions::new(other.clone()));
        let Err(OpenError::Identity { found, expected, .. }) = refused else {
            panic!("another's log was opened");
        };
        assert_eq!((found, expected), (identity(), other));
    }
    let long = Identity { cluster_id: "c".repeat(257), ..identity() };
    let refused = Wal::open(Arc::new(CrashDisk::new()), LogOptions::new(long));
    assert!(matches!(refused, Err(OpenError::ClusterId { bytes: 257, limit: 256 })));
}

#[test]
fn damage_under_a_running_log_is_not_served() {
    let (disk, _) = unpurged();
    let (wal, _) = open(&disk).unwrap();
    let name = &segments(&disk)[1];
    disk.damage(name, |bytes| bytes[700] ^= 1);
    let read = wal.reader().read(Index(1), Index(60), usize::MAX);
    let Err(ReadError::Damaged { file, offset, .. }) = read else { panic!("{read:?}") };
    assert_eq!(file, disk.describe(name));
    assert!(offset <= 700);
}

#[test]
fn another_format_version_is_refused_by_its_number() {
    let (disk, _) = unpurged();
    let name = &segments(&disk)[0];
    disk.damage(name, |bytes| {
        bytes[8] = 9;
        let crc = crc32fast::hash(&bytes[..508]).to_le_bytes();
        bytes[508..512].copy_from_slice(&crc);
    });
    let error = Wal::open(Arc::new(disk.clone()), options()).err().unwrap();
    assert!(matches!(error, OpenError::Version { found: 9, known: 2, .. }), "{error}");
}

#[test]
fn a_bad_last_frame_is_damage_if_a_marker_says_it_was_durable() {
    for marked in [false, true] {
        let disk = CrashDisk::new();
        let (mut wal, _) = open(&disk).unwrap();
        wal.save(&[vote(1, None)]).unwrap();
        wal.save(&[run(1, 1, 3)]).unwrap();
        if marked {
            wal.mark().unwrap();
        }
        drop(wal);
        let name = &segments(&disk)[0];
        disk.damage(name, |bytes| bytes[600] ^= 1);
        match open(&disk) {
            Err(OpenError::Damaged { file, offset, .. }) if marked => {
                assert_eq!((file, offset), (disk.describe(name), 552));
            }
            Ok((wal, _)) if !marked => assert_eq!(wal.state().last_log.index, Index(0)),
            opened => panic!("marked: {marked}, opened: {:?}", opened.map(|(_, state)| state)),
        }
    }
}

#[test]
fn opening_marks_the_end_so_that_later_damage_to_it_is_found() {
    let disk = CrashDisk::new();
    let (mut wal, _) = open(&disk).unwrap();
    wal.save(&[run(1, 1, 3)]).unwrap();
    drop(wal);
    drop(open(&disk).unwrap());
    let disk = disk.crash(Survives::Nothing);
    disk.damage(&segments(&disk)[0], |bytes| bytes[600] ^= 1);
    assert!(matches!(open(&disk), Err(OpenError::Damaged { offset: 512, .. })));
}

#[test]
fn frames_gone_from_the_end_of_an_older_segment_are_missed_there() {
    let (disk, _) = unpurged();
    let names = segments(&disk);
    let length = used(&disk.bytes(&names[1]).unwrap());
    for cut in 512..length - 100 {
        let damaged = disk.crash(Survives::Everything);
        damaged.damage(&names[1], |bytes| bytes[cut..].fill(0));
        let Err(OpenError::Damaged { file, offset, .. }) = open(&damaged) else {
            panic!("zeros from {cut} on");
        };
        assert_eq!(file, damaged.describe(&names[1]), "zeros from {cut} on");
        // A frame's padding is zeros anyway.
        assert!(offset <= cut.next_multiple_of(8) as u64, "zeros from {cut} on, named {offset}");
    }
}

#[test]
fn a_last_segment_cut_within_its_header_is_made_again() {
    for cut in 0..=512 {
        let (disk, model) = unpurged();
        let name = segments(&disk).pop().unwrap();
        disk.damage(&name, |bytes| bytes.truncate(cut));
        let (wal, _) = open(&disk).unwrap_or_else(|error| panic!("cut at {cut}: {error}"));
        let found = Model::of(&wal);
        assert!(!found.entries.is_empty() && model.entries.starts_with(&found.entries));
        drop(wal);
        let (wal, _) = open(&disk.crash(Survives::Nothing)).unwrap();
        assert_eq!(Model::of(&wal), found, "cut at {cut}");
    }
}

#[test]
fn a_torn_tail_that_looks_like_many_lengths_is_searched_in_no_time() {
    let disk = CrashDisk::new();
    let options = LogOptions { segment_bytes: 2 << 20, ..options() };
    let (wal, _) = Wal::open(Arc::new(disk.clone()), options.clone()).unwrap();
    drop(wal);
    // Every place claims to begin a frame of half a MiB: the checksums of all are 64 GiB of work.
    disk.damage(&segments(&disk)[0], |bytes| {
        for chunk in bytes[512..1 << 20].chunks_exact_mut(8) {
            chunk.copy_from_slice(&[0, 0, 8, 0, 1, 0, 1, 0]);
        }
    });
    let (wal, _) = Wal::open(Arc::new(disk), options).unwrap();
    assert!(wal.state().is_pristine());
}

#[test]
fn a_foreign_directory_is_not_touched() {
    let (disk, _) = unpurged();
    disk.create("00000000000000ff.tmp").unwrap();
    disk.create("notes.tmp").unwrap();
    let before = disk.operations();
    let other = LogOptions::new(Identity { node_id: NodeId(2), ..identity() });
    assert!(Wal::open(Arc::new(disk.clone()), other).is_err());
    assert_eq!(disk.operations(), before);
    open(&disk).unwrap();
    assert!(disk.bytes("00000000000000ff.tmp").is_none(), "what was left half made is removed");
    assert!(disk.bytes("notes.tmp").is_some(), "what is not ours is not");
}
