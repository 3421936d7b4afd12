//! §7: when a server takes a snapshot, and what of its log it then discards.

use std::time::Duration;

use actix_raft_core::admin::{PurgeError, SnapshotError};
use actix_raft_core::config::Config;
use actix_raft_core::event::Event;
use actix_raft_core::snapshot::SnapshotPolicy;
use actix_raft_core::status::RoleName;
use actix_raft_core::types::{Index, LogPosition};

use crate::support::cluster::Cluster;
use crate::support::disk::Image;
use crate::support::server::{Prompt, Task};
use crate::support::words::*;

const NEVER: SnapshotPolicy = SnapshotPolicy { entries: None, bytes: None, interval: None };

fn every(entries: u64, kept: u64) -> impl Fn(&mut Config) {
    move |config| {
        config.snapshot_policy = SnapshotPolicy { entries: Some(entries), ..NEVER };
        config.entries_kept = kept;
    }
}

fn by_hand(config: &mut Config) {
    config.snapshot_policy = NEVER;
    config.entries_kept = 0;
}

/// What the latest snapshot includes, and the last entry that is purged.
fn included_and_purged(cluster: &Cluster, id: u64) -> (u64, u64) {
    let status = cluster.status(id);
    (status.snapshot.index.0, status.purged.index.0)
}

/// A leader whose disk and helpers wait for the test.
fn slow(cluster: &mut Cluster, id: u64) {
    cluster.server(id).prompt =
        Prompt { saves: false, applies: false, log_reads: false, snapshots: false };
}

/// §7 "each server takes snapshots independently, covering just the committed entries in its log".
/// B 79: two servers' snapshots at one index are equal byte for byte.
#[test]
fn by_entries_all_servers_take_the_same_snapshots() {
    let mut cluster = Cluster::with(3, every(5, 0));
    cluster.elect(1);
    // One gets everything at once, the others bit by bit.
    cluster.isolate(3);
    cluster.write(1, 3);
    cluster.heal();
    cluster.heartbeat(1);
    cluster.settle();
    cluster.write(1, 9);
    cluster.heartbeat(1);
    cluster.settle();
    for id in 1..=3 {
        assert_eq!(included_and_purged(&cluster, id), (10, 10), "server {id}");
        assert_eq!(cluster.log(id).len(), 3);
    }
    let file = |id: usize| cluster.servers[id].disk.durable.file.clone();
    assert_eq!(file(0).unwrap().snapshot.membership(), Some(&(Index(1), voters(1..=3).into())));
    assert_eq!((file(1), file(2)), (file(0), file(0)));
}

/// Bytes since the last, whatever the number of entries.
#[test]
fn by_bytes_a_snapshot_is_taken_when_so_much_was_applied() {
    let policy = SnapshotPolicy { bytes: Some(1000), ..NEVER };
    let mut cluster = Cluster::with(1, |config| {
        config.snapshot_policy = policy;
        config.entries_kept = 0;
    });
    cluster.elect(1);
    cluster.write(1, 3);
    assert_eq!(included_and_purged(&cluster, 1), (0, 0));
    cluster.propose(1, &"x".repeat(1000)).unwrap();
    assert_eq!(included_and_purged(&cluster, 1), (5, 5));
    cluster.write(1, 3);
    assert_eq!(included_and_purged(&cluster, 1), (5, 5), "bytes are counted anew");
    cluster.propose(1, &"x".repeat(1000)).unwrap();
    assert_eq!(included_and_purged(&cluster, 1), (9, 9));
}

/// Time since the last, on followers as on leaders; and a follower's patience is none of it.
#[test]
fn by_time_a_snapshot_is_taken_if_anything_was_applied_since() {
    let interval = Some(Duration::from_secs(1));
    let mut cluster = Cluster::with(3, |config| {
        config.snapshot_policy = SnapshotPolicy { interval, ..NEVER };
        config.entries_kept = 0;
    });
    cluster.elect(1);
    cluster.write(1, 3);
    cluster.run(Duration::from_millis(700));
    assert_eq!(included_and_purged(&cluster, 2), (0, 0));
    cluster.run(Duration::from_millis(400));
    for id in 1..=3 {
        assert_eq!(included_and_purged(&cluster, id), (4, 4), "server {id}");
    }
    assert_eq!((cluster.term(1), cluster.role(1)), (1, RoleName::Leader), "nobody stood");
    let kept = cluster.servers[1].tasks.len();
    cluster.run(Duration::from_secs(5));
    assert_eq!(included_and_purged(&cluster, 2), (4, 4), "nothing is new");
    assert_eq!(cluster.servers[1].tasks.len(), kept);
    cluster.write(1, 1);
    cluster.run(Duration::from_millis(100));
    assert_eq!(included_and_purged(&cluster, 1), (5, 5), "the time is over already");
}

