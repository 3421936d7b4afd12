//! Numbers that an operator turns while the server runs.

use super::{Raft, Role};
use crate::config::Config;

impl Raft {
    /// The new numbers hold from now on. Deadlines that were made of the old ones are made anew.
    pub(super) fn on_configure(&mut self, config: Config) {
        let patience =
            |config: &Config| (config.election_timeout, config.election_priority, config.elections);
        let old = std::mem::replace(&mut self.node.config, config);
        let same = patience(&old) == patience(&self.node.config);
        match &mut self.role {
            Role::Follower(follower) if !same => follower.deadline = self.node.patience(),
            Role::PreCandidate(candidate) | Role::Candidate(candidate) if !same => {
                candidate.deadline = self.node.election_deadline();
            }
            Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) => {}
            Role::Leader(leader) => leader.on_configure(&self.node),
        }
    }
}
