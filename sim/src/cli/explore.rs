//! `explore`: small worlds, searched to the end.

use std::process::ExitCode;
use std::time::Instant;

use actix_raft_sim::explore::{Bounds, explore};
use clap::Args;
use indicatif::ProgressBar;

use super::table::{count, table};

#[derive(Args)]
pub(super) struct Explore {
    /// These worlds only, by their numbers in the table.
    #[arg(long, value_delimiter = ',')]
    only: Vec<usize>,
    /// Give a world up when so many states were met.
    #[arg(long)]
    max_states: Option<usize>,
    /// Plant this bug.
    #[cfg(feature = "mutants")]
    #[arg(long, value_parser = super::mutants::mutant)]
    mutant: Option<actix_raft_core::mutants::Mutant>,
}

impl Explore {
    pub(super) fn run(self) -> ExitCode {
        #[cfg(feature = "mutants")]
        actix_raft_core::mutants::plant(self.mutant);
        let bar = ProgressBar::new_spinner();
        let mut rows = Vec::new();
        for (number, (name, mut bounds)) in (1..).zip(Bounds::catalogue()) {
            if !self.only.is_empty() && !self.only.contains(&number) {
                continue;
            }
            bounds.max_states = self.max_states.unwrap_or(bounds.max_states);
            let begun = Instant::now();
            let ended = explore(&bounds, &mut |progress| {
                let (states, depth) = (count(progress.states as u64), progress.depth);
                bar.set_message(format!("{name}: {states} states, {depth} steps deep"));
                bar.tick();
            });
            let summary = match ended {
                Ok(summary) => summary,
                Err(counterexample) => {
                    bar.finish_and_clear();
                    println!("{name}:\n{counterexample}");
                    return ExitCode::FAILURE;
                }
            };
            let numbers = [summary.states, summary.scenes, summary.transitions as usize];
            let numbers = numbers.map(|number| count(number as u64));
            let complete = if summary.complete { "yes" } else { "no" };
            let seconds = format!("{:.2}", begun.elapsed().as_secs_f64());
            let mut row = vec![number.to_string(), name.to_string()];
            row.extend(numbers);
            row.extend([summary.depth.to_string(), complete.to_string(), seconds]);
            rows.push(row);
        }
        bar.finish_and_clear();
        let heads = ["", "world", "states", "scenes", "steps", "depth", "to the end", "seconds"];
        println!("{}", table(&heads, &[0, 2, 3, 4, 5, 7], rows));
        println!("all laws held in every state");
        ExitCode::SUCCESS
    }
}
