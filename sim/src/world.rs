//! A cluster, its network, disks, clocks and clients, advanced event by event from one seed.
//!
//! ```text
//!   Queue: what happens when        Server: core, log on its disk, state machine
//!   +--------------------+          +--------------------------------------------+
//!   | arrivals, timers,  |  step    | Raft --effects--> SimDisk, Network, Machine |
//!   | disks, clients,    | -------> |                                            |
//!   | faults             | <------- |        Laws look on, after every step      |
//!   +--------------------+          +--------------------------------------------+
//! ```
//!
//! There is one thread, no clock but the queue's, and no chance but the seed's: the same seed gives
//! the same world, byte for byte.
//!
//! | file | what is in it |
//! | --- | --- |
//! | here | time, steps |
//! | `world/turns.rs` | when servers act |
//! | `world/effects.rs` | carrying out what a core wants |
//! | `world/lives.rs` | disks at work; crashes, restarts |
//! | `world/snapshots.rs` | snapshots at work |
//! | `world/clients.rs` | clients and their answers |
//! | `world/operator.rs`, `world/changes.rs` | who changes the members, hands over, takes snapshots |
//! | `world/inject.rs` | faults as they begin and end |
//! | `world/odd.rs` | what a server must refuse |
//! | `world/ending.rs` | what must be well again after the faults |
//! | `world/by_hand.rs` | the same world, in which nothing happens but what a script says |

mod by_hand;
mod changes;
mod clients;
mod counts;
mod effects;
mod ending;
mod inject;
mod lives;
mod odd;
mod operator;
mod snapshots;
mod turns;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use actix_raft_core::effect::Effect;
use actix_raft_core::entry::Entry;
use actix_raft_core::event::{Event, LogReader};
use actix_raft_core::membership::{Address, Membership};
use actix_raft_core::status::Status;
use actix_raft_core::types::{Index, NodeId, Time};

use crate::clock::Clock;
use crate::coverage::{Coverage, Situation};
use crate::dice::Dice;
use crate::disk::SimDisk;
use crate::history::{self, Operation};
use crate::image::Image;
use crate::laws::{Broken, Laws, Shadow, Step};
use crate::network::{Network, Packet, unpack};
use crate::plan::{Plan, Weather};
use crate::queue::Queue;
use crate::server::{OperationId, Running, Server, State};
use crate::workload::{Response, Workload};
use clients::{Client, Reply};
pub use counts::Counts;
use inject::Active;
use operator::Operator;
pub(crate) use snapshots::{Job, Piece};

/// More steps than any world takes whose servers do not spin.
const MAX_STEPS: u64 = 3_000_000;

/// A simulated cluster. Most users want a [`Simulation`](crate::simulation::Simulation), which runs
/// many.
pub struct World<W: Workload> {
    pub(crate) plan: Plan,
    workload: W,
    membership: Membership,
    weather: Weather,
    now: Time,
    queue: Queue<Happening<W>>,
    pub(crate) servers: Vec<Server<W>>,
    pub(crate) shadows: Vec<Shadow>,
    pub(crate) network: Network,
    clients: Vec<Client>,
    /// Whether clients go on when they were answered.
    busy: bool,
    history: Vec<Operation<W>>,
    laws: Laws,
    coverage: Coverage,
    counts: Counts,
    /// The faults that have begun and not ended.
    active: BTreeMap<usize, Active>,
    operator: Operator,
    /// What was sent before this is lost.
    cleared: Option<Time>,
    /// What replicas answered to each entry, and what their states were.
    responses: Vec<Option<Response<W>>>,
    fingerprints: BTreeMap<Index, u64>,
    dice: Dice,
    client_dice: Dice,
    odd_dice: Dice,
    digest: u64,
    trace: Option<Trace>,
    /// What a world that is driven by hand shows, line by line; `None` in any other.
    shown: Option<Vec<String>>,
}

/// Receives each line of a world's trace.
pub type Trace = Box<dyn FnMut(String)>;

/// Something that happens.
enum Happening<W: Workload> {
    Arrives(Packet),
    /// A server, in this life, turns to what has arrived.
    Turns(usize, u64),
    TimerFires(usize, u64, Time),
    Saved(usize, u64),
    Applied(usize, u64),
    LogRead(usize, u64, LogReader),
    /// A disk is done with something for a snapshot.
    Worked(usize, u64),
    PieceRead(usize, u64, NodeId),
    /// What was read comes late.
    ReadComes(usize, u64, LogReader, Arc<[Entry]>),
    LinkBroke(usize, usize),
    Initialize(usize),
    FormsAgain(usize),
    Restart(usize),
    Resume(usize),
    /// A client goes on.
    Client(usize),
    /// An operation reaches a server.
    Reaches(usize, OperationId),
    Answer(OperationId, Reply<W>),
    GivesUp(OperationId),
    /// Someone reads at a server that may be a leader of the past.
    Glance,
    /// The operator goes on.
    Operator,
    FaultBegins(usize),
    FaultEnds(usize),
    Flaps(usize),
}

