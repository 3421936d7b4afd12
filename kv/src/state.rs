//! The replicated state: a sorted map of keys to values.
//!
//! ```text
//!   apply thread: KvState --applied(index)--> View <--current()-- HTTP threads
//! ```
//!
//! The map is persistent: a view of it costs a pointer, and readers never stop the writer.

use std::convert::Infallible;
use std::io::{self, Read};
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock};

use actix_raft::application::{Application, DecodeError, Snapshotting, StateMachine};
use actix_raft::messages::Index;
use bytes::Bytes;
use prost::Message;
use rpds::RedBlackTreeMapSync;
use twox_hash::XxHash3_64;

use crate::backup::{Items, write_items};
use crate::command::{
    Answer, Change, Command, Delete, Expected, Item, List, Listed, Precondition, Put, Response,
};

/// The most bytes of values in one answer to a list.
const MAX_LIST_BYTES: usize = 4 << 20;

/// The state machine.
#[derive(Default)]
pub(crate) struct KvState {
    keys: RedBlackTreeMapSync<String, Stored>,
    digest: u64,
    published: Published,
}

#[derive(Clone)]
struct Stored {
    value: Bytes,
    version: u64,
}

/// What readers see.
#[derive(Clone, Default)]
pub(crate) struct View {
    keys: RedBlackTreeMapSync<String, Stored>,
    /// The last log index that the view includes.
    pub(crate) index: u64,
    /// A hash of all keys, values and versions: equal on all nodes at an equal index.
    pub(crate) digest: u64,
}

/// Where the state machine publishes its latest view.
#[derive(Clone, Default)]
pub(crate) struct Published(Arc<RwLock<View>>);

impl Published {
    /// The state as of the last applied batch.
    pub(crate) fn current(&self) -> View {
        // A view is replaced as a whole, so a panic elsewhere leaves a whole one.
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl View {
    pub(crate) fn get(&self, key: &str) -> Option<Item> {
        let Stored { value, version } = self.keys.get(key)?.clone();
        Some(Item { key: key.to_string(), value, version })
    }

    /// All of it, in order.
    pub(crate) fn items(&self) -> impl Iterator<Item = Item> + '_ {
        items_of(&self.keys)
    }

    /// Keys in order, up to the limit and to [`MAX_LIST_BYTES`] of values.
    pub(crate) fn list(&self, list: &List) -> Listed {
        let start = list.start.as_str().max(list.prefix.as_str());
        let range = self.keys.range::<str, _>((Bound::Included(start), Bound::Unbounded));
        let mut listed = Listed::default();
        let mut bytes = 0;
        for (key, Stored { value, version }) in range {
            if !key.starts_with(&list.prefix) {
                break;
            }
            bytes += key.len() + value.len();
            let full = listed.items.len() >= list.limit as usize || bytes > MAX_LIST_BYTES;
            if full && !listed.items.is_empty() {
                listed.next = Some(key.clone());
                break;
            }
            listed.items.push(Item { key: key.clone(), value: value.clone(), version: *version });
        }
        listed
    }
}

impl KvState {
    /// Where its views appear.
    pub(crate) fn published(&self) -> Published {
        self.published.clone()
    }

    fn holds(&self, key: &str, precondition: Option<Precondition>) -> bool {
        let current = self.keys.get(key);
        match precondition.and_then(|precondition| precondition.expected) {
            None => true,
            Some(Expected::Version(version)) => current.is_some_and(|it| it.version == version),
            Some(Expected::Absent(_)) => current.is_none(),
            Some(Expected::Present(_)) => current.is_some(),
        }
    }

    fn put(&mut self, put: Put, version: u64) -> Answer {
        if !self.holds(&put.key, put.precondition) {
            return Answer::PreconditionFailed(true);
        }
        if let Some(old) = self.keys.get(&put.key) {
            self.digest = self.digest.wrapping_sub(hash(&put.key, old));
        }
        // A slice of the message it came in would keep all of that in memory.
        let stored = Stored { value: Bytes::copy_from_slice(&put.value), version };
        self.digest = self.digest.wrapping_add(hash(&put.key, &stored));
        self.keys.insert_mut(put.key, stored);
        Answer::Written(version)
    }

