//! Storages that break one contract each.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use actix::{Actor, AsyncContext, Context, Handler, Message, ResponseFuture};
use actix_raft::application::StateMachine;
use actix_raft::durable::Disk;
use actix_raft::messages::{Address, Entry, EntryPayload, Index, MembershipConfig, Term};
use actix_raft::replicated::command;
use actix_raft::storage::{
    Apply, BuildSnapshot, GetInitialState, InstallSnapshot, Outcome, ReadLog, ReadSnapshot, Save,
    SaveLog, Snapshot, SnapshotChunk, Storage, StorageError, StoreSnapshotChunk, StoredState,
    WatchDiskSpace,
};
use actix_raft_sim::conformance::{CrashDisk, Opened, Subject};
use bytes::Bytes;
use tokio::sync::oneshot;

use crate::subjects::{Chain, open_on};

/// What a plain list does wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    StartsWithATerm,
    ForgetsVote,
    VoteZeroIsNone,
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
}

/// What outlives the actor.
#[derive(Default)]
struct Held {
    stored: StoredState,
    log: Vec<Entry>,
    machine: Chain,
    saves: usize,
    saves_before: usize,
    unfinished: usize,
    before_last_save: Option<(StoredState, Vec<Entry>)>,
}

/// A storage that lives as long as its subject, and may have a fault.
pub struct Plain {
    held: Rc<RefCell<Held>>,
    fault: Option<Fault>,
}

impl Plain {
    pub fn new(fault: Option<Fault>) -> Plain {
        Plain { held: Rc::default(), fault }
    }
}

impl Subject for Plain {
    type Application = Chain;

    async fn open(&mut self) -> Opened<Chain> {
        self.held = Rc::default();
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
        let list = List { held: Rc::clone(&self.held), fault: self.fault };
        Some(Ok(list.start().into()))
    }
}

struct List {
    held: Rc<RefCell<Held>>,
    fault: Option<Fault>,
}

impl List {
    fn is(&self, fault: Fault) -> bool {
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
        Arc::new(MembershipConfig::joint(voters, outgoing, members).unwrap())
    }

    fn truncate(&self, held: &mut Held, first: Index) {
        let place = first.prev().0 as usize;
        held.log.truncate(match self.fault {
            Some(Fault::CutsOneTooMany) if place > 2 && place < held.log.len() => place - 1,
            _ => place,
        });
    }

