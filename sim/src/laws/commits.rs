//! Laws of commits and of applied entries.

use actix_raft_core::entry::Entry;
use actix_raft_core::event::Event;
use actix_raft_core::message::MessageBody;
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
                disk.is_some_and(|disk| self.counts_for(disk, entry))
            };
            law!(
                self.is_quorum(holds),
                "an announced commit is on the disks of a majority (§5.3)",
                "{} is on those of {:?}",
                entry.position(),
                self.voters_who(holds)
            );
            self.note_membership(entry);
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
