//! The Raft protocol, pure.
pub mod entry;
pub mod membership;
pub mod message;
pub mod stored;
pub mod types;
