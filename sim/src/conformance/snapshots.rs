//! Snapshots: reading, receiving and installing them, and of which moment they are.

use actix_raft::application::Application;
use actix_raft::messages::{Entry, LogPosition};
use actix_raft::storage::{Base, Save, Snapshot, SnapshotChunk};
use bytes::Bytes;

use super::contract::{Contract, Failure};
use super::model::Model;
use super::probe::{Journal, Probe, answer, applied_singly};
use super::transfer::{base_of, joined, piece_bytes};
use super::{Subject, Suite};

/// How far the log goes of which snapshots are taken.
pub(super) const END: u64 = 60;
/// Of which entries snapshots are taken.
const EARLY: u64 = 20;
pub(super) const LATE: u64 = 40;

pub(super) type JournalOf<S> = Journal<<<S as Subject>::Application as Application>::Response>;

/// A storage that applied a log and took two snapshots on the way.
pub(super) struct Source<S: Subject> {
    pub(super) probe: Probe<S::Application>,
    /// What a storage answers that applies the log, and more of it, one by one.
    pub(super) journal: JournalOf<S>,
    /// The first of the snapshots, which may be gone, in pieces.
    early: (Snapshot, Vec<SnapshotChunk>),
    /// The second.
    pub(super) snapshot: Snapshot,
}

impl<S: Subject> Source<S> {
    /// The entries of the log, after one and up to another.
    pub(super) fn entries(&self, after: u64, until: u64) -> &[Entry] {
        &self.journal.entries[after as usize..until as usize]
    }

    /// What a log comes to up to there.
    pub(super) fn base(&self, index: u64) -> Base {
        base_of(self.entries(0, index))
    }

    /// The save of a base there, and of the entries after it, up to another.
    pub(super) fn save_after(&self, base: u64, until: u64) -> Save {
        let entries = vec![self.entries(base, until).into()];
        Save { base: Some(self.base(base)), entries, ..Save::default() }
    }
}

const CONTRACTS: [Contract; 6] = [
    Contract::SnapshotPieces,
    Contract::ReceivedPieces,
    Contract::Install,
    Contract::RefusedSnapshot,
    Contract::BuildSnapshot,
    Contract::Purge,
];

