//! Laws of deadlines: a server is never asleep for good, elections are spread, and a leader that
//! hears no majority does not go on for long.

use std::sync::Arc;
use std::time::Duration;

use actix_raft_core::config::{Config, MAX_PRIORITY};
use actix_raft_core::event::Event;
use actix_raft_core::membership::Membership;
use actix_raft_core::message::{Message, MessageBody, VoteKind};
use actix_raft_core::status::{RoleName, Status};
use actix_raft_core::types::{Index, NodeId, Term, Time};

use super::ballots::fired;
use super::{Broken, Laws, Step, law, quorums};

/// So many deadlines must be drawn before anything is said of how they are spread.
const ENOUGH_DRAWS: u64 = 200;
/// So many, before it is said that there are some at either end.
const SOME_DRAWS: u64 = 100;

impl Laws {
    pub(super) fn timers(&mut self, step: &Step<'_>) -> Result<(), Broken> {
        let patience = self.config(step).election_timeout;
        let (before, deadline) = step.deadlines;
        let fired = fired(step);
        let law = "whoever may stand has a timer that will fire, once (§5.2)";
        let low = step.events.iter().any(|event| matches!(event, Event::DiskSpace { low: true }));
        let was_full = low || step.before.disk_is_full || step.after.disk_is_full;
        let extra = later(self.config(step), was_full);
        let life = &mut self.lives[step.at];
        life.patience = life.patience.max(extra);
        let extra = life.patience;
        if step.before.transferring_to.is_some() {
            life.hands_over_until = step.now + patience * 2;
        }
        let is_busy = !life.reads.is_empty()
            || !life.requests.is_empty()
            || step.now <= life.hands_over_until;
        let was_busy = std::mem::replace(&mut life.was_busy, is_busy) || is_busy;
        let stands = self.stands_by_itself(step);
        if step.is_voter && stands {
            law!(deadline.is_some(), law, "{} has none", step.after);
        }
        if let Some(deadline) = deadline {
            let latest = step.now + patience * 2 + extra;
            let may_sleep = !step.is_voter || !stands;
            law!(deadline <= latest || may_sleep, law, "{} sleeps until {deadline}", step.after);
            // A new leader, or one that others could replace from now on.
            let is_new = step.after.role == RoleName::Leader
                && (!step.leads_on() || self.in_force.len() > 1);
            law!(
                !fired || is_new || deadline > step.now,
                law,
                "{} fires again at once",
                step.after
            );
        }
        let forms = step.events.iter().any(|event| matches!(event, Event::Initialize { .. }));
        let waits = step.after.role != RoleName::Leader && !forms;
        let by_role = !was_busy && self.config(step).snapshot_policy.interval.is_none();
        if waits
            && by_role
            && before != deadline
            && let Some(deadline) = deadline
        {
            self.drawn(step, deadline)?;
        }
        if by_role {
            self.resets(step, fired)?;
        }
        self.speaks_to_all(step, fired)?;
        self.transfers_end(step, fired)?;
        self.lives[step.at].last_step = step.now;
        self.hears_majority(step, fired)?;
        self.gives_way(step, fired)
    }

    /// A leader leaves office when its disk hangs, and when it has no vote any more: others can lead
    /// (§6).
    fn gives_way(&self, step: &Step<'_>, fired: bool) -> Result<(), Broken> {
        if !step.leads_on() {
            return Ok(());
        }
        let others = |membership: &Membership| {
            quorums::voters(membership).iter().any(|id| *id != step.after.id)
        };
        let replaceable = self.in_force.iter().all(|membership| others(membership));
        law!(
            !fired || !replaceable || !self.disk_hangs(step),
            "a leader whose disk hangs gives way",
            "{} leads on, and its disk is at {:?}",
            step.after,
            self.lives[step.at].saves.front()
        );
        let out = |(since, membership): &(Index, Arc<Membership>)| {
            membership.goal().is_none()
                && *since <= step.before.commit_index
                && !quorums::voters(membership).contains(&step.after.id)
        };
        let knows = self.committed_in(step.before.commit_index) == Some(step.after.current_term);
        law!(
            !knows || !self.known_membership(step.before.commit_index).is_some_and(out),
            "a leader without a vote leaves office when that is committed (§6)",
            "{} leads on",
            step.after
        );
        Ok(())
    }

    fn committed_in(&self, index: Index) -> Option<Term> {
        self.committed.get(index.prev().0 as usize).map(|entry| entry.term)
    }

