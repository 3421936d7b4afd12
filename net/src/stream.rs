//! Where connections come from: the one place that knows they are plain TCP, and where TLS goes.
//!
//! ```text
//!   Transport --> Sockets --listen--> Listener --accept--> Opening --> Stream
//!                         --connect----------------------> Opening --> Stream
//! ```
//!
//! Everything else needs a [`Stream`], whatever carries it. So a transport can run on
//! [other sockets](crate::transport::Transport::bind_on), such as those of a simulated network. Boxes
//! are made once a connection, none for a read or a write.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

/// Bytes in both directions, in order. Dropped, it is closed.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Something that takes time on a network and may fail. Dropped, it is given up.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send + 'a>>;

/// A connection that is being made.
pub type Opening<'a> = Pending<'a, Box<dyn Stream>>;

/// A network: listens on this node and connects to others.
pub trait Sockets: Send + Sync + 'static {
    /// Listens at an address.
    fn listen<'a>(&'a self, address: &'a str) -> Pending<'a, Box<dyn Listener>>;

    /// Connects to a peer at an address such as `10.0.0.1:7001` or `node-1.example:7001`.
    fn connect<'a>(&'a self, address: &'a str) -> Opening<'a>;
}

/// Takes connections in. Dropped, it stops listening.
pub trait Listener: Send + Sync + 'static {
    /// Where it listens.
    ///
    /// # Errors
    /// If it can't be told.
    fn local_addr(&self) -> io::Result<SocketAddr>;

    /// Waits for the next connection, and says from where it comes. What remains to be done to make
    /// it a stream is done apart, with a limit on its time, so that a slow peer holds up no other.
    fn accept(&self) -> Pending<'_, (Opening<'static>, SocketAddr)>;
}

/// The operating system's TCP.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tcp;

impl Sockets for Tcp {
    fn listen<'a>(&'a self, address: &'a str) -> Pending<'a, Box<dyn Listener>> {
        Box::pin(async move {
            let listener: Box<dyn Listener> = Box::new(TcpListener::bind(address).await?);
            Ok(listener)
        })
    }

    fn connect<'a>(&'a self, address: &'a str) -> Opening<'a> {
        Box::pin(async move { prepared(TcpStream::connect(address).await?) })
    }
}

impl Listener for TcpListener {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        TcpListener::local_addr(self)
    }

    fn accept(&self) -> Pending<'_, (Opening<'static>, SocketAddr)> {
        Box::pin(async move {
            let (stream, address) = TcpListener::accept(self).await?;
            let opening: Opening<'static> = Box::pin(async move { prepared(stream) });
            Ok((opening, address))
        })
    }
}

fn prepared(stream: TcpStream) -> io::Result<Box<dyn Stream>> {
    // All that waits is written at once, so holding back a small write would only delay it.
    stream.set_nodelay(true)?;
    Ok(Box::new(stream))
}
