//! Snapshots: built, sent, received, installed, read back; damage to them; and crashes on the way.

mod support;

use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;

use actix_raft_core::snapshot::Snapshot;
use actix_raft_core::types::{DiskId, Index, LogPosition, NodeId};
use actix_raft_log::crash::{CrashDisk, Survives};
use actix_raft_log::disk::Disk;
use actix_raft_log::error::{Identity, OpenError, SnapshotError};
use actix_raft_log::snapshots::SnapshotStore;
use actix_raft_log::wal::{LogOptions, Wal};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use support::{
    SURVIVALS, base, begin_after, build, chunk, content, identity, leaders, open, options,
    read_latest, run, vote,
};

fn snapshots(disk: &CrashDisk) -> Vec<String> {
    disk.list().unwrap().into_iter().filter(|name| name.starts_with("snapshot-")).collect()
}

/// A log of 30 entries with a snapshot of the first 20.
fn written() -> (CrashDisk, Wal, Snapshot) {
    let disk = CrashDisk::new();
    let (mut wal, _) = open(&disk).unwrap();
    wal.save(&[vote(2, Some(1)), run(2, 1, 30)]).unwrap();
    let snapshot = build(&wal.snapshots(), base(2, 20)).unwrap();
    (disk, wal, snapshot)
}

/// Receives all of a snapshot's file, from where it was left.
fn receive(store: &SnapshotStore, snapshot: &Snapshot, file: &[u8]) -> Result<u64, SnapshotError> {
    let mut received = store.receive(snapshot, &chunk(0, &[], snapshot))?;
    while received < snapshot.size {
        let from = received as usize;
        let piece = &file[from..(from + 40_000).min(file.len())];
        let stored = store.receive(snapshot, &chunk(received, piece, snapshot))?;
        assert_eq!(stored, received + piece.len() as u64);
        received = stored;
    }
    Ok(received)
}

#[test]
fn what_opening_finds_of_a_snapshot() {
    let (disk, mut wal, snapshot) = written();
    wal.save(&[begin_after(base(2, 12))]).unwrap();
    for crashed in [disk.crash(Survives::Nothing), disk] {
        let (wal, state) = open(&crashed).unwrap();
        assert_eq!(state.snapshot.as_ref(), Some(&snapshot));
        assert_eq!((state.last_applied, state.last_log.index), (Index(20), Index(30)));
        assert_eq!(state.base, base(2, 12));
        assert_eq!(read_latest(&wal.snapshots()), Some(snapshot.clone()));
    }
}

#[test]
fn two_servers_snapshots_of_one_position_are_equal_and_of_other_states_are_not() {
    let made = |node, content: &[u8]| {
        let identity = Identity { node_id: NodeId(node), ..identity() };
        let new_disk = Some(DiskId(node * 1_000));
        let options = LogOptions { new_disk, ..LogOptions::new(identity) };
        let (wal, _) = Wal::open(Arc::new(CrashDisk::new()), options).unwrap();
        let mut writer = wal.snapshots().create(base(3, 7)).unwrap();
        writer.write_all(content).unwrap();
        let snapshot = writer.finish().unwrap();
        let file = wal.snapshots().read(&snapshot, 0, usize::MAX).unwrap().unwrap();
        (snapshot, file.data)
    };
    let content = content(LogPosition::new(3, 50));
    let first = made(1, &content);
    assert_eq!(first, made(2, &content));
    for place in [0, 1_000, 65_535, 65_536, 131_071, 131_072, content.len() - 1] {
        let mut other = content.clone();
        other[place] ^= 1;
        assert_ne!(first.0.checksum, made(1, &other).0.checksum, "byte {place}");
    }
}