/// "Policies, combinable": whichever is reached first; and an operator may change them.
#[test]
fn policies_are_combined_and_can_be_changed() {
    let policy = SnapshotPolicy { entries: Some(4), bytes: Some(1000), ..NEVER };
    let mut cluster = Cluster::with(1, |config| {
        config.snapshot_policy = policy;
        config.entries_kept = 0;
    });
    cluster.elect(1);
    cluster.propose(1, &"x".repeat(1000)).unwrap();
    assert_eq!(included_and_purged(&cluster, 1), (2, 2));
    cluster.write(1, 2);
    assert_eq!(included_and_purged(&cluster, 1), (4, 4));
    let mut config = cluster.server(1).config.clone();
    config.snapshot_policy = NEVER;
    cluster.step(1, vec![Event::Configure(config)]);
    cluster.write(1, 20);
    assert_eq!(included_and_purged(&cluster, 1), (4, 4));
}

#[test]
fn an_operators_request_is_answered_when_the_snapshot_is_there() {
    let mut cluster = Cluster::with(1, by_hand);
    cluster.elect(1);
    cluster.write(1, 2);
    cluster.server(1).prompt.snapshots = false;
    let first = cluster.trigger_snapshot(1);
    assert_eq!(cluster.snapshot_taken(1, first), None);
    let joins = cluster.trigger_snapshot(1);
    cluster.write(1, 1);
    let follows = cluster.trigger_snapshot(1);
    assert_eq!(cluster.servers[0].tasks.len(), 1, "one is built at a time");
    let built = cluster.server(1).do_task().unwrap();
    cluster.step(1, vec![built]);
    for id in [first, joins] {
        assert_eq!(cluster.snapshot_taken(1, id), Some(Ok(at(3, 1))));
    }
    assert_eq!(cluster.snapshot_taken(1, follows), None, "it wants what was written since");
    let built = cluster.server(1).do_task().unwrap();
    cluster.step(1, vec![built]);
    assert_eq!(cluster.snapshot_taken(1, follows), Some(Ok(at(4, 1))));
    let idle = cluster.trigger_snapshot(1);
    let nothing_new = Err(SnapshotError::NothingNew(at(4, 1)));
    assert_eq!(cluster.snapshot_taken(1, idle), Some(nothing_new));
}

/// A request that comes while entries are being applied is about the state after them.
#[test]
fn a_snapshot_asked_for_while_entries_are_applied_includes_them() {
    let mut cluster = Cluster::with(1, by_hand);
    cluster.elect(1);
    cluster.server(1).prompt.applies = false;
    cluster.propose(1, "a").unwrap();
    let id = cluster.trigger_snapshot(1);
    assert!(cluster.servers[0].tasks.is_empty());
    let applied = cluster.server(1).apply().unwrap();
    cluster.step(1, vec![applied]);
    assert_eq!(cluster.snapshot_taken(1, id), Some(Ok(at(2, 1))));
}

#[test]
fn a_server_without_anything_has_no_snapshot_to_take() {
    let mut cluster = Cluster::with(3, by_hand);
    let id = cluster.trigger_snapshot(1);
    let nothing_new = Err(SnapshotError::NothingNew(LogPosition::ZERO));
    assert_eq!(cluster.snapshot_taken(1, id), Some(nothing_new));
}

/// A storage that takes none is asked again when as much was applied again, and not in a loop.
#[test]
fn a_storage_that_takes_no_snapshots_is_asked_now_and_then() {
    let mut cluster = Cluster::with(1, every(10, 0));
    cluster.server(1).builds = false;
    cluster.server(1).prompt.snapshots = false;
    cluster.elect(1);
    let mut asked = 0;
    for _ in 0..35 {
        cluster.write(1, 1);
        while let Some(refused) = cluster.server(1).do_task() {
            asked += 1;
            cluster.step(1, vec![refused]);
        }
    }
    assert_eq!(asked, 3);
    assert_eq!(included_and_purged(&cluster, 1), (0, 0));
    cluster.server(1).prompt.snapshots = true;
    let id = cluster.trigger_snapshot(1);
    assert_eq!(cluster.snapshot_taken(1, id), Some(Err(SnapshotError::Unsupported)));
}

