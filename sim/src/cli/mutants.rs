//! `mutants`: whether each planted bug is caught, and how soon.

use std::process::ExitCode;
use std::time::Instant;

use actix_raft_core::mutants::Mutant;
use actix_raft_sim::key_value::KeyValue;
use actix_raft_sim::simulation::Simulation;
use clap::Args;

use super::table::{progress, table};

#[derive(Args)]
pub(super) struct Mutants {
    /// How many seeds each bug gets to show itself.
    #[arg(long, default_value_t = 500)]
    seeds: u64,
    /// These bugs only, by their names.
    #[arg(long, value_delimiter = ',', value_parser = mutant)]
    only: Vec<Mutant>,
    /// Print the table as Markdown.
    #[arg(long)]
    markdown: bool,
}

/// The bug of this name.
pub(super) fn mutant(name: &str) -> Result<Mutant, String> {
    let found = Mutant::ALL.iter().copied().find(|mutant| mutant.name() == name);
    found.ok_or_else(|| format!("no bug is called '{name}'"))
}

/// Bugs that the seeds don't find reliably yet: tests of the core do (`core/tests/paper/lost_disk.rs`).
const KNOWN_TO_SURVIVE: [Mutant; 1] = [Mutant::WipedServerVotes];

impl Mutants {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let mutants: Vec<Mutant> = match self.only.is_empty() {
            true => Mutant::ALL.to_vec(),
            false => self.only.clone(),
        };
        let bar = progress(mutants.len() as u64, "bugs");
        let begun = Instant::now();
        let mut rows = Vec::new();
        let mut survivors = Vec::new();
        for mutant in &mutants {
            bar.set_message(mutant.name());
            let simulation = Simulation::new(KeyValue::default).mutant(Some(*mutant));
            let (seeds, law) = match simulation.first_failure(1..=self.seeds) {
                Some(failure) => (failure.seed.to_string(), failure.broken.law.to_string()),
                None => {
                    survivors.push(*mutant);
                    ("survived".to_string(), format!("none in {} seeds", self.seeds))
                }
            };
            let (name, story) = (mutant.name().to_string(), mutant.story().to_string());
            bar.println(format!("{name}: {seeds} ({law})"));
            rows.push(vec![name, story, mutant.origin().to_string(), seeds, law]);
            bar.inc(1);
        }
        bar.finish_and_clear();
        let heads = ["bug", "what it does", "whose it was", "seeds", "the law that caught it"];
        match self.markdown {
            true => {
                println!("| {} |\n|{}", heads.join(" | "), " --- |".repeat(heads.len()));
                rows.iter().for_each(|row| println!("| {} |", row.join(" | ")));
            }
            false => println!("{}", table(&heads, &[3], rows)),
        }
        let (all, caught) = (mutants.len(), mutants.len() - survivors.len());
        println!("{caught} of {all} bugs caught in {:.0} s", begun.elapsed().as_secs_f64());
        for mutant in &survivors {
            println!("survived: {}", mutant.name());
        }
        survivors.retain(|mutant| !KNOWN_TO_SURVIVE.contains(mutant));
        Ok(if survivors.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
