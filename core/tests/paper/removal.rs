//! §6: leaders that are removed, and servers that are removed and don't know it.

use std::time::Duration;

use actix_raft_core::admin::{ChangeAnswer, ChangeError, Changed, RequestId};
use actix_raft_core::effect::Effect;
use actix_raft_core::event::Event;
use actix_raft_core::message::MessageBody;
use actix_raft_core::status::RoleName;
use actix_raft_core::types::Index;

use crate::support::cluster::{Cluster, receive};
use crate::support::disk::Image;
use crate::support::words::*;

/// Delivers until this server has appended its final configuration.
fn reach_final(cluster: &mut Cluster, leader: u64, count: u64) {
    while cluster.membership(leader).0 < count {
        assert!(cluster.deliver_one());
    }
    assert!(cluster.membership(leader).1.goal().is_none());
}

/// §6 "the leader ... will step down (return to follower state) once it has committed the C_new log
/// entry. There will be a period of time (while it is committing C_new) when the leader is managing
/// a cluster that does not include itself; it replicates log entries but does not count itself in
/// majorities." B 65
#[test]
fn a_leader_that_removes_itself_leads_without_counting_itself_until_that_is_committed() {
    let mut cluster = Cluster::new(4);
    cluster.elect(1);
    let asked = cluster.change(1, &[remove(1)]);
    reach_final(&mut cluster, 1, 3);
    cluster.sent();
    assert_eq!((cluster.membership(1), cluster.commit(1)), ((3, voters(2..=4)), 2));
    // With its own there would be a majority of three.
    cluster.hear(1, 2, matched(1, 0, 3));
    assert_eq!((cluster.role(1), cluster.commit(1)), (RoleName::Leader, 2));
    // It still serves.
    assert_eq!(cluster.propose(1, "x"), Ok(Index(4)));
    assert!(cluster.sent().iter().any(|(to, body)| *to == 2 && is_append(body)));
    cluster.hear(1, 3, matched(1, 0, 3));
    assert_eq!(cluster.commit(1), 3);
    assert_eq!((cluster.role(1), cluster.deadline(1)), (RoleName::NonVoter, None));
    assert_eq!(cluster.changed(1, asked), Some(Ok(Changed::Final { index: Index(3) })));
    let said = cluster.said(1);
    let place = |wanted: &dyn Fn(&Effect) -> bool| said.iter().position(wanted).unwrap();
    let answered = place(&|effect| matches!(effect, Effect::MembersChanged { .. }));
    assert!(answered < place(&|effect| *effect == Effect::LeadershipLost));
}

/// canonical 7b500ab: nobody else could bring them what they lack.
#[test]
fn a_leader_that_is_being_removed_goes_on_replicating() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    let asked = cluster.change(1, &[remove(1)]);
    reach_final(&mut cluster, 1, 3);
    cluster.isolate(3);
    cluster.run(T / 2);
    // 2 and 3 must both store the final configuration, and 3 lacks it.
    assert_eq!(cluster.membership(1), (3, voters(2..=3)));
    assert_eq!(cluster.changed(1, asked), None);
    cluster.heal();
    cluster.run(10 * T);
    assert_eq!(cluster.changed(1, asked), Some(Ok(Changed::Final { index: Index(3) })));
    let leaders = cluster.leaders();
    assert!(leaders == [2] || leaders == [3]);
    assert_eq!(cluster.membership(3), (3, voters(2..=3)));
}

/// A leader that takes its own vote stays a member, and goes on to receive the log.
#[test]
fn a_leader_that_demotes_itself_follows_the_next_one() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.change(1, &[demote(1)]);
    cluster.run(10 * T);
    let leaders = cluster.leaders();
    assert!(leaders == [2] || leaders == [3]);
    assert_eq!(cluster.role(1), RoleName::NonVoter);
    cluster.propose(leaders[0], "x").unwrap();
    cluster.run(T);
    assert_eq!(cluster.applied(1), cluster.applied(leaders[0]));
}

/// What comes too late for it is for the next leader, even its own return.
#[test]
fn a_leader_that_is_removed_begins_no_other_change() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.change(1, &[demote(1)]);
    reach_final(&mut cluster, 1, 3);
    cluster.hear(1, 2, matched(1, 0, 3));
    let id = RequestId(99);
    let (changes, answer) = (vec![promote(1)], ChangeAnswer::Final);
    let late = Event::ChangeMembers { id, changes, expected: None, answer };
    cluster.step(1, vec![receive(1, 3, matched(1, 0, 3)), late]);
    assert_eq!(cluster.changed(1, id), Some(Err(ChangeError::NotLeader { leader: None })));
    assert_eq!(cluster.membership(1), (3, members(2..=3, [1])));
}

/// A leader without a vote, which finds that it is to get one, has caught up with itself.
#[test]
fn a_leader_that_is_to_get_its_vote_back_gets_it() {
    let image = Image::of(&voters(1..=3), 1, &[1])
        .then(1, &joint(1..=3, 2..=3))
        .then(1, &voters(2..=3))
        .then(1, &catching_up(2..=3, 1..=3));
    let mut cluster = Cluster::from_images(vec![image; 3], |_| {});
    cluster.elect(1);
    cluster.run(T);
    assert_eq!((cluster.leaders(), cluster.membership(1).1), (vec![1], voters(1..=3)));
    assert_eq!(cluster.commit(1), cluster.status(1).last_log.index.0);
}