/// "Entries kept behind for slow followers": one that is a little behind needs no snapshot.
#[test]
fn entries_are_kept_for_followers_that_are_a_little_behind() {
    let mut cluster = Cluster::with(3, every(10, 4));
    cluster.elect(1);
    cluster.write(1, 5);
    cluster.heartbeat(1);
    cluster.settle();
    cluster.isolate(3);
    cluster.write(1, 5);
    assert_eq!(included_and_purged(&cluster, 1), (10, 6));
    assert_eq!(cluster.status(3).last_log, at(6, 1));
    cluster.heal();
    cluster.heartbeat(1);
    let mut snapshots = 0;
    while !cluster.network.is_empty() {
        snapshots += cluster.network.iter().filter(|m| is_install(&m.body)).count();
        cluster.deliver_one();
    }
    assert_eq!((snapshots, cluster.status(3).last_log), (0, at(11, 1)));
}

/// Explicit purge: all that the snapshot includes, or less; never more.
#[test]
fn an_operator_purges_what_the_snapshot_includes_and_no_more() {
    let mut cluster = Cluster::with(1, |config| {
        by_hand(config);
        config.entries_kept = 100;
    });
    cluster.elect(1);
    cluster.write(1, 5);
    let early = cluster.purge(1, None);
    assert_eq!(cluster.purged(1, early), Some(Ok(LogPosition::ZERO)), "there is no snapshot");
    let early = cluster.purge(1, Some(1));
    assert_eq!(cluster.purged(1, early), Some(Err(PurgeError::NotInSnapshot(Index(0)))));
    cluster.trigger_snapshot(1);
    cluster.write(1, 2);
    assert_eq!(included_and_purged(&cluster, 1), (6, 0), "all is kept");
    let some = cluster.purge(1, Some(4));
    assert_eq!(cluster.purged(1, some), Some(Ok(at(4, 1))));
    let gone = cluster.purge(1, Some(2));
    assert_eq!(cluster.purged(1, gone), Some(Ok(at(4, 1))), "that is gone already");
    let more = cluster.purge(1, Some(7));
    assert_eq!(cluster.purged(1, more), Some(Err(PurgeError::NotInSnapshot(Index(6)))));
    let all = cluster.purge(1, None);
    assert_eq!(cluster.purged(1, all), Some(Ok(at(6, 1))));
    assert_eq!((cluster.log(1).len(), included_and_purged(&cluster, 1)), (2, (6, 6)));
}

/// A purge is answered when a crash can't bring the entries back.
#[test]
fn a_purge_is_answered_when_it_is_durable() {
    let mut cluster = Cluster::with(1, |config| {
        by_hand(config);
        config.entries_kept = 100;
    });
    cluster.elect(1);
    cluster.write(1, 5);
    cluster.trigger_snapshot(1);
    cluster.server(1).prompt.saves = false;
    let id = cluster.purge(1, None);
    assert_eq!(cluster.purged(1, id), None);
    let saved = cluster.server(1).saved().unwrap();
    cluster.step(1, vec![saved]);
    assert_eq!(cluster.purged(1, id), Some(Ok(at(6, 1))));
}

/// B 91: after a restart all is there, from the snapshot on, and nothing is applied twice.
#[test]
fn a_server_restarts_from_its_snapshot_and_the_log_behind_it() {
    let mut cluster = Cluster::with(3, every(4, 0));
    cluster.elect(1);
    cluster.write(1, 8);
    cluster.heartbeat(1);
    cluster.settle();
    let before = cluster.status(2);
    let state = cluster.server(2).applied.clone();
    assert_eq!((before.purged, before.last_log, state.len()), (at(8, 1), at(9, 1), 9));
    cluster.crash(2);
    cluster.restart(2);
    let after = cluster.status(2);
    assert_eq!((after.purged, after.snapshot, after.last_log), (at(8, 1), at(8, 1), at(9, 1)));
    assert_eq!((after.commit_index, after.last_applied), (Index(8), Index(8)));
    assert_eq!(cluster.membership(2), (1, voters(1..=3)));
    cluster.heartbeat(1);
    cluster.settle();
    assert_eq!(cluster.server(2).applied, state);
    // A whole log of nothing but a base is as good as another.
    cluster.trigger_snapshot(2);
    cluster.purge(2, None);
    cluster.crash(2);
    cluster.restart(2);
    assert_eq!((cluster.log(2).len(), cluster.status(2).last_log), (0, at(9, 1)));
    cluster.elect(2);
    cluster.write(2, 1);
    assert_eq!(cluster.applied(2), 11);
}

