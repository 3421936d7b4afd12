//! One server: the Raft node, its store, and the way from a client's request to its answer.
//!
//! ```text
//!   HTTP --> execute --> this node leads:    Raft --> answer
//!                   \--> another node leads: over the Raft transport to its `serve_peer`
//!        --> read    --> this node's own state, once Raft says that it is fresh enough
//! ```

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use actix::{Actor, Context, Handler};
use actix_raft::client::Client;
use actix_raft::messages::{ClientError, ClientPayload, ClientResponse, Consistency, NodeId};
use actix_raft::metrics::{RaftMetrics, RaftState};
use actix_raft::sessions::{RegisterSession, Serial, SessionId};
use actix_raft::tcp::{RequestError, TcpNetwork};
use prost::Message;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::administer::{LeaderCommand, administer_here};
use crate::command::{Answer, Failed, Failure, Operation, Request, Response, SessionWrite};
use crate::settings::Settings;
use crate::state::{KvState, Published, View};

/// One server of the cluster, usable from any thread.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) raft: Client<KvState>,
    pub(crate) store: Published,
    pub(crate) metrics: watch::Receiver<Option<RaftMetrics>>,
    pub(crate) network: TcpNetwork,
    pub(crate) settings: Arc<Settings>,
    /// Whether this server is about to stop, and its clients are asked to go elsewhere.
    pub(crate) draining: Arc<AtomicBool>,
}

/// A pause before a request is tried again where nothing tells when to.
const RETRY_PAUSE: Duration = Duration::from_millis(10);

impl Server {
    /// Answers a client, wherever the leader is. Tries again only what was surely not done, or may be
    /// done again.
    pub(crate) async fn execute(&self, operation: Operation) -> Answer {
        let started = Instant::now();
        let give_up = started + self.settings.leader_wait();
        let deadline = started + self.settings.request_timeout();
        loop {
            let answer = match timeout_at(deadline, self.attempt(&operation)).await {
                Ok(answer) => answer,
                Err(_) => return timed_out(),
            };
            let Answer::Failed(failed) = &answer else { return answer };
            if failed.failure() != Failure::NoLeader || !self.wait_for_news(give_up).await {
                return answer;
            }
        }
    }

    /// The state, as fresh as is asked for. This server reads it itself, whoever leads.
    pub(crate) async fn read(&self, consistency: Consistency) -> Result<View, Failed> {
        let started = Instant::now();
        let give_up = started + self.settings.leader_wait();
        let deadline = started + self.settings.request_timeout();
        loop {
            let error = match timeout_at(deadline, self.raft.read_with(consistency)).await {
                Ok(Ok(())) => return Ok(self.store.current()),
                Ok(Err(error)) => failed(&error),
                Err(_) => {
                    let message = "no leader confirmed in time that it still leads";
                    return Err(Failed::new(Failure::NoLeader, message));
                }
            };
            // A read that may have been done may be done again.
            let again = matches!(error.failure(), Failure::NoLeader | Failure::OutcomeUnknown);
            if !again || !self.wait_for_news(give_up).await {
                return Err(error);
            }
        }
    }

    /// Waits until it is worth trying again; false if it is time to give up.
    async fn wait_for_news(&self, give_up: Instant) -> bool {
        if Instant::now() >= give_up {
            return false;
        }
        let mut metrics = self.metrics.clone();
        // A new leader is news at once; otherwise the old one may just not know yet.
        metrics.mark_unchanged();
        let pause = (Instant::now() + RETRY_PAUSE).min(give_up);
        let _ = timeout_at(pause, metrics.changed()).await;
        true
    }

    /// Has the leader do what an operator wants, however long it takes.
    pub(crate) async fn administer(&self, command: &LeaderCommand) -> Answer {
        let give_up = Instant::now() + self.settings.leader_wait();
        // Its own types always are JSON.
        let json = serde_json::to_string(command).unwrap_or_default();
        let operation = Operation::Administer(json);
        loop {
            let answer = self.attempt(&operation).await;
            let Answer::Failed(failed) = &answer else { return answer };
            if failed.failure() != Failure::NoLeader || !self.wait_for_news(give_up).await {
                return answer;
            }
        }
    }

    /// One attempt, here or at the leader.
    async fn attempt(&self, operation: &Operation) -> Answer {
        let (own_id, leader) = match &*self.metrics.borrow() {
            Some(metrics) => (Some(metrics.id), metrics.leader),
            None => (None, None),
        };
        match leader {
            Some(leader) if Some(leader) != own_id => self.forward(leader, operation).await,
            _ => self.execute_here(operation.clone()).await,
        }
    }

    /// Executes a request on this node, if it leads.
    async fn execute_here(&self, operation: Operation) -> Answer {
        match operation {
            Operation::Write(command) => match self.raft.write(command).await {
                Ok(answer) => answer,
                Err(error) => failed(&error).into(),
            },
            Operation::SessionWrite(write) => self.write_in_session(write).await,
            Operation::Register(_) => {
                match self.raft.address().send(RegisterSession::default()).await {
                    Ok(Ok(session)) => Answer::Registered(session.0),
                    Ok(Err(error)) => failed(&error).into(),
                    Err(error) => Failed::new(Failure::OutcomeUnknown, error.to_string()).into(),
                }
            }
            Operation::Administer(command) => administer_here(&self.raft, &command).await,
        }
    }

