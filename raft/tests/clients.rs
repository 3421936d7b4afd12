//! What clients of a node are told.

mod support;

use std::time::Duration;

use actix_raft::config::Config;
use actix_raft::messages::{ClientError, ClientPayload, ClientResponse, NodeId, ResponseMode};
use support::{Cluster, Journal, members, on_virtual_time, until};

#[test]
fn every_write_is_answered_with_its_own_response() {
    on_virtual_time(async {
        let cluster = Cluster::formed(3).await;
        let leader = cluster.node(cluster.leader().await).clone();
        let writes: Vec<_> = (0..5000)
            .map(|n| {
                let leader = leader.clone();
                actix::spawn(async move { leader.write(format!("write {n}").into()).await })
            })
            .collect();
        let mut places = Vec::new();
        for (n, write) in writes.into_iter().enumerate() {
            let (place, command) = write.await.unwrap().unwrap();
            assert_eq!(command, format!("write {n}"));
            places.push(place);
        }
        places.sort_unstable();
        assert_eq!(places, (0..5000).collect::<Vec<_>>());
    });
}

#[test]
fn a_write_may_be_answered_when_committed_or_when_applied() {
    on_virtual_time(async {
        let cluster = Cluster::formed(3).await;
        let leader = cluster.node(cluster.leader().await);
        let committed = ClientPayload::new("a".into(), ResponseMode::Committed);
        let ClientResponse::Committed { index: first } = leader.send(committed).await.unwrap()
        else {
            panic!("asked to be answered when committed");
        };
        // Also without a client, by the address alone.
        let applied = ClientPayload::new("b".into(), ResponseMode::Applied);
        let answer = leader.address().send(applied).await.unwrap().unwrap();
        assert_eq!(
            answer,
            ClientResponse::Applied { index: first.next(), response: (1, "b".into()) }
        );
    });
}

#[test]
fn a_follower_refuses_and_says_where_to_go() {
    on_virtual_time(async {
        let cluster = Cluster::formed(3).await;
        let leader = cluster.leader().await;
        let follower = NodeId(leader.0 % 3 + 1);
        until(async || cluster.metrics(follower).await.leader.is_some()).await;
        let refused = cluster.node(follower).write("x".into()).await.unwrap_err();
        let ClientError::NotLeader { leader: Some(info) } = &refused else {
            panic!("{refused:?}");
        };
        assert_eq!(info.id, leader);
        assert_eq!(info.address.as_ref().unwrap().client, format!("http-{leader}"));
        assert!(refused.to_string().ends_with(&format!("node {leader} is")), "{refused}");
    });
}

#[test]
fn a_write_whose_leader_is_cut_off_has_an_unknown_outcome() {
    on_virtual_time(async {
        let cluster = Cluster::formed(3).await;
        let old = cluster.leader().await;
        let term = cluster.metrics(old).await.current_term.0;
        cluster.router.isolate(old);
        let write = cluster.node(old).write("lost?".into());
        let read = cluster.node(old).read();
        let (write, read) = tokio::join!(write, read);
        assert!(matches!(write, Err(ClientError::OutcomeUnknown { .. })), "{write:?}");
        assert_eq!(read, Err(ClientError::NotLeader { leader: None }));

        let new = cluster.leader_after(term).await;
        assert_eq!(cluster.node(new).write("kept".into()).await, Ok((0, "kept".into())));
        cluster.router.heal();
        until(async || cluster.metrics(old).await.leader == Some(new)).await;
        assert_eq!(cluster.node(new).write("more".into()).await, Ok((1, "more".into())));
    });
}

#[test]
fn a_read_on_the_leader_waits_for_what_was_committed_before() {
    on_virtual_time(async {
        let cluster = Cluster::formed(3).await;
        let leader = cluster.leader().await;
        let payload = ClientPayload::new("x".into(), ResponseMode::Committed);
        let answer = cluster.node(leader).send(payload).await.unwrap();
        let ClientResponse::Committed { index } = answer else { panic!("{answer:?}") };
        cluster.node(leader).read().await.unwrap();
        assert!(cluster.metrics(leader).await.last_applied >= index);
    });
}

