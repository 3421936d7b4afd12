//! diss. §3.10: leadership is handed over.

use std::time::Duration;

use actix_raft_core::admin::{RequestId, TransferError};
use actix_raft_core::effect::{Effect, ProposeError};
use actix_raft_core::event::Event;
use actix_raft_core::message::{Message, MessageBody, TimeoutNowRequest, VoteKind};
use actix_raft_core::status::RoleName;
use actix_raft_core::types::{NodeId, Term};

use crate::support::cluster::Cluster;
use crate::support::disk::Image;
use crate::support::server::Task;
use crate::support::words::*;

/// A leader, 1, whose first entry is committed everywhere.
fn leader_of(count: u64) -> Cluster {
    let mut cluster = Cluster::new(count);
    cluster.elect(1);
    cluster.heartbeat(1);
    cluster.settle();
    cluster
}

fn transfer(cluster: &mut Cluster, at: u64, id: u64, to: Option<u64>) {
    let to = to.map(NodeId);
    cluster.step(at, vec![Event::TransferLeadership { id: RequestId(id), to }]);
}

/// What became of the transfers that this server was asked for, since this was asked last.
fn transferred(cluster: &mut Cluster, at: u64) -> Vec<(u64, Result<u64, TransferError>)> {
    let answer = |effect| match effect {
        Effect::Transferred { id, result } => Some((id.0, result.map(|id| id.0))),
        _ => None,
    };
    cluster.said(at).into_iter().filter_map(answer).collect()
}

fn timeout_now(term: u64) -> MessageBody {
    MessageBody::TimeoutNowRequest(TimeoutNowRequest { term: Term(term) })
}

fn is_timeout_now(message: &Message) -> bool {
    matches!(message.body, MessageBody::TimeoutNowRequest(_))
}

const TRANSFERRING: Result<actix_raft_core::types::Index, ProposeError> =
    Err(ProposeError::Transferring { to: NodeId(2) });

/// Its clients learn what became of their writes: what it has is committed before it tells another
/// to stand, unless that takes half of the time there is. B 43
#[test]
fn what_was_proposed_is_committed_before_the_office_is_handed_over() {
    let with_slow_disk = || {
        let mut cluster = leader_of(3);
        cluster.isolate(3);
        cluster.server(1).prompt.saves = false;
        cluster.propose(1, "x").unwrap();
        transfer(&mut cluster, 1, 7, Some(2));
        cluster.settle();
        assert_eq!(cluster.leaders(), [1], "server 2 has it all, and server 1's disk does not");
        cluster
    };
    let mut cluster = with_slow_disk();
    let last = cluster.status(1).last_log.index;
    let saved = cluster.server(1).saved().unwrap();
    cluster.server(1).prompt.saves = true;
    cluster.step(1, vec![saved]);
    cluster.settle();
    assert_eq!(cluster.leaders(), [2]);
    let said = cluster.said(1);
    let place = |effect: &Effect| said.iter().position(|it| it == effect);
    assert!(place(&Effect::Committed { index: last }) < place(&Effect::LeadershipLost));

    let mut cluster = with_slow_disk();
    cluster.wait(T / 2);
    cluster.timeout(1);
    cluster.settle();
    assert_eq!((cluster.role(2), cluster.term(2)), (RoleName::Candidate, 2));
}

/// diss. §3.10: one election, without anybody's timeout. B 56
#[test]
fn a_voter_that_has_everything_takes_over_at_once() {
    let mut cluster = leader_of(3);
    transfer(&mut cluster, 1, 7, Some(2));
    assert_eq!(cluster.status(1).transferring_to, Some(NodeId(2)));
    let now = cluster.now;
    cluster.settle();
    assert_eq!((cluster.leaders(), cluster.now), (vec![2], now), "no time has passed");
    assert_eq!(cluster.term(2), 2, "in the next term");
    assert_eq!(transferred(&mut cluster, 1), [(7, Ok(2))]);
    assert_eq!((cluster.status(1).transferring_to, cluster.role(1)), (None, RoleName::Follower));
    assert!(cluster.propose(2, "x").is_ok());
    cluster.settle();
    assert_eq!(cluster.commit(2), 3);
}

