//! Snapshots and compaction in clusters to which everything happens: messages are lost, doubled and
//! reordered, links break, power fails between any two steps of any disk, files are damaged.
//!
//! Snapshots are taken every three entries and sent in pieces of a few bytes, so that a run of five
//! thousand actions sees many of each. After each action, servers that have applied as much
//! have the same state, and keep the driver's contract; at the end, after the faults, all have all
//! that was ever applied anywhere, and go on.

#[path = "support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use actix_raft_core::admin::RequestId;
use actix_raft_core::config::Config;
use actix_raft_core::effect::Effect;
use actix_raft_core::entry::Entry;
use actix_raft_core::event::{Event, LogReader};
use actix_raft_core::message::{Message, MessageBody};
use actix_raft_core::random::Random;
use actix_raft_core::snapshot::SnapshotPolicy;
use actix_raft_core::status::RoleName;
use actix_raft_core::types::{Index, NodeId};

use crate::support::cluster::Cluster;
use crate::support::files::File;
use crate::support::server::{Prompt, Task};
use crate::support::words::*;

const SEEDS: u64 = 150;
const ACTIONS: usize = 5_000;

#[derive(Default, Debug)]
struct Seen {
    built: usize,
    installed: usize,
    crashed_after_install: usize,
    refused: usize,
    purged: usize,
    pieces: usize,
    elections: usize,
}

struct Storm {
    cluster: Cluster,
    random: Random,
    /// The longest state that any server has had.
    history: Vec<Entry>,
    leaders: BTreeMap<u64, u64>,
    /// One message of so many is lost, one is doubled.
    losses: u64,
    /// Messages that arrive a second time, much later.
    late: Vec<Message>,
    seen: Seen,
    commands: u64,
}

fn tweak(seed: u64) -> impl Fn(&mut Config) {
    let mut random = Random::new(seed ^ 0xfade);
    let mut draw = move |n: u64| random.next_u64() % n;
    let interval = (draw(4) == 0).then(|| T * 3);
    let policy = SnapshotPolicy {
        entries: (draw(8) > 0).then_some(3),
        bytes: (draw(4) == 0).then_some(400),
        interval,
    };
    let (kept, chunk) = (draw(3), 1 + draw(7) as usize);
    let rate = (draw(8) == 0).then_some(5_000);
    let small = [0, 200, 1 << 20][draw(3) as usize];
    let batch = [1, 200, 1 << 20][draw(3) as usize];
    let (pre_vote, check_quorum) = (draw(4) > 0, draw(4) > 0);
    // Pieces of one byte would take for ever with states of this size.
    let chunk = chunk * [20, 100, 4000, 4000][draw(4) as usize];
    move |config| {
        config.snapshot_policy = policy;
        config.entries_kept = kept;
        config.snapshot_chunk_bytes = chunk;
        config.snapshot_bytes_per_second = rate;
        config.recent_entries_bytes = small;
        config.max_apply_bytes = batch;
        config.max_append_bytes = batch;
        (config.pre_vote, config.check_quorum) = (pre_vote, check_quorum);
        config.seed = config.seed.wrapping_add(seed * 7919);
    }
}

impl Storm {
    fn new(seed: u64) -> Storm {
        let mut cluster = Cluster::with(3 + seed % 3, tweak(seed));
        for server in &mut cluster.servers {
            server.prompt =
                Prompt { saves: false, applies: false, log_reads: false, snapshots: false };
        }
        Storm {
            cluster,
            random: Random::new(seed),
            history: Vec::new(),
            leaders: BTreeMap::new(),
            late: Vec::new(),
            losses: [20, 100, 1000][(seed % 3) as usize],
            seen: Seen::default(),
            commands: 0,
        }
    }

    fn draw(&mut self, n: u64) -> u64 {
        self.random.next_u64() % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.draw(n) == 0
    }

    fn up(&mut self) -> Option<u64> {
        let id = 1 + self.draw(self.cluster.servers.len() as u64);
        self.cluster.server(id).is_up().then_some(id)
    }

    fn act(&mut self) {
        match self.draw(1000) {
            0..=449 => self.deliver(),
            450..=719 => self.work(),
            720..=869 => self.keep_files(),
            870..=899 => self.pass_time(),
            900..=969 => self.propose(),
            970..=973 => self.crash(),
            974..=979 => self.restart(),
            980..=984 => self.cut(),
            985..=989 => self.operate(),
            990..=994 => self.damage(),
            _ => {
                if let Some(id) = self.up() {
                    let peer = NodeId(1 + self.draw(self.cluster.servers.len() as u64));
                    self.cluster.step(id, vec![Event::Unreachable { peer }]);
                }
            }
        }
        self.check();
    }

