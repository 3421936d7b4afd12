//! The conformance suite for storages: whoever writes a storage for a node calls one function and
//! has every contract checked on which the node relies.
//!
//! ```text
//!   Subject                        check
//!     open, command  ---------->   saves, reads, applies; compares with a plain list; has snapshots
//!                                  built by one storage and installed by another
//!     reopen (if it can)  ----->   the same with restarts in between
//!     open_on (if it can)  ---->   the same on a disk whose power fails at operation 1, 2, 3, ...
//!                                       |
//!                                       v
//!                        Report, or Failure: which contract, what was done, expected, found
//! ```
//!
//! A node trusts its storage blindly: a vote that is forgotten makes two leaders, an entry that is
//! acknowledged and lost makes two histories, and neither shows before the wrong machine fails at
//! the wrong moment. So the suite asks everything that a node may ask, in the orders in which it
//! may ask it, many saves outstanding at a time. [`Contract`] is the list.
//!
//! What a storage can't do is not asked of it: one in memory can't be reopened, some state machines
//! take no snapshots, and only a storage that does its I/O through
//! [`Disk`](actix_raft::durable::Disk) can have its power switched off.
//! [`Report::skipped`] says what was left out.
//!
//! # Checking a storage
//!
//! ```
//! use std::convert::Infallible;
//!
//! use actix::Actor;
//! use actix_raft::application::{Application, DecodeError, StateMachine};
//! use actix_raft::messages::Index;
//! use actix_raft::testing::MemoryStorage;
//! use actix_raft_sim::conformance::{Contract, Opened, Subject, check};
//! use bytes::Bytes;
//!
//! /// Remembers the last command; its response is the one before it.
//! #[derive(Default)]
//! struct Register(Bytes);
//!
//! impl Application for Register {
//!     type Command = Bytes;
//!     type Response = Bytes;
//!     type Rejection = Infallible;
//!
//!     fn encode(value: Bytes) -> Bytes {
//!         value
//!     }
//!
//!     fn decode(bytes: Bytes) -> Result<Bytes, DecodeError> {
//!         Ok(bytes)
//!     }
//! }
//!
//! impl StateMachine for Register {
//!     fn apply(&mut self, _: Index, value: Bytes) -> Bytes {
//!         std::mem::replace(&mut self.0, value)
//!     }
//! }
//!
//! /// A storage in memory, to be checked.
//! struct InMemory;
//!
//! impl Subject for InMemory {
//!     type Application = Register;
//!
//!     async fn open(&mut self) -> Opened<Register> {
//!         Ok(MemoryStorage::new(Register::default()).start().into())
//!     }
//!
//!     fn command(&mut self, n: u64) -> Bytes {
//!         n.to_string().into()
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let report = actix::System::new().block_on(check(&mut InMemory))?;
//! assert!(report.held.contains(&Contract::MaxBytes));
//! assert!(report.skipped.contains(&Contract::PowerFailure));
//! # Ok(())
//! # }
//! ```

mod contract;
mod crash;
mod history;
mod machine;
mod model;
mod probe;
mod purging;
mod reading;
mod samples;
mod saving;
mod snapshots;
mod transfer;

use std::fmt::{self, Debug};
use std::future::{Future, ready};

use actix_raft::application::Application;
use actix_raft::storage::{DiskId, Storage, StorageError, StoredState};
pub use actix_raft_log::crash::CrashDisk;

pub use self::contract::{Contract, Failure};
use self::model::Model;
use self::probe::Probe;
use self::samples::Samples;

/// A storage that was opened and started as an actor, or why it could not be.
pub type Opened<A> = Result<Storage<A>, StorageError>;

/// The storage to be checked: how to open it, and what it can do.
///
/// The suite drops a storage before it asks to have it opened again, so that its actor ends once
/// nobody else has its address. Others may be running meanwhile: snapshots go from one to another.
pub trait Subject {
    /// The application whose commands the storage applies. Its responses are compared with each
    /// other, so best they tell what was applied and in which order.
    type Application: Application<Response: PartialEq + Debug>;

    /// Opens a new storage that holds nothing, with a state machine that nothing was applied to,
    /// and starts it as an actor. Every call opens another, beside those that are open, all of the
    /// same cluster.
    fn open(&mut self) -> impl Future<Output = Opened<Self::Application>>;

    /// The `n`-th command; the same each time. Different commands best have different responses.
    fn command(&mut self, n: u64) -> <Self::Application as Application>::Command;

    /// Opens once more the storage that was opened last by [`Subject::open`], as after a restart of
    /// its process; its state machine holds what survives that. Nobody has an address of the actor
    /// any more, but it may not have ended yet: this waits until it has. Saves that were not
    /// answered may be stored or not.
    ///
    /// `None`, the default, says that the storage does not outlive its actor. It is then asked what
    /// it holds while it runs, and must answer what it held at first or what it holds now.
    fn reopen(&mut self) -> impl Future<Output = Option<Opened<Self::Application>>> {
        ready(None)
    }

