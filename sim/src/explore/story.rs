//! A path of the search told in words.

use core::fmt;

use actix_raft_core::message::{Message, MessageBody};
use actix_raft_core::types::LogPosition;

use super::search::Search;
use super::worlds::{Action, Stimulus, World, Worlds, id_at};

/// How a law is broken, in as few steps as can be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counterexample {
    /// The law.
    pub broken: String,
    /// What happens, one after the other; the last breaks the law.
    pub steps: Vec<Step>,
    /// The worlds that had been met when it was found.
    pub states: usize,
}

/// A step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What happens.
    pub action: String,
    /// All servers after it; none after the step that breaks the law.
    pub servers: Vec<String>,
}

impl Counterexample {
    pub(super) fn tell(search: &mut Search<'_>, path: &[World], broken: String) -> Counterexample {
        let actions = search.walk(path);
        let mut world = search.start();
        let mut steps = Vec::new();
        for action in actions {
            let after = search.worlds.after(&world, action);
            let worlds = &search.worlds;
            let servers = after.as_ref().map_or(Vec::new(), |after| servers(worlds, after));
            steps.push(Step { action: action_in_words(worlds, action), servers });
            world = after.unwrap_or(world);
        }
        Counterexample { broken, steps, states: search.met() }
    }
}

fn servers(worlds: &Worlds<'_>, world: &World) -> Vec<String> {
    let numbers = &world.servers[..worlds.bounds.nodes];
    let line = |number: &u32| {
        let known = &worlds.servers[*number as usize];
        let terms = known.server.live.entries().iter().map(|entry| entry.term.to_string());
        let terms: Vec<String> = terms.collect();
        let unsaved = if known.server.saves_wait() { " saving" } else { "" };
        format!("{} log=[{}]{unsaved}", known.status, terms.join(" "))
    };
    numbers.iter().map(line).collect()
}

fn action_in_words(worlds: &Worlds<'_>, action: Action) -> String {
    let id = id_at(action.at);
    match action.stimulus {
        Stimulus::Deliver(message) => {
            let Message { from, body, .. } = &worlds.messages[message as usize];
            format!("{id} hears {from}: {}", body_in_words(body))
        }
        Stimulus::Timeout => format!("{id} times out"),
        Stimulus::SaveDone => format!("{id} has saved"),
        Stimulus::Crash => format!("{id} crashes and restarts"),
        Stimulus::Propose(n) => format!("{id} is given command {n}"),
        Stimulus::Read(n) => format!("{id} is asked for read {n}"),
    }
}

fn body_in_words(body: &MessageBody) -> String {
    match body {
        MessageBody::AppendEntriesRequest(request) if !request.entries.is_empty() => {
            let positions = request.entries.iter().map(|entry| entry.position());
            let positions: Vec<String> = positions.map(|p: LogPosition| p.to_string()).collect();
            format!("{body} [{}]", positions.join(" "))
        }
        MessageBody::AppendEntriesRequest(_)
        | MessageBody::AppendEntriesResponse(_)
        | MessageBody::VoteRequest(_)
        | MessageBody::VoteResponse(_)
        | MessageBody::InstallSnapshotRequest(_)
        | MessageBody::InstallSnapshotResponse(_)
        | MessageBody::TimeoutNowRequest(_)
        | MessageBody::ReadIndexRequest(_)
        | MessageBody::ReadIndexResponse(_) => body.to_string(),
    }
}

impl fmt::Display for Counterexample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.broken)?;
        for (n, step) in (1..).zip(&self.steps) {
            writeln!(f, "{n:3}. {}", step.action)?;
            for server in &step.servers {
                writeln!(f, "       {server}")?;
            }
        }
        Ok(())
    }
}
