//! Changing the members of a running cluster.

mod support;

use std::time::Duration;

use actix::Actor;
use actix_raft::admin::{
    ChangeAnswer, ChangeMembers, Changed, ConfigChangeError, MemberChange, ProposeConfigChange,
};
use actix_raft::config::Config;
use actix_raft::messages::{Address, ClientError, Index, NodeId};
use actix_raft::metrics::RaftState;
use actix_raft::metrics::RoleName;
use actix_raft::testing::MemoryStorage;
use support::{Cluster, Journal, members, on_virtual_time, until};

async fn with_spare_nodes(size: u64, spare: u64) -> Cluster {
    let mut cluster = Cluster::formed(size).await;
    for id in size + 1..=size + spare {
        let storage = MemoryStorage::new(Journal::default()).start();
        cluster.add(id, storage, Config::default()).await;
    }
    cluster
}

fn add(ids: impl IntoIterator<Item = u64>) -> ProposeConfigChange {
    let member = |id| (NodeId(id), Address::new(format!("rpc-{id}"), format!("http-{id}")));
    ProposeConfigChange {
        add_members: ids.into_iter().map(member).collect(),
        ..ProposeConfigChange::default()
    }
}

fn remove(id: NodeId) -> ProposeConfigChange {
    ProposeConfigChange { remove_members: vec![id], ..ProposeConfigChange::default() }
}

async fn voters(cluster: &Cluster, id: NodeId) -> Vec<u64> {
    let membership = cluster.metrics(id).await.membership.unwrap();
    membership.voters().iter().map(|id| id.0).collect()
}

#[test]
fn three_nodes_become_five_and_then_three_others() {
    on_virtual_time(async {
        let cluster = with_spare_nodes(3, 2).await;
        let leader = cluster.leader().await;
        cluster.node(leader).write("x".into()).await.unwrap();
        let changed = cluster.node(leader).propose_config_change(add([4, 5])).await.unwrap();
        let Changed::Final { index } = changed else { panic!("{changed:?}") };
        assert_eq!(cluster.metrics(leader).await.membership_index, index);
        assert_eq!(voters(&cluster, leader).await, [1, 2, 3, 4, 5]);
        until(async || cluster.metrics(NodeId(5)).await.last_applied >= index).await;

        let others: Vec<NodeId> = (1..=3).map(NodeId).filter(|id| *id != leader).collect();
        let change = ProposeConfigChange { remove_members: others, ..Default::default() };
        cluster.node(leader).propose_config_change(change).await.unwrap();
        assert_eq!(voters(&cluster, leader).await, [leader.0, 4, 5]);
        assert_eq!(cluster.node(leader).write("y".into()).await, Ok((1, "y".into())));
    });
}

#[test]
fn a_leader_that_is_removed_finishes_the_change_and_another_leads() {
    on_virtual_time(async {
        let cluster = Cluster::formed(3).await;
        let old = cluster.leader().await;
        let term = cluster.metrics(old).await.current_term.0;
        let changed = cluster.node(old).propose_config_change(remove(old)).await;
        assert!(matches!(changed, Ok(Changed::Final { .. })), "{changed:?}");
        let new = cluster.leader_after(term).await;
        assert_ne!(new, old);
        assert_eq!(voters(&cluster, new).await.len(), 2);
        assert_eq!(cluster.node(new).write("x".into()).await, Ok((0, "x".into())));
        let state = RaftState::Running(RoleName::NonVoter);
        until(async || cluster.metrics(old).await.state == state).await;
    });
}

#[test]
fn a_change_is_answered_when_the_asker_wants() {
    on_virtual_time(async {
        let cluster = with_spare_nodes(3, 1).await;
        let leader = cluster.leader().await;
        let joint = ProposeConfigChange { answer: ChangeAnswer::Joint, ..add([4]) };
        // Whoever asks for the same is answered, too, in his own way.
        let (joint, last) = tokio::join!(
            cluster.node(leader).propose_config_change(joint),
            cluster.node(leader).propose_config_change(add([4])),
        );
        let (Ok(Changed::Joint { index: joint }), Ok(Changed::Final { index: last })) =
            (&joint, &last)
        else {
            panic!("{joint:?}, {last:?}")
        };
        assert!(joint < last);
        let again = cluster.node(leader).propose_config_change(add([4])).await;
        assert_eq!(again, Err(ConfigChangeError::Noop));
    });
}

