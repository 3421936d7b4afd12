//! Faults as they begin and end.

use std::time::Duration;

use actix_raft_core::event::Event;
use actix_raft_core::status::RoleName;
use actix_raft_core::types::NodeId;

use super::{Happening, World};
use crate::coverage::Situation;
use crate::dice::Dice;
use crate::disk::Trap;
use crate::fault::{Crash, Cut, Fault, Planned, Target};
use crate::laws::Broken;
use crate::laws::quorums::is_quorum;
use crate::workload::Workload;

/// From whom to whom.
type Links = Vec<(usize, usize)>;

/// A fault that has begun: whom it struck.
pub(crate) struct Active {
    fault: Fault,
    at: usize,
    links: Links,
    until: actix_raft_core::types::Time,
    /// Whether a flapping partition is in its bad half.
    is_cut: bool,
}

impl<W: Workload> World<W> {
    pub(super) fn leader(&self) -> Option<usize> {
        let leaders = self.servers.iter().enumerate().filter_map(|(at, server)| {
            let status = server.status()?;
            (status.role == RoleName::Leader).then_some((status.current_term, at))
        });
        leaders.max().map(|(_, at)| at)
    }

    fn find(&self, target: Target) -> usize {
        match target {
            Target::Node(at) => at,
            Target::Leader(otherwise) => self.leader().unwrap_or(otherwise),
        }
    }

    pub(super) fn fault_begins(&mut self, place: usize) -> Result<(), Broken> {
        let Planned { lasts, fault, .. } = self.plan.faults[place];
        self.begin(place, fault, lasts)
    }

    /// A fault begins, and ends after a while.
    pub(super) fn begin(
        &mut self,
        place: usize,
        fault: Fault,
        lasts: Duration,
    ) -> Result<(), Broken> {
        self.counts.faults += 1;
        self.tell(|| format!("begins: {fault}"));
        let until = self.now + lasts;
        let mut active = Active { fault, at: 0, links: Links::new(), until, is_cut: false };
        match fault {
            Fault::Partition(cut) => {
                active.links = self.links(cut);
                self.cut(&active.links);
            }
            Fault::Flapping(cut, _) => {
                active.links = self.links(cut);
                self.after(Duration::ZERO, Happening::Flaps(place));
            }
            Fault::Clog(cut) => {
                active.links = self.links(cut);
                self.network.clog(&active.links);
            }
            Fault::CrashAll(seed) => {
                let mut dice = Dice::new(seed);
                self.coverage.note(Situation::CrashedAll);
                for at in 0..self.servers.len() {
                    self.crash(at, Crash::Power(dice.number()))?;
                }
            }
            Fault::SlowLinks(target, _)
            | Fault::Crash(target, _)
            | Fault::CrashInSave(target, ..)
            | Fault::Pause(target)
            | Fault::DiskStall(target)
            | Fault::DiskSlow(target, _)
            | Fault::DiskError(target, _)
            | Fault::DiskErrorInOpening(target, _)
            | Fault::DiskFull(target)
            | Fault::BitFlip(target, _)
            | Fault::SnapshotFlip(target, _)
            | Fault::DiskLow(target)
            | Fault::Wipe(target)
            | Fault::ApplyStall(target)
            | Fault::Drift(target, _)
            | Fault::ClockJump(target, _)
            | Fault::ClockSetBack(target, _) => {
                active.at = self.find(target);
                self.strike(active.at, fault, until)?;
            }
        }
        self.active.insert(place, active);
        self.after(lasts, Happening::FaultEnds(place));
        Ok(())
    }

