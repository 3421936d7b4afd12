//! Storages that break one contract each.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use actix::{Actor, AsyncContext, Context, Handler, Message, ResponseFuture};
use actix_raft::messages::{Address, Entry, EntryPayload, Index, MembershipConfig, Term};
use actix_raft::replicated::Replicated;
use actix_raft::storage::{
    Apply, Base, DiskId, GetInitialState, Outcome, ReadLog, SaveLog, Snapshot, StorageError,
    StoredState,
};
use actix_raft_sim::conformance::{Opened, Subject};
use bytes::{Bytes, BytesMut};
use tokio::sync::oneshot;

use crate::pieces::Settle;
use crate::subjects::Chain;

/// What a plain list does wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    StartsWithATerm,
    ForgetsVote,
    VoteZeroIsNone,
    ForgetsTrust,
    NoTermWithEntries,
    ForgetsBase,
    KeepsFirstRunOnly,
    KeepsTheTail,
    CutsOneTooMany,
    StaleTermStarts,
    StaleMemberships,
    ReadsOneTooFew,
    NothingIfTooLarge,
    IgnoresMaxBytes,
    ErrorIfGone,
    LosesAddresses,
    LosesOutgoingVoters,
    LosesGoal,
    LosesFounders,
    CutsLongCommands,
    AnswersOutOfOrder,
    RefusesTheHundredth,
    TornInMemory,
    OneResponseTooFew,
    ResponsesReversed,
    ResponseToBlank,
    LosesTheLastSave,
    AppliedTooMuch,
    AppliedIsWrong,
    TiresOfManySaves,
    OneDiskForAll,
    NewDiskEachTime,
    PieceTooLong,
    NoLastPiece,
    ReadsTheLatest,
    StoresDamagedPieces,
    StoresAtAnyOffset,
    MixesSnapshots,
    InstallsNothing,
    InstallsNoSessions,
    InstalledIsNotRead,
    InstallsAnyBytes,
    InstallsAPart,
    KeepsRefusedPieces,
    RefusesWithATrace,
    BuildOvertakesApply,
    CapturesLate,
    KeepsContraryEntries,
    PurgesAll,
    ReadsPurged,
    ForgetsSnapshot,
    SnapshotWithoutItsState,
    PurgedByASnapshot,
}

/// What outlives the actor.
pub struct Held {
    pub stored: StoredState,
    /// The entries behind the base.
    log: Vec<Entry>,
    /// Entries that should be gone.
    purged: Vec<Entry>,
    pub machine: Replicated<Chain>,
    /// The bytes of the latest snapshot, which is in the stored state.
    pub snapshot: Bytes,
    pub received: Option<(Snapshot, BytesMut)>,
    saves: usize,
    saves_before: usize,
    unfinished: usize,
    before_last_save: Option<(StoredState, Vec<Entry>)>,
    /// The state before what was just applied.
    pub before_apply: Option<Bytes>,
    /// A snapshot that is captured too late.
    pub uncaptured: Option<(Base, oneshot::Sender<Snapshot>)>,
}

fn new_disk(fault: Option<Fault>) -> DiskId {
    static DISKS: AtomicU64 = AtomicU64::new(1);
    match fault {
        Some(Fault::OneDiskForAll) => DiskId(7),
        _ => DiskId(DISKS.fetch_add(1, Ordering::Relaxed)),
    }
}

impl Held {
    fn new(fault: Option<Fault>) -> Rc<RefCell<Held>> {
        Rc::new(RefCell::new(Held {
            stored: StoredState { disk: new_disk(fault), ..StoredState::default() },
            log: Vec::new(),
            purged: Vec::new(),
            machine: Replicated::new(Chain::default()),
            snapshot: Bytes::new(),
            received: None,
            saves: 0,
            saves_before: 0,
            unfinished: 0,
            before_last_save: None,
            before_apply: None,
            uncaptured: None,
        }))
    }

    /// Where an entry is in the log.
    fn place(&self, index: Index) -> usize {
        index.0.saturating_sub(self.stored.base.last_included.index.0 + 1) as usize
    }
}

/// A storage that lives as long as its subject, and may have a fault.
pub struct Plain {
    held: Rc<RefCell<Held>>,
    fault: Option<Fault>,
}

impl Plain {
    pub fn new(fault: Option<Fault>) -> Plain {
        Plain { held: Held::new(fault), fault }
    }
}

impl Subject for Plain {
    type Application = Chain;

    async fn open(&mut self) -> Opened<Chain> {
        self.held = Held::new(self.fault);
        self.reopen().await.unwrap()
    }

    fn command(&mut self, n: u64) -> u64 {
        n + 1
    }