    fn deliver(&mut self) {
        if !self.late.is_empty() && self.one_in(60) {
            let place = self.draw(self.late.len() as u64) as usize;
            let message = self.late.swap_remove(place);
            return self.cluster.bring(message);
        }
        let under_way = self.cluster.network.len() as u64;
        if under_way == 0 {
            return;
        }
        // Mostly the oldest.
        let place = if self.one_in(8) { self.draw(under_way) } else { 0 };
        let message = self.cluster.network.remove(place as usize).unwrap();
        if self.one_in(self.losses) {
            return;
        }
        let is_piece = matches!(message.body, MessageBody::InstallSnapshotRequest(_));
        if self.one_in(if is_piece { 2 } else { self.losses }) {
            match is_piece || self.one_in(2) {
                true => self.late.push(message.clone()),
                false => self.cluster.network.push_back(message.clone()),
            }
        }
        self.cluster.bring(message);
    }

    /// A disk saves or reads, a state machine applies.
    fn work(&mut self) {
        let Some(id) = self.up() else { return };
        let kind = self.draw(4);
        // Some are slower than others.
        if (id == 1 || (id == 2 && kind == 2)) && !self.one_in(4) {
            return;
        }
        let server = self.cluster.server(id);
        let readers: Vec<LogReader> = server.log_reads.keys().copied().collect();
        let mut events = Vec::new();
        match kind {
            0 => events.extend(server.disk.complete_one().map(|id| Event::Saved { id })),
            1 => events.extend(server.saved()),
            2 => events.extend(server.apply()),
            _ => events.extend(readers.into_iter().filter_map(|reader| server.read_log(reader))),
        }
        self.cluster.step(id, events);
    }

    /// Snapshots are built, read, stored, installed; and the power may fail right after.
    fn keep_files(&mut self) {
        let Some(id) = self.up() else { return };
        let builds = !self.one_in(20);
        let server = self.cluster.server(id);
        server.builds = builds;
        let task = server.tasks.front().cloned();
        let Some(event) = server.do_task() else { return };
        match (&task, &event) {
            (Some(Task::Build(_)), _) => self.seen.built += 1,
            (Some(Task::Store(..)), _) => self.seen.pieces += 1,
            (_, Event::SnapshotInstalled { installed: true, .. }) => self.seen.installed += 1,
            (_, Event::SnapshotInstalled { installed: false, .. }) => self.seen.refused += 1,
            _ => {}
        }
        if matches!(task, Some(Task::Store(..))) && self.one_in(20) {
            self.damage_at(id, true);
        }
        let boundary = matches!(task, Some(Task::Install(_) | Task::Build(_)));
        if self.one_in(if boundary { 6 } else { 60 }) && self.may_crash(id) {
            self.seen.crashed_after_install += usize::from(matches!(task, Some(Task::Install(_))));
            return self.cluster.crash(id);
        }
        self.cluster.step(id, vec![event]);
    }

    fn pass_time(&mut self) {
        let due = self.cluster.servers.iter().filter_map(|s| s.deadline().map(|at| (at, s.id.0)));
        let Some((at, id)) = due.min() else { return };
        if self.one_in(3) {
            let nanos = self.draw(HEARTBEAT.as_nanos() as u64);
            return self.cluster.wait(Duration::from_nanos(nanos));
        }
        self.cluster.now = self.cluster.now.max(at);
        self.cluster.step(id, vec![Event::Timeout]);
    }

    fn propose(&mut self) {
        let Some(id) = self.up() else { return };
        if self.cluster.role(id) == RoleName::Leader {
            self.commands += 1;
            let command = format!("command {}", self.commands);
            let _ = self.cluster.propose(id, &command);
        }
    }

    /// One whose file is damaged would have nothing to start from.
    fn may_crash(&mut self, id: u64) -> bool {
        let durable = &self.cluster.server(id).disk.durable;
        durable.file.as_ref().is_none_or(File::is_whole)
    }

    fn crash(&mut self) {
        if let Some(id) = self.up()
            && self.may_crash(id)
        {
            self.cluster.crash(id);
        }
    }

    fn restart(&mut self) {
        let down: Vec<u64> =
            self.cluster.servers.iter().filter(|s| !s.is_up()).map(|s| s.id.0).collect();
        for id in down {
            self.cluster.restart(id);
        }
    }

    fn cut(&mut self) {
        let count = self.cluster.servers.len() as u64;
        match self.draw(6) {
            0..=2 => self.cluster.heal(),
            3 => {
                let (from, to) = (1 + self.draw(count), 1 + self.draw(count));
                self.cluster.cut(from, to);
            }
            _ => {
                let id = 1 + self.draw(count);
                self.cluster.heal();
                self.cluster.isolate(id);
            }
        }
    }

    fn operate(&mut self) {
        let Some(server) = self.up() else { return };
        let id = RequestId(self.draw(1 << 40));
        let until = self.one_in(2).then(|| Index(self.random.next_u64() % 50));
        let event = match self.draw(2) {
            0 => Event::TriggerSnapshot { id },
            _ => Event::PurgeLog { id, until },
        };
        self.cluster.step(server, vec![event]);
    }

    fn damage(&mut self) {
        if let Some(id) = self.up() {
            let of_partial = !self.one_in(3);
            self.damage_at(id, of_partial);
        }
    }

