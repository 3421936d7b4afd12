//! What no correct server says: it is reported or ignored, changes nothing and stops nobody.

use std::sync::Arc;

use actix_raft_core::admin::RequestId;
use actix_raft_core::config::Lease;
use actix_raft_core::effect::Effect;
use actix_raft_core::entry::{Entry, EntryPayload};
use actix_raft_core::event::{Consistency, Event};
use actix_raft_core::message::{
    Message, MessageBody, ReadIndexRequest, ReadIndexResponse, TimeoutNowRequest, VoteKind,
    VoteRequest, VoteResponse,
};
use actix_raft_core::random::Random;
use actix_raft_core::status::{RoleName, Status};
use actix_raft_core::types::{DiskId, GroupId, Index, NodeId, Term, Time};

use crate::support::cluster::Cluster;
use crate::support::disk::Image;
use crate::support::words::*;

const MAX: u64 = u64::MAX;

/// Everything of a server that a message could change.
fn state(cluster: &mut Cluster, id: u64) -> (Status, Image, Option<Time>) {
    (cluster.status(id), cluster.server(id).disk.live.clone(), cluster.deadline(id))
}

fn violations(cluster: &mut Cluster, id: u64) -> usize {
    let said = cluster.said(id);
    said.iter().filter(|effect| matches!(effect, Effect::Violation { .. })).count()
}

fn assert_reported(cluster: &mut Cluster, from: u64, message: MessageBody) {
    cluster.said(1);
    cluster.sent();
    cluster.wait(T / 10);
    let before = state(cluster, 1);
    cluster.hear(1, from, message.clone());
    assert_eq!(state(cluster, 1), before, "{message}");
    assert_eq!(violations(cluster, 1), 1, "{message} is reported");
    assert_eq!(cluster.sent(), [], "{message} is not answered");
}

/// Server 1 follows server 2 in term 3 and has committed two of four entries.
fn follower() -> Cluster {
    let log: (u64, &[u64]) = (3, &[1, 2, 2, 3]);
    let mut cluster = Cluster::of_logs(&[log; 3]);
    cluster.hear(1, 2, append(3, at(4, 3), &[], 2));
    assert_eq!(cluster.commit(1), 2);
    cluster
}

/// Server 1 leads term 4 with five entries, of which all are committed.
fn leader() -> Cluster {
    let log: (u64, &[u64]) = (3, &[1, 2, 2, 3]);
    let mut cluster = Cluster::of_logs(&[log; 3]);
    cluster.elect(1);
    assert_eq!((cluster.term(1), cluster.commit(1)), (4, 5));
    cluster
}

fn entry(index: u64, term: u64) -> Entry {
    Entry { term: Term(term), index: Index(index), payload: EntryPayload::Blank }
}

/// Requests that no leader sends, of this term.
fn impossible_appends(term: u64) -> Vec<MessageBody> {
    let of = |prev, entries: &[Entry]| append_entries(term, prev, Arc::from(entries), 0, 1);
    vec![
        // Gaps and steps back.
        of(at(4, 3), &[entry(6, 3)]),
        of(at(4, 3), &[entry(4, 3)]),
        of(at(4, 3), &[entry(5, 3), entry(7, 3)]),
        of(at(4, 3), &[entry(5, 3), entry(5, 3)]),
        of(at(4, 3), &[entry(0, 3)]),
        // Falling terms, terms that do not exist, terms of the future.
        of(at(4, 3), &[entry(5, 2)]),
        of(at(1, 1), &[entry(2, 2), entry(3, 1)]),
        of(at(4, 3), &[entry(5, 0)]),
        of(at(4, 3), &[entry(5, term + 1)]),
        of(at(4, term + 1), &[]),
        of(at(0, 1), &[]),
        of(at(4, 0), &[]),
        // Numbers that are never reached.
        of(at(MAX, 3), &[]),
        of(at(MAX - 1, 3), &[entry(MAX, 3)]),
        of(at(4, MAX), &[]),
        of(at(4, 3), &[entry(5, MAX)]),
        // Committed entries overwritten.
        of(at(1, 1), &[entry(2, 1), entry(3, 2)]),
        of(at(1, 1), &[entry(2, 3)]),
        of(at(2, 1), &[]),
        of(at(2, 3), &[entry(3, 3)]),
    ]
}

/// B 32, 99
#[test]
fn requests_that_no_leader_sends_are_reported_and_change_nothing() {
    for message in impossible_appends(3) {
        let mut cluster = follower();
        assert_reported(&mut cluster, 2, message);
    }
}

