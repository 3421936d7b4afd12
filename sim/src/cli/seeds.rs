//! `run`: seeds, a summary, and the smallest failure.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{ExitCode, exit};
use std::str::FromStr;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use actix_raft_sim::coverage::Situation;
use actix_raft_sim::key_value::KeyValue;
use actix_raft_sim::laws::Broken;
use actix_raft_sim::plan::{Ambient, Edits};
use actix_raft_sim::profile::Profile;
use actix_raft_sim::simulation::{Failure, Simulation, Summary};
use clap::Args;

use super::table::{count, progress, table};
use super::watchdog::watch;

/// How to call this program.
const PROGRAM: &str = "cargo run --release -p actix-raft-sim";

#[derive(Args)]
pub(super) struct Run {
    /// How many seeds.
    #[arg(long, default_value_t = 1000)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// This seed only.
    #[arg(long, conflicts_with_all = ["seeds", "first"])]
    seed: Option<u64>,
    /// Clusters of so many servers, 1 to 7; otherwise each seed draws it.
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=7))]
    nodes: Option<u8>,
    /// The kind of trouble: default, calm, network, partitions, crashes, disks, clocks, permanent
    /// or storm.
    #[arg(long, default_value_t)]
    profile: Profile,
    /// Keep these faults of the schedule only, by their numbers: "3,8", or "none".
    #[arg(long)]
    keep: Option<Keep>,
    /// Make these parts of the weather calm: loss, repeats, corruption, delay, disk, apply, clocks.
    #[arg(long, value_delimiter = ',', value_parser = ambient)]
    calm: Vec<Ambient>,
    /// End the faults after so many milliseconds.
    #[arg(long)]
    until_ms: Option<u64>,
    /// Show what happens, step by step; with --seed.
    #[arg(long, requires = "seed")]
    trace: bool,
    /// Go on after a failure, and list all of them, each as it is.
    #[arg(long)]
    list_failures: bool,
    /// Fail if a situation never came up.
    #[arg(long)]
    deny_hollow: bool,
    /// How many worlds run at a time; as many as there are processors otherwise.
    #[arg(long)]
    threads: Option<usize>,
    /// Plant this bug.
    #[cfg(feature = "mutants")]
    #[arg(long, value_parser = super::mutants::mutant)]
    mutant: Option<actix_raft_core::mutants::Mutant>,
}

/// Places in a schedule.
#[derive(Clone)]
struct Keep(Vec<usize>);

impl FromStr for Keep {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Keep, Self::Err> {
        match text {
            "none" => Ok(Keep(Vec::new())),
            _ => text.split(',').map(str::parse).collect::<Result<_, _>>().map(Keep),
        }
    }
}

fn ambient(name: &str) -> Result<Ambient, String> {
    let found = Ambient::ALL.into_iter().find(|ambient| ambient.to_string() == name);
    found.ok_or_else(|| format!("'{name}' is no part of the weather"))
}

/// One line for each seed that fails.
fn list_failures<F: Fn() -> KeyValue + Sync>(
    simulation: &Simulation<F>,
    seeds: std::ops::Range<u64>,
) -> ExitCode {
    let mut next = seeds.start;
    let mut count = 0;
    while let Some(failure) = simulation.first_failure(next..seeds.end) {
        let Broken { law, what } = &failure.broken;
        println!("{}: {law}: {what}", failure.seed);
        count += 1;
        next = failure.seed + 1;
    }
    println!("{count} of {} seeds fail", seeds.end - seeds.start);
    ExitCode::from(u8::from(count > 0))
}

