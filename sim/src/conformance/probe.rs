//! Asking a storage what a node asks, and comparing its answers with the plain list.

use std::fmt::Display;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use actix_raft::application::Application;
use actix_raft::messages::{Entry, EntryPayload, Index};
use actix_raft::storage::{Outcome, ReadLog, Save, Storage, StorageError, StoredState};

use super::contract::{Contract, Failure};
use super::model::{Difference, Model, show, show_entry, show_log};
use super::{Opened, Subject};

/// How long an answer may take, so that one that never comes has a name too.
const PATIENCE: Duration = Duration::from_secs(60);

/// A storage that is open, which contract it is asked about, and what is being done.
pub(super) struct Probe<A: Application> {
    storage: Storage<A>,
    contract: Contract,
    step: String,
}

/// Why there is no good answer.
pub(super) enum Refusal {
    /// An error, or the end of the actor.
    Error(String),
    /// Nothing at all.
    Silence,
}

impl Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Refusal::Error(error) => write!(f, "the error: {error}"),
            Refusal::Silence => write!(f, "no answer within {} seconds", PATIENCE.as_secs()),
        }
    }
}

pub(super) async fn answer<T, E>(
    request: impl Future<Output = Result<Result<T, StorageError>, E>>,
) -> Result<T, Refusal> {
    match tokio::time::timeout(PATIENCE, request).await {
        Ok(Ok(Ok(answer))) => Ok(answer),
        Ok(Ok(Err(error))) => Err(Refusal::Error(error.to_string())),
        Ok(Err(_)) => Err(Refusal::Error("the request was dropped".to_string())),
        Err(_) => Err(Refusal::Silence),
    }
}

/// Opens a new storage.
pub(super) async fn open<S: Subject>(
    subject: &mut S,
    contract: Contract,
) -> Result<Probe<S::Application>, Failure> {
    let step = "a new storage is opened".to_string();
    Probe::new(subject.open().await, contract, step)
}

impl<A: Application> Probe<A> {
    pub(super) fn new(
        opened: Opened<A>,
        contract: Contract,
        step: String,
    ) -> Result<Probe<A>, Failure> {
        match opened {
            Ok(storage) => Ok(Probe { storage, contract, step }),
            Err(error) => {
                let (expected, found) = ("a storage".to_string(), format!("the error: {error}"));
                Err(Failure { contract, step, expected, found })
            }
        }
    }

    /// Says what is done next.
    pub(super) fn step(&mut self, step: impl Display) {
        self.step = step.to_string();
    }

    /// Says which contract it is about from now on.
    pub(super) fn about(&mut self, contract: Contract) {
        self.contract = contract;
    }

    pub(super) fn storage(&self) -> &Storage<A> {
        &self.storage
    }

    pub(super) fn contract(&self) -> Contract {
        self.contract
    }

    pub(super) fn failure(&self, expected: impl Display, found: impl Display) -> Failure {
        Failure {
            contract: self.contract,
            step: self.step.clone(),
            expected: expected.to_string(),
            found: found.to_string(),
        }
    }

    pub(super) async fn ask<T, E>(
        &self,
        what: &str,
        request: impl Future<Output = Result<Result<T, StorageError>, E>>,
    ) -> Result<T, Failure> {
        let expected = || format!("an answer to {what}");
        answer(request).await.map_err(|refusal| self.failure(expected(), refusal))
    }

    pub(super) async fn initial_state(&self) -> Result<StoredState, Failure> {
        self.ask("what the storage holds", self.storage.initial_state()).await
    }

    pub(super) async fn save(&self, save: Save) -> Result<(), Failure> {
        self.ask("a save", self.storage.save(save)).await
    }

    pub(super) async fn read(&self, read: ReadLog) -> Result<Vec<Entry>, Failure> {
        let what = format!("a read of {} to {}", read.first, read.last);
        self.ask(&what, self.storage.read(read)).await
    }

    /// Applies these entries; there must be as many responses as commands.
    pub(super) async fn apply(
        &self,
        entries: &[Entry],
    ) -> Result<Vec<Outcome<A::Response>>, Failure> {
        let commands = entries.iter().filter(|entry| is_command(entry)).count();
        let responses = self.ask("applying", self.storage.apply(entries.into())).await?;
        if responses.len() != commands {
            let what = format!("{commands} responses to {}", show_log(entries));
            return Err(self.failure(what, responses.len()));
        }
        Ok(responses)
    }

