//! Asking one server about itself.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use ureq::Agent;

use super::endpoint::Endpoint;
use super::exchange::{agent, ask};

/// Asks servers, each for itself: nothing is forwarded or tried elsewhere.
pub(crate) struct Probe {
    agent: Agent,
    timeout: Duration,
}

/// A server as it sees itself. Servers of later versions may tell more.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(crate) struct NodeStatus {
    pub(crate) id: u64,
    pub(crate) role: String,
    pub(crate) term: u64,
    pub(crate) leader: Option<u64>,
    pub(crate) commit_index: u64,
    pub(crate) last_applied: u64,
    pub(crate) last_log_index: u64,
    pub(crate) state_digest: StateDigest,
    /// Whether it may vote: not with a new disk, before it has caught up.
    #[serde(default = "yes")]
    pub(crate) trusted: bool,
    #[serde(default)]
    pub(crate) disk_is_full: bool,
}

fn yes() -> bool {
    true
}

/// A hash of everything stored, as of a log index.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(crate) struct StateDigest {
    pub(crate) index: u64,
    pub(crate) digest: String,
}

impl NodeStatus {
    /// Reads the answer to `GET /v1/status`.
    pub(crate) fn of(answer: &Value) -> Result<NodeStatus, String> {
        NodeStatus::deserialize(answer).map_err(|error| format!("not a status: {error}"))
    }

    pub(crate) fn leads(&self) -> bool {
        self.role == "leader"
    }
}

impl Probe {
    /// Each question takes no longer than the timeout.
    pub(crate) fn new(timeout: Duration) -> Probe {
        Probe { agent: agent(), timeout }
    }

    /// All that the server says; an error says why there is no answer.
    pub(crate) fn status(&self, endpoint: &Endpoint) -> Result<Value, String> {
        self.get(endpoint, "/v1/status")
    }

    /// What the server says at this path.
    pub(crate) fn get(&self, endpoint: &Endpoint, path: &str) -> Result<Value, String> {
        let answer = ask(&self.agent, endpoint, path, self.timeout)?;
        match answer.status {
            200 => serde_json::from_slice(&answer.body)
                .map_err(|error| format!("not an answer of raft-kv: {error}")),
            _ => Err(answer.reason()),
        }
    }

    pub(crate) fn is_ready(&self, endpoint: &Endpoint) -> bool {
        ask(&self.agent, endpoint, "/readyz", self.timeout).is_ok_and(|answer| answer.status == 200)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::fake::{Fake, Reply};

    const STATUS: &str = r#"{"id":1,"role":"leader","term":3,"leader":null,"voted_for":1,
        "commit_index":10,"last_applied":9,"last_log_index":11,"membership":null,
        "state_digest":{"index":9,"digest":"00000000000000ff"},"of_a_later_version":true}"#;

    #[test]
    fn a_status_may_tell_more_than_is_known_here() {
        let fake = Fake::start([Reply::json(200, STATUS)]);
        let answer = Probe::new(Duration::from_secs(10)).status(&fake.endpoint()).unwrap();
        let status = NodeStatus::of(&answer).unwrap();
        assert!(status.leads());
        assert_eq!((status.id, status.leader, status.last_applied), (1, None, 9));
        assert_eq!(status.state_digest.digest, "00000000000000ff");
        assert_eq!(answer["of_a_later_version"], true);
    }

    #[test]
    fn what_is_no_status_is_said() {
        let fake = Fake::start([
            Reply::json(503, r#"{"error":"stopping","message":"it stops"}"#),
            Reply::json(200, "hello"),
            Reply::json(503, "{}"),
        ]);
        let probe = Probe::new(Duration::from_secs(10));
        assert_eq!(probe.status(&fake.endpoint()).unwrap_err(), "stopping: it stops");
        assert!(probe.status(&fake.endpoint()).unwrap_err().starts_with("not an answer of"));
        assert!(!probe.is_ready(&fake.endpoint()));
        assert!(NodeStatus::of(&Value::Null).unwrap_err().starts_with("not a status"));
    }
}
