//! The reads of a node that are not answered.

use std::mem::take;

use actix_raft_core::event::{Consistency, Event, ReadId};

use crate::gate::Permit;
use crate::messages::ClientError;
use crate::requests::{Filed, ReplyTo, reply};

type ReadResult = Result<(), ClientError>;

/// All of them: one question to the core for those that arrived together and ask for the same.
#[derive(Default)]
pub(crate) struct Reads {
    pub(crate) linearizable: ArrivedReads,
    pub(crate) lease: ArrivedReads,
    next: u64,
    asked: Vec<Batch>,
}

/// Reads since the last step.
#[derive(Default)]
pub(crate) struct ArrivedReads {
    pub(crate) permits: Vec<Permit>,
    pub(crate) replies: Filed<ReadResult>,
}

struct Batch {
    id: ReadId,
    replies: Vec<ReplyTo<ReadResult>>,
    _permits: Vec<Permit>,
}

impl Reads {
    /// What is asked of the core in this step.
    pub(crate) fn take(&mut self) -> Vec<Event> {
        let linearizable = self.linearizable.take();
        let lease = self.lease.take();
        let mut events = Vec::new();
        for (consistency, (replies, permits)) in
            [(Consistency::Linearizable, linearizable), (Consistency::Lease, lease)]
        {
            if replies.is_empty() {
                continue;
            }
            self.next += 1;
            let id = ReadId(self.next);
            self.asked.push(Batch { id, replies, _permits: permits });
            events.push(Event::Read { id, consistency });
        }
        events
    }

    pub(crate) fn answer(&mut self, id: ReadId, answer: &ReadResult) {
        // Reads are answered nearly in order, so the one looked for is among the first.
        if let Some(place) = self.asked.iter().position(|batch| batch.id == id) {
            let batch = self.asked.remove(place);
            batch.replies.into_iter().for_each(|to| reply(to, answer.clone()));
        }
    }

    /// Answers all of them.
    pub(crate) fn refuse_all(&mut self, error: &ClientError) {
        let asked = take(&mut self.asked).into_iter().flat_map(|batch| batch.replies);
        let arrived = self.linearizable.take().0.into_iter().chain(self.lease.take().0);
        asked.chain(arrived).for_each(|to| reply(to, Err(error.clone())));
    }
}

impl ArrivedReads {
    fn take(&mut self) -> (Vec<ReplyTo<ReadResult>>, Vec<Permit>) {
        (self.replies.take(), take(&mut self.permits))
    }
}
