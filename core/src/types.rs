//! The words everything else is made of: ids, terms, indexes, positions and time.

use core::{fmt, ops::Add, time::Duration};

/// A server of the cluster, by a number that never changes and is never given to another server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u64);

/// A consensus group. One node runs one group today, but every message names its group, so that
/// many groups can share one transport and one log later without a new wire format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub u64);

/// A server's disk, told from the one it lost: a number drawn when the disk was first used. What a
/// server promised is on its disk, so one that comes back with another disk has forgotten it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DiskId(pub u64);

impl DiskId {
    /// Not known.
    pub const UNKNOWN: DiskId = DiskId(0);
}

/// A term: Raft's logical clock (§5.1). [`Term::ZERO`] is the term of a server on its first boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term(pub u64);

impl Term {
    /// The term on first boot (Figure 2). No entry ever carries it.
    pub const ZERO: Term = Term(0);

    /// The term a candidate enters.
    #[must_use]
    pub fn next(self) -> Term {
        Term(self.0.saturating_add(1))
    }
}

/// The place of an entry in the log. The first entry has index 1 (Figure 2); [`Index::ZERO`] is
/// the place before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Index(pub u64);

impl Index {
    /// The place before the first entry; the initial value of `commit_index` and `last_applied`.
    pub const ZERO: Index = Index(0);

    /// The index after this one.
    #[must_use]
    pub fn next(self) -> Index {
        Index(self.0.saturating_add(1))
    }

    /// The index before this one; that of [`Index::ZERO`] is itself.
    #[must_use]
    pub fn prev(self) -> Index {
        Index(self.0.saturating_sub(1))
    }
}

/// An entry's term and index. The order is that of §5.4.1: a log is more up to date than another
/// if its last position is greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogPosition {
    /// The term of the leader that created the entry.
    pub term: Term,
    /// The entry's place in the log.
    pub index: Index,
}

impl LogPosition {
    /// The position before the first entry, on which all logs agree.
    pub const ZERO: LogPosition = LogPosition { term: Term::ZERO, index: Index::ZERO };

    /// A position from its parts.
    #[must_use]
    pub fn new(term: u64, index: u64) -> LogPosition {
        LogPosition { term: Term(term), index: Index(index) }
    }
}

/// What a server must have on stable storage before it answers an RPC, apart from its log
/// (Figure 2, "Persistent state on all servers"). Term and vote are one record: stored apart, a
/// crash between the two would let a server vote twice in a term.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct HardState {
    /// The latest term this server has seen.
    pub current_term: Term,
    /// The candidate that received this server's vote in `current_term`.
    pub voted_for: Option<NodeId>,
    /// Whether this disk has what the server may have promised on a disk that it lost: not so at
    /// first, then as soon as it has formed its cluster, or has caught up with a leader that knows
    /// this disk. Until then its vote would be that of someone who has forgotten.
    pub trusted: bool,
}

/// A moment on the driver's own monotonic clock: nanoseconds since any fixed start. The core never
/// compares the times of two nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub u64);

impl Time {
    /// The time passed since `earlier`; zero if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Time) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Time;

    fn add(self, wait: Duration) -> Time {
        let nanos = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
        Time(self.0.saturating_add(nanos))
    }
}

macro_rules! show_number {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

show_number!(NodeId, GroupId, DiskId, Term, Index);

impl fmt::Display for LogPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.index, self.term)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", self.0 / 1_000_000_000, self.0 / 1_000 % 1_000_000)
    }
}
