//! One follower in the leader's eyes.
//!
//! ```text
//!            a Matched response               a Conflict, or the link broke
//!   Probe ------------------------> Replicate -------------------------> Probe
//!   one request, then wait          a window of requests, unanswered
//!     |                                ^
//!     +--------- Snapshot -------------+
//!   what it lacks is purged         it has the snapshot, or what the log begins after
//! ```

use std::collections::VecDeque;

use crate::config::Config;
use crate::mutants::{Mutant, is_planted};
use crate::sending::Sending;
use crate::trust::FollowerDisk;
use crate::types::{DiskId, Index, Time};

/// What the leader knows of a follower (Figure 2, "Volatile state on leaders").
#[derive(Clone, Debug, Hash)]
pub(crate) struct Progress {
    /// The next entry to send.
    pub(crate) next_index: Index,
    /// The last entry known to be on the follower's disk.
    pub(crate) match_index: Index,
    /// How entries go to it.
    pub(crate) pace: Pace,
    /// When it was heard last in this leader's term.
    pub(crate) last_contact: Time,
    /// The latest round that it has confirmed.
    pub(crate) round: u64,
    /// Whether entries for it are being read from storage.
    pub(crate) reading: bool,
    /// Its disk.
    pub(crate) disk: FollowerDisk,
    /// Whether that is short of room.
    pub(crate) disk_is_full: bool,
}

/// How entries go to a follower.
#[derive(Clone, Debug, Hash)]
pub(crate) enum Pace {
    /// It is not known where the logs agree: one request at a time.
    Probe {
        /// Whether a request is unanswered.
        waiting: bool,
    },
    /// The logs agree: requests follow each other unanswered, up to the window.
    Replicate {
        /// The last index and the weight of each unanswered request.
        in_flight: VecDeque<(Index, usize)>,
        /// The sum of the weights.
        bytes: usize,
    },
    /// The log does not go back to what it lacks: a snapshot is on its way, and no entries are.
    Snapshot(Sending),
}

impl Progress {
    /// A follower at the begin of a leader's term: `next_index` is the leader's last index + 1.
    pub(crate) fn new(next_index: Index, now: Time) -> Progress {
        Progress {
            next_index,
            match_index: Index::ZERO,
            pace: Pace::Probe { waiting: false },
            last_contact: now,
            round: 0,
            reading: false,
            disk: FollowerDisk::new(DiskId::UNKNOWN),
            disk_is_full: false,
        }
    }

    /// What the follower stores that counts: nothing, if it may have forgotten what it promised.
    pub(crate) fn counted_match(&self) -> Index {
        if self.disk.counts() { self.match_index } else { Index::ZERO }
    }

    /// The follower confirms a round; that counts if the follower does.
    pub(crate) fn on_round(&mut self, round: u64) {
        if self.disk.counts() {
            self.round = self.round.max(round);
        }
    }

    /// How many bytes of entries one request to it may hold.
    pub(crate) fn max_append_bytes(&self, config: &Config) -> usize {
        // A full disk takes no commands: one entry is enough to find out.
        if self.disk_is_full { 1 } else { config.max_append_bytes }
    }

    /// The follower's disk is not the one that it had: whatever was on that is gone.
    pub(crate) fn start_over(&mut self, next_index: Index) {
        self.next_index = next_index;
        self.match_index = match is_planted(Mutant::MatchOutlivesDisk) {
            true => self.match_index,
            false => Index::ZERO,
        };
        self.pace = Pace::Probe { waiting: false };
        self.round = 0;
        self.disk_is_full = false;
    }

    /// The follower's disk has no room for commands: they are tried one by one, now and then.
    pub(crate) fn on_full(&mut self) {
        if matches!(self.pace, Pace::Probe { .. } | Pace::Replicate { .. }) {
            self.next_index = self.match_index.next();
            self.pace = Pace::Probe { waiting: true };
        }
    }

    /// Whether another request with entries may go out.
    pub(crate) fn may_send(&self, config: &Config) -> bool {
        !self.reading
            && match &self.pace {
                Pace::Probe { waiting } => !waiting,
                Pace::Replicate { in_flight, bytes } => {
                    (in_flight.len() < config.max_in_flight_appends
                        && *bytes < config.max_in_flight_bytes)
                        || is_planted(Mutant::WindowNotLimited)
                }
                Pace::Snapshot(_) => false,
            }
    }

