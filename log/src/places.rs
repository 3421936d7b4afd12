//! Where entries are: a sparse index, shared by the writer and its readers.
//!
//! ```text
//!   points:   (index 1, segment 1, offset 512)   (240, 1, 66048)   (198, ...)  after a truncation:
//!             |------- entries 1..240 ----------|                  points from 198 on are gone,
//!             read forward from the point                          and 198 has one of its own
//! ```
//!
//! Between two points the first entry of an index that is found reading forward is the valid one.

use std::collections::BTreeMap;
use std::sync::{Arc, RwLock};

use actix_raft_core::mutants::{Mutant, is_planted};
use actix_raft_core::stored::StoredState;
use actix_raft_core::types::Index;

/// Bytes of log between two points.
const POINT_BYTES: u64 = 64 * 1024;

/// Where to begin reading in order to find an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Point {
    /// The first entry that is found from here.
    pub(crate) index: Index,
    pub(crate) segment: u64,
    /// Where the frame with the entry begins.
    pub(crate) offset: u64,
    /// Which of the frame's runs begins with the entry, or holds it.
    pub(crate) run: u32,
}

/// What is durable, and where.
#[derive(Default)]
pub(crate) struct Places {
    /// The segments that there are, with their salts.
    pub(crate) segments: BTreeMap<u64, u64>,
    pub(crate) points: Vec<Point>,
    pub(crate) base: Index,
    pub(crate) last: Index,
}

pub(crate) type SharedPlaces = Arc<RwLock<Places>>;

impl Places {
    /// Takes note of a run of entries in a durable frame.
    pub(crate) fn note_run(&mut self, point: Point, last: Index) {
        let truncates = point.index <= self.last && !is_planted(Mutant::ReadsOverwritten);
        if truncates {
            let kept = self.points.partition_point(|earlier| earlier.index < point.index);
            self.points.truncate(kept);
        }
        let near = self.points.last().is_some_and(|before| {
            before.segment == point.segment && point.offset - before.offset < POINT_BYTES
        });
        if truncates || !near {
            self.points.push(point);
        }
        self.last = last;
    }

    /// Takes note that the log now begins elsewhere, as the state says.
    pub(crate) fn note_base(&mut self, state: &StoredState) {
        self.base = state.base.last_included.index;
        self.last = state.last_log.index;
        if self.last <= self.base {
            // Perhaps it held more, which contradicts the base and is gone.
            self.points.clear();
        }
        let after = self.points.partition_point(|point| point.index <= self.base.next());
        // The last point at or before the first entry is still needed to find it.
        self.points.drain(..after.saturating_sub(1));
    }

    /// Takes the oldest segment out if it holds no entry that is still in the log; never the one
    /// that is written. Every segment begins with the term and vote and the base that were in force.
    pub(crate) fn take_obsolete(&mut self) -> Option<u64> {
        let newest = self.segments.keys().next_back().copied()?;
        let mut first = self.points.first().map_or(newest, |point| point.segment);
        if is_planted(Mutant::PurgeTooFar) && self.base > Index::ZERO {
            first = newest;
        }
        let oldest = self.segments.keys().next().copied().filter(|oldest| *oldest < first)?;
        self.segments.remove(&oldest);
        Some(oldest)
    }

    /// The points from which the entries of these indexes are read, each with the last index to be
    /// read from it.
    pub(crate) fn covering(&self, first: Index, last: Index) -> Vec<(Point, Index)> {
        let start = self.points.partition_point(|point| point.index <= first).saturating_sub(1);
        let points = self.points[start.min(self.points.len())..].iter();
        let wanted = points.clone().take_while(|point| point.index <= last);
        let ends = points.skip(1).map(|next| next.index.prev()).chain([last]);
        wanted.copied().zip(ends).map(|(point, end)| (point, end.min(last))).collect()
    }
}
