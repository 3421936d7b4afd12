//! A snapshot on its way to a follower, in the leader's eyes (§7).
//!
//! ```text
//!                a heartbeat                an answer
//!   Ask(now) <---------------- Ask(sent) ----------------> Send: read, send, read, send, ...
//!      |                           ^                         |  two pieces unanswered at the most
//!      +------- the question ------+ <- nothing moved for  --+
//!                                       an election timeout
//! ```
//!
//! The follower's answer says how many bytes it has, whoever sent them: a transfer goes on where
//! it stopped, after a broken link as after a change of leaders.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use crate::config::Config;
use crate::snapshot::{Snapshot, SnapshotChunk};
use crate::status::PaceName;
use crate::types::Time;

/// How many pieces may be unanswered. Two keep the link busy while the follower writes, and are few
/// beside its heartbeats and entries.
const WINDOW: usize = 2;

/// A snapshot on its way.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Sending {
    pub(crate) snapshot: Snapshot,
    /// How many of its first bytes the follower has.
    pub(crate) received: u64,
    step: Step,
    /// Whether a piece is being read from storage.
    reading: bool,
    /// When the follower was seen last to receive something, or had received all that was sent.
    moved_at: Time,
    /// No piece before, by the limit on bytes a second.
    not_before: Time,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Step {
    /// It is not known how much the follower has.
    Ask {
        /// Whether it was asked and has not answered.
        waiting: bool,
    },
    /// Pieces follow each other.
    Send {
        /// Where the next one begins.
        next: u64,
        /// The end of each that is unanswered.
        in_flight: VecDeque<u64>,
    },
}

impl Sending {
    pub(crate) fn new(snapshot: Snapshot, now: Time) -> Sending {
        let step = Step::Ask { waiting: false };
        let (moved_at, not_before) = (now, now);
        Sending { snapshot, received: 0, step, reading: false, moved_at, not_before }
    }

    /// How far it is, for people.
    pub(crate) fn status(&self) -> PaceName {
        PaceName::Snapshot { received: self.received, size: self.snapshot.size }
    }

    /// Whether to ask now how much the follower has; it counts as asked then.
    pub(crate) fn begin_question(&mut self) -> bool {
        let asks = self.step == Step::Ask { waiting: false };
        if asks {
            self.step = Step::Ask { waiting: true };
        }
        asks
    }

    /// Whether the log should keep what follows this snapshot: the follower is heard, and will need it
    /// soon. One that has got a part of it may be cut off now and then, for as long as a new voter
    /// is waited for.
    pub(crate) fn is_worth_keeping(&self, now: Time, is_heard: bool, config: &Config) -> bool {
        is_heard || (self.received > 0 && now.since(self.moved_at) < config.catch_up_timeout)
    }

    /// The piece to read now, if any: its offset. It counts as being read then.
    pub(crate) fn begin_read(&mut self, now: Time) -> Option<u64> {
        let offset = self.next_read().filter(|_| now >= self.not_before)?;
        self.reading = true;
        Some(offset)
    }

    fn next_read(&self) -> Option<u64> {
        match &self.step {
            Step::Send { next, in_flight }
                if !self.reading && in_flight.len() < WINDOW && *next < self.snapshot.size =>
            {
                Some(*next)
            }
            Step::Ask { .. } | Step::Send { .. } => None,
        }
    }

