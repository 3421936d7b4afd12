//! Why there is no leader, or what writes wait for, in sentences.

use actix_raft::admin::{Explanation, NotStanding};
use actix_raft::messages::{NodeId, VoteRefusal};
use actix_raft::metrics::{RaftMetrics, RaftState};

/// What a server knows, a sentence each.
pub(crate) fn sentences(metrics: &RaftMetrics, explanation: &Explanation) -> Vec<String> {
    let mut sentences = Vec::new();
    let role = match &metrics.state {
        RaftState::Running(role) => role.to_string(),
        RaftState::Stopped { reason } => format!("stopped: {reason}"),
    };
    let leader = match metrics.leader {
        Some(leader) if leader == metrics.id => "it leads".to_string(),
        Some(leader) => format!("it follows server {leader}"),
        None => "it knows of no leader".to_string(),
    };
    sentences.push(format!("{role} in term {}; {leader}", metrics.current_term));
    if let Some(why) = explanation.not_standing.filter(|_| metrics.leader.is_none()) {
        sentences.push(not_standing(why).to_string());
    }
    for (voter, answer) in &explanation.votes {
        sentences.push(answered(*voter, *answer));
    }
    for peer in &explanation.lagging {
        let (voter, has, last) = (peer.id, peer.match_index, metrics.last_log_index);
        let untrusted =
            if peer.counts { "" } else { "; its disk is new, so it does not count yet" };
        sentences
            .push(format!("server {voter} has stored entries up to {has} of {last}{untrusted}"));
    }
    let busy = explanation.disk_busy_for;
    if !busy.is_zero() {
        sentences.push(format!("its disk has been busy with one write for {busy:?}"));
    }
    if metrics.disk_is_full {
        sentences.push("its disk is nearly full: it takes no new entries".to_string());
    }
    if let Some(to) = metrics.transferring_to {
        sentences.push(format!("it hands leadership over to server {to}, and takes no writes"));
    }
    sentences
}

fn not_standing(why: NotStanding) -> &'static str {
    match why {
        NotStanding::NoCluster => "it was never told of a cluster: start it with --peers or --join",
        NotStanding::NonVoter => "it does not stand for election: it has no vote",
        NotStanding::Disabled => {
            "it does not stand for election: its settings say so (elections, election_priority)"
        }
        NotStanding::Untrusted => {
            "it does not stand for election: its disk is new, and it may have forgotten what it \
             promised; a leader must bring it up to date first"
        }
        NotStanding::InstallingSnapshot => "it does not stand for election: it installs a snapshot",
        NotStanding::DiskBusy => "it does not stand for election: its disk does not answer",
        NotStanding::Waiting => "it waits until its election timeout is over",
    }
}

fn answered(voter: NodeId, answer: Option<Result<(), VoteRefusal>>) -> String {
    let why = match answer {
        None => return format!("server {voter} has not answered its request for a vote"),
        Some(Ok(())) => return format!("server {voter} votes for it"),
        Some(Err(why)) => why,
    };
    let why = match why {
        VoteRefusal::StaleTerm => "its term is over",
        VoteRefusal::HearsLeader => "it hears a leader",
        VoteRefusal::AlreadyVoted => "it has voted for another in this term",
        VoteRefusal::LogBehind => "it has entries that this server lacks",
        VoteRefusal::Untrusted => "its disk is new, and it may have forgotten what it promised",
    };
    format!("server {voter} refuses its vote: {why}")
}
