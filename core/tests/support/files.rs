//! Snapshot files of a test's server: what its state machine applied, as bytes.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use actix_raft_core::entry::{Entry, EntryPayload};
use actix_raft_core::membership::Membership;
use actix_raft_core::snapshot::{Snapshot, SnapshotChunk};
use actix_raft_core::stored::Base;
use actix_raft_core::types::{Index, Term};
use bytes::Bytes;

thread_local! {
    /// Memberships that were written on this thread, by what was written for them.
    static WRITTEN: RefCell<BTreeMap<String, Arc<Membership>>> = const { RefCell::new(BTreeMap::new()) };
}

/// A snapshot that is on a disk as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    pub snapshot: Snapshot,
    pub bytes: Vec<u8>,
}

/// A snapshot of which the first bytes are there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partial {
    pub snapshot: Snapshot,
    pub bytes: Vec<u8>,
}

pub fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

impl File {
    /// A snapshot of a state machine that applied these entries, from the first on.
    pub fn of(base: Base, applied: &[Entry]) -> File {
        let bytes = applied.iter().flat_map(|entry| line(entry).into_bytes()).collect::<Vec<_>>();
        let (size, checksum) = (bytes.len() as u64, checksum(&bytes));
        File { snapshot: Snapshot { base, size, checksum }, bytes }
    }

    pub fn is_whole(&self) -> bool {
        let File { snapshot, bytes } = self;
        bytes.len() as u64 == snapshot.size && checksum(bytes) == snapshot.checksum
    }

    /// The entries that the state machine had applied.
    pub fn state(&self) -> Vec<Entry> {
        let text = std::str::from_utf8(&self.bytes).expect("a snapshot is text");
        text.lines().map(entry).collect()
    }

    pub fn chunk(&self, offset: u64, max_bytes: usize) -> Option<SnapshotChunk> {
        self.is_whole().then(|| {
            let rest = &self.bytes[offset as usize..];
            let data = Bytes::copy_from_slice(&rest[..rest.len().min(max_bytes)]);
            let done = offset + data.len() as u64 == self.snapshot.size;
            SnapshotChunk { offset, checksum: checksum(&data), data, done }
        })
    }
}

fn line(entry: &Entry) -> String {
    let Entry { term, index, payload } = entry;
    match payload {
        EntryPayload::Blank => format!("{index} {term} blank\n"),
        EntryPayload::Normal(command) => {
            format!("{index} {term} normal {}\n", std::str::from_utf8(command).expect("text"))
        }
        EntryPayload::ConfigChange(membership) => {
            let written = format!("{membership:?}");
            WRITTEN.with_borrow_mut(|all| all.insert(written.clone(), Arc::clone(membership)));
            format!("{index} {term} config {written}\n")
        }
    }
}

fn entry(line: &str) -> Entry {
    let mut words = line.splitn(4, ' ');
    let mut word = || words.next().unwrap_or_default();
    let (index, term) = (word().parse().expect("an index"), word().parse().expect("a term"));
    let payload = match (word(), word()) {
        ("blank", _) => EntryPayload::Blank,
        ("normal", command) => EntryPayload::Normal(Bytes::copy_from_slice(command.as_bytes())),
        (_, written) => {
            let membership = WRITTEN.with_borrow(|all| all.get(written).cloned());
            EntryPayload::ConfigChange(membership.expect("it was written on this thread"))
        }
    };
    Entry { term: Term(term), index: Index(index), payload }
}

#[test]
fn a_state_survives_being_written() {
    use crate::support::words::{at, entries, voters};
    let mut all = entries(at(0, 0), &[1, 1, 2]).to_vec();
    all[0].payload = EntryPayload::ConfigChange(Arc::new(voters(1..=3)));
    all[1].payload = EntryPayload::Blank;
    let file = File::of(Base::default(), &all);
    assert!(file.is_whole());
    assert_eq!(file.state(), all);
}
