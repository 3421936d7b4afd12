//! The client: finds a server that can do a request, and never does a write twice.
//!
//! ```text
//!   put --> endpoint 1: refused         certainly not done: the next one
//!       --> endpoint 2: 503 no_leader   certainly not done: the next one, after a round a pause
//!       --> endpoint 3: 200             done
//!                       hangs up        perhaps done: the caller is told, nothing is sent again
//! ```

pub(crate) mod admin;
pub(crate) mod download;
pub(crate) mod endpoint;
pub(crate) mod errors;
mod exchange;
#[cfg(test)]
pub(crate) mod fake;
pub(crate) mod probe;
#[cfg(test)]
mod tests;
mod verdict;

use std::cell::Cell;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use ureq::Agent;
use ureq::http::Method;

use endpoint::Endpoint;
use errors::{ReadError, Unavailable, WriteError};
use exchange::{Exchange, Request, SessionWrite, agent, exchange, post};
use verdict::{Verdict, read_verdict, session_verdict, write_verdict};

/// How many rounds in which no endpoint answers at all are enough: they are more likely wrong, or
/// down, than about to answer.
const SILENT_ROUNDS: u32 = 3;
/// The pause after the first round; it doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(400);
/// A write is not begun in the last part of the time, one such: its outcome might come too late to
/// be known.
const LAST_PART: u32 = 10;

/// A client of a cluster. It stays with the endpoint that last did something.
pub(crate) struct Client {
    agent: Agent,
    endpoints: Vec<Endpoint>,
    preferred: usize,
    timeout: Duration,
    first_pause: Duration,
    not_done: u64,
}

/// What must hold of a key for it to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    None,
    /// It has this version.
    Version(u64),
    /// It is not there.
    Absent,
}

/// How fresh a read must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Consistency {
    Linearizable,
    /// As fresh, if clocks are as good as the servers' settings say.
    Lease,
    /// Whatever the server that is asked has applied.
    Local,
}

/// A key's value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) value: Vec<u8>,
    pub(crate) version: Option<u64>,
}

impl Client {
    /// A client that begins with the first endpoint. A request takes no longer than the timeout.
    pub(crate) fn new(endpoints: Vec<Endpoint>, timeout: Duration) -> Client {
        let (preferred, not_done) = (0, 0);
        Client { agent: agent(), endpoints, preferred, timeout, first_pause: FIRST_PAUSE, not_done }
    }

    /// How often an endpoint could not do a request, so that it was tried elsewhere or later.
    pub(crate) fn not_done(&self) -> u64 {
        self.not_done
    }

    /// Writes a key. Returns its version.
    pub(crate) fn put(
        &mut self,
        key: &str,
        value: &[u8],
        condition: Condition,
    ) -> Result<Option<u64>, WriteError> {
        self.write(&Request { body: Some(value), condition, ..Request::new(Method::PUT, key) })
    }

    /// Writes a key in a session: where the outcome is unknown it is sent again, and is done once all
    /// the same (diss. §6.3).
    pub(crate) fn put_once(
        &mut self,
        key: &str,
        value: &[u8],
        condition: Condition,
    ) -> Result<Option<u64>, WriteError> {
        let session = self.register()?;
        // The only write of this session.
        let session = Some(SessionWrite { session, serial: 1 });
        let request =
            Request { body: Some(value), condition, session, ..Request::new(Method::PUT, key) };
        let perhaps_done = Cell::new(false);
        let share = |left: Duration, untried: u32| left / untried;
        let written = self.try_each(Duration::ZERO, share, |agent, endpoint, time| {
            let exchanged = exchange(agent, endpoint, &request, time);
            session_verdict(exchanged, endpoint, &request.key, &perhaps_done)
        });
        written.unwrap_or_else(|unavailable| match perhaps_done.get() {
            true => Err(WriteError::UnknownAfterRetries(unavailable)),
            false => Err(WriteError::Unavailable(unavailable)),
        })
    }

