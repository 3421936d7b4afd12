//! The commands of a client, and what they have in common: options, output, exit codes.

pub(crate) mod backup;
pub(crate) mod del;
pub(crate) mod get;
pub(crate) mod member;
pub(crate) mod operate;
pub(crate) mod put;
pub(crate) mod status;
mod watch;

use std::io::{self, Write};
use std::time::Duration;

use crate::client::Client;
use crate::client::admin::AdminError;
use crate::client::endpoint::Endpoint;
use crate::client::errors::{ReadError, WriteError};

/// What [`exit_code`] returns, for `--help`.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  another error, such as a refused request
  2  wrong usage
  3  there is no such key
  4  the key is not as expected (--if-version, --if-absent); nothing was changed
  5  no server could do it; nothing was changed
  6  outcome unknown: a write may be done or not";

/// Where the servers are.
#[derive(clap::Args, Debug)]
pub(crate) struct ClientArgs {
    /// The servers' HTTP addresses: http://HOST:PORT or HOST:PORT, one or more
    #[arg(
        long,
        value_name = "URL",
        value_delimiter = ',',
        env = "RAFT_KV_ENDPOINTS",
        default_value = "http://127.0.0.1:8001"
    )]
    endpoints: Vec<Endpoint>,
    /// How long to try, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    timeout: Duration,
}

impl ClientArgs {
    fn client(&self) -> Client {
        Client::new(self.endpoints.clone(), self.timeout)
    }
}

/// Reads a number of seconds. The bound is also what [`Client`] relies on to know what was sent.
fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.1..=600.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("not a number of seconds from 0.1 to 600".to_string()),
    }
}

/// Reads a key, which is never empty.
fn key(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("a key is not empty".to_string()) } else { Ok(text.to_string()) }
}

/// Writes to standard output. A reader that has gone away has seen enough.
fn print(output: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(output).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// No server answered a question about itself.
#[derive(Debug)]
pub(crate) struct NoneReached;

impl std::fmt::Display for NoneReached {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no server could be reached")
    }
}

impl std::error::Error for NoneReached {}

/// The exit code of a command that failed.
pub(crate) fn exit_code(error: &anyhow::Error) -> u8 {
    if let Some(error) = error.downcast_ref::<WriteError>() {
        return match error {
            WriteError::NotFound { .. } => 3,
            WriteError::PreconditionFailed { .. } => 4,
            WriteError::Unavailable(_) => 5,
            WriteError::OutcomeUnknown { .. } | WriteError::UnknownAfterRetries(_) => 6,
            WriteError::Refused(_) => 1,
        };
    }
    if let Some(AdminError::Unavailable { perhaps_begun, .. }) = error.downcast_ref() {
        return if *perhaps_begun { 6 } else { 5 };
    }
    match error.downcast_ref::<ReadError>() {
        Some(ReadError::NotFound { .. }) => 3,
        Some(ReadError::Unavailable(_)) => 5,
        Some(ReadError::Refused(_)) => 1,
        None if error.is::<NoneReached>() => 5,
        None => 1,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::client::fake::{Fake, Reply};

    #[derive(Parser)]
    enum Cli {
        Put(put::PutArgs),
        Get(get::GetArgs),
        Del(del::DelArgs),
        Status(status::StatusArgs),
    }

    /// Runs a command against a server that answers with this.
    fn run(arguments: &[&str], reply: Reply) -> u8 {
        let fake = Fake::start([reply]);
        run_at(&fake.endpoint(), arguments)
    }

    fn run_at(endpoint: &Endpoint, arguments: &[&str]) -> u8 {
        let endpoints = ["--endpoints", &endpoint.to_string()];
        let done = match Cli::parse_from(["raft-kv"].iter().chain(arguments).chain(&endpoints)) {
            Cli::Put(args) => put::run(&args),
            Cli::Get(args) => get::run(&args),
            Cli::Del(args) => del::run(&args),
            Cli::Status(args) => status::run(&args),
        };
        done.map_or_else(|error| exit_code(&error), |()| 0)
    }

    #[test]
    fn exit_codes_tell_what_a_script_must_know() {
        let (put, get, del) = (["put", "k", "v"], ["get", "k"], ["del", "k"]);
        let missing = || Reply::error(404, "not_found");
        assert_eq!(run(&put, Reply::versioned(200, 7, "{}")), 0);
        assert_eq!(run(&get, Reply::versioned(200, 7, "")), 0);
        assert_eq!(run(&del, Reply::json(204, "")), 0);
        assert_eq!(run(&put, Reply::error(413, "value_too_large")), 1);
        assert_eq!(run(&get, Reply::error(400, "bad_request")), 1);
        assert_eq!((run(&get, missing()), run(&del, missing())), (3, 3));
        let failed = || Reply::error(412, "precondition_failed");
        assert_eq!(run(&["put", "k", "v", "--if-absent"], failed()), 4);
        assert_eq!(run(&["del", "k", "--if-version", "3"], failed()), 4);
        for reply in [Reply::HangUp, Reply::error(504, "outcome_unknown")] {
            assert_eq!(run(&put, reply), 6);
        }
        assert_eq!(run(&del, Reply::HangUp), 6);
        for arguments in [&put[..], &get, &del, &["status"]] {
            assert_eq!(run_at(&Fake::nowhere(), arguments), 5);
        }
    }

    #[test]
    fn wrong_usage_is_told_before_anything_is_sent() {
        let refused = |arguments: &[&str]| {
            Cli::try_parse_from(["raft-kv"].iter().chain(arguments)).err().unwrap().exit_code()
        };
        assert_eq!(refused(&["put", "k"]), 2);
        assert_eq!(refused(&["put", "k", "v", "--file", "f"]), 2);
        assert_eq!(refused(&["put", "k", "v", "--if-absent", "--if-version", "1"]), 2);
        assert_eq!(refused(&["get", ""]), 2);
        assert_eq!(refused(&["get", "k", "--timeout", "0"]), 2);
        assert_eq!(refused(&["get", "k", "--timeout", "NaN"]), 2);
        assert_eq!(refused(&["get", "k", "--endpoints", "https://a:1"]), 2);
    }

    #[test]
    fn several_endpoints_are_one_argument() {
        let Ok(Cli::Get(args)) =
            Cli::try_parse_from(["raft-kv", "get", "k", "--endpoints", "a:1,http://b:2"])
        else {
            panic!("not parsed");
        };
        let endpoints: Vec<String> =
            args.client.endpoints.iter().map(|endpoint| endpoint.to_string()).collect();
        assert_eq!(endpoints, ["http://a:1", "http://b:2"]);
        assert_eq!(args.client.timeout, Duration::from_secs(10));
    }
}
