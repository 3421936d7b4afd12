//! The Raft consensus protocol as a pure state machine.
//!
//! ```text
//!            events                                    effects
//!   messages, proposals, reads,      +------+    messages, saves, entries to
//!   finished saves, timeouts   ----> | Raft | --> apply, answers
//!                                    +------+
//!                                       | deadline(): when to come back if nothing happens
//! ```
//!
//! This crate decides and does nothing else: it reads no clock, draws no randomness but from a
//! seed, starts no thread and does no I/O. A [driver](raft::Raft::step) brings it what happened and
//! carries out what it wants. So a run is a function of its events, and every failure can be
//! replayed.
//!
//! The words are those of the [extended Raft paper](https://raft.github.io/raft.pdf) ("§5.2") and
//! of Ongaro's dissertation ("diss. §9.6").
//!
//! # A cluster of one
//!
//! ```
//! use actix_raft_core::config::Config;
//! use actix_raft_core::effect::Effect;
//! use actix_raft_core::event::{Event, ProposalId};
//! use actix_raft_core::membership::{Address, Membership};
//! use actix_raft_core::raft::Raft;
//! use actix_raft_core::status::RoleName;
//! use actix_raft_core::stored::StoredState;
//! use actix_raft_core::types::{GroupId, Index, NodeId, Time};
//!
//! let (id, now) = (NodeId(1), Time(0));
//! let mut raft = Raft::new(id, GroupId(0), Config::default(), &StoredState::default(), now);
//! let membership = Membership::new([id], [(id, Address::new("127.0.0.1:7001", ""))])?;
//! let propose = Event::Propose { id: ProposalId(1), commands: vec!["hello".into()] };
//!
//! let mut applied = Vec::new();
//! let mut inbox = vec![Event::Initialize { membership }, Event::Timeout];
//! while !inbox.is_empty() {
//!     for effect in raft.step(now, std::mem::take(&mut inbox)) {
//!         match effect {
//!             Effect::Save { id, .. } => inbox.push(Event::Saved { id }), // a very fast disk
//!             Effect::Apply { entries } => {
//!                 inbox.push(Event::Applied { index: entries.last().unwrap().index });
//!                 applied.extend(entries.iter().cloned());
//!             }
//!             _ => {}
//!         }
//!     }
//!     if raft.status().role == RoleName::Leader && raft.status().last_log.index == Index(1) {
//!         inbox.push(propose.clone());
//!     }
//! }
//! assert_eq!(raft.status().commit_index, Index(2));
//! assert_eq!(applied.len(), 2); // the leader's first entry, and the command
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod admin;
mod candidate;
pub mod config;
pub mod effect;
pub mod entry;
pub mod event;
mod follower;
mod leader;
mod lease;
mod log;
pub mod membership;
pub mod message;
pub mod mutants;
mod node;
mod progress;
mod questions;
pub mod raft;
pub mod random;
mod reads;
mod receiving;
mod saves;
mod sending;
pub mod snapshot;
pub mod status;
pub mod stored;
mod taking;
pub mod trust;
pub mod types;