#[test]
fn the_bytes_of_a_snapshot_of_format_version_2_are_these() {
    let options = LogOptions { compress_snapshots: false, ..options() };
    let (wal, _) = Wal::open(Arc::new(CrashDisk::new()), options).unwrap();
    let mut writer = wal.snapshots().create(base(3, 7)).unwrap();
    writer.write_all(b"all that there is").unwrap();
    let snapshot = writer.finish().unwrap();
    let file = wal.snapshots().read(&snapshot, 0, usize::MAX).unwrap().unwrap().data;
    let hex: String = file.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, include_str!("golden/snapshot.hex").trim());
    let (before, checksum) = file.split_at(file.len() - 4);
    assert_eq!(checksum, crc32fast::hash(before).to_le_bytes());
    assert_eq!(checksum, snapshot.checksum.to_le_bytes());
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 60,
        rng_seed: RngSeed::Fixed(20_140_522),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Any state, written, sent and read in any pieces, compressed or not.
    #[test]
    fn what_is_read_is_what_was_written(
        length in prop_oneof![0usize..300, 65_500usize..65_600, 131_000usize..131_200],
        noise in 1u64..400,
        pieces in prop::collection::vec(1usize..70_000, 1..5),
        compress_snapshots in any::<bool>(),
    ) {
        let content: Vec<u8> = (0..length as u64).map(|n| (n * n / noise) as u8).collect();
        let options = LogOptions { compress_snapshots, ..options() };
        let leader = Wal::open(Arc::new(CrashDisk::new()), options.clone()).unwrap().0.snapshots();
        let mut writer = leader.create(base(4, 9)).unwrap();
        let (mut rest, mut sizes) = (content.as_slice(), pieces.iter().cycle());
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
            writer.write_all(now).unwrap();
            writer.flush().unwrap();
            rest = later;
        }
        let snapshot = writer.finish().unwrap();

        let disk = CrashDisk::new();
        let follower = Wal::open(Arc::new(disk.clone()), options.clone()).unwrap().0.snapshots();
        let mut received = 0;
        while received < snapshot.size {
            let size = *sizes.next().unwrap();
            let piece = leader.read(&snapshot, received, size).unwrap().unwrap();
            prop_assert!(piece.data.len() <= size);
            prop_assert_eq!(piece.done, received + piece.data.len() as u64 == snapshot.size);
            received = follower.receive(&snapshot, &piece).unwrap();
        }
        prop_assert_eq!(leader.read(&snapshot, received + 1, 10).unwrap(), None);
        prop_assert!(follower.install(&snapshot).unwrap());
        let (wal, state) = Wal::open(Arc::new(disk.crash(Survives::Nothing)), options).unwrap();
        prop_assert_eq!(state.snapshot.as_ref(), Some(&snapshot));
        prop_assert_eq!(state.base, base(4, 9));
        for store in [leader, follower, wal.snapshots()] {
            let mut reader = store.open_latest().unwrap().unwrap();
            let mut found = Vec::new();
            reader.read_to_end(&mut found).unwrap();
            prop_assert!(found == content);
        }
    }
}

