//! Lost disks: a server that comes back under its old id and has forgotten everything must not act as
//! if it had promised nothing. Raft's servers never forget (§5.2, Figure 2, "persistent state"), so
//! this is not in the paper.
//!
//! What a server says binds it: a vote, and "your entries are on my disk". Both are only worth
//! something as long as the server remembers them. So every disk has an id, drawn at random when it is
//! first used ([`DiskId`]), and a server starts *untrusted* on a new one: it stores what leaders send,
//! but has no vote, can't be elected, and its answers don't count, neither for commitment nor for
//! reads. Then it becomes trusted, for as long as it has that disk, and that is saved with its term and
//! vote. Below, `S` is a server, `X` the disk that it lost and `Y` its new one.
//!
//! # How a server becomes trusted again
//!
//! ```text
//!   S(Y)  "matched 0, my disk is Y, don't trust me"  -->  leader L of term t
//!                                                         appends an entry, the proof p, unless it
//!                                                         has appended one since it heard Y
//!         <--------------- entries ---------------------
//!         ------------ "matched p" -------------------->  others store p, so that no quorum is
//!                                                         without one of them (S does not count),
//!                                                         and S has p:  L vouches for Y
//!         <-- AppendEntries that names Y, commit c -----
//!   its log is L's up to c: trusted; its vote of term t is L's (one atomic save)
//! ```
//!
//! *Claim:* from there on, all is as if `S` had never lost its disk.
//!
//! * When `L` heard `Y`, `X` was gone (a server has one disk at a time), and `p` was appended after
//!   that. By leader completeness (§5.4.3, with `S` as a server that crashed when it lost `X`), every
//!   leader of a term after `t` has `p`.
//! * *Votes of `X`, terms after `t`:* a candidate `C` that has `p` stored it after `X` was gone, in a
//!   term that was not after `t` or as the follower of a later leader. So whatever it asked `X` for was
//!   for a term that `C` has left. A candidate that does not have `p` wins no term after `t`. Therefore
//!   no vote of `X` in such a term decides anything. There was no leader of such a term while `X`
//!   lived either (it would lack `p`), so `X` acknowledged nothing in one.
//! * *Votes of `X`, terms up to `t`:* `Y` has entered `t`, with its vote given to `L`: it votes in none
//!   of them again.
//! * *Acknowledgements of `X`:* what they committed in earlier terms is in `L`'s log before `p`. What
//!   `X` acknowledged to `L` is, too, and `L` has dropped the rest: it counts answers of one disk at a
//!   time. `Y` has all up to `p` when it becomes trusted.
//!
//! *Old answers.* Messages may be late, so which of two disks is the one that is gone? `L` notes in
//! which of its rounds it first heard a disk, and believes another one only if that answers a *later*
//! round: it was alive after the first was, and a lost disk does not come back. Answers of any other
//! disk than the one believed change nothing.
//!
//! # How a cluster is formed
//!
//! A server of a new cluster is on a new disk, too, and nobody could vouch for it. So
//!
//! * an untrusted server whose log is empty may stand, and votes for candidates whose log is empty;
//! * who is elected with an empty log has formed the cluster: it is trusted from its first entry on
//!   (one atomic save). That entry, the first configuration, names the *founders*: the disks of those
//!   who elected it;
//! * every leader vouches for the founders' disks from the start, and every candidate names the
//!   voter's disk in its request if it is a founder's, so that the founder may vote for it. So whoever
//!   may have stored the first entry can be elected by the others that formed the cluster, and a first
//!   leader that is lost at once does not leave servers behind that trust nobody.
//!
//! A trusted server thus always has a log that is not empty, and votes for nobody whose log is. Once
//! something is committed, a quorum is trusted, and no candidate with an empty log can be elected
//! beside it, however many ask: servers that lost their disks can't form a second cluster out of the
//! members of the first while fewer than a quorum of them did. A founder's disk needs no proof: it has
//! been there from the beginning. Servers that were not heard at the formation become trusted like `S`
//! above, when the leader hears them.
//!
//! # When `n` is small or even
//!
//! What makes a quorum safe is that every other quorum contains one of its members that remembers. So
//! a candidate also wins if *all* voters but the untrusted ones vote for it, if those are too few for
//! a quorum (`Candidate::tally`), and a proof is good when no
//! quorum is without a server that has it. For three or five servers this changes nothing. Of two
//! servers, it lets the one that has its disk take the other one back.
//!
//! While a change of the members is joint, every majority of the old and every one of the new voters
//! counts here: servers that do not have the joint entry, or have the final one, decide by one alone.
//!
//! # What nothing can detect
//!
//! If those who remember are not enough to refuse, the others can't know that there was anything:
//! servers with new disks look the same whether their cluster is new or lost. All of this holds as
//! long as
//!
//! * no server loses its disk before the cluster's first entry is committed, and
//! * after that, between two moments at which all voters are trusted, fewer than a quorum of them lose
//!   their disk, where a voter that was never heard yet counts as one that lost it.
//!
//! An old copy of a disk that is put back is not told from the disk itself. And a storage that does not
//! tell its disks apart ([`DiskId::UNKNOWN`]) is taken at its word: its server is trusted.

