//! The leader: replicates its log, commits, and confirms that it still leads (§5.3, §5.4).

pub(crate) mod change;
mod disks;
mod farewell;
mod handover;
pub(crate) mod reading;
mod snapshots;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use crate::effect::{Effect, ProposeError};
use crate::entry::{Entry, EntryPayload};
use crate::event::LogReader;
use crate::leader::change::Changes;
use crate::leader::farewell::Farewell;
pub(crate) use crate::leader::handover::Transfer;
use crate::lease::LeaseRounds;
use crate::log::Found;
use crate::membership::Membership;
use crate::message::{AppendEntriesRequest, AppendEntriesResponse, AppendOutcome, MessageBody};
use crate::mutants::{Mutant, is_planted};
use crate::node::Node;
use crate::progress::{Pace, Progress};
use crate::reads::Reads;
use crate::trust::Heard;
use crate::types::{DiskId, Index, LogPosition, NodeId, Term, Time};

/// What only a leader has (Figure 2, "Volatile state on leaders").
#[derive(Clone, Debug, Hash)]
pub(crate) struct Leader {
    progress: BTreeMap<NodeId, Progress>,
    /// The first entry of this leader's term.
    term_start: Index,
    /// Rounds of heartbeats begun so far.
    round: u64,
    heartbeat_at: Time,
    check_quorum_at: Time,
    reads: Reads,
    changes: Changes,
    lease: LeaseRounds,
    transfer: Option<Transfer>,
    /// Servers that were members.
    leaving: BTreeMap<NodeId, Farewell>,
    /// The last index and the weight of each batch of proposals that is not committed.
    uncommitted: VecDeque<(Index, usize)>,
    uncommitted_bytes: usize,
}

impl Leader {
    /// Takes office: "upon election: send initial empty AppendEntries RPCs to each server", and
    /// append an entry of the new term, with which those of earlier terms will be committed (§8).
    pub(crate) fn new(node: &mut Node, founders: BTreeMap<NodeId, DiskId>) -> Leader {
        if is_planted(Mutant::LeaderOverwritesLog) {
            node.roll_back();
        }
        let last = node.log.last().index;
        let peers = node.peers().into_iter();
        let mut leader = Leader {
            progress: peers.map(|id| (id, Progress::new(last.next(), node.now))).collect(),
            term_start: last.next(),
            round: 0,
            heartbeat_at: node.now,
            check_quorum_at: node.now + node.config.election_timeout,
            reads: Reads::default(),
            changes: Changes::default(),
            lease: LeaseRounds::default(),
            transfer: None,
            leaving: BTreeMap::new(),
            uncommitted: VecDeque::new(),
            uncommitted_bytes: 0,
        };
        leader.see_off_found(node);
        // Servers that were not told of the cluster learn its first configuration from the log.
        let first = match node.membership() {
            Some((Index::ZERO, membership)) if last == Index::ZERO => {
                let membership = Membership::clone(membership).founded_on(founders);
                EntryPayload::ConfigChange(Arc::new(membership))
            }
            _ => EntryPayload::Blank,
        };
        if first != EntryPayload::Blank || !is_planted(Mutant::NoBlankEntry) {
            leader.append(node, [first]);
        }
        leader.vouch_for_founders(node);
        leader
    }

    fn append(
        &mut self,
        node: &mut Node,
        payloads: impl IntoIterator<Item = EntryPayload>,
    ) -> Index {
        let (term, first) = (node.current_term(), node.log.last().index.next());
        let number = |(n, payload)| Entry { term, index: Index(first.0 + n), payload };
        let entries: Arc<[Entry]> = (0..).zip(payloads).map(number).collect();
        let bytes = entries.iter().map(Entry::weight).sum();
        self.uncommitted.push_back((Index(first.0 + entries.len() as u64).prev(), bytes));
        self.uncommitted_bytes += bytes;
        node.append(&entries, 0);
        if entries.iter().any(|entry| matches!(entry.payload, EntryPayload::ConfigChange(_))) {
            self.follow_members(node);
        }
        first
    }

