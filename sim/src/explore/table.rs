//! A hash table of numbers: of things that are kept in a list, and found again by what they are.

use std::hash::{BuildHasherDefault, Hasher};

const EMPTY: u32 = u32::MAX;

/// Finds the number under which a thing stands in a list that somebody else keeps. Five to ten
/// bytes a thing, where a `HashSet` would hold every thing a second time.
#[derive(Default)]
pub(super) struct Table {
    slots: Vec<u32>,
    len: usize,
}

impl Table {
    /// The number of the thing with this hash for which `same` holds. If there is none, `new`
    /// stands for it from now on. `hash_of` tells the hash of those that are in the list.
    pub(super) fn find_or_insert(
        &mut self,
        hash: u64,
        new: u32,
        same: impl Fn(u32) -> bool,
        hash_of: impl Fn(u32) -> u64,
    ) -> Option<u32> {
        if self.len * 4 >= self.slots.len() * 3 {
            self.grow(hash_of);
        }
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        while self.slots[at] != EMPTY {
            if same(self.slots[at]) {
                return Some(self.slots[at]);
            }
            at = (at + 1) & mask;
        }
        self.slots[at] = new;
        self.len += 1;
        None
    }

    fn grow(&mut self, hash_of: impl Fn(u32) -> u64) {
        let size = (self.slots.len() * 2).max(1 << 10);
        let old = std::mem::replace(&mut self.slots, vec![EMPTY; size]);
        for number in old.into_iter().filter(|number| *number != EMPTY) {
            let mut at = hash_of(number) as usize & (size - 1);
            while self.slots[at] != EMPTY {
                at = (at + 1) & (size - 1);
            }
            self.slots[at] = number;
        }
    }
}

/// A hasher for small keys of our own making, the same in every run.
#[derive(Default)]
pub(super) struct Mixer(u64);

/// For maps whose keys are numbers.
pub(super) type Mixing = BuildHasherDefault<Mixer>;

impl Mixer {
    fn mix(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word) * u128::from(0x9e37_79b9_7f4a_7c15_u64);
        self.0 = (product as u64).rotate_left(23) ^ (product >> 64) as u64;
    }
}

impl Hasher for Mixer {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.mix(u64::from_le_bytes(word) ^ (chunk.len() as u64) << 56);
        }
    }

    fn write_u8(&mut self, n: u8) {
        self.mix(n.into());
    }

    fn write_u32(&mut self, n: u32) {
        self.mix(n.into());
    }

    fn write_u64(&mut self, n: u64) {
        self.mix(n);
    }

    fn write_u128(&mut self, n: u128) {
        self.mix(n as u64);
        self.mix((n >> 64) as u64);
    }

    fn write_usize(&mut self, n: usize) {
        self.mix(n as u64);
    }

    fn write_isize(&mut self, n: isize) {
        self.mix(n as u64);
    }

    fn finish(&self) -> u64 {
        // The lowest bits choose the slot.
        let mut z = self.0;
        z = (z ^ (z >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
        z ^ (z >> 32)
    }
}
