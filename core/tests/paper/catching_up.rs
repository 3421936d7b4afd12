//! §5.3: a leader finds the point where a follower's log agrees with its own, and makes the rest
//! equal.

use actix_raft_core::event::Event;
use actix_raft_core::types::{Index, LogPosition, NodeId};

use crate::support::cluster::Cluster;
use crate::support::words::*;

/// A leader of three in term 2 with entries 1 to 3 everywhere, and nothing under way.
fn leader_of_three() -> Cluster {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.propose(1, "a").unwrap();
    cluster.propose(1, "b").unwrap();
    cluster.settle();
    cluster.heartbeat(1);
    cluster.settle();
    assert_eq!((cluster.commit(2), cluster.log(3)), (3, vec![1, 1, 1]));
    cluster
}

/// Where the next request to server 2 begins.
fn next_prev(cluster: &mut Cluster) -> LogPosition {
    cluster.sent();
    cluster.heartbeat(1);
    let sent = cluster.sent_to(2);
    append_of(&sent[0]).expect("a heartbeat").prev_log
}

/// §5.3, Figure 7: "a follower may be missing entries (a-b), may have extra uncommitted entries
/// (c-d), or both (e-f)". B 39
#[test]
fn the_six_followers_of_figure_7_end_up_with_the_leaders_log() {
    let leader: &[u64] = &[1, 1, 1, 4, 4, 5, 5, 6, 6, 6];
    let followers: [&[u64]; 6] = [
        &[1, 1, 1, 4, 4, 5, 5, 6, 6],
        &[1, 1, 1, 4],
        &[1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6],
        &[1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7],
        &[1, 1, 1, 4, 4, 4, 4],
        &[1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3],
    ];
    let logs: Vec<(u64, &[u64])> =
        [leader].into_iter().chain(followers).map(|log| (7, log)).collect();
    let mut cluster = Cluster::of_logs(&logs);
    cluster.elect(1);
    cluster.heartbeat(1);
    cluster.settle();
    let expected = [leader, &[8]].concat();
    for id in 1..=7 {
        assert_eq!(cluster.log(id), expected, "server {id}");
        assert_eq!(cluster.server(id).disk.durable.terms(), expected);
        assert_eq!((cluster.commit(id), cluster.applied(id)), (11, 11));
        assert_eq!(cluster.servers[id as usize - 1].applied, cluster.servers[0].applied);
    }
}

/// How many requests it takes until server 2's log is server 1's.
fn requests_until_equal(leader: &[u64], follower: &[u64]) -> usize {
    let term = 1000;
    let mut cluster = Cluster::of_logs(&[(term, leader), (term, follower), (term, leader)]);
    cluster.isolate(2);
    cluster.elect(1);
    cluster.heal();
    cluster.heartbeat(1);
    let mut requests = 0;
    while cluster.log(2) != cluster.log(1) {
        requests += cluster.network.iter().filter(|m| m.to.0 == 2 && is_append(&m.body)).count();
        cluster.deliver_round();
        assert!(!cluster.network.is_empty(), "no progress without a timeout");
    }
    requests
}

/// §5.3, end: "with this optimization, one AppendEntries RPC will be required for each term with
/// conflicting entries, rather than one RPC per entry". B 38
#[test]
fn a_follower_that_diverged_for_many_terms_is_passed_over_in_few_round_trips() {
    let many: Vec<u64> = (2..=61).flat_map(|term| [term; 3]).collect();
    let long = |term: u64| vec![term; 180];
    let with_one = |tail: Vec<u64>| [vec![1], tail].concat();
    // The follower has sixty terms that the leader never heard of.
    let passed = requests_until_equal(&with_one(long(500)), &with_one(many.clone()));
    assert!(passed <= 6, "{passed} requests past the follower's terms");
    // The leader has sixty terms that the follower never heard of.
    let passed = requests_until_equal(&with_one(many.clone()), &with_one(long(70)));
    assert!(passed <= 6, "{passed} requests past the leader's terms");
    let passed = requests_until_equal(&with_one(many.clone()), &[1]);
    assert!(passed <= 6, "{passed} requests to a log of one entry");
    // Both have terms that the other has not, by turns: one request for each of the leader's.
    let odd: Vec<u64> = (1..=60).flat_map(|n| [2 * n + 1; 3]).collect();
    let even: Vec<u64> = (1..=60).flat_map(|n| [2 * n; 3]).collect();
    let passed = requests_until_equal(&with_one(odd), &with_one(even));
    assert!(passed <= 66, "{passed} requests past sixty terms of three entries on both sides");
}

/// B 37: "reordered messages move nothing back".
#[test]
fn old_and_doubled_answers_move_nothing_back() {
    let mut cluster = leader_of_three();
    assert_eq!(next_prev(&mut cluster), at(3, 1));
    for old in [
        matched(1, 1, 1),
        matched(1, 1, 0),
        matched(1, 1, 3),
        matched(1, 1, 3),
        conflict(1, 1, 2, at(1, 1)),
        conflict(1, 1, 3, at(0, 0)),
        conflict(1, 1, 1, at(0, 0)),
        conflict(1, 0, 0, at(0, 0)),
    ] {
        cluster.hear(1, 2, old.clone());
        assert_eq!(next_prev(&mut cluster), at(3, 1), "after {old}");
        assert_eq!(cluster.commit(1), 3);
    }
}

