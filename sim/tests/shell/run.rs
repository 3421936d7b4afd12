//! One run: a cluster and its clients, disturbed, healed, and looked at.

use std::cell::Cell;
use std::sync::{Arc, Mutex, Once};
use std::time::{Duration, SystemTime};

use actix_raft::messages::{Index, NodeId};
use turmoil::Sim;

use crate::client::{self, Office};
use crate::dice::Dice;
use crate::faults::Faults;
use crate::history;
use crate::node::{self, Machine, name};
use crate::operator;
use crate::record::{Counts, Phase, Record};
use crate::sockets::Links;
use crate::store::Put;

/// How long a cluster is disturbed, in virtual time.
const DISTURBED: Duration = Duration::from_secs(25);
/// How long a healed cluster may take until it serves everyone again, and until all replicas agree.
const PATIENCE: Duration = Duration::from_secs(15);
/// How much of that all clients are served for.
const SERVED: Duration = Duration::from_secs(2);

thread_local! {
    static PANICS: Cell<u64> = const { Cell::new(0) };
}

/// What is left of a run.
pub struct Report {
    pub trace: String,
    pub counts: Counts,
}

/// Runs a cluster of `size` nodes on this seed.
///
/// # Errors
/// What went wrong, with the trace of the run.
pub fn run(seed: u64, size: u64) -> Result<Report, String> {
    count_panics();
    let before = PANICS.get();
    // The transport spreads its attempts to connect at random.
    fastrand::seed(seed);
    let mut cluster = Cluster::new(seed, size);
    let mut ended = cluster.run();
    let recorded = cluster.record.lock();
    if PANICS.get() != before {
        ended = Err("something panicked".to_string());
    }
    let ended = recorded.wrong.clone().map_or(ended, Err);
    let (trace, counts) = (recorded.trace.clone(), recorded.counts);
    ended
        .map(|()| Report { trace: trace.clone(), counts })
        .map_err(|wrong| format!("{trace}{wrong}"))
}

/// A task that panics ends without a word, so count.
fn count_panics() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            PANICS.set(PANICS.get() + 1);
            hook(panic);
        }));
    });
}

struct Cluster {
    sim: Sim<'static>,
    faults: Faults,
    machines: Vec<Arc<Machine>>,
    record: Record,
}

impl Cluster {
    fn new(seed: u64, size: u64) -> Cluster {
        let mut sim = turmoil::Builder::new()
            .rng_seed(seed)
            .epoch(SystemTime::UNIX_EPOCH)
            .simulation_duration(Duration::MAX)
            .tick_duration(Duration::from_millis(2))
            .min_message_latency(Duration::from_millis(1))
            .max_message_latency(Duration::from_millis(30))
            // A link that lost a segment is full soon, and so found to be broken.
            .tcp_capacity(16)
            .enable_random_order()
            .build();
        let (record, links) = (Record::default(), Links::default());
        let members: Vec<NodeId> = (1..=size).map(NodeId).collect();
        // One that is not told of the cluster.
        let nodes: Vec<NodeId> = (1..=size + 1).map(NodeId).collect();
        let machine = |id: &NodeId| {
            let (record, members, links) = (record.clone(), members.clone(), links.clone());
            Arc::new(Machine { id: *id, members, seed, record, links, state: Mutex::default() })
        };
        let machines: Vec<Arc<Machine>> = nodes.iter().map(machine).collect();
        for machine in &machines {
            let machine = Arc::clone(machine);
            sim.host(name(machine.id), move || node::run(Arc::clone(&machine)));
        }
        let mut offices = Vec::new();
        for number in 0..=3 {
            let (nodes, record, links) = (nodes.clone(), record.clone(), links.clone());
            let office = Office { number, nodes, seed, record, links };
            offices.push(office.name());
            match number {
                3 => sim.client(office.name(), operator::run(office)),
                _ => sim.client(office.name(), client::run(office)),
            }
        }
        let (dice, hosts) = (Dice::new(seed, 0), machines.clone());
        let faults = Faults::new(hosts, offices, dice, record.clone(), links);
        Cluster { sim, faults, machines, record }
    }

    fn run(&mut self) -> Result<(), String> {
        while self.sim.elapsed() < DISTURBED {
            self.faults.step(&mut self.sim);
            self.step()?;
        }
        self.faults.end(&mut self.sim);
        self.record.lock().phase = Phase::Healed;
        self.until_served()?;
        let served = self.sim.elapsed() + SERVED;
        while self.sim.elapsed() < served {
            self.step()?;
        }
        self.record.lock().phase = Phase::Over;
        let journal = self.until_agreed()?;
        history::check(&self.record.lock().operations, &journal)
    }

    fn step(&mut self) -> Result<bool, String> {
        let over = self.sim.step().map_err(|error| error.to_string())?;
        self.record.lock().wrong.clone().map_or(Ok(over), Err)
    }

    /// Waits until each client was served since the network was healed.
    fn until_served(&mut self) -> Result<(), String> {
        let until = self.sim.elapsed() + PATIENCE;
        let before = self.record.lock().operations.len();
        let everyone = self.record.lock().operations.iter().map(|op| op.client).max();
        loop {
            let served = |client| {
                self.record.lock().operations[before..]
                    .iter()
                    .any(|op| op.client == client && op.was_served())
            };
            let all_are_members = self.record.lock().all_are_members;
            if all_are_members && (0..=everyone.unwrap_or(0)).all(served) {
                return Ok(());
            }
            if self.sim.elapsed() > until {
                return Err(format!(
                    "not everyone is served, or not all are members, {PATIENCE:?} after the faults"
                ));
            }
            self.step()?;
        }
    }

    /// Waits until all replicas hold the same, and nothing more can come.
    fn until_agreed(&mut self) -> Result<Vec<(Index, Put)>, String> {
        let until = self.sim.elapsed() + PATIENCE;
        // What clients no longer wait for may still be on its way.
        let quiet = self.sim.elapsed() + Duration::from_secs(3);
        loop {
            let over = self.step()?;
            let journal = |machine: &Arc<Machine>| {
                let state = machine.state.lock().unwrap();
                state.store.lock().unwrap().state_machine().journal.clone()
            };
            let first = journal(&self.machines[0]);
            let agreed = self.machines.iter().all(|machine| journal(machine) == first);
            if over && agreed && self.sim.elapsed() > quiet {
                let everything: Vec<_> = self.record.lock().agreed.clone().into_iter().collect();
                if first != everything {
                    return Err("something that was applied is gone".to_string());
                }
                return Ok(first);
            }
            if self.sim.elapsed() > until {
                return Err(format!("replicas differ {PATIENCE:?} after the last client"));
            }
        }
    }
}
