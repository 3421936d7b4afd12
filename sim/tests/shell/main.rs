//! The real actor shell and transport on a virtual clock and network: partitions, crashes, restarts,
//! while members come and go.
//!
//! ```text
//!   clients --requests--> TcpNetwork --> Client, Raft actor --> Wal, snapshots on a CrashDisk
//!      |                      |
//!      +------ turmoil: one thread, virtual time, links that break
//!      v
//!   history: linearizable? what was acknowledged, there; what was refused, not?
//! ```
//!
//! Nothing but the operating system's sockets, its clock and the threads of the storage is replaced.
//! A run depends on its seed alone: `SHELL_SEED=7` runs one, `SHELL_SEEDS=1000` as many.

mod client;
mod dice;
mod faults;
mod history;
mod node;
mod operator;
mod record;
mod run;
mod sockets;
mod storage;
mod store;
mod wire;

use std::collections::HashSet;
use std::env;
use std::ops::Range;

use record::Counts;
use run::{Report, run};

/// The seeds that a test runs.
fn seeds(default: u64) -> Range<u64> {
    let number = |name| env::var(name).ok().map(|value| value.parse().expect("a number"));
    match number("SHELL_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SHELL_SEEDS").unwrap_or(default),
    }
}

fn checked(seed: u64, size: u64) -> Report {
    run(seed, size).unwrap_or_else(|wrong| {
        panic!("{wrong}\nseed {seed} with {size} nodes; again with SHELL_SEED={seed}")
    })
}

/// Runs all seeds; returns what happened in them, added up.
fn run_all(seeds: Range<u64>, size: u64) -> Counts {
    seeds.fold(Counts::default(), |sum, seed| sum.plus(checked(seed, size).counts))
}

/// All that should happen in a run must have happened, once a run on average.
fn assert_eventful(counts: Counts, runs: u64) {
    println!("{runs} runs: {counts:?}");
    for (what, count) in counts.each() {
        assert!(count >= runs, "only {count} {what} in {runs} runs");
    }
}

#[test]
fn three_nodes_keep_their_word_through_partitions_and_crashes() {
    let seeds = seeds(6);
    let runs = seeds.end - seeds.start;
    let counts = run_all(seeds, 3);
    if runs > 2 {
        assert_eventful(counts, runs);
    }
}

#[test]
fn five_nodes_keep_their_word_through_partitions_and_crashes() {
    let seeds = seeds(3);
    let runs = seeds.end - seeds.start;
    let counts = run_all(seeds, 5);
    if runs > 2 {
        assert_eventful(counts, runs);
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    let mut traces = HashSet::new();
    for seed in seeds(2) {
        let (first, again) = (checked(seed, 3).trace, checked(seed, 3).trace);
        if let Some(line) = first.lines().zip(again.lines()).position(|(one, other)| one != other) {
            let lines = |trace: &str| {
                let lines: Vec<_> = trace.lines().skip(line.saturating_sub(5)).take(10).collect();
                lines.join("\n")
            };
            let (first, again) = (lines(&first), lines(&again));
            panic!("seed {seed}, line {line}:\n{first}\n\nand then\n{again}");
        }
        assert_eq!(first, again, "seed {seed}");
        assert!(traces.insert(first), "the run of seed {seed} is that of another");
    }
}
