//! Sets of messages on their way, each kept once and named by a number.

use std::hash::BuildHasher;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::Hashing;

/// One after the other in one long list: a bit for each message, and no word without a bit at the
/// end. The first, number 0, has no message.
pub(super) struct Networks {
    words: Vec<u64>,
    starts: Vec<usize>,
    numbers: HashTable<u32>,
}

impl Default for Networks {
    fn default() -> Networks {
        let mut networks =
            Networks { words: Vec::new(), starts: Vec::new(), numbers: HashTable::new() };
        networks.number(&[]);
        networks
    }
}

impl Networks {
    fn get(&self, number: u32) -> &[u64] {
        let number = number as usize;
        let end = self.starts.get(number + 1).copied().unwrap_or(self.words.len());
        &self.words[self.starts[number]..end]
    }

    /// The messages of a network, in order.
    pub(super) fn messages(&self, number: u32) -> impl Iterator<Item = u32> + '_ {
        let bits = |word: u64| (0..u64::BITS).filter(move |bit| word >> bit & 1 == 1);
        let words = (0..).zip(self.get(number));
        words.flat_map(move |(at, word)| bits(*word).map(move |bit| at * u64::BITS + bit))
    }

    /// Whether the one network has all messages of the other.
    pub(super) fn contains(&self, number: u32, other: u32) -> bool {
        let (have, want) = (self.get(number), self.get(other));
        number == other
            || (want.len() <= have.len() && have.iter().zip(want).all(|(a, b)| b & !a == 0))
    }

    /// The number of the network that has these messages too.
    pub(super) fn joined(&mut self, number: u32, more: &[u32]) -> u32 {
        let has = |words: &[u64], message: &u32| {
            let word = words.get((message / u64::BITS) as usize);
            word.is_some_and(|word| word >> (message % u64::BITS) & 1 == 1)
        };
        let old = self.get(number);
        if more.iter().all(|message| has(old, message)) {
            return number;
        }
        let mut words = old.to_vec();
        for message in more {
            let at = (message / u64::BITS) as usize;
            words.resize(words.len().max(at + 1), 0);
            words[at] |= 1 << (message % u64::BITS);
        }
        self.number(&words)
    }

    /// The number of the network of these words.
    fn number(&mut self, words: &[u64]) -> u32 {
        let hash = |words: &[u64]| Hashing::default().hash_one(words);
        let mut numbers = std::mem::take(&mut self.numbers);
        let same = |number: &u32| self.get(*number) == words;
        let hash_of = |number: &u32| hash(self.get(*number));
        let number = match numbers.entry(hash(words), same, hash_of) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(place) => {
                let new = self.starts.len() as u32;
                place.insert(new);
                self.starts.push(self.words.len());
                self.words.extend(words);
                new
            }
        };
        self.numbers = numbers;
        number
    }
}
