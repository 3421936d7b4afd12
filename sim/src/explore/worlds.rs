//! All that was met in a search, each thing once and by its number: servers, messages, networks,
//! histories; and what becomes of a world when something happens in it.
//!
//! ```text
//!   World { servers: [7, 3, 12], network: 41, history: 5 }
//!                    |               |            |
//!        a core and its disk   messages sent   what the laws remember
//! ```
//!
//! A server does the same whatever the world around it looks like, so the core is asked once for
//! each pair of a server and a thing that happens to it: a search of millions of worlds is a search
//! of thousands of servers.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use actix_raft_core::config::Config;
use actix_raft_core::entry::Entry;
use actix_raft_core::event::{Consistency, Event, ProposalId, ReadId};
use actix_raft_core::message::Message;
use actix_raft_core::status::{RoleName, Status};
use actix_raft_core::types::NodeId;

use super::Bounds;
use super::Hashing;
use super::laws::{self, History, Logged};
use super::networks::Networks;
use super::server::{Happening, Said, Server};
use crate::image::Image;

/// The most servers of a world.
pub(super) const MAX_NODES: usize = 5;

/// A state of the search. Unused places are 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct World {
    pub(super) servers: [u32; MAX_NODES],
    pub(super) history: u32,
    pub(super) network: u32,
}

/// Something that happens to one server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Stimulus {
    /// A message arrives.
    Deliver(u32),
    Timeout,
    SaveDone,
    Crash,
    /// A client proposes its command of this number.
    Propose(u8),
    /// A client asks to read, by this number.
    Read(u8),
}

/// What happens to which server, by its place in the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Action {
    pub(super) at: usize,
    pub(super) stimulus: Stimulus,
}

/// Where a server was met first.
#[derive(Clone, Copy)]
pub(super) enum Origin {
    Start(usize),
    After(u32, Stimulus),
}

/// A server that was met, and what the search asks of it all the time.
pub(super) struct Known {
    pub(super) server: Server,
    pub(super) status: Status,
    pub(super) origin: Origin,
    live: Vec<Logged>,
    durable: Vec<Logged>,
}

/// What a server did.
pub(super) struct Outcome {
    pub(super) server: u32,
    /// In order.
    sent: Vec<u32>,
    said: Vec<Said>,
}

/// Everything that was met.
pub(super) struct Worlds<'a> {
    pub(super) bounds: &'a Bounds,
    config: Config,
    pub(super) servers: Vec<Known>,
    server_numbers: HashMap<u128, u32>,
    pub(super) messages: Vec<Message>,
    message_numbers: HashMap<Message, u32>,
    entries: HashMap<Entry, u32>,
    networks: Networks,
    pub(super) histories: Vec<History>,
    history_numbers: HashMap<History, u32>,
    outcomes: Vec<Result<Outcome, String>>,
    outcome_numbers: HashMap<(u32, Stimulus), u32, Hashing>,
}

impl<'a> Worlds<'a> {
    pub(super) fn new(bounds: &'a Bounds) -> Worlds<'a> {
        let mut worlds = Worlds {
            bounds,
            config: bounds.config(),
            servers: Vec::new(),
            server_numbers: HashMap::new(),
            messages: Vec::new(),
            message_numbers: HashMap::new(),
            entries: HashMap::new(),
            networks: Networks::default(),
            histories: Vec::new(),
            history_numbers: HashMap::new(),
            outcomes: Vec::new(),
            outcome_numbers: HashMap::default(),
        };
        worlds.history(History::default());
        worlds
    }

    /// The world in which a search begins.
    pub(super) fn start(&mut self, images: Vec<Image>) -> World {
        let mut servers = [0; MAX_NODES];
        for (at, image) in images.into_iter().enumerate() {
            let server = Server::start(id_at(at), &self.config, image);
            servers[at] = self.server(server, Origin::Start(at));
        }
        World { servers, history: 0, network: 0 }
    }

    /// The number of a server. Two servers are taken for one if 128 bits of hash are the same.
    fn server(&mut self, server: Server, origin: Origin) -> u32 {
        let half = |salt: u8| {
            // Always the same keys: a search counts the same states in every run.
            let mut hasher = DefaultHasher::new();
            (salt, &server).hash(&mut hasher);
            u128::from(hasher.finish())
        };
        let fingerprint = half(0) << 64 | half(1);
        let new = self.servers.len() as u32;
        let number = *self.server_numbers.entry(fingerprint).or_insert(new);
        if number == new {
            let live = self.logged(&server.live);
            let durable = self.logged(&server.durable);
            let status = server.status();
            self.servers.push(Known { server, status, origin, live, durable });
        }
        number
    }

    fn logged(&mut self, image: &Image) -> Vec<Logged> {
        let entries = image.entries().iter();
        entries.map(|entry| Logged { term: entry.term, entry: self.entry(entry) }).collect()
    }

    fn entry(&mut self, entry: &Entry) -> u32 {
        let new = self.entries.len() as u32;
        *self.entries.entry(entry.clone()).or_insert(new)
    }

    pub(super) fn message(&mut self, message: Message) -> u32 {
        let new = self.messages.len() as u32;
        *self.message_numbers.entry(message).or_insert_with_key(|message| {
            self.messages.push(message.clone());
            new
        })
    }

    pub(super) fn history(&mut self, history: History) -> u32 {
        let new = self.histories.len() as u32;
        *self.history_numbers.entry(history).or_insert_with_key(|history| {
            self.histories.push(history.clone());
            new
        })
    }

    /// The messages of a network, in the order of their numbers.
    pub(super) fn network(&self, network: u32) -> impl Iterator<Item = u32> + '_ {
        self.networks.messages(network)
    }

