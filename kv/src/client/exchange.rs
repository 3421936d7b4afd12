//! One request to one endpoint: what was sent, and what came back.

use std::io::{self, ErrorKind, Read};
use std::time::Duration;

use serde::Deserialize;
use ureq::http::{self, Method, Response};
use ureq::{Agent, Body, Timeout};

use super::endpoint::Endpoint;
use super::{Condition, Consistency};

/// The longest that connecting may take, where there is time for more.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// More than any answer has, lists included.
const LONGEST_BODY: u64 = 64 << 20;

/// A request for one key.
pub(super) struct Request<'a> {
    pub(super) method: Method,
    pub(super) key: String,
    pub(super) body: Option<&'a [u8]>,
    pub(super) condition: Condition,
    pub(super) consistency: Consistency,
    /// A write that is done once, however often it is sent (diss. §6.3).
    pub(super) session: Option<SessionWrite>,
}

/// Which write of which session.
#[derive(Clone, Copy)]
pub(super) struct SessionWrite {
    pub(super) session: u64,
    pub(super) serial: u64,
}

/// What became of it.
pub(super) enum Exchange {
    Answered(Answer),
    /// Nothing was sent.
    NotSent {
        reason: String,
    },
    /// It was sent, at least in part, and no whole answer came.
    NoAnswer {
        reason: String,
    },
}

/// A server's answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) version: Option<u64>,
    pub(super) body: Vec<u8>,
}

/// The body of an answer to a request for a session.
#[derive(Deserialize)]
struct SessionBody {
    session: u64,
}

/// The body of an answer that is an error.
#[derive(Deserialize)]
struct ErrorBody {
    error: String,
    message: String,
}

impl Request<'_> {
    pub(super) fn new(method: Method, key: &str) -> Self {
        let (condition, consistency) = (Condition::None, Consistency::Linearizable);
        let (body, session) = (None, None);
        Request { method, key: key.to_string(), body, condition, consistency, session }
    }
}

impl Answer {
    /// The session that was opened, if the answer is to that.
    pub(super) fn session(&self) -> Option<u64> {
        let opened: SessionBody = serde_json::from_slice(&self.body).ok()?;
        (self.status == 200).then_some(opened.session)
    }

    /// The error code, if it is an error of our API's.
    pub(super) fn code(&self) -> Option<String> {
        self.error().map(|error| error.error)
    }

    /// The error in words.
    pub(super) fn reason(&self) -> String {
        match self.error() {
            Some(error) => format!("{}: {}", error.error, error.message),
            None => format!("HTTP status {}, not an answer of raft-kv", self.status),
        }
    }

    fn error(&self) -> Option<ErrorBody> {
        serde_json::from_slice(&self.body).ok()
    }
}

/// Connections of one client, kept open between requests.
pub(super) fn agent() -> Agent {
    Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        // A proxy would answer for servers that it can't reach.
        .proxy(None)
        .build()
        .into()
}

/// Sends a request once.
pub(super) fn exchange(
    agent: &Agent,
    endpoint: &Endpoint,
    request: &Request,
    time: Duration,
) -> Exchange {
    let query = match request.consistency {
        Consistency::Linearizable => "",
        Consistency::Lease => "?consistency=lease",
        Consistency::Local => "?consistency=local",
    };
    let url = endpoint.key_url(&request.key) + query;
    let mut builder = http::Request::builder().method(request.method.clone()).uri(url);
    match request.condition {
        Condition::None => {}
        Condition::Version(version) => {
            builder = builder.header("if-match", format!("\"{version}\""))
        }
        Condition::Absent => builder = builder.header("if-none-match", "*"),
    }
    if let Some(SessionWrite { session, serial }) = request.session {
        builder = builder.header("raft-session", session.to_string());
        builder = builder.header("raft-serial", serial.to_string());
    }
    let sent = match request.body {
        Some(body) => builder.body(body).map(|request| send(agent, request, time)),
        None => builder.body(()).map(|request| send(agent, request, time)),
    };
    match sent {
        Ok(sent) => received(sent, request.method == Method::GET),
        Err(error) => Exchange::NotSent { reason: error.to_string() },
    }
}

/// Sends JSON to a path.
pub(super) fn post(
    agent: &Agent,
    endpoint: &Endpoint,
    path: &str,
    body: &serde_json::Value,
    time: Duration,
) -> Exchange {
    let builder = http::Request::post(endpoint.url(path));
    let builder = builder.header("content-type", "application/json");
    match builder.body(body.to_string()) {
        Ok(request) => received(send(agent, request, time), true),
        Err(error) => Exchange::NotSent { reason: error.to_string() },
    }
}

