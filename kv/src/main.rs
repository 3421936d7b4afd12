//! `raft-kv`: a replicated key-value store that shows the library at work.

mod command;
mod http;
mod http_input;
mod node;
mod peers;
mod serve;
mod settings;
mod state;
mod status;

use clap::Parser;

#[derive(Parser)]
#[command(version, about)]
enum Cli {
    Serve(serve::ServeArgs),
}

fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    match Cli::parse() {
        Cli::Serve(args) => serve::run(args),
    }
}
