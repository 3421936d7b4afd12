//! The plain list that says what a storage must hold, and how what it does hold is told to people.

use actix_raft::messages::{Entry, EntryPayload, Index, LogPosition};
use actix_raft::storage::{Base, HardState, ReadLog, Save, StoredState};

/// What a storage must hold after some saves.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Model {
    pub(super) hard_state: HardState,
    pub(super) base: Base,
    /// The entries behind the base.
    pub(super) entries: Vec<Entry>,
}

impl Model {
    pub(super) fn save(&mut self, save: &Save) {
        self.hard_state = save.hard_state.unwrap_or(self.hard_state);
        if let Some(base) = &save.base {
            let included = base.last_included;
            match self.position_at(included.index) == Some(included) {
                true => self.entries.retain(|entry| entry.index > included.index),
                false => self.entries.clear(),
            }
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

    /// What opening must say; but for what the list does not know: the disk, the snapshot and how
    /// much of the log the state machine holds.
    pub(super) fn state(&self) -> StoredState {
        let mut state = StoredState { hard_state: self.hard_state, ..StoredState::default() };
        state.note_base(self.base.clone());
        self.entries.iter().for_each(|entry| state.note_entry(entry));
        state
    }

    /// The same, with the rest from what was found.
    pub(super) fn state_like(&self, found: &StoredState) -> StoredState {
        let StoredState { snapshot, last_applied, disk, .. } = found.clone();
        StoredState { snapshot, last_applied, disk, ..self.state() }
    }

    /// The index that all entries come after.
    pub(super) fn base_index(&self) -> Index {
        self.base.last_included.index
    }

    pub(super) fn last(&self) -> Index {
        Index(self.base_index().0 + self.entries.len() as u64)
    }

    pub(super) fn entry(&self, index: Index) -> Option<&Entry> {
        let place = index.0.checked_sub(self.base_index().0 + 1)?;
        self.entries.get(place as usize)
    }

    /// The position here, in the log or in front of it.
    fn position_at(&self, index: Index) -> Option<LogPosition> {
        match index == self.base_index() {
            true => Some(self.base.last_included),
            false => self.entry(index).map(Entry::position),
        }
    }

    /// Whether the log has this position, or had it before its base.
    pub(super) fn reaches(&self, position: LogPosition) -> bool {
        position.index <= self.base_index() || self.position_at(position.index) == Some(position)
    }

    /// The entries of this range that are there; none if its first one is not.
    pub(super) fn range(&self, first: Index, last: Index) -> &[Entry] {
        let place = |index: Index| index.0.saturating_sub(self.base_index().0) as usize;
        match place(first) {
            0 => &[],
            first => {
                let end = self.entries.len().min(place(last));
                &self.entries[end.min(first - 1)..end]
            }
        }
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
        if last > self.last() || first <= self.base_index() {
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
    let HardState { current_term, voted_for, trusted } = hard_state;
    let vote = voted_for.map_or("no vote".to_string(), |id| format!("a vote for node {id}"));
    let trusted = if trusted { "trusted, " } else { "" };
    let members = base.membership.as_ref().map_or(0, |(_, membership)| membership.members().len());
    let base = match base.last_included {
        LogPosition::ZERO => format!("a first configuration of {members} members"),
        position => format!("a base at {position} with {members} members"),
    };
    let log = show_log(entries);
    format!("term {current_term}, {vote}, {trusted}{base}, {log}")
}