#[test]
fn beyond_the_limits_requests_are_refused_and_not_done() {
    on_virtual_time(async {
        let config = Config::builder().max_in_flight_requests(2).max_command_bytes(10);
        let cluster = Cluster::start(3, config.build().unwrap()).await;
        cluster.nodes[0].initialize(members(3)).await.unwrap();
        let id = cluster.leader().await;
        let leader = cluster.node(id);

        let refused = leader.write("eleven byte".into()).await;
        assert_eq!(refused, Err(ClientError::TooLarge { bytes: 11, limit: 10 }));
        cluster.router.isolate(id);
        let (a, b, c) =
            tokio::join!(leader.write("a".into()), leader.write("b".into()), leader.read());
        assert!(matches!(a, Err(ClientError::OutcomeUnknown { .. })), "{a:?}");
        assert!(matches!(b, Err(ClientError::OutcomeUnknown { .. })), "{b:?}");
        assert_eq!(c, Err(ClientError::Overloaded), "two are in flight");
        assert!(
            !matches!(leader.read().await, Err(ClientError::Overloaded)),
            "the permits of answered requests are free again"
        );
    });
}

#[test]
fn an_acknowledged_write_survives_any_number_of_leaders() {
    on_virtual_time(async {
        let cluster = Cluster::formed(5).await;
        let mut term = 0;
        for n in 0..10 {
            let id = cluster.leader_after(term).await;
            term = cluster.metrics(id).await.current_term.0;
            let (place, _) = cluster.node(id).write(format!("{n}").into()).await.unwrap();
            assert_eq!(place, n, "all writes before are there");
            cluster.router.heal();
            cluster.router.isolate(id);
        }
    });
}

#[test]
fn a_stopped_node_says_so_and_the_others_go_on() {
    on_virtual_time(async {
        let cluster = Cluster::formed(3).await;
        let id = cluster.leader().await;
        let term = cluster.metrics(id).await.current_term.0;
        let stopped = cluster.node(id).clone();
        stopped.shutdown().await;
        until(async || !stopped.address().connected()).await;
        assert!(matches!(stopped.write("x".into()).await, Err(ClientError::Stopped { .. })));
        assert!(matches!(stopped.read().await, Err(ClientError::Stopped { .. })));

        let others: Vec<_> =
            cluster.nodes.iter().filter(|node| node.address().connected()).collect();
        assert_eq!(others.len(), 2);
        until(async || {
            for node in &others {
                let metrics = node.metrics().await.unwrap();
                if metrics.is_leader() && metrics.current_term.0 > term {
                    return node.write("y".into()).await.is_ok();
                }
            }
            false
        })
        .await;
    });
}

#[test]
fn a_single_node_is_a_cluster() {
    on_virtual_time(async {
        let cluster = Cluster::start(1, Config::default()).await;
        let before = cluster.nodes[0].write("early".into()).await;
        assert_eq!(before, Err(ClientError::NotLeader { leader: None }));
        let started = tokio::time::Instant::now();
        cluster.nodes[0].initialize(vec![]).await.unwrap();
        cluster.leader().await;
        assert!(started.elapsed() < Duration::from_millis(100), "nobody else to wait for");
        assert_eq!(cluster.nodes[0].write("x".into()).await, Ok((0, "x".into())));
        cluster.nodes[0].read().await.unwrap();
    });
}

#[test]
fn a_command_that_no_node_can_read_stops_them() {
    on_virtual_time(async {
        let cluster = Cluster::formed(1).await;
        let write = cluster.nodes[0].write("not a command".into()).await;
        let Err(ClientError::OutcomeUnknown { reason }) = write else { panic!("{write:?}") };
        assert!(reason.contains("the entry at index 2 is no command: it says so"), "{reason}");
        let later =
            cluster.nodes[0].send(ClientPayload::<Journal>::new("x".into(), ResponseMode::Applied));
        assert!(matches!(later.await, Err(ClientError::Stopped { .. })));
    });
}
