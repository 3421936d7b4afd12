//! §5.2: leader election, from the side of those who stand.

use std::collections::BTreeSet;

use actix_raft_core::entry::EntryPayload;
use actix_raft_core::event::Event;
use actix_raft_core::message::{MessageBody, VoteKind, VoteRefusal, VoteRequest, VoteResponse};
use actix_raft_core::status::RoleName;
use actix_raft_core::types::{DiskId, NodeId, Term, Time};

use crate::support::cluster::Cluster;
use crate::support::disk::Image;
use crate::support::words::*;

fn without_pre_vote(count: u64) -> Cluster {
    Cluster::with(count, |config| config.pre_vote = false)
}

/// The requests for votes on the network, by receiver.
fn requests(cluster: &mut Cluster) -> Vec<(u64, VoteRequest)> {
    let sent = cluster.sent().into_iter();
    sent.filter_map(|(to, body)| Some((to, vote_request_of(&body)?))).collect()
}

/// §5.2 "if a follower receives no communication over a period of time called the election
/// timeout, then it assumes there is no viable leader and begins an election". B 11
#[test]
fn a_follower_begins_an_election_when_its_timeout_has_passed_and_not_before() {
    let mut cluster = without_pre_vote(3);
    let deadline = cluster.deadline(1).unwrap();
    cluster.now = Time(deadline.0 - 1);
    cluster.step(1, vec![Event::Timeout]);
    assert_eq!((cluster.role(1), cluster.term(1)), (RoleName::Follower, 0));
    cluster.now = deadline;
    cluster.step(1, vec![Event::Timeout]);
    assert_eq!((cluster.role(1), cluster.term(1)), (RoleName::Candidate, 1));
}

/// §5.2 "election timeouts are chosen randomly from a fixed interval", anew for each election.
/// B 11
#[test]
fn election_timeouts_are_drawn_anew_from_t_to_two_t() {
    let mut cluster = without_pre_vote(2);
    let mut seen = BTreeSet::new();
    for _ in 0..50 {
        let wait = cluster.deadline(1).unwrap().since(cluster.now);
        assert!(wait >= T && wait < 2 * T, "{wait:?}");
        seen.insert(wait);
        cluster.timeout(1);
    }
    assert!(seen.len() > 40, "the draws differ");
    assert!(*seen.last().unwrap() - *seen.first().unwrap() > T / 2, "and cover the interval");
}

/// §5.2 "to begin an election, a follower increments its current term and transitions to candidate
/// state. It then votes for itself and issues RequestVote RPCs in parallel to each of the other
/// servers", and Figure 2, "updated on stable storage before responding". B 7, 8
#[test]
fn a_candidate_enters_a_new_term_votes_for_itself_and_asks_all_others_once_that_is_durable() {
    let log: (u64, &[u64]) = (6, &[1, 5]);
    let mut cluster = Cluster::of_logs_with(&[log; 5], |config| config.pre_vote = false);
    cluster.server(1).prompt.saves = false;
    cluster.timeout(1);
    let status = cluster.status(1);
    assert_eq!((status.role, status.current_term), (RoleName::Candidate, Term(7)));
    assert_eq!(status.voted_for, Some(NodeId(1)));
    assert!(requests(&mut cluster).is_empty(), "a crash could still make it forget its vote");

    let saved = cluster.server(1).saved().unwrap();
    cluster.step(1, vec![saved]);
    let requests = requests(&mut cluster);
    assert_eq!(requests.iter().map(|(to, _)| *to).collect::<Vec<_>>(), [2, 3, 4, 5]);
    for (_, request) in requests {
        assert_eq!((request.term, request.last_log), (Term(7), at(2, 5)));
    }
}

/// §5.2 "a candidate wins an election if it receives votes from a majority of the servers in the
/// full cluster for the same term". B 47
#[test]
fn a_candidate_wins_with_a_majority_of_all_servers_and_not_with_less() {
    for count in 2..=7 {
        let mut cluster = without_pre_vote(count);
        cluster.timeout(1);
        let requests = requests(&mut cluster);
        let majority = count as usize / 2 + 1;
        for (votes, (voter, request)) in (2..).zip(&requests) {
            assert_eq!(cluster.role(1), RoleName::Candidate, "{} of {count} votes", votes - 1);
            cluster.hear(1, *voter, answer(request, true));
            if votes == majority {
                break;
            }
        }
        assert_eq!(cluster.role(1), RoleName::Leader, "{majority} of {count} votes");
    }
}

