//! A cluster in a bad world: everything that may happen to it does, in an order that a seed picks.

use std::time::Duration;

use actix_raft_core::config::Config;
use actix_raft_core::entry::Entry;
use actix_raft_core::event::{Event, LogReader, ProposalId, ReadId};
use actix_raft_core::membership::Membership;
use actix_raft_core::message::Message;
use actix_raft_core::random::Random;
use actix_raft_core::status::{RoleName, TraceHook};
use actix_raft_core::types::{NodeId, Time};
use bytes::Bytes;

use crate::laws::Laws;
use crate::support::disk::Image;
use crate::support::server::Server;
use crate::support::words::{HEARTBEAT, T, voters};

/// How bad the world is, in chances out of a thousand.
struct Weather {
    loss: u64,
    doubled: u64,
    longest_delay: Duration,
    /// That a server finds the time to act in a tick.
    attention: u64,
    /// That a disk finishes what it was given in a tick.
    disk: u64,
    crash: u64,
    /// That a server stands still for a while, as a stopped process does.
    pause: u64,
    restart: u64,
    partition: u64,
    heal: u64,
    client: u64,
}

impl Weather {
    fn of(random: &mut Random) -> Weather {
        let mut pick = |from: u64, to: u64| from + random.next_u64() % (to - from);
        let is_calm = pick(0, 4) == 0;
        Weather {
            loss: [0, 20, 150, 400][pick(0, 4) as usize],
            doubled: [0, 50, 200][pick(0, 3) as usize],
            longest_delay: Duration::from_millis([2, 20, 60, 300][pick(0, 4) as usize]),
            attention: [1000, 700, 300][pick(0, 3) as usize],
            disk: [1000, 500, 100, 30][pick(0, 4) as usize],
            crash: if is_calm { 0 } else { pick(0, 8) },
            pause: if is_calm { 0 } else { pick(0, 6) },
            restart: pick(20, 200),
            partition: if is_calm { 0 } else { pick(0, 25) },
            heal: pick(3, 40),
            client: pick(100, 900),
        }
    }

    /// Nothing goes wrong.
    fn fine() -> Weather {
        Weather {
            loss: 0,
            doubled: 0,
            longest_delay: Duration::from_millis(3),
            attention: 1000,
            disk: 1000,
            crash: 0,
            pause: 0,
            restart: 1000,
            partition: 0,
            heal: 1000,
            client: 0,
        }
    }
}

pub struct World {
    pub laws: Laws,
    servers: Vec<Server>,
    random: Random,
    now: Time,
    weather: Weather,
    membership: Membership,
    /// The servers that are told of the cluster; the others learn of it from them.
    told: Vec<usize>,
    durable_state_machine: bool,
    flying: Vec<(Time, Message)>,
    /// Answers that helpers have ready but the core has not heard, for each server.
    ready: Vec<Vec<Event>>,
    /// Until when a server stands still.
    asleep: Vec<Time>,
    /// Servers that will never start again.
    dead: Vec<bool>,
    /// `cut[from][to]`
    cut: Vec<Vec<bool>>,
    names: u64,
    trace: Option<fn() -> TraceHook>,
}

impl World {
    pub fn new(seed: u64, trace: Option<fn() -> TraceHook>) -> World {
        let mut random = Random::new(seed);
        let mut pick = |from: u64, to: u64| from + random.next_u64() % (to - from);
        let count = [1, 2, 3, 3, 3, 5, 5][pick(0, 7) as usize];
        let config = Config {
            election_timeout: T,
            heartbeat_interval: HEARTBEAT,
            pre_vote: pick(0, 4) > 0,
            check_quorum: pick(0, 4) > 0,
            max_append_bytes: pick(1, 600) as usize,
            max_in_flight_appends: pick(1, 6) as usize,
            max_in_flight_bytes: pick(1, 1200) as usize,
            max_apply_bytes: pick(1, 400) as usize,
            max_uncommitted_bytes: pick(100, 4000) as usize,
            recent_entries_bytes: [0, 100, 500, 100_000][pick(0, 4) as usize],
            seed: 0,
        };
        let told: Vec<usize> = match pick(0, 3) {
            0 => vec![pick(0, count) as usize],
            _ => (0..count as usize).collect(),
        };
        let durable_state_machine = pick(0, 2) == 0;
        let start = |id: u64| {
            let config = Config { seed: random.next_u64(), ..config.clone() };
            Server::start(NodeId(id), config, Image::default(), Time(0))
        };
        let servers = (1..=count).map(start).collect();
        let weather = Weather::of(&mut random);
        let mut world = World {
            laws: Laws::default(),
            servers,
            random,
            now: Time(0),
            weather,
            membership: voters(1..=count),
            told,
            durable_state_machine,
            flying: Vec::new(),
            ready: vec![Vec::new(); count as usize],
            asleep: vec![Time(0); count as usize],
            dead: vec![false; count as usize],
            cut: vec![vec![false; count as usize]; count as usize],
            names: 0,
            trace,
        };
        (0..world.servers.len()).for_each(|at| world.set_trace(at));
        world
    }

