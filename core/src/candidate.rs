//! Standing for election: the pre-candidate, who asks whether it could win (diss. §9.6), and the
//! candidate, who asks for votes (§5.2).

use std::collections::BTreeMap;

use crate::message::{MessageBody, VoteKind, VoteRequest, VoteResponse};
use crate::mutants::{Mutant, is_planted};
use crate::node::Node;
use crate::types::{NodeId, Time};

/// What only a server that stands for election has.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Candidate {
    kind: VoteKind,
    /// Tells this ballot's answers from those of an earlier one in the same term.
    round: u64,
    votes: BTreeMap<NodeId, bool>,
    /// When the election counts as failed.
    pub(crate) deadline: Time,
}

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
        let request = VoteRequest { term, last_log: node.log.last(), kind, round };
        for voter in node.other_voters() {
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
        if is_planted(Mutant::VotesCountedTwice) && self.votes.contains_key(&from) {
            let nobody = NodeId(u64::MAX - self.votes.len() as u64);
            self.votes.insert(nobody, response.vote_granted);
        }
        let of_this_ballot = response.round == self.round || is_planted(Mutant::StaleVotesCount);
        if (response.kind == self.kind && of_this_ballot)
            || is_planted(Mutant::PreVotesCountAsVotes)
        {
            self.votes.entry(from).or_insert(response.vote_granted);
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
            self.votes.insert(node.id, true);
        }
        if is_planted(Mutant::VotesCountedTwice) && self.counts_to_majority(node) {
            return Tally::Won;
        }
        let yes = |id| self.votes.get(&id) == Some(&true);
        let united = node.membership().map(|(_, members)| members.with_one_majority());
        if is_planted(Mutant::ElectedByUnion) && united.is_some_and(|all| all.is_quorum(yes)) {
            return Tally::Won;
        }
        // Answers of servers that have no vote are in the map and never looked up.
        if node.is_quorum(|id| self.votes.get(&id) == Some(&true)) {
            Tally::Won
        } else if !node.is_quorum(|id| self.votes.get(&id) != Some(&false)) {
            Tally::Outvoted
        } else {
            Tally::Open
        }
    }

    /// Whether as many messages said yes as there are voters in a majority: a planted bug.
    fn counts_to_majority(&self, node: &Node) -> bool {
        let granted = self.votes.values().filter(|granted| **granted).count();
        node.membership().is_some_and(|(_, members)| granted > members.voters().len() / 2)
    }
}
