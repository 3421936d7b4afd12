//! The second driver of a world: a script, in which nothing happens but what it says.
//!
//! ```text
//!   script: prose, commands  -->  Script  -->  World: the servers, disks and laws of the simulator
//!      ^                                          |
//!      +------- the trace, below each block ------+
//! ```
//!
//! Messages wait until a `deliver`, timers fire at a `timeout`, disks and state machines are done at
//! once unless they are held. After each step all laws are checked; one that is broken fails the
//! script. The trace has a line for each step, what the server is after it and what it heard, and
//! below it what the server sends and what clients are answered:
//!
//! ```text
//! n1 leader        t=1 vote=1 leader=1 commit=2 last=2@1 <- AppendEntriesResponse term=1 round=1 match=2 from 2
//!   client: a: done at 2
//! ```
//!
//! An entry is written `index@term`. `disk=` is shown if the end of the log is not on the server's
//! disk, `applied=` if the state machine lags. [`Command`] lists what a script may say; the grammar
//! is goldenscript's. The scripts are in `sim/scripts`; `UPDATE_GOLDENFILES=1 cargo test -p
//! actix-raft-sim --test scripts` rewrites their traces.

mod command;
mod notebook;
mod orders;
mod setup;
pub(crate) mod words;

use std::error::Error;
use std::io;
use std::path::Path;

use actix_raft_core::message::Message;
use actix_raft_core::types::Index;

pub use command::{Brake, Command, DiskFault, How, Kind, Millis, Survival};
use notebook::{Label, Notebook};

use crate::fault::Crash;
use crate::laws::Broken;
use crate::workload::Request;
use crate::world::World;
use setup::Stored;

/// How many messages are delivered before a cluster counts as one that never comes to rest.
const MANY: usize = 10_000;

/// Runs a script.
#[derive(Default)]
pub struct Script {
    /// What disks hold before the cluster starts.
    stored: Vec<Stored>,
    world: Option<World<Notebook>>,
}

/// A script, as it is written and as it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What the file holds.
    pub written: String,
    /// The same script with the trace as it is now.
    pub found: String,
}

impl Outcome {
    /// The first line that differs, as `(number, written, found)`; `None` if none does.
    #[must_use]
    pub fn difference(&self) -> Option<(usize, &str, &str)> {
        let (mut written, mut found) = (self.written.lines(), self.found.lines());
        for number in 1.. {
            match (written.next(), found.next()) {
                (None, None) => break,
                (one, other) if one == other => {}
                (one, other) => {
                    return Some((number, one.unwrap_or_default(), other.unwrap_or_default()));
                }
            }
        }
        None
    }
}

/// Runs the script in this file, and changes nothing.
///
/// # Errors
/// If the file can't be read, is no script, or breaks a law.
pub fn run(path: &Path) -> io::Result<Outcome> {
    let written = std::fs::read_to_string(path)?;
    let found = goldenscript::generate(&mut Script::default(), &written)?;
    Ok(Outcome { written, found })
}

/// Which messages are meant.
#[derive(Clone, Copy)]
struct Which {
    from: Option<u64>,
    to: Option<u64>,
    kind: Option<Kind>,
    count: Option<usize>,
    skip: usize,
}

impl Which {
    fn matches(&self, message: &Message) -> bool {
        self.from.is_none_or(|from| message.from.0 == from)
            && self.to.is_none_or(|to| message.to.0 == to)
            && self.kind.is_none_or(|kind| Kind::of(&message.body) == kind)
    }
}

/// What is done with messages.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Arrive,
    ArriveTwice,
    Lost,
}

type Done = Result<(), Box<dyn Error>>;

impl goldenscript::Runner for Script {
    type Command = Command;

    fn run(
        &mut self,
        command: &Command,
        _: &goldenscript::Context,
    ) -> Result<String, Box<dyn Error>> {
        let done = self.obey(command);
        let shown = self.world.as_mut().map(World::take_shown).unwrap_or_default();
        let shown: String = shown.iter().map(|line| format!("{line}\n")).collect();
        match done {
            Ok(()) => Ok(shown),
            // What led to it is worth more than the words alone.
            Err(error) if shown.is_empty() => Err(error),
            Err(error) => Err(format!("{error}\n{shown}").into()),
        }
    }

    fn end_script(&mut self) -> Done {
        match &self.world {
            Some(world) => world.check_history().map_err(broken),
            None => Ok(()),
        }
    }
}

fn broken(broken: Broken) -> Box<dyn Error> {
    format!("a law is broken: {broken}").into()
}

impl Script {
    fn world(&mut self) -> Result<&mut World<Notebook>, Box<dyn Error>> {
        self.world.as_mut().ok_or_else(|| "there is no cluster yet".into())
    }