/// diss. §3.10: the best of the others is told to stand at once, and all learn what is committed.
#[test]
fn a_leader_that_is_removed_hands_over_to_the_voter_with_the_longest_log() {
    let mut cluster = Cluster::new(5);
    cluster.elect(1);
    cluster.change(1, &[remove(1)]);
    reach_final(&mut cluster, 1, 3);
    cluster.sent();
    cluster.propose(1, "x").unwrap();
    cluster.sent();
    cluster.hear(1, 3, matched(1, 0, 3));
    cluster.hear(1, 4, matched(1, 0, 4));
    assert_eq!(cluster.role(1), RoleName::Leader);
    cluster.hear(1, 2, matched(1, 0, 3));
    assert_eq!(cluster.role(1), RoleName::NonVoter);
    let sent = cluster.sent();
    let told = |to: u64| sent.iter().filter(move |(id, _)| *id == to).map(|(_, body)| body);
    for id in 2..=5 {
        let commit = told(id).filter_map(append_of).map(|request| request.leader_commit).max();
        assert_eq!(commit, Some(Index(3)));
        let stands = told(id).any(|body| matches!(body, MessageBody::TimeoutNowRequest(_)));
        assert_eq!(stands, id == 4);
    }
}

/// §6, LogCabin 56. B 66: "removed servers can disrupt the cluster. These servers will not receive
/// heartbeats, so they will time out and start new elections." Not here.
#[test]
fn a_removed_server_that_never_heard_of_it_disturbs_nobody() {
    for pre_vote in [true, false] {
        let mut cluster = Cluster::with(4, |config| config.pre_vote = pre_vote);
        cluster.elect(1);
        cluster.isolate(4);
        cluster.change(1, &[remove(4)]);
        cluster.run(20 * T);
        assert_eq!(cluster.membership(4).1, voters(1..=4), "it knows of nothing");
        cluster.heal();
        let before = (cluster.leaders(), cluster.term(1));
        for _ in 0..20 {
            cluster.run(2 * T);
            assert!(cluster.role(4) != RoleName::NonVoter && cluster.role(4) != RoleName::Leader);
            assert_eq!(cluster.role(1), RoleName::Leader);
            cluster.propose(1, "x").unwrap();
        }
        cluster.settle();
        assert_eq!((vec![1], cluster.term(1)), before);
        assert_eq!(cluster.commit(1), cluster.status(1).last_log.index.0);
    }
}

/// B 13, 66
#[test]
fn a_removed_server_that_knows_it_never_stands() {
    let mut cluster = Cluster::new(4);
    cluster.elect(1);
    cluster.change(1, &[remove(4)]);
    cluster.run(T);
    cluster.crash(1);
    for restart in [false, true] {
        if restart {
            cluster.crash(4);
            cluster.restart(4);
            // What it knew to be committed is forgotten; the next leader won't tell. It may ask,
            // and is not answered with votes.
            assert_eq!(cluster.membership(4).1, voters(1..=3));
        } else {
            assert_eq!(cluster.deadline(4), None);
            cluster.run(10 * T);
            assert_eq!(cluster.role(4), RoleName::NonVoter);
        }
    }
    let leaders = cluster.leaders();
    let term = cluster.term(leaders[0]);
    cluster.run(30 * T);
    assert_eq!((cluster.leaders(), cluster.term(leaders[0])), (leaders, term));
}

/// It is told for ten election timeouts, and then left alone.
#[test]
fn a_removed_server_is_told_of_it_if_it_can_be_reached_soon() {
    let mut cluster = Cluster::new(4);
    cluster.elect(1);
    cluster.isolate(4);
    cluster.change(1, &[remove(4)]);
    cluster.run(9 * T);
    cluster.heal();
    cluster.run(T);
    assert_eq!((cluster.membership(4).1, cluster.deadline(4)), (voters(1..=3), None));
    assert_eq!(cluster.commit(4), 3);
    // Once it knows, it is not sent anything more.
    cluster.heartbeat(1);
    assert!(cluster.sent_to(4).is_empty());
}

#[test]
fn a_removed_server_that_can_not_be_reached_is_not_sent_anything_for_ever() {
    let mut cluster = Cluster::new(4);
    cluster.elect(1);
    cluster.isolate(4);
    cluster.change(1, &[remove(4)]);
    cluster.run(11 * T);
    cluster.heal();
    cluster.heartbeat(1);
    assert!(cluster.sent_to(4).is_empty());
}

/// The leader that removed it is gone; the next one finds the entry, and may be the only one to
/// tell it.
#[test]
fn a_new_leader_tells_those_whose_removal_it_finds() {
    let mut cluster = Cluster::new(4);
    cluster.elect(1);
    cluster.cut(1, 4);
    cluster.change(1, &[remove(4)]);
    while cluster.membership(2).0 < 3 {
        assert!(cluster.deliver_one());
    }
    cluster.crash(1);
    cluster.sent();
    cluster.heal();
    cluster.elect(2);
    cluster.run(T);
    assert_eq!((cluster.membership(4).1, cluster.deadline(4)), (voters(1..=3), None));
}

/// §6: not even a server that asks again and again in later and later terms.
#[test]
fn a_disruptive_server_deposes_no_leader() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    (1..=3).for_each(|id| cluster.cut(id, 9));
    for term in 2..50 {
        for id in 1..=3 {
            cluster.hear(id, 9, ask_vote(term, at(100, 1)));
            cluster.hear(id, 9, ask_pre_vote(term, at(100, 1)));
        }
        cluster.wait(Duration::from_millis(5));
        cluster.step(1, vec![Event::Timeout]);
        cluster.settle();
    }
    assert_eq!((cluster.leaders(), cluster.term(1)), (vec![1], 1));
}
