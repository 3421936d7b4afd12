//! What the node does with each message: it notes it for the next step.

use actix::{Context, Handler, Message};
use actix_raft_core::event::Event;

use crate::application::Application;
use crate::envelope::Draft;
use crate::gate::Permit;
use crate::messages::{
    ClientError, ClientPayload, ClientRead, Consistency, PeerUnreachable, Receive, ResponseMode,
};
use crate::raft::{Raft, State};
use crate::requests::{Answer, Arrival, Asker, Write, WriteResult};
use crate::sessions::{RegisterSession, Serial, SessionId};

/// Writes after which a step is taken without waiting for the mailbox to be drained.
const MAX_WRITES: usize = 4096;
/// The same for bytes of commands.
const MAX_WRITE_BYTES: usize = 1 << 20;
/// Asks for a step once the mailbox is drained.
pub(crate) struct Flush;

impl Message for Flush {
    type Result = ();
}

impl<A: Application> Handler<Flush> for Raft<A> {
    type Result = ();

    fn handle(&mut self, _: Flush, ctx: &mut Context<Self>) {
        self.on_flush(ctx);
    }
}

impl<A: Application> Handler<Receive> for Raft<A> {
    type Result = ();

    fn handle(&mut self, receive: Receive, ctx: &mut Context<Self>) {
        for message in receive.messages {
            self.note(Event::Receive(message), ctx);
        }
    }
}

impl<A: Application> Handler<PeerUnreachable> for Raft<A> {
    type Result = ();

    fn handle(&mut self, unreachable: PeerUnreachable, ctx: &mut Context<Self>) {
        self.note(Event::Unreachable { peer: unreachable.peer }, ctx);
    }
}

impl<A: Application> Handler<ClientPayload<A>> for Raft<A> {
    type Result = Answer<WriteResult<A>>;

    fn handle(&mut self, payload: ClientPayload<A>, ctx: &mut Context<Self>) -> Self::Result {
        let ClientPayload { draft, serial, response_mode, permit, .. } = payload;
        let (bytes, limit) = (draft.command_bytes(), self.config.max_command_bytes);
        if bytes > limit {
            return Answer::Now(Err(ClientError::TooLarge { bytes, limit }));
        }
        // Whoever writes without a `Client` is counted here, after the mailbox.
        let Some(permit) = permit.or_else(|| self.gate.enter(bytes)) else {
            return Answer::Now(Err(ClientError::Overloaded));
        };
        // Whether a write of a session is valid is known when it is applied.
        let mode = if serial.is_some() { ResponseMode::Applied } else { response_mode };
        self.write_arrived(draft, serial, Asker::Command(None, mode), permit, ctx);
        Answer::Later(self.proposals.arrived.write_replies.clone())
    }
}

impl<A: Application> Handler<RegisterSession> for Raft<A> {
    type Result = Answer<Result<SessionId, ClientError>>;

    fn handle(&mut self, register: RegisterSession, ctx: &mut Context<Self>) -> Self::Result {
        let Some(permit) = register.permit.or_else(|| self.gate.enter(0)) else {
            return Answer::Now(Err(ClientError::Overloaded));
        };
        let draft = Draft::register(self.config.session_terms());
        self.write_arrived(draft, None, Asker::Session(None), permit, ctx);
        Answer::Later(self.proposals.arrived.session_replies.clone())
    }
}

impl<A: Application> Raft<A> {
    /// Notes a write, whose reply address is filed after this.
    fn write_arrived(
        &mut self,
        draft: Draft,
        serial: Option<Serial>,
        asker: Asker<A>,
        permit: Permit,
        ctx: &mut Context<Self>,
    ) {
        let arrived = &self.proposals.arrived;
        if arrived.writes.len() >= MAX_WRITES || arrived.bytes >= MAX_WRITE_BYTES {
            self.flush(ctx);
        }
        let arrived = &mut self.proposals.arrived;
        arrived.bytes += draft.command_bytes();
        let write = Write { asker, rejection: None, _permit: permit };
        arrived.writes.push(Arrival { draft, serial, write });
        self.ask_flush(ctx);
    }
}

impl<A: Application> Handler<ClientRead> for Raft<A> {
    type Result = Answer<Result<(), ClientError>>;

    fn handle(&mut self, read: ClientRead, ctx: &mut Context<Self>) -> Self::Result {
        let Some(permit) = read.permit.or_else(|| self.gate.enter(0)) else {
            return Answer::Now(Err(ClientError::Overloaded));
        };
        let reads = match read.consistency {
            Consistency::Linearizable => &mut self.reads.linearizable,
            Consistency::Lease => &mut self.reads.lease,
            Consistency::Local => {
                return Answer::Now(match &self.state {
                    State::Running(_) => Ok(()),
                    State::Stopped { reason, .. } => {
                        Err(ClientError::Stopped { reason: reason.clone() })
                    }
                });
            }
        };
        reads.permits.push(permit);
        let replies = reads.replies.clone();
        self.ask_flush(ctx);
        Answer::Later(replies)
    }
}