    fn damage_at(&mut self, id: u64, of_partial: bool) {
        let place = self.draw(1 << 40) as usize;
        let disk = &mut self.cluster.server(id).disk;
        let bytes = match of_partial {
            true => disk.durable.partial.as_mut().map(|partial| &mut partial.bytes),
            false => disk.durable.file.as_mut().map(|file| &mut file.bytes),
        };
        if let Some(bytes) = bytes.filter(|bytes| !bytes.is_empty()) {
            let place = place % bytes.len();
            bytes[place] ^= 1;
        }
    }

    fn check(&mut self) {
        for server in &mut self.cluster.servers {
            if !server.is_up() {
                continue;
            }
            let both = server.applied.len().min(self.history.len());
            assert_eq!(server.applied[..both], self.history[..both], "server {}", server.id);
            if server.applied.len() > both {
                self.history = server.applied.clone();
            }
            let status = server.status();
            self.seen.purged = self.seen.purged.max(status.purged.index.0 as usize);
            if status.role == RoleName::Leader {
                let (term, id) = (status.current_term.0, status.id.0);
                let leader = *self.leaders.entry(term).or_insert(id);
                assert_eq!(leader, id, "two leaders in term {term}");
            }
            for effect in std::mem::take(&mut server.said) {
                assert!(!matches!(effect, Effect::Violation { .. }), "{effect:?}");
            }
        }
    }

    /// All is well from now on: everyone catches up, and the cluster goes on.
    fn recover(&mut self) {
        self.cluster.heal();
        self.restart();
        let ids: Vec<u64> = self.cluster.servers.iter().map(|s| s.id.0).collect();
        for id in &ids {
            let server = self.cluster.server(*id);
            server.prompt = Prompt { saves: true, applies: true, log_reads: true, snapshots: true };
            server.builds = true;
            server.config.snapshot_bytes_per_second = None;
            let configure = Event::Configure(server.config.clone());
            // Whatever waited for the helpers is done now.
            let tasks = server.tasks.len();
            let mut events: Vec<Event> = (0..tasks).filter_map(|_| server.do_task()).collect();
            events.extend(server.apply());
            events.push(configure);
            self.cluster.step(*id, events);
        }
        self.cluster.run(30 * T);
        let leaders = self.cluster.leaders();
        assert_eq!(leaders.len(), 1, "one leader");
        let before = self.history.len();
        for n in 0..10 {
            self.cluster.propose(leaders[0], &format!("after {n}")).unwrap();
            self.cluster.run(T);
        }
        self.cluster.run(30 * T);
        self.check();
        assert!(self.history.len() >= before + 10);
        for id in ids {
            assert_eq!(self.cluster.server(id).applied, self.history, "server {id} has it all");
        }
        self.seen.elections = self.leaders.len();
    }
}

fn run(seed: u64) -> Seen {
    let mut storm = Storm::new(seed);
    for _ in 0..ACTIONS {
        storm.act();
    }
    storm.recover();
    storm.seen
}

/// B 73-80, 49, 91-93
#[test]
fn states_stay_equal_and_everybody_catches_up_whatever_happens() {
    let one = std::env::var("STORM_SEED").ok().map(|seed| seed.parse().unwrap());
    let many = std::env::var("STORM_SEEDS").ok().map(|count| count.parse().unwrap());
    let seeds = one.map_or(0..many.unwrap_or(SEEDS), |seed| seed..seed + 1);
    let mut all = Seen::default();
    for seed in seeds {
        let seen = std::panic::catch_unwind(|| run(seed));
        let seen = seen.unwrap_or_else(|_| panic!("run again with STORM_SEED={seed}"));
        all.built += seen.built;
        all.installed += seen.installed;
        all.crashed_after_install += seen.crashed_after_install;
        all.refused += seen.refused;
        all.pieces += seen.pieces;
        all.purged += seen.purged;
        all.elections += seen.elections;
    }
    println!("{all:?}");
    if one.is_none() {
        let Seen { built, installed, crashed_after_install, refused, pieces, .. } = all;
        let least = [built, installed, crashed_after_install, refused, pieces].into_iter().min();
        assert!(least > Some(3), "a hollow test: {all:?}");
    }
}

/// What each planted bug of snapshots does here, if it is one that shows in a cluster like this.
#[cfg(feature = "mutants")]
#[test]
fn planted_bugs_are_caught() {
    use actix_raft_core::mutants::{Mutant, plant};
    let mutants = [
        Mutant::MadeUpPrevTerm,
        Mutant::InstallKeepsConflict,
        Mutant::AppliesWhileInstalling,
        Mutant::CandidateWhileInstalling,
        Mutant::SnapshotNeverEnds,
        Mutant::StaleSnapshotInstalled,
        Mutant::PurgesBeyondSnapshot,
        Mutant::BaseNotSaved,
        Mutant::SkipsEntryAfterInstall,
    ];
    let mut missed = Vec::new();
    for mutant in mutants {
        plant(Some(mutant));
        let caught = (0..3 * SEEDS).find(|seed| std::panic::catch_unwind(|| run(*seed)).is_err());
        plant(None);
        println!("{}: {caught:?}", mutant.name());
        missed.extend(caught.is_none().then_some(mutant));
    }
    assert_eq!(missed, []);
}
