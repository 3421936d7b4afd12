//! diss. §6.4.1: reads that rely on clocks.

use std::time::Duration;

use actix_raft_core::admin::{ElectionError, RequestId};
use actix_raft_core::config::{Config, ConfigError, Lease};
use actix_raft_core::effect::{Effect, ReadError};
use actix_raft_core::event::{Consistency, Event, ReadId};
use actix_raft_core::message::{MessageBody, ReadIndexRequest, VoteKind};
use actix_raft_core::status::RoleName;
use actix_raft_core::types::{NodeId, Term};

use crate::support::cluster::Cluster;
use crate::support::disk::Image;
use crate::support::words::*;

const LEASE: Lease = Lease { max_clock_drift_percent: 25 };
/// Four fifths of T: the clocks may differ by a quarter.
const LENGTH: Duration = Duration::from_millis(80);
const NANO: Duration = Duration::from_nanos(1);

fn with_leases(config: &mut Config) {
    config.lease = Some(LEASE);
}

/// A leader, 1, whose first entry is committed everywhere, and which has just heard from all.
fn leader_of(count: u64) -> Cluster {
    let mut cluster = Cluster::with(count, with_leases);
    cluster.elect(1);
    cluster.heartbeat(1);
    cluster.settle();
    cluster
}

fn lease_read(cluster: &mut Cluster, at: u64, id: u64) -> ReadId {
    let id = ReadId(1_000 + id);
    cluster.step(at, vec![Event::Read { id, consistency: Consistency::Lease }]);
    id
}

/// Whether the leader answers a read by itself, now.
fn has_lease(cluster: &mut Cluster, leader: u64) -> bool {
    // Without any message: the clone's are its own.
    let mut twin = cluster.server(leader).raft().clone();
    let id = ReadId(77);
    let effects = twin.step(cluster.now, [Event::Read { id, consistency: Consistency::Lease }]);
    effects.contains(&Effect::ReadReady { id })
}

#[test]
fn a_lease_is_shorter_than_an_election_timeout_by_the_clocks_drift() {
    assert_eq!(LEASE.length(T), LENGTH);
    assert_eq!(Lease { max_clock_drift_percent: 0 }.length(T), T);
}

/// diss. §6.4.1 "the leader will use [...] heartbeats [...] to maintain a lease", and answers reads
/// "without any communication".
#[test]
fn a_read_under_a_lease_needs_no_message() {
    let mut cluster = leader_of(3);
    let read = lease_read(&mut cluster, 1, 1);
    assert!(cluster.is_ready(1, read));
    assert_eq!(cluster.sent(), []);
}

/// diss. §6.4.1: from the moment at which the heartbeats were sent, by the clock's drift shorter
/// than followers' patience. B 26, 28
#[test]
fn a_lease_counts_from_when_the_round_was_sent_that_a_majority_answered() {
    let mut cluster = leader_of(3);
    cluster.wait(LENGTH);
    assert!(!has_lease(&mut cluster, 1));
    cluster.step(1, vec![Event::Timeout]);
    let round_sent = cluster.now;
    // It and its answers take half of an election timeout.
    cluster.wait(T / 4);
    cluster.deliver_round();
    cluster.wait(T / 4);
    cluster.deliver_round();
    assert!(has_lease(&mut cluster, 1));
    cluster.wait(LENGTH - T / 2 - NANO);
    assert_eq!(cluster.now.since(round_sent), LENGTH - NANO);
    assert!(has_lease(&mut cluster, 1), "to the last moment");
    cluster.wait(NANO);
    assert!(!has_lease(&mut cluster, 1), "and not longer");
    // It then asks, as for any other read.
    let read = lease_read(&mut cluster, 1, 1);
    assert!(!cluster.is_ready(1, read));
    cluster.settle();
    assert!(cluster.is_ready(1, read));
    assert!(has_lease(&mut cluster, 1), "rounds of reads renew it, too");
}

/// B 26: a majority, not any follower; and its latest round, not any answer.
#[test]
fn only_a_majoritys_answers_renew_a_lease() {
    let mut cluster = leader_of(5);
    cluster.wait(LENGTH - HEARTBEAT);
    cluster.heartbeat(1);
    let round = append_of(&cluster.sent()[0].1).unwrap().round;
    cluster.hear(1, 2, matched(1, round, 1));
    cluster.hear(1, 3, matched(1, round - 1, 1));
    cluster.hear(1, 9, matched(1, round, 1));
    assert!(!has_lease(&mut cluster, 1));
    cluster.hear(1, 3, matched(1, round, 1));
    assert!(has_lease(&mut cluster, 1));
}

