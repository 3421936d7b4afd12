//! `raft-kv del`: delete a key.

use super::{ClientArgs, EXIT_CODES, key};
use crate::client::Condition;

/// Delete a key
#[derive(clap::Args, Debug)]
#[command(after_help = format!("Examples:
  raft-kv del greeting
  raft-kv del greeting --if-version 7

{EXIT_CODES}"))]
pub(crate) struct DelArgs {
    /// The key
    #[arg(value_parser = key)]
    key: String,
    /// Only if the key has this version
    #[arg(long, value_name = "VERSION")]
    if_version: Option<u64>,
    #[command(flatten)]
    client: ClientArgs,
}

/// Runs the command.
pub(crate) fn run(args: &DelArgs) -> anyhow::Result<()> {
    let condition = args.if_version.map_or(Condition::None, Condition::Version);
    Ok(args.client.client().delete(&args.key, condition)?)
}