    /// A server's place.
    fn at(&self, server: usize) -> Result<usize, Box<dyn Error>> {
        let servers = self.world.as_ref().map_or(0, |world| world.servers.len());
        match (1..=servers).contains(&server) {
            true => Ok(server - 1),
            false => Err(format!("there is no server {server}").into()),
        }
    }

    fn obey(&mut self, command: &Command) -> Done {
        match command {
            Command::Stored { .. } | Command::Cluster { .. } | Command::Initialize(_) => {
                self.set_up(command)
            }
            Command::Timeout(..)
            | Command::Heartbeat(..)
            | Command::Clock(..)
            | Command::Advance(_) => self.tick(command),
            Command::Deliver { from, to, kind, count, skip } => {
                let (from, to, kind, count, skip) = (*from, *to, *kind, *count, *skip);
                self.pass_on(Which { from, to, kind, count, skip }, Fate::Arrive)
            }
            Command::Duplicate { from, to, kind, count, skip } => {
                let (from, to, kind, count, skip) = (*from, *to, *kind, *count, *skip);
                self.pass_on(Which { from, to, kind, count, skip }, Fate::ArriveTwice)
            }
            Command::Drop { from, to, kind, count, skip } => {
                let (from, to, kind, count, skip) = (*from, *to, *kind, *count, *skip);
                self.pass_on(Which { from, to, kind, count, skip }, Fate::Lost)
            }
            Command::Stabilize => self.stabilize(),
            Command::Partition(_) | Command::Cut { .. } | Command::Heal => self.links(command),
            Command::Crash { .. }
            | Command::Restart(_)
            | Command::Pause(_)
            | Command::Resume(_) => self.lives(command),
            Command::Disk { server, what, at, opening } => self.disk(*server, *what, *at, *opening),
            Command::Machine(server, brake) => {
                let at = self.at(*server)?;
                match brake {
                    Brake::Hold => self.world()?.hold_machine(at),
                    Brake::Release => self.world()?.release_machine(at).map_err(broken)?,
                }
                Ok(())
            }
            Command::Propose(server, words) => {
                let at = self.at(*server)?;
                let words = words.iter().cloned().map(Request::Write);
                self.world()?.ask(at, words).map_err(broken)
            }
            Command::Read(server, label) => {
                let at = self.at(*server)?;
                let label = Label(label.clone().unwrap_or_else(|| "read".to_string()));
                self.world()?.ask(at, [Request::Read(label)]).map_err(broken)
            }
            Command::Change { .. }
            | Command::Transfer { .. }
            | Command::Elect(_)
            | Command::Snapshot(_)
            | Command::Purge { .. }
            | Command::Wipe(_) => self.order(command),
            Command::Messages | Command::Status(_) | Command::Log(_) | Command::Terms(_) => {
                self.look(command)
            }
        }
    }

    fn tick(&mut self, command: &Command) -> Done {
        match command {
            Command::Timeout(server) => self.time_out(*server),
            Command::Heartbeat(server, times) => {
                (0..(*times).max(1)).try_for_each(|_| self.time_out(*server))
            }
            Command::Clock(server, Millis(by)) => {
                let at = self.at(*server)?;
                self.world()?.jump(at, *by).map_err(broken)
            }
            Command::Advance(Millis(by)) => self.world()?.advance(*by).map_err(broken),
            _ => Ok(()),
        }
    }

    fn time_out(&mut self, server: usize) -> Done {
        let at = self.at(server)?;
        match self.world()?.time_out(at).map_err(broken)? {
            true => Ok(()),
            false => Err(format!("server {server} waits for nothing").into()),
        }
    }

    /// Does this with the messages that are under way now; an error if none is meant.
    fn pass_on(&mut self, which: Which, fate: Fate) -> Done {
        let world = self.world()?;
        let meant: Vec<usize> = world
            .under_way()
            .iter()
            .enumerate()
            .filter(|(_, message)| which.matches(message))
            .map(|(place, _)| place)
            .skip(which.skip)
            .take(which.count.unwrap_or(usize::MAX))
            .collect();
        if meant.is_empty() {
            return Err("no such message is under way".into());
        }
        for (taken, place) in meant.into_iter().enumerate() {
            let copy = fate == Fate::ArriveTwice;
            let place = if copy { place } else { place - taken };
            let Some(mut packet) = world.pick_up(place, copy) else { break };
            match fate {
                Fate::Arrive | Fate::ArriveTwice => {
                    packet.again = copy;
                    world.deliver(packet).map_err(broken)?;
                }
                Fate::Lost => world.show_lost(&packet, "dropped"),
            }
        }
        Ok(())
    }

    fn stabilize(&mut self) -> Done {
        let world = self.world()?;
        for _ in 0..MANY {
            match world.pick_up(0, false) {
                Some(packet) => world.deliver(packet).map_err(broken)?,
                None => return Ok(()),
            }
        }
        Err("the cluster does not come to rest".into())
    }

