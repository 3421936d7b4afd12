//! When faults strike, and which.

use std::time::Duration;

use crate::dice::Dice;
use crate::fault::{Crash, Cut, Fault, Planned, Target};
use crate::profile::{Kind, Profile};

impl Planned {
    /// Whether a server may never come back after it.
    pub(crate) fn may_lose_a_server(&self) -> bool {
        matches!(self.fault, Fault::BitFlip(..))
    }
}

/// The schedule of a seed.
pub(crate) fn draw(
    profile: Profile,
    (nodes, voters): (usize, usize),
    patience: Duration,
    chaos: Duration,
    dice: &mut Dice,
) -> Vec<Planned> {
    let kinds = profile.kinds(dice);
    if kinds.is_empty() {
        return Vec::new();
    }
    let count = 5 + dice.below(150);
    let mut flips_left = voters.saturating_sub(1) / 2;
    let mut faults: Vec<Planned> = (0..count)
        .map(|_| {
            let at = dice.duration(patience, chaos);
            // Mostly short, sometimes long: each length as often as twice that length.
            let lasts = patience.mul_f64(0.1) * (1 << dice.below(7)) as u32;
            let lasts = dice.duration(lasts / 2, lasts * 2);
            let mut fault = one(dice.pick(&kinds), nodes, patience, dice);
            if let Fault::BitFlip(target, _) = fault {
                match flips_left.checked_sub(1) {
                    Some(left) => flips_left = left,
                    // Enough others must be left to have what it lost.
                    None => fault = Fault::DiskStall(target),
                }
            }
            Planned { at, lasts, fault }
        })
        .collect();
    let companions: Vec<Planned> = faults
        .iter()
        .filter(|planned| matches!(planned.fault, Fault::Partition(_) | Fault::Crash(..)))
        .filter_map(|planned| companion(planned, &kinds, nodes, patience, dice))
        .collect();
    faults.extend(companions);
    if kinds.contains(&Kind::Disks) && kinds.contains(&Kind::Crashes) {
        for _ in 0..dice.below(6) {
            faults.extend(stalled_through_an_election(nodes, patience, chaos, dice));
            faults.extend(overwritten_while_saved(nodes, patience, chaos, dice));
            faults.extend(killed_and_then_without_power(nodes, patience, chaos, dice));
            faults.extend(wiped_before_an_election(nodes, patience, chaos, dice));
        }
    }
    faults.sort_by_key(|planned| planned.at);
    faults
}

/// What goes wrong beside another fault, while leaders change: single faults are survived, and bugs
/// hide where two meet.
fn companion(
    beside: &Planned,
    kinds: &[Kind],
    nodes: usize,
    patience: Duration,
    dice: &mut Dice,
) -> Option<Planned> {
    let (struck, fine) = (dice.place(nodes), dice.below(3) > 0);
    let target = Target::Node(struck);
    let fault = match dice.below(6) {
        0 | 1 => Fault::DiskStall(target),
        2 | 3 => Fault::DiskSlow(target, patience / dice.pick(&[2, 1])),
        4 => Fault::CrashInSave(target, crash(dice), dice.below(3)),
        _ => Fault::Pause(target),
    };
    let kind = match fault {
        Fault::DiskStall(_) | Fault::DiskSlow(..) => Kind::Disks,
        _ => Kind::Crashes,
    };
    let at = beside.at + dice.duration(Duration::ZERO, beside.lasts);
    let lasts = dice.duration(patience, patience * 6);
    (kinds.contains(&kind) && !fine).then_some(Planned { at, lasts, fault })
}

/// A disk stalls, others elect a leader meanwhile, and the server crashes soon after its disk has
/// written all that had come together: what was saved in one write must all be there.
fn stalled_through_an_election(
    nodes: usize,
    patience: Duration,
    chaos: Duration,
    dice: &mut Dice,
) -> [Planned; 3] {
    let struck = Target::Node(dice.place(nodes));
    let at = dice.duration(patience, chaos);
    let lasts = dice.duration(patience * 3, patience * 8);
    let soon = lasts + dice.duration(Duration::ZERO, patience);
    [
        Planned { at, lasts, fault: Fault::DiskStall(struck) },
        Planned {
            at: at + dice.duration(Duration::ZERO, patience / 2),
            lasts: lasts * 2,
            fault: Fault::Partition(Cut::Alone(Target::Leader(0))),
        },
        Planned { at: at + soon, lasts: patience, fault: Fault::Crash(struck, crash(dice)) },
    ]
}

/// A leader's disk stalls with entries that only it has; another is elected, and overwrites them
/// before they are written: what a late save holds is not what the log holds (A-B-A).
fn overwritten_while_saved(
    nodes: usize,
    patience: Duration,
    chaos: Duration,
    dice: &mut Dice,
) -> [Planned; 2] {
    let leader = Target::Leader(dice.place(nodes));
    let at = dice.duration(patience, chaos);
    let cut = dice.duration(patience * 2, patience * 4);
    let soon = dice.duration(Duration::ZERO, patience / 4);
    [
        Planned { at, lasts: cut * 2, fault: Fault::DiskStall(leader) },
        Planned { at: at + soon, lasts: cut, fault: Fault::Partition(Cut::Alone(leader)) },
    ]
}

