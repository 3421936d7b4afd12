//! The log itself: one writer, one write and one sync for everything that is saved together.
//!
//! ```text
//!   save(saves) --> one frame --> write --> sync --> visible to readers --> acknowledged
//!                     |
//!                     +-- does not fit: the next segment, made whole before its name is
//! ```

use std::io;
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};

use actix_raft_core::stored::{Base, Save, StoredState};

use crate::disk::{Disk, DiskFile};
pub use crate::error::Identity;
use crate::error::{OpenError, WriteError};
use crate::format::{
    FRAME_BYTES, HEADER_BYTES, MAX_CLUSTER_ID_BYTES, encode_header, frame_size, salt_of,
    seal_frame, segment_name,
};
use crate::places::{Places, Point, SegmentFile, SharedPlaces};
use crate::read::LogReader;
use crate::record::{put_base, put_hard_state, put_run};
use crate::recover::recover;

/// How a log is kept.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// Whose log it is: fixed when the directory is first used.
    pub identity: Identity,
    /// The length of a segment, in bytes, written with zeros before it is used; a save that is
    /// larger gets a segment of its own. Default 16 MiB.
    pub segment_bytes: u64,
}

impl LogOptions {
    /// The defaults, for this server.
    #[must_use]
    pub fn new(identity: Identity) -> LogOptions {
        LogOptions { identity, segment_bytes: 16 << 20 }
    }
}

/// A log with its one writer.
pub struct Wal {
    disk: Arc<dyn Disk>,
    options: LogOptions,
    state: StoredState,
    places: SharedPlaces,
    segment: Segment,
    /// The sequence number of the last frame.
    sequence: u64,
    buffer: Vec<u8>,
    next: Option<Prepared>,
    poisoned: Option<WriteError>,
}

/// The segment that is written.
struct Segment {
    number: u64,
    name: String,
    salt: u64,
    file: Arc<dyn DiskFile>,
    tail: u64,
    length: u64,
}

/// A segment that is whole and durable but has no name yet.
pub(crate) struct Prepared {
    number: u64,
    file: Box<dyn DiskFile>,
    length: u64,
}

impl Wal {
    /// Opens the log on a disk, or makes a new one; says what it holds. A tail that was being
    /// written when the power failed is cut.
    ///
    /// # Errors
    /// If the log is damaged, is another server's, or the disk refuses.
    pub fn open(disk: Arc<dyn Disk>, options: LogOptions) -> Result<(Wal, StoredState), OpenError> {
        let bytes = options.identity.cluster_id.len();
        if bytes > MAX_CLUSTER_ID_BYTES {
            return Err(OpenError::ClusterId { bytes, limit: MAX_CLUSTER_ID_BYTES });
        }
        let found = recover(&*disk, &options.identity, options.segment_bytes)?;
        let (state, places, sequence, segment) = match found {
            Some(found) => {
                let (number, newest) = found
                    .places
                    .segments
                    .last_key_value()
                    .map(|(number, file)| (*number, file.clone()))
                    .expect("a log that was found has a segment");
                let segment = Segment {
                    number,
                    name: newest.name,
                    salt: newest.salt,
                    file: newest.file,
                    tail: found.tail,
                    length: found.length,
                };
                (found.state, found.places, found.sequence, segment)
            }
            None => {
                let segment = first_segment(&*disk, &options)?;
                (StoredState::default(), places_of(&segment), 0, segment)
            }
        };
        let wal = Wal {
            disk,
            options,
            state: state.clone(),
            places: Arc::new(RwLock::new(places)),
            segment,
            sequence,
            buffer: Vec::new(),
            next: None,
            poisoned: None,
        };
        Ok((wal, state))
    }

    /// What is durable.
    #[must_use]
    pub fn state(&self) -> &StoredState {
        &self.state
    }

    /// A reader of what is durable.
    #[must_use]
    pub fn reader(&self) -> LogReader {
        LogReader::new(Arc::clone(&self.places))
    }

    /// Stores all these saves, in order, atomically. Returns when they are durable.
    ///
    /// # Errors
    /// If the disk fails: then and ever after. If entries would leave a gap: nothing changed.
    pub fn save(&mut self, saves: &[Save]) -> Result<(), WriteError> {
        self.check(saves)?;
        self.buffer.clear();
        self.buffer.resize(FRAME_BYTES, 0);
        for save in saves {
            if let Some(hard_state) = save.hard_state {
                put_hard_state(&mut self.buffer, hard_state);
            }
            if let Some(base) = &save.base {
                put_base(&mut self.buffer, base);
            }
            for run in &save.entries {
                put_run(&mut self.buffer, run);
            }
        }
        if self.buffer.len() == FRAME_BYTES {
            return Ok(());
        }
        let offset = self.write_frame().map_err(|error| self.poison(error))?;
        self.publish(saves, offset);
        Ok(())
    }

