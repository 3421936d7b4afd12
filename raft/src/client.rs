//! A handle to a node, for any task on any thread.

use std::sync::Arc;

use actix::{Addr, MailboxError};

use crate::admin::{GetMetrics, InitWithConfig, InitWithConfigError, Shutdown};
use crate::application::Application;
use crate::gate::Gate;
use crate::messages::{
    Address, ClientError, ClientPayload, ClientRead, ClientResponse, Consistency, NodeId,
    ResponseMode,
};
use crate::metrics::RaftMetrics;
use crate::raft::Raft;
use crate::sessions::{RegisterSession, Session};

/// A handle to a node: cheap to clone, usable from any thread. Its requests are counted before they
/// reach the node's mailbox and refused with [`ClientError::Overloaded`] beyond the limits of the
/// configuration.
///
/// A future dropped before it is ready may or may not have had its effect: see
/// [`ClientError::OutcomeUnknown`].
pub struct Client<A: Application> {
    raft: Addr<Raft<A>>,
    gate: Arc<Gate>,
}

impl<A: Application> Clone for Client<A> {
    fn clone(&self) -> Client<A> {
        Client { raft: self.raft.clone(), gate: Arc::clone(&self.gate) }
    }
}

impl<A: Application> Client<A> {
    pub(crate) fn new(raft: Addr<Raft<A>>, gate: Arc<Gate>) -> Client<A> {
        Client { raft, gate }
    }

    /// The node's address, to which any message of [`messages`](crate::messages) and
    /// [`admin`](crate::admin) can be sent.
    #[must_use]
    pub fn address(&self) -> &Addr<Raft<A>> {
        &self.raft
    }

    /// Sends a command and waits until the leader's state machine has applied it; returns its
    /// response.
    ///
    /// # Errors
    /// [`ClientError`] says whether the command may have been applied all the same.
    pub async fn write(
        &self,
        command: A::Command,
    ) -> Result<A::Response, ClientError<A::Rejection>> {
        match self.send(ClientPayload::new(command, ResponseMode::Applied)).await? {
            ClientResponse::Applied { response, .. } => Ok(response),
            ClientResponse::Committed { .. } => Err(ClientError::OutcomeUnknown {
                reason: "the node answered before it applied the command".into(),
            }),
        }
    }

    /// Sends a command, to be answered when its [`ResponseMode`] says.
    ///
    /// # Errors
    /// [`ClientError`] says whether the command may have been applied all the same.
    pub async fn send(
        &self,
        mut payload: ClientPayload<A>,
    ) -> Result<ClientResponse<A::Response>, ClientError<A::Rejection>> {
        let bytes = payload.draft.command_bytes();
        payload.permit = Some(self.gate.enter(bytes).ok_or(ClientError::Overloaded)?);
        self.check_running().map_err(ClientError::for_write)?;
        self.raft.send(payload).await.unwrap_or_else(|error| Err(lost(error).for_write()))
    }

    /// Begins a session, in which a write may be sent again and is applied once; see
    /// [`sessions`](crate::sessions). The session's own [`write`](Session::write) goes through this
    /// node.
    ///
    /// # Errors
    /// As of a write. Whatever the error, it may be tried again: a session that nobody knows of ends
    /// by itself.
    pub async fn session(&self) -> Result<Session<A>, ClientError> {
        let permit = Some(self.gate.enter(0).ok_or(ClientError::Overloaded)?);
        self.check_running()?;
        let registered = self.raft.send(RegisterSession { permit }).await;
        let id = registered.unwrap_or_else(|error| Err(lost(error)))?;
        Ok(Session::new(self.clone(), id))
    }

    /// Waits until this node's state machine holds everything that was acknowledged before, so that
    /// it may serve a linearizable read; see [`Consistency::Linearizable`].
    ///
    /// # Errors
    /// If no leader answers, or this node is overloaded or has stopped.
    pub async fn read(&self) -> Result<(), ClientError> {
        self.read_with(Consistency::Linearizable).await
    }

    /// Waits until this node may serve a read with this consistency; see [`ClientRead`].
    ///
    /// # Errors
    /// If no leader answers, lease reads are asked for and not enabled, or this node is overloaded
    /// or has stopped.
    pub async fn read_with(&self, consistency: Consistency) -> Result<(), ClientError> {
        let permit = Some(self.gate.enter(0).ok_or(ClientError::Overloaded)?);
        self.check_running()?;
        match self.raft.send(ClientRead { consistency, permit }).await {
            Ok(result) => result,
            // A read changes nothing, so one without an answer was not done.
            Err(_) => Err(stopped()),
        }
    }

    /// Forms a cluster; see [`InitWithConfig`].
    ///
    /// # Errors
    /// If the node has state already, or the members are no cluster.
    pub async fn initialize(
        &self,
        members: Vec<(NodeId, Address)>,
    ) -> Result<(), InitWithConfigError> {
        self.raft.send(InitWithConfig { members }).await.unwrap_or_else(|_| {
            Err(InitWithConfigError::Stopped { reason: "its actor is gone".to_string() })
        })
    }

    /// The node's metrics now; `None` if its actor is gone.
    pub async fn metrics(&self) -> Option<RaftMetrics> {
        self.raft.send(GetMetrics).await.ok()
    }

    /// Stops the node; see [`Shutdown`].
    pub async fn shutdown(&self) {
        // An actor that is gone has stopped.
        let _ = self.raft.send(Shutdown).await;
    }

    fn check_running(&self) -> Result<(), ClientError> {
        if self.raft.connected() { Ok(()) } else { Err(stopped()) }
    }
}

fn stopped() -> ClientError {
    ClientError::Stopped { reason: "its actor is gone".into() }
}

/// A command was handed over and the actor died: nobody knows what it did before.
fn lost(error: MailboxError) -> ClientError {
    ClientError::OutcomeUnknown { reason: format!("the node's actor ended: {error}").into() }
}
