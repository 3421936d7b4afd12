//! Reading a request: its key and its precondition.

use actix_web::HttpRequest;
use actix_web::http::header::{HeaderName, IF_MATCH, IF_NONE_MATCH};
use percent_encoding::percent_decode_str;

use crate::command::Expected;
use crate::settings::{MAX_KEY_BYTES, MAX_VALUE_BYTES};

/// A request that can't be done as it stands.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadRequest {
    pub(crate) status: u16,
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

impl BadRequest {
    pub(crate) fn new(message: impl Into<String>) -> BadRequest {
        BadRequest { status: 400, code: "bad_request", message: message.into() }
    }

    pub(crate) fn value_too_large() -> BadRequest {
        let message = format!("a value may have {MAX_VALUE_BYTES} bytes");
        BadRequest { status: 413, code: "value_too_large", message }
    }

    fn key_too_long() -> BadRequest {
        let message = format!("a key may have {MAX_KEY_BYTES} bytes");
        BadRequest { status: 414, code: "key_too_long", message }
    }
}

/// The key in the path: what follows `/v1/kv/`, percent-decoded.
pub(crate) fn key_of(request: &HttpRequest) -> Result<String, BadRequest> {
    // The router's own decoding would make `%2F` and `/` one, or two, depending on its version.
    key_in(request.uri().path())
}

fn key_in(path: &str) -> Result<String, BadRequest> {
    let encoded = path.strip_prefix("/v1/kv/").unwrap_or("");
    let key = percent_decode_str(encoded)
        .decode_utf8()
        .map_err(|_| BadRequest::new("the key is not UTF-8"))?;
    match key.len() {
        0 => Err(BadRequest::new("the key is empty")),
        length if length > MAX_KEY_BYTES => Err(BadRequest::key_too_long()),
        _ => Ok(key.into_owned()),
    }
}

/// Which write of which session this is, if the request says.
pub(crate) fn serial_of(request: &HttpRequest) -> Result<Option<(u64, u64)>, BadRequest> {
    let number = |name: &str| match request.headers().get(name) {
        None => Ok(None),
        Some(value) => match value.to_str().ok().and_then(|text| text.trim().parse().ok()) {
            Some(number) => Ok(Some(number)),
            None => Err(BadRequest::new(format!("the header {name} is not a number"))),
        },
    };
    match (number("Raft-Session")?, number("Raft-Serial")?) {
        (None, None) => Ok(None),
        (Some(session), Some(serial)) => Ok(Some((session, serial))),
        _ => Err(BadRequest::new("Raft-Session and Raft-Serial must be given together")),
    }
}

/// What the conditional headers expect of the key.
pub(crate) fn precondition_of(request: &HttpRequest) -> Result<Option<Expected>, BadRequest> {
    let header = |name: HeaderName| match request.headers().get(&name) {
        None => Ok(None),
        Some(value) => match value.to_str() {
            Ok(text) => Ok(Some(text.trim())),
            Err(_) => Err(BadRequest::new(format!("the header {name} is not ASCII"))),
        },
    };
    precondition(header(IF_MATCH)?, header(IF_NONE_MATCH)?)
}

fn precondition(
    if_match: Option<&str>,
    if_none_match: Option<&str>,
) -> Result<Option<Expected>, BadRequest> {
    match (if_match, if_none_match) {
        (None, None) => Ok(None),
        (Some("*"), None) => Ok(Some(Expected::Present(true))),
        (Some(etag), None) => {
            let version = etag.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
            match version.and_then(|version| version.parse().ok()) {
                Some(version) => Ok(Some(Expected::Version(version))),
                None => Err(BadRequest::new("If-Match must be \"VERSION\", in quotes, or *")),
            }
        }
        (None, Some("*")) => Ok(Some(Expected::Absent(true))),
        (None, Some(_)) => Err(BadRequest::new("If-None-Match must be *")),
        (Some(_), Some(_)) => {
            Err(BadRequest::new("If-Match and If-None-Match can't be given together"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_what_follows_decoded() {
        assert_eq!(key_in("/v1/kv/a/b%2Fc%20%C3%A4"), Ok("a/b/c ä".to_string()));
        assert_eq!(key_in("/v1/kv/").unwrap_err().message, "the key is empty");
        assert_eq!(key_in("/v1/kv/%ff").unwrap_err().message, "the key is not UTF-8");
        let longest = format!("/v1/kv/{}", "k".repeat(MAX_KEY_BYTES));
        assert!(key_in(&longest).is_ok());
        assert_eq!(key_in(&(longest + "k")).unwrap_err().status, 414);
    }

    #[test]
    fn preconditions_are_versions_or_presence() {
        assert_eq!(precondition(Some("\"7\""), None), Ok(Some(Expected::Version(7))));
        assert_eq!(precondition(Some("*"), None), Ok(Some(Expected::Present(true))));
        assert_eq!(precondition(None, Some("*")), Ok(Some(Expected::Absent(true))));
        for (if_match, if_none_match) in [
            (Some("7"), None),
            (Some("W/\"7\""), None),
            (None, Some("\"7\"")),
            (Some("*"), Some("*")),
        ] {
            assert_eq!(precondition(if_match, if_none_match).unwrap_err().status, 400);
        }
    }
}