    /// "If command received from client: append entry to local log" (Figure 2).
    pub(crate) fn propose(
        &mut self,
        node: &mut Node,
        commands: Vec<Bytes>,
    ) -> Result<Index, ProposeError> {
        if let Some(to) = self.transferring_to()
            && !is_planted(Mutant::ProposalsDuringTransfer)
        {
            return Err(ProposeError::Transferring { to });
        }
        if node.disk_is_full {
            return Err(ProposeError::DiskFull);
        }
        if self.uncommitted_bytes > node.config.max_uncommitted_bytes {
            return Err(ProposeError::Overloaded);
        }
        if commands.is_empty() {
            return Ok(node.log.last().index.next());
        }
        Ok(self.append(node, commands.into_iter().map(EntryPayload::Normal)))
    }

    /// An answer of the current term.
    pub(crate) fn on_append_entries_response(
        &mut self,
        node: &mut Node,
        from: NodeId,
        response: &AppendEntriesResponse,
    ) {
        let last = node.log.last().index;
        let Some(progress) = self.progress.get_mut(&from) else {
            return;
        };
        if response.round > self.round && !is_planted(Mutant::StaleAcksCount) {
            return node.violation(from, "answers a round that was never begun");
        }
        if let AppendOutcome::Matched { match_index } = response.outcome
            && match_index > last
        {
            return node.violation(from, "acknowledges entries that were never sent");
        }
        let disk = (response.disk, response.trusted);
        match progress.disk.hear(disk, response.round, self.round, last.next()) {
            Heard::Same => {}
            // Where the logs do not agree, it says itself.
            Heard::New => progress.start_over(response.asked_about().min(last).next()),
            Heard::Old => return,
        }
        progress.last_contact = node.now;
        progress.on_round(response.round);
        progress.disk_is_full = response.disk_is_full;
        match response.outcome {
            AppendOutcome::Matched { match_index } => progress.on_matched(match_index),
            AppendOutcome::Conflict { prev_log_index, hint } => {
                // Of what is purged no term is known. The hint is the latest that may agree.
                let agree = match hint.index < node.log.base().index {
                    true => hint.index,
                    false => node.log.floor(hint).index,
                };
                progress.on_conflict(prev_log_index, agree);
            }
        }
        if progress.disk_is_full {
            progress.on_full();
        }
    }

    /// Entries came from storage for a follower that is far behind.
    pub(crate) fn on_read(&mut self, node: &mut Node, to: NodeId, entries: &Arc<[Entry]>) {
        let Some(progress) = self.progress.get_mut(&to) else {
            return;
        };
        progress.reading = false;
        // They are of use if they are what the follower lacks now, and still in the log.
        let fits = progress.next_index > node.log.base().index
            && entries.first().is_some_and(|first| first.index == progress.next_index)
            && entries.last().is_some_and(|last| node.log.matches(last.position()));
        if fits && progress.may_send(&node.config) {
            send_entries(node, to, progress, Arc::clone(entries), self.round);
        }
    }

    pub(crate) fn on_unreachable(&mut self, peer: NodeId) {
        if let Some(progress) = self.progress.get_mut(&peer) {
            progress.on_unreachable();
        }
    }

    pub(crate) fn deadline(&self, node: &Node) -> Time {
        let check_quorum = node.config.check_quorum.then_some(self.check_quorum_at);
        let transfer = self.transfer.as_ref().map(|transfer| transfer.deadline);
        let others = check_quorum.into_iter().chain(transfer).chain(self.next_piece_at());
        let others = others.chain(node.disk_deadline());
        others.fold(self.heartbeat_at, Time::min)
    }

    /// Other numbers hold from now on.
    pub(crate) fn on_configure(&mut self, node: &Node) {
        self.heartbeat_at = self.heartbeat_at.min(node.now + node.config.heartbeat_interval);
        self.check_quorum_at = node.now + node.config.election_timeout;
    }

