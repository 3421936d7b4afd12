//! What an operator asks of servers in a script.

use std::error::Error;

use actix_raft_core::admin::{ChangeAnswer, MemberChange};
use actix_raft_core::event::Event;
use actix_raft_core::membership::Address;
use actix_raft_core::types::{Index, NodeId};

use super::setup::numbers;
use super::{Command, Done, Script, broken};

impl Script {
    pub(super) fn order(&mut self, command: &Command) -> Done {
        match command {
            Command::Change { server, expected, .. } => {
                let changes = changes(command)?;
                let (at, expected) = (self.at(*server)?, expected.map(Index));
                let answer = ChangeAnswer::Final;
                let ask = |id| Event::ChangeMembers { id, changes, expected, answer };
                self.world()?.order_by_hand(at, ask).map_err(broken)
            }
            Command::Transfer { server, to } => {
                let (at, to) = (self.at(*server)?, to.map(NodeId));
                let ask = |id| Event::TransferLeadership { id, to };
                self.world()?.order_by_hand(at, ask).map_err(broken)
            }
            Command::Elect(server) => {
                let at = self.at(*server)?;
                let ask = |id| Event::TriggerElection { id };
                self.world()?.order_by_hand(at, ask).map_err(broken)
            }
            Command::Snapshot(server) => {
                let at = self.at(*server)?;
                let ask = |id| Event::TriggerSnapshot { id };
                self.world()?.order_by_hand(at, ask).map_err(broken)
            }
            Command::Purge { server, until } => {
                let (at, until) = (self.at(*server)?, until.map(Index));
                let ask = |id| Event::PurgeLog { id, until };
                self.world()?.order_by_hand(at, ask).map_err(broken)
            }
            Command::Wipe(server) => {
                let at = self.at(*server)?;
                self.world()?.wipe_by_hand(at).map_err(broken)
            }
            _ => Ok(()),
        }
    }
}

fn changes(command: &Command) -> Result<Vec<MemberChange>, Box<dyn Error>> {
    let Command::Change { add, watch, promote, demote, remove, relocate, .. } = command else {
        return Ok(Vec::new());
    };
    let address = |id: NodeId| Address::new(format!("server-{id}"), "");
    let elsewhere = |id: NodeId| Address::new(format!("server-{id}-moved"), "");
    let mut changes = Vec::new();
    let mut all = |ids: &Option<String>, change: &dyn Fn(NodeId) -> MemberChange| {
        let ids = numbers(ids.as_deref().unwrap_or_default())?;
        changes.extend(ids.into_iter().map(|id| change(NodeId(id))));
        Ok::<(), Box<dyn Error>>(())
    };
    all(add, &|id| MemberChange::AddVoter(id, address(id)))?;
    all(watch, &|id| MemberChange::AddNonVoter(id, address(id)))?;
    all(promote, &MemberChange::Promote)?;
    all(demote, &MemberChange::Demote)?;
    all(remove, &MemberChange::Remove)?;
    all(relocate, &|id| MemberChange::Move(id, elsewhere(id)))?;
    Ok(changes)
}
