//! The codec: what is encoded comes back, in bytes that never change, and nonsense is refused.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use actix_raft_core::entry::{Entry, EntryPayload};
use actix_raft_core::event::Consistency;
use actix_raft_core::membership::{Address, Membership};
use actix_raft_core::message::{
    AppendEntriesRequest, AppendEntriesResponse, AppendOutcome, InstallOutcome,
    InstallSnapshotRequest, InstallSnapshotResponse, Message, MessageBody, ReadIndexRequest,
    ReadIndexResponse, TimeoutNowRequest, VoteKind, VoteRefusal, VoteRequest, VoteResponse,
};
use actix_raft_core::snapshot::{Snapshot, SnapshotChunk};
use actix_raft_core::stored::Base;
use actix_raft_core::types::{DiskId, GroupId, Index, LogPosition, NodeId, Term};
use actix_raft_net::codec::{
    Response, TooLarge, decode_messages, decode_request, decode_response, encode_messages,
    encode_request, encode_response,
};
use actix_raft_net::convert::{DecodeError, from_wire, to_wire};
use actix_raft_net::frame::{Frame, FrameCodec, FrameType};
use actix_raft_net::weight::{encoded_overhead, overhead, weight};
use actix_raft_net::wire::{self, log, rpc};
use bytes::{Bytes, BytesMut};
use common::{carrying, numbered, one_of_each, piece};
use proptest::prelude::*;
use prost::Message as _;
use tokio_util::codec::Decoder;

const LIMIT: usize = 16 * 1024 * 1024;

fn frames(mut buffer: BytesMut) -> Vec<Frame> {
    let mut codec = FrameCodec::new(LIMIT);
    let mut frames = Vec::new();
    while let Some(frame) = codec.decode(&mut buffer).unwrap() {
        frames.push(frame);
    }
    assert!(buffer.is_empty());
    frames
}

