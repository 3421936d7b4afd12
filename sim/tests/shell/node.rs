//! One host of the cluster: the real actor on the real transport, and a server for clients.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::{Actor, Context, Handler};
use actix_raft::admin::{ConfigChangeError, ProposeConfigChange, TransferLeadershipError};
use actix_raft::client::Client;
use actix_raft::config::{Config, Lease, SnapshotPolicy};
use actix_raft::messages::{
    Address, ClientError, ClientPayload, ClientResponse, GroupId, NodeId, ResponseMode,
};
use actix_raft::metrics::{RaftMetrics, RaftState};
use actix_raft::raft::{Raft, RaftOptions};
use actix_raft::replicated::Replicated;
use actix_raft::tcp::{Responder, TcpNetwork, TransportConfig};
use actix_raft_log::crash::{CrashDisk, Survives};
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;

use crate::dice::Dice;
use crate::record::{Record, Request};
use crate::sockets::{Links, Simulated};
use crate::storage::CrashStorage;
use crate::store::Store;
use crate::wire::{Answer, Ask, decode_ask, encode_answer};

/// A node that runs answers within this time, whatever the network does: one that leads no longer
/// says so.
const LONGEST: Duration = Duration::from_secs(8);

/// What outlives the crashes of a node.
pub struct Machine {
    pub id: NodeId,
    /// The first members.
    pub members: Vec<NodeId>,
    pub seed: u64,
    pub record: Record,
    pub links: Links,
    pub state: Mutex<MachineState>,
}

pub struct MachineState {
    pub starts: u64,
    pub disk: CrashDisk,
    /// The state machine of the node that runs, or ran last.
    pub store: Arc<Mutex<Replicated<Store>>>,
    /// Tells the node that runs to stop.
    pub stop: Arc<Notify>,
}

impl Default for MachineState {
    fn default() -> MachineState {
        let store = Arc::new(Mutex::new(Replicated::new(Store::default())));
        MachineState { starts: 0, disk: CrashDisk::new(), store, stop: Arc::default() }
    }
}

/// The settings of a transport on the simulated network, where a connection that has lost a segment
/// never gets over it: so it must be noticed soon.
pub fn transport_config(id: NodeId) -> TransportConfig {
    let mut config = TransportConfig::new("shell", id, GroupId::default());
    config.connect_timeout = Duration::from_millis(400);
    config.handshake_timeout = Duration::from_millis(400);
    config.stall_timeout = Duration::from_millis(300);
    config
}

pub fn rpc_addr(id: NodeId) -> String {
    format!("{}:7000", name(id))
}

pub fn name(id: NodeId) -> String {
    format!("n{id}")
}

/// Runs the node until its host crashes.
pub async fn run(machine: Arc<Machine>) -> turmoil::Result {
    let Machine { id, ref record, .. } = *machine;
    let (storage, mut dice) = boot(&machine)?;
    let (store, stop) = {
        let state = machine.state.lock().unwrap();
        (Arc::clone(&state.store), Arc::clone(&state.stop))
    };
    let (asked, mut requests) = mpsc::unbounded_channel();
    let mut config = transport_config(id);
    config.advertise = Some(rpc_addr(id));
    let on_request = move |_, body, reply| {
        // The server below runs as long as the network.
        let _ = asked.send((body, reply));
    };
    let (links, host) = (machine.links.clone(), name(id));
    let sockets = Arc::new(Simulated { host, links, record: record.clone() });
    let network = TcpNetwork::bind_on(sockets, "0.0.0.0:7000", config, Box::new(on_request));
    let network = network.await?;
    let mut options = RaftOptions::new(id, storage.start(), network.clone().start());
    options.config = config_of(dice.any())?;
    options.metrics = Some(Watcher { record: record.clone() }.start().recipient());
    let client = Raft::start(options).await?;
    network.attach(&client);
    if id == machine.members[0] {
        let address = |id: &NodeId| (*id, Address::new(rpc_addr(*id), ""));
        // Refused by a node that has state already.
        let _ = client.initialize(machine.members.iter().map(address).collect()).await;
    }
    actix::spawn(stop_when_told(id, client.clone(), stop, record.clone()));
    while let Some((body, reply)) = requests.recv().await {
        let node =
            Node { id, client: client.clone(), store: Arc::clone(&store), record: record.clone() };
        let record = record.clone();
        let ask = decode_ask(&body);
        if let Ask::Members(_) | Ask::Transfer = ask {
            actix::spawn(async move { reply.reply(encode_answer(node.administer(ask).await)) });
            continue;
        }
        let served = node.serve(ask, reply);
        actix::spawn(async move {
            if timeout(LONGEST, served).await.is_err() {
                record.fail(format_args!("n{id} did not answer {body:?} for {LONGEST:?}"));
            }
        });
    }
    Err("the network ended before its host".into())
}