impl Run {
    pub(super) fn run(self) -> ExitCode {
        let edits = Edits {
            keep: self.keep.as_ref().map(|keep| keep.0.clone()),
            calm: self.calm.iter().copied().collect::<BTreeSet<_>>(),
            until: self.until_ms.map(Duration::from_millis),
        };
        let mut simulation = Simulation::new(KeyValue::default)
            .profile(self.profile)
            .nodes(self.nodes.map(usize::from))
            .edits(edits.clone());
        if let Some(threads) = self.threads {
            simulation = simulation.threads(threads);
        }
        #[cfg(feature = "mutants")]
        let simulation = simulation.mutant(self.mutant);
        if let Some(seed) = self.seed.filter(|_| self.trace) {
            let mut out = std::io::stdout().lock();
            let trace = move |line| {
                if writeln!(out, "{line}").is_err() {
                    // Whoever read it has seen enough.
                    exit(0);
                }
            };
            let ended = simulation.one(seed, &edits, Some(Box::new(trace)));
            return match ended {
                Ok(run) => {
                    println!("all laws held; digest {:016x}", run.digest);
                    ExitCode::SUCCESS
                }
                Err(failure) => self.fail(&failure),
            };
        }
        let seeds = match self.seed {
            Some(seed) => seed..seed + 1,
            None => self.first..self.first.saturating_add(self.seeds),
        };
        if self.list_failures {
            return list_failures(&simulation, seeds);
        }
        let all = seeds.end - seeds.start;
        let bar = progress(all, "seeds");
        let begun = Instant::now();
        let next = watch(seeds.start);
        let mut done = 0;
        let ended = simulation.run_with(seeds, |_| {
            bar.inc(1);
            done += 1;
            next.fetch_add(1, Ordering::Relaxed);
            if bar.is_hidden() && done % all.div_ceil(10) == 0 {
                eprintln!("{done} of {all} seeds after {:.0} s", begun.elapsed().as_secs_f64());
            }
        });
        bar.finish_and_clear();
        match ended {
            Ok(summary) => self.report(&summary, begun.elapsed()),
            Err(failure) => self.fail(&failure),
        }
    }

    fn fail(&self, failure: &Failure) -> ExitCode {
        println!("{failure}");
        #[cfg(feature = "mutants")]
        if let Some(mutant) = self.mutant {
            let (replay, name) = (failure.replay(), mutant.name());
            println!("\nto replay it: {PROGRAM} --features mutants -- {replay} --mutant {name}");
            return ExitCode::FAILURE;
        }
        println!("\nto replay it: {PROGRAM} -- {}", failure.replay());
        ExitCode::FAILURE
    }

    fn report(&self, summary: &Summary, took: Duration) -> ExitCode {
        let counts = summary.counts;
        let speed = summary.elapsed.as_secs_f64() / took.as_secs_f64().max(0.001);
        let rows = [
            ("seeds", count(summary.seeds)),
            ("simulated time", format!("{} s", count(summary.elapsed.as_secs()))),
            ("real time", format!("{:.1} s", took.as_secs_f64())),
            ("cluster-seconds a second", count(speed as u64)),
            ("steps", count(counts.steps)),
            ("messages", count(counts.messages)),
            ("operations", count(counts.operations)),
            ("of these done", count(counts.done)),
            ("entries committed", count(counts.committed)),
            ("elections", count(summary.coverage.count(Situation::LeaderElected))),
            ("crashes", count(counts.crashes)),
            ("faults injected", count(counts.faults)),
            ("digest", format!("{:016x}", summary.digest)),
        ];
        let rows = rows.into_iter().map(|(what, number)| vec![what.to_string(), number]);
        println!("{}", table(&["in all", ""], &[1], rows.collect()));
        let rows = Situation::ALL.iter().map(|situation| {
            vec![situation.to_string(), count(summary.coverage.count(*situation))]
        });
        println!("{}", table(&["situation", "times"], &[1], rows.collect()));
        let missing: Vec<Situation> = summary.coverage.missing().collect();
        for situation in &missing {
            println!("hollow: it never happened that {situation}");
        }
        match missing.is_empty() {
            true => println!("all laws held, and every situation came up"),
            false => println!("all laws held, but the run was hollow"),
        }
        ExitCode::from(if self.deny_hollow && !missing.is_empty() { 3 } else { 0 })
    }
}