    /// Makes the log begin after this position, and removes the segments that hold nothing else.
    ///
    /// # Errors
    /// If the disk fails: then and ever after.
    pub fn purge(&mut self, base: Base) -> Result<(), WriteError> {
        self.save(&[Save { base: Some(base), ..Save::default() }])?;
        let obsolete = self.lock_places().obsolete();
        for number in obsolete {
            let name = segment_name(number);
            let removed = self.disk.remove(&name).and_then(|()| self.disk.sync_dir());
            removed.map_err(|error| self.poison(self.failed("remove", &name)(error)))?;
            self.lock_places().segments.remove(&number);
        }
        Ok(())
    }

    /// Writes down that everything so far is durable, so that damage to the last frame will be told
    /// from a torn one. Worth its few bytes whenever there is nothing else to write; it is not
    /// synced.
    ///
    /// # Errors
    /// If the disk fails: then and ever after.
    pub fn mark(&mut self) -> Result<(), WriteError> {
        if let Some(error) = &self.poisoned {
            return Err(error.clone());
        }
        let Segment { salt, tail, length, .. } = self.segment;
        if tail + frame_size(0) as u64 > length {
            return Ok(());
        }
        self.buffer.clear();
        self.buffer.resize(FRAME_BYTES, 0);
        seal_frame(&mut self.buffer, salt, self.sequence + 1);
        let written = self.segment.file.write_at(&self.buffer, tail);
        written.map_err(|error| self.poison(self.failed("write to", &self.segment.name)(error)))
    }

    /// Marks the end and syncs it. The log may be closed without it, too.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn close(mut self) -> Result<(), WriteError> {
        self.mark()?;
        self.segment.file.sync().map_err(self.failed("sync", &self.segment.name))
    }

    /// Whether these saves continue the log.
    fn check(&self, saves: &[Save]) -> Result<(), WriteError> {
        if let Some(error) = &self.poisoned {
            return Err(error.clone());
        }
        let mut base = self.state.base.last_included.index;
        let mut last = self.state.last_log.index;
        for save in saves {
            if let Some(new) = &save.base {
                base = new.last_included.index;
                last = last.max(base);
            }
            for run in &save.entries {
                let (Some(first), Some(end)) = (run.first(), run.last()) else { continue };
                if first.index <= base || first.index > last.next() {
                    return Err(WriteError::Gap { first: first.index, base, last });
                }
                last = end.index;
            }
        }
        Ok(())
    }

    /// Writes the frame in the buffer and makes it durable; returns where it begins.
    fn write_frame(&mut self) -> Result<u64, WriteError> {
        let needed = frame_size(self.buffer.len() - FRAME_BYTES) as u64;
        if self.segment.tail + needed > self.segment.length {
            self.begin_segment(needed)?;
        }
        let segment = &mut self.segment;
        seal_frame(&mut self.buffer, segment.salt, self.sequence + 1);
        let name = segment.name.clone();
        let (offset, size) = (segment.tail, self.buffer.len() as u64);
        let written = segment.file.write_at(&self.buffer, offset);
        written.map_err(self.failed("write to", &name))?;
        self.segment.file.sync().map_err(self.failed("sync", &name))?;
        self.segment.tail += size;
        self.sequence += 1;
        Ok(offset)
    }

    /// Goes on in a new segment, whose first frame repeats what would be lost with the older ones.
    fn begin_segment(&mut self, needed: u64) -> Result<(), WriteError> {
        let mut first = vec![0; FRAME_BYTES];
        put_hard_state(&mut first, self.state.hard_state);
        put_base(&mut first, &self.state.base);
        first.extend_from_slice(&self.buffer[FRAME_BYTES..]);
        let length = needed + (HEADER_BYTES + first.len() - self.buffer.len() + 8) as u64;
        self.buffer = first;

        let number = self.segment.number + 1;
        let name = segment_name(number);
        let ready = self.next.take().filter(|it| it.number == number && it.length >= length);
        let prepared = match ready {
            Some(prepared) => prepared,
            None => {
                let length = length.max(self.options.segment_bytes);
                let made = prepare(&*self.disk, &self.options.identity, number, length);
                made.map_err(self.failed("make", &name))?
            }
        };
        let named = name_segment(&*self.disk, number);
        named.map_err(self.failed("name", &name))?;
        self.segment = segment_of(&*self.disk, &self.options.identity, prepared);
        let segments = places_of(&self.segment).segments;
        self.lock_places().segments.extend(segments);
        Ok(())
    }

    /// Makes what is durable now known to readers.
    fn publish(&mut self, saves: &[Save], offset: u64) {
        let places = Arc::clone(&self.places);
        let mut places = places.write().unwrap_or_else(PoisonError::into_inner);
        let segment = self.segment.number;
        let mut runs = 0;
        for save in saves {
            if let Some(hard_state) = save.hard_state {
                self.state.hard_state = hard_state;
            }
            if let Some(base) = &save.base {
                places.note_base(base.last_included.index);
                self.state.note_base(base.clone());
            }
            for run in &save.entries {
                let Some(first) = run.first() else { continue };
                run.iter().for_each(|entry| self.state.note_entry(entry));
                let point = Point { index: first.index, segment, offset, run: runs };
                places.note_run(point, self.state.last_log.index);
                runs += 1;
            }
        }
    }

    fn lock_places(&self) -> RwLockWriteGuard<'_, Places> {
        // Changes under the lock don't panic half-way.
        self.places.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn poison(&mut self, error: WriteError) -> WriteError {
        self.poisoned = Some(error.clone());
        error
    }

    fn failed(
        &self,
        operation: &'static str,
        name: &str,
    ) -> impl FnOnce(io::Error) -> WriteError + use<> {
        let file = if name.contains('/') { name.to_string() } else { self.disk.describe(name) };
        move |source| WriteError::Io { operation, file, source: Arc::new(source) }
    }

    /// The number and length of the next segment, if it should be made ahead of its time: this one
    /// is half full.
    pub(crate) fn wanted_segment(&self) -> Option<(u64, u64)> {
        let wanted = self.next.is_none() && self.segment.tail * 2 > self.segment.length;
        wanted.then_some((self.segment.number + 1, self.options.segment_bytes))
    }

    /// Takes a segment that was prepared elsewhere.
    pub(crate) fn offer(&mut self, prepared: Prepared) {
        self.next = Some(prepared);
    }
}

