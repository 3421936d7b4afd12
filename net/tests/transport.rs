//! Whole nodes over real sockets: order, answers, and what is known when a link breaks.

mod common;

use std::sync::Arc;
use std::time::Duration;

use actix_raft_core::types::NodeId;
use actix_raft_net::config::TransportConfig;
use actix_raft_net::request::RequestError;
use actix_raft_net::transport::Transport;
use bytes::Bytes;
use common::{
    Arrivals, Recorder, carrying, config, guarded, node, node_at, numbered, one_of_each, piece,
    round_of,
};
use tokio::net::{TcpListener, TcpStream};

const TWO: NodeId = NodeId(2);

async fn closed_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().to_string()
}

async fn collect(arrivals: &mut Arrivals, count: usize) -> Vec<u64> {
    let mut rounds = Vec::new();
    while rounds.len() < count {
        rounds.extend(arrivals.message().await.iter().map(round_of));
    }
    rounds
}

#[tokio::test]
async fn messages_of_every_kind_arrive() {
    let (one, mut at_one, address_one) = node(config(1)).await;
    let (two, mut at_two, address_two) = node(config(2)).await;
    for (_, message) in one_of_each() {
        let (from, to, address, arrivals) = match message.to {
            TWO => (&one, TWO, &address_two, &mut at_two),
            _ => (&two, NodeId(1), &address_one, &mut at_one),
        };
        from.send(to, address, vec![message.clone()]);
        assert_eq!(arrivals.message().await, [message]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_arrive_in_order_from_any_thread() {
    let (one, _arrivals, _) = node(config(1)).await;
    let (_two, mut arrivals, address) = node(config(2)).await;
    let sender = std::thread::spawn(move || {
        for round in 0..1000 {
            one.send(TWO, &address, vec![numbered(1, 2, 2 * round), numbered(1, 2, 2 * round + 1)]);
        }
        one
    });
    let one = tokio::task::spawn_blocking(|| sender.join().unwrap()).await.unwrap();
    assert_eq!(collect(&mut arrivals, 2000).await, (0..2000).collect::<Vec<_>>());
    guarded(one.shutdown()).await;
}

#[tokio::test]
async fn a_restarted_peer_is_dialed_again_and_order_holds() {
    let (one, mut at_one, _) = node(config(1)).await;
    let (mut two, mut at_two, address) = node(config(2)).await;
    let mut round = 0;
    let mut last = 0;
    for _ in 0..3 {
        let mut arrived = 0;
        while arrived < 10 {
            round += 1;
            one.send(TWO, &address, vec![numbered(1, 2, round)]);
            tokio::select! {
                messages = at_two.message() => {
                    for message in messages {
                        assert!(round_of(&message) > last);
                        last = round_of(&message);
                        arrived += 1;
                    }
                }
                _ = at_one.unreachable() => {}
            }
        }
        guarded(two.shutdown()).await;
        (two, at_two, _) = node_at(&address, config(2)).await;
    }
}

#[tokio::test]
async fn misaddressed_messages_are_not_sent() {
    let (one, _arrivals, _) = node(config(1)).await;
    let (_two, mut arrivals, address) = node(config(2)).await;
    let mut other_group = numbered(1, 2, 1);
    other_group.group.0 += 1;
    let wrong = vec![numbered(1, 3, 1), numbered(3, 2, 1), other_group, numbered(1, 2, 2)];
    one.send(TWO, &address, wrong);
    assert_eq!(arrivals.message().await, [numbered(1, 2, 2)]);
}

#[tokio::test]
async fn requests_are_pipelined_and_answered_in_any_order() {
    let (one, _arrivals, _) = node(config(1)).await;
    let (_two, mut arrivals, address) = node(config(2)).await;
    let ask = |text: &'static str| {
        let (one, address) = (one.clone(), address.clone());
        tokio::spawn(async move { one.request(TWO, &address, Bytes::from(text)).await })
    };
    let asked = ["a", "b", "c"].map(ask);
    let mut open = Vec::new();
    for _ in 0..3 {
        let (from, body, reply) = arrivals.request().await;
        assert_eq!(from, NodeId(1));
        open.push((body, reply));
    }
    for (body, reply) in open.into_iter().rev() {
        // As an application would, from a thread of its own.
        std::thread::spawn(move || reply.reply([&b"re: "[..], &body].concat().into()));
    }
    let mut answers = Vec::new();
    for asked in asked {
        answers.push(guarded(asked).await.unwrap().unwrap());
    }
    assert_eq!(answers, ["re: a", "re: b", "re: c"]);
}

#[tokio::test]
async fn a_dropped_responder_refuses_and_too_many_requests_overload() {
    let (one, _arrivals, _) = node(config(1)).await;
    let (_two, mut arrivals, address) =
        node(TransportConfig { max_requests: 1, ..config(2) }).await;
    let ask = |text: &'static str| {
        let (one, address) = (one.clone(), address.clone());
        tokio::spawn(async move { one.request(TWO, &address, Bytes::from(text)).await })
    };
    let first = ask("first");
    let (_, _, reply) = arrivals.request().await;
    let second = guarded(ask("second")).await.unwrap();
    assert_eq!(second, Err(RequestError::Overloaded { peer: TWO }));
    drop(reply);
    assert_eq!(guarded(first).await.unwrap(), Err(RequestError::Refused { peer: TWO }));
    let third = ask("third");
    let (_, body, reply) = arrivals.request().await;
    assert_eq!(body, "third");
    reply.reply(Bytes::new());
    assert_eq!(guarded(third).await.unwrap(), Ok(Bytes::new()));
}

#[tokio::test]
async fn too_many_of_our_own_requests_are_not_sent() {
    let (one, _arrivals, _) = node(TransportConfig { max_requests: 1, ..config(1) }).await;
    let (_two, mut arrivals, address) = node(config(2)).await;
    let first = {
        let (one, address) = (one.clone(), address.clone());
        tokio::spawn(async move { one.request(TWO, &address, Bytes::new()).await })
    };
    let (_, _, reply) = arrivals.request().await;
    let second = guarded(one.request(TWO, &address, Bytes::new())).await;
    assert!(matches!(second, Err(RequestError::NotSent { .. })), "{second:?}");
    reply.reply(Bytes::new());
    assert!(guarded(first).await.unwrap().is_ok());
}

#[tokio::test]
async fn surely_not_sent_if_no_one_listens() {
    let (one, mut arrivals, _) = node(config(1)).await;
    let address = closed_port().await;
    one.send(TWO, &address, vec![numbered(1, 2, 1)]);
    let answer = guarded(one.request(TWO, &address, Bytes::from("x"))).await;
    assert!(matches!(answer, Err(RequestError::NotSent { peer: TWO, .. })), "{answer:?}");
    assert_eq!(arrivals.unreachable().await, TWO);
    // What was queued is gone: whoever listens there later gets only what is sent later.
    let (_two, mut at_two, _) = node_at(&address, config(2)).await;
    one.send(TWO, &address, vec![numbered(1, 2, 2)]);
    assert_eq!(round_of(&at_two.message().await[0]), 2);
}

#[tokio::test]
async fn perhaps_done_if_the_peer_dies_with_it() {
    let (one, mut at_one, _) = node(config(1)).await;
    let (two, mut arrivals, address) = node(config(2)).await;
    let asked = {
        let (one, address) = (one.clone(), address.clone());
        tokio::spawn(async move { one.request(TWO, &address, Bytes::from("x")).await })
    };
    let (_, _, reply) = arrivals.request().await;
    guarded(two.shutdown()).await;
    reply.reply(Bytes::from("too late"));
    let answer = guarded(asked).await.unwrap();
    assert!(matches!(answer, Err(RequestError::Unknown { peer: TWO, .. })), "{answer:?}");
    assert_eq!(at_one.unreachable().await, TWO);
}

#[tokio::test]
async fn a_full_queue_drops_counts_and_reports_once() {
    let (one, mut at_one, _) = node(TransportConfig { queue_messages: 4, ..config(1) }).await;
    let (_two, mut at_two, address) = node(config(2)).await;
    // On this one thread the peer's task has not run yet.
    one.send(TWO, &address, (1..=7).map(|round| numbered(1, 2, round)).collect());
    one.send(TWO, &address, (8..=10).map(|round| numbered(1, 2, round)).collect());
    assert_eq!(one.stats()[&TWO].dropped_messages, 6);
    assert_eq!(at_one.unreachable().await, TWO);
    assert_eq!(collect(&mut at_two, 4).await, [1, 2, 3, 4]);
    one.send(TWO, &address, vec![numbered(1, 2, 11)]);
    assert_eq!(collect(&mut at_two, 1).await, [11]);
    assert!(at_one.is_empty(), "reported more than once");
    assert_eq!(one.stats()[&TWO].dropped_messages, 6);
}

#[tokio::test]
async fn a_queue_is_bounded_in_bytes_too() {
    let (one, _arrivals, _) = node(TransportConfig { queue_bytes: 10_000, ..config(1) }).await;
    let (_two, mut arrivals, address) = node(config(2)).await;
    let messages = (1..=3).map(|round| carrying(1, 2, round, 4_000)).collect();
    one.send(TWO, &address, messages);
    assert_eq!(one.stats()[&TWO].dropped_messages, 1);
    assert_eq!(collect(&mut arrivals, 2).await, [1, 2]);
    one.send(TWO, &address, vec![carrying(1, 2, 4, 50_000)]);
    assert_eq!(collect(&mut arrivals, 1).await, [4], "a single one may be heavier");
}

#[tokio::test]
async fn the_frame_limit_holds_on_both_ways() {
    let (one, _arrivals, _) = node(config(1)).await;
    let (_two, mut arrivals, address) = node(config(2)).await;
    let limit = 16 * 1024 * 1024;
    let over = Bytes::from(vec![1; limit]);
    let refused = guarded(one.request(TWO, &address, over.clone())).await;
    assert_eq!(refused, Err(RequestError::TooLarge { bytes: limit + 64, limit }));
    let most = over.slice(64..);
    let asked = {
        let (one, address, most) = (one.clone(), address.clone(), most.clone());
        tokio::spawn(async move { one.request(TWO, &address, most).await })
    };
    let (_, body, reply) = arrivals.request().await;
    assert!(body == most);
    reply.reply(most.clone());
    assert!(guarded(asked).await.unwrap() == Ok(most));
    one.send(TWO, &address, vec![carrying(1, 2, 1, limit), carrying(1, 2, 2, limit - 100)]);
    assert_eq!(collect(&mut arrivals, 1).await, [2]);
    let asked = {
        let (one, address) = (one.clone(), address.clone());
        tokio::spawn(async move { one.request(TWO, &address, Bytes::new()).await })
    };
    let (_, _, reply) = arrivals.request().await;
    reply.reply(over);
    let lost = guarded(asked).await.unwrap();
    assert!(matches!(lost, Err(RequestError::Unknown { .. })), "{lost:?}");
}

#[tokio::test]
async fn a_peer_that_takes_nothing_is_given_up() {
    let patience = Duration::from_millis(50);
    let (one, mut at_one, _) = node(TransportConfig { stall_timeout: patience, ..config(1) }).await;
    // A relay that lets the handshake through to a real node, and then nothing more.
    let (_two, _at_two, real) = node(config(2)).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let relay = tokio::spawn(async move {
        let mut dialer = listener.accept().await.unwrap().0;
        let mut real = TcpStream::connect(real).await.unwrap();
        relay_once(&mut dialer, &mut real).await;
        relay_once(&mut real, &mut dialer).await;
        drop(listener);
        dialer
    });
    let big = Bytes::from(vec![0; 15 * 1024 * 1024]);
    let first = {
        let (one, address) = (one.clone(), address.clone());
        tokio::spawn(async move { one.request(TWO, &address, big).await })
    };
    let _dialer = guarded(relay).await.unwrap();
    let stalled = guarded(first).await.unwrap();
    assert!(
        matches!(&stalled, Err(RequestError::Unknown { reason, .. })
        if reason.contains("took no byte")),
        "{stalled:?}"
    );
    assert_eq!(at_one.unreachable().await, TWO);
    let second = guarded(one.request(TWO, &address, Bytes::new())).await;
    assert!(matches!(second, Err(RequestError::NotSent { .. })), "{second:?}");
}

async fn relay_once(from: &mut TcpStream, to: &mut TcpStream) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut buffer = [0; 1024];
    let read = from.read(&mut buffer).await.unwrap();
    to.write_all(&buffer[..read]).await.unwrap();
}

