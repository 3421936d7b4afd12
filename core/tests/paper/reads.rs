//! diss. §6.4 and §8: linearizable reads without log entries.

use actix_raft_core::effect::{Effect, ReadError};
use actix_raft_core::event::Event;
use actix_raft_core::types::NodeId;

use crate::support::cluster::Cluster;
use crate::support::words::*;

/// A leader of three whose first entry is committed everywhere.
fn leader_of_three() -> Cluster {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.heartbeat(1);
    cluster.settle();
    cluster
}

/// diss. §6.4: the way of a read.
#[test]
fn a_read_is_ready_after_one_round_with_a_majority() {
    let mut cluster = leader_of_three();
    let read = cluster.read(1);
    assert!(!cluster.is_ready(1, read));
    let round = cluster.sent();
    assert_eq!(round.iter().map(|(to, _)| *to).collect::<Vec<_>>(), [2, 3]);
    cluster.hear(2, 1, round[0].1.clone());
    cluster.settle();
    assert!(cluster.is_ready(1, read), "two of three");
    cluster.settle();
    let answers = cluster.said(1).into_iter().filter(|e| *e == Effect::ReadReady { id: read });
    assert_eq!(answers.count(), 1);
}

/// §8 "a leader must have the latest information on which entries are committed [...] at the start
/// of its term, it may not know which those are". B 50
#[test]
fn a_read_waits_until_an_entry_of_the_leaders_term_is_committed() {
    let log: (u64, &[u64]) = (2, &[1, 2]);
    let mut cluster = Cluster::of_logs(&[log; 3]);
    cluster.wait(2 * T);
    cluster.timeout(1);
    while cluster.leaders().is_empty() {
        assert!(cluster.deliver_one());
    }
    let held = cluster.sent();
    let read = cluster.read(1);
    assert_eq!(cluster.sent(), [], "no round is begun for it yet");
    cluster.heartbeat(1);
    cluster.sent();
    // A majority follows this leader, but what it has committed is not known.
    [2, 3].into_iter().for_each(|id| cluster.hear(1, id, matched(3, 1, 2)));
    assert!(!cluster.is_ready(1, read));
    drop(held);
    cluster.heartbeat(1);
    cluster.settle();
    assert!(cluster.is_ready(1, read));
    assert_eq!(cluster.applied(1), 3);
}

/// diss. §6.4 "issues a new round of heartbeats and waits for their acknowledgments from a
/// majority". B 51
#[test]
fn answers_to_rounds_begun_before_a_read_arrived_do_not_confirm_it() {
    let mut cluster = leader_of_three();
    cluster.heartbeat(1);
    let earlier = cluster.sent();
    let rounds: Vec<u64> =
        earlier.iter().filter_map(|(_, body)| Some(append_of(body)?.round)).collect();
    let read = cluster.read(1);
    let fresh = cluster.sent();
    assert!(append_of(&fresh[0].1).unwrap().round > rounds[0]);
    for (to, body) in &earlier {
        cluster.hear(*to, 1, body.clone());
    }
    cluster.settle();
    assert!(!cluster.is_ready(1, read), "late answers to an earlier round");
    [2, 2, 2].into_iter().for_each(|id| cluster.hear(1, id, matched(1, rounds[0], 1)));
    assert!(!cluster.is_ready(1, read));
    cluster.hear(2, 1, fresh[0].1.clone());
    cluster.settle();
    assert!(cluster.is_ready(1, read));
}

/// B 51: one follower, however often it answers, is one follower.
#[test]
fn the_same_answer_twice_is_not_a_majority() {
    let mut cluster = Cluster::new(5);
    cluster.elect(1);
    cluster.heartbeat(1);
    cluster.settle();
    let read = cluster.read(1);
    let round = append_of(&cluster.sent()[0].1).unwrap().round;
    (0..3).for_each(|_| cluster.hear(1, 2, matched(1, round, 1)));
    cluster.hear(1, 9, matched(1, round, 1));
    assert!(!cluster.is_ready(1, read), "two of five");
    cluster.hear(1, 3, matched(1, round, 1));
    assert!(cluster.is_ready(1, read), "three of five");
}

/// A refusal is an answer of a follower, too. B 51
#[test]
fn a_follower_whose_log_differs_confirms_that_it_follows() {
    let mut cluster = leader_of_three();
    let read = cluster.read(1);
    let round = append_of(&cluster.sent()[0].1).unwrap().round;
    cluster.hear(1, 2, conflict(1, round, 9, at(0, 0)));
    assert!(cluster.is_ready(1, read));
}

