//! §5.2 and §5.4.1: voting, from the side of those who are asked.

use actix_raft_core::message::MessageBody;
use actix_raft_core::status::RoleName;
use actix_raft_core::types::{NodeId, Term};

use crate::support::cluster::{Cluster, receive};
use crate::support::disk::Image;
use crate::support::words::*;

fn grants(cluster: &mut Cluster, from: u64, request: MessageBody) -> bool {
    cluster.sent();
    cluster.hear(1, from, request);
    let answers = cluster.sent();
    assert_eq!(answers.len(), 1, "a vote is granted or refused");
    assert!(is_yes(&answers[0].1) || is_no(&answers[0].1));
    assert_eq!(answers[0].0, from);
    is_yes(&answers[0].1)
}

/// §5.2 "each server will vote for at most one candidate in a given term, on a
/// first-come-first-served basis". B 4
#[test]
fn a_server_votes_once_in_a_term_and_says_the_same_to_the_same_candidate_again() {
    let mut cluster = Cluster::new(3);
    assert!(grants(&mut cluster, 2, ask_vote(1, at(0, 0))));
    assert!(!grants(&mut cluster, 3, ask_vote(1, at(0, 0))));
    assert!(grants(&mut cluster, 2, ask_vote(1, at(0, 0))));
    assert!(grants(&mut cluster, 3, ask_vote(2, at(0, 0))), "a new term, a new vote");
    assert!(!grants(&mut cluster, 2, ask_vote(2, at(0, 0))));
}

/// Figure 2, "persistent state"; §5.1. B 4, 6
#[test]
fn a_vote_survives_a_restart() {
    let mut cluster = Cluster::new(3);
    assert!(grants(&mut cluster, 2, ask_vote(1, at(0, 0))));
    cluster.crash(1);
    cluster.restart(1);
    assert!(!grants(&mut cluster, 3, ask_vote(1, at(0, 0))));
    assert!(grants(&mut cluster, 2, ask_vote(1, at(0, 0))));
}

/// B 6
#[test]
fn a_candidate_that_steps_down_in_its_term_has_still_voted_for_itself() {
    let mut cluster = Cluster::with(3, |config| config.pre_vote = false);
    cluster.timeout(1);
    cluster.hear(1, 2, append(1, at(0, 0), &[], 0));
    assert_eq!(cluster.role(1), RoleName::Follower);
    cluster.wait(2 * T);
    assert!(!grants(&mut cluster, 3, ask_vote(1, at(0, 0))));
}

/// B 6: standing again asks for pre-votes in the term of the vote.
#[test]
fn a_pre_candidate_keeps_the_vote_that_it_gave_in_its_term() {
    let mut cluster = Cluster::new(3);
    assert!(grants(&mut cluster, 2, ask_vote(1, at(0, 0))));
    cluster.timeout(1);
    assert_eq!(cluster.role(1), RoleName::PreCandidate);
    assert!(!grants(&mut cluster, 3, ask_vote(1, at(0, 0))));
    assert_eq!(cluster.status(1).voted_for, Some(NodeId(2)));
}

/// §5.4.1 "if the logs have last entries with different terms, then the log with the later term is
/// more up-to-date. If the logs end with the same term, then whichever log is longer is more
/// up-to-date"; "the voter denies its vote if its own log is more up-to-date". B 5
#[test]
fn a_vote_is_given_to_a_log_that_is_at_least_as_up_to_date() {
    let table = [
        (at(0, 0), &[][..], true),
        (at(1, 1), &[1], true),
        (at(2, 1), &[1], true),
        (at(1, 1), &[1, 1], false),
        (at(1, 2), &[1, 1, 1], true),
        (at(9, 1), &[1, 2], false),
        (at(2, 3), &[1, 3, 3], false),
        (at(3, 3), &[1, 3, 3], true),
        (at(3, 2), &[1, 3], false),
        (at(0, 0), &[1], false),
    ];
    for (candidate, voter, expected) in table {
        for kind in [ask_vote as fn(u64, _) -> MessageBody, ask_pre_vote] {
            let mut cluster = Cluster::of_logs(&[(3, voter), (3, &[]), (3, &[])]);
            let granted = grants(&mut cluster, 2, kind(4, candidate));
            assert_eq!(granted, expected, "{candidate} asks {voter:?}");
        }
    }
}

/// The comparison is with the whole log, whether it is on disk or not: what was acknowledged to
/// nobody may be, a moment later. B 5
#[test]
fn entries_that_are_not_on_disk_yet_count_in_the_comparison() {
    let mut cluster = Cluster::of_logs(&[(1, &[1]), (1, &[1]), (1, &[1])]);
    cluster.hear(1, 2, append(1, at(1, 1), &[], 0));
    cluster.server(1).prompt.saves = false;
    cluster.hear(1, 2, append(1, at(1, 1), &[1, 1], 0));
    cluster.wait(2 * T);
    cluster.hear(1, 3, ask_vote(2, at(2, 1)));
    assert_eq!((cluster.status(1).voted_for, cluster.term(1)), (None, 2));
}

