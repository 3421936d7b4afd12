//! Linearizable reads, on the leader and elsewhere (diss. §6.4).

use super::{Raft, Role};
use crate::effect::{Effect, ReadError};
use crate::event::{Consistency, ReadId};
use crate::message::{ReadIndexRequest, ReadIndexResponse};
use crate::types::NodeId;

impl Raft {
    pub(super) fn on_read(&mut self, id: ReadId, _consistency: Consistency) {
        match &mut self.role {
            Role::Leader(leader) => leader.read(id),
            _ => {
                let error = ReadError::NotLeader { leader: self.leader() };
                self.node.effect(Effect::ReadRefused { id, error });
            }
        }
    }

    pub(super) fn on_read_index(&mut self, _from: NodeId, _request: ReadIndexRequest) {}

    pub(super) fn on_read_index_response(&mut self, _from: NodeId, _response: ReadIndexResponse) {}
}
