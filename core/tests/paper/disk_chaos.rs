//! Servers lose their disks under everything else at once: messages lost, doubled and reordered, slow
//! and full disks, crashes. As long as fewer than a quorum forget at a time, what was committed stays,
//! no read is stale, and the cluster ends with a leader and without a server that is not trusted.
//! B 70, 85, 94

use std::collections::{BTreeMap, BTreeSet};

use actix_raft_core::entry::Entry;
use actix_raft_core::event::{Event, ReadId};
use actix_raft_core::random::Random;
use actix_raft_core::types::{Index, Term};

use crate::support::cluster::Cluster;
use crate::support::disk::Image;
use crate::support::words::*;

struct Chaos {
    cluster: Cluster,
    random: Random,
    committed: Vec<Entry>,
    leaders: BTreeMap<Term, u64>,
    /// Those that were not trusted at some time since all were.
    forgetful: BTreeSet<u64>,
    /// Reads under way, with what was committed when they were asked.
    reads: Vec<(u64, ReadId, usize)>,
    disks: u64,
    losses: usize,
}

/// How a run begins.
#[derive(Clone, Copy, Debug)]
enum Begin {
    /// The cluster is formed, and all are trusted.
    Formed,
    /// All are told of it.
    AllTold,
    /// One is told of it.
    OneTold,
}

fn tweak(config: &mut actix_raft_core::config::Config, seed: u64) {
    config.pre_vote = !seed.is_multiple_of(3);
    config.recent_entries_bytes = 500;
    config.max_append_bytes = 300;
    if seed % 2 == 1 {
        config.snapshot_policy.entries = Some(1 + seed % 7);
        config.entries_kept = seed / 2 % 4;
        config.snapshot_chunk_bytes = 400;
    }
}

impl Chaos {
    fn new(seed: u64, count: u64, begin: Begin) -> Chaos {
        let cluster = match begin {
            Begin::Formed => Cluster::on_disks_with(count, |config| tweak(config, seed)),
            Begin::AllTold | Begin::OneTold => {
                let images = (1..=count).map(|id| Image::empty(10 * id)).collect();
                Cluster::from_images(images, |config| tweak(config, seed))
            }
        };
        let (committed, leaders, forgetful) = Default::default();
        let (random, disks, reads) = (Random::new(seed), 100, Vec::new());
        let mut chaos =
            Chaos { cluster, random, committed, leaders, forgetful, reads, disks, losses: 0 };
        let told = match begin {
            Begin::Formed => 0,
            Begin::AllTold => count,
            Begin::OneTold => 1,
        };
        for id in 1..=told {
            chaos.cluster.initialize(id, &voters(1..=count));
        }
        chaos
    }

    fn count(&self) -> u64 {
        self.cluster.servers.len() as u64
    }

    fn below(&mut self, end: u64) -> u64 {
        self.random.next_u64() % end
    }

    /// One thing happens.
    fn act(&mut self) {
        let id = 1 + self.below(self.count());
        let is_up = self.cluster.server(id).is_up();
        match self.below(200) {
            0..=109 => self.deliver(),
            110..=149 if is_up => {
                let step = std::time::Duration::from_millis(1 + self.below(6));
                self.cluster.wait(step);
                self.cluster.step(id, vec![Event::Timeout]);
            }
            150..=159 if is_up => {
                let _ = self.cluster.propose(id, "x");
            }
            160..=164 if is_up => {
                let known = self.committed.len();
                let read = self.cluster.read(id);
                self.reads.push((id, read, known));
            }
            165..=169 => drop(self.cluster.network.pop_back()),
            170..=171 if is_up => self.cluster.crash(id),
            172..=177 if !is_up => self.restart(id),
            178..=179 if is_up => self.cluster.server(id).prompt.saves = false,
            180..=187 if is_up => {
                self.cluster.server(id).prompt.saves = true;
                let saved = self.cluster.server(id).saved();
                self.cluster.step(id, saved.into_iter().collect());
            }
            188..=189 => {
                let other = 1 + self.below(self.count());
                self.cluster.cut(id, other);
            }
            190..=192 => self.cluster.heal(),
            193..=196 => self.lose_disk(id),
            197 if is_up => self.cluster.step(id, vec![Event::DiskSpace { low: true }]),
            198..=199 if is_up => self.cluster.step(id, vec![Event::DiskSpace { low: false }]),
            _ => {}
        }
        self.check();
    }

    /// One of the messages under way arrives, mostly an old one, or two times, or never.
    fn deliver(&mut self) {
        let reach = if self.below(4) == 0 { 200 } else { 6 };
        let place = self.below(reach) as usize;
        if let Some(message) = self.cluster.network.remove(place) {
            match self.below(20) {
                0 => {}
                1 => {
                    self.cluster.bring(message.clone());
                    self.cluster.bring(message);
                }
                // It may come again much later.
                2..=4 => {
                    self.cluster.bring(message.clone());
                    self.cluster.network.push_back(message);
                }
                _ => self.cluster.bring(message),
            }
        }
    }

