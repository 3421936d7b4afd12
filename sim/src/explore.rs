//! Every run of a small world: an exhaustive search with the real core.
//!
//! A [world](Bounds) is a few servers, the messages on their way, and what each disk holds. From
//! each world the search goes on to all that can come next: any message arrives, any server's
//! patience ends, a client proposes or reads, a disk finishes a save, a server crashes and
//! restarts. A message that never arrives is lost; one that arrives late was reordered. In every
//! world and on every way to it the laws of Figure 3 must hold. If one is broken, the search has
//! found a shortest way to break it.
//!
//! # What makes it small
//!
//! * Time is not in a state: with timeouts of zero, whatever may happen at some time may happen
//!   now. So a follower forgets its leader at once, and with `check_quorum` a leader's timeout is
//!   always the one at which it steps down.
//! * The network is the set of all messages ever sent: each may arrive ever again. To lose one is
//!   to never bring it, which needs no step. What can happen with few messages can happen with
//!   more, so of worlds that differ in their messages only, those with the most count; and what
//!   makes a server talk and changes nothing else happens at once.
//! * State machines are as fast as can be, and a server is down for no time: while one does
//!   nothing and its messages are late, it might as well be down.
//! * Worlds that differ only in the names of their servers are one.
//! * What a server does depends on that server alone, and is asked of the core only once.
//!
//! Two servers are the same if 128 bits of hash over all that the core and the disk hold are; for
//! everything else the search compares the things themselves.

mod laws;
mod networks;
mod search;
mod server;
mod story;
mod symmetry;
mod worlds;

use std::hash::{BuildHasherDefault, DefaultHasher};
use std::sync::Arc;
use std::time::Duration;

use actix_raft_core::config::Config;
use actix_raft_core::entry::{Entry, EntryPayload};
use actix_raft_core::membership::{Address, Membership};
use actix_raft_core::stored::Base;
use actix_raft_core::types::{HardState, Index, NodeId, Term};

pub use self::server::Saves;
pub use self::story::{Counterexample, Step};

use self::search::{End, Search};
use self::worlds::{MAX_NODES, id_at};
use crate::image::Image;

/// The same in every run.
type Hashing = BuildHasherDefault<DefaultHasher>;

/// What can happen in a world, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Servers, at most 5; all of them vote.
    pub nodes: usize,
    /// The last term: nobody stands for one after it.
    pub max_term: u64,
    /// Elections that a server may call in one term, before it enters the next. Without pre-votes
    /// the first of them leads there.
    pub campaigns: u8,
    /// Commands that clients may propose, to whoever leads. Each new leader's first entry comes on
    /// top.
    pub proposals: u8,
    /// Reads that clients may ask of whoever leads.
    pub reads: u8,
    /// Timeouts of leaders.
    pub heartbeats: u8,
    /// Crashes.
    pub crashes: u8,
    /// Whether servers ask for pre-votes.
    pub pre_vote: bool,
    /// Whether a leader's timeout makes it step down, and whether it refuses to vote till then.
    pub check_quorum: bool,
    /// When saves are done.
    pub saves: Saves,
    /// Whether leaders send one entry a message, not all that a follower lacks.
    pub single_entries: bool,
    /// The terms of the entries in each server's log at the start, where the term is the latest of
    /// them; empty logs if there are none.
    pub logs: Vec<Vec<u64>>,
    /// Whether worlds that differ in names only are one.
    pub symmetry: bool,
    /// The search is given up when it has met this many worlds.
    pub max_states: usize,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds {
            nodes: 3,
            max_term: 2,
            campaigns: 1,
            proposals: 1,
            reads: 0,
            heartbeats: 0,
            crashes: 1,
            pre_vote: false,
            check_quorum: false,
            saves: Saves::AtOnce,
            single_entries: false,
            logs: Vec::new(),
            symmetry: true,
            max_states: 100_000_000,
        }
    }
}

/// How far a search has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Worlds met.
    pub states: usize,
    /// Of those, the ones from where the search has not gone on yet.
    pub frontier: usize,
    /// Steps from the start.
    pub depth: usize,
}

/// What was searched; no law was broken in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Worlds met.
    pub states: usize,
    /// Worlds that differ in more than the messages on their way.
    pub scenes: usize,
    /// The same, if servers had names.
    pub unreduced: u64,
    /// Steps taken from one world to another or itself.
    pub transitions: u64,
    /// Steps from the start to the worlds farthest from it.
    pub depth: usize,
    /// Different states of a server.
    pub servers: usize,
    /// Different messages.
    pub messages: usize,
    /// Whether everything within the bounds was searched.
    pub complete: bool,
}

