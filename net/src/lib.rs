//! Framed TCP transport and wire codec for Raft.
//!
//! A [`Transport`](transport::Transport) carries the core's messages between the servers of a
//! cluster, and opaque requests of the application with their answers. It knows tokio and bytes,
//! and nothing of what the messages mean. Read from the bottom up:
//!
//! | module | what is in it |
//! | --- | --- |
//! | [`wire`] | the structs of `proto/raft.proto` |
//! | [`convert`], [`weight`] | which of them are valid messages, and how heavy they are |
//! | [`frame`] | header, length, checksum |
//! | [`codec`] | frames' bodies, as pure functions |
//! | [`handshake`] | who may speak to whom |
//! | [`config`], [`inbound`], [`request`] | what a node brings, receives and asks |
//! | [`stream`] | sockets: TCP, or others in its place |
//! | [`meter`] | what was exchanged with each peer |
//! | [`transport`] | the whole: links that are kept up, bounded queues, one listener |
//!
//! What arrives is hostile until it is shown to be valid. A frame that is malformed, damaged, too
//! large, or of another cluster, version or node closes its connection and changes nothing else;
//! nothing that a peer claims decides how much memory is reserved. The bytes are laid out in
//! `docs/wire-format.md`.
//!
//! # Example
//! ```
//! use std::sync::Arc;
//!
//! use actix_raft_core::message::Message;
//! use actix_raft_core::types::{GroupId, NodeId};
//! use actix_raft_net::config::TransportConfig;
//! use actix_raft_net::inbound::{Inbound, Responder};
//! use actix_raft_net::transport::Transport;
//! use bytes::Bytes;
//!
//! struct Echo;
//!
//! impl Inbound for Echo {
//!     fn messages(&self, _: Vec<Message>) {}
//!     fn request(&self, _: NodeId, body: Bytes, reply: Responder) {
//!         reply.reply(body);
//!     }
//!     fn unreachable(&self, _: NodeId) {}
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = |id| TransportConfig::new("example", NodeId(id), GroupId(1));
//! let one = Transport::bind("127.0.0.1:0", config(1), Arc::new(Echo)).await?;
//! let two = Transport::bind("127.0.0.1:0", config(2), Arc::new(Echo)).await?;
//!
//! let address = two.local_addr().to_string();
//! let answer = one.request(NodeId(2), &address, Bytes::from("hello")).await?;
//! assert_eq!(answer, "hello");
//!
//! one.shutdown().await;
//! two.shutdown().await;
//! # Ok(())
//! # }
//! ```

mod complaints;
mod connection;
mod lane;
mod link;
mod peer;
mod pulse;
mod queue;
mod race;
mod server;
mod shared;

pub mod codec;
pub mod config;
pub mod convert;
pub mod frame;
pub mod handshake;
pub mod inbound;
pub mod meter;
pub mod request;
pub mod stream;
pub mod transport;
pub mod weight;
pub mod wire;
