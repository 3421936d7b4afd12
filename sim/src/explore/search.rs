//! The search itself: breadth first, so that the first world that breaks a law is reached by a
//! shortest path.

use std::hash::BuildHasher;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::symmetry::Symmetry;
use super::worlds::{Action, MAX_NODES, World, Worlds};
use super::{Bounds, Hashing, Progress, Summary};
use crate::image::Image;

/// How many worlds are visited between two reports of the progress.
const REPORT_EVERY: usize = 1 << 16;

/// All worlds met, in the order of their distance from the start.
pub(super) struct Search<'a> {
    pub(super) worlds: Worlds<'a>,
    symmetry: Symmetry,
    start: World,
    met: Vec<Met>,
    scenes: Vec<Scene>,
    scene_numbers: HashTable<u32>,
    /// The scenes, if servers had names.
    unreduced: u64,
    transitions: u64,
}

/// A world, by numbers.
#[derive(Clone, Copy)]
struct Met {
    scene: u32,
    network: u32,
    /// A world from which one action leads here.
    parent: u32,
    /// How many actions after the start.
    depth: u16,
    /// Another world of the same scene and depth has all messages of this one.
    outdone: bool,
}

/// A world without its messages, and the worlds that were met with it.
struct Scene {
    packed: Packed,
    met: Vec<u32>,
}

/// How a search ended.
pub(super) enum End {
    Done(Summary),
    /// An action in the last of these worlds breaks this law.
    Broken(Vec<World>, String),
}

impl<'a> Search<'a> {
    pub(super) fn new(bounds: &'a Bounds, images: Vec<Image>) -> Search<'a> {
        let symmetry = match bounds.symmetry {
            true => Symmetry::of(&images),
            false => Symmetry::none(bounds.nodes),
        };
        let mut worlds = Worlds::new(bounds);
        let start = worlds.start(images);
        Search {
            worlds,
            symmetry,
            start,
            met: Vec::new(),
            scenes: Vec::new(),
            scene_numbers: HashTable::new(),
            unreduced: 0,
            transitions: 0,
        }
    }

    pub(super) fn run(&mut self, progress: &mut dyn FnMut(Progress)) -> End {
        let bounds = self.worlds.bounds;
        let mut actions = Vec::new();
        let mut at = 0;
        self.meet(&self.start.clone(), 0, 0);
        while let Some(met) = self.met.get(at).copied() {
            let depth = usize::from(met.depth);
            if at % REPORT_EVERY == 0 {
                progress(Progress { states: self.met.len(), frontier: self.met.len() - at, depth });
            }
            let world = match self.world(at) {
                Some(world) if self.met.len() < bounds.max_states => world,
                _ => return End::Done(self.summary(depth, false)),
            };
            if !met.outdone {
                self.worlds.actions(&world, &mut actions);
                for action in &actions {
                    if let Err(law) = self.act(&world, *action, at as u32, met.depth + 1) {
                        return End::Broken(self.path_to(at), law);
                    }
                }
            }
            at += 1;
        }
        let depth = self.met.last().map_or(0, |met| met.depth.into());
        End::Done(self.summary(depth, true))
    }

    fn act(&mut self, from: &World, action: Action, parent: u32, depth: u16) -> Result<(), String> {
        let next = self.worlds.after(from, action)?;
        self.transitions += 1;
        if next != *from {
            self.worlds.judge(&next)?;
            self.meet(&next, parent, depth);
        }
        Ok(())
    }

    /// The world in the form in which it is compared with others: after all idle talk, and with
    /// the first of its names.
    fn normal(&mut self, world: &World) -> (World, u64) {
        let mut world = *world;
        for action in self.worlds.idle_talk(&world) {
            world = self.worlds.after(&world, action).unwrap_or(world);
        }
        self.symmetry.first(&mut self.worlds, &world)
    }

    fn meet(&mut self, world: &World, parent: u32, depth: u16) {
        let (world, alike) = self.normal(world);
        let scene = self.scene(&world, alike);
        let network = world.network;
        for number in &self.scenes[scene as usize].met {
            let other = &mut self.met[*number as usize];
            // What can happen with few messages can happen with more, so only the most count. A
            // world met on a shorter way stays, for the sake of the shortest way to break a law.
            if self.worlds.contains(other.network, network) {
                return;
            }
            if other.depth == depth && self.worlds.contains(network, other.network) {
                other.outdone = true;
            }
        }
        let number = self.met.len() as u32;
        self.met.push(Met { scene, network, parent, depth, outdone: false });
        let (worlds, all) = (&self.worlds, &self.met);
        let met = &mut self.scenes[scene as usize].met;
        met.retain(|other| !worlds.contains(network, all[*other as usize].network));
        met.push(number);
    }

    fn scene(&mut self, world: &World, alike: u64) -> u32 {
        let packed = Packed::of(world, self.worlds.bounds.nodes);
        let new = self.scenes.len() as u32;
        let scenes = &self.scenes;
        let same = |number: &u32| scenes[*number as usize].packed == packed;
        let hash_of = |number: &u32| scenes[*number as usize].packed.hash();
        match self.scene_numbers.entry(packed.hash(), same, hash_of) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(place) => {
                place.insert(new);
                self.scenes.push(Scene { packed, met: Vec::new() });
                self.unreduced += alike;
                new
            }
        }
    }

