//! Reading entries back, while the writer goes on.

use std::io;
use std::sync::PoisonError;

use actix_raft_core::entry::Entry;
use actix_raft_core::types::Index;

use crate::error::ReadError;
use crate::format::{FRAME_BYTES, claimed_body, decode_frame, frame_size};
use crate::places::{Point, SegmentFile, SharedPlaces};
use crate::record::{Record, records};

/// Reads entries that are durable. Cheap to clone, usable from any thread; never waits for a write.
#[derive(Clone)]
pub struct LogReader {
    places: SharedPlaces,
}

/// Entries being collected.
struct Wanted {
    next: Index,
    last: Index,
    bytes_left: usize,
    /// Whether an entry did not fit.
    full: bool,
    entries: Vec<Entry>,
}

impl LogReader {
    pub(crate) fn new(places: SharedPlaces) -> LogReader {
        LogReader { places }
    }

    /// The entries of these indexes, both included, in order. Stops before the entry with which
    /// they would weigh more than `max_bytes` ([`Entry::weight`]), but returns at least one.
    ///
    /// # Errors
    /// If they are not, or no longer, or not yet durably in the log; or can't be read.
    pub fn read(
        &self,
        first: Index,
        last: Index,
        max_bytes: usize,
    ) -> Result<Vec<Entry>, ReadError> {
        let plan = self.plan(first, last)?;
        let mut wanted =
            Wanted { next: first, last, bytes_left: max_bytes, full: false, entries: Vec::new() };
        for (point, end, segment) in plan {
            wanted.read_from(point, end, &segment)?;
            if wanted.is_full() {
                break;
            }
        }
        Ok(wanted.entries)
    }

    fn plan(
        &self,
        first: Index,
        last: Index,
    ) -> Result<Vec<(Point, Index, SegmentFiles)>, ReadError> {
        // The writer replaces what is in the lock as a whole.
        let places = self.places.read().unwrap_or_else(PoisonError::into_inner);
        if first <= places.base {
            return Err(ReadError::Purged { first, base: places.base });
        }
        if last > places.last || first > last {
            return Err(ReadError::Beyond { last, end: places.last });
        }
        let files = |point: &Point| -> SegmentFiles {
            places.segments.range(point.segment..).map(|(_, file)| file.clone()).take(2).collect()
        };
        let covering = places.covering(first, last).into_iter();
        Ok(covering.map(|(point, end)| (point, end, files(&point))).collect())
    }
}

/// The segment of a point and the next one: the entries up to the next point lie in these, since
/// every segment begins with a point.
type SegmentFiles = Vec<SegmentFile>;

impl Wanted {
    fn is_full(&self) -> bool {
        self.full || self.next > self.last
    }

    /// Collects the entries up to `end`, reading frame after frame.
    fn read_from(
        &mut self,
        point: Point,
        end: Index,
        segments: &[SegmentFile],
    ) -> Result<(), ReadError> {
        let Some(segment) = segments.first() else { return Ok(()) };
        let mut offset = point.offset;
        let mut skip_runs = point.run;
        while self.next <= end && !self.is_full() {
            let frame = read_frame(segment, offset)?;
            let damaged = |what: &str| damaged(segment, offset, what);
            let whole = decode_frame(&frame, segment.salt)
                .filter(|frame| !frame.body.is_empty())
                .ok_or_else(|| damaged("the checksum is wrong"))?;
            let mut records = records(whole.body);
            while let Some(record) = records.next().map_err(damaged)? {
                let Record::Run(mut run) = record else { continue };
                if skip_runs > 0 {
                    skip_runs -= 1;
                    continue;
                }
                while self.next <= end
                    && !self.is_full()
                    && let Some(entry) = run.next().map_err(damaged)?
                {
                    if entry.position.index == self.next {
                        self.take(entry.to_entry().map_err(damaged)?);
                    } else if entry.position.index > self.next {
                        return Err(damaged("an entry is missing"));
                    }
                }
            }
            skip_runs = 0;
            offset += frame.len() as u64;
        }
        Ok(())
    }

    fn take(&mut self, entry: Entry) {
        let weight = entry.weight();
        if weight > self.bytes_left && !self.entries.is_empty() {
            self.full = true;
            return;
        }
        self.bytes_left = self.bytes_left.saturating_sub(weight);
        self.next = entry.index.next();
        self.entries.push(entry);
    }
}

fn damaged(segment: &SegmentFile, offset: u64, what: &str) -> ReadError {
    ReadError::Damaged { file: segment.name.clone(), offset, what: what.to_string() }
}

/// The bytes of the frame at this offset, whatever they are.
fn read_frame(segment: &SegmentFile, offset: u64) -> Result<Vec<u8>, ReadError> {
    let failed = |source: io::Error| ReadError::Io { file: segment.name.clone(), source };
    let mut header = [0; FRAME_BYTES];
    let read = segment.file.read_at(&mut header, offset).map_err(failed)?;
    let size = frame_size(claimed_body(&header));
    // A damaged length must not make us ask for more memory than there is file.
    let rest = segment.file.size().map_err(failed)?.saturating_sub(offset);
    if read < FRAME_BYTES || size as u64 > rest {
        return Err(damaged(segment, offset, "a frame ends beyond its file"));
    }
    let mut frame = vec![0; size];
    segment.file.read_at(&mut frame, offset).map_err(failed)?;
    Ok(frame)
}
