//! The plain list that says what a storage must hold, and how what it does hold is told to people.

use actix_raft::messages::{Entry, EntryPayload};
use actix_raft::storage::{Base, ReadLog, Save, StoredState};
use actix_raft_core::types::{HardState, Index};

/// What a storage must hold after some saves.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Model {
    pub(super) hard_state: HardState,
    pub(super) base: Base,
    pub(super) entries: Vec<Entry>,
}

impl Model {
    pub(super) fn save(&mut self, save: &Save) {
        self.hard_state = save.hard_state.unwrap_or(self.hard_state);
        if let Some(base) = &save.base {
            self.base = base.clone();
        }
        for run in &save.entries {
            if let Some(first) = run.first() {
                self.entries.retain(|entry| entry.index < first.index);
            }
            self.entries.extend(run.iter().cloned());
        }
    }

    pub(super) fn after(&self, save: &Save) -> Model {
        let mut after = self.clone();
        after.save(save);
        after
    }

    /// What opening must say; but for `last_applied`.
    pub(super) fn state(&self) -> StoredState {
        let mut state = StoredState { hard_state: self.hard_state, ..StoredState::default() };
        state.note_base(self.base.clone());
        self.entries.iter().for_each(|entry| state.note_entry(entry));
        state
    }

    pub(super) fn last(&self) -> Index {
        Index(self.entries.len() as u64)
    }

    /// The entries of this range that are there.
    pub(super) fn range(&self, first: Index, last: Index) -> &[Entry] {
        let end = self.entries.len().min(last.0 as usize);
        let start = end.min(first.prev().0 as usize);
        &self.entries[start..end]
    }

    /// What is wrong with the answer to a read; `None` if nothing is.
    pub(super) fn misread(&self, read: ReadLog, answer: &[Entry]) -> Option<Difference> {
        let ReadLog { first, last, max_bytes } = read;
        let there = self.range(first, last);
        let difference = |expected: String, found: String| Some(Difference { expected, found });
        if let Some(place) = (0..answer.len()).find(|place| there.get(*place) != answer.get(*place))
        {
            let expected = there.get(place).map_or("no entry".to_string(), show_entry);
            let found = answer.get(place).map_or("no entry".to_string(), show_entry);
            return difference(format!("{expected} at place {place} of the answer"), found);
        }
        if last > self.last() {
            // Some are gone: what is left of them is of use, or nothing.
            return None;
        }
        if answer.is_empty() {
            return difference("at least one entry".to_string(), "none".to_string());
        }
        let weight = |entries: &[Entry]| entries.iter().map(Entry::weight).sum::<usize>();
        let shown = || {
            format!("{} of {} entries, which weigh {}", answer.len(), there.len(), weight(answer))
        };
        if let Some(next) = there.get(answer.len())
            && weight(answer) + next.weight() <= max_bytes
        {
            let weight = next.weight();
            return difference(format!("the next one too, which weighs {weight}"), shown());
        }
        if answer.len() > 1 && weight(&answer[..answer.len() - 1]) >= max_bytes {
            return difference(format!("no more when {max_bytes} bytes are reached"), shown());
        }
        None
    }
}

/// What should be and what is.
pub(super) struct Difference {
    pub(super) expected: String,
    pub(super) found: String,
}

/// An entry in a few words.
pub(super) fn show_entry(entry: &Entry) -> String {
    let position = entry.position();
    match &entry.payload {
        EntryPayload::Blank => format!("{position} (blank)"),
        EntryPayload::Normal(command) => {
            let start = &command[..command.len().min(8)];
            format!("{position} (a command of {} bytes, {start:02x?}...)", command.len())
        }
        EntryPayload::ConfigChange(membership) => format!("{position} ({membership:?})"),
    }
}

/// A log in a few words, such as `1..=4 of term 1, 5..=9 of term 2`.
pub(super) fn show_log(entries: &[Entry]) -> String {
    if entries.is_empty() {
        return "an empty log".to_string();
    }
    let of_term = |run: &[Entry]| {
        let (first, last) = (run[0].index, run[run.len() - 1].index);
        format!("{first}..={last} of term {}", run[0].term)
    };
    let runs: Vec<String> = entries
        .chunk_by(|one, next| one.term == next.term && one.index.next() == next.index)
        .map(of_term)
        .collect();
    match runs.as_slice() {
        [first, second, third, .., last] if runs.len() > 6 => {
            format!("{first}, {second}, {third}, and so on to {last}")
        }
        _ => runs.join(", "),
    }
}

/// Term, vote, base and log in a few words.
pub(super) fn show(hard_state: HardState, base: &Base, entries: &[Entry]) -> String {
    let HardState { current_term, voted_for, trusted: _ } = hard_state;
    let vote = voted_for.map_or("no vote".to_string(), |id| format!("a vote for node {id}"));
    let members = base.membership.as_ref().map_or(0, |(_, membership)| membership.members().len());
    let log = show_log(entries);
    format!("term {current_term}, {vote}, a first configuration of {members} members, {log}")
}