    fn save_run(&self, run: &[Entry]) {
        let held = &mut *self.held.borrow_mut();
        let tail = match self.is(Fault::KeepsTheTail) {
            true => {
                held.log.get(run[run.len() - 1].index.0 as usize..).unwrap_or_default().to_vec()
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
                held.stored.hard_state = hard_state;
            }
            if let Some(mut base) = save.base.filter(|_| !self.is(Fault::ForgetsBase)) {
                let known = base.membership.as_ref();
                base.membership = known.map(|(index, base)| (*index, self.membership(base)));
                held.stored.note_base(base);
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
        let end = read.last.0 as usize - usize::from(self.is(Fault::ReadsOneTooFew));
        let start = read.first.prev().0 as usize;
        let Some(entries) = held.log.get(start..end) else {
            return match self.is(Fault::ErrorIfGone) {
                true => Err(StorageError::new("no such entries")),
                false => Ok(Vec::new()),
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

    fn handle(&mut self, apply: Apply<Chain>, _: &mut Context<Self>) -> Self::Result {
        let held = &mut *self.held.borrow_mut();
        let mut responses = Vec::new();
        for entry in apply.entries.iter() {
            match &entry.payload {
                EntryPayload::Normal(payload) => {
                    let command = command::<Chain>(Bytes::clone(payload)).unwrap().unwrap();
                    responses.push(Outcome::Response(held.machine.apply(entry.index, command)));
                }
                EntryPayload::Blank if self.is(Fault::ResponseToBlank) => {
                    responses.push(Outcome::Response(0));
                }
                EntryPayload::Blank | EntryPayload::ConfigChange(_) => {}
            }
            held.stored.last_applied = entry.index;
        }
        match self.fault {
            Some(Fault::OneResponseTooFew) => drop(responses.pop()),
            Some(Fault::ResponsesReversed) => responses.reverse(),
            _ => {}
        }
        Box::pin(async { Ok(responses) })
    }
}

/// The suite does not ask about snapshots: none are taken.
macro_rules! without_snapshots {
    ($storage:ty) => {
        impl Handler<BuildSnapshot> for $storage {
            type Result = Result<Option<Snapshot>, StorageError>;

            fn handle(&mut self, _: BuildSnapshot, _: &mut Context<Self>) -> Self::Result {
                Ok(None)
            }
        }

        impl Handler<ReadSnapshot> for $storage {
            type Result = Result<Option<SnapshotChunk>, StorageError>;

            fn handle(&mut self, _: ReadSnapshot, _: &mut Context<Self>) -> Self::Result {
                Ok(None)
            }
        }

        impl Handler<StoreSnapshotChunk> for $storage {
            type Result = Result<u64, StorageError>;

            fn handle(&mut self, _: StoreSnapshotChunk, _: &mut Context<Self>) -> Self::Result {
                Ok(0)
            }
        }

        impl Handler<InstallSnapshot> for $storage {
            type Result = Result<bool, StorageError>;

            fn handle(&mut self, _: InstallSnapshot, _: &mut Context<Self>) -> Self::Result {
                Ok(false)
            }
        }

        impl Handler<WatchDiskSpace> for $storage {
            type Result = ();

            fn handle(&mut self, _: WatchDiskSpace, _: &mut Context<Self>) {}
        }
    };
}

without_snapshots!(List);
without_snapshots!(Wrapper);

/// What a wrapper around the durable storage does wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Flaw {
    AcknowledgesBeforeSync,
    SplitsSaves,
    GoesOnAfterAnError,
    FailsToOpen,
}

/// The durable storage, with a flaw that only shows when its disk fails.
pub struct WithFlaw {
    flaw: Option<Flaw>,
}

impl WithFlaw {
    pub fn new(flaw: Option<Flaw>) -> WithFlaw {
        WithFlaw { flaw }
    }
}

impl Subject for WithFlaw {
    type Application = Chain;

    async fn open(&mut self) -> Opened<Chain> {
        open_on(Arc::new(CrashDisk::new()))
    }

    fn command(&mut self, n: u64) -> u64 {
        n + 1
    }

    async fn open_on(&mut self, disk: CrashDisk) -> Option<Opened<Chain>> {
        let was_used = disk.list().is_ok_and(|names| !names.is_empty());
        if self.flaw == Some(Flaw::FailsToOpen) && was_used {
            return Some(Err(StorageError::new("the lock file of a dead process is there")));
        }
        let wrapped = |inner| Wrapper { inner, flaw: self.flaw, failed: Rc::default() };
        Some(open_on(Arc::new(disk)).map(|inner| wrapped(inner).start().into()))
    }
}

struct Wrapper {
    inner: Storage<Chain>,
    flaw: Option<Flaw>,
    failed: Rc<RefCell<bool>>,
}

fn flat<T, E: std::fmt::Display>(
    result: Result<Result<T, StorageError>, E>,
) -> Result<T, StorageError> {
    result.map_err(StorageError::new)?
}

impl Actor for Wrapper {
    type Context = Context<Wrapper>;
}

impl Handler<GetInitialState> for Wrapper {
    type Result = ResponseFuture<Result<StoredState, StorageError>>;

    fn handle(&mut self, _: GetInitialState, _: &mut Context<Self>) -> Self::Result {
        let request = self.inner.initial_state();
        Box::pin(async { flat(request.await) })
    }
}

impl Handler<SaveLog> for Wrapper {
    type Result = ResponseFuture<Result<(), StorageError>>;

    fn handle(&mut self, SaveLog { save }: SaveLog, _: &mut Context<Self>) -> Self::Result {
        let failed = Rc::clone(&self.failed);
        match self.flaw {
            Some(Flaw::AcknowledgesBeforeSync) => {
                let request = self.inner.save(save);
                actix::spawn(async { drop(request.await) });
                Box::pin(async { Ok(()) })
            }
            Some(Flaw::SplitsSaves) => {
                let (hard_state, base) = (save.hard_state, save.base);
                let first = self.inner.save(Save { hard_state, base, entries: Vec::new() });
                let second = Save { entries: save.entries, ..Save::default() };
                let inner = self.inner.save(Save::default());
                let second = self.inner.save(second);
                Box::pin(async {
                    flat(first.await)?;
                    flat(inner.await)?;
                    flat(second.await)
                })
            }
            Some(Flaw::GoesOnAfterAnError) => {
                let request = self.inner.save(save);
                Box::pin(async move {
                    let result = flat(request.await);
                    match failed.replace(result.is_err()) {
                        true => Ok(()),
                        false => result,
                    }
                })
            }
            Some(Flaw::FailsToOpen) | None => {
                let request = self.inner.save(save);
                Box::pin(async { flat(request.await) })
            }
        }
    }
}

impl Handler<ReadLog> for Wrapper {
    type Result = ResponseFuture<Result<Vec<Entry>, StorageError>>;

    fn handle(&mut self, read: ReadLog, _: &mut Context<Self>) -> Self::Result {
        let request = self.inner.read(read);
        Box::pin(async { flat(request.await) })
    }
}

impl Handler<Apply<Chain>> for Wrapper {
    type Result = ResponseFuture<Result<Vec<Outcome<u64>>, StorageError>>;

    fn handle(&mut self, apply: Apply<Chain>, _: &mut Context<Self>) -> Self::Result {
        let request = self.inner.apply(apply.entries);
        Box::pin(async { flat(request.await) })
    }
}
