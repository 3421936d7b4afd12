//! The end of a node: a leader hands over before it stops (diss. §3.10).
//!
//! ```text
//!   Shutdown --> leads? --no--> stopped
//!                  |
//!                  +--> TransferLeadership --> another leads, or an election timeout passed
//!                                                   |
//!                       what is committed is applied and answered --> stopped
//! ```

use actix::{ActorContext, AsyncContext, Context};
use actix_raft_core::admin::RequestId;
use actix_raft_core::event::Event;
use actix_raft_core::status::RoleName;

use crate::application::Application;
use crate::raft::{Raft, State};
use crate::requests::{Filed, ReplyTo, reply};

/// A node that is about to stop, and who waits for that.
pub(crate) struct Stopping {
    replies: Filed<()>,
    phase: Phase,
}

/// What it waits for.
#[derive(Clone, Copy, PartialEq)]
enum Phase {
    /// That another leads: the core's answer to this.
    Transfer(RequestId),
    /// That what is committed is answered.
    Answers,
    /// Nothing more.
    End,
}

impl<A: Application> Raft<A> {
    /// Begins to stop. Returns where to file who waits for it.
    pub(crate) fn begin_to_stop(&mut self, ctx: &mut Context<Self>) -> Filed<()> {
        if let Some(stopping) = &self.stopping {
            return stopping.replies.clone();
        }
        // What came before is in flight; what comes after is refused.
        self.flush(ctx);
        let phase = match self.hands_over_to_anyone() {
            true => {
                let id = self.requests.name();
                self.note_request(Event::TransferLeadership { id, to: None }, ctx);
                Phase::Transfer(id)
            }
            false => Phase::End,
        };
        let replies = Filed::default();
        self.stopping = Some(Stopping { replies: replies.clone(), phase });
        // In the next step, when the first who waits is filed.
        self.ask_flush(ctx);
        if phase != Phase::End {
            // The transfer is bounded by an election timeout, and so is the successor's election; as
            // long again is enough for answers.
            ctx.run_later(3 * self.config.protocol.election_timeout, |raft, ctx| {
                raft.end(ctx);
            });
        }
        replies
    }

    fn hands_over_to_anyone(&self) -> bool {
        let State::Running(core) = &self.state else { return false };
        let others = core.membership().is_some_and(|(_, membership)| {
            membership.members().keys().any(|id| *id != self.id && membership.is_voter(*id))
        });
        core.status().role == RoleName::Leader && others
    }

    /// The core answered a transfer: whether this one was for the node's own end.
    pub(crate) fn on_handed_over(&mut self, id: RequestId) -> bool {
        match &mut self.stopping {
            Some(stopping) if stopping.phase == Phase::Transfer(id) => {
                stopping.phase = Phase::Answers;
                true
            }
            _ => false,
        }
    }

    /// After each step: stops as soon as nothing is waited for.
    pub(crate) fn go_on_stopping(&mut self, ctx: &mut Context<Self>) {
        let Some(stopping) = &self.stopping else { return };
        let is_over = match stopping.phase {
            Phase::Transfer(_) => matches!(self.state, State::Stopped { .. }),
            Phase::Answers => self.proposals.are_answered(),
            Phase::End => true,
        };
        if is_over {
            self.end(ctx);
        }
    }

    fn end(&mut self, ctx: &mut Context<Self>) {
        self.stop("it was shut down");
        if let Some(stopping) = self.stopping.take() {
            stopping.replies.take().into_iter().for_each(|to: ReplyTo<()>| reply(to, ()));
        }
        ctx.stop();
    }
}