impl<S: Subject> Suite<'_, S> {
    pub(super) async fn check_snapshots(&mut self) -> Result<(), Failure> {
        let contract = Contract::SnapshotPieces;
        let entries = self.samples.run(1, 1..=END);
        let journal = applied_singly(self.subject, &entries, contract).await?;
        let probe = self.open_applied(contract, &entries[..1]).await?;
        self.takes_snapshots = probe.build(base_of(&entries[..1])).await?.is_some();
        if !self.takes_snapshots {
            self.report.skipped.extend(CONTRACTS);
            self.skip(Contract::SnapshotRestart);
            return Ok(());
        }
        drop(probe);
        let mut source = self.check_pieces(journal).await?;
        self.check_receiving(&source).await?;
        self.check_install(&source).await?;
        self.check_refusals(&mut source).await?;
        self.check_moment(&mut source).await?;
        self.check_purge(&source).await?;
        self.report.held.extend(CONTRACTS);
        match self.reopens {
            true => self.check_snapshot_restart(&mut source).await,
            false => {
                self.skip(Contract::SnapshotRestart);
                Ok(())
            }
        }
    }

    /// Opens a storage that holds these entries, and has applied them.
    pub(super) async fn open_applied(
        &mut self,
        contract: Contract,
        entries: &[Entry],
    ) -> Result<Probe<S::Application>, Failure> {
        let mut probe = self.open(contract).await?;
        probe.step("entries are saved and applied");
        probe.save(Save { entries: vec![entries.into()], ..Save::default() }).await?;
        probe.apply(entries).await?;
        Ok(probe)
    }

    async fn check_pieces(&mut self, journal: JournalOf<S>) -> Result<Source<S>, Failure> {
        let contract = Contract::SnapshotPieces;
        let mut source = self.source(contract, journal).await?;
        let (early, pieces) = &source.early;
        let probe = &mut source.probe;
        probe.step("a snapshot is read after another was built");
        probe.check_gone_piece(early, &joined(pieces)).await?;
        let snapshot = &source.snapshot;
        let bytes = probe.snapshot_bytes(snapshot).await?;
        for max_bytes in [bytes.len() * 2, bytes.len() / 2 + 1, bytes.len() / 7 + 1] {
            probe.step(format!("a snapshot is read in pieces of {max_bytes} bytes"));
            let found = joined(&probe.pieces(snapshot, 0, max_bytes).await?);
            same_bytes(probe, &bytes, &found)?;
        }
        for offset in (0..bytes.len()).step_by(bytes.len() / 10 + 1) {
            probe.step(format!("a snapshot is read from byte {offset} on"));
            let found = probe.pieces(snapshot, offset as u64, bytes.len() / 3 + 1).await?;
            same_bytes(probe, &bytes.slice(offset..), &joined(&found))?;
        }
        let base = Base { last_included: LogPosition::new(9, LATE), ..snapshot.base.clone() };
        for unknown in [
            Snapshot { checksum: snapshot.checksum ^ 1, ..snapshot.clone() },
            Snapshot { base, ..snapshot.clone() },
        ] {
            probe.step("a snapshot is read that was never there");
            probe.check_gone_piece(&unknown, &Bytes::new()).await?;
        }
        Ok(source)
    }

    /// Opens a storage that others get snapshots from.
    async fn source(
        &mut self,
        contract: Contract,
        journal: JournalOf<S>,
    ) -> Result<Source<S>, Failure> {
        let entries = journal.entries.clone();
        let (first, second) = entries[..LATE as usize].split_at(EARLY as usize);
        let mut probe = self.open_applied(contract, first).await?;
        probe.step("a snapshot is built and read");
        let early = probe.snapshot(base_of(first)).await?;
        let pieces = probe.pieces(&early, 0, piece_bytes(&early)).await?;
        probe.save(Save { entries: vec![second.into()], ..Save::default() }).await?;
        probe.apply(second).await?;
        probe.step("another snapshot is built and read");
        let snapshot = probe.snapshot(base_of(&entries[..LATE as usize])).await?;
        Ok(Source { probe, journal, early: (early, pieces), snapshot })
    }

    async fn check_receiving(&mut self, source: &Source<S>) -> Result<(), Failure> {
        let contract = Contract::ReceivedPieces;
        let Source { snapshot, early, .. } = source;
        let pieces = source.probe.pieces(snapshot, 0, piece_bytes(snapshot)).await?;
        let mut probe = self.open(contract).await?;
        let holds = async |probe: &mut Probe<_>, held: u64, what: &str, piece: &SnapshotChunk| {
            probe.step(format!("{what} is to be stored"));
            let found = probe.store(snapshot, piece).await?;
            match found == held {
                true => Ok(()),
                false => Err(probe.failure(format!("{held} bytes held"), found)),
            }
        };
        let mut held = 0;
        for piece in &pieces {
            for damaged in damages(piece) {
                holds(&mut probe, held, "a damaged piece", &damaged).await?;
            }
            for other in pieces.iter().filter(|other| other.offset != piece.offset) {
                holds(&mut probe, held, "a piece that is not the next", other).await?;
            }
            held += piece.data.len() as u64;
            holds(&mut probe, held, "the next piece", piece).await?;
            holds(&mut probe, held, "a piece that is stored already", piece).await?;
            let nothing = SnapshotChunk { data: Bytes::new(), checksum: 0, ..piece.clone() };
            holds(&mut probe, held, "no byte", &nothing).await?;
        }
        let (other, other_pieces) = early;
        probe.step("the first piece of another snapshot is stored");
        probe.store_all(other, &other_pieces[..1]).await?;
        for piece in pieces.iter().skip(1) {
            holds(&mut probe, 0, "a piece of a snapshot that was thrown away", piece).await?;
        }
        probe.step("another snapshot is received instead");
        probe.store_all(snapshot, &pieces).await?;
        probe.install(snapshot, true).await
    }

    async fn check_install(&mut self, source: &Source<S>) -> Result<(), Failure> {
        let contract = Contract::Install;
        let bytes = source.probe.snapshot_bytes(&source.snapshot).await?;
        // In an empty log; in one that is a part of the sender's; in one that contradicts it.
        let contrary = self.samples.run(7, 11..=LATE + 10).to_vec();
        for log in [&[], source.entries(0, 10), &[source.entries(0, 10), &contrary].concat()] {
            let mut probe = self.open(contract).await?;
            let mut save = Save::default();
            if !log.is_empty() {
                save.entries.push(log.into());
            }
            let mut model = Model::default().after(&save);
            probe.save(save).await?;
            let applied = log.len().min(10);
            if applied > 0 {
                probe.apply(&log[..applied]).await?;
            }
            probe.step("a snapshot is received and installed");
            probe.fetch(&source.snapshot, &source.probe).await?;
            probe.check_log(&model).await?;
            let save = source.save_after(LATE, END);
            model.save(&save);
            probe.step("entries are saved after a snapshot that was installed");
            probe.save(save).await?;
            probe.check_log(&model).await?;
            probe.step("entries are applied after a snapshot that was installed");
            source.check_apply(&probe, LATE, END - 5).await?;
            probe.step("a snapshot is read that was installed");
            same_bytes(&probe, &bytes, &probe.snapshot_bytes(&source.snapshot).await?)?;
            probe.step("a snapshot is built after one was installed");
            probe.snapshot(source.base(END - 5)).await?;
            source.check_apply(&probe, END - 5, END).await?;
        }
        Ok(())
    }

    async fn check_refusals(&mut self, source: &mut Source<S>) -> Result<(), Failure> {
        let contract = Contract::RefusedSnapshot;
        let snapshot = source.snapshot.clone();
        let pieces = source.probe.pieces(&snapshot, 0, piece_bytes(&snapshot)).await?;
        let mut probe = self.open(contract).await?;
        let save = Save { entries: vec![source.entries(0, 30).into()], ..Save::default() };
        let mut model = Model::default().after(&save);
        probe.save(save).await?;
        let mut applied = 5;
        source.check_apply(&probe, 0, applied).await?;
        let other = |checksum, size| Snapshot { checksum, size, ..snapshot.clone() };
        let (checksum, size) = (snapshot.checksum, snapshot.size);
        let cases = [
            ("without a piece", snapshot.clone(), 0),
            ("without its last piece", snapshot.clone(), pieces.len() - 1),
            ("whose checksum is another", other(checksum ^ 0x10, size), pieces.len()),
            ("that should be longer", other(checksum, size + 1), pieces.len()),
        ];
        for (what, snapshot, count) in cases {
            probe.step(format!("a snapshot {what} is to be installed"));
            for piece in &pieces[..count] {
                // The last one may be refused already.
                probe.store(&snapshot, &SnapshotChunk { done: false, ..piece.clone() }).await?;
            }
            probe.install(&snapshot, false).await?;
            probe.step(format!("a snapshot {what} was not installed"));
            let held = probe.held(&snapshot).await?;
            if held > 0 {
                return Err(probe.failure("nothing held of what was refused", held));
            }
            let vote = super::samples::vote(applied, Some(2));
            model.save(&vote);
            probe.save(vote).await?;
            probe.check_log(&model).await?;
            source.check_apply(&probe, applied, applied + 5).await?;
            applied += 5;
        }
        probe = self.found_again(probe, &model, "snapshots were refused").await?;
        let found = probe.initial_state().await?.snapshot;
        if found.is_some() {
            return Err(probe.failure("no snapshot", format!("{found:?}")));
        }
        probe.step("a snapshot is installed after others were refused");
        probe.fetch(&snapshot, &source.probe).await?;
        probe.save(source.save_after(LATE, END)).await?;
        source.check_apply(&probe, LATE, END).await
    }

    /// Applies and builds without waiting; others must find that which was applied before.
    async fn check_moment(&mut self, source: &mut Source<S>) -> Result<(), Failure> {
        let contract = Contract::BuildSnapshot;
        let save = || Save { entries: vec![source.entries(0, END).into()], ..Save::default() };
        let mut probe = self.open(contract).await?;
        probe.save(save()).await?;
        let mut taken = Vec::new();
        for at in [10, 20, 30, 40] {
            probe.step(format!("a snapshot of {at} is built while entries are applied"));
            let refused = |refusal| probe.failure("an answer", refusal);
            let storage = probe.storage();
            let applied = storage.apply(source.entries(at - 10, at - 3).into());
            answer(applied).await.map_err(refused)?;
            let applied = storage.apply(source.entries(at - 3, at).into());
            let built = storage.build_snapshot(source.base(at));
            answer(applied).await.map_err(refused)?;
            let more = storage.apply(source.entries(at, at + 5).into());
            answer(more).await.map_err(refused)?;
            let snapshot = answer(built).await.map_err(refused)?;
            let Some(snapshot) = snapshot else {
                return Err(probe.failure("a snapshot, as before", "none"));
            };
            let pieces = probe.pieces(&snapshot, 0, piece_bytes(&snapshot)).await?;
            taken.push((snapshot, pieces));
            // It has applied more than the next round thinks, so that goes on elsewhere.
            drop(probe);
            probe = self.open_applied(contract, source.entries(0, at)).await?;
            probe.save(save()).await?;
        }
        drop(probe);
        for (snapshot, pieces) in taken {
            let at = snapshot.last_included().index.0;
            let mut probe = self.open(contract).await?;
            probe.step(format!("entries are applied after a snapshot of {at} was installed"));
            probe.store_all(&snapshot, &pieces).await?;
            probe.install(&snapshot, true).await?;
            probe.save(source.save_after(at, at + 10)).await?;
            source.check_apply(&probe, at, at + 10).await?;
        }
        Ok(())
    }
}

