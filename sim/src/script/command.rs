//! What a script may say.

use std::str::FromStr;
use std::time::Duration;

use actix_raft_core::message::{MessageBody, VoteKind};

use crate::disk::survives;
use crate::fault::Crash;

/// A command of a script. Servers are named by their numbers, from 1 on.
#[derive(goldenscript::Command)]
pub enum Command {
    /// What a server's disk holds before the cluster starts: `stored 1 term=6 log="1 1 4 6"`. The
    /// log is given by its terms; its first entry holds the members.
    Stored {
        /// The server.
        server: usize,
        /// Its term.
        #[arg(key)]
        term: u64,
        /// Its vote in that term.
        #[arg(key)]
        vote: Option<u64>,
        /// The terms of its entries.
        #[arg(key)]
        log: Option<String>,
    },
    /// Starts a cluster all of whose servers know it: `cluster nodes=3 leader=1`.
    Cluster {
        /// How many servers there are.
        #[arg(key)]
        nodes: usize,
        /// How many of them, the last ones, have no vote.
        #[arg(key)]
        non_voters: Option<usize>,
        /// How many, after those, are no members.
        #[arg(key)]
        spares: Option<usize>,
        /// Who is told of the cluster: all voters, or `nobody`, or these only, as in `told="1 2"`; the
        /// others learn of it from the log.
        #[arg(key)]
        told: Option<String>,
        /// Who leads it: the election is not shown.
        #[arg(key)]
        leader: Option<usize>,
        /// Whether there are pre-votes (diss. §9.6).
        #[arg(key)]
        pre_vote: Option<bool>,
        /// Whether leaders step down, and votes are refused, by who hears whom (diss. §6.2, §4.2.3).
        #[arg(key)]
        check_quorum: Option<bool>,
        /// The most bytes in a request; an entry weighs 64 and its command.
        #[arg(key)]
        max_append_bytes: Option<usize>,
        /// The most requests on their way to a follower.
        #[arg(key)]
        max_in_flight_appends: Option<usize>,
        /// The most bytes on their way to a follower.
        #[arg(key)]
        max_in_flight_bytes: Option<usize>,
        /// The most bytes handed to a state machine at once.
        #[arg(key)]
        max_apply_bytes: Option<usize>,
        /// The most bytes that await commitment.
        #[arg(key)]
        max_uncommitted_bytes: Option<usize>,
        /// How many bytes of entries are kept in memory.
        #[arg(key)]
        recent_entries_bytes: Option<usize>,
        /// A snapshot is taken when so many entries were applied since the last one.
        #[arg(key)]
        snapshot_entries: Option<u64>,
        /// How many entries that a snapshot includes stay in the log; none, unless given.
        #[arg(key)]
        entries_kept: Option<u64>,
        /// The most bytes in a piece of a snapshot.
        #[arg(key)]
        snapshot_chunk_bytes: Option<usize>,
        /// By how many percent clocks may differ, where reads rely on them.
        #[arg(key)]
        lease: Option<u32>,
        /// The length of a segment of the log, in bytes.
        #[arg(key)]
        segment_bytes: Option<u64>,
        /// Whether state machines survive crashes, with all that they have applied.
        #[arg(key, optional)]
        durable_machines: bool,
        /// Whether a disk is told from one that was lost.
        #[arg(key, optional)]
        disks: bool,
    },
    /// Tells a server of the cluster.
    Initialize(usize),
    /// A server's clock jumps to its deadline: a follower's patience ends, a leader's heartbeat is
    /// due.
    Timeout(usize),
    /// The same, so many times: `heartbeat 1 3`.
    Heartbeat(usize, #[arg(optional)] usize),
    /// A server's clock jumps ahead: `clock 1 150ms`.
    Clock(usize, Millis),
    /// Time passes for all: `advance 100ms`.
    Advance(Millis),
    /// Messages arrive: those under way now, or those that are meant.
    Deliver {
        /// From whom.
        #[arg(key)]
        from: Option<u64>,
        /// To whom.
        #[arg(key)]
        to: Option<u64>,
        /// Which kind.
        #[arg(key)]
        kind: Option<Kind>,
        /// How many, the oldest first.
        #[arg(key)]
        count: Option<usize>,
        /// How many that are older stay under way.
        #[arg(key, optional)]
        skip: usize,
    },
    /// Copies of messages arrive; the messages stay under way.
    Duplicate {
        /// From whom.
        #[arg(key)]
        from: Option<u64>,
        /// To whom.
        #[arg(key)]
        to: Option<u64>,
        /// Which kind.
        #[arg(key)]
        kind: Option<Kind>,
        /// How many, the oldest first.
        #[arg(key)]
        count: Option<usize>,
        /// How many that are older are left out.
        #[arg(key, optional)]
        skip: usize,
    },
    /// Messages are lost.
    Drop {
        /// From whom.
        #[arg(key)]
        from: Option<u64>,
        /// To whom.
        #[arg(key)]
        to: Option<u64>,
        /// Which kind.
        #[arg(key)]
        kind: Option<Kind>,
        /// How many, the oldest first.
        #[arg(key)]
        count: Option<usize>,
        /// How many that are older stay under way.
        #[arg(key, optional)]
        skip: usize,
    },
    /// Messages arrive until none are under way.
    Stabilize,
    /// Shows the messages under way.
    Messages,
    /// Cuts these servers off from all others: `partition 1 2`.
    Partition(Vec<usize>),
    /// Cuts a link in one direction.
    Cut {
        /// From whom.
        #[arg(key)]
        from: usize,
        /// To whom.
        #[arg(key)]
        to: usize,
    },
    /// Mends all links.
    Heal,
    /// A server stops: `crash 1 power survives=nothing`. Of a save under way nothing is written,
    /// unless `writing` says how many operations of the disk are done.
    Crash {
        /// The server.
        server: usize,
        /// Whether its process is killed, or its host loses power.
        how: Option<How>,
        /// What the disk keeps of what was not synced, if the power fails.
        #[arg(key, optional)]
        survives: Survival,
        /// How many operations of a save are done.
        #[arg(key)]
        writing: Option<u64>,
    },
    /// A server starts again.
    Restart(usize),
    /// A server stands still, as a stopped process does.
    Pause(usize),
    /// It goes on.
    Resume(usize),
    /// What happens to a disk: `disk 1 hold`, `finish`, `release`, `fail`, `full`, `room`, `flip`.
    Disk {
        /// The server.
        server: usize,
        /// What happens.
        what: DiskFault,
        /// How many operations of the next save are done before it fails; which bit flips.
        #[arg(key)]
        at: Option<u64>,
        /// Which operation of the next start fails.
        #[arg(key)]
        opening: Option<u64>,
    },
    /// An operator changes the members, all at once: `change 1 add="4 5" remove=2`.
    Change {
        /// The server that is asked.
        server: usize,
        /// New voters.
        #[arg(key)]
        add: Option<String>,
        /// New members without a vote.
        #[arg(key)]
        watch: Option<String>,
        /// Members that get a vote.
        #[arg(key)]
        promote: Option<String>,
        /// Voters that lose it.
        #[arg(key)]
        demote: Option<String>,
        /// Members that are none any more.
        #[arg(key)]
        remove: Option<String>,
        /// Members that move to another address.
        #[arg(key)]
        relocate: Option<String>,
        /// The index of the configuration that they are meant for.
        #[arg(key)]
        expected: Option<u64>,
    },
    /// An operator has leadership handed over.
    Transfer {
        /// The server that is asked.
        server: usize,
        /// To whom.
        #[arg(key)]
        to: Option<u64>,
    },
    /// An operator has a server stand for election.
    Elect(usize),
    /// An operator has a server take a snapshot.
    Snapshot(usize),
    /// An operator has a server's log purged.
    Purge {
        /// The server.
        server: usize,
        /// The last entry to go.
        #[arg(key)]
        until: Option<u64>,
    },
    /// A server stops and loses its disk; `restart` starts it with an empty one.
    Wipe(usize),
    /// A state machine applies nothing: `machine 1 hold`, `release`.
    Machine(usize, Brake),
    /// Clients write words, each of them one: `propose 1 a b c`.
    Propose(usize, #[arg(many)] Vec<String>),
    /// A client reads; it may give the read a name: `read 1 r`.
    Read(usize, Option<String>),
    /// Shows servers: all, or these.
    Status(#[arg(optional)] Vec<usize>),
    /// Shows logs; what a server knows to be committed stands before the bar.
    Log(#[arg(optional)] Vec<usize>),
    /// Shows the terms of the entries only, as the paper draws logs.
    Terms(#[arg(optional)] Vec<usize>),
}

/// A time in milliseconds: `150ms`.
#[derive(Clone, Copy, Debug)]
pub struct Millis(pub Duration);

impl FromStr for Millis {
    type Err = String;

    fn from_str(text: &str) -> Result<Millis, String> {
        let number = text.strip_suffix("ms").and_then(|number| number.parse().ok());
        let number = number.ok_or_else(|| format!("{text} is no time such as 150ms"))?;
        Ok(Millis(Duration::from_millis(number)))
    }
}

/// Kinds of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `append`: requests with entries.
    Append,
    /// `heartbeat`: requests without.
    Heartbeat,
    /// `append_response`: answers to either.
    AppendResponse,
    /// `pre_vote`.
    PreVote,
    /// `pre_vote_response`.
    PreVoteResponse,
    /// `vote`.
    Vote,
    /// `vote_response`.
    VoteResponse,
    /// `install`: pieces of a snapshot.
    Install,
    /// `install_response`.
    InstallResponse,
    /// `timeout_now`.
    TimeoutNow,
    /// `read_index`.
    ReadIndex,
    /// `read_index_response`.
    ReadIndexResponse,
}

impl Kind {
    pub(crate) fn of(body: &MessageBody) -> Kind {
        let is_pre_vote = |kind| match kind {
            VoteKind::PreVote => true,
            VoteKind::Vote | VoteKind::Transfer => false,
        };
        match body {
            MessageBody::AppendEntriesRequest(body) if body.entries.is_empty() => Kind::Heartbeat,
            MessageBody::AppendEntriesRequest(_) => Kind::Append,
            MessageBody::AppendEntriesResponse(_) => Kind::AppendResponse,
            MessageBody::VoteRequest(body) if is_pre_vote(body.kind) => Kind::PreVote,
            MessageBody::VoteRequest(_) => Kind::Vote,
            MessageBody::VoteResponse(body) if is_pre_vote(body.kind) => Kind::PreVoteResponse,
            MessageBody::VoteResponse(_) => Kind::VoteResponse,
            MessageBody::InstallSnapshotRequest(_) => Kind::Install,
            MessageBody::InstallSnapshotResponse(_) => Kind::InstallResponse,
            MessageBody::TimeoutNowRequest(_) => Kind::TimeoutNow,
            MessageBody::ReadIndexRequest(_) => Kind::ReadIndex,
            MessageBody::ReadIndexResponse(_) => Kind::ReadIndexResponse,
        }
    }
}

/// Gives the values of an enum the words by which scripts name them.
macro_rules! spelled {
    ($type:ident: $($word:literal => $value:expr),*) => {
        impl FromStr for $type {
            type Err = String;

            fn from_str(text: &str) -> Result<$type, String> {
                match text {
                    $($word => Ok($value),)*
                    _ => Err(format!("{text} is none of {}", [$($word),*].join(", "))),
                }
            }
        }
    };
}

spelled!(Kind:
    "append" => Kind::Append,
    "heartbeat" => Kind::Heartbeat,
    "append_response" => Kind::AppendResponse,
    "pre_vote" => Kind::PreVote,
    "pre_vote_response" => Kind::PreVoteResponse,
    "vote" => Kind::Vote,
    "vote_response" => Kind::VoteResponse,
    "install" => Kind::Install,
    "install_response" => Kind::InstallResponse,
    "timeout_now" => Kind::TimeoutNow,
    "read_index" => Kind::ReadIndex,
    "read_index_response" => Kind::ReadIndexResponse);

/// How a server stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Its process is killed: what it wrote is still in the system's memory.
    Kill,
    /// Its host loses power.
    Power,
}

spelled!(How: "kill" => How::Kill, "power" => How::Power);

/// What a disk keeps of what was not synced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Survival {
    /// Nothing.
    #[default]
    Nothing,
    /// Everything.
    Everything,
    /// In each file, the first half of what was changed.
    Half,
    /// In each file, the second half.
    SecondHalf,
    /// What this seed says.
    Seed(u64),
}

impl FromStr for Survival {
    type Err = String;

    fn from_str(text: &str) -> Result<Survival, String> {
        match text {
            "nothing" => Ok(Survival::Nothing),
            "everything" => Ok(Survival::Everything),
            "half" => Ok(Survival::Half),
            "second_half" => Ok(Survival::SecondHalf),
            _ => text.parse().map(Survival::Seed).map_err(|_| {
                format!("{text} is no seed and none of nothing, everything, half, second_half")
            }),
        }
    }
}

impl Survival {
    /// A power failure of which this survives.
    pub(crate) fn crash(self) -> Crash {
        use actix_raft_log::crash::Survives;
        let wanted = match self {
            Survival::Nothing => Survives::Nothing,
            Survival::Everything => Survives::Everything,
            Survival::Half => Survives::FirstHalf,
            Survival::SecondHalf => Survives::SecondHalf,
            Survival::Seed(seed) => return Crash::Power(seed),
        };
        // One seed in eight, or more.
        Crash::Power((0..10_000).find(|seed| survives(*seed) == wanted).unwrap_or_default())
    }
}

/// What happens to a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskFault {
    /// It finishes nothing.
    Hold,
    /// It finishes the write that it is at, and nothing more.
    Finish,
    /// It goes on.
    Release,
    /// The next save fails, or the next start.
    Fail,
    /// It takes no more bytes.
    Full,
    /// It does again.
    Room,
    /// A bit flips in what was written before the next save but one.
    Flip,
    /// It has little room left, and says so.
    Low,
    /// It has room again.
    Ample,
}

spelled!(DiskFault:
    "hold" => DiskFault::Hold,
    "finish" => DiskFault::Finish,
    "release" => DiskFault::Release,
    "fail" => DiskFault::Fail,
    "full" => DiskFault::Full,
    "room" => DiskFault::Room,
    "flip" => DiskFault::Flip,
    "low" => DiskFault::Low,
    "ample" => DiskFault::Ample);

/// What happens to a state machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Brake {
    /// It applies nothing.
    Hold,
    /// It goes on.
    Release,
}

spelled!(Brake: "hold" => Brake::Hold, "release" => Brake::Release);