/// B 32, 99: not even the term they name is believed.
#[test]
fn impossible_requests_of_a_later_term_make_nobody_enter_it() {
    for message in impossible_appends(6) {
        let mut cluster = follower();
        assert_reported(&mut cluster, 3, message.clone());
        // A candidate is not put off by them, either.
        cluster.timeout(1);
        assert_eq!(cluster.role(1), RoleName::PreCandidate);
        assert_reported(&mut cluster, 3, message);
    }
}

/// B 99
#[test]
fn messages_of_term_zero_are_reported() {
    for message in [append(0, at(0, 0), &[], 0), ask_vote(0, at(0, 0)), ask_pre_vote(0, at(0, 0))] {
        for image in [Image::default(), Image::of(&voters(1..=3), 0, &[])] {
            let mut cluster = Cluster::from_images(vec![image], |_| {});
            assert_reported(&mut cluster, 2, message.clone());
        }
    }
}

/// B 99: a term that leaves no room for the next ones would stop all elections, for good.
#[test]
fn messages_of_terms_that_no_election_led_to_change_nothing() {
    for term in [MAX, MAX - 1, MAX - 2, MAX / 2, (1 << 32) + 100] {
        for message in [
            append(term, at(4, 3), &[], 0),
            matched(term, 1, 4),
            conflict(term, 1, 4, at(0, 0)),
            ask_vote(term, at(4, 3)),
            ask_pre_vote(term, at(4, 3)),
            ask(VoteKind::Transfer, term, at(4, 3)),
            MessageBody::VoteResponse(VoteResponse {
                disk: DiskId::UNKNOWN,
                term: Term(term),
                kind: VoteKind::Vote,
                round: 0,
                vote_granted: false,
                refusal: None,
            }),
        ] {
            for mut cluster in [follower(), leader()] {
                cluster.wait(10 * T);
                assert_reported(&mut cluster, 2, message.clone());
                let term = cluster.term(1);
                cluster.run(8 * T);
                assert!(cluster.term(1) < term + 20 && cluster.leaders().len() == 1);
            }
        }
    }
}

/// §5.4.1: a log that ends in the candidate's own term, or where no log ends.
#[test]
fn votes_for_impossible_logs_are_reported() {
    for last in [at(9, 7), at(9, 8), at(0, 3), at(4, 0), at(MAX, 3), at(9, MAX)] {
        for kind in [VoteKind::Vote, VoteKind::PreVote, VoteKind::Transfer] {
            let mut cluster = follower();
            cluster.wait(T);
            assert_reported(&mut cluster, 3, ask(kind, 7, last));
        }
    }
}

/// §5.2 "at most one leader can be elected in a given term". B 99
#[test]
fn a_second_leader_in_a_term_is_reported() {
    assert_reported(&mut follower(), 3, append(3, at(4, 3), &[3], 4));
    assert_reported(&mut leader(), 3, append(4, at(5, 4), &[4], 6));
}

/// B 37, 99
#[test]
fn acknowledgements_of_what_was_never_sent_are_reported() {
    let mut cluster = leader();
    cluster.isolate(3);
    cluster.propose(1, "x").unwrap();
    for match_index in [7, 8, MAX - 1, MAX] {
        assert_reported(&mut cluster, 2, matched(4, 0, match_index));
    }
    assert_eq!(cluster.commit(1), 5);
}

/// B 51, 99: a round that has not begun confirms no read, and keeps no leader in office.
#[test]
fn answers_to_rounds_that_were_never_begun_are_reported() {
    for round in [50, MAX - 1, MAX] {
        let mut cluster = leader();
        let read = cluster.read(1);
        assert_reported(&mut cluster, 2, matched(4, round, 5));
        assert_reported(&mut cluster, 2, conflict(4, round, 5, at(0, 0)));
        assert!(!cluster.is_ready(1, read));
        let elected = cluster.now;
        while cluster.role(1) == RoleName::Leader {
            cluster.hear(1, 2, matched(4, round, 5));
            cluster.timeout(1);
            cluster.sent();
            assert!(cluster.now.since(elected) <= 2 * T, "nobody follows it");
        }
    }
}

/// B 99: hints are advice.
#[test]
fn a_refusal_with_any_hint_and_any_index_leads_to_no_impossible_request() {
    for rejected in [0, 1, 5, 6, MAX - 1, MAX] {
        for hint in [at(0, 0), at(0, 9), at(9, 0), at(MAX, 1), at(MAX, MAX), at(2, MAX)] {
            let mut cluster = leader();
            cluster.propose(1, "x").unwrap();
            cluster.sent();
            cluster.hear(1, 2, conflict(4, 1, rejected, hint));
            cluster.heartbeat(1);
            cluster.settle();
            assert_eq!(cluster.log(2), cluster.log(1), "{rejected} {hint}");
        }
    }
}

