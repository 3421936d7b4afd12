//! §5.4: what is committed stays, and every later leader has it.

use actix_raft_core::effect::Effect;
use actix_raft_core::membership::Membership;
use actix_raft_core::status::RoleName;
use actix_raft_core::types::{Index, NodeId};

use crate::support::cluster::Cluster;
use crate::support::disk::Image;
use crate::support::words::*;

/// §5.3 "a log entry is committed once the leader that created the entry has replicated it on a
/// majority of the servers". B 47, 48
#[test]
fn an_entry_is_committed_by_the_acknowledgement_that_makes_a_majority() {
    for count in 2..=7 {
        let mut cluster = Cluster::new(count);
        cluster.elect(1);
        cluster.propose(1, "x").unwrap();
        cluster.said(1);
        for copies in 2..=count {
            let majority = count / 2 + 1;
            assert_eq!(cluster.commit(1), if copies > majority { 2 } else { 1 });
            cluster.hear(1, copies, matched(1, 0, 2));
        }
        let announced = cluster.said(1);
        let commits = announced.iter().filter(|e| matches!(e, Effect::Committed { .. })).count();
        assert_eq!(commits, 1, "{announced:?}");
    }
}

/// B 47: any order of acknowledgements, any gaps between them.
#[test]
fn the_commit_index_is_what_a_majority_has_reached() {
    let mut cluster = Cluster::new(5);
    cluster.elect(1);
    (0..9).for_each(|_| {
        cluster.propose(1, "x").unwrap();
    });
    cluster.sent();
    let acknowledge = [(5, 9, 1), (4, 3, 3), (3, 7, 7), (2, 8, 8), (4, 10, 9), (2, 10, 10)];
    for (follower, index, expected) in acknowledge {
        cluster.hear(1, follower, matched(1, 0, index));
        assert_eq!(cluster.commit(1), expected, "server {follower} has {index}");
    }
}

/// B 9, 48: servers without a vote receive the log and count in no majority.
#[test]
fn non_voters_hold_entries_and_commit_none() {
    let members = voters(1..=5).members().clone();
    let membership = Membership::new((1..=3).map(NodeId), members).unwrap();
    let image = Image::of(&membership, 1, &[1]);
    let mut cluster = Cluster::from_images(vec![image; 5], |_| {});
    cluster.elect(1);
    cluster.run(HEARTBEAT);
    let before = cluster.commit(1);
    cluster.isolate(2);
    cluster.isolate(3);
    cluster.propose(1, "x").unwrap();
    cluster.settle();
    assert_eq!(cluster.log(4), cluster.log(1));
    assert_eq!(cluster.log(5), cluster.log(1));
    assert_eq!(cluster.commit(1), before, "one voter of three holds it");
    cluster.heal();
    cluster.run(2 * HEARTBEAT);
    assert!((1..=5).all(|id| cluster.commit(id) == before + 1));
    assert_eq!((cluster.role(4), cluster.deadline(4)), (RoleName::NonVoter, None));
}

/// Figure 8's servers: S1 leads term 4 and has replicated the entry of term 2 to a majority.
fn figure_8_c() -> Cluster {
    let logs: [(u64, &[u64]); 5] =
        [(3, &[1, 2]), (3, &[1, 2]), (3, &[1, 2]), (3, &[1]), (3, &[1, 3])];
    let mut cluster = Cluster::of_logs(&logs);
    // S5 is away. S1 is elected in term 4, and its own entry is lost on the way to everyone.
    cluster.isolate(5);
    cluster.wait(2 * T);
    cluster.timeout(1);
    while cluster.role(1) != RoleName::Leader {
        assert!(cluster.deliver_one());
    }
    cluster.sent();
    assert_eq!((cluster.term(1), cluster.log(1)), (4, vec![1, 2, 4]));
    cluster
}

/// §5.4.2, Figure 8 (c) and (d): "a log entry from term 2 is on a majority, but it is not
/// committed. If S1 crashes as in (d), S5 could be elected and overwrite the entry". B 45
#[test]
fn an_entry_of_an_earlier_term_on_a_majority_is_not_committed_and_can_be_overwritten() {
    let mut cluster = figure_8_c();
    cluster.hear(1, 2, matched(4, 0, 2));
    cluster.hear(1, 3, matched(4, 0, 2));
    assert_eq!(cluster.commit(1), 0, "on three of five, and not committed");

    cluster.crash(1);
    cluster.sent();
    cluster.heal();
    // The first try tells S5 that the others are in term 4 already.
    cluster.wait(2 * T);
    cluster.timeout(5);
    cluster.settle();
    cluster.elect(5);
    cluster.heartbeat(5);
    cluster.settle();
    for id in 2..=5 {
        assert_eq!(cluster.log(id), [1, 3, cluster.term(5)], "term 2's entry is gone");
    }
}

