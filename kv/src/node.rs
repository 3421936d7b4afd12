//! One server: the Raft node, its store, and the way from a client's request to its answer.
//!
//! ```text
//!   HTTP --> execute --> this node leads:    Raft --> answer
//!                   \--> another node leads: over the Raft transport to its `serve_peer`
//! ```

use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Context, Handler};
use actix_raft::client::Client;
use actix_raft::messages::{ClientError, NodeId};
use actix_raft::metrics::{RaftMetrics, RaftState};
use actix_raft::tcp::{RequestError, TcpNetwork};
use prost::Message;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::command::{Answer, Failed, Failure, Operation, Request, Response};
use crate::settings::Settings;
use crate::state::{KvState, Published};

/// One server of the cluster, usable from any thread.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) raft: Client<KvState>,
    pub(crate) store: Published,
    pub(crate) metrics: watch::Receiver<Option<RaftMetrics>>,
    pub(crate) network: TcpNetwork,
    pub(crate) settings: Arc<Settings>,
}

/// A pause before a request is tried again where nothing tells when to.
const RETRY_PAUSE: Duration = Duration::from_millis(10);

impl Server {
    /// Answers a client, wherever the leader is. Tries again only what was surely not done.
    pub(crate) async fn execute(&self, operation: Operation) -> Answer {
        let started = Instant::now();
        let give_up = started + self.settings.leader_wait();
        let deadline = started + self.settings.request_timeout();
        let mut metrics = self.metrics.clone();
        loop {
            let answer = match timeout_at(deadline, self.attempt(&operation)).await {
                Ok(answer) => answer,
                Err(_) => return timed_out(&operation),
            };
            let Answer::Failed(failed) = &answer else { return answer };
            let again = match failed.failure() {
                Failure::NoLeader => true,
                // A read that may have been done may be done again.
                Failure::OutcomeUnknown => !matches!(operation, Operation::Write(_)),
                Failure::Overloaded | Failure::Stopping | Failure::BadRequest => false,
            };
            if !again || Instant::now() >= give_up {
                return answer;
            }
            // A new leader is news at once; otherwise the old one may just not know yet.
            metrics.mark_unchanged();
            let pause = (Instant::now() + RETRY_PAUSE).min(give_up);
            let _ = timeout_at(pause, metrics.changed()).await;
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
            Operation::Get(get) => match self.raft.read().await {
                Ok(()) => match self.store.current().get(&get.key) {
                    Some(item) => Answer::Found(item),
                    None => Answer::NotFound(true),
                },
                Err(error) => failed(&error).into(),
            },
            Operation::List(list) => match self.raft.read().await {
                Ok(()) => Answer::Listed(self.store.current().list(&list)),
                Err(error) => failed(&error).into(),
            },
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
            Ok(Some(operation)) => {
                let patience = self.settings.request_timeout();
                match tokio::time::timeout(patience, self.execute_here(operation.clone())).await {
                    Ok(answer) => answer,
                    Err(_) => timed_out(&operation),
                }
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

fn timed_out(operation: &Operation) -> Answer {
    match operation {
        Operation::Write(_) => {
            Failed::new(Failure::OutcomeUnknown, "the write was not answered in time").into()
        }
        Operation::Get(_) | Operation::List(_) => {
            Failed::new(Failure::NoLeader, "no leader confirmed in time that it still leads").into()
        }
    }
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
        ClientError::OutcomeUnknown { .. }
        | ClientError::Session(_)
        | ClientError::AppliedBefore => Failure::OutcomeUnknown,
        ClientError::Rejected(never) => match *never {},
        ClientError::Overloaded | ClientError::DiskFull => Failure::Overloaded,
        ClientError::LeaseDisabled => Failure::BadRequest,
        ClientError::Stopped { .. } => Failure::Stopping,
        ClientError::TooLarge { .. } => Failure::BadRequest,
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
