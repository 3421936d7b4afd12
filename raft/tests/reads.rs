//! Reads on any node, with the consistency that the reader wants.

mod support;

use actix_raft::config::{Config, Lease};
use actix_raft::messages::{ClientError, ClientRead, Consistency, NodeId};
use support::{Cluster, members, on_virtual_time, until};

#[test]
fn a_read_on_any_node_waits_for_what_was_acknowledged_before() {
    on_virtual_time(async {
        let cluster = Cluster::formed(3).await;
        let leader = cluster.leader().await;
        for node in 1..=3 {
            cluster.node(leader).write(format!("{node}").into()).await.unwrap();
            let written = cluster.metrics(leader).await.commit_index;
            cluster.node(NodeId(node)).read().await.unwrap();
            assert!(cluster.metrics(NodeId(node)).await.last_applied >= written);
        }
    });
}

#[test]
fn a_node_that_no_leader_answers_serves_only_what_it_has() {
    on_virtual_time(async {
        let cluster = Cluster::formed(3).await;
        let follower = cluster.follower().await;
        cluster.router.isolate(follower);
        let node = cluster.node(follower);
        let refused = node.read().await;
        assert!(matches!(refused, Err(ClientError::NotLeader { .. })), "{refused:?}");
        assert_eq!(node.read_with(Consistency::Local).await, Ok(()));
        let by_message = node.address().send(ClientRead::new(Consistency::Local)).await.unwrap();
        assert_eq!(by_message, Ok(()));
        node.shutdown().await;
        let stopped = node.read_with(Consistency::Local).await;
        assert!(matches!(stopped, Err(ClientError::Stopped { .. })), "{stopped:?}");
    });
}

#[test]
fn lease_reads_are_for_those_who_enable_them() {
    on_virtual_time(async {
        let cluster = Cluster::formed(3).await;
        let leader = cluster.leader().await;
        let refused = cluster.node(leader).read_with(Consistency::Lease).await;
        assert_eq!(refused, Err(ClientError::LeaseDisabled));

        let lease = Some(Lease { max_clock_drift_percent: 10 });
        let config = Config::builder().lease(lease).build().unwrap();
        let cluster = Cluster::start(3, config).await;
        cluster.nodes[0].initialize(members(3)).await.unwrap();
        let leader = cluster.leader().await;
        until(async || cluster.node(leader).read_with(Consistency::Lease).await.is_ok()).await;
        let other = cluster.follower().await;
        let both = (Consistency::Lease, Consistency::Linearizable);
        let node = cluster.node(other);
        let (a, b) = tokio::join!(node.read_with(both.0), node.read_with(both.1));
        assert_eq!((a, b), (Ok(()), Ok(())));
    });
}
