//! Control of a node from outside the protocol: forming a cluster, changing its members, handing
//! over, snapshots, configuration, looking inside, stopping.
//!
//! Every command is answered exactly once; [`Client`](crate::client::Client) has a method for each.

mod commands;
mod errors;

pub use actix_raft_core::admin::{ChangeAnswer, Changed, Inoperable, MemberChange};
pub use actix_raft_core::config::Lease;
pub use actix_raft_core::snapshot::SnapshotPolicy;
pub use actix_raft_core::status::NotStanding;
pub use commands::{
    AddNonVoter, ChangeMembers, Explain, Explanation, GetMetrics, InitWithConfig,
    ProposeConfigChange, PurgeLog, Shutdown, TransferLeadership, TriggerElection, TriggerSnapshot,
    UpdateConfig,
};
pub use errors::{
    ConfigChangeError, InitWithConfigError, PurgeLogError, Stopped, TransferLeadershipError,
    TriggerElectionError, TriggerSnapshotError, UpdateConfigError,
};