    /// Sends heartbeats when they are due. Returns whether a majority still follows.
    #[must_use]
    pub(crate) fn on_timeout(&mut self, node: &mut Node) -> bool {
        if node.config.check_quorum && node.now >= self.check_quorum_at {
            let heard = match is_planted(Mutant::LeaderWithoutQuorum) {
                true => node.now,
                false => self.heard_by_quorum(node),
            };
            if node.now.since(heard) >= node.config.election_timeout {
                return false;
            }
            self.check_quorum_at = heard + node.config.election_timeout;
        }
        if node.now >= self.heartbeat_at {
            self.heartbeat_at = node.now + node.config.heartbeat_interval;
            self.round += 1;
            self.lease.begin(node, self.round);
            self.tell_again();
            for (to, progress) in &mut self.progress {
                // An unanswered probe is taken for lost.
                match &mut progress.pace {
                    Pace::Probe { waiting } => *waiting = false,
                    Pace::Replicate { .. } => {}
                    Pace::Snapshot(sending) => sending.on_heartbeat(node.now, &node.config),
                }
                send_append(node, *to, progress, Arc::new([]), self.round);
            }
        }
        true
    }

    /// The latest moment by which a majority had been heard, this server counted as heard now.
    fn heard_by_quorum(&self, node: &Node) -> Time {
        let heard = |id| match self.progress.get(&id) {
            Some(progress) => progress.last_contact,
            None if id == node.id => node.now,
            None => Time::default(),
        };
        node.membership().map_or(node.now, |(_, members)| members.reached_by_quorum(heard))
    }

    /// Ends a step: commits what a majority has, and sends what followers lack. Returns whether
    /// this server leads on.
    #[must_use]
    pub(crate) fn finish_step(&mut self, node: &mut Node) -> bool {
        self.append_proof(node);
        self.commit(node);
        self.vouch(node);
        self.change(node);
        self.begin_round_of_reads(node);
        self.send_snapshots(node);
        self.replicate(node);
        self.confirm_reads(node);
        self.offer_office(node);
        self.advance_transfer(node);
        self.see_off(node);
        !self.leaves_office(node)
    }

    /// "If there exists an N such that N > commitIndex, a majority of matchIndex[i] >= N, and
    /// log[N].term == currentTerm: set commitIndex = N" (§5.3, §5.4).
    fn commit(&mut self, node: &mut Node) {
        let Some((_, membership)) = node.membership() else {
            return;
        };
        let stored = |id| match self.progress.get(&id) {
            Some(progress) => progress.counted_match(),
            None if id == node.id && is_planted(Mutant::LeaderCountsBeforeSave) => {
                node.log.last().index
            }
            None if id == node.id => node.log.durable(),
            None => Index::ZERO,
        };
        let index = if is_planted(Mutant::CommitsByTooFew) {
            membership.reached_by_too_few(stored)
        } else if is_planted(Mutant::CommitsByNonVoters) {
            membership.with_all_voting().reached_by_quorum(stored)
        } else if is_planted(Mutant::CommitsByNewVoters) {
            membership.without_goal().reached_by_quorum(stored)
        } else if is_planted(Mutant::RemovedLeaderCounts) {
            membership.with_voter(node.id).reached_by_quorum(stored)
        } else {
            membership.reached_by_quorum(stored)
        };
        // "Only log entries from the leader's current term are committed by counting replicas"
        // (§5.4.2); those start at `term_start`.
        if index > node.commit_index
            && (index >= self.term_start || is_planted(Mutant::CommitsOldTerms))
        {
            node.commit(index);
        }
        while let Some((_, bytes)) =
            self.uncommitted.pop_front_if(|(last, _)| *last <= node.commit_index)
        {
            self.uncommitted_bytes -= if is_planted(Mutant::QuotaLeaks) { 0 } else { bytes };
        }
    }

