//! Where connections come from: the one place that knows they are plain TCP, and where TLS goes.
//!
//! Everything else is generic over a stream of bytes in both directions.

use std::io;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// Connects to a peer at an address such as `10.0.0.1:7001` or `node-1.example:7001`.
pub(crate) async fn dial(
    address: &str,
) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + use<>> {
    prepared(TcpStream::connect(address).await?)
}

/// Makes a stream of an accepted connection.
pub(crate) fn accepted(
    stream: TcpStream,
) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin> {
    prepared(stream)
}

fn prepared(stream: TcpStream) -> io::Result<TcpStream> {
    // All that waits is written at once, so holding back a small write would only delay it.
    stream.set_nodelay(true)?;
    Ok(stream)
}