    /// Opens the storage on this disk, with what it holds: nothing at first; later what an earlier
    /// storage left there when the power failed. The state machine holds what survives that.
    /// Segments, pages and buffers are best small, so that a few saves fill them, and the suite is
    /// done soon.
    ///
    /// `None`, the default, says that the storage can't run on this disk.
    fn open_on(
        &mut self,
        disk: CrashDisk,
    ) -> impl Future<Output = Option<Opened<Self::Application>>> {
        let _ = disk;
        ready(None)
    }
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The contracts that were checked, and hold.
    pub held: Vec<Contract>,
    /// The contracts that can't be checked on this storage.
    pub skipped: Vec<Contract>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut list = |mark, contracts: &[Contract]| {
            contracts.iter().try_for_each(|contract| writeln!(f, "{mark} {contract}"))
        };
        list("holds:      ", &self.held)?;
        list("not checked:", &self.skipped)
    }
}

/// Checks everything; to be called where actors run, such as in `actix::System::block_on`. The same
/// is done each time, but for the threads that a storage has.
///
/// # Errors
/// The first contract that is broken.
pub async fn check<S: Subject>(subject: &mut S) -> Result<Report, Failure> {
    let samples = Samples::of(subject);
    let (reopens, takes_snapshots, report) = (false, false, Report::default());
    let mut suite = Suite { subject, samples, reopens, takes_snapshots, report };
    suite.starts_empty().await?;
    suite.check_disk().await?;
    suite.check_reading().await?;
    suite.check_saving().await?;
    suite.check_machine().await?;
    suite.check_snapshots().await?;
    suite.check_history().await?;
    suite.check_crashes().await?;
    Ok(suite.report)
}

/// The suite as it goes on.
struct Suite<'a, S> {
    subject: &'a mut S,
    samples: Samples,
    /// Whether the subject can be reopened.
    reopens: bool,
    /// Whether its state machine takes snapshots.
    takes_snapshots: bool,
    report: Report,
}

impl<S: Subject> Suite<'_, S> {
    fn holds(&mut self, contract: Contract) {
        self.report.held.push(contract);
    }

    fn skip(&mut self, contract: Contract) {
        self.report.skipped.push(contract);
    }

    async fn open(&mut self, contract: Contract) -> Result<Probe<S::Application>, Failure> {
        let probe = probe::open(self.subject, contract).await?;
        // A node asks this first, too.
        probe.initial_state().await?;
        Ok(probe)
    }

    async fn starts_empty(&mut self) -> Result<(), Failure> {
        let contract = Contract::StartsEmpty;
        let is_empty = async |probe: &Probe<S::Application>| {
            let found = probe.initial_state().await?;
            // Which disk it is, is another matter.
            let empty = StoredState { disk: found.disk, ..StoredState::default() };
            match found == empty {
                true => Ok(()),
                false => Err(probe.failure(format!("{empty:?}"), format!("{found:?}"))),
            }
        };
        let probe = probe::open(self.subject, contract).await?;
        is_empty(&probe).await?;
        probe.save(samples::vote(1, Some(1))).await?;
        probe.save(self.samples.save([(1, 1..=3)])).await?;
        drop(probe);
        let mut probe = probe::open(self.subject, contract).await?;
        probe.step("another new storage is opened");
        is_empty(&probe).await?;
        drop(probe);
        if let Some(opened) = self.subject.reopen().await {
            self.reopens = true;
            let step = "the new storage is opened again".to_string();
            is_empty(&Probe::new(opened, contract, step)?).await?;
        }
        self.holds(contract);
        Ok(())
    }

    /// Each new storage is on a disk of its own, which is the same after a restart.
    async fn check_disk(&mut self) -> Result<(), Failure> {
        let contract = Contract::DiskId;
        let first = self.open(contract).await?.initial_state().await?.disk;
        if first == DiskId::UNKNOWN {
            self.skip(contract);
            return Ok(());
        }
        let mut probe = self.open(contract).await?;
        let second = probe.initial_state().await?.disk;
        if second == first {
            probe.step("another new storage is opened");
            return Err(probe.failure("another disk", format!("the same: {second:?}")));
        }
        probe.save(self.samples.save([(1, 1..=3)])).await?;
        if self.reopens {
            drop(probe);
            let step = "the storage is opened again".to_string();
            let probe = self.reopen(contract, step).await?;
            let found = probe.initial_state().await?.disk;
            if found != second {
                return Err(probe.failure(format!("{second:?}"), format!("{found:?}")));
            }
        }
        self.holds(contract);
        Ok(())
    }

    /// Has the storage opened again if it can be; it must hold what the list says.
    async fn found_again(
        &mut self,
        mut probe: Probe<S::Application>,
        model: &Model,
        after: &str,
    ) -> Result<Probe<S::Application>, Failure> {
        if self.reopens {
            let contract = probe.contract();
            drop(probe);
            probe = self.reopen(contract, format!("it is opened again after {after}")).await?;
            let state = probe.initial_state().await?;
            probe.compare_states(model, &state)?;
        } else {
            probe.step(format!("it is asked what it holds after {after}"));
            let state = probe.initial_state().await?;
            if !state.is_pristine() || state.hard_state != Default::default() {
                probe.compare_states(model, &state)?;
            }
        }
        probe.check_log(model).await?;
        Ok(probe)
    }
}