/// B 50: what is committed a leader knows when an entry of its own term is.
#[test]
fn there_is_no_lease_before_an_entry_of_the_leaders_term_is_committed() {
    let log: (u64, &[u64]) = (2, &[1, 2]);
    let mut cluster = Cluster::of_logs_with(&[log; 3], with_leases);
    cluster.wait(2 * T);
    cluster.timeout(1);
    while cluster.leaders().is_empty() {
        assert!(cluster.deliver_one());
    }
    cluster.sent();
    cluster.heartbeat(1);
    cluster.sent();
    [2, 3].into_iter().for_each(|id| cluster.hear(1, id, matched(3, 1, 2)));
    assert!(!has_lease(&mut cluster, 1));
    let read = lease_read(&mut cluster, 1, 1);
    cluster.sent();
    cluster.hear(1, 2, matched(3, 1, 3));
    assert!(has_lease(&mut cluster, 1));
    assert!(!cluster.is_ready(1, read), "that one waits for the round now");
    cluster.settle();
    assert!(cluster.is_ready(1, read));
}

/// B 52
#[test]
fn a_read_under_a_lease_waits_until_what_is_committed_is_applied() {
    let mut cluster = leader_of(3);
    cluster.server(1).prompt.applies = false;
    cluster.propose(1, "x").unwrap();
    cluster.settle();
    let read = lease_read(&mut cluster, 1, 1);
    assert!(!cluster.is_ready(1, read));
    let applied = cluster.server(1).apply().unwrap();
    cluster.step(1, vec![applied]);
    assert!(cluster.is_ready(1, read));
}

/// A lease read does not wait behind reads that need a round.
#[test]
fn a_read_under_a_lease_overtakes_others() {
    let mut cluster = leader_of(3);
    let careful = cluster.read(1);
    let read = lease_read(&mut cluster, 1, 1);
    assert!(cluster.is_ready(1, read) && !cluster.is_ready(1, careful));
}

/// B 27
#[test]
fn lease_reads_are_refused_where_they_are_not_allowed() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    for at in 1..=2 {
        let id = lease_read(&mut cluster, at, at);
        let refused = Effect::ReadRefused { id, error: ReadError::LeaseDisabled };
        assert!(cluster.said(at).contains(&refused));
    }
    let unsafe_config = Config { lease: Some(LEASE), check_quorum: false, ..Config::default() };
    assert_eq!(unsafe_config.validate(), Err(ConfigError::LeaseWithoutCheckQuorum));
    let mut cluster = Cluster::with(3, |config| {
        config.lease = Some(LEASE);
        config.check_quorum = false;
    });
    cluster.elect(1);
    cluster.heartbeat(1);
    cluster.settle();
    lease_read(&mut cluster, 1, 1);
    let id = ReadId(1_001);
    let refused = Effect::ReadRefused { id, error: ReadError::LeaseDisabled };
    assert!(cluster.said(1).contains(&refused), "nobody keeps promises there");
}

/// B 28, 53: a process may sleep at any point, and clients come before its timers.
#[test]
fn a_leader_that_slept_serves_no_read_from_an_expired_lease() {
    let mut cluster = leader_of(3);
    cluster.isolate(1);
    cluster.elect(2);
    cluster.propose(2, "x").unwrap();
    cluster.settle();
    assert_eq!((cluster.leaders(), cluster.commit(2)), (vec![1, 2], 3));
    let read = lease_read(&mut cluster, 1, 1);
    assert!(!cluster.is_ready(1, read), "the first that it does when it wakes");
    cluster.run(3 * T);
    assert!(cluster.is_refused(1, read));
}

/// diss. §6.4.1, the assumption, put to the test at its edges: no other leader before the lease ends.
#[test]
fn no_other_server_is_elected_while_a_lease_holds() {
    for delay in [0, 10, 20, 40, 60, 79] {
        let mut cluster = leader_of(3);
        cluster.heartbeat(1);
        cluster.wait(Duration::from_millis(delay));
        cluster.settle();
        cluster.isolate(1);
        while cluster.leaders() == [1] {
            let due = [2, 3].into_iter().filter_map(|id| cluster.deadline(id));
            cluster.now = cluster.now.max(due.min().unwrap());
            [2, 3].into_iter().for_each(|id| cluster.step(id, vec![Event::Timeout]));
            cluster.settle();
        }
        assert!(!has_lease(&mut cluster, 1), "delay={delay}");
    }
}