/// §5.2: a vote is one server's, in one term. B 9
#[test]
fn votes_that_come_twice_or_from_strangers_or_for_another_ballot_do_not_count() {
    let mut cluster = without_pre_vote(5);
    cluster.timeout(1);
    let first = requests(&mut cluster)[0].1;
    cluster.timeout(1);
    let second = requests(&mut cluster)[0].1;
    assert_eq!(second.term, Term(2));

    cluster.hear(1, 2, answer(&second, true));
    cluster.hear(1, 2, answer(&second, true));
    cluster.hear(1, 8, answer(&second, true));
    cluster.hear(1, 9, answer(&second, true));
    cluster.hear(1, 3, answer(&first, true));
    cluster.hear(1, 4, answer(&VoteRequest { term: second.term, ..first }, true));
    let pre_vote = VoteRequest { kind: VoteKind::PreVote, ..second };
    cluster.hear(1, 5, answer(&pre_vote, true));
    assert_eq!(cluster.role(1), RoleName::Candidate, "two of five votes");
    cluster.hear(1, 5, answer(&second, true));
    assert_eq!(cluster.role(1), RoleName::Leader, "three of five votes");
}

/// A voter's first answer stands. B 9
#[test]
fn a_voter_that_said_no_does_not_say_yes_in_the_same_ballot() {
    let mut cluster = without_pre_vote(3);
    cluster.timeout(1);
    let request = requests(&mut cluster)[0].1;
    cluster.hear(1, 2, answer(&request, false));
    cluster.hear(1, 2, answer(&request, true));
    assert_eq!(cluster.role(1), RoleName::Candidate);
}

/// Who can't win any more need not wait for its timeout. B 10
#[test]
fn a_candidate_refused_by_a_majority_is_a_follower_at_once() {
    let mut cluster = without_pre_vote(5);
    cluster.timeout(1);
    let request = requests(&mut cluster)[0].1;
    cluster.hear(1, 2, answer(&request, false));
    cluster.hear(1, 3, answer(&request, false));
    assert_eq!(cluster.role(1), RoleName::Candidate, "three could still say yes");
    cluster.hear(1, 4, answer(&request, false));
    let status = cluster.status(1);
    assert_eq!((status.role, status.current_term), (RoleName::Follower, Term(1)));
    assert_eq!(status.voted_for, Some(NodeId(1)), "its vote is given all the same (B 6)");
}

/// The vote that a lost election's save brings in late. B 8
#[test]
fn the_own_vote_of_a_lost_election_is_ignored_when_it_becomes_durable() {
    let mut cluster = Cluster::with(1, |config| config.pre_vote = false);
    cluster.server(1).prompt.saves = false;
    cluster.timeout(1);
    assert_eq!(cluster.role(1), RoleName::Candidate);
    let saved = cluster.server(1).saved().unwrap();
    // Before the core hears of the save, it hears of a later term.
    let stranger = MessageBody::VoteResponse(VoteResponse {
        disk: DiskId::UNKNOWN,
        term: Term(5),
        kind: VoteKind::Vote,
        round: 0,
        vote_granted: false,
        refusal: Some(VoteRefusal::StaleTerm),
    });
    cluster.hear(1, 2, stranger);
    cluster.step(1, vec![saved]);
    assert_eq!((cluster.role(1), cluster.term(1)), (RoleName::Follower, 5));
}

/// §5.2: a cluster of one has its majority in itself, but only on its disk. B 8, 15
#[test]
fn a_single_voter_elects_itself_and_commits_as_soon_as_its_disk_has_written() {
    for pre_vote in [true, false] {
        let mut cluster = Cluster::with(1, |config| config.pre_vote = pre_vote);
        cluster.server(1).prompt.saves = false;
        cluster.timeout(1);
        assert_eq!(cluster.role(1), RoleName::Candidate);
        let voted = cluster.server(1).saved().unwrap();
        cluster.step(1, vec![voted]);
        assert_eq!((cluster.role(1), cluster.commit(1)), (RoleName::Leader, 0));
        cluster.propose(1, "x").unwrap();
        assert_eq!(cluster.commit(1), 0, "nothing is on disk");
        let written = cluster.server(1).saved().unwrap();
        cluster.step(1, vec![written]);
        assert_eq!((cluster.commit(1), cluster.applied(1)), (2, 2));
    }
}

/// B 8: an earlier save is not the vote's.
#[test]
fn the_own_vote_does_not_count_when_only_an_earlier_save_is_durable() {
    let mut cluster = Cluster::from_images(vec![Image::default()], |_| {});
    cluster.server(1).prompt.saves = false;
    cluster.initialize(1, &voters([1]));
    cluster.timeout(1);
    assert_eq!(cluster.role(1), RoleName::Candidate);
    for expected in [RoleName::Candidate, RoleName::Leader] {
        let id = cluster.server(1).disk.complete_one().unwrap();
        cluster.step(1, vec![Event::Saved { id }]);
        assert_eq!(cluster.role(1), expected);
    }
}

