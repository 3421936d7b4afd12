//! The log itself: one writer, one write and one sync for everything that is saved together.
//!
//! ```text
//!   save(saves) --> one frame --> write --> sync --> visible to readers --> acknowledged
//!                     |
//!                     +-- does not fit: the next segment, made whole before its name is
//! ```

use std::io;
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};

use actix_raft_core::mutants::{Mutant, is_planted};
use actix_raft_core::stored::{Save, StoredState};
use actix_raft_core::types::LogPosition;
use tracing::warn;

use crate::check::check;
use crate::disk::Disk;
pub use crate::error::Identity;
use crate::error::{OpenError, WriteError};
use crate::files::Files;
use crate::format::{
    FRAME_BYTES, HEADER_BYTES, MAX_CLUSTER_ID_BYTES, Owner, frame_size, marker, seal_frame,
    segment_name,
};
pub use crate::options::LogOptions;
use crate::places::{Places, Point, SharedPlaces};
use crate::read::LogReader;
use crate::record::{Rest, put_base, put_hard_state, put_run};
use crate::recover::{Recovered, recover};
use crate::segment::{Coming, Prepared, Segment, prepare};
use crate::snapshots::{SnapshotStore, find};
use crate::space::Space;

/// How much memory is kept for the next frame.
const BUFFER_KEPT: usize = 4 << 20;
/// The longest frame whose length can be stored, with room for what a segment's first one repeats.
const LONGEST_FRAME: usize = u32::MAX as usize - (64 << 20);

/// A log with its one writer.
pub struct Wal {
    disk: Arc<dyn Disk>,
    options: LogOptions,
    state: StoredState,
    places: SharedPlaces,
    files: Arc<Files>,
    space: Arc<Space>,
    snapshots: SnapshotStore,
    segment: Segment,
    /// The sequence number of the last frame.
    sequence: u64,
    /// Whether there is a marker behind that frame, or no frame.
    is_marked: bool,
    buffer: Vec<u8>,
    /// The next segment, made ahead of its time.
    next: Option<Coming>,
    removing: Removing,
    poisoned: Option<WriteError>,
}

/// Whether old segments can be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Removing {
    Works,
    Failed,
}

impl Wal {
    /// Opens the log on a disk, or makes a new one; says what it holds. A tail that was being
    /// written when the power failed is cut. If a snapshot was installed, and the log does not know
    /// it yet, it begins after that now.
    ///
    /// # Errors
    /// If the log is damaged, or the snapshot without which it is not whole; is another server's; or
    /// the disk refuses.
    pub fn open(disk: Arc<dyn Disk>, options: LogOptions) -> Result<(Wal, StoredState), OpenError> {
        let bytes = options.identity.cluster_id.len();
        if bytes > MAX_CLUSTER_ID_BYTES {
            return Err(OpenError::ClusterId { bytes, limit: MAX_CLUSTER_ID_BYTES });
        }
        let found = find(&*disk, &options.identity.cluster_id)?;
        let recovered = match recover(&*disk, &options, &found)? {
            Some(recovered) => recovered,
            None => new_log(&*disk, &options)?,
        };
        let Recovered { state, places, sequence, segment } = recovered;
        let snapshots = found.open(Arc::clone(&disk), &options)?;
        let files = Arc::new(Files::new(Arc::clone(&disk)));
        files.keep(segment.number, Arc::clone(&segment.file));
        let space = Arc::new(Space::new(Arc::clone(&disk), options.low_space_bytes));
        let mut wal = Wal {
            disk,
            options,
            state,
            places: Arc::new(RwLock::new(places)),
            files,
            space,
            snapshots,
            segment,
            sequence,
            // Opening marks the end.
            is_marked: true,
            buffer: Vec::new(),
            next: None,
            removing: Removing::Works,
            poisoned: None,
        };
        wal.finish_install()?;
        let state = wal.state.clone();
        Ok((wal, state))
    }

    /// Lets the log begin after the latest snapshot, if the power failed between the two.
    fn finish_install(&mut self) -> Result<(), OpenError> {
        self.note_snapshot();
        let Some(snapshot) = &self.state.snapshot else { return Ok(()) };
        let LogPosition { term, index } = snapshot.last_included();
        // One that was built here includes nothing but what the log has, or had.
        let is_included = index <= self.state.base.last_included.index;
        let is_known = is_included || self.state.term_at(index) == Some(term);
        if is_known || is_planted(Mutant::InstallNotFinished) {
            return Ok(());
        }
        let save = Save { base: Some(snapshot.base.clone()), ..Save::default() };
        self.save(&[save]).map_err(|error| OpenError::Io {
            operation: "finish the installation of a snapshot in",
            file: self.disk.describe(""),
            source: io::Error::other(error),
        })
    }

    fn note_snapshot(&mut self) {
        self.state.snapshot = self.snapshots.latest();
        let included = self.state.snapshot.as_ref().map(|latest| latest.last_included().index);
        self.state.last_applied = self.state.last_applied.max(included.unwrap_or_default());
    }