    /// With another seed than in its earlier lives.
    fn restart(&mut self, id: u64) {
        self.cluster.server(id).config.seed = self.random.next_u64();
        self.cluster.restart(id);
    }

    fn is_trusted(&self, id: u64) -> bool {
        let server = &self.cluster.servers[id as usize - 1];
        server.disk.durable.hard_state.trusted
    }

    /// Unless that would be more than anyone could bear.
    fn lose_disk(&mut self, id: u64) {
        let with_it = self.forgetful.iter().chain([&id]).collect::<BTreeSet<_>>().len() as u64;
        if self.committed.is_empty() || with_it > self.count() / 2 {
            return;
        }
        self.disks += 1;
        self.losses += 1;
        self.cluster.server(id).config.seed = self.random.next_u64();
        self.cluster.wipe(id, self.disks);
        self.forgetful.insert(id);
    }

    fn check(&mut self) {
        let untrusted = (1..=self.count()).filter(|id| !self.is_trusted(*id));
        let untrusted: Vec<u64> = untrusted.collect();
        self.forgetful.extend(&untrusted);
        if untrusted.is_empty() {
            self.forgetful.clear();
        }
        for id in self.cluster.leaders() {
            let leader = *self.leaders.entry(Term(self.cluster.term(id))).or_insert(id);
            assert_eq!(leader, id, "two leaders in a term");
        }
        for server in &self.cluster.servers {
            for (place, entry) in server.applied.iter().enumerate() {
                match self.committed.get(place) {
                    Some(known) => assert_eq!(known, entry, "a committed entry was lost"),
                    None => self.committed.push(entry.clone()),
                }
            }
            // What is announced as committed is promised to clients before it is applied.
            let announced =
                if server.is_up() { server.status().commit_index.0 as usize } else { 0 };
            for index in self.committed.len() + 1..=announced {
                match server.disk.live.entry(Index(index as u64)) {
                    Some(entry) => self.committed.push(entry.clone()),
                    None => break,
                }
            }
        }
        let reads = std::mem::take(&mut self.reads);
        for (at, id, known) in reads {
            if self.cluster.is_ready(at, id) {
                assert!(self.cluster.applied(at) >= known, "a stale read");
            } else if self.cluster.server(at).is_up() && !self.cluster.is_refused(at, id) {
                self.reads.push((at, id, known));
            }
        }
    }

    /// All faults end.
    fn calm(&mut self) {
        self.cluster.heal();
        for id in 1..=self.count() {
            if !self.cluster.server(id).is_up() {
                self.restart(id);
            }
            self.cluster.server(id).prompt.saves = true;
            let saved = self.cluster.server(id).saved();
            let events = saved.into_iter().chain([Event::DiskSpace { low: false }]);
            self.cluster.step(id, events.collect());
        }
        self.cluster.run(60 * T);
        self.check();
    }

    fn assert_lives(&mut self) {
        let leaders = self.cluster.leaders();
        let state: Vec<String> =
            self.cluster.servers.iter().map(|s| s.status().to_string()).collect();
        assert_eq!(leaders.len(), 1, "one leader: {state:#?}");
        assert!(self.cluster.propose(leaders[0], "last").is_ok());
        self.cluster.run(10 * T);
        self.check();
        for id in 1..=self.count() {
            assert!(self.is_trusted(id), "server {id} is trusted: {state:#?}");
            assert_eq!(self.cluster.applied(id), self.committed.len(), "server {id}: {state:#?}");
        }
    }
}

/// Returns how many disks were lost.
fn run(seed: u64, count: u64, begin: Begin) -> usize {
    let mut chaos = Chaos::new(seed, count, begin);
    for _ in 0..1500 {
        chaos.act();
    }
    chaos.calm();
    chaos.assert_lives();
    chaos.losses
}

fn run_all(begin: Begin) {
    let mut losses = 0;
    for seed in 0..seeds() {
        let count = [1, 2, 3, 3, 3, 4, 5, 5][seed as usize % 8];
        let run = std::panic::catch_unwind(|| run(seed, count, begin));
        losses += run.unwrap_or_else(|_| panic!("seed {seed}, {count} servers, {begin:?}"));
    }
    assert!(4 * losses as u64 > seeds(), "{losses} disks were lost");
}

fn seeds() -> u64 {
    std::env::var("CHAOS_SEEDS").ok().and_then(|count| count.parse().ok()).unwrap_or(80)
}

#[test]
fn servers_that_lose_their_disks_under_faults_lose_nothing_for_the_cluster() {
    run_all(Begin::Formed);
}

#[test]
fn a_cluster_that_is_formed_under_faults_is_formed_once() {
    run_all(Begin::AllTold);
}

#[test]
fn a_cluster_of_which_one_server_is_told_is_formed_under_faults() {
    run_all(Begin::OneTold);
}
