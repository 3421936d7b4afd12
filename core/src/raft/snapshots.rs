//! Snapshots: taking them, purging the log, and sending them to followers (§7).

use super::Raft;
use crate::admin::{PurgeError, RequestId, SnapshotError};
use crate::effect::Effect;
use crate::message::{InstallSnapshotRequest, InstallSnapshotResponse};
use crate::snapshot::{Snapshot, SnapshotChunk};
use crate::types::{Index, LogPosition, NodeId};

impl Raft {
    pub(super) fn on_trigger_snapshot(&mut self, id: RequestId) {
        let result = Err(SnapshotError::Unsupported);
        self.node.effect(Effect::SnapshotTaken { id, result });
    }

    pub(super) fn on_purge_log(&mut self, id: RequestId, _until: Option<Index>) {
        let result = Err(PurgeError::NotInSnapshot(Index::ZERO));
        self.node.effect(Effect::LogPurged { id, result });
    }

    pub(super) fn on_snapshot_built(&mut self, _snapshot: Option<Snapshot>) {}

    pub(super) fn on_snapshot_read(
        &mut self,
        _to: NodeId,
        _last_included: LogPosition,
        _chunk: Option<SnapshotChunk>,
    ) {
    }

    pub(super) fn on_snapshot_chunk_stored(&mut self, _last_included: LogPosition, _received: u64) {
    }

    pub(super) fn on_snapshot_installed(&mut self, _last_included: LogPosition, _installed: bool) {}

    pub(super) fn on_install_snapshot(&mut self, _from: NodeId, _request: &InstallSnapshotRequest) {
    }

    pub(super) fn on_install_snapshot_response(
        &mut self,
        _from: NodeId,
        _response: &InstallSnapshotResponse,
    ) {
    }
}