/// B 25, 58: the others hear the leader, and vote all the same; a pre-vote they would refuse.
#[test]
fn a_transfer_skips_pre_votes_and_is_voted_for_by_servers_that_hear_the_leader() {
    let mut cluster = leader_of(3);
    transfer(&mut cluster, 1, 7, Some(2));
    cluster.deliver_round();
    assert_eq!(cluster.role(2), RoleName::Candidate);
    let asked: Vec<_> = cluster.network.iter().filter_map(|m| vote_request_of(&m.body)).collect();
    assert!(asked.len() == 2 && asked.iter().all(|vote| vote.kind == VoteKind::Transfer));
    cluster.cut(2, 1);
    cluster.settle();
    assert!(cluster.leaders().contains(&2), "elected by the other follower");
}

/// B 56: "updates the target server's log to match its own", before anything else.
#[test]
fn a_slow_target_is_caught_up_first() {
    let mut cluster = leader_of(3);
    cluster.server(2).prompt.saves = false;
    cluster.propose(1, "x").unwrap();
    cluster.settle();
    assert_eq!(cluster.commit(1), 2);
    transfer(&mut cluster, 1, 7, Some(2));
    cluster.settle();
    cluster.heartbeat(1);
    assert_eq!(cluster.take(is_timeout_now), [], "it lacks an entry");
    cluster.settle();
    assert_eq!(cluster.propose(1, "y"), TRANSFERRING);
    let saved = cluster.server(2).saved().unwrap();
    cluster.step(2, vec![saved]);
    cluster.server(2).prompt.saves = true;
    cluster.settle();
    assert_eq!((cluster.leaders(), cluster.log(2)), (vec![2], vec![1, 1, 2]));
    assert_eq!(transferred(&mut cluster, 1), [(7, Ok(2))]);
}

/// B 56: one that lacks what is no longer in the log is sent a snapshot first.
#[test]
fn a_target_that_needs_a_snapshot_is_sent_one_first() {
    let mut cluster = Cluster::with(3, |config| {
        config.snapshot_policy.entries = Some(5);
        config.entries_kept = 0;
    });
    cluster.elect(1);
    cluster.isolate(2);
    for _ in 0..20 {
        cluster.propose(1, "x").unwrap();
        cluster.settle();
    }
    assert!(cluster.status(1).purged.index > cluster.status(2).last_log.index);
    cluster.heal();
    transfer(&mut cluster, 1, 7, Some(2));
    cluster.settle();
    assert_eq!(transferred(&mut cluster, 1), [], "the leader does not know yet that it is back");
    cluster.heartbeat(1);
    cluster.settle();
    assert_eq!((cluster.leaders(), transferred(&mut cluster, 1)), (vec![2], vec![(7, Ok(2))]));
    assert_eq!(cluster.commit(2), 22);
}

/// B 13: its state is about to change.
#[test]
fn a_server_that_installs_a_snapshot_stands_on_nobodys_demand() {
    let mut cluster = Cluster::with(3, |config| {
        config.snapshot_policy.entries = Some(5);
        config.entries_kept = 0;
    });
    cluster.elect(1);
    cluster.isolate(2);
    for _ in 0..20 {
        cluster.propose(1, "x").unwrap();
        cluster.settle();
    }
    cluster.heal();
    cluster.server(2).prompt.snapshots = false;
    cluster.heartbeat(1);
    cluster.settle();
    while !cluster.server(2).tasks.iter().any(|task| matches!(task, Task::Install(_))) {
        let done = cluster.server(2).do_task().expect("it is given pieces to store");
        cluster.step(2, vec![done]);
        cluster.settle();
    }
    cluster.hear(2, 1, timeout_now(1));
    assert_eq!((cluster.role(2), cluster.term(2)), (RoleName::Follower, 1));
}

/// B 56: so that they are not lost.
#[test]
fn what_was_proposed_before_a_transfer_is_handed_over_with_it() {
    let mut cluster = leader_of(3);
    cluster.propose(1, "x").unwrap();
    transfer(&mut cluster, 1, 7, Some(2));
    assert_eq!(cluster.take(is_timeout_now), []);
    cluster.settle();
    assert_eq!((cluster.leaders(), cluster.commit(2)), (vec![2], 3));
    assert!((1..=3).all(|id| cluster.log(id) == [1, 1, 2]));
}

