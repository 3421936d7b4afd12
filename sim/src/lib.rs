//! A deterministic simulator for [actix-raft](actix_raft): every fault, every seed, replayable by
//! one line. For its own tests, and for those of applications built on it.
//!
//! ```text
//!    seed --> Plan: a cluster, its weather, a schedule of faults
//!               |
//!               v                 shipped code                    simulated
//!             World        +-------------------------+   network, disks, clocks, clients
//!       one thread, one    | core    log    wire codec |   +-----------------------------+
//!       queue of events    | your state machine       |<->| lost, torn, late, damaged   |
//!               |          +-------------------------+   +-----------------------------+
//!               v
//!             Laws, after every step; the clients' history and liveness at the end
//! ```
//!
//! The core, the log and the wire codec are the ones that are shipped. What is simulated is what
//! they stand on. Nothing depends on anything but the seed, so a failure is replayed by its number,
//! and made small by leaving out what it does not need.
//!
//! # Simulating an application
//!
//! An application brings the [`StateMachine`](actix_raft::application::StateMachine) that it gives
//! to a real node, and a [`Workload`](workload::Workload): what its clients do, and what they may
//! rely on.
//!
//! ```
//! use actix_raft::application::{Application, DecodeError, StateMachine};
//! use actix_raft::messages::Index;
//! use actix_raft_sim::dice::{Chance, Dice};
//! use actix_raft_sim::simulation::Simulation;
//! use actix_raft_sim::workload::{Request, Workload};
//! use bytes::Bytes;
//!
//! /// A sum that anybody may add to.
//! #[derive(Default)]
//! struct Sum(u64);
//!
//! impl Application for Sum {
//!     type Command = u64;
//!     type Response = u64;
//!     type Rejection = std::convert::Infallible;
//!     fn encode(addend: u64) -> Bytes { Bytes::copy_from_slice(&addend.to_le_bytes()) }
//!     fn decode(bytes: Bytes) -> Result<u64, DecodeError> {
//!         Ok(u64::from_le_bytes(bytes.as_ref().try_into()?))
//!     }
//! }
//!
//! impl StateMachine for Sum {
//!     fn apply(&mut self, _: Index, addend: u64) -> u64 { self.0 += addend; self.0 }
//! }
//!
//! #[derive(Default)]
//! struct Adders { added: u64 }
//!
//! impl Workload for Adders {
//!     type Machine = Sum;
//!     type Query = ();
//!     type Answer = u64;
//!     fn machine(&self) -> Sum { Sum::default() }
//!     fn next(&mut self, _client: usize, dice: &mut Dice) -> Request<Adders> {
//!         self.added += 1;
//!         match dice.happens(Chance::percent(30)) {
//!             true => Request::Read(()),
//!             false => Request::Write(self.added),
//!         }
//!     }
//!     fn read(sum: &Sum, (): &()) -> u64 { sum.0 }
//!     fn fingerprint(sum: &Sum) -> u64 { sum.0 }
//! }
//!
//! let summary = Simulation::new(Adders::default).run(1..=2)?;
//! assert!(summary.counts.done > 0);
//! # Ok::<(), Box<actix_raft_sim::simulation::Failure>>(())
//! ```
//!
//! `examples/bank.rs` is a longer one. Whoever writes a storage of his own for `actix-raft` has it
//! checked by [`conformance::check`].
//!
//! # What is here
//!
//! | module | what is in it |
//! | --- | --- |
//! | [`simulation`] | running seeds, and making failures small |
//! | [`world`] | one cluster, event by event |
//! | [`workload`], [`history`], [`key_value`] | what clients do, what they saw, the built-in clients |
//! | [`plan`], [`profile`], [`fault`] | what a seed stands for |
//! | [`laws`], [`coverage`] | what must hold; which situations came up |
//! | [`script`] | worlds driven by hand, by the golden scripts |
//! | [`explore`] | small worlds searched to the end |
//! | [`conformance`] | the contracts of storages |
//!
//! The command line is `cargo run --release -p actix-raft-sim -- run --seeds 1000`; `docs/testing.md`
//! tells the rest.

mod clock;
pub mod conformance;
pub mod coverage;
pub mod dice;
mod disk;
pub mod explore;
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
