//! Commands that operate the servers: `transfer`, `elect`, `snapshot`, `purge`, `explain`, `config`.

use anyhow::{Context, bail};
use serde_json::{Map, Value, json};

use super::{ClientArgs, EXIT_CODES, NoneReached, print};
use crate::client::admin::Admin;
use crate::client::endpoint::Endpoint;
use crate::client::probe::Probe;

/// Hand leadership over to another server
#[derive(clap::Args, Debug)]
#[command(after_help = format!("Examples:
  raft-kv transfer            (to the server whose log is the longest)
  raft-kv transfer --to 3

It takes an election timeout at the most. If the next leader can't take over in that time, the present
one goes on.

{EXIT_CODES}"))]
pub(crate) struct TransferArgs {
    /// The id of the next leader
    #[arg(long, value_name = "ID")]
    to: Option<u64>,
    #[command(flatten)]
    client: ClientArgs,
}

/// Let the first server given with --endpoints stand for election now
#[derive(clap::Args, Debug)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct ElectArgs {
    #[command(flatten)]
    client: ClientArgs,
}

/// Let each server given with --endpoints take a snapshot now, and shorten its log
#[derive(clap::Args, Debug)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct SnapshotArgs {
    #[command(flatten)]
    client: ClientArgs,
}

/// Remove old entries from the log of each server given with --endpoints
#[derive(clap::Args, Debug)]
#[command(after_help = format!("Only what a snapshot includes can go. Servers that are behind will need \
    a snapshot.

{EXIT_CODES}"))]
pub(crate) struct PurgeArgs {
    /// The index of the last entry to go; all that the latest snapshot includes, if not given
    #[arg(long, value_name = "INDEX")]
    until: Option<u64>,
    #[command(flatten)]
    client: ClientArgs,
}

/// Tell why there is no leader, or what writes wait for, as each server sees it
#[derive(clap::Args, Debug)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct ExplainArgs {
    #[command(flatten)]
    client: ClientArgs,
}

/// Change settings of each server given with --endpoints while it runs, until it is restarted
#[derive(clap::Args, Debug)]
#[command(after_help = format!("Example:
  raft-kv config election_timeout_ms=300 heartbeat_interval_ms=100

The names are those of the settings file (docs/http-api.md).

{EXIT_CODES}"))]
pub(crate) struct ConfigArgs {
    /// NAME=VALUE, one or more
    #[arg(required = true, value_parser = setting)]
    settings: Vec<(String, Value)>,
    #[command(flatten)]
    client: ClientArgs,
}

fn setting(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').ok_or("not NAME=VALUE")?;
    let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_string()));
    Ok((name.to_string(), value))
}

/// `raft-kv transfer`.
pub(crate) fn transfer(args: &TransferArgs) -> anyhow::Result<()> {
    let admin = Admin::new(args.client.endpoints.clone(), args.client.timeout);
    let done = admin.ask("/v1/transfer", &json!({ "to": args.to }))?;
    Ok(print(format!("server {} leads\n", done["leader"]).as_bytes())?)
}

/// `raft-kv elect`.
pub(crate) fn elect(args: &ElectArgs) -> anyhow::Result<()> {
    let first = args.client.endpoints.first().context("no endpoint is given")?;
    Admin::new(vec![first.clone()], args.client.timeout).ask("/v1/elect", &json!({}))?;
    Ok(print(b"it stands for election\n")?)
}

/// `raft-kv snapshot`.
pub(crate) fn snapshot(args: &SnapshotArgs) -> anyhow::Result<()> {
    at_each(&args.client, "/v1/snapshot", &json!({}), |done| {
        format!("snapshot up to index {}, term {}", done["index"], done["term"])
    })
}

/// `raft-kv purge`.
pub(crate) fn purge(args: &PurgeArgs) -> anyhow::Result<()> {
    at_each(&args.client, "/v1/purge", &json!({ "until": args.until }), |done| {
        format!("the log begins after index {}", done["index"])
    })
}

/// `raft-kv config`.
pub(crate) fn config(args: &ConfigArgs) -> anyhow::Result<()> {
    let settings = args.settings.iter().cloned().collect::<Map<String, Value>>();
    at_each(&args.client, "/v1/config", &Value::Object(settings), |_| "changed".to_string())
}

/// Asks each server for itself. All are asked, then an error is told if there was one.
fn at_each(
    client: &ClientArgs,
    path: &str,
    body: &Value,
    said: impl Fn(&Value) -> String,
) -> anyhow::Result<()> {
    let mut failed = None;
    for endpoint in &client.endpoints {
        let admin = Admin::new(vec![endpoint.clone()], client.timeout);
        match admin.ask(path, body) {
            Ok(done) => print(format!("{endpoint}: {}\n", said(&done)).as_bytes())?,
            Err(error) => {
                eprintln!("{endpoint}: {error}");
                failed = Some(error);
            }
        }
    }
    match failed {
        None => Ok(()),
        Some(error) => Err(error).context("not all servers did it"),
    }
}

/// `raft-kv explain`.
pub(crate) fn explain(args: &ExplainArgs) -> anyhow::Result<()> {
    let probe = Probe::new(args.client.timeout);
    let mut reached = false;
    for endpoint in &args.client.endpoints {
        let text = match explained(&probe, endpoint) {
            Ok(text) => {
                reached = true;
                text
            }
            Err(error) => format!("unreachable: {error}"),
        };
        print(format!("{endpoint}: {text}\n").as_bytes())?;
    }
    if !reached {
        bail!(NoneReached);
    }
    Ok(())
}

fn explained(probe: &Probe, endpoint: &Endpoint) -> Result<String, String> {
    let answer = probe.get(endpoint, "/v1/explain")?;
    let lines = answer["explanation"].as_array().ok_or("not an explanation")?;
    let lines: Vec<&str> = lines.iter().filter_map(Value::as_str).collect();
    Ok(lines.join("\n  "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_a_name_and_a_value_of_its_own_type() {
        assert_eq!(setting("a=3"), Ok(("a".to_string(), json!(3))));
        assert_eq!(setting("a=true"), Ok(("a".to_string(), json!(true))));
        assert_eq!(setting("a=x=y"), Ok(("a".to_string(), json!("x=y"))));
        assert!(setting("a").is_err());
    }
}
