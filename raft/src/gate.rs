//! Back-pressure in front of the mailbox: a bounded number of requests, and bytes, in flight.
//!
//! An Actix mailbox takes whatever it is sent, and a full one starves the timers of its actor. So
//! clients pass this gate first, and a request holds its permit until it is answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts what is in flight.
#[derive(Debug)]
pub(crate) struct Gate {
    max_requests: usize,
    max_bytes: usize,
    requests: AtomicUsize,
    bytes: AtomicUsize,
}

/// The right to have one request in flight, given back on drop.
#[derive(Debug)]
pub(crate) struct Permit {
    gate: Arc<Gate>,
    bytes: usize,
}

impl Gate {
    pub(crate) fn new(max_requests: usize, max_bytes: usize) -> Arc<Gate> {
        let (requests, bytes) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(Gate { max_requests, max_bytes, requests, bytes })
    }

    /// A permit for a request of this size, if there is room. A request that is larger than the
    /// limit passes when it is alone.
    pub(crate) fn enter(self: &Arc<Gate>, bytes: usize) -> Option<Permit> {
        let requests = self.requests.fetch_add(1, Ordering::Relaxed);
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let permit = Permit { gate: Arc::clone(self), bytes };
        let fits = before == 0 || before.saturating_add(bytes) <= self.max_bytes;
        (requests < self.max_requests && fits).then_some(permit)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.gate.requests.fetch_sub(1, Ordering::Relaxed);
        self.gate.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_bytes_are_bounded_and_given_back() {
        let gate = Gate::new(2, 100);
        let first = gate.enter(60).unwrap();
        assert!(gate.enter(60).is_none(), "too many bytes");
        let second = gate.enter(40).unwrap();
        assert!(gate.enter(0).is_none(), "too many requests");
        drop((first, second));
        assert!(gate.enter(1000).is_some(), "a large one passes alone");
        assert_eq!(gate.requests.load(Ordering::Relaxed), 0);
        assert_eq!(gate.bytes.load(Ordering::Relaxed), 0);
    }
}
