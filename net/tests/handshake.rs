//! Who is let in: refusals in clear words on both sides, and closed connections for all else.

mod common;

use std::time::Duration;

use actix_raft_core::types::{GroupId, NodeId};
use actix_raft_net::codec::encode_request;
use actix_raft_net::config::{MAX_CLUSTER_ID_BYTES, TransportConfig};
use actix_raft_net::frame::{Frame, FrameCodec, FrameType, begin_frame, finish_frame};
use actix_raft_net::handshake::HANDSHAKE_BYTES;
use actix_raft_net::request::RequestError;
use actix_raft_net::transport::{BindError, Transport};
use actix_raft_net::wire::{
    Accepted, Hello, HelloOutcome, HelloReply, Lane, Refused, RefusedReason,
};
use bytes::{BufMut, Bytes, BytesMut};
use common::raw::{LIMIT, Raw, greeted, hello, messages};
use common::{Arrived, Recorder, config, guarded, node, numbered, round_of};
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::codec::Encoder;

#[tokio::test]
async fn a_newer_dialer_that_still_speaks_our_version_is_accepted() {
    let (_two, mut arrivals, address) = node(config(2)).await;
    let mut raw = Raw::dial(&address).await;
    let reply = raw.greet(&Hello { version: 9, ..hello() }).await;
    let outcome = Some(HelloOutcome::Accepted(Accepted { groups: vec![7] }));
    assert_eq!(reply, HelloReply { version: 2, cluster: "test".to_owned(), node: 2, outcome });
    raw.write(&messages(&[numbered(1, 2, 5)])).await;
    assert_eq!(arrivals.message().await, [numbered(1, 2, 5)]);
}