impl<W: Workload> World<W> {
    /// A world as a plan wants it, at its beginning.
    #[must_use]
    pub fn new(plan: Plan, workload: W) -> World<W> {
        let mut dice = Dice::new(plan.seed ^ 0x05ee_d0fa_1100);
        let ids = (1..=plan.nodes as u64).map(NodeId);
        let voters = ids.clone().take(plan.voters);
        // Where there are no clients, nobody reaches a server for them.
        let for_clients =
            |id| if plan.clients > 0 { format!("clients-{id}") } else { String::new() };
        let address = |id| Address::new(format!("server-{id}"), for_clients(id));
        let members = ids.clone().take(plan.members()).map(|id| (id, address(id)));
        let membership = Membership::new(voters.clone(), members)
            .expect("there is a voter, and all are members");
        let shadow = |id| Shadow {
            id,
            live: Image::default(),
            durable: Image::default(),
            applying: Index::ZERO,
            applied: Index::ZERO,
            snapshot: None,
            lost: None,
        };
        let clock = |place: usize| Clock::new(plan.clocks[place], Time(0));
        let server = |id: NodeId| {
            let clock = clock(id.0 as usize - 1);
            let disk = SimDisk::new(id, plan.segment_bytes, plan.disks_are_told_apart);
            Server::new(id, disk, clock, plan.config.clone())
        };
        let mut world = World {
            laws: Laws::new(&plan.config, &membership, plan.nodes),
            membership,
            weather: plan.weather.clone(),
            now: Time(0),
            queue: Queue::new(),
            servers: ids.clone().map(server).collect(),
            shadows: ids.map(shadow).collect(),
            network: Network::new(plan.nodes, plan.frame_bytes, dice.fork()),
            clients: (0..plan.clients).map(|_| Client::default()).collect(),
            busy: true,
            history: Vec::new(),
            coverage: Coverage::default(),
            counts: Counts::default(),
            active: BTreeMap::new(),
            operator: Operator::new(plan.seed),
            cleared: None,
            responses: Vec::new(),
            fingerprints: BTreeMap::new(),
            client_dice: dice.fork(),
            odd_dice: Dice::new(plan.seed ^ 0x0dd),
            dice,
            digest: 0,
            trace: None,
            shown: None,
            workload,
            plan,
        };
        for (place, planned) in world.plan.faults.iter().enumerate() {
            world.queue.put(Time(0) + planned.at, Happening::FaultBegins(place));
        }
        if !world.plan.acts.is_empty() {
            world.queue.put(Time(0) + world.plan.config.election_timeout * 3, Happening::Operator);
        }
        if world.plan.config.lease.is_some() {
            world.queue.put(Time(0) + world.plan.config.election_timeout, Happening::Glance);
        }
        for client in 0..world.clients.len() {
            let start = world.dice.duration(Duration::ZERO, world.plan.config.election_timeout);
            world.queue.put(Time(0) + start, Happening::Client(client));
        }
        world
    }

    /// From now on each step is told, in a line.
    pub fn set_trace(&mut self, trace: Trace) {
        self.trace = Some(trace);
    }

    /// What happened so far, as a number: two runs of a seed are the same if it is.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// Which situations came up.
    #[must_use]
    pub fn coverage(&self) -> &Coverage {
        &self.coverage
    }

