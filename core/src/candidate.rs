//! Standing for election: the pre-candidate, who asks whether it could win (diss. §9.6), and the
//! candidate, who asks for votes (§5.2).

use std::collections::BTreeMap;

use crate::message::{MessageBody, VoteKind, VoteRefusal, VoteRequest, VoteResponse};
use crate::mutants::{Mutant, is_planted};
use crate::node::Node;
use crate::types::{DiskId, NodeId, Time};

/// What only a server that stands for election has.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Candidate {
    kind: VoteKind,
    /// Tells this ballot's answers from those of an earlier one in the same term.
    round: u64,
    /// What each voter answered, and from which disk.
    votes: BTreeMap<NodeId, (Vote, DiskId)>,
    /// When the election counts as failed.
    pub(crate) deadline: Time,
}

/// A voter's answer.
pub(crate) type Vote = Result<(), VoteRefusal>;

/// How an election stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tally {
    Open,
    Won,
    Outvoted,
}

impl Candidate {
    /// Asks all voters. A pre-candidate asks about the next term; a candidate has entered its term
    /// and voted for itself.
    pub(crate) fn ask(node: &mut Node, kind: VoteKind) -> Candidate {
        let round = node.random.next_u64();
        let term = match kind {
            VoteKind::PreVote => node.current_term().next(),
            VoteKind::Vote | VoteKind::Transfer => node.current_term(),
        };
        let last_log = node.log.last();
        for voter in node.other_voters() {
            let disk = node.founder(voter);
            let request = VoteRequest { term, last_log, kind, round, disk };
            match is_planted(Mutant::CandidacyBeforeSave) {
                true => node.send(voter, MessageBody::VoteRequest(request)),
                false => node.promise(voter, MessageBody::VoteRequest(request)),
            }
        }
        let deadline = node.election_deadline();
        Candidate { kind, round, votes: BTreeMap::new(), deadline }
    }

    /// Counts an answer, if it is one to this ballot; a voter's first answer stands.
    pub(crate) fn on_vote(&mut self, from: NodeId, response: &VoteResponse) {
        let vote = match (response.vote_granted, response.refusal) {
            (true, _) => Ok(()),
            (false, refusal) => Err(refusal.unwrap_or(VoteRefusal::StaleTerm)),
        };
        if is_planted(Mutant::VotesCountedTwice) && self.votes.contains_key(&from) {
            let nobody = NodeId(u64::MAX - self.votes.len() as u64);
            self.votes.insert(nobody, (vote, response.disk));
        }
        let of_this_ballot = response.round == self.round || is_planted(Mutant::StaleVotesCount);
        if (response.kind == self.kind && of_this_ballot)
            || is_planted(Mutant::PreVotesCountAsVotes)
        {
            self.votes.entry(from).or_insert((vote, response.disk));
        }
    }

    /// How the election stands: "receives votes from a majority of the servers in the full
    /// cluster" (§5.2). The own vote counts once it is on disk.
    pub(crate) fn tally(&mut self, node: &Node) -> Tally {
        let own_vote_counts = match self.kind {
            VoteKind::PreVote => true,
            VoteKind::Vote | VoteKind::Transfer => {
                node.hard_state_is_durable() || is_planted(Mutant::CandidacyBeforeSave)
            }
        };
        if own_vote_counts && node.is_voter() {
            self.votes.insert(node.id, (Ok(()), node.disk));
        }
        if is_planted(Mutant::VotesCountedTwice) && self.counts_to_majority(node) {
            return Tally::Won;
        }
        let vote_of = |id| self.votes.get(&id).map(|(vote, _)| *vote);
        let yes = |id| vote_of(id) == Some(Ok(()));
        let united = node.membership().map(|(_, members)| members.with_one_majority());
        if is_planted(Mutant::ElectedByUnion) && united.is_some_and(|all| all.is_quorum(yes)) {
            return Tally::Won;
        }
        // Answers of servers that have no vote are in the map and never looked up.
        if node.is_quorum(yes) || self.is_won_without_untrusted(node, false) {
            return Tally::Won;
        }
        // Those who have not answered may all say yes.
        let still_possible = |id| matches!(vote_of(id), None | Some(Ok(())));
        let waits = node.is_quorum(still_possible) || self.is_won_without_untrusted(node, true);
        if waits { Tally::Open } else { Tally::Outvoted }
    }

    /// Whether all voters say yes but those who have forgotten, if these are too few to decide
    /// anything without one of the others; `silent` is for those who have not answered. Differs
    /// from §5.2: see [`trust`](crate::trust).
    fn is_won_without_untrusted(&self, node: &Node, silent: bool) -> bool {
        let vote_of = |id| self.votes.get(&id).map(|(vote, _)| *vote);
        let agrees = |id| match vote_of(id) {
            Some(Ok(()) | Err(VoteRefusal::Untrusted)) => true,
            Some(Err(_)) => false,
            None => silent,
        };
        let own = node.is_voter().then_some(node.id);
        node.is_trusted()
            && node.membership().is_some_and(|(_, members)| {
                members.meets_every_majority(|id| vote_of(id) != Some(Err(VoteRefusal::Untrusted)))
            })
            && node.other_voters().into_iter().chain(own).all(agrees)
    }

    /// The disks of those who said yes, as far as they tell them apart.
    pub(crate) fn disks_of_electors(&self) -> BTreeMap<NodeId, DiskId> {
        let yes =
            self.votes.iter().filter(|(_, (vote, disk))| vote.is_ok() && *disk != DiskId::UNKNOWN);
        yes.map(|(id, (_, disk))| (*id, *disk)).collect()
    }

    /// What each voter answered so far.
    pub(crate) fn answers(&self) -> BTreeMap<NodeId, Vote> {
        self.votes.iter().map(|(id, (vote, _))| (*id, *vote)).collect()
    }

    /// Whether as many messages said yes as there are voters in a majority: a planted bug.
    fn counts_to_majority(&self, node: &Node) -> bool {
        let granted = self.votes.values().filter(|(vote, _)| vote.is_ok()).count();
        node.membership().is_some_and(|(_, members)| granted > members.voters().len() / 2)
    }
}