    /// The number of the network of these messages, in any order.
    pub(super) fn network_of(&mut self, messages: &[u32]) -> u32 {
        self.networks.joined(0, messages)
    }

    /// Whether the one network has all messages of the other.
    pub(super) fn contains(&self, network: u32, other: u32) -> bool {
        self.networks.contains(network, other)
    }

    /// All that can happen in this world within the bounds.
    pub(super) fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        actions.clear();
        let (bounds, history) = (self.bounds, &self.histories[world.history as usize]);
        for at in 0..bounds.nodes {
            let mut may = |stimulus| actions.push(Action { at, stimulus });
            let Known { server, status, .. } = &self.servers[world.servers[at] as usize];
            let times_out = match status.role {
                RoleName::Leader => history.heartbeats < bounds.heartbeats,
                _ => {
                    status.current_term.0 < bounds.max_term
                        && server.campaigns < bounds.campaigns.into()
                }
            };
            if times_out {
                may(Stimulus::Timeout);
            }
            if status.role == RoleName::Leader && history.proposals < bounds.proposals {
                may(Stimulus::Propose(history.proposals + 1));
            }
            if status.role == RoleName::Leader && history.reads < bounds.reads {
                may(Stimulus::Read(history.reads + 1));
            }
            if server.saves_wait() {
                may(Stimulus::SaveDone);
            }
            if history.crashes < bounds.crashes {
                may(Stimulus::Crash);
            }
        }
        for message in self.network(world.network) {
            let at = place_of(self.messages[message as usize].to);
            actions.push(Action { at, stimulus: Stimulus::Deliver(message) });
        }
    }

    /// What this server does about this, asked of the core once.
    pub(super) fn outcome(&mut self, server: u32, stimulus: Stimulus) -> u32 {
        if let Some(number) = self.outcome_numbers.get(&(server, stimulus)) {
            return *number;
        }
        let what = match stimulus {
            Stimulus::Deliver(message) => {
                Happening::Event(Event::Receive(self.messages[message as usize].clone()))
            }
            Stimulus::Timeout => Happening::Event(Event::Timeout),
            Stimulus::SaveDone => Happening::SaveDone,
            Stimulus::Crash => Happening::Crash,
            Stimulus::Propose(n) => {
                let commands = vec![n.to_string().into()];
                Happening::Event(Event::Propose { id: ProposalId(n.into()), commands })
            }
            Stimulus::Read(n) => Happening::Event(Event::Read {
                id: ReadId(n.into()),
                consistency: Consistency::Linearizable,
            }),
        };
        let known = &self.servers[server as usize];
        let outcome = known.server.react(&self.config, self.bounds.saves, what).map(|reaction| {
            let sent = reaction.sent.into_iter().map(|message| self.message(message)).collect();
            let after = self.server(reaction.server, Origin::After(server, stimulus));
            Outcome { server: after, sent, said: reaction.said }
        });
        let number = self.outcomes.len() as u32;
        self.outcomes.push(outcome);
        self.outcome_numbers.insert((server, stimulus), number);
        number
    }

    /// What a server did, or the law that it broke.
    pub(super) fn did(&self, outcome: u32) -> Result<&Outcome, String> {
        self.outcomes[outcome as usize].as_ref().map_err(String::clone)
    }

    /// The world after this, or the law that it breaks.
    pub(super) fn after(&mut self, world: &World, action: Action) -> Result<World, String> {
        let Action { at, stimulus } = action;
        let outcome = self.outcome(world.servers[at], stimulus);
        let mut next = *world;
        next.servers[at] = self.did(outcome)?.server;
        next.history = self.remember(world.servers[at], &next, action, outcome)?;
        if let Ok(outcome) = &self.outcomes[outcome as usize] {
            next.network = self.networks.joined(world.network, &outcome.sent);
        }
        Ok(next)
    }

    /// The messages that this changes nothing but to send more of: whoever hears one of them says
    /// something, and is what it was. Nothing is lost when it is said at once, for a message need
    /// not arrive.
    pub(super) fn idle_talk(&mut self, world: &World) -> Vec<Action> {
        let mut talk = Vec::new();
        let mut messages = self.network(world.network).collect::<Vec<_>>();
        let mut heard = 0;
        while let Some(message) = messages.get(heard).copied() {
            heard += 1;
            let at = place_of(self.messages[message as usize].to);
            let stimulus = Stimulus::Deliver(message);
            let number = self.outcome(world.servers[at], stimulus);
            let Ok(Outcome { server, sent, said }) = self.did(number) else { continue };
            if *server != world.servers[at] || !said.is_empty() {
                continue;
            }
            let old = messages.len();
            for message in sent {
                if !messages.contains(message) {
                    messages.push(*message);
                }
            }
            if messages.len() > old {
                talk.push(Action { at, stimulus });
            }
        }
        talk
    }

    /// Writes down what the laws must remember of this, and compares it with what they know.
    /// `before` is the server that acted, `next` the world with what became of it.
    fn remember(
        &mut self,
        before: u32,
        next: &World,
        action: Action,
        outcome: u32,
    ) -> Result<u32, String> {
        let Action { at, stimulus } = action;
        let quiet = matches!(stimulus, Stimulus::Deliver(_) | Stimulus::SaveDone);
        let known = &self.servers[next.servers[at] as usize];
        if quiet && self.did(outcome)?.said.is_empty() {
            return Ok(next.history);
        }
        let id = id_at(at);
        let mut history = self.histories[next.history as usize].clone();
        match stimulus {
            Stimulus::Deliver(_) | Stimulus::SaveDone => {}
            // A leader's timeout is a heartbeat.
            Stimulus::Timeout => {
                let led = self.servers[before as usize].status.role == RoleName::Leader;
                history.heartbeats += u8::from(led);
            }
            Stimulus::Crash => history.crash(id),
            Stimulus::Propose(_) => history.proposals += 1,
            Stimulus::Read(_) => history.read_arrives(id),
        }
        for said in &self.did(outcome)?.said {
            match said {
                Said::Leads(term) => history.leads(*term, id)?,
                Said::Committed { index, in_term, durable } => {
                    let last = index.prev().0 as usize;
                    let entry = known.live.get(last);
                    let holds = |other: &usize| {
                        let server = &self.servers[next.servers[*other] as usize];
                        entry.is_some() && server.durable.get(last) == entry
                    };
                    let others = (0..self.bounds.nodes).filter(|other| *other != at);
                    let copies = others.filter(holds).count() + usize::from(*durable);
                    let servers = self.bounds.nodes;
                    history.commit(&known.live, *index, *in_term, copies, servers)?;
                }
                Said::Applied(entries) => {
                    for entry in entries.iter() {
                        // All that is applied is in the server's log, and so has a number.
                        let number = self.entries.get(entry).copied().unwrap_or(u32::MAX);
                        history.apply(entry.index, number)?;
                    }
                }
                Said::ReadReady { id, applied } => history.read_ready(id.0, *applied)?,
                Said::ReadRefused(id) => history.read_refused(id.0)?,
            }
        }
        Ok(self.history(history))
    }

    /// The laws of a world as it stands.
    pub(super) fn judge(&self, world: &World) -> Result<(), String> {
        let history = &self.histories[world.history as usize];
        let servers = &world.servers[..self.bounds.nodes];
        for (at, number) in servers.iter().enumerate() {
            let known = &self.servers[*number as usize];
            for other in &servers[at + 1..] {
                laws::logs_match(&known.live, &self.servers[*other as usize].live)?;
            }
            if known.status.role == RoleName::Leader {
                history.is_complete(known.status.current_term, &known.live)?;
            }
        }
        Ok(())
    }
}

/// The server at a place of a world.
pub(super) fn id_at(place: usize) -> NodeId {
    NodeId(place as u64 + 1)
}

pub(super) fn place_of(id: NodeId) -> usize {
    id.0 as usize - 1
}