/// Snapshots so often, and so few entries behind them, that whoever was away needs one; in pieces
/// so small that faults come between them. Fewer sessions than clients.
fn config_of(seed: u64) -> Result<Config, actix_raft::config::ConfigError> {
    let policy = SnapshotPolicy { entries: Some(30), bytes: None, interval: None };
    Config::builder()
        .seed(seed)
        .snapshot_policy(policy)
        .entries_kept(10)
        .snapshot_chunk_bytes(700)
        .lease(Some(Lease { max_clock_drift_percent: 10 }))
        .catch_up_timeout(Duration::from_secs(2))
        .max_sessions(5)
        .build()
}

/// Opens what the disk holds after the last crash.
fn boot(machine: &Machine) -> Result<(CrashStorage, Dice), Box<dyn std::error::Error>> {
    let id = machine.id;
    let mut state = machine.state.lock().unwrap();
    let mut dice = Dice::new(machine.seed, id.0 * 1000 + state.starts + 1);
    let survives = if dice.percent(50) { Survives::Nothing } else { Survives::Some(dice.any()) };
    let (starts, disk) = (state.starts + 1, state.disk.crash(survives));
    *state = MachineState { starts, disk, ..MachineState::default() };
    let (disk, store) = (state.disk.clone(), Arc::clone(&state.store));
    let storage_dice = Dice::new(dice.any(), 0);
    let storage = CrashStorage::open(id, disk, store, storage_dice, machine.record.clone())?;
    machine.record.note(format_args!("n{id} starts, for the {starts}. time"));
    Ok((storage, dice))
}

/// Ends the node as an operator does: a leader hands over first.
async fn stop_when_told(id: NodeId, client: Client<Store>, stop: Arc<Notify>, record: Record) {
    stop.notified().await;
    let led = client.metrics().await.is_some_and(|metrics| metrics.is_leader());
    record.note(format_args!("n{id} is to stop, leads: {led}"));
    client.shutdown().await;
    record.lock().counts.stops += u64::from(led);
}

/// A node that carries out requests.
struct Node {
    id: NodeId,
    client: Client<Store>,
    store: Arc<Mutex<Replicated<Store>>>,
    record: Record,
}

