//! The randomness of election timeouts: a pinned generator, so that a seed replays for ever.

use core::time::Duration;

/// SplitMix64 (Steele, Lea, Flood 2014).
#[derive(Clone, Debug, Hash)]
pub struct Random {
    state: u64,
}

impl Random {
    /// A generator that will always give the same numbers for the same seed.
    #[must_use]
    pub fn new(seed: u64) -> Random {
        Random { state: seed }
    }

    /// The next number, uniform over all.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A duration uniform in `[shortest, 2 * shortest)`.
    pub fn timeout(&mut self, shortest: Duration) -> Duration {
        let nanos = u64::try_from(shortest.as_nanos()).unwrap_or(u64::MAX / 2).max(1);
        // The product's upper half is the draw scaled to the range, without a modulo's bias.
        let scaled = (u128::from(self.next_u64()) * u128::from(nanos)) >> 64;
        shortest + Duration::from_nanos(scaled as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_a_seed_are_pinned() {
        let mut random = Random::new(1234567);
        let first: Vec<u64> = (0..3).map(|_| random.next_u64()).collect();
        assert_eq!(first, [6457827717110365317, 3203168211198807973, 9817491932198370423]);
    }

    #[test]
    fn timeouts_cover_the_whole_range_and_nothing_else() {
        let mut random = Random::new(7);
        let shortest = Duration::from_millis(100);
        let mut tenths = [0; 10];
        for _ in 0..10_000 {
            let timeout = random.timeout(shortest);
            assert!(timeout >= shortest && timeout < shortest * 2, "{timeout:?}");
            tenths[((timeout - shortest).as_micros() / 10_000) as usize] += 1;
        }
        assert!(tenths.iter().all(|count| (800..1200).contains(count)), "{tenths:?}");
    }
}
