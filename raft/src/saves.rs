//! Which saves are on disk.

use std::collections::BTreeSet;

use actix_raft_core::stored::SaveId;

/// Counts the saves that are answered with all before them: answers come in order, but are not
/// looked at in order, and one that failed must not be passed over.
#[derive(Default)]
pub(crate) struct Saves {
    last: SaveId,
    ahead: BTreeSet<SaveId>,
}

impl Saves {
    /// This save was answered: returns the last one that is on disk with all before it, if that is
    /// another now.
    pub(crate) fn saved(&mut self, id: SaveId) -> Option<SaveId> {
        self.ahead.insert(id);
        let before = self.last;
        while self.ahead.remove(&SaveId(self.last.0 + 1)) {
            self.last.0 += 1;
        }
        (self.last > before).then_some(self.last)
    }
}
