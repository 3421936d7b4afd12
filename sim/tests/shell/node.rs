//! One host of the cluster: the real actor on the real transport, and a server for clients.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::{Actor, Context, Handler};
use actix_raft::client::Client;
use actix_raft::config::{Config, SnapshotPolicy};
use actix_raft::messages::{
    Address, ClientError, ClientPayload, ClientResponse, GroupId, NodeId, ResponseMode,
};
use actix_raft::metrics::{RaftMetrics, RaftState};
use actix_raft::raft::{Raft, RaftOptions};
use actix_raft::tcp::{Responder, TcpNetwork, TransportConfig};
use actix_raft_log::crash::{CrashDisk, Survives};
use actix_raft_log::error::OpenError;
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::dice::Dice;
use crate::record::{Record, Request};
use crate::sockets::{Links, Simulated};
use crate::storage::CrashStorage;
use crate::store::Store;
use crate::wire::{Answer, decode_request, encode_answer};

/// A node that runs answers within this time, whatever the network does: one that leads no longer
/// says so.
const LONGEST: Duration = Duration::from_secs(8);

/// What outlives the crashes of a node.
pub struct Machine {
    pub id: NodeId,
    pub members: Vec<NodeId>,
    pub seed: u64,
    pub record: Record,
    pub links: Links,
    pub state: Mutex<MachineState>,
}

#[derive(Default)]
pub struct MachineState {
    pub starts: u64,
    pub disk: CrashDisk,
    /// The state machine of the node that runs, or ran last.
    pub store: Arc<Mutex<Store>>,
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
    let store = Arc::clone(&machine.state.lock().unwrap().store);
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
    // Often enough that a node that was away for a while finds the log purged.
    let policy = SnapshotPolicy { entries: Some(20), bytes: None, interval: None };
    let config = Config::builder().seed(dice.any()).snapshot_policy(policy).entries_kept(5);
    options.config = config.snapshot_chunk_bytes(100).build()?;
    options.metrics = Some(Watcher { record: record.clone() }.start().recipient());
    let client = Raft::start(options).await?;
    network.attach(&client);
    if id == machine.members[0] {
        let address = |id: &NodeId| (*id, Address::new(rpc_addr(*id), ""));
        // Refused by a node that has state already.
        let _ = client.initialize(machine.members.iter().map(address).collect()).await;
    }
    while let Some((body, reply)) = requests.recv().await {
        let served = serve(client.clone(), Arc::clone(&store), body.clone(), reply);
        let record = record.clone();
        actix::spawn(async move {
            if timeout(LONGEST, served).await.is_err() {
                record.fail(format_args!("n{id} did not answer {body:?} for {LONGEST:?}"));
            }
        });
    }
    Err("the network ended before its host".into())
}

/// Opens what the disk holds after the last crash.
fn boot(machine: &Machine) -> Result<(CrashStorage, Dice), OpenError> {
    let id = machine.id;
    let mut state = machine.state.lock().unwrap();
    state.starts += 1;
    let mut dice = Dice::new(machine.seed, id.0 * 1000 + state.starts);
    let survives = if dice.percent(50) { Survives::Nothing } else { Survives::Some(dice.any()) };
    state.disk = state.disk.crash(survives);
    state.store = Arc::default();
    let (disk, store) = (state.disk.clone(), Arc::clone(&state.store));
    let storage_dice = Dice::new(dice.any(), 0);
    let storage = CrashStorage::open(id, disk, store, storage_dice, machine.record.clone())?;
    machine.record.note(format_args!("n{id} starts, for the {}. time", state.starts));
    Ok((storage, dice))
}

/// Carries out a request of a client.
async fn serve(client: Client<Store>, store: Arc<Mutex<Store>>, body: Bytes, reply: Responder) {
    let request = decode_request(&body);
    let answer = match request {
        Request::Put(put) => client.write(put).await.map(Answer::Done),
        Request::Commit(put) => {
            let payload = ClientPayload::new(put, ResponseMode::Committed);
            client.send(payload).await.map(|response| match response {
                ClientResponse::Committed { .. } => Answer::Committed,
                ClientResponse::Applied { response, .. } => Answer::Done(response),
            })
        }
        Request::Get(key) => {
            let allowed = client.read().await;
            allowed.map(|()| Answer::Read(store.lock().unwrap().get(key)))
        }
    };
    let answer = answer.unwrap_or_else(|error| match error {
        ClientError::NotLeader { leader } => Answer::NotLeader(leader.map(|leader| leader.id)),
        ClientError::Transferring { to } => Answer::NotLeader(Some(to.id)),
        ClientError::Overloaded
        | ClientError::DiskFull
        | ClientError::TooLarge { .. }
        | ClientError::LeaseDisabled
        | ClientError::Stopped { .. } => Answer::Refused,
        ClientError::OutcomeUnknown { .. }
        | ClientError::Session(_)
        | ClientError::AppliedBefore => Answer::Unknown,
    });
    reply.reply(encode_answer(answer));
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
            RaftState::Stopped { reason } => self.record.fail(format!("node {id}: {reason}")),
        }
        if metrics.is_leader() {
            self.record.leads(id, current_term);
        }
    }
}
