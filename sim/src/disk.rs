//! A server's simulated disk: the shipped log on it, and the time that writes take.

use std::sync::Arc;
use std::time::Duration;

use actix_raft_core::stored::StoredState;
use actix_raft_core::types::{DiskId, Index, NodeId, Time};
use actix_raft_log::crash::{CrashDisk, Survives};
use actix_raft_log::disk::Disk;
use actix_raft_log::error::{Identity, OpenError};
use actix_raft_log::format::FRAME_BYTES;
use actix_raft_log::wal::{LogOptions, Wal};
use bytes::Bytes;

use crate::dice::Dice;
use crate::fault::Crash;
use crate::image::Image;

/// How much is read at once when a log is read back as a whole.
const READ_BYTES: usize = 64 << 10;

/// The disk of one server; it outlives the server's crashes.
pub(crate) struct SimDisk {
    disk: CrashDisk,
    options: LogOptions,
    /// How often another disk came in its place.
    wiped: u64,
    /// Until when it finishes nothing.
    pub(crate) stalled_until: Time,
    /// How much longer than usual each write takes.
    pub(crate) slower: Duration,
    /// A fault strikes the next save, after this many operations.
    pub(crate) trap: Option<Trap>,
    pub(crate) full: bool,
    /// The operation of the next opening that fails, counted from 1.
    pub(crate) opening: Option<u64>,
    /// Whether a bit of what it holds was flipped.
    pub(crate) flipped: bool,
    /// Whether a bit of what it receives of a snapshot was flipped.
    pub(crate) incoming_flipped: bool,
    /// How far which segment had been written when a bit was to be flipped.
    held: Option<(String, usize)>,
}

/// What happens in the next save.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trap {
    /// The server stops, and starts again at this moment.
    Crash(Crash, u64, Time),
    /// The write or sync fails.
    Error(u64),
}

impl SimDisk {
    pub(crate) fn new(id: NodeId, segment_bytes: u64, told_apart: bool) -> SimDisk {
        let identity = Identity { cluster_id: "simulation".to_string(), node_id: id };
        SimDisk {
            disk: CrashDisk::new(),
            options: LogOptions {
                segment_bytes,
                new_disk: Some(if told_apart { name_of(id, 0) } else { DiskId::UNKNOWN }),
                ..LogOptions::new(identity)
            },
            wiped: 0,
            stalled_until: Time::default(),
            slower: Duration::ZERO,
            trap: None,
            full: false,
            opening: None,
            flipped: false,
            incoming_flipped: false,
            held: None,
        }
    }

    pub(crate) fn open(&mut self) -> Result<Wal, OpenError> {
        self.repair();
        if let Some(operation) = self.opening.take() {
            self.fail_after(operation.saturating_sub(1), false);
        }
        let opened = Wal::open(Arc::new(self.disk.clone()), self.options.clone());
        self.repair();
        opened.map(|(wal, _)| wal)
    }

    /// Opens the log, and loses power at some moment while it does or soon after. Nobody hears what
    /// was found.
    pub(crate) fn dies_opening(&mut self, operations: u64, power: u64) {
        self.repair();
        self.fail_after(operations, true);
        drop(Wal::open(Arc::new(self.disk.clone()), self.options.clone()));
        self.crash(Crash::Power(power));
    }

    /// The disk is lost, and an empty one is in its place.
    pub(crate) fn wipe(&mut self, id: NodeId) {
        self.wiped += 1;
        self.disk = CrashDisk::new();
        self.options.new_disk = Some(name_of(id, self.wiped));
        (self.trap, self.opening, self.held) = (None, None, None);
        self.flipped = false;
        self.repair();
    }

    /// How often another disk came in the place of the first.
    pub(crate) fn times_wiped(&self) -> u64 {
        self.wiped
    }

    /// From now on everything works.
    pub(crate) fn repair(&mut self) {
        match self.full {
            true => {
                self.disk.fail_from(self.disk.operations() + 1, std::io::ErrorKind::StorageFull)
            }
            false => self.disk.fail_never(),
        }
    }

    pub(crate) fn set_full(&mut self, full: bool) {
        self.full = full;
        self.repair();
    }

    /// The operation after this many more fails, and with it the save that it is part of.
    pub(crate) fn fail_after(&self, operations: u64, crash: bool) {
        let operation = self.disk.operations() + 1 + operations;
        match crash {
            true => self.disk.power_off_at(operation),
            false => self.disk.fail_at(operation, std::io::ErrorKind::Other),
        }
    }

