//! How scripts put things: a server, an event, a message, a log, each in a line.

use std::collections::BTreeSet;

use actix_raft_core::entry::{Entry, EntryPayload};
use actix_raft_core::event::{Event, LogReader};
use actix_raft_core::membership::Membership;
use actix_raft_core::message::Message;
use actix_raft_core::status::Status;
use actix_raft_core::types::{Index, NodeId};
use bytes::Bytes;

use crate::image::Image;

/// `n1 leader        t=2 vote=1 leader=1 commit=3 last=3@2`
pub(crate) fn status(status: &Status) -> String {
    let or_dash = |id: Option<NodeId>| id.map_or("-".to_string(), |id| id.to_string());
    let mut line = format!(
        "n{} {:<13} t={} vote={} leader={} commit={} last={}",
        status.id,
        status.role.to_string(),
        status.current_term,
        or_dash(status.voted_for),
        or_dash(status.leader),
        status.commit_index,
        status.last_log,
    );
    // What is as one expects is left out.
    if status.last_durable < status.last_log.index {
        line += &format!(" disk={}", status.last_durable);
    }
    if status.last_applied < status.commit_index {
        line += &format!(" applied={}", status.last_applied);
    }
    if status.purged.index > Index::ZERO {
        line += &format!(" purged={}", status.purged.index);
    }
    if let Some(to) = status.transferring_to {
        line += &format!(" hands_over={to}");
    }
    if !status.trusted {
        line += " untrusted";
    }
    line
}

/// `AppendEntriesResponse term=2 round=1 match=3 from 2`
pub(crate) fn event(event: &Event) -> String {
    match event {
        Event::Initialize { .. } => "initialize".to_string(),
        Event::Receive(message) => format!("{} from {}", message.body, message.from),
        Event::Propose { commands, .. } => {
            let words: Vec<String> = commands.iter().map(command).collect();
            format!("propose {}", words.join(" "))
        }
        Event::Read { .. } => "read".to_string(),
        Event::ChangeMembers { .. }
        | Event::TransferLeadership { .. }
        | Event::TriggerElection { .. }
        | Event::TriggerSnapshot { .. }
        | Event::PurgeLog { .. }
        | Event::Configure(_)
        | Event::SnapshotBuilt { .. }
        | Event::SnapshotRead { .. }
        | Event::SnapshotChunkStored { .. }
        | Event::SnapshotInstalled { .. }
        | Event::DiskSpace { .. } => event.summary(),
        Event::Saved { .. } => "saved".to_string(),
        Event::LogRead { reader: LogReader::Follower(id), entries } => {
            format!("read {} entries for {id}", entries.len())
        }
        Event::LogRead { reader: LogReader::StateMachine, entries } => {
            format!("read {} entries to apply", entries.len())
        }
        Event::Applied { index } => format!("applied {index}"),
        Event::Unreachable { peer } => format!("{peer} is unreachable"),
        Event::Timeout => "timeout".to_string(),
    }
}

/// `n1 -> n2 AppendEntriesRequest term=2 prev=2@1 entries=1 commit=2 round=1`
pub(crate) fn message(message: &Message) -> String {
    format!("n{} -> n{} {}", message.from, message.to, message.body)
}

/// A command as a client wrote it.
pub(crate) fn command(bytes: &Bytes) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// `n1 1@1 members, 2@1 a | 3@2 -`: what is committed, as far as this server knows, and what is not.
pub(crate) fn log(id: NodeId, image: &Image, commit_index: Index) -> String {
    let entry = |entry: &Entry| {
        let payload = match &entry.payload {
            EntryPayload::Blank => "-".to_string(),
            EntryPayload::Normal(bytes) => command(bytes),
            EntryPayload::ConfigChange(_) if entry.index == Index(1) => "members".to_string(),
            EntryPayload::ConfigChange(members) => membership(members),
        };
        format!("{} {payload}", entry.position())
    };
    split(id, image, commit_index, ", ", entry)
}

/// `[1 2 3]`, `[1 2 3]+4` with one that has no vote, `[1 2 3]&[3 4 5]` while joint, and `->[3 4 5]`
/// where it leads.
pub(crate) fn membership(members: &Membership) -> String {
    let set = |ids: &BTreeSet<NodeId>| {
        let ids: Vec<String> = ids.iter().map(NodeId::to_string).collect();
        format!("[{}]", ids.join(" "))
    };
    let outgoing = members.voters_outgoing().map(|outgoing| format!("{}&", set(outgoing)));
    let others: String = members.non_voters().map(|id| format!("+{id}")).collect();
    let goal = members.goal().map(|goal| format!("->{}", membership(goal)));
    let (outgoing, goal) = (outgoing.unwrap_or_default(), goal.unwrap_or_default());
    format!("{outgoing}{}{others}{goal}", set(members.voters()))
}

/// `n1 1 1 | 2`: the terms of a log, as the paper draws it.
pub(crate) fn terms(id: NodeId, image: &Image, commit_index: Index) -> String {
    split(id, image, commit_index, " ", |entry| entry.term.to_string())
}

fn split(
    id: NodeId,
    image: &Image,
    commit_index: Index,
    between: &str,
    show: impl Fn(&Entry) -> String,
) -> String {
    let shown: Vec<String> = image.entries().iter().map(show).collect();
    let known = commit_index.0.saturating_sub(image.purged().0) as usize;
    let (committed, rest) = shown.split_at(known.min(shown.len()));
    let purged = image.base().last_included;
    let purged = if purged.index > Index::ZERO { format!("({purged})") } else { String::new() };
    let parts =
        [format!("n{id}"), purged, committed.join(between), "|".to_string(), rest.join(between)];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}
