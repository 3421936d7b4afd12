//! Laws of reads: what they see, and what they may rely on (diss. §6.4).

use std::sync::Arc;

use actix_raft_core::effect::{Effect, ReadError};
use actix_raft_core::event::{Consistency, Event, ReadId};
use actix_raft_core::membership::Membership;
use actix_raft_core::message::{Message, MessageBody};
use actix_raft_core::status::RoleName;
use actix_raft_core::types::{Index, NodeId, Term, Time};

use super::memory::Asked;
use super::quorums::is_quorum;
use super::{Broken, Laws, Shadow, Step, law};
use crate::coverage::{Coverage, Situation};

impl Laws {
    pub(super) fn read_arrives(&mut self, step: &Step<'_>, id: ReadId, consistency: Consistency) {
        let committed = Index(self.committed.len() as u64);
        let of_leader = step.leads_on();
        let has_lease = consistency == Consistency::Lease && of_leader && self.has_lease(step);
        let asked = Asked { committed, step: self.steps, consistency, of_leader, has_lease };
        self.lives[step.at].reads.insert(id, asked);
    }

    /// A read sees everything that was committed, anywhere, when it arrived (diss. §6.4).
    pub(super) fn read_ready(
        &mut self,
        step: &Step<'_>,
        id: ReadId,
        shadows: &[Shadow],
        coverage: &mut Coverage,
    ) -> Result<(), Broken> {
        let shadow = &shadows[step.at];
        let law = "a read sees all that was committed when it arrived (diss. §6.4)";
        let (before, after) = (&step.before, &step.after);
        let Some(asked) = self.lives[step.at].reads.remove(&id) else {
            law!(false, "a read is answered once", "{} answers read {}", after.id, id.0);
            return Ok(());
        };
        law!(
            shadow.applied >= asked.committed,
            law,
            "{} serves a read at {}, and {} was committed",
            after.id,
            shadow.applied,
            asked.committed
        );
        // It may have left office in this very step, after it answered.
        let led = [before, after].into_iter().find(|status| status.role == RoleName::Leader);
        let led = led.filter(|_| asked.of_leader);
        let Some(led) = led else {
            coverage.note(Situation::FollowerRead);
            return self.confirmed_by_some_leader(step, &asked, shadows);
        };
        let term = led.current_term;
        law!(
            self.knows_commits_of(term, after.commit_index),
            "no read before an entry of the own term is committed (diss. §6.4)",
            "{} serves a read in term {term} with {} committed",
            after.id,
            after.commit_index
        );
        let memberships = self.in_force_since(step.at, asked.step);
        if self.is_confirmed(&memberships, after.id, term, &asked) {
            return Ok(());
        }
        let follows = |id: NodeId| self.follows(id, after.id, term, &asked);
        law!(
            asked.consistency == Consistency::Lease,
            "a majority follows the leader after a read arrived (diss. §6.4)",
            "{} serves a read in term {term} that only {:?} confirmed",
            after.id,
            self.voters_who(follows)
        );
        coverage.note(Situation::LeaseRead);
        law!(
            asked.has_lease,
            "who reads by a lease can't have been replaced (diss. §6.4.1)",
            "{after} read in term {term}, and not enough voters were bound to vote for nobody else"
        );
        Ok(())
    }

    /// A leader knows all that is committed once an entry of its own term is.
    fn knows_commits_of(&self, term: Term, commit_index: Index) -> bool {
        let last = self.committed.get(commit_index.prev().0 as usize);
        last.is_some_and(|entry| entry.term == term)
    }

    fn follows(&self, id: NodeId, leader: NodeId, term: Term, asked: &Asked) -> bool {
        let followed = self.followed.get(&(id, term));
        id == leader || followed.is_some_and(|step| *step > asked.step)
    }

    /// Whether a majority followed the leader of a term after a read arrived.
    fn is_confirmed(
        &self,
        memberships: &[Arc<Membership>],
        leader: NodeId,
        term: Term,
        asked: &Asked,
    ) -> bool {
        let follows = |id: NodeId| self.follows(id, leader, term, asked);
        memberships.iter().any(|membership| is_quorum(membership, follows))
    }