/// The target is chosen: who has the most of those who are heard.
#[test]
fn the_voter_with_the_longest_log_of_those_heard_takes_over_if_nobody_is_named() {
    let mut cluster = leader_of(5);
    for id in [2, 4] {
        cluster.cut(1, id);
    }
    cluster.propose(1, "x").unwrap();
    cluster.settle();
    transfer(&mut cluster, 1, 7, None);
    assert_eq!(cluster.status(1).transferring_to, Some(NodeId(3)), "3 and 5 have it");

    let mut cluster = leader_of(5);
    cluster.isolate(2);
    cluster.isolate(3);
    cluster.run(2 * T);
    transfer(&mut cluster, 1, 7, None);
    assert_eq!(cluster.status(1).transferring_to, Some(NodeId(4)), "the first of those heard");
}

/// B 57
#[test]
fn a_transfer_to_oneself_is_done_at_once() {
    let mut cluster = leader_of(3);
    transfer(&mut cluster, 1, 7, Some(1));
    assert_eq!(transferred(&mut cluster, 1), [(7, Ok(1))]);
    assert!(cluster.propose(1, "x").is_ok());
}

/// B 57
#[test]
fn a_transfer_to_a_server_without_a_vote_is_refused() {
    let image = Image::of(&members(1..=3, [4]), 0, &[]);
    let mut cluster = Cluster::from_images(vec![image; 4], |_| {});
    cluster.elect(1);
    for to in [4, 9] {
        transfer(&mut cluster, 1, to, Some(to));
        let refused = (to, Err(TransferError::NotAVoter(NodeId(to))));
        assert_eq!(transferred(&mut cluster, 1), [refused]);
    }
    cluster.hear(4, 1, timeout_now(1));
    assert_eq!(cluster.role(4), RoleName::NonVoter, "even if it is told to");
    assert!(cluster.propose(1, "x").is_ok());
}

/// B 57
#[test]
fn there_must_be_somebody_to_hand_over_to() {
    let mut cluster = leader_of(1);
    transfer(&mut cluster, 1, 7, None);
    assert_eq!(transferred(&mut cluster, 1), [(7, Err(TransferError::NoTarget))]);
    let mut cluster = leader_of(3);
    cluster.isolate(1);
    cluster.wait(T);
    transfer(&mut cluster, 1, 7, None);
    assert_eq!(transferred(&mut cluster, 1), [(7, Err(TransferError::NoTarget))]);
}

/// B 57
#[test]
fn only_the_leader_hands_over_and_the_others_name_it() {
    let mut cluster = leader_of(3);
    transfer(&mut cluster, 2, 7, Some(3));
    let leader = Some(NodeId(1));
    assert_eq!(transferred(&mut cluster, 2), [(7, Err(TransferError::NotLeader { leader }))]);
}

/// diss. §3.10 "if leadership transfer does not complete after about an election timeout, the prior
/// leader aborts the transfer and resumes accepting client requests". B 57, 58
#[test]
fn a_transfer_to_a_lost_server_ends_after_one_election_timeout() {
    let mut cluster = leader_of(3);
    cluster.isolate(2);
    transfer(&mut cluster, 1, 7, Some(2));
    let start = cluster.now;
    while transferred(&mut cluster, 1).is_empty() {
        assert_eq!(cluster.propose(1, "x"), TRANSFERRING);
        cluster.timeout(1);
        cluster.settle();
        if cluster.now.since(start) >= T {
            break;
        }
    }
    assert_eq!(cluster.now.since(start), T);
    assert_eq!(cluster.status(1).transferring_to, None);
    assert!(cluster.propose(1, "x").is_ok());
    cluster.settle();
    assert_eq!((cluster.leaders(), cluster.commit(1), cluster.term(1)), (vec![1], 2, 1));
    cluster.run(10 * T);
    assert_eq!(cluster.leaders(), [1]);
}

/// B 58: who asked is told.
#[test]
fn a_transfer_that_is_given_up_is_answered_once() {
    let mut cluster = leader_of(3);
    cluster.isolate(2);
    transfer(&mut cluster, 1, 7, Some(2));
    cluster.run(3 * T);
    assert_eq!(transferred(&mut cluster, 1), [(7, Err(TransferError::TimedOut(NodeId(2))))]);
}

