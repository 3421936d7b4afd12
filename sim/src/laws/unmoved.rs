//! The law of what no correct server says: it is reported, and changes nothing.

use actix_raft_core::effect::Effect;
use actix_raft_core::message::Message;
use actix_raft_core::status::Status;
use actix_raft_core::types::Time;

use super::{Broken, law};

/// A server before and after a message that no correct server says, and what it did.
pub(crate) struct Unmoved<'a> {
    pub(crate) before: (Status, Option<Time>),
    pub(crate) after: (Status, Option<Time>),
    pub(crate) effects: &'a [Effect],
}

impl Unmoved<'_> {
    /// Such a message "was dropped and changed nothing" ([`Effect::Violation`]), not even the term.
    pub(crate) fn check(&self, message: &Message) -> Result<(), Broken> {
        let Unmoved { before, after, effects } = self;
        let reported = matches!(effects, [Effect::Violation { from, .. }] if *from == message.from);
        law!(
            reported && before == after,
            "what no correct server says is reported, and changes nothing",
            "{} became {} by {}, from {} for {}, and did {effects:?}",
            before.0,
            after.0,
            message.body,
            message.from,
            message.to
        );
        Ok(())
    }
}
