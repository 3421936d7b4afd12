//! Links to peers that have fallen silent are given up in time, and no others.

mod common;

use std::sync::Arc;
use std::time::Duration;

use actix_raft_core::types::NodeId;
use actix_raft_net::codec::encode_keep_alive;
use actix_raft_net::frame::FrameType;
use actix_raft_net::request::RequestError;
use actix_raft_net::wire::Lane;
use bytes::{Bytes, BytesMut};
use common::pipes::{Pipes, Weather, node};
use common::raw::Raw;
use common::{carrying, config, guarded, numbered, piece};
use tokio::time::{Instant, advance, sleep};

const TWO: NodeId = NodeId(2);
const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_link_that_was_swallowed_is_dialed_again() {
    let pipes: Arc<Pipes> = Arc::default();
    let (one, mut at_one) = node(&pipes, "one", config(1)).await.unwrap();
    let (_two, mut at_two) = node(&pipes, "two", config(2)).await.unwrap();
    one.send(TWO, "two", vec![numbered(1, 2, 1)]);
    assert_eq!(at_two.message().await, [numbered(1, 2, 1)]);
    pipes.turn(Weather::Silent);
    let since = Instant::now();
    one.send(TWO, "two", vec![numbered(1, 2, 2)]);
    assert_eq!(at_one.unreachable().await, TWO);
    assert!(since.elapsed() <= 4 * SECOND, "{:?}", since.elapsed());
    sleep(120 * SECOND).await;
    pipes.turn(Weather::Fair);
    let since = Instant::now();
    // The acceptor still has the old connection and knows nothing.
    let arrived = loop {
        one.send(TWO, "two", vec![numbered(1, 2, 3)]);
        tokio::select! {
            arrived = at_two.message() => break arrived,
            () = sleep(SECOND / 20) => {}
        }
    };
    assert_eq!(arrived[0], numbered(1, 2, 3));
    assert!(since.elapsed() < SECOND, "{:?}", since.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_request_to_a_peer_that_fell_silent_ends() {
    let pipes: Arc<Pipes> = Arc::default();
    let (one, _at_one) = node(&pipes, "one", config(1)).await.unwrap();
    let (_two, mut at_two) = node(&pipes, "two", config(2)).await.unwrap();
    let since = Instant::now();
    let asked = tokio::spawn({
        let one = one.clone();
        async move { one.request(TWO, "two", Bytes::new()).await }
    });
    let (_, _, _reply) = at_two.request().await;
    pipes.turn(Weather::Silent);
    let answer = guarded(asked).await.unwrap();
    assert!(
        matches!(&answer, Err(RequestError::Unknown { reason, .. })
            if reason.contains("nothing was heard from the peer for 3s")),
        "{answer:?}"
    );
    assert!(since.elapsed() <= 4 * SECOND, "{:?}", since.elapsed());
    // No one is there to be asked.
    let since = Instant::now();
    let answer = guarded(one.request(TWO, "two", Bytes::new())).await;
    assert!(matches!(answer, Err(RequestError::NotSent { .. })), "{answer:?}");
    assert!(since.elapsed() <= 4 * SECOND, "{:?}", since.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_link_with_nothing_to_say_is_kept() {
    let pipes: Arc<Pipes> = Arc::default();
    let (one, at_one) = node(&pipes, "one", config(1)).await.unwrap();
    let (_two, mut at_two) = node(&pipes, "two", config(2)).await.unwrap();
    one.send(TWO, "two", vec![numbered(1, 2, 1)]);
    assert_eq!(at_two.message().await, [numbered(1, 2, 1)]);
    sleep(600 * SECOND).await;
    one.send(TWO, "two", vec![numbered(1, 2, 2)]);
    assert_eq!(at_two.message().await, [numbered(1, 2, 2)]);
    assert_eq!(pipes.dialed(), 1);
    assert!(at_one.is_empty());
    let heard = one.stats()[&TWO].heard_ago.unwrap();
    assert!(heard <= SECOND, "{heard:?}");
}

#[tokio::test(start_paused = true)]
async fn a_large_message_on_a_slow_network_is_no_silence() {
    let pipes: Arc<Pipes> = Arc::default();
    let (one, at_one) = node(&pipes, "one", config(1)).await.unwrap();
    let (_two, mut at_two) = node(&pipes, "two", config(2)).await.unwrap();
    pipes.turn(Weather::Slow);
    let since = Instant::now();
    one.send(TWO, "two", vec![carrying(1, 2, 1, 100_000)]);
    assert_eq!(at_two.message().await, [carrying(1, 2, 1, 100_000)]);
    assert!(since.elapsed() > 9 * SECOND, "{:?}", since.elapsed());
    assert!(at_one.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_on_its_way_through_a_slow_network_arrives_although_no_more_is_to_be_sent() {
    let pipes: Arc<Pipes> = Arc::default();
    let (one, at_one) = node(&pipes, "one", config(1)).await.unwrap();
    let (_two, mut at_two) = node(&pipes, "two", config(2)).await.unwrap();
    pipes.turn(Weather::Slow);
    one.send(TWO, "two", vec![piece(1, 2, 1, 100_000)]);
    assert_eq!(at_two.message().await, [piece(1, 2, 1, 100_000)]);
    sleep(SECOND).await;
    assert_eq!((pipes.dialed(), pipes.open()), (1, 0), "closed by both");
    assert!(at_one.is_empty(), "nothing was lost");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_stood_still_itself_keeps_its_links() {
    let pipes: Arc<Pipes> = Arc::default();
    let (one, at_one) = node(&pipes, "one", config(1)).await.unwrap();
    let (_two, mut at_two) = node(&pipes, "two", config(2)).await.unwrap();
    one.send(TWO, "two", vec![numbered(1, 2, 1)]);
    assert_eq!(at_two.message().await, [numbered(1, 2, 1)]);
    for _ in 0..5 {
        advance(60 * SECOND).await;
        sleep(SECOND).await;
    }
    one.send(TWO, "two", vec![numbered(1, 2, 2)]);
    assert_eq!(at_two.message().await, [numbered(1, 2, 2)]);
    assert_eq!(pipes.dialed(), 1);
    assert!(at_one.is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_connection_for_snapshots_is_closed_when_there_are_none() {
    let pipes: Arc<Pipes> = Arc::default();
    let (one, at_one) = node(&pipes, "one", config(1)).await.unwrap();
    let (_two, mut at_two) = node(&pipes, "two", config(2)).await.unwrap();
    one.send(TWO, "two", vec![numbered(1, 2, 1), piece(1, 2, 1, 3000)]);
    let mut arrived = [at_two.message().await, at_two.message().await].concat();
    arrived.sort_by_key(|message| *message != numbered(1, 2, 1));
    assert_eq!(arrived, [numbered(1, 2, 1), piece(1, 2, 1, 3000)]);
    // A pause between two pieces, on a slow disk.
    sleep(2 * SECOND).await;
    one.send(TWO, "two", vec![piece(1, 2, 2, 3000)]);
    assert_eq!(at_two.message().await, [piece(1, 2, 2, 3000)]);
    assert_eq!((pipes.dialed(), pipes.open()), (2, 2));
    sleep(10 * SECOND).await;
    assert_eq!((pipes.dialed(), pipes.open()), (2, 1));
    one.send(TWO, "two", vec![piece(1, 2, 3, 3000)]);
    assert_eq!(at_two.message().await, [piece(1, 2, 3, 3000)]);
    assert_eq!((pipes.dialed(), pipes.open()), (3, 2));
    assert!(at_one.is_empty(), "nothing was lost");
}

#[tokio::test(start_paused = true)]
async fn an_acceptor_gives_up_who_never_says_a_word_again() {
    let pipes: Arc<Pipes> = Arc::default();
    let (_two, _arrivals) = node(&pipes, "two", config(2)).await.unwrap();
    let mut raw = Raw::new(pipes.dial("two").await);
    raw.greet_for(Lane::Main).await;
    let since = Instant::now();
    assert_eq!(raw.read().await, None);
    assert!(since.elapsed() >= 12 * SECOND, "{:?}", since.elapsed());
    assert!(since.elapsed() < 20 * SECOND, "{:?}", since.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_acceptor_that_hears_something_says_so() {
    let pipes: Arc<Pipes> = Arc::default();
    let (_two, _arrivals) = node(&pipes, "two", config(2)).await.unwrap();
    for lane in [Lane::Main, Lane::Bulk] {
        let mut raw = Raw::new(pipes.dial("two").await);
        raw.greet_for(lane).await;
        let mut bytes = BytesMut::new();
        encode_keep_alive(&mut bytes);
        assert_eq!(bytes[..8], *b"aR\x01\x06\0\0\0\0");
        // Half of a frame is something, too.
        for half in [&bytes[..6], &bytes[6..]] {
            raw.write(half).await;
            let sign = raw.read().await.expect("a sign of life");
            assert_eq!((sign.frame_type, sign.body.len()), (FrameType::KeepAlive, 0));
        }
    }
}
