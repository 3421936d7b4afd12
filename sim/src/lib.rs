//! A deterministic simulator for actix-raft.

mod clock;
pub mod conformance;
pub mod coverage;
pub mod dice;
mod disk;
pub mod fault;
pub mod history;
mod image;
pub mod key_value;
pub mod laws;
mod linear;
mod network;
pub mod plan;
pub mod profile;
mod queue;
mod quiet;
mod schedule;
pub mod script;
mod server;
mod shrink;
pub mod simulation;
pub mod workload;
pub mod world;