fn encode(messages: &[Message], limit: usize) -> BytesMut {
    let mut buffer = BytesMut::new();
    assert_eq!(encode_messages(messages, limit, &mut buffer), []);
    buffer
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn position() -> impl Strategy<Value = LogPosition> {
    let some = (1..u64::MAX, 1..u64::MAX / 2).prop_map(|(t, i)| LogPosition::new(t, i));
    prop_oneof![Just(LogPosition::ZERO), some]
}

fn membership() -> impl Strategy<Value = Membership> {
    let part = any::<prop::sample::Index>;
    let parts = (part(), any::<Option<prop::sample::Index>>());
    (members(), parts, prop::option::of((members(), part()))).prop_map(
        |(members, (voters, outgoing), goal)| {
            let now = Membership::joint(
                first(&members, voters),
                outgoing.map(|outgoing| first(&members, outgoing)),
                members.clone(),
            );
            let founders = members.keys().map(|id| (*id, DiskId(!id.0))).collect();
            let now = now.map(|now| now.founded_on(founders));
            let Some((members, voters)) = goal else { return now.unwrap() };
            let goal = Membership::new(first(&members, voters), members).unwrap();
            now.unwrap().on_the_way_to(Arc::new(goal)).unwrap()
        },
    )
}

fn members() -> impl Strategy<Value = BTreeMap<NodeId, Address>> {
    let text = "[a-z0-9:.é]{0,12}";
    let member = (any::<u64>().prop_map(NodeId), (text, text));
    prop::collection::vec(member, 1..6).prop_map(|members| {
        members.into_iter().map(|(id, (rpc, client))| (id, Address::new(rpc, client))).collect()
    })
}

fn first(members: &BTreeMap<NodeId, Address>, n: prop::sample::Index) -> BTreeSet<NodeId> {
    members.keys().copied().take(1 + n.index(members.len())).collect()
}

fn payload() -> impl Strategy<Value = EntryPayload> {
    prop_oneof![
        Just(EntryPayload::Blank),
        prop::collection::vec(any::<u8>(), 0..200)
            .prop_map(|bytes| EntryPayload::Normal(Bytes::from(bytes))),
        membership().prop_map(|set| EntryPayload::ConfigChange(Arc::new(set))),
    ]
}

fn disk() -> impl Strategy<Value = DiskId> {
    prop_oneof![Just(DiskId::UNKNOWN), any::<u64>().prop_map(DiskId)]
}

fn append() -> impl Strategy<Value = MessageBody> {
    let entries = prop::collection::vec((0..3u64, payload()), 0..6);
    (position(), entries, any::<u64>(), any::<u64>(), disk()).prop_map(
        |(prev, entries, commit, round, disk)| {
            let mut last = prev;
            let mut list = Vec::new();
            for (step, payload) in entries {
                last.term = Term(last.term.0.saturating_add(step).max(1));
                last.index = last.index.next();
                list.push(Entry { term: last.term, index: last.index, payload });
            }
            MessageBody::AppendEntriesRequest(AppendEntriesRequest {
                term: last.term.next(),
                prev_log: prev,
                entries: list.into(),
                leader_commit: Index(commit),
                round,
                disk,
            })
        },
    )
}

fn append_response() -> impl Strategy<Value = MessageBody> {
    let outcome = prop_oneof![
        any::<u64>().prop_map(|n| AppendOutcome::Matched { match_index: Index(n) }),
        (any::<u64>(), any::<u64>(), any::<u64>()).prop_map(|(index, term, hint)| {
            let (prev_log_index, hint) = (Index(index), LogPosition::new(term, hint));
            AppendOutcome::Conflict { prev_log_index, hint }
        }),
    ];
    let flags = any::<(bool, bool)>();
    (any::<u64>(), any::<u64>(), disk(), flags, outcome).prop_map(
        |(term, round, disk, (trusted, disk_is_full), outcome)| {
            let term = Term(term);
            MessageBody::AppendEntriesResponse(AppendEntriesResponse {
                term,
                round,
                disk,
                trusted,
                disk_is_full,
                outcome,
            })
        },
    )
}

fn vote() -> impl Strategy<Value = MessageBody> {
    let kind = || prop::sample::select(vec![VoteKind::PreVote, VoteKind::Vote, VoteKind::Transfer]);
    let refusal = prop::sample::select(vec![
        None,
        Some(VoteRefusal::StaleTerm),
        Some(VoteRefusal::HearsLeader),
        Some(VoteRefusal::AlreadyVoted),
        Some(VoteRefusal::LogBehind),
        Some(VoteRefusal::Untrusted),
    ]);
    prop_oneof![
        (1..=u64::MAX, position(), kind(), any::<u64>(), disk()).prop_map(
            |(term, last_log, kind, round, disk)| {
                let term = Term(term);
                MessageBody::VoteRequest(VoteRequest { term, last_log, kind, round, disk })
            }
        ),
        (any::<u64>(), kind(), any::<u64>(), any::<bool>(), refusal, disk()).prop_map(
            |(term, kind, round, granted, refusal, disk)| {
                let vote_granted = granted && refusal.is_none();
                let term = Term(term);
                MessageBody::VoteResponse(VoteResponse {
                    term,
                    kind,
                    round,
                    vote_granted,
                    refusal,
                    disk,
                })
            }
        ),
    ]
}

fn last_included() -> impl Strategy<Value = LogPosition> {
    (1..u64::MAX, 1..u64::MAX).prop_map(|(term, index)| LogPosition::new(term, index))
}

fn install() -> impl Strategy<Value = MessageBody> {
    let data = prop::collection::vec(any::<u8>(), 0..200).prop_map(Bytes::from);
    let ends = (0..u64::MAX / 2, data, 0..u64::MAX / 4);
    let membership = (any::<prop::sample::Index>(), membership());
    (last_included(), membership, ends, any::<[u32; 2]>(), any::<u64>()).prop_map(
        |(last_included, membership, (offset, data, rest), [whole, piece], round)| {
            let (since, membership) = membership;
            let since = Index(since.index(usize::MAX) as u64 % last_included.index.0);
            let membership = (since, Arc::new(membership));
            let size = offset + data.len() as u64 + rest;
            let base = Base { last_included, membership: Some(membership) };
            MessageBody::InstallSnapshotRequest(InstallSnapshotRequest {
                term: last_included.term.next(),
                round,
                snapshot: Snapshot { base, size, checksum: whole },
                chunk: SnapshotChunk { offset, data, checksum: piece, done: rest == 0 },
            })
        },
    )
}

fn install_response() -> impl Strategy<Value = MessageBody> {
    let outcome = prop_oneof![
        any::<u64>().prop_map(|offset| InstallOutcome::Received { offset }),
        Just(InstallOutcome::Installed),
    ];
    (any::<u64>(), any::<u64>(), disk(), last_included(), outcome).prop_map(
        |(term, round, disk, last_included, outcome)| {
            MessageBody::InstallSnapshotResponse(InstallSnapshotResponse {
                term: Term(term),
                round,
                disk,
                last_included,
                outcome,
            })
        },
    )
}

fn other() -> impl Strategy<Value = MessageBody> {
    prop_oneof![
        (1..=u64::MAX).prop_map(|term| {
            MessageBody::TimeoutNowRequest(TimeoutNowRequest { term: Term(term) })
        }),
        (1..=u64::MAX, any::<u64>(), any::<bool>()).prop_map(|(term, id, by_lease)| {
            let consistency = if by_lease { Consistency::Lease } else { Consistency::Linearizable };
            MessageBody::ReadIndexRequest(ReadIndexRequest { term: Term(term), id, consistency })
        }),
        (any::<u64>(), any::<u64>(), any::<Option<u64>>()).prop_map(|(term, id, index)| {
            let (term, read_index) = (Term(term), index.map(Index));
            MessageBody::ReadIndexResponse(ReadIndexResponse { term, id, read_index })
        }),
    ]
}

fn body() -> impl Strategy<Value = MessageBody> {
    prop_oneof![append(), append_response(), vote(), install(), install_response(), other()]
}

fn any_message() -> impl Strategy<Value = Message> {
    (any::<u64>(), any::<u64>(), any::<u64>(), body()).prop_map(|(group, from, to, body)| Message {
        group: GroupId(group),
        from: NodeId(from),
        to: NodeId(to),
        body,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_message_comes_back(messages in prop::collection::vec(any_message(), 0..8)) {
        let frames = frames(encode(&messages, LIMIT));
        prop_assert_eq!(frames.len(), usize::from(!messages.is_empty()));
        for frame in frames {
            prop_assert_eq!(frame.frame_type, FrameType::Messages);
            let sum: usize = messages.iter().map(overhead).sum();
            prop_assert_eq!(encoded_overhead(&frame.body), Ok(sum));
            prop_assert_eq!(&decode_messages(frame.body, LIMIT).unwrap(), &messages);
        }
        for message in &messages {
            prop_assert!(overhead(message) <= weight(message));
        }
    }

    #[test]
    fn batches_are_split_in_order_and_under_the_limit(
        messages in prop::collection::vec(any_message(), 0..20),
        limit in 2_000..6_000usize,
    ) {
        let mut buffer = BytesMut::new();
        let left_out = encode_messages(&messages, limit, &mut buffer);
        let mut back = Vec::new();
        for frame in frames(buffer) {
            prop_assert!(frame.body.len() <= limit);
            back.extend(decode_messages(frame.body, limit).unwrap());
        }
        prop_assert_eq!(back.len() + left_out.len(), messages.len());
        let mut rest = messages.iter();
        prop_assert!(back.iter().all(|message| rest.any(|sent| sent == message)));
    }

    #[test]
    fn garbage_is_refused_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let bytes = Bytes::from(bytes);
        let _ = decode_messages(bytes.clone(), LIMIT);
        let _ = decode_request(bytes.clone());
        let _ = decode_response(bytes);
    }

    #[test]
    fn mutants_are_refused_or_valid(
        messages in prop::collection::vec(any_message(), 1..4),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
        cut in any::<Option<prop::sample::Index>>(),
    ) {
        let mut body = frames(encode(&messages, LIMIT)).remove(0).body.to_vec();
        for (at, value) in flips {
            let at = at.index(body.len());
            body[at] = value;
        }
        if let Some(cut) = cut {
            body.truncate(cut.index(body.len()));
        }
        if let Ok(decoded) = decode_messages(Bytes::from(body), LIMIT) {
            // Whatever was let through is as valid as if it had been meant.
            let again = encode(&decoded, LIMIT);
            for frame in frames(again) {
                prop_assert_eq!(&decode_messages(frame.body, LIMIT).unwrap(), &decoded);
            }
        }
    }
}

#[test]
fn golden_bytes_of_each_message() {
    let golden = [
        (
            "append",
            concat!(
                "61520103a200000077a64a440a9f010807100118022296010803100118042206080210051a00",
                "220b08021006220573657420782225080310072a1f0a010112030a01021a0b080112046e313a",
                "311a01631a08080212046e323a312244080310082a3e0a010112030a01021a0b080112046e31",
                "3a311a01631a08080212046e323a3122100a0101120b080112046e313a311a01632a0b080111",
                "5cd1000000000000280430ac02395cd1000000000000",
            ),
        ),
        (
            "matched",
            concat!(
                "6152010320000000c66582b50a1e0807100218012a16080310ac021a020807295cd100000000",
                "000030013801",
            ),
        ),
        ("conflict", "6152010317000000b27ee6dd0a150807100218012a0d080310ac022206080410011803"),
        ("vote request", "6152010314000000615a8d290a12080710011802320a08031002180520022809"),
        (
            "vote request to a founder",
            "6152010319000000f19ad0e00a17080710011802320f080320032809315cd1000000000000",
        ),
        ("vote granted", "615201031200000045413a400a100807100218013a080803100118092001"),
        (
            "vote refused",
            concat!(
                "615201031b0000008a11a1e30a190807100218013a110803100118092804315cd10000000000",
                "00",
            ),
        ),
        (
            "install",
            concat!(
                "6152010374000000d87db4860a72080710011802426a080310ac021a50080210061a42080612",
                "3e0a010112030a01021a0b080112046e313a311a01631a08080212046e323a3122100a010112",
                "0b080112046e313a311a01632a0b0801115cd100000000000020b1022dcdab0000221108ac02",
                "120573746174651def0000002001",
            ),
        ),
        (
            "received",
            concat!(
                "6152010321000000a9e916b40a1f0807100218014a17080310ac02195cd10000000000002002",
                "2806320308ac02",
            ),
        ),
        (
            "installed",
            concat!(
                "615201031e000000d75b52e60a1c0807100218014a14080310ac02195cd10000000000002002",
                "28063a00",
            ),
        ),
        ("timeout now", "615201030c0000008c0355770a0a08071001180252020803"),
        ("read", "615201031100000041a619510a0f0807100118025a07080310ac021801"),
        ("read by lease", "6152010311000000fbf710c80a0f0807100118025a07080310ac021802"),
        ("read at", "6152010311000000ee9d5e2f0a0f0807100218016207080310ac021800"),
        ("read nowhere", "615201030f000000e3f99dc10a0d0807100218016205080310ac02"),
    ];
    assert_eq!(one_of_each().len(), golden.len());
    for ((name, message), (golden_name, golden)) in one_of_each().into_iter().zip(golden) {
        assert_eq!(name, golden_name);
        assert_eq!(hex(&encode(&[message], LIMIT)), golden, "{name}");
    }
}

#[test]
fn golden_bytes_of_requests_and_responses() {
    let request = |buffer: &mut BytesMut| {
        encode_request(300, GroupId(7), Bytes::from("ask"), LIMIT, buffer).unwrap();
    };
    let response = |result: Result<&'static str, wire::Unanswered>| {
        move |buffer: &mut BytesMut| {
            let result = result.map(Bytes::from);
            let response = Response { id: 300, group: GroupId(7), result };
            encode_response(response, LIMIT, buffer).unwrap();
        }
    };
    let encoded = |encode: &dyn Fn(&mut BytesMut)| {
        let mut buffer = BytesMut::new();
        encode(&mut buffer);
        hex(&buffer)
    };
    assert_eq!(encoded(&request), "615201040a000000e37ab18108ac0210071a0361736b");
    assert_eq!(encoded(&response(Ok("told"))), "615201050b00000063b5563908ac0210071a04746f6c64");
    assert_eq!(
        encoded(&response(Err(wire::Unanswered::Refused))),
        "6152010507000000cce1508f08ac0210072002"
    );
}

#[test]
fn golden_bytes_of_the_handshake() {
    let cluster = || "c1".to_owned();
    let hello = wire::Hello {
        version: 2,
        oldest_version: 2,
        cluster: cluster(),
        from: 1,
        to: 2,
        groups: vec![7],
        address: None,
        lane: wire::Lane::Main.into(),
    };
    assert_eq!(hex(&hello.encode_to_vec()), "080210021a026331200128023201074001");
    let reply = |outcome| {
        let outcome = Some(outcome);
        hex(&wire::HelloReply { version: 2, cluster: cluster(), node: 2, outcome }.encode_to_vec())
    };
    let accepted = wire::Accepted { groups: vec![7] };
    assert_eq!(reply(wire::HelloOutcome::Accepted(accepted)), "080212026331180222030a0107");
    let refused =
        wire::Refused { reason: wire::RefusedReason::NotMe.into(), detail: "no".to_owned() };
    assert_eq!(reply(wire::HelloOutcome::Refused(refused)), "08021202633118022a06080312026e6f");
}

#[test]
fn requests_and_responses_come_back() {
    let mut buffer = BytesMut::new();
    encode_request(1, GroupId(7), Bytes::new(), LIMIT, &mut buffer).unwrap();
    let results = [
        Ok(Bytes::new()),
        Ok(Bytes::from("x")),
        Err(wire::Unanswered::Overloaded),
        Err(wire::Unanswered::Lost),
    ];
    for result in results.clone() {
        let response = Response { id: u64::MAX, group: GroupId(7), result };
        encode_response(response, LIMIT, &mut buffer).unwrap();
    }
    let mut frames = frames(buffer).into_iter();
    let request = decode_request(frames.next().unwrap().body).unwrap();
    assert_eq!(request, wire::Request { id: 1, group: 7, body: Bytes::new() });
    let back: Vec<_> = frames.map(|frame| decode_response(frame.body).unwrap().result).collect();
    assert_eq!(back, results);
}

#[test]
fn a_command_shares_the_memory_of_its_frame() {
    let body = frames(encode(&[carrying(1, 2, 1, 1000)], LIMIT)).remove(0).body;
    let range = body.as_ptr_range();
    let decoded = decode_messages(body, LIMIT).unwrap();
    let MessageBody::AppendEntriesRequest(request) = &decoded[0].body else { panic!() };
    let EntryPayload::Normal(command) = &request.entries[0].payload else { panic!() };
    assert!(range.contains(&command.as_ptr()));
}

#[test]
fn unknown_fields_are_skipped() {
    let mut bytes = wire::Messages { messages: vec![to_wire(&numbered(1, 2, 3))] }.encode_to_vec();
    // Field 99: a string; field 98: a number; field 97: eight bytes; field 96: four bytes.
    bytes.extend([0x9a, 0x06, 2, b'h', b'i', 0x90, 0x06, 1]);
    bytes.extend([0x89, 0x06, 1, 2, 3, 4, 5, 6, 7, 8, 0x85, 0x06, 1, 2, 3, 4]);
    assert_eq!(decode_messages(bytes.into(), LIMIT).unwrap(), [numbered(1, 2, 3)]);
}

#[test]
fn a_message_over_the_limit_is_left_out_alone() {
    let messages = [numbered(1, 2, 1), carrying(1, 2, 2, 5000), numbered(1, 2, 3)];
    let mut buffer = BytesMut::new();
    let left_out = encode_messages(&messages, 4096, &mut buffer);
    assert!(matches!(left_out[..], [TooLarge { bytes: 5000..5100, limit: 4096 }]), "{left_out:?}");
    let body = frames(buffer).remove(0).body;
    assert_eq!(decode_messages(body, 4096).unwrap(), [numbered(1, 2, 1), numbered(1, 2, 3)]);
}

#[test]
fn a_small_frame_of_very_many_parts_is_refused_before_it_is_decoded() {
    // Empty entries: two bytes each on the wire.
    let mut request = Vec::new();
    (0..100_000).for_each(|_| request.extend([0x22, 0]));
    let mut message = vec![0x22];
    prost::encode_length_delimiter(request.len(), &mut message).unwrap();
    message.extend(request);
    let mut batch = vec![0x0a];
    prost::encode_length_delimiter(message.len(), &mut batch).unwrap();
    batch.extend(message);
    let refused = decode_messages(batch.into(), 1024 * 1024);
    let overhead = 64 + 64 * 100_000;
    assert_eq!(refused, Err(DecodeError::TooHeavy { overhead, limit: 1024 * 1024 }));
}

/// A field that holds bytes.
fn field(tag: u8, bytes: &[u8]) -> Vec<u8> {
    let mut field = vec![tag << 3 | 2];
    prost::encode_length_delimiter(bytes.len(), &mut field).unwrap();
    field.extend(bytes);
    field
}

#[test]
fn the_members_of_a_goal_and_of_a_snapshot_are_weighed_too() {
    // Empty members, and voters below 128: two bytes each and one.
    let goal = field(4, &[[0x12, 0].repeat(1000), field(1, &[1; 3000])].concat());
    let membership = [goal, [0x1a, 0].repeat(500)].concat();
    let membership = [membership, [0x2a, 0].repeat(100)].concat();
    let overhead = 32 * 1500 + 8 * 3000 + 16 * 100;
    let in_entry = field(4, &field(4, &field(5, &membership)));
    let in_snapshot = field(8, &field(3, &field(3, &field(2, &membership))));
    assert_eq!(encoded_overhead(&field(1, &in_entry)), Ok(64 + 64 + overhead));
    assert_eq!(encoded_overhead(&field(1, &in_snapshot)), Ok(64 + overhead));
    let refused = decode_messages(field(1, &in_snapshot).into(), 60_000);
    assert_eq!(refused, Err(DecodeError::TooHeavy { overhead: 64 + overhead, limit: 60_000 }));
}

#[test]
fn a_piece_of_a_snapshot_fits_a_frame_or_is_left_out() {
    let mut buffer = BytesMut::new();
    let left_out =
        encode_messages(&[piece(1, 2, 1, 4096), piece(1, 2, 2, 4000)], 4096, &mut buffer);
    assert!(matches!(left_out[..], [TooLarge { bytes: 4097..4200, limit: 4096 }]), "{left_out:?}");
    let body = frames(buffer).remove(0).body;
    let range = body.as_ptr_range();
    let decoded = decode_messages(body, 4096).unwrap();
    assert_eq!(decoded, [piece(1, 2, 2, 4000)]);
    let MessageBody::InstallSnapshotRequest(request) = &decoded[0].body else { panic!() };
    assert!(range.contains(&request.chunk.data.as_ptr()), "it shares the frame's memory");
    assert_eq!(weight(&decoded[0]), 64 + 4000 + 32 + 8);
}

/// The append of [`one_of_each`] with something wrong.
fn spoiled(spoil: impl FnOnce(&mut rpc::AppendEntriesRequest)) -> Result<Message, DecodeError> {
    let (_, message) = one_of_each().remove(0);
    let mut message = to_wire(&message);
    let Some(wire::MessageBody::AppendEntriesRequest(request)) = &mut message.body else {
        panic!()
    };
    spoil(request);
    from_wire(message)
}

fn spoiled_members(spoil: impl FnOnce(&mut log::Membership)) -> Result<Message, DecodeError> {
    spoiled(|m| match &mut m.entries[2].payload {
        Some(log::EntryPayload::ConfigChange(membership)) => spoil(membership),
        other => panic!("{other:?}"),
    })
}

#[test]
fn invalid_requests_are_refused_in_words() {
    let cases = [
        (spoiled(|m| m.term = 0), "AppendEntriesRequest of term 0"),
        (spoiled(|m| m.prev_log_term = 0), "position 4@0 is of term 0 or index 0, not both"),
        (spoiled(|m| m.prev_log_index = 0), "position 0@1 is of term 0 or index 0, not both"),
        (spoiled(|m| m.prev_log_term = 4), "entry 4@4 after term 4, from a leader of term 3"),
        (spoiled(|m| m.prev_log_index = 5), "entry 5 follows position 5@1"),
        (spoiled(|m| m.entries[0].index = 0), "entry 0 follows position 4@1"),
        (spoiled(|m| drop(m.entries.remove(1))), "entry 7 follows position 5@2"),
        (spoiled(|m| m.entries[0].term = 0), "entry 5@0 after term 1, from a leader of term 3"),
        (spoiled(|m| m.entries[1].term = 1), "entry 6@1 after term 2, from a leader of term 3"),
        (spoiled(|m| m.entries[2].term = 4), "entry 7@4 after term 2, from a leader of term 3"),
        (spoiled(|m| m.entries[1].payload = None), "Entry without a known payload"),
        (
            spoiled_members(|m| m.voters.clear()),
            "the configuration of index 7: a membership needs at least one voter",
        ),
        (
            spoiled_members(|m| m.voters_outgoing = Some(log::Voters::default())),
            "the configuration of index 7: a membership needs at least one voter",
        ),
        (
            spoiled_members(|m| m.voters = vec![9]),
            "the configuration of index 7: voter 9 has no address among the members",
        ),
        (spoiled_members(|m| m.voters.push(1)), "the configuration of index 7 names node 1 twice"),
        (
            spoiled_members(|m| m.founders = vec![log::Founder::default(); 2]),
            "the configuration of index 7 names node 0 twice",
        ),
        (
            spoiled_members(|m| m.members[1].id = 1),
            "the configuration of index 7 names node 1 twice",
        ),
    ];
    for (result, words) in cases {
        assert_eq!(result.unwrap_err().to_string(), words);
    }
    let max = u64::MAX;
    let overflow = spoiled(|m| {
        m.prev_log_index = max;
        m.entries[0].index = max;
    });
    assert!(matches!(overflow, Err(DecodeError::NotContiguous { .. })));
}

/// The piece of a snapshot of [`one_of_each`] with something wrong.
fn spoiled_piece(
    spoil: impl FnOnce(&mut rpc::InstallSnapshotRequest),
) -> Result<Message, DecodeError> {
    let install = one_of_each().into_iter().find(|(name, _)| *name == "install");
    let mut message = to_wire(&install.unwrap().1);
    let Some(wire::MessageBody::InstallSnapshotRequest(request)) = &mut message.body else {
        panic!()
    };
    spoil(request);
    from_wire(message)
}

fn spoiled_snapshot(spoil: impl FnOnce(&mut log::Snapshot)) -> Result<Message, DecodeError> {
    spoiled_piece(|m| spoil(m.snapshot.as_mut().unwrap()))
}

fn spoiled_chunk(spoil: impl FnOnce(&mut log::SnapshotChunk)) -> Result<Message, DecodeError> {
    spoiled_piece(|m| spoil(m.chunk.as_mut().unwrap()))
}

#[test]
fn invalid_pieces_of_snapshots_are_refused_in_words() {
    let goal = |m: &mut log::Snapshot, spoil: fn(&mut log::Goal)| {
        let configuration = m.configuration.as_mut().unwrap();
        spoil(configuration.membership.as_mut().unwrap().goal.as_mut().unwrap());
    };
    let nothing = |m: &mut log::Snapshot| (m.last_included_term, m.last_included_index) = (0, 0);
    let cases = [
        (spoiled_piece(|m| m.term = 0), "InstallSnapshotRequest of term 0"),
        (spoiled_piece(|m| m.term = 1), "a snapshot up to 6@2 from a leader of term 1"),
        (spoiled_piece(|m| m.snapshot = None), "InstallSnapshotRequest without a known snapshot"),
        (spoiled_piece(|m| m.chunk = None), "InstallSnapshotRequest without a known chunk"),
        (spoiled_snapshot(nothing), "InstallSnapshotRequest of a snapshot without a last entry"),
        (
            spoiled_snapshot(|m| m.last_included_index = 0),
            "position 0@2 is of term 0 or index 0, not both",
        ),
        (spoiled_snapshot(|m| m.configuration = None), "Snapshot without a known configuration"),
        (
            spoiled_snapshot(|m| m.configuration.as_mut().unwrap().index = 7),
            "a snapshot up to 6@2 with a configuration of index 7",
        ),
        (
            spoiled_snapshot(|m| m.configuration.as_mut().unwrap().membership = None),
            "Configuration without a known membership",
        ),
        (
            spoiled_snapshot(|m| goal(m, |goal| goal.voters.clear())),
            "the configuration of index 6: a membership needs at least one voter",
        ),
        (
            spoiled_snapshot(|m| goal(m, |goal| goal.members.push(goal.members[0].clone()))),
            "the configuration of index 6 names node 1 twice",
        ),
        (
            spoiled_snapshot(|m| m.size = 304),
            "a piece of 5 bytes from 300 on in a snapshot of 304, last: true",
        ),
        (
            spoiled_snapshot(|m| m.size = 306),
            "a piece of 5 bytes from 300 on in a snapshot of 306, last: true",
        ),
        (
            spoiled_chunk(|m| (m.offset, m.done) = (u64::MAX, false)),
            "a piece of 5 bytes from 18446744073709551615 on in a snapshot of 305, last: false",
        ),
    ];
    for (result, words) in cases {
        assert_eq!(result.unwrap_err().to_string(), words);
    }
    // The question how much is there, and an empty snapshot.
    assert!(spoiled_chunk(|m| (m.offset, m.done, m.data) = (0, false, Bytes::new())).is_ok());
    let empty = spoiled_piece(|m| {
        m.snapshot.as_mut().unwrap().size = 0;
        m.chunk = Some(log::SnapshotChunk { done: true, ..Default::default() });
    });
    assert!(empty.is_ok());
}

#[test]
fn a_refusal_for_an_unknown_reason_is_a_refusal() {
    let decoded = |vote_granted, refusal| {
        let kind = rpc::VoteKind::Vote.into();
        let vote = rpc::VoteResponse { term: 1, kind, round: 1, vote_granted, refusal, disk: None };
        let body = Some(wire::MessageBody::VoteResponse(vote));
        let message = from_wire(wire::Message { group: 7, from: 1, to: 2, body });
        let MessageBody::VoteResponse(vote) = message.unwrap().body else { panic!() };
        assert_eq!(vote.vote_granted, vote_granted);
        vote.refusal
    };
    assert_eq!(decoded(false, Some(4)), Some(VoteRefusal::LogBehind));
    assert_eq!(decoded(false, Some(99)), None);
    assert_eq!(decoded(false, None), None);
    assert_eq!(decoded(true, Some(4)), None);
}

#[test]
fn invalid_answers_are_refused_in_words() {
    let with = |body| from_wire(wire::Message { group: 7, from: 1, to: 2, body }).unwrap_err();
    let vote = |kind, term, last_log_term| {
        let vote = rpc::VoteRequest { term, last_log_term, kind, ..Default::default() };
        with(Some(wire::MessageBody::VoteRequest(vote))).to_string()
    };
    assert_eq!(with(None).to_string(), "Message without a known body");
    assert_eq!(vote(0, 1, 0), "VoteRequest without a known kind");
    assert_eq!(vote(4, 1, 0), "VoteRequest without a known kind");
    assert_eq!(vote(1, 0, 0), "VoteRequest of term 0");
    assert_eq!(vote(1, 1, 1), "position 0@1 is of term 0 or index 0, not both");
    let none = rpc::AppendEntriesResponse { term: 1, ..Default::default() };
    let none = with(Some(wire::MessageBody::AppendEntriesResponse(none)));
    assert_eq!(none.to_string(), "AppendEntriesResponse without a known outcome");
    let install = |index| rpc::InstallSnapshotResponse {
        last_included_term: index,
        last_included_index: index,
        ..Default::default()
    };
    let none = with(Some(wire::MessageBody::InstallSnapshotResponse(install(1))));
    assert_eq!(none.to_string(), "InstallSnapshotResponse without a known outcome");
    let outcome = Some(rpc::InstallOutcome::Installed(rpc::Installed {}));
    let of_nothing = rpc::InstallSnapshotResponse { outcome, ..install(0) };
    let of_nothing = with(Some(wire::MessageBody::InstallSnapshotResponse(of_nothing)));
    let words = "InstallSnapshotResponse of a snapshot without a last entry";
    assert_eq!(of_nothing.to_string(), words);
    let no_term = with(Some(wire::MessageBody::TimeoutNowRequest(Default::default())));
    assert_eq!(no_term.to_string(), "TimeoutNowRequest of term 0");
    let no_term = with(Some(wire::MessageBody::ReadIndexRequest(Default::default())));
    assert_eq!(no_term.to_string(), "ReadIndexRequest of term 0");
    let read = rpc::ReadIndexRequest { term: 1, consistency: 3, ..Default::default() };
    let read = with(Some(wire::MessageBody::ReadIndexRequest(read)));
    assert_eq!(read.to_string(), "ReadIndexRequest without a known consistency");
    let none = decode_response(Bytes::new()).unwrap_err();
    assert_eq!(none.to_string(), "Response without a known result");
    let strange =
        wire::Response { id: 1, group: 7, result: Some(wire::ResponseResult::Unanswered(99)) };
    let strange = decode_response(strange.encode_to_vec().into()).unwrap();
    assert_eq!(strange.result, Err(wire::Unanswered::Unspecified));
}
