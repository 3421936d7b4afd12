//! What a server has in every role: Figure 2's state, and what the current step wants done.

mod applying;
mod compaction;
mod members;

use core::time::Duration;
use std::collections::{BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use crate::config::{Config, MAX_PRIORITY};
use crate::effect::Effect;
use crate::entry::{Entry, EntryPayload};
use crate::log::Log;
use crate::membership::Membership;
use crate::message::{Message, MessageBody};
use crate::mutants::{Mutant, is_planted};
use crate::random::Random;
use crate::receiving::Receiving;
use crate::saves::Saves;
use crate::snapshot::Snapshot;
use crate::stored::{Base, Save, SaveId, StoredState};
use crate::taking::Taking;
use crate::types::{DiskId, GroupId, HardState, Index, LogPosition, NodeId, Term, Time};

/// How many messages may wait for this server's disk. While it hangs, peers ask again and again: the
/// oldest answers are then lost, as they may be on any network.
const MAX_WITHHELD: usize = 1024;

/// The part of a server that all roles share.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) group: GroupId,
    pub(crate) config: Config,
    pub(crate) random: Random,
    pub(crate) now: Time,
    /// This server's disk.
    pub(crate) disk: DiskId,
    /// Its latest snapshot.
    pub(crate) snapshot: Option<Snapshot>,
    /// Its snapshots to come.
    pub(crate) taking: Taking,
    /// A leader's snapshot on its way to this server.
    pub(crate) receiving: Receiving,
    /// What the earliest snapshot includes that this leader is sending to a follower.
    pub(crate) sending_from: Option<Index>,
    pub(crate) disk_is_full: bool,
    /// Until when a leader may rely on it that this server votes for nobody else; in the past, if
    /// leases are off.
    pub(crate) promised_until: Time,

    // Persistent state on all servers.
    hard_state: HardState,
    pub(crate) log: Log,

    // Volatile state on all servers.
    pub(crate) commit_index: Index,
    pub(crate) last_applied: Index,

    /// Each configuration with the index from which it holds, the latest last (§6).
    memberships: Vec<(Index, Arc<Membership>)>,
    /// The last entry handed to the state machine; beyond `last_applied` while it works.
    applying: Index,
    reading_to_apply: bool,

    saving: Save,
    last_save: SaveId,
    /// When each save that is not known to be on disk was asked for.
    pub(crate) saves: Saves,
    /// The last save that holds a term and vote, or a base, until it is on disk.
    hard_state_save: Option<SaveId>,
    /// What may not be said before a save is on disk.
    withheld: VecDeque<(SaveId, Effect)>,
    /// What this step says that depends on what is on disk.
    promises: Vec<Effect>,
    effects: Vec<Effect>,
}

impl Hash for Node {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // By name, so that a new field is not forgotten.
        let Node { id, group, config, random, now, hard_state, log, commit_index, .. } = self;
        (id, group, config, random, now, hard_state, commit_index).hash(state);
        let Node { last_applied, memberships, applying, reading_to_apply, saving, .. } = self;
        (last_applied, memberships, applying, reading_to_apply, saving).hash(state);
        let Node { disk, snapshot, disk_is_full, promised_until, .. } = self;
        (disk, snapshot, disk_is_full, promised_until).hash(state);
        let Node { taking, receiving, sending_from, .. } = self;
        (taking, receiving, sending_from).hash(state);
        let Node { last_save, saves, hard_state_save, withheld, promises, effects, .. } = self;
        saves.hash_since(*last_save, state);
        // How many saves there were decides nothing, only which are still to be done.
        log.hash_since(*last_save, state);
        hard_state_save.map(|save| last_save.0 - save.0).hash(state);
        // What waits for one save is let out together, so its order decides nothing either, and
        // neither does what is said twice: a message may arrive twice in any case.
        let one = |(save, effect): &(SaveId, Effect)| {
            let mut hasher = DefaultHasher::new();
            (last_save.0 - save.0, effect).hash(&mut hasher);
            hasher.finish()
        };
        let withheld: BTreeSet<u64> = withheld.iter().map(one).collect();
        (withheld, promises, effects).hash(state);
    }
}

