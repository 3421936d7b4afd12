//! Snapshots go beside everything else, never in front of it.

mod common;

use actix_raft_core::message::Message;
use actix_raft_core::types::{GroupId, NodeId};
use actix_raft_net::codec::encode_request;
use actix_raft_net::config::TransportConfig;
use actix_raft_net::wire::Lane;
use bytes::{Bytes, BytesMut};
use common::raw::{LIMIT, Raw, greeted, messages};
use common::{config, guarded, node, numbered, piece, round_of};
use tokio::net::TcpListener;

const TWO: NodeId = NodeId(2);

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

#[tokio::test]
async fn a_heartbeat_does_not_wait_behind_a_snapshot() {
    let (listener, address) = listen().await;
    let roomy = TransportConfig { snapshot_queue_bytes: 64 << 20, ..config(1) };
    let (one, _arrivals, _) = node(roomy).await;
    // More than the operating system would ever hold for a connection.
    let pieces: Vec<Message> = (0..32).map(|round| piece(1, 2, round, 1 << 20)).collect();
    one.send(TWO, &address, pieces.clone());
    let (mut bulk, lane) = Raw::accept(&listener).await;
    assert_eq!(lane, Lane::Bulk);
    // No one reads from the first connection.
    one.send(TWO, &address, vec![piece(1, 2, 32, 10), numbered(1, 2, 1)]);
    let (mut main, lane) = Raw::accept(&listener).await;
    assert_eq!(lane, Lane::Main);
    assert_eq!(main.read_messages().await.unwrap(), [numbered(1, 2, 1)]);
    one.send(TWO, &address, vec![numbered(1, 2, 2)]);
    assert_eq!(main.read_messages().await.unwrap(), [numbered(1, 2, 2)]);
    let mut arrived = Vec::new();
    while arrived.len() < 33 {
        arrived.extend(bulk.read_messages().await.unwrap());
    }
    assert_eq!(arrived.iter().map(round_of).collect::<Vec<_>>(), (0..33).collect::<Vec<_>>());
}

#[tokio::test]
async fn pieces_that_find_no_room_are_lost_like_other_messages() {
    // It greets no one.
    let (_listener, address) = listen().await;
    let tight = TransportConfig { snapshot_queue_bytes: 1000, ..config(1) };
    let (one, mut at_one, _) = node(tight).await;
    one.send(TWO, &address, (0..3).map(|round| piece(1, 2, round, 600)).collect());
    assert_eq!(at_one.unreachable().await, TWO);
    assert_eq!(one.stats()[&TWO].dropped_messages, 2);
    one.send(TWO, &address, vec![numbered(1, 2, 1)]);
    assert_eq!(one.stats()[&TWO].dropped_messages, 2, "the other queue has room");
}

#[tokio::test]
async fn each_lane_takes_only_what_belongs_there() {
    let (_two, mut arrivals, address) = node(config(2)).await;
    let mut request = BytesMut::new();
    encode_request(1, GroupId(7), Bytes::from("x"), LIMIT, &mut request).unwrap();
    let bad = [
        (Lane::Main, messages(&[numbered(1, 2, 1), piece(1, 2, 1, 10)])),
        (Lane::Bulk, messages(&[piece(1, 2, 1, 10), numbered(1, 2, 1)])),
        (Lane::Bulk, request),
    ];
    for (lane, bytes) in bad {
        let mut raw = greeted(&address, lane).await;
        raw.write(&bytes).await;
        assert_eq!(raw.read().await, None, "{lane:?}");
    }
    assert!(arrivals.is_empty());
    let mut raw = greeted(&address, Lane::Bulk).await;
    raw.write(&messages(&[piece(1, 2, 1, 10)])).await;
    assert_eq!(arrivals.message().await, [piece(1, 2, 1, 10)]);
}

#[tokio::test]
async fn each_lane_has_one_connection() {
    let (_two, mut arrivals, address) = node(config(2)).await;
    let mut main = greeted(&address, Lane::Main).await;
    let mut bulk = greeted(&address, Lane::Bulk).await;
    let mut newer = greeted(&address, Lane::Bulk).await;
    assert_eq!(bulk.read().await, None);
    newer.write(&messages(&[piece(1, 2, 2, 10)])).await;
    assert_eq!(arrivals.message().await, [piece(1, 2, 2, 10)]);
    main.write(&messages(&[numbered(1, 2, 3)])).await;
    assert_eq!(arrivals.message().await, [numbered(1, 2, 3)]);
}

#[tokio::test]
async fn a_peer_that_moved_has_moved_on_both_lanes() {
    let (old, old_address) = listen().await;
    let (new, new_address) = listen().await;
    let (one, _arrivals, _) = node(config(1)).await;
    one.send(TWO, &old_address, vec![piece(1, 2, 1, 10)]);
    let (mut bulk, _) = Raw::accept(&old).await;
    assert_eq!(bulk.read_messages().await.unwrap(), [piece(1, 2, 1, 10)]);
    one.send(TWO, &new_address, vec![numbered(1, 2, 2)]);
    assert_eq!(bulk.read_messages().await, None);
    let (mut main, _) = Raw::accept(&new).await;
    assert_eq!(main.read_messages().await.unwrap(), [numbered(1, 2, 2)]);
    guarded(one.shutdown()).await;
}
