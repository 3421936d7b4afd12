//! Laws of how a leader and a follower find where their logs agree: not entry by entry, but a term
//! in each round trip (§5.3, end).

use actix_raft_core::effect::Effect;
use actix_raft_core::event::{Event, LogReader};
use actix_raft_core::message::{AppendOutcome, Message, MessageBody};
use actix_raft_core::types::{Index, LogPosition, NodeId};

use super::{Broken, Laws, Shadow, Step, law};

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
            let expected = shadow.live.floor(asked);
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
    pub(super) fn next_probe(&mut self, step: &Step<'_>, shadow: &Shadow) -> Result<(), Broken> {
        let [Event::Receive(Message { from, body, .. })] = step.events else { return Ok(()) };
        let MessageBody::AppendEntriesResponse(response) = body else { return Ok(()) };
        let AppendOutcome::Conflict { prev_log_index, hint } = response.outcome else {
            return Ok(());
        };
        // One that lost its disk begins anew.
        let begins_anew = !response.trusted || self.was_wiped().contains(from);
        // One without room is spared, until it says that it has some.
        let known = self.lives[step.at].is_full.contains(from);
        let begins_anew = begins_anew || response.disk_is_full || known;
        // What it appends in this very step goes to all.
        let appends = step.after.last_log != step.before.last_log;
        if !step.leads_on() || appends || response.term != step.after.current_term || begins_anew {
            return Ok(());
        }
        let matched = self.lives[step.at].matched.get(from).copied().unwrap_or_default();
        let agree = shadow.live.floor(hint).index.min(prev_log_index.prev()).max(matched);
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
        let life = &self.lives[step.at];
        let reads = step.effects.iter().any(|effect| {
            matches!(effect, Effect::ReadLog { reader: LogReader::Follower(id), .. } if id == from)
        });
        let reading = reads || life.reading.contains(&LogReader::Follower(*from));
        // What is purged can't be sent: a snapshot takes its place (§7). One that was removed is seen
        // off without haste.
        if agree.min(hint.index) < shadow.live.purged() || !self.is_member(*from) {
            return Ok(());
        }
        let is_news = life.asked.get(from) == Some(&prev_log_index) && prev_log_index > matched;
        law!(
            !is_news || reading || first.is_some(),
            "after a conflict a leader tries again at once (§5.3)",
            "{} hears from {from} that {prev_log_index} conflicts, and sends nothing",
            step.after
        );
        if is_news {
            self.lives[step.at].asked.insert(*from, agree);
        }
        Ok(())
    }

    /// Notes what a leader asked in this step.
    pub(super) fn asked(&mut self, step: &Step<'_>) {
        // What goes out together with the news that it is lost counts for nothing.
        let lost = |id: &NodeId| {
            let is_loss =
                |event: &Event| matches!(event, Event::Unreachable { peer } if peer == id);
            step.events.iter().any(is_loss)
        };
        for effect in step.effects {
            // Its conflicts are of no interest any more.
            if let Effect::Send(Message { to, body, .. }) = effect
                && matches!(body, MessageBody::InstallSnapshotRequest(_))
            {
                self.lives[step.at].asked.remove(to);
            }
            if let Effect::Send(Message {
                to,
                body: MessageBody::AppendEntriesRequest(request),
                ..
            }) = effect
            {
                let asked = &mut self.lives[step.at].asked;
                match lost(to) {
                    true => asked.remove(to),
                    false => asked.insert(*to, request.prev_log.index),
                };
            }
        }
    }

    /// Entries are read back from disk that are on it; and for whom some are read, no others are.
    pub(super) fn reads_log(
        &mut self,
        step: &Step<'_>,
        reader: LogReader,
        (first, last): (Index, Index),
    ) -> Result<(), Broken> {
        law!(
            first <= last && last <= step.after.last_durable,
            "what is read from disk is on it",
            "{} has {} on disk, and reads {first} to {last}",
            step.after,
            step.after.last_durable
        );
        let is_first = self.lives[step.at].reading.insert(reader);
        // A leader that lost office and came back may have forgotten what it reads.
        law!(
            is_first || matches!(reader, LogReader::Follower(_)),
            "one batch is read at a time",
            "{} reads for {reader:?} again",
            step.after
        );
        Ok(())
    }
}
