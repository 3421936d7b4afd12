//! The sessions that a replicated state machine knows, and what it answered in them (diss. §6.3).
//!
//! ```text
//!   session 7:   answered_below          number of the next write
//!                      v                           v
//!        ... 3   4  |  5: "ok"   6: -   8: "no"    9
//!       discarded   |  answers kept
//! ```
//!
//! All of it follows from the log alone, so all servers have the same: time is the latest that any
//! entry was stamped with, never a server's own clock, and each session's terms are in the entry
//! that began it.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::sync::Arc;

use bytes::Bytes;

use crate::envelope::Terms;
use crate::messages::Index;
use crate::sessions::{MAX_UNANSWERED, Serial, SessionError, SessionId};

/// All sessions that are not over.
#[derive(Clone, Debug, Default)]
pub(crate) struct SessionTable {
    /// The latest time that an entry was stamped with.
    now: u64,
    sessions: BTreeMap<SessionId, Arc<Record>>,
    /// The sessions by the entry that used them last: the first one is idle for longest.
    by_use: BTreeMap<Index, SessionId>,
}

#[derive(Clone, Debug)]
struct Record {
    last_use: Index,
    idle_since: u64,
    timeout: u64,
    /// Below this, answers were discarded.
    answered_below: u64,
    /// The answers by number; `None` if the application keeps none.
    answers: BTreeMap<u64, Option<Bytes>>,
}

/// What is known of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// Nothing: it is to be applied.
    New,
    /// It was applied, with this answer, if answers are kept.
    Applied(Option<Bytes>),
}

impl SessionTable {
    /// Begins a session with the entry at this index, whose name is the index.
    pub(crate) fn register(&mut self, index: Index, time: u64, terms: Terms) -> SessionId {
        self.pass_to(time);
        while self.sessions.len() >= terms.max_sessions.max(1) as usize
            && let Some((_, longest_idle)) = self.by_use.pop_first()
        {
            self.sessions.remove(&longest_idle);
        }
        let id = SessionId(index.0);
        let record = Record {
            last_use: index,
            idle_since: self.now,
            timeout: terms.timeout,
            answered_below: 0,
            answers: BTreeMap::new(),
        };
        self.by_use.insert(index, id);
        self.sessions.insert(id, Arc::new(record));
        id
    }

    /// What is known of a write that came with the entry at this index.
    pub(crate) fn look_up(
        &mut self,
        index: Index,
        time: u64,
        serial: Serial,
    ) -> Result<Known, SessionError> {
        self.pass_to(time);
        let expired = SessionError::Expired { session: serial.session };
        let Some(record) = self.sessions.get_mut(&serial.session) else { return Err(expired) };
        let record = Arc::make_mut(record);
        self.by_use.remove(&record.last_use);
        if record.is_over(self.now) {
            self.sessions.remove(&serial.session);
            return Err(expired);
        }
        self.by_use.insert(index, serial.session);
        (record.last_use, record.idle_since) = (index, self.now);
        if serial.answered_below > record.answered_below {
            record.answered_below = serial.answered_below;
            record.answers = record.answers.split_off(&serial.answered_below);
        }
        if serial.number < record.answered_below {
            return Err(SessionError::Discarded { serial });
        }
        Ok(record.answers.get(&serial.number).cloned().map_or(Known::New, Known::Applied))
    }

    /// Keeps the answer to a write that was [looked up](SessionTable::look_up) and is new.
    pub(crate) fn keep(&mut self, serial: Serial, answer: Option<Bytes>) {
        let Some(record) = self.sessions.get_mut(&serial.session) else { return };
        let record = Arc::make_mut(record);
        record.answers.insert(serial.number, answer);
        if record.answers.len() as u64 > MAX_UNANSWERED
            && let Some((lowest, _)) = record.answers.pop_first()
        {
            // Its client breaks its word; the others shall not pay for it with their memory.
            record.answered_below = lowest + 1;
        }
    }

