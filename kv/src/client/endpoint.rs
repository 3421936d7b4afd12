//! Where a server is reached, and the paths of its API.

use std::fmt;
use std::str::FromStr;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::peers::check_address;

/// A key is one segment of the path, and `.` or `..` must not be taken for a step in it.
const KEPT_IN_A_KEY: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'~');

/// The address of a server's HTTP API: `HOST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint(String);

impl Endpoint {
    /// The URL of a key.
    pub(crate) fn key_url(&self, key: &str) -> String {
        self.url(&format!("/v1/kv/{}", utf8_percent_encode(key, &KEPT_IN_A_KEY)))
    }

    /// The URL of a path that begins with a slash.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.0)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.0)
    }
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Endpoint, String> {
        let text = text.trim();
        if text.starts_with("https://") {
            return Err(format!("'{text}': servers speak http, not https"));
        }
        let address = text.strip_prefix("http://").unwrap_or(text);
        let address = address.strip_suffix('/').unwrap_or(address);
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let in_host = |c: char| c.is_ascii_alphanumeric() || "-._[]:".contains(c);
        if !host.chars().all(in_host) {
            return Err(format!("'{text}' is not HOST:PORT or http://HOST:PORT"));
        }
        check_address(address).map(Endpoint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(text: &str) -> Result<Endpoint, String> {
        text.parse()
    }

    #[test]
    fn the_scheme_may_be_left_out() {
        for text in ["kv-1.example:8001", "http://kv-1.example:8001", " http://kv-1.example:8001/ "]
        {
            assert_eq!(endpoint(text).unwrap().to_string(), "http://kv-1.example:8001");
        }
        assert_eq!(endpoint("[::1]:8001").unwrap().url("/livez"), "http://[::1]:8001/livez");
    }

    #[test]
    fn what_is_no_endpoint_is_refused_in_words() {
        let refused = |text: &str| endpoint(text).unwrap_err();
        assert!(refused("https://a:1").contains("http, not https"));
        assert_eq!(refused("localhost"), "'localhost' is not HOST:PORT");
        assert_eq!(refused(""), "'' is not HOST:PORT");
        assert_eq!(refused("a:port"), "the port of 'a:port' is not a number up to 65535");
        assert!(refused("a:1/v1/kv").contains("port of 'a:1/v1/kv'"));
        assert!(refused("a b:1").contains("is not HOST:PORT or http://HOST:PORT"));
        assert!(refused("user@a:1").contains("is not HOST:PORT or http://HOST:PORT"));
    }

    #[test]
    fn a_key_is_one_segment_of_the_path_whatever_is_in_it() {
        let path = |key: &str| endpoint("h:1").unwrap().key_url(key).split_off("http://h:1".len());
        assert_eq!(path("Plain_key-1~"), "/v1/kv/Plain_key-1~");
        assert_eq!(path("a/b?c#d e%"), "/v1/kv/a%2Fb%3Fc%23d%20e%25");
        assert_eq!(path(".."), "/v1/kv/%2E%2E");
        assert_eq!(path("ä\n"), "/v1/kv/%C3%A4%0A");
    }
}
