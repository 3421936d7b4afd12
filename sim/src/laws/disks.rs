//! Laws of servers that lose their disks, and with these what they promised.

use std::collections::BTreeSet;

use actix_raft_core::entry::Entry;
use actix_raft_core::message::VoteResponse;
use actix_raft_core::types::NodeId;

use super::{Broken, Laws, Shadow, Step, law};
use crate::image::Image;

const LOST_LAW: &str = "who lost its disk has no part in any decision before it is trusted again";

/// What was on a disk that was lost.
#[derive(Debug)]
pub(crate) struct Lost {
    pub(crate) image: Image,
    /// The number of the step before it was lost.
    step: u64,
}

impl Laws {
    /// A server's disk is gone.
    pub(crate) fn loses_disk(&mut self, at: usize, shadow: &mut Shadow) {
        let image = std::mem::take(&mut shadow.durable);
        shadow.live = Image::default();
        shadow.snapshot = None;
        shadow.lost = Some(Lost { image, step: self.steps });
        self.wiped.insert(shadow.id);
        self.crashed(at);
    }

    pub(crate) fn was_wiped(&self) -> &BTreeSet<NodeId> {
        &self.wiped
    }

    /// Whether a disk holds an entry that is to be committed. One that came in the place of another
    /// counts once it has something that was proposed after that one was lost: until then what is
    /// on the lost one counts, of which a leader may have heard.
    pub(super) fn counts_for(&self, shadow: &Shadow, entry: &Entry) -> bool {
        match &shadow.lost {
            Some(lost) if lost.image.holds(entry) => true,
            Some(lost) => shadow.durable.holds(entry) && self.is_later(&shadow.durable, lost),
            None => shadow.durable.holds(entry),
        }
    }

    /// Whether a log ends with an entry that there was nowhere when a disk was lost.
    fn is_later(&self, log: &Image, lost: &Lost) -> bool {
        let last = log.last();
        let places = self.entries.get(last.index.prev().0 as usize);
        let known = places.and_then(|all| all.iter().find(|known| known.entry.term == last.term));
        known.is_some_and(|known| known.since > lost.step)
    }

    /// A server's disk says that it may vote: then it has all that it may have promised before.
    pub(crate) fn is_trusted(&mut self, shadow: &mut Shadow) -> Result<(), Broken> {
        let Some(lost) = shadow.lost.as_ref().filter(|_| shadow.durable.hard_state.trusted) else {
            return Ok(());
        };
        let lacks = |entry: &&Entry| lost.image.holds(entry) && !shadow.durable.holds(entry);
        let missing = self.committed.iter().find(lacks).map(Entry::position);
        law!(
            missing.is_none() && self.is_later(&shadow.durable, lost),
            "who lost its disk is trusted when it has what it may have acknowledged",
            "{} is trusted with a log that ends at {}, and lacks {missing:?}",
            shadow.id,
            shadow.durable.last()
        );
        shadow.lost = None;
        // Of a later term a candidate that it voted for can have been elected by nobody: it lacks what
        // was proposed since.
        let term = shadow.durable.hard_state.current_term;
        self.votes.retain(|(id, of), _| *id != shadow.id || *of <= term);
        Ok(())
    }

    /// Who has forgotten its votes gives none.
    pub(super) fn forgets_no_vote(
        &self,
        response: &VoteResponse,
        shadow: &Shadow,
    ) -> Result<(), Broken> {
        law!(
            !response.vote_granted || shadow.lost.is_none(),
            LOST_LAW,
            "{} gives its vote in term {}",
            shadow.id,
            response.term
        );
        Ok(())
    }

    pub(super) fn leads_with_memory(&self, step: &Step<'_>, shadow: &Shadow) -> Result<(), Broken> {
        law!(shadow.lost.is_none(), LOST_LAW, "{} leads", step.after);
        Ok(())
    }
}
