//! A transport on other sockets than those of the operating system: here, pipes in memory.

mod common;

use std::sync::Arc;
use std::time::Duration;

use actix_raft_core::types::NodeId;
use actix_raft_net::config::TransportConfig;
use actix_raft_net::transport::BindError;
use common::pipes::{Pipes, node};
use common::{config, numbered};

const TWO: NodeId = NodeId(2);

#[tokio::test(start_paused = true)]
async fn messages_and_requests_go_over_any_sockets() {
    let pipes: Arc<Pipes> = Arc::default();
    let (one, _at_one) = node(&pipes, "one", config(1)).await.unwrap();
    let (_two, mut at_two) = node(&pipes, "two", config(2)).await.unwrap();
    one.send(TWO, "two", vec![numbered(1, 2, 1)]);
    assert_eq!(at_two.message().await, [numbered(1, 2, 1)]);
    let answer = async {
        let (from, body, reply) = at_two.request().await;
        assert_eq!(from, NodeId(1));
        reply.reply(body);
    };
    let (answered, ()) = tokio::join!(one.request(TWO, "two", "hello".into()), answer);
    assert_eq!(answered.unwrap(), "hello");
    let taken = node(&pipes, "two", config(3)).await;
    assert!(matches!(taken, Err(BindError::Listen(_))));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_never_opens_holds_up_no_other_and_is_given_up() {
    let pipes: Arc<Pipes> = Arc::default();
    let limited = TransportConfig { max_handshakes: 2, ..config(2) };
    let (_two, mut at_two) = node(&pipes, "two", limited).await.unwrap();
    pipes.stick_next(1);
    let (one, _at_one) = node(&pipes, "one", config(1)).await.unwrap();
    let (three, _at_three) = node(&pipes, "three", config(3)).await.unwrap();
    one.send(TWO, "two", vec![numbered(1, 2, 1)]);
    tokio::time::sleep(Duration::from_millis(1)).await;
    three.send(TWO, "two", vec![numbered(3, 2, 2)]);
    assert_eq!(at_two.message().await, [numbered(3, 2, 2)], "the one behind it");
    // Both ends give the first one up, and the caller tries again.
    loop {
        one.send(TWO, "two", vec![numbered(1, 2, 3)]);
        tokio::select! {
            arrived = at_two.message() => break assert_eq!(arrived, [numbered(1, 2, 3)]),
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
    }
}