    fn links(&mut self, command: &Command) -> Done {
        match command {
            Command::Partition(servers) => {
                let apart: Vec<usize> =
                    servers.iter().map(|server| self.at(*server)).collect::<Result<_, _>>()?;
                let world = self.world()?;
                let nodes = world.servers.len();
                let all = (0..nodes).flat_map(|from| (0..nodes).map(move |to| (from, to)));
                let links: Vec<(usize, usize)> =
                    all.filter(|(from, to)| apart.contains(from) != apart.contains(to)).collect();
                world.cut_by_hand(&links);
            }
            Command::Cut { from, to } => {
                let link = (self.at(*from)?, self.at(*to)?);
                self.world()?.cut_by_hand(&[link]);
            }
            _ => self.world()?.heal(),
        }
        Ok(())
    }

    fn lives(&mut self, command: &Command) -> Done {
        match command {
            Command::Crash { server, how, survives, writing } => {
                let at = self.at(*server)?;
                let crash = match how.unwrap_or(How::Power) {
                    How::Kill => Crash::Process,
                    How::Power => survives.crash(),
                };
                self.world()?.crash_by_hand(at, crash, *writing).map_err(broken)
            }
            Command::Restart(server) => {
                let at = self.at(*server)?;
                self.world()?.start_by_hand(at).map_err(broken)
            }
            Command::Pause(server) => {
                let at = self.at(*server)?;
                self.world()?.pause(at);
                Ok(())
            }
            Command::Resume(server) => {
                let at = self.at(*server)?;
                self.world()?.go_on(at).map_err(broken)
            }
            _ => Ok(()),
        }
    }

    fn disk(
        &mut self,
        server: usize,
        what: DiskFault,
        operation: Option<u64>,
        opening: Option<u64>,
    ) -> Done {
        let at = self.at(server)?;
        let world = self.world()?;
        match (what, opening) {
            (DiskFault::Hold, _) => world.hold_disk(at),
            (DiskFault::Finish, _) => world.finish_write(at).map_err(broken)?,
            (DiskFault::Release, _) => world.release_disk(at).map_err(broken)?,
            (DiskFault::Fail, Some(opening)) => world.fail_opening(at, opening),
            (DiskFault::Fail, None) => world.fail_disk(at, operation.unwrap_or(0)),
            (DiskFault::Full, _) => world.fill_disk(at, true),
            (DiskFault::Room, _) => world.fill_disk(at, false),
            (DiskFault::Low, _) => world.tell_of_space(at, true).map_err(broken)?,
            (DiskFault::Ample, _) => world.tell_of_space(at, false).map_err(broken)?,
            (DiskFault::Flip, _) => world.flip_by_hand(at, operation.unwrap_or(0)),
        }
        Ok(())
    }

    /// Shows something of the world, and changes nothing.
    fn look(&mut self, command: &Command) -> Done {
        let lines: Vec<String> = match command {
            Command::Messages => self.world()?.under_way().iter().map(words::message).collect(),
            Command::Status(servers) => self.show(servers, |world, at| {
                world.servers[at].status().map_or_else(
                    || world.status()[at].replace("id=", "n"),
                    |status| words::status(&status),
                )
            })?,
            Command::Log(servers) => self.show(servers, |world, at| {
                let (image, commit_index) = log_of(world, at);
                words::log(world.servers[at].id, image, commit_index)
            })?,
            Command::Terms(servers) => self.show(servers, |world, at| {
                let (image, commit_index) = log_of(world, at);
                words::terms(world.servers[at].id, image, commit_index)
            })?,
            _ => Vec::new(),
        };
        let world = self.world()?;
        lines.into_iter().for_each(|line| world.tell(|| line));
        Ok(())
    }

    fn show(
        &mut self,
        servers: &[usize],
        line: impl Fn(&World<Notebook>, usize) -> String,
    ) -> Result<Vec<String>, Box<dyn Error>> {
        let all: Vec<usize> = match servers {
            [] => (1..=self.world()?.servers.len()).collect(),
            some => some.to_vec(),
        };
        let places = all.iter().map(|server| self.at(*server)).collect::<Result<Vec<_>, _>>()?;
        let world = self.world()?;
        Ok(places.into_iter().map(|at| line(world, at)).collect())
    }
}

/// A server's log, and how far it knows it to be committed; what is on its disk, if it is down.
fn log_of(world: &World<Notebook>, at: usize) -> (&crate::image::Image, Index) {
    let shadow = &world.shadows[at];
    match world.servers[at].status() {
        Some(status) => (&shadow.live, status.commit_index),
        None => (&shadow.durable, Index::ZERO),
    }
}
