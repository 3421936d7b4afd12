//! Snapshots: taking them, purging the log, and sending them to followers (§7). What a follower
//! does with one is in `installing.rs`.

use super::{Raft, Role};
use crate::admin::RequestId;
use crate::message::InstallSnapshotResponse;
use crate::snapshot::{Snapshot, SnapshotChunk};
use crate::types::{Index, LogPosition, NodeId};

impl Raft {
    pub(super) fn on_trigger_snapshot(&mut self, id: RequestId) {
        self.node.trigger_snapshot(id);
    }

    pub(super) fn on_purge_log(&mut self, id: RequestId, until: Option<Index>) {
        self.node.purge_log(id, until);
    }

    pub(super) fn on_snapshot_built(&mut self, snapshot: Option<Snapshot>) {
        self.node.on_built(snapshot);
    }

    pub(super) fn on_snapshot_read(
        &mut self,
        to: NodeId,
        last_included: LogPosition,
        chunk: Option<SnapshotChunk>,
    ) {
        if chunk.is_none() {
            self.node.lose_snapshot(last_included);
        }
        if let Role::Leader(leader) = &mut self.role {
            leader.on_snapshot_read(&mut self.node, to, last_included, chunk);
        }
    }

    pub(super) fn on_install_snapshot_response(
        &mut self,
        from: NodeId,
        response: &InstallSnapshotResponse,
    ) {
        if let Role::Leader(leader) = &mut self.role
            && response.term == self.node.current_term()
        {
            leader.on_install_snapshot_response(&mut self.node, from, response);
        }
    }
}
