//! A snapshot on its way from a leader to this server's disk, and into its state machine (§7).
//!
//! ```text
//!   Pieces ----- all are on disk -----> Waiting -- nothing is applied or built --> Installing
//!     ^  another takes its place                                                     |
//!     +-------------------------------- it was damaged ------------------------------+--> in place
//! ```
//!
//! While it waits or installs, nothing is applied, no snapshot is taken, and the server does not
//! stand for election: it lacks committed entries, so it could not win.

use crate::message::InstallSnapshotRequest;
use crate::node::Node;
use crate::snapshot::Snapshot;
use crate::types::{Index, LogPosition, Term};

/// How many pieces may wait for the storage. A leader sends two; more come from a disk that hangs
/// and a leader that asks and asks.
const MAX_STORING: usize = 8;

/// What a server knows of a snapshot that it receives.
#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct Receiving {
    incoming: Option<Incoming>,
    /// The snapshot of the pieces that the storage has not reported as stored, and how many there
    /// are. One snapshot at a time, so that a report tells which it is about.
    storing: Option<(Snapshot, usize)>,
}

#[derive(Clone, Debug, Hash)]
struct Incoming {
    snapshot: Snapshot,
    /// The term of the leader that sent it.
    term: Term,
    step: Step,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Step {
    Pieces,
    Waiting,
    Installing,
}

/// What to do with a piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// To be stored.
    Store,
    /// All pieces are here: the answer is its size.
    AllHere,
    /// Old news, or there is no room for it now; the leader will ask again.
    Ignore,
}

impl Receiving {
    /// Whether a snapshot is complete and about to take the state machine's place.
    pub(crate) fn is_installing(&self) -> bool {
        self.incoming.as_ref().is_some_and(|incoming| incoming.step != Step::Pieces)
    }

    /// The snapshot that is complete and waits for the state machine to be idle.
    pub(crate) fn waiting(&self) -> Option<&Snapshot> {
        self.incoming.as_ref().filter(|i| i.step == Step::Waiting).map(|i| &i.snapshot)
    }

    /// A piece of a snapshot that this server needs arrived from its leader. If it is to be stored,
    /// it counts as handed to the storage.
    pub(crate) fn on_piece(&mut self, request: &InstallSnapshotRequest) -> Piece {
        let InstallSnapshotRequest { term, snapshot, .. } = request;
        let mut step = Step::Pieces;
        if let Some(incoming) = &self.incoming {
            let is_same = incoming.snapshot == *snapshot;
            if incoming.step != Step::Pieces && is_same {
                return Piece::AllHere;
            }
            // A leader's snapshots only grow: this piece was overtaken by one of a later snapshot.
            let overtaken = *term == incoming.term
                && snapshot.last_included() < incoming.snapshot.last_included();
            if overtaken || incoming.step == Step::Installing {
                return Piece::Ignore;
            }
            if is_same {
                step = incoming.step;
            }
        }
        match &mut self.storing {
            Some((storing, count)) => {
                if *storing != *snapshot || *count >= MAX_STORING {
                    return Piece::Ignore;
                }
                *count += 1;
            }
            None => self.storing = Some((snapshot.clone(), 1)),
        }
        self.incoming = Some(Incoming { snapshot: snapshot.clone(), term: *term, step });
        Piece::Store
    }

    /// The storage has so many bytes now. Returns whether that is all of the snapshot that is being
    /// received, if it is about that one.
    pub(crate) fn on_stored(&mut self, of: LogPosition, received: u64) -> Option<bool> {
        let (snapshot, count) = self.storing.take_if(|(s, _)| s.last_included() == of)?;
        let is_all = received >= snapshot.size;
        let is_current = |i: &Incoming| i.snapshot == snapshot && i.step == Step::Pieces;
        let is_current = self.incoming.as_ref().is_some_and(is_current);
        self.storing = (count > 1).then(|| (snapshot, count - 1));
        is_current.then_some(is_all)
    }

    /// All pieces are here: it is installed as soon as the state machine is idle.
    pub(crate) fn wait(&mut self) {
        self.set_step(Step::Waiting);
    }

    /// The state machine is idle, and the storage is told to install it.
    pub(crate) fn install(&mut self) {
        self.set_step(Step::Installing);
    }

    fn set_step(&mut self, step: Step) {
        if let Some(incoming) = &mut self.incoming {
            incoming.step = step;
        }
    }

    /// The storage is done with it. Returns the snapshot, if this is the one that it was told to
    /// install.
    pub(crate) fn end_install(&mut self, last_included: LogPosition) -> Option<Snapshot> {
        let is_it = |i: &mut Incoming| {
            i.step == Step::Installing && i.snapshot.last_included() == last_included
        };
        self.incoming.take_if(is_it).map(|incoming| incoming.snapshot)
    }

    /// A snapshot that includes no more than this is needed no more.
    pub(crate) fn forget_up_to(&mut self, index: Index) {
        if self.incoming.as_ref().is_some_and(|i| i.snapshot.last_included().index <= index) {
            self.forget();
        }
    }

    /// It is needed no more, unless the storage is installing it already.
    pub(crate) fn forget(&mut self) {
        self.incoming.take_if(|incoming| incoming.step != Step::Installing);
    }
}

/// What of a snapshot of a leader of the current or a later term contradicts this server's own log:
/// no leader that it could have sends that.
pub(crate) fn contradiction(node: &Node, snapshot: &Snapshot) -> Option<&'static str> {
    let at = snapshot.last_included();
    // Up to the commit index all logs are the same; after it, terms never fall.
    let differs = if at.index <= node.commit_index {
        node.log.term_at(at.index).is_some_and(|term| term != at.term)
    } else {
        node.log.term_at(node.commit_index).is_some_and(|term| term > at.term)
    };
    differs.then_some("a snapshot without a committed entry (§5.4)")
}
