//! What an operator may ask of a running node.

mod support;

use std::time::Duration;

use actix_raft::admin::{NotStanding, UpdateConfig, UpdateConfigError};
use actix_raft::config::{Config, ConfigError};
use actix_raft::messages::{ClientError, NodeId};
use support::{Cluster, on_virtual_time, until};
use tokio::time::Instant;

#[test]
fn a_running_node_is_configured_anew_if_that_can_work() {
    on_virtual_time(async {
        let cluster = Cluster::formed(3).await;
        let leader = cluster.leader().await;
        let node = cluster.node(leader);
        let smaller = UpdateConfig { max_command_bytes: Some(3), ..UpdateConfig::default() };
        node.update_config(smaller).await.unwrap();
        let refused = node.write("four".into()).await;
        assert_eq!(refused, Err(ClientError::TooLarge { bytes: 4, limit: 3 }));

        let impossible = UpdateConfig {
            max_command_bytes: Some(100),
            election_timeout: Some(Duration::from_millis(20)),
            ..UpdateConfig::default()
        };
        let refused = node.update_config(impossible).await;
        let Err(UpdateConfigError::Config(ConfigError::HeartbeatTooSlow { .. })) = refused else {
            panic!("{refused:?}")
        };
        let refused = node.write("four".into()).await;
        assert_eq!(refused, Err(ClientError::TooLarge { bytes: 4, limit: 3 }), "nothing changed");

        // The others are more patient from now on.
        let patient =
            UpdateConfig { election_timeout: Some(Duration::from_secs(60)), ..Default::default() };
        let term = cluster.metrics(leader).await.current_term.0;
        for node in &cluster.nodes {
            node.update_config(patient.clone()).await.unwrap();
        }
        cluster.router.isolate(leader);
        let begun = Instant::now();
        cluster.leader_after(term).await;
        assert!(begun.elapsed() >= Duration::from_secs(60), "{:?}", begun.elapsed());
    });
}

#[test]
fn a_node_explains_why_there_is_no_leader_and_why_a_write_waits() {
    on_virtual_time(async {
        let cluster = Cluster::start(3, Config::default()).await;
        let explanation = cluster.nodes[0].explain().await.unwrap();
        assert_eq!(explanation.not_standing, Some(NotStanding::NoCluster));

        let cluster = Cluster::formed(3).await;
        let (leader, follower) = (cluster.leader().await, cluster.follower().await);
        cluster.router.isolate(follower);
        cluster.node(leader).write("x".into()).await.unwrap();
        let explanation = cluster.node(leader).explain().await.unwrap();
        let lagging: Vec<NodeId> = explanation.lagging.iter().map(|peer| peer.id).collect();
        assert_eq!(lagging, [follower]);
        assert_eq!(explanation.lagging[0].lag, 1);
        until(async || {
            let explanation = cluster.node(follower).explain().await.unwrap();
            // It asks the others, and none answers.
            explanation.votes.len() == 2 && explanation.votes.iter().all(|(_, vote)| vote.is_none())
        })
        .await;
        cluster.node(follower).shutdown().await;
        let gone = cluster.node(follower).explain().await;
        assert!(gone.is_err());
    });
}
