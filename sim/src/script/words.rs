//! How scripts put things: a server, an event, a message, a log, each in a line.

use actix_raft_core::entry::{Entry, EntryPayload};
use actix_raft_core::event::{Event, LogReader};
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
            EntryPayload::ConfigChange(_) => "members".to_string(),
        };
        format!("{} {payload}", entry.position())
    };
    split(id, image, commit_index, ", ", entry)
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
    let (committed, rest) = shown.split_at((commit_index.0 as usize).min(shown.len()));
    let parts = [format!("n{id}"), committed.join(between), "|".to_string(), rest.join(between)];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}
