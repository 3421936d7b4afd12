//! The bytes of a segment: its header, and the frames behind it.
//!
//! ```text
//!   | header, 512 bytes | frame | frame | ... | marker | zeros ... |
//!
//!   frame:  | length u32 | crc u32 | sequence u64 | body | zeros to a multiple of 8 |
//!   marker: a frame without a body: everything before it was durable when it was written
//! ```
//!
//! All numbers are little-endian. `docs/disk-format.md` tells the rest.

use actix_raft_core::mutants::{Mutant, is_planted};
use actix_raft_core::random::Random;
use actix_raft_core::types::{DiskId, NodeId};

use crate::error::Identity;

/// The version written, of segments and snapshots, and the only one that is read.
pub const VERSION: u32 = 2;
/// The length of a segment's header, where its frames begin.
pub const HEADER_BYTES: usize = 512;
/// The length of a frame's header.
pub const FRAME_BYTES: usize = 16;
/// The longest cluster id that fits into a header.
pub const MAX_CLUSTER_ID_BYTES: usize = 256;

const MAGIC: [u8; 8] = *b"ARAFTLOG";
/// Where the header's own checksum is.
const HEADER_CRC: usize = HEADER_BYTES - 4;
/// Where the cluster's id begins.
const CLUSTER: usize = 46;

/// The name of a segment's file.
#[must_use]
pub fn segment_name(number: u64) -> String {
    format!("{number:016x}.wal")
}

/// The number in the name of a segment's file, if it is one.
#[must_use]
pub fn segment_number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".wal").filter(|digits| digits.len() == 16)?;
    u64::from_str_radix(digits, 16).ok()
}

/// The name under which a segment's file is made.
#[must_use]
pub fn temporary_name(number: u64) -> String {
    format!("{number:016x}.tmp")
}

/// Whether this is the name of a segment's file that is being made.
#[must_use]
pub fn is_temporary(name: &str) -> bool {
    let digits = name.strip_suffix(".tmp").filter(|digits| digits.len() == 16);
    digits.is_some_and(|digits| u64::from_str_radix(digits, 16).is_ok())
}

/// Whose segments they are, and on which disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The server.
    pub identity: Identity,
    /// Its disk.
    pub disk: DiskId,
}

/// What a segment's checksums are salted with: so neither bytes of an earlier use of the file nor
/// a client's bytes that look like a frame can be taken for one.
#[must_use]
pub fn salt_of(owner: &Owner, number: u64) -> u64 {
    let cluster = u64::from(crc32fast::hash(owner.identity.cluster_id.as_bytes()));
    let node = owner.identity.node_id.0.rotate_left(32);
    let first = |seed| Random::new(seed).next_u64();
    first(first(first(cluster ^ node) ^ owner.disk.0) ^ number)
}

/// A segment's header.
#[must_use]
pub fn encode_header(owner: &Owner, number: u64) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    let cluster = owner.identity.cluster_id.as_bytes();
    header[..8].copy_from_slice(&MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    header[12..20].copy_from_slice(&number.to_le_bytes());
    header[20..28].copy_from_slice(&salt_of(owner, number).to_le_bytes());
    header[28..36].copy_from_slice(&owner.identity.node_id.0.to_le_bytes());
    header[36..44].copy_from_slice(&owner.disk.0.to_le_bytes());
    header[44..CLUSTER].copy_from_slice(&(cluster.len() as u16).to_le_bytes());
    header[CLUSTER..CLUSTER + cluster.len()].copy_from_slice(cluster);
    let crc = crc32fast::hash(&header[..HEADER_CRC]);
    header[HEADER_CRC..].copy_from_slice(&crc.to_le_bytes());
    header
}

/// What a segment's header says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) version: u32,
    pub(crate) number: u64,
    pub(crate) owner: Owner,
}

