//! Trouble with this server's own disk.

use super::{Raft, Role};
use crate::status::NotStanding;

impl Raft {
    /// Whether this leader's disk hangs, and others could lead.
    pub(super) fn gives_its_disk_up(&self) -> bool {
        self.node.disk_deadline().is_some_and(|deadline| self.node.now >= deadline)
    }

    /// A leader whose disk hangs would hold up the whole cluster: it could commit nothing that its
    /// own disk is needed for, apply nothing, and answer nobody, and would be followed all the same.
    pub(super) fn give_way(&mut self) {
        if let Role::Leader(leader) = &mut self.role {
            leader.hand_over_at_once(&mut self.node);
        }
        self.become_follower(None);
    }

    /// This server's patience has ended, and it can't stand: it waits once more, for a leader or for
    /// better days.
    pub(super) fn wait_again(&mut self, obstacle: NotStanding) {
        // The leader that it hears no more may still be the one that the snapshot comes from.
        if obstacle != NotStanding::InstallingSnapshot {
            self.become_follower(None);
        }
        if let Role::Follower(follower) = &mut self.role {
            follower.deadline = self.node.patience();
        }
    }
}
