//! A disk that hangs, and one that is full (B 85, 86): a leader with such a disk does not hold up the
//! cluster, and a follower with one promises nothing that is not there. Not in the paper.

use std::time::Duration;

use actix_raft_core::effect::{Effect, ProposeError};
use actix_raft_core::event::Event;
use actix_raft_core::message::MessageBody;
use actix_raft_core::status::{NotStanding, RoleName};

use crate::support::cluster::Cluster;
use crate::support::words::*;

fn told_to_stand(messages: &[(u64, MessageBody)]) -> Vec<u64> {
    let told =
        messages.iter().filter(|(_, body)| matches!(body, MessageBody::TimeoutNowRequest(_)));
    told.map(|(to, _)| *to).collect()
}

fn disk_space(cluster: &mut Cluster, id: u64, low: bool) {
    cluster.step(id, vec![Event::DiskSpace { low }]);
}

/// Server 1 leads, and a save of it takes for ever.
fn hung_leader(count: u64) -> Cluster {
    let mut cluster = Cluster::new(count);
    cluster.elect(1);
    cluster.server(1).prompt.saves = false;
    cluster.propose(1, "x").unwrap();
    cluster.settle();
    cluster
}

fn disk_answers(cluster: &mut Cluster, id: u64) {
    cluster.server(id).prompt.saves = true;
    let saved = cluster.server(id).saved();
    cluster.step(id, saved.into_iter().collect());
    cluster.settle();
}

/// hashicorp 503: it would be followed for ever, since heartbeats take no disk.
#[test]
fn a_leader_whose_disk_hangs_hands_over_to_the_best_voter_and_steps_down() {
    let mut cluster = hung_leader(3);
    cluster.isolate(2);
    let applied = cluster.applied(1);
    for _ in 0..4 {
        cluster.heartbeat(1);
        cluster.settle();
    }
    assert_eq!(cluster.role(1), RoleName::Leader, "a save may take its time");
    cluster.heal();
    cluster.wait(HEARTBEAT);
    cluster.step(1, vec![Event::Timeout]);
    let told = told_to_stand(&cluster.sent());
    assert_eq!(told, [3], "server 2 lacks an entry");
    assert_eq!(cluster.role(1), RoleName::Follower);
    assert!(cluster.said(1).contains(&Effect::LeadershipLost));
    assert_eq!(cluster.applied(1), applied);
}

#[test]
fn the_one_that_it_hands_over_to_leads_without_waiting() {
    let mut cluster = hung_leader(3);
    let begun = cluster.now;
    cluster.run(T + HEARTBEAT);
    let leaders = cluster.leaders();
    assert!(leaders == [2] || leaders == [3], "{leaders:?}");
    assert!(cluster.now.since(begun) < 2 * T, "nobody's patience has ended");
    let last = cluster.commit(leaders[0]);
    assert!(last >= 3, "and commits without the disk that hangs: {last}");
}

/// Nobody hears its best voter: the others find out by themselves.
#[test]
fn it_steps_down_even_if_it_hears_nobody_to_hand_over_to() {
    let mut cluster = Cluster::with(3, |config| config.check_quorum = false);
    cluster.elect(1);
    cluster.server(1).prompt.saves = false;
    cluster.propose(1, "x").unwrap();
    cluster.isolate(1);
    cluster.run(2 * T);
    assert_eq!(cluster.role(1), RoleName::Follower);
}

#[test]
fn as_long_as_its_disk_hangs_a_server_does_not_stand() {
    let mut cluster = hung_leader(3);
    cluster.isolate(1);
    cluster.run(10 * T);
    assert_eq!(cluster.role(1), RoleName::Follower);
    let explanation = cluster.server(1).raft().explain();
    assert_eq!(explanation.not_standing, Some(NotStanding::DiskBusy));
    assert!(explanation.disk_busy_for >= 7 * T);
    assert!(cluster.deadline(1).is_some_and(|at| at > cluster.now), "it waits, and does not spin");

    disk_answers(&mut cluster, 1);
    cluster.timeout(1);
    assert_eq!(cluster.role(1), RoleName::PreCandidate, "its disk answers again");
    cluster.heal();
    cluster.run(10 * T);
    assert_eq!(cluster.leaders().len(), 1);
    assert_eq!(cluster.log(1), cluster.log(2));
}

/// It has nobody to hand over to.
#[test]
fn a_single_voter_whose_disk_hangs_stays_the_leader() {
    let mut cluster = hung_leader(1);
    cluster.run(10 * T);
    assert_eq!(cluster.role(1), RoleName::Leader);
    assert!(cluster.deadline(1).is_some_and(|at| at > cluster.now), "it does not spin");
    let commit = cluster.commit(1);
    disk_answers(&mut cluster, 1);
    assert_eq!(cluster.commit(1), commit + 1);
}