/// Searches all worlds within these bounds, on this thread.
///
/// # Errors
/// A shortest path to the first world in which a law is broken.
///
/// # Panics
/// If the bounds are for no server or more than 5, or for more logs than servers.
pub fn explore(
    bounds: &Bounds,
    progress: &mut dyn FnMut(Progress),
) -> Result<Summary, Box<Counterexample>> {
    assert!((1..=MAX_NODES).contains(&bounds.nodes), "1 to {MAX_NODES} servers");
    assert!(bounds.logs.len() <= bounds.nodes, "more logs than servers");
    let mut search = Search::new(bounds, bounds.images());
    match search.run(progress) {
        End::Done(summary) => Ok(summary),
        End::Broken(path, broken) => {
            Err(Box::new(Counterexample::tell(&mut search, &path, broken)))
        }
    }
}

impl Bounds {
    /// Bounds that together let everything happen, each with what it is about. The default comes
    /// first.
    #[must_use]
    pub fn catalogue() -> Vec<(&'static str, Bounds)> {
        let bounds = Bounds::default;
        let elections = || Bounds { proposals: 0, crashes: 0, ..bounds() };
        let figure_8 = vec![vec![1, 2], vec![1, 3], vec![1]];
        let figure_7 = vec![vec![1, 1, 2], vec![1, 1, 1], vec![1]];
        vec![
            ("a command and a crash", bounds()),
            ("two servers", Bounds { nodes: 2, proposals: 1, crashes: 1, ..elections() }),
            ("three terms", Bounds { max_term: 3, ..elections() }),
            ("slow disks", Bounds { saves: Saves::Later, ..elections() }),
            ("a crash and slow disks", Bounds { saves: Saves::Later, crashes: 1, ..elections() }),
            ("pre-votes", Bounds { pre_vote: true, crashes: 1, ..elections() }),
            ("a read", Bounds { reads: 1, crashes: 1, ..elections() }),
            (
                "a read and a heartbeat",
                Bounds { max_term: 1, reads: 1, heartbeats: 1, ..elections() },
            ),
            ("a heartbeat", Bounds { heartbeats: 1, ..elections() }),
            (
                "a leader that steps down",
                Bounds { check_quorum: true, proposals: 1, heartbeats: 1, ..elections() },
            ),
            (
                "Figure 8",
                Bounds { logs: figure_8, max_term: 5, single_entries: true, ..elections() },
            ),
            (
                "logs as in Figure 7",
                Bounds { logs: figure_7, max_term: 3, heartbeats: 1, ..elections() },
            ),
            (
                "a read and slow disks",
                Bounds { max_term: 1, reads: 1, saves: Saves::Later, ..elections() },
            ),
        ]
    }

    fn config(&self) -> Config {
        Config {
            election_timeout: Duration::ZERO,
            heartbeat_interval: Duration::ZERO,
            pre_vote: self.pre_vote,
            check_quorum: self.check_quorum,
            max_append_bytes: if self.single_entries { 1 } else { usize::MAX },
            ..Config::default()
        }
    }

    /// The disks at the start.
    fn images(&self) -> Vec<Image> {
        let ids: Vec<NodeId> = (0..self.nodes).map(id_at).collect();
        // One address for all: nothing but its number tells a server from another.
        let members = ids.iter().map(|id| (*id, Address::default()));
        let membership = Membership::new(ids.clone(), members);
        let membership = Arc::new(membership.expect("there is a voter, and all are members"));
        let latest = self.logs.iter().flatten().copied().max().unwrap_or(0);
        let hard_state = HardState { current_term: Term(latest), voted_for: None, trusted: true };
        let first = Some((Index::ZERO, Arc::clone(&membership)));
        let base = Base { membership: first, ..Base::default() };
        let image = |place: usize| {
            let terms = self.logs.get(place).map_or(&[][..], Vec::as_slice);
            Image::new(hard_state, base.clone(), entries(&membership, terms))
        };
        (0..self.nodes).map(image).collect()
    }
}

/// A log of these terms.
fn entries(membership: &Arc<Membership>, terms: &[u64]) -> Vec<Entry> {
    let entry = |(index, term): (u64, &u64)| {
        let payload = match index {
            1 => EntryPayload::ConfigChange(Arc::clone(membership)),
            _ => EntryPayload::Blank,
        };
        Entry { term: Term(*term), index: Index(index), payload }
    };
    (1..).zip(terms).map(entry).collect()
}
