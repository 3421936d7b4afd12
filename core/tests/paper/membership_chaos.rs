//! §6 under everything at once: random changes of the members while messages are lost, doubled and
//! reordered, disks are slow, and servers crash. What was committed stays, and the cluster ends with
//! the members that were asked for last. B 72

use std::collections::{BTreeMap, BTreeSet};

use std::sync::Arc;

use actix_raft_core::admin::{ChangeAnswer, ChangeError, MemberChange};
use actix_raft_core::entry::{Entry, EntryPayload};
use actix_raft_core::event::Event;
use actix_raft_core::membership::{Address, Membership};
use actix_raft_core::random::Random;
use actix_raft_core::types::{Index, NodeId, Term};

use crate::support::cluster::Cluster;
use crate::support::words::*;

/// Servers 1 to 3 form the cluster, 4 to 7 know nothing of it.
const FIRST: u64 = 3;
const ALL: u64 = 7;

struct Chaos {
    cluster: Cluster,
    random: Random,
    committed: Vec<Entry>,
    leaders: BTreeMap<Term, u64>,
    /// Those that were not trusted at some time since all voters were.
    forgetful: BTreeSet<NodeId>,
    disks: u64,
}

impl Chaos {
    fn new(seed: u64) -> Chaos {
        let mut cluster = Cluster::on_disks_with(FIRST, |config| tweak(config, seed));
        for _ in FIRST..ALL {
            let id = cluster.add_pristine_with(|config| tweak(config, seed));
            cluster.wipe(id, 10 * id);
        }
        Chaos {
            cluster,
            random: Random::new(seed),
            committed: Vec::new(),
            leaders: BTreeMap::new(),
            forgetful: BTreeSet::new(),
            disks: 100,
        }
    }

    fn below(&mut self, end: u64) -> u64 {
        self.random.next_u64() % end
    }

    fn any_server(&mut self) -> u64 {
        1 + self.below(ALL)
    }

    fn any_change(&mut self) -> MemberChange {
        let id = self.any_server();
        match self.below(12) {
            0..=3 => add_voter(id),
            4 => add_non_voter(id),
            5 => promote(id),
            6 => demote(id),
            7 => MemberChange::Move(NodeId(id), Address::new(format!("moved-{id}"), "")),
            _ => remove(id),
        }
    }

    /// One thing happens.
    fn act(&mut self) {
        let id = self.any_server();
        let is_up = self.cluster.server(id).is_up();
        match self.below(101) {
            100 => self.lose_disk(id),
            0..=54 => self.deliver(),
            55..=74 if is_up => {
                let step = std::time::Duration::from_millis(1 + self.below(6));
                self.cluster.wait(step);
                self.cluster.step(id, vec![Event::Timeout]);
            }
            75..=79 if is_up => {
                let _ = self.cluster.propose(id, "x");
            }
            80..=84 => self.ask_for_a_change(),
            85..=87 => drop(self.cluster.network.pop_back()),
            88 if is_up => self.cluster.crash(id),
            89..=91 if !is_up => self.cluster.restart(id),
            92 if is_up => self.cluster.server(id).prompt.saves = false,
            93..=97 if is_up => {
                self.cluster.server(id).prompt.saves = true;
                let saved = self.cluster.server(id).saved();
                self.cluster.step(id, saved.into_iter().collect());
            }
            98 => self.part(),
            99 => self.cluster.heal(),
            _ => {}
        }
        self.check();
    }

    /// One of the oldest messages arrives, or two times, or never.
    fn deliver(&mut self) {
        let place = self.below(6) as usize;
        if let Some(message) = self.cluster.network.remove(place) {
            match self.below(20) {
                0 => {}
                1 => {
                    self.cluster.bring(message.clone());
                    self.cluster.bring(message);
                }
                _ => self.cluster.bring(message),
            }
        }
    }

    /// The network falls in two.
    fn part(&mut self) {
        self.cluster.heal();
        let sides = self.random.next_u64();
        let side = |id: u64| sides >> id & 1;
        for one in 1..=ALL {
            let others = (1..=ALL).filter(|other| side(*other) != side(one));
            others.for_each(|other| self.cluster.cut(one, other));
        }
    }

    /// These vote from now on, and nobody else is a member.
    fn only(voters: u64) -> Vec<MemberChange> {
        let change = |id: u64| if voters >> id & 1 == 1 { add_voter(id) } else { remove(id) };
        (1..=ALL).map(change).collect()
    }

    fn ask_for_a_change(&mut self) {
        let count = 1 + self.below(3);
        let changes = match self.below(3) {
            0 => (0..count).map(|_| self.any_change()).collect(),
            1 => Chaos::only(self.random.next_u64()),
            _ => Chaos::only(self.random.next_u64() & self.random.next_u64()),
        };
        let Some(leader) = self.cluster.leaders().last().copied() else {
            return;
        };
        // Nobody can tell a leader that a majority of what it is asked for has just lost its disks.
        let wanted = self.cluster.membership(leader).1.changed_by(&changes);
        if wanted.is_ok_and(|members| self.is_bearable(&members)) {
            self.cluster.change_if(leader, &changes, None, ChangeAnswer::Final);
        }
    }

