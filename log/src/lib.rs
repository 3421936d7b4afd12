//! A durable log for Raft: segmented, checksummed, one fsync for everything that waits.
//!
//! ```text
//!   save, save, save --> raft-log thread --> one frame --> pwrite, fdatasync --> done, done, done
//!                                              |
//!   read ------------> LogReader <-------- segments: 1.wal, 2.wal, ...
//!
//!   state machine <--> SnapshotStore <---> snapshot-9-2.snap <--> leader or follower
//! ```
//!
//! It promises: what was acknowledged is found again after a crash at any moment, or the log
//! refuses to open and names the file and the offset of the damage; a save is found whole or not
//! at all; after a failed write or fsync nothing more is acknowledged. The format is documented in
//! `docs/disk-format.md`.
//!
//! All I/O goes through the [`disk`] trait; [`crash::CrashDisk`] is a disk that loses what was not
//! synced.
//!
//! ```
//! use std::sync::Arc;
//!
//! use actix_raft_core::stored::Save;
//! use actix_raft_core::types::{HardState, NodeId, Term};
//! use actix_raft_log::crash::{CrashDisk, Survives};
//! use actix_raft_log::error::Identity;
//! use actix_raft_log::wal::{LogOptions, Wal};
//!
//! let disk = CrashDisk::new();
//! let identity = Identity { cluster_id: "example".to_string(), node_id: NodeId(1) };
//! let (mut wal, stored) = Wal::open(Arc::new(disk.clone()), LogOptions::new(identity.clone()))?;
//! assert!(stored.is_pristine());
//! let hard_state =
//!     HardState { current_term: Term(3), voted_for: Some(NodeId(2)), ..HardState::default() };
//! wal.save(&[Save { hard_state: Some(hard_state), ..Save::default() }])?;
//!
//! let disk = disk.crash(Survives::Nothing);
//! let (_, stored) = Wal::open(Arc::new(disk), LogOptions::new(identity))?;
//! assert_eq!(stored.hard_state, hard_state);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod check;
pub mod crash;
pub mod disk;
pub mod error;
mod files;
pub mod format;
mod options;
mod places;
pub mod read;
pub mod real;
mod record;
mod recover;
mod segment;
pub mod snapshots;
mod space;
pub mod wal;
pub mod writer;