    async fn write_in_session(&self, write: SessionWrite) -> Answer {
        let Some(command) = write.command else {
            return Failed::new(Failure::BadRequest, "there is nothing to write").into();
        };
        let SessionWrite { number, answered_below, .. } = write;
        let serial = Serial { session: SessionId(write.session), number, answered_below };
        match self.raft.send(ClientPayload::in_session(command, serial)).await {
            Ok(ClientResponse::Applied { response, .. }) => response,
            Ok(ClientResponse::Committed { .. }) => {
                Failed::new(Failure::OutcomeUnknown, "it was answered before it was applied").into()
            }
            Err(error) => failed(&error).into(),
        }
    }

    /// Has the leader execute a request.
    async fn forward(&self, leader: NodeId, operation: &Operation) -> Answer {
        let request = Request { operation: Some(operation.clone()) };
        let address = self.address_of(leader);
        let sent = self.network.request(leader, &address, request.encode_to_vec().into()).await;
        match sent {
            Ok(bytes) => match Response::decode(bytes).map(|response| response.answer) {
                // That the leader stops is no reason for this server to refuse.
                Ok(Some(Answer::Failed(failed))) if failed.failure() == Failure::Stopping => {
                    Failed::new(Failure::NoLeader, failed.message).into()
                }
                Ok(Some(answer)) => answer,
                Ok(None) => Failed::new(
                    Failure::OutcomeUnknown,
                    "the leader's answer is of a kind that this version does not know",
                )
                .into(),
                Err(error) => Failed::new(
                    Failure::OutcomeUnknown,
                    format!("the leader's answer can't be read: {error}"),
                )
                .into(),
            },
            Err(error) => Failed::new(failure_of(&error), error.to_string()).into(),
        }
    }

    /// Serves a request that another server forwarded. It is not forwarded again.
    pub(crate) async fn serve_peer(&self, body: bytes::Bytes) -> bytes::Bytes {
        let answer = match Request::decode(body).map(|request| request.operation) {
            // A change of members may take long, and ends by itself.
            Ok(Some(operation @ Operation::Administer(_))) => self.execute_here(operation).await,
            Ok(Some(operation)) => {
                let patience = self.settings.request_timeout();
                let answer = tokio::time::timeout(patience, self.execute_here(operation)).await;
                answer.unwrap_or_else(|_| timed_out())
            }
            Ok(None) | Err(_) => {
                Failed::new(Failure::BadRequest, "the forwarded request can't be read").into()
            }
        };
        Response { answer: Some(answer) }.encode_to_vec().into()
    }

    /// The address of a member for other servers; empty if it is not known here.
    fn address_of(&self, id: NodeId) -> String {
        let metrics = self.metrics.borrow();
        let membership = metrics.as_ref().and_then(|metrics| metrics.membership.as_ref());
        let address = membership.and_then(|membership| membership.address(id));
        address.map(|address| address.rpc.clone()).unwrap_or_default()
    }
}

fn timed_out() -> Answer {
    Failed::new(Failure::OutcomeUnknown, "the write was not answered in time").into()
}

/// What a request that the transport could not finish means for the client.
fn failure_of(error: &RequestError) -> Failure {
    match error {
        RequestError::NotSent { .. } => Failure::NoLeader,
        RequestError::Overloaded { .. } => Failure::Overloaded,
        // The peer drops requests only while it starts or stops; it may have done this one.
        RequestError::Unknown { .. } | RequestError::Refused { .. } => Failure::OutcomeUnknown,
        RequestError::TooLarge { .. } => Failure::BadRequest,
    }
}

fn failed(error: &ClientError) -> Failed {
    let failure = match error {
        ClientError::NotLeader { .. } | ClientError::Transferring { .. } => Failure::NoLeader,
        // The responses of this application are kept, so the second never comes.
        ClientError::OutcomeUnknown { .. } | ClientError::AppliedBefore => Failure::OutcomeUnknown,
        ClientError::Overloaded => Failure::Overloaded,
        ClientError::DiskFull => Failure::DiskFull,
        ClientError::Stopped { .. } => Failure::Stopping,
        ClientError::TooLarge { .. } => Failure::BadRequest,
        ClientError::Session(_) => Failure::SessionOver,
        ClientError::LeaseDisabled => Failure::LeaseDisabled,
        ClientError::Rejected(never) => match *never {},
    };
    Failed::new(failure, error.to_string())
}

/// Receives the node's metrics and hands them to whoever watches.
pub(crate) struct MetricsWatch(pub(crate) watch::Sender<Option<RaftMetrics>>);

impl Actor for MetricsWatch {
    type Context = Context<Self>;
}

impl Handler<RaftMetrics> for MetricsWatch {
    type Result = ();

    fn handle(&mut self, metrics: RaftMetrics, _: &mut Context<Self>) {
        self.0.send_replace(Some(metrics));
    }
}

/// Why the node stopped, if it did.
pub(crate) fn stop_reason(metrics: Option<&RaftMetrics>) -> Option<String> {
    match &metrics?.state {
        RaftState::Stopped { reason } => Some(reason.to_string()),
        RaftState::Running(_) => None,
    }
}