    /// The server stops. A power failure takes what was not synced, or some of it.
    pub(crate) fn crash(&mut self, crash: Crash) {
        self.trap = None;
        if let Crash::Power(seed) = crash {
            self.disk = self.disk.crash(survives(seed));
        }
        self.repair();
    }

    /// Bytes other than zero behind which nothing was written: what a torn tail leaves.
    pub(crate) fn used_bytes(&self) -> usize {
        let names = self.names();
        let Some(last) = names.last() else { return 0 };
        let bytes = self.disk.bytes(last).unwrap_or_default();
        bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
    }

    pub(crate) fn segments(&self) -> usize {
        self.names().len()
    }

    fn names(&self) -> Vec<String> {
        // Names are listed in order.
        let names = self.disk.list().unwrap_or_default();
        names.into_iter().filter(|name| name.ends_with(".wal")).collect()
    }

    /// Flips a bit of what was received of a snapshot so far; returns whether there is something.
    pub(crate) fn flip_incoming(&mut self, seed: u64) -> bool {
        let names = self.disk.list().unwrap_or_default();
        let Some(name) = names.into_iter().find(|name| name.ends_with(".incoming")) else {
            return false;
        };
        let mut dice = Dice::new(seed);
        self.disk.damage(&name, |bytes| {
            let place = dice.place(bytes.len());
            if let Some(byte) = bytes.get_mut(place) {
                *byte ^= 1 << dice.below(8);
                self.incoming_flipped = true;
            }
        });
        self.incoming_flipped
    }

    /// Flips a bit somewhere in what the disk held before this call's last save; returns whether it
    /// could. The first call only takes note of where that ends.
    pub(crate) fn flip_bit(&mut self, seed: u64) -> bool {
        let names = self.names();
        let Some(newest) = names.last().cloned() else { return false };
        let Some((segment, end)) = self.held.take() else {
            // A marker may stand at the end, which the next save overwrites.
            let end = self.used_bytes().saturating_sub(FRAME_BYTES);
            self.held = Some((newest, end));
            return false;
        };
        let mut dice = Dice::new(seed);
        let older: Vec<&String> = names.iter().filter(|name| **name <= segment).collect();
        let Some(name) = older.get(dice.place(older.len())) else { return false };
        let is_newest = **name == segment;
        self.flipped = true;
        self.disk.damage(name, |bytes| {
            // Among what was written, not among the zeros behind it.
            let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            let place = dice.place(if is_newest { end } else { used });
            if let Some(byte) = bytes.get_mut(place) {
                *byte ^= 1 << dice.below(8);
            }
        });
        true
    }
}

/// The name of a server's disk, after so many were lost.
fn name_of(id: NodeId, lost: u64) -> DiskId {
    DiskId(id.0 * 1000 + lost)
}

/// What the disk keeps of what was not synced, by the seed of a power failure.
pub(crate) fn survives(seed: u64) -> Survives {
    let mut dice = Dice::new(seed);
    match dice.below(8) {
        0 | 1 => Survives::Nothing,
        2 => Survives::Everything,
        3 => Survives::FirstHalf,
        4 => Survives::SecondHalf,
        _ => Survives::Some(dice.number()),
    }
}

/// What an opened log holds, read back to the last byte.
pub(crate) fn read_back(wal: &Wal) -> Result<Image, String> {
    let state = wal.state();
    let (mut next, last) = (state.base.last_included.index.next(), state.last_log.index);
    let mut entries = Vec::new();
    while next <= last {
        let read = wal.reader().read(next, last, READ_BYTES).map_err(|error| error.to_string())?;
        next = Index(next.0 + read.len() as u64);
        entries.extend(read.into_iter().map(|mut entry| {
            // A slice of what was read would keep all of that in memory.
            if let actix_raft_core::entry::EntryPayload::Normal(command) = &mut entry.payload {
                *command = Bytes::copy_from_slice(command);
            }
            entry
        }));
    }
    let image = Image::new(state.hard_state, state.base.clone(), entries);
    let StoredState { snapshot, last_applied, disk, .. } = state.clone();
    let found = StoredState { snapshot, last_applied, disk, ..image.stored() };
    match found == *state {
        true => Ok(image),
        false => Err(format!("opening says {state:?}, and there is {found:?}")),
    }
}
