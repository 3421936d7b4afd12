//! Opening a log: reading all segments, telling a torn tail from damage.
//!
//! Every frame is durable before the next is written, and a segment is full before the next is
//! made. So a frame that can't be read was being written when the power failed only if nothing
//! whole comes after it. Anything else is damage to what was acknowledged, and is never cut.

use std::io;
use std::sync::Arc;

use actix_raft_core::stored::StoredState;
use actix_raft_core::types::Index;
use tracing::warn;

use crate::disk::{Disk, DiskFile};
use crate::error::{Identity, OpenError};
use crate::format::{
    HEADER_BYTES, VERSION, decode_frame, decode_header, frame_size, salt_of, segment_name,
    segment_number,
};
use crate::places::{Places, Point, SegmentFile};
use crate::record::{Record, records};

/// What was found.
pub(crate) struct Recovered {
    pub(crate) state: StoredState,
    pub(crate) places: Places,
    /// The sequence number of the last frame.
    pub(crate) sequence: u64,
    /// Where the newest segment's next frame goes, and the segment's length.
    pub(crate) tail: u64,
    pub(crate) length: u64,
}

/// Reads the log in this directory; `None` if there is none.
pub(crate) fn recover(
    disk: &dyn Disk,
    identity: &Identity,
    segment_bytes: u64,
) -> Result<Option<Recovered>, OpenError> {
    let numbers = segment_numbers(disk)?;
    let Some(newest) = numbers.last().copied() else { return Ok(None) };
    let mut found = Recovered {
        state: StoredState::default(),
        places: Places::default(),
        sequence: 0,
        tail: 0,
        length: 0,
    };
    for (place, number) in numbers.iter().copied().enumerate() {
        let name = segment_name(number);
        if numbers[0] + place as u64 != number {
            let missing = disk.describe(&segment_name(numbers[0] + place as u64));
            return Err(damaged(missing, 0, "the segment is missing"));
        }
        let scan = Scan { disk, identity, name: &name, number, is_oldest: place == 0 };
        let (file, bytes) = scan.read()?;
        let tail = scan.frames(&file, &bytes, &mut found)?;
        if number == newest {
            found.tail = tail as u64;
            found.length = segment_bytes.max(bytes.len() as u64);
            scan.mend_tail(&*file, &bytes, tail, found.length)?;
        } else {
            scan.check_end(&bytes, tail)?;
        }
    }
    let first = found.places.points.first().map(|point| point.index);
    if first.is_some_and(|first| first > found.state.base.last_included.index.next()) {
        let file = disk.describe(&segment_name(numbers[0]));
        return Err(damaged(file, 0, "the entries before this segment are missing"));
    }
    Ok(Some(found))
}

/// The segments in order; what a crash left half made is removed.
fn segment_numbers(disk: &dyn Disk) -> Result<Vec<u64>, OpenError> {
    let failed = |operation, name: &str| {
        let file = disk.describe(name);
        move |source| OpenError::Io { operation, file, source }
    };
    let names = disk.list().map_err(failed("list", ""))?;
    for name in names.iter().filter(|name| name.ends_with(".tmp")) {
        disk.remove(name).map_err(failed("remove", name))?;
    }
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| segment_number(name)).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

struct Scan<'a> {
    disk: &'a dyn Disk,
    identity: &'a Identity,
    name: &'a str,
    number: u64,
    is_oldest: bool,
}

