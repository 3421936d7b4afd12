//! `raft-kv put`: write a key.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read};

use anyhow::Context;

use super::{ClientArgs, EXIT_CODES, key, print};
use crate::client::Condition;

/// Write a key, and print its new version
#[derive(clap::Args, Debug)]
#[command(after_help = format!("Examples:
  raft-kv put greeting hello
  raft-kv put greeting hi --if-version 7
  date | raft-kv put now -
  raft-kv put logo --file logo.png --if-absent

{EXIT_CODES}"))]
pub(crate) struct PutArgs {
    /// The key
    #[arg(value_parser = key)]
    key: String,
    /// The value, or - to read it from standard input
    #[arg(required_unless_present = "file", allow_negative_numbers = true)]
    value: Option<String>,
    /// Take the value from a file, or from standard input if it is -
    #[arg(long, value_name = "FILE", conflicts_with = "value")]
    file: Option<OsString>,
    /// Only if the key has this version
    #[arg(long, value_name = "VERSION", conflicts_with = "if_absent")]
    if_version: Option<u64>,
    /// Only if there is no such key
    #[arg(long)]
    if_absent: bool,
    /// Send it again where the outcome is unknown: it is done once all the same
    #[arg(long)]
    retry: bool,
    #[command(flatten)]
    client: ClientArgs,
}

/// Runs the command.
pub(crate) fn run(args: &PutArgs) -> anyhow::Result<()> {
    let value = value(args)?;
    let condition = match (args.if_version, args.if_absent) {
        (Some(version), _) => Condition::Version(version),
        (None, true) => Condition::Absent,
        (None, false) => Condition::None,
    };
    let mut client = args.client.client();
    let version = match args.retry {
        true => client.put_once(&args.key, &value, condition)?,
        false => client.put(&args.key, &value, condition)?,
    };
    match version {
        Some(version) => Ok(print(format!("version {version}\n").as_bytes())?),
        // Done, which is what matters.
        None => Ok(()),
    }
}

fn value(args: &PutArgs) -> anyhow::Result<Vec<u8>> {
    let from_stdin = OsStr::new("-");
    match (&args.file, &args.value) {
        (Some(file), _) if file != from_stdin => {
            std::fs::read(file).with_context(|| format!("can't read {}", file.display()))
        }
        (None, Some(value)) if value.as_str() != from_stdin => Ok(value.clone().into_bytes()),
        _ => {
            let mut value = Vec::new();
            io::stdin().read_to_end(&mut value).context("can't read standard input")?;
            Ok(value)
        }
    }
}
