//! How long a leader may take for granted that it still leads (diss. §6.4.1).
//!
//! ```text
//!   round sent                        a majority's answers            read
//!   ----|-------------------------------------|-----------------------|--------> the leader's clock
//!       |<---------------- Lease::length ---------------------------->|
//!            |<------------------ election_timeout ------------------------>|   a follower's clock
//!         round heard: no vote for anybody else until then
//! ```
//!
//! A follower that heard the round votes for nobody else for an election timeout (diss. §4.2.3;
//! also through a restart and into a later term: see `Node::promise_to_leader`). It heard the round
//! after it was sent, so the leader counts from there, and not from when it hears the answer.

use std::collections::VecDeque;

use crate::mutants::{Mutant, is_planted};
use crate::node::Node;
use crate::types::Time;

/// Rounds that follow each other faster than this fraction of an election timeout count as begun
/// with the first of them, so that few are remembered however many reads arrive.
const GRAIN: u32 = 64;

/// When rounds were sent; those of which too little is left are forgotten.
#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct LeaseRounds {
    sent: VecDeque<(u64, Time)>,
    /// Whether there will be no lease any more in this leader's term.
    ended: bool,
}

impl LeaseRounds {
    /// A round begins now.
    pub(crate) fn begin(&mut self, node: &Node, round: u64) {
        let Some(length) = node.lease_length() else {
            return self.sent.clear();
        };
        let expired = |(_, sent): &mut (u64, Time)| node.now.since(*sent) >= 2 * length;
        while self.sent.pop_front_if(expired).is_some() {}
        let grain = node.config.election_timeout / GRAIN;
        if self.sent.back().is_none_or(|(_, sent)| node.now.since(*sent) >= grain) {
            self.sent.push_back((round, node.now));
        }
    }

    /// When a majority is known to have followed this leader, if it has confirmed this round.
    pub(crate) fn followed_at(&self, confirmed: u64) -> Option<Time> {
        self.sent.iter().rev().find(|(round, _)| *round <= confirmed).map(|(_, sent)| *sent)
    }

    /// When a round began last: a planted bug takes it for now.
    pub(crate) fn last_begun(&self) -> Time {
        self.sent.back().map_or(Time::default(), |(_, sent)| *sent)
    }

    /// Another server was told to stand for election, and others to vote for it although they hear
    /// this leader. Whatever becomes of it: the message may arrive much later, and twice.
    pub(crate) fn end(&mut self) {
        self.ended = !is_planted(Mutant::LeaseDuringTransfer);
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }
}