    async fn reopen(&mut self) -> Option<Opened<Chain>> {
        let held = &mut *self.held.borrow_mut();
        let lost =
            self.fault == Some(Fault::LosesTheLastSave) && held.saves - held.saves_before == 5;
        if let Some((stored, log)) = held.before_last_save.take().filter(|_| lost) {
            (held.stored, held.log) = (stored, log);
        }
        held.saves_before = held.saves;
        match self.fault {
            Some(Fault::NewDiskEachTime) => held.stored.disk = new_disk(None),
            Some(Fault::ForgetsSnapshot) => held.stored.snapshot = None,
            Some(Fault::SnapshotWithoutItsState) => {
                held.machine = Replicated::new(Chain::default());
                let included = held.stored.snapshot.as_ref().map(Snapshot::last_included);
                held.stored.last_applied = included.unwrap_or_default().index;
            }
            _ => {}
        }
        let list = List { held: Rc::clone(&self.held), fault: self.fault };
        Some(Ok(list.start().into()))
    }
}

/// A list as a storage.
pub struct List {
    pub held: Rc<RefCell<Held>>,
    pub fault: Option<Fault>,
}

impl List {
    pub fn is(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    fn as_stored(&self, entry: &Entry) -> Entry {
        let payload = match &entry.payload {
            EntryPayload::ConfigChange(membership) => {
                EntryPayload::ConfigChange(self.membership(membership))
            }
            EntryPayload::Normal(command) if self.is(Fault::CutsLongCommands) => {
                EntryPayload::Normal(command.slice(..command.len().min(4096)))
            }
            payload => payload.clone(),
        };
        Entry { payload, ..entry.clone() }
    }

    fn membership(&self, membership: &Arc<MembershipConfig>) -> Arc<MembershipConfig> {
        let address = |address: &Address| match self.is(Fault::LosesAddresses) {
            true => Address::new(address.rpc.clone(), ""),
            false => address.clone(),
        };
        let outgoing = membership.voters_outgoing().cloned();
        let outgoing = outgoing.filter(|_| !self.is(Fault::LosesOutgoingVoters));
        let members = membership.members().iter().map(|(id, of)| (*id, address(of)));
        let voters = membership.voters().iter().copied();
        let stored = MembershipConfig::joint(voters, outgoing, members).unwrap();
        let stored = stored.founded_on(match self.is(Fault::LosesFounders) {
            true => BTreeMap::new(),
            false => membership.founders().clone(),
        });
        let goal = membership.goal().filter(|_| !self.is(Fault::LosesGoal));
        Arc::new(match goal {
            Some(goal) => stored.on_the_way_to(Arc::clone(goal)).unwrap(),
            None => stored,
        })
    }

    fn truncate(&self, held: &mut Held, first: Index) {
        let place = held.place(first);
        held.log.truncate(match self.fault {
            Some(Fault::CutsOneTooMany) if place > 2 && place < held.log.len() => place - 1,
            _ => place,
        });
    }

    pub fn save_base(&self, held: &mut Held, mut base: Base) {
        let known = base.membership.as_ref();
        base.membership = known.map(|(index, base)| (*index, self.membership(base)));
        let included = held.place(base.last_included.index.next()).min(held.log.len());
        let kept = held.log.split_off(included);
        if self.is(Fault::ReadsPurged) {
            held.purged.append(&mut held.log);
        }
        let last_log = held.stored.last_log;
        held.stored.note_base(base);
        let is_contrary = held.stored.last_log == held.stored.base.last_included;
        held.log = match self.fault {
            Some(Fault::PurgesAll) if included > 0 => Vec::new(),
            Some(Fault::KeepsContraryEntries) if is_contrary && !kept.is_empty() => {
                held.stored.last_log = last_log;
                kept
            }
            _ if is_contrary => Vec::new(),
            _ => kept,
        };
    }

    fn save_run(&self, run: &[Entry]) {
        let held = &mut *self.held.borrow_mut();
        let tail = match self.is(Fault::KeepsTheTail) {
            true => {
                let end = held.place(run[run.len() - 1].index.next());
                held.log.get(end..).unwrap_or_default().to_vec()
            }
            false => Vec::new(),
        };
        self.truncate(held, run[0].index);
        for entry in run {
            let entry = self.as_stored(entry);
            let before = held.stored.clone();
            held.stored.note_entry(&entry);
            if self.is(Fault::StaleTermStarts) && before.last_log.index >= entry.index {
                held.stored.term_starts = before.term_starts;
            }
            if self.is(Fault::StaleMemberships) && before.last_log.index >= entry.index {
                held.stored.memberships = before.memberships;
            }
            held.log.push(entry);
        }
        held.log.extend(tail);
    }
}

impl Actor for List {
    type Context = Context<List>;
}

impl Handler<GetInitialState> for List {
    type Result = Result<StoredState, StorageError>;

    fn handle(&mut self, _: GetInitialState, _: &mut Context<Self>) -> Self::Result {
        let held = self.held.borrow();
        let mut stored = held.stored.clone();
        match self.fault {
            Some(Fault::StartsWithATerm) => {
                stored.hard_state.current_term = stored.hard_state.current_term.max(Term(1));
            }
            Some(Fault::AppliedTooMuch) => {
                stored.last_applied.0 += u64::from(stored.last_applied.0 > 0);
            }
            Some(Fault::AppliedIsWrong) => stored.last_applied = stored.last_applied.prev(),
            _ => {}
        }
        Ok(stored)
    }
}

impl Handler<SaveLog> for List {
    type Result = ResponseFuture<Result<(), StorageError>>;

