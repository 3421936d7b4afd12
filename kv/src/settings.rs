//! The settings file of `raft-kv serve`, in TOML.

use std::path::Path;
use std::time::Duration;

use actix_raft::admin::{Lease, SnapshotPolicy, UpdateConfig};
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
    /// After how many entries a snapshot is taken; 0 for any number.
    pub(crate) snapshot_entries: u64,
    /// After how many bytes of entries a snapshot is taken; 0 for any number.
    pub(crate) snapshot_bytes: u64,
    /// After how long a snapshot is taken, if anything was written; 0 for never.
    pub(crate) snapshot_interval_ms: u64,
    /// How many entries that a snapshot includes stay in the log for servers that are behind.
    pub(crate) entries_kept: u64,
    /// How many bytes of a snapshot go to another server in a second; 0 for any number.
    pub(crate) snapshot_bytes_per_second: u64,
    /// Allows lease reads: by how many percent one server's clock may run faster than another's.
    pub(crate) lease_max_clock_drift_percent: Option<u32>,
    /// How early this server stands for election, from 10 down to 1; 0 for never.
    pub(crate) election_priority: u8,
    /// Whether this server stands for election by itself.
    pub(crate) elections: bool,
    /// How long a new server may be unheard of before its addition is given up.
    pub(crate) catch_up_timeout_ms: u64,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            election_timeout_ms: 150,
            heartbeat_interval_ms: 50,
            leader_wait_ms: 2_000,
            request_timeout_ms: 5_000,
            max_in_flight_requests: 16_384,
            snapshot_entries: 500_000,
            snapshot_bytes: 64 << 20,
            snapshot_interval_ms: 0,
            entries_kept: 10_000,
            snapshot_bytes_per_second: 0,
            lease_max_clock_drift_percent: None,
            election_priority: 10,
            elections: true,
            catch_up_timeout_ms: 10_000,
        }
    }
}

/// What may be changed while a server runs, by `POST /v1/config`; the names are those of the file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Changed {
    election_timeout_ms: Option<u64>,
    heartbeat_interval_ms: Option<u64>,
    snapshot_entries: Option<u64>,
    snapshot_bytes: Option<u64>,
    snapshot_interval_ms: Option<u64>,
    entries_kept: Option<u64>,
    snapshot_bytes_per_second: Option<u64>,
    lease_max_clock_drift_percent: Option<u32>,
    election_priority: Option<u8>,
    elections: Option<bool>,
    catch_up_timeout_ms: Option<u64>,
}

impl Changed {
    /// The library's own words for it; a policy that is changed in one point has its other points
    /// from `present`.
    pub(crate) fn update(self, present: &Settings) -> UpdateConfig {
        let policy = [self.snapshot_entries, self.snapshot_bytes, self.snapshot_interval_ms];
        let policy = policy.iter().any(Option::is_some).then(|| {
            snapshot_policy(
                self.snapshot_entries.unwrap_or(present.snapshot_entries),
                self.snapshot_bytes.unwrap_or(present.snapshot_bytes),
                self.snapshot_interval_ms.unwrap_or(present.snapshot_interval_ms),
            )
        });
        UpdateConfig {
            election_timeout: self.election_timeout_ms.map(Duration::from_millis),
            heartbeat_interval: self.heartbeat_interval_ms.map(Duration::from_millis),
            snapshot_policy: policy,
            entries_kept: self.entries_kept,
            snapshot_bytes_per_second: self.snapshot_bytes_per_second.map(some_unless_zero),
            lease: self.lease_max_clock_drift_percent.map(|percent| Some(lease(percent))),
            election_priority: self.election_priority,
            elections: self.elections,
            catch_up_timeout: self.catch_up_timeout_ms.map(Duration::from_millis),
            ..UpdateConfig::default()
        }
    }
}

fn snapshot_policy(entries: u64, bytes: u64, interval_ms: u64) -> SnapshotPolicy {
    SnapshotPolicy {
        entries: some_unless_zero(entries),
        bytes: some_unless_zero(bytes),
        interval: some_unless_zero(interval_ms).map(Duration::from_millis),
    }
}

fn some_unless_zero(number: u64) -> Option<u64> {
    Some(number).filter(|number| *number > 0)
}

fn lease(max_clock_drift_percent: u32) -> Lease {
    Lease { max_clock_drift_percent }
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
            .snapshot_policy(snapshot_policy(
                self.snapshot_entries,
                self.snapshot_bytes,
                self.snapshot_interval_ms,
            ))
            .entries_kept(self.entries_kept)
            .snapshot_bytes_per_second(some_unless_zero(self.snapshot_bytes_per_second))
            .lease(self.lease_max_clock_drift_percent.map(lease))
            .election_priority(self.election_priority)
            .elections(self.elections)
            .catch_up_timeout(Duration::from_millis(self.catch_up_timeout_ms))
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
