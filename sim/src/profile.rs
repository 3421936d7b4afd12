//! Kinds of bad times, to choose from by name.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::clock::TRUE_RATE;
use crate::dice::{Chance, Dice};
use crate::plan::{Act, Weather};

/// What sort of trouble a world gets into.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Profile {
    /// Each seed draws one of the others, most often `Storm`.
    #[default]
    Default,
    /// Nothing goes wrong.
    Calm,
    /// Loss, delay, repeats, reordering, damage.
    Network,
    /// Links are cut, flap, clog.
    Partitions,
    /// Servers crash and pause.
    Crashes,
    /// Disks are slow, fail, fill up, lose and flip bits.
    Disks,
    /// Clocks run fast, slow, and jump.
    Clocks,
    /// A majority is well in the end, and the faults of the rest are permanent.
    Permanent,
    /// Members come and go, leadership is handed over, while servers crash and links are cut.
    Members,
    /// All of it together.
    Storm,
}

/// A kind of faults in a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Partitions,
    Crashes,
    Disks,
    Clocks,
}

impl Profile {
    /// All profiles.
    pub const ALL: [Profile; 10] = [
        Profile::Default,
        Profile::Calm,
        Profile::Network,
        Profile::Partitions,
        Profile::Crashes,
        Profile::Disks,
        Profile::Clocks,
        Profile::Permanent,
        Profile::Members,
        Profile::Storm,
    ];

    fn name(self) -> &'static str {
        match self {
            Profile::Default => "default",
            Profile::Calm => "calm",
            Profile::Network => "network",
            Profile::Partitions => "partitions",
            Profile::Crashes => "crashes",
            Profile::Disks => "disks",
            Profile::Clocks => "clocks",
            Profile::Permanent => "permanent",
            Profile::Members => "members",
            Profile::Storm => "storm",
        }
    }

    /// The kind of trouble of one seed.
    pub(crate) fn drawn(self, dice: &mut Dice) -> Profile {
        // Drawn in any case, so that a seed is the same cluster under every profile.
        let drawn = match dice.below(16) {
            // Any but the first, which is no trouble of its own, and the last.
            place @ 0..8 => Profile::ALL[1 + place as usize],
            8 => Profile::Crashes,
            _ => Profile::Storm,
        };
        if self == Profile::Default { drawn } else { self }
    }

    /// The kinds of faults that strike.
    pub(crate) fn kinds(self, dice: &mut Dice) -> Vec<Kind> {
        let all = [Kind::Partitions, Kind::Crashes, Kind::Disks, Kind::Clocks];
        match self {
            Profile::Calm | Profile::Network => Vec::new(),
            Profile::Partitions => vec![Kind::Partitions],
            Profile::Crashes => vec![Kind::Crashes],
            Profile::Disks => vec![Kind::Disks, Kind::Crashes],
            Profile::Members => vec![Kind::Partitions, Kind::Crashes],
            Profile::Clocks => vec![Kind::Clocks],
            Profile::Default | Profile::Permanent | Profile::Storm => {
                let mut kinds: Vec<Kind> = all.into_iter().filter(|_| dice.below(3) > 0).collect();
                // Most often what bites most.
                kinds.extend([Kind::Partitions, Kind::Crashes]);
                kinds
            }
        }
    }

    /// What an operator does.
    pub(crate) fn acts(self, nodes: usize, dice: &mut Dice) -> Vec<Act> {
        let all = [Act::Transfer, Act::Elect, Act::Snapshot, Act::Purge, Act::Configure];
        let busy = match self {
            Profile::Members => true,
            Profile::Calm | Profile::Permanent | Profile::Storm => dice.below(2) == 0,
            Profile::Default
            | Profile::Network
            | Profile::Partitions
            | Profile::Crashes
            | Profile::Disks
            | Profile::Clocks => dice.below(4) == 0,
        };
        if !busy {
            return Vec::new();
        }
        let mut acts: Vec<Act> = all.into_iter().filter(|_| dice.below(2) == 0).collect();
        if nodes > 1 && (self == Profile::Members || dice.below(3) > 0) {
            acts.extend([Act::Change; 4]);
        }
        acts
    }

    pub(crate) fn may_end_badly(self) -> bool {
        matches!(self, Profile::Permanent | Profile::Storm | Profile::Partitions)
    }

    /// The rate of a server's clock.
    pub(crate) fn clock(self, dice: &mut Dice) -> u64 {
        match self {
            // Within a hundredth, as real clocks are at their worst.
            Profile::Clocks | Profile::Storm => TRUE_RATE - 10_000 + dice.below(20_001),
            _ => TRUE_RATE,
        }
    }

    /// What networks and disks do, where elections time out after `patience`.
    pub(crate) fn weather(self, patience: Duration, dice: &mut Dice) -> Weather {
        let mut weather = Weather::fine(dice.below(3) > 0);
        weather.noticed = dice.pick(&[Chance::NEVER, Chance::percent(30)]);
        let storm = matches!(self, Profile::Storm | Profile::Permanent | Profile::Default);
        if storm || self == Profile::Network {
            network(&mut weather, patience, dice);
        } else if self != Profile::Calm && dice.below(2) == 0 {
            weather.delay.1 = patience / 20;
        }
        if (storm && dice.below(2) == 0) || self == Profile::Disks {
            let slowest = patience / dice.pick(&[100, 20, 6, 3]);
            weather.save = (slowest / 10, slowest);
            weather.snapshot = (slowest / 10, slowest * 3);
            weather.read = (Duration::ZERO, slowest);
        }
        if storm && dice.below(3) == 0 {
            weather.apply = (Duration::ZERO, patience / dice.pick(&[20, 4, 1]));
        }
        if self != Profile::Calm && dice.below(3) == 0 {
            weather.turn = (Duration::ZERO, patience / dice.pick(&[200, 40, 15]));
        }
        weather
    }
}

fn network(weather: &mut Weather, patience: Duration, dice: &mut Dice) {
    let percent = Chance::percent;
    weather.loss = dice.pick(&[Chance::NEVER, percent(1), percent(5), percent(20), percent(35)]);
    weather.duplicate = dice.pick(&[Chance::NEVER, percent(2), percent(20)]);
    weather.replay = dice.pick(&[Chance::NEVER, Chance(3_000), percent(5)]);
    weather.corrupt = dice.pick(&[Chance::NEVER, Chance::NEVER, percent(1)]);
    weather.delay = (Duration::ZERO, patience / dice.pick(&[200, 40, 10, 4]));
    weather.straggle = match dice.below(3) {
        0 => (percent(2), patience * 3),
        1 => (Chance(2_000), patience * 20),
        _ => (Chance::NEVER, Duration::ZERO),
    };
    weather.ordered = dice.below(3) == 0;
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// No profile has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is none of {all}", all = Profile::ALL.map(Profile::name).join(", "))]
pub struct UnknownProfile(String);

impl FromStr for Profile {
    type Err = UnknownProfile;

    fn from_str(name: &str) -> Result<Profile, UnknownProfile> {
        let found = Profile::ALL.into_iter().find(|profile| profile.name() == name);
        found.ok_or_else(|| UnknownProfile(name.to_string()))
    }
}