use crate::mutants::{Mutant, is_planted};
use crate::node::Node;
use crate::types::{DiskId, Index, LogPosition, NodeId};

impl Node {
    /// Whether this server remembers all that it ever promised.
    pub(crate) fn is_trusted(&self) -> bool {
        self.hard_state().trusted
            || self.disk == DiskId::UNKNOWN
            || is_planted(Mutant::WipedServerVotes)
    }

    /// Whether what this server has forgotten, if anything, allows it to stand for election.
    pub(crate) fn may_be_elected(&self) -> bool {
        self.is_trusted() || self.log.last() == LogPosition::ZERO
    }

    /// Whether it allows this server to vote for a candidate with this log, who names this disk as
    /// the voter's.
    pub(crate) fn may_vote(&self, candidate: LogPosition, named: DiskId) -> bool {
        let forms_cluster = candidate == LogPosition::ZERO && self.log.last() == LogPosition::ZERO;
        self.is_trusted() || forms_cluster || named == self.disk
    }

    /// The voter's disk, if this server's log says that the cluster was formed with it.
    pub(crate) fn founder(&self, id: NodeId) -> DiskId {
        let founders = self.membership().map(|(_, membership)| membership.founders());
        founders.and_then(|disks| disks.get(&id)).copied().unwrap_or(DiskId::UNKNOWN)
    }
}

/// A follower's disk in the leader's eyes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FollowerDisk {
    /// The disk that is believed; `None` before any was heard, if the follower is no founder.
    id: Option<DiskId>,
    /// The leader's round when it was heard first, if it was: another disk that answers a later one
    /// is newer.
    since: Option<u64>,
    standing: Standing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Standing {
    /// The follower says that it is trusted.
    Trusted,
    /// This leader vouches for it, and it may not know yet.
    Vouched,
    /// They don't before enough others have this entry, and the follower, too.
    Doubted { proof: Index },
    /// Enough others have it.
    Proven { proof: Index },
}

/// What an answer tells of a follower's disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// It is the one that is believed.
    Same,
    /// It is another one, and all that was known of the follower is gone.
    New,
    /// It is, or may be, one that is gone.
    Old,
}

impl FollowerDisk {
    /// Of a follower that was not heard in this leader's term, and the disk that it had as a founder
    /// of the cluster, if it is one.
    pub(crate) fn new(founder: DiskId) -> FollowerDisk {
        let id = (founder != DiskId::UNKNOWN).then_some(founder);
        FollowerDisk { id, since: None, standing: Standing::Vouched }
    }

    /// An answer came from this disk, which names a round of the leader, who is now in round `now`
    /// and whose next entry will be `next`.
    pub(crate) fn hear(
        &mut self,
        (disk, trusted): (DiskId, bool),
        round: u64,
        now: u64,
        next: Index,
    ) -> Heard {
        match self.id {
            Some(believed) if believed == disk => {
                self.since.get_or_insert(now);
                if trusted {
                    self.standing = Standing::Trusted;
                }
                return Heard::Same;
            }
            Some(_) if is_planted(Mutant::LostDiskCounts) => return Heard::Same,
            Some(_) if self.since.is_some_and(|since| round <= since) => return Heard::Old,
            _ => {}
        }
        let standing = match trusted || is_planted(Mutant::NewDiskCountsAtOnce) {
            true => Standing::Trusted,
            false => Standing::Doubted { proof: next },
        };
        let heard = if self.since.is_some() { Heard::New } else { Heard::Same };
        *self = FollowerDisk { id: Some(disk), since: Some(now), standing };
        heard
    }

    /// Whether the follower's answers count.
    pub(crate) fn counts(&self) -> bool {
        matches!(self.standing, Standing::Trusted | Standing::Vouched)
    }

    /// Whether the follower may vote, and be elected.
    pub(crate) fn is_trusted(&self) -> bool {
        self.standing == Standing::Trusted
    }

    /// The disk to name to the follower, if the leader vouches for it.
    pub(crate) fn vouched(&self) -> DiskId {
        self.id.filter(|_| self.counts()).unwrap_or(DiskId::UNKNOWN)
    }

    /// Whether it is known, and not doubted.
    pub(crate) fn is_accepted(&self) -> bool {
        self.id.is_some() && self.doubted_until().is_none()
    }

    /// The entry that others must have, if the disk is doubted.
    pub(crate) fn doubted_until(&self) -> Option<Index> {
        match self.standing {
            Standing::Doubted { proof } => Some(proof),
            Standing::Proven { .. } | Standing::Trusted | Standing::Vouched => None,
        }
    }

    /// Enough others have the proof.
    pub(crate) fn prove(&mut self) {
        if let Standing::Doubted { proof } = self.standing {
            self.standing = Standing::Proven { proof };
        }
    }

    /// The follower has all entries up to here.
    pub(crate) fn has(&mut self, match_index: Index) {
        if let Standing::Proven { proof } = self.standing
            && match_index >= proof
        {
            self.standing = Standing::Vouched;
        }
    }
}
