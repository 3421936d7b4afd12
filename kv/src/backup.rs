//! All keys as a stream of bytes: what a snapshot and a backup file hold.
//!
//! ```text
//!   length u32 | Item, protobuf      for each key, in order
//!   0 u32 | count u64                the end
//! ```
//!
//! Numbers are little-endian. The stream is the same on all servers that hold the same.

use std::io::{self, Read, Write};

use bytes::Bytes;
use prost::Message;

use crate::command::Item;
use crate::settings::{MAX_KEY_BYTES, MAX_VALUE_BYTES};

/// The most that an item may take, encoded.
const MAX_ITEM_BYTES: usize = MAX_KEY_BYTES + MAX_VALUE_BYTES + 64;

/// Writes items, then the end.
pub(crate) fn write_items(
    items: impl Iterator<Item = Item>,
    out: &mut dyn Write,
) -> io::Result<u64> {
    let mut count = 0u64;
    for item in items {
        let bytes = item.encode_to_vec();
        out.write_all(&(bytes.len() as u32).to_le_bytes())?;
        out.write_all(&bytes)?;
        count += 1;
    }
    out.write_all(&0u32.to_le_bytes())?;
    out.write_all(&count.to_le_bytes())?;
    Ok(count)
}

/// Reads items back, one by one.
pub(crate) struct Items<R> {
    from: R,
    read: u64,
    ended: bool,
}

impl<R: Read> Items<R> {
    pub(crate) fn new(from: R) -> Items<R> {
        Items { from, read: 0, ended: false }
    }

    fn read_item(&mut self) -> io::Result<Option<Item>> {
        let length = u32::from_le_bytes(self.number()?) as usize;
        if length == 0 {
            let count = u64::from_le_bytes(self.number()?);
            return match count == self.read {
                true => Ok(None),
                false => Err(invalid(format!("{} keys where {count} were written", self.read))),
            };
        }
        if length > MAX_ITEM_BYTES {
            return Err(invalid(format!("an item of {length} bytes")));
        }
        let mut bytes = vec![0; length];
        self.from.read_exact(&mut bytes)?;
        self.read += 1;
        Item::decode(Bytes::from(bytes)).map(Some).map_err(|error| invalid(error.to_string()))
    }

    fn number<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.from.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

fn invalid(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Ends after the end of the stream, or after an error.
impl<R: Read> Iterator for Items<R> {
    type Item = io::Result<Item>;

    fn next(&mut self) -> Option<io::Result<Item>> {
        if self.ended {
            return None;
        }
        let item = self.read_item().transpose();
        self.ended = !matches!(item, Some(Ok(_)));
        item
    }
}

/// Copies a stream, and returns how many items it has; an error if it is not whole.
pub(crate) fn copy_checked(from: &mut dyn Read, to: &mut dyn Write) -> io::Result<u64> {
    let mut items = Items::new(from);
    let mut failed = None;
    let whole = items.by_ref().map_while(|item| item.map_err(|error| failed = Some(error)).ok());
    let count = write_items(whole, to)?;
    match failed {
        Some(error) => Err(error),
        None => Ok(count),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(n: u64) -> Item {
        Item { key: format!("k{n}"), value: vec![n as u8; 10].into(), version: n }
    }

    #[test]
    fn what_is_written_is_read_back_and_half_of_it_is_told_from_the_whole() {
        let mut bytes = Vec::new();
        assert_eq!(write_items((1..=3).map(item), &mut bytes).unwrap(), 3);
        let read: Vec<Item> = Items::new(&bytes[..]).map(Result::unwrap).collect();
        assert_eq!(read, (1..=3).map(item).collect::<Vec<_>>());
        for cut in 0..bytes.len() {
            assert!(copy_checked(&mut &bytes[..cut], &mut io::sink()).is_err(), "cut at {cut}");
        }
        let mut copy = Vec::new();
        assert_eq!(copy_checked(&mut &bytes[..], &mut copy).unwrap(), 3);
        assert_eq!(copy, bytes);
    }

    #[test]
    fn a_length_that_no_item_has_is_refused_before_memory_is_reserved() {
        let bytes = u32::MAX.to_le_bytes();
        assert!(Items::new(&bytes[..]).next().unwrap().is_err());
    }
}