    /// The answer to a read must be what the list says.
    pub(super) async fn check_read(&self, model: &Model, read: ReadLog) -> Result<(), Failure> {
        let answer = self.read(read).await?;
        match model.misread(read, &answer) {
            None => Ok(()),
            Some(difference) => Err(self.misread(read, difference)),
        }
    }

    pub(super) fn misread(&self, read: ReadLog, difference: Difference) -> Failure {
        let ReadLog { first, last, max_bytes } = read;
        let found = match max_bytes {
            usize::MAX => format!("{} when reading {first} to {last}", difference.found),
            _ => {
                format!("{} when reading {max_bytes} bytes of {first} to {last}", difference.found)
            }
        };
        self.failure(difference.expected, found)
    }

    /// All entries must be those of the list, at once and in pieces, and none behind.
    pub(super) async fn check_log(&self, model: &Model) -> Result<(), Failure> {
        let found = self.read_back(model.base_index(), model.last()).await?;
        self.compare_logs(&model.entries, &found)?;
        if let [first, .., last] | [first @ last] = model.entries.as_slice() {
            let (first, last) = (first.index, last.index);
            self.check_read(model, ReadLog { first, last, max_bytes: usize::MAX }).await?;
        }
        // Whether this is an error is a matter of its own.
        let behind = model.last().next();
        let read = ReadLog { first: behind, last: behind, max_bytes: usize::MAX };
        match answer(self.storage.read(read)).await {
            Ok(found) if !found.is_empty() => {
                let log = show_log(&model.entries);
                let found = show_entry(&found[0]);
                Err(self.failure(format!("nothing behind {log}"), found))
            }
            Ok(_) | Err(_) => Ok(()),
        }
    }

    fn compare_logs(&self, expected: &[Entry], found: &[Entry]) -> Result<(), Failure> {
        let place = (0..expected.len().max(found.len()))
            .find(|place| expected.get(*place) != found.get(*place));
        let Some(place) = place else { return Ok(()) };
        let show = |log: &[Entry]| {
            let entry = log.get(place).map_or("no entry".to_string(), show_entry);
            format!("{entry} in {}", show_log(log))
        };
        Err(self.failure(show(expected), show(found)))
    }

    /// All entries after the one and up to the other, as far as they are there, read in pieces.
    pub(super) async fn read_back(&self, base: Index, last: Index) -> Result<Vec<Entry>, Failure> {
        let mut entries: Vec<Entry> = Vec::new();
        while base.0 + (entries.len() as u64) < last.0 {
            let first = Index(base.0 + entries.len() as u64 + 1);
            let more = self.read(ReadLog { first, last, max_bytes: 400 }).await?;
            if more.is_empty() {
                break;
            }
            entries.extend(more);
        }
        Ok(entries)
    }

    /// What the storage says it holds must be what the list says, as far as that knows.
    pub(super) fn compare_states(&self, model: &Model, found: &StoredState) -> Result<(), Failure> {
        let expected = model.state_like(found);
        let difference = match self.contract {
            // Each check looks at its own part, so that a failure has the right name.
            Contract::HardState if found.hard_state == expected.hard_state => None,
            Contract::HardState => Some((debug(expected.hard_state), debug(found.hard_state))),
            Contract::Base if found.base == expected.base => None,
            Contract::Base => Some((debug(expected.base), debug(&found.base))),
            _ if found == &expected => None,
            _ => Some((debug(expected), debug(found))),
        };
        difference.map_or(Ok(()), |(expected, found)| Err(self.failure(expected, found)))
    }

    /// Whether the storage holds what one of these lists says: which one.
    pub(super) async fn which(
        &self,
        models: &[Model],
    ) -> Result<(Option<usize>, StoredState, String), Failure> {
        let state = self.initial_state().await?;
        let base = state.base.last_included.index;
        let entries = self.read_back(base, state.last_log.index).await?;
        let found = show(state.hard_state, &state.base, &entries);
        let same = |model: &Model| model.entries == entries && model.state_like(&state) == state;
        // The latest, if several are alike.
        Ok((models.iter().rposition(same), state, found))
    }
}

fn debug(value: impl std::fmt::Debug) -> String {
    format!("{value:?}")
}

pub(super) fn is_command(entry: &Entry) -> bool {
    match &entry.payload {
        EntryPayload::Normal(_) => true,
        EntryPayload::Blank | EntryPayload::ConfigChange(_) => false,
    }
}

/// A save that was answered while an earlier one was not.
pub(super) struct Overtaken {
    pub(super) waiting: usize,
    pub(super) answered: usize,
}

