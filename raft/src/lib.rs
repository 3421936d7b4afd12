//! placeholder
pub mod admin;
pub mod application;
pub mod client;
pub mod config;
mod effects;
mod gate;
mod handlers;
pub mod messages;
pub mod metrics;
pub mod network;
pub mod raft;
mod requests;
pub mod storage;
pub mod testing;
