//! What may be configured, with its defaults and limits.

use std::time::Duration;

use actix_raft_core::config::Config as ProtocolConfig;
pub use actix_raft_core::config::{ConfigError, Lease, MAX_PRIORITY};
pub use actix_raft_core::snapshot::SnapshotPolicy;

use crate::admin::UpdateConfig;
use crate::envelope::Terms;

/// A node's configuration, checked. Made by [`Config::builder`]; the default is a good one.
///
/// ```
/// use std::time::Duration;
/// use actix_raft::config::Config;
///
/// let config = Config::builder()
///     .election_timeout(Duration::from_millis(300))
///     .heartbeat_interval(Duration::from_millis(60))
///     .build()?;
/// # Ok::<(), actix_raft::config::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Config {
    pub(crate) protocol: ProtocolConfig,
    pub(crate) seed: Option<u64>,
    pub(crate) metrics_rate: Duration,
    pub(crate) max_command_bytes: usize,
    pub(crate) max_in_flight_requests: usize,
    pub(crate) max_in_flight_request_bytes: usize,
    pub(crate) session_timeout: Duration,
    pub(crate) max_sessions: u32,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            protocol: ProtocolConfig::default(),
            seed: None,
            metrics_rate: Duration::from_secs(1),
            max_command_bytes: 8 << 20,
            max_in_flight_requests: 16_384,
            max_in_flight_request_bytes: 64 << 20,
            session_timeout: Duration::from_secs(3600),
            max_sessions: 10_000,
        }
    }
}

impl Config {
    /// Starts from the defaults.
    pub fn builder() -> ConfigBuilder {
        ConfigBuilder { config: Config::default() }
    }

    /// The largest command that a node accepts, in bytes.
    #[must_use]
    pub fn max_command_bytes(&self) -> usize {
        self.max_command_bytes
    }

    /// What a session that begins now is promised.
    pub(crate) fn session_terms(&self) -> Terms {
        let timeout = u64::try_from(self.session_timeout.as_millis()).unwrap_or(u64::MAX);
        Terms { timeout, max_sessions: self.max_sessions }
    }

    /// This configuration with what an operator changes.
    pub(crate) fn updated(&self, update: UpdateConfig) -> Result<Config, ConfigError> {
        let mut config = self.clone();
        let UpdateConfig {
            election_timeout,
            heartbeat_interval,
            pre_vote,
            check_quorum,
            snapshot_policy,
            entries_kept,
            snapshot_bytes_per_second,
            lease,
            election_priority,
            elections,
            catch_up_timeout,
            max_uncommitted_bytes,
            max_command_bytes,
            metrics_rate,
            session_timeout,
            max_sessions,
        } = update;
        let protocol = &mut config.protocol;
        set(&mut protocol.election_timeout, election_timeout);
        set(&mut protocol.heartbeat_interval, heartbeat_interval);
        set(&mut protocol.pre_vote, pre_vote);
        set(&mut protocol.check_quorum, check_quorum);
        set(&mut protocol.snapshot_policy, snapshot_policy);
        set(&mut protocol.entries_kept, entries_kept);
        set(&mut protocol.snapshot_bytes_per_second, snapshot_bytes_per_second);
        set(&mut protocol.lease, lease);
        set(&mut protocol.election_priority, election_priority);
        set(&mut protocol.elections, elections);
        set(&mut protocol.catch_up_timeout, catch_up_timeout);
        set(&mut protocol.max_uncommitted_bytes, max_uncommitted_bytes);
        set(&mut config.max_command_bytes, max_command_bytes);
        set(&mut config.metrics_rate, metrics_rate);
        set(&mut config.session_timeout, session_timeout);
        set(&mut config.max_sessions, max_sessions);
        config.validate()?;
        Ok(config)
    }

    fn validate(&self) -> Result<(), ConfigError> {
        self.protocol.validate()?;
        let limits = [
            ("metrics_rate", self.metrics_rate.is_zero()),
            ("max_command_bytes", self.max_command_bytes == 0),
            ("max_in_flight_requests", self.max_in_flight_requests == 0),
            ("max_in_flight_request_bytes", self.max_in_flight_request_bytes == 0),
            ("session_timeout", self.session_timeout.is_zero()),
            ("max_sessions", self.max_sessions == 0),
        ];
        match limits.into_iter().find(|(_, zero)| *zero) {
            Some((name, _)) => Err(ConfigError::Zero(name)),
            None => Ok(()),
        }
    }
}

/// Builds a [`Config`].
#[derive(Clone, Debug)]
#[must_use]
pub struct ConfigBuilder {
    config: Config,
}

macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $type:ty => $($field:ident).+;)*) => {
        impl ConfigBuilder {$(
            $(#[$doc])*
            pub fn $name(mut self, value: $type) -> ConfigBuilder {
                self.config.$($field).+ = value;
                self
            }
        )*}
    };
}

