//! The directory with the servers' data and logs.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use tempfile::TempDir;

/// A directory of the demo's own. A temporary one is removed on every way out but a SIGKILL.
pub(super) enum Place {
    Temporary(TempDir),
    Lasting(PathBuf),
}

impl Place {
    /// Takes an empty or new directory, if one is given.
    pub(super) fn new(dir: Option<&Path>, keep: bool) -> anyhow::Result<Place> {
        let Some(dir) = dir else {
            let made = tempfile::Builder::new().prefix("raft-kv-demo-").tempdir();
            let temporary = made.context("can't create a temporary directory")?;
            return Ok(match keep {
                true => Place::Lasting(temporary.keep()),
                false => Place::Temporary(temporary),
            });
        };
        let said = || format!("--dir {}", dir.display());
        std::fs::create_dir_all(dir).with_context(said)?;
        let is_empty = std::fs::read_dir(dir).with_context(said)?.next().is_none();
        ensure!(is_empty, "{}: it is not empty", said());
        Ok(Place::Lasting(dir.canonicalize().with_context(said)?))
    }

    pub(super) fn path(&self) -> &Path {
        match self {
            Place::Temporary(dir) => dir.path(),
            Place::Lasting(dir) => dir,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_given_directory_must_be_empty_or_new_and_stays() {
        let outer = TempDir::new().unwrap();
        let new = outer.path().join("a/b");
        let place = Place::new(Some(&new), false).unwrap();
        std::fs::write(place.path().join("file"), "data").unwrap();
        drop(place);
        let error = Place::new(Some(&new), false).err().unwrap().to_string();
        assert_eq!(error, format!("--dir {}: it is not empty", new.display()));
        assert!(new.join("file").exists());
        assert!(Place::new(Some(&new.join("file")), false).is_err());
    }

    #[test]
    fn a_temporary_directory_goes_unless_it_is_to_be_kept() {
        let place = Place::new(None, false).unwrap();
        let path = place.path().to_path_buf();
        assert!(path.is_dir());
        drop(place);
        assert!(!path.exists());
        let kept = Place::new(None, true).unwrap().path().to_path_buf();
        assert!(kept.is_dir());
        std::fs::remove_dir(kept).unwrap();
    }
}
