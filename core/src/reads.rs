//! Linearizable reads without log entries, at the leader: ReadIndex (diss. §6.4).
//!
//! ```text
//!   arrived --begin_round--> (round, read_index) --a majority confirms the round--> confirmed
//!   by a lease (diss. §6.4.1) ------------------------------------------------------> confirmed
//!       a read of this server: confirmed --last_applied >= read_index--> ready
//!       another server's question: confirmed --> answered; that server applies and serves
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::event::ReadId;
use crate::mutants::{Mutant, is_planted};
use crate::types::{Index, NodeId};

/// How many questions of one peer are remembered at once. A correct one asks again later.
pub(crate) const MAX_QUESTIONS: usize = 32;

/// The reads that a leader has not answered, the oldest first.
#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct Reads {
    arrived: Vec<Reader>,
    in_round: VecDeque<InRound>,
    confirmed: VecDeque<(Index, ReadId)>,
    /// The questions of peers among these, each once however often it was asked.
    asked: BTreeMap<NodeId, BTreeSet<u64>>,
}

/// Who waits for a read index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Reader {
    /// A read at this server.
    Here(ReadId),
    /// Another server's question.
    Peer(Question),
}

/// A question of another server that was asked for reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Question {
    pub(crate) from: NodeId,
    pub(crate) id: u64,
}

#[derive(Clone, Debug, Hash)]
struct InRound {
    reader: Reader,
    round: u64,
    read_index: Index,
}

impl Reads {
    pub(crate) fn arrived(&mut self, id: ReadId) {
        self.arrived.push(Reader::Here(id));
    }

    /// A peer asks. It is answered once, also if it asked twice meanwhile.
    pub(crate) fn asked(&mut self, question: Question) {
        let asked = self.asked.entry(question.from).or_default();
        if asked.len() < MAX_QUESTIONS && asked.insert(question.id) {
            self.arrived.push(Reader::Peer(question));
        }
    }

    /// A read that needs no round.
    pub(crate) fn confirmed(&mut self, id: ReadId, read_index: Index) {
        self.confirmed.push_back((read_index, id));
    }

    /// Puts the reads that have arrived into this round, which begins now: a majority that answers
    /// it followed this leader after they arrived. Returns whether there were any.
    pub(crate) fn begin_round(&mut self, round: u64, read_index: Index) -> bool {
        let arrived = std::mem::take(&mut self.arrived);
        let any = !arrived.is_empty();
        let in_round = |reader| InRound { reader, round, read_index };
        self.in_round.extend(arrived.into_iter().map(in_round));
        any
    }

    /// A majority has confirmed this round: returns the peers' questions that are answered by it.
    pub(crate) fn confirm(&mut self, round: u64) -> Vec<(Question, Index)> {
        let mut answers = Vec::new();
        while let Some(read) = self.in_round.pop_front_if(|read| read.round <= round) {
            match read.reader {
                Reader::Here(id) => self.confirmed.push_back((read.read_index, id)),
                Reader::Peer(question) => {
                    self.forget(question);
                    answers.push((question, read.read_index));
                }
            }
        }
        answers
    }

    fn forget(&mut self, question: Question) {
        if let Some(asked) = self.asked.get_mut(&question.from) {
            asked.remove(&question.id);
            if asked.is_empty() {
                self.asked.remove(&question.from);
            }
        }
    }

    /// The reads of this server that are confirmed and whose read index is applied.
    pub(crate) fn ready(&mut self, last_applied: Index) -> Vec<ReadId> {
        let is_ready = |(read_index, _): &mut (Index, ReadId)| {
            *read_index <= last_applied || is_planted(Mutant::ReadBeforeApplied)
        };
        std::iter::from_fn(|| self.confirmed.pop_front_if(is_ready)).map(|(_, id)| id).collect()
    }

    /// All of them, answered by nobody now.
    pub(crate) fn drain(&mut self) -> Vec<Reader> {
        let Reads { arrived, in_round, confirmed, .. } = std::mem::take(self);
        let confirmed = confirmed.into_iter().map(|(_, id)| Reader::Here(id));
        confirmed.chain(in_round.into_iter().map(|read| read.reader)).chain(arrived).collect()
    }
}