/// Makes a segment of zeros with its header, under a name that no log looks at.
pub(crate) fn prepare(
    disk: &dyn Disk,
    identity: &Identity,
    number: u64,
    length: u64,
) -> io::Result<Prepared> {
    const CHUNK: usize = 1 << 20;
    let file = disk.create(&temporary_name(number))?;
    let mut chunk = encode_header(identity, number).to_vec();
    let mut offset = 0;
    while offset < length {
        let end = length.min(offset + CHUNK as u64);
        chunk.resize((end - offset) as usize, 0);
        file.write_at(&chunk, offset)?;
        chunk.clear();
        offset = end;
    }
    file.sync()?;
    Ok(Prepared { number, file, length })
}

fn temporary_name(number: u64) -> String {
    format!("{number:016x}.tmp")
}

/// Gives a prepared segment its name, durably.
fn name_segment(disk: &dyn Disk, number: u64) -> io::Result<()> {
    disk.rename(&temporary_name(number), &segment_name(number))?;
    disk.sync_dir()
}

fn segment_of(disk: &dyn Disk, identity: &Identity, prepared: Prepared) -> Segment {
    let Prepared { number, file, length } = prepared;
    Segment {
        number,
        name: disk.describe(&segment_name(number)),
        salt: salt_of(identity, number),
        file: Arc::from(file),
        tail: HEADER_BYTES as u64,
        length,
    }
}

fn first_segment(disk: &dyn Disk, options: &LogOptions) -> Result<Segment, OpenError> {
    let made = prepare(disk, &options.identity, 1, options.segment_bytes)
        .and_then(|prepared| name_segment(disk, 1).map(|()| prepared));
    let file = disk.describe(&segment_name(1));
    let prepared = made.map_err(|source| OpenError::Io { operation: "make", file, source })?;
    Ok(segment_of(disk, &options.identity, prepared))
}

fn places_of(segment: &Segment) -> Places {
    let file = SegmentFile {
        file: Arc::clone(&segment.file),
        name: segment.name.clone(),
        salt: segment.salt,
        max_index: actix_raft_core::types::Index::ZERO,
    };
    Places { segments: [(segment.number, file)].into(), ..Places::default() }
}
