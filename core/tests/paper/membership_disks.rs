//! Changes of members while servers are on new disks, which are not trusted yet.

use actix_raft_core::admin::{ChangeError, Inoperable};
use actix_raft_core::event::Event;
use actix_raft_core::message::{
    AppendEntriesResponse, AppendOutcome, MessageBody, VoteRefusal, VoteRequest, VoteResponse,
};
use actix_raft_core::status::RoleName;
use actix_raft_core::types::{DiskId, Index, NodeId, Term};

use crate::support::cluster::Cluster;
use crate::support::disk::Image;
use crate::support::words::*;

/// Servers 1 to 5 on their disks, which have the joint configuration of 1, 2, 3 and 3, 4, 5.
fn half_way() -> Cluster {
    let image = Image::of(&voters(1..=3), 1, &[1]).then(1, &joint(1..=3, 3..=5));
    let images = (1..=5).map(|id| image.clone().on_disk(10 * id, true));
    Cluster::from_images(images.collect(), |config| config.pre_vote = false)
}

fn matched_on(disk: u64, trusted: bool, round: u64, match_index: u64) -> MessageBody {
    MessageBody::AppendEntriesResponse(AppendEntriesResponse {
        term: Term(2),
        round,
        disk: DiskId(disk),
        trusted,
        disk_is_full: false,
        outcome: AppendOutcome::Matched { match_index: Index(match_index) },
    })
}

/// Which disk the leader, 3, names to this server with its next heartbeat.
fn named_to(cluster: &mut Cluster, id: u64) -> DiskId {
    cluster.sent();
    cluster.heartbeat(3);
    let sent = cluster.sent();
    let mut to_it = sent.iter().filter(|(to, _)| *to == id);
    to_it.find_map(|(_, body)| append_of(body)).expect("a heartbeat").disk
}

/// Until the joint configuration is committed, one majority of the old one alone may elect a leader
/// that lacks the proof. B 61, 94
#[test]
fn while_joint_a_new_disk_is_proven_to_every_majority_of_both_configurations() {
    let mut cluster = half_way();
    cluster.wait(2 * T);
    cluster.timeout(3);
    let request = cluster.sent().iter().find_map(|(_, body)| vote_request_of(body)).unwrap();
    [1, 4].iter().for_each(|id| cluster.hear(3, *id, answer(&request, true)));
    assert_eq!(cluster.role(3), RoleName::Leader);
    cluster.heartbeat(3);
    cluster.sent();
    // Server 1 has lost its disk; it is heard on another one, and stores all it is sent.
    for index in [0, 4] {
        cluster.hear(3, 1, matched_on(11, false, 1, index));
    }
    assert_eq!(cluster.status(3).last_log.index, Index(4), "the proof");
    for id in [4, 5] {
        cluster.hear(3, id, matched_on(10 * id, true, 1, 4));
    }
    assert_eq!(named_to(&mut cluster, 1), DiskId::UNKNOWN, "2 does not have it");
    cluster.hear(3, 2, matched_on(20, true, 1, 4));
    assert_eq!(named_to(&mut cluster, 1), DiskId(11));
}

fn untrusted(request: &VoteRequest) -> MessageBody {
    let VoteRequest { term, kind, round, .. } = *request;
    let refusal = Some(VoteRefusal::Untrusted);
    let disk = DiskId(7);
    let vote_granted = false;
    MessageBody::VoteResponse(VoteResponse { term, kind, round, disk, vote_granted, refusal })
}

/// Those who have forgotten are a majority of the old configuration: they may have elected another.
/// B 61, 94
#[test]
fn while_joint_nobody_is_elected_if_a_majority_of_one_configuration_has_forgotten() {
    for (forgetful, elected) in [(&[1, 2][..], false), (&[4, 5], false), (&[1], true)] {
        let mut cluster = half_way();
        cluster.timeout(3);
        let request = cluster.sent().iter().find_map(|(_, body)| vote_request_of(body)).unwrap();
        for id in [1, 2, 4, 5] {
            let body = match forgetful.contains(&id) {
                true => untrusted(&request),
                false => answer(&request, true),
            };
            cluster.hear(3, id, body);
        }
        assert_eq!(cluster.role(3) == RoleName::Leader, elected, "{forgetful:?}");
    }
}

/// Of 1 and 3 alone, 3 would never be trusted again: 1 could prove nothing to it.
#[test]
fn a_cluster_of_which_too_few_remember_is_refused() {
    for check_quorum in [true, false] {
        let mut cluster = Cluster::on_disks_with(3, |config| config.check_quorum = check_quorum);
        cluster.elect(1);
        // It is heard, and its entries wait for its disk.
        cluster.wipe(3, 31);
        cluster.heartbeat(1);
        cluster.deliver_round();
        cluster.server(3).prompt.saves = false;
        cluster.run(T / 2);
        assert!(!cluster.status(3).trusted);
        let asked = cluster.change(1, &[remove(1)]);
        let too_few = Inoperable::TooFewHeard { voters: 2, heard: 1 };
        assert_eq!(cluster.changed(1, asked), Some(Err(ChangeError::InoperableConfig(too_few))));
        cluster.server(3).prompt.saves = true;
        let saved = cluster.server(3).saved();
        cluster.step(3, saved.into_iter().collect());
        cluster.run(2 * T);
        assert!(cluster.status(3).trusted);
        let asked = cluster.change(1, &[remove(2)]);
        cluster.run(T);
        assert!(matches!(cluster.changed(1, asked), Some(Ok(_))));
    }
}

/// B 67, 94: a vote that it may not use yet would only raise the majority.
#[test]
fn a_new_voter_gets_its_vote_when_it_is_trusted() {
    let mut cluster = Cluster::on_disks(3);
    cluster.elect(1);
    let id = cluster.add_pristine();
    cluster.wipe(id, 40);
    cluster.change(1, &[add_voter(4)]);
    while !cluster.membership(1).1.is_voter(NodeId(4)) {
        assert!(!cluster.membership(1).1.is_voter(NodeId(4)));
        if !cluster.deliver_one() {
            cluster.wait(HEARTBEAT);
            cluster.step(1, vec![Event::Timeout]);
        }
    }
    assert!(cluster.status(4).trusted);
    cluster.run(T);
    assert_eq!(cluster.membership(4).1.voters().len(), 4);
}
