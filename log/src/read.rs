//! Reading entries back, while the writer goes on.

use std::sync::{Arc, PoisonError};

use actix_raft_core::entry::Entry;
use actix_raft_core::types::Index;

use crate::disk::DiskFile;
use crate::error::ReadError;
use crate::files::Files;
use crate::format::{FRAME_BYTES, claimed_body, decode_frame, frame_size};
use crate::places::{Point, SharedPlaces};
use crate::record::{Record, records};

/// How much is read at once, in bytes: as much as lies between two points.
const WINDOW_BYTES: usize = 64 * 1024;

/// Reads entries that are durable. Cheap to clone, usable from any thread; never waits for a write.
#[derive(Clone)]
pub struct LogReader {
    places: SharedPlaces,
    files: Arc<Files>,
}

/// A segment that is read.
struct SegmentFile {
    file: Arc<dyn DiskFile>,
    /// What it is called in messages.
    name: String,
    salt: u64,
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
    pub(crate) fn new(places: SharedPlaces, files: Arc<Files>) -> LogReader {
        LogReader { places, files }
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
        let plan = self.plan(first, last, max_bytes)?;
        let mut wanted =
            Wanted { next: first, last, bytes_left: max_bytes, full: false, entries: Vec::new() };
        for (point, end, salt) in plan {
            let (number, name) = (point.segment, self.files.describe(point.segment));
            let file = match self.files.open(number) {
                Ok(file) => file,
                Err(source) => {
                    // Perhaps it was removed since.
                    self.plan(first, last, max_bytes)?;
                    return Err(ReadError::Io { file: name, source });
                }
            };
            wanted.read_from(point, end, &SegmentFile { file, name, salt })?;
            if wanted.is_full() {
                break;
            }
        }
        Ok(wanted.entries)
    }

    /// Where to read from, up to which entry, with which salt.
    fn plan(
        &self,
        first: Index,
        last: Index,
        max_bytes: usize,
    ) -> Result<Vec<(Point, Index, u64)>, ReadError> {
        // Changes under the lock don't panic half-way.
        let places = self.places.read().unwrap_or_else(PoisonError::into_inner);
        if first <= places.base {
            return Err(ReadError::Purged { first, base: places.base });
        }
        if last > places.last || first > last {
            return Err(ReadError::Beyond { last, end: places.last });
        }
        // No more can fit, so that a small read from a long log does not list all of it.
        let most = max_bytes / Entry::OVERHEAD;
        let last = last.min(Index(first.0.saturating_add(most as u64)));
        let covering = places.covering(first, last).into_iter();
        // Every segment begins with a point, so what is read from a point is in one segment.
        let plan = covering.filter_map(|(point, end)| {
            places.segments.get(&point.segment).map(|salt| (point, end, *salt))
        });
        Ok(plan.collect())
    }
}

impl Wanted {
    fn is_full(&self) -> bool {
        self.full || self.next > self.last
    }

    /// Collects the entries up to `end`, reading frame after frame.
    fn read_from(
        &mut self,
        point: Point,
        end: Index,
        segment: &SegmentFile,
    ) -> Result<(), ReadError> {
        let mut window = Window { segment, start: 0, bytes: Vec::new() };
        let mut offset = point.offset;
        let mut skip_runs = point.run;
        while self.next <= end && !self.is_full() {
            let damaged = |what: &str| damaged(segment, offset, what);
            let frame = window.frame(offset)?;
            let whole = decode_frame(frame, segment.salt)
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

/// A part of a segment in memory, moved forward: many small frames cost one read.
struct Window<'a> {
    segment: &'a SegmentFile,
    /// Where the bytes begin.
    start: u64,
    bytes: Vec<u8>,
}

impl Window<'_> {
    /// The bytes of the frame at this offset, whatever they are.
    fn frame(&mut self, offset: u64) -> Result<&[u8], ReadError> {
        let mut header = [0; FRAME_BYTES];
        header.copy_from_slice(self.at(offset, FRAME_BYTES)?);
        self.at(offset, frame_size(claimed_body(&header)))
    }

    fn at(&mut self, offset: u64, count: usize) -> Result<&[u8], ReadError> {
        let within = |window: &Self| {
            let place = offset.checked_sub(window.start).map(|place| place as usize);
            place.filter(|place| place + count <= window.bytes.len())
        };
        let place = match within(self) {
            Some(place) => place,
            None => {
                self.fill(offset, count)?;
                0
            }
        };
        let bytes = self.bytes.get(place..place + count);
        bytes.ok_or_else(|| damaged(self.segment, offset, "a frame ends beyond its file"))
    }

    /// Reads from this offset on, at least so much if it is there.
    fn fill(&mut self, offset: u64, count: usize) -> Result<(), ReadError> {
        let file = &self.segment.file;
        let failed = |source| ReadError::Io { file: self.segment.name.clone(), source };
        let mut size = count.max(WINDOW_BYTES);
        if size > WINDOW_BYTES {
            // A damaged length must not make us ask for more memory than there is file.
            let rest = file.size().map_err(failed)?.saturating_sub(offset);
            size = size.min(usize::try_from(rest).unwrap_or(usize::MAX));
        }
        self.bytes = vec![0; size];
        let read = file.read_at(&mut self.bytes, offset).map_err(failed)?;
        self.bytes.truncate(read);
        self.start = offset;
        Ok(())
    }
}
