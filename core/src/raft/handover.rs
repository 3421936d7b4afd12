//! Handing leadership over, and elections on demand (diss. §3.10).

use super::Raft;
use crate::admin::{ElectionError, RequestId, TransferError};
use crate::effect::Effect;
use crate::message::TimeoutNowRequest;
use crate::types::NodeId;

impl Raft {
    pub(super) fn on_transfer_leadership(&mut self, id: RequestId, _to: Option<NodeId>) {
        let result = Err(TransferError::NotLeader { leader: self.leader() });
        self.node.effect(Effect::Transferred { id, result });
    }

    pub(super) fn on_trigger_election(&mut self, id: RequestId) {
        let result = Err(ElectionError::NotAVoter);
        self.node.effect(Effect::ElectionTriggered { id, result });
    }

    pub(super) fn on_timeout_now(&mut self, _from: NodeId, _request: TimeoutNowRequest) {}
}
