//! What a seed stands for: a cluster, its settings, the weather it lives in, and the faults that
//! strike it.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use actix_raft_core::config::{Config, Lease, MAX_PRIORITY};

use actix_raft_core::snapshot::SnapshotPolicy;

use crate::clock::TRUE_RATE;
use crate::dice::{Chance, Dice};
use crate::fault::{Fault, Planned};
use crate::network::FRAME_BYTES;
use crate::profile::Profile;
use crate::schedule;

/// About how many operations clients call at the most.
const OPERATIONS: u32 = 6000;

/// What one run of a world is to be.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What it was drawn from.
    pub seed: u64,
    /// How many servers there are: 1 to 7.
    pub nodes: usize,
    /// How many of them, the first ones, have a vote at the beginning.
    pub voters: usize,
    /// How many of them, after those, are members without a vote at the beginning. The others know
    /// of no cluster.
    pub non_voters: usize,
    /// What an operator does now and then, each as often as it stands here.
    pub acts: Vec<Act>,
    /// How long the operator waits between two acts, on average.
    pub pause: Duration,
    /// Whether all servers are told of the cluster; if not, the others learn of it from the first.
    pub all_told: bool,
    /// The settings of all servers, but for their seeds.
    pub config: Config,
    /// The length of a segment of the log, in bytes.
    pub segment_bytes: u64,
    /// Whether a disk is told from one that was lost.
    pub disks_are_told_apart: bool,
    /// Whether state machines survive crashes, with all that they have applied.
    pub durable_machines: bool,
    /// What happens all the time.
    pub weather: Weather,
    /// The rate of each server's clock, in a million.
    pub clocks: Vec<u64>,
    /// What happens at times.
    pub faults: Vec<Planned>,
    /// When the faults end.
    pub chaos: Duration,
    /// How it ends.
    pub ending: Ending,
    /// How many clients there are.
    pub clients: usize,
    /// How long a client waits between an answer and its next operation, at the most.
    pub think: Duration,
    /// That with a message comes one that no correct server says.
    pub forged: Chance,
    /// Whether all servers draw from one seed, which only their ids tell apart.
    pub same_seed: bool,
    /// How many bytes are put into one frame, if they can be parted.
    pub frame_bytes: usize,
}

/// What an operator does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Act {
    /// Changes the members, several at once.
    Change,
    /// Hands leadership over.
    Transfer,
    /// Has a server stand for election.
    Elect,
    /// Has a server take a snapshot.
    Snapshot,
    /// Takes entries out of a server's log.
    Purge,
    /// Gives a server other settings.
    Configure,
}

/// What remains after the faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Everything is well again.
    Heal,
    /// A majority is well; on the rest the faults are permanent.
    Permanent,
}

/// What networks, disks and processors do all the time.
#[derive(Clone, Debug)]
pub struct Weather {
    /// That a packet is lost.
    pub loss: Chance,
    /// That it comes twice.
    pub duplicate: Chance,
    /// That an old packet comes once more with it.
    pub replay: Chance,
    /// That a bit of it is flipped.
    pub corrupt: Chance,
    /// How long it takes.
    pub delay: (Duration, Duration),
    /// That it takes much longer, and how long.
    pub straggle: (Chance, Duration),
    /// Whether packets of a link keep their order.
    pub ordered: bool,
    /// That a sender hears of a packet that was lost.
    pub noticed: Chance,
    /// How long a write and its sync take.
    pub save: (Duration, Duration),
    /// How long it takes to write, to store a piece of, or to install a snapshot.
    pub snapshot: (Duration, Duration),
    /// How long a read of the log takes.
    pub read: (Duration, Duration),
    /// How long it takes to apply a batch.
    pub apply: (Duration, Duration),
    /// How long a server takes to turn to what has arrived.
    pub turn: (Duration, Duration),
    /// Whether a server takes everything that has arrived in one step, or each thing in its own.
    pub batches: bool,
}

/// A part of the weather that can be made calm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ambient {
    /// Nothing is lost.
    Loss,
    /// Nothing comes twice or again.
    Repeats,
    /// Nothing is damaged on its way.
    Corruption,
    /// Messages are fast.
    Delay,
    /// Disks are fast.
    Disk,
    /// State machines are fast.
    Apply,
    /// Clocks are true.
    Clocks,
    /// The members don't change.
    Members,
    /// An operator does nothing at all.
    Operator,
}

impl Ambient {
    /// All of them.
    pub const ALL: [Ambient; 9] = [
        Ambient::Loss,
        Ambient::Repeats,
        Ambient::Corruption,
        Ambient::Delay,
        Ambient::Disk,
        Ambient::Apply,
        Ambient::Clocks,
        Ambient::Members,
        Ambient::Operator,
    ];
}

