//! Snapshots on disk (§7): built here or received from a leader, each in a file of its own.
//!
//! ```text
//!   SnapshotWriter:  ... .part      --> sync --> rename to .snap --> sync the directory
//!   receive:         ... .incoming  --> sync --> verify --> rename --> sync the directory   install
//!                                                             |
//!                                        then only are older ones removed
//! ```
//!
//! What is read of a snapshot, be it by the state machine or for a follower, is checked first. No
//! more than a few blocks of one are ever in memory, besides four bytes for each 64 KiB.

mod blocks;
mod incoming;
mod layout;
mod opening;
mod pages;
mod reader;
mod store;
mod writer;

pub(crate) use self::opening::{Found, find};
pub use self::reader::SnapshotReader;
pub use self::store::SnapshotStore;
pub use self::writer::SnapshotWriter;