    fn delete(&mut self, delete: &Delete) -> Answer {
        if !self.holds(&delete.key, delete.precondition) {
            return Answer::PreconditionFailed(true);
        }
        if self.forget(&delete.key) { Answer::Deleted(true) } else { Answer::NotFound(true) }
    }

    fn forget(&mut self, key: &str) -> bool {
        let Some(stored) = self.keys.get(key) else { return false };
        self.digest = self.digest.wrapping_sub(hash(key, stored));
        self.keys.remove_mut(key)
    }
}

/// The digest is the sum over all keys, so it is kept up to date at the cost of the change.
fn hash(key: &str, stored: &Stored) -> u64 {
    let of_value = XxHash3_64::oneshot_with_seed(stored.version, &stored.value);
    XxHash3_64::oneshot_with_seed(of_value, key.as_bytes())
}

impl Application for KvState {
    type Command = Command;
    type Response = Answer;
    type Rejection = Infallible;

    fn encode(command: Command) -> Bytes {
        command.encode_to_vec().into()
    }

    fn decode(bytes: Bytes) -> Result<Command, DecodeError> {
        let command = Command::decode(bytes)?;
        match command.change {
            Some(_) => Ok(command),
            None => Err("it is of a kind that this version does not know".into()),
        }
    }

    fn encode_response(answer: &Answer) -> Option<Bytes> {
        Some(Response { answer: Some(answer.clone()) }.encode_to_vec().into())
    }

    fn decode_response(bytes: Bytes) -> Result<Answer, DecodeError> {
        let answer = Response::decode(bytes)?.answer;
        answer.ok_or_else(|| "it is of a kind that this version does not know".into())
    }
}

impl StateMachine for KvState {
    fn apply(&mut self, index: Index, command: Command) -> Answer {
        match command.change {
            Some(Change::Put(put)) => self.put(put, index.0),
            Some(Change::Delete(delete)) => self.delete(&delete),
            // `decode` lets none through.
            None => Answer::NotFound(true),
        }
    }

    fn applied(&mut self, index: Index) {
        let view = View { keys: self.keys.clone(), index: index.0, digest: self.digest };
        *self.published.0.write().unwrap_or_else(PoisonError::into_inner) = view;
    }

    fn snapshot(&self) -> Option<Snapshotting> {
        let keys = self.keys.clone();
        Some(Box::new(move |to| write_items(items_of(&keys), to).map(|_| ())))
    }