impl Node {
    pub(crate) fn new(
        id: NodeId,
        group: GroupId,
        config: Config,
        stored: &StoredState,
        now: Time,
    ) -> Node {
        let included = stored.snapshot.as_ref().map_or(LogPosition::ZERO, Snapshot::last_included);
        let base_index = stored.base.last_included.index;
        let mut start = base_index.max(included.index).max(stored.last_applied);
        if is_planted(Mutant::SkipsEntryAfterRestart) {
            start = start.next().min(stored.last_log.index.max(start));
        }
        if is_planted(Mutant::AppliesTwiceAfterRestart) {
            start = start.prev().max(base_index);
        }
        let base = stored.base.membership.clone();
        // "A server must not vote for an election timeout after it restarts", for it may have
        // promised that just before (diss. §6.4.1); unless it never answered a leader at all.
        let may_have_promised = config.lease.is_some()
            && stored.hard_state.current_term > Term::ZERO
            && !is_planted(Mutant::LeaseForgottenByRestart);
        let promised_until = match may_have_promised {
            true => now + config.election_timeout,
            false => Time::default(),
        };
        let mut node = Node {
            id,
            group,
            // Nodes that were given the same seed must not time out together.
            random: Random::new(Random::new(id.0).next_u64() ^ config.seed),
            config,
            now,
            disk: stored.disk,
            snapshot: stored.snapshot.clone(),
            taking: Taking::new(base_index.max(included.index), now),
            receiving: Receiving::default(),
            sending_from: None,
            disk_is_full: false,
            promised_until,
            hard_state: stored.hard_state,
            log: Log::new(stored),
            commit_index: start,
            last_applied: start,
            memberships: base.into_iter().chain(stored.memberships.iter().cloned()).collect(),
            applying: start,
            reading_to_apply: false,
            saving: Save::default(),
            last_save: SaveId(0),
            saves: Saves::default(),
            hard_state_save: None,
            withheld: VecDeque::new(),
            promises: Vec::new(),
            effects: Vec::new(),
        };
        // A crash came after a snapshot from a leader was in place and before the log began after
        // it.
        if let Some(snapshot) = &stored.snapshot
            && included.index > base_index
            && !node.log.matches(included)
        {
            node.begin_log_after(snapshot.base.clone());
        }
        assert!(start <= node.log.last().index, "the state machine is ahead of the log");
        node
    }

    pub(crate) fn current_term(&self) -> Term {
        self.hard_state.current_term
    }

    pub(crate) fn hard_state(&self) -> HardState {
        self.hard_state
    }

    /// From now on this server is trusted, and its vote of the current term is the leader's, if it
    /// has not given it: it may have, on a disk that it lost.
    pub(crate) fn become_trusted(&mut self, leader: NodeId) {
        if self.is_trusted() {
            return;
        }
        let voted_for = self.hard_state.voted_for.or(Some(leader));
        self.save_hard_state(HardState { voted_for, trusted: true, ..self.hard_state });
    }

    pub(crate) fn voted_for(&self) -> Option<NodeId> {
        self.hard_state.voted_for
    }

    /// Enters a later term, in which nobody has this server's vote yet.
    pub(crate) fn enter_term(&mut self, term: Term) {
        assert!(term > self.current_term(), "current_term increases monotonically (Figure 2)");
        if is_planted(Mutant::RollsBackOnNewTerm) {
            self.roll_back();
        }
        if is_planted(Mutant::LeaseForgottenByTerm) {
            self.promised_until = Time::default();
        }
        let HardState { trusted, .. } = self.hard_state;
        let hard_state = HardState { current_term: term, voted_for: None, trusted };
        match is_planted(Mutant::TermNotSaved) {
            true => self.hard_state = hard_state,
            false => self.save_hard_state(hard_state),
        }
        // Answers of an earlier term are of no use to anyone.
        let is_answer = |effect: &Effect| matches!(effect, Effect::Send(_));
        self.withheld.retain(|(_, effect)| !is_answer(effect));
        self.promises.retain(|effect| !is_answer(effect));
    }

    /// Gives the vote of the current term.
    pub(crate) fn vote_for(&mut self, candidate: NodeId) {
        let vote = self.hard_state.voted_for;
        assert!(
            vote.is_none_or(|id| id == candidate) || is_planted(Mutant::TwoVotesInATerm),
            "one vote in a term (§5.2)"
        );
        if vote != Some(candidate) {
            self.save_hard_state(HardState { voted_for: Some(candidate), ..self.hard_state });
        }
    }

    /// Takes the vote of the current term back: a planted bug.
    pub(crate) fn forget_vote(&mut self) {
        if self.hard_state.voted_for.is_some() {
            self.save_hard_state(HardState { voted_for: None, ..self.hard_state });
        }
    }

    /// Drops the entries that are not known to be committed: a planted bug.
    pub(crate) fn roll_back(&mut self) {
        self.log.truncate_from(self.commit_index.next());
    }

    fn save_hard_state(&mut self, hard_state: HardState) {
        self.hard_state = hard_state;
        self.saving.hard_state = Some(hard_state);
        if is_planted(Mutant::VoteNotSaved) {
            self.saving.hard_state = Some(HardState { voted_for: None, ..hard_state });
        }
        if is_planted(Mutant::TrustNotSaved) {
            self.saving.hard_state = Some(HardState { trusted: false, ..hard_state });
        }
    }

