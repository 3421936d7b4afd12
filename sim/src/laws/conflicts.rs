//! Laws of how a leader and a follower find where their logs agree: not entry by entry, but a term
//! in each round trip (§5.3, end).

use actix_raft_core::effect::Effect;
use actix_raft_core::event::Event;
use actix_raft_core::message::{AppendOutcome, Message, MessageBody};
use actix_raft_core::types::LogPosition;

use super::{Broken, Laws, Shadow, Step, law};
use crate::image::Image;

impl Laws {
    /// A follower that finds a conflict says where the logs may agree. The shadow has the log as
    /// the request found it.
    pub(super) fn hint(step: &Step<'_>, asked: LogPosition, shadow: &Shadow) -> Result<(), Broken> {
        for effect in step.effects {
            let Effect::Send(Message { body: MessageBody::AppendEntriesResponse(answer), .. }) =
                effect
            else {
                continue;
            };
            let AppendOutcome::Conflict { prev_log_index, hint } = answer.outcome else { continue };
            let expected = floor(&shadow.live, asked);
            law!(
                prev_log_index == asked.index && hint == expected,
                "a conflict is answered by where the logs may agree (§5.3)",
                "{} has {expected}, and answers {hint} to {asked}",
                step.after
            );
        }
        Ok(())
    }

    /// A leader that hears of a conflict goes back to where the logs may agree, in one step.
    pub(super) fn next_probe(&self, step: &Step<'_>, shadow: &Shadow) -> Result<(), Broken> {
        let [Event::Receive(Message { from, body, .. })] = step.events else { return Ok(()) };
        let MessageBody::AppendEntriesResponse(response) = body else { return Ok(()) };
        let AppendOutcome::Conflict { prev_log_index, hint } = response.outcome else {
            return Ok(());
        };
        if !step.leads_on() {
            return Ok(());
        }
        let matched = self.lives[step.at].matched.get(from).copied().unwrap_or_default();
        let agree = floor(&shadow.live, hint).index.min(prev_log_index.prev()).max(matched);
        // If the answer is news, entries follow; else what could be sent was on its way before.
        let first = step.effects.iter().find_map(|effect| match effect {
            Effect::Send(Message {
                to, body: MessageBody::AppendEntriesRequest(request), ..
            }) if to == from && !request.entries.is_empty() => Some(request),
            _ => None,
        });
        law!(
            first.is_none_or(|request| request.prev_log.index == agree),
            "after a conflict a leader tries where the logs may agree (§5.3)",
            "{} may agree with {from} up to {agree}, and sends what follows {:?}",
            step.after,
            first.map(|request| request.prev_log)
        );
        Ok(())
    }
}

/// The last position of a log at or below this one in both term and index.
fn floor(log: &Image, at: LogPosition) -> LogPosition {
    let below = log.entries.iter().take(at.index.0 as usize).rev();
    let found = below.map(|entry| entry.position()).find(|position| position.term <= at.term);
    found.unwrap_or(LogPosition::ZERO)
}