impl fmt::Display for Ambient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Ambient::Loss => "loss",
            Ambient::Repeats => "repeats",
            Ambient::Corruption => "corruption",
            Ambient::Delay => "delay",
            Ambient::Disk => "disk",
            Ambient::Apply => "apply",
            Ambient::Clocks => "clocks",
            Ambient::Members => "members",
            Ambient::Operator => "operator",
        })
    }
}

/// What is left out of a seed's plan, to see what a failure needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edits {
    /// The faults that are kept, by their place in the schedule; all of them if `None`.
    pub keep: Option<Vec<usize>>,
    /// What is made calm.
    pub calm: BTreeSet<Ambient>,
    /// When the faults end, if sooner.
    pub until: Option<Duration>,
}

impl Plan {
    /// The plan of a seed.
    #[must_use]
    pub fn draw(seed: u64, profile: Profile, nodes: Option<usize>) -> Plan {
        let mut dice = Dice::new(seed);
        let profile = profile.drawn(&mut dice);
        let nodes = nodes.unwrap_or_else(|| dice.pick(&[1, 2, 3, 3, 3, 3, 4, 5, 5, 5, 6, 7]));
        let acts = profile.acts(nodes, &mut dice);
        let changes = acts.contains(&Act::Change);
        // Some servers are not members yet.
        let spares = if changes { dice.place(nodes) } else { 0 };
        let members = nodes - spares;
        let non_voters = match members {
            3..=4 if dice.below(6) == 0 => 1,
            5.. if dice.below(4) == 0 => 1 + dice.place(2),
            _ => 0,
        };
        let mut config = config(&mut dice);
        if profile == Profile::Permanent {
            // Without these a server that comes and goes may disturb the others for ever.
            (config.pre_vote, config.check_quorum) = (true, true);
        }
        // Without either, one that is no member any more may.
        config.pre_vote |= changes && !config.check_quorum;
        let patience = config.election_timeout;
        let chaos = patience * (100 + dice.below(400) as u32);
        let weather = profile.weather(patience, &mut dice);
        let mut clocks: Vec<u64> = (0..nodes).map(|_| profile.clock(&mut dice)).collect();
        let lease = config.check_quorum && dice.below(3) == 0;
        config.lease = lease.then(|| Lease { max_clock_drift_percent: dice.pick(&[3, 10, 50]) });
        let mut faults =
            schedule::draw(profile, (nodes, members - non_voters), patience, chaos, &mut dice);
        if let Some(lease) = config.lease {
            keep_drift_within(lease, &mut clocks, &mut faults, &mut dice);
        }
        let permanent = profile.may_end_badly()
            && config.pre_vote
            && config.check_quorum
            && members - non_voters >= 3
            && (dice.below(3) == 0 || profile == Profile::Permanent);
        let clients = 1 + dice.place(5);
        let think = patience / dice.pick(&[50, 10, 4, 2]);
        // So that no world is so busy that others must wait.
        let calmest = chaos * 2 * clients as u32 / OPERATIONS;
        let all_told = permanent || members < 3 || dice.below(4) > 0;
        Plan {
            seed,
            nodes,
            voters: members - non_voters,
            non_voters,
            acts,
            pause: patience * dice.pick(&[1, 3, 10]),
            // Who was never told of a cluster can't form it when the one who was is lost.
            all_told: all_told || faults.iter().any(|planned| planned.may_lose_a_server()),
            config,
            segment_bytes: dice.pick(&[2 << 10, 4 << 10, 16 << 10, 64 << 10]),
            disks_are_told_apart: dice.below(12) > 0,
            durable_machines: dice.below(3) == 0,
            weather,
            clocks,
            faults,
            chaos,
            ending: if permanent { Ending::Permanent } else { Ending::Heal },
            clients,
            think: think.max(calmest),
            // Drawn last, so that the rest of a seed's plan stayed as it was before there were these.
            forged: dice.pick(&[Chance::NEVER, Chance(1_000), Chance(10_000)]),
            same_seed: dice.below(3) == 0,
            frame_bytes: dice.pick(&[300, 4 << 10, FRAME_BYTES]),
        }
    }

    /// The plan without what these edits leave out.
    #[must_use]
    pub fn edited(mut self, edits: &Edits) -> Plan {
        if let Some(until) = edits.until {
            self.chaos = self.chaos.min(until);
        }
        let kept = |place: &usize| edits.keep.as_ref().is_none_or(|keep| keep.contains(place));
        let faults = std::mem::take(&mut self.faults).into_iter().enumerate();
        self.faults = faults
            .filter(|(place, planned)| kept(place) && planned.at < self.chaos)
            .map(|(_, planned)| planned)
            .collect();
        for ambient in &edits.calm {
            self.weather.calm(*ambient);
            if *ambient == Ambient::Corruption {
                self.forged = Chance::NEVER;
            }
            match ambient {
                Ambient::Clocks => self.clocks.fill(TRUE_RATE),
                Ambient::Members => self.acts.retain(|act| *act != Act::Change),
                Ambient::Operator => self.acts.clear(),
                Ambient::Loss
                | Ambient::Repeats
                | Ambient::Corruption
                | Ambient::Delay
                | Ambient::Disk
                | Ambient::Apply => {}
            }
        }
        self
    }