    fn set_trace(&mut self, at: usize) {
        if let Some(hook) = self.trace {
            self.servers[at].raft().set_trace(hook());
        }
    }

    fn pick(&mut self, below: usize) -> usize {
        (self.random.next_u64() % below as u64) as usize
    }

    fn chance(&mut self, in_thousand: u64) -> bool {
        self.random.next_u64() % 1000 < in_thousand
    }

    /// Bad times, one after another.
    pub fn suffer(&mut self, ticks: usize) {
        for tick in 1..=ticks {
            self.tick();
            if tick % 150 == 0 {
                self.weather = Weather::of(&mut self.random);
            }
        }
    }

    /// A little time passes.
    fn tick(&mut self) {
        self.now = self.now + Duration::from_micros(self.random.next_u64() % 6000);
        if self.chance(self.weather.partition) {
            self.partition();
        }
        if self.chance(self.weather.heal) {
            self.cut.iter_mut().for_each(|row| row.fill(false));
        }
        for at in 0..self.servers.len() {
            if !self.servers[at].is_up() {
                if !self.dead[at] && self.chance(self.weather.restart) {
                    self.servers[at].restart(self.now);
                    self.set_trace(at);
                }
                continue;
            }
            if self.chance(self.weather.crash) {
                self.crash(at);
                continue;
            }
            self.help(at);
            if self.chance(self.weather.pause) {
                self.pause(at);
            }
            if self.asleep[at] <= self.now && self.chance(self.weather.attention) {
                self.act(at);
            }
        }
    }

    /// Cuts servers off from each other, sometimes in one direction only.
    fn partition(&mut self) {
        let count = self.servers.len();
        let mut side: Vec<usize> = (0..count).map(|_| self.pick(2)).collect();
        if self.chance(500) {
            // A leader alone goes on for a while, and its log becomes another one.
            let leads =
                |server: &Server| server.is_up() && server.status().role == RoleName::Leader;
            side = self.servers.iter().map(|server| usize::from(leads(server))).collect();
            // Or it stands still, and what was on its way to it is all that it finds.
            if let Some(leader) = side.iter().position(|side| *side == 1) {
                self.pause(leader);
            }
        }
        let one_way = self.chance(300);
        for (from, to) in (0..count).flat_map(|from| (0..count).map(move |to| (from, to))) {
            self.cut[from][to] = side[from] < side[to] || (!one_way && side[from] > side[to]);
        }
    }

    fn pause(&mut self, at: usize) {
        let time = Duration::from_millis([0, 50, 500][self.pick(3)]);
        self.asleep[at] = self.now + time;
    }

    fn crash(&mut self, at: usize) {
        // What the disk was about to finish, it may have finished.
        while self.chance(300) && self.servers[at].disk.complete_one().is_some() {
            self.laws.became_durable(&self.servers[at]);
        }
        let server = &mut self.servers[at];
        let applied: Vec<Entry> = server.applied.clone();
        server.crash();
        if self.durable_state_machine {
            server.applied = applied;
        }
        self.laws.crashed(server.id);
        self.ready[at].clear();
    }

    /// Disk and state machine get on with their work.
    fn help(&mut self, at: usize) {
        let mut last = None;
        while self.chance(self.weather.disk) {
            let Some(id) = self.servers[at].disk.complete_one() else { break };
            self.laws.became_durable(&self.servers[at]);
            last = Some(Event::Saved { id });
            // A disk may join writes, and then tells of the last only.
            if self.chance(500) {
                self.ready[at].extend(last.take());
            }
        }
        self.ready[at].extend(last);
        if self.chance(self.weather.disk.max(200)) {
            let applied = self.servers[at].apply();
            self.ready[at].extend(applied);
        }
        let readers: Vec<LogReader> = self.servers[at].log_reads.keys().copied().collect();
        for reader in readers {
            if self.chance(self.weather.disk) {
                let read = self.servers[at].read_log(reader);
                self.ready[at].extend(read);
            }
        }
    }

    /// A server hears of some of what happened since it acted last, in any order, all at once.
    fn act(&mut self, at: usize) {
        let mut messages = self.arrived(at);
        messages.extend(self.client_events(at));
        let knows_cluster = self.servers[at].raft().membership().is_some();
        if !knows_cluster && self.told.contains(&at) && self.chance(300) {
            messages.push(Event::Initialize { membership: self.membership.clone() });
        }
        let due = self.servers[at].deadline().is_some_and(|deadline| deadline <= self.now);
        if due || self.chance(20) {
            messages.push(Event::Timeout);
        }
        for last in (1..messages.len()).rev() {
            let other = self.pick(last + 1);
            messages.swap(last, other);
        }
        // What the helpers say stays in order; where it falls among the messages is random.
        let mut place = 0;
        for event in std::mem::take(&mut self.ready[at]) {
            place += self.pick(messages.len() - place + 1);
            messages.insert(place, event);
            place += 1;
        }
        while !messages.is_empty() {
            let count = 1 + self.pick(messages.len());
            let batch: Vec<Event> = messages.drain(..count).collect();
            let effects = self.servers[at].step_once(self.now, batch);
            self.laws.after_step(at, &self.servers, &effects);
            self.post(at);
        }
    }

