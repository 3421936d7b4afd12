//! Writes that are sent again and applied once.

mod support;

use std::time::Duration;

use actix_raft::config::Config;
use actix_raft::messages::{ClientError, ClientPayload, ClientResponse, NodeId, ResponseMode};
use actix_raft::sessions::{MAX_UNANSWERED, RegisterSession, Serial, SessionError, SessionId};
use actix_raft::testing::Accumulator;
use support::{Cluster, Journal, on_virtual_time, until};

async fn formed(size: u64, config: Config) -> Cluster<Accumulator> {
    Cluster::formed_of(size, config, Accumulator::default, || None).await
}

fn serial(session: SessionId, number: u64) -> Serial {
    Serial { session, number, answered_below: number }
}

/// Sends a write by its serial; returns its response.
async fn send(
    cluster: &Cluster<Accumulator>,
    to: NodeId,
    addend: u64,
    serial: Serial,
) -> Result<u64, ClientError> {
    match cluster.node(to).send(ClientPayload::in_session(addend, serial)).await? {
        ClientResponse::Applied { response, .. } => Ok(response),
        ClientResponse::Committed { .. } => panic!("answered too early"),
    }
}

#[test]
fn a_write_that_is_sent_again_is_applied_once_and_answered_as_before() {
    on_virtual_time(async {
        let cluster = formed(3, Config::default()).await;
        let leader = cluster.leader().await;
        let session = cluster.node(leader).session().await.unwrap();
        assert_eq!(session.write(5).await, Ok(5));
        let write = session.number(10).unwrap();
        assert_eq!(write.send(cluster.node(leader)).await, Ok(15));
        assert_eq!(session.write(1).await, Ok(16));
        assert_eq!(write.send(cluster.node(leader)).await, Ok(15), "what it was then");
        assert_eq!(session.write(1).await, Ok(17));
    });
}

#[test]
fn two_attempts_at_a_time_are_one_write() {
    on_virtual_time(async {
        let cluster = formed(3, Config::default()).await;
        let leader = cluster.leader().await;
        let session = cluster.node(leader).session().await.unwrap();
        let write = session.number(10).unwrap();
        let node = cluster.node(leader);
        let (a, b) = tokio::join!(write.send(node), write.send(node));
        assert_eq!((a, b), (Ok(10), Ok(10)));
    });
}

#[test]
fn a_write_of_unknown_outcome_is_sent_again_through_the_next_leader() {
    on_virtual_time(async {
        let cluster = formed(3, Config::default()).await;
        let mut leader = cluster.leader().await;
        let session = cluster.node(leader).session().await.unwrap();
        let mut sum = 0;
        for n in 0..10 {
            let term = cluster.metrics(leader).await.current_term.0;
            let write = session.number(1).unwrap();
            // Its entry reaches the others, or not; the answers to this leader do not.
            let lost: Vec<NodeId> = (1..=3).map(NodeId).filter(|id| *id != leader).collect();
            for other in lost {
                if n % 2 == 0 {
                    cluster.router.cut(leader, other);
                }
                cluster.router.cut(other, leader);
            }
            let answer = write.send(cluster.node(leader)).await;
            assert!(matches!(answer, Err(ClientError::OutcomeUnknown { .. })), "{answer:?}");
            leader = cluster.leader_after(term).await;
            cluster.router.heal();
            sum += 1;
            assert_eq!(write.send(cluster.node(leader)).await, Ok(sum));
            assert_eq!(write.send(cluster.node(leader)).await, Ok(sum));
        }
    });
}

#[test]
fn the_session_tries_again_by_itself_while_its_node_may_lead() {
    on_virtual_time(async {
        let cluster = formed(3, Config::default()).await;
        let leader = cluster.leader().await;
        let session = cluster.node(leader).session().await.unwrap();
        let term = cluster.metrics(leader).await.current_term.0;
        // The node is alone for a second, and loses its office; then it is the only one that stands.
        cluster.router.isolate(leader);
        for node in &cluster.nodes {
            if node.metrics().await.unwrap().id != leader {
                let quiet = actix_raft::admin::UpdateConfig {
                    elections: Some(false),
                    ..Default::default()
                };
                node.update_config(quiet).await.unwrap();
            }
        }
        let write = actix::spawn(async move { session.write(7).await });
        until(async || !cluster.metrics(leader).await.is_leader()).await;
        cluster.router.heal();
        assert_eq!(cluster.leader_after(term).await, leader);
        assert_eq!(write.await.unwrap(), Ok(7));
    });
}

