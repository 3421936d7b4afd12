//! How a script's cluster begins: its settings, and what its disks hold.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use actix_raft_core::config::{Config, Lease};
use actix_raft_core::entry::{Entry, EntryPayload};
use actix_raft_core::membership::Membership;
use actix_raft_core::snapshot::SnapshotPolicy;
use actix_raft_core::stored::{Base, Save};
use actix_raft_core::types::{HardState, Index, NodeId, Term};
use bytes::Bytes;

use super::{Command, Done, Notebook, Script, broken};
use crate::clock::TRUE_RATE;
use crate::dice::Chance;
use crate::network::FRAME_BYTES;
use crate::plan::{Ending, Plan, Weather};
use crate::world::World;

/// Term, vote and log on a disk.
pub(super) struct Stored {
    server: usize,
    hard_state: HardState,
    terms: Vec<u64>,
}

impl Stored {
    /// The save that leaves this on a disk. Entries of one index and term are one entry: its word
    /// says where it was written.
    fn save(&self, membership: &Arc<Membership>) -> Save {
        let entry = |(index, term): (u64, &u64)| Entry {
            term: Term(*term),
            index: Index(index),
            payload: match index {
                1 => EntryPayload::ConfigChange(Arc::clone(membership)),
                _ => EntryPayload::Normal(Bytes::from(format!("w{index}-{term}"))),
            },
        };
        let entries: Arc<[Entry]> = (1..).zip(&self.terms).map(entry).collect();
        let base =
            Base { membership: Some((Index::ZERO, Arc::clone(membership))), ..Base::default() };
        Save { hard_state: Some(self.hard_state), base: Some(base), entries: vec![entries] }
    }
}

pub(super) fn numbers(text: &str) -> Result<Vec<u64>, Box<dyn Error>> {
    text.split_whitespace().map(|word| word.parse().map_err(Into::into)).collect()
}

impl Script {
    pub(super) fn set_up(&mut self, command: &Command) -> Done {
        match command {
            Command::Stored { server, term, vote, log } => {
                let terms = numbers(log.as_deref().unwrap_or_default())?;
                let voted_for = vote.map(NodeId);
                let hard_state = HardState { current_term: Term(*term), voted_for, trusted: true };
                self.stored.push(Stored { server: *server, hard_state, terms });
                Ok(())
            }
            Command::Initialize(server) => {
                let at = self.at(*server)?;
                self.world()?.form(at).map_err(broken)
            }
            command => self.start_cluster(command),
        }
    }

    fn start_cluster(&mut self, command: &Command) -> Done {
        let Command::Cluster {
            nodes,
            non_voters,
            spares,
            told,
            leader,
            segment_bytes,
            durable_machines,
            disks,
            ..
        } = command
        else {
            return Ok(());
        };
        let members = nodes.saturating_sub(spares.unwrap_or(0));
        let voters = members.saturating_sub(non_voters.unwrap_or(0));
        if !(1..=9).contains(nodes) || voters == 0 {
            return Err("a cluster has 1 to 9 servers, and a voter".into());
        }
        if self.world.is_some() {
            return Err("a script has one cluster".into());
        }
        let told = match told.as_deref() {
            None => (1..=voters).collect(),
            Some("nobody") => Vec::new(),
            Some(some) => numbers(some)?.into_iter().map(|server| server as usize).collect(),
        };
        let mut plan = plan(*nodes, voters, members - voters, config(command));
        plan.durable_machines = *durable_machines;
        plan.disks_are_told_apart = *disks;
        plan.segment_bytes = segment_bytes.unwrap_or(plan.segment_bytes);
        let mut world = World::new(plan, Notebook);
        world.take_by_hand();
        let membership = Arc::new(world.members().clone());
        for stored in std::mem::take(&mut self.stored) {
            let at = stored.server.wrapping_sub(1);
            if at >= *nodes {
                return Err(format!("there is no server {}", stored.server).into());
            }
            world.store(at, &stored.save(&membership))?;
        }
        (0..*nodes).try_for_each(|at| world.start_by_hand(at)).map_err(broken)?;
        self.world = Some(world);
        for server in told {
            let at = self.at(server)?;
            self.world()?.form(at).map_err(broken)?;
        }
        if let Some(leader) = leader {
            self.elect(*leader)?;
        }
        // How it came about is every script's beginning.
        self.world()?.take_shown();
        self.obey(&Command::Status(Vec::new()))
    }

    fn elect(&mut self, leader: usize) -> Done {
        self.time_out(leader)?;
        self.stabilize()?;
        // Followers learn what is committed.
        self.time_out(leader)?;
        self.stabilize()
    }
}

fn config(command: &Command) -> Config {
    let mut config = Config::default();
    if let Command::Cluster {
        pre_vote,
        check_quorum,
        max_append_bytes,
        max_in_flight_appends,
        max_in_flight_bytes,
        max_apply_bytes,
        max_uncommitted_bytes,
        recent_entries_bytes,
        snapshot_entries,
        entries_kept,
        snapshot_chunk_bytes,
        lease,
        ..
    } = command
    {
        let set = |limit: &mut usize, given: &Option<usize>| *limit = given.unwrap_or(*limit);
        config.pre_vote = pre_vote.unwrap_or(true);
        config.check_quorum = check_quorum.unwrap_or(true);
        set(&mut config.max_append_bytes, max_append_bytes);
        set(&mut config.max_in_flight_appends, max_in_flight_appends);
        set(&mut config.max_in_flight_bytes, max_in_flight_bytes);
        set(&mut config.max_apply_bytes, max_apply_bytes);
        set(&mut config.max_uncommitted_bytes, max_uncommitted_bytes);
        set(&mut config.recent_entries_bytes, recent_entries_bytes);
        set(&mut config.snapshot_chunk_bytes, snapshot_chunk_bytes);
        let entries = snapshot_entries.or(config.snapshot_policy.entries);
        config.snapshot_policy = SnapshotPolicy { entries, ..config.snapshot_policy };
        config.entries_kept = entries_kept.unwrap_or(0);
        config.lease = lease.map(|percent| Lease { max_clock_drift_percent: percent });
    }
    config
}

/// A plan in which nothing happens, and all that is done is done at once.
fn plan(nodes: usize, voters: usize, non_voters: usize, config: Config) -> Plan {
    let at_once = (Duration::ZERO, Duration::ZERO);
    let weather = Weather {
        delay: at_once,
        save: at_once,
        snapshot: at_once,
        read: at_once,
        apply: at_once,
        turn: at_once,
        ..Weather::fine(false)
    };
    Plan {
        seed: 1,
        nodes,
        voters,
        non_voters,
        acts: Vec::new(),
        pause: Duration::ZERO,
        all_told: true,
        config,
        segment_bytes: 16 << 10,
        disks_are_told_apart: false,
        durable_machines: false,
        weather,
        clocks: vec![TRUE_RATE; nodes],
        faults: Vec::new(),
        chaos: Duration::ZERO,
        ending: Ending::Heal,
        clients: 0,
        think: Duration::ZERO,
        forged: Chance::NEVER,
        same_seed: false,
        frame_bytes: FRAME_BYTES,
    }
}
