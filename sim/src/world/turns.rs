//! When servers act: what has arrived waits until they turn to it, and their timers fire.

use actix_raft_core::event::Event;
use actix_raft_core::types::Time;

use super::{Happening, World};
use crate::dice::Chance;
use crate::laws::Broken;
use crate::workload::Workload;

/// How often a server is told of a timeout that is not due.
const TOO_EARLY: Chance = Chance(5_000);

impl<W: Workload> World<W> {
    /// Something is brought to a server, which will turn to it.
    pub(crate) fn hears(&mut self, at: usize, event: Event) {
        if let Some(running) = self.servers[at].running() {
            running.inbox.push(event);
            self.will_turn(at);
        }
    }

    pub(super) fn will_turn(&mut self, at: usize) {
        let turn = self.dice.duration(self.weather.turn.0, self.weather.turn.1);
        let (life, paused) = (self.servers[at].life, self.servers[at].paused_until > self.now);
        let Some(running) = self.servers[at].running() else { return };
        if !running.wakes && !paused {
            running.wakes = true;
            self.after(turn, Happening::Turns(at, life));
        }
    }

    pub(super) fn resume(&mut self, at: usize) {
        if self.servers[at].paused_until <= self.now {
            self.tell(|| format!("server {} goes on", at + 1));
            let relies_on_clocks = self.plan.config.lease.is_some() && self.busy;
            if relies_on_clocks && self.shown.is_none() && self.servers[at].leads() {
                self.glance_at(at);
            }
            self.arm_timer(at);
            self.will_turn(at);
        }
    }

    pub(super) fn timer_fires(&mut self, at: usize, when: Time) {
        let (now, clock) = (self.now, self.servers[at].clock);
        let Some(running) = self.servers[at].running() else { return };
        if running.timer != Some(when) {
            return;
        }
        running.timer = None;
        let due = running.raft.deadline().is_some_and(|deadline| deadline <= clock.show(now));
        if due {
            self.hears(at, Event::Timeout);
        } else {
            self.arm_timer(at);
        }
    }

    /// Sets the timer of a server for its core's deadline.
    pub(crate) fn arm_timer(&mut self, at: usize) {
        let (now, clock, life) = (self.now, self.servers[at].clock, self.servers[at].life);
        let Some(running) = self.servers[at].running() else { return };
        let Some(deadline) = running.raft.deadline() else { return };
        let when = clock.when(deadline).max(now);
        // One that fires too early finds out.
        if running.timer.is_none_or(|armed| when < armed) {
            running.timer = Some(when);
            self.queue.put(when, Happening::TimerFires(at, life, when));
        }
    }

    /// A server handles what has arrived.
    pub(super) fn turn(&mut self, at: usize) -> Result<(), Broken> {
        let paused = self.servers[at].paused_until > self.now;
        let Some(running) = self.servers[at].running() else { return Ok(()) };
        running.wakes = false;
        if paused {
            return Ok(());
        }
        let mut events = std::mem::take(&mut running.inbox);
        events.extend(self.take_operations(at));
        if self.shown.is_none() && self.dice.happens(TOO_EARLY) {
            events.push(Event::Timeout);
        }
        if self.weather.batches {
            return self.step(at, &events);
        }
        for event in events {
            if self.servers[at].is_up() {
                self.step(at, &[event])?;
            }
        }
        Ok(())
    }
}
