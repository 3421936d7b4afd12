//! What is going to happen, in order of time.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use actix_raft_core::types::Time;

/// Happenings by their time; those of one time in the order in which they were put in.
pub(crate) struct Queue<T> {
    heap: BinaryHeap<Reverse<Item<T>>>,
    count: u64,
}

struct Item<T> {
    time: Time,
    number: u64,
    what: T,
}

impl<T> Queue<T> {
    pub(crate) fn new() -> Queue<T> {
        Queue { heap: BinaryHeap::new(), count: 0 }
    }

    pub(crate) fn put(&mut self, time: Time, what: T) {
        self.count += 1;
        self.heap.push(Reverse(Item { time, number: self.count, what }));
    }

    /// The next, if it happens no later than this.
    pub(crate) fn next_until(&mut self, time: Time) -> Option<(Time, T)> {
        if self.heap.peek().is_some_and(|Reverse(item)| item.time <= time) {
            return self.heap.pop().map(|Reverse(item)| (item.time, item.what));
        }
        None
    }
}

impl<T> Item<T> {
    fn key(&self) -> (Time, u64) {
        (self.time, self.number)
    }
}

impl<T> PartialEq for Item<T> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<T> Eq for Item<T> {}

impl<T> PartialOrd for Item<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Item<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}