/// B 92: crashes before the snapshot, between snapshot and purge, before the purge is durable.
#[test]
fn a_crash_at_any_step_of_a_compaction_loses_nothing() {
    for crash_after in 0..4 {
        let mut cluster = Cluster::with(1, by_hand);
        cluster.elect(1);
        cluster.write(1, 3);
        let state = cluster.server(1).applied.clone();
        slow(&mut cluster, 1);
        cluster.trigger_snapshot(1);
        if crash_after > 0 {
            let built = cluster.server(1).do_task().unwrap();
            if crash_after > 1 {
                cluster.step(1, vec![built]);
            }
        }
        if crash_after > 2 {
            let id = cluster.server(1).disk.complete_one();
            assert!(id.is_some(), "the purge is saved");
        }
        cluster.crash(1);
        cluster.server(1).prompt =
            Prompt { saves: true, applies: true, log_reads: true, snapshots: true };
        cluster.restart(1);
        let purged = if crash_after > 2 { 4 } else { 0 };
        let included = if crash_after > 0 { 4 } else { 0 };
        assert_eq!(included_and_purged(&cluster, 1), (included, purged), "{crash_after}");
        cluster.elect(1);
        assert_eq!(cluster.server(1).applied[..4], state);
        assert_eq!(cluster.applied(1), 5);
    }
}

/// B 78: the term at the snapshot's index is known; of what is before, none is made up.
#[test]
fn the_entry_before_the_log_is_compared_by_its_term_and_older_ones_not_at_all() {
    let mut cluster = Cluster::with(3, every(4, 0));
    cluster.elect(1);
    cluster.write(1, 3);
    cluster.heartbeat(1);
    cluster.settle();
    assert_eq!((cluster.log(2).len(), cluster.status(2).last_log), (0, at(4, 1)));
    cluster.sent();
    // A vote goes to whoever has as much.
    cluster.wait(3 * T);
    cluster.hear(2, 3, ask_vote(5, at(3, 1)));
    assert!(is_no(&cluster.sent()[0].1));
    cluster.hear(2, 3, ask_vote(6, at(4, 1)));
    assert!(is_yes(&cluster.sent()[0].1));
    // The base matches, and what is before it was committed.
    cluster.hear(2, 3, append(6, at(4, 1), &[6], 4));
    assert_eq!(cluster.sent().iter().filter_map(|(_, body)| match_of(body)).max(), Some(5));
    cluster.hear(2, 3, append(6, at(2, 1), &[1, 1], 4));
    assert_eq!(match_of(&cluster.sent()[0].1), Some(5), "the tail stays");
    assert_eq!(cluster.log(2), [6]);
    cluster.said(2);
    // Another term at the base is a leader that lacks a committed entry.
    cluster.hear(2, 3, append(6, at(4, 2), &[6], 4));
    assert_eq!((cluster.sent(), cluster.log(2)), (vec![], vec![6]));
    assert_eq!(cluster.said(2).len(), 1, "it is reported");
}

/// B 77, etcd raft PR 31: a leader never asks about an entry whose term it does not know.
#[test]
fn a_leader_names_what_its_log_begins_after_to_those_who_lack_it() {
    let mut cluster = Cluster::with(3, every(4, 0));
    cluster.elect(1);
    cluster.isolate(3);
    cluster.write(1, 8);
    assert_eq!(cluster.status(1).purged, at(8, 1));
    cluster.heal();
    for _ in 0..3 {
        cluster.heartbeat(1);
        let to_3 = cluster.sent_to(3);
        let heartbeats: Vec<_> = to_3.iter().filter_map(append_of).collect();
        assert!(!heartbeats.is_empty(), "it hears that there is a leader");
        for heartbeat in heartbeats {
            let entries = heartbeat.entries.len();
            assert!(
                heartbeat.prev_log == at(8, 1) && entries == 0 || heartbeat.prev_log > at(8, 1)
            );
        }
        cluster.hear(1, 3, conflict(1, 0, 8, at(1, 1)));
    }
}

/// A follower's log ends before the leader's begins: that is known from its first answer.
#[test]
fn one_refusal_is_enough_to_know_that_a_snapshot_is_needed() {
    let mut cluster = Cluster::with(3, every(4, 0));
    cluster.elect(1);
    cluster.isolate(3);
    cluster.write(1, 9);
    assert_eq!(cluster.status(1).purged, at(8, 1));
    cluster.crash(1);
    cluster.restart(1);
    cluster.elect(2);
    cluster.heal();
    cluster.sent();
    cluster.heartbeat(2);
    let probe = cluster.take(|m| m.to.0 == 3 && is_append(&m.body)).remove(0);
    cluster.sent();
    cluster.bring(probe);
    let refusal = cluster.take(|m| m.to.0 == 2).remove(0);
    assert!(conflict_of(&refusal.body).is_some());
    cluster.bring(refusal);
    assert_eq!(cluster.sent_to(3).iter().filter(|body| is_install(body)).count(), 1);
}

