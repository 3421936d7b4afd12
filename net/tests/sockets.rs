//! A transport on other sockets than those of the operating system: here, pipes in memory.

mod common;

use std::collections::BTreeMap;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_raft_core::types::NodeId;
use actix_raft_net::config::TransportConfig;
use actix_raft_net::stream::{Listener, Opening, Pending, Sockets, Stream};
use actix_raft_net::transport::{BindError, Transport};
use common::{Arrivals, Recorder, config, numbered};
use tokio::io::{DuplexStream, duplex};
use tokio::sync::mpsc;

const TWO: NodeId = NodeId(2);

/// Pipes by the address of who listens.
#[derive(Default)]
struct Pipes {
    listeners: Mutex<BTreeMap<String, mpsc::UnboundedSender<DuplexStream>>>,
    /// How many accepted connections will never be ready.
    stuck: Arc<Mutex<usize>>,
}

struct Arriving {
    streams: tokio::sync::Mutex<mpsc::UnboundedReceiver<DuplexStream>>,
    stuck: Arc<Mutex<usize>>,
}

impl Sockets for Pipes {
    fn listen<'a>(&'a self, address: &'a str) -> Pending<'a, Box<dyn Listener>> {
        Box::pin(async move {
            let (sender, streams) = mpsc::unbounded_channel();
            let mut listeners = self.listeners.lock().unwrap();
            if listeners.contains_key(address) {
                return Err(io::ErrorKind::AddrInUse.into());
            }
            listeners.insert(address.to_string(), sender);
            let (streams, stuck) = (tokio::sync::Mutex::new(streams), Arc::clone(&self.stuck));
            let listener: Box<dyn Listener> = Box::new(Arriving { streams, stuck });
            Ok(listener)
        })
    }

    fn connect<'a>(&'a self, address: &'a str) -> Opening<'a> {
        Box::pin(async move {
            let (near, far) = duplex(1024);
            let listeners = self.listeners.lock().unwrap();
            let listener = listeners.get(address).ok_or(io::ErrorKind::ConnectionRefused)?;
            listener.send(far).map_err(|_| io::ErrorKind::ConnectionRefused)?;
            let stream: Box<dyn Stream> = Box::new(near);
            Ok(stream)
        })
    }
}

impl Listener for Arriving {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(([127, 0, 0, 1], 7).into())
    }

    fn accept(&self) -> Pending<'_, (Opening<'static>, SocketAddr)> {
        Box::pin(async {
            let stream = self.streams.lock().await.recv().await.ok_or(io::ErrorKind::BrokenPipe)?;
            let mut stuck = self.stuck.lock().unwrap();
            let is_stuck = *stuck > 0;
            *stuck -= usize::from(is_stuck);
            let opening: Opening<'static> = Box::pin(async move {
                if is_stuck {
                    pending::<()>().await;
                }
                let stream: Box<dyn Stream> = Box::new(stream);
                Ok(stream)
            });
            Ok((opening, self.local_addr()?))
        })
    }
}

async fn node(
    pipes: &Arc<Pipes>,
    address: &str,
    config: TransportConfig,
) -> Result<(Transport, Arrivals), BindError> {
    let (recorder, arrivals) = Recorder::new();
    let sockets = Arc::clone(pipes) as Arc<dyn Sockets>;
    Ok((Transport::bind_on(sockets, address, config, recorder).await?, arrivals))
}

#[tokio::test(start_paused = true)]
async fn messages_and_requests_go_over_any_sockets() {
    let pipes = Arc::default();
    let (one, _at_one) = node(&pipes, "one", config(1)).await.unwrap();
    let (_two, mut at_two) = node(&pipes, "two", config(2)).await.unwrap();
    one.send(TWO, "two", vec![numbered(1, 2, 1)]);
    assert_eq!(at_two.message().await, [numbered(1, 2, 1)]);
    let answer = async {
        let (from, body, reply) = at_two.request().await;
        assert_eq!(from, NodeId(1));
        reply.reply(body);
    };
    let (answered, ()) = tokio::join!(one.request(TWO, "two", "hello".into()), answer);
    assert_eq!(answered.unwrap(), "hello");
    let taken = node(&pipes, "two", config(3)).await;
    assert!(matches!(taken, Err(BindError::Listen(_))));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_never_opens_holds_up_no_other_and_is_given_up() {
    let pipes: Arc<Pipes> = Arc::default();
    let limited = TransportConfig { max_handshakes: 2, ..config(2) };
    let (_two, mut at_two) = node(&pipes, "two", limited).await.unwrap();
    *pipes.stuck.lock().unwrap() = 1;
    let (one, _at_one) = node(&pipes, "one", config(1)).await.unwrap();
    let (three, _at_three) = node(&pipes, "three", config(3)).await.unwrap();
    one.send(TWO, "two", vec![numbered(1, 2, 1)]);
    tokio::time::sleep(Duration::from_millis(1)).await;
    three.send(TWO, "two", vec![numbered(3, 2, 2)]);
    assert_eq!(at_two.message().await, [numbered(3, 2, 2)], "the one behind it");
    // Both ends give the first one up, and the caller tries again.
    loop {
        one.send(TWO, "two", vec![numbered(1, 2, 3)]);
        tokio::select! {
            arrived = at_two.message() => break assert_eq!(arrived, [numbered(1, 2, 3)]),
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
    }
}