/// A process is killed when it has made something that is not durable yet, such as a segment's
/// name; it starts again, trusts what it finds, and loses power.
fn killed_and_then_without_power(
    nodes: usize,
    patience: Duration,
    chaos: Duration,
    dice: &mut Dice,
) -> [Planned; 2] {
    let struck = Target::Node(dice.place(nodes));
    let at = dice.duration(patience, chaos);
    let kill = Fault::CrashInSave(struck, Crash::Process, 4 + dice.below(3));
    // It starts again an election timeout after the fault has ended.
    let power_fails = at + patience * 2 + dice.duration(patience / 10, patience);
    let power = Fault::Crash(struck, Crash::Power(dice.number()));
    [
        Planned { at, lasts: patience, fault: kill },
        Planned { at: power_fails, lasts: patience, fault: power },
    ]
}

/// A server loses its disk and is back soon, just before the others need its vote.
fn wiped_before_an_election(
    nodes: usize,
    patience: Duration,
    chaos: Duration,
    dice: &mut Dice,
) -> [Planned; 2] {
    let struck = Target::Node(dice.place(nodes));
    let at = dice.duration(patience, chaos);
    let lasts = dice.duration(Duration::ZERO, patience / 2);
    let leader = Target::Leader(dice.place(nodes));
    let fault = match dice.below(3) {
        0 => Fault::Crash(leader, crash(dice)),
        1 => Fault::Pause(leader),
        _ => Fault::Partition(Cut::Alone(leader)),
    };
    let soon = dice.duration(Duration::ZERO, patience);
    [
        Planned { at, lasts, fault: Fault::Wipe(struck) },
        Planned { at: at + soon, lasts: patience * 4, fault },
    ]
}

fn target(nodes: usize, dice: &mut Dice) -> Target {
    let place = dice.place(nodes);
    if dice.below(2) == 0 { Target::Leader(place) } else { Target::Node(place) }
}

fn one(kind: Kind, nodes: usize, patience: Duration, dice: &mut Dice) -> Fault {
    let target = target(nodes, dice);
    match kind {
        Kind::Partitions => match dice.below(10) {
            0..6 => Fault::Partition(cut(target, dice)),
            6 | 7 => {
                let period = patience / dice.pick(&[5, 2, 1]);
                Fault::Flapping(cut(target, dice), period)
            }
            8 => Fault::SlowLinks(target, patience / dice.pick(&[8, 2, 1])),
            _ => Fault::Clog(cut(target, dice)),
        },
        Kind::Crashes => match dice.below(12) {
            0..3 => Fault::Crash(target, crash(dice)),
            // As many as it takes to begin a segment: create, write, sync, rename, sync the directory.
            3..8 => Fault::CrashInSave(target, crash(dice), dice.below(9)),
            8 => Fault::CrashAll(dice.number()),
            _ => Fault::Pause(target),
        },
        Kind::Disks => match dice.below(14) {
            10 => Fault::SnapshotFlip(target, dice.number()),
            11 => Fault::DiskLow(target),
            12 | 13 => Fault::Wipe(target),
            0 | 1 => Fault::DiskStall(target),
            2 => Fault::DiskSlow(target, patience / dice.pick(&[10, 2, 1])),
            3 | 4 => Fault::DiskError(target, dice.below(9)),
            5 => Fault::DiskFull(target),
            6 => Fault::ApplyStall(target),
            7 => Fault::DiskErrorInOpening(target, 1 + dice.below(4)),
            _ => Fault::BitFlip(target, dice.number()),
        },
        Kind::Clocks => match dice.below(4) {
            // Beyond any bound that could be stated.
            0 | 1 => {
                Fault::Drift(target, dice.pick(&[200_000, 500_000, 900_000, 1_500_000, 4_000_000]))
            }
            2 => Fault::ClockJump(target, patience * dice.pick(&[1, 3, 100])),
            _ => Fault::ClockSetBack(target, patience / dice.pick(&[4, 1])),
        },
    }
}

fn crash(dice: &mut Dice) -> Crash {
    if dice.below(3) == 0 { Crash::Process } else { Crash::Power(dice.number()) }
}

fn cut(target: Target, dice: &mut Dice) -> Cut {
    let seed = dice.number();
    match dice.below(10) {
        0 => Cut::Halves(seed),
        1 => Cut::OneWay(seed),
        2 | 3 => Cut::Alone(target),
        4 => Cut::Deaf(target),
        5 => Cut::Mute(target),
        6 | 7 => Cut::LeaderInMinority(seed),
        8 => Cut::Chain(seed),
        _ => Cut::Links(seed),
    }
}