    /// A fault strikes one server.
    fn strike(
        &mut self,
        at: usize,
        fault: Fault,
        until: actix_raft_core::types::Time,
    ) -> Result<(), Broken> {
        let now = self.now;
        let patience = self.plan.config.election_timeout;
        // Enough others must be left to have what it loses.
        let may_lose = matches!(fault, Fault::BitFlip(..)) && self.may_lose(at);
        let may_wipe = matches!(fault, Fault::Wipe(_)) && self.may_wipe(at);
        let server = &mut self.servers[at];
        match fault {
            Fault::SlowLinks(_, by) => self.network.slow_down(at, by),
            Fault::Crash(_, crash) => self.crash(at, crash)?,
            Fault::CrashInSave(_, crash, operations) => {
                server.disk.trap = Some(Trap::Crash(crash, operations, until + patience));
            }
            Fault::Pause(_) => {
                server.paused_until = server.paused_until.max(until);
                self.coverage.note(Situation::Paused);
                self.queue.put(until, Happening::Resume(at));
            }
            Fault::DiskStall(_) => {
                server.disk.stalled_until = server.disk.stalled_until.max(until);
                self.coverage.note(Situation::DiskStalled);
            }
            Fault::DiskSlow(_, by) => server.disk.slower += by,
            Fault::DiskError(_, operations) => server.disk.trap = Some(Trap::Error(operations)),
            Fault::DiskErrorInOpening(_, operation) => server.disk.opening = Some(operation),
            Fault::DiskFull(_) => server.disk.set_full(true),
            Fault::BitFlip(_, seed) if may_lose => server.flip = Some(seed),
            Fault::BitFlip(..) => {}
            Fault::SnapshotFlip(_, seed) => server.flip_incoming = Some(seed),
            Fault::DiskLow(_) => self.disk_space(at, true),
            Fault::Wipe(_) if may_wipe => self.wipe(at, Crash::Process)?,
            Fault::Wipe(_) => {}
            Fault::ApplyStall(_) => {
                server.apply_stalled_until = server.apply_stalled_until.max(until);
            }
            Fault::Drift(_, rate) => {
                server.clock.set_rate(rate, now);
                self.clock_changed(at);
            }
            Fault::ClockJump(_, by) => {
                server.clock.jump(by, now);
                self.coverage.note(Situation::ClockJumped);
                self.clock_changed(at);
            }
            Fault::ClockSetBack(_, by) => {
                server.clock.set_back(by, now);
                self.coverage.note(Situation::ClockJumped);
                self.clock_changed(at);
            }
            Fault::Partition(_) | Fault::Flapping(..) | Fault::Clog(_) | Fault::CrashAll(_) => {}
        }
        Ok(())
    }

    pub(super) fn fault_ends(&mut self, place: usize) {
        let Some(active) = self.active.remove(&place) else { return };
        let Active { fault, at, links, is_cut, .. } = active;
        self.tell(|| format!("ends: {fault}"));
        let patience = self.plan.config.election_timeout;
        let server = &mut self.servers[at];
        match fault {
            Fault::Partition(_) => self.network.mend(&links),
            Fault::Flapping(..) => {
                if is_cut {
                    self.network.mend(&links);
                }
            }
            Fault::Clog(_) => {
                for packet in self.network.unclog(&links) {
                    let arrival = self.network.arrival(self.now, &packet, &self.weather);
                    self.queue.put(arrival, Happening::Arrives(packet));
                }
            }
            Fault::SlowLinks(_, by) => self.network.speed_up(at, by),
            Fault::DiskLow(_) => self.disk_space(at, false),
            Fault::SnapshotFlip(..) => server.flip_incoming = None,
            Fault::Crash(..) | Fault::Wipe(_) => self.after(Duration::ZERO, Happening::Restart(at)),
            Fault::CrashInSave(..) => server.disk.trap = None,
            Fault::DiskError(..) => {
                server.disk.trap = None;
                // It may have been set for an operation that has not come yet.
                server.disk.repair();
            }
            Fault::CrashAll(_) => {
                for at in 0..self.servers.len() {
                    let wait = self.dice.duration(Duration::ZERO, patience);
                    self.after(wait, Happening::Restart(at));
                }
            }
            Fault::Pause(_) => {
                let leads = self.servers[at].status().is_some_and(|status| {
                    status.role == RoleName::Leader
                        && self.laws.latest_leader().is_some_and(|(t, _)| t > status.current_term)
                });
                if leads {
                    self.coverage.note(Situation::LeaderPaused);
                }
            }
            Fault::DiskSlow(_, by) => server.disk.slower = server.disk.slower.saturating_sub(by),
            Fault::DiskErrorInOpening(..) => server.disk.opening = None,
            Fault::DiskFull(_) => server.disk.set_full(false),
            Fault::Drift(..) => {
                server.clock.set_rate(self.plan.clocks[at], self.now);
                self.clock_changed(at);
            }
            Fault::DiskStall(_)
            | Fault::BitFlip(..)
            | Fault::ApplyStall(_)
            | Fault::ClockJump(..)
            | Fault::ClockSetBack(..) => {}
        }
    }

    pub(super) fn disk_space(&mut self, at: usize, low: bool) {
        self.servers[at].low = low;
        self.hears(at, Event::DiskSpace { low });
    }

    /// All that has begun ends now.
    pub(super) fn end_all(&mut self) -> Result<(), Broken> {
        for place in self.active.keys().copied().collect::<Vec<_>>() {
            self.fault_ends(place);
        }
        self.network.mend_all();
        for at in 0..self.servers.len() {
            let server = &mut self.servers[at];
            server.paused_until = self.now;
            server.apply_stalled_until = self.now;
            server.disk.stalled_until = self.now;
            server.disk.trap = None;
            server.disk.opening = None;
            server.disk.repair();
            (server.flip, server.flip_incoming) = (None, None);
            self.resume(at);
            // What a disk was to finish much later it finishes now.
            let life = self.servers[at].life;
            self.after(Duration::ZERO, Happening::Saved(at, life));
            self.after(Duration::ZERO, Happening::Worked(at, life));
            // Damage that nobody has read yet would be found in good times: opening reads it all.
            if self.servers[at].disk.flipped {
                self.crash(at, Crash::Process)?;
            }
            self.after(Duration::ZERO, Happening::Restart(at));
        }
        Ok(())
    }

