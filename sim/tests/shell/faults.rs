//! The faults of a run: what is cut, delayed and crashed, and when.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use actix_raft::messages::NodeId;
use turmoil::Sim;

use crate::dice::Dice;
use crate::node::{Machine, name};
use crate::record::Record;
use crate::sockets::{Links, Pair, pair};

/// How a link is cut.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cut {
    Both,
    OneWay,
    /// Nothing is lost, and nothing arrives yet.
    Held,
}

/// Disturbs a cluster, one thing after the other.
pub struct Faults {
    machines: Vec<Arc<Machine>>,
    members: Vec<NodeId>,
    /// The hosts of clients.
    offices: Vec<String>,
    dice: Dice,
    record: Record,
    links: Links,
    next: Duration,
    /// The links that are cut now: from whom to whom, and how.
    cuts: BTreeMap<Pair, (String, String, Cut)>,
    blackout_is_due: bool,
    /// How many were elected.
    leaders: u64,
    /// When crashed nodes come back.
    down: BTreeMap<NodeId, Duration>,
    /// When nodes that were told to stop have their power off.
    stopping: BTreeMap<NodeId, Duration>,
}

impl Faults {
    pub fn new(
        machines: Vec<Arc<Machine>>,
        offices: Vec<String>,
        dice: Dice,
        record: Record,
        links: Links,
    ) -> Faults {
        // The first leader has time to be elected.
        let next = Duration::from_millis(1500);
        Faults {
            members: machines.iter().map(|machine| machine.id).collect(),
            machines,
            offices,
            dice,
            record,
            links,
            next,
            cuts: BTreeMap::new(),
            blackout_is_due: false,
            leaders: 0,
            down: BTreeMap::new(),
            stopping: BTreeMap::new(),
        }
    }

    /// Does what is due.
    pub fn step(&mut self, sim: &mut Sim<'_>) {
        let now = sim.elapsed();
        let back = self.down.extract_if(.., |_, until| *until <= now);
        let back: Vec<NodeId> = back.map(|(node, _)| node).collect();
        for node in back {
            sim.bounce(name(node));
        }
        let stopped = self.stopping.extract_if(.., |_, until| *until <= now);
        let stopped: Vec<NodeId> = stopped.map(|(node, _)| node).collect();
        for node in stopped {
            let pause = self.dice.millis(1..1000);
            self.crash(node, pause, sim);
        }
        self.interrupt_election(sim);
        if now < self.next {
            return;
        }
        self.next = now + self.dice.millis(100..1500);
        if std::mem::take(&mut self.blackout_is_due) {
            return self.blackout(sim);
        }
        match self.dice.below(100) {
            0..16 => self.mend(sim),
            16..29 => self.isolate_leader(sim),
            29..42 => self.split(sim),
            42..51 => self.silence(sim),
            51..59 => self.hold(sim),
            59..66 => self.unreliable(sim),
            66..70 => self.slow(sim),
            70..76 => self.slow_disks(sim),
            76..84 => self.stop(sim),
            84..95 => {
                let (node, pause) = (self.victim(), self.dice.millis(1..2000));
                self.crash(node, pause, sim);
            }
            _ => self.blackout(sim),
        }
    }

    /// Ends all faults; crashed nodes come back at once.
    pub fn end(&mut self, sim: &mut Sim<'_>) {
        self.mend(sim);
        for node in std::mem::take(&mut self.stopping).into_keys() {
            self.crash(node, Duration::ZERO, sim);
        }
        for node in std::mem::take(&mut self.down).into_keys() {
            sim.bounce(name(node));
        }
    }

    fn mend(&mut self, sim: &mut Sim<'_>) {
        sim.set_fail_rate(0.0);
        sim.set_max_message_latency(Duration::from_millis(30));
        self.record.lock().disks_are_slow = false;
        self.cuts.clear();
        for (one, other) in self.pairs() {
            sim.release(one, other);
        }
        self.links.give_up();
        self.note(sim, "the network is whole");
    }

    fn isolate_leader(&mut self, sim: &mut Sim<'_>) {
        let leader = self.leader();
        self.mend(sim);
        let with_clients = self.dice.percent(50);
        for other in self.others(leader) {
            if with_clients || !self.offices.contains(&other) {
                self.cut(&name(leader), &other, Cut::Both, sim);
            }
        }
        self.partitioned(sim, format_args!("n{leader} is alone, its clients too: {with_clients}"));
    }

    /// Every host is on one side or the other.
    fn split(&mut self, sim: &mut Sim<'_>) {
        self.mend(sim);
        let mut hosts = self.hosts();
        hosts.retain(|_| self.dice.percent(50));
        for (one, other) in self.pairs() {
            if hosts.contains(&one) != hosts.contains(&other) {
                self.cut(&one, &other, Cut::Both, sim);
            }
        }
        self.partitioned(sim, format_args!("{hosts:?} apart from the others"));
    }

    /// The leader is heard by none, or hears none; or only one other is concerned.
    fn silence(&mut self, sim: &mut Sim<'_>) {
        let leader = self.leader();
        self.mend(sim);
        let (is_heard, one_only) = (self.dice.percent(50), self.dice.percent(30));
        for other in self.members.clone().into_iter().filter(|other| *other != leader) {
            let (leader, other) = (name(leader), name(other));
            match is_heard {
                true => self.cut(&other, &leader, Cut::OneWay, sim),
                false => self.cut(&leader, &other, Cut::OneWay, sim),
            }
            if one_only {
                break;
            }
        }
        let what = if is_heard { "hears nobody" } else { "is heard by nobody" };
        self.partitioned(sim, format_args!("n{leader} {what}, but for one: {}", !one_only));
    }

