//! The two lanes to a peer: one connection for all that must not wait, one for snapshots.
//!
//! What an operating system holds ready to be sent on a connection, and what the other one holds
//! ready to be read, can be megabytes, and whatever is written next waits behind them. So no order
//! among this node's own queues would keep the pieces of a snapshot from delaying a heartbeat that
//! comes after them: they go over a connection of their own.

use actix_raft_core::message::MessageBody;

use crate::wire;

/// Which of the two connections to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Lane {
    /// Everything but snapshots, and the application's requests. Kept up.
    Main,
    /// Pieces of snapshots. Closed when there are none for a while.
    Bulk,
}

impl Lane {
    /// The lane on which a message goes.
    pub(crate) fn of(body: &MessageBody) -> Lane {
        match body {
            MessageBody::InstallSnapshotRequest(_) => Lane::Bulk,
            MessageBody::AppendEntriesRequest(_)
            | MessageBody::AppendEntriesResponse(_)
            | MessageBody::VoteRequest(_)
            | MessageBody::VoteResponse(_)
            | MessageBody::InstallSnapshotResponse(_)
            | MessageBody::TimeoutNowRequest(_)
            | MessageBody::ReadIndexRequest(_)
            | MessageBody::ReadIndexResponse(_) => Lane::Main,
        }
    }

    pub(crate) fn to_wire(self) -> wire::Lane {
        match self {
            Lane::Main => wire::Lane::Main,
            Lane::Bulk => wire::Lane::Bulk,
        }
    }

    /// None if there is no such lane.
    pub(crate) fn from_wire(lane: i32) -> Option<Lane> {
        match wire::Lane::try_from(lane) {
            Ok(wire::Lane::Main) => Some(Lane::Main),
            Ok(wire::Lane::Bulk) => Some(Lane::Bulk),
            Ok(wire::Lane::Unspecified) | Err(_) => None,
        }
    }
}
