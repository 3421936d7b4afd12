//! Chance, from a seed: a pinned generator, so that a seed replays after every upgrade.

use std::time::Duration;

use actix_raft_core::random::Random;

/// A chance in a million.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Chance(pub u32);

impl Chance {
    /// Never.
    pub const NEVER: Chance = Chance(0);

    /// So many in a hundred.
    #[must_use]
    pub const fn percent(percent: u32) -> Chance {
        Chance(percent * 10_000)
    }
}

/// Where all chance of a simulation comes from.
#[derive(Clone, Debug)]
pub struct Dice(Random);

impl Dice {
    /// Dice that fall alike for the same seed, for ever.
    #[must_use]
    pub fn new(seed: u64) -> Dice {
        Dice(Random::new(seed))
    }

    /// Other dice, which fall independently of these from now on: so that one part of a world
    /// which draws more or less does not change what happens in another.
    #[must_use]
    pub fn fork(&mut self) -> Dice {
        Dice::new(self.number())
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `limit`, all alike; 0 if the limit is 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        // The product's upper half is the draw scaled to the range, without a modulo's bias.
        ((u128::from(self.number()) * u128::from(limit)) >> 64) as u64
    }

    /// A place in something of this length; 0 if it is empty.
    pub fn place(&mut self, length: usize) -> usize {
        self.below(length as u64) as usize
    }

    /// One of these, of which there is at least one.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.place(choices.len())]
    }

    /// Whether something of this chance happens.
    pub fn happens(&mut self, chance: Chance) -> bool {
        // No draw for what never happens: a calm world is cheap.
        chance.0 > 0 && self.below(1_000_000) < u64::from(chance.0)
    }

    /// A time in `[from, to)`; `from` if that is empty.
    pub fn duration(&mut self, from: Duration, to: Duration) -> Duration {
        let range = to.saturating_sub(from).as_nanos() as u64;
        from + Duration::from_nanos(self.below(range))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_falls_is_pinned_and_in_range() {
        let mut dice = Dice::new(42);
        let fallen: Vec<u64> = (0..6).map(|_| dice.below(1000)).collect();
        assert_eq!(fallen, [741, 159, 278, 344, 38, 868]);
        assert_eq!(dice.below(0), 0);
        let (from, to) = (Duration::from_millis(1), Duration::from_millis(2));
        assert!((0..1000).map(|_| dice.duration(from, to)).all(|d| d >= from && d < to));
        let half = (0..10_000).filter(|_| dice.happens(Chance::percent(50))).count();
        assert!((4_700..5_300).contains(&half), "{half}");
    }
}
