//! `raft-kv status`: every server as it sees itself.

use std::thread;

use comfy_table::Table;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use serde_json::{Value, json};

use super::watch::lag_of;
use super::{ClientArgs, EXIT_CODES, NoneReached, print};
use crate::client::endpoint::Endpoint;
use crate::client::probe::{NodeStatus, Probe};

/// Show every server given with --endpoints, as it sees itself
#[derive(clap::Args, Debug)]
#[command(after_help = format!("Example:
  raft-kv status --endpoints 127.0.0.1:8001,127.0.0.1:8002,127.0.0.1:8003

Equal digests at an equal index mean equal contents. It is done if any server answers.

{EXIT_CODES}"))]
pub(crate) struct StatusArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    client: ClientArgs,
}

type Answered = Result<Value, String>;

/// Runs the command.
pub(crate) fn run(args: &StatusArgs) -> anyhow::Result<()> {
    let probe = Probe::new(args.client.timeout);
    let ask = |endpoint: &Endpoint| probe.status(endpoint);
    // At once, so that those that hang share one time-out.
    let answers: Vec<(Endpoint, Answered)> = thread::scope(|scope| {
        let asked: Vec<_> = args
            .client
            .endpoints
            .iter()
            .map(|endpoint| (endpoint, scope.spawn(move || ask(endpoint))))
            .collect();
        let joined = asked.into_iter().map(|(endpoint, asked)| {
            let panicked = |_| Err("asking it failed".to_string());
            (endpoint.clone(), asked.join().unwrap_or_else(panicked))
        });
        joined.collect()
    });
    let output = if args.json { json_of(&answers)? } else { table_of(&answers) };
    print(format!("{output}\n").as_bytes())?;
    let reached = answers.iter().any(|(_, answer)| answer.is_ok());
    if reached { Ok(()) } else { Err(NoneReached.into()) }
}

fn json_of(answers: &[(Endpoint, Answered)]) -> serde_json::Result<String> {
    let item = |(endpoint, answer): &(Endpoint, Answered)| match answer {
        Ok(status) => json!({ "endpoint": endpoint.to_string(), "status": status, "error": null }),
        Err(error) => json!({ "endpoint": endpoint.to_string(), "status": null, "error": error }),
    };
    serde_json::to_string_pretty(&answers.iter().map(item).collect::<Vec<Value>>())
}

fn table_of(answers: &[(Endpoint, Answered)]) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header([
        "endpoint", "id", "role", "term", "leader", "commit", "applied", "last log", "digest",
    ]);
    for (endpoint, answer) in answers {
        let mut row = vec![endpoint.to_string()];
        match answer.as_ref().map_err(String::clone).and_then(NodeStatus::of) {
            Ok(status) => row.extend(cells(status)),
            Err(error) => row.extend(["-".to_string(), format!("unreachable: {error}")]),
        }
        table.add_row(row);
    }
    let peers: Vec<String> = answers.iter().filter_map(|(_, answer)| peers_of(answer)).collect();
    match peers.is_empty() {
        true => table.to_string(),
        false => format!("{table}\n{}", peers.join("\n")),
    }
}

/// What the other members lack, in a leader's eyes.
fn peers_of(answer: &Answered) -> Option<String> {
    let status = answer.as_ref().ok()?;
    let peers = status["peers"].as_array().filter(|peers| !peers.is_empty())?;
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(["peer", "has entries up to", "behind", "bytes on their way", "last contact"]);
    for peer in peers {
        let (behind, contact) = lag_of(peer);
        let number = |name: &str| peer[name].to_string();
        table.add_row([
            number("id"),
            number("match_index"),
            behind,
            number("in_flight_bytes"),
            contact,
        ]);
    }
    Some(format!("The members in the eyes of server {}:\n{table}", status["id"]))
}

/// The role, and what keeps the server from all that the role can do.
fn role_of(status: &NodeStatus) -> String {
    let mut role = status.role.clone();
    if !status.trusted {
        role += ", new disk";
    }
    if status.disk_is_full {
        role += ", disk full";
    }
    role
}

fn cells(status: NodeStatus) -> [String; 8] {
    [
        status.id.to_string(),
        role_of(&status),
        status.term.to_string(),
        status.leader.map_or("none".to_string(), |leader| leader.to_string()),
        status.commit_index.to_string(),
        status.last_applied.to_string(),
        status.last_log_index.to_string(),
        format!("{} at {}", status.state_digest.digest, status.state_digest.index),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_does_not_answer_has_a_row_too() {
        let status = json!({
            "id": 2, "role": "follower", "term": 3, "leader": 1, "commit_index": 10,
            "last_applied": 9, "last_log_index": 11,
            "state_digest": { "index": 9, "digest": "00000000000000ff" },
        });
        let leader = json!({
            "id": 1, "role": "leader", "term": 3, "leader": 1, "commit_index": 10,
            "last_applied": 9, "last_log_index": 11, "trusted": true, "disk_is_full": true,
            "state_digest": { "index": 9, "digest": "00000000000000ff" },
            "peers": [{ "id": 2, "match_index": 8, "behind_entries": 3, "in_flight_bytes": 77,
                "last_contact_ms": 5, "snapshot": null }],
        });
        let endpoint = |text: &str| text.parse::<Endpoint>().unwrap();
        let answers = [
            (endpoint("d:4"), Ok(leader)),
            (endpoint("a:1"), Ok(status)),
            (endpoint("b:2"), Err("connection refused".to_string())),
            (endpoint("c:3"), Ok(json!("what"))),
        ];
        let table = table_of(&answers);
        let row = |name: &str| table.lines().find(|line| line.contains(name)).unwrap().to_string();
        for cell in ["follower", " 3 ", " 10 ", " 11 ", "00000000000000ff at 9"] {
            assert!(row("http://a:1").contains(cell), "{table}");
        }
        assert!(row("http://b:2").contains("unreachable: connection refused"), "{table}");
        assert!(row("http://c:3").contains("unreachable: not a status"), "{table}");
        assert!(row("http://d:4").contains("leader, disk full"), "{table}");
        assert!(table.contains("3 entries") && table.contains("5 ms ago"), "{table}");
        let json: Value = serde_json::from_str(&json_of(&answers).unwrap()).unwrap();
        assert_eq!(json[0]["status"]["term"], 3);
        assert_eq!(
            json[2],
            json!({
                "endpoint": "http://b:2", "status": null, "error": "connection refused",
            })
        );
    }
}