/// B 37: a follower's refusal of a request that another answer has overtaken.
#[test]
fn a_refusal_that_was_overtaken_by_an_acknowledgement_is_ignored() {
    let mut cluster = leader_of_three();
    cluster.propose(1, "c").unwrap();
    let late = conflict(1, 1, 3, at(2, 1));
    cluster.settle();
    cluster.hear(1, 2, late);
    assert_eq!(next_prev(&mut cluster), at(4, 1));
}

/// B 37, 45: what was acknowledged in another term is no acknowledgement.
#[test]
fn acknowledgements_of_an_earlier_term_count_for_nothing() {
    let mut cluster = leader_of_three();
    cluster.isolate(1);
    cluster.elect(2);
    let term = cluster.term(2);
    cluster.isolate(3);
    cluster.propose(2, "x").unwrap();
    let last = cluster.status(2).last_log.index.0;
    let before = cluster.commit(2);
    cluster.hear(2, 1, matched(term - 1, 0, last));
    assert_eq!(cluster.commit(2), before);
    cluster.hear(2, 1, matched(term, 0, last));
    assert_eq!(cluster.commit(2), last);
}

/// §5.3 "the leader retries AppendEntries RPCs indefinitely": nothing but heartbeats is needed to
/// make up for everything that was lost. B 40, 82
#[test]
fn all_lost_requests_are_made_up_for_after_a_heartbeat() {
    let mut cluster = Cluster::with(3, |config| config.max_in_flight_appends = 2);
    cluster.elect(1);
    (0..10).for_each(|n| {
        cluster.propose(1, &n.to_string()).unwrap();
    });
    cluster.sent_to(2);
    cluster.settle();
    assert_eq!(cluster.log(2).len(), 1, "everything to server 2 was lost");
    cluster.heartbeat(1);
    cluster.settle();
    assert_eq!(cluster.log(2), cluster.log(1));
    cluster.propose(1, "fresh").unwrap();
    cluster.settle();
    assert_eq!(cluster.log(2).len(), 12, "entries flow again without a heartbeat");
}

/// B 82: the same when all answers were lost.
#[test]
fn all_lost_answers_are_made_up_for_after_a_heartbeat() {
    let mut cluster = Cluster::with(3, |config| config.max_in_flight_appends = 2);
    cluster.elect(1);
    (0..10).for_each(|n| {
        cluster.propose(1, &n.to_string()).unwrap();
    });
    cluster.cut(2, 1);
    cluster.cut(3, 1);
    cluster.settle();
    assert_eq!(cluster.commit(1), 1);
    cluster.heal();
    cluster.heartbeat(1);
    cluster.settle();
    assert_eq!((cluster.commit(1), cluster.log(2).len()), (11, 11));
}

/// B 40, 82: the driver says that a link broke.
#[test]
fn a_follower_behind_a_broken_link_is_probed_until_it_answers() {
    let mut cluster = leader_of_three();
    cluster.propose(1, "lost").unwrap();
    cluster.sent_to(2);
    cluster.step(1, vec![Event::Unreachable { peer: NodeId(2) }]);
    cluster.propose(1, "later").unwrap();
    assert_eq!(cluster.sent_to(2).len(), 0, "nothing is sent into the void");
    cluster.heartbeat(1);
    let probes = cluster.network.iter().filter(|m| m.to.0 == 2 && is_append(&m.body));
    assert_eq!(probes.count(), 2, "a heartbeat and one probe");
    cluster.settle();
    assert_eq!(cluster.log(2).len(), 5);
}

/// §5.3 "if followers crash or run slowly, or if network packets are lost": one that is down does
/// not hold the others up. B 83
#[test]
fn a_dead_follower_does_not_hold_up_the_majority() {
    let mut cluster = leader_of_three();
    cluster.crash(3);
    for n in 0..20 {
        cluster.propose(1, &n.to_string()).unwrap();
        cluster.settle();
        assert_eq!(cluster.commit(1), 4 + n);
    }
    cluster.restart(3);
    cluster.heartbeat(1);
    cluster.settle();
    assert_eq!(cluster.log(3), cluster.log(1));
}

/// B 42: no new write is needed to learn of a commit.
#[test]
fn a_follower_learns_of_a_commit_from_a_heartbeat() {
    let mut cluster = leader_of_three();
    cluster.propose(1, "c").unwrap();
    cluster.settle();
    assert_eq!((cluster.commit(1), cluster.commit(2)), (4, 3));
    cluster.heartbeat(1);
    cluster.settle();
    assert_eq!((cluster.commit(2), cluster.applied(2)), (4, 4));
}

/// B 37: old requests that arrive after newer ones take nothing away.
#[test]
fn requests_in_any_order_give_the_same_log() {
    let mut cluster = leader_of_three();
    for n in 0..6 {
        cluster.propose(1, &n.to_string()).unwrap();
    }
    let mut held = cluster.take(|m| m.to.0 == 2);
    assert_eq!(held.len(), 6);
    held.reverse();
    for message in held.iter().chain(&held).cloned() {
        cluster.bring(message);
    }
    assert_eq!(cluster.log(2).len(), 5, "each time round, one of them fits");
    held.reverse();
    held.into_iter().for_each(|message| cluster.bring(message));
    assert_eq!(cluster.log(2), cluster.log(1));
    cluster.settle();
    assert_eq!(cluster.status(1).commit_index, Index(9));
}
