//! The transport's sockets on the simulated network.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use actix_raft_net::stream::{Listener, Opening, Pending, Sockets, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use turmoil::net::{TcpListener, TcpStream};

use crate::record::Record;

/// What a connection of the simulated network needs to be like TCP. The simulation loses segments
/// and never sends them again, so that a connection that has lost one neither works nor breaks. TCP
/// would repair it or, here, give it up.
#[derive(Clone, Default)]
pub struct Links(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// Ends all connections between two hosts.
    ends: BTreeMap<Pair, CancellationToken>,
    lossy: BTreeSet<Pair>,
}

/// Two hosts, in order.
pub type Pair = [String; 2];

pub fn pair(one: &str, other: &str) -> Pair {
    let mut pair = [one.to_string(), other.to_string()];
    pair.sort();
    pair
}

impl Links {
    /// From now on something may be lost between these.
    pub fn lose(&self, one: &str, other: &str) {
        self.0.lock().unwrap().lossy.insert(pair(one, other));
    }

    /// Gives up the connections between these.
    pub fn break_off(&self, one: &str, other: &str) {
        let end = self.0.lock().unwrap().ends.remove(&pair(one, other));
        end.iter().for_each(CancellationToken::cancel);
    }

    /// Nothing is lost any more; gives up the connections that may have lost something.
    pub fn give_up(&self) {
        let ends = {
            let mut state = self.0.lock().unwrap();
            let lossy = std::mem::take(&mut state.lossy);
            lossy.iter().filter_map(|pair| state.ends.remove(pair)).collect::<Vec<_>>()
        };
        ends.iter().for_each(CancellationToken::cancel);
    }

    fn connection(&self, stream: TcpStream, one: &str, other: &str) -> Box<dyn Stream> {
        let mut state = self.0.lock().unwrap();
        let end = state.ends.entry(pair(one, other)).or_default().clone();
        Box::new(Connection { stream, given_up: Box::pin(end.cancelled_owned()) })
    }
}

/// The simulated network as one host sees it.
pub struct Simulated {
    pub host: String,
    pub links: Links,
    pub record: Record,
}

struct Accepting {
    listener: TcpListener,
    host: String,
    links: Links,
}

struct Connection {
    stream: TcpStream,
    given_up: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Sockets for Simulated {
    fn listen<'a>(&'a self, address: &'a str) -> Pending<'a, Box<dyn Listener>> {
        Box::pin(async move {
            let listener = TcpListener::bind(address).await?;
            let (host, links) = (self.host.clone(), self.links.clone());
            let listener: Box<dyn Listener> = Box::new(Accepting { listener, host, links });
            Ok(listener)
        })
    }

    fn connect<'a>(&'a self, address: &'a str) -> Opening<'a> {
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            self.record.lock().counts.connections += 1;
            let peer = address.split(':').next().unwrap_or(address);
            Ok(self.links.connection(stream, &self.host, peer))
        })
    }
}

impl Listener for Accepting {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    fn accept(&self) -> Pending<'_, (Opening<'static>, SocketAddr)> {
        Box::pin(async move {
            let (stream, address) = self.listener.accept().await?;
            let peer = turmoil::reverse_lookup(address.ip()).expect("hosts have names");
            let stream = self.links.connection(stream, &self.host, &peer);
            let opening: Opening<'static> = Box::pin(async move { Ok(stream) });
            Ok((opening, address))
        })
    }
}

impl Connection {
    /// What is ready, or an error if nothing will be.
    fn unless_given_up<T>(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match polled {
            Poll::Pending => {
                let given_up = self.given_up.as_mut().poll(cx);
                given_up.map(|()| Err(io::ErrorKind::TimedOut.into()))
            }
            ready => ready,
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.unless_given_up(cx, polled)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        // Both ends of a transport's connection always read, so that the reader's word is enough.
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