    fn arrived(&mut self, at: usize) -> Vec<Event> {
        let (now, to) = (self.now, self.servers[at].id);
        let due = self.flying.extract_if(.., |(when, m)| m.to == to && *when <= now);
        due.map(|(_, message)| Event::Receive(message)).collect()
    }

    fn client_events(&mut self, at: usize) -> Option<Event> {
        // Clients mostly find the leader.
        let leads = self.servers[at].status().role == RoleName::Leader;
        if !self.chance(self.weather.client) || !(leads || self.chance(50)) {
            return None;
        }
        self.names += 1;
        match self.pick(10) {
            0..4 => {
                let id = ReadId(self.names);
                self.laws.read_arrives(id);
                Some(Event::Read { id })
            }
            4..9 => {
                let count = self.pick(4);
                Some(self.proposal(count))
            }
            _ => {
                let peer = NodeId(1 + self.pick(self.servers.len()) as u64);
                Some(Event::Unreachable { peer })
            }
        }
    }

    fn proposal(&mut self, count: usize) -> Event {
        self.names += 1;
        let id = ProposalId(self.names);
        let command = |n: usize| Bytes::from(format!("{}.{n}{}", id.0, "x".repeat(n * 40)));
        let commands: Vec<Bytes> = (0..count).map(command).collect();
        self.laws.proposal_arrives(id, commands.clone());
        Event::Propose { id, commands }
    }

    /// Puts what a server said on the network.
    fn post(&mut self, at: usize) {
        for message in std::mem::take(&mut self.servers[at].outbox) {
            let copies = 1 + usize::from(self.chance(self.weather.doubled));
            for _ in 0..copies {
                let is_cut = self.cut[at][message.to.0 as usize - 1];
                if !is_cut && !self.chance(self.weather.loss) {
                    let longest = self.weather.longest_delay.as_micros() as u64;
                    let delay = Duration::from_micros(self.random.next_u64() % longest);
                    self.flying.push((self.now + delay, message.clone()));
                }
            }
        }
    }

    /// The world turns good, for ever, but for a minority that is gone. Then one leader serves
    /// everybody who is left, soon.
    pub fn recover(&mut self) {
        self.weather = Weather::fine();
        self.lose_a_minority();
        let settled = (0..20).any(|_| {
            (0..200).for_each(|_| self.tick());
            self.serves()
        });
        assert!(settled, "no progress in a healthy cluster");
    }

    fn lose_a_minority(&mut self) {
        // Who was never told of a cluster can't form it; so enough of the others must be left.
        let knows = |server: &Server| {
            let disk = &server.disk.durable;
            disk.base.membership.is_some() || !disk.entries.is_empty()
        };
        let all_know = self.servers.iter().all(knows);
        let lost = self.pick(self.servers.len().div_ceil(2));
        for _ in 0..if all_know { lost } else { 0 } {
            let leads = |s: &Server| s.is_up() && s.status().role == RoleName::Leader;
            let leader = self.servers.iter().position(leads);
            let at = leader.unwrap_or_else(|| self.pick(self.servers.len()));
            if self.servers[at].is_up() {
                self.crash(at);
            }
            self.dead[at] = true;
        }
    }

    /// Whether a fresh proposal and a fresh read succeed, everywhere.
    fn serves(&mut self) -> bool {
        let leads = |server: &Server| server.is_up() && server.status().role == RoleName::Leader;
        let Some(leader) = self.servers.iter().position(leads) else { return false };
        self.names += 1;
        let read = ReadId(self.names);
        self.laws.read_arrives(read);
        let ready = self.laws.tally.reads_ready;
        let proposal = self.proposal(1);
        let before = self.servers[leader].status().last_log;
        self.ready[leader].extend([proposal, Event::Read { id: read }]);
        (0..100).for_each(|_| self.tick());
        let leaders = self.servers.iter().filter(|server| leads(server)).count();
        let everywhere = self.servers.iter().filter(|server| server.is_up()).all(|server| {
            let status = server.status();
            let last = self.servers[leader].status().last_log;
            status.last_log == last
                && last > before
                && status.last_applied == last.index
                && status.leader == Some(self.servers[leader].id)
                && server.applied == self.servers[leader].applied
        });
        leaders == 1 && everywhere && self.laws.tally.reads_ready == ready + 1
    }
}
