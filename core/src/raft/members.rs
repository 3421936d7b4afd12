//! Changes of the members, by joint consensus (§6).

use super::Raft;
use crate::admin::{ChangeAnswer, ChangeError, MemberChange, RequestId};
use crate::effect::Effect;
use crate::types::Index;

impl Raft {
    pub(super) fn on_change_members(
        &mut self,
        id: RequestId,
        _changes: &[MemberChange],
        _expected: Option<Index>,
        _answer: ChangeAnswer,
    ) {
        let result = Err(ChangeError::NotLeader { leader: self.leader() });
        self.node.effect(Effect::MembersChanged { id, result });
    }
}
