//! diss. §9.6: a server asks whether it could win before it enters a new term.

use actix_raft_core::message::VoteKind;
use actix_raft_core::status::RoleName;
use actix_raft_core::types::{NodeId, Term};

use crate::support::cluster::Cluster;
use crate::support::words::*;

/// B 17
#[test]
fn a_pre_vote_leaves_term_vote_and_disk_alone_on_both_sides() {
    let log: (u64, &[u64]) = (3, &[1, 3]);
    let mut cluster = Cluster::of_logs(&[log; 3]);
    let disk = cluster.server(1).disk.durable.clone();
    (1..=3).for_each(|id| cluster.server(id).prompt.saves = false);
    cluster.isolate(3);
    cluster.timeout(1);
    assert_eq!(cluster.role(1), RoleName::PreCandidate);
    let requests = cluster.take(|m| m.to.0 == 2);
    requests.into_iter().for_each(|message| cluster.bring(message));
    let yes = cluster.sent_to(1);
    assert!(yes.len() == 1 && is_yes(&yes[0]));
    for id in 1..=2 {
        assert!(cluster.server(id).disk.is_idle(), "nothing was written");
        assert_eq!(cluster.server(id).disk.live, disk);
        assert_eq!((cluster.term(id), cluster.status(id).voted_for), (3, None));
    }
    assert_eq!(yes[0].term(), Term(4), "the term that was asked for");
    cluster.hear(1, 2, yes[0].clone());
    assert_eq!((cluster.role(1), cluster.term(1)), (RoleName::Candidate, 4), "now it stands");
}

/// B 18: who hears a leader wants no other.
#[test]
fn a_pre_vote_is_refused_while_a_leader_was_heard_within_the_shortest_timeout() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    let last = cluster.status(2).last_log;
    cluster.wait(T - std::time::Duration::from_nanos(1));
    cluster.hear(2, 3, ask_pre_vote(2, last));
    assert!(is_no(&cluster.sent()[0].1));
    cluster.wait(std::time::Duration::from_nanos(1));
    cluster.hear(2, 3, ask_pre_vote(2, last));
    assert!(is_yes(&cluster.sent()[0].1));
}

/// B 18: the leader hears itself.
#[test]
fn a_leader_refuses_pre_votes() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.wait(10 * T);
    cluster.hear(1, 3, ask_pre_vote(2, at(9, 1)));
    assert!(is_no(&cluster.sent()[0].1));
}

/// B 19: a leader that lost its office and asks again is not disturbed by itself.
#[test]
fn a_pre_vote_is_granted_to_the_leader_one_follows_and_is_no_contact_with_it() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    let last = cluster.status(2).last_log;
    cluster.wait(T / 2);
    cluster.hear(2, 1, ask_pre_vote(2, last));
    assert!(is_yes(&cluster.sent()[0].1));
    // Had that counted as contact, the next one would be refused.
    cluster.wait(T / 2);
    cluster.hear(2, 3, ask_pre_vote(2, last));
    assert!(is_yes(&cluster.sent()[0].1));
}

/// B 20
#[test]
fn answers_to_different_pre_votes_are_not_mixed() {
    let mut cluster = Cluster::new(5);
    let ask = |cluster: &mut Cluster| {
        cluster.timeout(1);
        vote_request_of(&cluster.sent()[0].1).expect("a request")
    };
    let (first, second) = (ask(&mut cluster), ask(&mut cluster));
    assert_eq!((first.kind, first.term), (VoteKind::PreVote, second.term));
    cluster.hear(1, 2, answer(&first, true));
    cluster.hear(1, 3, answer(&first, true));
    cluster.hear(1, 4, answer(&second, true));
    assert_eq!(cluster.role(1), RoleName::PreCandidate, "one yes to this pre-vote");
    cluster.hear(1, 5, answer(&second, true));
    assert_eq!(cluster.role(1), RoleName::Candidate);
}

/// B 20: a pre-candidate has given its leader up.
#[test]
fn a_pre_candidate_follows_nobody() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.isolate(2);
    cluster.timeout(2);
    assert_eq!((cluster.role(2), cluster.status(2).leader), (RoleName::PreCandidate, None));
}

/// diss. §9.6, the reason for all this. B 21
#[test]
fn a_server_that_was_cut_off_disturbs_nobody_when_it_returns() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.isolate(3);
    cluster.run(20 * T);
    assert_eq!((cluster.role(3), cluster.term(3)), (RoleName::PreCandidate, 1));
    cluster.heal();
    cluster.run(5 * T);
    assert_eq!((cluster.leaders(), cluster.term(1)), (vec![1], 1));
    assert_eq!(cluster.status(3).leader, Some(NodeId(1)));
}

/// B 21: it sends and hears nothing, so it asks for ever.
#[test]
fn a_server_that_hears_nobody_does_not_depose_the_leader_it_can_talk_to() {
    for pre_vote in [true, false] {
        let mut cluster = Cluster::with(3, |config| config.pre_vote = pre_vote);
        cluster.elect(1);
        cluster.cut(1, 3);
        cluster.cut(2, 3);
        cluster.run(20 * T);
        let term = cluster.term(1);
        assert_eq!((cluster.leaders(), term), (vec![1], 1), "pre_vote={pre_vote}");
        assert!(cluster.propose(1, "x").is_ok());
        cluster.settle();
        assert_eq!(cluster.commit(1), 2);
    }
}

/// B 22: server 1 asks for pre-votes and the others do not, and the other way round.
#[test]
fn a_cluster_of_which_some_ask_for_pre_votes_elects_a_leader() {
    for with in [1, 2, 3] {
        let mut cluster = Cluster::with(3, |config| config.pre_vote = config.seed == with);
        cluster.run(8 * T);
        let leaders = cluster.leaders();
        assert_eq!(leaders.len(), 1);
        cluster.isolate(leaders[0]);
        cluster.run(12 * T);
        let leaders: Vec<u64> = cluster.leaders();
        assert_eq!(leaders.len(), 1, "the other two have elected one of them");
    }
}

/// B 22: its term refuses the others' requests, its log loses its own.
#[test]
fn a_later_term_with_an_older_log_does_not_keep_a_cluster_from_electing() {
    let (full, short): (&[u64], &[u64]) = (&[1, 2, 2], &[1]);
    let mut cluster = Cluster::of_logs(&[(2, full), (9, short), (2, full)]);
    cluster.crash(3);
    cluster.run(12 * T);
    assert_eq!(cluster.leaders(), [1]);
    assert!(cluster.term(1) > 9);
    assert_eq!(cluster.log(1), cluster.log(2));
}
