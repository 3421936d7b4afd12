//! Laws of roles: who leads, and with which log.

use actix_raft_core::status::{RoleName, Status};

use super::memory::LeaderLog;
use super::{Broken, Laws, Shadow, Step, law, quorums};
use crate::coverage::{Coverage, Situation};

impl Laws {
    /// Election Safety and Leader Completeness (Figure 3).
    pub(super) fn role(
        &mut self,
        step: &Step<'_>,
        shadow: &Shadow,
        coverage: &mut Coverage,
    ) -> Result<(), Broken> {
        let Step { before, after, .. } = step;
        let term = after.current_term;
        if let Some(leader) = after.leader.filter(|leader| *leader != after.id) {
            let known = self.leaders.get(&term);
            law!(
                known == Some(&leader),
                "a leader is known by its messages (§5.2)",
                "{} takes {leader} for the leader of term {term}, and that is {known:?}",
                after.id
            );
        }
        if after.role != RoleName::Leader {
            let is_candidate = |status: &Status| status.role == RoleName::Candidate;
            if is_candidate(before) && before.current_term == term && !is_candidate(after) {
                let yields = after.leader.is_some();
                let situation =
                    if yields { Situation::CandidateYields } else { Situation::ElectionLost };
                coverage.note(situation);
            }
            return Ok(());
        }
        if step.leads_on() {
            if let Some(log) = self.leader_logs.get_mut(&term) {
                log.last = shadow.live.last().index;
            }
            return Ok(());
        }
        coverage.note(Situation::LeaderElected);
        let life = &mut self.lives[step.at];
        life.leads_since = step.now;
        life.told_to_stand = false;
        life.contacts.clear();
        life.in_flight.clear();
        life.spoken.clear();
        life.matched.clear();
        life.asked.clear();
        life.received.clear();
        life.sent_bytes.clear();
        life.pieces.clear();
        let other = *self.leaders.entry(term).or_insert(after.id);
        law!(
            other == after.id,
            "Election Safety (Figure 3)",
            "{other} and {} lead in term {term}",
            after.id
        );
        law!(
            quorums::may_stand(shadow, before.commit_index),
            "only voters lead (§6)",
            "{} leads",
            after.id
        );
        self.leads_with_memory(step, shadow)?;
        let durable = shadow.durable.hard_state;
        law!(
            (durable.current_term, durable.voted_for) == (term, Some(after.id)),
            "an own vote counts when it is on disk",
            "{} leads in term {term}, and has {durable:?} on disk",
            after.id
        );
        for (entry, in_term) in self.committed.iter().zip(&self.committed_in) {
            law!(
                *in_term >= term || shadow.live.holds(entry),
                "Leader Completeness (Figure 3)",
                "the leader of term {term}, {}, lacks {}, committed in term {in_term}",
                after.id,
                entry.position()
            );
        }
        let last = shadow.live.last();
        law!(
            last.term == term,
            "a new leader appends an entry of its term (§8)",
            "the log of {} ends at {last} in term {term}",
            after.id
        );
        let term_starts = shadow.live.stored().term_starts;
        self.leader_logs.insert(
            term,
            LeaderLog { purged: shadow.live.purged(), term_starts, last: last.index },
        );
        Ok(())
    }
}
