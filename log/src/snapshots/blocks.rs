//! Reading a snapshot's file from its begin to its end, with every byte checked.

use std::io;
use std::sync::Arc;

use actix_raft_core::stored::Base;

use super::layout::{
    BLOCK_HEAD_BYTES, BadHeader, BlockHead, FOOTER_BYTES, HEAD_BYTES, body_length, decode_header,
    encode_footer, is_whole,
};
use super::pages::Checksums;
use crate::disk::DiskFile;

/// How much is read at once.
const WINDOW_BYTES: usize = 256 << 10;

/// Why a file can't be read as a snapshot.
#[derive(Debug)]
pub(crate) enum Broken {
    /// The disk refused.
    Io(io::Error),
    /// It was written by a version that this one does not know.
    Version(u32),
    /// It is damaged, or none, or ends early.
    Damaged { offset: u64, what: &'static str },
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Broken {
        Broken::Io(error)
    }
}

/// What was found when all of a file was read.
#[derive(Debug)]
pub(crate) struct Summary {
    pub(crate) base: Base,
    pub(crate) size: u64,
    pub(crate) checksum: u32,
    /// The checksum of each page.
    pub(crate) pages: Vec<u32>,
}

/// A file being read, block by block.
pub(crate) struct Blocks {
    source: Source,
    cluster_id: String,
    base: Base,
    /// How many blocks were read, and how many of the state machine's bytes.
    count: u64,
    bytes: u64,
    /// A block that was compressed.
    plain: Vec<u8>,
    /// The file's length and checksum, once the footer was read.
    end: Option<(u64, u32)>,
}

impl Blocks {
    /// Reads the header.
    pub(crate) fn open(file: Arc<dyn DiskFile>) -> Result<Blocks, Broken> {
        let mut source = Source::new(file)?;
        let damaged = |bad| match bad {
            BadHeader::Version(version) => Broken::Version(version),
            BadHeader::Damaged(what) => Broken::Damaged { offset: 0, what },
        };
        let short = || Broken::Damaged { offset: 0, what: "the file ends within its header" };
        let head: [u8; HEAD_BYTES] = *source.take(HEAD_BYTES)?.first_chunk().ok_or_else(short)?;
        let length = body_length(&head).map_err(damaged)?;
        let body = source.take(length)?;
        if body.len() < length {
            return Err(short());
        }
        let (cluster_id, base) = decode_header(&head, body).map_err(damaged)?;
        Ok(Blocks { source, cluster_id, base, count: 0, bytes: 0, plain: Vec::new(), end: None })
    }

    /// Whose snapshot it is.
    pub(crate) fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// What it stands for.
    pub(crate) fn base(&self) -> &Base {
        &self.base
    }

    /// How many bytes of the file were read and found whole.
    pub(crate) fn position(&self) -> u64 {
        self.source.offset
    }

    /// The next bytes of the state machine; `None` at the end, when the footer was found to be right
    /// and the last in the file.
    pub(crate) fn next(&mut self) -> Result<Option<&[u8]>, Broken> {
        if self.end.is_some() {
            return Ok(None);
        }
        let offset = self.source.offset;
        let damaged = |what| Broken::Damaged { offset, what };
        let head: [u8; BLOCK_HEAD_BYTES] = match self.source.peek(BLOCK_HEAD_BYTES)?.first_chunk() {
            Some(head) => *head,
            None => return Err(damaged("the file ends early")),
        };
        let BlockHead { stored, length } =
            BlockHead::decode(&head).ok_or_else(|| damaged("a block's lengths are wrong"))?;
        if length == 0 {
            self.end = Some(self.read_footer()?);
            return Ok(None);
        }
        let whole = self.source.peek(BLOCK_HEAD_BYTES + stored)?;
        let bytes = match whole.get(BLOCK_HEAD_BYTES..) {
            Some(bytes) if bytes.len() == stored => bytes,
            Some(_) | None => return Err(damaged("the file ends early")),
        };
        if !is_whole(&head, self.count, bytes) {
            return Err(damaged("the checksum of a block is wrong"));
        }
        let is_plain = stored == length;
        if !is_plain {
            self.plain.resize(length, 0);
            let plain = lz4_flex::block::decompress_into(bytes, &mut self.plain);
            if plain.ok() != Some(length) {
                return Err(damaged("a block can't be decompressed"));
            }
        }
        self.count += 1;
        self.bytes += length as u64;
        let whole = self.source.take(BLOCK_HEAD_BYTES + stored)?;
        Ok(Some(if is_plain { &whole[BLOCK_HEAD_BYTES..] } else { &self.plain }))
    }