#[tokio::test]
async fn a_peer_that_moved_is_dialed_at_its_new_address() {
    let (one, _arrivals, _) = node(config(1)).await;
    let (_old, mut at_old, old) = node(config(2)).await;
    let (_new, mut at_new, new) = node(config(2)).await;
    one.send(TWO, &old, vec![numbered(1, 2, 1)]);
    assert_eq!(round_of(&at_old.message().await[0]), 1);
    let asked = {
        let (one, old) = (one.clone(), old.clone());
        tokio::spawn(async move { one.request(TWO, &old, Bytes::new()).await })
    };
    let (_, _, _reply) = at_old.request().await;
    one.send(TWO, &new, vec![numbered(1, 2, 2)]);
    assert_eq!(round_of(&at_new.message().await[0]), 2);
    let answer = guarded(asked).await.unwrap();
    assert!(matches!(answer, Err(RequestError::Unknown { .. })), "{answer:?}");
}

#[tokio::test]
async fn shutdown_ends_every_task_and_answers_all_who_wait() {
    let (recorder, mut at_one) = Recorder::new();
    let watched = Arc::downgrade(&recorder);
    let one = Transport::bind("127.0.0.1:0", config(1), recorder).await.unwrap();
    let address_one = one.local_addr().to_string();
    let (two, mut at_two, address) = node(config(2)).await;
    let asked = {
        let (one, address) = (one.clone(), address.clone());
        tokio::spawn(async move { one.request(TWO, &address, Bytes::new()).await })
    };
    let (_, _, _reply) = at_two.request().await;
    two.send(NodeId(1), &address_one, vec![numbered(2, 1, 1)]);
    at_one.message().await;
    guarded(one.shutdown()).await;
    let answer = guarded(asked).await.unwrap();
    assert!(matches!(answer, Err(RequestError::Unknown { .. })), "{answer:?}");
    assert_eq!(at_two.unreachable().await, NodeId(1));
    assert!(TcpStream::connect(&address_one).await.is_err());
    for peer in [2, 3] {
        one.send(NodeId(peer), &address, vec![numbered(1, peer, 1)]);
        let answer = guarded(one.request(NodeId(peer), &address, Bytes::new())).await;
        assert!(matches!(answer, Err(RequestError::NotSent { .. })), "{answer:?}");
    }
    guarded(one.shutdown()).await;
    drop(one);
    assert!(watched.upgrade().is_none(), "a task is left that holds on to the inbound side");
}

