//! Why a request has no result. *Certainly not done* and *perhaps done* are different variants.

use std::error::Error;
use std::fmt;

use super::endpoint::Endpoint;

/// Why a write has no result.
#[derive(Debug)]
pub(crate) enum WriteError {
    /// The key to delete is not there. Nothing changed.
    NotFound { key: String },
    /// The condition did not hold. Nothing changed.
    PreconditionFailed { key: String },
    /// The request is one that no server does. Nothing changed.
    Refused(Refusal),
    /// No server could do it in time. Nothing changed.
    Unavailable(Unavailable),
    /// It was sent to this server, and may have been done or not.
    OutcomeUnknown { endpoint: Endpoint, reason: String },
    /// It was sent again and again, in a session, until there was no time left.
    UnknownAfterRetries(Unavailable),
}

/// Why a read has no result.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// The key is not there.
    NotFound { key: String },
    /// The request is one that no server does.
    Refused(Refusal),
    /// No server could do it in time.
    Unavailable(Unavailable),
}

/// A server's answer that it does not do such a request.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) endpoint: Endpoint,
    pub(crate) reason: String,
}

/// What each endpoint said last, or what happened instead.
#[derive(Debug)]
pub(crate) struct Unavailable {
    pub(crate) reasons: Vec<(Endpoint, String)>,
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WriteError::NotFound { key } => write!(f, "there is no key '{key}'"),
            WriteError::PreconditionFailed { key } => {
                write!(f, "the key '{key}' is not as expected; nothing was changed")
            }
            WriteError::Refused(refusal) => refusal.fmt(f),
            WriteError::Unavailable(unavailable) => {
                write!(f, "{unavailable}; nothing was changed")
            }
            WriteError::UnknownAfterRetries(unavailable) => {
                write!(f, "outcome unknown, the write may be done or not: {unavailable}")
            }
            WriteError::OutcomeUnknown { endpoint, reason } => {
                write!(f, "outcome unknown, the write may be done or not: {endpoint}: {reason}")
            }
        }
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadError::NotFound { key } => write!(f, "there is no key '{key}'"),
            ReadError::Refused(refusal) => refusal.fmt(f),
            ReadError::Unavailable(unavailable) => unavailable.fmt(f),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "refused by {}: {}", self.endpoint, self.reason)
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no server could do it")?;
        for (place, (endpoint, reason)) in self.reasons.iter().enumerate() {
            let separator = if place == 0 { ": " } else { "; " };
            write!(f, "{separator}{endpoint}: {reason}")?;
        }
        Ok(())
    }
}

impl Error for WriteError {}
impl Error for ReadError {}