    /// The length and the checksum of the whole file, which ends here.
    fn read_footer(&mut self) -> Result<(u64, u32), Broken> {
        let offset = self.source.offset;
        let expected = encode_footer(self.bytes, self.count);
        let damaged = |what| Broken::Damaged { offset, what };
        let rest = self.source.peek(FOOTER_BYTES + 1)?;
        let footer: [u8; FOOTER_BYTES] = match rest.first_chunk() {
            Some(footer) if rest.len() == FOOTER_BYTES => *footer,
            Some(_) => return Err(damaged("something follows the footer")),
            None => return Err(damaged("the file ends early")),
        };
        let (begin, checksum) = footer.split_at(FOOTER_BYTES - 4);
        if begin != expected {
            return Err(damaged("the footer does not fit what comes before it"));
        }
        self.source.take(begin.len())?;
        let total = self.source.checksums.total();
        if checksum != total.to_le_bytes() {
            return Err(damaged("the checksum of the whole is wrong"));
        }
        self.source.take(checksum.len())?;
        Ok((self.source.offset, total))
    }

    /// Reads what is left, and says what there was.
    pub(crate) fn finish(mut self) -> Result<Summary, Broken> {
        while self.next()?.is_some() {}
        let (size, checksum) = self.end.unwrap_or_default();
        let pages = self.source.checksums.into_pages();
        Ok(Summary { base: self.base, size, checksum, pages })
    }
}

/// A file read from its begin on, with its checksums.
struct Source {
    file: Arc<dyn DiskFile>,
    size: u64,
    /// How much was taken.
    offset: u64,
    /// What was read of it from `offset` on, and more before it: `start` bytes.
    window: Vec<u8>,
    start: usize,
    checksums: Checksums,
}

impl Source {
    fn new(file: Arc<dyn DiskFile>) -> io::Result<Source> {
        let size = file.size()?;
        let checksums = Checksums::default();
        Ok(Source { file, size, offset: 0, window: Vec::new(), start: 0, checksums })
    }

    /// So many of the next bytes, or as many as there are.
    fn peek(&mut self, count: usize) -> io::Result<&[u8]> {
        if self.window.len() - self.start < count {
            self.window.drain(..self.start);
            self.start = 0;
            self.fill(count)?;
        }
        let end = self.window.len().min(self.start + count);
        Ok(&self.window[self.start..end])
    }

    /// Reads on until the window holds so many bytes, or all that there are.
    fn fill(&mut self, count: usize) -> io::Result<()> {
        let held = self.window.len();
        let rest = self.size.saturating_sub(self.offset + held as u64);
        // A length that is wrong must not make us ask for more memory than there is file.
        let more =
            (count.max(WINDOW_BYTES) - held).min(usize::try_from(rest).unwrap_or(usize::MAX));
        self.window.resize(held + more, 0);
        let read = self.file.read_at(&mut self.window[held..], self.offset + held as u64)?;
        self.window.truncate(held + read);
        Ok(())
    }

    /// The same bytes, which are done with then.
    fn take(&mut self, count: usize) -> io::Result<&[u8]> {
        let there = self.peek(count)?.len();
        let taken = &self.window[self.start..self.start + there];
        self.checksums.update(taken);
        self.start += there;
        self.offset += there as u64;
        Ok(taken)
    }
}