    /// The configuration in force, if all that was in force in this step is committed and the same.
    fn known_membership(&self, commit_index: Index) -> Option<&(Index, Arc<Membership>)> {
        let known = self.membership_at(commit_index)?;
        self.in_force.iter().all(|membership| *membership == known.1).then_some(known)
    }

    /// A server that starts waits for a leader, as long as chance wants.
    pub(crate) fn starts(
        &mut self,
        at: usize,
        term: Term,
        now: Time,
        deadline: Option<Time>,
    ) -> Result<(), Broken> {
        // Who never heard of a term has promised nobody anything.
        self.lives[at].since = (term > Term::ZERO).then_some(now);
        let Some(deadline) = deadline else { return Ok(()) };
        let (patience, wait) = (self.configs[at].election_timeout, deadline.since(now));
        if self.configs[at].snapshot_policy.interval.is_some() {
            // It may be a snapshot that it waits for.
            return Ok(());
        }
        let extra = later(&self.configs[at], false);
        self.start_waits[at] = Some(wait);
        let alike = self.start_waits.iter().filter(|known| **known == Some(wait)).count();
        law!(
            wait >= patience && wait < patience * 2 + extra && alike < 3,
            "election timeouts are drawn from [T, 2T) (§5.2)",
            "server {} waits {wait:?} at its start, which makes {alike} who waited as long",
            at + 1
        );
        Ok(())
    }

    /// "Without receiving AppendEntries RPC from current leader or granting vote to candidate"
    /// (Figure 2): these two begin the wait anew, and nothing else does.
    fn resets(&self, step: &Step<'_>, fired: bool) -> Result<(), Broken> {
        let (Step { before, after, .. }, (Some(was), Some(is))) = (step, step.deadlines) else {
            return Ok(());
        };
        if after.role == RoleName::Leader || before.role == RoleName::Leader {
            return Ok(());
        }
        let term = after.current_term;
        let led = step.events.iter().any(|event| match event {
            Event::Receive(Message { from, body, .. }) => {
                let is_leaders = match body {
                    MessageBody::AppendEntriesRequest(request) => request.term == term,
                    MessageBody::InstallSnapshotRequest(request) => request.term == term,
                    _ => false,
                };
                is_leaders && after.leader == Some(*from)
            }
            _ => false,
        });
        let vote = |status: &Status| (status.current_term, status.voted_for);
        let voted = vote(before) != vote(after) && after.voted_for.is_some_and(|id| id != after.id);
        let law = "a leader's word, or a vote given, begins the wait anew (Figure 2)";
        law!(
            !(led || voted) || is.since(step.now) >= self.config(step).election_timeout,
            law,
            "{before} became {after} and waits until {is}"
        );
        // Asked once more, a server may give the same vote once more.
        let again = step.events.iter().any(|event| match event {
            Event::Receive(Message { from, body, .. }) => {
                matches!(body, MessageBody::VoteRequest(request)
                    if request.term == term && request.kind != VoteKind::PreVote)
                    && after.voted_for == Some(*from)
            }
            _ => false,
        });
        // A first or a new configuration, and other settings.
        let forms = step.events.iter().any(|event| {
            matches!(
                event,
                Event::Initialize { .. } | Event::SnapshotInstalled { .. } | Event::Configure(_)
            )
        });
        let excused = led || voted || again || fired || forms || step.events.len() > 1;
        law!(
            excused || was == is || before.role != after.role,
            "nothing else begins the wait anew (Figure 2)",
            "{before} became {after} and waits until {is}, not {was}"
        );
        Ok(())
    }

    /// "Repeat during idle periods to prevent election timeouts" (Figure 2).
    fn speaks_to_all(&self, step: &Step<'_>, fired: bool) -> Result<(), Broken> {
        if !fired || !step.leads_on() {
            return Ok(());
        }
        let (life, interval) = (&self.lives[step.at], self.config(step).heartbeat_interval);
        // Of those who were members all the time.
        let others = (1..=self.lives.len() as u64).map(NodeId);
        let forgotten = others.filter(|id| self.is_member(*id)).find(|id| {
            let spoken = life.spoken.get(id).copied().unwrap_or_default();
            *id != step.after.id && step.now.since(spoken) > interval
        });
        law!(
            forgotten.is_none(),
            "a leader is heard by all (§5.2)",
            "{} has not spoken to {forgotten:?} for {interval:?}",
            step.after
        );
        Ok(())
    }