    /// What goes to and from the leader arrives later, all at once: as TCP sends again what was
    /// lost.
    fn hold(&mut self, sim: &mut Sim<'_>) {
        let leader = self.leader();
        self.mend(sim);
        for other in self.members.clone().into_iter().filter(|other| *other != leader) {
            self.cut(&name(leader), &name(other), Cut::Held, sim);
        }
        self.partitioned(sim, format_args!("n{leader} is held up"));
    }

    fn unreliable(&mut self, sim: &mut Sim<'_>) {
        self.mend(sim);
        self.pairs().iter().for_each(|(one, other)| self.links.lose(one, other));
        sim.set_fail_rate(0.02);
        self.note(sim, "links break at random");
    }

    fn slow(&mut self, sim: &mut Sim<'_>) {
        self.mend(sim);
        let latency = self.dice.millis(50..400);
        sim.set_max_message_latency(latency);
        self.note(sim, format_args!("messages take up to {latency:?}"));
    }

    /// As the last sign of a power failure, sometimes.
    fn slow_disks(&mut self, sim: &mut Sim<'_>) {
        self.mend(sim);
        self.record.lock().disks_are_slow = true;
        self.note(sim, "all disks are slow");
        self.blackout_is_due = self.dice.percent(70);
    }

    /// Now and then a node is off for a moment just after someone was elected: what it has
    /// promised to whom must be on its disk.
    fn interrupt_election(&mut self, sim: &mut Sim<'_>) {
        let leaders = self.record.lock().counts.leaders;
        if leaders > std::mem::replace(&mut self.leaders, leaders) && self.dice.percent(25) {
            let place = self.dice.below(self.members.len() as u64) as usize;
            let pause = self.dice.millis(1..40);
            self.crash(self.members[place], pause, sim);
        }
    }

    /// Tells the leader to stop, as before maintenance; its power is off some time later.
    fn stop(&mut self, sim: &mut Sim<'_>) {
        let leader = self.leader();
        self.mend(sim);
        let machine = self.machines.iter().find(|machine| machine.id == leader);
        if let Some(machine) = machine.filter(|_| !self.down.contains_key(&leader)) {
            machine.state.lock().unwrap().stop.notify_one();
            let until = sim.elapsed() + self.dice.millis(500..1500);
            self.stopping.insert(leader, until);
        }
    }

    /// Takes the power from a node. Sometimes its peers learn at once that its connections are
    /// gone, and sometimes they must find out: by an answer from the node when it is back, if they
    /// say anything on them.
    fn crash(&mut self, node: NodeId, pause: Duration, sim: &mut Sim<'_>) {
        if self.down.contains_key(&node) {
            return;
        }
        self.down.insert(node, sim.elapsed() + pause);
        self.stopping.remove(&node);
        let is_noticed = self.dice.percent(50);
        let others: Vec<String> = self.others(node).collect();
        let node = name(node);
        // A dying node says goodbye on its connections, in an order that depends on more than the
        // seed: the ids that the process has given to its tasks. So nobody hears it.
        others.iter().for_each(|other| sim.partition(node.as_str(), other.as_str()));
        sim.crash(node.as_str());
        for other in &others {
            sim.repair(node.as_str(), other.as_str());
            match self.cuts.get(&pair(&node, other)).cloned() {
                Some((one, other, cut)) => self.cut(&one, &other, cut, sim),
                None if is_noticed => self.links.break_off(&node, other),
                None => {}
            }
        }
        self.record.lock().counts.crashes += 1;
        self.note(sim, format_args!("{node} crashes, noticed: {is_noticed}"));
    }

    fn blackout(&mut self, sim: &mut Sim<'_>) {
        for node in self.members.clone() {
            let pause = self.dice.millis(1..2000);
            self.crash(node, pause, sim);
        }
    }

    /// The leader, if anyone led yet.
    fn leader(&self) -> NodeId {
        self.record.lock().last_leader().unwrap_or(self.members[0])
    }

    fn victim(&mut self) -> NodeId {
        match self.dice.percent(50) {
            true => self.leader(),
            false => self.members[self.dice.below(self.members.len() as u64) as usize],
        }
    }

    fn cut(&mut self, one: &str, other: &str, cut: Cut, sim: &mut Sim<'_>) {
        match cut {
            Cut::Both => sim.partition(one, other),
            Cut::OneWay => sim.partition_oneway(one, other),
            Cut::Held => sim.hold(one, other),
        }
        if cut != Cut::Held {
            self.links.lose(one, other);
        }
        self.cuts.insert(pair(one, other), (one.to_string(), other.to_string(), cut));
    }

    fn hosts(&self) -> Vec<String> {
        self.members.iter().map(|id| name(*id)).chain(self.offices.clone()).collect()
    }

    fn others(&self, node: NodeId) -> impl Iterator<Item = String> + use<> {
        self.hosts().into_iter().filter(move |host| *host != name(node))
    }

    fn pairs(&self) -> Vec<(String, String)> {
        let hosts = self.hosts();
        let pairs = hosts.iter().enumerate().flat_map(|(place, one)| {
            hosts[place + 1..].iter().map(move |other| (one.clone(), other.clone()))
        });
        pairs.collect()
    }

    fn partitioned(&self, sim: &Sim<'_>, what: std::fmt::Arguments<'_>) {
        self.record.lock().counts.partitions += 1;
        self.note(sim, what);
    }

    fn note(&self, sim: &Sim<'_>, what: impl std::fmt::Display) {
        self.record.note_at(sim.elapsed(), what);
    }
}