impl<S: Subject> Source<S> {
    /// Applies the entries after one and up to another; the responses must be those of the sender.
    pub(super) async fn check_apply(
        &self,
        probe: &Probe<S::Application>,
        after: u64,
        until: u64,
    ) -> Result<(), Failure> {
        let entries = self.entries(after, until);
        self.journal.compare(probe, entries, probe.apply(entries).await?)
    }
}

fn same_bytes<A: Application>(
    probe: &Probe<A>,
    expected: &Bytes,
    found: &Bytes,
) -> Result<(), Failure> {
    match expected == found {
        true => Ok(()),
        false => {
            let found = format!("{} other ones", found.len());
            Err(probe.failure(format!("the same {} bytes as before", expected.len()), found))
        }
    }
}

/// The same piece with one bit or byte wrong, or one byte less.
fn damages(piece: &SnapshotChunk) -> Vec<SnapshotChunk> {
    let Some(last) = piece.data.len().checked_sub(1) else { return Vec::new() };
    let changed = |place: usize, change: u8| {
        let mut data = piece.data.to_vec();
        data[place] ^= change;
        SnapshotChunk { data: data.into(), ..piece.clone() }
    };
    let cut = SnapshotChunk { data: piece.data.slice(..last), ..piece.clone() };
    vec![changed(0, 1), changed(last / 2, 0xff), changed(last, 0x80), cut]
}
