//! diss. §6.4: linearizable reads at servers that do not lead.

use std::time::Duration;

use actix_raft_core::effect::{Effect, ReadError};
use actix_raft_core::event::{Consistency, Event, ReadId};
use actix_raft_core::message::{MessageBody, ReadIndexRequest, ReadIndexResponse};
use actix_raft_core::status::RoleName;
use actix_raft_core::types::{Index, Term, Time};

use crate::support::cluster::Cluster;
use crate::support::disk::Image;
use crate::support::words::*;

/// A leader, 1, whose first entry is committed everywhere.
fn leader_of(count: u64) -> Cluster {
    let mut cluster = Cluster::new(count);
    cluster.elect(1);
    cluster.heartbeat(1);
    cluster.settle();
    cluster
}

fn question(term: u64, id: u64) -> MessageBody {
    let (term, consistency) = (Term(term), Consistency::Linearizable);
    MessageBody::ReadIndexRequest(ReadIndexRequest { term, id, consistency })
}

fn reply(term: u64, id: u64, read_index: Option<u64>) -> MessageBody {
    let (term, read_index) = (Term(term), read_index.map(Index));
    MessageBody::ReadIndexResponse(ReadIndexResponse { term, id, read_index })
}

fn question_of(body: &MessageBody) -> Option<ReadIndexRequest> {
    match body {
        MessageBody::ReadIndexRequest(request) => Some(*request),
        _ => None,
    }
}

/// The answers to questions, to whom and with what.
fn replies(sent: &[(u64, MessageBody)]) -> Vec<(u64, u64, Option<u64>)> {
    let reply = |(to, body): &(u64, MessageBody)| match body {
        MessageBody::ReadIndexResponse(response) => {
            Some((*to, response.id, response.read_index.map(|index| index.0)))
        }
        _ => None,
    };
    sent.iter().filter_map(reply).collect()
}

/// The questions that are on their way, taken off it.
fn questions(cluster: &mut Cluster) -> Vec<(u64, ReadIndexRequest)> {
    let asks = |m: &actix_raft_core::message::Message| question_of(&m.body).is_some();
    let taken = cluster.take(asks).into_iter();
    taken.filter_map(|m| Some((m.to.0, question_of(&m.body)?))).collect()
}

/// The way of a read at a follower. B 54
#[test]
fn a_read_at_a_follower_is_served_after_the_leader_has_confirmed_that_it_leads() {
    let mut cluster = leader_of(3);
    let read = cluster.read(2);
    let asked = cluster.sent();
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert_eq!(asked[0].0, 1);
    cluster.hear(1, 2, asked[0].1.clone());
    let round = cluster.sent();
    assert_eq!(replies(&round), [], "not before a majority has answered");
    cluster.hear(3, 1, round.iter().find(|(to, _)| *to == 3).unwrap().1.clone());
    cluster.deliver_round();
    let answer = cluster.sent();
    assert_eq!(replies(&answer), [(2, question_of(&asked[0].1).unwrap().id, Some(1))]);
    assert!(!cluster.is_ready(2, read));
    cluster.hear(2, 1, answer[0].1.clone());
    assert!(cluster.is_ready(2, read));
    assert_eq!(cluster.deadline(2), cluster.deadline(2).filter(|at| *at > cluster.now));
}

/// B 54: one that has no vote serves reads, too.
#[test]
fn a_read_at_a_non_voter_is_served() {
    let image = Image::of(&members(1..=3, [4]), 0, &[]);
    let mut cluster = Cluster::from_images(vec![image; 4], |_| {});
    cluster.elect(1);
    cluster.heartbeat(1);
    cluster.settle();
    assert_eq!(cluster.role(4), RoleName::NonVoter);
    let read = cluster.read(4);
    cluster.settle();
    assert!(cluster.is_ready(4, read));
    // And none waits for ever, although this server never stands for election.
    cluster.isolate(1);
    let read = cluster.read(4);
    cluster.isolate(4);
    cluster.run(3 * T);
    assert!(cluster.is_refused(4, read));
    assert_eq!(cluster.deadline(4), None, "it waits for nothing any more");
}