/// Reads a segment's header; the error says what is wrong with it.
pub(crate) fn decode_header(bytes: &[u8]) -> Result<Header, &'static str> {
    let header: &[u8; HEADER_BYTES] =
        bytes.first_chunk().ok_or("the file is shorter than a segment's header")?;
    if header[..8] != MAGIC {
        return Err("it does not begin as a segment does");
    }
    if u32_at(header, HEADER_CRC) != crc32fast::hash(&header[..HEADER_CRC]) {
        return Err("the checksum of the segment's header is wrong");
    }
    let length = usize::from(u16::from_le_bytes([header[44], header[45]]));
    let cluster = header.get(CLUSTER..CLUSTER + length.min(MAX_CLUSTER_ID_BYTES));
    let cluster_id = cluster.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    Ok(Header {
        version: u32_at(header, 8),
        number: u64_at(header, 12),
        owner: Owner {
            identity: Identity {
                cluster_id: cluster_id.unwrap_or_default(),
                node_id: NodeId(u64_at(header, 28)),
            },
            disk: DiskId(u64_at(header, 36)),
        },
    })
}

/// How much room a frame of this body takes.
#[must_use]
pub fn frame_size(body: usize) -> usize {
    FRAME_BYTES + body.next_multiple_of(8)
}

/// Fills in the header of the frame at the begin of `frame`, behind which its body is, and pads it.
pub(crate) fn seal_frame(frame: &mut Vec<u8>, salt: u64, sequence: u64) {
    let length = frame.len() - FRAME_BYTES;
    // A body is limited far below 4 GiB.
    let length_bytes = (length as u32).to_le_bytes();
    frame[..4].copy_from_slice(&length_bytes);
    frame[8..16].copy_from_slice(&sequence.to_le_bytes());
    let crc = frame_crc(salt, length_bytes, sequence, &frame[FRAME_BYTES..]);
    frame[4..8].copy_from_slice(&crc.to_le_bytes());
    frame.resize(frame_size(length), 0);
}

fn frame_crc(salt: u64, length: [u8; 4], sequence: u64, body: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&salt.to_le_bytes());
    crc.update(&length);
    crc.update(&sequence.to_le_bytes());
    crc.update(body);
    crc.finalize()
}

/// The marker that says that the frame before this sequence number is durable.
pub(crate) fn marker(salt: u64, sequence: u64) -> [u8; FRAME_BYTES] {
    let mut marker = [0; FRAME_BYTES];
    marker[4..8].copy_from_slice(&frame_crc(salt, [0; 4], sequence, &[]).to_le_bytes());
    marker[8..].copy_from_slice(&sequence.to_le_bytes());
    marker
}

/// Where the first whole frame of this sequence number or a later one begins, looking from `from`
/// on wherever a frame could.
pub(crate) fn find_frame(bytes: &[u8], from: usize, salt: u64, sequence: u64) -> Option<usize> {
    // No more frames than these fit. Most bytes that are no frame are told by this number alone, so
    // that the search does not take the checksum of everything from everywhere.
    let sequences = sequence..sequence.saturating_add((bytes.len() / FRAME_BYTES) as u64);
    let ends = bytes.len().saturating_sub(FRAME_BYTES - 1);
    (from..ends).step_by(8).find(|at| {
        sequences.contains(&u64_at(bytes, at + 8)) && decode_frame(&bytes[*at..], salt).is_some()
    })
}

/// The length of these bytes without the zeros at their end.
pub(crate) fn used(bytes: &[u8]) -> usize {
    const ZEROS: [u8; 4096] = [0; 4096];
    let chunks = bytes.chunks(ZEROS.len());
    let zeros = chunks.rev().take_while(|chunk| **chunk == ZEROS[..chunk.len()]);
    let end = bytes.len() - zeros.map(<[u8]>::len).sum::<usize>();
    bytes[..end].iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

/// A frame that is whole.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame<'a> {
    pub(crate) sequence: u64,
    /// Empty in a marker.
    pub(crate) body: &'a [u8],
}