/// §5.2 "if the leader's term is at least as large as the candidate's current term, then the
/// candidate recognizes the leader as legitimate and returns to follower state". B 10
#[test]
fn a_candidate_follows_the_leader_of_its_own_term() {
    let mut cluster = without_pre_vote(3);
    cluster.timeout(1);
    cluster.hear(1, 2, append(1, at(0, 0), &[], 0));
    let status = cluster.status(1);
    assert_eq!((status.role, status.leader), (RoleName::Follower, Some(NodeId(2))));
    assert_eq!((status.current_term, status.voted_for), (Term(1), Some(NodeId(1))));
}

/// §5.2 "if the term in the RPC is smaller than the candidate's current term, then the candidate
/// rejects the RPC and continues in candidate state"
#[test]
fn a_candidate_goes_on_when_it_hears_a_leader_of_an_earlier_term() {
    let mut cluster = without_pre_vote(3);
    cluster.timeout(1);
    cluster.sent();
    cluster.timeout(1);
    let request = requests(&mut cluster)[0].1;
    cluster.hear(1, 2, append(1, at(0, 0), &[], 0));
    assert_eq!((cluster.role(1), cluster.term(1)), (RoleName::Candidate, 2));
    cluster.hear(1, 3, answer(&request, true));
    assert_eq!(cluster.role(1), RoleName::Leader);
}

/// §5.2 "if many followers become candidates at the same time, votes could be split [...] each
/// candidate will time out and start a new election", and randomised timeouts "ensure that split
/// votes are rare and that they are resolved quickly". B 11
#[test]
fn a_split_vote_is_resolved_by_a_later_election() {
    let mut cluster = without_pre_vote(4);
    (1..=2).for_each(|id| cluster.timeout(id));
    // Each of them gets one more vote, and then there are no more votes in this term.
    for (voter, candidate) in [(3, 1), (4, 2)] {
        let mut asked = cluster.take(|m| m.to.0 == voter);
        asked.sort_by_key(|message| message.from.0 != candidate);
        asked.into_iter().for_each(|message| cluster.bring(message));
    }
    cluster.settle();
    assert_eq!(cluster.leaders(), [0; 0]);
    assert_eq!([1, 2].map(|id| cluster.term(id)), [1, 1]);
    cluster.run(6 * T);
    assert_eq!(cluster.leaders().len(), 1);
}

/// §5.2 and Figure 2: left to itself, a cluster elects one leader, which then stays. B 23
#[test]
fn a_cluster_left_to_itself_elects_one_leader_and_keeps_it() {
    for count in 1..=7 {
        let mut cluster = Cluster::new(count);
        cluster.run(6 * T);
        let leaders = cluster.leaders();
        assert_eq!(leaders.len(), 1, "of {count}");
        let term = cluster.term(leaders[0]);
        cluster.run(50 * T);
        assert_eq!((cluster.leaders(), cluster.term(leaders[0])), (leaders, term));
    }
}

/// §5.2 "once a candidate wins an election, it becomes leader. It then sends heartbeat messages to
/// all of the other servers"; §8 "at the start of its term [...] a blank no-op entry into the
/// log". B 16
#[test]
fn a_new_leader_sends_an_entry_of_its_own_term_to_all_others_before_anything_else() {
    let log: (u64, &[u64]) = (3, &[1, 3]);
    let mut cluster = Cluster::of_logs(&[log; 3]);
    cluster.timeout(1);
    while cluster.role(1) != RoleName::Leader {
        assert!(cluster.deliver_one());
    }
    for id in 2..=3 {
        let sent = cluster.sent_to(id);
        let request = sent.iter().find_map(append_of).expect("an append");
        assert_eq!((request.prev_log, request.entries.len()), (at(2, 3), 1));
        let entry = &request.entries[0];
        assert_eq!((entry.position(), &entry.payload), (at(3, 4), &EntryPayload::Blank));
    }
    assert_eq!(cluster.log(1), [1, 3, 4]);
}

/// §5.2: heartbeats "prevent new elections".
#[test]
fn a_leader_is_heard_every_heartbeat_interval_even_when_it_has_nothing_to_say() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    for _ in 0..20 {
        cluster.timeout(1);
        let beats = cluster.network.iter().filter(|m| is_append(&m.body)).count();
        assert_eq!(beats, 2, "one to each");
        cluster.settle();
        assert!(cluster.deadline(2).unwrap() >= cluster.now + T);
    }
    assert!(cluster.now.since(Time(0)) > 3 * T, "longer than any follower's patience");
    assert_eq!(cluster.term(1), 1);
}

/// A server that was never told of a cluster, or has no vote in it, does not stand. B 13
#[test]
fn a_server_without_a_vote_never_stands_for_election() {
    let outsider = Image::of(&voters([2, 3]), 4, &[1, 4]);
    for image in [Image::default(), outsider] {
        let mut cluster = Cluster::from_images(vec![image], |_| {});
        assert_eq!(cluster.deadline(1), None);
        cluster.wait(100 * T);
        cluster.step(1, vec![Event::Timeout]);
        assert_eq!(cluster.role(1), RoleName::NonVoter);
        assert_eq!(cluster.sent(), []);
    }
}
