//! Opening a log: reading all segments, telling a torn tail from damage.
//!
//! ```text
//!   | frame 7 | frame 8 | ????????? | zeros              torn: it was being written; cut
//!   | frame 7 | frame 8 | ????????? | frame 10 | zeros   damage: frame 10 was written only when
//!                                                        frame 9 was durable; refused
//! ```
//!
//! Every frame is durable before the next is written, and a segment is full before the next is
//! made. So a frame that can't be read was being written when the power failed only if nothing
//! whole comes after it. Anything else is damage to what was acknowledged, and is never cut.

use std::io;
use std::sync::Arc;

use actix_raft_core::mutants::{Mutant, is_planted};
use actix_raft_core::stored::{Base, StoredState};
use actix_raft_core::types::{DiskId, LogPosition};
use tracing::warn;

use crate::disk::{Disk, DiskFile};
use crate::error::OpenError;
use crate::format::{
    FRAME_BYTES, HEADER_BYTES, Owner, VERSION, decode_frame, decode_header, encode_header,
    find_frame, frame_size, is_temporary, marker, salt_of, segment_name, segment_number, used,
};
use crate::places::{Places, Point};
use crate::record::{Record, Rest, records};
use crate::segment::{Segment, write_zeros};
use crate::snapshots::Found;
use crate::wal::LogOptions;

/// What was found, and where to go on.
pub(crate) struct Recovered {
    pub(crate) state: StoredState,
    pub(crate) places: Places,
    /// The sequence number of the last frame.
    pub(crate) sequence: u64,
    pub(crate) segment: Segment,
}

impl Recovered {
    /// A log without a frame, whose first segment this is.
    pub(crate) fn of_new(segment: Segment, disk: DiskId) -> Recovered {
        let mut found = Segments::default();
        found.state.disk = disk;
        found.places.segments.insert(segment.number, segment.salt);
        found.with(segment)
    }
}

/// What the segments that were read hold.
#[derive(Default)]
struct Segments {
    state: StoredState,
    places: Places,
    /// The sequence number of the last frame, 0 before the first.
    sequence: u64,
    /// Whether older segments were removed, so that the first frame may be any.
    purged: bool,
    /// The segment before, and where its frames end.
    previous: Option<(String, u64)>,
}

impl Segments {
    fn with(self, segment: Segment) -> Recovered {
        let Segments { state, places, sequence, .. } = self;
        Recovered { state, places, sequence, segment }
    }
}

/// Reads the log in this directory; `None` if there is none.
pub(crate) fn recover(
    disk: &dyn Disk,
    options: &LogOptions,
    snapshots: &Found,
) -> Result<Option<Recovered>, OpenError> {
    let names = disk.list().map_err(failed("list", disk.describe("")))?;
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| segment_number(name)).collect();
    numbers.sort_unstable();
    let recovered = match (numbers.first().copied(), numbers.last().copied()) {
        (Some(oldest), Some(newest)) => {
            Some(read_segments(disk, options, snapshots, (oldest, newest))?)
        }
        _ if snapshots.is_empty() => None,
        // A server takes no snapshot before it has a log.
        _ => return Err(OpenError::Missing { file: disk.describe(&segment_name(1)) }),
    };
    // Nothing is touched in a directory that is not ours.
    for name in names.iter().filter(|name| is_temporary(name)) {
        disk.remove(name).map_err(failed("remove", disk.describe(name)))?;
    }
    // A name may be there that was never made durable.
    disk.sync_dir().map_err(failed("sync", disk.describe("")))?;
    Ok(recovered)
}

fn read_segments(
    disk: &dyn Disk,
    options: &LogOptions,
    snapshots: &Found,
    (oldest, newest): (u64, u64),
) -> Result<Recovered, OpenError> {
    let mut found = Segments { purged: oldest > 1, ..Segments::default() };
    let mut bytes = Vec::new();
    for number in oldest..newest {
        let mut scan = Scan::new(disk, number);
        scan.read(&mut bytes)?;
        scan.check_header(&bytes, options, &mut found.state.disk)?;
        let frames = scan.frames(&bytes, &mut found)?;
        scan.check_end(&bytes, frames.end, &found)?;
        found.previous = Some((scan.file.clone(), frames.end as u64));
    }
    let mut scan = Scan::new(disk, newest);
    let file = scan.read(&mut bytes)?;
    let may_be_new = newest == 1 || found.sequence > 0;
    let without_header = bytes.len() < HEADER_BYTES || *bytes == [0; HEADER_BYTES];
    let gets_header = without_header && may_be_new;
    if gets_header {
        warn!("{}: gets a new header, since it ends within it", scan.file);
        let owner = match found.state.disk {
            DiskId::UNKNOWN => options.owner_of_new(),
            disk => options.owner(disk),
        };
        bytes = encode_header(&owner, newest).to_vec();
    }
    scan.check_header(&bytes, options, &mut found.state.disk)?;
    let frames = scan.frames(&bytes, &mut found)?;
    if found.purged && found.sequence == 0 {
        return Err(scan.damaged(frames.end, "the log's first frame can't be read"));
    }
    // First what is wrong with this file: it may be why the base is not found.
    let tail = scan.check_tail(&bytes, &frames, found.sequence)?;
    let first = found.places.points.first().map(|point| point.index);
    if first.is_some_and(|first| first > found.state.base.last_included.index.next()) {
        let file = disk.describe(&segment_name(oldest.saturating_sub(1)));
        return Err(OpenError::Missing { file });
    }
    snapshots.check(disk, &found.state.base)?;
    if gets_header {
        // Before the file grows again: what is longer than a header and has none is damaged.
        let written = file.write_at(&bytes, 0).and_then(|()| file.sync());
        written.map_err(failed("write to", scan.file.clone()))?;
    }
    let length = options.segment_bytes.max(bytes.len() as u64);
    let segment = scan.mend(file, &bytes, &frames, &tail, length)?;
    Ok(found.with(segment))
}