#[tokio::test]
async fn wrong_greetings_are_refused_in_words_and_closed() {
    let (_two, arrivals, address) = node(config(2)).await;
    let text = str::to_owned;
    let cases = [
        (
            Hello { version: 9, oldest_version: 3, ..hello() },
            RefusedReason::Version,
            text("node 1 speaks protocol versions 3 to 9, node 2 2 to 2"),
        ),
        (
            Hello { version: 0, oldest_version: 0, ..hello() },
            RefusedReason::Version,
            text("node 1 speaks protocol versions 0 to 0, node 2 2 to 2"),
        ),
        (
            Hello { cluster: text("other"), ..hello() },
            RefusedReason::Cluster,
            text(r#"node 1 is of cluster "other", node 2 of cluster "test""#),
        ),
        (
            Hello { cluster: "\n".repeat(4000), ..hello() },
            RefusedReason::Cluster,
            format!(r#"node 1 is of cluster "{}", node 2 of cluster "test""#, "\\n".repeat(64)),
        ),
        (
            Hello { to: 3, ..hello() },
            RefusedReason::NotMe,
            text("node 1 looks for node 3 at an address of node 2"),
        ),
        (
            Hello { from: 2, ..hello() },
            RefusedReason::SameNode,
            text("both call themselves node 2"),
        ),
        (
            Hello { groups: vec![3], ..hello() },
            RefusedReason::Group,
            text("node 1 does not speak for group 7, as node 2 does"),
        ),
        (
            Hello { lane: 3, ..hello() },
            RefusedReason::Lane,
            text("node 1 wants lane 3, which node 2 lacks"),
        ),
    ];
    for (hello, reason, detail) in cases {
        let mut raw = Raw::dial(&address).await;
        let reply = raw.greet(&hello).await;
        let refused = Refused { reason: reason.into(), detail };
        assert_eq!(reply.outcome, Some(HelloOutcome::Refused(refused)));
        assert_eq!(raw.read().await, None);
    }
    assert!(arrivals.is_empty());
}

#[tokio::test]
async fn what_is_no_greeting_is_closed_without_a_word() {
    let (_two, arrivals, address) = node(config(2)).await;
    let mut oversized = BytesMut::new();
    let start = begin_frame(&mut oversized, FrameType::Hello);
    oversized.put_bytes(0, HANDSHAKE_BYTES + 1);
    finish_frame(&mut oversized, start);
    let mut nonsense = BytesMut::new();
    let start = begin_frame(&mut nonsense, FrameType::Hello);
    nonsense.put_bytes(0xff, 20);
    finish_frame(&mut nonsense, start);
    let mut request = BytesMut::new();
    encode_request(1, GroupId(7), Bytes::from("x"), LIMIT, &mut request).unwrap();
    let too_early = messages(&[numbered(1, 2, 1)]);
    let bad: [&[u8]; 6] =
        [b"GET / HTTP/1.1\r\n\r\n", &oversized[..12], &oversized, &nonsense, &request, &too_early];
    for bytes in bad {
        let mut raw = Raw::dial(&address).await;
        raw.write(bytes).await;
        assert_eq!(raw.read().await, None, "{bytes:?}");
    }
    assert!(arrivals.is_empty());
}

#[tokio::test(start_paused = true)]
async fn silence_is_closed_after_five_seconds() {
    let (_two, _arrivals, address) = node(config(2)).await;
    let since = Instant::now();
    let mut raw = Raw::dial(&address).await;
    assert_eq!(raw.read().await, None);
    assert!(since.elapsed() >= Duration::from_secs(5));
    assert!(since.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn what_no_peer_may_say_closes_its_connection_and_changes_nothing() {
    let (_two, mut arrivals, address) = node(config(2)).await;
    let good = || numbered(1, 2, 1);
    let mut other_group = good();
    other_group.group = GroupId(3);
    let mut damaged = messages(&[good()]);
    *damaged.last_mut().unwrap() ^= 1;
    let mut unknown_type = messages(&[good()]);
    unknown_type[3] = 77;
    let mut too_large = messages(&[good()]);
    too_large[4..8].copy_from_slice(&(16 * 1024 * 1024u32 + 1).to_le_bytes());
    let mut response = messages(&[]);
    let start = begin_frame(&mut response, FrameType::Response);
    finish_frame(&mut response, start);
    let mut request = BytesMut::new();
    encode_request(1, GroupId(3), Bytes::from("x"), LIMIT, &mut request).unwrap();
    let bad = [
        ("from another", messages(&[good(), numbered(3, 2, 1)])),
        ("to another", messages(&[good(), numbered(1, 3, 1)])),
        ("of another group", messages(&[good(), other_group])),
        ("damaged", damaged),
        ("of an unknown type", unknown_type),
        ("too large", too_large),
        ("a response", response),
        ("a request of another group", request),
    ];
    for (what, bytes) in bad {
        let mut raw = greeted(&address, Lane::Main).await;
        raw.write(&bytes).await;
        assert_eq!(raw.read().await, None, "{what}");
    }
    assert!(arrivals.is_empty());
    let mut raw = greeted(&address, Lane::Main).await;
    raw.write(&messages(&[good()])).await;
    assert_eq!(arrivals.message().await, [good()]);
}

#[tokio::test]
async fn a_newer_connection_of_a_node_ends_its_older_one() {
    let (_two, mut arrivals, address) = node(config(2)).await;
    let mut older = greeted(&address, Lane::Main).await;
    older.write(&messages(&[numbered(1, 2, 1)])).await;
    assert_eq!(round_of(&arrivals.message().await[0]), 1);
    let mut newer = greeted(&address, Lane::Main).await;
    assert_eq!(older.read().await, None);
    newer.write(&messages(&[numbered(1, 2, 2)])).await;
    assert_eq!(round_of(&arrivals.message().await[0]), 2);
}

#[tokio::test]
async fn connections_and_handshakes_over_the_bound_are_closed_at_once() {
    let bounds = [
        TransportConfig { max_connections: 1, ..config(2) },
        TransportConfig { max_handshakes: 1, ..config(2) },
    ];
    for bound in bounds {
        let (_two, _arrivals, address) = node(bound).await;
        let mut first = Raw::dial(&address).await;
        let mut second = Raw::dial(&address).await;
        assert_eq!(second.read().await, None);
        let reply = first.greet(&hello()).await;
        assert!(matches!(reply.outcome, Some(HelloOutcome::Accepted(_))));
    }
}

/// Asks node 2 at a listener that answers each greeting with `bytes`, and gives the reason.
async fn refused_by(bytes: Bytes) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let fake = tokio::spawn(async move {
        let mut raw = Raw::new(listener.accept().await.unwrap().0);
        let frame = raw.read().await.unwrap();
        let sent = Hello::decode(frame.body).unwrap();
        assert_eq!(sent, Hello { groups: vec![7], ..hello() });
        raw.write(&bytes).await;
        assert_eq!(raw.read().await, None);
    });
    let (one, mut arrivals, _) = node(config(1)).await;
    let answer = guarded(one.request(NodeId(2), &address, Bytes::from("x"))).await;
    guarded(fake).await.unwrap();
    assert_eq!(arrivals.unreachable().await, NodeId(2));
    match answer {
        Err(RequestError::NotSent { peer: NodeId(2), reason }) => reason,
        other => panic!("{other:?}"),
    }
}

fn reply(reply: &HelloReply) -> Bytes {
    let mut bytes = BytesMut::new();
    let frame =
        Frame { frame_type: FrameType::HelloReply, body: Bytes::from(reply.encode_to_vec()) };
    FrameCodec::new(LIMIT).encode(frame, &mut bytes).unwrap();
    bytes.freeze()
}

#[tokio::test]
async fn the_dialer_refuses_wrong_replies_in_words() {
    let accepted = Some(HelloOutcome::Accepted(Accepted { groups: vec![7] }));
    let good = HelloReply { version: 2, cluster: "test".to_owned(), node: 2, outcome: accepted };
    let refused = Refused { reason: 99, detail: "go\naway".to_owned() };
    let refused = Some(HelloOutcome::Refused(refused));
    let other = "other".to_owned();
    let none = Some(HelloOutcome::Accepted(Accepted { groups: vec![] }));
    let cases = [
        (reply(&HelloReply { outcome: refused, ..good.clone() }), r#"(Unspecified): "go\naway""#),
        (reply(&HelloReply { node: 3, ..good.clone() }), r#"node 3 of cluster "test", not 2"#),
        (reply(&HelloReply { cluster: other, ..good.clone() }), r#"node 2 of cluster "other""#),
        (reply(&HelloReply { version: 3, ..good.clone() }), "protocol version 3"),
        (reply(&HelloReply { outcome: none, ..good.clone() }), "groups []"),
        (reply(&HelloReply { outcome: None, ..good }), "without a known outcome"),
        (messages(&[numbered(2, 1, 1)]).freeze(), "type Messages has no place here"),
        (Bytes::from("SSH-2.0-OpenSSH_9"), "not a frame"),
    ];
    for (bytes, words) in cases {
        let reason = refused_by(bytes).await;
        assert!(reason.contains(words), "{reason}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_dialer_gives_up_on_silence() {
    let reason = refused_by(Bytes::new()).await;
    assert!(reason.contains("no handshake within 3s"), "{reason}");
}

#[tokio::test]
async fn two_clusters_refuse_each_other() {
    let mut other = config(2);
    other.cluster_id = "x".repeat(MAX_CLUSTER_ID_BYTES);
    let (_two, _arrivals, address) = node(other).await;
    let (one, _arrivals, _) = node(config(1)).await;
    let error = guarded(one.request(NodeId(2), &address, Bytes::new())).await.unwrap_err();
    let words = r#"node 1 is of cluster \"test\", node 2 of cluster"#;
    assert!(error.to_string().contains(words), "{error}");
}

#[tokio::test]
async fn settings_out_of_range_are_refused_in_words() {
    let words = async |config: TransportConfig| {
        let bound = Transport::bind("127.0.0.1:0", config, Recorder::new().0).await;
        bound.unwrap_err().to_string()
    };
    let empty = TransportConfig { cluster_id: String::new(), ..config(1) };
    assert!(words(empty).await.contains("a cluster id of 0 bytes"));
    let small = TransportConfig { max_frame_bytes: 4095, ..config(1) };
    assert!(words(small).await.contains("max_frame_bytes of 4095"));
    let short = TransportConfig { link_timeout: Duration::from_millis(999), ..config(1) };
    assert!(words(short).await.contains("link_timeout of 999ms, it takes at least 1s"));
    let zero = TransportConfig { queue_messages: 0, ..config(1) };
    assert!(words(zero).await.contains("queue_messages is 0"));
    let (two, _arrivals, _) = node(config(2)).await;
    let taken = Transport::bind(two.local_addr(), config(1), Recorder::new().0).await;
    assert!(matches!(taken, Err(BindError::Listen(_))));
}

/// One that was started without knowing its own address, and learned it from the cluster's members.
#[tokio::test]
async fn a_caller_says_where_it_was_told_that_it_is_reached() {
    let (_two, mut arrivals, address) = node(config(2)).await;
    let (one, _, _) = node(config(1)).await;
    one.advertise("10.0.0.1:7001");
    one.send(NodeId(2), &address, vec![numbered(1, 2, 1)]);
    match arrivals.next().await {
        Arrived::Introduced(peer, rpc_addr) => {
            assert_eq!((peer, rpc_addr.as_str()), (NodeId(1), "10.0.0.1:7001"));
        }
        _ => panic!("the introduction comes before the first message"),
    }
}

#[tokio::test]
async fn a_caller_says_where_it_listens_itself() {
    let (_two, mut arrivals, address) = node(config(2)).await;
    let advertise = Some("10.0.0.1:7001".to_owned());
    let (one, _, _) = node(TransportConfig { advertise, ..config(1) }).await;
    one.send(NodeId(2), &address, vec![numbered(1, 2, 1)]);
    match arrivals.next().await {
        Arrived::Introduced(peer, rpc_addr) => {
            assert_eq!((peer, rpc_addr.as_str()), (NodeId(1), "10.0.0.1:7001"));
        }
        _ => panic!("the introduction comes before the first message"),
    }
    assert_eq!(arrivals.message().await, [numbered(1, 2, 1)]);
}