/// diss. §3.10: the message may be lost.
#[test]
fn the_target_is_told_again_with_each_heartbeat() {
    let mut cluster = leader_of(3);
    transfer(&mut cluster, 1, 7, Some(2));
    assert_eq!(cluster.take(is_timeout_now).len(), 1);
    cluster.settle();
    cluster.step(1, vec![Event::Timeout]);
    assert_eq!(cluster.take(is_timeout_now).len(), 0, "once is enough");
    cluster.heartbeat(1);
    assert_eq!(cluster.take(is_timeout_now).len(), 1);
    cluster.heartbeat(1);
    cluster.settle();
    assert_eq!((cluster.leaders(), transferred(&mut cluster, 1)), (vec![2], vec![(7, Ok(2))]));
}

/// B 57
#[test]
fn a_transfer_to_another_server_replaces_the_one_under_way_and_one_to_the_same_joins_it() {
    let mut cluster = leader_of(3);
    cluster.isolate(2);
    transfer(&mut cluster, 1, 7, Some(2));
    cluster.wait(T / 2);
    transfer(&mut cluster, 1, 8, Some(2));
    transfer(&mut cluster, 1, 9, None);
    assert_eq!(transferred(&mut cluster, 1), []);
    cluster.wait(T / 2 - Duration::from_nanos(1));
    transfer(&mut cluster, 1, 10, Some(3));
    let replaced = Err(TransferError::Replaced(NodeId(3)));
    assert_eq!(transferred(&mut cluster, 1), [(7, replaced), (8, replaced), (9, replaced)]);
    assert_eq!(cluster.status(1).transferring_to, Some(NodeId(3)));
    transfer(&mut cluster, 1, 11, Some(3));
    cluster.settle();
    assert_eq!(transferred(&mut cluster, 1), [(10, Ok(3)), (11, Ok(3))]);
    assert_eq!(cluster.leaders(), [3]);
}

/// B 57: joining does not put the end off.
#[test]
fn a_transfer_that_is_asked_for_again_ends_no_later() {
    let mut cluster = leader_of(3);
    cluster.isolate(2);
    transfer(&mut cluster, 1, 7, Some(2));
    cluster.run(T / 2);
    transfer(&mut cluster, 1, 8, Some(2));
    cluster.run(T / 2);
    assert_eq!(transferred(&mut cluster, 1).len(), 2);
}

/// B 58: "the mark is cleared on any step-down".
#[test]
fn a_leader_that_is_deposed_during_a_transfer_is_done_with_it() {
    let mut cluster = leader_of(3);
    transfer(&mut cluster, 1, 7, Some(2));
    cluster.sent();
    // Another leader, of whom the transfer knew nothing.
    cluster.hear(1, 3, append(5, at(9, 5), &[], 0));
    assert_eq!(transferred(&mut cluster, 1), [(7, Ok(3))], "it leads now");
    assert_eq!(cluster.status(1).transferring_to, None);
    cluster.isolate(3);
    cluster.elect(1);
    assert!(cluster.propose(1, "x").is_ok());
}

/// B 58: if it never hears who leads, those who asked are told that, too.
#[test]
fn a_leader_that_steps_down_during_a_transfer_answers_within_an_election_timeout() {
    let mut cluster = leader_of(3);
    transfer(&mut cluster, 1, 7, Some(2));
    cluster.sent();
    cluster.isolate(1);
    cluster.hear(1, 2, ask(VoteKind::Transfer, 2, at(1, 1)));
    assert_eq!((cluster.role(1), transferred(&mut cluster, 1)), (RoleName::Follower, vec![]));
    let start = cluster.now;
    let timed_out = (7, Err(TransferError::TimedOut(NodeId(2))));
    loop {
        cluster.timeout(1);
        assert!(cluster.now.since(start) <= T);
        match transferred(&mut cluster, 1) {
            answers if answers.is_empty() => {}
            answers => break assert_eq!(answers, [timed_out]),
        }
    }
    assert_eq!(cluster.now.since(start), T);
}

/// B 58: it goes on as the leader of a later term.
#[test]
fn a_leader_that_is_elected_again_instead_of_the_target_says_so() {
    let mut cluster = leader_of(3);
    transfer(&mut cluster, 1, 7, Some(2));
    cluster.deliver_round();
    cluster.isolate(2);
    // The target's request came through, and nothing more.
    cluster.hear(1, 2, ask(VoteKind::Transfer, 2, at(1, 1)));
    assert_eq!(cluster.role(1), RoleName::Follower);
    cluster.wait(T);
    cluster.said(1);
    cluster.step(1, vec![Event::Timeout]);
    let mut answers = transferred(&mut cluster, 1);
    cluster.run(3 * T);
    answers.extend(transferred(&mut cluster, 1));
    assert_eq!(answers, [(7, Err(TransferError::TimedOut(NodeId(2))))]);
}