/// The frame at the begin of these bytes, if there is a whole one.
pub(crate) fn decode_frame(bytes: &[u8], salt: u64) -> Option<Frame<'_>> {
    let header: &[u8; FRAME_BYTES] = bytes.first_chunk()?;
    let length = u32_at(header, 0);
    let sequence = u64_at(header, 8);
    let rest = bytes.get(FRAME_BYTES..frame_size(length as usize))?;
    let (body, padding) = rest.split_at(length as usize);
    // Zeros, where nothing was written yet, are no frame.
    let whole = sequence != 0
        && (u32_at(header, 4) == frame_crc(salt, length.to_le_bytes(), sequence, body)
            || is_planted(Mutant::ChecksumIgnored))
        && padding.iter().all(|byte| *byte == 0);
    whole.then_some(Frame { sequence, body })
}

/// The length of the body that a frame's header claims.
pub(crate) fn claimed_body(header: &[u8; FRAME_BYTES]) -> usize {
    u32_at(header, 0) as usize
}

fn u32_at(bytes: &[u8], place: usize) -> u32 {
    bytes[place..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

fn u64_at(bytes: &[u8], place: usize) -> u64 {
    bytes[place..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(body: &[u8], sequence: u64) -> Vec<u8> {
        let mut frame = vec![0; FRAME_BYTES];
        frame.extend_from_slice(body);
        seal_frame(&mut frame, 7, sequence);
        frame
    }

    #[test]
    fn a_frame_is_whole_or_none() {
        let whole = frame(b"hello", 3);
        assert_eq!(whole.len(), 24);
        let decoded = decode_frame(&whole, 7).unwrap();
        assert_eq!((decoded.sequence, decoded.body), (3, &b"hello"[..]));
        assert!(decode_frame(&whole, 8).is_none(), "another segment's");
        for bit in 0..whole.len() * 8 {
            let mut damaged = whole.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(decode_frame(&damaged, 7).is_none(), "bit {bit}");
        }
        for length in 0..whole.len() {
            assert!(decode_frame(&whole[..length], 7).is_none(), "{length} bytes of it");
        }
        assert!(decode_frame(&[0; 64], 7).is_none(), "zeros");
    }

    #[test]
    fn a_marker_is_a_frame_without_a_body() {
        assert_eq!(marker(7, 9).as_slice(), frame(b"", 9));
    }

    #[test]
    fn a_later_frame_is_found_behind_damage_and_an_earlier_one_is_not() {
        let mut bytes = vec![0xff; 40];
        bytes.extend(frame(b"later", 5));
        assert_eq!(find_frame(&bytes, 8, 7, 5), Some(40));
        assert_eq!(find_frame(&bytes, 8, 7, 6), None);
        assert_eq!(find_frame(&bytes, 8, 8, 5), None);
        assert_eq!(find_frame(&bytes, 48, 7, 5), None);
        assert_eq!(find_frame(&[], 8, 7, 1), None);
    }

    #[test]
    fn zeros_at_the_end_are_not_used() {
        for (length, last) in [(0, 0), (1, 0), (1, 1), (5000, 1), (5000, 4096), (9000, 9000)] {
            let mut bytes = vec![0; length];
            if last > 0 {
                bytes[last - 1] = 1;
            }
            assert_eq!(used(&bytes), last, "{length} bytes");
        }
    }

    #[test]
    fn only_names_of_segments_are_numbers() {
        assert_eq!(segment_number(&segment_name(0xab)), Some(0xab));
        for name in ["1.wal", "00000000000000ab.tmp", "000000000000000x.wal", "LOCK", ".wal"] {
            assert_eq!(segment_number(name), None, "{name}");
        }
        assert!(is_temporary(&temporary_name(3)));
        assert!(!is_temporary("notes.tmp") && !is_temporary(&segment_name(3)));
    }
}