    /// Takes note of a request with entries up to `last`.
    pub(crate) fn sent(&mut self, last: Index, weight: usize) {
        match &mut self.pace {
            Pace::Probe { waiting } => *waiting = true,
            Pace::Replicate { in_flight, bytes } => {
                in_flight.push_back((last, weight));
                *bytes += weight;
                self.next_index = last.next();
            }
            Pace::Snapshot(_) => {}
        }
    }

    /// The follower's log is the leader's up to here. Old news changes nothing.
    pub(crate) fn on_matched(&mut self, index: Index) {
        self.match_index = self.match_index.max(index);
        match &mut self.pace {
            Pace::Probe { .. } => self.replicate_from_match(),
            Pace::Replicate { in_flight, bytes } => {
                while let Some((last, weight)) = in_flight.front().copied()
                    && last <= self.match_index
                {
                    in_flight.pop_front();
                    *bytes -= if is_planted(Mutant::WindowLeaks) { 0 } else { weight };
                }
                self.next_index = self.next_index.max(self.match_index.next());
            }
            // Whether that ends it depends on where the log begins.
            Pace::Snapshot(_) => {}
        }
    }

    /// The follower has all that comes before what the log holds: entries stream from there.
    pub(crate) fn replicate_from_match(&mut self) {
        self.next_index = self.match_index.next();
        self.pace = Pace::Replicate { in_flight: VecDeque::new(), bytes: 0 };
    }

    /// The follower has no entry like the leader's at `rejected`; the leader's log and its own may
    /// agree up to `agree`. Answers to questions no longer asked change nothing.
    pub(crate) fn on_conflict(&mut self, rejected: Index, agree: Index) {
        let asked = match &self.pace {
            Pace::Probe { .. } => rejected == self.next_index.prev(),
            Pace::Replicate { .. } => rejected < self.next_index,
            // Of course not: that is why it is sent a snapshot.
            Pace::Snapshot(_) => false,
        };
        if asked && rejected > self.match_index {
            self.next_index = agree.next().min(rejected).max(self.match_index.next());
            self.pace = Pace::Probe { waiting: false };
        }
    }

    /// What was on its way may be lost.
    pub(crate) fn on_unreachable(&mut self) {
        match &mut self.pace {
            Pace::Probe { .. } => {}
            Pace::Replicate { .. } => {
                self.next_index = self.match_index.next();
                self.pace = Pace::Probe { waiting: true };
            }
            Pace::Snapshot(sending) => sending.on_unreachable(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replicating(next_index: u64) -> Progress {
        let mut progress = Progress::new(Index(next_index), Time(0));
        progress.on_matched(Index(next_index - 1));
        progress
    }

    #[test]
    fn the_window_is_bounded_in_requests_and_bytes_and_freed_by_any_later_answer() {
        let config =
            Config { max_in_flight_appends: 3, max_in_flight_bytes: 100, ..Config::default() };
        let mut progress = replicating(1);
        for last in 1..=3 {
            assert!(progress.may_send(&config));
            progress.sent(Index(last), 1);
        }
        assert!(!progress.may_send(&config), "three requests are out");
        progress.on_matched(Index(2));
        assert!(progress.may_send(&config));
        progress.sent(Index(4), 100);
        assert!(!progress.may_send(&config), "a hundred bytes are out");
        progress.on_matched(Index(4));
        assert!(progress.may_send(&config));
    }

    #[test]
    fn answers_that_come_late_or_twice_move_nothing_back() {
        let mut progress = replicating(5);
        progress.sent(Index(9), 1);
        progress.on_matched(Index(9));
        progress.on_matched(Index(6));
        assert_eq!((progress.match_index, progress.next_index), (Index(9), Index(10)));
        progress.on_conflict(Index(4), Index(2));
        progress.on_conflict(Index(12), Index(2));
        assert_eq!((progress.match_index, progress.next_index), (Index(9), Index(10)));
        assert!(matches!(progress.pace, Pace::Replicate { .. }));
    }

    #[test]
    fn a_conflict_sends_the_leader_back_to_probing_where_the_logs_may_agree() {
        let mut progress = replicating(5);
        progress.sent(Index(9), 1);
        progress.on_conflict(Index(9), Index(6));
        assert_eq!(progress.next_index, Index(7));
        assert!(matches!(progress.pace, Pace::Probe { waiting: false }));
        progress.sent(Index(9), 1);
        progress.on_conflict(Index(9), Index(6));
        assert_eq!(progress.next_index, Index(7), "the same answer again is no news");
    }
}
