//! Proposals, windows and pages: how entries enter a leader and leave it, within limits.

use actix_raft_core::effect::{Effect, ProposeError};
use actix_raft_core::entry::Entry;
use actix_raft_core::types::{Index, NodeId};

use crate::support::cluster::Cluster;
use crate::support::words::*;

const ONE: usize = Entry::OVERHEAD + 1;

/// The counts of entries in the requests to this server that are under way, without heartbeats.
fn batches(cluster: &Cluster, to: u64) -> Vec<usize> {
    let to_it = cluster.network.iter().filter(|message| message.to.0 == to);
    let requests = to_it.filter_map(|message| append_of(&message.body));
    requests.map(|request| request.entries.len()).filter(|count| *count > 0).collect()
}

fn commands(count: usize) -> Vec<String> {
    (0..count).map(|_| "x".to_string()).collect()
}

/// §5.1 "the leader handles all client requests (if a client contacts a follower, the follower
/// redirects it to the leader)". B 43
#[test]
fn only_the_leader_accepts_commands_and_the_others_name_it() {
    let mut cluster = Cluster::new(3);
    assert_eq!(cluster.propose(2, "x"), Err(ProposeError::NotLeader { leader: None }));
    cluster.elect(1);
    let leader = Some(NodeId(1));
    assert_eq!(cluster.propose(2, "x"), Err(ProposeError::NotLeader { leader }));
    assert_eq!(cluster.propose(1, "x"), Ok(Index(2)));
    assert_eq!(cluster.propose_all(1, commands(3)), Ok(Index(3)));
    cluster.isolate(2);
    cluster.timeout(2);
    assert_eq!(cluster.propose(2, "x"), Err(ProposeError::NotLeader { leader: None }));
    assert_eq!(cluster.log(1).len(), 5, "what was refused is nowhere");
}

/// B 43, 83
#[test]
fn commands_beyond_the_limit_on_uncommitted_bytes_are_refused_until_some_commit() {
    let mut cluster = Cluster::with(3, |config| config.max_uncommitted_bytes = 2 * ONE);
    cluster.elect(1);
    cluster.sent();
    let accepted: Vec<bool> = (0..5).map(|_| cluster.propose(1, "x").is_ok()).collect();
    assert_eq!(accepted, [true, true, true, false, false], "while not above the limit");
    assert_eq!(cluster.propose(1, "x"), Err(ProposeError::Overloaded));
    assert_eq!(cluster.log(1).len(), 4);
    cluster.settle();
    assert_eq!(cluster.commit(1), 4);
    assert!(cluster.propose(1, "x").is_ok());
}

/// B 43: a leader that steps down says so, once.
#[test]
fn losing_office_is_said_once() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.propose(1, "x").unwrap();
    cluster.said(1);
    cluster.hear(1, 2, append(5, at(9, 4), &[], 0));
    cluster.hear(1, 3, append(6, at(9, 4), &[], 0));
    let lost = cluster.said(1).into_iter().filter(|e| *e == Effect::LeadershipLost).count();
    assert_eq!(lost, 1);
}

/// §5.3 "issues AppendEntries RPCs in parallel": and in parallel to its own disk (diss. §10.2.1).
/// B 44
#[test]
fn a_leader_sends_entries_while_its_own_disk_still_writes_them_and_counts_itself_when_it_has() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.server(1).prompt.saves = false;
    cluster.propose(1, "x").unwrap();
    assert_eq!((batches(&cluster, 2), batches(&cluster, 3)), (vec![1], vec![1]));
    cluster.isolate(3);
    cluster.settle();
    assert_eq!(cluster.commit(1), 1, "one disk of three");
    let saved = cluster.server(1).saved().unwrap();
    cluster.step(1, vec![saved]);
    assert_eq!((cluster.commit(1), cluster.applied(1)), (2, 2));
}

/// B 44, 48: the leader's disk is one of many.
#[test]
fn entries_on_the_disks_of_a_majority_are_committed_without_the_leaders_disk() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.server(1).prompt.saves = false;
    cluster.propose(1, "x").unwrap();
    cluster.settle();
    assert_eq!(cluster.commit(1), 2);
    assert_eq!(cluster.applied(1), 1, "its own state machine waits for its own disk");
}

/// B 81
#[test]
fn no_more_requests_are_under_way_than_the_window_holds() {
    let mut cluster = Cluster::with(3, |config| config.max_in_flight_appends = 3);
    cluster.elect(1);
    (0..10).for_each(|_| {
        cluster.propose(1, "x").unwrap();
    });
    assert_eq!(batches(&cluster, 2), [1, 1, 1]);
    // Each answer lets out what has gathered meanwhile.
    cluster.deliver_one();
    let answer = cluster.take(|m| m.to.0 == 1 && m.from.0 == 2);
    assert_eq!(answer.len(), 1);
    answer.into_iter().for_each(|message| cluster.bring(message));
    assert_eq!(batches(&cluster, 2), [1, 1, 7]);
}

/// B 81
#[test]
fn no_more_bytes_are_under_way_than_the_window_holds() {
    let mut cluster = Cluster::with(3, |config| config.max_in_flight_bytes = 2 * ONE);
    cluster.elect(1);
    (0..10).for_each(|_| {
        cluster.propose(1, "x").unwrap();
    });
    assert_eq!(batches(&cluster, 2), [1, 1]);
    cluster.settle();
    assert_eq!(cluster.commit(1), 11);
}