    /// How many sessions there are.
    pub(crate) fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Time passes, never back, and ends the sessions that were idle for too long.
    fn pass_to(&mut self, time: u64) {
        self.now = self.now.max(time);
        // Only as long as the longest idle ones are over; another's terms may be shorter, and then it
        // is over when it is used.
        while let Some(first) = self.by_use.first_entry()
            && self.sessions.get(first.get()).is_none_or(|record| record.is_over(self.now))
        {
            self.sessions.remove(&first.remove());
        }
    }
}

impl Record {
    fn is_over(&self, now: u64) -> bool {
        now - self.idle_since > self.timeout
    }
}

/// The version of what is written in front of the application's part of a snapshot.
const VERSION: u8 = 1;

impl SessionTable {
    /// Writes all of it in front of the application's part of a snapshot: version, time and number
    /// of sessions, then each session with its answers, each behind its number and whether it was
    /// kept.
    pub(crate) fn write(&self, to: &mut dyn Write) -> io::Result<()> {
        let mut bytes = vec![VERSION];
        put(&mut bytes, &[self.now, self.sessions.len() as u64]);
        for (id, record) in &self.sessions {
            put(&mut bytes, &[id.0, record.last_use.0, record.idle_since, record.timeout]);
            put(&mut bytes, &[record.answered_below, record.answers.len() as u64]);
            for (number, answer) in &record.answers {
                put(&mut bytes, &[*number]);
                bytes.push(u8::from(answer.is_some()));
                if let Some(answer) = answer {
                    put(&mut bytes, &[answer.len() as u64]);
                    bytes.extend_from_slice(answer);
                }
            }
            to.write_all(&bytes)?;
            bytes.clear();
        }
        to.write_all(&bytes)
    }

