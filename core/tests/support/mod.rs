//! Cores under a test's control: time, network and disks move only when they are told to.
//!
//! ```text
//!   Cluster: time, network        Server: one core, and who carries its effects out
//!   +----------------------+      +------------------------------------------------+
//!   | hold, drop, deliver, | ---> | Raft --saves--> Disk: live | queued | durable   |
//!   | double, cut, advance | <--- |      --entries--> what was applied              |
//!   +----------------------+      +------------------------------------------------+
//! ```
#![allow(dead_code, reason = "each test program uses its own part of this")]

pub mod cluster;
pub mod disk;
pub mod files;
pub mod server;
pub mod words;
