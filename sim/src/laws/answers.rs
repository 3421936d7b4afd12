//! Laws of what a server answers to those who use it, at once.

use actix_raft_core::effect::{InitializeError, ProposeError};
use actix_raft_core::event::Event;
use actix_raft_core::membership::Membership;
use actix_raft_core::status::RoleName;
use actix_raft_core::types::{Index, NodeId};

use super::{Broken, Laws, Shadow, Step, law, quorums};

const HINT_LAW: &str = "who is refused is told of the leader that is known (§8)";

impl Laws {
    /// A proposal is taken by a leader that has room for it, and by nobody else.
    pub(super) fn proposed(
        &self,
        step: &Step<'_>,
        result: Result<Index, ProposeError>,
        shadow: &Shadow,
    ) -> Result<(), Broken> {
        let [Event::Propose { .. }] = step.events else { return Ok(()) };
        let before = &step.before;
        let leads = before.role == RoleName::Leader;
        let law = "a leader takes what clients propose, and nobody else (§5.3)";
        match result {
            Ok(_) => {
                law!(leads, law, "{before} takes a proposal");
                law!(
                    before.transferring_to.is_none(),
                    "who hands over takes no proposals (diss. §3.10)",
                    "{before} takes one"
                );
                let law = "a leader without room takes no proposals";
                law!(!before.disk_is_full, law, "{before} takes one");
            }
            Err(ProposeError::NotLeader { leader }) => {
                law!(!leads, law, "{before} refuses a proposal");
                law!(leader == before.leader, HINT_LAW, "{before} names {leader:?}");
                return Ok(());
            }
            Err(ProposeError::Overloaded) => {
                let all = before.commit_index == before.last_log.index;
                law!(leads && !all, law, "{before} has committed all, and is overloaded");
                return Ok(());
            }
            Err(ProposeError::Transferring { to }) => {
                let hands_over = leads && before.transferring_to == Some(to);
                law!(hands_over, law, "{before} refuses a proposal: it hands over to {to}");
                return Ok(());
            }
            Err(ProposeError::DiskFull) => {
                let is_full = leads && before.disk_is_full;
                law!(is_full, law, "{before} refuses a proposal: its disk is full");
                return Ok(());
            }
        }
        let waiting = shadow.live.range(before.commit_index, before.last_log.index);
        let own = waiting.iter().filter(|entry| entry.term == before.current_term);
        let (bytes, limit) = (
            own.map(|entry| entry.weight()).sum::<usize>(),
            self.config(step).max_uncommitted_bytes,
        );
        law!(
            bytes <= limit,
            "what waits to be committed is bounded",
            "{before} takes more, and {bytes} bytes wait"
        );
        Ok(())
    }

    pub(super) fn names_leader(
        &self,
        step: &Step<'_>,
        leader: Option<NodeId>,
    ) -> Result<(), Broken> {
        let Step { before, after, .. } = step;
        if let [Event::Read { .. }] = step.events {
            law!(leader == before.leader, HINT_LAW, "{before} names {leader:?}");
        }
        law!(
            leader != Some(after.id) || after.role == RoleName::Leader,
            HINT_LAW,
            "{after} names itself"
        );
        Ok(())
    }

    /// Who forms a cluster is answered.
    pub(crate) fn formers_are_answered(&self, at: usize) -> Result<(), Broken> {
        let life = &self.lives[at];
        law!(
            life.forms.is_empty() || life.unsaved.is_some(),
            "who forms a cluster is answered",
            "on server {}, {:?} were due",
            at + 1,
            life.forms
        );
        Ok(())
    }

    /// Notes what someone who forms a cluster must be answered.
    pub(super) fn forms(&mut self, step: &Step<'_>, membership: &Membership, shadow: &Shadow) {
        let voter = quorums::voters(membership).contains(&shadow.id);
        let life = &mut self.lives[step.at];
        let again = !shadow.live.stored().is_pristine() || !life.forms.is_empty();
        let expected = match (again, voter) {
            (true, _) => Err(InitializeError::AlreadyInitialized),
            (false, true) => Ok(()),
            (false, false) => Err(InitializeError::NotAVoter),
        };
        life.forms.push_back(expected);
    }

    /// A cluster is formed once, by a voter, and is told of when that is on disk.
    pub(super) fn formed(
        &mut self,
        step: &Step<'_>,
        result: Result<(), InitializeError>,
        shadow: &Shadow,
    ) -> Result<(), Broken> {
        let expected = self.lives[step.at].forms.pop_front();
        law!(
            expected == Some(result),
            "a cluster is formed once, by its voters (§6)",
            "{} answers {result:?}, and {expected:?} was due",
            step.after
        );
        law!(
            result.is_err() || shadow.durable.membership().is_some(),
            "a cluster is on disk before it is formed (Figure 2)",
            "{} has {:?}",
            step.after,
            shadow.durable.base()
        );
        Ok(())
    }
}