/// B 99
#[test]
fn messages_for_another_server_or_group_or_from_oneself_are_reported() {
    let body = append(9, at(4, 3), &[], 4);
    for (group, from, to) in [(0, 2, 3), (1, 2, 1), (0, 1, 1)] {
        let mut cluster = follower();
        let before = state(&mut cluster, 1);
        let (group, from, to) = (GroupId(group), NodeId(from), NodeId(to));
        let message = Message { group, from, to, body: body.clone() };
        cluster.step(1, vec![Event::Receive(message)]);
        assert_eq!(state(&mut cluster, 1), before);
        assert_eq!(violations(&mut cluster, 1), 1);
    }
}

/// Any message at all, near to what could be said and far from it.
fn garbage(random: &mut Random) -> MessageBody {
    let mut number = || match random.next_u64() % 10 {
        0 => MAX - random.next_u64() % 3,
        1 => random.next_u64(),
        _ => random.next_u64() % 9,
    };
    let (term, index, round) = (number() % 12, number(), number());
    let position = at(number(), number());
    match number() % 9 {
        6 => MessageBody::TimeoutNowRequest(TimeoutNowRequest { term: Term(term) }),
        7 => MessageBody::ReadIndexRequest(ReadIndexRequest {
            term: Term(term),
            id: round,
            consistency: [Consistency::Linearizable, Consistency::Lease][number() as usize % 2],
        }),
        8 => MessageBody::ReadIndexResponse(ReadIndexResponse {
            term: Term(term),
            id: round,
            read_index: Some(Index(index)),
        }),
        0 => matched(term, round, index),
        1 => conflict(term, round, index, position),
        2 => ask(
            [VoteKind::Vote, VoteKind::PreVote, VoteKind::Transfer][number() as usize % 3],
            term,
            position,
        ),
        3 => answer(
            &VoteRequest {
                disk: DiskId::UNKNOWN,
                term: Term(term),
                last_log: position,
                kind: [VoteKind::Vote, VoteKind::PreVote][number() as usize % 2],
                round,
            },
            number() % 2 == 0,
        ),
        _ => {
            let terms: Vec<u64> = (0..number() % 4).map(|_| number()).collect();
            append_round(term, at(number(), number()), &terms, index, round)
        }
    }
}

/// B 32, 99: a mad peer can do harm, for Raft trusts its peers; but no word of it stops a server,
/// and nothing committed is lost.
#[test]
fn no_message_stops_a_server_or_changes_what_it_has_committed() {
    for seed in 0..400 {
        let mut random = Random::new(seed);
        let log: (u64, &[u64]) = (3, &[1, 2, 2, 3]);
        let mut cluster = Cluster::of_logs_with(&[log; 3], |config| {
            config.pre_vote = seed % 2 == 0;
            config.check_quorum = seed % 3 == 0;
            config.recent_entries_bytes = 100;
            config.lease = (seed % 6 == 0).then_some(Lease { max_clock_drift_percent: 9 });
        });
        let mut committed: Vec<Entry> = Vec::new();
        for _ in 0..100 {
            let message = garbage(&mut random);
            let from = 2 + random.next_u64() % 3;
            match random.next_u64() % 10 {
                0 => cluster.wait(T),
                1 => cluster.step(1, vec![Event::Timeout]),
                2 => drop(cluster.propose(1, "x")),
                3 => drop(cluster.read(1)),
                4 => {
                    let (id, to) = (RequestId(random.next_u64()), None);
                    cluster.step(1, vec![Event::TransferLeadership { id, to }]);
                }
                _ => cluster.hear(1, from, message),
            }
            cluster.sent();
            let commit = cluster.commit(1) as usize;
            let log = &cluster.server(1).disk.live.entries;
            assert!(commit >= committed.len() && log[..committed.len()] == committed[..]);
            committed = log[..commit].to_vec();
        }
    }
}

/// Memory is bounded whatever peers ask while the disk hangs.
#[test]
fn a_flood_of_requests_to_a_server_whose_disk_hangs_is_forgotten_but_for_the_latest() {
    let mut cluster = Cluster::new(3);
    cluster.server(1).prompt.saves = false;
    cluster.hear(1, 2, ask_vote(1, at(0, 0)));
    for _ in 0..5000 {
        cluster.hear(1, 3, ask_pre_vote(1, at(0, 0)));
    }
    cluster.hear(1, 2, ask_vote(1, at(0, 0)));
    assert_eq!(cluster.sent(), [], "nothing is said before the vote is on disk");
    let saved = cluster.server(1).saved().unwrap();
    cluster.step(1, vec![saved]);
    let answers = cluster.sent();
    assert!((1..=1024).contains(&answers.len()), "{} answers", answers.len());
    assert!(answers.last().is_some_and(|(to, body)| *to == 2 && is_yes(body)), "the vote is told");
}
