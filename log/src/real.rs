//! A directory of the operating system.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::disk::{Disk, DiskFile};
use crate::error::OpenError;

/// The file that is locked while the directory is open.
const LOCK: &str = "LOCK";

/// A directory, locked as long as this lives.
#[derive(Debug)]
pub struct RealDisk {
    path: PathBuf,
    directory: File,
    _lock: File,
}

impl RealDisk {
    /// Opens a directory, and makes it if it is not there; its parent must be.
    ///
    /// # Errors
    /// If it can't be made, opened or written to, or another process has it open.
    pub fn open(path: &Path) -> Result<RealDisk, OpenError> {
        let failed = |operation, file: &Path| {
            let file = file.display().to_string();
            move |source| OpenError::Io { operation, file, source }
        };
        match fs::create_dir(path) {
            Ok(()) => sync_parent(path).map_err(failed("sync the parent of", path))?,
            // Perhaps made by a process that was killed here. Whoever runs us may not be allowed to
            // read the parent of a directory that was made for us.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let _ = sync_parent(path);
            }
            Err(error) => return Err(failed("create the directory", path)(error)),
        }
        let directory = File::open(path).map_err(failed("open the directory", path))?;
        let lock = path.join(LOCK);
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&lock);
        let file = file.map_err(failed("open for writing", &lock))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(OpenError::InUse { directory: path.display().to_string() });
            }
            Err(TryLockError::Error(error)) => return Err(failed("lock", &lock)(error)),
        }
        Ok(RealDisk { path: path.to_path_buf(), directory, _lock: file })
    }
}

fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

impl Disk for RealDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        let names = fs::read_dir(&self.path)?.map(|entry| Ok(entry?.file_name()));
        let names: Vec<_> = names.collect::<io::Result<_>>()?;
        // A name that is no text is none of ours.
        Ok(names.into_iter().filter_map(|name| name.into_string().ok()).collect())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let path = self.path.join(name);
        let file = OpenOptions::new().create_new(true).read(true).write(true).open(path)?;
        Ok(Box::new(RealFile(file)))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).open(self.path.join(name))?;
        Ok(Box::new(RealFile(file)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.directory.sync_all()
    }

    fn free_space(&self) -> io::Result<Option<u64>> {
        let found = rustix::fs::fstatvfs(&self.directory)?;
        Ok(Some(found.f_bavail.saturating_mul(found.f_frsize)))
    }

    fn describe(&self, name: &str) -> String {
        self.path.join(name).display().to_string()
    }
}

struct RealFile(File);

impl DiskFile for RealFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut read = 0;
        while read < buffer.len() {
            match self.0.read_at(&mut buffer[read..], offset + read as u64) {
                Ok(0) => break,
                Ok(count) => read += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}
