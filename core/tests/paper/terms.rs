//! §5.1: terms are a logical clock.

use actix_raft_core::config::Config;
use actix_raft_core::message::MessageBody;
use actix_raft_core::message::{VoteKind, VoteRefusal, VoteResponse};
use actix_raft_core::status::RoleName;
use actix_raft_core::types::{DiskId, NodeId, Term};

use crate::support::cluster::Cluster;
use crate::support::words::*;

/// A vote refused in this term.
fn refusal(term: u64, kind: VoteKind) -> MessageBody {
    let (term, round) = (Term(term), 77);
    let refusal = Some(VoteRefusal::StaleTerm);
    MessageBody::VoteResponse(VoteResponse {
        term,
        kind,
        round,
        disk: DiskId::UNKNOWN,
        vote_granted: false,
        refusal,
    })
}

/// Every message that carries its sender's term.
fn messages_of_term(term: u64) -> [MessageBody; 6] {
    [
        append(term, at(0, 0), &[], 0),
        matched(term, 1, 0),
        conflict(term, 1, 1, at(0, 0)),
        ask_vote(term, at(0, 0)),
        refusal(term, VoteKind::Vote),
        refusal(term, VoteKind::PreVote),
    ]
}

/// A cluster of three in whose term 5 server 1 has this role.
fn with_role(role: RoleName) -> Cluster {
    let log: (u64, &[u64]) = (4, &[1, 4]);
    // Without check-quorum, since a server that hears a leader ignores candidates altogether.
    let tweak = |config: &mut Config| {
        config.check_quorum = false;
        config.pre_vote = role == RoleName::PreCandidate;
    };
    let mut cluster = Cluster::of_logs_with(&[log, log, log], tweak);
    match role {
        RoleName::NonVoter => unreachable!("three voters"),
        RoleName::Follower => cluster.hear(1, 2, append(5, at(2, 4), &[], 0)),
        RoleName::PreCandidate => {
            cluster.hear(1, 2, append(5, at(2, 4), &[], 0));
            cluster.timeout(1);
        }
        RoleName::Candidate => cluster.timeout(1),
        RoleName::Leader => cluster.elect(1),
    }
    cluster.sent();
    assert_eq!((cluster.role(1), cluster.term(1)), (role, 5));
    cluster
}

const ROLES: [RoleName; 4] =
    [RoleName::Follower, RoleName::PreCandidate, RoleName::Candidate, RoleName::Leader];

/// §5.2 "when servers start up, they begin as followers"; Figure 2, "persistent state". B 1
#[test]
fn a_server_starts_as_a_follower_in_the_term_it_stored() {
    let cluster = Cluster::of_logs(&[(7, &[1, 2, 2]), (0, &[])]);
    let status = cluster.status(1);
    assert_eq!(status.role, RoleName::Follower);
    assert_eq!((status.current_term, status.last_log), (Term(7), at(3, 2)));
    assert_eq!((status.leader, cluster.commit(1)), (None, 0));
    assert_eq!((cluster.role(2), cluster.term(2)), (RoleName::Follower, 0));
}

/// §5.1 "if one server's current term is smaller than the other's, then it updates its current
/// term to the larger value. If a candidate or leader discovers that its term is out of date, it
/// immediately reverts to follower state". B 2
#[test]
fn a_later_term_in_any_message_makes_any_server_a_follower_in_it() {
    for role in ROLES {
        for message in messages_of_term(9) {
            let mut cluster = with_role(role);
            cluster.hear(1, 3, message.clone());
            let status = cluster.status(1);
            assert_eq!(status.role, RoleName::Follower, "{role} hears {message}");
            assert_eq!(status.current_term, Term(9), "{role} hears {message}");
            assert_eq!(status.voted_for, None, "a shorter log gets no vote");
            let leads = matches!(message, MessageBody::AppendEntriesRequest(_));
            assert_eq!(status.leader, leads.then_some(NodeId(3)));
            assert_eq!(cluster.server(1).disk.durable.hard_state.current_term, Term(9));
        }
    }
}

/// diss. §9.6: a pre-vote is about a term that nobody has entered. B 2, 17
#[test]
fn a_pre_vote_and_its_grant_make_nobody_enter_their_term() {
    for role in ROLES {
        let mut cluster = with_role(role);
        let before = cluster.status(1);
        cluster.hear(1, 3, ask_pre_vote(9, at(2, 4)));
        let granted = VoteResponse {
            disk: DiskId::UNKNOWN,
            term: Term(9),
            kind: VoteKind::PreVote,
            round: 77,
            vote_granted: true,
            refusal: None,
        };
        cluster.hear(1, 3, MessageBody::VoteResponse(granted));
        assert_eq!(cluster.status(1), before);
    }
}

/// §5.1 "if a server receives a request with a stale term number, it rejects the request". B 3
#[test]
fn a_message_of_an_earlier_term_changes_nothing_and_a_request_learns_the_current_term() {
    for role in ROLES {
        for message in messages_of_term(4) {
            let mut cluster = with_role(role);
            let before = (cluster.status(1), cluster.deadline(1));
            cluster.hear(1, 3, message.clone());
            assert_eq!((cluster.status(1), cluster.deadline(1)), before, "{role} hears {message}");
            let answers = cluster.sent();
            let is_request = is_append(&message) || vote_request_of(&message).is_some();
            assert_eq!(answers.len(), usize::from(is_request), "{role} hears {message}");
            for (to, answer) in answers {
                assert_eq!((to, answer.term()), (3, Term(5)));
                assert!(!is_yes(&answer) && match_of(&answer).is_none());
            }
        }
    }
}

/// §5.1 "current terms are exchanged whenever servers communicate": a leader of the past learns
/// from the answer that it is one. B 3
#[test]
fn a_deposed_leader_steps_down_when_it_hears_the_answer_to_its_heartbeat() {
    let mut cluster = Cluster::with(3, |config| config.check_quorum = false);
    cluster.elect(1);
    cluster.isolate(1);
    cluster.elect(2);
    cluster.heal();
    assert_eq!(cluster.leaders(), [1, 2], "one leader in each of two terms");
    cluster.heartbeat(1);
    cluster.settle();
    assert_eq!(cluster.leaders(), [2]);
    assert_eq!(cluster.term(1), cluster.term(2));
}