    /// What was durable after the last save, or when the log was opened.
    #[must_use]
    pub fn state(&self) -> &StoredState {
        &self.state
    }

    /// Whether there is so little room on the disk that no more entries should be saved, as it was
    /// when the last segment was made or removed, or [`Wal::check_space`] was called.
    #[must_use]
    pub fn is_low_on_space(&self) -> bool {
        self.space.is_low()
    }

    /// Asks the disk whether there is so little room.
    pub fn check_space(&self) -> bool {
        self.space.check()
    }

    /// The snapshots beside the log.
    #[must_use]
    pub fn snapshots(&self) -> SnapshotStore {
        self.snapshots.clone()
    }

    /// A reader of what is durable.
    #[must_use]
    pub fn reader(&self) -> LogReader {
        LogReader::new(Arc::clone(&self.places), Arc::clone(&self.files))
    }

    /// Stores all these saves, in order, atomically. Returns when they are durable, and segments
    /// that hold nothing but what is gone from the log are removed.
    ///
    /// # Errors
    /// If the disk fails: then and ever after. If the saves are refused
    /// ([`WriteError::is_refusal`]): nothing changed.
    pub fn save(&mut self, saves: &[Save]) -> Result<(), WriteError> {
        self.write(saves)?;
        while self.remove_obsolete() {}
        Ok(())
    }

    /// The same, but for removing segments.
    pub(crate) fn write(&mut self, saves: &[Save]) -> Result<(), WriteError> {
        if let Some(error) = &self.poisoned {
            return Err(error.clone());
        }
        let rests = check(&self.state, self.snapshots.latest().as_ref(), saves)?;
        self.buffer.clear();
        self.buffer.shrink_to(BUFFER_KEPT);
        self.buffer.resize(FRAME_BYTES, 0);
        for (place, save) in saves.iter().enumerate() {
            let dropped = is_planted(Mutant::BatchDropsVote) && place + 1 < saves.len();
            if let Some(hard_state) = save.hard_state.filter(|_| !dropped) {
                put_hard_state(&mut self.buffer, hard_state);
            }
            if let Some((base, rest)) = save.base.as_ref().zip(rests.get(place)) {
                put_base(&mut self.buffer, base, *rest);
            }
            for run in &save.entries {
                put_run(&mut self.buffer, run);
            }
        }
        if self.buffer.len() == FRAME_BYTES {
            return Ok(());
        }
        // A length is stored in 32 bits; the next segment's first frame holds a little more.
        let (bytes, limit) = (self.buffer.len(), self.options.max_frame_bytes.min(LONGEST_FRAME));
        if bytes > limit {
            return Err(WriteError::TooLarge { bytes, limit });
        }
        let offset = self.write_frame().map_err(|error| self.poison(error))?;
        self.publish(saves, offset);
        Ok(())
    }

    /// Removes the oldest segment if nothing in it is needed; says whether it did.
    pub(crate) fn remove_obsolete(&mut self) -> bool {
        // A segment repeats what is lost with the older ones in its first frame: if the power failed
        // before that, or it could not be written, it takes nobody's place.
        let has_no_frame = self.segment.tail == HEADER_BYTES as u64;
        if self.removing == Removing::Failed || has_no_frame {
            return false;
        }
        let Some(number) = self.lock_places().take_obsolete() else { return false };
        let name = segment_name(number);
        // One after the other, each durably: a log with a gap would not be opened again.
        self.files.forget(number);
        let removed = self.disk.remove(&name).and_then(|()| self.disk.sync_dir());
        if let Err(error) = removed {
            // Nothing depends on it. But it is not known whether the name will come back, so that
            // no later one may go in this life.
            warn!("{}: an old segment can't be removed: {error}", self.disk.describe(&name));
            self.removing = Removing::Failed;
        }
        self.space.check();
        self.removing == Removing::Works
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
        if self.is_marked {
            return Ok(());
        }
        let Segment { salt, tail, .. } = self.segment;
        let written = self.segment.file.write_at(&marker(salt, self.sequence + 1), tail);
        written.map_err(|error| self.poison(self.failed_at("write to", tail)(error)))?;
        self.is_marked = true;
        Ok(())
    }

