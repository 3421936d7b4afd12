//! What the node does with each message: it notes it for the next step.

use std::collections::BTreeMap;

use actix::{ActorContext, Context, Handler, Message};
use actix_raft_core::event::Event;

use crate::admin::{GetMetrics, InitWithConfig, InitWithConfigError, Shutdown};
use crate::application::Application;
use crate::messages::{
    ClientError, ClientPayload, ClientRead, MembershipConfig, NodeId, PeerUnreachable, Receive,
};
use crate::metrics::RaftMetrics;
use crate::raft::Raft;
use crate::requests::{Answer, Filed, Write, WriteResult};

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
        self.flush_asked = false;
        self.flush(ctx);
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
    type Result = Answer<WriteResult<A::Response>>;

    fn handle(&mut self, payload: ClientPayload<A>, ctx: &mut Context<Self>) -> Self::Result {
        let ClientPayload { command, response_mode, permit, .. } = payload;
        let (bytes, limit) = (command.len(), self.config.max_command_bytes);
        if bytes > limit {
            return Answer::Now(Err(ClientError::TooLarge { bytes, limit }));
        }
        // Whoever writes without a `Client` is counted here, after the mailbox.
        let Some(permit) = permit.or_else(|| self.gate.enter(bytes)) else {
            return Answer::Now(Err(ClientError::Overloaded));
        };
        if self.arrived.writes.len() >= MAX_WRITES || self.arrived.bytes >= MAX_WRITE_BYTES {
            self.flush(ctx);
        }
        self.arrived.bytes += bytes;
        self.arrived.commands.push(command);
        self.arrived.writes.push(Write { reply_to: None, response_mode, _permit: permit });
        self.ask_flush(ctx);
        Answer::Later(self.write_replies.clone())
    }
}

impl<A: Application> Handler<ClientRead> for Raft<A> {
    type Result = Answer<Result<(), ClientError>>;

    fn handle(&mut self, read: ClientRead, ctx: &mut Context<Self>) -> Self::Result {
        let Some(permit) = read.permit.or_else(|| self.gate.enter(0)) else {
            return Answer::Now(Err(ClientError::Overloaded));
        };
        self.arrived_reads.push(permit);
        self.ask_flush(ctx);
        Answer::Later(self.read_replies.clone())
    }
}

impl<A: Application> Handler<InitWithConfig> for Raft<A> {
    type Result = Filed<Result<(), InitWithConfigError>>;

    fn handle(&mut self, init: InitWithConfig, ctx: &mut Context<Self>) -> Self::Result {
        // The answer to an earlier one must not be taken for this one's.
        self.flush(ctx);
        let mut members = BTreeMap::from_iter(init.members);
        members.entry(self.id).or_default();
        let voters: Vec<NodeId> = members.keys().copied().collect();
        match MembershipConfig::new(voters, members) {
            Ok(membership) => self.note(Event::Initialize { membership }, ctx),
            // This node is always among them.
            Err(error) => self.fail("a membership with this node is none", error),
        }
        self.ask_flush(ctx);
        self.init_replies.clone()
    }
}

impl<A: Application> Handler<GetMetrics> for Raft<A> {
    type Result = RaftMetrics;

    fn handle(&mut self, _: GetMetrics, _: &mut Context<Self>) -> RaftMetrics {
        self.current_metrics()
    }
}

impl<A: Application> Handler<Shutdown> for Raft<A> {
    type Result = ();

    fn handle(&mut self, _: Shutdown, ctx: &mut Context<Self>) {
        self.flush(ctx);
        self.stop("it was shut down");
        ctx.stop();
    }
}