/// diss. §6.4 "waits for its state machine to advance at least as far as the readIndex". B 52
#[test]
fn a_read_at_a_follower_waits_until_the_follower_has_applied_the_read_index() {
    let mut cluster = leader_of(3);
    cluster.cut(1, 2);
    cluster.propose(1, "x").unwrap();
    cluster.settle();
    assert_eq!((cluster.commit(1), cluster.commit(2)), (2, 1));
    let read = cluster.read(2);
    cluster.deliver_round();
    cluster.heal();
    cluster.take(|m| m.to.0 == 2 && is_append(&m.body));
    cluster.settle();
    assert!(!cluster.is_ready(2, read), "it has the answer and not the entry");
    cluster.server(2).prompt.applies = false;
    cluster.heartbeat(1);
    cluster.settle();
    cluster.heartbeat(1);
    cluster.settle();
    assert_eq!((cluster.commit(2), cluster.applied(2)), (2, 1));
    assert!(!cluster.is_ready(2, read), "it has the entry and has not applied it");
    let applied = cluster.server(2).apply().unwrap();
    cluster.step(2, vec![applied]);
    assert!(cluster.is_ready(2, read));
}

/// One question for all reads of a step.
#[test]
fn reads_that_arrive_together_are_asked_for_together() {
    let mut cluster = leader_of(3);
    let read = |id| Event::Read { id: ReadId(id), consistency: Consistency::Linearizable };
    cluster.step(2, (101..=150).map(read).collect());
    assert_eq!(cluster.network.len(), 1);
    cluster.settle();
    assert!((101..=150).all(|id| cluster.is_ready(2, ReadId(id))));
}

/// However many steps bring reads while no answer comes, few questions are under way.
#[test]
fn what_arrives_while_many_questions_are_unanswered_goes_with_the_next_repetition() {
    let mut cluster = leader_of(3);
    let reads: Vec<ReadId> = (0..100).map(|_| cluster.read(2)).collect();
    let lost = questions(&mut cluster);
    assert_eq!(lost.len(), 16);
    cluster.wait(HEARTBEAT);
    cluster.step(2, vec![Event::Timeout]);
    let again = questions(&mut cluster);
    assert_eq!(again.len(), 1);
    cluster.hear(1, 2, MessageBody::ReadIndexRequest(again[0].1));
    cluster.settle();
    assert!(reads.into_iter().all(|read| cluster.is_ready(2, read)));
}

/// A lost question or answer costs a heartbeat's time.
#[test]
fn an_unanswered_question_is_asked_again_with_the_heartbeats_rhythm() {
    let mut cluster = leader_of(3);
    let read = cluster.read(2);
    let first = questions(&mut cluster);
    for _ in 0..3 {
        assert_eq!(cluster.deadline(2), Some(cluster.now + HEARTBEAT));
        cluster.wait(HEARTBEAT - Duration::from_nanos(1));
        cluster.step(2, vec![Event::Timeout]);
        assert_eq!(cluster.sent(), [], "too early");
        cluster.wait(Duration::from_nanos(1));
        cluster.step(2, vec![Event::Timeout]);
        assert_eq!(questions(&mut cluster), first, "the same question, or no late answer fits");
    }
    cluster.hear(2, 1, reply(1, first[0].1.id, Some(1)));
    assert!(cluster.is_ready(2, read));
}

/// A new leader knows nothing of what was asked of the old one.
#[test]
fn a_new_leader_is_asked_as_soon_as_it_is_heard() {
    let mut cluster = leader_of(3);
    let read = cluster.read(2);
    cluster.sent();
    cluster.isolate(1);
    cluster.timeout(3);
    cluster.settle();
    assert_eq!(cluster.leaders(), [1, 3]);
    assert!(cluster.is_ready(2, read), "without waiting for a heartbeat");
}

