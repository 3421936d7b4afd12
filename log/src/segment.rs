//! Making a segment: whole and durable before it has a name that a log looks at.
//!
//! ```text
//!   N.tmp: header, zeros --> sync --> rename to N.wal --> sync the directory --> first frame
//! ```
//!
//! Its zeros are written, not left out: so no write to it changes the file's length or its extents,
//! and a sync has nothing but data to write.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use actix_raft_core::mutants::{Mutant, is_planted};

use crate::disk::{Disk, DiskFile};
use crate::format::{HEADER_BYTES, Owner, encode_header, salt_of, segment_name, temporary_name};

/// The shortest segment, in bytes.
const MIN_SEGMENT_BYTES: u64 = 1024;
/// How many zeros are written at once.
const CHUNK: usize = 1 << 20;

/// The segment that is written.
pub(crate) struct Segment {
    pub(crate) number: u64,
    /// The file's name, as it is called in messages.
    pub(crate) name: String,
    pub(crate) salt: u64,
    pub(crate) file: Arc<dyn DiskFile>,
    /// Where the next frame goes.
    pub(crate) tail: u64,
    pub(crate) length: u64,
}

/// A segment that is whole and durable but has no name yet.
pub(crate) struct Prepared {
    number: u64,
    file: Box<dyn DiskFile>,
    length: u64,
}

/// The next segment, which someone else is making.
pub(crate) type Coming = Receiver<io::Result<Prepared>>;

/// Makes a segment, under a name that no log looks at.
pub(crate) fn prepare(
    disk: &dyn Disk,
    owner: &Owner,
    number: u64,
    length: u64,
) -> io::Result<Prepared> {
    let length = length.max(MIN_SEGMENT_BYTES);
    let name = temporary_name(number);
    let file = match disk.create(&name) {
        // One that was made in vain: it was too short, or making it failed.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            disk.remove(&name)?;
            disk.create(&name)?
        }
        created => created?,
    };
    file.write_at(&encode_header(owner, number), 0)?;
    write_zeros(&*file, HEADER_BYTES as u64, length)?;
    file.sync()?;
    Ok(Prepared { number, file, length })
}

/// Writes zeros from one offset to another.
pub(crate) fn write_zeros(file: &dyn DiskFile, from: u64, to: u64) -> io::Result<()> {
    let zeros = vec![0; CHUNK.min(usize::try_from(to.saturating_sub(from)).unwrap_or(CHUNK))];
    let mut offset = from;
    while offset < to {
        let count = (to - offset).min(CHUNK as u64);
        file.write_at(&zeros[..count as usize], offset)?;
        offset += count;
    }
    Ok(())
}

impl Prepared {
    /// Whether it is the segment of this number, and long enough.
    pub(crate) fn fits(&self, number: u64, length: u64) -> bool {
        self.number == number && self.length >= length
    }

    /// Removes its file, if it was never given its name.
    pub(crate) fn discard(self, disk: &dyn Disk) -> io::Result<()> {
        disk.remove(&temporary_name(self.number))
    }

    /// Gives it its name, durably.
    pub(crate) fn begin(self, disk: &dyn Disk, owner: &Owner) -> io::Result<Segment> {
        let Prepared { number, file, length } = self;
        disk.rename(&temporary_name(number), &segment_name(number))?;
        if !is_planted(Mutant::DirectoryNotSynced) {
            disk.sync_dir()?;
        }
        Ok(Segment {
            number,
            name: disk.describe(&segment_name(number)),
            salt: salt_of(owner, number),
            file: Arc::from(file),
            tail: HEADER_BYTES as u64,
            length,
        })
    }
}
