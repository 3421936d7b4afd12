//! How a cluster comes to be: the first configuration.

use actix_raft_core::effect::{Effect, InitializeError};
use actix_raft_core::entry::EntryPayload;
use actix_raft_core::status::RoleName;
use actix_raft_core::types::{Index, Term};

use crate::support::cluster::Cluster;
use crate::support::disk::Image;
use crate::support::words::*;

/// Servers that know nothing.
fn pristine(count: usize) -> Cluster {
    Cluster::from_images(vec![Image::default(); count], |_| {})
}

fn answer_of(cluster: &mut Cluster, id: u64) -> Vec<Result<(), InitializeError>> {
    let said = cluster.said(id).into_iter();
    said.filter_map(|effect| match effect {
        Effect::Initialized(result) => Some(result),
        _ => None,
    })
    .collect()
}

/// B 71: the same configuration given to all, at once.
#[test]
fn servers_that_are_all_told_of_the_cluster_form_one() {
    let mut cluster = pristine(3);
    for id in 1..=3 {
        assert_eq!(cluster.role(id), RoleName::NonVoter);
        cluster.initialize(id, &voters(1..=3));
        assert_eq!(answer_of(&mut cluster, id), [Ok(())]);
        assert_eq!(cluster.role(id), RoleName::Follower);
    }
    cluster.run(8 * T);
    assert_eq!(cluster.leaders().len(), 1);
    assert!((1..=3).all(|id| cluster.applied(id) >= 1));
    assert!((1..=3).all(|id| answer_of(&mut cluster, id).is_empty()));
}

/// B 71: the others learn of it from the log's first entry.
#[test]
fn servers_of_which_one_is_told_of_the_cluster_form_one() {
    let mut cluster = pristine(3);
    cluster.initialize(1, &voters(1..=3));
    cluster.run(8 * T);
    assert_eq!(cluster.leaders(), [1]);
    for id in 2..=3 {
        assert_eq!(cluster.role(id), RoleName::Follower);
        let (index, membership) = cluster.server(id).raft().membership().cloned().unwrap();
        assert_eq!((index, &*membership), (Index(1), &voters(1..=3)));
        let first = cluster.server(id).applied[0].payload.clone();
        assert_eq!(first, EntryPayload::ConfigChange(membership));
    }
}

/// B 71, 98: what they have learnt is enough to go on without the one who told them.
#[test]
fn servers_that_learnt_of_the_cluster_from_its_leader_outlive_that_leader() {
    let mut cluster = pristine(3);
    cluster.initialize(1, &voters(1..=3));
    cluster.timeout(1);
    while cluster.log(2).is_empty() || cluster.log(3).is_empty() {
        assert!(cluster.deliver_one());
    }
    cluster.crash(1);
    cluster.network.clear();
    assert!(cluster.deadline(2).is_some() && cluster.deadline(3).is_some(), "they wait for it");
    cluster.run(8 * T);
    let leaders = cluster.leaders();
    assert!(leaders == [2] || leaders == [3], "{leaders:?}");
}

/// B 71: a cluster of one waits for nobody.
#[test]
fn a_cluster_of_one_leads_itself_as_soon_as_it_is_formed() {
    let mut cluster = pristine(1);
    cluster.initialize(1, &voters([1]));
    assert_eq!(cluster.deadline(1), Some(cluster.now));
    cluster.timeout(1);
    assert_eq!((cluster.role(1), cluster.commit(1)), (RoleName::Leader, 1));
}

/// B 71
#[test]
fn a_server_with_a_configuration_or_entries_can_not_be_given_another_configuration() {
    let mut cluster = pristine(3);
    cluster.initialize(1, &voters(1..=3));
    cluster.initialize(1, &voters(1..=3));
    let refused = Err(InitializeError::AlreadyInitialized);
    assert_eq!(answer_of(&mut cluster, 1), [Ok(()), refused]);
    cluster.run(8 * T);
    let before = cluster.server(2).disk.durable.clone();
    cluster.initialize(2, &voters([2]));
    assert_eq!(answer_of(&mut cluster, 2), [refused]);
    assert_eq!(cluster.server(2).disk.durable, before);
    cluster.crash(1);
    cluster.restart(1);
    cluster.initialize(1, &voters([1]));
    assert_eq!(answer_of(&mut cluster, 1), [refused]);
}