/// The answer of a leader that was deposed meanwhile is true of what came before the question. B 52
#[test]
fn an_answer_of_an_earlier_term_is_believed_while_nobody_else_was_asked() {
    let mut cluster = leader_of(3);
    let read = cluster.read(2);
    let id = questions(&mut cluster)[0].1.id;
    cluster.hear(2, 3, ask_vote(5, at(9, 1)));
    cluster.wait(2 * T - Duration::from_nanos(1));
    cluster.hear(2, 3, ask_vote(5, at(9, 1)));
    assert_eq!((cluster.term(2), cluster.status(2).leader), (5, None));
    cluster.hear(2, 1, reply(1, id, Some(1)));
    assert!(cluster.is_ready(2, read));
}

/// No read waits for ever.
#[test]
fn a_read_is_given_up_when_no_leader_is_heard_for_the_longest_election_timeout() {
    let mut cluster = leader_of(3);
    let silent_since = cluster.now;
    cluster.isolate(2);
    cluster.wait(T / 2);
    let early = cluster.read(2);
    cluster.wait(T);
    let late = cluster.read(2);
    let refused_at = |cluster: &mut Cluster, read| {
        while !cluster.is_refused(2, read) {
            cluster.timeout(2);
            assert!(!cluster.is_ready(2, read));
        }
        cluster.now
    };
    assert_eq!(refused_at(&mut cluster, early), silent_since + T / 2 + 2 * T);
    assert_eq!(refused_at(&mut cluster, late), silent_since + T / 2 + 3 * T);
    let error = ReadError::NotLeader { leader: None };
    assert!(cluster.said(2).contains(&Effect::ReadRefused { id: late, error }));
}

/// B 52: also one that the leader has answered, and whose entries never come.
#[test]
fn a_read_that_waits_for_entries_is_given_up_when_no_leader_is_heard() {
    let mut cluster = leader_of(3);
    let read = cluster.read(2);
    let id = questions(&mut cluster)[0].1.id;
    cluster.hear(2, 1, reply(1, id, Some(1 << 40)));
    cluster.run(10 * T);
    assert!(!cluster.is_ready(2, read) && !cluster.is_refused(2, read), "the leader is there");
    cluster.isolate(2);
    cluster.run(3 * T);
    assert!(cluster.is_refused(2, read));
}

/// A server that was never told of a cluster has nobody to ask.
#[test]
fn a_read_at_a_server_without_a_cluster_is_given_up() {
    let mut cluster = Cluster::from_images(vec![Image::default()], |_| {});
    let read = cluster.read(1);
    assert_eq!(cluster.deadline(1), Some(cluster.now + 2 * T));
    cluster.run(2 * T);
    assert!(cluster.is_refused(1, read));
    assert_eq!(cluster.deadline(1), None);
}

/// What a follower did not get answered it answers itself, once it leads.
#[test]
fn a_follower_that_becomes_leader_serves_its_own_reads() {
    let mut cluster = leader_of(3);
    let read = cluster.read(2);
    cluster.sent();
    cluster.isolate(1);
    while cluster.role(2) != RoleName::Leader {
        cluster.timeout(2);
        cluster.settle();
    }
    assert!(cluster.is_ready(2, read));
}

/// B 50: it does not know yet what is committed.
#[test]
fn a_question_waits_until_an_entry_of_the_leaders_term_is_committed() {
    let log: (u64, &[u64]) = (2, &[1, 2]);
    let mut cluster = Cluster::of_logs(&[log; 3]);
    cluster.wait(2 * T);
    cluster.timeout(1);
    while cluster.leaders().is_empty() {
        assert!(cluster.deliver_one());
    }
    cluster.sent();
    cluster.hear(1, 2, question(3, 7));
    cluster.heartbeat(1);
    cluster.sent();
    [2, 3].into_iter().for_each(|id| cluster.hear(1, id, matched(3, 1, 2)));
    assert_eq!(replies(&cluster.sent()), []);
    cluster.hear(1, 2, matched(3, 1, 3));
    let round = append_of(&cluster.sent()[0].1).unwrap().round;
    assert_eq!(round, 2);
    cluster.hear(1, 2, matched(3, round, 3));
    assert_eq!(replies(&cluster.sent()), [(2, 7, Some(3))]);
}

