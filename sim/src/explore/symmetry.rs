//! Worlds that differ only in the names of their servers are one: of them, the search visits the
//! first.
//!
//! A server under another name is not made up but lived through: what happened to the server since
//! its start happens once more, to the server of the other name, with the same names changed in
//! every message. So a renamed world is one that could have come about, whatever the core does.

use std::cmp::Ordering;

use actix_raft_core::message::Message;
use actix_raft_core::types::NodeId;

use super::worlds::{Known, MAX_NODES, Origin, Stimulus, World, Worlds, id_at, place_of};
use crate::image::Image;

const UNKNOWN: u32 = u32::MAX;

/// The changes of names that leave the start of a search as it is, and what they make of the
/// servers, messages and histories met so far.
pub(super) struct Symmetry {
    /// To which place each place goes. The first changes nothing.
    renamings: Vec<Vec<usize>>,
    servers: Vec<u32>,
    messages: Vec<u32>,
    histories: Vec<u32>,
}

impl Symmetry {
    pub(super) fn of(images: &[Image]) -> Symmetry {
        let mut renamings = Vec::new();
        permutations(&mut (0..images.len()).collect(), 0, &mut renamings);
        renamings
            .retain(|to: &Vec<usize>| to.iter().enumerate().all(|(a, b)| images[a] == images[*b]));
        renamings.sort();
        Symmetry { renamings, servers: Vec::new(), messages: Vec::new(), histories: Vec::new() }
    }

    pub(super) fn none(nodes: usize) -> Symmetry {
        let renamings = vec![(0..nodes).collect()];
        Symmetry { renamings, servers: Vec::new(), messages: Vec::new(), histories: Vec::new() }
    }

    /// The world that stands for all that differ from this one in names only, and how many those
    /// are, messages aside.
    pub(super) fn first(&mut self, worlds: &mut Worlds<'_>, world: &World) -> (World, u64) {
        let mut best: Option<World> = None;
        let mut ties = Vec::new();
        for by in 0..self.renamings.len() {
            let Some(renamed) = self.rename(worlds, world, by) else { continue };
            // Networks are many, and seldom needed to tell worlds apart.
            let key = |world: &World| (world.servers, world.history);
            match best.map_or(Ordering::Less, |best| key(&renamed).cmp(&key(&best))) {
                Ordering::Less => {
                    best = Some(renamed);
                    ties = vec![by];
                }
                Ordering::Equal => ties.push(by),
                Ordering::Greater => {}
            }
        }
        let Some(mut best) = best else { return (*world, 1) };
        let networks = ties.iter().map(|by| self.rename_network(worlds, world.network, *by));
        best.network = networks.min().unwrap_or(world.network);
        (best, (self.renamings.len() / ties.len()) as u64)
    }

    /// All of the world but its network; nothing if a law is broken on the way.
    fn rename(&mut self, worlds: &mut Worlds<'_>, world: &World, by: usize) -> Option<World> {
        if by == 0 {
            return Some(*world);
        }
        let mut renamed = *world;
        for place in 0..worlds.bounds.nodes {
            let to = self.renamings[by][place];
            renamed.servers[to] = self.server(worlds, world.servers[place], by)?;
        }
        renamed.history = self.history(worlds, world.history, by);
        Some(renamed)
    }

    fn server(&mut self, worlds: &mut Worlds<'_>, server: u32, by: usize) -> Option<u32> {
        let slot = server as usize * self.renamings.len() + by;
        if let Some(known) = known(&self.servers, slot) {
            return Some(known);
        }
        let renamed = match worlds.servers[server as usize].origin {
            // A search begins with the servers of all places, numbered by them.
            Origin::Start(place) => self.start_of(worlds, self.renamings[by][place])?,
            Origin::After(before, stimulus) => {
                let before = self.server(worlds, before, by)?;
                let stimulus = match stimulus {
                    Stimulus::Deliver(message) => {
                        Stimulus::Deliver(self.message(worlds, message, by))
                    }
                    Stimulus::Timeout
                    | Stimulus::SaveDone
                    | Stimulus::Crash
                    | Stimulus::Propose(_)
                    | Stimulus::Read(_) => stimulus,
                };
                let outcome = worlds.outcome(before, stimulus);
                worlds.did(outcome).ok()?.server
            }
        };
        remember(&mut self.servers, slot, renamed);
        Some(renamed)
    }

    fn start_of(&self, worlds: &Worlds<'_>, place: usize) -> Option<u32> {
        let is_it = |known: &Known| matches!(known.origin, Origin::Start(at) if at == place);
        worlds.servers.iter().take(MAX_NODES).position(is_it).map(|number| number as u32)
    }

    fn message(&mut self, worlds: &mut Worlds<'_>, message: u32, by: usize) -> u32 {
        let slot = message as usize * self.renamings.len() + by;
        if let Some(known) = known(&self.messages, slot) {
            return known;
        }
        let Message { group, from, to, body } = worlds.messages[message as usize].clone();
        let (from, to) = (self.id(from, by), self.id(to, by));
        let renamed = worlds.message(Message { group, from, to, body });
        remember(&mut self.messages, slot, renamed);
        renamed
    }

    fn history(&mut self, worlds: &mut Worlds<'_>, history: u32, by: usize) -> u32 {
        let slot = history as usize * self.renamings.len() + by;
        if let Some(known) = known(&self.histories, slot) {
            return known;
        }
        let mut renamed = worlds.histories[history as usize].clone();
        for (_, leader) in &mut renamed.leaders {
            *leader = self.id(*leader, by);
        }
        for (_, at, _) in &mut renamed.unanswered {
            *at = self.id(*at, by);
        }
        let renamed = worlds.history(renamed);
        remember(&mut self.histories, slot, renamed);
        renamed
    }

    fn rename_network(&mut self, worlds: &mut Worlds<'_>, network: u32, by: usize) -> u32 {
        if by == 0 {
            return network;
        }
        let mut messages: Vec<u32> = worlds.network(network).collect();
        for message in &mut messages {
            *message = self.message(worlds, *message, by);
        }
        worlds.network_of(&messages)
    }

    fn id(&self, id: NodeId, by: usize) -> NodeId {
        id_at(self.renamings[by][place_of(id)])
    }
}

fn known(numbers: &[u32], slot: usize) -> Option<u32> {
    numbers.get(slot).copied().filter(|number| *number != UNKNOWN)
}

fn remember(numbers: &mut Vec<u32>, slot: usize, number: u32) {
    if slot >= numbers.len() {
        numbers.resize(slot + 1, UNKNOWN);
    }
    numbers[slot] = number;
}

/// All orders of what stands from `fixed` on.
fn permutations(order: &mut Vec<usize>, fixed: usize, found: &mut Vec<Vec<usize>>) {
    if fixed == order.len() {
        return found.push(order.clone());
    }
    for other in fixed..order.len() {
        order.swap(fixed, other);
        permutations(order, fixed + 1, found);
        order.swap(fixed, other);
    }
}
