//! Reading a long answer as it comes.

use std::io::Read;
use std::time::Duration;

use ureq::http;

use super::endpoint::Endpoint;
use super::errors::{ReadError, Unavailable};
use super::exchange::{agent, failure};

/// How long connecting and the head of an answer may take; the body takes as long as it takes.
const FIRST_BYTE: Duration = Duration::from_secs(30);

/// Opens a path at the first server that answers.
pub(crate) fn download(
    endpoints: &[Endpoint],
    path: &str,
    timeout: Duration,
) -> Result<Box<dyn Read + Send>, ReadError> {
    let agent = agent();
    let mut reasons = Vec::new();
    for endpoint in endpoints {
        let request = match http::Request::get(endpoint.url(path)).body(()) {
            Ok(request) => request,
            Err(error) => {
                reasons.push((endpoint.clone(), error.to_string()));
                continue;
            }
        };
        let request = agent
            .configure_request(request)
            .timeout_connect(Some(timeout.min(FIRST_BYTE)))
            .timeout_recv_response(Some(timeout.max(FIRST_BYTE)))
            .build();
        match agent.run(request) {
            Ok(response) if response.status() == 200 => {
                return Ok(Box::new(response.into_body().into_reader()));
            }
            Ok(mut response) => reasons.push((endpoint.clone(), failure(&mut response))),
            Err(error) => reasons.push((endpoint.clone(), error.to_string())),
        }
    }
    Err(ReadError::Unavailable(Unavailable { reasons }))
}