#[test]
fn sessions_survive_in_snapshots() {
    on_virtual_time(async {
        let cluster = formed(3, Config::default()).await;
        let (leader, follower) = (cluster.leader().await, cluster.follower().await);
        let id = cluster.node(leader).address().send(RegisterSession::default()).await;
        let id = id.unwrap().unwrap();
        assert_eq!(send(&cluster, leader, 5, serial(id, 0)).await, Ok(5));
        cluster.router.isolate(follower);
        assert_eq!(send(&cluster, leader, 5, serial(id, 1)).await, Ok(10));
        cluster.node(leader).trigger_snapshot().await.unwrap();
        let purged = cluster.node(leader).purge_log(None).await.unwrap();
        cluster.router.heal();
        until(async || cluster.metrics(follower).await.snapshot == purged).await;
        cluster.node(leader).transfer_leadership(Some(follower)).await.unwrap();
        assert_eq!(send(&cluster, follower, 5, serial(id, 1)).await, Ok(10));
        assert_eq!(send(&cluster, follower, 5, serial(id, 2)).await, Ok(15));
    });
}

#[test]
fn a_session_that_is_idle_for_too_long_is_over_on_all_nodes_alike() {
    on_virtual_time(async {
        let config = Config::builder().session_timeout(Duration::from_secs(60)).build().unwrap();
        let cluster = formed(3, config).await;
        let leader = cluster.leader().await;
        let node = cluster.node(leader);
        let (used, idle) = (node.session().await.unwrap(), node.session().await.unwrap());
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_secs(40)).await;
            used.write(1).await.unwrap();
        }
        let over = ClientError::Session(SessionError::Expired { session: idle.id() });
        assert_eq!(idle.write(1).await, Err(over.clone()));
        // The next leader has the same sessions.
        let other = cluster.follower().await;
        cluster.node(leader).transfer_leadership(Some(other)).await.unwrap();
        assert_eq!(send(&cluster, other, 1, serial(idle.id(), 9)).await, Err(over));
        assert_eq!(send(&cluster, other, 1, serial(used.id(), 9)).await, Ok(4));
        let never = SessionId(1);
        let unknown = send(&cluster, other, 1, serial(never, 0)).await;
        assert_eq!(unknown, Err(ClientError::Session(SessionError::Expired { session: never })));
    });
}

#[test]
fn sessions_and_their_answers_are_bounded() {
    on_virtual_time(async {
        let config = Config::builder().max_sessions(2).build().unwrap();
        let cluster = formed(1, config).await;
        let node = &cluster.nodes[0];
        let first = node.session().await.unwrap();
        let second = node.session().await.unwrap();
        first.write(1).await.unwrap();
        let third = node.session().await.unwrap();
        let over = ClientError::Session(SessionError::Expired { session: second.id() });
        assert_eq!(second.write(1).await, Err(over));
        assert_eq!(third.write(1).await, Ok(2));

        // A write that is answered, or given up, makes room.
        let writes: Vec<_> = (0..MAX_UNANSWERED).map(|_| first.number(0).unwrap()).collect();
        assert_eq!(first.number(0).err(), Some(ClientError::Overloaded));
        drop(writes);
        assert_eq!(first.write(1).await, Ok(3));
    });
}

#[test]
fn what_the_client_said_it_would_not_ask_for_again_is_discarded() {
    on_virtual_time(async {
        let cluster = formed(1, Config::default()).await;
        let session = cluster.nodes[0].session().await.unwrap();
        let id = session.id();
        assert_eq!(send(&cluster, NodeId(1), 5, serial(id, 0)).await, Ok(5));
        assert_eq!(send(&cluster, NodeId(1), 5, serial(id, 1)).await, Ok(10));
        let late = serial(id, 0);
        let discarded = ClientError::Session(SessionError::Discarded { serial: late });
        assert_eq!(send(&cluster, NodeId(1), 5, late).await, Err(discarded));
        assert_eq!(session.write(0).await.unwrap_err(), {
            // This handle knows nothing of the numbers that were used by hand.
            let serial = Serial { session: id, number: 0, answered_below: 0 };
            ClientError::Session(SessionError::Discarded { serial })
        });
    });
}

#[test]
fn an_application_that_keeps_no_responses_is_told_that_a_write_was_done() {
    on_virtual_time(async {
        let cluster: Cluster<Journal> = Cluster::formed(1).await;
        let node = &cluster.nodes[0];
        let session = node.session().await.unwrap();
        let write = session.number("x".into()).unwrap();
        assert_eq!(write.send(node).await, Ok((0, "x".into())));
        assert_eq!(write.send(node).await, Err(ClientError::AppliedBefore));
        let next = ClientPayload::new("y".into(), ResponseMode::Applied);
        let ClientResponse::Applied { response, .. } = node.send(next).await.unwrap() else {
            panic!("asked to be answered when applied");
        };
        assert_eq!(response, (1, "y".into()), "nothing was applied twice");
    });
}

#[test]
fn a_node_that_does_not_lead_begins_no_session() {
    on_virtual_time(async {
        let cluster = formed(3, Config::default()).await;
        let follower = cluster.follower().await;
        let refused = cluster.node(follower).session().await.err();
        assert!(matches!(refused, Some(ClientError::NotLeader { .. })), "{refused:?}");
        cluster.node(follower).shutdown().await;
        let stopped = cluster.node(follower).session().await.err();
        assert!(matches!(stopped, Some(ClientError::Stopped { .. })), "{stopped:?}");
    });
}
