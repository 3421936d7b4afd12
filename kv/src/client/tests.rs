//! The client against servers that answer from a script.

use std::time::Duration;

use super::endpoint::Endpoint;
use super::errors::{ReadError, WriteError};
use super::fake::{Fake, Reply};
use super::{Client, Condition, Consistency};

fn client(endpoints: &[Endpoint]) -> Client {
    let mut client = Client::new(endpoints.to_vec(), Duration::from_secs(30));
    client.first_pause = Duration::ZERO;
    client
}

#[test]
fn a_write_goes_to_the_next_endpoint_when_it_was_certainly_not_done() {
    let busy = Fake::start([Reply::error(503, "overloaded")]);
    let good = Fake::start([Reply::versioned(200, 7, "{}"), Reply::versioned(200, 8, "{}")]);
    let mut client = client(&[Fake::nowhere(), busy.endpoint(), good.endpoint()]);
    assert_eq!(client.put("k", b"v", Condition::None).unwrap(), Some(7));
    assert_eq!(client.not_done(), 2);
    // It stays where it went well.
    assert_eq!(client.put("k", b"w", Condition::None).unwrap(), Some(8));
    assert_eq!(good.requests(), ["PUT /v1/kv/k v", "PUT /v1/kv/k w"]);
}

#[test]
fn a_write_is_tried_again_after_a_round_in_vain() {
    let replies = [Reply::error(503, "no_leader"), Reply::error(503, "no_leader")];
    let fake = Fake::start(replies.into_iter().chain([Reply::versioned(201, 9, "{}")]));
    assert_eq!(client(&[fake.endpoint()]).put("k", b"v", Condition::None).unwrap(), Some(9));
    assert_eq!(fake.requests().len(), 3);
}

#[test]
fn a_write_whose_outcome_is_unknown_is_never_sent_again() {
    let unknown = [
        Reply::HangUp,
        Reply::error(504, "outcome_unknown"),
        Reply::json(500, "oh"),
        Reply::json(503, ""),
    ];
    for reply in unknown {
        let (first, second) = (Fake::start([reply]), Fake::start([Reply::versioned(200, 1, "")]));
        let outcome =
            client(&[first.endpoint(), second.endpoint()]).put("k", b"v", Condition::None);
        assert!(matches!(outcome, Err(WriteError::OutcomeUnknown { .. })), "{outcome:?}");
        assert_eq!((first.requests().len(), second.requests().len()), (1, 0));
    }
}

#[test]
fn a_write_in_a_session_is_sent_again_whatever_happened() {
    let session = || Reply::json(200, r#"{"session":5}"#);
    let fake = Fake::start([
        Reply::HangUp,
        session(),
        Reply::HangUp,
        Reply::error(504, "outcome_unknown"),
        Reply::versioned(200, 7, "{}"),
    ]);
    let written = client(&[fake.endpoint()]).put_once("k", b"v", Condition::None).unwrap();
    assert_eq!(written, Some(7));
    assert_eq!(fake.requests()[2..], ["PUT /v1/kv/k v"; 3]);
}

#[test]
fn a_delete_whose_outcome_is_unknown_is_never_sent_again() {
    let first = Fake::start([Reply::HangUp]);
    let second = Fake::start([Reply::json(204, "")]);
    let outcome = client(&[first.endpoint(), second.endpoint()]).delete("k", Condition::None);
    assert!(matches!(outcome, Err(WriteError::OutcomeUnknown { .. })), "{outcome:?}");
    assert_eq!(first.requests(), ["DELETE /v1/kv/k"]);
    assert_eq!(second.requests(), [""; 0]);
}

#[test]
fn a_read_is_asked_again_whatever_happened() {
    let first = Fake::start([Reply::HangUp]);
    let second = Fake::start([Reply::error(504, "outcome_unknown")]);
    let third = Fake::start([Reply::versioned(200, 3, "value")]);
    let mut client = client(&[first.endpoint(), second.endpoint(), third.endpoint()]);
    let found = client.get("a/b", Consistency::Local).unwrap();
    assert_eq!((found.value.as_slice(), found.version), (b"value".as_slice(), Some(3)));
    assert_eq!(third.requests(), ["GET /v1/kv/a%2Fb?consistency=local"]);
}

#[test]
fn endpoints_that_never_answer_are_given_up_after_a_few_rounds() {
    let endpoints = [Fake::nowhere(), Fake::nowhere()];
    let mut client = client(&endpoints);
    let outcome = client.put("k", b"v", Condition::None).unwrap_err();
    let WriteError::Unavailable(unavailable) = &outcome else { panic!("{outcome}") };
    assert_eq!(unavailable.reasons.len(), 2);
    assert_eq!(client.not_done(), 6);
    let [a, b] = endpoints;
    let refused =
        format!("no server could do it: {a}: connection refused; {b}: connection refused");
    assert_eq!(outcome.to_string(), format!("{refused}; nothing was changed"));
    let outcome = client.get("k", Consistency::Linearizable).unwrap_err();
    assert!(matches!(outcome, ReadError::Unavailable(_)));
}

#[test]
fn no_write_is_begun_without_time_for_its_outcome() {
    let fake = Fake::start([Reply::versioned(200, 1, "")]);
    let mut client = Client::new(vec![fake.endpoint()], Duration::ZERO);
    let outcome = client.put("k", b"v", Condition::None);
    assert!(matches!(outcome, Err(WriteError::Unavailable(_))), "{outcome:?}");
    assert_eq!(fake.requests(), [""; 0]);
}

#[test]
fn conditions_are_sent_as_headers() {
    let fake = Fake::start([
        Reply::versioned(200, 8, "{}"),
        Reply::error(412, "precondition_failed"),
        Reply::json(204, ""),
        Reply::error(404, "not_found"),
    ]);
    let mut client = client(&[fake.endpoint()]);
    client.put("k", b"v", Condition::Version(7)).unwrap();
    let failed = client.put("k", b"v", Condition::Absent);
    assert!(matches!(failed, Err(WriteError::PreconditionFailed { .. })));
    client.delete("k", Condition::Version(8)).unwrap();
    let missing = client.delete("k", Condition::None);
    assert!(matches!(missing, Err(WriteError::NotFound { .. })));
    assert_eq!(
        fake.requests(),
        [
            "PUT /v1/kv/k if-match=\"7\" v",
            "PUT /v1/kv/k if-none-match=* v",
            "DELETE /v1/kv/k if-match=\"8\"",
            "DELETE /v1/kv/k"
        ]
    );
}

#[test]
fn an_empty_value_is_a_value() {
    let fake = Fake::start([Reply::versioned(200, 1, "{}"), Reply::versioned(200, 1, "")]);
    let mut client = client(&[fake.endpoint()]);
    client.put("k", b"", Condition::None).unwrap();
    assert_eq!(client.get("k", Consistency::Linearizable).unwrap().value, b"");
}
