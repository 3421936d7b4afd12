//! What can go wrong, beside what a network and a disk do all the time.
//!
//! A fault is an episode: it begins, lasts, and is over. It says whom it strikes by role rather
//! than by name ("the leader"), so that it still hits when the rest of a schedule was taken out.

use std::fmt;
use std::time::Duration;

/// Whom a fault strikes, found when it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The server with this number, counted from 0.
    Node(usize),
    /// The leader of the latest term; a server of this number if there is none.
    Leader(usize),
}

/// How a server stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// The process dies: what it wrote is still in the system's memory.
    Process,
    /// The power fails: of what was not synced the disk keeps what this seed says, sector by
    /// sector, name by name.
    Power(u64),
}

/// Which links break. Members are told by a seed: the same members in each cluster of a size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// In two halves of any sizes.
    Halves(u64),
    /// In two halves; only one of them hears the other.
    OneWay(u64),
    /// One server from all others.
    Alone(Target),
    /// One server hears nobody, and is heard.
    Deaf(Target),
    /// One server is not heard, and hears.
    Mute(Target),
    /// The leader with fewer than half of the servers.
    LeaderInMinority(u64),
    /// Each server reaches its neighbours in a row only: A-B-C.
    Chain(u64),
    /// Single links, in single directions.
    Links(u64),
    /// Some of the links of one server, in single directions.
    SomeOf(Target, u64),
}

/// An episode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Links are cut.
    Partition(Cut),
    /// Links are cut and mended again and again, with this period.
    Flapping(Cut, Duration),
    /// All messages of a server, in and out, take this much longer.
    SlowLinks(Target, Duration),
    /// What is sent on these links is held back, and comes all at once at the end.
    Clog(Cut),
    /// A server stops at once, and starts again at the end.
    Crash(Target, Crash),
    /// A server stops when it next writes to its disk, after this many disk operations, and starts
    /// again a while after the end.
    CrashInSave(Target, Crash, u64),
    /// All servers lose power at once.
    CrashAll(u64),
    /// A server stands still, as a stopped process does; what arrives waits.
    Pause(Target),
    /// A server's disk finishes nothing.
    DiskStall(Target),
    /// A server's disk takes this much longer for each write.
    DiskSlow(Target, Duration),
    /// A server's next write or sync fails, after this many disk operations.
    DiskError(Target, u64),
    /// A write or sync fails while a server opens its log when it starts next: the operation of this
    /// number.
    DiskErrorInOpening(Target, u64),
    /// A server's disk takes no more bytes.
    DiskFull(Target),
    /// A bit flips in what a server's disk holds; where, a seed says.
    BitFlip(Target, u64),
    /// A bit flips in what a server receives of a snapshot; which, a seed says.
    SnapshotFlip(Target, u64),
    /// A server's disk has little room left, and says so.
    DiskLow(Target),
    /// A server loses its disk, and starts again with an empty one at the end.
    Wipe(Target),
    /// A server applies nothing.
    ApplyStall(Target),
    /// A server's clock runs at this rate, in a million.
    Drift(Target, u64),
    /// A server's clock jumps ahead.
    ClockJump(Target, Duration),
    /// A server's clock is set back.
    ClockSetBack(Target, Duration),
}

/// A fault in a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    /// When it begins.
    pub at: Duration,
    /// How long it lasts.
    pub lasts: Duration,
    /// What it is.
    pub fault: Fault,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Node(place) => write!(f, "server {}", place + 1),
            Target::Leader(_) => f.write_str("the leader"),
        }
    }
}

impl fmt::Display for Crash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Crash::Process => "its process is killed",
            Crash::Power(_) => "it loses power",
        })
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cut::Halves(_) => f.write_str("the cluster in two"),
            Cut::OneWay(_) => f.write_str("the cluster in two, one way only"),
            Cut::Alone(target) => write!(f, "{target} from all others"),
            Cut::Deaf(target) => write!(f, "all that {target} would hear"),
            Cut::Mute(target) => write!(f, "all that {target} says"),
            Cut::LeaderInMinority(_) => f.write_str("the leader with a minority"),
            Cut::Chain(_) => f.write_str("all links but those of a chain"),
            Cut::Links(_) => f.write_str("some links, one way each"),
            Cut::SomeOf(target, _) => write!(f, "some links of {target}, one way each"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Partition(cut) => write!(f, "partition: {cut}"),
            Fault::Flapping(cut, period) => write!(f, "flapping every {period:?}: {cut}"),
            Fault::SlowLinks(target, by) => write!(f, "slow links by {by:?}: {target}"),
            Fault::Clog(cut) => write!(f, "clog: {cut}"),
            Fault::Crash(target, crash) => write!(f, "crash: {target}, {crash}"),
            Fault::CrashInSave(target, crash, operations) => {
                write!(f, "crash in a save, after {operations} operations: {target}, {crash}")
            }
            Fault::CrashAll(_) => f.write_str("crash: all servers lose power"),
            Fault::Pause(target) => write!(f, "pause: {target}"),
            Fault::DiskStall(target) => write!(f, "disk stall: {target}"),
            Fault::DiskSlow(target, by) => write!(f, "disk slow by {by:?}: {target}"),
            Fault::DiskError(target, operations) => {
                write!(f, "disk error, after {operations} operations: {target}")
            }
            Fault::DiskErrorInOpening(target, operation) => {
                write!(f, "disk error, at operation {operation} of opening: {target}")
            }
            Fault::DiskFull(target) => write!(f, "disk full: {target}"),
            Fault::BitFlip(target, _) => write!(f, "bit flip: {target}"),
            Fault::SnapshotFlip(target, _) => write!(f, "bit flip in a snapshot: {target}"),
            Fault::DiskLow(target) => write!(f, "disk low: {target}"),
            Fault::Wipe(target) => write!(f, "disk lost: {target}"),
            Fault::ApplyStall(target) => write!(f, "apply stall: {target}"),
            Fault::Drift(target, rate) => {
                write!(
                    f,
                    "clock at {}.{:03} of its rate: {target}",
                    rate / 1_000_000,
                    rate / 1000 % 1000
                )
            }
            Fault::ClockJump(target, by) => write!(f, "clock ahead by {by:?}: {target}"),
            Fault::ClockSetBack(target, by) => write!(f, "clock back by {by:?}: {target}"),
        }
    }
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Planned { at, lasts, fault } = self;
        write!(f, "{:.3} s, for {:.3} s: {fault}", at.as_secs_f64(), lasts.as_secs_f64())
    }
}
