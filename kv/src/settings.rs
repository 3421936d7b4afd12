//! The settings file of `raft-kv serve`, in TOML.

use std::path::Path;
use std::time::Duration;

use actix_raft::config::Config;
use anyhow::Context;
use serde::Deserialize;

/// The largest value that is stored, in bytes.
pub(crate) const MAX_VALUE_BYTES: usize = 1 << 20;
/// The largest key, in bytes of UTF-8.
pub(crate) const MAX_KEY_BYTES: usize = 1024;

/// What the file may set; times in milliseconds. The defaults are those of
/// [`Config`].
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    /// The shortest election timeout.
    pub(crate) election_timeout_ms: u64,
    /// How often an idle leader is heard.
    pub(crate) heartbeat_interval_ms: u64,
    /// How long a request waits for a leader before it is refused with `no_leader`.
    pub(crate) leader_wait_ms: u64,
    /// How long a write waits for its outcome before it is answered with `outcome_unknown`.
    pub(crate) request_timeout_ms: u64,
    /// How many requests may be in flight on this server.
    pub(crate) max_in_flight_requests: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            election_timeout_ms: 150,
            heartbeat_interval_ms: 50,
            leader_wait_ms: 2_000,
            request_timeout_ms: 5_000,
            max_in_flight_requests: 16_384,
        }
    }
}

impl Settings {
    /// Reads the file, if one is given.
    pub(crate) fn read(file: Option<&Path>) -> anyhow::Result<Settings> {
        let Some(file) = file else { return Ok(Settings::default()) };
        let text = std::fs::read_to_string(file)
            .with_context(|| format!("can't read the settings file {}", file.display()))?;
        toml::from_str(&text).with_context(|| format!("in the settings file {}", file.display()))
    }

    /// The library's configuration.
    pub(crate) fn raft_config(&self) -> anyhow::Result<Config> {
        Config::builder()
            .election_timeout(Duration::from_millis(self.election_timeout_ms))
            .heartbeat_interval(Duration::from_millis(self.heartbeat_interval_ms))
            .max_in_flight_requests(self.max_in_flight_requests)
            .max_command_bytes(MAX_VALUE_BYTES + MAX_KEY_BYTES + 64)
            .build()
            .context("the settings can't work")
    }

    pub(crate) fn leader_wait(&self) -> Duration {
        Duration::from_millis(self.leader_wait_ms)
    }

    pub(crate) fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_or_impossible_setting_is_named() {
        let error = toml::from_str::<Settings>("election_timeout = 3").unwrap_err();
        assert!(error.to_string().contains("unknown field `election_timeout`"), "{error}");
        let settings: Settings = toml::from_str("heartbeat_interval_ms = 100").unwrap();
        let error = format!("{:#}", settings.raft_config().unwrap_err());
        assert!(error.contains("heartbeat_interval (100ms) must be at most half"), "{error}");
    }
}
