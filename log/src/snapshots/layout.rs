//! The bytes of a snapshot's file, and its names.
//!
//! ```text
//!   | header: cluster, last included position, membership | block | block | ... | footer |
//!
//!   header: | magic u64 | version u32 | length u32 | crc u32 | body |
//!   block:  | stored length u32 | length u32 | crc u32 | up to 64 KiB of the state machine |
//!   footer: | 0 u32 | 0 u32 | bytes u64 | blocks u64 | crc of all before it u32 |
//! ```
//!
//! Nothing in it tells one server from another, so that two servers' snapshots of one position are
//! equal byte for byte. `docs/disk-format.md` tells the rest.

use actix_raft_core::snapshot::Snapshot;
use actix_raft_core::stored::Base;
use actix_raft_core::types::LogPosition;

use crate::format::VERSION;
use crate::record::{base, put_base_body};

/// How many bytes of the state machine are in a block, but for the last.
pub(crate) const BLOCK_BYTES: usize = 64 << 10;
/// The length of a header without its body.
pub(crate) const HEAD_BYTES: usize = 20;
/// The length of a block's header.
pub(crate) const BLOCK_HEAD_BYTES: usize = 12;
/// The length of the footer.
pub(crate) const FOOTER_BYTES: usize = 28;
/// The longest body of a header: a membership of many thousand servers.
pub(crate) const MAX_BODY_BYTES: usize = 16 << 20;

const MAGIC: [u8; 8] = *b"ARAFTSNP";

/// The name of a snapshot's file.
pub(crate) fn snapshot_name(position: LogPosition) -> String {
    format!("snapshot-{:016x}-{:016x}.snap", position.index.0, position.term.0)
}

/// The name under which one is built: the `n`-th of this life, so that no two share one.
pub(crate) fn part_name(position: LogPosition, n: u64) -> String {
    format!("snapshot-{:016x}-{:016x}-{n}.part", position.index.0, position.term.0)
}

/// The name under which one is received. It tells all that tells it from others.
pub(crate) fn incoming_name(snapshot: &Snapshot) -> String {
    let LogPosition { term, index } = snapshot.last_included();
    let (size, checksum) = (snapshot.size, snapshot.checksum);
    format!("snapshot-{:016x}-{:016x}-{size:016x}-{checksum:08x}.incoming", index.0, term.0)
}

/// The name of one that is damaged and no longer used.
pub(crate) fn damaged_name(name: &str) -> String {
    format!("{name}.damaged")
}

/// The position in the name of a snapshot's file, if it is one.
pub(crate) fn position_of(name: &str) -> Option<LogPosition> {
    match kind_of(name)? {
        (Kind::Whole, position) => Some(position),
        (Kind::Part | Kind::Incoming, _) => None,
    }
}

/// What a file is, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A snapshot.
    Whole,
    /// One being built.
    Part,
    /// One being received.
    Incoming,
}

/// What a file is, and of which position, if it is one of ours.
pub(crate) fn kind_of(name: &str) -> Option<(Kind, LogPosition)> {
    let (digits, ending) = name.strip_prefix("snapshot-")?.rsplit_once('.')?;
    let numbers: Vec<&str> = digits.split('-').collect();
    let (kind, [index, term]) = match (ending, numbers.as_slice()) {
        ("snap", [index, term]) => (Kind::Whole, [index, term]),
        ("part", [index, term, _]) => (Kind::Part, [index, term]),
        ("incoming", [index, term, _, _]) => (Kind::Incoming, [index, term]),
        _ => return None,
    };
    let number = |digits: &str| match digits.len() {
        16 => u64::from_str_radix(digits, 16).ok(),
        _ => None,
    };
    Some((kind, LogPosition::new(number(term)?, number(index)?)))
}

