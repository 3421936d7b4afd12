//! A storage ready to use: a durable log on disk, and a thread for the state machine.
//!
//! ```text
//!              +-- SaveLog --------> log thread ("raft-log"): one fsync for all that wait
//!              +-- ReadLog --------> a blocking task
//!   Raft ------+-- Apply, install -> apply thread ("raft-apply"): StateMachine
//!              +-- build ----------> apply thread: snapshot() --> "raft-snapshot": writes it
//!              +-- pieces ---------> "raft-pieces": those that are sent, and those that come
//! ```
//!
//! So a slow disk delays no heartbeat, and a slow state machine or a large snapshot delays neither
//! the log nor what is applied. The state machine lives in memory: after a restart it is restored
//! from the latest snapshot, and the log after that is applied again.

mod space;
mod state;
mod storage;
mod thread;

pub use actix_raft_log::disk::{Disk, DiskFile};
pub use actix_raft_log::error::{Identity, OpenError as LogOpenError};
pub use actix_raft_log::wal::LogOptions;
pub use storage::{DurableStorage, OpenError};