/// Figure 2 "updated on stable storage before responding to RPCs". B 7
#[test]
fn a_vote_leaves_the_server_only_when_it_is_durable() {
    let mut cluster = Cluster::new(3);
    cluster.server(1).prompt.saves = false;
    cluster.hear(1, 2, ask_vote(1, at(0, 0)));
    assert_eq!(cluster.sent(), []);
    let saved = cluster.server(1).saved().unwrap();
    assert_eq!(cluster.server(1).disk.durable.hard_state.voted_for, Some(NodeId(2)));
    assert_eq!(cluster.server(1).disk.durable.hard_state.current_term, Term(1));
    cluster.step(1, vec![saved]);
    assert!(is_yes(&cluster.sent()[0].1));
}

/// B 7: a refusal tells a term, too.
#[test]
fn a_refusal_of_a_later_term_leaves_only_when_that_term_is_durable() {
    let mut cluster = Cluster::of_logs(&[(1, &[1]), (1, &[1]), (1, &[1])]);
    cluster.server(1).prompt.saves = false;
    cluster.hear(1, 2, ask_vote(5, at(0, 0)));
    cluster.hear(1, 3, append(4, at(0, 0), &[], 0));
    assert_eq!(cluster.sent(), []);
    let saved = cluster.server(1).saved().unwrap();
    cluster.step(1, vec![saved]);
    let terms: Vec<_> = cluster.sent().iter().map(|(to, body)| (*to, body.term())).collect();
    assert_eq!(terms, [(2, Term(5)), (3, Term(5))]);
}

/// B 7: what was never durable was never said, so it may be forgotten.
#[test]
fn a_vote_lost_in_a_crash_was_never_given() {
    let mut cluster = Cluster::new(3);
    cluster.server(1).prompt.saves = false;
    cluster.hear(1, 2, ask_vote(1, at(0, 0)));
    cluster.crash(1);
    cluster.restart(1);
    cluster.server(1).prompt.saves = true;
    assert_eq!(cluster.sent(), []);
    assert!(grants(&mut cluster, 3, ask_vote(1, at(0, 0))));
}

/// B 36: the term changed while the disk worked.
#[test]
fn an_answer_of_an_earlier_term_is_dropped() {
    let mut cluster = Cluster::new(3);
    cluster.server(1).prompt.saves = false;
    cluster.hear(1, 2, ask_vote(1, at(0, 0)));
    cluster.hear(1, 3, ask_vote(2, at(0, 0)));
    let saved = cluster.server(1).saved().unwrap();
    cluster.step(1, vec![saved]);
    let sent = cluster.sent();
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert_eq!((sent[0].0, sent[0].1.term(), is_yes(&sent[0].1)), (3, Term(2), true));
}

/// B 36, in one step.
#[test]
fn two_candidates_in_one_step_get_one_vote_in_each_term() {
    let mut cluster = Cluster::new(3);
    let events = [(2, 1), (3, 1), (3, 2), (2, 2)];
    let ask = |(from, term)| receive(1, from, ask_vote(term, at(0, 0)));
    cluster.step(1, events.map(ask).to_vec());
    let sent = cluster.sent();
    let yes: Vec<u64> = sent.iter().filter(|(_, body)| is_yes(body)).map(|(to, _)| *to).collect();
    assert_eq!(yes, [3]);
    assert!(sent.iter().all(|(_, body)| body.term() == Term(2)), "{sent:?}");
}

/// Figure 2: "election timeout elapses without receiving AppendEntries RPC from current leader or
/// granting vote to candidate". B 12
#[test]
fn only_a_granted_vote_and_the_current_leader_make_a_follower_wait_longer() {
    let start = || {
        let mut cluster = Cluster::of_logs(&[(3, &[1]), (3, &[1]), (3, &[1])]);
        cluster.wait(T / 2);
        cluster
    };
    let moves = |from: u64, message: MessageBody| {
        let mut cluster = start();
        let before = cluster.deadline(1);
        cluster.hear(1, from, message);
        cluster.deadline(1) != before
    };
    assert!(moves(2, ask_vote(4, at(1, 1))), "a granted vote");
    assert!(moves(2, append(3, at(1, 1), &[], 0)), "the leader");
    assert!(moves(2, append(3, at(5, 3), &[], 0)), "the leader, whose log differs");
    assert!(!moves(2, ask_vote(4, at(0, 0))), "a refused vote");
    assert!(!moves(2, ask_vote(2, at(1, 1))), "a vote of the past");
    assert!(!moves(2, ask_pre_vote(4, at(1, 1))), "a granted pre-vote");
    assert!(!moves(2, ask_pre_vote(4, at(0, 0))), "a refused pre-vote");
    assert!(!moves(2, append(2, at(1, 1), &[], 0)), "a leader of the past");
    assert!(!moves(2, matched(9, 1, 1)), "an answer, even of a later term");
}

/// B 14: who was not told of the cluster votes all the same; the majority is the candidate's
/// business.
#[test]
fn a_server_that_knows_no_cluster_votes_when_asked() {
    let mut cluster = Cluster::from_images(vec![Image::default()], |_| {});
    assert!(grants(&mut cluster, 2, ask_vote(2, at(0, 0))));
    assert!(!grants(&mut cluster, 3, ask_vote(2, at(0, 0))));
}
