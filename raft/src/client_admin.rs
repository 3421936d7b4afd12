//! What an operator asks of a node, as methods of its handle.

use std::sync::Arc;

use actix::dev::ToEnvelope;
use actix::{Actor, Handler, MailboxError, Message};

use crate::admin::{
    AddNonVoter, ChangeMembers, Changed, ConfigChangeError, Explain, Explanation,
    ProposeConfigChange, PurgeLog, PurgeLogError, Stopped, TransferLeadership,
    TransferLeadershipError, TriggerElection, TriggerElectionError, TriggerSnapshot,
    TriggerSnapshotError, UpdateConfig, UpdateConfigError,
};
use crate::application::Application;
use crate::client::Client;
use crate::messages::{Address, Index, LogPosition, NodeId};
use crate::raft::Raft;

impl<A: Application> Client<A> {
    /// Adds voters and removes members; see [`ProposeConfigChange`].
    ///
    /// # Errors
    /// If this node does not lead, or the change can't be made or did not come to its end.
    pub async fn propose_config_change(
        &self,
        change: ProposeConfigChange,
    ) -> Result<Changed, ConfigChangeError> {
        self.change(change).await
    }

    /// Adds a member that has no vote; see [`AddNonVoter`].
    ///
    /// # Errors
    /// As of [`Client::propose_config_change`].
    pub async fn add_non_voter(
        &self,
        id: NodeId,
        address: Address,
    ) -> Result<Changed, ConfigChangeError> {
        self.change(AddNonVoter { id, address }).await
    }

    /// Changes members in any way; see [`ChangeMembers`].
    ///
    /// # Errors
    /// As of [`Client::propose_config_change`].
    pub async fn change_members(
        &self,
        change: ChangeMembers,
    ) -> Result<Changed, ConfigChangeError> {
        self.change(change).await
    }

    /// Hands leadership over, to a certain voter or to the best; see [`TransferLeadership`].
    ///
    /// # Errors
    /// If this node does not lead, or goes on to lead.
    pub async fn transfer_leadership(
        &self,
        to: Option<NodeId>,
    ) -> Result<NodeId, TransferLeadershipError> {
        let stopped = |reason| Err(TransferLeadershipError::Stopped { reason });
        self.ask(TransferLeadership { to }).await.unwrap_or_else(stopped)
    }

    /// Makes this node stand for election; see [`TriggerElection`].
    ///
    /// # Errors
    /// If it can't.
    pub async fn trigger_election(&self) -> Result<(), TriggerElectionError> {
        let stopped = |reason| Err(TriggerElectionError::Stopped { reason });
        self.ask(TriggerElection).await.unwrap_or_else(stopped)
    }

    /// Takes a snapshot now; see [`TriggerSnapshot`].
    ///
    /// # Errors
    /// If there is nothing to take, or it fails.
    pub async fn trigger_snapshot(&self) -> Result<LogPosition, TriggerSnapshotError> {
        let stopped = |reason| Err(TriggerSnapshotError::Stopped { reason });
        self.ask(TriggerSnapshot).await.unwrap_or_else(stopped)
    }

    /// Removes entries from this node's log; see [`PurgeLog`].
    ///
    /// # Errors
    /// If no snapshot includes them.
    pub async fn purge_log(&self, until: Option<Index>) -> Result<LogPosition, PurgeLogError> {
        let stopped = |reason| Err(PurgeLogError::Stopped { reason });
        self.ask(PurgeLog { until }).await.unwrap_or_else(stopped)
    }

    /// Changes this node's configuration; see [`UpdateConfig`].
    ///
    /// # Errors
    /// If no node can work with it.
    pub async fn update_config(&self, update: UpdateConfig) -> Result<(), UpdateConfigError> {
        let stopped = |reason| Err(UpdateConfigError::Stopped { reason });
        self.ask(update).await.unwrap_or_else(stopped)
    }

    /// Why there is no leader, or why a write waits; see [`Explain`].
    ///
    /// # Errors
    /// If the node has stopped.
    pub async fn explain(&self) -> Result<Explanation, Stopped> {
        self.ask(Explain).await.unwrap_or_else(|reason| Err(Stopped { reason }))
    }

    async fn change<M>(&self, change: M) -> Result<Changed, ConfigChangeError>
    where
        M: Message<Result = Result<Changed, ConfigChangeError>> + Send + 'static,
        Raft<A>: Handler<M>,
        <Raft<A> as Actor>::Context: ToEnvelope<Raft<A>, M>,
    {
        if !self.address().connected() {
            return Err(ConfigChangeError::Stopped { reason: "its actor is gone".into() });
        }
        // Handed over, and the actor died: nobody knows what it did before.
        self.ask(change)
            .await
            .unwrap_or_else(|reason| Err(ConfigChangeError::OutcomeUnknown { reason }))
    }

    async fn ask<M>(&self, message: M) -> Result<M::Result, Arc<str>>
    where
        M: Message + Send + 'static,
        M::Result: Send,
        Raft<A>: Handler<M>,
        <Raft<A> as Actor>::Context: ToEnvelope<Raft<A>, M>,
    {
        let gone = |error: MailboxError| format!("its actor ended: {error}").into();
        self.address().send(message).await.map_err(gone)
    }
}