/// Sends a GET to a path.
pub(super) fn ask(
    agent: &Agent,
    endpoint: &Endpoint,
    path: &str,
    time: Duration,
) -> Result<Answer, String> {
    let request = http::Request::get(endpoint.url(path)).body(());
    let sent = send(agent, request.map_err(|error| error.to_string())?, time);
    match received(sent, true) {
        Exchange::Answered(answer) => Ok(answer),
        Exchange::NotSent { reason } | Exchange::NoAnswer { reason } => Err(reason),
    }
}

fn send(
    agent: &Agent,
    request: http::Request<impl ureq::AsSendBody>,
    time: Duration,
) -> Result<Response<Body>, ureq::Error> {
    let request = agent
        .configure_request(request)
        .timeout_global(Some(time))
        .timeout_connect(Some(CONNECT_TIMEOUT.min(time / 2)))
        .build();
    agent.run(request)
}

fn received(sent: Result<Response<Body>, ureq::Error>, is_read: bool) -> Exchange {
    let mut response = match sent {
        Ok(response) => response,
        Err(error) if was_sent(&error) => return Exchange::NoAnswer { reason: in_words(&error) },
        Err(error) => return Exchange::NotSent { reason: in_words(&error) },
    };
    let etag = response.headers().get("etag").and_then(|etag| etag.to_str().ok());
    let version = etag.and_then(|etag| etag.trim_matches('"').parse().ok());
    let status = response.status();
    match read_body(&mut response) {
        Ok(body) => Exchange::Answered(Answer { status: status.as_u16(), version, body }),
        // Of a write that is done, the head says it all.
        Err(_) if status.is_success() && !is_read => {
            Exchange::Answered(Answer { status: status.as_u16(), version, body: Vec::new() })
        }
        Err(error) => Exchange::NoAnswer { reason: format!("the answer broke off: {error}") },
    }
}

/// What an answer that is no success says.
pub(super) fn failure(response: &mut Response<Body>) -> String {
    let status = response.status().as_u16();
    let body = read_body(response).unwrap_or_default();
    Answer { status, version: None, body }.reason()
}

fn read_body(response: &mut Response<Body>) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    response.body_mut().as_reader().take(LONGEST_BODY).read_to_end(&mut body)?;
    Ok(body)
}

/// Whether a request that failed so may have reached the server. In doubt it may.
fn was_sent(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::Io(error) => !matches!(
            error.kind(),
            ErrorKind::ConnectionRefused
                | ErrorKind::AddrNotAvailable
                // Of an open connection these are known only when the system gives it up, which
                // takes longer than any of our timeouts.
                | ErrorKind::HostUnreachable
                | ErrorKind::NetworkUnreachable
        ),
        ureq::Error::Timeout(Timeout::Connect | Timeout::Resolve) => false,
        ureq::Error::HostNotFound | ureq::Error::BadUri(_) | ureq::Error::Http(_) => false,
        // The enum may grow, and most of the rest is about answers.
        _ => true,
    }
}

fn in_words(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Io(error) if error.kind() == ErrorKind::ConnectionRefused => {
            "connection refused".to_string()
        }
        ureq::Error::Io(error) if error.kind() == ErrorKind::UnexpectedEof => {
            "the connection was closed before an answer".to_string()
        }
        ureq::Error::Io(error) => error.to_string(),
        ureq::Error::Timeout(Timeout::Connect | Timeout::Resolve) => {
            "could not connect in time".to_string()
        }
        ureq::Error::Timeout(_) => "no answer in time".to_string(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_failed_before_anything_was_sent_was_certainly_not_sent() {
        let io = |kind: ErrorKind| ureq::Error::Io(io::Error::from(kind));
        for error in [
            io(ErrorKind::ConnectionRefused),
            ureq::Error::Timeout(Timeout::Connect),
            ureq::Error::HostNotFound,
        ] {
            assert!(!was_sent(&error), "{error}");
        }
        for error in [
            io(ErrorKind::ConnectionReset),
            io(ErrorKind::BrokenPipe),
            io(ErrorKind::UnexpectedEof),
            io(ErrorKind::TimedOut),
            ureq::Error::Timeout(Timeout::Global),
            ureq::Error::Timeout(Timeout::SendBody),
            ureq::Error::ConnectionFailed,
        ] {
            assert!(was_sent(&error), "{error}");
        }
    }

    #[test]
    fn an_error_is_read_from_the_body_and_nothing_else_passes_for_one() {
        let answer = |status: u16, body: &str| Answer {
            status,
            version: None,
            body: body.as_bytes().to_vec(),
        };
        let ours = answer(503, r#"{"error":"no_leader","message":"none yet","leader":null}"#);
        assert_eq!(ours.code().as_deref(), Some("no_leader"));
        assert_eq!(ours.reason(), "no_leader: none yet");
        for body in ["", "<html>", "{}", r#"{"error":7}"#] {
            let other = answer(502, body);
            assert_eq!(other.code(), None);
            assert_eq!(other.reason(), "HTTP status 502, not an answer of raft-kv");
        }
    }
}