    fn handle(&mut self, SaveLog { save }: SaveLog, ctx: &mut Context<Self>) -> Self::Result {
        let number = {
            let held = &mut *self.held.borrow_mut();
            held.saves += 1;
            held.before_last_save = Some((held.stored.clone(), held.log.clone()));
            let with_entries = !save.entries.is_empty() && self.is(Fault::NoTermWithEntries);
            if let Some(mut hard_state) = save.hard_state.filter(|_| !with_entries) {
                let voted_for = hard_state.voted_for;
                hard_state.voted_for = voted_for.filter(|id| match self.fault {
                    Some(Fault::ForgetsVote) => false,
                    Some(Fault::VoteZeroIsNone) => id.0 != 0,
                    _ => true,
                });
                hard_state.trusted &= !self.is(Fault::ForgetsTrust);
                held.stored.hard_state = hard_state;
            }
            if let Some(base) = save.base.filter(|_| !self.is(Fault::ForgetsBase)) {
                self.save_base(held, base);
            }
            held.saves
        };
        let most = match self.fault {
            Some(Fault::KeepsFirstRunOnly) => 1,
            Some(Fault::TiresOfManySaves) if number > 500 => 0,
            _ => save.entries.len(),
        };
        let runs: Vec<_> = save.entries.into_iter().take(most).collect();
        runs.iter().for_each(|run| self.save_run(run));
        if self.is(Fault::TornInMemory) {
            let (done, finished) = oneshot::channel();
            self.held.borrow_mut().unfinished += 1;
            ctx.notify(Finish(done));
            return Box::pin(async { finished.await.map_err(StorageError::new) });
        }
        let slow = self.is(Fault::AnswersOutOfOrder) && number.is_multiple_of(2);
        if self.is(Fault::RefusesTheHundredth) && number.is_multiple_of(100) {
            return Box::pin(async { Err(StorageError::new("too busy")) });
        }
        Box::pin(async move {
            if slow {
                tokio::task::yield_now().await;
            }
            Ok(())
        })
    }
}

/// The rest of a save, done after what is in the mailbox already.
struct Finish(oneshot::Sender<()>);

impl Message for Finish {
    type Result = ();
}

impl Handler<Finish> for List {
    type Result = ();

    fn handle(&mut self, Finish(done): Finish, _: &mut Context<Self>) {
        self.held.borrow_mut().unfinished -= 1;
        let _ = done.send(());
    }
}

impl Handler<ReadLog> for List {
    type Result = Result<Vec<Entry>, StorageError>;

    fn handle(&mut self, read: ReadLog, _: &mut Context<Self>) -> Self::Result {
        let held = self.held.borrow();
        let end = held.place(read.last.next()) - usize::from(self.is(Fault::ReadsOneTooFew));
        let start = held.place(read.first);
        let is_purged = read.first <= held.stored.base.last_included.index;
        let Some(entries) = held.log.get(start..end).filter(|_| !is_purged) else {
            let is_read = |entry: &&Entry| (read.first..=read.last).contains(&entry.index);
            return match self.is(Fault::ErrorIfGone) {
                true => Err(StorageError::new("no such entries")),
                false => Ok(held.purged.iter().filter(is_read).cloned().collect()),
            };
        };
        let mut bytes = 0;
        let fits = |entry: &&Entry| {
            let first = bytes == 0 && !self.is(Fault::NothingIfTooLarge);
            bytes += entry.weight();
            first || bytes <= read.max_bytes || self.is(Fault::IgnoresMaxBytes)
        };
        let mut entries: Vec<Entry> = entries.iter().take_while(fits).cloned().collect();
        if held.unfinished > 0 {
            entries.pop();
        }
        Ok(entries)
    }
}

impl Handler<Apply<Chain>> for List {
    type Result = ResponseFuture<Result<Vec<Outcome<u64>>, StorageError>>;

    fn handle(&mut self, apply: Apply<Chain>, ctx: &mut Context<Self>) -> Self::Result {
        let held = &mut *self.held.borrow_mut();
        let mut outcomes = Vec::new();
        if self.is(Fault::BuildOvertakesApply) {
            held.before_apply = Some(held.capture());
            ctx.notify(Settle);
        }
        for entry in apply.entries.iter() {
            let applied = held.machine.apply(std::slice::from_ref(entry));
            outcomes.extend(applied.unwrap());
            if entry.payload == EntryPayload::Blank && self.is(Fault::ResponseToBlank) {
                outcomes.push(Outcome::Response(0));
            }
            held.stored.last_applied = entry.index;
        }
        match self.fault {
            Some(Fault::OneResponseTooFew) => drop(outcomes.pop()),
            Some(Fault::ResponsesReversed) => outcomes.reverse(),
            _ => {}
        }
        held.build_late();
        Box::pin(async { Ok(outcomes) })
    }
}
