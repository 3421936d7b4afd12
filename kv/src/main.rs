//! `raft-kv`: a replicated key-value store that shows the library at work.

mod administer;
mod backup;
mod client;
mod command;
mod commands;
mod demo;
mod explain;
mod http;
mod join;
mod node;
mod peers;
mod serve;
mod settings;
mod state;
mod status;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

#[derive(Parser)]
#[command(version, about, after_help = commands::EXIT_CODES)]
enum Cli {
    Serve(serve::ServeArgs),
    Put(commands::put::PutArgs),
    Get(commands::get::GetArgs),
    Del(commands::del::DelArgs),
    Status(commands::status::StatusArgs),
    Member(commands::member::MemberArgs),
    Transfer(commands::operate::TransferArgs),
    Elect(commands::operate::ElectArgs),
    Snapshot(commands::operate::SnapshotArgs),
    Purge(commands::operate::PurgeArgs),
    Config(commands::operate::ConfigArgs),
    Explain(commands::operate::ExplainArgs),
    Backup(commands::backup::BackupArgs),
    Restore(commands::backup::RestoreArgs),
    Demo(demo::DemoArgs),
}

fn main() -> ExitCode {
    let done = match Cli::parse() {
        Cli::Serve(args) => {
            start_log();
            serve::run(args)
        }
        Cli::Put(args) => commands::put::run(&args),
        Cli::Get(args) => commands::get::run(&args),
        Cli::Del(args) => commands::del::run(&args),
        Cli::Status(args) => commands::status::run(&args),
        Cli::Member(args) => commands::member::run(&args),
        Cli::Transfer(args) => commands::operate::transfer(&args),
        Cli::Elect(args) => commands::operate::elect(&args),
        Cli::Snapshot(args) => commands::operate::snapshot(&args),
        Cli::Purge(args) => commands::operate::purge(&args),
        Cli::Config(args) => commands::operate::config(&args),
        Cli::Explain(args) => commands::operate::explain(&args),
        Cli::Backup(args) => commands::backup::backup(&args),
        Cli::Restore(args) => commands::backup::restore(&args),
        Cli::Demo(args) => demo::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", in_words(&error));
            commands::exit_code(&error).into()
        }
    }
}

/// An error and its causes. Some errors name their cause themselves, which then is not repeated.
fn in_words(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |words, cause| {
        match (words.is_empty(), words.ends_with(&cause)) {
            (true, _) => cause,
            (false, true) => words,
            (false, false) => format!("{words}: {cause}"),
        }
    })
}

/// Logs to standard error; the environment variable `RUST_LOG` chooses what.
fn start_log() {
    // That the web server starts and stops is no news to who runs a store.
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("info,actix_server=warn"));
    let log = tracing_subscriber::fmt().with_writer(std::io::stderr).with_env_filter(filter);
    log.with_target(false).with_ansi(std::io::stderr().is_terminal()).init();
}