/// B 51: a lost round is made up for by the next heartbeat.
#[test]
fn a_read_whose_round_was_lost_is_confirmed_by_a_later_one() {
    let mut cluster = leader_of_three();
    let read = cluster.read(1);
    cluster.sent();
    cluster.heartbeat(1);
    cluster.settle();
    assert!(cluster.is_ready(1, read));
}

/// diss. §6.4 "waits for its state machine to advance at least as far as the readIndex". B 52
#[test]
fn a_read_waits_until_everything_committed_before_it_is_applied() {
    let mut cluster = leader_of_three();
    cluster.server(1).prompt.applies = false;
    cluster.propose(1, "x").unwrap();
    cluster.settle();
    assert_eq!((cluster.commit(1), cluster.applied(1)), (2, 1));
    let read = cluster.read(1);
    cluster.settle();
    assert!(!cluster.is_ready(1, read));
    let applied = cluster.server(1).apply().unwrap();
    cluster.step(1, vec![applied]);
    assert!(cluster.is_ready(1, read));
}

/// B 52: for what comes later it does not wait.
#[test]
fn a_read_does_not_wait_for_what_is_committed_after_it() {
    let mut cluster = leader_of_three();
    cluster.server(1).prompt.applies = false;
    let read = cluster.read(1);
    cluster.propose(1, "x").unwrap();
    cluster.settle();
    assert!(cluster.is_ready(1, read));
    assert_eq!(cluster.applied(1), 1);
}

/// B 52: no answer of the old leader can be believed any more.
#[test]
fn reads_that_wait_are_refused_when_leadership_is_lost() {
    let mut cluster = leader_of_three();
    let waiting = cluster.read(1);
    cluster.sent();
    cluster.hear(1, 2, append(5, at(9, 5), &[], 0));
    let refused = Effect::ReadRefused {
        id: waiting,
        error: ReadError::NotLeader { leader: Some(NodeId(2)) },
    };
    let said = cluster.said(1);
    assert_eq!(said.iter().filter(|effect| **effect == refused).count(), 1, "{said:?}");
    cluster.hear(1, 2, matched(1, 99, 1));
    cluster.hear(1, 3, matched(5, 99, 1));
    assert!(!cluster.is_ready(1, waiting));
}

/// B 50, 52: also those that wait for the first commit.
#[test]
fn reads_that_no_round_was_begun_for_are_refused_when_leadership_is_lost() {
    let mut cluster = Cluster::new(3);
    cluster.timeout(1);
    while cluster.leaders().is_empty() {
        assert!(cluster.deliver_one());
    }
    let read = cluster.read(1);
    cluster.isolate(1);
    cluster.run(3 * T);
    assert!(cluster.is_refused(1, read) && !cluster.is_ready(1, read));
}

/// §8: a deposed leader "could return stale information". B 51, 53
#[test]
fn a_deposed_leader_that_does_not_know_it_answers_no_read() {
    let mut cluster = leader_of_three();
    cluster.isolate(1);
    cluster.elect(2);
    cluster.propose(2, "x").unwrap();
    cluster.settle();
    assert_eq!(cluster.leaders(), [1, 2]);
    let read = cluster.read(1);
    cluster.heal();
    cluster.step(1, vec![Event::Timeout]);
    cluster.settle();
    cluster.heartbeat(2);
    cluster.settle();
    assert!(!cluster.is_ready(1, read) && cluster.is_refused(1, read));
}

/// B 54
#[test]
fn a_single_voter_answers_reads_at_once() {
    let mut cluster = Cluster::new(1);
    cluster.elect(1);
    cluster.propose(1, "x").unwrap();
    let read = cluster.read(1);
    assert!(cluster.is_ready(1, read));
}

/// The round goes beside the entries, so that a slow disk does not hold reads up.
#[test]
fn followers_confirm_reads_while_their_disks_are_busy() {
    let mut cluster = leader_of_three();
    (2..=3).for_each(|id| cluster.server(id).prompt.saves = false);
    cluster.propose(1, "x").unwrap();
    cluster.settle();
    let read = cluster.read(1);
    cluster.settle();
    assert!(cluster.is_ready(1, read));
    assert_eq!(cluster.commit(1), 1);
}