    /// "Election timeouts are chosen randomly from a fixed interval" (§5.2).
    fn drawn(&mut self, step: &Step<'_>, deadline: Time) -> Result<(), Broken> {
        let patience = self.config(step).election_timeout;
        let wait = deadline.since(step.now);
        law!(
            wait >= patience,
            "election timeouts are drawn from [T, 2T) (§5.2)",
            "{} waits {wait:?}",
            step.after
        );
        if later(self.config(step), step.before.disk_is_full || step.after.disk_is_full)
            > Duration::ZERO
        {
            return Ok(());
        }
        let stands = matches!(step.after.role, RoleName::PreCandidate | RoleName::Candidate);
        let [short, long, all] = &mut self.draws[usize::from(stands)];
        *short += u64::from(wait < patience.mul_f64(1.25));
        *long += u64::from(wait >= patience.mul_f64(1.75));
        *all += 1;
        Ok(())
    }

    /// Whether election timeouts were spread over their range.
    pub(crate) fn timeouts_are_spread(&self) -> Result<(), Broken> {
        for [short, long, all] in self.draws {
            // Of a hundred, there are none in a quarter once in three million million worlds.
            let least = if all < ENOUGH_DRAWS { 0 } else { all / 10 };
            law!(
                all < SOME_DRAWS || (short > least && long > least),
                "election timeouts are drawn from [T, 2T) (§5.2)",
                "of {all}, {short} are in the first quarter and {long} in the last"
            );
        }
        Ok(())
    }

    /// "A leader steps down if an election timeout elapses without a successful round of heartbeats
    /// to a majority of its cluster" (diss. §6.2).
    fn hears_majority(&self, step: &Step<'_>, fired: bool) -> Result<(), Broken> {
        if !self.config(step).check_quorum || !fired || !step.leads_on() {
            return Ok(());
        }
        let life = &self.lives[step.at];
        let patience = self.config(step).election_timeout;
        let heard = |id: NodeId| {
            let contact = life.contacts.get(&id).copied().unwrap_or(life.leads_since);
            // With other numbers it begins to wait anew.
            let contact = contact.max(life.configured);
            id == step.after.id || step.now.since(contact) <= patience * 2
        };
        law!(
            self.is_quorum(heard),
            "a leader that hears no majority steps down (diss. §6.2)",
            "{} hears only {:?}",
            step.after,
            self.voters_who(heard)
        );
        Ok(())
    }

    /// Whether a server's disk has been busy with one save for an election timeout.
    pub(super) fn disk_hangs(&self, step: &Step<'_>) -> bool {
        let oldest = self.lives[step.at].saves.front();
        oldest
            .is_some_and(|(_, since)| step.now.since(*since) >= self.config(step).election_timeout)
    }

    /// Whether a server stands for election when it hears no leader.
    fn stands_by_itself(&self, step: &Step<'_>) -> bool {
        let config = self.config(step);
        config.elections
            && config.election_priority > 0
            && step.after.trusted
            && self.lives[step.at].installing.is_none()
    }

    /// A leader that leaves office by itself had not heard a majority within an election timeout.
    pub(super) fn had_lost_majority(&self, step: &Step<'_>) -> Result<(), Broken> {
        // What is heard together with the timeout may come after it.
        let [Event::Timeout] = step.events else { return Ok(()) };
        let life = &self.lives[step.at];
        // A server without a vote goes when that is agreed upon, and one whose disk hangs.
        let is_out = self.voters_who(|id| id == step.after.id).is_empty();
        if is_out || self.disk_hangs(step) {
            return Ok(());
        }
        let heard = |id: NodeId| {
            let contact = life.contacts.get(&id).copied().unwrap_or(life.leads_since);
            let lately = step.now.since(contact) < self.config(step).election_timeout;
            // Answers from a new disk may be taken for those of the lost one.
            id == step.after.id || (lately && !self.was_wiped().contains(&id))
        };
        law!(
            !self.is_quorum(heard),
            "a leader that hears a majority stays (diss. §6.2)",
            "{} left office, and hears {:?}",
            step.after,
            self.voters_who(heard)
        );
        Ok(())
    }
}

/// How much later a server of low priority stands, or one whose disk is full.
fn later(config: &Config, is_full: bool) -> Duration {
    let below = MAX_PRIORITY.saturating_sub(config.election_priority.max(1));
    config.election_timeout / 2 * (u32::from(below) + if is_full { 2 } else { 0 })
}
