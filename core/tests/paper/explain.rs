//! What a server tells people who ask why there is no leader, or why a write waits.

use actix_raft_core::message::VoteRefusal;
use actix_raft_core::status::{NotStanding, PaceName};
use actix_raft_core::types::NodeId;

use crate::support::cluster::Cluster;
use crate::support::disk::Image;
use crate::support::words::*;

fn not_standing(cluster: &mut Cluster, id: u64) -> Option<NotStanding> {
    cluster.server(id).raft().explain().not_standing
}

/// What each voter answered to server 1's last ballot.
fn votes(cluster: &mut Cluster) -> Vec<(u64, Option<Result<(), VoteRefusal>>)> {
    let explanation = cluster.server(1).raft().explain();
    explanation.votes.into_iter().map(|(id, vote)| (id.0, vote)).collect()
}

/// Server 1 stands, with a log of these terms, beside others with such logs.
fn ballot(logs: &[(u64, &[u64])], pre_vote: bool) -> Cluster {
    let mut cluster = Cluster::of_logs_with(logs, |config| config.pre_vote = pre_vote);
    cluster.wait(2 * T);
    cluster.timeout(1);
    cluster
}

#[test]
fn a_server_that_stands_tells_who_refused_and_why() {
    for pre_vote in [true, false] {
        let mut cluster = ballot(&[(1, &[1]), (1, &[1, 1]), (1, &[1])], pre_vote);
        cluster.cut(3, 1);
        assert_eq!(votes(&mut cluster), [(2, None), (3, None)]);
        cluster.settle();
        let behind = Some(Err(VoteRefusal::LogBehind));
        assert_eq!(votes(&mut cluster), [(2, behind), (3, None)]);
    }
}

#[test]
fn the_answers_are_still_told_when_the_election_is_lost() {
    let mut cluster = ballot(&[(1, &[1]), (1, &[1, 1]), (1, &[1, 1])], true);
    cluster.settle();
    let behind = Some(Err(VoteRefusal::LogBehind));
    assert_eq!(votes(&mut cluster), [(2, behind), (3, behind)]);
    assert_eq!(not_standing(&mut cluster, 1), Some(NotStanding::Waiting));
    cluster.run(10 * T);
    assert_eq!(votes(&mut cluster), [], "there is a leader");
    assert_eq!(not_standing(&mut cluster, 1), None);
}

#[test]
fn every_refusal_has_its_true_reason() {
    let refusal = |cluster: &mut Cluster, request| {
        cluster.sent();
        cluster.hear(1, 2, request);
        let sent = cluster.sent();
        vote_response_of(&sent[0].1).unwrap().refusal
    };
    let start = || Cluster::of_logs(&[(3, &[1, 3]), (3, &[]), (3, &[])]);
    let mut cluster = start();
    assert_eq!(refusal(&mut cluster, ask_vote(2, at(9, 1))), Some(VoteRefusal::StaleTerm));
    assert_eq!(refusal(&mut cluster, ask_pre_vote(2, at(9, 1))), Some(VoteRefusal::StaleTerm));
    assert_eq!(refusal(&mut cluster, ask_vote(4, at(9, 2))), Some(VoteRefusal::LogBehind));
    assert_eq!(refusal(&mut cluster, ask_pre_vote(5, at(9, 2))), Some(VoteRefusal::LogBehind));
    assert_eq!(refusal(&mut cluster, ask_vote(4, at(9, 3))), None);

    let mut cluster = start();
    cluster.hear(1, 3, ask_vote(4, at(2, 3)));
    assert_eq!(refusal(&mut cluster, ask_vote(4, at(2, 3))), Some(VoteRefusal::AlreadyVoted));
    assert_eq!(refusal(&mut cluster, ask_pre_vote(4, at(2, 3))), Some(VoteRefusal::AlreadyVoted));

    let mut cluster = start();
    cluster.hear(1, 3, append(3, at(2, 3), &[], 0));
    assert_eq!(refusal(&mut cluster, ask_pre_vote(4, at(2, 3))), Some(VoteRefusal::HearsLeader));
    cluster.wait(2 * T);
    assert_eq!(refusal(&mut cluster, ask_vote(3, at(2, 1))), Some(VoteRefusal::HearsLeader));

    let mut cluster = Cluster::on_disks(3);
    cluster.wipe(1, 11);
    assert_eq!(refusal(&mut cluster, ask_vote(4, at(2, 3))), Some(VoteRefusal::Untrusted));
}

#[test]
fn a_server_that_does_not_stand_tells_why() {
    let mut cluster = Cluster::from_images(vec![Image::default()], |_| {});
    assert_eq!(not_standing(&mut cluster, 1), Some(NotStanding::NoCluster));
    let mut cluster = Cluster::from_images(vec![Image::of(&voters(2..=4), 1, &[1])], |_| {});
    assert_eq!(not_standing(&mut cluster, 1), Some(NotStanding::NonVoter));
    let mut cluster = Cluster::with(3, |config| config.elections = false);
    assert_eq!(not_standing(&mut cluster, 1), Some(NotStanding::Disabled));
    let mut cluster = Cluster::new(3);
    assert_eq!(not_standing(&mut cluster, 1), Some(NotStanding::Waiting));
    cluster.elect(1);
    assert!((1..=3).all(|id| not_standing(&mut cluster, id).is_none()), "there is a leader");
}

#[test]
fn a_leader_tells_which_voters_a_write_waits_for() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.heartbeat(1);
    cluster.settle();
    assert_eq!(cluster.server(1).raft().explain().lagging, []);
    let heard = cluster.now;
    cluster.isolate(3);
    cluster.wait(HEARTBEAT);
    cluster.propose(1, "x").unwrap();
    cluster.settle();
    let lagging = cluster.server(1).raft().explain().lagging;
    assert_eq!(lagging.len(), 1);
    let it = lagging[0];
    assert_eq!((it.id, it.match_index.0, it.last_contact), (NodeId(3), 1, heard));
    assert!(it.counts && !it.disk_is_full);
    assert_eq!(cluster.server(2).raft().explain().lagging, [], "a follower knows of no peers");
}

#[test]
fn a_leader_tells_how_long_its_own_disk_has_been_busy() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.server(1).prompt.saves = false;
    cluster.propose(1, "x").unwrap();
    cluster.wait(HEARTBEAT);
    cluster.step(1, vec![]);
    assert_eq!(cluster.server(1).raft().explain().disk_busy_for, HEARTBEAT);
    let saved = cluster.server(1).saved().unwrap();
    cluster.step(1, vec![saved]);
    assert!(cluster.server(1).raft().explain().disk_busy_for.is_zero());
}

#[test]
fn a_leader_tells_of_each_peer_what_it_has_and_what_is_under_way() {
    let mut cluster = Cluster::new(3);
    assert_eq!(cluster.server(1).raft().peers(), []);
    cluster.elect(1);
    cluster.isolate(3);
    cluster.propose(1, "xyz").unwrap();
    let peers = cluster.server(1).raft().peers();
    assert_eq!(peers.iter().map(|peer| peer.id.0).collect::<Vec<_>>(), [2, 3]);
    for peer in peers {
        assert_eq!((peer.match_index.0, peer.next_index.0), (1, 3));
        assert_eq!(peer.pace, PaceName::Replicate);
        assert!(peer.in_flight_bytes >= 3);
    }
    cluster.settle();
    let peers = cluster.server(1).raft().peers();
    assert_eq!((peers[0].match_index.0, peers[0].in_flight_bytes), (2, 0));
    assert_eq!(cluster.server(2).raft().peers(), []);
}