/// Entries on this disk but in no memory are purged like others.
#[test]
fn entries_that_are_read_while_they_are_purged_are_just_gone() {
    let mut cluster = Cluster::with(3, |config| {
        by_hand(config);
        config.recent_entries_bytes = 0;
    });
    cluster.elect(1);
    cluster.isolate(3);
    cluster.write(1, 6);
    cluster.server(1).prompt.log_reads = false;
    cluster.heal();
    cluster.heartbeat(1);
    cluster.settle();
    assert_eq!(cluster.servers[0].log_reads.len(), 1, "entries for server 3 are being read");
    cluster.trigger_snapshot(1);
    assert_eq!(included_and_purged(&cluster, 1), (7, 7));
    cluster.server(1).prompt.log_reads = true;
    cluster.step(1, vec![]);
    cluster.heartbeat(1);
    cluster.settle();
    cluster.write(1, 1);
    cluster.heartbeat(1);
    cluster.settle();
    assert_eq!(cluster.servers[2].applied, cluster.servers[0].applied);
}

/// B 63: the configuration is known however much of the log is gone.
#[test]
fn the_configuration_outlives_the_entry_that_brought_it() {
    let mut cluster = Cluster::with(3, by_hand);
    cluster.elect(1);
    cluster.add_pristine_with(by_hand);
    cluster.change(1, &[add_voter(4)]);
    cluster.run(4 * T);
    let (index, members) = cluster.membership(1);
    assert_eq!(members, voters(1..=4));
    cluster.write(1, 3);
    cluster.heartbeat(1);
    cluster.settle();
    for id in 1..=4 {
        cluster.trigger_snapshot(id);
        assert!(cluster.status(id).purged.index.0 > index);
        cluster.crash(id);
        cluster.restart(id);
        assert_eq!(cluster.membership(id), (index, voters(1..=4)), "server {id}");
    }
    cluster.run(5 * T);
    assert_eq!(cluster.leaders().len(), 1);
}

/// A snapshot is of committed entries only, and its configuration is the one there: not one that
/// came later and may go again.
#[test]
fn a_snapshot_has_the_configuration_of_its_last_entry_not_of_the_logs() {
    let mut cluster = Cluster::with(3, by_hand);
    cluster.elect(1);
    cluster.write(1, 2);
    cluster.isolate(1);
    cluster.change(1, &[remove(3)]);
    assert_eq!(cluster.membership(1).0, 4, "in force as soon as it is in the log");
    cluster.trigger_snapshot(1);
    let file = cluster.server(1).disk.durable.file.clone().unwrap();
    assert_eq!(file.snapshot.last_included(), at(3, 1));
    assert_eq!(file.snapshot.membership(), Some(&(Index(1), voters(1..=3).into())));
    // The entry goes, and with it the configuration.
    cluster.elect(2);
    cluster.heal();
    cluster.heartbeat(2);
    cluster.settle();
    cluster.heartbeat(2);
    cluster.settle();
    assert_eq!(cluster.membership(1), (1, voters(1..=3)));
}

/// Images of snapshots are taken of what was applied, while more is applied.
#[test]
fn entries_are_applied_while_a_snapshot_is_built() {
    let mut cluster = Cluster::with(1, every(3, 0));
    cluster.elect(1);
    cluster.server(1).prompt.snapshots = false;
    cluster.write(1, 6);
    assert_eq!(cluster.applied(1), 7);
    assert!(matches!(cluster.servers[0].tasks[0], Task::Build(_)));
    let built = cluster.server(1).do_task().unwrap();
    cluster.step(1, vec![built]);
    assert_eq!(included_and_purged(&cluster, 1), (3, 3));
    assert!(cluster.servers[0].tasks.is_empty(), "the next is at a multiple again");
    cluster.write(1, 2);
    assert!(matches!(cluster.servers[0].tasks[0], Task::Build(_)));
}

/// A restart finds a snapshot and no base of that name: the purge was not durable.
#[test]
fn a_log_that_goes_back_further_than_its_snapshot_is_kept() {
    let members = voters([1]);
    let mut image = Image::of(&members, 1, &[1, 1, 1, 1, 1]);
    image.file = Some(snapshot_of(&members, &[1, 1, 1]));
    let mut cluster = Cluster::from_images(vec![image], by_hand);
    assert_eq!(included_and_purged(&cluster, 1), (3, 0));
    assert_eq!((cluster.commit(1), cluster.applied(1)), (3, 3));
    cluster.elect(1);
    assert_eq!((cluster.applied(1), cluster.log(1).len()), (6, 6));
}
