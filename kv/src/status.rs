//! `GET /v1/status`: a server as it sees itself.

use std::collections::BTreeSet;

use actix_raft::messages::{MembershipConfig, NodeId};
use actix_raft::metrics::{PaceName, PeerMetrics, RaftMetrics, RaftState};
use serde_json::{Value, json};

use crate::state::View;

/// The answer's body.
pub(crate) fn status_of(metrics: &RaftMetrics, view: &View) -> Value {
    let role = match &metrics.state {
        RaftState::Running(role) => role.to_string(),
        RaftState::Stopped { .. } => "stopped".to_string(),
    };
    let id = |id: Option<NodeId>| id.map(|id| id.0);
    json!({
        "id": metrics.id.0,
        "role": role,
        "term": metrics.current_term.0,
        "leader": id(metrics.leader),
        "voted_for": id(metrics.voted_for),
        "commit_index": metrics.commit_index.0,
        "last_applied": metrics.last_applied.0,
        "last_log_index": metrics.last_log_index.0,
        "purged_index": metrics.purged.index.0,
        "snapshot_index": metrics.snapshot.index.0,
        "trusted": metrics.trusted,
        "disk_is_full": metrics.disk_is_full,
        "transferring_to": id(metrics.transferring_to),
        "membership": metrics.membership.as_deref().map(|it| membership_of(it, metrics)),
        "peers": metrics.peers.iter().map(peer_of).collect::<Vec<_>>(),
        "state_digest": { "index": view.index, "digest": format!("{:016x}", view.digest) },
    })
}

fn membership_of(membership: &MembershipConfig, metrics: &RaftMetrics) -> Value {
    let goal = membership.goal();
    let member = |id: NodeId| {
        let address = membership.address(id).cloned().unwrap_or_default();
        let will_vote = goal.is_some_and(|goal| goal.is_voter(id));
        json!({
            "id": id.0,
            "raft": address.rpc,
            "http": address.client,
            "catching_up": will_vote && !membership.is_voter(id),
            "leaving": goal.is_some() && !will_vote && membership.is_voter(id),
        })
    };
    let ids = |ids: &BTreeSet<NodeId>| ids.iter().map(|id| id.0).collect::<Vec<_>>();
    let voters: Vec<Value> = membership.voters().iter().map(|id| member(*id)).collect();
    let non_voters: Vec<Value> = membership.non_voters().map(member).collect();
    json!({
        "index": metrics.membership_index.0,
        "voters": voters,
        "voters_outgoing": membership.voters_outgoing().map(ids),
        "non_voters": non_voters,
        "goal": goal.map(|goal| json!({ "voters": ids(goal.voters()) })),
    })
}

fn peer_of(peer: &PeerMetrics) -> Value {
    let snapshot = match peer.pace {
        PaceName::Snapshot { received, size } => json!({ "received": received, "size": size }),
        PaceName::Probe | PaceName::Replicate => Value::Null,
    };
    json!({
        "id": peer.id.0,
        "match_index": peer.match_index.0,
        "behind_entries": peer.lag,
        "in_flight_bytes": peer.in_flight_bytes,
        "last_contact_ms": peer.since_contact.as_millis() as u64,
        "snapshot": snapshot,
    })
}
