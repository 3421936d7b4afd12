//! The [Raft](https://raft.github.io/raft.pdf) consensus protocol on the
//! [Actix](https://docs.rs/actix) actor framework.
//!
//! ```text
//!    your application
//!         |  Client, or messages: ClientPayload, ClientRead, admin commands
//!         v
//!  +-------------------------- Raft (an actor) --------------------------+
//!  |  mailbox -> events -> actix-raft-core: the protocol, pure -> effects |
//!  +----------------|-----------------------------------|----------------+
//!       RaftStorage (messages)               RaftNetwork (messages)
//!                   v                                   v
//!       durable::DurableStorage                tcp::TcpNetwork
//!       (log, your StateMachine)               or your own
//!       or your own
//! ```
//!
//! An application brings a [`StateMachine`](application::StateMachine): the commands it replicates
//! and what they do. The rest is here: a durable log ([`durable`]), a TCP transport ([`tcp`]) and
//! the actor that runs the protocol ([`raft`]). Both seams, [`storage`] and [`network`], are
//! messages, so an application can bring actors of its own instead.
//!
//! # A replicated register on one node
//!
//! ```
//! use actix::Actor;
//! use actix_raft::application::{Application, DecodeError, StateMachine};
//! use actix_raft::messages::{Index, NodeId};
//! use actix_raft::raft::{Raft, RaftOptions};
//! use actix_raft::testing::{MemoryStorage, Router};
//! use bytes::Bytes;
//!
//! #[derive(Default)]
//! struct Register(Bytes);
//!
//! impl Application for Register {
//!     type Command = Bytes;
//!     type Response = Bytes; // what it held before
//!     type Rejection = std::convert::Infallible;
//!
//!     fn encode(value: Bytes) -> Bytes {
//!         value
//!     }
//!
//!     fn decode(bytes: Bytes) -> Result<Bytes, DecodeError> {
//!         Ok(bytes)
//!     }
//! }
//!
//! impl StateMachine for Register {
//!     fn apply(&mut self, _: Index, value: Bytes) -> Bytes {
//!         std::mem::replace(&mut self.0, value)
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! actix::System::new().block_on(async {
//!     let storage = MemoryStorage::new(Register::default()).start();
//!     let network = Router::new().port().start();
//!     let node = Raft::start(RaftOptions::new(NodeId(1), storage, network)).await?;
//!     node.initialize(vec![]).await?; // a cluster of one
//!
//!     # while !node.metrics().await.is_some_and(|metrics| metrics.is_leader()) {
//!     #     tokio::task::yield_now().await;
//!     # }
//!     node.write("first".into()).await?;
//!     assert_eq!(node.write("second".into()).await?, "first");
//!     # Ok::<(), Box<dyn std::error::Error>>(())
//! })?;
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//!
//! Both are on by default: `durable` (the log, [`durable`]) and `tcp` (the transport, [`tcp`]).

pub mod admin;
mod admin_handlers;
pub mod application;
mod asked;
pub mod client;
mod client_admin;
pub mod config;
#[cfg(feature = "durable")]
pub mod durable;
mod effects;
mod envelope;
mod gate;
mod handlers;
pub mod messages;
pub mod metrics;
pub mod network;
mod proposals;
pub mod raft;
mod reads;
pub mod replicated;
mod reporting;
mod requests;
mod saves;
mod session_table;
pub mod sessions;
mod shutdown;
mod snapshotting;
pub mod storage;
#[cfg(feature = "tcp")]
pub mod tcp;
pub mod testing;
pub mod validation;
