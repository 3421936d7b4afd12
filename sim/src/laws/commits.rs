//! Laws of commits, of applied entries, and of reads.

use actix_raft_core::effect::{Effect, ReadError};
use actix_raft_core::entry::Entry;
use actix_raft_core::event::{Event, ReadId};
use actix_raft_core::message::{Message, MessageBody};
use actix_raft_core::status::RoleName;
use actix_raft_core::types::{Index, NodeId};

use super::{Broken, Laws, Shadow, Step, law};
use crate::coverage::{Coverage, Situation};

impl Laws {
    /// A commit is on the disks of a majority when it is announced, crashed servers' disks included,
    /// and is never another entry than was announced before.
    pub(super) fn commit(
        &mut self,
        step: &Step<'_>,
        index: Index,
        shadows: &[Shadow],
        coverage: &mut Coverage,
    ) -> Result<(), Broken> {
        let shadow = &shadows[step.at];
        let log = &shadow.live;
        law!(index <= log.last().index, "only entries in the log are committed", "{index}");
        let first = step.before.commit_index.next();
        for entry in log.range(step.before.commit_index, index) {
            let known = self.committed.get(entry.index.prev().0 as usize);
            law!(
                known.is_none_or(|known| known == entry),
                "what is committed never changes (Figure 3)",
                "{} announces {}, and {:?} was committed there",
                shadow.id,
                entry.position(),
                known.map(Entry::position)
            );
        }
        let term = step.after.current_term;
        if step.leads_on() {
            law!(
                log.term_at(index) == Some(term),
                "only entries of the own term are committed by counting (§5.4.2)",
                "the leader of term {term} commits {index} of term {:?}",
                log.term_at(index)
            );
            let older = log.term_at(first) != Some(term) && first <= index;
            if older {
                coverage.note(Situation::OldTermCommitted);
            }
        } else if is_heartbeat(step) {
            coverage.note(Situation::CommitLearntLate);
        }
        for entry in log.range(Index(self.committed.len() as u64), index) {
            law!(
                step.before.role == RoleName::Leader || step.after.role == RoleName::Leader,
                "a leader commits first (§5.3)",
                "{} announces {}, which no leader has",
                shadow.id,
                entry.position()
            );
            let holds = |id: NodeId| {
                let disk = shadows.iter().find(|shadow| shadow.id == id);
                disk.is_some_and(|disk| disk.durable.holds(entry))
            };
            law!(
                self.is_quorum(holds),
                "an announced commit is on the disks of a majority (§5.3)",
                "{} is on those of {:?}",
                entry.position(),
                self.voters_who(holds)
            );
            self.committed.push(entry.clone());
            self.committed_in.push(term);
        }
        Ok(())
    }

    /// State Machine Safety (Figure 3): in order, once, none skipped, none that is not committed or
    /// not on the own disk.
    pub(super) fn applying(
        &self,
        step: &Step<'_>,
        entries: &[Entry],
        shadow: &mut Shadow,
    ) -> Result<(), Broken> {
        let law = "State Machine Safety (Figure 3)";
        law!(
            shadow.applying == shadow.applied && !entries.is_empty(),
            "one batch is applied at a time",
            "{} is not done with {}",
            shadow.id,
            shadow.applying
        );
        for entry in entries {
            let next = shadow.applying.next();
            let position = entry.position();
            law!(entry.index == next, law, "{} applies {position} and not {next}", shadow.id);
            law!(
                entry.index <= step.after.commit_index,
                law,
                "{} applies {position} before it is committed",
                shadow.id
            );
            let committed = self.committed.get(entry.index.prev().0 as usize);
            law!(
                committed == Some(entry),
                law,
                "{} applies {position}, and {:?} was committed",
                shadow.id,
                committed.map(Entry::position)
            );
            law!(
                shadow.durable.entry(entry.index) == Some(entry),
                "what is applied is on the own disk",
                "{} applies {position}",
                shadow.id
            );
            shadow.applying = next;
        }
        Ok(())
    }

    /// A read sees everything that was committed, anywhere, when it arrived (diss. §6.4).
    pub(super) fn read_ready(
        &mut self,
        step: &Step<'_>,
        id: ReadId,
        shadow: &Shadow,
    ) -> Result<(), Broken> {
        let law = "a read sees all that was committed when it arrived (diss. §6.4)";
        let (leader, term) = (step.after.id, step.after.current_term);
        let Some(asked) = self.lives[step.at].reads.remove(&id) else {
            law!(false, "a read is answered once", "{leader} answers read {}", id.0);
            return Ok(());
        };
        law!(
            shadow.applied >= asked.committed,
            law,
            "{leader} serves a read at {}, and {} was committed",
            shadow.applied,
            asked.committed
        );
        let leads = step.after.role == RoleName::Leader;
        law!(leads, "only leaders serve reads", "{leader} is {}", step.after.role);
        law!(
            shadow.live.term_at(step.after.commit_index) == Some(term),
            "no read before an entry of the own term is committed (diss. §6.4)",
            "{leader} serves a read in term {term} with {} committed",
            step.after.commit_index
        );
        let follows = |id: NodeId| {
            let followed = self.followed.get(&(id, term));
            id == leader || followed.is_some_and(|step| *step > asked.step)
        };
        law!(
            self.is_quorum(follows),
            "a majority follows the leader after a read arrived (diss. §6.4)",
            "{leader} serves a read in term {term} that only {:?} confirmed",
            self.voters_who(follows)
        );
        Ok(())
    }

    /// A leader asks at once whether it still leads ("the leader issues a new round of heartbeats",
    /// diss. §6.4), as soon as it knows what is committed.
    pub(super) fn read_asked(&self, step: &Step<'_>, shadow: &Shadow) -> Result<(), Broken> {
        let Step { before, after, .. } = step;
        let [Event::Read { .. }] = step.events else { return Ok(()) };
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
        let open = self.lives[step.at].reads.len();
        let is_leader = step.after.role == RoleName::Leader;
        law!(is_leader || open == 0, law, "{} leaves {open} reads waiting", step.after.id);
        Ok(())
    }

    pub(super) fn left_office(
        &mut self,
        step: &Step<'_>,
        coverage: &mut Coverage,
    ) -> Result<(), Broken> {
        if !self.lives[step.at].reads.is_empty() {
            coverage.note(Situation::ReadLostLeader);
        }
        let heard = step.after.current_term > step.before.current_term;
        let situation = if heard { Situation::HigherTermSeen } else { Situation::QuorumLost };
        coverage.note(situation);
        if heard { Ok(()) } else { self.had_lost_majority(step) }
    }
}

fn is_heartbeat(step: &Step<'_>) -> bool {
    matches!(step.events, [Event::Receive(message)] if matches!(&message.body,
        MessageBody::AppendEntriesRequest(request) if request.entries.is_empty()))
}