/// What counts is how long one save takes, not that there is always one.
#[test]
fn a_leader_whose_disk_is_busy_all_the_time_and_finishes_stays_the_leader() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.server(1).prompt.saves = false;
    for _ in 0..20 {
        cluster.propose(1, "x").unwrap();
        cluster.settle();
        cluster.heartbeat(1);
        cluster.propose(1, "x").unwrap();
        cluster.settle();
        // The older of two saves is done.
        let id = cluster.server(1).disk.complete_one().unwrap();
        cluster.step(1, vec![Event::Saved { id }]);
        let id = cluster.server(1).disk.complete_one().unwrap();
        cluster.propose(1, "x").unwrap();
        cluster.step(1, vec![Event::Saved { id }]);
        cluster.settle();
        if !cluster.server(1).disk.is_idle() {
            let id = cluster.server(1).disk.complete_one().unwrap();
            cluster.step(1, vec![Event::Saved { id }]);
        }
    }
    assert_eq!(cluster.role(1), RoleName::Leader);
}

#[test]
fn a_follower_whose_disk_hangs_answers_heartbeats_with_what_it_has() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.settle();
    let before = cluster.commit(1);
    cluster.server(3).prompt.saves = false;
    cluster.propose(1, "x").unwrap();
    cluster.settle();
    for _ in 0..20 {
        cluster.heartbeat(1);
        cluster.deliver_round();
        let answers = cluster.take(|message| message.from.0 == 3);
        assert_eq!(answers.len(), 1);
        assert_eq!(match_of(&answers[0].body), Some(before));
        answers.into_iter().for_each(|message| cluster.bring(message));
        cluster.settle();
    }
    assert_eq!((cluster.role(3), cluster.commit(1)), (RoleName::Follower, before + 1));
}

#[test]
fn a_leader_whose_disk_is_full_refuses_commands_and_hands_over_to_one_that_has_room() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    disk_space(&mut cluster, 2, true);
    cluster.heartbeat(1);
    cluster.settle();
    assert!(cluster.status(2).disk_is_full);
    disk_space(&mut cluster, 1, true);
    let refused = cluster.propose(1, "x");
    assert!(
        matches!(refused, Err(ProposeError::DiskFull | ProposeError::Transferring { .. })),
        "{refused:?}"
    );
    cluster.settle();
    cluster.run(T);
    assert_eq!(cluster.leaders(), [3], "server 2 has no room either");
    assert!(cluster.propose(3, "x").is_ok());
    cluster.run(10 * T);
    assert_eq!(cluster.leaders(), [3]);
}

/// Its own entries go through: there is a little room left for them.
#[test]
fn a_leader_whose_disk_is_full_leads_on_if_nobody_has_room() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    disk_space(&mut cluster, 2, true);
    disk_space(&mut cluster, 3, true);
    cluster.heartbeat(1);
    cluster.settle();
    disk_space(&mut cluster, 1, true);
    cluster.run(20 * T);
    let leaders = cluster.leaders();
    assert_eq!(leaders, [1], "and they don't hand the office to and fro");
    let term = cluster.term(1);
    assert_eq!(cluster.propose(1, "x"), Err(ProposeError::DiskFull));
    let read = cluster.read(1);
    cluster.settle();
    assert!(cluster.is_ready(1, read));

    // It is lost; the next one gets as far.
    cluster.crash(1);
    cluster.run(20 * T);
    let next = cluster.leaders()[0];
    assert!(cluster.term(next) > term);
    assert_eq!(cluster.propose(next, "x"), Err(ProposeError::DiskFull));
    let read = cluster.read(next);
    cluster.settle();
    assert!(cluster.is_ready(next, read), "it has committed the first entry of its term");

    // Some other gets room, and the office.
    cluster.restart(1);
    let other = if next == 2 { 3 } else { 2 };
    disk_space(&mut cluster, other, false);
    disk_space(&mut cluster, 1, true);
    cluster.run(10 * T);
    assert_eq!(cluster.leaders(), [other]);
    assert!(cluster.propose(other, "x").is_ok());
}

/// It learns that only from an answer: so the office may move once, and stays where it is then.
#[test]
fn full_servers_that_do_not_know_of_each_other_hand_over_once() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    (1..=3).for_each(|id| disk_space(&mut cluster, id, true));
    cluster.run(4 * T);
    let (leaders, term) = (cluster.leaders(), cluster.term(1));
    assert_eq!(leaders.len(), 1);
    cluster.run(40 * T);
    assert_eq!((cluster.leaders(), cluster.term(1)), (leaders, term));
}