    /// Marks the end and syncs it. The log may be closed without it, too.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn close(mut self) -> Result<(), WriteError> {
        if let Some(Ok(prepared)) = self.next.take().and_then(|coming| coming.recv().ok())
            && let Err(error) = prepared.discard(&*self.disk)
        {
            // The next start removes it.
            warn!("a segment that was made ahead could not be removed: {error}");
        }
        self.mark()?;
        let synced = self.segment.file.sync();
        synced.map_err(self.failed_at("sync", self.segment.tail))
    }

    /// Writes the frame in the buffer and makes it durable; returns where it begins.
    fn write_frame(&mut self) -> Result<u64, WriteError> {
        // The power may have failed between the making of a segment and its first frame.
        let is_first = self.segment.tail == HEADER_BYTES as u64 && self.sequence > 0;
        if is_first {
            self.repeat_state();
        }
        if self.segment.tail + with_marker(self.buffer.len()) > self.segment.length {
            if !is_first {
                self.repeat_state();
            }
            self.begin_segment()?;
        }
        seal_frame(&mut self.buffer, self.segment.salt, self.sequence + 1);
        let offset = self.segment.tail;
        let written = self.segment.file.write_at(&self.buffer, offset);
        written.map_err(self.failed_at("write to", offset))?;
        let mut synced = Ok(());
        if !is_planted(Mutant::SyncSkipped) {
            synced = self.segment.file.sync();
        }
        if synced.is_err() && is_planted(Mutant::FailedSyncRetried) {
            synced = self.segment.file.sync();
        }
        synced.map_err(self.failed_at("sync", offset))?;
        self.segment.tail += self.buffer.len() as u64;
        self.sequence += 1;
        self.is_marked = false;
        Ok(offset)
    }

    /// Lets the frame in the buffer, a segment's first one, repeat what would be lost with the older
    /// segments.
    fn repeat_state(&mut self) {
        let mut first = vec![0; FRAME_BYTES];
        put_hard_state(&mut first, self.state.hard_state);
        put_base(&mut first, &self.state.base, Rest::Stays);
        first.extend_from_slice(&self.buffer[FRAME_BYTES..]);
        self.buffer = first;
    }

    /// Goes on in a new segment.
    fn begin_segment(&mut self) -> Result<(), WriteError> {
        let number = self.segment.number + 1;
        let length = HEADER_BYTES as u64 + with_marker(self.buffer.len());
        let begun = self.next_segment(number, length);
        let file = self.disk.describe(&segment_name(number));
        self.segment = begun.map_err(self.failed("make", file, None))?;
        self.files.keep(number, Arc::clone(&self.segment.file));
        let salt = self.segment.salt;
        self.lock_places().segments.insert(number, salt);
        Ok(())
    }

    fn next_segment(&mut self, number: u64, length: u64) -> io::Result<Segment> {
        let owner = self.owner();
        // Waits for whoever makes it: two must not write to one file. If he failed, a new file is
        // no retry of anything.
        let ahead = self.next.take().and_then(|coming| coming.recv().ok()?.ok());
        let prepared = match ahead.filter(|prepared| prepared.fits(number, length)) {
            Some(prepared) => prepared,
            None => prepare(&*self.disk, &owner, number, length.max(self.options.segment_bytes))?,
        };
        let begun = prepared.begin(&*self.disk, &owner);
        self.space.check();
        begun
    }

    /// Makes what is durable now known to readers.
    fn publish(&mut self, saves: &[Save], offset: u64) {
        let places = Arc::clone(&self.places);
        let mut places = places.write().unwrap_or_else(PoisonError::into_inner);
        self.note_snapshot();
        let segment = self.segment.number;
        let mut runs = 0;
        for save in saves {
            if let Some(hard_state) = save.hard_state {
                self.state.hard_state = hard_state;
            }
            if let Some(base) = &save.base {
                self.state.note_base(base.clone());
                places.note_base(&self.state);
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

    /// What to call a failure at this offset of the segment that is written.
    fn failed_at(
        &self,
        operation: &'static str,
        offset: u64,
    ) -> impl FnOnce(io::Error) -> WriteError + use<> {
        self.failed(operation, self.segment.name.clone(), Some(offset))
    }

    fn failed(
        &self,
        operation: &'static str,
        file: String,
        offset: Option<u64>,
    ) -> impl FnOnce(io::Error) -> WriteError + use<> {
        move |source| WriteError::Io { operation, file, offset, source: Arc::new(source) }
    }

    /// The number and length of the next segment, if it should be made ahead of its time: this one
    /// is half full.
    pub(crate) fn wanted_segment(&self) -> Option<(u64, u64)> {
        let half_full = self.segment.tail * 2 > self.segment.length;
        let wanted = self.next.is_none() && self.poisoned.is_none() && half_full;
        wanted.then_some((self.segment.number + 1, self.options.segment_bytes))
    }

    pub(crate) fn space(&self) -> Arc<Space> {
        Arc::clone(&self.space)
    }

    /// Whose segments these are.
    pub(crate) fn owner(&self) -> Owner {
        self.options.owner(self.state.disk)
    }

    /// Takes the next segment from someone who is making it, and waits for him if it must.
    pub(crate) fn expect_segment(&mut self, coming: Coming) {
        self.next = Some(coming);
    }
}

/// How much room is needed for a frame of this length before it is padded, and for the marker
/// behind it.
fn with_marker(frame: usize) -> u64 {
    (frame_size(frame - FRAME_BYTES) + frame_size(0)) as u64
}

fn new_log(disk: &dyn Disk, options: &LogOptions) -> Result<Recovered, OpenError> {
    let owner = options.owner_of_new();
    let made = prepare(disk, &owner, 1, options.segment_bytes)
        .and_then(|prepared: Prepared| prepared.begin(disk, &owner));
    let file = disk.describe(&segment_name(1));
    let segment = made.map_err(|source| OpenError::Io { operation: "make", file, source })?;
    Ok(Recovered::of_new(segment, owner.disk))
}