    /// Every configuration that may still decide anything: what any server has in mind or on disk
    /// beyond the last one that it knows to be committed, and what is under way to it.
    fn configurations(&self) -> Vec<Arc<Membership>> {
        let mut found = Vec::new();
        let mut note = |entry: &Entry| match &entry.payload {
            EntryPayload::ConfigChange(members) => found.push(Arc::clone(members)),
            EntryPayload::Blank | EntryPayload::Normal(_) => {}
        };
        for message in &self.cluster.network {
            append_of(&message.body).into_iter().flat_map(|m| m.entries.iter()).for_each(&mut note);
        }
        let mut based = Vec::new();
        for server in &self.cluster.servers {
            let known = if server.is_up() { server.status().commit_index } else { Index::ZERO };
            for image in [&server.disk.live, &server.disk.durable] {
                let base = image.base.membership.clone();
                let settled = image.entries.iter().rfind(|entry| {
                    entry.index <= known && matches!(entry.payload, EntryPayload::ConfigChange(_))
                });
                let from = settled.map_or(Index::ZERO, |entry| entry.index);
                image.entries.iter().filter(|entry| entry.index >= from).for_each(&mut note);
                based.extend(base.filter(|_| settled.is_none()).map(|(_, members)| members));
            }
        }
        found.extend(based);
        found
    }

    fn is_bearable(&self, members: &Membership) -> bool {
        let remembers = |id| !self.forgetful.contains(&id);
        let goal = members.goal().is_none_or(|goal| goal.meets_every_majority(remembers));
        goal && members.meets_every_majority(remembers)
    }

    /// Unless that would be more than anyone could bear: in no configuration may a majority forget.
    fn lose_disk(&mut self, id: u64) {
        let before = self.forgetful.clone();
        self.forgetful.insert(NodeId(id));
        if self.configurations().iter().all(|members| self.is_bearable(members)) {
            self.disks += 1;
            self.cluster.wipe(id, self.disks);
        } else {
            self.forgetful = before;
        }
    }

    fn note_forgetful(&mut self) {
        let trusted =
            |id: &NodeId| self.cluster.servers[id.0 as usize - 1].disk.durable.hard_state.trusted;
        let voters: BTreeSet<NodeId> = self
            .configurations()
            .iter()
            .flat_map(|m| {
                m.members().keys().copied().filter(|id| m.is_voter(*id)).collect::<Vec<_>>()
            })
            .collect();
        if voters.iter().all(trusted) {
            self.forgetful.clear();
        }
    }

    /// Figure 3: election safety, leader completeness as far as it shows, state machine safety; and
    /// two configurations in force whose majorities could decide apart never go unnoticed by these.
    fn check(&mut self) {
        if !self.forgetful.is_empty() {
            self.note_forgetful();
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
        }
    }

    /// All faults end.
    fn calm(&mut self) {
        self.cluster.heal();
        for id in 1..=ALL {
            if !self.cluster.server(id).is_up() {
                self.cluster.restart(id);
            }
            self.cluster.server(id).prompt.saves = true;
            let saved = self.cluster.server(id).saved();
            self.cluster.step(id, saved.into_iter().collect());
        }
        self.cluster.run(120 * T);
        self.check();
    }

    /// The members that a leader tells of, when nothing is under way any more.
    fn leader(&mut self) -> u64 {
        let leaders = self.cluster.leaders();
        assert_eq!(leaders.len(), 1, "one leader");
        leaders[0]
    }

    fn assert_settled(&mut self) {
        let leader = self.leader();
        let (index, members) = self.cluster.membership(leader);
        assert!(members.goal().is_none() && members.voters_outgoing().is_none(), "{members:?}");
        assert!(members.is_voter(NodeId(leader)) && self.cluster.commit(leader) >= index);
        for id in members.members().keys() {
            assert_eq!(self.cluster.membership(id.0), (index, members.clone()));
            assert_eq!(self.cluster.server(id.0).applied.len(), self.committed.len(), "{id}");
        }
        assert_eq!(self.cluster.commit(leader), self.committed.len() as u64);
    }
}

fn tweak(config: &mut actix_raft_core::config::Config, seed: u64) {
    config.pre_vote = !seed.is_multiple_of(3);
    config.catch_up_timeout = 10 * T;
    config.recent_entries_bytes = 500;
    if seed.is_multiple_of(2) {
        config.snapshot_policy.entries = Some(1 + seed % 7);
        config.entries_kept = seed / 2 % 4;
        config.snapshot_chunk_bytes = 1000;
    }
}

fn run(seed: u64) {
    let mut chaos = Chaos::new(seed);
    for _ in 0..1500 {
        chaos.act();
    }
    chaos.calm();
    chaos.assert_settled();
    // And now to an end that is known.
    let leader = chaos.leader();
    let mut changes: Vec<MemberChange> = (1..=ALL).map(add_voter).collect();
    let gone = chaos.any_server();
    changes[gone as usize - 1] = remove(gone);
    let asked = chaos.cluster.change(leader, &changes);
    chaos.cluster.run(20 * T);
    let answer = chaos.cluster.changed(leader, asked);
    assert!(
        matches!(answer, Some(Ok(_) | Err(ChangeError::Noop | ChangeError::OutcomeUnknown))),
        "{answer:?}"
    );
    chaos.check();
    chaos.assert_settled();
    let leader = chaos.leader();
    assert_eq!(chaos.cluster.membership(leader).1, voters((1..=ALL).filter(|id| *id != gone)));
}

#[test]
fn random_changes_under_faults_lose_nothing_and_end_where_they_should() {
    for seed in 0..60 {
        let run = std::panic::catch_unwind(|| run(seed));
        assert!(run.is_ok(), "seed {seed}");
    }
}
