//! A node's own clock: it may run fast or slow, and jump.

use std::time::Duration;

use actix_raft_core::types::Time;

/// A clock that agrees with the world's time up to a rate and an offset.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// How much it counts in a million of the world's nanoseconds.
    rate: u64,
    /// A moment of the world, and what the clock showed then.
    world: Time,
    shown: Time,
}

/// The rate of a clock that runs as the world does.
pub(crate) const TRUE_RATE: u64 = 1_000_000;

impl Clock {
    pub(crate) fn new(rate: u64, now: Time) -> Clock {
        Clock { rate: rate.max(1), world: now, shown: now }
    }

    /// What it shows at this moment of the world.
    pub(crate) fn show(&self, now: Time) -> Time {
        let passed = u128::from(now.0.saturating_sub(self.world.0));
        Time(self.shown.0 + (passed * u128::from(self.rate) / 1_000_000) as u64)
    }

    /// The moment of the world at which it will show this.
    pub(crate) fn when(&self, shown: Time) -> Time {
        let missing = u128::from(shown.0.saturating_sub(self.shown.0));
        Time(self.world.0 + (missing * 1_000_000).div_ceil(u128::from(self.rate)) as u64)
    }

    /// From now on it runs at this rate.
    pub(crate) fn set_rate(&mut self, rate: u64, now: Time) {
        *self = Clock { rate: rate.max(1), world: now, shown: self.show(now) };
    }

    /// It jumps ahead.
    pub(crate) fn jump(&mut self, ahead: Duration, now: Time) {
        *self = Clock { rate: self.rate, world: now, shown: self.show(now) + ahead };
    }

    /// It is set back.
    pub(crate) fn set_back(&mut self, by: Duration, now: Time) {
        let shown = Time(self.show(now).0.saturating_sub(by.as_nanos() as u64));
        *self = Clock { rate: self.rate, world: now, shown };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_is_the_first_moment_that_shows_a_time() {
        let mut clock = Clock::new(TRUE_RATE, Time(5));
        clock.set_rate(1_300_007, Time(1_000));
        clock.jump(Duration::from_nanos(77), Time(2_000));
        for shown in 4_000..4_100 {
            let when = clock.when(Time(shown));
            assert!(clock.show(when) >= Time(shown));
            assert!(clock.show(Time(when.0 - 1)) < Time(shown));
        }
        clock.set_back(Duration::from_secs(1), Time(9_000));
        assert_eq!(clock.show(Time(9_000)), Time(0));
    }
}
