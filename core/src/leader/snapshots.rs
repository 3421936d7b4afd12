//! The leader's side of InstallSnapshot (§7): who needs one, and how it gets there.

use super::Leader;
use crate::effect::Effect;
use crate::message::{
    InstallOutcome, InstallSnapshotRequest, InstallSnapshotResponse, MessageBody,
};
use crate::mutants::{Mutant, is_planted};
use crate::node::Node;
use crate::progress::{Pace, Progress};
use crate::sending::Sending;
use crate::snapshot::{Snapshot, SnapshotChunk};
use crate::trust::Heard;
use crate::types::{Index, LogPosition, NodeId, Time};

impl Leader {
    /// An answer of the current term.
    pub(crate) fn on_install_snapshot_response(
        &mut self,
        node: &mut Node,
        from: NodeId,
        response: &InstallSnapshotResponse,
    ) {
        let next = node.log.last().index.next();
        let Some(progress) = self.progress.get_mut(&from) else {
            return;
        };
        if response.round > self.round {
            return node.violation(from, "answers a round that was never begun");
        }
        let at = response.last_included;
        // It may be of a snapshot that is gone by now, or of one that an earlier leader sent: what that
        // includes is committed and in this leader's log (§5.4), which may not know yet that it is.
        let is_other = node.log.term_at(at.index).is_some_and(|term| term != at.term);
        if at.index > node.log.last().index || is_other {
            return node.violation(from, "a snapshot that was never sent");
        }
        // Whether it is trusted, its answers to heartbeats say.
        match progress.disk.hear((response.disk, false), response.round, self.round, next) {
            Heard::Same => {}
            Heard::New => progress.start_over(next),
            Heard::Old => return,
        }
        progress.last_contact = node.now;
        progress.on_round(response.round);
        match response.outcome {
            InstallOutcome::Installed => {
                progress.match_index = progress.match_index.max(at.index);
                progress.next_index = progress.next_index.max(progress.match_index.next());
            }
            InstallOutcome::Received { offset } => match &mut progress.pace {
                Pace::Snapshot(sending) if sending.snapshot.last_included() == at => {
                    if offset > sending.snapshot.size {
                        return node.violation(from, "has more of a snapshot than there is");
                    }
                    sending.on_received(offset, node.now);
                }
                Pace::Snapshot(_) | Pace::Probe { .. } | Pace::Replicate { .. } => {}
            },
        }
    }

    /// A piece of a snapshot came from storage.
    pub(crate) fn on_snapshot_read(
        &mut self,
        node: &mut Node,
        to: NodeId,
        last_included: LogPosition,
        chunk: Option<SnapshotChunk>,
    ) {
        let Some(progress) = self.progress.get_mut(&to) else {
            return;
        };
        let Pace::Snapshot(sending) = &mut progress.pace else {
            return;
        };
        if sending.snapshot.last_included() != last_included {
            return;
        }
        match chunk {
            Some(chunk) if !chunk.data.is_empty() => {
                if sending.on_read(&chunk, node.now, &node.config) {
                    let snapshot = sending.snapshot.clone();
                    send_piece(node, to, self.round, snapshot, chunk);
                }
            }
            // It is gone or damaged: there is a later one, or one has to be taken.
            Some(_) | None => {
                node.lose_snapshot(last_included);
                progress.pace = Pace::Probe { waiting: false };
            }
        }
    }

    /// Sends snapshots to those who lack what is in the log no more.
    pub(super) fn send_snapshots(&mut self, node: &mut Node) {
        let base = node.log.base().index;
        node.sending_from = None;
        for (to, progress) in &mut self.progress {
            choose_pace(node, progress, base);
            let Pace::Snapshot(sending) = &mut progress.pace else {
                continue;
            };
            if sending.begin_question() {
                let snapshot = sending.snapshot.clone();
                send_piece(node, *to, self.round, snapshot, Sending::question());
            }
            if let Some(offset) = sending.begin_read(node.now) {
                let (to, max_bytes) = (*to, node.config.snapshot_chunk_bytes);
                let snapshot = sending.snapshot.clone();
                node.effect(Effect::ReadSnapshot { to, snapshot, offset, max_bytes });
            }
            let is_heard = node.now.since(progress.last_contact) < node.config.election_timeout;
            if sending.is_worth_keeping(node.now, is_heard, &node.config) {
                let index = sending.snapshot.last_included().index;
                node.sending_from =
                    Some(node.sending_from.map_or(index, |other: Index| other.min(index)));
            }
        }
    }

    /// When the next piece of a snapshot may go out.
    pub(super) fn next_piece_at(&self) -> Option<Time> {
        let due = |progress: &Progress| match &progress.pace {
            Pace::Snapshot(sending) => sending.deadline(),
            Pace::Probe { .. } | Pace::Replicate { .. } => None,
        };
        self.progress.values().filter_map(due).min()
    }
}

/// A follower whose next entry is purged needs the latest snapshot; one that has what the log
/// begins after, however it came by it, needs none.
fn choose_pace(node: &mut Node, progress: &mut Progress, base: Index) {
    if let Pace::Snapshot(sending) = &progress.pace {
        let includes = sending.snapshot.last_included().index;
        if progress.match_index >= base && !is_planted(Mutant::SnapshotNeverEnds) {
            progress.replicate_from_match();
        } else if progress.match_index < includes || is_planted(Mutant::SnapshotNeverEnds) {
            return;
        }
    }
    if progress.next_index > base && !matches!(progress.pace, Pace::Snapshot(_)) {
        return;
    }
    match &node.snapshot {
        Some(snapshot) => {
            progress.next_index = progress.match_index.next();
            progress.pace = Pace::Snapshot(Sending::new(snapshot.clone(), node.now));
        }
        None => node.taking.need(),
    }
}

fn send_piece(node: &mut Node, to: NodeId, round: u64, snapshot: Snapshot, chunk: SnapshotChunk) {
    let request = InstallSnapshotRequest { term: node.current_term(), round, snapshot, chunk };
    node.send(to, MessageBody::InstallSnapshotRequest(request));
}
