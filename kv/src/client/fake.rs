//! A server for tests that answers from a script, one connection a request.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use super::endpoint::Endpoint;

/// It listens until its script is played; then connections are refused.
pub(crate) struct Fake {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
}

/// What it does with a request that it has read.
pub(crate) enum Reply {
    Text(String),
    HangUp,
}

impl Reply {
    pub(crate) fn json(status: u16, body: &str) -> Reply {
        Reply::with_headers(status, "", body)
    }

    /// An error of the API.
    pub(crate) fn error(status: u16, code: &str) -> Reply {
        Reply::json(status, &format!(r#"{{"error":"{code}","message":"so it is","leader":null}}"#))
    }

    /// A success with a version.
    pub(crate) fn versioned(status: u16, version: u64, body: &str) -> Reply {
        Reply::with_headers(status, &format!("ETag: \"{version}\"\r\n"), body)
    }

    fn with_headers(status: u16, headers: &str, body: &str) -> Reply {
        let length = body.len();
        Reply::Text(format!(
            "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n{body}"
        ))
    }
}

impl Fake {
    pub(crate) fn start(script: impl IntoIterator<Item = Reply, IntoIter: Send + 'static>) -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::<Mutex<Vec<String>>>::default();
        let (seen, script) = (Arc::clone(&requests), script.into_iter());
        thread::spawn(move || {
            for reply in script {
                let (mut stream, _) = listener.accept().unwrap();
                let request = read_request(&stream);
                seen.lock().unwrap().push(request);
                match reply {
                    Reply::Text(text) => stream.write_all(text.as_bytes()).unwrap(),
                    Reply::HangUp => {}
                }
            }
        });
        Fake { address, requests }
    }

    /// An endpoint where nothing listens.
    pub(crate) fn nowhere() -> Endpoint {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().to_string().parse().unwrap()
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        self.address.to_string().parse().unwrap()
    }

    /// The requests so far: method and path, conditional headers, and body.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

fn read_request(stream: &TcpStream) -> String {
    let mut reader = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_string()),
        }
    }
    let mut seen = lines[0].trim_end_matches(" HTTP/1.1").to_string();
    let mut length = 0;
    for line in &lines[1..] {
        match line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value)) {
            Some((name, value)) if name == "content-length" => length = value.parse().unwrap(),
            Some((name, value)) if name.starts_with("if-") => seen += &format!(" {name}={value}"),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    if !body.is_empty() {
        seen += &format!(" {}", String::from_utf8(body).unwrap());
    }
    seen
}
