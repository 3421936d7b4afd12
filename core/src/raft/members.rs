//! Changes of the members, by joint consensus (§6).

use super::{Raft, Role};
use crate::admin::{ChangeAnswer, ChangeError, MemberChange, RequestId};
use crate::effect::Effect;
use crate::leader::change::ChangeRequest;
use crate::types::Index;

impl Raft {
    pub(super) fn on_change_members(
        &mut self,
        id: RequestId,
        changes: Vec<MemberChange>,
        expected: Option<Index>,
        answer: ChangeAnswer,
    ) {
        if let Role::Leader(leader) = &mut self.role {
            return leader.change_members(ChangeRequest { id, changes, expected, answer });
        }
        let result = Err(ChangeError::NotLeader { leader: self.leader() });
        self.node.effect(Effect::MembersChanged { id, result });
    }
}