    /// "If last log index >= nextIndex for a follower: send AppendEntries RPC with log entries
    /// starting at nextIndex" (Figure 2), as far as the window allows.
    fn replicate(&mut self, node: &mut Node) {
        let is_member = |(_, members): &(_, Arc<Membership>)| members.address(node.id).is_some();
        if is_planted(Mutant::RemovedLeaderFallsSilent) && !node.membership().is_some_and(is_member)
        {
            return;
        }
        // Followers that keep up lack the same entries, which are then shared.
        let mut shared: Option<Arc<[Entry]>> = None;
        for (to, progress) in &mut self.progress {
            if disks::is_kept_empty(node, progress, self.term_start) {
                continue;
            }
            let (base, last) = (node.log.base().index, node.log.last().index);
            let in_log = |next: Index| next > base && next <= last;
            while in_log(progress.next_index) && progress.may_send(&node.config) {
                let (first, max_bytes) =
                    (progress.next_index, progress.max_append_bytes(&node.config));
                let same = shared.as_ref().filter(|run| run[0].index == first).map(Arc::clone);
                let found = match same {
                    Some(entries) if !progress.disk_is_full => Found::InMemory(entries),
                    _ => node.log.entries(first, last, max_bytes),
                };
                match found {
                    Found::InMemory(entries) => {
                        if !progress.disk_is_full {
                            shared = Some(Arc::clone(&entries));
                        }
                        send_entries(node, *to, progress, entries, self.round);
                    }
                    Found::OnDisk => {
                        progress.reading = true;
                        let reader = LogReader::Follower(*to);
                        // What is not on this disk yet is in memory, and sent from there.
                        let last = last.min(node.log.durable());
                        node.effect(Effect::ReadLog { reader, first, last, max_bytes });
                    }
                }
            }
        }
    }

    /// Leaves office: what was promised to clients can't be kept. Returns the transfer that was under
    /// way.
    pub(crate) fn step_down(
        &mut self,
        node: &mut Node,
        leader: Option<NodeId>,
    ) -> Option<Transfer> {
        node.sending_from = None;
        if !is_planted(Mutant::LossNotAnnounced) {
            node.effect(Effect::LeadershipLost);
        }
        self.abandon_changes(node, leader);
        if !is_planted(Mutant::ReadsForgotten) {
            self.refuse_reads(node, leader);
        }
        self.transfer.take()
    }
}

fn send_entries(
    node: &mut Node,
    to: NodeId,
    progress: &mut Progress,
    entries: Arc<[Entry]>,
    round: u64,
) {
    let Some(last) = entries.last().map(|entry| entry.index) else {
        return;
    };
    let weight = entries.iter().map(Entry::weight).sum();
    send_append(node, to, progress, entries, round);
    progress.sent(last, weight);
}

fn send_append(
    node: &mut Node,
    to: NodeId,
    progress: &Progress,
    entries: Arc<[Entry]>,
    round: u64,
) {
    let next = progress.next_index;
    // Without the term there is no honest question about the entry before: it is purged. Whoever
    // needs it is sent a snapshot, and hears heartbeats about what the log begins after.
    let mut prev_log = node.log.position_at(next.prev()).unwrap_or(node.log.base());
    if prev_log.index < next.prev() || (next <= prev_log.index && !entries.is_empty()) {
        return;
    }
    if next <= prev_log.index && is_planted(Mutant::MadeUpPrevTerm) {
        prev_log = LogPosition { term: Term::ZERO, index: next.prev() };
    }
    let hidden = entries.is_empty() && is_planted(Mutant::HeartbeatHidesCommit);
    let request = AppendEntriesRequest {
        term: node.current_term(),
        prev_log,
        entries,
        leader_commit: if hidden { Index::ZERO } else { node.commit_index },
        round,
        disk: progress.disk.vouched(),
    };
    node.send(to, MessageBody::AppendEntriesRequest(request));
}
