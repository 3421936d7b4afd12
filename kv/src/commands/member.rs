//! `raft-kv member`: who belongs to the cluster.

use std::time::Duration;

use comfy_table::Table;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use serde_json::{Value, json};

use super::watch::while_shown;
use super::{ClientArgs, EXIT_CODES, NoneReached, print};
use crate::client::admin::{Admin, AdminError};
use crate::client::probe::Probe;
use crate::peers::Peer;

/// Show or change the members of the cluster
#[derive(clap::Args, Debug)]
#[command(after_help = format!("Examples:
  raft-kv member list
  raft-kv member add 4=10.0.0.4:7001@10.0.0.4:8001        (start server 4 first, without --peers)
  raft-kv member add 5=10.0.0.5:7001@10.0.0.5:8001 --non-voter
  raft-kv member replace 2 4=10.0.0.4:7001@10.0.0.4:8001  (one change: 4 catches up, then 2 leaves)
  raft-kv member remove 1                                 (also if it is the leader)

A change is done when the final configuration is committed. It goes on if this command is stopped.

{EXIT_CODES}"))]
pub(crate) struct MemberArgs {
    #[command(subcommand)]
    command: MemberCommand,
}

#[derive(clap::Subcommand, Debug)]
enum MemberCommand {
    /// Show the members, and what each lacks of the leader's log
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Add servers; each gets a vote once it has caught up
    Add {
        /// ID=RAFT_ADDR@HTTP_ADDR, one or more
        #[arg(required = true)]
        servers: Vec<Peer>,
        /// They never get a vote: read replicas
        #[arg(long)]
        non_voter: bool,
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// Remove servers
    Remove {
        /// Their ids
        #[arg(required = true)]
        ids: Vec<u64>,
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// Put a new server in the place of one, as one change
    Replace {
        /// The id of the server that leaves
        old: u64,
        /// The new one: ID=RAFT_ADDR@HTTP_ADDR
        new: Peer,
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// Give non-voters a vote, once they have caught up
    Promote {
        /// Their ids
        #[arg(required = true)]
        ids: Vec<u64>,
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// Take the vote of voters, which go on to receive the log
    Demote {
        /// Their ids
        #[arg(required = true)]
        ids: Vec<u64>,
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// Tell the cluster that a server is reached at other addresses
    Move {
        /// ID=RAFT_ADDR@HTTP_ADDR
        server: Peer,
        #[command(flatten)]
        change: ChangeArgs,
    },
}

/// What all changes have in common.
#[derive(clap::Args, Debug)]
pub(crate) struct ChangeArgs {
    /// Only if the configuration is the one of this index, as 'member list' shows it
    #[arg(long, value_name = "INDEX")]
    if_configuration: Option<u64>,
    /// Don't wait for the final configuration, only until the change can't be undone any more
    #[arg(long)]
    joint: bool,
    #[command(flatten)]
    client: ClientArgs,
}

/// Runs the command.
pub(crate) fn run(args: &MemberArgs) -> anyhow::Result<()> {
    let ids = |op: &str, ids: &[u64]| -> Vec<Value> {
        ids.iter().map(|id| json!({ "op": op, "id": id })).collect()
    };
    let (changes, change) = match &args.command {
        MemberCommand::List { json, client } => return list(*json, client),
        MemberCommand::Add { servers, non_voter, change } => {
            let op = if *non_voter { "add_non_voter" } else { "add" };
            (servers.iter().map(|server| with_address(op, server)).collect(), change)
        }
        MemberCommand::Remove { ids: removed, change } => (ids("remove", removed), change),
        MemberCommand::Replace { old, new, change } => {
            (vec![json!({ "op": "remove", "id": old }), with_address("add", new)], change)
        }
        MemberCommand::Promote { ids: promoted, change } => (ids("promote", promoted), change),
        MemberCommand::Demote { ids: demoted, change } => (ids("demote", demoted), change),
        MemberCommand::Move { server, change } => (vec![with_address("move", server)], change),
    };
    change_members(changes, change)
}

fn with_address(op: &str, server: &Peer) -> Value {
    let (rpc, http) = (&server.address.rpc, &server.address.client);
    json!({ "op": op, "id": server.id.0, "raft": rpc, "http": http })
}

fn change_members(changes: Vec<Value>, args: &ChangeArgs) -> anyhow::Result<()> {
    let answer = if args.joint { "joint" } else { "final" };
    let body = json!({ "changes": changes, "expected": args.if_configuration, "answer": answer });
    let admin = Admin::new(args.client.endpoints.clone(), args.client.timeout);
    let done = while_shown(&args.client.endpoints, || admin.ask("/v1/members", &body));
    let said = match done {
        Ok(done) => match (done["state"].as_str(), done["index"].as_u64()) {
            (Some(state), Some(index)) => {
                format!("done: the {state} configuration is committed, index {index}\n")
            }
            _ => "done\n".to_string(),
        },
        // What was asked for is so.
        Err(AdminError::Refused { code, .. }) if code == "noop" => "nothing to do\n".to_string(),
        Err(error) => return Err(error.into()),
    };
    Ok(print(said.as_bytes())?)
}

fn list(as_json: bool, client: &ClientArgs) -> anyhow::Result<()> {
    let probe = Probe::new(client.timeout.min(Duration::from_secs(5)));
    let status = leaders_view(&probe, client).ok_or(NoneReached)?;
    let output = match as_json {
        true => serde_json::to_string_pretty(&status["membership"])?,
        false => table_of(&status),
    };
    Ok(print(format!("{output}\n").as_bytes())?)
}

/// The leader's status, or that of any server if none leads.
fn leaders_view(probe: &Probe, client: &ClientArgs) -> Option<Value> {
    let answers: Vec<Value> =
        client.endpoints.iter().filter_map(|endpoint| probe.status(endpoint).ok()).collect();
    // The leader may not be among the endpoints, but any of them knows where it is.
    let leader = answers.iter().find_map(|status| {
        let id = status["leader"].as_u64()?;
        let members = ["voters", "non_voters"].map(|kind| status["membership"][kind].as_array());
        let member = members.into_iter().flatten().flatten().find(|it| it["id"] == id)?;
        probe.status(&member["http"].as_str()?.parse().ok()?).ok()
    });
    leader.or_else(|| answers.into_iter().next())
}

fn table_of(status: &Value) -> String {
    let membership = &status["membership"];
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header([
        "id",
        "role",
        "raft",
        "http",
        "behind",
        "last contact",
    ]);
    for (kind, role) in [("voters", "voter"), ("non_voters", "non-voter")] {
        for member in membership[kind].as_array().into_iter().flatten() {
            let id = &member["id"];
            let role = match *id == status["leader"] {
                true => "leader",
                false if member["leaving"] == true => "voter, leaving",
                false if member["catching_up"] == true => "catching up",
                false => role,
            };
            let text = |name: &str| member[name].as_str().unwrap_or("-").to_string();
            let peers = status["peers"].as_array();
            let peer = peers.and_then(|peers| peers.iter().find(|peer| peer["id"] == *id));
            let (behind, contact) = peer.map_or(("-".into(), "-".into()), super::watch::lag_of);
            table.add_row([
                id.to_string(),
                role.into(),
                text("raft"),
                text("http"),
                behind,
                contact,
            ]);
        }
    }
    let under_way = match membership["goal"].is_null() {
        true => "",
        false => ", a change is under way",
    };
    format!("{table}\nconfiguration {}{under_way}", membership["index"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_shown_with_what_they_lack() {
        let status = json!({
            "leader": 1,
            "membership": {
                "index": 12,
                "goal": { "voters": [1, 4] },
                "voters": [
                    { "id": 1, "raft": "a:1", "http": "a:2" },
                    { "id": 2, "raft": "b:1", "http": "b:2", "leaving": true },
                ],
                "non_voters": [{ "id": 4, "raft": "d:1", "http": "d:2", "catching_up": true }],
            },
            "peers": [
                { "id": 2, "behind_entries": 0, "last_contact_ms": 12 },
                { "id": 4, "behind_entries": 700, "last_contact_ms": 3,
                  "snapshot": { "received": 25, "size": 100 } },
            ],
        });
        let table = table_of(&status);
        let row = |id: &str| table.lines().find(|line| line.contains(id)).unwrap().to_string();
        assert!(row("a:1").contains("leader"), "{table}");
        assert!(row("b:1").contains("voter, leaving") && row("b:1").contains("12 ms"), "{table}");
        assert!(row("d:1").contains("catching up"), "{table}");
        assert!(row("d:1").contains("700 entries, snapshot 25 %"), "{table}");
        assert!(table.ends_with("configuration 12, a change is under way"), "{table}");
    }
}
