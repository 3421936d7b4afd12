//! The small trait that all I/O goes through: one directory of files, positional reads and writes.
//!
//! Nothing is durable before it is synced: neither bytes, by [`DiskFile::sync`], nor names, by
//! [`Disk::sync_dir`].

use std::io;

/// A directory.
pub trait Disk: Send + Sync + 'static {
    /// The names of all files, in any order.
    ///
    /// # Errors
    /// If the directory can't be read.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Makes an empty file.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] if it is there already; or if it can't be made.
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;

    /// Opens a file that is there.
    ///
    /// # Errors
    /// If it isn't, or can't be opened.
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;

    /// Gives a file another name.
    ///
    /// # Errors
    /// If it can't.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file. Who has it open can read on.
    ///
    /// # Errors
    /// If it can't be removed.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes all names durable.
    ///
    /// # Errors
    /// If it can't: then which names are durable is not known.
    fn sync_dir(&self) -> io::Result<()>;

    /// How many bytes can still be written; `None`, the default, if that can't be told.
    ///
    /// # Errors
    /// If the disk refuses to tell.
    fn free_space(&self) -> io::Result<Option<u64>> {
        Ok(None)
    }

    /// What to call a file in a message to a person, such as its path.
    fn describe(&self, name: &str) -> String;
}

/// A file.
pub trait DiskFile: Send + Sync {
    /// Its length in bytes.
    ///
    /// # Errors
    /// If it can't be told.
    fn size(&self) -> io::Result<u64>;

    /// Reads at an offset, as much as there is and fits; returns how much.
    ///
    /// # Errors
    /// If it can't be read.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all bytes at an offset; the file grows if it must.
    ///
    /// # Errors
    /// If it can't: then any part may be written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Makes all that was written durable, as `fdatasync` does.
    ///
    /// # Errors
    /// If it can't: then which bytes are durable is not known, and asking again won't tell.
    fn sync(&self) -> io::Result<()>;
}
