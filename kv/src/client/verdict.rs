//! What one endpoint's answer means: it settles the request, or the next endpoint may try.

use std::cell::Cell;

use super::Found;
use super::endpoint::Endpoint;
use super::errors::{ReadError, Refusal, WriteError};
use super::exchange::{Answer, Exchange};

pub(super) enum Verdict<T> {
    Settled(T),
    /// Certainly not done here.
    TryNext {
        reason: String,
        has_answered: bool,
    },
}

/// Of a write. Anything that is not certainly done, or certainly not done, is unknown.
pub(super) fn write_verdict(
    exchange: Exchange,
    endpoint: &Endpoint,
    key: &str,
) -> Verdict<Result<Option<u64>, WriteError>> {
    let unknown = |reason| WriteError::OutcomeUnknown { endpoint: endpoint.clone(), reason };
    let answer = match exchange {
        Exchange::NotSent { reason } => return Verdict::TryNext { reason, has_answered: false },
        Exchange::NoAnswer { reason } => return Verdict::Settled(Err(unknown(reason))),
        Exchange::Answered(answer) => answer,
    };
    let (key, code) = (key.to_string(), answer.code());
    Verdict::Settled(match (answer.status, code.as_deref()) {
        (200..=299, _) => Ok(answer.version),
        // Any other 503 may come from something in between, which knows nothing about it.
        (503, Some("no_leader" | "overloaded" | "stopping")) => {
            return Verdict::TryNext { reason: answer.reason(), has_answered: true };
        }
        (404, Some("not_found")) => Err(WriteError::NotFound { key }),
        (412, _) => Err(WriteError::PreconditionFailed { key }),
        (300..=499, _) => Err(WriteError::Refused(refusal(endpoint, &answer))),
        _ => Err(unknown(answer.reason())),
    })
}

/// Of a write in a session, which may be sent again whatever happened. What it leaves unknown is noted
/// in `perhaps_done`.
pub(super) fn session_verdict(
    exchange: Exchange,
    endpoint: &Endpoint,
    key: &str,
    perhaps_done: &Cell<bool>,
) -> Verdict<Result<Option<u64>, WriteError>> {
    match write_verdict(exchange, endpoint, key) {
        Verdict::Settled(Err(WriteError::OutcomeUnknown { reason, .. })) => {
            perhaps_done.set(true);
            Verdict::TryNext { reason, has_answered: false }
        }
        verdict => verdict,
    }
}

/// Of a read, which may be asked again whatever happened.
pub(super) fn read_verdict(
    exchange: Exchange,
    endpoint: &Endpoint,
    key: &str,
) -> Verdict<Result<Found, ReadError>> {
    let answer = match exchange {
        Exchange::NotSent { reason } | Exchange::NoAnswer { reason } => {
            return Verdict::TryNext { reason, has_answered: false };
        }
        Exchange::Answered(answer) => answer,
    };
    let code = answer.code();
    Verdict::Settled(match (answer.status, code.as_deref()) {
        // The value may look like an error: the status decides.
        (200, _) => Ok(Found { version: answer.version, value: answer.body }),
        (404, Some("not_found")) => Err(ReadError::NotFound { key: key.to_string() }),
        (201..=499, _) => Err(ReadError::Refused(refusal(endpoint, &answer))),
        _ => return Verdict::TryNext { reason: answer.reason(), has_answered: true },
    })
}

fn refusal(endpoint: &Endpoint, answer: &Answer) -> Refusal {
    Refusal { endpoint: endpoint.clone(), reason: answer.reason() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint() -> Endpoint {
        "kv:1".parse().unwrap()
    }

    fn answered(status: u16, code: &str) -> Exchange {
        let body = format!(r#"{{"error":"{code}","message":"m","leader":null}}"#).into_bytes();
        Exchange::Answered(Answer { status, version: Some(7), body })
    }

    fn of_write(status: u16, code: &str) -> String {
        match write_verdict(answered(status, code), &endpoint(), "k") {
            Verdict::TryNext { .. } => "next".to_string(),
            Verdict::Settled(Ok(version)) => format!("{version:?}"),
            Verdict::Settled(Err(error)) => error.to_string(),
        }
    }

    fn of_read(status: u16, code: &str) -> String {
        match read_verdict(answered(status, code), &endpoint(), "k") {
            Verdict::TryNext { .. } => "next".to_string(),
            Verdict::Settled(Ok(found)) => format!("{:?}", found.version),
            Verdict::Settled(Err(error)) => error.to_string(),
        }
    }

    #[test]
    fn a_write_goes_on_only_if_it_was_certainly_not_done() {
        for code in ["no_leader", "overloaded", "stopping"] {
            assert_eq!(of_write(503, code), "next");
        }
        for (status, code) in [(503, "busy"), (504, "outcome_unknown"), (500, "x"), (502, "x")] {
            assert!(of_write(status, code).starts_with("outcome unknown"), "{status} {code}");
        }
        assert_eq!(of_write(200, ""), "Some(7)");
        assert_eq!(of_write(404, "not_found"), "there is no key 'k'");
        assert!(of_write(412, "precondition_failed").contains("nothing was changed"));
        assert_eq!(of_write(413, "value_too_large"), "refused by http://kv:1: value_too_large: m");
        assert!(of_write(404, "no_such_path").starts_with("refused"));
    }

    #[test]
    fn a_read_goes_on_after_anything_but_an_answer() {
        for (status, code) in [(503, "no_leader"), (503, "x"), (504, "x"), (500, "x")] {
            assert_eq!(of_read(status, code), "next");
        }
        assert_eq!(of_read(200, "not_found"), "Some(7)");
        assert_eq!(of_read(404, "not_found"), "there is no key 'k'");
        assert!(of_read(400, "bad_request").starts_with("refused"));
        assert!(of_read(301, "x").starts_with("refused"));
    }
}