#[test]
fn members_without_a_vote_are_added_promoted_demoted_and_moved() {
    on_virtual_time(async {
        let cluster = with_spare_nodes(3, 1).await;
        let leader = cluster.node(cluster.leader().await);
        let four = NodeId(4);
        leader.add_non_voter(four, Address::new("rpc-4", "http-4")).await.unwrap();
        leader.write("x".into()).await.unwrap();
        until(async || cluster.metrics(four).await.last_applied >= Index(2)).await;
        let role = async || cluster.metrics(four).await.state;
        assert_eq!(role().await, RaftState::Running(RoleName::NonVoter));

        let change = async |changes: Vec<MemberChange>| {
            leader.change_members(ChangeMembers { changes, ..Default::default() }).await
        };
        change(vec![MemberChange::Promote(four)]).await.unwrap();
        until(async || role().await == RaftState::Running(RoleName::Follower)).await;
        change(vec![MemberChange::Demote(four)]).await.unwrap();
        until(async || role().await == RaftState::Running(RoleName::NonVoter)).await;
        change(vec![MemberChange::Move(four, Address::new("elsewhere", ""))]).await.unwrap();
        let membership = leader.metrics().await.unwrap().membership.unwrap();
        assert_eq!(membership.address(four).unwrap().rpc, "elsewhere");
        let unknown = change(vec![MemberChange::Promote(NodeId(9))]).await;
        assert_eq!(unknown, Err(ConfigChangeError::NotAMember(NodeId(9))));
    });
}

#[test]
fn what_cannot_be_is_refused_by_name_and_changes_nothing() {
    on_virtual_time(async {
        let cluster = with_spare_nodes(3, 1).await;
        let (leader, follower) = (cluster.leader().await, cluster.follower().await);
        let refused = async |change| cluster.node(leader).propose_config_change(change).await;
        until(async || cluster.metrics(follower).await.leader.is_some()).await;
        let elsewhere = cluster.node(follower).propose_config_change(add([4])).await;
        let Err(ConfigChangeError::NotLeader { leader: Some(info) }) = elsewhere else {
            panic!("{elsewhere:?}")
        };
        assert_eq!((info.id, info.address.unwrap().client), (leader, format!("http-{leader}")));

        assert_eq!(refused(remove(NodeId(9))).await, Err(ConfigChangeError::Noop));
        let all = ProposeConfigChange {
            remove_members: (1..=3).map(NodeId).collect(),
            ..ProposeConfigChange::default()
        };
        let inoperable = refused(all).await;
        assert!(
            matches!(inoperable, Err(ConfigChangeError::InoperableConfig(_))),
            "{inoperable:?}"
        );
        let stale = ProposeConfigChange { expected: Some(Index(77)), ..add([4]) };
        let current = cluster.metrics(leader).await.membership_index;
        assert_eq!(
            refused(stale).await,
            Err(ConfigChangeError::OtherConfiguration { current, expected: Index(77) })
        );
        let both = ProposeConfigChange { remove_members: vec![NodeId(4)], ..add([4]) };
        assert_eq!(refused(both).await, Err(ConfigChangeError::Contradiction(NodeId(4))));

        let (first, second) = tokio::join!(refused(add([4])), refused(remove(follower)));
        assert!(first.is_ok(), "{first:?}");
        assert_eq!(second, Err(ConfigChangeError::AnotherChange));
        assert_eq!(voters(&cluster, leader).await, [1, 2, 3, 4]);
    });
}

#[test]
fn a_new_voter_that_is_not_there_is_given_up() {
    on_virtual_time(async {
        let config = Config::builder().catch_up_timeout(Duration::from_secs(2)).build().unwrap();
        let cluster = Cluster::start(3, config).await;
        cluster.nodes[0].initialize(members(3)).await.unwrap();
        let leader = cluster.leader().await;
        let changed = cluster.node(leader).propose_config_change(add([4])).await;
        assert_eq!(changed, Err(ConfigChangeError::NotCaughtUp(NodeId(4))));
        assert_eq!(voters(&cluster, leader).await, [1, 2, 3]);
        cluster.node(leader).write("x".into()).await.unwrap();
    });
}

#[test]
fn a_change_whose_leader_is_cut_off_or_stops_is_answered_all_the_same() {
    on_virtual_time(async {
        let cluster = with_spare_nodes(3, 1).await;
        let leader = cluster.leader().await;
        let term = cluster.metrics(leader).await.current_term.0;
        cluster.router.isolate(leader);
        let lost = cluster.node(leader).propose_config_change(remove(cluster.follower().await));
        let lost = lost.await;
        // It heard too few for the change, or had begun it.
        assert!(
            matches!(
                lost,
                Err(ConfigChangeError::OutcomeUnknown { .. }
                    | ConfigChangeError::InoperableConfig(_))
            ),
            "{lost:?}"
        );
        cluster.leader_after(term).await;
        cluster.router.heal();

        let leader = cluster.leader_after(term).await;
        // Its new voter is not heard, so that it is under way when the node stops.
        cluster.router.isolate(NodeId(4));
        let node = cluster.node(leader).clone();
        let change = actix::spawn(async move { node.propose_config_change(add([4])).await });
        until(async || cluster.metrics(leader).await.membership.unwrap().goal().is_some()).await;
        cluster.node(leader).shutdown().await;
        let answer = change.await.unwrap();
        assert!(matches!(answer, Err(ConfigChangeError::OutcomeUnknown { .. })), "{answer:?}");
        let stopped = cluster.node(leader).propose_config_change(add([4])).await;
        assert!(matches!(stopped, Err(ConfigChangeError::Stopped { .. })), "{stopped:?}");
        let write = cluster.node(leader).write("x".into()).await;
        assert!(matches!(write, Err(ClientError::Stopped { .. })));
    });
}
