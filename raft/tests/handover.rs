//! Leadership that is handed over, and nodes that stop.

mod support;

use actix_raft::admin::{TransferLeadershipError, TriggerElectionError};
use actix_raft::messages::{ClientError, NodeId};
use actix_raft::metrics::RoleName;
use support::{Cluster, on_virtual_time, until};
use tokio::time::Instant;

#[test]
fn leadership_goes_where_it_is_wanted() {
    on_virtual_time(async {
        let cluster = Cluster::formed(3).await;
        let (old, to) = (cluster.leader().await, cluster.follower().await);
        assert_eq!(cluster.node(old).transfer_leadership(Some(to)).await, Ok(to));
        assert_eq!(cluster.leader().await, to);
        let elsewhere = cluster.node(old).transfer_leadership(None).await;
        let Err(TransferLeadershipError::NotLeader { leader: Some(info) }) = elsewhere else {
            panic!("{elsewhere:?}")
        };
        assert_eq!(info.id, to);
        let unknown = cluster.node(to).transfer_leadership(Some(NodeId(9))).await;
        assert_eq!(unknown, Err(TransferLeadershipError::NotAVoter(NodeId(9))));
    });
}

#[test]
fn a_transfer_that_fails_ends_in_time_and_writes_are_taken_again() {
    on_virtual_time(async {
        let cluster = Cluster::formed(3).await;
        let (leader, to) = (cluster.leader().await, cluster.follower().await);
        cluster.router.isolate(to);
        let node = cluster.node(leader).clone();
        let transfer = actix::spawn(async move { node.transfer_leadership(Some(to)).await });
        until(async || cluster.metrics(leader).await.transferring_to == Some(to)).await;
        let refused = cluster.node(leader).write("x".into()).await;
        let Err(ClientError::Transferring { to: info }) = refused else { panic!("{refused:?}") };
        assert_eq!((info.id, info.address.unwrap().client), (to, format!("http-{to}")));
        assert_eq!(transfer.await.unwrap(), Err(TransferLeadershipError::TimedOut(to)));
        assert_eq!(cluster.node(leader).write("x".into()).await, Ok((0, "x".into())));
    });
}

#[test]
fn an_election_on_demand_is_for_a_cluster_without_a_leader() {
    on_virtual_time(async {
        let cluster = Cluster::formed(3).await;
        let (leader, other) = (cluster.leader().await, cluster.follower().await);
        let refused = cluster.node(leader).trigger_election().await;
        assert_eq!(refused, Err(TriggerElectionError::AlreadyLeader));
        until(async || cluster.metrics(other).await.leader.is_some()).await;
        let refused = cluster.node(other).trigger_election().await;
        let Err(TriggerElectionError::LeaderHeard { leader: Some(info) }) = refused else {
            panic!("{refused:?}")
        };
        assert_eq!(info.id, leader);
    });
}

#[test]
fn a_leader_that_is_shut_down_hands_over_so_that_nobody_waits_for_an_election_timeout() {
    on_virtual_time(async {
        let cluster = Cluster::formed(5).await;
        for _ in 0..2 {
            let old = cluster.leader().await;
            let term = cluster.metrics(old).await.current_term.0;
            let writes: Vec<_> = (0..50)
                .map(|n| {
                    let node = cluster.node(old).clone();
                    actix::spawn(async move { node.write(format!("{n}").into()).await })
                })
                .collect();
            tokio::task::yield_now().await;
            let begun = Instant::now();
            cluster.node(old).shutdown().await;
            cluster.leader_after(term).await;
            let waited = begun.elapsed();
            assert!(waited.as_millis() < 50, "{waited:?} without a leader");
            for write in writes {
                let answer = write.await.unwrap();
                assert!(answer.is_ok(), "what was in flight is answered: {answer:?}");
            }
        }
    });
}

#[test]
fn a_leader_whose_peers_are_gone_stops_all_the_same_and_everyone_who_asked_is_told() {
    on_virtual_time(async {
        let cluster = Cluster::formed(3).await;
        let leader = cluster.leader().await;
        cluster.router.isolate(leader);
        let node = cluster.node(leader);
        let begun = Instant::now();
        tokio::join!(node.shutdown(), node.shutdown());
        assert!(begun.elapsed().as_millis() <= 450, "{:?}", begun.elapsed());
        until(async || !node.address().connected()).await;
    });
}

#[test]
fn metrics_tell_how_far_the_peers_are() {
    on_virtual_time(async {
        let cluster = Cluster::formed(3).await;
        let (leader, follower) = (cluster.leader().await, cluster.follower().await);
        cluster.router.isolate(follower);
        for n in 0..10 {
            cluster.node(leader).write(format!("{n}").into()).await.unwrap();
        }
        let metrics = cluster.metrics(leader).await;
        assert_eq!(metrics.peers.len(), 2);
        let peer = |id| metrics.peers.iter().find(|peer| peer.id == id).unwrap().clone();
        assert_eq!(peer(follower).lag, 10);
        let other = NodeId(6 - leader.0 - follower.0);
        assert_eq!(peer(other).lag, 0);
        assert!(cluster.metrics(other).await.peers.is_empty());

        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        let metrics = cluster.metrics(leader).await;
        let peer = metrics.peers.iter().find(|peer| peer.id == follower).unwrap();
        assert!(peer.since_contact.as_millis() >= 100, "{peer:?}");
        assert_eq!(metrics.state, actix_raft::metrics::RaftState::Running(RoleName::Leader));
    });
}