    /// Whether the current term and vote are on disk.
    pub(crate) fn hard_state_is_durable(&self) -> bool {
        self.saving.hard_state.is_none() && self.hard_state_save.is_none()
    }

    /// Appends entries of which the first is `entries[from]`; what they overlap is gone.
    pub(crate) fn append(&mut self, entries: &Arc<[Entry]>, from: usize) {
        let run = match from {
            0 => Arc::clone(entries),
            _ => Arc::from(&entries[from..]),
        };
        let (Some(first), Some(last)) = (run.first(), run.last()) else {
            return;
        };
        let (first, last) = (first.index, last.index);
        assert!(first > self.commit_index, "a committed entry is never overwritten (§5.4)");
        let is_left = |index| index < first || is_planted(Mutant::ConfigurationNotRolledBack);
        self.memberships.retain(|(index, _)| is_left(*index) || *index == Index::ZERO);
        self.log.append(&run);
        // From now on, and not from the end of the step: a save of what this overwrites may be
        // reported in the same step.
        self.log.saving(self.next_save(), first, last);
        for entry in run.iter() {
            if let EntryPayload::ConfigChange(membership) = &entry.payload {
                // A server uses the latest configuration in its log, committed or not (§6).
                self.memberships.push((entry.index, Arc::clone(membership)));
            }
        }
        self.saving.entries.push(run);
    }

    /// Gives a pristine server its first configuration.
    pub(crate) fn initialize(&mut self, membership: Membership) {
        let membership = Arc::new(membership);
        self.memberships.push((Index::ZERO, Arc::clone(&membership)));
        let base = Base { membership: Some((Index::ZERO, membership)), ..Base::default() };
        self.saving.base = Some(base);
    }

    /// Whether these entries begin the log of a cluster that was formed of other members than this
    /// server was told, or than its own log begins with.
    pub(crate) fn is_other_cluster(&self, entries: &[Entry]) -> bool {
        match (entries.first(), self.memberships.first()) {
            (Some(Entry { index: Index(1), payload, .. }), Some((Index(0..=1), mine))) => {
                match payload {
                    EntryPayload::ConfigChange(theirs) => theirs.voters() != mine.voters(),
                    EntryPayload::Blank | EntryPayload::Normal(_) => true,
                }
            }
            _ => false,
        }
    }

    /// The configuration in force, and the index from which it holds.
    pub(crate) fn membership(&self) -> Option<&(Index, Arc<Membership>)> {
        self.memberships.last()
    }

    pub(crate) fn is_voter(&self) -> bool {
        self.membership().is_some_and(|(_, membership)| membership.is_voter(self.id))
    }

    /// All members but this server.
    pub(crate) fn peers(&self) -> Vec<NodeId> {
        let members = self.membership().map(|(_, membership)| membership.members());
        let ids = members.into_iter().flat_map(|members| members.keys().copied());
        ids.filter(|id| *id != self.id).collect()
    }

    /// The voters but this server.
    pub(crate) fn other_voters(&self) -> Vec<NodeId> {
        let Some((_, membership)) = self.membership() else {
            return Vec::new();
        };
        self.peers().into_iter().filter(|id| membership.is_voter(*id)).collect()
    }

    pub(crate) fn is_quorum(&self, holds: impl Fn(NodeId) -> bool) -> bool {
        self.membership().is_some_and(|(_, membership)| membership.is_quorum(holds))
    }

    /// The moment at which a follower's or candidate's patience ends, drawn anew (§5.2); the later,
    /// the lower its priority.
    pub(crate) fn election_deadline(&mut self) -> Time {
        let timeout = self.config.election_timeout;
        let below = MAX_PRIORITY.saturating_sub(self.config.election_priority.max(1));
        // Who has no room to lead lets others stand first.
        let courtesy = if self.disk_is_full { timeout } else { Duration::ZERO };
        self.now + self.random.timeout(timeout) + timeout / 2 * u32::from(below) + courtesy
    }

    /// Whether this server stands for election when it hears no leader.
    pub(crate) fn stands_by_itself(&self) -> bool {
        self.config.elections && self.config.election_priority > 0
    }

    /// When a follower's patience ends; never, if it can't or may not stand for election.
    pub(crate) fn patience(&mut self) -> Option<Time> {
        (self.may_stand() && self.stands_by_itself()).then(|| {
            // A promise that was made for a longer time than is configured now holds all the same.
            self.election_deadline().max(self.promised_until)
        })
    }

