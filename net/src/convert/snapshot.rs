//! Pieces of snapshots and the answers to them, to and from the wire.

use std::sync::Arc;

use actix_raft_core::message::{InstallOutcome, InstallSnapshotRequest, InstallSnapshotResponse};
use actix_raft_core::snapshot::{Snapshot, SnapshotChunk};
use actix_raft_core::stored::Base;
use actix_raft_core::types::{Index, LogPosition, Term};

use crate::convert::log::{membership_from_wire, membership_to_wire};
use crate::convert::values::{disk_from_wire, disk_to_wire};
use crate::convert::{DecodeError, Misfit, position, some_term};
use crate::wire::{log, rpc};

const REQUEST: &str = "InstallSnapshotRequest";
const RESPONSE: &str = "InstallSnapshotResponse";

pub(super) fn install_request_to_wire(m: &InstallSnapshotRequest) -> rpc::InstallSnapshotRequest {
    let SnapshotChunk { offset, data, checksum, done } = m.chunk.clone();
    rpc::InstallSnapshotRequest {
        term: m.term.0,
        round: m.round,
        snapshot: Some(snapshot_to_wire(&m.snapshot)),
        chunk: Some(log::SnapshotChunk { offset, data, checksum, done }),
    }
}

pub(super) fn install_request_from_wire(
    m: rpc::InstallSnapshotRequest,
) -> Result<InstallSnapshotRequest, DecodeError> {
    let missing = |part| DecodeError::Missing { message: REQUEST, part };
    let term = some_term(REQUEST, m.term)?;
    let snapshot = snapshot_from_wire(m.snapshot.ok_or_else(|| missing("snapshot"))?)?;
    let last_included = snapshot.last_included();
    // A leader's log holds no term above its own.
    if last_included.term > term {
        return Err(DecodeError::BadSnapshot { last_included, but: Misfit::Leader(term) });
    }
    let chunk = m.chunk.ok_or_else(|| missing("chunk"))?;
    let chunk = chunk_from_wire(chunk, snapshot.size)?;
    Ok(InstallSnapshotRequest { term, round: m.round, snapshot, chunk })
}

pub(super) fn install_response_to_wire(
    m: &InstallSnapshotResponse,
) -> rpc::InstallSnapshotResponse {
    rpc::InstallSnapshotResponse {
        term: m.term.0,
        round: m.round,
        disk: disk_to_wire(m.disk),
        last_included_term: m.last_included.term.0,
        last_included_index: m.last_included.index.0,
        outcome: Some(match m.outcome {
            InstallOutcome::Received { offset } => {
                rpc::InstallOutcome::Received(rpc::Received { offset })
            }
            InstallOutcome::Installed => rpc::InstallOutcome::Installed(rpc::Installed {}),
        }),
    }
}

pub(super) fn install_response_from_wire(
    m: rpc::InstallSnapshotResponse,
) -> Result<InstallSnapshotResponse, DecodeError> {
    let outcome = match m.outcome {
        Some(rpc::InstallOutcome::Received(rpc::Received { offset })) => {
            InstallOutcome::Received { offset }
        }
        Some(rpc::InstallOutcome::Installed(rpc::Installed {})) => InstallOutcome::Installed,
        None => return Err(DecodeError::Missing { message: RESPONSE, part: "outcome" }),
    };
    Ok(InstallSnapshotResponse {
        term: Term(m.term),
        round: m.round,
        disk: disk_from_wire(m.disk),
        last_included: last_included(RESPONSE, m.last_included_term, m.last_included_index)?,
        outcome,
    })
}

fn snapshot_to_wire(snapshot: &Snapshot) -> log::Snapshot {
    let configuration = snapshot.membership().map(|(index, membership)| log::Configuration {
        index: index.0,
        membership: Some(membership_to_wire(membership)),
    });
    let last_included = snapshot.last_included();
    log::Snapshot {
        last_included_term: last_included.term.0,
        last_included_index: last_included.index.0,
        configuration,
        size: snapshot.size,
        checksum: snapshot.checksum,
    }
}

fn snapshot_from_wire(snapshot: log::Snapshot) -> Result<Snapshot, DecodeError> {
    let (term, index) = (snapshot.last_included_term, snapshot.last_included_index);
    let last_included = last_included(REQUEST, term, index)?;
    let missing = |message, part| DecodeError::Missing { message, part };
    let configuration =
        snapshot.configuration.ok_or_else(|| missing("Snapshot", "configuration"))?;
    let log::Configuration { index, membership } = configuration;
    let membership = membership.ok_or_else(|| missing("Configuration", "membership"))?;
    let index = Index(index);
    if index > last_included.index {
        let but = Misfit::Configuration(index);
        return Err(DecodeError::BadSnapshot { last_included, but });
    }
    let membership = Arc::new(membership_from_wire(index, membership)?);
    let base = Base { last_included, membership: Some((index, membership)) };
    Ok(Snapshot { base, size: snapshot.size, checksum: snapshot.checksum })
}

fn chunk_from_wire(chunk: log::SnapshotChunk, size: u64) -> Result<SnapshotChunk, DecodeError> {
    let log::SnapshotChunk { offset, data, checksum, done } = chunk;
    let end = offset.checked_add(data.len() as u64);
    let is_inside = end.is_some_and(|end| end <= size && (!done || end == size));
    if !is_inside {
        return Err(DecodeError::BadChunk { offset, bytes: data.len(), size, done });
    }
    Ok(SnapshotChunk { offset, data, checksum, done })
}

fn last_included(message: &'static str, term: u64, index: u64) -> Result<LogPosition, DecodeError> {
    match position(term, index)? {
        LogPosition::ZERO => Err(DecodeError::NothingIncluded { message }),
        position => Ok(position),
    }
}