impl Node {
    /// Carries out a request of a client.
    async fn serve(self, ask: Ask, reply: Responder) {
        let client = &self.client;
        let answer = match ask {
            Ask::Client(Request::Put(put)) => client.write(put).await.map(Answer::Done),
            Ask::Client(Request::Commit(put)) => {
                let payload = ClientPayload::new(put, ResponseMode::Committed);
                client.send(payload).await.map(|response| match response {
                    ClientResponse::Committed { .. } => Answer::Committed,
                    ClientResponse::Applied { response, .. } => Answer::Done(response),
                })
            }
            Ask::Client(Request::Write(put, serial)) => {
                let response = client.send(ClientPayload::in_session(put, serial)).await;
                response.map(|response| match response {
                    ClientResponse::Committed { .. } => Answer::Committed,
                    ClientResponse::Applied { response, .. } => Answer::Done(response),
                })
            }
            Ask::Client(Request::Get(key, consistency)) => {
                client.read_with(consistency).await.map(|()| {
                    let elsewhere = self.record.lock().last_leader() != Some(self.id);
                    self.record.lock().counts.elsewhere += u64::from(elsewhere);
                    Answer::Read(self.store.lock().unwrap().state_machine().get(key))
                })
            }
            Ask::Begin => client.session().await.map(|session| Answer::Begun(session.id())),
            Ask::Members(_) | Ask::Transfer => Ok(Answer::Refused),
        };
        let answer = answer.unwrap_or_else(|error| match error {
            ClientError::NotLeader { leader } => Answer::NotLeader(leader.map(|leader| leader.id)),
            ClientError::Transferring { to } => Answer::NotLeader(Some(to.id)),
            ClientError::Overloaded
            | ClientError::TooLarge { .. }
            | ClientError::DiskFull
            | ClientError::Stopped { .. } => Answer::Refused,
            ClientError::Session(_) => Answer::SessionOver,
            ClientError::OutcomeUnknown { .. } => Answer::Unknown,
            ClientError::AppliedBefore | ClientError::LeaseDisabled => {
                self.record.fail(format_args!("n{}: {error}", self.id));
                Answer::Unknown
            }
            ClientError::Rejected(never) => match never {},
        });
        reply.reply(encode_answer(answer));
    }

    /// Carries out a request of the operator, however long it takes.
    async fn administer(self, ask: Ask) -> Answer {
        let Ask::Members(wanted) = ask else {
            return match self.client.transfer_leadership(None).await {
                Ok(_) => Answer::Changed,
                Err(TransferLeadershipError::NotLeader { leader }) => {
                    Answer::NotLeader(leader.map(|leader| leader.id))
                }
                Err(_) => Answer::Refused,
            };
        };
        let metrics = self.client.metrics().await;
        let Some(members) = metrics.and_then(|metrics| metrics.membership) else {
            return Answer::NotLeader(None);
        };
        let removed = members.members().keys().copied().filter(|id| !wanted.contains(id));
        let change = ProposeConfigChange {
            remove_members: removed.collect(),
            add_members: wanted.iter().map(|id| (*id, Address::new(rpc_addr(*id), ""))).collect(),
            ..ProposeConfigChange::default()
        };
        match self.client.propose_config_change(change).await {
            Ok(_) | Err(ConfigChangeError::Noop) => Answer::Changed,
            Err(ConfigChangeError::NotLeader { leader }) => {
                Answer::NotLeader(leader.map(|leader| leader.id))
            }
            Err(ConfigChangeError::OutcomeUnknown { .. }) => Answer::Unknown,
            Err(error) => {
                self.record.note(format_args!("n{} changes no members: {error}", self.id));
                Answer::Refused
            }
        }
    }
}

/// Notes every change of role.
struct Watcher {
    record: Record,
}

impl Actor for Watcher {
    type Context = Context<Self>;
}

impl Handler<RaftMetrics> for Watcher {
    type Result = ();

    fn handle(&mut self, metrics: RaftMetrics, _: &mut Context<Self>) {
        let RaftMetrics { id, current_term, commit_index, .. } = metrics;
        match &metrics.state {
            RaftState::Running(role) => {
                let what = format!("n{id} {role} of term {current_term}, committed {commit_index}");
                self.record.note(what);
            }
            RaftState::Stopped { reason } if &**reason == "it was shut down" => {
                self.record.note(format_args!("n{id} has stopped"));
            }
            RaftState::Stopped { reason } => self.record.fail(format!("node {id}: {reason}")),
        }
        if metrics.is_leader() {
            self.record.leads(id, current_term);
        }
    }
}