/// §5.4.2, Figure 8 (e): "if S1 replicates an entry from its current term on a majority of the
/// servers before crashing, then this entry is committed (S5 cannot win an election). At this
/// point all preceding entries in the log are committed as well". B 45
#[test]
fn an_entry_of_the_own_term_on_a_majority_commits_all_before_it_for_good() {
    let mut cluster = figure_8_c();
    cluster.isolate(4);
    cluster.heartbeat(1);
    cluster.settle();
    assert_eq!(cluster.commit(1), 3);
    assert_eq!((cluster.log(2), cluster.log(3)), (vec![1, 2, 4], vec![1, 2, 4]));

    cluster.crash(1);
    cluster.heal();
    cluster.wait(2 * T);
    cluster.timeout(5);
    cluster.settle();
    assert_eq!(cluster.role(5), RoleName::Follower, "S5 can't win");
    cluster.run(10 * T);
    let leaders = cluster.leaders();
    assert!(leaders == [2] || leaders == [3], "{leaders:?}");
    assert_eq!(cluster.log(5)[..3], [1, 2, 4]);
}

/// §5.4 "the leader for any given term contains all of the entries committed in previous terms".
/// B 5, 93
#[test]
fn a_server_that_lacks_a_committed_entry_is_not_elected_however_often_it_tries() {
    for pre_vote in [true, false] {
        let mut cluster = Cluster::with(3, |config| config.pre_vote = pre_vote);
        cluster.elect(1);
        cluster.isolate(3);
        cluster.propose(1, "x").unwrap();
        cluster.settle();
        assert_eq!(cluster.commit(1), 2);
        cluster.crash(1);
        cluster.heal();
        for _ in 0..5 {
            cluster.wait(2 * T);
            cluster.timeout(3);
            cluster.settle();
            assert_ne!(cluster.role(3), RoleName::Leader);
        }
        cluster.run(10 * T);
        assert_eq!((cluster.leaders(), cluster.log(3)[..2].to_vec()), (vec![2], vec![1, 1]));
    }
}

/// §5.4.2 "Raft never commits log entries from previous terms by counting replicas": the blank
/// entry does it. §8. B 16, 45
#[test]
fn a_new_leader_commits_what_it_inherited_with_its_first_entry() {
    let log: (u64, &[u64]) = (2, &[1, 2, 2]);
    let mut cluster = Cluster::of_logs(&[log; 3]);
    cluster.elect(1);
    assert_eq!((cluster.commit(1), cluster.applied(1)), (4, 4));
    assert_eq!(cluster.log(1), [1, 2, 2, 3]);
}

/// §5.3 "a leader never overwrites or deletes entries in its log; it only appends": whatever a
/// follower of an older leader sends.
#[test]
fn a_leader_keeps_its_log_and_the_followers_take_it() {
    let mut cluster = Cluster::of_logs(&[(2, &[1, 2]), (2, &[1, 1, 1, 1]), (2, &[1])]);
    cluster.elect(1);
    cluster.heartbeat(1);
    cluster.settle();
    assert_eq!([1, 2, 3].map(|id| cluster.log(id)), [[1, 2, 3]; 3].map(Vec::from));
}

/// §5.3 "once a follower learns that a log entry is committed, it applies the entry to its local
/// state machine": but not before it is on its own disk, so that it is not ahead of its log. B 49
#[test]
fn a_follower_applies_a_committed_entry_when_it_is_on_its_own_disk() {
    let mut cluster = Cluster::of_logs(&[(1, &[1]), (1, &[1]), (1, &[1])]);
    cluster.hear(1, 2, append(1, at(1, 1), &[], 1));
    assert_eq!(cluster.applied(1), 1);
    cluster.server(1).prompt.saves = false;
    cluster.hear(1, 2, append(1, at(1, 1), &[1, 1], 3));
    assert_eq!((cluster.status(1).commit_index, cluster.applied(1)), (Index(3), 1));
    let saved = cluster.server(1).saved().unwrap();
    cluster.step(1, vec![saved]);
    assert_eq!(cluster.applied(1), 3);
}