/// B 28: an officer of the past has no lease.
#[test]
fn a_lease_ends_when_its_leader_steps_down() {
    let mut cluster = leader_of(3);
    cluster.server(1).prompt.applies = false;
    cluster.propose(1, "x").unwrap();
    cluster.settle();
    let read = lease_read(&mut cluster, 1, 1);
    cluster.hear(1, 2, append(5, at(9, 5), &[], 0));
    assert!(cluster.is_refused(1, read));
    assert!(!has_lease(&mut cluster, 1));
}

fn transfer(cluster: &mut Cluster, to: u64) {
    let (id, to) = (RequestId(7), Some(NodeId(to)));
    cluster.step(1, vec![Event::TransferLeadership { id, to }]);
}

/// diss. §6.4.1: a transfer "would need to expire the leader's lease". B 28, 59
#[test]
fn there_is_no_lease_while_leadership_is_handed_over() {
    let mut cluster = leader_of(3);
    cluster.server(2).prompt.saves = false;
    cluster.propose(1, "x").unwrap();
    cluster.settle();
    assert!(has_lease(&mut cluster, 1));
    transfer(&mut cluster, 2);
    assert!(!has_lease(&mut cluster, 1), "from the begin on");
    let read = lease_read(&mut cluster, 1, 1);
    assert!(!cluster.is_ready(1, read));
    cluster.settle();
    assert!(cluster.is_ready(1, read), "it asks a majority");
    // The target never caught up, so nobody was told to stand: the lease goes on.
    cluster.run(T);
    assert_eq!(cluster.status(1).transferring_to, None);
    assert!(has_lease(&mut cluster, 1));
}

/// B 28, 59: the message that makes the target stand can't be called back; it may arrive late.
#[test]
fn after_a_transfer_that_failed_there_is_no_lease_in_that_term() {
    let mut cluster = leader_of(3);
    transfer(&mut cluster, 2);
    let late = cluster.sent_to(2);
    cluster.cut(1, 2);
    cluster.run(T);
    assert_eq!((cluster.leaders(), cluster.status(1).transferring_to), (vec![1], None));
    cluster.heal();
    cluster.heartbeat(1);
    cluster.settle();
    cluster.isolate(1);
    late.into_iter().for_each(|message| cluster.hear(2, 1, message));
    cluster.settle();
    assert_eq!(cluster.leaders(), [1, 2], "others vote for it although they hear the leader");
    cluster.propose(2, "x").unwrap();
    cluster.settle();
    assert!(!has_lease(&mut cluster, 1));
    // In a later term it has leases again.
    cluster.heal();
    cluster.heartbeat(2);
    cluster.settle();
    cluster.elect(1);
    cluster.heartbeat(1);
    cluster.settle();
    assert!(has_lease(&mut cluster, 1));
}

/// §6: either majority could elect a leader. B 61
#[test]
fn while_joint_a_lease_needs_both_majorities() {
    let image = Image::of(&members(1..=3, 4..=5), 0, &[]);
    let mut cluster = Cluster::from_images(vec![image; 5], with_leases);
    cluster.elect(1);
    cluster.heartbeat(1);
    cluster.settle();
    cluster.change(1, &[promote(4), promote(5), demote(2), demote(3)]);
    while cluster.membership(1).1.voters_outgoing().is_none() {
        if !cluster.deliver_one() {
            cluster.heartbeat(1);
        }
    }
    cluster.sent();
    cluster.wait(LENGTH - HEARTBEAT);
    cluster.heartbeat(1);
    let round = cluster.sent().iter().filter_map(|(_, body)| Some(append_of(body)?.round)).max();
    let (round, matching) = (round.unwrap(), cluster.membership(1).0 - 1);
    assert!(!has_lease(&mut cluster, 1));
    [2, 3].into_iter().for_each(|id| cluster.hear(1, id, matched(1, round, matching)));
    assert!(!has_lease(&mut cluster, 1), "the old one");
    cluster.hear(1, 5, matched(1, round, matching));
    assert!(cluster.membership(1).1.voters_outgoing().is_some());
    assert!(has_lease(&mut cluster, 1), "both");
}

