//! `raft-kv get`: read a key.

use super::{ClientArgs, EXIT_CODES, key, print};
use crate::client::Consistency;

/// Print a key's value, as it is and nothing else
#[derive(clap::Args, Debug)]
#[command(after_help = format!("Examples:
  raft-kv get greeting
  raft-kv get logo > logo.png
  raft-kv get greeting --print-version    (value to standard output, version to standard error)

{EXIT_CODES}"))]
pub(crate) struct GetArgs {
    /// The key
    #[arg(value_parser = key)]
    key: String,
    /// Take what the first server that answers has: faster, available without a majority, and
    /// possibly stale
    #[arg(long)]
    local: bool,
    /// Let the leader answer by its clock, without asking a majority, if the servers' settings allow
    /// that
    #[arg(long, conflicts_with = "local")]
    lease: bool,
    /// Also print the key's version, for --if-version, to standard error
    #[arg(long)]
    print_version: bool,
    #[command(flatten)]
    pub(super) client: ClientArgs,
}

/// Runs the command.
pub(crate) fn run(args: &GetArgs) -> anyhow::Result<()> {
    let consistency = match (args.local, args.lease) {
        (true, _) => Consistency::Local,
        (false, true) => Consistency::Lease,
        (false, false) => Consistency::Linearizable,
    };
    let found = args.client.client().get(&args.key, consistency)?;
    if let (true, Some(version)) = (args.print_version, found.version) {
        eprintln!("version {version}");
    }
    Ok(print(&found.value)?)
}
