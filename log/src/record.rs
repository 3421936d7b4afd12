//! The records in a frame's body: term and vote, what stands in front of the log, entries.
//!
//! ```text
//!   1 | term u64 | voted u8 | vote u64 | trusted u8
//!   2 | entries after it stay u8 | term u64 | index u64 | known u8 | index u64 | membership
//!   3 | first index u64 | count u32 | entries: kind u8 | term u64 | length u32 | payload
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use actix_raft_core::entry::{Entry, EntryPayload};
use actix_raft_core::membership::{Address, Membership};
use actix_raft_core::stored::Base;
use actix_raft_core::types::{DiskId, HardState, Index, LogPosition, NodeId, Term};
use bytes::Bytes;

const HARD_STATE: u8 = 1;
const BASE: u8 = 2;
const RUN: u8 = 3;

const BLANK: u8 = 0;
const NORMAL: u8 = 1;
const CONFIG_CHANGE: u8 = 2;

pub(crate) fn put_hard_state(out: &mut Vec<u8>, hard_state: HardState) {
    out.push(HARD_STATE);
    put_u64(out, hard_state.current_term.0);
    out.push(u8::from(hard_state.voted_for.is_some()));
    put_u64(out, hard_state.voted_for.map_or(0, |id| id.0));
    out.push(u8::from(hard_state.trusted));
}

/// What a base leaves of the log that there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// The entries after it: the log has the last included one.
    Stays,
    /// Nothing: the log does not have it, or of another term.
    Goes,
}

pub(crate) fn put_base(out: &mut Vec<u8>, base: &Base, rest: Rest) {
    out.push(BASE);
    out.push(u8::from(rest == Rest::Stays));
    put_base_body(out, base);
}

/// A base, as it is in a snapshot's header too.
pub(crate) fn put_base_body(out: &mut Vec<u8>, base: &Base) {
    put_u64(out, base.last_included.term.0);
    put_u64(out, base.last_included.index.0);
    out.push(u8::from(base.membership.is_some()));
    if let Some((index, membership)) = &base.membership {
        put_u64(out, index.0);
        put_membership(out, membership);
    }
}

pub(crate) fn put_run(out: &mut Vec<u8>, entries: &[Entry]) {
    let Some(first) = entries.first() else { return };
    out.push(RUN);
    put_u64(out, first.index.0);
    put_u32(out, entries.len());
    for entry in entries {
        let kind = match &entry.payload {
            EntryPayload::Blank => BLANK,
            EntryPayload::Normal(_) => NORMAL,
            EntryPayload::ConfigChange(_) => CONFIG_CHANGE,
        };
        out.push(kind);
        put_u64(out, entry.term.0);
        let length = out.len();
        put_u32(out, 0);
        match &entry.payload {
            EntryPayload::Blank => {}
            EntryPayload::Normal(command) => out.extend_from_slice(command),
            EntryPayload::ConfigChange(membership) => put_membership(out, membership),
        }
        let bytes = (out.len() - length - 4) as u32;
        out[length..length + 4].copy_from_slice(&bytes.to_le_bytes());
    }
}

fn put_membership(out: &mut Vec<u8>, membership: &Membership) {
    put_members(out, membership);
    put_u32(out, membership.founders().len());
    for (id, disk) in membership.founders() {
        put_u64(out, id.0);
        put_u64(out, disk.0);
    }
    out.push(u8::from(membership.goal().is_some()));
    if let Some(goal) = membership.goal() {
        put_members(out, goal);
    }
}

/// A membership without its goal.
fn put_members(out: &mut Vec<u8>, membership: &Membership) {
    put_ids(out, membership.voters());
    out.push(u8::from(membership.voters_outgoing().is_some()));
    if let Some(outgoing) = membership.voters_outgoing() {
        put_ids(out, outgoing);
    }
    put_u32(out, membership.members().len());
    for (id, address) in membership.members() {
        put_u64(out, id.0);
        for text in [&address.rpc, &address.client] {
            put_u32(out, text.len());
            out.extend_from_slice(text.as_bytes());
        }
    }
}

fn put_ids(out: &mut Vec<u8>, ids: &BTreeSet<NodeId>) {
    put_u32(out, ids.len());
    ids.iter().for_each(|id| put_u64(out, id.0));
}

fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_u32(out: &mut Vec<u8>, value: usize) {
    // Lengths and counts in a frame, which is limited far below 4 GiB.
    out.extend_from_slice(&(value as u32).to_le_bytes());
}

/// One record.
pub(crate) enum Record<'a> {
    HardState(HardState),
    Base(Base, Rest),
    Run(Run<'a>),
}

/// Entries, read one after the other.
pub(crate) struct Run<'a> {
    next: Index,
    left: u32,
    bytes: Reader<'a>,
}

/// An entry whose payload is not copied yet.
pub(crate) struct RawEntry<'a> {
    pub(crate) position: LogPosition,
    kind: u8,
    payload: &'a [u8],
}

/// What is wrong with a record whose checksum was right: a bug, or a newer version.
pub(crate) type Malformed = &'static str;

const SHORT: Malformed = "a record ends early";

/// Reads the records of a body, in order.
pub(crate) fn records(body: &[u8]) -> Records<'_> {
    Records { bytes: Reader(body) }
}

pub(crate) struct Records<'a> {
    bytes: Reader<'a>,
}