    /// How much happened.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let committed = self.laws.committed().len() as u64;
        Counts { committed, crashes: self.counts.crashes, ..self.counts }
    }

    /// How long it has been simulated.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.now.since(Time(0))
    }

    /// What the world looks like: a line for each server.
    #[must_use]
    pub fn status(&self) -> Vec<String> {
        let line = |server: &Server<W>| match (server.status(), &server.state) {
            (Some(status), _) => status.to_string(),
            (None, State::Lost) => format!("id={} lost: its log is damaged", server.id),
            (None, _) => format!("id={} down", server.id),
        };
        self.servers.iter().map(line).collect()
    }

    /// Runs it from beginning to end: faults, their end, and what must be well again then.
    ///
    /// # Errors
    /// Names the law that was broken.
    pub fn run(&mut self) -> Result<(), Broken> {
        for at in 0..self.servers.len() {
            self.restart(at)?;
        }
        self.run_until(Time(0) + self.plan.chaos)?;
        self.end_well()?;
        self.laws.timeouts_are_spread()?;
        self.note_unknown();
        history::check(&self.workload, &self.history, self.laws.committed())
            .map_err(|what| Broken { law: "clients see one state machine (§8)", what })
    }

    /// Lets everything happen that happens up to this moment.
    pub(crate) fn run_until(&mut self, end: Time) -> Result<(), Broken> {
        while let Some((time, happening)) = self.queue.next_until(end) {
            self.now = self.now.max(time);
            let steps = self.counts.steps;
            crate::laws::law!(steps < MAX_STEPS, "servers come to rest", "{steps} steps");
            self.happens(happening)?;
        }
        self.now = self.now.max(end);
        Ok(())
    }

    pub(crate) fn tell(&mut self, line: impl FnOnce() -> String) {
        if let Some(shown) = &mut self.shown {
            shown.push(line());
        } else if let Some(trace) = &mut self.trace {
            let line = line();
            trace(format!("{} {line}", self.now));
        }
    }

    fn after(&mut self, wait: Duration, happening: Happening<W>) {
        self.queue.put(self.now + wait, happening);
    }

    /// Whether this server still lives the life that something was meant for.
    fn lives(&self, at: usize, life: u64) -> bool {
        self.servers[at].life == life && self.servers[at].is_up()
    }

    fn happens(&mut self, happening: Happening<W>) -> Result<(), Broken> {
        match happening {
            Happening::Arrives(packet) => self.arrives(packet)?,
            Happening::Turns(at, life) if self.lives(at, life) => self.turn(at)?,
            Happening::TimerFires(at, life, when) if self.lives(at, life) => {
                self.timer_fires(at, when);
            }
            Happening::Saved(at, life) if self.lives(at, life) => self.saved(at)?,
            Happening::Applied(at, life) if self.lives(at, life) => self.applied(at)?,
            Happening::LogRead(at, life, reader) if self.lives(at, life) => {
                self.log_read(at, reader)?;
            }
            Happening::Worked(at, life) if self.lives(at, life) => self.worked(at)?,
            Happening::PieceRead(at, life, to) if self.lives(at, life) => {
                self.piece_read(at, to)?;
            }
            Happening::ReadComes(at, life, reader, entries) if self.lives(at, life) => {
                self.hears(at, Event::LogRead { reader, entries });
            }
            Happening::Turns(..)
            | Happening::TimerFires(..)
            | Happening::Saved(..)
            | Happening::Applied(..)
            | Happening::LogRead(..)
            | Happening::Worked(..)
            | Happening::PieceRead(..)
            | Happening::ReadComes(..) => {}
            Happening::LinkBroke(at, peer) => {
                self.coverage.note(Situation::LinkReported);
                let peer = self.servers[peer].id;
                self.hears(at, Event::Unreachable { peer });
            }
            Happening::Initialize(at) => self.initialize(at),
            Happening::FormsAgain(at) => self.forms_again(at)?,
            Happening::Restart(at) => self.restart(at)?,
            Happening::Resume(at) => self.resume(at),
            Happening::Client(client) => self.client_goes_on(client),
            Happening::Reaches(at, operation) => self.reaches(at, operation),
            Happening::Answer(operation, reply) => self.answered(operation, reply),
            Happening::GivesUp(operation) => self.answered(operation, Reply::Unknown),
            Happening::Glance => self.glances(),
            Happening::Operator => self.operator_goes_on(),
            Happening::FaultBegins(place) => self.fault_begins(place)?,
            Happening::FaultEnds(place) => self.fault_ends(place),
            Happening::Flaps(place) => self.flaps(place),
        }
        Ok(())
    }

    fn arrives(&mut self, packet: Packet) -> Result<(), Broken> {
        let Packet { to, sent, .. } = packet;
        if self.cleared.is_some_and(|cleared| sent < cleared) {
            return Ok(());
        }
        if !self.servers[to].is_up() {
            return Ok(());
        }
        let (messages, refused) = unpack(&packet.bytes);
        let law = "a damaged frame is refused";
        crate::laws::law!(!packet.damaged || refused, law, "{} messages", messages.len());
        let read = !refused && *messages == *packet.messages;
        crate::laws::law!(packet.damaged || read, "what was sent is read", "{packet:?}");
        if refused {
            self.coverage.note(Situation::FrameRefused);
        }
        if packet.again {
            self.coverage.note(Situation::DuplicateHeard);
        }
        self.counts.messages += messages.len() as u64;
        for message in messages {
            self.may_forge(to, &message)?;
            self.hears(to, Event::Receive(message));
        }
        Ok(())
    }

    /// One step of a core, looked at by the laws.
    pub(crate) fn step(&mut self, at: usize, events: &[Event]) -> Result<(), Broken> {
        let shown = self.servers[at].clock.show(self.now);
        let Some(running) = self.servers[at].running() else { return Ok(()) };
        // A driver's clock is monotonic, whatever the machine's does.
        running.shown = running.shown.max(shown);
        let now = running.shown;
        let (before, deadline) = (running.raft.status(), running.raft.deadline());
        let effects = running.raft.step(now, events.iter().cloned());
        let (after, is_voter) = (running.raft.status(), is_voter(running, at));
        let deadlines = (deadline, running.raft.deadline());
        self.counts.steps += 1;
        self.note_step(at, &after, events, &effects);
        let clocks: Vec<Time> = self.servers.iter().map(|s| s.clock.show(self.now)).collect();
        let clocks = &clocks[..];
        let effects_of = &effects[..];
        let step = Step {
            at,
            now,
            before,
            after,
            is_voter,
            clocks,
            deadlines,
            events,
            effects: effects_of,
        };
        self.show_step(&step);
        self.note_reads(at, &step);
        self.laws.after_step(&step, &mut self.shadows, &mut self.coverage)?;
        self.carry_out(at, effects)?;
        self.arm_timer(at);
        Ok(())
    }

    fn note_step(&mut self, at: usize, status: &Status, events: &[Event], effects: &[Effect]) {
        let numbers = [
            self.now.0,
            at as u64,
            status.current_term.0,
            status.role as u64,
            status.commit_index.0,
            status.last_applied.0,
            status.last_log.index.0,
            status.last_durable.0,
            effects.len() as u64,
        ];
        for number in numbers {
            // FNV-1a, by words.
            self.digest = (self.digest ^ number).wrapping_mul(0x0100_0000_01b3);
        }
        if self.trace.is_some() {
            let events: Vec<String> = events.iter().map(Event::summary).collect();
            self.tell(|| format!("{status} <- {}", events.join("; ")));
            for effect in effects {
                if let Some(words) = in_words(effect) {
                    self.tell(|| format!("    {words}"));
                }
            }
        }
    }
}

