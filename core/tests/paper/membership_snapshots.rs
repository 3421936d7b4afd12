//! Changes of members where logs begin after a snapshot (§6, §7).

use std::time::Duration;

use actix_raft_core::admin::{ChangeError, Changed};
use actix_raft_core::config::Config;
use actix_raft_core::message::MessageBody;
use actix_raft_core::types::{Index, NodeId};

use crate::support::cluster::Cluster;
use crate::support::words::*;

/// A snapshot every four entries, and no entry kept longer than that.
fn tweak(config: &mut Config) {
    config.snapshot_policy.entries = Some(4);
    config.entries_kept = 0;
}

/// Server 1 leads three voters; what came first is in its log no more. Server 4 knows nothing.
fn purged() -> Cluster {
    let mut cluster = Cluster::with(3, tweak);
    cluster.elect(1);
    for _ in 0..9 {
        cluster.propose(1, "x").unwrap();
        cluster.settle();
    }
    assert!(cluster.status(1).purged.index >= Index(8));
    assert_eq!(cluster.add_pristine_with(tweak), 4);
    cluster
}

fn final_at(index: u64) -> Option<Result<Changed, ChangeError>> {
    Some(Ok(Changed::Final { index: Index(index) }))
}

/// B 63, 67: and gets its vote only then.
#[test]
fn a_new_voter_catches_up_by_a_snapshot() {
    let mut cluster = purged();
    let asked = cluster.change(1, &[add_voter(4)]);
    cluster.run(2 * T);
    assert!(cluster.status(4).snapshot.index >= Index(8));
    let (index, members) = cluster.membership(1);
    assert_eq!((cluster.changed(1, asked), members), (final_at(index), voters(1..=4)));
    assert_eq!(cluster.membership(4), cluster.membership(1));
    assert_eq!(cluster.applied(4), cluster.applied(1));
}

/// B 63: the configuration of the snapshot is in force, and is there after a restart.
#[test]
fn a_configuration_that_a_snapshot_includes_is_in_force_as_it_was() {
    let mut cluster = purged();
    cluster.isolate(3);
    cluster.change(1, &[add_voter(4)]);
    cluster.run(2 * T);
    for _ in 0..9 {
        cluster.propose(1, "x").unwrap();
        cluster.settle();
    }
    cluster.heal();
    cluster.run(T);
    let expected = cluster.membership(1);
    assert!(cluster.status(3).snapshot.index > Index(expected.0), "3 has it by a snapshot");
    assert_eq!(cluster.membership(3), expected);
    for id in 1..=4 {
        cluster.crash(id);
        cluster.restart(id);
        assert_eq!(cluster.membership(id), expected);
    }
    cluster.run(8 * T);
    assert_eq!(cluster.leaders().len(), 1);
}

/// B 63: the change goes on from what the snapshot says.
#[test]
fn a_change_half_done_survives_a_restart_from_a_snapshot() {
    let mut cluster = purged();
    cluster.crash(4);
    cluster.change(1, &[add_voter(4), remove(3)]);
    cluster.settle();
    for _ in 0..9 {
        cluster.propose(1, "x").unwrap();
        cluster.settle();
    }
    let half = cluster.membership(1);
    assert!(half.1.goal().is_some() && cluster.status(1).purged.index > Index(half.0));
    for id in 1..=3 {
        cluster.crash(id);
        cluster.restart(id);
        assert_eq!(cluster.membership(id), half);
    }
    cluster.restart(4);
    cluster.run(10 * T);
    let leaders = cluster.leaders();
    assert_eq!(leaders.len(), 1);
    for id in [1, 2, 4] {
        assert_eq!(cluster.membership(id).1, voters([1, 2, 4]));
    }
}

/// The members before are known no more; those that vote are.
#[test]
fn a_change_that_is_given_up_when_its_begin_is_purged_leaves_the_voters_as_they_were() {
    let mut cluster = purged();
    cluster.crash(4);
    let asked = cluster.change(1, &[add_voter(4)]);
    cluster.settle();
    for _ in 0..9 {
        cluster.propose(1, "x").unwrap();
        cluster.settle();
    }
    cluster.run(Duration::from_secs(11));
    assert_eq!(cluster.changed(1, asked), Some(Err(ChangeError::NotCaughtUp(NodeId(4)))));
    assert_eq!(cluster.membership(1).1, members(1..=3, [4]));
    let asked = cluster.change(1, &[remove(4)]);
    cluster.settle();
    assert!(matches!(cluster.changed(1, asked), Some(Ok(_))));
    assert_eq!(cluster.membership(2).1, voters(1..=3));
}

/// A farewell is a courtesy: no snapshot is sent for it.
#[test]
fn a_removed_server_that_needs_a_snapshot_is_not_sent_one() {
    let mut cluster = purged();
    cluster.isolate(3);
    for _ in 0..9 {
        cluster.propose(1, "x").unwrap();
        cluster.settle();
    }
    let asked = cluster.change(1, &[remove(3)]);
    cluster.settle();
    assert!(matches!(cluster.changed(1, asked), Some(Ok(_))));
    cluster.heal();
    for _ in 0..20 {
        cluster.heartbeat(1);
        let to_it = cluster.sent_to(3);
        assert!(!to_it.iter().any(|body| matches!(body, MessageBody::InstallSnapshotRequest(_))));
        cluster.settle();
    }
    assert_eq!(cluster.membership(3).1, voters(1..=3));
}
