//! A deterministic simulator for actix-raft.

pub mod explore;
