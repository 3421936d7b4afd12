//! An operator's requests: JSON over HTTP, to whichever server answers.
//!
//! They may be asked again, whatever happened: a change of members that is under way is joined, and
//! one that is done says that nothing would change.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use ureq::Agent;

use super::endpoint::Endpoint;
use super::errors::{Refusal, Unavailable};
use super::exchange::{Answer, Exchange, agent, post};

/// How long one server is waited for: a request that it goes on with can be joined at another.
const PATIENCE: Duration = Duration::from_secs(10);
/// The pause between two rounds.
const PAUSE: Duration = Duration::from_millis(200);

/// Asks servers to do something.
pub(crate) struct Admin {
    agent: Agent,
    endpoints: Vec<Endpoint>,
    timeout: Duration,
}

/// Why something was not done.
#[derive(Debug)]
pub(crate) enum AdminError {
    /// A server said no, for this reason. Nothing changed.
    Refused { code: String, refusal: Refusal },
    /// No server did it in time. If one was asked before it fell silent, it may go on.
    Unavailable { unavailable: Unavailable, perhaps_begun: bool },
}

impl std::fmt::Display for AdminError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            AdminError::Refused { refusal, .. } => refusal.fmt(f),
            AdminError::Unavailable { unavailable, perhaps_begun: false } => unavailable.fmt(f),
            AdminError::Unavailable { unavailable, perhaps_begun: true } => {
                write!(f, "{unavailable}; it may be under way, see 'raft-kv member list'")
            }
        }
    }
}

impl std::error::Error for AdminError {}

impl Admin {
    /// Asks these servers. A request takes no longer than the timeout.
    pub(crate) fn new(endpoints: Vec<Endpoint>, timeout: Duration) -> Admin {
        Admin { agent: agent(), endpoints, timeout }
    }

    /// Has some server do it, or have the leader do it, and returns what it answers.
    pub(crate) fn ask(&self, path: &str, body: &Value) -> Result<Value, AdminError> {
        let deadline = Instant::now() + self.timeout;
        let mut perhaps_begun = false;
        loop {
            let mut reasons = Vec::new();
            for endpoint in &self.endpoints {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    break;
                }
                let reason = match post(&self.agent, endpoint, path, body, left.min(PATIENCE)) {
                    Exchange::NotSent { reason } => reason,
                    Exchange::NoAnswer { reason } => {
                        perhaps_begun = true;
                        reason
                    }
                    Exchange::Answered(answer) => match verdict(endpoint, answer) {
                        Ok(result) => return Ok(result),
                        // It was begun by an earlier attempt, and came to its end.
                        Err(Verdict::No { code, .. }) if code == "noop" && perhaps_begun => {
                            return Ok(Value::Null);
                        }
                        Err(Verdict::No { code, refusal }) => {
                            return Err(AdminError::Refused { code, refusal });
                        }
                        Err(Verdict::Later { reason, unknown }) => {
                            perhaps_begun |= unknown;
                            reason
                        }
                    },
                };
                reasons.push((endpoint.clone(), reason));
            }
            if Instant::now() + PAUSE >= deadline {
                let unavailable = Unavailable { reasons };
                return Err(AdminError::Unavailable { unavailable, perhaps_begun });
            }
            thread::sleep(PAUSE);
        }
    }
}

enum Verdict {
    No { code: String, refusal: Refusal },
    Later { reason: String, unknown: bool },
}

fn verdict(endpoint: &Endpoint, answer: Answer) -> Result<Value, Verdict> {
    if (200..300).contains(&answer.status) {
        return Ok(serde_json::from_slice(&answer.body).unwrap_or(Value::Null));
    }
    let reason = answer.reason();
    match (answer.status, answer.code()) {
        (503, _) => Err(Verdict::Later { reason, unknown: false }),
        (300..=499, Some(code)) => {
            let refusal = Refusal { endpoint: endpoint.clone(), reason };
            Err(Verdict::No { code, refusal })
        }
        _ => Err(Verdict::Later { reason, unknown: true }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::client::fake::{Fake, Reply};

    fn ask(replies: Vec<Reply>) -> Result<Value, AdminError> {
        let fake = Fake::start(replies);
        Admin::new(vec![fake.endpoint()], Duration::from_secs(10)).ask("/v1/members", &json!({}))
    }

    #[test]
    fn a_request_is_asked_again_until_a_leader_answers_it() {
        let done = Reply::json(200, r#"{"state":"final","index":7}"#);
        let answer = ask(vec![Reply::error(503, "no_leader"), Reply::HangUp, done]).unwrap();
        assert_eq!(answer["index"], 7);
    }

    #[test]
    fn that_nothing_would_change_means_done_after_an_attempt_whose_outcome_is_unknown() {
        let noop = || Reply::error(409, "noop");
        assert!(ask(vec![Reply::error(504, "outcome_unknown"), noop()]).is_ok());
        let refused = ask(vec![noop()]).unwrap_err();
        assert!(matches!(refused, AdminError::Refused { code, .. } if code == "noop"));
    }

    #[test]
    fn a_refusal_ends_it() {
        let refused = ask(vec![Reply::error(409, "inoperable")]).unwrap_err();
        assert!(refused.to_string().starts_with("refused by"), "{refused}");
    }
}