/// A header; its body's length is limited by [`MAX_BODY_BYTES`].
pub(crate) fn encode_header(cluster_id: &str, base: &Base) -> Vec<u8> {
    let mut header = vec![0; HEAD_BYTES];
    // The cluster's id is no longer than 256 bytes.
    header.extend_from_slice(&(cluster_id.len() as u16).to_le_bytes());
    header.extend_from_slice(cluster_id.as_bytes());
    put_base_body(&mut header, base);
    let length = header.len() - HEAD_BYTES;
    header[..8].copy_from_slice(&MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    header[12..16].copy_from_slice(&(length as u32).to_le_bytes());
    let crc = header_crc(&header[..16], &header[HEAD_BYTES..]);
    header[16..HEAD_BYTES].copy_from_slice(&crc.to_le_bytes());
    header
}

fn header_crc(head: &[u8], body: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(head);
    crc.update(body);
    crc.finalize()
}

/// What is wrong with a header.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BadHeader {
    /// It is of this version.
    Version(u32),
    /// It is damaged.
    Damaged(&'static str),
}

/// The length of the body behind the begin of a header.
pub(crate) fn body_length(head: &[u8; HEAD_BYTES]) -> Result<usize, BadHeader> {
    if head[..8] != MAGIC {
        return Err(BadHeader::Damaged("it does not begin as a snapshot does"));
    }
    let length = u32_at(head, 12) as usize;
    match length <= MAX_BODY_BYTES {
        true => Ok(length),
        false => Err(BadHeader::Damaged("the length of the header is wrong")),
    }
}

/// What a header says: whose snapshot it is, and of what.
pub(crate) fn decode_header(
    head: &[u8; HEAD_BYTES],
    body: &[u8],
) -> Result<(String, Base), BadHeader> {
    if u32_at(head, 16) != header_crc(&head[..16], body) {
        return Err(BadHeader::Damaged("the checksum of the header is wrong"));
    }
    match u32_at(head, 8) {
        VERSION => {}
        version => return Err(BadHeader::Version(version)),
    }
    let short = BadHeader::Damaged("the header ends early");
    let Some((length, rest)) = body.split_first_chunk::<2>() else { return Err(short) };
    let length = usize::from(u16::from_le_bytes(*length));
    let Some((cluster, rest)) = rest.split_at_checked(length) else { return Err(short) };
    let base = base(rest).map_err(BadHeader::Damaged)?;
    Ok((String::from_utf8_lossy(cluster).into_owned(), base))
}

/// A block's header. The checksum comes before the bytes: one behind them would make the checksum
/// of the whole file independent of them.
pub(crate) fn encode_block_head(number: u64, stored: &[u8], length: usize) -> [u8; 12] {
    let mut head = [0; BLOCK_HEAD_BYTES];
    head[..4].copy_from_slice(&(stored.len() as u32).to_le_bytes());
    head[4..8].copy_from_slice(&(length as u32).to_le_bytes());
    let crc = block_crc(number, &head[..8], stored);
    head[8..].copy_from_slice(&crc.to_le_bytes());
    head
}

fn block_crc(number: u64, lengths: &[u8], stored: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&number.to_le_bytes());
    crc.update(lengths);
    crc.update(stored);
    crc.finalize()
}

/// What a block's header says. Without bytes it is the begin of a footer.
pub(crate) struct BlockHead {
    pub(crate) stored: usize,
    pub(crate) length: usize,
}

impl BlockHead {
    /// Reads one; `None` if it can't be one.
    pub(crate) fn decode(head: &[u8; BLOCK_HEAD_BYTES]) -> Option<BlockHead> {
        let (stored, length) = (u32_at(head, 0) as usize, u32_at(head, 4) as usize);
        let possible = stored <= length && length <= BLOCK_BYTES && (stored > 0 || length == 0);
        possible.then_some(BlockHead { stored, length })
    }
}

/// Whether a block's checksum is right.
pub(crate) fn is_whole(head: &[u8; BLOCK_HEAD_BYTES], number: u64, stored: &[u8]) -> bool {
    u32_at(head, 8) == block_crc(number, &head[..8], stored)
}

/// A footer up to the checksum.
pub(crate) fn encode_footer(bytes: u64, blocks: u64) -> [u8; FOOTER_BYTES - 4] {
    let mut footer = [0; FOOTER_BYTES - 4];
    footer[8..16].copy_from_slice(&bytes.to_le_bytes());
    footer[16..].copy_from_slice(&blocks.to_le_bytes());
    footer
}

fn u32_at(bytes: &[u8], place: usize) -> u32 {
    bytes[place..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_what_a_file_is() {
        let position = LogPosition::new(3, 0xab);
        let snapshot = Snapshot {
            base: Base { last_included: position, membership: None },
            size: 77,
            checksum: 0xfeed,
        };
        let of = |name: &str| kind_of(name);
        assert_eq!(of(&snapshot_name(position)), Some((Kind::Whole, position)));
        assert_eq!(of(&part_name(position, 4)), Some((Kind::Part, position)));
        assert_eq!(of(&incoming_name(&snapshot)), Some((Kind::Incoming, position)));
        assert_eq!(position_of(&snapshot_name(position)), Some(position));
        assert_eq!(position_of(&part_name(position, 4)), None);
        for name in [
            &damaged_name(&snapshot_name(position)),
            "snapshot-1-2.snap",
            "snapshot-.snap",
            "0000000000000001.wal",
            "snapshot-00000000000000ab-0000000000000003-x-y-z.incoming",
        ] {
            assert_eq!(of(name), None, "{name}");
        }
    }

    #[test]
    fn a_header_is_whole_or_refused() {
        let base = Base { last_included: LogPosition::new(3, 9), membership: None };
        let header = encode_header("tests", &base);
        let decode = |bytes: &[u8]| {
            let (head, body) = bytes.split_first_chunk().unwrap();
            let length = body_length(head)?;
            decode_header(head, body.get(..length).unwrap_or_default())
        };
        assert_eq!(decode(&header), Ok(("tests".to_string(), base)));
        for bit in 0..header.len() * 8 {
            let mut damaged = header.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(decode(&damaged), Err(BadHeader::Damaged(_))), "bit {bit}");
        }
    }
}