/// What is of interest of what a server wants, beside its status.
fn in_words(effect: &Effect) -> Option<String> {
    match effect {
        Effect::Save { id, save } => {
            let runs = save.entries.iter().filter_map(|run| Some((run.first()?, run.last()?)));
            let runs: Vec<String> = runs
                .map(|(first, last)| format!("{} to {}", first.position(), last.position()))
                .collect();
            let base = save.base.as_ref().map(|base| format!(" base={}", base.last_included));
            let (base, runs) = (base.unwrap_or_default(), runs.join(", "));
            Some(format!("Save id={}{base} entries={runs}", id.0))
        }
        Effect::Send(message) => Some(format!("to {}: {}", message.to, message.body)),
        Effect::ReadLog { reader, first, last, .. } => {
            Some(format!("ReadLog for={reader:?} {first} to {last}"))
        }
        Effect::BuildSnapshot { base } => Some(format!("BuildSnapshot {}", base.last_included)),
        Effect::ReadSnapshot { to, snapshot, offset, .. } => {
            Some(format!("ReadSnapshot {} for={to} offset={offset}", snapshot.last_included()))
        }
        Effect::StoreSnapshotChunk { snapshot, chunk } => {
            let (at, offset) = (snapshot.last_included(), chunk.offset);
            Some(format!("StoreSnapshotChunk {at} offset={offset}"))
        }
        Effect::InstallSnapshot { snapshot } => {
            Some(format!("InstallSnapshot {}", snapshot.last_included()))
        }
        Effect::Apply { .. }
        | Effect::MembersChanged { .. }
        | Effect::Transferred { .. }
        | Effect::ElectionTriggered { .. }
        | Effect::SnapshotTaken { .. }
        | Effect::LogPurged { .. }
        | Effect::Initialized(_)
        | Effect::Proposed { .. }
        | Effect::Committed { .. }
        | Effect::LeadershipLost
        | Effect::ReadReady { .. }
        | Effect::ReadRefused { .. }
        | Effect::Violation { .. } => None,
    }
}

fn is_voter<W: Workload>(running: &Running<W>, at: usize) -> bool {
    let id = NodeId(at as u64 + 1);
    running.raft.membership().is_some_and(|(_, membership)| membership.is_voter(id))
}
