//! The segments that are open for reading: a few of them, however long the log is.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::disk::{Disk, DiskFile};
use crate::format::segment_name;

/// How many are kept open, besides those being read.
const OPEN: usize = 16;

/// The files, by the numbers of the segments.
pub(crate) struct Files {
    disk: Arc<dyn Disk>,
    /// The one that was used last is the last.
    open: Mutex<VecDeque<(u64, Arc<dyn DiskFile>)>>,
}

impl Files {
    pub(crate) fn new(disk: Arc<dyn Disk>) -> Files {
        Files { disk, open: Mutex::new(VecDeque::new()) }
    }

    /// What a segment is called in messages.
    pub(crate) fn describe(&self, number: u64) -> String {
        self.disk.describe(&segment_name(number))
    }

    /// Keeps a file that is open.
    pub(crate) fn keep(&self, number: u64, file: Arc<dyn DiskFile>) {
        let mut open = self.lock();
        open.retain(|(other, _)| *other != number);
        if open.len() == OPEN {
            open.pop_front();
        }
        open.push_back((number, file));
    }

    /// No longer keeps a file, since it was removed.
    pub(crate) fn forget(&self, number: u64) {
        self.lock().retain(|(other, _)| *other != number);
    }

    /// A file, open.
    pub(crate) fn open(&self, number: u64) -> io::Result<Arc<dyn DiskFile>> {
        let found = self.lock().iter().find(|(other, _)| *other == number).cloned();
        let file = match found {
            Some((_, file)) => file,
            // Not under the lock, so that nobody waits for the disk who need not.
            None => Arc::from(self.disk.open(&segment_name(number))?),
        };
        self.keep(number, Arc::clone(&file));
        Ok(file)
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(u64, Arc<dyn DiskFile>)>> {
        // Changes under the lock don't panic half-way.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crash::CrashDisk;

    #[test]
    fn a_long_log_has_a_few_files_open_and_reads_them_all() {
        let disk = CrashDisk::new();
        for number in 1..=100 {
            disk.create(&segment_name(number)).unwrap().write_at(&[number as u8], 0).unwrap();
        }
        let files = Files::new(Arc::new(disk.clone()));
        for number in (1..=100).chain([1, 100, 50]) {
            let mut byte = [0];
            files.open(number).unwrap().read_at(&mut byte, 0).unwrap();
            assert_eq!(u64::from(byte[0]), number);
            assert!(files.lock().len() <= OPEN);
        }
        disk.remove(&segment_name(50)).unwrap();
        assert!(files.open(50).is_ok(), "it is still open");
        files.forget(50);
        assert_eq!(files.open(50).err().map(|error| error.kind()), Some(io::ErrorKind::NotFound));
    }
}