/// diss. §6.4.1: a server that restarts may have promised just before that it votes for nobody else.
/// B 29
#[test]
fn a_restarted_server_votes_for_nobody_for_an_election_timeout() {
    for kind in [VoteKind::PreVote, VoteKind::Vote] {
        let mut cluster = leader_of(3);
        cluster.crash(2);
        cluster.restart(2);
        cluster.sent();
        let before = cluster.status(2);
        for wait in [Duration::ZERO, T - NANO] {
            cluster.wait(wait);
            cluster.hear(2, 3, ask(kind, 2, at(9, 1)));
            assert!(!cluster.sent().iter().any(|(_, body)| is_yes(body)), "{kind:?}");
            assert_eq!(cluster.status(2), before);
        }
        assert!(has_lease(&mut cluster, 1) || cluster.now.0 > 0);
        cluster.wait(NANO);
        cluster.hear(2, 3, ask(kind, 2, at(9, 1)));
        assert!(cluster.sent().iter().any(|(_, body)| is_yes(body)), "{kind:?}");
    }
}

/// B 29: who never heard a leader has promised nothing.
#[test]
fn a_server_that_was_never_in_a_term_votes_at_once() {
    let mut cluster = Cluster::with(3, with_leases);
    cluster.hear(2, 1, ask_vote(1, at(0, 0)));
    assert!(cluster.sent().iter().any(|(_, body)| is_yes(body)));
}

/// Who hands over has ended its lease before.
#[test]
fn a_restarted_server_votes_for_who_is_handed_leadership() {
    let mut cluster = leader_of(3);
    cluster.crash(3);
    cluster.restart(3);
    cluster.hear(3, 2, ask(VoteKind::Transfer, 2, at(1, 1)));
    assert!(cluster.sent().iter().any(|(_, body)| is_yes(body)));
}

/// A server that waits with its vote does not wait with its own candidacy less.
#[test]
fn a_restarted_server_stands_no_sooner_than_it_votes() {
    let mut cluster = leader_of(3);
    cluster.crash(2);
    cluster.restart(2);
    assert!(cluster.deadline(2).unwrap() >= cluster.now + T);
    let id = RequestId(1);
    cluster.step(2, vec![Event::TriggerElection { id }]);
    let result = Err(ElectionError::LeaderHeard { leader: None });
    assert!(cluster.said(2).contains(&Effect::ElectionTriggered { id, result }));
    assert_eq!(cluster.role(2), RoleName::Follower);
    cluster.wait(T);
    cluster.step(2, vec![Event::TriggerElection { id }]);
    assert!(cluster.said(2).contains(&Effect::ElectionTriggered { id, result: Ok(()) }));
}

/// The term of a stuck candidate reaches the follower by another way than a request for its vote.
#[test]
fn a_promise_outlives_the_term_in_which_it_was_given() {
    let mut cluster = leader_of(3);
    // Server 2 led before, in the eyes of server 3, which answers late and in a later term.
    cluster.hear(2, 3, matched(9, 1, 1));
    assert_eq!((cluster.term(2), cluster.status(2).leader), (9, None));
    cluster.wait(LENGTH - NANO);
    assert!(has_lease(&mut cluster, 1), "the leader relies on it");
    cluster.hear(2, 3, ask_vote(10, at(9, 1)));
    cluster.hear(2, 3, ask_pre_vote(10, at(9, 1)));
    assert!(!cluster.sent().iter().any(|(_, body)| is_yes(body)));
    cluster.wait(T - LENGTH + NANO);
    cluster.hear(2, 3, ask_vote(10, at(9, 1)));
    assert!(cluster.sent().iter().any(|(_, body)| is_yes(body)));
}

/// A promise was given for an election timeout as it was then.
#[test]
fn a_promise_outlives_a_change_of_the_election_timeout() {
    let mut cluster = leader_of(3);
    let mut config = cluster.server(2).config.clone();
    config.election_timeout = T / 2;
    config.lease = None;
    cluster.step(2, vec![Event::Configure(config)]);
    assert!(cluster.deadline(2).unwrap() >= cluster.now + T, "nor does it stand sooner");
    cluster.wait(T - NANO);
    cluster.hear(2, 3, ask_vote(2, at(9, 1)));
    assert_eq!(cluster.sent(), []);
    cluster.wait(NANO);
    cluster.hear(2, 3, ask_vote(2, at(9, 1)));
    assert!(cluster.sent().iter().any(|(_, body)| is_yes(body)));
}

