//! The commands.

mod explore;
#[cfg(feature = "mutants")]
mod mutants;
mod script;
mod seeds;
mod table;
mod watchdog;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Simulates clusters of actix-raft under faults, from seeds, and checks that its laws hold.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs seeds. Ends with 0 if all laws held, 1 if one was broken, 3 if a run was hollow and
    /// that was denied.
    Run(seeds::Run),
    /// Runs golden scripts. Ends with 0 if they give the traces that they hold, 1 if one differs,
    /// 2 if a law is broken in one.
    Script(script::Scripts),
    /// Searches small worlds to the end. Ends with 0 if all laws held, 1 if one was broken.
    Explore(explore::Explore),
    /// Runs seeds against each bug that was planted on purpose. Ends with 0 if all were caught.
    #[cfg(feature = "mutants")]
    Mutants(mutants::Mutants),
}

pub(crate) fn run() -> anyhow::Result<ExitCode> {
    match Arguments::parse().command {
        Command::Run(run) => Ok(run.run()),
        Command::Script(scripts) => scripts.run(),
        Command::Explore(explore) => Ok(explore.run()),
        #[cfg(feature = "mutants")]
        Command::Mutants(mutants) => mutants.run(),
    }
}
