//! §5.5 and Figure 2, "persistent state": what a crash takes and what it leaves.

use actix_raft_core::entry::EntryPayload;
use actix_raft_core::types::Index;

use crate::support::cluster::Cluster;
use crate::support::words::*;

/// All commands that this server applied.
fn commands(cluster: &mut Cluster, id: u64) -> Vec<String> {
    let text = |payload: &EntryPayload| match payload {
        EntryPayload::Normal(command) => Some(String::from_utf8(command.to_vec()).unwrap()),
        EntryPayload::Blank | EntryPayload::ConfigChange(_) => None,
    };
    cluster.server(id).applied.iter().filter_map(|entry| text(&entry.payload)).collect()
}

/// B 90, 93
#[test]
fn a_cluster_that_loses_power_as_a_whole_keeps_all_that_was_committed() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    (0..10).for_each(|n| {
        cluster.propose(1, &n.to_string()).unwrap();
        cluster.settle();
    });
    assert_eq!(cluster.commit(1), 11);
    // These reach no second disk.
    cluster.isolate(1);
    cluster.propose(1, "perhaps").unwrap();
    (1..=3).for_each(|id| cluster.crash(id));
    cluster.network.clear();
    cluster.heal();
    (1..=3).for_each(|id| cluster.restart(id));
    cluster.run(10 * T);
    assert_eq!(cluster.leaders().len(), 1);
    let first = commands(&mut cluster, 1);
    assert_eq!(first[..10], (0..10).map(|n| n.to_string()).collect::<Vec<_>>());
    assert_eq!((commands(&mut cluster, 2), commands(&mut cluster, 3)), (first.clone(), first));
}

/// B 93: one after the other.
#[test]
fn a_cluster_restarted_one_by_one_goes_on() {
    let mut cluster = Cluster::new(3);
    for id in [1, 2, 3, 1, 2, 3] {
        cluster.run(8 * T);
        let leader = cluster.leaders()[0];
        cluster.propose(leader, &id.to_string()).unwrap();
        cluster.settle();
        cluster.crash(id);
        cluster.restart(id);
    }
    cluster.run(8 * T);
    let first = commands(&mut cluster, 1);
    assert_eq!(first, ["1", "2", "3", "1", "2", "3"]);
    assert_eq!((commands(&mut cluster, 2), commands(&mut cluster, 3)), (first.clone(), first));
}

/// B 91: a state machine that survives by itself is not given anything twice.
#[test]
fn a_restarted_server_applies_only_what_its_state_machine_lacks() {
    let mut cluster = Cluster::new(1);
    cluster.elect(1);
    cluster.propose(1, "a").unwrap();
    let kept = cluster.server(1).applied.clone();
    assert_eq!(kept.len(), 2);
    cluster.propose(1, "b").unwrap();
    cluster.crash(1);
    cluster.server(1).applied = kept;
    cluster.restart(1);
    let status = cluster.status(1);
    assert_eq!((status.commit_index, status.last_applied), (Index(2), Index(2)));
    cluster.elect(1);
    assert_eq!(commands(&mut cluster, 1), ["a", "b"], "the driver checks that none comes twice");
}

/// B 91: entries that a crash takes with it were acknowledged to nobody.
#[test]
fn entries_that_were_not_durable_are_gone_after_a_crash_and_come_again() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.server(2).prompt.saves = false;
    cluster.propose(1, "x").unwrap();
    cluster.settle();
    assert_eq!(cluster.log(2).len(), 2);
    cluster.crash(2);
    cluster.restart(2);
    assert_eq!((cluster.log(2).len(), cluster.commit(2)), (1, 0));
    cluster.server(2).prompt.saves = true;
    cluster.heartbeat(1);
    cluster.settle();
    cluster.heartbeat(1);
    cluster.settle();
    assert_eq!((cluster.log(2).len(), cluster.applied(2)), (2, 2));
}

/// B 93: the survivor has entries that nobody else has, and they are as good as others.
#[test]
fn a_lone_survivor_with_a_longer_log_brings_its_entries_back() {
    let mut cluster = Cluster::of_logs(&[(2, &[1, 2, 2, 2]), (2, &[1]), (2, &[1])]);
    cluster.run(10 * T);
    let leaders = cluster.leaders();
    assert_eq!(leaders.len(), 1);
    // Either it is elected, or its entries lose to those of a later leader: never both.
    let logs = [1, 2, 3].map(|id| cluster.log(id));
    assert!(logs.iter().all(|log| *log == logs[0]), "{logs:?}");
    assert_eq!(logs[0].starts_with(&[1, 2, 2, 2]), leaders == [1]);
}