#[tokio::test]
async fn dropping_the_last_clone_stops_it() {
    let (one, mut at_one, address) = node(config(1)).await;
    let (two, mut at_two, _) = node(config(2)).await;
    two.send(NodeId(1), &address, vec![numbered(2, 1, 1)]);
    at_one.message().await;
    drop(one.clone());
    two.send(NodeId(1), &address, vec![numbered(2, 1, 2)]);
    at_one.message().await;
    drop(one);
    assert_eq!(at_two.unreachable().await, NodeId(1));
}

#[tokio::test]
async fn what_was_exchanged_with_a_peer_is_counted() {
    let (one, mut at_one, address_one) = node(config(1)).await;
    let (two, mut at_two, address_two) = node(config(2)).await;
    assert!(one.stats().is_empty());
    one.send(TWO, &address_two, vec![carrying(1, 2, 1, 1000), piece(1, 2, 1, 500)]);
    let arrived = [at_two.message().await, at_two.message().await].concat();
    assert_eq!(arrived.len(), 2);
    let at_the_other_end = two.stats()[&NodeId(1)];
    assert!((1500..2000).contains(&at_the_other_end.received_bytes), "{at_the_other_end:?}");
    assert!(at_the_other_end.heard_ago.is_some());
    assert!(!at_the_other_end.linked, "it has dialed no one");
    two.send(NodeId(1), &address_one, vec![numbered(2, 1, 1)]);
    at_one.message().await;
    assert!(two.stats()[&NodeId(1)].linked);
    // What was written is counted a moment after it has arrived.
    let stats = guarded(async {
        loop {
            let stats = one.stats()[&TWO];
            if stats.sent_bytes >= at_the_other_end.received_bytes {
                return stats;
            }
            tokio::task::yield_now().await;
        }
    });
    let stats = stats.await;
    assert!(stats.linked && stats.received_bytes > 0, "{stats:?}");
    guarded(two.shutdown()).await;
    while one.stats()[&TWO].linked {
        at_one.unreachable().await;
    }
}
