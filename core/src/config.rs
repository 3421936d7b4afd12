//! The numbers that an operator may turn.

use core::time::Duration;

use crate::snapshot::SnapshotPolicy;

/// Timeouts and limits of one node. All nodes of a cluster should have the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Config {
    /// The shortest election timeout, T: a follower that hears no leader for a time drawn anew
    /// from `[T, 2T)` starts an election (§5.2). Default 150 ms.
    pub election_timeout: Duration,
    /// How often a leader is heard when it has nothing to say (§5.2). Default 50 ms.
    pub heartbeat_interval: Duration,
    /// Whether a server asks for pre-votes before it enters a new term (diss. §9.6), so that one
    /// which was cut off disturbs nobody when it returns. Default true.
    pub pre_vote: bool,
    /// Whether a leader that hears no majority for an election timeout steps down (diss. §6.2),
    /// and whether a server that hears a leader refuses to vote (diss. §4.2.3). Default true.
    pub check_quorum: bool,
    /// The most bytes of entries in one `AppendEntriesRequest`; a single larger entry still goes
    /// out, alone. Default 1 MiB.
    pub max_append_bytes: usize,
    /// How many `AppendEntriesRequest`s with entries may be on their way to one follower. Default 64.
    pub max_in_flight_appends: usize,
    /// How many bytes of entries may be on their way to one follower. Default 8 MiB.
    pub max_in_flight_bytes: usize,
    /// The most bytes of entries handed to the state machine at once. Default 1 MiB.
    pub max_apply_bytes: usize,
    /// A leader refuses proposals while its uncommitted entries weigh more than this. Default
    /// 64 MiB.
    pub max_uncommitted_bytes: usize,
    /// How many bytes of recent entries are kept in memory for followers and the state machine;
    /// older ones are read from storage. Entries that are not on this server's disk yet are kept
    /// in any case. Default 16 MiB.
    pub recent_entries_bytes: usize,
    /// When this server takes snapshots by itself (§7). Default: after 64 MiB or 500,000 entries.
    pub snapshot_policy: SnapshotPolicy,
    /// How many entries that a snapshot includes stay in the log, so that a follower that is a
    /// little behind needs no snapshot. Default 10,000.
    pub entries_kept: u64,
    /// The most bytes in one piece of a snapshot on its way to a follower. Default 256 KiB.
    pub snapshot_chunk_bytes: usize,
    /// How many bytes of snapshots a second a leader sends to one follower at the most; without
    /// bound if `None`. Default none.
    pub snapshot_bytes_per_second: Option<u64>,
    /// Whether reads may rely on clocks, and how far (diss. §6.4.1). Needs `check_quorum`, and the
    /// same on all nodes: a leader relies on what the others do. So before an election timeout is
    /// made shorter, check-quorum is switched off, or a node is restarted without leases, leases are
    /// switched off everywhere, and an election timeout is waited for. Default none.
    pub lease: Option<Lease>,
    /// How early this server stands for election, compared with others: 0 never does by itself, 10
    /// after a timeout drawn from `[T, 2T)`, each step less half a T later. It says nothing about
    /// votes: a server with a longer log may be elected first all the same. Default 10.
    pub election_priority: u8,
    /// Whether this server stands for election when it hears no leader. Without, it follows and
    /// votes, can be handed leadership, and stands on an operator's demand. Default true.
    pub elections: bool,
    /// How long nothing may be heard of a new voter that is to catch up, before the change of
    /// members is given up. Default 10 s.
    pub catch_up_timeout: Duration,
    /// Seed of the election timeouts' randomness and of the numbers of ballots and of questions to the
    /// leader, mixed with the node's id. A node needs another one each time it starts: else answers
    /// to what it asked before a crash may be taken for answers to what it asks now, and a read at a
    /// follower be stale. Default 0.
    pub seed: u64,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            election_timeout: Duration::from_millis(150),
            heartbeat_interval: Duration::from_millis(50),
            pre_vote: true,
            check_quorum: true,
            max_append_bytes: 1 << 20,
            max_in_flight_appends: 64,
            max_in_flight_bytes: 8 << 20,
            max_apply_bytes: 1 << 20,
            max_uncommitted_bytes: 64 << 20,
            recent_entries_bytes: 16 << 20,
            snapshot_policy: SnapshotPolicy::default(),
            entries_kept: 10_000,
            snapshot_chunk_bytes: 256 << 10,
            snapshot_bytes_per_second: None,
            lease: None,
            election_priority: MAX_PRIORITY,
            elections: true,
            catch_up_timeout: Duration::from_secs(10),
            seed: 0,
        }
    }
}