/// B 57
#[test]
fn a_target_that_loses_its_vote_ends_the_transfer() {
    for change in [remove(2), demote(2)] {
        let mut cluster = leader_of(4);
        cluster.isolate(2);
        transfer(&mut cluster, 1, 7, Some(2));
        cluster.change(1, &[change]);
        cluster.settle();
        assert_eq!(transferred(&mut cluster, 1), [(7, Err(TransferError::NotAVoter(NodeId(2))))]);
        assert!(cluster.propose(1, "x").is_ok());
    }
}

/// A change of members and a transfer do not wait for each other: whoever leads finishes the change.
#[test]
fn a_change_of_members_comes_to_its_end_through_a_transfer() {
    for steps in 0..40 {
        let image = Image::of(&members(1..=3, [4]), 0, &[]);
        let mut cluster = Cluster::from_images(vec![image; 4], |_| {});
        cluster.elect(1);
        cluster.heartbeat(1);
        cluster.settle();
        cluster.change(1, &[promote(4), remove(3)]);
        for _ in 0..steps {
            cluster.deliver_one();
        }
        transfer(&mut cluster, 1, 7, Some(2));
        cluster.run(5 * T);
        let leaders = cluster.leaders();
        let told = transferred(&mut cluster, 1);
        assert!(told == [(7, Ok(2))] && leaders == [2], "{steps}: {told:?}, {leaders:?} lead");
        assert_eq!(cluster.membership(2).1, members([1, 2, 4], []), "{steps}");
    }
}

/// diss. §3.10: nobody but the present leader can end its own term.
#[test]
fn only_the_leader_that_one_follows_makes_one_stand() {
    let standing = |body: MessageBody, from: u64| {
        let mut cluster = Cluster::new(3);
        cluster.elect(1);
        cluster.elect(2);
        cluster.heartbeat(2);
        cluster.settle();
        cluster.hear(3, from, body);
        (cluster.role(3), cluster.term(3))
    };
    assert_eq!(standing(timeout_now(1), 1), (RoleName::Follower, 2), "its term is over");
    assert_eq!(standing(timeout_now(1), 2), (RoleName::Follower, 2), "the message is old");
    assert_eq!(standing(timeout_now(2), 1), (RoleName::Follower, 2), "it does not lead");
    assert_eq!(standing(timeout_now(2), 9), (RoleName::Follower, 2), "it is no member");
    assert_eq!(standing(timeout_now(2), 2), (RoleName::Candidate, 3));
}

/// Doubled, late, or to a server that has other things to do.
#[test]
fn a_server_that_stands_or_leads_already_is_told_in_vain() {
    let mut cluster = leader_of(3);
    cluster.hear(1, 2, timeout_now(1));
    assert_eq!((cluster.role(1), cluster.term(1)), (RoleName::Leader, 1));
    cluster.hear(2, 1, timeout_now(1));
    assert_eq!((cluster.role(2), cluster.term(2)), (RoleName::Candidate, 2));
    cluster.sent();
    cluster.hear(2, 1, timeout_now(1));
    assert_eq!(
        (cluster.role(2), cluster.term(2), cluster.sent()),
        (RoleName::Candidate, 2, vec![])
    );
    // It did not hear the leader for long and asks for pre-votes.
    cluster.isolate(3);
    cluster.timeout(3);
    cluster.hear(3, 1, timeout_now(1));
    assert_eq!((cluster.role(3), cluster.term(3)), (RoleName::PreCandidate, 1));
}

/// B 58, and what makes it useful: a rolling restart never waits for an election timeout.
#[test]
fn leadership_goes_around_without_waiting() {
    let mut cluster = leader_of(5);
    let start = cluster.now;
    for id in 0..20 {
        let leader = cluster.leaders()[0];
        cluster.propose(leader, "x").unwrap();
        transfer(&mut cluster, leader, id, Some(leader % 5 + 1));
        cluster.settle();
        assert_eq!(cluster.leaders(), [leader % 5 + 1]);
        assert_eq!(transferred(&mut cluster, leader), [(id, Ok(leader % 5 + 1))]);
    }
    assert_eq!((cluster.now, cluster.term(1)), (start, 21));
}
