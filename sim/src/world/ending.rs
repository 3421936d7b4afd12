//! What must be well again when the faults have ended: liveness.

use std::collections::BTreeSet;
use std::time::Duration;

use actix_raft_core::status::{RoleName, Status};
use actix_raft_core::types::{Index, NodeId, Term, Time};

use super::{Happening, World};
use crate::coverage::Situation;
use crate::dice::Dice;
use crate::fault::{Crash, Cut, Fault, Target};
use crate::history::Outcome;
use crate::laws::quorums::is_quorum;
use crate::laws::{Broken, Shadow, law};
use crate::plan::{Ending, Weather};
use crate::workload::{Request, Workload};

/// A permanent fault.
const FOR_EVER: Duration = Duration::from_secs(1_000_000);
/// Where permanent faults are filed, behind those of any schedule.
const PERMANENT: usize = 1_000_000;

impl<W: Workload> World<W> {
    pub(super) fn end_well(&mut self) -> Result<(), Broken> {
        self.operator_rests();
        self.end_all()?;
        self.weather = Weather::fine(self.weather.batches);
        self.cleared = Some(self.now);
        if self.plan.ending == Ending::Permanent {
            self.afflict()?;
            self.tell(|| "from now on a majority is well".to_string());
            self.serves("a healthy majority serves, whatever the rest does", 60)?;
            self.end_all()?;
        }
        self.tell(|| "from now on all is well".to_string());
        self.reaches_goal()?;
        if !self.can_agree() {
            return Ok(());
        }
        let term = self.settles()?;
        self.serves("a healthy cluster serves (§5.2)", 10)?;
        let term = self.takes_back()?.unwrap_or(term);
        self.busy = false;
        self.becomes_equal()?;
        let law = "a healthy cluster keeps its leader (diss. §9.6)";
        let same = self.terms().iter().all(|status| status.current_term == term);
        law!(same, law, "term {term}, then {}", self.status().join(" | "));
        Ok(())
    }

    /// A follower that loses its disk in good times is taken back. The term that there is then.
    fn takes_back(&mut self) -> Result<Option<Term>, Broken> {
        let mut dice = Dice::new(self.plan.seed ^ 0x0ba_cc01d);
        let at = dice.place(self.servers.len());
        if dice.below(3) > 0 || self.leader() == Some(at) || !self.may_wipe(at) {
            return Ok(None);
        }
        self.coverage.note(Situation::TakenBack);
        self.wipe(at, Crash::Process)?;
        let wait = dice.duration(Duration::ZERO, self.plan.config.election_timeout);
        self.after(wait, Happening::Restart(at));
        self.run_until(self.now + wait)?;
        self.settles().map(Some)
    }

    fn terms(&self) -> Vec<Status> {
        let members = (0..self.servers.len()).filter(|at| self.is_member(*at));
        members.filter_map(|at| self.servers[at].status()).collect()
    }

    /// Strikes a minority of the voters, for good.
    fn afflict(&mut self) -> Result<(), Broken> {
        let mut dice = Dice::new(self.plan.seed ^ 0x0aff_11c7);
        let memberships = self.possible_memberships();
        let mut struck: BTreeSet<NodeId> = BTreeSet::new();
        let (mut hangs, mut is_cut_somewhere) = (false, false);
        let mut left: Vec<usize> = (0..self.servers.len()).collect();
        let mut leader = self.leader().filter(|_| dice.below(2) == 0);
        for place in 0..self.servers.len() {
            let at = leader.take().unwrap_or_else(|| left[dice.place(left.len())]);
            left.retain(|other| *other != at);
            let id = self.servers[at].id;
            let is_well =
                |other: NodeId| other != id && !struck.contains(&other) && self.is_sound(other);
            if !memberships.iter().all(|members| is_quorum(members, is_well)) {
                continue;
            }
            struck.insert(id);
            let target = Target::Node(at);
            let patience = self.plan.config.election_timeout;
            let fault = match dice.below(10) {
                // A leader that hears a majority, of which one has a disk that hangs, and does not
                // hear another one, commits nothing, and is followed: these two are not combined.
                6 | 7 if !is_cut_somewhere => {
                    hangs = true;
                    Fault::DiskStall(target)
                }
                8 | 9 if !hangs => {
                    is_cut_somewhere = true;
                    Fault::Partition(Cut::SomeOf(target, dice.number()))
                }
                0 => Fault::Crash(target, Crash::Power(dice.number())),
                1 => Fault::Partition(Cut::Alone(target)),
                2 => Fault::Partition(Cut::Deaf(target)),
                3 => Fault::Partition(Cut::Mute(target)),
                4 => Fault::Flapping(Cut::Alone(target), patience * dice.pick(&[1, 3, 10])),
                5 => Fault::SlowLinks(target, patience / dice.pick(&[4, 2, 1])),
                _ => Fault::Partition(Cut::Alone(target)),
            };
            self.begin(PERMANENT + place, fault, FOR_EVER)?;
        }
        Ok(())
    }