    /// When the next piece may go out, if only the limit on bytes a second holds it back.
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.next_read().map(|_| self.not_before)
    }

    /// A piece came from storage. Returns whether it is the one to send now; it counts as sent then.
    pub(crate) fn on_read(&mut self, chunk: &SnapshotChunk, now: Time, config: &Config) -> bool {
        if !std::mem::take(&mut self.reading) {
            return false;
        }
        let length = chunk.data.len() as u64;
        match &mut self.step {
            Step::Send { next, in_flight } if *next == chunk.offset => {
                if in_flight.is_empty() {
                    self.moved_at = now;
                }
                *next += length;
                in_flight.push_back(*next);
            }
            // The follower turned out to have more, or less, while this was read.
            Step::Ask { .. } | Step::Send { .. } => return false,
        }
        if let Some(rate) = config.snapshot_bytes_per_second {
            let nanos = u128::from(length) * 1_000_000_000 / u128::from(rate.max(1));
            let pause = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
            self.not_before = self.not_before.max(now) + pause;
        }
        true
    }

    /// The follower says how many bytes it has. A late answer may say less than an earlier one; to
    /// believe it costs a piece sent twice, not to believe it the transfer, if the follower lost
    /// what it had.
    pub(crate) fn on_received(&mut self, offset: u64, now: Time) {
        if offset != self.received || matches!(self.step, Step::Ask { .. }) {
            self.moved_at = now;
        }
        let goes_on = |next: u64| offset >= self.received && offset <= next;
        match &mut self.step {
            Step::Send { next, in_flight } if goes_on(*next) => {
                while in_flight.front().is_some_and(|end| *end <= offset) {
                    in_flight.pop_front();
                }
            }
            Step::Send { .. } | Step::Ask { .. } => {
                self.step = Step::Send { next: offset, in_flight: VecDeque::new() };
            }
        }
        self.received = offset;
    }

    /// A heartbeat goes out: a question or pieces that were not answered may be lost. A follower
    /// that has it all is asked until it says that it is installed.
    pub(crate) fn on_heartbeat(&mut self, now: Time, config: &Config) {
        let ask = match &self.step {
            Step::Ask { .. } => true,
            Step::Send { in_flight, .. } => {
                let stalled = now.since(self.moved_at) >= config.election_timeout;
                self.received == self.snapshot.size || (stalled && !in_flight.is_empty())
            }
        };
        if ask {
            self.step = Step::Ask { waiting: false };
        }
    }

    /// The link broke: the next heartbeat asks again.
    pub(crate) fn on_unreachable(&mut self) {
        self.step = Step::Ask { waiting: true };
    }

    /// A piece without bytes, which asks how much the follower has.
    pub(crate) fn question() -> SnapshotChunk {
        SnapshotChunk { offset: 0, data: Bytes::new(), checksum: 0, done: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stored::Base;

    fn sending(size: u64) -> Sending {
        Sending::new(Snapshot { base: Base::default(), size, checksum: 0 }, Time(0))
    }

    fn piece(offset: u64, length: usize) -> SnapshotChunk {
        SnapshotChunk { offset, data: vec![0; length].into(), checksum: 0, done: false }
    }

    /// Reads and sends pieces of ten bytes as far as the window goes; the offsets.
    fn pump(sending: &mut Sending, now: Time, config: &Config) -> Vec<u64> {
        let mut sent = Vec::new();
        while let Some(offset) = sending.begin_read(now) {
            assert_eq!(sending.begin_read(now), None, "one piece is read at a time");
            assert!(sending.on_read(&piece(offset, 10), now, config));
            sent.push(offset);
        }
        sent
    }

    #[test]
    fn it_asks_once_then_sends_two_pieces_ahead() {
        let (mut sending, config) = (sending(50), Config::default());
        assert!(sending.begin_question());
        assert!(!sending.begin_question());
        assert_eq!(pump(&mut sending, Time(0), &config), []);
        sending.on_received(10, Time(0));
        assert_eq!(pump(&mut sending, Time(0), &config), [10, 20]);
        sending.on_received(20, Time(0));
        assert_eq!(pump(&mut sending, Time(0), &config), [30]);
        sending.on_received(40, Time(0));
        assert_eq!(pump(&mut sending, Time(0), &config), [40]);
        sending.on_received(50, Time(0));
        assert_eq!(pump(&mut sending, Time(0), &config), []);
        sending.on_heartbeat(Time(0), &config);
        assert!(sending.begin_question(), "is it installed?");
    }

    #[test]
    fn what_was_lost_is_asked_for_after_an_election_timeout_or_a_broken_link() {
        let (mut sending, config) = (sending(50), Config::default());
        let later = Time(0) + config.election_timeout;
        sending.begin_question();
        sending.on_heartbeat(Time(1), &config);
        assert!(sending.begin_question(), "the question was lost");
        sending.on_received(0, Time(1));
        assert_eq!(pump(&mut sending, Time(1), &config), [0, 10]);
        sending.on_heartbeat(later, &config);
        assert!(!sending.begin_question(), "the pieces may still arrive");
        sending.on_heartbeat(later + Duration::from_nanos(1), &config);
        assert!(sending.begin_question());
        sending.on_received(10, later);
        assert_eq!(pump(&mut sending, later, &config), [10, 20], "on from where it stopped");
        sending.on_unreachable();
        assert!(!sending.begin_question(), "not into the void");
        sending.on_heartbeat(later, &config);
        assert!(sending.begin_question());
    }

    #[test]
    fn a_follower_that_lost_pieces_gets_them_again_and_one_that_has_more_fewer() {
        let (mut sending, config) = (sending(90), Config::default());
        sending.on_received(20, Time(0));
        assert_eq!(sending.begin_read(Time(0)), Some(20));
        sending.on_received(0, Time(0));
        assert!(!sending.on_read(&piece(20, 10), Time(0), &config), "no longer what it lacks");
        assert_eq!(pump(&mut sending, Time(0), &config), [0, 10]);
        sending.on_received(60, Time(0));
        assert_eq!(pump(&mut sending, Time(0), &config), [60, 70]);
    }

    #[test]
    fn pieces_keep_to_the_limit_on_bytes_a_second() {
        let config = Config { snapshot_bytes_per_second: Some(10), ..Config::default() };
        let mut sending = sending(50);
        sending.on_received(0, Time(0));
        let second = |n: u64| Time(n * 1_000_000_000);
        assert_eq!(pump(&mut sending, Time(0), &config), [0]);
        assert_eq!(sending.deadline(), Some(second(1)));
        assert_eq!(pump(&mut sending, second(1), &config), [10]);
        assert_eq!(sending.deadline(), None, "the window is full");
        sending.on_received(20, second(1));
        assert_eq!(sending.deadline(), Some(second(2)));
    }
}