#[test]
fn a_flipped_bit_is_neither_read_nor_sent() {
    let (disk, wal, snapshot) = written();
    let store = wal.snapshots();
    let name = snapshots(&disk).pop().unwrap();
    let whole = disk.bytes(&name).unwrap();
    for bit in 0..whole.len() * 8 {
        disk.damage(&name, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
        for (offset, length) in [(0, whole.len()), (bit as u64 / 8, 1)] {
            match store.read(&snapshot, offset, length) {
                Err(SnapshotError::Damaged { file, .. }) => assert_eq!(file, disk.describe(&name)),
                read => panic!("bit {bit}: {read:?}"),
            }
        }
        let mut found = Vec::new();
        let error = match store.open_latest() {
            Ok(reader) => reader.unwrap().read_to_end(&mut found).unwrap_err(),
            Err(error) => error.into(),
        };
        assert_eq!(error.kind(), ErrorKind::InvalidData, "bit {bit}: {error}");
        assert!(error.to_string().starts_with("/crash-disk/snapshot-"), "bit {bit}: {error}");
        disk.damage(&name, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
    }
    assert_eq!(read_latest(&store), Some(snapshot));
}

#[test]
fn a_damaged_snapshot_is_refused_if_the_log_begins_after_it_and_put_aside_if_not() {
    for purged in [false, true] {
        let (disk, mut wal, _) = written();
        if purged {
            wal.save(&[begin_after(base(2, 12))]).unwrap();
        }
        drop(wal);
        let name = snapshots(&disk).pop().unwrap();
        let length = disk.bytes(&name).unwrap().len();
        // And cut short, and longer than it was.
        for place in 0..length + 2 {
            let damaged = disk.crash(Survives::Everything);
            damaged.damage(&name, |bytes| match place.checked_sub(length) {
                None => bytes[place] ^= 1 << (place % 8),
                Some(0) => bytes.truncate(length - 1),
                Some(_) => bytes.push(0),
            });
            let before = damaged.operations();
            match open(&damaged) {
                Err(OpenError::Damaged { file, offset, .. }) => {
                    assert!(purged, "byte {place}");
                    assert_eq!(file, damaged.describe(&name));
                    assert!(offset <= place as u64, "byte {place}");
                    assert_eq!(damaged.operations(), before, "nothing was changed");
                }
                Ok((wal, state)) => {
                    assert!(!purged && wal.snapshots().latest().is_none(), "byte {place}");
                    assert_eq!((state.snapshot, state.last_applied), (None, Index(0)));
                    assert_eq!(state.last_log.index, Index(30));
                    assert_eq!(snapshots(&damaged), [format!("{name}.damaged")]);
                }
                Err(error) => panic!("byte {place}: {error}"),
            }
        }
    }
}

#[test]
fn what_is_needed_and_missing_is_named() {
    let (disk, mut wal, _) = written();
    let name = snapshots(&disk).pop().unwrap();
    let mut log_gone = disk.crash(Survives::Everything);
    for name in log_gone.list().unwrap().iter().filter(|name| name.ends_with(".wal")) {
        log_gone.remove(name).unwrap();
    }
    let error = open(&log_gone).err().unwrap().to_string();
    assert_eq!(
        error,
        "/crash-disk/0000000000000001.wal is missing, though other segments of the log are there"
    );
    log_gone = disk.crash(Survives::Everything);
    log_gone.remove(&name).unwrap();
    assert!(open(&log_gone).is_ok(), "the log has everything");

    wal.save(&[begin_after(base(2, 12))]).unwrap();
    disk.remove(&name).unwrap();
    let error = open(&disk).err().unwrap().to_string();
    assert_eq!(
        error,
        "the log in /crash-disk/ begins after 12@2, and there is no snapshot up to there"
    );
}

#[test]
fn another_version_or_cluster_or_position_is_no_snapshot_of_ours() {
    let reseal = |bytes: &mut [u8]| {
        let length = u32::from_le_bytes(bytes[12..16].try_into().unwrap()) as usize;
        let crc = crc32fast::hash(&[&bytes[..16], &bytes[20..20 + length]].concat());
        bytes[16..20].copy_from_slice(&crc.to_le_bytes());
    };
    let opened = |change: &dyn Fn(&mut Vec<u8>)| {
        let (disk, mut wal, _) = written();
        wal.save(&[begin_after(base(2, 12))]).unwrap();
        let name = snapshots(&disk).pop().unwrap();
        disk.damage(&name, |bytes| {
            change(bytes);
            reseal(bytes);
        });
        open(&disk).err().unwrap()
    };
    let error = opened(&|bytes| bytes[8] = 9);
    assert!(matches!(error, OpenError::Version { found: 9, known: 2, .. }), "{error}");
    let error = opened(&|bytes| bytes[22] = b'T').to_string();
    assert!(error.ends_with("is damaged at offset 0: it is another cluster's"), "{error}");

    let (disk, mut wal, _) = written();
    wal.save(&[begin_after(base(2, 12))]).unwrap();
    let name = snapshots(&disk).pop().unwrap();
    disk.rename(&name, &name.replace("14-", "15-")).unwrap();
    let error = open(&disk).err().unwrap().to_string();
    assert!(error.ends_with("the file is that of another snapshot"), "{error}");
}

#[test]
fn a_snapshot_that_arrived_damaged_is_not_installed() {
    let (snapshot, file) = leaders(&base(5, 7));
    let disk = CrashDisk::new();
    let (wal, _) = open(&disk).unwrap();
    let store = wal.snapshots();
    for place in 0..file.len() {
        let mut damaged = file.clone();
        damaged[place] ^= 1 << (place % 8);
        assert_eq!(receive(&store, &snapshot, &damaged).unwrap(), snapshot.size);
        assert!(!store.install(&snapshot).unwrap(), "byte {place}");
        assert!(snapshots(&disk).is_empty() && store.latest().is_none(), "byte {place}");
    }
    // Whole, but not what was announced.
    let others = [
        Snapshot { checksum: snapshot.checksum ^ 1, ..snapshot.clone() },
        Snapshot { base: base(5, 8), ..snapshot.clone() },
        Snapshot { base: base(6, 7), ..snapshot.clone() },
        Snapshot { size: snapshot.size - 1, ..snapshot.clone() },
    ];
    for other in others {
        receive(&store, &other, &file[..other.size as usize]).unwrap();
        assert!(!store.install(&other).unwrap(), "{other:?}");
    }
    assert!(!store.install(&snapshot).unwrap(), "nothing was received");
    receive(&store, &snapshot, &file).unwrap();
    assert!(store.install(&snapshot).unwrap());
    assert!(store.install(&snapshot).unwrap(), "told again");
    assert_eq!(store.receive(&snapshot, &chunk(0, &[], &snapshot)).unwrap(), snapshot.size);
    assert_eq!(read_latest(&store), Some(snapshot));
}

#[test]
fn only_the_piece_that_comes_next_is_stored_and_only_if_it_is_whole() {
    let (snapshot, file) = leaders(&base(5, 7));
    let (wal, _) = open(&CrashDisk::new()).unwrap();
    let store = wal.snapshots();
    let piece = |from: usize, to: usize| chunk(from as u64, &file[from..to], &snapshot);
    assert_eq!(store.receive(&snapshot, &piece(0, 0)).unwrap(), 0);
    assert_eq!(store.receive(&snapshot, &piece(10, 20)).unwrap(), 0, "a gap");
    assert_eq!(store.receive(&snapshot, &piece(0, 20)).unwrap(), 20);
    assert_eq!(store.receive(&snapshot, &piece(0, 20)).unwrap(), 20, "twice");
    assert_eq!(store.receive(&snapshot, &piece(10, 30)).unwrap(), 20, "half of it known");
    let mut damaged = piece(20, 40);
    damaged.checksum ^= 1;
    assert_eq!(store.receive(&snapshot, &damaged).unwrap(), 20, "damaged on its way");
    let beyond = chunk(20, &[0; 5_000], &snapshot);
    assert_eq!(store.receive(&snapshot, &beyond).unwrap(), 20, "longer than the snapshot");
    let nowhere = chunk(u64::MAX, &[0; 50], &snapshot);
    assert_eq!(store.receive(&snapshot, &nowhere).unwrap(), 20);
    assert_eq!(store.receive(&snapshot, &piece(20, file.len())).unwrap(), snapshot.size);
    assert!(store.install(&snapshot).unwrap());
}

#[test]
fn a_transfer_goes_on_after_a_restart_with_what_is_whole() {
    let (snapshot, file) = leaders(&base(5, 100));
    assert!(file.len() > 70_000);
    for survives in SURVIVALS {
        for length in (0..=file.len()).step_by(file.len() / 7) {
            let disk = CrashDisk::new();
            let (wal, _) = open(&disk).unwrap();
            let store = wal.snapshots();
            store.receive(&snapshot, &chunk(0, &file[..length], &snapshot)).unwrap();
            drop((wal, store));
            let killed = open(&disk).unwrap().0.snapshots();
            let left = killed.receive(&snapshot, &chunk(0, &[], &snapshot)).unwrap();
            // A block of the state machine may be in the middle.
            assert!(left <= length as u64 && left + (64 << 10) + 12 > length as u64, "{left}");

            let disk = disk.crash(survives);
            let (wal, state) = open(&disk).unwrap();
            assert_eq!(state.snapshot, None);
            let store = wal.snapshots();
            receive(&store, &snapshot, &file).unwrap();
            assert!(store.install(&snapshot).unwrap(), "{survives:?}, {length} bytes");
            let (wal, state) = open(&disk.crash(Survives::Nothing)).unwrap();
            assert_eq!(state.base, snapshot.base);
            assert_eq!(read_latest(&wal.snapshots()), Some(snapshot.clone()));
        }
    }
}

#[test]
fn what_a_failed_sync_left_behind_is_written_again_before_it_is_trusted() {
    let (snapshot, file) = leaders(&base(5, 100));
    let disk = CrashDisk::new();
    let (wal, _) = open(&disk).unwrap();
    let store = wal.snapshots();
    receive(&store, &snapshot, &file).unwrap();
    // The sync fails, and so does the removal after it; what was to be synced can still be read.
    disk.fail_from(disk.operations() + 1, ErrorKind::Other);
    assert!(store.install(&snapshot).is_err());
    disk.fail_never();
    drop((wal, store));
    let (wal, _) = open(&disk).unwrap();
    let store = wal.snapshots();
    receive(&store, &snapshot, &file).unwrap();
    assert!(store.install(&snapshot).unwrap());
    let (wal, _) = open(&disk.crash(Survives::Nothing)).unwrap();
    assert_eq!(read_latest(&wal.snapshots()), Some(snapshot));
}

#[test]
fn the_pieces_of_another_snapshot_are_thrown_away() {
    let (snapshot, file) = leaders(&base(5, 7));
    // Of the same position, and of a later one.
    let same = Snapshot { checksum: snapshot.checksum ^ 1, ..snapshot.clone() };
    let (later, _) = leaders(&base(5, 8));
    for other in [same, later] {
        for restarted in [false, true] {
            let disk = CrashDisk::new();
            let (wal, _) = open(&disk).unwrap();
            let mut store = wal.snapshots();
            store.receive(&other, &chunk(0, &file[..500], &other)).unwrap();
            if restarted {
                drop((wal, store));
                store = open(&disk).unwrap().0.snapshots();
            }
            assert_eq!(store.receive(&snapshot, &chunk(0, &[], &snapshot)).unwrap(), 0);
            assert_eq!(snapshots(&disk).len(), 1);
            receive(&store, &snapshot, &file).unwrap();
            assert!(store.install(&snapshot).unwrap());
        }
    }
}

#[test]
fn the_pieces_of_a_snapshot_that_is_no_longer_of_use_are_thrown_away() {
    let (disk, wal, _) = written();
    let store = wal.snapshots();
    let (snapshot, file) = leaders(&base(2, 25));
    store.receive(&snapshot, &chunk(0, &file[..200], &snapshot)).unwrap();
    build(&store, base(2, 24)).unwrap();
    assert_eq!(store.receive(&snapshot, &chunk(0, &[], &snapshot)).unwrap(), 200);
    build(&store, base(2, 26)).unwrap();
    assert_eq!(snapshots(&disk).len(), 1);
}

#[test]
fn an_installed_snapshot_takes_the_log_with_it_also_after_a_crash() {
    // The log has an earlier entry there, it ends before, and it has the very entry.
    for (at, stays) in [(base(5, 21), false), (base(2, 40), false), (base(2, 24), true)] {
        for with_base in [false, true] {
            let (disk, mut wal, _) = written();
            let (snapshot, file) = leaders(&at);
            receive(&wal.snapshots(), &snapshot, &file).unwrap();
            assert!(wal.snapshots().install(&snapshot).unwrap());
            if with_base {
                wal.save(&[begin_after(at.clone())]).unwrap();
            }
            drop(wal);
            // Twice: what was finished is durable.
            let again = disk.crash(Survives::Nothing);
            for disk in [again.clone(), again.clone(), again.crash(Survives::Nothing)] {
                let (wal, state) = open(&disk).unwrap();
                assert_eq!(state.snapshot.as_ref(), Some(&snapshot));
                assert_eq!(state.last_applied, at.last_included.index);
                assert_eq!(state.hard_state, vote(2, Some(1)).hard_state.unwrap());
                match stays {
                    true => assert_eq!(state.last_log, LogPosition::new(2, 30)),
                    false => assert_eq!(state.last_log, at.last_included),
                }
                let begins_there = with_base || !stays;
                assert_eq!(state.base == at, begins_there, "{at:?}");
                assert_eq!(read_latest(&wal.snapshots()), Some(snapshot.clone()));
            }
        }
    }
}

#[test]
fn a_crash_while_an_installation_is_finished_loses_nothing() {
    let (disk, wal, _) = written();
    let at = base(5, 50);
    let (snapshot, file) = leaders(&at);
    receive(&wal.snapshots(), &snapshot, &file).unwrap();
    assert!(wal.snapshots().install(&snapshot).unwrap());
    drop(wal);
    for operation in 1.. {
        let opening = disk.crash(Survives::Nothing);
        opening.power_off_at(operation);
        let opened = open(&opening).is_ok();
        for survives in SURVIVALS {
            let (wal, state) = open(&opening.crash(survives)).unwrap();
            assert_eq!((&state.base, state.snapshot.as_ref()), (&at, Some(&snapshot)));
            assert_eq!(state.hard_state, vote(2, Some(1)).hard_state.unwrap());
            assert_eq!(read_latest(&wal.snapshots()), Some(snapshot.clone()));
        }
        if opened {
            break;
        }
    }
}

#[test]
fn who_is_sent_a_snapshot_gets_the_rest_of_it_when_there_is_a_later_one() {
    let (disk, wal, first) = written();
    let store = wal.snapshots();
    let whole = store.read(&first, 0, usize::MAX).unwrap().unwrap().data;
    let second = build(&store, base(2, 24)).unwrap();
    assert_eq!(snapshots(&disk).len(), 1, "the older one has no name any more");
    let rest = store.read(&first, 100, usize::MAX).unwrap().unwrap();
    assert_eq!((rest.data.as_ref(), rest.done), (&whole[100..], true));
    let third = build(&store, base(2, 27)).unwrap();
    assert!(store.read(&first, 0, 10).unwrap().is_some(), "it is still being sent");
    assert!(store.read(&second, 0, 10).unwrap().is_none(), "it never was");
    build(&store, base(2, 28)).unwrap();
    build(&store, base(2, 29)).unwrap();
    assert!(store.read(&first, 0, 10).unwrap().is_none(), "nobody has asked for long");
    assert!(store.read(&third, 0, 10).unwrap().is_none());
}

#[test]
fn a_reader_reads_on_while_another_snapshot_takes_its_place() {
    let (_, wal, _) = written();
    let store = wal.snapshots();
    let mut reader = store.open_latest().unwrap().unwrap();
    build(&store, base(2, 24)).unwrap();
    let mut found = Vec::new();
    reader.read_to_end(&mut found).unwrap();
    assert!(found == content(LogPosition::new(2, 20)));
    assert_eq!(reader.snapshot().last_included(), LogPosition::new(2, 20));
    assert_eq!(read_latest(&store).unwrap().last_included(), LogPosition::new(2, 24));
}

#[test]
fn a_snapshot_that_is_not_finished_or_no_longer_wanted_leaves_nothing() {
    let (disk, wal, first) = written();
    let store = wal.snapshots();
    let mut writer = store.create(base(2, 25)).unwrap();
    writer.write_all(&[1; 100_000]).unwrap();
    assert_eq!(snapshots(&disk).len(), 2);
    // The process may die in the middle of it, too.
    let killed = disk.crash(Survives::Everything);
    assert_eq!(open(&killed).unwrap().1.snapshot, Some(first.clone()));
    assert_eq!(snapshots(&killed).len(), 1);
    drop(writer);
    assert_eq!(snapshots(&disk).len(), 1);

    let late = store.create(base(2, 22)).unwrap();
    let later = build(&store, base(2, 25)).unwrap();
    let error = late.finish().unwrap_err();
    assert_eq!(
        error.to_string(),
        "the snapshot up to 22@2 is no longer wanted: there is one up to 25@2"
    );
    assert_eq!((snapshots(&disk).len(), store.latest()), (1, Some(later)));
    let (old, file) = leaders(&base(2, 23));
    receive(&store, &old, &file).unwrap();
    assert!(matches!(store.install(&old), Err(SnapshotError::Superseded { .. })));
    assert_eq!(snapshots(&disk).len(), 1);
}

#[test]
fn a_full_disk_stops_a_snapshot_and_not_the_log() {
    let (disk, mut wal, first) = written();
    let store = wal.snapshots();
    let (snapshot, file) = leaders(&base(5, 100));
    disk.set_capacity(Some(disk.used_space() + 60_000));
    let error = build(&store, base(2, 50)).unwrap_err();
    let SnapshotError::Io { source, .. } = &error else { panic!("{error}") };
    assert_eq!(source.kind(), ErrorKind::StorageFull, "{error}");
    let error = receive(&store, &snapshot, &file).unwrap_err();
    let SnapshotError::Io { source, .. } = &error else { panic!("{error}") };
    assert_eq!(source.kind(), ErrorKind::StorageFull, "{error}");
    assert_eq!((snapshots(&disk).len(), store.latest()), (1, Some(first)));
    wal.save(&[run(2, 31, 31)]).unwrap();
    disk.set_capacity(None);
    receive(&store, &snapshot, &file).unwrap();
    assert!(store.install(&snapshot).unwrap());
}

#[test]
fn a_crash_at_any_moment_of_a_large_snapshot_leaves_the_old_or_the_new_one() {
    let (at, survivals) = (base(5, 100), [Survives::Nothing, Survives::Everything]);
    let (snapshot, file) = leaders(&at);
    type Act<'a> = &'a dyn Fn(&SnapshotStore) -> bool;
    let built: Act = &|store| build(store, at.clone()).is_ok();
    let installed: Act = &|store| {
        receive(store, &snapshot, &file).is_ok() && store.install(&snapshot).is_ok_and(|done| done)
    };
    for act in [built, installed] {
        for operation in 1.. {
            let (disk, wal, first) = written();
            disk.power_off_at(disk.operations() + operation);
            let done = act(&wal.snapshots());
            for survives in survivals.into_iter().chain(SURVIVALS.into_iter().skip(4).take(3)) {
                let (wal, state) = open(&disk.crash(survives)).unwrap();
                let found = read_latest(&wal.snapshots()).unwrap();
                assert!(found == snapshot || (found == first && !done), "{found:?}");
                let begins = if found == snapshot { at.clone() } else { Default::default() };
                assert_eq!(state.base, begins);
            }
            if done {
                break;
            }
        }
    }
}