/// B 41: at the limit, one byte less, one byte more; and the entry that is alone too large.
#[test]
fn a_request_holds_as_many_entries_as_fit_and_at_least_one() {
    for (limit, expected) in [
        (1, vec![1, 1, 1, 1]),
        (2 * ONE - 1, vec![1, 1, 1, 1]),
        (2 * ONE, vec![2, 2]),
        (2 * ONE + 1, vec![2, 2]),
        (3 * ONE, vec![3, 1]),
        (usize::MAX, vec![4]),
    ] {
        let mut cluster = Cluster::with(3, |config| config.max_append_bytes = limit);
        cluster.elect(1);
        cluster.propose_all(1, commands(4)).unwrap();
        assert_eq!(batches(&cluster, 2), expected, "{limit} bytes");
        let requests = cluster.network.iter().filter(|m| m.to.0 == 3);
        let requests = requests.filter_map(|m| append_of(&m.body));
        let indexes: Vec<u64> =
            requests.flat_map(|r| r.entries.iter().map(|entry| entry.index.0)).collect();
        assert_eq!(indexes, [2, 3, 4, 5], "contiguous");
        cluster.settle();
        assert_eq!(cluster.commit(1), 5);
    }
}

/// Until it is known where the logs agree, one request at a time goes out. B 81
#[test]
fn a_follower_whose_log_is_unknown_gets_one_request_at_a_time() {
    let log: (u64, &[u64]) = (1, &[1, 1]);
    let mut cluster = Cluster::of_logs(&[log; 3]);
    cluster.isolate(3);
    cluster.elect(1);
    cluster.heal();
    (0..5).for_each(|_| {
        cluster.propose(1, "x").unwrap();
    });
    assert_eq!((batches(&cluster, 2), batches(&cluster, 3)), (vec![1; 5], vec![]));
    cluster.heartbeat(1);
    assert_eq!(batches(&cluster, 3), [6]);
    cluster.settle();
    (0..5).for_each(|_| {
        cluster.propose(1, "x").unwrap();
    });
    assert_eq!(batches(&cluster, 3), [1; 5]);
}

/// B 49: entries that left memory are read from the disk, for followers and for the state machine.
#[test]
fn old_entries_are_read_from_the_disk_and_none_is_lost_or_repeated() {
    let mut cluster = Cluster::with(3, |config| {
        config.recent_entries_bytes = 0;
        config.max_append_bytes = 3 * ONE;
        config.max_apply_bytes = 2 * ONE;
    });
    cluster.elect(1);
    cluster.isolate(3);
    cluster.server(1).prompt.applies = false;
    for _ in 0..10 {
        cluster.propose_all(1, commands(3)).unwrap();
        cluster.settle();
    }
    assert_eq!((cluster.commit(1), cluster.applied(1)), (31, 1));
    cluster.server(1).prompt.applies = true;
    let before = cluster.server(1).log_reads_so_far;
    let applied = cluster.server(1).apply().unwrap();
    cluster.step(1, vec![applied]);
    assert_eq!(cluster.applied(1), 31);
    assert!(cluster.server(1).log_reads_so_far - before >= 14, "two entries at a time");

    let before = cluster.server(1).log_reads_so_far;
    cluster.heal();
    cluster.heartbeat(1);
    cluster.settle();
    assert_eq!(cluster.log(3), cluster.log(1));
    assert!(cluster.server(1).log_reads_so_far - before >= 10, "three entries at a time");
    cluster.heartbeat(1);
    cluster.settle();
    assert_eq!(cluster.servers[2].applied, cluster.servers[0].applied);
}

/// B 49: entries read for a follower are no use to it any more when the answer comes.
#[test]
fn entries_that_arrive_from_the_disk_too_late_are_not_sent() {
    let mut cluster = Cluster::with(3, |config| config.recent_entries_bytes = 0);
    cluster.elect(1);
    cluster.isolate(3);
    (0..4).for_each(|_| {
        cluster.propose(1, "x").unwrap();
        cluster.settle();
    });
    cluster.heal();
    cluster.server(1).prompt.log_reads = false;
    cluster.heartbeat(1);
    cluster.settle();
    let readers: Vec<_> = cluster.server(1).log_reads.keys().copied().collect();
    assert_eq!(readers.len(), 1, "{readers:?}");
    let entries = cluster.server(1).read_log(readers[0]).unwrap();
    cluster.hear(1, 2, append(9, at(9, 8), &[], 0));
    cluster.sent();
    cluster.step(1, vec![entries]);
    assert_eq!(cluster.sent(), [], "it leads no longer");
}

/// §5.3 "apply log[lastApplied] to state machine" in order. B 49
#[test]
fn committed_entries_are_applied_in_order_in_pages_that_lose_none() {
    for limit in [1, ONE, 2 * ONE - 1, 2 * ONE, usize::MAX] {
        let mut cluster = Cluster::with(3, |config| config.max_apply_bytes = limit);
        cluster.elect(1);
        (0..3).for_each(|_| {
            cluster.propose_all(1, commands(3)).unwrap();
        });
        cluster.settle();
        cluster.heartbeat(1);
        cluster.settle();
        for id in 1..=3 {
            let indexes: Vec<u64> = cluster.server(id).applied.iter().map(|e| e.index.0).collect();
            assert_eq!(indexes, (1..=10).collect::<Vec<_>>());
        }
    }
}