    pub(super) fn flaps(&mut self, place: usize) {
        let now = self.now;
        let Some(active) = self.active.get_mut(&place) else { return };
        let Fault::Flapping(_, period) = active.fault else { return };
        active.is_cut = !active.is_cut;
        let (links, is_cut) = (active.links.clone(), active.is_cut);
        let again = now + period < active.until;
        match is_cut {
            true => self.cut(&links),
            false => self.network.mend(&links),
        }
        if again || is_cut {
            self.after(period, Happening::Flaps(place));
        }
    }

    /// A timer that was set by the clock as it was is set anew.
    pub(super) fn clock_changed(&mut self, at: usize) {
        if let Some(running) = self.servers[at].running() {
            running.timer = None;
        }
        self.arm_timer(at);
    }

    pub(crate) fn cut(&mut self, links: &[(usize, usize)]) {
        self.coverage.note(Situation::PartitionBegan);
        self.network.cut(links);
        let Some(leader) = self.leader() else { return };
        let reached = |id: NodeId| {
            let at = id.0 as usize - 1;
            at == leader || !(self.network.is_cut(leader, at) || self.network.is_cut(at, leader))
        };
        let members = self.shadows[leader].live.membership();
        if members.is_some_and(|(_, members)| !is_quorum(members, reached)) {
            self.coverage.note(Situation::LeaderCutOff);
        }
    }

    /// The links that a cut breaks now.
    fn links(&self, cut: Cut) -> Links {
        let nodes = self.servers.len();
        let all = (0..nodes).flat_map(|from| (0..nodes).map(move |to| (from, to)));
        let all = all.filter(|(from, to)| from != to);
        match cut {
            Cut::Halves(seed) => {
                let side = sides(nodes, seed);
                all.filter(|(from, to)| side[*from] != side[*to]).collect()
            }
            Cut::OneWay(seed) => {
                let side = sides(nodes, seed);
                all.filter(|(from, to)| side[*from] && !side[*to]).collect()
            }
            Cut::Alone(target) => {
                let alone = self.find(target);
                all.filter(|(from, to)| *from == alone || *to == alone).collect()
            }
            Cut::Deaf(target) => {
                let deaf = self.find(target);
                all.filter(|(_, to)| *to == deaf).collect()
            }
            Cut::Mute(target) => {
                let mute = self.find(target);
                all.filter(|(from, _)| *from == mute).collect()
            }
            Cut::LeaderInMinority(seed) => {
                let mut order = shuffled(nodes, seed);
                let leader = self.leader().unwrap_or(0);
                order.sort_by_key(|at| *at != leader);
                let minority = &order[..nodes.div_ceil(2) - usize::from(nodes % 2 == 1)];
                let inside = |at: &usize| minority.contains(at);
                all.filter(|(from, to)| inside(from) != inside(to)).collect()
            }
            Cut::Chain(seed) => {
                let order = shuffled(nodes, seed);
                let place = |at: usize| order.iter().position(|other| *other == at).unwrap_or(0);
                all.filter(|(from, to)| place(*from).abs_diff(place(*to)) > 1).collect()
            }
            Cut::Links(seed) => {
                let mut dice = Dice::new(seed);
                all.filter(|_| dice.below(3) == 0).collect()
            }
            Cut::SomeOf(target, seed) => {
                let (mut dice, one) = (Dice::new(seed), self.find(target));
                let of_one = all.filter(|(from, to)| *from == one || *to == one);
                of_one.filter(|_| dice.below(2) == 0).collect()
            }
        }
    }
}

fn sides(nodes: usize, seed: u64) -> Vec<bool> {
    let mut dice = Dice::new(seed);
    let mut sides: Vec<bool> = (0..nodes).map(|_| dice.below(2) == 0).collect();
    // So that there are two.
    let (one, other) = (dice.place(nodes), 1 + dice.place(nodes.saturating_sub(1)));
    sides[one] = true;
    sides[(one + other) % nodes] = false;
    sides
}

fn shuffled(nodes: usize, seed: u64) -> Vec<usize> {
    let mut dice = Dice::new(seed);
    let mut order: Vec<usize> = (0..nodes).collect();
    for last in (1..nodes).rev() {
        order.swap(last, dice.place(last + 1));
    }
    order
}