impl Scan<'_> {
    fn file(&self) -> String {
        self.disk.describe(self.name)
    }

    fn failed(&self, operation: &'static str) -> impl FnOnce(io::Error) -> OpenError {
        let file = self.file();
        move |source| OpenError::Io { operation, file, source }
    }

    /// The whole segment, with its header checked.
    fn read(&self) -> Result<(Arc<dyn DiskFile>, Vec<u8>), OpenError> {
        let file: Arc<dyn DiskFile> =
            Arc::from(self.disk.open(self.name).map_err(self.failed("open"))?);
        let size = file.size().map_err(self.failed("read"))?;
        let mut bytes = vec![0; usize::try_from(size).unwrap_or(usize::MAX)];
        let read = file.read_at(&mut bytes, 0).map_err(self.failed("read"))?;
        bytes.truncate(read);
        let header = decode_header(&bytes).map_err(|what| damaged(self.file(), 0, what))?;
        if header.version != VERSION {
            let (found, known) = (header.version, VERSION);
            return Err(OpenError::Version { file: self.file(), found, known });
        }
        if header.identity != *self.identity {
            let (found, expected) = (header.identity, self.identity.clone());
            return Err(OpenError::Identity { file: self.file(), found, expected });
        }
        if header.number != self.number {
            return Err(damaged(self.file(), 0, "the file is that of another segment"));
        }
        Ok((file, bytes))
    }

    /// Reads frames as long as they are whole; returns where the first that isn't begins.
    fn frames(
        &self,
        file: &Arc<dyn DiskFile>,
        bytes: &[u8],
        found: &mut Recovered,
    ) -> Result<usize, OpenError> {
        let salt = self.salt();
        let (file, max_index) = (Arc::clone(file), Index::ZERO);
        let segment = SegmentFile { file, name: self.file(), salt, max_index };
        found.places.segments.insert(self.number, segment);
        // A log whose first segments were purged begins anywhere.
        let purged = self.is_oldest && self.number > 1;
        let mut offset = HEADER_BYTES;
        while let Some(frame) = bytes.get(offset..).and_then(|rest| decode_frame(rest, salt)) {
            let starts = purged && offset == HEADER_BYTES;
            if !starts && frame.sequence != found.sequence + 1 {
                return Err(damaged(self.file(), offset as u64, "a frame is missing before it"));
            }
            if frame.body.is_empty() {
                // A marker: the next frame will take its place.
                break;
            }
            found.sequence = frame.sequence;
            self.note(frame.body, offset as u64, found)
                .map_err(|what| damaged(self.file(), offset as u64, what))?;
            offset += frame_size(frame.body.len());
        }
        if purged && offset == HEADER_BYTES {
            return Err(damaged(self.file(), offset as u64, "the log's first frame can't be read"));
        }
        Ok(offset)
    }

    fn note(&self, body: &[u8], offset: u64, found: &mut Recovered) -> Result<(), &'static str> {
        let (state, places) = (&mut found.state, &mut found.places);
        let mut records = records(body);
        let mut runs = 0;
        while let Some(record) = records.next()? {
            match record {
                Record::HardState(hard_state) => state.hard_state = hard_state,
                Record::Base(base) => {
                    places.note_base(base.last_included.index);
                    state.note_base(base);
                }
                Record::Run(mut run) => {
                    let index = run.first();
                    let begins = self.is_oldest && places.points.is_empty() && self.number > 1;
                    if index > state.last_log.index.next() && !begins {
                        return Err("entries are missing before it");
                    }
                    while let Some(entry) = run.next()? {
                        state.note_entry(&entry.to_note()?);
                    }
                    let point = Point { index, segment: self.number, offset, run: runs };
                    places.note_run(point, state.last_log.index);
                    runs += 1;
                }
            }
        }
        Ok(())
    }

    fn salt(&self) -> u64 {
        salt_of(self.identity, self.number)
    }

    /// Where a whole frame begins after `tail`, if there is one.
    fn frame_after(&self, bytes: &[u8], tail: usize) -> Option<usize> {
        let salt = self.salt();
        let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let is_frame = |at: &usize| decode_frame(&bytes[*at..], salt).is_some();
        (tail + 8..used).step_by(8).find(is_frame)
    }

    /// All of an older segment must be readable, but for a marker, which is never synced. A last
    /// frame that is gone without a trace is missed when the next segment's first is read.
    fn check_end(&self, bytes: &[u8], tail: usize) -> Result<(), OpenError> {
        let after_marker = bytes.get(tail + frame_size(0)..).unwrap_or_default();
        match after_marker.iter().all(|byte| *byte == 0) {
            true => Ok(()),
            false => Err(damaged(self.file(), tail as u64, "a frame can't be read")),
        }
    }

    /// Cuts what was being written when the power failed, and gives the segment its full length.
    fn mend_tail(
        &self,
        file: &dyn DiskFile,
        bytes: &[u8],
        tail: usize,
        length: u64,
    ) -> Result<(), OpenError> {
        let rest = bytes.get(tail..).unwrap_or_default();
        let marker = decode_frame(rest, self.salt()).map_or(0, |_| frame_size(0));
        let used = rest.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        if used > marker {
            if let Some(after) = self.frame_after(bytes, tail) {
                let what = format!("a frame can't be read, though the one at {after} can");
                return Err(damaged(self.file(), tail as u64, what));
            }
            warn!("{}: cut a torn tail of {used} bytes at offset {tail}", self.file());
        }
        let missing = usize::try_from(length).unwrap_or(usize::MAX) - bytes.len();
        if used <= marker && missing == 0 {
            return Ok(());
        }
        let zeros = vec![0; used.saturating_sub(marker)];
        file.write_at(&zeros, (tail + marker) as u64).map_err(self.failed("write to"))?;
        file.write_at(&vec![0; missing], bytes.len() as u64).map_err(self.failed("write to"))?;
        file.sync().map_err(self.failed("sync"))
    }
}

fn damaged(file: String, offset: u64, what: impl Into<String>) -> OpenError {
    OpenError::Damaged { file, offset, what: what.into() }
}
