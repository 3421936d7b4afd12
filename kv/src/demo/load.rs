//! The clients that write, and the account they keep of what they were told.

use std::time::{Duration, Instant};

use anyhow::Context;

use crate::client::endpoint::Endpoint;
use crate::client::errors::{ReadError, WriteError};
use crate::client::{Client, Condition, Consistency};

use super::progress::Progress;

/// How many clients write and read at once.
pub(super) const CLIENTS: usize = 16;
/// How long a client tries to do one request.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the clients know of their writes.
#[derive(Default)]
pub(super) struct Ledger {
    pub(super) entries: Vec<Entry>,
    /// When each acknowledgement came.
    pub(super) acknowledgements: Vec<Instant>,
    /// Attempts whose outcome was unknown.
    pub(super) unknown: u64,
    /// Of them, how many the key told to be done.
    pub(super) unknown_done: u64,
    /// Attempts that were certainly not done.
    pub(super) not_done: u64,
}

/// A key and what the client was told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) number: u64,
    pub(super) fate: Fate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It must be there from now on, in this version.
    Acknowledged { version: Option<u64> },
    /// The outcome was unknown, but it was read: so it must be there, too.
    ReadBack { version: Option<u64> },
    /// It may be there or not.
    Unknown,
}

impl Ledger {
    pub(super) fn merge(&mut self, mut other: Ledger) {
        self.entries.append(&mut other.entries);
        self.acknowledgements.append(&mut other.acknowledgements);
        self.unknown += other.unknown;
        self.unknown_done += other.unknown_done;
        self.not_done += other.not_done;
    }
}

pub(super) fn key_of(number: u64) -> String {
    format!("demo/{number:08}")
}

/// Each key has a value of its own.
pub(super) fn value_of(number: u64) -> String {
    format!("the value of key {number}")
}

/// One of several clients, each of which begins at another endpoint.
pub(super) fn client(place: usize, endpoints: &[Endpoint]) -> Client {
    let mut endpoints = endpoints.to_vec();
    let shift = place % endpoints.len();
    endpoints.rotate_left(shift);
    Client::new(endpoints, PATIENCE)
}

/// Writes keys until none is left.
pub(super) fn write_keys(mut client: Client, progress: &Progress) -> anyhow::Result<Ledger> {
    let mut ledger = Ledger::default();
    while let Some(number) = progress.begin() {
        let fate = write_key(&mut client, number, progress, &mut ledger)?;
        ledger.entries.push(Entry { number, fate });
        progress.settle();
    }
    Ok(ledger)
}

/// Writes a key, as often as it takes. An unknown outcome is cleared up by a read first.
fn write_key(
    client: &mut Client,
    number: u64,
    progress: &Progress,
    ledger: &mut Ledger,
) -> anyhow::Result<Fate> {
    let (key, value) = (key_of(number), value_of(number));
    let mut condition = Condition::None;
    while !progress.is_stopped() {
        let before = client.not_done();
        let written = client.put(&key, value.as_bytes(), condition);
        ledger.not_done += client.not_done() - before;
        match written {
            Ok(version) => {
                ledger.acknowledgements.push(Instant::now());
                return Ok(Fate::Acknowledged { version });
            }
            Err(WriteError::Unavailable(_)) => continue,
            Err(WriteError::OutcomeUnknown { .. }) => ledger.unknown += 1,
            // The attempt of unknown outcome was done after all.
            Err(WriteError::PreconditionFailed { .. }) if condition == Condition::Absent => {}
            Err(error) => return Err(error).with_context(|| format!("writing {key}")),
        }
        match read_back(client, &key, progress)? {
            Some(version) => {
                ledger.unknown_done += 1;
                return Ok(Fate::ReadBack { version });
            }
            // It may yet be done, if it still is on its way: then the next attempt must not be.
            None => condition = Condition::Absent,
        }
    }
    Ok(Fate::Unknown)
}

/// The version of a key, if it is there.
fn read_back(
    client: &mut Client,
    key: &str,
    progress: &Progress,
) -> anyhow::Result<Option<Option<u64>>> {
    while !progress.is_stopped() {
        match client.get(key, Consistency::Linearizable) {
            // The value is compared when all keys are.
            Ok(found) => return Ok(Some(found.version)),
            Err(ReadError::NotFound { .. }) => return Ok(None),
            Err(ReadError::Unavailable(_)) => {}
            Err(error) => return Err(error).with_context(|| format!("reading {key} back")),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::fake::{Fake, Reply};
    use crate::demo::screen::Screen;

    fn written_with(replies: Vec<Reply>) -> (anyhow::Result<Ledger>, Vec<String>) {
        let fake = Fake::start(replies);
        let progress = Progress::new(1, 1, Screen::new().bar(1, ""));
        let ledger = write_keys(client(0, &[fake.endpoint()]), &progress);
        let key_gone = |request: &String| request.replace("/v1/kv/demo%2F00000000", "KEY");
        (ledger, fake.requests().iter().map(key_gone).collect())
    }

    #[test]
    fn an_unknown_outcome_is_read_back_and_not_blindly_sent_again() {
        let (ledger, requests) =
            written_with(vec![Reply::HangUp, Reply::versioned(200, 5, "the value of key 0")]);
        let ledger = ledger.unwrap();
        assert_eq!(ledger.entries[0].fate, Fate::ReadBack { version: Some(5) });
        assert_eq!((ledger.unknown, ledger.unknown_done), (1, 1));
        assert_eq!(ledger.acknowledgements.len(), 0);
        assert_eq!(requests, ["PUT KEY the value of key 0", "GET KEY"]);
    }

    #[test]
    fn what_is_not_there_is_written_on_condition_that_it_is_not() {
        let (ledger, requests) = written_with(vec![
            Reply::error(504, "outcome_unknown"),
            Reply::error(404, "not_found"),
            Reply::versioned(200, 6, "{}"),
        ]);
        let ledger = ledger.unwrap();
        assert_eq!(ledger.entries[0].fate, Fate::Acknowledged { version: Some(6) });
        assert_eq!((ledger.unknown, ledger.unknown_done), (1, 0));
        assert_eq!(requests[2], "PUT KEY if-none-match=* the value of key 0");
    }

    #[test]
    fn a_write_that_was_still_on_its_way_is_found_in_the_end() {
        let (ledger, requests) = written_with(vec![
            Reply::HangUp,
            Reply::error(404, "not_found"),
            Reply::error(412, "precondition_failed"),
            Reply::versioned(200, 7, "the value of key 0"),
        ]);
        let ledger = ledger.unwrap();
        assert_eq!(ledger.entries[0].fate, Fate::ReadBack { version: Some(7) });
        assert_eq!((ledger.unknown, ledger.unknown_done, requests.len()), (1, 1, 4));
    }

    #[test]
    fn what_no_server_does_ends_the_demo() {
        let (ledger, requests) = written_with(vec![Reply::error(413, "value_too_large")]);
        let error = format!("{:#}", ledger.err().unwrap());
        assert!(error.starts_with("writing demo/00000000: refused by"), "{error}");
        assert_eq!(requests.len(), 1);
    }
}
