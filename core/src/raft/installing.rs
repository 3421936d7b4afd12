//! A follower that is sent a snapshot: InstallSnapshot RPC, receiver implementation (Figure 13).

use super::{Raft, Role};
use crate::effect::Effect;
use crate::message::{
    InstallOutcome, InstallSnapshotRequest, InstallSnapshotResponse, MessageBody,
};
use crate::mutants::{Mutant, is_planted};
use crate::receiving::Piece;
use crate::types::{LogPosition, NodeId};

impl Raft {
    pub(super) fn on_install_snapshot(&mut self, from: NodeId, request: &InstallSnapshotRequest) {
        let at = request.snapshot.last_included();
        // "Reply immediately if term < currentTerm": so a leader of the past learns that it is one.
        if request.term < self.node.current_term() {
            return self.answer_install(from, 0, at, InstallOutcome::Received { offset: 0 });
        }
        if !self.recognize_leader(from) {
            return;
        }
        let Role::Follower(follower) = &mut self.role else { return };
        if !follower.hear(&mut self.node, from, request.round) {
            return;
        }
        follower.deadline = self.node.patience();
        // What a leader's snapshot includes is committed, and if the log has the last entry of it,
        // it has them all (§5.3).
        if self.node.log.matches(at) && at.index > self.node.commit_index {
            self.node.commit(at.index);
        }
        let is_stale = at.index <= self.node.commit_index;
        if is_stale && !is_planted(Mutant::StaleSnapshotInstalled) {
            // An older one that was on its way is then none that is needed, either.
            self.node.receiving.forget_up_to(self.node.commit_index);
            let Role::Follower(follower) = &mut self.role else { return };
            follower.verify(at.index);
            // Else the leader hears of it as soon as it is on disk.
            if at.index <= self.node.log.durable() {
                self.answer_install(from, request.round, at, InstallOutcome::Installed);
            }
            return;
        }
        match self.node.receiving.on_piece(request) {
            Piece::Store => {
                let (snapshot, chunk) = (request.snapshot.clone(), request.chunk.clone());
                self.node.effect(Effect::StoreSnapshotChunk { snapshot, chunk });
            }
            Piece::AllHere => {
                let offset = request.snapshot.size;
                self.answer_install(from, request.round, at, InstallOutcome::Received { offset });
            }
            Piece::Ignore => {}
        }
    }

    pub(super) fn on_snapshot_chunk_stored(&mut self, last_included: LogPosition, received: u64) {
        let Some(is_all) = self.node.receiving.on_stored(last_included, received) else {
            return;
        };
        // A candidate goes on when it hears of a leader that sends the same.
        let Role::Follower(follower) = &self.role else { return };
        let (Some(leader), round) = (follower.leader, follower.round()) else { return };
        if is_all {
            self.node.receiving.wait();
        }
        let outcome = InstallOutcome::Received { offset: received };
        self.answer_install(leader, round, last_included, outcome);
    }

    pub(super) fn on_snapshot_installed(&mut self, last_included: LogPosition, installed: bool) {
        let Some(snapshot) = self.node.receiving.end_install(last_included) else {
            return;
        };
        if installed {
            self.node.on_installed(snapshot);
        }
        // No other role is entered while a snapshot is installed.
        let Role::Follower(follower) = &mut self.role else { return };
        let mut outcome = InstallOutcome::Received { offset: 0 };
        if installed {
            outcome = InstallOutcome::Installed;
            // The new configuration may give this server a vote, or take it.
            follower.deadline = self.node.patience();
        }
        if let (Some(leader), round) = (follower.leader, follower.round()) {
            self.answer_install(leader, round, last_included, outcome);
        }
    }

    /// It leaves when the term, and the base if that moved, are on disk.
    fn answer_install(
        &mut self,
        to: NodeId,
        round: u64,
        last_included: LogPosition,
        outcome: InstallOutcome,
    ) {
        let (term, disk) = (self.node.current_term(), self.node.disk);
        let response = InstallSnapshotResponse { term, round, disk, last_included, outcome };
        self.node.promise(to, MessageBody::InstallSnapshotResponse(response));
    }
}