/// B 28: an operator's election would be one that a lease relies on not to happen.
#[test]
fn an_election_on_demand_waits_for_the_lease() {
    let mut cluster = leader_of(3);
    let id = RequestId(1);
    cluster.isolate(1);
    cluster.step(2, vec![Event::TriggerElection { id }]);
    let leader = Some(NodeId(1));
    let result = Err(ElectionError::LeaderHeard { leader });
    assert!(cluster.said(2).contains(&Effect::ElectionTriggered { id, result }));
    assert_eq!(cluster.role(2), RoleName::Follower);
}

/// A follower just asks the leader, which answers by itself.
#[test]
fn a_lease_read_at_a_follower_needs_one_message_and_its_answer() {
    let mut cluster = leader_of(3);
    cluster.isolate(3);
    let read = lease_read(&mut cluster, 2, 1);
    let asked = cluster.network.len();
    cluster.deliver_round();
    assert_eq!((asked, cluster.network.len()), (1, 1), "no round");
    cluster.settle();
    assert!(cluster.is_ready(2, read));
    // Without a lease the leader asks around.
    cluster.wait(LENGTH);
    let read = lease_read(&mut cluster, 2, 2);
    cluster.deliver_round();
    assert!(cluster.network.iter().all(|m| is_append(&m.body)));
    cluster.settle();
    assert!(cluster.is_ready(2, read));
}

/// A read that asked for more is not served by less.
#[test]
fn an_answer_by_lease_serves_no_read_that_asked_for_a_round() {
    let mut cluster = leader_of(3);
    let careful = cluster.read(2);
    let read = lease_read(&mut cluster, 2, 1);
    let kind = |m: &actix_raft_core::message::Message| match &m.body {
        MessageBody::ReadIndexRequest(ReadIndexRequest { consistency, .. }) => Some(*consistency),
        _ => None,
    };
    let asked: Vec<Consistency> = cluster.network.iter().filter_map(kind).collect();
    assert_eq!(asked, [Consistency::Linearizable, Consistency::Lease]);
    let careful_question = cluster.take(|m| kind(m) == Some(Consistency::Linearizable));
    cluster.settle();
    assert!(cluster.is_ready(2, read) && !cluster.is_ready(2, careful));
    careful_question.into_iter().for_each(|message| cluster.bring(message));
    cluster.settle();
    assert!(cluster.is_ready(2, careful));
}

/// The rounds that are remembered are few, and reads without end do not cost the lease.
#[test]
fn a_lease_lives_through_any_number_of_rounds() {
    let mut cluster = leader_of(3);
    for _ in 0..3_000 {
        cluster.wait(Duration::from_micros(100));
        cluster.read(1);
        cluster.settle();
        assert!(has_lease(&mut cluster, 1));
    }
    // And none of them was remembered with a later time than its own.
    cluster.isolate(1);
    cluster.wait(LENGTH);
    assert!(!has_lease(&mut cluster, 1));
}

/// A cluster of one is its own majority.
#[test]
fn a_single_voter_reads_at_any_time() {
    let mut cluster = leader_of(1);
    cluster.wait(10 * T);
    let read = lease_read(&mut cluster, 1, 1);
    assert!(cluster.is_ready(1, read));
    assert_eq!(cluster.status(1).current_term, Term(1));
}

/// An operator turns leases on and off.
#[test]
fn leases_can_be_switched_on_and_off() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    let configure = |cluster: &mut Cluster, lease| {
        for id in 1..=3 {
            let config = Config { lease, ..cluster.server(id).config.clone() };
            cluster.step(id, vec![Event::Configure(config)]);
        }
    };
    configure(&mut cluster, Some(LEASE));
    assert!(!has_lease(&mut cluster, 1));
    cluster.heartbeat(1);
    cluster.settle();
    assert!(has_lease(&mut cluster, 1));
    configure(&mut cluster, None);
    assert!(!has_lease(&mut cluster, 1));
    cluster.heartbeat(1);
    cluster.settle();
    configure(&mut cluster, Some(LEASE));
    assert!(!has_lease(&mut cluster, 1), "no promise was given for that round");
}
