//! diss. §6.4 and §3.10 under everything at once: reads of both kinds at any server, transfers and
//! elections on demand, while messages are lost, doubled, late and reordered, servers sleep, crash
//! and change their configuration. No read is stale, and every request is answered once. B 51 to 59

use std::collections::BTreeMap;
use std::time::Duration;

use actix_raft_core::admin::RequestId;
use actix_raft_core::config::{Config, Lease};
use actix_raft_core::effect::Effect;
use actix_raft_core::event::{Consistency, Event, ReadId};
use actix_raft_core::random::Random;
use actix_raft_core::types::NodeId;

use crate::support::cluster::Cluster;
use crate::support::words::*;

const ALL: u64 = 5;

/// What somebody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Asked {
    Read(u64),
    Transfer(u64),
    Election(u64),
}

struct Chaos {
    cluster: Cluster,
    random: Random,
    ids: u64,
    /// The requests without an answer: where, and what was known to be committed anywhere.
    open: BTreeMap<Asked, (u64, u64)>,
    /// A server whose process stands still, until it is woken with a read.
    asleep: Option<u64>,
    /// The last entry that any server knew to be committed.
    committed: u64,
    served: usize,
    handed_over: usize,
}

impl Chaos {
    fn new(seed: u64) -> Chaos {
        Chaos {
            cluster: Cluster::with(ALL, |config| tweak(config, seed)),
            random: Random::new(seed),
            ids: 0,
            open: BTreeMap::new(),
            asleep: None,
            committed: 0,
            served: 0,
            handed_over: 0,
        }
    }

    fn below(&mut self, end: u64) -> u64 {
        self.random.next_u64() % end
    }

    fn any_server(&mut self) -> u64 {
        1 + self.below(ALL)
    }

    fn ask(&mut self, at: u64, asked: fn(u64) -> Asked, event: impl FnOnce(u64) -> Event) {
        self.ids += 1;
        let id = self.ids;
        self.open.insert(asked(id), (at, self.committed));
        self.cluster.step(at, vec![event(id)]);
    }

    fn read(&mut self, at: u64) {
        let consistency = match self.below(2) {
            0 => Consistency::Lease,
            _ => Consistency::Linearizable,
        };
        self.ask(at, Asked::Read, |id| Event::Read { id: ReadId(id), consistency });
    }

    /// Also at those that were deposed and don't know it.
    fn read_at_leaders(&mut self) {
        for leader in self.cluster.leaders() {
            if self.asleep != Some(leader) {
                self.read(leader);
            }
        }
    }

    fn transfer(&mut self, at: u64) {
        let to = Some(NodeId(self.any_server())).filter(|to| to.0 != at);
        self.ask(at, Asked::Transfer, |id| Event::TransferLeadership { id: RequestId(id), to });
    }

    /// One thing happens, to one server; the others sleep meanwhile.
    fn act(&mut self) {
        let id = self.any_server();
        let is_up = self.cluster.server(id).is_up() && self.asleep != Some(id);
        match self.below(210) {
            0..=99 => (0..4).for_each(|_| self.deliver()),
            100..=134 if is_up => {
                let wait = Duration::from_millis(1 + self.below(10));
                self.cluster.wait(wait);
                self.cluster.step(id, vec![Event::Timeout]);
            }
            135..=149 if is_up => drop(self.cluster.propose(id, "x")),
            150..=162 if is_up => self.read(id),
            163..=174 => self.read_at_leaders(),
            175..=177 => {
                for leader in self.cluster.leaders() {
                    if self.asleep != Some(leader) {
                        self.transfer(leader);
                    }
                }
            }
            178..=179 if is_up => self.transfer(id),
            180..=181 if is_up => {
                self.ask(id, Asked::Election, |id| Event::TriggerElection { id: RequestId(id) });
            }
            182 if is_up => {
                self.cluster.crash(id);
                self.open.retain(|_, (at, _)| *at != id);
            }
            183..=189 if !self.cluster.server(id).is_up() => self.restart(id),
            190..=191 if is_up => self.cluster.server(id).prompt.saves = false,
            192..=193 if is_up => self.wake_disk(id),
            194 if is_up => {
                let mut config = self.cluster.server(id).config.clone();
                config.election_priority = 6 + self.below(5) as u8;
                self.cluster.step(id, vec![Event::Configure(config)]);
            }
            195 => {
                let other = self.any_server();
                self.cluster.cut(id, other);
            }
            196 => {
                let leader = self.cluster.leaders().last().copied();
                self.cluster.isolate(leader.unwrap_or(id));
            }
            197 => self.cluster.heal(),
            198..=199 if self.asleep.is_none() => {
                self.asleep = self.cluster.leaders().last().copied();
            }
            200..=209 => {
                if let Some(id) = self.asleep.take() {
                    self.read(id);
                }
            }
            _ => {}
        }
        self.check();
    }