    /// Reads what [`SessionTable::write`] wrote, and no more.
    pub(crate) fn read(from: &mut dyn Read) -> io::Result<SessionTable> {
        let [version] = bytes(from)?;
        if version != VERSION {
            let what = format!("sessions of version {version}, not {VERSION}");
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        let mut table = SessionTable { now: number(from)?, ..SessionTable::default() };
        for _ in 0..number(from)? {
            let id = SessionId(number(from)?);
            let mut record = Record {
                last_use: Index(number(from)?),
                idle_since: number(from)?.min(table.now),
                timeout: number(from)?,
                answered_below: number(from)?,
                answers: BTreeMap::new(),
            };
            for _ in 0..number(from)? {
                let (serial, [kept]) = (number(from)?, bytes(from)?);
                let answer = if kept == 0 { None } else { Some(answer(from)?) };
                record.answers.insert(serial, answer);
            }
            table.by_use.insert(record.last_use, id);
            table.sessions.insert(id, Arc::new(record));
        }
        Ok(table)
    }
}

fn put(to: &mut Vec<u8>, numbers: &[u64]) {
    numbers.iter().for_each(|number| to.extend_from_slice(&number.to_le_bytes()));
}

fn bytes<const N: usize>(from: &mut dyn Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn number(from: &mut dyn Read) -> io::Result<u64> {
    bytes(from).map(u64::from_le_bytes)
}

fn answer(from: &mut dyn Read) -> io::Result<Bytes> {
    let length = number(from)?;
    let mut answer = Vec::new();
    // As much is allocated as is there, whatever the length says.
    if (from.take(length).read_to_end(&mut answer)? as u64) < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(answer.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: Terms = Terms { timeout: 100, max_sessions: 3 };

    fn serial(session: SessionId, number: u64, answered_below: u64) -> Serial {
        Serial { session, number, answered_below }
    }

    fn expired(session: SessionId) -> Result<Known, SessionError> {
        Err(SessionError::Expired { session })
    }

    #[test]
    fn a_write_is_new_once_and_its_answer_is_kept_until_it_is_answered() {
        let mut table = SessionTable::default();
        let a = table.register(Index(1), 10, TERMS);
        assert_eq!(table.look_up(Index(2), 10, serial(a, 0, 0)), Ok(Known::New));
        table.keep(serial(a, 0, 0), Some("first".into()));
        assert_eq!(table.look_up(Index(3), 10, serial(a, 2, 0)), Ok(Known::New));
        table.keep(serial(a, 2, 0), None);

        let again = table.look_up(Index(4), 10, serial(a, 0, 0));
        assert_eq!(again, Ok(Known::Applied(Some("first".into()))));
        assert_eq!(table.look_up(Index(5), 10, serial(a, 2, 0)), Ok(Known::Applied(None)));
        assert_eq!(table.look_up(Index(6), 10, serial(a, 1, 1)), Ok(Known::New));
        let late = serial(a, 0, 0);
        let discarded = Err(SessionError::Discarded { serial: late });
        assert_eq!(table.look_up(Index(7), 10, late), discarded);
    }

    #[test]
    fn sessions_end_by_the_time_of_the_log() {
        let mut table = SessionTable::default();
        let a = table.register(Index(1), 1000, TERMS);
        let b = table.register(Index(2), 1050, TERMS);
        // A leader whose clock is behind turns nothing back.
        assert_eq!(table.look_up(Index(3), 7, serial(a, 0, 0)), Ok(Known::New));
        assert_eq!(table.look_up(Index(4), 1150, serial(b, 0, 0)), Ok(Known::New), "to the last");
        assert_eq!(table.len(), 2);
        assert_eq!(table.look_up(Index(5), 1151, serial(a, 1, 0)), expired(a));
        assert_eq!(table.len(), 1);
        let c = SessionId(99);
        assert_eq!(table.look_up(Index(6), 1151, serial(c, 0, 0)), expired(c), "never was");
    }

    #[test]
    fn beyond_the_number_the_longest_idle_session_goes() {
        let mut table = SessionTable::default();
        let [a, b, c] = [1, 2, 3].map(|index| table.register(Index(index), 0, TERMS));
        assert_eq!(table.look_up(Index(4), 0, serial(a, 0, 0)), Ok(Known::New));
        let d = table.register(Index(5), 0, TERMS);
        assert_eq!(table.look_up(Index(6), 0, serial(b, 0, 0)), expired(b));
        for (index, session) in [(7, a), (8, c), (9, d)] {
            assert!(table.look_up(Index(index), 0, serial(session, 1, 0)).is_ok());
        }
    }

    #[test]
    fn a_client_that_never_says_what_it_was_answered_is_not_kept_for_ever() {
        let mut table = SessionTable::default();
        let a = table.register(Index(1), 0, TERMS);
        for number in 0..2 * MAX_UNANSWERED {
            let serial = serial(a, number, 0);
            assert_eq!(table.look_up(Index(2 + number), 0, serial), Ok(Known::New));
            table.keep(serial, Some("x".into()));
        }
        assert_eq!(table.sessions[&a].answers.len() as u64, MAX_UNANSWERED);
        assert_eq!(table.sessions[&a].answered_below, MAX_UNANSWERED);
    }

    #[test]
    fn a_table_is_read_as_it_was_written_and_what_follows_is_left() {
        let mut table = SessionTable::default();
        let a = table.register(Index(1), 10, TERMS);
        let b = table.register(Index(2), 20, TERMS);
        for (number, answer) in [(4, Some(Bytes::from_static(b"yes"))), (5, None)] {
            table.look_up(Index(number), 30, serial(a, number, 4)).unwrap();
            table.keep(serial(a, number, 4), answer);
        }
        let mut written = Vec::new();
        table.write(&mut written).unwrap();
        written.extend_from_slice(b"the rest");
        let mut from = written.as_slice();
        let mut read = SessionTable::read(&mut from).unwrap();
        assert_eq!(from, b"the rest");
        let mut again = Vec::new();
        read.write(&mut again).unwrap();
        assert_eq!(again, &written[..again.len()]);
        assert_eq!(
            read.look_up(Index(6), 30, serial(a, 4, 4)),
            Ok(Known::Applied(Some("yes".into())))
        );
        assert_eq!(read.look_up(Index(7), 121, serial(b, 0, 0)), expired(b));

        for length in 0..again.len() {
            assert!(SessionTable::read(&mut &written[..length]).is_err(), "{length} bytes");
        }
        assert!(SessionTable::read(&mut [2; 100].as_slice()).is_err(), "of another version");
    }
}