/// B 71
#[test]
fn a_server_without_a_vote_in_it_does_not_form_a_cluster() {
    let mut cluster = pristine(1);
    cluster.initialize(1, &voters([2, 3]));
    assert_eq!(answer_of(&mut cluster, 1), [Err(InitializeError::NotAVoter)]);
    assert_eq!(cluster.server(1).disk.durable, Image::default());
    assert_eq!(cluster.deadline(1), None);
}

/// B 7, 71: told means on disk.
#[test]
fn a_first_configuration_is_answered_when_it_is_durable() {
    let mut cluster = pristine(1);
    cluster.server(1).prompt.saves = false;
    cluster.initialize(1, &voters([1]));
    assert_eq!(answer_of(&mut cluster, 1), []);
    let saved = cluster.server(1).saved().unwrap();
    cluster.step(1, vec![saved]);
    assert_eq!(answer_of(&mut cluster, 1), [Ok(())]);
    cluster.crash(1);
    cluster.restart(1);
    assert_eq!(cluster.role(1), RoleName::Follower);
}

/// B 4, 71: a vote given before the server knew of any cluster is a vote.
#[test]
fn a_server_that_has_voted_can_still_be_told_of_the_cluster() {
    let mut cluster = pristine(3);
    cluster.hear(1, 2, ask_vote(1, at(0, 0)));
    cluster.initialize(1, &voters(1..=3));
    assert_eq!(answer_of(&mut cluster, 1), [Ok(())]);
    let hard_state = cluster.server(1).disk.durable.hard_state;
    assert_eq!((hard_state.current_term, hard_state.voted_for.map(|id| id.0)), (Term(1), Some(2)));
}

fn violations(cluster: &mut Cluster, id: u64) -> usize {
    let said = cluster.said(id);
    said.iter().filter(|effect| matches!(effect, Effect::Violation { .. })).count()
}

/// B 71: servers 1 and 2 were told of one cluster, server 3 of another.
#[test]
fn a_leader_of_a_cluster_formed_of_other_members_is_reported_and_not_followed() {
    let mut cluster = pristine(3);
    cluster.initialize(1, &voters(1..=2));
    cluster.initialize(2, &voters(1..=2));
    cluster.initialize(3, &voters(1..=3));
    cluster.wait(2 * T);
    cluster.timeout(3);
    cluster.settle();
    assert_eq!(cluster.role(3), RoleName::Leader, "they vote for whoever asks");
    assert!(violations(&mut cluster, 1) > 0 && violations(&mut cluster, 2) > 0);
    assert_eq!([1, 2].map(|id| cluster.log(id).len()), [0, 0]);
    assert_eq!((cluster.commit(3), cluster.status(1).leader), (0, None));
}

/// B 71: the same, when the server has its own cluster's first entry already, or learnt of its
/// cluster from that alone.
#[test]
fn a_first_entry_with_other_members_never_replaces_the_one_a_server_has() {
    for told in [true, false] {
        let mut cluster = pristine(4);
        cluster.initialize(1, &voters(1..=2));
        if told {
            cluster.initialize(2, &voters(1..=2));
        }
        cluster.timeout(1);
        while cluster.log(2).is_empty() {
            assert!(cluster.deliver_one());
        }
        cluster.sent();
        cluster.isolate(1);
        // Server 2 has the entry and does not know that it is committed.
        assert_eq!((cluster.log(2), cluster.commit(2)), (vec![1], 0));
        cluster.initialize(3, &voters(2..=4));
        cluster.initialize(4, &voters(2..=4));
        for id in [3, 4, 3] {
            cluster.wait(2 * T);
            cluster.timeout(id);
            cluster.settle();
        }
        assert_eq!(cluster.leaders().last(), Some(&3));
        assert!(violations(&mut cluster, 2) > 0, "told={told}");
        let first = cluster.server(2).disk.live.entries[0].payload.clone();
        assert_eq!(first, EntryPayload::ConfigChange(voters(1..=2).into()));
    }
}