/// B 51, 53: it may be deposed and not know it.
#[test]
fn a_leader_without_a_majority_answers_no_question_but_that_it_leads_no_more() {
    let mut cluster = leader_of(5);
    for id in 3..=5 {
        cluster.isolate(id);
    }
    let read = cluster.read(2);
    cluster.run(T / 2);
    assert!(!cluster.is_ready(2, read));
    let id = 1 << 60;
    cluster.hear(1, 2, question(1, id));
    while cluster.role(1) == RoleName::Leader {
        assert!(replies(&cluster.sent()).is_empty());
        cluster.timeout(1);
    }
    let answers = replies(&cluster.sent());
    assert!(answers.contains(&(2, id, None)), "{answers:?}");
    assert!(!cluster.is_ready(2, read));
}

/// The asker learns that it must look for another.
#[test]
fn a_server_that_does_not_lead_says_so() {
    let mut cluster = leader_of(3);
    cluster.hear(2, 3, question(1, 7));
    assert_eq!(replies(&cluster.sent()), [(3, 7, None)]);
    cluster.isolate(3);
    cluster.timeout(3);
    cluster.heal();
    cluster.sent();
    cluster.hear(3, 2, question(1, 8));
    assert_eq!(replies(&cluster.sent()), [(2, 8, None)]);
}

/// B 3: such a question was sent to a leader of that time.
#[test]
fn a_question_of_an_earlier_term_is_not_answered_but_with_the_present_one() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.elect(2);
    cluster.heartbeat(2);
    cluster.settle();
    cluster.hear(2, 3, question(1, 7));
    let sent = cluster.sent();
    assert_eq!(replies(&sent), [(3, 7, None)]);
    assert_eq!(sent[0].1.term(), Term(2));
}

/// B 2: as of any message.
#[test]
fn a_leader_that_is_asked_in_a_later_term_steps_down() {
    let mut cluster = leader_of(3);
    cluster.hear(1, 2, question(3, 7));
    assert_eq!((cluster.role(1), cluster.term(1)), (RoleName::Follower, 3));
    assert_eq!(replies(&cluster.sent()), [(2, 7, None)]);
}

/// A removed server may not know that it was removed.
#[test]
fn a_server_that_is_no_member_is_told_nothing() {
    let mut cluster = leader_of(3);
    cluster.hear(1, 9, question(1, 7));
    assert_eq!(replies(&cluster.sent()), [(9, 7, None)]);
}

/// Answers may come late, twice, or from anybody.
#[test]
fn only_an_answer_of_the_asked_server_to_a_question_that_waits_changes_anything() {
    let mut cluster = leader_of(3);
    let first = cluster.read(2);
    let second = cluster.read(2);
    let asked: Vec<u64> = questions(&mut cluster).iter().map(|(_, q)| q.id).collect();
    for id in [asked[0].wrapping_sub(1), asked[1].wrapping_add(1), 0, u64::MAX] {
        cluster.hear(2, 1, reply(1, id, Some(1)));
    }
    cluster.hear(2, 3, reply(1, asked[1], Some(1)));
    cluster.hear(2, 1, reply(1, asked[1], None));
    assert!(!cluster.is_ready(2, first) && !cluster.is_ready(2, second));
    cluster.hear(2, 1, reply(1, asked[0], Some(1)));
    assert!(cluster.is_ready(2, first));
    assert!(!cluster.is_ready(2, second), "it arrived after that question");
    cluster.hear(2, 1, reply(1, asked[0], Some(1)));
    cluster.hear(2, 1, reply(1, asked[1], Some(1)));
    cluster.hear(2, 1, reply(1, asked[1], Some(1)));
    let ready = |id| move |effect: &Effect| *effect == Effect::ReadReady { id };
    let said = cluster.said(2);
    assert_eq!(said.iter().filter(|e| ready(first)(e)).count(), 1);
    assert_eq!(said.iter().filter(|e| ready(second)(e)).count(), 1);
}