    /// A server that does not lead has asked one that does: whichever it was, a majority followed
    /// that one after the read arrived.
    fn confirmed_by_some_leader(
        &self,
        step: &Step<'_>,
        asked: &Asked,
        shadows: &[Shadow],
    ) -> Result<(), Broken> {
        if asked.consistency == Consistency::Lease {
            return Ok(());
        }
        let memberships: Vec<Arc<Membership>> = shadows
            .iter()
            .flat_map(|shadow| shadow.live.memberships())
            .map(|(_, membership)| Arc::clone(membership))
            .collect();
        let confirmed = self
            .leaders
            .iter()
            .rev()
            .any(|(term, leader)| self.is_confirmed(&memberships, *leader, *term, asked));
        law!(
            confirmed,
            "a majority follows the leader after a read arrived (diss. §6.4)",
            "{} serves a read that no leader can have confirmed",
            step.after
        );
        Ok(())
    }

    /// A leader that reads without asking is followed by a majority who vote for nobody else: "for
    /// the duration of the election timeout" they have heard it (diss. §6.4.1); and it has told
    /// nobody to stand.
    fn has_lease(&self, step: &Step<'_>) -> bool {
        let (leader, term) = (step.after.id, step.after.current_term);
        let is_bound = |id: NodeId| {
            let at = id.0 as usize - 1;
            let (Some(life), Some(config)) = (self.lives.get(at), self.configs.get(at)) else {
                return false;
            };
            let until = |since: Time| since + config.election_timeout;
            let heard = life.heard.is_some_and(|(heard_term, _, since)| {
                heard_term == term && step.clocks[at] < until(since)
            });
            // One that has just started, or is down, votes for nobody yet.
            let starts = life.since.is_none_or(|since| step.clocks[at] < until(since));
            id == leader || heard || starts
        };
        !self.lives[step.at].told_to_stand && self.is_quorum(is_bound)
    }

    /// A leader asks at once whether it still leads ("the leader issues a new round of heartbeats",
    /// diss. §6.4), as soon as it knows what is committed.
    pub(super) fn read_asked(&self, step: &Step<'_>, shadow: &Shadow) -> Result<(), Broken> {
        let Step { before, after, .. } = step;
        let [Event::Read { consistency: Consistency::Linearizable, .. }] = step.events else {
            return Ok(());
        };
        let knows = shadow.live.term_at(before.commit_index) == Some(before.current_term);
        if before.role != RoleName::Leader || !knows {
            return Ok(());
        }
        let asked = |id: NodeId| {
            step.effects.iter().any(|effect| match effect {
                Effect::Send(Message {
                    to, body: MessageBody::AppendEntriesRequest(_), ..
                }) => *to == id,
                _ => false,
            })
        };
        law!(
            self.voters_who(|id| id != after.id && !asked(id)).is_empty(),
            "a leader that is to read asks at once whether it leads (diss. §6.4)",
            "{after} does not ask all"
        );
        Ok(())
    }

    pub(super) fn read_refused(
        &mut self,
        step: &Step<'_>,
        id: ReadId,
        error: ReadError,
    ) -> Result<(), Broken> {
        match error {
            ReadError::NotLeader { leader } => self.names_leader(step, leader)?,
            ReadError::LeaseDisabled => law!(
                self.config(step).lease.is_none(),
                "a lease read is refused where leases are off (diss. §6.4.1)",
                "{} refuses read {}",
                step.after,
                id.0
            ),
        }
        let known = self.lives[step.at].reads.remove(&id).is_some();
        law!(known, "a read is answered once", "{} refuses read {}", step.after.id, id.0);
        Ok(())
    }

    /// Whoever waits for a leader is told when it leaves office.
    pub(super) fn reads_end_with_office(&self, step: &Step<'_>) -> Result<(), Broken> {
        let left = step.before.role == RoleName::Leader && !step.leads_on();
        let told = step.effects.contains(&Effect::LeadershipLost);
        let law = "who waits for a leader is told when it leaves office";
        law!(!left || told, law, "{} left office without a word", step.after.id);
        // What another leader has answered waits for the state machine only.
        let open = self.lives[step.at].reads.values().filter(|asked| asked.of_leader).count();
        law!(!left || open == 0, law, "{} leaves {open} reads waiting", step.after.id);
        Ok(())
    }

    /// Nobody waits for a read for ever.
    pub(crate) fn readers_are_answered(&self, at: usize) -> Result<(), Broken> {
        let open = self.lives[at].reads.len();
        law!(open == 0, "a read is answered once", "server {} owes {open} answers", at + 1);
        Ok(())
    }
}
