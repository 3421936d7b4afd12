//! Commands that the application refuses before they are logged.

mod support;

use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, Read};
use std::sync::{Arc, Mutex};

use actix_raft::application::{Application, DecodeError, Snapshotting, StateMachine};
use actix_raft::client::Client;
use actix_raft::config::Config;
use actix_raft::messages::{ClientError, Index, NodeId};
use actix_raft::validation::{Pending, Validator};
use bytes::Bytes;
use support::{Cluster, on_virtual_time, until};

/// Names, each of which is taken once. The response is whether it was free.
#[derive(Default)]
struct Names {
    taken: BTreeSet<String>,
    published: Published,
}

/// What the validator sees.
type Published = Arc<Mutex<BTreeSet<String>>>;

#[derive(Clone, Debug, PartialEq)]
struct Taken(String);

impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is taken", self.0)
    }
}

impl Application for Names {
    type Command = String;
    type Response = bool;
    type Rejection = Taken;

    fn encode(name: String) -> Bytes {
        name.into()
    }

    fn decode(bytes: Bytes) -> Result<String, DecodeError> {
        Ok(String::from_utf8(bytes.into())?)
    }

    fn encode_response(free: &bool) -> Option<Bytes> {
        Some(Bytes::copy_from_slice(&[u8::from(*free)]))
    }

    fn decode_response(bytes: Bytes) -> Result<bool, DecodeError> {
        Ok(bytes == [1].as_slice())
    }
}

impl StateMachine for Names {
    fn apply(&mut self, _: Index, name: String) -> bool {
        self.taken.insert(name)
    }

    fn applied(&mut self, _: Index) {
        *self.published.lock().unwrap() = self.taken.clone();
    }

    fn snapshot(&self) -> Option<Snapshotting> {
        None
    }

    fn restore(&mut self, _: &mut dyn Read) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

fn each_name_once(published: Published) -> Box<dyn Validator<Names>> {
    Box::new(move |name: &String, pending: Pending<'_, String>| {
        let is_taken = published.lock().unwrap().contains(name)
            || pending.iter().any(|(_, pending)| pending == name);
        if is_taken { Err(Taken(name.clone())) } else { Ok(()) }
    })
}

async fn formed(size: u64) -> Cluster<Names> {
    let published: Mutex<Vec<Published>> = Mutex::default();
    let state_machine = || {
        let names = Names::default();
        published.lock().unwrap().push(Arc::clone(&names.published));
        names
    };
    let validator = || published.lock().unwrap().last().cloned().map(each_name_once);
    Cluster::formed_of(size, Config::default(), state_machine, validator).await
}

fn take(
    node: &Client<Names>,
    name: &str,
) -> tokio::task::JoinHandle<Result<bool, ClientError<Taken>>> {
    let (node, name) = (node.clone(), name.to_string());
    actix::spawn(async move { node.write(name).await })
}

#[test]
fn a_unique_name_is_taken_once_with_two_hundred_writes_in_flight() {
    on_virtual_time(async {
        let cluster = formed(3).await;
        let leader = cluster.node(cluster.leader().await);
        let writes: Vec<_> = (0..200).map(|n| take(leader, &format!("{}", n % 20))).collect();
        let mut free = 0;
        for (n, write) in writes.into_iter().enumerate() {
            match write.await.unwrap() {
                Ok(was_free) => {
                    assert!(was_free, "the validator let {} through twice", n % 20);
                    free += 1;
                }
                Err(error) => {
                    assert_eq!(error, ClientError::Rejected(Taken(format!("{}", n % 20))));
                    assert_eq!(error.to_string(), format!("{} is taken", n % 20));
                }
            }
        }
        assert_eq!(free, 20);
        let metrics = leader.metrics().await.unwrap();
        assert_eq!(metrics.last_log_index, Index(21), "what is rejected is not logged");
    });
}

#[test]
fn a_new_leader_asks_nothing_before_it_has_applied_what_it_found() {
    on_virtual_time(async {
        let cluster = formed(3).await;
        let mut leader = cluster.leader().await;
        for n in 0..10 {
            let name = format!("{n}");
            let term = cluster.metrics(leader).await.current_term.0;
            // The write reaches all logs; that it is committed reaches nobody.
            for other in (1..=3).map(NodeId).filter(|other| *other != leader) {
                cluster.router.cut(other, leader);
            }
            let write = take(cluster.node(leader), &name);
            assert!(matches!(write.await.unwrap(), Err(ClientError::OutcomeUnknown { .. })));
            // Whoever leads next is asked at once, before it has applied anything.
            let others: Vec<_> = cluster.nodes.iter().collect();
            let answer = loop {
                let mut answer = None;
                for node in &others {
                    let metrics = node.metrics().await.unwrap();
                    if metrics.is_leader() && metrics.current_term.0 > term {
                        answer = Some(node.write(name.clone()).await);
                    }
                }
                match answer {
                    Some(answer) => break answer,
                    None => tokio::time::sleep(std::time::Duration::from_millis(1)).await,
                }
            };
            assert_eq!(answer, Err(ClientError::Rejected(Taken(name))));
            cluster.router.heal();
            leader = cluster.leader_after(term).await;
        }
    });
}

#[test]
fn a_write_that_was_done_is_not_rejected_for_what_it_did() {
    on_virtual_time(async {
        let cluster = formed(3).await;
        let leader = cluster.leader().await;
        let node = cluster.node(leader);
        let session = node.session().await.unwrap();
        let write = session.number("a".into()).unwrap();
        assert_eq!(write.send(node).await, Ok(true));
        assert_eq!(write.send(node).await, Ok(true));
        let rejected = Err(ClientError::Rejected(Taken("a".into())));
        assert_eq!(session.write("a".into()).await, rejected);
        assert_eq!(take(node, "a").await.unwrap(), rejected);

        // Both attempts in one step: the second finds the first pending.
        let write = session.number("b".into()).unwrap();
        let (a, b) = tokio::join!(write.send(node), write.send(node));
        assert_eq!((a, b), (Ok(true), Ok(true)));

        let term = cluster.metrics(leader).await.current_term.0;
        let write = session.number("c".into()).unwrap();
        for other in (1..=3).map(NodeId).filter(|other| *other != leader) {
            cluster.router.cut(other, leader);
        }
        let unknown = write.send(node).await;
        assert!(matches!(unknown, Err(ClientError::OutcomeUnknown { .. })), "{unknown:?}");
        let next = cluster.leader_after(term).await;
        assert_eq!(write.send(cluster.node(next)).await, Ok(true));
    });
}

#[test]
fn a_node_that_does_not_lead_asks_nobody() {
    on_virtual_time(async {
        let cluster = formed(3).await;
        let (leader, follower) = (cluster.leader().await, cluster.follower().await);
        until(async || cluster.metrics(follower).await.leader.is_some()).await;
        let refused = cluster.node(follower).write("a".into()).await;
        let Err(ClientError::NotLeader { leader: Some(info) }) = refused else {
            panic!("{refused:?}")
        };
        assert_eq!(info.id, leader);
        // Those that wait for a leader to be ready are answered when it is none any more.
        cluster.node(leader).shutdown().await;
        let stopped = cluster.node(leader).write("a".into()).await;
        assert!(matches!(stopped, Err(ClientError::Stopped { .. })), "{stopped:?}");
    });
}
