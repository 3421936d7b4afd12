//! A deterministic simulator for actix-raft.