    /// How long a majority's answer to a round lets a leader read by itself, if leases are on.
    pub(crate) fn lease_length(&self) -> Option<Duration> {
        let lease = self.config.lease.filter(|_| self.config.check_quorum)?;
        let length = lease.length(self.config.election_timeout);
        Some(if is_planted(Mutant::LeaseTooLong) { 2 * length } else { length })
    }

    /// A leader is heard, and may take it from the answer that this server votes for nobody else for
    /// an election timeout (diss. §6.4.1). That holds whatever happens to this server's term and
    /// role meanwhile.
    pub(crate) fn promise_to_leader(&mut self) {
        if self.config.lease.is_some() {
            let until = self.now + self.config.election_timeout;
            self.promised_until = self.promised_until.max(until);
        }
    }

    /// Whether a leader may still rely on such a promise.
    pub(crate) fn keeps_promise(&self) -> bool {
        self.now < self.promised_until
    }

    pub(crate) fn effect(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    /// Says something that holds whatever this server's disk does.
    pub(crate) fn send(&mut self, to: NodeId, body: MessageBody) {
        let message = Message { group: self.group, from: self.id, to, body };
        self.effects.push(Effect::Send(message));
    }

    /// Says something that this server must not forget: it leaves once the term and vote, and all
    /// that this step saves, are on disk ("before responding to RPCs", Figure 2).
    pub(crate) fn promise(&mut self, to: NodeId, body: MessageBody) {
        let message = Message { group: self.group, from: self.id, to, body };
        self.promises.push(Effect::Send(message));
    }

    pub(crate) fn promise_effect(&mut self, effect: Effect) {
        self.promises.push(effect);
    }

    pub(crate) fn violation(&mut self, from: NodeId, what: &'static str) {
        self.effects.push(Effect::Violation { from, what });
    }

    /// Raises the commit index.
    pub(crate) fn commit(&mut self, index: Index) {
        assert!(index >= self.commit_index, "commit_index increases monotonically (Figure 2)");
        assert!(index <= self.log.last().index, "only entries in the log are committed");
        if index > self.commit_index {
            self.commit_index = index;
            self.effects.push(Effect::Committed { index });
        }
    }

    pub(crate) fn on_saved(&mut self, id: SaveId) {
        assert!(id <= self.last_save, "a save that was never asked for");
        self.log.saved(id);
        self.saves.done(id);
        if self.hard_state_save.is_some_and(|save| save <= id) {
            self.hard_state_save = None;
        }
        while let Some((_, effect)) = self.withheld.pop_front_if(|(save, _)| *save <= id) {
            self.effects.push(effect);
        }
    }

    /// Keeps back what may be said once this save is on disk.
    fn withhold(&mut self, until: SaveId, promises: Vec<Effect>) {
        self.withheld.extend(promises.into_iter().map(|effect| (until, effect)));
        let is_message = |(_, effect): &(SaveId, Effect)| matches!(effect, Effect::Send(_));
        while self.withheld.len() > MAX_WITHHELD
            && let Some(oldest) = self.withheld.iter().position(is_message)
        {
            self.withheld.remove(oldest);
        }
    }

    fn next_save(&self) -> SaveId {
        SaveId(self.last_save.0 + 1)
    }

    /// Ends a step: turns what it stored into one save, and lets out what may be said.
    pub(crate) fn finish_step(&mut self) -> Vec<Effect> {
        self.install_snapshot();
        self.take_snapshot();
        if self.saving != Save::default() {
            self.last_save = self.next_save();
            let (id, mut save) = (self.last_save, std::mem::take(&mut self.saving));
            let vote = save.hard_state.filter(|state| state.voted_for.is_some());
            if is_planted(Mutant::TermAndVoteSavedApart)
                && let Some(hard_state) = vote
            {
                save.hard_state = Some(HardState { voted_for: None, ..hard_state });
            }
            if save.hard_state.is_some() || save.base.is_some() {
                self.hard_state_save = Some(id);
            }
            self.saves.begun(id, self.now);
            self.effects.push(Effect::Save { id, save });
            if is_planted(Mutant::TermAndVoteSavedApart) && vote.is_some() {
                self.last_save = self.next_save();
                let save = Save { hard_state: vote, ..Save::default() };
                self.effects.push(Effect::Save { id: self.last_save, save });
            }
        }
        let promises = std::mem::take(&mut self.promises);
        match self.hard_state_save {
            Some(id) => self.withhold(id, promises),
            None => self.effects.extend(promises),
        }
        self.apply_committed();
        self.log.evict(self.config.recent_entries_bytes);
        assert!(
            self.last_applied <= self.commit_index || is_planted(Mutant::AppliesUncommitted),
            "only committed entries are applied"
        );
        std::mem::take(&mut self.effects)
    }
}