    /// How many worlds were met.
    pub(super) fn met(&self) -> usize {
        self.met.len()
    }

    fn world(&self, number: usize) -> Option<World> {
        let Met { scene, network, .. } = self.met[number];
        let packed = self.scenes[scene as usize].packed;
        packed.unpack(self.worlds.bounds.nodes).map(|world| World { network, ..world })
    }

    /// The worlds on the way to this one, each by the name under which it was met.
    fn path_to(&self, number: usize) -> Vec<World> {
        let mut number = number as u32;
        let mut path = vec![number];
        while number != 0 {
            number = self.met[number as usize].parent;
            path.push(number);
        }
        path.iter().rev().filter_map(|number| self.world(*number as usize)).collect()
    }

    /// The actions that lead from the start along this path and at its end break a law. Worlds on
    /// a path may have changed their names from one to the next, so it is walked once more, with
    /// the names that the servers had at the start.
    pub(super) fn walk(&mut self, path: &[World]) -> Vec<Action> {
        let mut world = self.start;
        let mut walked = Vec::new();
        let mut actions = Vec::new();
        for target in path.iter().skip(1).map(Some).chain([None]) {
            for action in self.worlds.idle_talk(&world) {
                world = self.worlds.after(&world, action).unwrap_or(world);
                walked.push(action);
            }
            self.worlds.actions(&world, &mut actions);
            let leads_on = actions.iter().find(|action| match target {
                Some(target) => match self.worlds.after(&world, **action) {
                    Ok(next) => self.normal(&next).0 == *target,
                    Err(_) => false,
                },
                None => self.breaks(&world, **action),
            });
            let Some(action) = leads_on.copied() else { break };
            walked.push(action);
            world = self.worlds.after(&world, action).unwrap_or(world);
        }
        self.shorten(walked)
    }

    fn breaks(&mut self, world: &World, action: Action) -> bool {
        match self.worlds.after(world, action) {
            Ok(next) => self.worlds.judge(&next).is_err(),
            Err(_) => true,
        }
    }

    /// Leaves out what is not needed to break a law at the end.
    fn shorten(&mut self, mut path: Vec<Action>) -> Vec<Action> {
        for at in (0..path.len()).rev() {
            let mut without = path.clone();
            without.remove(at);
            if self.replay(&without) {
                path = without;
            }
        }
        path
    }

    /// Whether these actions can be done one after the other, and the last breaks a law.
    fn replay(&mut self, path: &[Action]) -> bool {
        let Some((last, before)) = path.split_last() else { return false };
        let mut world = self.start;
        let mut actions = Vec::new();
        for action in before {
            self.worlds.actions(&world, &mut actions);
            match self.worlds.after(&world, *action) {
                Ok(next) if actions.contains(action) => world = next,
                _ => return false,
            }
        }
        self.worlds.actions(&world, &mut actions);
        actions.contains(last) && self.breaks(&world, *last)
    }

    pub(super) fn start(&self) -> World {
        self.start
    }

    fn summary(&self, depth: usize, complete: bool) -> Summary {
        Summary {
            states: self.met.len(),
            scenes: self.scenes.len(),
            unreduced: self.unreduced,
            transitions: self.transitions,
            depth,
            servers: self.worlds.servers.len(),
            messages: self.worlds.messages.len(),
            complete,
        }
    }
}

/// A world without its messages in 16 bytes: its numbers next to each other.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Packed(u128);

impl Packed {
    const HISTORY: u32 = 28;

    fn server_bits(nodes: usize) -> u32 {
        // A world of one server needs no more than its number has.
        ((127 - Packed::HISTORY) / nodes as u32).min(u32::BITS - 1)
    }

    fn of(world: &World, nodes: usize) -> Packed {
        let World { servers, history, network: _ } = world;
        let bits = Packed::server_bits(nodes);
        // A number that finds no room makes a world that can't be unpacked, which ends the search.
        if servers.iter().any(|server| server >> bits != 0) || history >> Packed::HISTORY != 0 {
            return Packed(u128::MAX);
        }
        let join = |all: u128, server: &u32| all << bits | u128::from(*server);
        let servers = servers[..nodes].iter().fold(0, join);
        Packed(servers << Packed::HISTORY | u128::from(*history))
    }

    fn unpack(self, nodes: usize) -> Option<World> {
        if self.0 == u128::MAX {
            return None;
        }
        let mut left = self.0;
        let mut take = |bits: u32| {
            let number = left & ((1 << bits) - 1);
            left >>= bits;
            number as u32
        };
        let history = take(Packed::HISTORY);
        let mut world = World { servers: [0; MAX_NODES], history, network: 0 };
        for place in (0..nodes).rev() {
            world.servers[place] = take(Packed::server_bits(nodes));
        }
        Some(world)
    }

    fn hash(self) -> u64 {
        Hashing::default().hash_one(self.0)
    }
}
