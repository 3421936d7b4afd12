//! `raft-kv`: a replicated key-value store that shows the library at work.

mod serve;

use clap::Parser;

#[derive(Parser)]
#[command(version, about)]
enum Cli {
    Serve(serve::ServeArgs),
}

fn main() -> anyhow::Result<()> {
    match Cli::parse() {
        Cli::Serve(args) => serve::run(args),
    }
}
