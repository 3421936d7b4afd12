//! What a storage promised until its disk failed.

use actix_raft::application::Application;
use actix_raft::storage::{Base, DiskId, Save, Snapshot};

use super::super::contract::Failure;
use super::super::model::Model;
use super::super::probe::{Probe, Refusal, answers_in_order};
use super::script::RECEIVED;

/// What became of a script.
#[derive(Clone, Default)]
pub(super) struct Played {
    /// What the log must be after each save that was sent; first, before any.
    pub(super) models: Vec<Model>,
    /// How many saves were acknowledged.
    pub(super) acknowledged: usize,
    /// How far entries were handed to the state machine.
    pub(super) applied: u64,
    pub(super) failed: bool,
    /// The latest snapshot that was acknowledged.
    pub(super) snapshot: Option<Snapshot>,
    /// What was to become the latest one.
    pub(super) pending: Option<Pending>,
    /// Whether pieces of a snapshot were received, and it is not installed.
    pub(super) receiving: bool,
    /// As it was told.
    pub(super) disk: DiskId,
}

#[derive(Clone)]
pub(super) enum Pending {
    Built(Base),
    Installed(Snapshot),
}

impl Played {
    /// Sends saves together; returns a failure if one is refused. After that none may be
    /// acknowledged.
    pub(super) async fn save<A: Application>(
        &mut self,
        probe: &Probe<A>,
        saves: Vec<Save>,
    ) -> Result<Option<Failure>, Failure> {
        let mut requests = Vec::new();
        for save in saves {
            self.models.push(self.models[self.models.len() - 1].after(&save));
            requests.push(probe.storage().save(save));
        }
        let in_order = "answers to saves in the order in which they were sent";
        let answers = answers_in_order(requests).await;
        for answer in answers.map_err(|_| probe.failure(in_order, "another order"))? {
            match answer {
                Ok(()) if self.failed => {
                    return Err(probe.failure("errors only", "a save that is acknowledged"));
                }
                Ok(()) => self.acknowledged += 1,
                Err(Refusal::Error(_)) => self.failed = true,
                Err(Refusal::Silence) => {
                    return Err(probe.failure("an answer to each save", Refusal::Silence));
                }
            }
        }
        let expected = "saves that are acknowledged before that";
        Ok(self.failed.then(|| probe.failure(expected, "an error")))
    }

    pub(super) async fn build<A: Application>(
        &mut self,
        probe: &Probe<A>,
        base: &Base,
    ) -> Option<Failure> {
        self.pending = Some(Pending::Built(base.clone()));
        match probe.snapshot(base.clone()).await {
            Ok(snapshot) => {
                (self.snapshot, self.pending) = (Some(snapshot), None);
                None
            }
            Err(failure) => Some(failure),
        }
    }

    pub(super) async fn install<A: Application>(
        &mut self,
        probe: &Probe<A>,
        snapshot: &Snapshot,
    ) -> Option<Failure> {
        match probe.install(snapshot, true).await {
            Ok(()) => {
                (self.snapshot, self.applied) = (Some(snapshot.clone()), RECEIVED);
                self.receiving = false;
                None
            }
            Err(failure) => {
                self.pending = Some(Pending::Installed(snapshot.clone()));
                // It may have been done, and its base be saved when the storage is opened.
                let save = Save { base: Some(snapshot.base.clone()), ..Save::default() };
                self.models.push(self.models[self.models.len() - 1].after(&save));
                Some(failure)
            }
        }
    }
}
