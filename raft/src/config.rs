//! What may be configured, with its defaults and limits.

use std::time::Duration;

use actix_raft_core::config::Config as ProtocolConfig;
pub use actix_raft_core::config::ConfigError;

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
        let config = self.config;
        config.protocol.validate()?;
        let limits = [
            ("metrics_rate", config.metrics_rate.is_zero()),
            ("max_command_bytes", config.max_command_bytes == 0),
            ("max_in_flight_requests", config.max_in_flight_requests == 0),
            ("max_in_flight_request_bytes", config.max_in_flight_request_bytes == 0),
        ];
        match limits.into_iter().find(|(_, zero)| *zero) {
            Some((name, _)) => Err(ConfigError::Zero(name)),
            None => Ok(config),
        }
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
        assert!(Config::builder().build().is_ok());
    }
}
