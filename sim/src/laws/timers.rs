//! Laws of deadlines: a server is never asleep for good, elections are spread, and a leader that
//! hears no majority does not go on for long.

use actix_raft_core::event::Event;
use actix_raft_core::status::RoleName;
use actix_raft_core::types::{NodeId, Time};

use super::{Broken, Laws, Step, law};

/// So many deadlines must be drawn before anything is said of how they are spread.
const ENOUGH_DRAWS: u64 = 200;

impl Laws {
    pub(super) fn timers(&mut self, step: &Step<'_>) -> Result<(), Broken> {
        let patience = self.config.election_timeout;
        let (before, deadline) = step.deadlines;
        let fired = step.events.iter().any(|event| matches!(event, Event::Timeout))
            && before.is_some_and(|deadline| deadline <= step.now);
        let law = "whoever may stand has a timer that will fire, once (§5.2)";
        if step.is_voter {
            law!(deadline.is_some(), law, "{} has none", step.after);
        }
        if let Some(deadline) = deadline {
            let latest = step.now + patience * 2;
            law!(deadline <= latest, law, "{} sleeps until {deadline}", step.after);
            law!(!fired || deadline > step.now, law, "{} fires again at once", step.after);
        }
        let forms = step.events.iter().any(|event| matches!(event, Event::Initialize { .. }));
        let waits = step.after.role != RoleName::Leader && !forms;
        if waits
            && before != deadline
            && let Some(deadline) = deadline
        {
            self.drawn(step, deadline)?;
        }
        self.hears_majority(step, fired)
    }

    /// "Election timeouts are chosen randomly from a fixed interval" (§5.2).
    fn drawn(&mut self, step: &Step<'_>, deadline: Time) -> Result<(), Broken> {
        let patience = self.config.election_timeout;
        let wait = deadline.since(step.now);
        law!(
            wait >= patience,
            "election timeouts are drawn from [T, 2T) (§5.2)",
            "{} waits {wait:?}",
            step.after
        );
        let [short, long, all] = &mut self.draws;
        *short += u64::from(wait < patience.mul_f64(1.25));
        *long += u64::from(wait >= patience.mul_f64(1.75));
        *all += 1;
        Ok(())
    }

    /// Whether election timeouts were spread over their range.
    pub(crate) fn timeouts_are_spread(&self) -> Result<(), Broken> {
        let [short, long, all] = self.draws;
        law!(
            all < ENOUGH_DRAWS || (short > all / 10 && long > all / 10),
            "election timeouts are drawn from [T, 2T) (§5.2)",
            "of {all}, {short} are in the first quarter and {long} in the last"
        );
        Ok(())
    }

    /// "A leader steps down if an election timeout elapses without a successful round of heartbeats
    /// to a majority of its cluster" (diss. §6.2).
    fn hears_majority(&self, step: &Step<'_>, fired: bool) -> Result<(), Broken> {
        if !self.config.check_quorum || !fired || !step.leads_on() {
            return Ok(());
        }
        let life = &self.lives[step.at];
        let patience = self.config.election_timeout;
        let heard = |id: NodeId| {
            let contact = life.contacts.get(&id).copied().unwrap_or(life.leads_since);
            id == step.after.id || step.now.since(contact) <= patience * 2
        };
        law!(
            self.is_majority(heard),
            "a leader that hears no majority steps down (diss. §6.2)",
            "{} hears only {:?}",
            step.after,
            self.voters.iter().filter(|id| heard(**id)).collect::<Vec<_>>()
        );
        Ok(())
    }
}