    /// How many servers are members at the beginning.
    #[must_use]
    pub fn members(&self) -> usize {
        self.voters + self.non_voters
    }

    /// Whether the members change.
    #[must_use]
    pub fn changes(&self) -> bool {
        self.acts.contains(&Act::Change)
    }
}

impl Weather {
    /// A network, disks and processors that are at their best.
    #[must_use]
    pub fn fine(batches: bool) -> Weather {
        let micros = |from, to| (Duration::from_micros(from), Duration::from_micros(to));
        Weather {
            loss: Chance::NEVER,
            duplicate: Chance::NEVER,
            replay: Chance::NEVER,
            corrupt: Chance::NEVER,
            delay: micros(200, 1000),
            straggle: (Chance::NEVER, Duration::ZERO),
            ordered: true,
            noticed: Chance::NEVER,
            save: micros(50, 500),
            snapshot: micros(100, 1000),
            read: micros(20, 100),
            apply: micros(5, 50),
            turn: micros(1, 20),
            batches,
        }
    }

    fn calm(&mut self, ambient: Ambient) {
        let fine = Weather::fine(self.batches);
        match ambient {
            Ambient::Loss => self.loss = fine.loss,
            Ambient::Repeats => {
                self.duplicate = fine.duplicate;
                self.replay = fine.replay;
            }
            Ambient::Corruption => self.corrupt = fine.corrupt,
            Ambient::Delay => {
                self.delay = fine.delay;
                self.straggle = fine.straggle;
                self.ordered = fine.ordered;
            }
            Ambient::Disk => {
                self.save = fine.save;
                self.snapshot = fine.snapshot;
                self.read = fine.read;
            }
            Ambient::Apply => self.apply = fine.apply,
            Ambient::Clocks | Ambient::Members | Ambient::Operator => {}
        }
    }
}

/// Clocks and their faults are such as a lease can rely on: all run within the bound, and none jumps.
fn keep_drift_within(lease: Lease, clocks: &mut [u64], faults: &mut Vec<Planned>, dice: &mut Dice) {
    let most = TRUE_RATE / 100 * u64::from(lease.max_clock_drift_percent);
    let mut within = || TRUE_RATE + dice.below(most);
    clocks.iter_mut().for_each(|rate| *rate = within());
    let jumps = |fault: &Fault| matches!(fault, Fault::ClockJump(..) | Fault::ClockSetBack(..));
    faults.retain(|planned| !jumps(&planned.fault));
    for planned in faults {
        if let Fault::Drift(_, rate) = &mut planned.fault {
            *rate = within();
        }
    }
}

/// Settings: often the defaults, often such that every limit is reached.
fn config(dice: &mut Dice) -> Config {
    let election_timeout = Duration::from_millis(dice.pick(&[100, 150, 150, 300, 1000]));
    let config = Config {
        election_timeout,
        catch_up_timeout: election_timeout * dice.pick(&[4, 10, 30]),
        heartbeat_interval: election_timeout / dice.pick(&[2, 3, 5, 10]),
        seed: dice.number(),
        ..Config::default()
    };
    if dice.below(4) == 0 {
        return config;
    }
    Config {
        pre_vote: dice.below(5) > 0,
        check_quorum: dice.below(5) > 0,
        max_append_bytes: dice.pick(&[1, 200, 700, 1 << 20]),
        max_in_flight_appends: dice.pick(&[1, 2, 4, 64]),
        max_in_flight_bytes: dice.pick(&[1, 500, 2000, 8 << 20]),
        max_apply_bytes: dice.pick(&[1, 400, 1 << 20]),
        max_uncommitted_bytes: dice.pick(&[200, 1000, 64 << 20]),
        recent_entries_bytes: dice.pick(&[0, 300, 3000, 16 << 20]),
        snapshot_policy: SnapshotPolicy {
            entries: dice.pick(&[None, Some(1), Some(5), Some(20), Some(100)]),
            bytes: dice.pick(&[None, None, Some(300), Some(3000)]),
            interval: dice.pick(&[None, None, None, Some(election_timeout * 10)]),
        },
        entries_kept: dice.pick(&[0, 0, 1, 10, 50]),
        snapshot_chunk_bytes: dice.pick(&[20, 100, 1000, 256 << 10]),
        snapshot_bytes_per_second: dice.pick(&[None, None, None, Some(20_000)]),
        election_priority: if dice.below(16) == 0 {
            1 + dice.below(10) as u8
        } else {
            MAX_PRIORITY
        },
        ..config
    }
}
