//! A disk in memory that loses what was not synced, and fails when told to: for tests, ours and
//! yours.
//!
//! It keeps what programs see apart from what is durable. [`CrashDisk::crash`] is a power failure:
//! of every sector that was written and not synced, and every name that was changed and not
//! synced, the old state may come back, or the new one. What a failed sync was to write is not
//! written by the next one either, as on real systems: it is lost unless it is written again.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix_raft_core::random::Random;

use crate::disk::{Disk, DiskFile};

/// What is written as a whole or not at all.
const SECTOR: usize = 512;

/// What a power failure leaves of what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survives {
    /// Nothing.
    Nothing,
    /// Everything.
    Everything,
    /// In each file, of what was changed, the first half: every write is torn. And every name.
    FirstHalf,
    /// In each file, of what was changed, the second half. No name.
    SecondHalf,
    /// Each sector and each name, or not, as this seed says.
    Some(u64),
}

/// The disk. Clones are the same disk.
#[derive(Clone, Default)]
pub struct CrashDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    names: BTreeMap<String, Contents>,
    durable_names: BTreeMap<String, Contents>,
    operations: u64,
    syncs: u64,
    fault: Option<Fault>,
    /// How many bytes its files may have; as many as they like, if `None`.
    capacity: Option<u64>,
}

#[derive(Clone)]
struct Fault {
    /// The first operation that fails.
    from: u64,
    /// The last one.
    until: u64,
    kind: io::ErrorKind,
}

/// A file's bytes; files keep them when their name is gone.
type Contents = Arc<Mutex<Bytes>>;

#[derive(Clone, Default)]
struct Bytes {
    live: Vec<u8>,
    durable: Vec<u8>,
    /// The sectors that the next sync writes.
    dirty: BTreeSet<usize>,
}

struct CrashFile {
    disk: CrashDisk,
    contents: Contents,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A test that panicked has failed already.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl CrashDisk {
    /// An empty disk.
    #[must_use]
    pub fn new() -> CrashDisk {
        CrashDisk::default()
    }

    /// How many operations have changed the disk, or tried to.
    #[must_use]
    pub fn operations(&self) -> u64 {
        lock(&self.state).operations
    }

    /// How many times a file was synced.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        lock(&self.state).syncs
    }

    /// The power fails at this operation, counted from 1: it and all later ones fail, and may have
    /// had their effect in part.
    pub fn power_off_at(&self, operation: u64) {
        self.fail(operation, u64::MAX, io::ErrorKind::Other);
    }

    /// This operation, counted from 1, fails; later ones work.
    pub fn fail_at(&self, operation: u64, kind: io::ErrorKind) {
        self.fail(operation, operation, kind);
    }

    /// This operation, counted from 1, and all later ones fail: a disk that is full, say.
    pub fn fail_from(&self, operation: u64, kind: io::ErrorKind) {
        self.fail(operation, u64::MAX, kind);
    }

    /// From now on all operations work, also those that were told to fail.
    pub fn fail_never(&self) {
        lock(&self.state).fault = None;
    }

    /// Lets the files that have a name hold no more bytes than these altogether. A write that would
    /// make them longer fails and writes nothing.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        lock(&self.state).capacity = bytes;
    }

    /// How many bytes the files that have a name hold.
    #[must_use]
    pub fn used_space(&self) -> u64 {
        lock(&self.state).used()
    }

    fn fail(&self, from: u64, until: u64, kind: io::ErrorKind) {
        lock(&self.state).fault = Some(Fault { from, until, kind });
    }

    /// The disk as it is found when the power is back.
    #[must_use]
    pub fn crash(&self, survives: Survives) -> CrashDisk {
        let state = lock(&self.state);
        let mut coin = Coin::new(survives);
        let mut names = state.durable_names.clone();
        let changed = state.names.keys().chain(state.durable_names.keys());
        let changed: Vec<String> = changed.cloned().collect();
        for name in changed {
            let same = match (state.names.get(&name), state.durable_names.get(&name)) {
                (Some(live), Some(durable)) => Arc::ptr_eq(live, durable),
                _ => false,
            };
            if !same && coin.toss() {
                match state.names.get(&name) {
                    Some(contents) => names.insert(name, Arc::clone(contents)),
                    None => names.remove(&name),
                };
            }
        }
        let found: BTreeMap<String, Contents> = names
            .into_iter()
            .map(|(name, contents)| {
                let bytes = lock(&contents).after_crash(&mut coin);
                (name, Arc::new(Mutex::new(bytes)))
            })
            .collect();
        let (names, capacity) = (found.clone(), state.capacity);
        let state = State { names, durable_names: found, capacity, ..State::default() };
        CrashDisk { state: Arc::new(Mutex::new(state)) }
    }

    /// A file's bytes as programs see them.
    #[must_use]
    pub fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        lock(&self.state).names.get(name).map(|contents| lock(contents).live.clone())
    }

    /// Replaces a file's bytes, durably, behind the back of whoever uses it: damage.
    pub fn damage(&self, name: &str, damage: impl FnOnce(&mut Vec<u8>)) {
        if let Some(contents) = lock(&self.state).names.get(name) {
            let mut bytes = lock(contents);
            damage(&mut bytes.live);
            bytes.durable = bytes.live.clone();
            bytes.dirty.clear();
        }
    }

    /// Counts an operation; an error if it is to fail.
    fn operate(&self) -> io::Result<()> {
        let mut state = lock(&self.state);
        state.operations += 1;
        let number = state.operations;
        match &state.fault {
            Some(fault) if (fault.from..=fault.until).contains(&number) => {
                Err(io::Error::new(fault.kind, format!("operation {number} was told to fail")))
            }
            _ => Ok(()),
        }
    }
}