/// The priority of a server that stands as early as any.
pub const MAX_PRIORITY: u8 = 10;

/// What lease reads may rely on: that clocks run at nearly the same speed. What they show does not
/// matter, but they must not stand still while their machine is asleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lease {
    /// By how many percent a server's clock may run faster than another's, at the most. If one
    /// drifts more, a read may be stale. The lease is shorter than the election timeout by as
    /// much; if it is shorter than a heartbeat interval, reads will often need a round all the same.
    pub max_clock_drift_percent: u32,
}

impl Lease {
    /// How long a leader may rely on a majority's answer to a heartbeat, from the moment it was
    /// sent: a follower that heard it votes for nobody else for an election timeout by its own
    /// clock, which may be the fastest, while the leader's is the slowest.
    #[must_use]
    pub fn length(self, election_timeout: Duration) -> Duration {
        let percent = u64::from(self.max_clock_drift_percent);
        let nanos = u64::try_from(election_timeout.as_nanos()).unwrap_or(u64::MAX / 100);
        Duration::from_nanos((u128::from(nanos) * 100 / u128::from(100 + percent)) as u64)
    }
}

/// Why a configuration can't work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A limit or a time is zero.
    #[error("{0} must be more than zero")]
    Zero(&'static str),
    /// Followers would give up a leader between two of its heartbeats.
    #[error(
        "heartbeat_interval ({heartbeat:?}) must be at most half of election_timeout ({election:?})"
    )]
    HeartbeatTooSlow {
        /// The heartbeat interval.
        heartbeat: Duration,
        /// The election timeout.
        election: Duration,
    },
    /// Followers would vote while a lease holds.
    #[error("lease reads need check_quorum")]
    LeaseWithoutCheckQuorum,
    /// There is no such priority.
    #[error("election_priority ({0}) must be at most {MAX_PRIORITY}")]
    Priority(u8),
}

impl Config {
    /// Checks that a cluster can work with these numbers.
    ///
    /// # Errors
    /// Names the first number that is out of range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let limits = [
            ("heartbeat_interval", self.heartbeat_interval.is_zero()),
            ("max_append_bytes", self.max_append_bytes == 0),
            ("max_in_flight_appends", self.max_in_flight_appends == 0),
            ("max_in_flight_bytes", self.max_in_flight_bytes == 0),
            ("max_apply_bytes", self.max_apply_bytes == 0),
            ("max_uncommitted_bytes", self.max_uncommitted_bytes == 0),
            ("snapshot_chunk_bytes", self.snapshot_chunk_bytes == 0),
            ("snapshot_bytes_per_second", self.snapshot_bytes_per_second == Some(0)),
            ("snapshot_policy.entries", self.snapshot_policy.entries == Some(0)),
            ("snapshot_policy.bytes", self.snapshot_policy.bytes == Some(0)),
            ("snapshot_policy.interval", self.snapshot_policy.interval == Some(Duration::ZERO)),
            ("catch_up_timeout", self.catch_up_timeout.is_zero()),
        ];
        if let Some((name, _)) = limits.into_iter().find(|(_, zero)| *zero) {
            return Err(ConfigError::Zero(name));
        }
        if self.heartbeat_interval * 2 > self.election_timeout {
            return Err(ConfigError::HeartbeatTooSlow {
                heartbeat: self.heartbeat_interval,
                election: self.election_timeout,
            });
        }
        if self.lease.is_some() && !self.check_quorum {
            return Err(ConfigError::LeaseWithoutCheckQuorum);
        }
        if self.election_priority > MAX_PRIORITY {
            return Err(ConfigError::Priority(self.election_priority));
        }
        Ok(())
    }
}