/// The latest question stands for all before it.
#[test]
fn an_answer_to_a_later_question_serves_earlier_reads() {
    let mut cluster = leader_of(3);
    let (first, second) = (cluster.read(2), cluster.read(2));
    let asked = questions(&mut cluster);
    cluster.hear(2, 1, reply(1, asked[1].1.id, Some(1)));
    assert!(cluster.is_ready(2, first) && cluster.is_ready(2, second));
}

/// An answer to what a server asked before it crashed is none to what it asks now.
#[test]
fn a_restarted_server_takes_no_answer_of_before_for_one_to_its_new_questions() {
    let mut cluster = leader_of(3);
    for _ in 0..20 {
        cluster.read(2);
    }
    let before = questions(&mut cluster);
    cluster.crash(2);
    cluster.server(2).config.seed += 1_000;
    cluster.restart(2);
    cluster.heartbeat(1);
    cluster.settle();
    let read = cluster.read(2);
    for (_, question) in before {
        cluster.hear(2, 1, reply(1, question.id, Some(1)));
    }
    assert!(!cluster.is_ready(2, read));
    cluster.settle();
    assert!(cluster.is_ready(2, read));
}

/// B 99: memory is bounded whatever a peer asks.
#[test]
fn a_peer_that_asks_without_end_is_remembered_up_to_a_limit() {
    let mut cluster = leader_of(3);
    cluster.isolate(3);
    for id in 0..5_000 {
        cluster.hear(1, 2, question(1, id));
        cluster.hear(1, 2, question(1, id));
        cluster.sent();
    }
    cluster.heartbeat(1);
    let round = append_of(&cluster.sent()[0].1).unwrap().round;
    cluster.hear(1, 2, matched(1, round, 1));
    let answers = replies(&cluster.sent());
    assert_eq!(answers, (0..32).map(|id| (2, id, Some(1))).collect::<Vec<_>>());
    // It is listened to again.
    cluster.hear(1, 2, question(1, 0));
    cluster.hear(1, 2, matched(1, round + 1, 1));
    assert_eq!(replies(&cluster.sent()).len(), 1);
}

/// B 99
#[test]
fn a_read_index_that_no_log_has_is_reported() {
    let mut cluster = leader_of(3);
    let read = cluster.read(2);
    let id = questions(&mut cluster)[0].1.id;
    cluster.hear(2, 1, reply(1, id, Some(u64::MAX)));
    let said = cluster.said(2);
    assert!(said.iter().any(|effect| matches!(effect, Effect::Violation { .. })), "{said:?}");
    cluster.hear(2, 1, reply(1, id, Some(1)));
    assert!(cluster.is_ready(2, read));
}

/// B 51: the reader's own leader was deposed before the read arrived.
#[test]
fn a_follower_of_a_deposed_leader_serves_no_stale_read() {
    let mut cluster = leader_of(5);
    for (one, other) in [(1, 3), (1, 4), (1, 5), (2, 3), (2, 4), (2, 5)] {
        cluster.cut(one, other);
        cluster.cut(other, one);
    }
    cluster.elect(3);
    cluster.propose(3, "x").unwrap();
    cluster.settle();
    assert_eq!((cluster.leaders(), cluster.commit(3)), (vec![1, 3], 3));
    let read = cluster.read(2);
    cluster.settle();
    assert!(!cluster.is_ready(2, read));
    cluster.heal();
    cluster.heartbeat(3);
    cluster.settle();
    cluster.heartbeat(3);
    cluster.settle();
    assert!(cluster.is_ready(2, read) && cluster.applied(2) == 3);
}

/// An early or doubled timeout does nothing, and the deadline is always ahead.
#[test]
fn a_server_with_waiting_reads_is_never_due_at_once_again() {
    let mut cluster = leader_of(3);
    cluster.cut(2, 1);
    cluster.read(2);
    let mut last = Time(0);
    for _ in 0..50 {
        cluster.timeout(2);
        assert!(cluster.deadline(2).is_none_or(|at| at > cluster.now));
        assert!(cluster.now > last);
        last = cluster.now;
        cluster.sent();
    }
}