impl<'a> Records<'a> {
    /// The next record; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Record<'a>>, Malformed> {
        if self.bytes.0.is_empty() {
            return Ok(None);
        }
        let record = match self.bytes.u8()? {
            HARD_STATE => {
                let current_term = Term(self.bytes.u64()?);
                let voted = self.bytes.u8()? != 0;
                let vote = NodeId(self.bytes.u64()?);
                let voted_for = voted.then_some(vote);
                let trusted = self.bytes.u8()? != 0;
                Record::HardState(HardState { current_term, voted_for, trusted })
            }
            BASE => {
                let rest = match self.bytes.u8()? {
                    0 => Rest::Goes,
                    _ => Rest::Stays,
                };
                Record::Base(self.bytes.base()?, rest)
            }
            RUN => {
                let (next, left) = (Index(self.bytes.u64()?), self.bytes.u32()?);
                let run = Run { next, left, bytes: Reader(self.bytes.0) };
                self.bytes = run.skip_all()?;
                Record::Run(run)
            }
            _ => return Err("a record of an unknown kind"),
        };
        Ok(Some(record))
    }
}

impl<'a> Run<'a> {
    pub(crate) fn first(&self) -> Index {
        self.next
    }

    /// The next entry; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<RawEntry<'a>>, Malformed> {
        if self.left == 0 {
            return Ok(None);
        }
        let kind = self.bytes.u8()?;
        let term = Term(self.bytes.u64()?);
        let payload = self.bytes.sized()?;
        let position = LogPosition { term, index: self.next };
        self.next = self.next.next();
        self.left -= 1;
        Ok(Some(RawEntry { position, kind, payload }))
    }

    /// What follows the run.
    fn skip_all(&self) -> Result<Reader<'a>, Malformed> {
        let mut run = Run { next: self.next, left: self.left, bytes: Reader(self.bytes.0) };
        while run.next()?.is_some() {}
        Ok(run.bytes)
    }
}

impl RawEntry<'_> {
    /// The entry, with its payload copied.
    pub(crate) fn to_entry(&self) -> Result<Entry, Malformed> {
        let LogPosition { term, index } = self.position;
        let payload = match self.kind {
            BLANK => EntryPayload::Blank,
            NORMAL => EntryPayload::Normal(Bytes::copy_from_slice(self.payload)),
            CONFIG_CHANGE => {
                EntryPayload::ConfigChange(Arc::new(Reader(self.payload).membership()?))
            }
            _ => return Err("an entry of an unknown kind"),
        };
        Ok(Entry { term, index, payload })
    }

    /// The entry as far as the log's state is concerned: a command's bytes are left out.
    pub(crate) fn to_note(&self) -> Result<Entry, Malformed> {
        match self.kind {
            NORMAL => {
                let LogPosition { term, index } = self.position;
                Ok(Entry { term, index, payload: EntryPayload::Blank })
            }
            _ => self.to_entry(),
        }
    }
}

/// Reads a base that is alone.
pub(crate) fn base(bytes: &[u8]) -> Result<Base, Malformed> {
    let mut reader = Reader(bytes);
    let base = reader.base()?;
    match reader.0 {
        [] => Ok(base),
        _ => Err("something follows a base"),
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(SHORT)?;
        self.0 = rest;
        Ok(taken)
    }

    fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(self.take(1)?[0])
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(SHORT)?;
        self.0 = rest;
        Ok(u32::from_le_bytes(*bytes))
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(SHORT)?;
        self.0 = rest;
        Ok(u64::from_le_bytes(*bytes))
    }

    fn sized(&mut self) -> Result<&'a [u8], Malformed> {
        let count = self.u32()?;
        self.take(count as usize)
    }

    fn text(&mut self) -> Result<String, Malformed> {
        let bytes = self.sized()?.to_vec();
        String::from_utf8(bytes).map_err(|_| "an address that is not UTF-8")
    }

    fn ids(&mut self) -> Result<BTreeSet<NodeId>, Malformed> {
        (0..self.u32()?).map(|_| Ok(NodeId(self.u64()?))).collect()
    }

    fn base(&mut self) -> Result<Base, Malformed> {
        let (term, index) = (self.u64()?, self.u64()?);
        let membership = match self.u8()? {
            0 => None,
            _ => Some((Index(self.u64()?), Arc::new(self.membership()?))),
        };
        Ok(Base { last_included: LogPosition::new(term, index), membership })
    }

    fn membership(&mut self) -> Result<Membership, Malformed> {
        let mut membership = self.members()?;
        let mut founders = BTreeMap::new();
        for _ in 0..self.u32()? {
            founders.insert(NodeId(self.u64()?), DiskId(self.u64()?));
        }
        membership = membership.founded_on(founders);
        match self.u8()? {
            0 => Ok(membership),
            _ => membership
                .on_the_way_to(Arc::new(self.members()?))
                .map_err(|_| "a goal that is not final"),
        }
    }

    /// A membership without its goal.
    fn members(&mut self) -> Result<Membership, Malformed> {
        let voters = self.ids()?;
        let outgoing = match self.u8()? {
            0 => None,
            _ => Some(self.ids()?),
        };
        let mut members = Vec::new();
        for _ in 0..self.u32()? {
            let id = NodeId(self.u64()?);
            members.push((id, Address { rpc: self.text()?, client: self.text()? }));
        }
        Membership::joint(voters, outgoing, members).map_err(|_| "a membership that is none")
    }
}
