//! The numbers that an operator may turn.

use core::time::Duration;

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
    /// Seed of the election timeouts' randomness and of the numbers of ballots, mixed with the node's
    /// id. A node wants another one each time it starts: else answers to a pre-vote that it asked for
    /// before a crash may be taken for answers to the present one. Default 0.
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
            seed: 0,
        }
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
        Ok(())
    }
}
