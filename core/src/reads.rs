//! Linearizable reads without log entries: ReadIndex (diss. §6.4).
//!
//! ```text
//!   arrived --begin_round--> (round, read_index) --a majority confirms the round--> confirmed
//!                                                  --last_applied >= read_index--> ready
//! ```

use std::collections::VecDeque;

use crate::event::ReadId;
use crate::mutants::{Mutant, is_planted};
use crate::types::Index;

/// The reads that a leader has not answered, the oldest first.
#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct Reads {
    arrived: Vec<ReadId>,
    waiting: VecDeque<Waiting>,
}

#[derive(Clone, Debug, Hash)]
struct Waiting {
    id: ReadId,
    round: u64,
    read_index: Index,
}

impl Reads {
    pub(crate) fn arrived(&mut self, id: ReadId) {
        self.arrived.push(id);
    }

    /// Puts the reads that have arrived into this round, which begins now: a majority that answers
    /// it followed this leader after they arrived. Returns whether there were any.
    pub(crate) fn begin_round(&mut self, round: u64, read_index: Index) -> bool {
        let arrived = std::mem::take(&mut self.arrived);
        let any = !arrived.is_empty();
        self.waiting.extend(arrived.into_iter().map(|id| Waiting { id, round, read_index }));
        any
    }

    /// The reads whose round is confirmed and whose read index is applied.
    pub(crate) fn ready(&mut self, confirmed: u64, last_applied: Index) -> Vec<ReadId> {
        let is_ready = |read: &mut Waiting| {
            let is_applied = read.read_index <= last_applied;
            read.round <= confirmed && (is_applied || is_planted(Mutant::ReadBeforeApplied))
        };
        std::iter::from_fn(|| self.waiting.pop_front_if(is_ready)).map(|read| read.id).collect()
    }

    /// All reads, answered by nobody now.
    pub(crate) fn drain(&mut self) -> Vec<ReadId> {
        let waiting = std::mem::take(&mut self.waiting);
        waiting.into_iter().map(|read| read.id).chain(std::mem::take(&mut self.arrived)).collect()
    }
}
