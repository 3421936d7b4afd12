//! The disks in a leader's eyes: followers' disks that are new (see [`trust`](crate::trust)), and its
//! own, when that hangs or is full.

use std::collections::BTreeMap;

use super::Leader;
use crate::entry::EntryPayload;
use crate::node::Node;
use crate::progress::{Pace, Progress};
use crate::status::{PaceName, PeerStatus};
use crate::trust::FollowerDisk;
use crate::types::{DiskId, Index, NodeId};

/// Whether a follower that may not be trusted gets no entries yet: as long as nobody can know that the
/// cluster is formed, it may be needed to form it, which takes an empty log.
pub(super) fn is_kept_empty(node: &Node, progress: &Progress, term_start: Index) -> bool {
    let forms_cluster = term_start == Index::ZERO.next() && node.commit_index < term_start;
    forms_cluster && node.disk != DiskId::UNKNOWN && !progress.disk.is_accepted()
}

impl Leader {
    /// All followers, for people.
    pub(crate) fn peers(&self) -> Vec<PeerStatus> {
        let status = |(id, peer): (&NodeId, &Progress)| PeerStatus {
            id: *id,
            match_index: peer.match_index,
            next_index: peer.next_index,
            in_flight_bytes: match &peer.pace {
                Pace::Replicate { bytes, .. } => *bytes,
                Pace::Probe { .. } | Pace::Snapshot(_) => 0,
            },
            pace: match &peer.pace {
                Pace::Replicate { .. } => PaceName::Replicate,
                Pace::Probe { .. } => PaceName::Probe,
                Pace::Snapshot(sending) => sending.status(),
            },
            last_contact: peer.last_contact,
            counts: peer.disk.counts(),
            disk_is_full: peer.disk_is_full,
        };
        self.progress.iter().map(status).collect()
    }

    /// Those who formed the cluster are who they are, from its first entry on.
    pub(super) fn vouch_for_founders(&mut self, node: &Node) {
        for (id, progress) in &mut self.progress {
            progress.disk = FollowerDisk::new(node.founder(*id));
        }
    }

    /// Appends an entry that comes after a follower's new disk was heard, unless there is one.
    pub(super) fn append_proof(&mut self, node: &mut Node) {
        let proofs = self.progress.values().filter_map(|peer| peer.disk.doubted_until());
        if proofs.max() > Some(node.log.last().index) {
            self.append(node, [EntryPayload::Blank]);
        }
    }

    /// Vouches for the followers that have all that they may have promised on a lost disk, once no
    /// quorum is without a server that remembers, and knows that this leader was elected after that.
    pub(super) fn vouch(&mut self, node: &mut Node) {
        let Some((_, members)) = node.membership() else {
            return;
        };
        let stored: BTreeMap<NodeId, Index> =
            self.progress.iter().map(|(id, peer)| (*id, peer.counted_match())).collect();
        let mut any = false;
        for progress in self.progress.values_mut() {
            if let Some(proof) = progress.disk.doubted_until() {
                let has = |id| match stored.get(&id) {
                    Some(index) => *index >= proof,
                    None => id == node.id && node.log.durable() >= proof,
                };
                if members.meets_every_majority(has) {
                    progress.disk.prove();
                }
            }
            let counted = progress.disk.counts();
            progress.disk.has(progress.match_index);
            any |= progress.disk.counts() != counted;
        }
        if any {
            self.commit(node);
        }
    }

    /// This server's disk hangs, so it is about to step down: the best voter need not wait for an
    /// election timeout. That takes no disk.
    pub(crate) fn hand_over_at_once(&mut self, node: &mut Node) {
        if let Some(heir) = self.heir(node, |_| true) {
            self.tell_to_stand(node, heir);
        }
    }

    /// This server's disk is full: it hands over to a voter that has room and all entries. Without
    /// one it goes on to lead, so that two full servers don't hand the office to and fro.
    pub(super) fn offer_office(&mut self, node: &Node) {
        if !node.disk_is_full || self.transferring_to().is_some() {
            return;
        }
        let last = node.log.last().index;
        if let Some(heir) = self.heir(node, |peer| !peer.disk_is_full && peer.match_index >= last) {
            self.begin_own_transfer(node, heir);
        }
    }
}
