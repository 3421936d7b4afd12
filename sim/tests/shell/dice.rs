//! The randomness of a run: all of it comes from the run's seed.

use std::ops::Range;
use std::time::Duration;

use actix_raft_core::random::Random;

pub struct Dice(Random);

impl Dice {
    /// Dice for one purpose within the run of this seed: who throws more often changes nothing for
    /// the others.
    pub fn new(seed: u64, purpose: u64) -> Dice {
        let mixed = Random::new(seed).next_u64() ^ purpose.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Dice(Random::new(mixed))
    }

    pub fn any(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.any() % bound
    }

    pub fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }

    pub fn millis(&mut self, range: Range<u64>) -> Duration {
        Duration::from_millis(range.start + self.below(range.end - range.start))
    }
}