    /// The bound on how long a healthy cluster takes to catch up, in election timeouts: a log is
    /// sent entry by entry if requests may hold no more.
    pub(super) fn bound(&self) -> Duration {
        let entries = self.laws.committed().len() as u32 + 1000;
        self.plan.config.election_timeout * 40 + Duration::from_millis(12) * entries
    }

    /// There is one leader, everybody who is up follows it and has what it has committed.
    fn settles(&mut self) -> Result<Term, Broken> {
        let end = self.now + self.bound();
        let patience = self.plan.config.election_timeout;
        // Whoever has lost patience by now stands first.
        self.run_until(self.now + patience * 2)?;
        while self.now < end {
            self.run_until(self.now + patience / 4)?;
            if let Some(term) = self.settled() {
                return Ok(term);
            }
        }
        let servers = self.status().join(" | ");
        law!(false, "a healthy cluster has a leader whom all follow (§5.2)", "{servers}");
        Ok(Term::ZERO)
    }

    fn settled(&self) -> Option<Term> {
        let statuses = self.terms();
        let leader = statuses.iter().find(|status| status.role == RoleName::Leader)?;
        let is_down = |at: usize| !self.servers[at].is_up() && !self.servers[at].is_lost();
        let down = (0..self.servers.len()).any(|at| self.is_member(at) && is_down(at));
        let follow = statuses.iter().all(|status| {
            status.trusted
                && status.current_term == leader.current_term
                && status.leader == Some(leader.id)
        });
        // A follower far behind has still to catch up.
        let near = statuses.iter().all(|status| {
            status.commit_index.0 + 50 >= leader.commit_index.0 && status.commit_index > Index::ZERO
        });
        (follow && near && !down).then_some(leader.current_term)
    }

    /// Fresh operations are served within so many election timeouts.
    fn serves(&mut self, law: &'static str, timeouts: u32) -> Result<(), Broken> {
        for writes in [true, false] {
            let end = self.now + self.plan.config.election_timeout * timeouts + self.weather.save.1;
            // Whoever sends it is none of the clients.
            let prober = self.clients.len();
            loop {
                let Some(request) = self.request(writes) else { break };
                let id = self.call(prober, request, self.leader());
                let answered = self.await_answer(id, end)?;
                match answered {
                    Outcome::Done { .. } => break,
                    Outcome::Open | Outcome::NotDone | Outcome::Unknown => {}
                }
                let servers = self.status().join(" | ");
                let what = if writes { "write" } else { "read" };
                law!(self.now < end, law, "no {what} was done in {timeouts} timeouts: {servers}");
                let wait = self.plan.config.election_timeout / 5;
                self.run_until(self.now + wait)?;
            }
        }
        Ok(())
    }

    /// Some write, or some read, of the workload's clients; `None` if they never do that.
    fn request(&mut self, writes: bool) -> Option<Request<W>> {
        (0..200).find_map(|_| {
            let request = self.workload.next(0, &mut self.client_dice);
            (matches!(request, Request::Write(_)) == writes).then_some(request)
        })
    }

    fn await_answer(&mut self, id: usize, end: Time) -> Result<Outcome, Broken> {
        let slice = self.plan.config.heartbeat_interval;
        while self.history[id].outcome == Outcome::Open && self.now < end {
            self.run_until(self.now + slice)?;
        }
        Ok(self.history[id].outcome)
    }

    /// When clients are silent, all replicas become equal.
    fn becomes_equal(&mut self) -> Result<(), Broken> {
        let end = self.now + self.bound();
        let slice = self.plan.config.heartbeat_interval;
        while self.now < end {
            self.run_until(self.now + slice)?;
            let statuses = self.terms();
            let key = |status: &Status| (status.last_log, status.commit_index, status.last_applied);
            let Some(first) = statuses.first() else { break };
            let quiet = first.last_log.index == first.commit_index
                && first.commit_index == first.last_applied;
            if quiet && statuses.iter().all(|status| key(status) == key(first)) {
                // As long as anyone waits for an answer.
                self.run_until(self.now + self.plan.config.election_timeout * 4)?;
                return self.ends_equal();
            }
        }
        let servers = self.status().join(" | ");
        law!(false, "all replicas end equal (§5.3)", "{servers}");
        Ok(())
    }

    fn ends_equal(&mut self) -> Result<(), Broken> {
        let mut up: Vec<usize> =
            (0..self.servers.len()).filter(|at| self.servers[*at].is_up()).collect();
        for at in &up {
            self.laws.formers_are_answered(*at)?;
            self.laws.operators_are_answered(*at)?;
            self.laws.readers_are_answered(*at)?;
        }
        up.retain(|at| self.is_member(*at));
        let law = "all replicas end equal (§5.3)";
        let committed = self.laws.committed();
        for at in &up {
            let Shadow { durable, id, .. } = &self.shadows[*at];
            let rest = committed.get(durable.purged().0 as usize..);
            law!(rest == Some(durable.entries()), law, "the log of {id} is not what was committed");
        }
        Ok(())
    }
}