    /// With another seed: else it takes answers of before for new ones.
    fn restart(&mut self, id: u64) {
        self.cluster.server(id).config.seed = self.random.next_u64();
        self.cluster.restart(id);
    }

    fn wake_disk(&mut self, id: u64) {
        self.cluster.server(id).prompt.saves = true;
        let saved = self.cluster.server(id).saved();
        self.cluster.step(id, saved.into_iter().collect());
    }

    /// One of the oldest messages arrives, or two times, or much later, or never.
    fn deliver(&mut self) {
        let place = self.below(8) as usize;
        let Some(message) = self.cluster.network.remove(place) else {
            return;
        };
        if self.asleep == Some(message.to.0) {
            return self.cluster.network.push_back(message);
        }
        match self.below(24) {
            0 => {}
            1 => self.cluster.network.push_back(message),
            2 => {
                self.cluster.bring(message.clone());
                self.check();
                self.cluster.network.push_back(message);
            }
            _ => self.cluster.bring(message),
        }
    }

    /// Reads what the servers said.
    fn check(&mut self) {
        for id in 1..=ALL {
            for effect in self.cluster.said(id) {
                let answered = match effect {
                    Effect::ReadReady { id } => {
                        self.served += 1;
                        Asked::Read(id.0)
                    }
                    Effect::ReadRefused { id, .. } => Asked::Read(id.0),
                    Effect::Transferred { id, result } => {
                        self.handed_over += usize::from(result.is_ok());
                        Asked::Transfer(id.0)
                    }
                    Effect::ElectionTriggered { id, .. } => Asked::Election(id.0),
                    Effect::Violation { what, .. } => panic!("{id}: {what}"),
                    _ => continue,
                };
                let asked = self.open.remove(&answered);
                let (at, before) = asked.unwrap_or_else(|| panic!("{answered:?} answered twice"));
                assert_eq!(at, id);
                if let Effect::ReadReady { .. } = effect {
                    let applied = self.cluster.applied(id) as u64;
                    assert!(applied >= before, "a stale read: {before} was known, {applied} read");
                }
            }
        }
        let up = self.cluster.servers.iter().filter(|server| server.is_up());
        let committed = up.map(|server| server.status().commit_index.0).max();
        self.committed = self.committed.max(committed.unwrap_or(0));
    }

    /// All faults end.
    fn calm(&mut self) {
        self.cluster.heal();
        self.asleep = None;
        for id in 1..=ALL {
            if !self.cluster.server(id).is_up() {
                self.restart(id);
            }
            self.wake_disk(id);
        }
        self.cluster.run(40 * T);
        self.check();
        assert_eq!(self.open, BTreeMap::new(), "all are answered");
        let leaders = self.cluster.leaders();
        assert_eq!(leaders.len(), 1);
        assert_eq!(self.cluster.status(leaders[0]).transferring_to, None);
        assert!(self.cluster.propose(leaders[0], "x").is_ok());
        for id in 1..=ALL {
            self.read(id);
        }
        self.cluster.run(2 * T);
        let served = self.served;
        self.check();
        assert_eq!(self.served - served, ALL as usize, "all serve reads");
    }
}

fn tweak(config: &mut Config, seed: u64) {
    config.pre_vote = !seed.is_multiple_of(3);
    if seed % 2 == 1 {
        config.snapshot_policy.entries = Some(1 + seed % 7);
        config.entries_kept = seed / 2 % 4;
        config.snapshot_chunk_bytes = 400;
    }
    config.lease = (seed % 4 != 3).then_some(Lease { max_clock_drift_percent: 0 });
}

#[test]
fn random_reads_and_transfers_under_faults_are_answered_once_and_truly() {
    let (mut served, mut handed_over) = (0, 0);
    for seed in 0..60 {
        let run = std::panic::catch_unwind(|| {
            let mut chaos = Chaos::new(seed);
            for _ in 0..4_000 {
                chaos.act();
            }
            // Some configurations have no leases: the last reads would be refused.
            if seed % 4 == 3 {
                return (chaos.served, chaos.handed_over);
            }
            chaos.calm();
            (chaos.served, chaos.handed_over)
        });
        let counts = run.unwrap_or_else(|_| panic!("seed {seed}"));
        served += counts.0;
        handed_over += counts.1;
    }
    assert!(served > 3_000 && handed_over > 50, "{served} served, {handed_over} handed over");
}