/// The answers to all these saves, which must come in order.
pub(super) async fn answers_in_order<F, E>(
    requests: Vec<F>,
) -> Result<Vec<Result<(), Refusal>>, Overtaken>
where
    F: Future<Output = Result<Result<(), StorageError>, E>>,
{
    let mut requests: Vec<Pin<Box<F>>> = requests.into_iter().map(Box::pin).collect();
    let mut answers: Vec<Option<Result<(), Refusal>>> = requests.iter().map(|_| None).collect();
    let all = poll_fn(|cx| {
        // From the last one to the first: if one is answered, those asked after it must be, too.
        for (request, answer) in requests.iter_mut().zip(&mut answers).rev() {
            if answer.is_none()
                && let Poll::Ready(result) = request.as_mut().poll(cx)
            {
                *answer = Some(match result {
                    Ok(Ok(())) => Ok(()),
                    Ok(Err(error)) => Err(Refusal::Error(error.to_string())),
                    Err(_) => Err(Refusal::Error("the request was dropped".to_string())),
                });
            }
        }
        let waiting = answers.iter().position(Option::is_none);
        let Some(waiting) = waiting else { return Poll::Ready(Ok(())) };
        match answers.iter().rposition(Option::is_some) {
            Some(answered) if answered > waiting => {
                Poll::Ready(Err(Overtaken { waiting, answered }))
            }
            _ => Poll::Pending,
        }
    });
    // Tokio would say "not yet" to the last ones asked if there are many.
    let all = tokio::time::timeout(PATIENCE, tokio::task::unconstrained(all));
    if let Ok(Err(overtaken)) = all.await {
        return Err(overtaken);
    }
    Ok(answers.into_iter().map(|answer| answer.unwrap_or(Err(Refusal::Silence))).collect())
}

/// Entries applied so far with their responses; none for entries that are no commands.
pub(super) struct Journal<R> {
    pub(super) entries: Vec<Entry>,
    pub(super) responses: Vec<Option<Outcome<R>>>,
}

impl<R: PartialEq + std::fmt::Debug> Journal<R> {
    pub(super) fn new() -> Journal<R> {
        Journal { entries: Vec::new(), responses: Vec::new() }
    }

    /// Entries that were applied here, too, must have the same responses.
    pub(super) fn compare<A: Application<Response = R>>(
        &self,
        probe: &Probe<A>,
        entries: &[Entry],
        responses: Vec<Outcome<R>>,
    ) -> Result<(), Failure> {
        for (entry, response) in entries.iter().filter(|entry| is_command(entry)).zip(responses) {
            let before = self.responses.get(entry.index.prev().0 as usize);
            let response = Some(response);
            if before.is_some_and(|before| *before != response) {
                let what = |response| format!("{response:?} as the response to {}", entry.index);
                return Err(probe.failure(what(before), what(Some(&response))));
            }
        }
        Ok(())
    }

    /// Applies entries, all of which or the first of which may be applied already, in another life:
    /// then the responses must be the same.
    pub(super) async fn apply<A: Application<Response = R>>(
        &mut self,
        probe: &Probe<A>,
        entries: &[Entry],
    ) -> Result<(), Failure> {
        let mut responses = probe.apply(entries).await?.into_iter();
        for entry in entries {
            let response = if is_command(entry) { responses.next() } else { None };
            match self.responses.get(entry.index.prev().0 as usize) {
                Some(before) if *before != response => {
                    let what =
                        |response| format!("{response:?} as the response to {}", entry.index);
                    return Err(probe.failure(what(before), what(&response)));
                }
                Some(_) => {}
                None => {
                    self.entries.push(entry.clone());
                    self.responses.push(response);
                }
            }
        }
        Ok(())
    }
}

/// What applying these entries one by one to a new storage answers.
pub(super) async fn applied_singly<S: Subject>(
    subject: &mut S,
    entries: &[Entry],
    contract: Contract,
) -> Result<Journal<<S::Application as Application>::Response>, Failure> {
    let mut probe = open(subject, contract).await?;
    probe.initial_state().await?;
    probe.step("entries are applied one by one");
    let run: Arc<[Entry]> = entries.into();
    probe.save(Save { entries: vec![run], ..Save::default() }).await?;
    let mut journal = Journal::new();
    for entry in entries {
        journal.apply(&probe, std::slice::from_ref(entry)).await?;
    }
    Ok(journal)
}
