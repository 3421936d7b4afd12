//! Checksums of a file, taken while it is written or read from its begin to its end: of all of it,
//! and of each page, so that any piece can be checked later without reading the rest.

use std::mem::take;

use crc32fast::Hasher;

/// The length of a page. A table for a file of 16 GiB takes 1 MiB.
pub(crate) const PAGE_BYTES: usize = 64 << 10;

/// The checksums so far.
#[derive(Clone, Default)]
pub(crate) struct Checksums {
    /// Of the pages that are full.
    pages: Vec<u32>,
    /// Of all of them together.
    full: Hasher,
    /// Of the page that is not full yet, and how much of it there is.
    page: Hasher,
    filled: usize,
}

impl Checksums {
    /// Takes in the bytes that follow.
    pub(crate) fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(PAGE_BYTES - self.filled));
            self.page.update(now);
            self.filled += now.len();
            bytes = later;
            if self.filled == PAGE_BYTES {
                self.end_page();
            }
        }
    }

    fn end_page(&mut self) {
        let page = take(&mut self.page);
        self.full.combine(&page);
        self.pages.push(page.finalize());
        self.filled = 0;
    }

    /// The checksum of everything so far.
    pub(crate) fn total(&self) -> u32 {
        let mut total = self.full.clone();
        total.combine(&self.page);
        total.finalize()
    }

    /// The checksum of each page; the last one may be short.
    pub(crate) fn into_pages(mut self) -> Vec<u32> {
        if self.filled > 0 {
            self.end_page();
        }
        self.pages
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_same_in_whatever_pieces_the_bytes_come() {
        let bytes: Vec<u8> = (0..3 * PAGE_BYTES + 7).map(|n| (n % 251) as u8).collect();
        for piece in [1, 13, PAGE_BYTES - 1, PAGE_BYTES, PAGE_BYTES + 1, bytes.len()] {
            let mut checksums = Checksums::default();
            bytes.chunks(piece).for_each(|piece| checksums.update(piece));
            assert_eq!(checksums.total(), crc32fast::hash(&bytes), "pieces of {piece}");
            let pages: Vec<u32> = bytes.chunks(PAGE_BYTES).map(crc32fast::hash).collect();
            assert_eq!(checksums.into_pages(), pages, "pieces of {piece}");
        }
        assert!(Checksums::default().into_pages().is_empty());
    }
}
