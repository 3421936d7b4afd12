//! The planted bugs of snapshots and purges: each breaks what holds without it.

#![cfg(feature = "mutants")]

mod support;

use actix_raft_core::mutants::{Mutant, plant};
use actix_raft_core::snapshot::Snapshot;
use actix_raft_core::types::Index;
use actix_raft_log::crash::{CrashDisk, Survives};
use actix_raft_log::wal::Wal;
use support::{Model, base, begin_after, build, chunk, leaders, open, run};

fn new() -> (CrashDisk, Wal) {
    let disk = CrashDisk::new();
    let (mut wal, _) = open(&disk).unwrap();
    for first in (1..60).step_by(4) {
        wal.save(&[run(1, first, first + 3)]).unwrap();
    }
    (disk, wal)
}

/// Builds a snapshot, lets the log begin after it, and loses power.
fn purges() -> bool {
    let (disk, mut wal) = new();
    build(&wal.snapshots(), base(1, 20)).unwrap();
    wal.save(&[begin_after(base(1, 20))]).unwrap();
    drop(wal);
    match open(&disk.crash(Survives::Nothing)) {
        Ok((wal, state)) => state.snapshot.is_some() && Model::of(&wal).entries.len() == 40,
        Err(_) => false,
    }
}

/// Receives a snapshot and installs it; loses power before the log knows.
fn installs(snapshot: &Snapshot, file: &[u8], before: &[u8], other: &Snapshot) -> bool {
    let (disk, wal) = new();
    let store = wal.snapshots();
    store.receive(other, &chunk(0, before, other)).unwrap();
    let mut received = store.receive(snapshot, &chunk(0, &[], snapshot)).unwrap();
    if received < snapshot.size {
        let rest = chunk(received, &file[received as usize..], snapshot);
        received = store.receive(snapshot, &rest).unwrap();
    }
    let installed = received == snapshot.size && store.install(snapshot).unwrap();
    drop((wal, store));
    match open(&disk.crash(Survives::Nothing)) {
        Ok((wal, state)) => match installed {
            true => state.base == snapshot.base && wal.state().last_log.index == Index(99),
            false => state.snapshot.is_none() && state.last_log.index == Index(60),
        },
        Err(_) => false,
    }
}

#[test]
fn each_breaks_what_holds_without_it() {
    let (snapshot, file) = leaders(&base(2, 99));
    let (other, others) = leaders(&base(2, 98));
    let mut damaged = file.clone();
    damaged[250] ^= 1;
    let whole = || installs(&snapshot, &file, &[], &snapshot);
    let broken = || installs(&snapshot, &damaged, &[], &snapshot);
    let mixed = || installs(&snapshot, &file, &others[..300], &other);
    let cases: [(Mutant, &dyn Fn() -> bool); 5] = [
        (Mutant::SnapshotNameNotSynced, &whole),
        (Mutant::PurgeTooFar, &purges),
        (Mutant::SnapshotNotVerified, &broken),
        (Mutant::PartialSnapshotMixed, &mixed),
        (Mutant::InstallNotFinished, &whole),
    ];
    for (mutant, holds) in cases {
        plant(None);
        assert!(holds(), "without {}", mutant.name());
        plant(Some(mutant));
        let held = holds();
        plant(None);
        assert!(!held, "{} was not caught", mutant.name());
    }
}