impl State {
    fn used(&self) -> u64 {
        self.names.values().map(|contents| lock(contents).live.len() as u64).sum()
    }

    fn free(&self) -> Option<u64> {
        self.capacity.map(|capacity| capacity.saturating_sub(self.used()))
    }
}

struct Coin {
    survives: Survives,
    random: Random,
}

impl Coin {
    fn new(survives: Survives) -> Coin {
        let seed = match survives {
            Survives::Some(seed) => seed,
            Survives::Nothing
            | Survives::Everything
            | Survives::FirstHalf
            | Survives::SecondHalf => 0,
        };
        Coin { survives, random: Random::new(seed) }
    }

    fn toss(&mut self) -> bool {
        match self.survives {
            Survives::Nothing | Survives::SecondHalf => false,
            Survives::Everything | Survives::FirstHalf => true,
            Survives::Some(_) => self.random.next_u64().is_multiple_of(2),
        }
    }
}

impl Bytes {
    fn after_crash(&self, coin: &mut Coin) -> Bytes {
        let mut found = self.durable.clone();
        // The file's length is a change like another.
        let grown = self.live.len() > found.len();
        if grown && (coin.survives == Survives::SecondHalf || coin.toss()) {
            found.resize(self.live.len(), 0);
        }
        let end = found.len().min(self.live.len());
        let changed = |place: &usize| found[*place] != self.live[*place];
        match coin.survives {
            Survives::FirstHalf | Survives::SecondHalf => {
                let first = (0..end).find(changed).unwrap_or(end);
                let last = (first..end).rfind(changed).map_or(first, |last| last + 1);
                let middle = usize::midpoint(first, last);
                let half = match coin.survives == Survives::FirstHalf {
                    true => first..middle,
                    false => middle..last,
                };
                found[half.clone()].copy_from_slice(&self.live[half]);
            }
            Survives::Nothing | Survives::Everything | Survives::Some(_) => {
                for start in (0..end).step_by(SECTOR) {
                    let sector = start..(start + SECTOR).min(end);
                    if found[sector.clone()] != self.live[sector.clone()] && coin.toss() {
                        found[sector.clone()].copy_from_slice(&self.live[sector]);
                    }
                }
            }
        }
        Bytes { live: found.clone(), durable: found, dirty: BTreeSet::new() }
    }

    fn write(&mut self, bytes: &[u8], start: usize) {
        let end = start + bytes.len();
        self.live.resize(self.live.len().max(end), 0);
        self.live[start..end].copy_from_slice(bytes);
        self.dirty.extend(start / SECTOR..end.div_ceil(SECTOR));
    }

    fn sync(&mut self) {
        self.durable.resize(self.live.len(), 0);
        for sector in std::mem::take(&mut self.dirty) {
            let start = sector * SECTOR;
            let sector = start..(start + SECTOR).min(self.live.len());
            self.durable[sector.clone()].copy_from_slice(&self.live[sector]);
        }
    }
}

impl Disk for CrashDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(lock(&self.state).names.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.operate()?;
        let contents = Contents::default();
        let names = &mut lock(&self.state).names;
        if names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        names.insert(name.to_string(), Arc::clone(&contents));
        Ok(Box::new(CrashFile { disk: self.clone(), contents }))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let contents = lock(&self.state).names.get(name).cloned();
        let contents = contents.ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(CrashFile { disk: self.clone(), contents }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.operate()?;
        let names = &mut lock(&self.state).names;
        let contents = names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        names.insert(to.to_string(), contents);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.operate()?;
        let removed = lock(&self.state).names.remove(name);
        removed.map(|_| ()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.operate()?;
        let mut state = lock(&self.state);
        state.durable_names = state.names.clone();
        Ok(())
    }

    fn free_space(&self) -> io::Result<Option<u64>> {
        Ok(lock(&self.state).free())
    }

    fn describe(&self, name: &str) -> String {
        format!("/crash-disk/{name}")
    }
}

impl DiskFile for CrashFile {
    fn size(&self) -> io::Result<u64> {
        Ok(lock(&self.contents).live.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let bytes = lock(&self.contents);
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.live.len());
        let count = buffer.len().min(bytes.live.len() - start);
        buffer[..count].copy_from_slice(&bytes.live[start..start + count]);
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let worked = self.disk.operate();
        let end = offset.saturating_add(bytes.len() as u64);
        let free = lock(&self.disk.state).free();
        if let Some(free) = free
            && end.saturating_sub(self.size()?) > free
        {
            return Err(io::ErrorKind::StorageFull.into());
        }
        // A write that fails may have got anywhere.
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        lock(&self.contents).write(bytes, start);
        worked
    }

    fn sync(&self) -> io::Result<()> {
        let worked = self.disk.operate();
        let mut contents = lock(&self.contents);
        match &worked {
            Ok(()) => contents.sync(),
            // What is not known to be written is taken for written from now on.
            Err(_) => contents.dirty.clear(),
        }
        drop(contents);
        lock(&self.disk.state).syncs += u64::from(worked.is_ok());
        worked
    }
}