    /// Opens a session. One that is opened twice, since the first answer was lost, does no harm: it
    /// expires.
    fn register(&mut self) -> Result<u64, WriteError> {
        let share = |left: Duration, untried: u32| left / untried;
        self.try_each(Duration::ZERO, share, |agent, endpoint, time| {
            let (reason, has_answered) =
                match post(agent, endpoint, "/v1/sessions", &json!({}), time) {
                    Exchange::Answered(answer) => match answer.session() {
                        Some(session) => return Verdict::Settled(session),
                        None => (answer.reason(), true),
                    },
                    Exchange::NotSent { reason } | Exchange::NoAnswer { reason } => (reason, false),
                };
            Verdict::TryNext { reason, has_answered }
        })
        .map_err(WriteError::Unavailable)
    }

    /// Deletes a key.
    pub(crate) fn delete(&mut self, key: &str, condition: Condition) -> Result<(), WriteError> {
        self.write(&Request { condition, ..Request::new(Method::DELETE, key) }).map(|_| ())
    }

    /// Reads a key.
    pub(crate) fn get(&mut self, key: &str, consistency: Consistency) -> Result<Found, ReadError> {
        let request = Request { consistency, ..Request::new(Method::GET, key) };
        // An endpoint that hangs must leave time for the others.
        let share = |left: Duration, untried: u32| left / untried;
        self.try_each(Duration::ZERO, share, |agent, endpoint, time| {
            read_verdict(exchange(agent, endpoint, &request, time), endpoint, &request.key)
        })
        .unwrap_or_else(|unavailable| Err(ReadError::Unavailable(unavailable)))
    }

    fn write(&mut self, request: &Request) -> Result<Option<u64>, WriteError> {
        // What is cut short is unknown, and not sent again: so it gets all the time there is.
        let share = |left: Duration, _| left;
        self.try_each(self.timeout / LAST_PART, share, |agent, endpoint, time| {
            write_verdict(exchange(agent, endpoint, request, time), endpoint, &request.key)
        })
        .unwrap_or_else(|unavailable| Err(WriteError::Unavailable(unavailable)))
    }

    /// Asks one endpoint after the other until one settles it, in rounds, while more than `least`
    /// of the time is left.
    fn try_each<T>(
        &mut self,
        least: Duration,
        share: impl Fn(Duration, u32) -> Duration,
        attempt: impl Fn(&Agent, &Endpoint, Duration) -> Verdict<T>,
    ) -> Result<T, Unavailable> {
        let deadline = Instant::now() + self.timeout;
        let left = || deadline.saturating_duration_since(Instant::now());
        let (mut pause, mut silent_rounds) = (self.first_pause, 0);
        let mut reasons = Vec::new();
        loop {
            let mut answered = false;
            let mut round = Vec::new();
            for untried in (1..=self.endpoints.len()).rev() {
                if left() <= least {
                    // Of those not tried again, what they said before.
                    let tried = round.len();
                    round.extend(reasons.into_iter().skip(tried));
                    return Err(Unavailable { reasons: round });
                }
                let endpoint = &self.endpoints[self.preferred];
                // There are no more than fit on a command line.
                let time = share(left(), untried as u32);
                match attempt(&self.agent, endpoint, time) {
                    Verdict::Settled(outcome) => return Ok(outcome),
                    Verdict::TryNext { reason, has_answered } => {
                        answered |= has_answered;
                        round.push((endpoint.clone(), reason));
                        self.not_done += 1;
                        self.preferred = (self.preferred + 1) % self.endpoints.len();
                    }
                }
            }
            reasons = round;
            silent_rounds = if answered { 0 } else { silent_rounds + 1 };
            if silent_rounds == SILENT_ROUNDS || left() <= pause + least {
                return Err(Unavailable { reasons });
            }
            // Clients that were refused together should not come back together.
            thread::sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0));
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}
