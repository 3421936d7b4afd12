//! How fast the log is, beside the raw limit of the same disk in the same run:
//! `cargo run --release -p actix-raft-log --example speed`, in a directory of that disk.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use actix_raft_core::entry::{Entry, EntryPayload};
use actix_raft_core::stored::Save;
use actix_raft_core::types::{Index, NodeId, Term};
use actix_raft_log::error::Identity;
use actix_raft_log::real::RealDisk;
use actix_raft_log::wal::{LogOptions, Wal};
use actix_raft_log::writer::Log;
use bytes::Bytes;

const COMMAND: [u8; 256] = [7; 256];
/// Measured in turns, since a disk is not always equally fast.
const TURNS: usize = 9;
const TURN: Duration = Duration::from_millis(250);

fn options() -> LogOptions {
    LogOptions::new(Identity { cluster_id: "speed".to_string(), node_id: NodeId(1) })
}

fn open(directory: &Path) -> Wal {
    let disk = Arc::new(RealDisk::open(directory).unwrap());
    Wal::open(disk, options()).unwrap().0
}

/// A save of so many entries from this index on.
fn batch(first: u64, count: u64) -> Save {
    let payload = EntryPayload::Normal(Bytes::from_static(&COMMAND));
    let entry = |index| Entry { term: Term(1), index: Index(index), payload: payload.clone() };
    Save { entries: vec![(first..first + count).map(entry).collect()], ..Save::default() }
}

/// How often it is done in a second.
fn rate(act: &mut dyn FnMut()) -> f64 {
    let start = Instant::now();
    let mut count = 0.0;
    while start.elapsed() < TURN {
        act();
        count += 1.0;
    }
    count / start.elapsed().as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn durable_batches_a_second() {
    for count in [1, 16, 256] {
        let parent = tempfile::tempdir_in(".").unwrap();
        let disk = Arc::new(RealDisk::open(&parent.path().join("log")).unwrap());
        let (log, _) = Log::open(disk, options()).unwrap();
        let mut first = 1;
        let mut ours = || {
            let (answer, answered) = mpsc::channel();
            log.save(batch(first, count), move |result| answer.send(result).unwrap());
            answered.recv().unwrap().unwrap();
            first += count;
        };
        // As large as our segments, written over and over.
        let file = File::create_new(parent.path().join("raw")).unwrap();
        let bytes = vec![7; count as usize * (COMMAND.len() + 13) + 32];
        (0..16).for_each(|place| file.write_all_at(&[0; 1 << 20], place << 20).unwrap());
        file.sync_all().unwrap();
        let mut offset = 0;
        let mut raw = || {
            file.write_all_at(&bytes, offset).unwrap();
            file.sync_data().unwrap();
            offset = (offset + bytes.len() as u64) % ((16 << 20) - bytes.len() as u64);
        };
        let turns: Vec<_> = (0..TURNS).map(|_| (rate(&mut ours), rate(&mut raw))).collect();
        let ratios: Vec<f64> = turns.iter().map(|(ours, raw)| ours / raw).collect();
        let (least, most) = (
            ratios.iter().copied().fold(f64::MAX, f64::min),
            ratios.iter().copied().fold(0.0, f64::max),
        );
        let (ours, raw) = turns.into_iter().unzip();
        println!(
            "{count} entries: {:.0} batches/s, raw {:.0}; {:.2} of it ({least:.2} to {most:.2})",
            median(ours),
            median(raw),
            median(ratios),
        );
    }
}

fn opening_and_reading_a_million_entries() {
    let parent = tempfile::tempdir_in(".").unwrap();
    let directory = parent.path().join("log");
    let mut wal = open(&directory);
    for thousand in 0..1000 {
        wal.save(&[batch(thousand * 1000 + 1, 1000)]).unwrap();
    }
    wal.close().unwrap();
    let start = Instant::now();
    let wal = open(&directory);
    println!("opened in {:?}", start.elapsed());
    assert_eq!(wal.state().last_log.index, Index(1_000_000));

    let (reader, start) = (wal.reader(), Instant::now());
    let mut next = 1;
    while next <= 1_000_000 {
        next += reader.read(Index(next), Index(1_000_000), 1 << 20).unwrap().len() as u64;
    }
    println!("read in pages of 1 MiB in {:?}", start.elapsed());
    let start = Instant::now();
    for index in (1..1_000_000).step_by(997) {
        reader.read(Index(index), Index(index), 1).unwrap();
    }
    println!("an entry by itself in {:?}", start.elapsed() / 1004);
}

fn main() {
    durable_batches_a_second();
    opening_and_reading_a_million_entries();
}