#[test]
fn a_leader_accepts_commands_again_when_its_disk_has_room() {
    let mut cluster = Cluster::new(1);
    cluster.elect(1);
    disk_space(&mut cluster, 1, true);
    assert_eq!(cluster.propose(1, "x"), Err(ProposeError::DiskFull));
    disk_space(&mut cluster, 1, false);
    assert!(cluster.propose(1, "x").is_ok());
}

#[test]
fn a_follower_whose_disk_is_full_stores_no_commands_and_acknowledges_none() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.settle();
    disk_space(&mut cluster, 3, true);
    let before = cluster.log(3).len() as u64;
    for _ in 0..10 {
        cluster.propose(1, "x").unwrap();
        cluster.settle();
        cluster.heartbeat(1);
        cluster.settle();
    }
    assert_eq!((cluster.log(3).len() as u64, cluster.commit(3)), (before, before));
    assert_eq!(cluster.commit(1), before + 10, "two of three have room");
    let peers = cluster.server(1).raft().peers();
    let it = peers.iter().find(|peer| peer.id.0 == 3).unwrap();
    assert_eq!((it.match_index.0, it.disk_is_full, it.in_flight_bytes), (before, true, 0));
    // The other one alone is not enough now.
    cluster.isolate(2);
    cluster.propose(1, "y").unwrap();
    cluster.settle();
    cluster.heartbeat(1);
    cluster.settle();
    assert_eq!(cluster.commit(1), before + 10);

    disk_space(&mut cluster, 3, false);
    for _ in 0..3 {
        cluster.heartbeat(1);
        cluster.settle();
    }
    assert_eq!((cluster.log(3), cluster.commit(1)), (cluster.log(1), before + 11));
}

/// A disk's last room is for what gets the cluster going.
#[test]
fn a_follower_whose_disk_is_full_votes_follows_and_stores_a_new_leaders_first_entry() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.settle();
    disk_space(&mut cluster, 3, true);
    cluster.crash(1);
    cluster.elect(2);
    assert_eq!(cluster.status(3).voted_for.map(|id| id.0), Some(2));
    cluster.run(HEARTBEAT * 3);
    assert_eq!(cluster.log(3), cluster.log(2));
    assert_eq!(cluster.commit(3), cluster.log(2).len() as u64, "it knows what is committed");
}

#[test]
fn a_follower_stores_of_a_request_what_comes_before_the_first_command() {
    let mut cluster = Cluster::of_logs(&[(1, &[1]), (1, &[1])]);
    disk_space(&mut cluster, 1, true);
    cluster.hear(1, 2, append(1, at(1, 1), &[], 1));
    cluster.sent();
    cluster.hear(1, 2, append(1, at(1, 1), &[1, 1], 3));
    let answers = cluster.sent();
    assert_eq!(answers.iter().filter_map(|(_, body)| match_of(body)).collect::<Vec<_>>(), [1]);
    assert_eq!((cluster.log(1), cluster.commit(1)), (vec![1], 1));
}

/// Probing a full disk takes one entry, now and then.
#[test]
fn a_leader_does_not_flood_a_follower_that_has_no_room() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.settle();
    disk_space(&mut cluster, 3, true);
    cluster.heartbeat(1);
    cluster.settle();
    cluster.propose_all(1, (0..100).map(|_| "x".to_string()).collect()).unwrap();
    cluster.settle();
    let mut entries = 0;
    for _ in 0..10 {
        cluster.heartbeat(1);
        let to_it = cluster.network.iter().filter(|message| message.to.0 == 3);
        entries += to_it.filter_map(|m| append_of(&m.body)).map(|a| a.entries.len()).sum::<usize>();
        cluster.settle();
    }
    assert!((1..=20).contains(&entries), "{entries}");
}

/// As if its priority were lower.
#[test]
fn a_server_whose_disk_is_full_stands_later_than_others() {
    for seed in 0..20 {
        let mut cluster = Cluster::with(3, |config| config.seed += 100 * seed);
        disk_space(&mut cluster, 1, true);
        cluster.hear(1, 3, append(1, at(0, 0), &[], 0));
        let patience = cluster.deadline(1).unwrap().since(cluster.now);
        assert!((2 * T..3 * T).contains(&patience), "{patience:?}");
        cluster.sent();
        disk_space(&mut cluster, 1, false);
        cluster.hear(1, 3, append(1, at(0, 0), &[], 0));
        let patience: Duration = cluster.deadline(1).unwrap().since(cluster.now);
        assert!((T..2 * T).contains(&patience), "{patience:?}");
    }
}
