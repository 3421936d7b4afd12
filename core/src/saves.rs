//! Trouble with this server's disk: it hangs, which is told by the age of the oldest save under way;
//! or it is full.

use core::time::Duration;
use std::collections::VecDeque;
use std::hash::{Hash, Hasher};

use crate::entry::{Entry, EntryPayload};
use crate::mutants::{Mutant, is_planted};
use crate::node::Node;
use crate::stored::SaveId;
use crate::types::Time;

/// When each save that is not known to be on disk was asked for, the oldest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Saves {
    begun: VecDeque<(SaveId, Time)>,
}

impl Saves {
    pub(crate) fn begun(&mut self, id: SaveId, now: Time) {
        self.begun.push_back((id, now));
    }

    /// This save and all before it are on disk.
    pub(crate) fn done(&mut self, id: SaveId) {
        while self.begun.pop_front_if(|(save, _)| *save <= id).is_some() {}
    }

    /// When the oldest was asked for.
    pub(crate) fn oldest(&self) -> Option<Time> {
        self.begun.front().map(|(_, begun)| *begun)
    }

    /// Hashes the saves by how long before the last save of all they were asked for.
    pub(crate) fn hash_since<H: Hasher>(&self, last_save: SaveId, state: &mut H) {
        self.begun.len().hash(state);
        for (id, begun) in &self.begun {
            (last_save.0.abs_diff(id.0), begun).hash(state);
        }
    }
}

impl Node {
    /// How long this server's disk has been busy with the oldest save.
    pub(crate) fn disk_busy_for(&self) -> Duration {
        self.saves.oldest().map_or(Duration::ZERO, |begun| self.now.since(begun))
    }

    /// Whether the disk has been busy with one save for so long that this server is no use as a
    /// leader: it could do nothing that needs its own disk, and its followers would wait for it.
    pub(crate) fn disk_hangs(&self) -> bool {
        self.saves.oldest().is_some()
            && self.disk_busy_for() >= self.config.election_timeout
            && !is_planted(Mutant::HungLeaderStays)
    }

    /// How many of these entries, from the first on, this server's disk has room for. What is left of
    /// a full one is kept for what gets the cluster going: a new leader's first entry, and changes
    /// of the members.
    pub(crate) fn count_that_fit(&self, entries: &[Entry]) -> usize {
        let is_small = |entry: &&Entry| match &entry.payload {
            EntryPayload::Blank | EntryPayload::ConfigChange(_) => true,
            EntryPayload::Normal(_) => !self.disk_is_full,
        };
        entries.iter().take_while(is_small).count()
    }

    /// When this server gives its disk up, as a leader that others could replace.
    pub(crate) fn disk_deadline(&self) -> Option<Time> {
        let replaceable = !self.other_voters().is_empty() && !is_planted(Mutant::HungLeaderStays);
        let oldest = self.saves.oldest().filter(|_| replaceable)?;
        Some(oldest + self.config.election_timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_the_first_that_is_not_done() {
        let mut saves = Saves::default();
        assert_eq!(saves.oldest(), None);
        for (id, begun) in [(1, 10), (2, 20), (3, 30)] {
            saves.begun(SaveId(id), Time(begun));
        }
        assert_eq!(saves.oldest(), Some(Time(10)));
        saves.done(SaveId(2));
        assert_eq!(saves.oldest(), Some(Time(30)));
        saves.done(SaveId(3));
        assert_eq!(saves.oldest(), None);
    }
}
