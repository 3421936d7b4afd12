//! `GET /v1/status`: a server as it sees itself.

use actix_raft::messages::{MembershipConfig, NodeId};
use actix_raft::metrics::{RaftMetrics, RaftState};
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
        "membership": metrics.membership.as_deref().map(membership_of),
        "state_digest": { "index": view.index, "digest": format!("{:016x}", view.digest) },
    })
}

fn membership_of(membership: &MembershipConfig) -> Value {
    let member = |id: NodeId| {
        let address = membership.address(id).cloned().unwrap_or_default();
        json!({ "id": id.0, "raft": address.rpc, "http": address.client })
    };
    let voters: Vec<Value> = membership.voters().iter().map(|id| member(*id)).collect();
    let non_voters: Vec<Value> = membership.non_voters().map(member).collect();
    json!({ "voters": voters, "non_voters": non_voters })
}