    fn restore(&mut self, from: &mut dyn Read) -> io::Result<()> {
        let (mut keys, mut digest) = (RedBlackTreeMapSync::new_sync(), 0_u64);
        for item in Items::new(io::BufReader::new(from)) {
            let Item { key, value, version } = item?;
            let stored = Stored { value, version };
            digest = digest.wrapping_add(hash(&key, &stored));
            keys.insert_mut(key, stored);
        }
        (self.keys, self.digest) = (keys, digest);
        Ok(())
    }
}

/// All keys with their values, in order.
fn items_of(keys: &RedBlackTreeMapSync<String, Stored>) -> impl Iterator<Item = Item> + '_ {
    keys.iter().map(|(key, Stored { value, version })| Item {
        key: key.clone(),
        value: value.clone(),
        version: *version,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &str, value: &str, expected: Option<Expected>) -> Command {
        let (key, value) = (key.to_string(), Bytes::copy_from_slice(value.as_bytes()));
        let precondition = expected.map(|expected| Precondition { expected: Some(expected) });
        Command { change: Some(Change::Put(Put { key, value, precondition })) }
    }

    fn delete(key: &str) -> Command {
        let delete = Delete { key: key.to_string(), precondition: None };
        Command { change: Some(Change::Delete(delete)) }
    }

    fn state_of(commands: impl IntoIterator<Item = Command>) -> KvState {
        let mut state = KvState::default();
        let mut last = 0;
        for command in commands {
            last += 1;
            state.apply(Index(last), KvState::decode(KvState::encode(command)).unwrap());
        }
        state.applied(Index(last));
        state
    }

    #[test]
    fn a_precondition_that_fails_changes_nothing() {
        let mut state = state_of([put("k", "a", None)]);
        let before = state.digest;
        for expected in [Expected::Version(7), Expected::Absent(true)] {
            let answer = state.apply(Index(2), put("k", "b", Some(expected)));
            assert_eq!(answer, Answer::PreconditionFailed(true));
        }
        let answer = state.apply(Index(3), put("new", "b", Some(Expected::Present(true))));
        assert_eq!(answer, Answer::PreconditionFailed(true));
        assert_eq!(state.digest, before);
        let answer = state.apply(Index(4), put("k", "b", Some(Expected::Version(1))));
        assert_eq!(answer, Answer::Written(4));
    }

    #[test]
    fn the_digest_tells_states_apart_and_not_the_ways_to_them() {
        let digest = |commands: &[Command]| state_of(commands.iter().cloned()).digest;
        let (a, b) = (put("a", "1", None), put("b", "2", None));
        // The versions are the same: a at 3, b at 2.
        assert_eq!(
            digest(&[delete("x"), b.clone(), a.clone()]),
            digest(&[a.clone(), b.clone(), a.clone()])
        );
        assert_ne!(digest(&[a.clone(), b.clone()]), digest(&[b, a.clone()]));
        assert_ne!(digest(&[put("a", "2", None)]), digest(std::slice::from_ref(&a)));
        assert_eq!(digest(&[a, delete("a")]), 0);
    }

    #[test]
    fn a_snapshot_is_of_its_moment_and_depends_on_the_state_alone() {
        let written = |state: &KvState| {
            let mut bytes = Vec::new();
            state.snapshot().unwrap()(&mut bytes).unwrap();
            bytes
        };
        let (a, b) = (put("a", &"1".repeat(300), None), put("b", "", None));
        let state = state_of([delete("x"), b.clone(), a.clone()]);
        assert_eq!(written(&state), written(&state_of([a.clone(), b, a])));

        let mut other = state_of([put("gone", "x", None)]);
        let taken = other.snapshot().unwrap();
        other.restore(&mut written(&state).as_slice()).unwrap();
        assert_eq!((other.digest, written(&other)), (state.digest, written(&state)));
        let mut before = Vec::new();
        taken(&mut before).unwrap();
        other.restore(&mut before.as_slice()).unwrap();
        assert_eq!(other.digest, state_of([put("gone", "x", None)]).digest);

        let whole = written(&state);
        assert!(other.restore(&mut &whole[..whole.len() - 1]).is_err(), "cut short");
        assert!(other.restore(&mut [0xff; 20].as_slice()).is_err(), "no length");
    }

    #[test]
    fn a_list_goes_on_where_it_stopped() {
        let keys = ["a", "b/1", "b/2", "b/3", "c"];
        let view = state_of(keys.map(|key| put(key, key, None))).published().current();
        let list = |start: &str, limit| {
            let list = List { prefix: "b/".into(), start: start.into(), limit };
            let Listed { items, next } = view.list(&list);
            (items.into_iter().map(|item| item.key).collect::<Vec<_>>(), next)
        };
        assert_eq!(list("", 2), (vec!["b/1".into(), "b/2".into()], Some("b/3".into())));
        assert_eq!(list("b/3", 2), (vec!["b/3".into()], None));
    }

    #[test]
    fn a_view_does_not_change_under_its_reader() {
        let mut state = state_of([put("k", "old", None)]);
        let view = state.published().current();
        state.apply(Index(2), put("k", "new", None));
        state.applied(Index(2));
        assert_eq!(view.get("k").unwrap().value, "old");
        assert_eq!(state.published().current().get("k").unwrap().value, "new");
    }
}
