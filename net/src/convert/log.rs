//! Entries and configurations, to and from the wire.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use actix_raft_core::entry::{Entry, EntryPayload};
use actix_raft_core::membership::{Address, Membership};
use actix_raft_core::types::{DiskId, Index, NodeId, Term};

use crate::convert::DecodeError;
use crate::wire::log as wire;

pub(super) fn entry_to_wire(entry: &Entry) -> wire::Entry {
    let payload = match &entry.payload {
        EntryPayload::Blank => wire::EntryPayload::Blank(wire::Blank {}),
        EntryPayload::Normal(command) => wire::EntryPayload::Normal(command.clone()),
        EntryPayload::ConfigChange(membership) => {
            wire::EntryPayload::ConfigChange(membership_to_wire(membership))
        }
    };
    wire::Entry { term: entry.term.0, index: entry.index.0, payload: Some(payload) }
}

pub(super) fn entry_from_wire(entry: wire::Entry) -> Result<Entry, DecodeError> {
    let index = Index(entry.index);
    let payload = match entry.payload {
        Some(wire::EntryPayload::Blank(wire::Blank {})) => EntryPayload::Blank,
        Some(wire::EntryPayload::Normal(command)) => EntryPayload::Normal(command),
        Some(wire::EntryPayload::ConfigChange(membership)) => {
            EntryPayload::ConfigChange(Arc::new(membership_from_wire(index, membership)?))
        }
        None => return Err(DecodeError::Missing { message: "Entry", part: "payload" }),
    };
    Ok(Entry { term: Term(entry.term), index, payload })
}

pub(super) fn membership_to_wire(membership: &Membership) -> wire::Membership {
    let outgoing = membership.voters_outgoing();
    let goal = |goal: &Arc<Membership>| wire::Goal {
        voters: ids_to_wire(goal.voters()),
        members: members_to_wire(goal.members()),
    };
    wire::Membership {
        voters: ids_to_wire(membership.voters()),
        voters_outgoing: outgoing.map(|set| wire::Voters { ids: ids_to_wire(set) }),
        members: members_to_wire(membership.members()),
        goal: membership.goal().map(goal),
        founders: membership.founders().iter().map(founder_to_wire).collect(),
    }
}

/// A configuration, of the entry with this index.
pub(super) fn membership_from_wire(
    index: Index,
    membership: wire::Membership,
) -> Result<Membership, DecodeError> {
    let bad = |error| DecodeError::Membership { index, error };
    let voters = ids_from_wire(index, membership.voters)?;
    let outgoing =
        membership.voters_outgoing.map(|set| ids_from_wire(index, set.ids)).transpose()?;
    let members = members_from_wire(index, membership.members)?;
    let mut founders = BTreeMap::new();
    for wire::Founder { id, disk } in membership.founders {
        let id = NodeId(id);
        if founders.insert(id, DiskId(disk)).is_some() {
            return Err(DecodeError::Twice { index, id });
        }
    }
    let membership_now = Membership::joint(voters, outgoing, members).map_err(bad)?;
    let membership_now = membership_now.founded_on(founders);
    let Some(goal) = membership.goal else { return Ok(membership_now) };
    let voters = ids_from_wire(index, goal.voters)?;
    let members = members_from_wire(index, goal.members)?;
    let goal = Membership::new(voters, members).map_err(bad)?;
    membership_now.on_the_way_to(Arc::new(goal)).map_err(bad)
}

fn founder_to_wire((id, disk): (&NodeId, &DiskId)) -> wire::Founder {
    wire::Founder { id: id.0, disk: disk.0 }
}

fn ids_to_wire(ids: &BTreeSet<NodeId>) -> Vec<u64> {
    ids.iter().map(|id| id.0).collect()
}

fn ids_from_wire(index: Index, ids: Vec<u64>) -> Result<BTreeSet<NodeId>, DecodeError> {
    let mut set = BTreeSet::new();
    for id in ids.into_iter().map(NodeId) {
        if !set.insert(id) {
            return Err(DecodeError::Twice { index, id });
        }
    }
    Ok(set)
}

fn members_to_wire(members: &BTreeMap<NodeId, Address>) -> Vec<wire::Member> {
    let member = |(id, address): (&NodeId, &Address)| wire::Member {
        id: id.0,
        rpc: address.rpc.clone(),
        client: address.client.clone(),
    };
    members.iter().map(member).collect()
}

fn members_from_wire(
    index: Index,
    members: Vec<wire::Member>,
) -> Result<BTreeMap<NodeId, Address>, DecodeError> {
    let mut map = BTreeMap::new();
    for member in members {
        let id = NodeId(member.id);
        if map.insert(id, Address::new(member.rpc, member.client)).is_some() {
            return Err(DecodeError::Twice { index, id });
        }
    }
    Ok(map)
}
