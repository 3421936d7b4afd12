//! diss. §4.2.3 and §6.2: who follows a leader stays with it, and a leader that nobody follows
//! steps down.

use std::time::Duration;

use actix_raft_core::effect::Effect;
use actix_raft_core::event::Event;
use actix_raft_core::status::RoleName;
use actix_raft_core::types::{NodeId, Term};

use crate::support::cluster::Cluster;
use crate::support::words::*;

/// diss. §4.2.3 "it does not update its term or grant its vote". B 18, 21
#[test]
fn a_follower_that_hears_its_leader_ignores_candidates() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    let before = cluster.status(2);
    cluster.wait(T - Duration::from_nanos(1));
    cluster.hear(2, 3, ask_vote(7, at(9, 1)));
    assert_eq!((cluster.status(2), cluster.sent()), (before, vec![]));
    cluster.wait(Duration::from_nanos(1));
    cluster.hear(2, 3, ask_vote(7, at(9, 1)));
    assert_eq!(cluster.status(2).voted_for, Some(NodeId(3)));
    assert_eq!(cluster.term(2), 7);
}

/// diss. §4.2.3: the leader itself is not deposed by a server that it still leads. B 21
#[test]
fn a_leader_with_a_majority_ignores_candidates() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.hear(1, 3, ask_vote(7, at(9, 1)));
    assert_eq!((cluster.role(1), cluster.term(1)), (RoleName::Leader, 1));
}

/// Without check-quorum the paper's rule holds as it is written. §5.1
#[test]
fn without_check_quorum_a_later_term_deposes_any_leader() {
    let mut cluster = Cluster::with(3, |config| config.check_quorum = false);
    cluster.elect(1);
    cluster.hear(1, 3, ask_vote(7, at(9, 1)));
    assert_eq!(
        (cluster.role(1), cluster.status(1).voted_for),
        (RoleName::Follower, Some(NodeId(3)))
    );
    assert!(cluster.said(1).contains(&Effect::LeadershipLost));
}

/// diss. §6.2 "a leader steps down if an election timeout elapses without a successful round of
/// heartbeats to a majority of its cluster". B 23
#[test]
fn a_leader_that_hears_no_majority_for_an_election_timeout_steps_down() {
    let mut cluster = Cluster::new(5);
    cluster.elect(1);
    (2..=4).for_each(|id| cluster.isolate(id));
    let elected = cluster.now;
    cluster.said(1);
    while cluster.role(1) == RoleName::Leader {
        cluster.timeout(1);
        cluster.settle();
    }
    assert_eq!(cluster.now.since(elected), T, "neither sooner nor later");
    assert_eq!((cluster.role(1), cluster.term(1)), (RoleName::Follower, 1));
    assert!(cluster.said(1).contains(&Effect::LeadershipLost));
}

/// B 23
#[test]
fn a_leader_that_hears_a_bare_majority_stays() {
    let mut cluster = Cluster::new(5);
    cluster.elect(1);
    (2..=3).for_each(|id| cluster.isolate(id));
    cluster.run(20 * T);
    assert_eq!((cluster.leaders(), cluster.term(1)), (vec![1], 1));
}

/// B 23: a response of an earlier term is no sign of being followed.
#[test]
fn old_answers_do_not_keep_a_leader_in_office() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.isolate(1);
    cluster.elect(2);
    let term = cluster.term(2);
    assert_eq!(term, 2);
    let elected = cluster.now;
    (1..=3).for_each(|id| cluster.isolate(id));
    while cluster.role(2) == RoleName::Leader {
        assert!(cluster.now.since(elected) <= T);
        cluster.hear(2, 3, matched(1, 1, 1));
        cluster.timeout(2);
    }
}

/// B 24: nobody follows it, nobody votes for it, and its term is ahead of all.
#[test]
fn a_stuck_candidate_of_a_later_term_is_freed() {
    let mut cluster = Cluster::with(3, |config| config.pre_vote = false);
    cluster.elect(1);
    cluster.isolate(3);
    for _ in 0..5 {
        cluster.timeout(3);
        // The others go on meanwhile.
        cluster.step(1, vec![Event::Timeout]);
        cluster.settle();
    }
    let stuck = cluster.term(3);
    assert!(stuck >= 5 && cluster.role(3) == RoleName::Candidate);
    cluster.heal();
    cluster.run(8 * T);
    let leaders = cluster.leaders();
    assert_eq!(leaders.len(), 1);
    assert!(cluster.term(leaders[0]) > stuck);
    assert!((1..=3).all(|id| cluster.status(id).leader == Some(NodeId(leaders[0]))));
}

/// B 21, 98: it is heard by all and hears nobody.
#[test]
fn a_leader_that_can_send_but_not_hear_gives_way_to_another() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.cut(2, 1);
    cluster.cut(3, 1);
    cluster.run(10 * T);
    let leaders = cluster.leaders();
    assert!(leaders == [2] || leaders == [3], "{leaders:?}");
    assert!(cluster.propose(leaders[0], "x").is_ok());
    cluster.settle();
    assert_eq!(cluster.commit(leaders[0]), cluster.status(leaders[0]).last_log.index.0);
}

/// B 98: it hears all and is heard by nobody.
#[test]
fn a_leader_that_can_hear_but_not_send_gives_way_to_another() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.cut(1, 2);
    cluster.cut(1, 3);
    cluster.run(10 * T);
    let leaders = cluster.leaders();
    assert!(leaders == [2] || leaders == [3], "{leaders:?}");
    assert_eq!(cluster.status(1).leader, Some(NodeId(leaders[0])));
}

/// B 98: 1 and 3 do not reach each other, for good; 2 reaches both.
#[test]
fn a_broken_link_between_two_servers_does_not_keep_the_third_from_being_served() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.cut(1, 3);
    cluster.cut(3, 1);
    cluster.run(20 * T);
    let leaders = cluster.leaders();
    assert_eq!(leaders.len(), 1);
    let term = cluster.term(leaders[0]);
    cluster.run(20 * T);
    assert_eq!((cluster.leaders(), Term(term)), (leaders, cluster.status(2).current_term));
}