setters! {
    /// The shortest election timeout, T: a follower that hears no leader for a time drawn anew
    /// from `[T, 2T)` starts an election (§5.2). Default 150 ms. Make it several times the round
    /// trip between nodes plus a slow fsync.
    election_timeout: Duration => protocol.election_timeout;
    /// How often a leader is heard when it has nothing to say (§5.2); at most half of
    /// `election_timeout`. Default 50 ms.
    heartbeat_interval: Duration => protocol.heartbeat_interval;
    /// Whether a node asks for pre-votes before it enters a new term (diss. §9.6). Default true.
    pre_vote: bool => protocol.pre_vote;
    /// Whether a leader that hears no majority for an election timeout steps down (diss. §6.2), and
    /// a node that hears a leader refuses to vote (diss. §4.2.3). Default true.
    check_quorum: bool => protocol.check_quorum;
    /// The most bytes of entries in one `AppendEntriesRequest`; a single larger entry still goes
    /// out, alone. Default 1 MiB.
    max_append_bytes: usize => protocol.max_append_bytes;
    /// How many `AppendEntriesRequest`s with entries may be on their way to one follower. Default
    /// 64.
    max_in_flight_appends: usize => protocol.max_in_flight_appends;
    /// How many bytes of entries may be on their way to one follower. Default 8 MiB.
    max_in_flight_bytes: usize => protocol.max_in_flight_bytes;
    /// The most bytes of entries handed to the state machine at once. Default 1 MiB.
    max_apply_bytes: usize => protocol.max_apply_bytes;
    /// A leader answers `Overloaded` while its uncommitted entries weigh more than this. Default
    /// 64 MiB.
    max_uncommitted_bytes: usize => protocol.max_uncommitted_bytes;
    /// How many bytes of recent entries are kept in memory for followers and the state machine.
    /// Default 16 MiB.
    recent_entries_bytes: usize => protocol.recent_entries_bytes;
    /// When a node takes snapshots by itself (§7). Default: after 64 MiB or 500,000 entries.
    snapshot_policy: SnapshotPolicy => protocol.snapshot_policy;
    /// How many entries that a snapshot includes stay in the log, so that a follower that is a
    /// little behind needs no snapshot. Default 10,000.
    entries_kept: u64 => protocol.entries_kept;
    /// The most bytes in one piece of a snapshot on its way to a follower. Default 256 KiB.
    snapshot_chunk_bytes: usize => protocol.snapshot_chunk_bytes;
    /// How many bytes of snapshots a leader sends to one follower in a second at the most. Default:
    /// without bound.
    snapshot_bytes_per_second: Option<u64> => protocol.snapshot_bytes_per_second;
    /// Whether reads may rely on clocks, and how far (diss. §6.4.1): see
    /// [`Consistency::Lease`](crate::messages::Consistency::Lease). Needs `check_quorum`. Default:
    /// they may not.
    lease: Option<Lease> => protocol.lease;
    /// How early this node stands for election, compared with others: from 0, which never does by
    /// itself, to [`MAX_PRIORITY`], the default.
    election_priority: u8 => protocol.election_priority;
    /// Whether this node stands for election by itself. Without, it follows and votes, and can be
    /// handed leadership. Default true.
    elections: bool => protocol.elections;
    /// How long nothing may be heard of a new voter that is to catch up, before the change of
    /// members is given up. Default 10 s.
    catch_up_timeout: Duration => protocol.catch_up_timeout;
    /// For how long a [session](crate::sessions) may be idle before it ends. Each session keeps what
    /// the leader had when it began. Default 1 hour.
    session_timeout: Duration => session_timeout;
    /// How many sessions there may be; one more ends the one that was idle for longest. The leader's
    /// number counts. Default 10,000.
    max_sessions: u32 => max_sessions;
    /// The largest command a node accepts, in bytes. Default 8 MiB.
    max_command_bytes: usize => max_command_bytes;
    /// How many requests of clients may be in flight on one node. Default 16,384.
    max_in_flight_requests: usize => max_in_flight_requests;
    /// How many bytes of commands may be in flight on one node. Default 64 MiB.
    max_in_flight_request_bytes: usize => max_in_flight_request_bytes;
    /// How often changed metrics are reported, besides at once when state, term, leader or
    /// membership change. Default 1 s.
    metrics_rate: Duration => metrics_rate;
}

impl ConfigBuilder {
    /// Fixes the randomness of election timeouts, for tests that must replay. By default every
    /// node draws its own.
    pub fn seed(mut self, seed: u64) -> ConfigBuilder {
        self.config.seed = Some(seed);
        self
    }

    /// The configuration.
    ///
    /// # Errors
    /// Names the first value that is out of range.
    pub fn build(self) -> Result<Config, ConfigError> {
        self.config.validate()?;
        Ok(self.config)
    }
}

fn set<T>(value: &mut T, update: Option<T>) {
    if let Some(update) = update {
        *value = update;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_work_is_refused_by_name() {
        let refused = |builder: ConfigBuilder| builder.build().unwrap_err();
        assert_eq!(
            refused(Config::builder().max_append_bytes(0)),
            ConfigError::Zero("max_append_bytes")
        );
        assert_eq!(
            refused(Config::builder().metrics_rate(Duration::ZERO)),
            ConfigError::Zero("metrics_rate")
        );
        let (heartbeat, election) = (Duration::from_millis(80), Duration::from_millis(159));
        assert_eq!(
            refused(Config::builder().heartbeat_interval(heartbeat).election_timeout(election)),
            ConfigError::HeartbeatTooSlow { heartbeat, election }
        );
        assert_eq!(
            refused(
                Config::builder()
                    .lease(Some(Lease { max_clock_drift_percent: 1 }))
                    .check_quorum(false)
            ),
            ConfigError::LeaseWithoutCheckQuorum
        );
        assert!(Config::builder().build().is_ok());
    }

    #[test]
    fn an_update_changes_what_it_names_and_is_checked_as_a_whole() {
        let config = Config::default();
        let update = UpdateConfig { entries_kept: Some(7), ..UpdateConfig::default() };
        let updated = config.updated(update).unwrap();
        assert_eq!(updated.protocol.entries_kept, 7);
        assert_eq!(
            actix_raft_core::config::Config { entries_kept: 10_000, ..updated.protocol },
            config.protocol
        );
        let (heartbeat, election) = (Duration::from_millis(50), Duration::from_millis(60));
        let update = UpdateConfig { election_timeout: Some(election), ..UpdateConfig::default() };
        assert_eq!(
            config.updated(update).unwrap_err(),
            ConfigError::HeartbeatTooSlow { heartbeat, election }
        );
    }
}
