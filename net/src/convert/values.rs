//! Kinds, reasons and other small values, to and from the wire.

use actix_raft_core::event::Consistency;
use actix_raft_core::message::{VoteKind, VoteRefusal};
use actix_raft_core::types::DiskId;

use crate::convert::DecodeError;
use crate::wire::rpc;

pub(super) fn kind_to_wire(kind: VoteKind) -> rpc::VoteKind {
    match kind {
        VoteKind::PreVote => rpc::VoteKind::PreVote,
        VoteKind::Vote => rpc::VoteKind::Vote,
        VoteKind::Transfer => rpc::VoteKind::Transfer,
    }
}

pub(super) fn kind_from_wire(message: &'static str, kind: i32) -> Result<VoteKind, DecodeError> {
    match rpc::VoteKind::try_from(kind) {
        Ok(rpc::VoteKind::PreVote) => Ok(VoteKind::PreVote),
        Ok(rpc::VoteKind::Vote) => Ok(VoteKind::Vote),
        Ok(rpc::VoteKind::Transfer) => Ok(VoteKind::Transfer),
        Ok(rpc::VoteKind::Unspecified) | Err(_) => {
            Err(DecodeError::Missing { message, part: "kind" })
        }
    }
}

pub(super) fn refusal_to_wire(refusal: VoteRefusal) -> rpc::VoteRefusal {
    match refusal {
        VoteRefusal::StaleTerm => rpc::VoteRefusal::StaleTerm,
        VoteRefusal::HearsLeader => rpc::VoteRefusal::HearsLeader,
        VoteRefusal::AlreadyVoted => rpc::VoteRefusal::AlreadyVoted,
        VoteRefusal::LogBehind => rpc::VoteRefusal::LogBehind,
        VoteRefusal::Untrusted => rpc::VoteRefusal::Untrusted,
    }
}

/// A refusal for a reason that is not known here is a refusal.
pub(super) fn refusal_from_wire(refusal: i32) -> Option<VoteRefusal> {
    match rpc::VoteRefusal::try_from(refusal) {
        Ok(rpc::VoteRefusal::StaleTerm) => Some(VoteRefusal::StaleTerm),
        Ok(rpc::VoteRefusal::HearsLeader) => Some(VoteRefusal::HearsLeader),
        Ok(rpc::VoteRefusal::AlreadyVoted) => Some(VoteRefusal::AlreadyVoted),
        Ok(rpc::VoteRefusal::LogBehind) => Some(VoteRefusal::LogBehind),
        Ok(rpc::VoteRefusal::Untrusted) => Some(VoteRefusal::Untrusted),
        Ok(rpc::VoteRefusal::Unspecified) | Err(_) => None,
    }
}

pub(super) fn disk_to_wire(disk: DiskId) -> Option<u64> {
    (disk != DiskId::UNKNOWN).then_some(disk.0)
}

pub(super) fn disk_from_wire(disk: Option<u64>) -> DiskId {
    disk.map_or(DiskId::UNKNOWN, DiskId)
}

pub(super) fn consistency_to_wire(consistency: Consistency) -> rpc::Consistency {
    match consistency {
        Consistency::Linearizable => rpc::Consistency::Linearizable,
        Consistency::Lease => rpc::Consistency::Lease,
    }
}

pub(super) fn consistency_from_wire(consistency: i32) -> Result<Consistency, DecodeError> {
    match rpc::Consistency::try_from(consistency) {
        Ok(rpc::Consistency::Linearizable) => Ok(Consistency::Linearizable),
        Ok(rpc::Consistency::Lease) => Ok(Consistency::Lease),
        Ok(rpc::Consistency::Unspecified) | Err(_) => {
            Err(DecodeError::Missing { message: "ReadIndexRequest", part: "consistency" })
        }
    }
}
