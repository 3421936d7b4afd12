//! A network of pipes in memory, which can go silent or slow.

use std::collections::BTreeMap;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::Duration;

use actix_raft_net::config::TransportConfig;
use actix_raft_net::stream::{Listener, Opening, Pending, Sockets, Stream};
use actix_raft_net::transport::{BindError, Transport};
use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex, split,
};
use tokio::sync::{Notify, mpsc};
use tokio::time::interval;

use super::{Arrivals, Recorder};

/// How a network is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    /// What is written arrives.
    Fair,
    /// What is written is lost, and connections that lived then never say anything again, nor that
    /// they have ended. New ones are not made.
    Silent,
    /// On connections made now, what is written is taken at once and arrives little by little: 1000
    /// bytes each tenth of a second. It is lost if who wrote it has left when an answer comes.
    Slow,
}

/// Pipes by the address of who listens.
pub struct Pipes {
    listeners: Mutex<BTreeMap<String, mpsc::UnboundedSender<DuplexStream>>>,
    /// How many accepted connections will never be ready.
    stuck: Mutex<usize>,
    sky: Arc<Sky>,
}

struct Sky {
    state: Mutex<SkyState>,
    changed: Notify,
}

struct SkyState {
    weather: Weather,
    /// Ends of connections that no one has, but which have not ended for the other side.
    lost: Vec<DuplexStream>,
    dialed: usize,
    open: usize,
}

impl Sky {
    fn lock(&self) -> MutexGuard<'_, SkyState> {
        self.state.lock().unwrap()
    }
}

impl Default for Pipes {
    fn default() -> Pipes {
        let state = SkyState { weather: Weather::Fair, lost: Vec::new(), dialed: 0, open: 0 };
        let sky = Arc::new(Sky { state: Mutex::new(state), changed: Notify::new() });
        Pipes { listeners: Mutex::default(), stuck: Mutex::default(), sky }
    }
}

impl Pipes {
    pub fn turn(&self, weather: Weather) {
        self.sky.lock().weather = weather;
        self.sky.changed.notify_waiters();
    }

    /// The next accepted connections, so many, will never be ready.
    pub fn stick_next(&self, count: usize) {
        *self.stuck.lock().unwrap() = count;
    }

    /// Connects to who listens at an address.
    pub async fn dial(self: &Arc<Pipes>, address: &str) -> Box<dyn Stream> {
        Ends(Arc::clone(self)).connect(address).await.unwrap()
    }

    /// How many connections were ever made.
    pub fn dialed(&self) -> usize {
        self.sky.lock().dialed
    }

    /// How many of them their dialers still have.
    pub fn open(&self) -> usize {
        self.sky.lock().open
    }
}

struct Arriving {
    streams: tokio::sync::Mutex<mpsc::UnboundedReceiver<DuplexStream>>,
    pipes: Arc<Pipes>,
}

/// The pipes as one node's sockets.
struct Ends(Arc<Pipes>);

impl Sockets for Ends {
    fn listen<'a>(&'a self, address: &'a str) -> Pending<'a, Box<dyn Listener>> {
        Box::pin(async move {
            let (sender, streams) = mpsc::unbounded_channel();
            let mut listeners = self.0.listeners.lock().unwrap();
            if listeners.contains_key(address) {
                return Err(io::ErrorKind::AddrInUse.into());
            }
            listeners.insert(address.to_string(), sender);
            let (streams, pipes) = (tokio::sync::Mutex::new(streams), Arc::clone(&self.0));
            let listener: Box<dyn Listener> = Box::new(Arriving { streams, pipes });
            Ok(listener)
        })
    }

    fn connect<'a>(&'a self, address: &'a str) -> Opening<'a> {
        Box::pin(async move {
            loop {
                let changed = self.0.sky.changed.notified();
                if self.0.sky.lock().weather != Weather::Silent {
                    break;
                }
                changed.await;
            }
            let (near, mut far) = duplex(1024);
            if self.0.sky.lock().weather == Weather::Slow {
                let (slow, slow_far) = duplex(1024);
                tokio::spawn(trickle(far, slow));
                far = slow_far;
            }
            let listeners = self.0.listeners.lock().unwrap();
            let listener = listeners.get(address).ok_or(io::ErrorKind::ConnectionRefused)?;
            listener.send(far).map_err(|_| io::ErrorKind::ConnectionRefused)?;
            let mut sky = self.0.sky.lock();
            (sky.dialed, sky.open) = (sky.dialed + 1, sky.open + 1);
            let stream: Box<dyn Stream> = Box::new(Cable {
                stream: Some(near),
                sky: Arc::clone(&self.0.sky),
                is_lost: false,
            });
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
            let mut stuck = self.pipes.stuck.lock().unwrap();
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

/// A slow network between two ends.
async fn trickle(near: DuplexStream, far: DuplexStream) {
    let ((mut from_near, mut to_near), (mut from_far, mut to_far)) = (split(near), split(far));
    let there = async {
        let (mut taken, mut is_open) = (Vec::new(), true);
        let mut tick = interval(Duration::from_millis(100));
        while is_open || !taken.is_empty() {
            tokio::select! {
                read = from_near.read_buf(&mut taken), if is_open => is_open = read.unwrap() > 0,
                _ = tick.tick() => {
                    let some: Vec<u8> = taken.drain(..taken.len().min(1000)).collect();
                    to_far.write_all(&some).await.unwrap();
                }
            }
        }
        let _ = to_far.shutdown().await;
        pending::<()>().await;
    };
    let back = async {
        // Ends when either end has left: the other one learns it, and the rest is lost.
        let _ = tokio::io::copy(&mut from_far, &mut to_near).await;
    };
    tokio::select! {
        () = there => {}
        () = back => {}
    }
}

/// A dialer's end: the weather is made here, for both directions.
struct Cable {
    stream: Option<DuplexStream>,
    sky: Arc<Sky>,
    is_lost: bool,
}

impl Cable {
    fn weather(&mut self) -> Weather {
        let weather = self.sky.lock().weather;
        self.is_lost |= weather == Weather::Silent;
        if self.is_lost { Weather::Silent } else { weather }
    }

    fn stream(&mut self) -> Pin<&mut DuplexStream> {
        Pin::new(self.stream.as_mut().expect("taken by the end only"))
    }
}

impl AsyncRead for Cable {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.weather() {
            // No one will wake it.
            Weather::Silent => Poll::Pending,
            Weather::Fair | Weather::Slow => self.stream().poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Cable {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.weather() {
            // The operating system takes it and tries.
            Weather::Silent => Poll::Ready(Ok(bytes.len())),
            Weather::Fair | Weather::Slow => self.stream().poll_write(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(cx)
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        let (is_lost, stream) = (self.weather() == Weather::Silent, self.stream.take());
        let mut sky = self.sky.lock();
        sky.open -= 1;
        if is_lost {
            sky.lost.extend(stream);
        }
    }
}

pub async fn node(
    pipes: &Arc<Pipes>,
    address: &str,
    config: TransportConfig,
) -> Result<(Transport, Arrivals), BindError> {
    let (recorder, arrivals) = Recorder::new();
    let sockets: Arc<dyn Sockets> = Arc::new(Ends(Arc::clone(pipes)));
    Ok((Transport::bind_on(sockets, address, config, recorder).await?, arrivals))
}