/// One segment.
struct Scan<'a> {
    disk: &'a dyn Disk,
    number: u64,
    /// What the file is called in messages.
    file: String,
    /// Known when the header is read.
    salt: u64,
}

/// Where the frames of a segment are, up to the first that is not whole or is a marker.
struct Frames {
    /// Where the last one begins.
    last: usize,
    /// Where it ends.
    end: usize,
}

/// What is behind the frames of the newest segment.
struct Tail {
    /// The marker that should be there.
    marker: [u8; FRAME_BYTES],
    is_marked: bool,
    /// How many bytes there are up to the zeros.
    used: usize,
}

impl Scan<'_> {
    fn new(disk: &dyn Disk, number: u64) -> Scan<'_> {
        Scan { disk, number, file: disk.describe(&segment_name(number)), salt: 0 }
    }

    fn damaged(&self, offset: usize, what: impl Into<String>) -> OpenError {
        OpenError::Damaged { file: self.file.clone(), offset: offset as u64, what: what.into() }
    }

    /// Reads the whole file.
    fn read(&self, bytes: &mut Vec<u8>) -> Result<Arc<dyn DiskFile>, OpenError> {
        let file = match self.disk.open(&segment_name(self.number)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(OpenError::Missing { file: self.file.clone() });
            }
            opened => opened.map_err(failed("open", self.file.clone()))?,
        };
        let size = file.size().map_err(failed("read", self.file.clone()))?;
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        if bytes.len() != size {
            *bytes = vec![0; size];
        }
        let read = file.read_at(bytes, 0).map_err(failed("read", self.file.clone()))?;
        bytes.truncate(read);
        Ok(Arc::from(file))
    }

    /// Whether it is a segment of this server's log. The first one that is read says on which disk
    /// the log was begun.
    fn check_header(
        &mut self,
        bytes: &[u8],
        options: &LogOptions,
        disk: &mut DiskId,
    ) -> Result<(), OpenError> {
        let header = decode_header(bytes).map_err(|what| self.damaged(0, what))?;
        if header.version != VERSION {
            let (found, known) = (header.version, VERSION);
            return Err(OpenError::Version { file: self.file.clone(), found, known });
        }
        let Owner { identity, disk: found } = &header.owner;
        if *identity != options.identity {
            let (found, expected) = (identity.clone(), options.identity.clone());
            return Err(OpenError::Identity { file: self.file.clone(), found, expected });
        }
        if header.number != self.number {
            return Err(self.damaged(0, "the file is that of another segment"));
        }
        if *disk != DiskId::UNKNOWN && *disk != *found {
            return Err(self.damaged(0, "the file is from another disk"));
        }
        *disk = *found;
        self.salt = salt_of(&header.owner, self.number);
        Ok(())
    }

    /// Reads frames as long as they are whole.
    fn frames(&self, bytes: &[u8], found: &mut Segments) -> Result<Frames, OpenError> {
        let salt = self.salt;
        found.places.segments.insert(self.number, salt);
        let mut frames = Frames { last: HEADER_BYTES, end: HEADER_BYTES };
        while let Some(frame) = bytes.get(frames.end..).and_then(|rest| decode_frame(rest, salt)) {
            let begins = found.purged && found.sequence == 0;
            if !begins && frame.sequence != found.sequence + 1 {
                return Err(self.out_of_order(frames.end, frame.sequence, found));
            }
            if frame.body.is_empty() {
                // A marker: the next frame will take its place.
                break;
            }
            found.sequence = frame.sequence;
            self.note(frame.body, frames.end as u64, found)
                .map_err(|what| self.damaged(frames.end, what))?;
            frames.last = frames.end;
            frames.end += frame_size(frame.body.len());
        }
        Ok(frames)
    }

    /// The error of a frame that is not the next: to blame are the frames before it if they were
    /// in the segment before.
    fn out_of_order(&self, offset: usize, sequence: u64, found: &Segments) -> OpenError {
        let expected = found.sequence + 1;
        let what = format!("frame {expected} is missing, {sequence} is the next");
        match &found.previous {
            Some((file, end)) if offset == HEADER_BYTES && sequence > expected => {
                OpenError::Damaged { file: file.clone(), offset: *end, what }
            }
            _ => self.damaged(offset, what),
        }
    }

    fn note(&self, body: &[u8], offset: u64, found: &mut Segments) -> Result<(), &'static str> {
        let (state, places) = (&mut found.state, &mut found.places);
        let mut records = records(body);
        let mut runs = 0;
        while let Some(record) = records.next()? {
            match record {
                Record::HardState(hard_state) => state.hard_state = hard_state,
                Record::Base(base, rest) => {
                    note_base(state, base, rest)?;
                    places.note_base(state);
                }
                Record::Run(mut run) => {
                    let index = run.first();
                    // Entries before a purged log's first run may be gone: up to a base that comes.
                    let begins = found.purged && places.points.is_empty();
                    if index > state.last_log.index.next() && !begins {
                        return Err("entries are missing before it");
                    }
                    if index <= state.last_log.index && is_planted(Mutant::OldTailFound) {
                        continue;
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

    /// All of an older segment must be readable, but for a marker, which is never synced. A last
    /// frame that is gone without a trace is missed when the next segment's first is read.
    fn check_end(&self, bytes: &[u8], end: usize, found: &Segments) -> Result<(), OpenError> {
        let rest = bytes.get(end..).unwrap_or_default();
        let (first, behind) = rest.split_at(rest.len().min(FRAME_BYTES));
        let marker = marker(self.salt, found.sequence + 1);
        let of_marker = first.iter().zip(marker).all(|(found, byte)| [0, byte].contains(found));
        // The sequence number of a marker that stands alone in the oldest segment is not known.
        match (of_marker || found.sequence == 0) && used(behind) == 0 {
            true => Ok(()),
            false => Err(self.damaged(end, "a frame can't be read")),
        }
    }

    /// Tells a torn tail from damage.
    fn check_tail(&self, bytes: &[u8], frames: &Frames, sequence: u64) -> Result<Tail, OpenError> {
        let rest = &bytes[frames.end..];
        let marker = marker(self.salt, sequence + 1);
        let tail = Tail { marker, is_marked: rest.starts_with(&marker), used: used(rest) };
        if tail.used > 0 && !(tail.is_marked && tail.used <= FRAME_BYTES) {
            if let Some(after) = find_frame(bytes, frames.end + 8, self.salt, sequence + 1)
                && !is_planted(Mutant::DamageCut)
            {
                let what = format!("a frame can't be read, though the one at {after} can");
                return Err(self.damaged(frames.end, what));
            }
            let (file, offset) = (&self.file, frames.end);
            warn!("{file}: cut a torn tail of {} bytes at offset {offset}", tail.used);
        }
        Ok(tail)
    }

    /// Cuts what was being written when the power failed, gives the segment its full length, and
    /// makes what was read durable.
    fn mend(
        &self,
        file: Arc<dyn DiskFile>,
        bytes: &[u8],
        frames: &Frames,
        tail: &Tail,
        length: u64,
    ) -> Result<Segment, OpenError> {
        let behind = frames.end + FRAME_BYTES;
        let length = length.max(behind as u64);
        let mend = || -> io::Result<()> {
            let unsure = !tail.is_marked && !is_planted(Mutant::FoundNotSynced);
            if unsure {
                // The last frame may be in the system's memory only, also if a sync of it failed
                // in another life: then it would not be written again unless it is changed again.
                file.write_at(&bytes[frames.last..frames.end], frames.last as u64)?;
            }
            if !is_planted(Mutant::TornTailLeft) {
                let from = if tail.is_marked { behind } else { frames.end };
                write_zeros(&*file, from as u64, (frames.end + tail.used) as u64)?;
            }
            write_zeros(&*file, bytes.len().max(behind) as u64, length)?;
            if is_planted(Mutant::FoundNotSynced) {
                return Ok(());
            }
            file.sync()?;
            if unsure {
                // A marker says that what comes before it is durable: if it were written sooner and
                // the sync failed, the next life would read it from the system's memory.
                file.write_at(&tail.marker, frames.end as u64)?;
                file.sync()?;
            }
            Ok(())
        };
        mend().map_err(failed("mend", self.file.clone()))?;
        let (number, name, salt) = (self.number, self.file.clone(), self.salt);
        Ok(Segment { number, name, salt, file, tail: frames.end as u64, length })
    }
}

/// As [`StoredState::note_base`], also if the last included entry is in a segment that was removed.
fn note_base(state: &mut StoredState, base: Base, rest: Rest) -> Result<(), &'static str> {
    let LogPosition { term, index } = base.last_included;
    match (rest, state.term_at(index)) {
        (Rest::Stays, None) if state.last_log.index > index => state.base = base,
        (Rest::Stays, None) => state.note_base(base),
        (Rest::Stays, Some(found)) if found == term => state.note_base(base),
        (Rest::Goes, found) if found != Some(term) => state.note_base(base),
        (Rest::Stays | Rest::Goes, _) => return Err("a base contradicts the entries before it"),
    }
    Ok(())
}

fn failed(operation: &'static str, file: String) -> impl FnOnce(io::Error) -> OpenError {
    move |source| OpenError::Io { operation, file, source }
}
