//! A server that lost its disk and comes back under its old id (B 70, 94): it may have forgotten what
//! it promised, so it has no vote and does not count until a leader vouches for its new disk. Why that
//! is enough is told in `trust.rs`. Not in the paper, whose servers never forget (Figure 2).
//!
//! Server `n` is on disk `10 n` at first.

use actix_raft_core::admin::ChangeError;
use actix_raft_core::effect::Effect;
use actix_raft_core::message::{AppendEntriesRequest, MessageBody, VoteRefusal, VoteRequest};
use actix_raft_core::status::{NotStanding, RoleName};
use actix_raft_core::types::{DiskId, Index, NodeId};

use crate::support::cluster::Cluster;
use crate::support::disk::Image;
use crate::support::words::*;

fn pristine(count: u64) -> Cluster {
    Cluster::from_images((1..=count).map(|id| Image::empty(10 * id)).collect(), |_| {})
}

/// Whether the server's disk says that it may vote.
fn is_trusted(cluster: &mut Cluster, id: u64) -> bool {
    cluster.server(id).disk.durable.hard_state.trusted
}

fn refusal(cluster: &mut Cluster, at: u64, from: u64, request: MessageBody) -> Option<VoteRefusal> {
    cluster.sent();
    cluster.hear(at, from, request);
    let answers = cluster.sent();
    answers.iter().find_map(|(_, body)| vote_response_of(body)).expect("it answers").refusal
}

fn named_disks(messages: &[(u64, MessageBody)], to: u64) -> Vec<DiskId> {
    let to_it = messages.iter().filter(|(receiver, _)| *receiver == to);
    to_it.filter_map(|(_, body)| append_of(body)).map(|request| request.disk).collect()
}

/// The leader's heartbeat and all that follows from it, a few times.
fn beat(cluster: &mut Cluster, leader: u64, times: usize) {
    for _ in 0..times {
        cluster.heartbeat(leader);
        cluster.settle();
    }
}

#[test]
fn it_votes_for_nobody_and_says_why() {
    for kind in [ask_vote as fn(u64, _) -> MessageBody, ask_pre_vote] {
        let mut cluster = Cluster::on_disks(3);
        cluster.wipe(3, 31);
        let asked = refusal(&mut cluster, 3, 1, kind(9, at(5, 5)));
        assert_eq!(asked, Some(VoteRefusal::Untrusted));
        assert_eq!(cluster.status(3).voted_for, None);
    }
}

/// Its own log is empty, so it may ask (as in a new cluster), and is refused by all who have one.
#[test]
fn it_is_not_elected() {
    for pre_vote in [true, false] {
        let mut cluster = Cluster::on_disks_with(3, |config| config.pre_vote = pre_vote);
        cluster.wipe(3, 31);
        cluster.isolate(1);
        cluster.crash(1);
        // Server 2 is asked, and asks.
        cluster.run(20 * T);
        assert_eq!(cluster.leaders(), []);
        assert!(!is_trusted(&mut cluster, 3));
    }
}

#[test]
fn with_entries_in_its_log_it_does_not_even_stand() {
    let mut cluster = Cluster::on_disks(3);
    cluster.elect(1);
    cluster.isolate(2);
    cluster.wipe(3, 31);
    beat(&mut cluster, 1, 3);
    assert!(!cluster.log(3).is_empty() && !is_trusted(&mut cluster, 3));
    let term = cluster.term(3);
    cluster.isolate(3);
    cluster.run(10 * T);
    assert_eq!((cluster.role(3), cluster.term(3)), (RoleName::Follower, term));
    assert_eq!(cluster.server(3).raft().explain().not_standing, Some(NotStanding::Untrusted));
}

#[test]
fn it_becomes_trusted_when_it_has_caught_up_with_a_leader_that_knows_its_disk() {
    let mut cluster = Cluster::on_disks(3);
    cluster.elect(1);
    cluster.propose(1, "x").unwrap();
    cluster.settle();
    cluster.wipe(3, 31);
    assert!(!cluster.status(3).trusted);
    beat(&mut cluster, 1, 6);
    assert!(cluster.status(3).trusted && is_trusted(&mut cluster, 3));
    assert_eq!(cluster.log(3), cluster.log(1));
    // With the same save: it can't vote for another in this term, whatever it did on the old disk.
    let saved = cluster.server(3).disk.durable.hard_state;
    assert_eq!((saved.current_term.0, saved.voted_for), (2, Some(NodeId(1))));
    cluster.crash(1);
    cluster.run(10 * T);
    let leaders = cluster.leaders();
    assert!(leaders == [2] || leaders == [3], "it votes again: {leaders:?}");
}

#[test]
fn it_is_trusted_for_as_long_as_it_has_that_disk() {
    let mut cluster = Cluster::on_disks(3);
    cluster.elect(1);
    cluster.wipe(3, 31);
    beat(&mut cluster, 1, 6);
    for id in 1..=3 {
        cluster.crash(id);
    }
    for id in 1..=3 {
        cluster.restart(id);
        assert!(cluster.status(id).trusted);
    }
    cluster.run(10 * T);
    assert_eq!(cluster.leaders().len(), 1);
    let leader = cluster.leaders()[0];
    cluster.wipe(3, 32);
    assert!(!cluster.status(3).trusted, "and no longer");
    cluster.run(20 * T);
    assert!(cluster.status(3).trusted, "leader was {leader}");
}

#[test]
fn until_then_its_answers_commit_nothing_and_confirm_no_read() {
    let mut cluster = Cluster::on_disks(3);
    cluster.elect(1);
    cluster.cut(1, 2);
    cluster.cut(2, 1);
    cluster.wipe(3, 31);
    let before = cluster.commit(1);
    cluster.propose(1, "x").unwrap();
    let read = cluster.read(1);
    beat(&mut cluster, 1, 4);
    assert_eq!(cluster.log(3), cluster.log(1), "it stores what the leader sends");
    assert!(!is_trusted(&mut cluster, 3), "nobody else can tell what it had promised");
    assert_eq!((cluster.commit(1), cluster.is_ready(1, read)), (before, false));
    assert!(cluster.server(1).raft().peers().iter().any(|p| p.id == NodeId(3) && !p.counts));

    cluster.heal();
    beat(&mut cluster, 1, 4);
    assert!(is_trusted(&mut cluster, 3) && cluster.is_ready(1, read));
    assert!(cluster.server(1).raft().peers().iter().all(|p| p.counts));
}

/// The vote that it gave on the old disk arrives late, and decides.
#[test]
fn a_vote_from_the_lost_disk_and_an_answer_from_the_new_one_never_both_decide() {
    let mut cluster = Cluster::on_disks_with(3, |config| config.check_quorum = false);
    cluster.elect(1);
    cluster.cut(1, 2);
    cluster.cut(2, 1);
    cluster.wait(2 * T);
    cluster.timeout(2);
    while cluster.status(3).voted_for != Some(NodeId(2)) {
        assert!(cluster.deliver_one());
    }
    assert_eq!(cluster.term(3), 3);
    let vote = cluster.take(|message| (message.from.0, message.to.0) == (3, 2));
    cluster.wipe(3, 31);

    // The leader of the earlier term is followed by the new disk.
    cluster.propose(1, "x").unwrap();
    beat(&mut cluster, 1, 5);
    let x = cluster.log(1).len() as u64;
    assert!(cluster.commit(1) < x, "committed by one server and one that forgot");
    vote.into_iter().for_each(|message| cluster.bring(message));
    assert_eq!((cluster.role(2), cluster.term(2)), (RoleName::Leader, 3));

    cluster.heal();
    cluster.run(20 * T);
    assert_eq!(cluster.leaders().len(), 1);
    assert!((1..=3).all(|id| is_trusted(&mut cluster, id)));
    assert_eq!(cluster.log(1), cluster.log(2));
    assert_eq!(cluster.log(1), cluster.log(3));
}

/// Messages may be late.
#[test]
fn what_the_lost_disk_acknowledged_counts_for_nothing_once_the_new_one_was_heard() {
    let mut cluster = Cluster::on_disks(3);
    cluster.elect(1);
    cluster.cut(1, 2);
    cluster.cut(2, 1);
    let before = cluster.commit(1);
    cluster.propose(1, "x").unwrap();
    cluster.deliver_round();
    let late = cluster.take(|message| message.from == NodeId(3));
    assert!(late.iter().any(|message| match_of(&message.body) == Some(before + 1)));
    cluster.wipe(3, 31);
    beat(&mut cluster, 1, 2);
    late.iter().cloned().for_each(|message| cluster.bring(message));
    assert_eq!(cluster.commit(1), before, "x was on a disk that is gone");
    // Also when the old answers come between those of the new disk.
    beat(&mut cluster, 1, 2);
    late.into_iter().for_each(|message| cluster.bring(message));
    assert_eq!(cluster.commit(1), before);
    cluster.heal();
    beat(&mut cluster, 1, 5);
    assert!(cluster.commit(1) > before && is_trusted(&mut cluster, 3));
}

/// A new leader can't know which of two disks was the first: the one that answers what it said last is
/// the one that is alive.
#[test]
fn a_leader_that_hears_the_new_disk_before_the_old_one_stays_with_the_new_one() {
    let mut cluster = Cluster::on_disks(3);
    cluster.elect(1);
    cluster.cut(1, 2);
    cluster.cut(2, 1);
    cluster.wait(HEARTBEAT);
    cluster.step(1, vec![actix_raft_core::event::Event::Timeout]);
    cluster.deliver_round();
    let late = cluster.take(|message| message.from == NodeId(3));
    cluster.wipe(3, 31);
    beat(&mut cluster, 1, 3);
    cluster.wipe(3, 32);
    beat(&mut cluster, 1, 3);
    let before = cluster.server(1).raft().peers();
    late.into_iter().for_each(|message| cluster.bring(message));
    assert_eq!(cluster.server(1).raft().peers(), before, "an answer from two disks ago");
    cluster.heal();
    beat(&mut cluster, 1, 5);
    assert!(is_trusted(&mut cluster, 3));
}

#[test]
fn a_leader_names_a_new_disk_only_when_it_vouches_for_it() {
    let mut cluster = Cluster::on_disks(3);
    cluster.elect(1);
    cluster.wipe(3, 31);
    cluster.cut(1, 2);
    beat(&mut cluster, 1, 3);
    cluster.heartbeat(1);
    let named = named_disks(&cluster.sent(), 3);
    assert!(named.iter().all(|disk| *disk == DiskId::UNKNOWN), "{named:?}");
    cluster.heal();
    beat(&mut cluster, 1, 3);
    cluster.heartbeat(1);
    assert!(named_disks(&cluster.sent(), 3).contains(&DiskId(31)));
}

/// The request was meant for the disk that it lost.
#[test]
fn a_request_that_names_another_disk_makes_nobody_trusted() {
    let mut cluster = Cluster::on_disks(3);
    cluster.wipe(3, 31);
    let named = |disk: u64| {
        let MessageBody::AppendEntriesRequest(request) = append(2, at(0, 0), &[1, 2], 2) else {
            unreachable!("it is one");
        };
        let disk = DiskId(disk);
        MessageBody::AppendEntriesRequest(AppendEntriesRequest { disk, ..request })
    };
    cluster.hear(3, 1, named(30));
    assert!(!is_trusted(&mut cluster, 3));
    cluster.hear(3, 1, named(31));
    assert!(is_trusted(&mut cluster, 3));
}

/// What the leader knows to be committed may be what it had acknowledged.
#[test]
fn it_is_not_trusted_before_it_has_all_that_is_committed() {
    let mut cluster = Cluster::on_disks(3);
    cluster.wipe(3, 31);
    let named = |prev, terms: &[u64], commit| {
        let MessageBody::AppendEntriesRequest(request) = append(2, prev, terms, commit) else {
            unreachable!("it is one");
        };
        let disk = DiskId(31);
        MessageBody::AppendEntriesRequest(AppendEntriesRequest { disk, ..request })
    };
    cluster.hear(3, 1, named(at(0, 0), &[], 0));
    assert!(!is_trusted(&mut cluster, 3), "an empty log is nobody's");
    cluster.wipe(3, 31);
    cluster.hear(3, 1, named(at(0, 0), &[1, 2], 3));
    assert!(!is_trusted(&mut cluster, 3));
    cluster.server(3).prompt.saves = false;
    cluster.sent();
    cluster.hear(3, 1, named(at(2, 2), &[2], 3));
    assert_eq!(cluster.sent(), [], "and says so when it is on disk");
    assert!(!is_trusted(&mut cluster, 3));
    let saved = cluster.server(3).saved().unwrap();
    cluster.step(3, vec![saved]);
    let answers = cluster.sent();
    let tells = |body: &MessageBody| matches!(body, MessageBody::AppendEntriesResponse(answer) if answer.trusted);
    assert!(is_trusted(&mut cluster, 3) && answers.iter().any(|(_, body)| tells(body)));
}

#[test]
fn a_vote_for_a_candidate_without_a_log_makes_nobody_trusted() {
    let mut cluster = Cluster::on_disks(3);
    cluster.wipe(3, 31);
    assert_eq!(refusal(&mut cluster, 3, 2, ask_vote(7, at(0, 0))), None, "a new cluster, maybe");
    assert!(!is_trusted(&mut cluster, 3));
    let asked = refusal(&mut cluster, 3, 2, ask_vote(8, at(1, 1)));
    assert_eq!(asked, Some(VoteRefusal::Untrusted));
    let mut cluster = Cluster::on_disks(3);
    let asked = refusal(&mut cluster, 2, 3, ask_vote(7, at(0, 0)));
    assert_eq!(asked, Some(VoteRefusal::LogBehind), "whoever remembers refuses");
}

#[test]
fn of_two_servers_the_one_that_has_its_disk_takes_the_other_back() {
    let mut cluster = Cluster::on_disks(2);
    cluster.elect(1);
    cluster.propose(1, "x").unwrap();
    cluster.settle();
    // Also if it does not lead at the time.
    cluster.crash(1);
    cluster.wipe(2, 21);
    cluster.restart(1);
    cluster.run(10 * T);
    assert_eq!((cluster.leaders(), is_trusted(&mut cluster, 2)), (vec![1], true));
    assert_eq!(cluster.log(1), cluster.log(2));
    let x = |server: &crate::support::server::Server| server.applied.len() >= 3;
    assert!(cluster.servers.iter().all(x));
    // And the other way round.
    cluster.wipe(1, 11);
    cluster.run(10 * T);
    assert_eq!((cluster.leaders(), is_trusted(&mut cluster, 1)), (vec![2], true));
}

#[test]
fn half_of_four_servers_may_lose_their_disks() {
    let mut cluster = Cluster::on_disks(4);
    cluster.elect(1);
    cluster.propose(1, "x").unwrap();
    cluster.settle();
    cluster.wipe(1, 11);
    cluster.wipe(2, 21);
    cluster.run(20 * T);
    assert_eq!(cluster.leaders().len(), 1);
    assert!((1..=4).all(|id| is_trusted(&mut cluster, id)));
    assert_eq!(cluster.log(1), cluster.log(3));
}

/// They can't be told from servers of a new cluster, so nothing is promised, but that is not elected
/// which has a log beside those that forgot it.
#[test]
fn with_a_quorum_of_lost_disks_a_server_that_remembers_is_not_outvoted_by_its_silence() {
    let mut cluster = Cluster::on_disks(3);
    cluster.wipe(2, 21);
    cluster.wipe(3, 31);
    cluster.run(20 * T);
    assert_eq!(cluster.leaders(), [], "who remembers does not lead those who may have known more");
    assert_eq!(cluster.log(1), [1]);
}

/// §6, diss. §4.2.1: a vote for one that may not use it would hold up the others.
#[test]
fn a_new_member_is_not_made_a_voter_before_it_is_trusted() {
    let mut cluster = Cluster::on_disks(1);
    let new = cluster.add_pristine();
    cluster.server(new).disk.durable.disk = DiskId(20);
    cluster.server(new).crash();
    cluster.restart(new);
    cluster.elect(1);
    let asked = cluster.change(1, &[add_voter(new)]);
    cluster.run(20 * T);
    assert!(matches!(cluster.changed(1, asked), Some(Ok(_))));
    assert!(is_trusted(&mut cluster, new));
    let (_, members) = cluster.membership(new);
    assert_eq!(members.voters().len(), 2);
}

#[test]
fn a_storage_that_does_not_tell_its_disks_apart_is_taken_at_its_word() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.propose(1, "x").unwrap();
    cluster.settle();
    cluster.wipe(3, 0);
    assert!(cluster.status(3).trusted);
    assert_eq!(refusal(&mut cluster, 3, 2, ask_vote(9, at(5, 5))), None);
}

// How a cluster is formed.

#[test]
fn who_forms_a_cluster_is_trusted_from_its_first_entry_on() {
    let mut cluster = pristine(3);
    (1..=3).for_each(|id| cluster.initialize(id, &voters(1..=3)));
    cluster.timeout(1);
    assert!(!is_trusted(&mut cluster, 1));
    while cluster.role(1) != RoleName::Leader {
        assert!(cluster.deliver_one());
    }
    let image = &cluster.server(1).disk.durable;
    assert_eq!((image.hard_state.trusted, image.entries.len()), (true, 1));
    let (_, members) = cluster.membership(1);
    assert!(members.founders().len() >= 2);
    assert_eq!(members.founders()[&NodeId(1)], DiskId(10));
    cluster.run(T);
    assert!((1..=3).all(|id| is_trusted(&mut cluster, id)));
}

#[test]
fn one_that_starts_late_becomes_trusted_when_the_leader_hears_it() {
    let mut cluster = pristine(3);
    cluster.crash(3);
    cluster.initialize(1, &voters(1..=3));
    cluster.run(4 * T);
    assert_eq!(cluster.leaders(), [1]);
    assert!(cluster.commit(1) >= 1, "two are enough");
    cluster.restart(3);
    assert!(!is_trusted(&mut cluster, 3));
    beat(&mut cluster, 1, 5);
    assert!(is_trusted(&mut cluster, 3));
}

/// Nothing is lost if nobody got the first entry: the others form the cluster.
#[test]
fn a_first_leader_that_is_lost_at_once_leaves_a_cluster_that_can_be_formed() {
    let mut cluster = pristine(3);
    (1..=3).for_each(|id| cluster.initialize(id, &voters(1..=3)));
    cluster.timeout(1);
    while cluster.role(1) != RoleName::Leader {
        assert!(cluster.deliver_one());
    }
    cluster.crash(1);
    cluster.network.clear();
    cluster.run(10 * T);
    assert_eq!(cluster.leaders().len(), 1);
    cluster.restart(1);
    cluster.run(10 * T);
    assert!((1..=3).all(|id| is_trusted(&mut cluster, id)));
    assert_eq!(cluster.log(1), cluster.log(2));
}

/// The others know of no cluster but from it, and it knows their disks from its first entry.
#[test]
fn a_first_leader_that_alone_was_told_of_the_cluster_is_elected_again() {
    let mut cluster = pristine(3);
    cluster.initialize(1, &voters(1..=3));
    cluster.timeout(1);
    while cluster.role(1) != RoleName::Leader {
        assert!(cluster.deliver_one());
    }
    cluster.crash(1);
    cluster.network.clear();
    cluster.restart(1);
    cluster.run(10 * T);
    assert_eq!(cluster.leaders(), [1]);
    assert!((1..=3).all(|id| is_trusted(&mut cluster, id)));
}

/// The disk is the one that the cluster was formed with, so nothing was forgotten.
#[test]
fn a_founder_votes_for_a_candidate_whose_log_names_its_disk() {
    let mut cluster = pristine(3);
    let named = |disk: u64, term: u64| {
        let MessageBody::VoteRequest(request) = ask_vote(term, at(1, 1)) else {
            unreachable!("it is one");
        };
        MessageBody::VoteRequest(VoteRequest { disk: DiskId(disk), ..request })
    };
    assert_eq!(refusal(&mut cluster, 3, 1, named(0, 2)), Some(VoteRefusal::Untrusted));
    assert_eq!(refusal(&mut cluster, 3, 1, named(31, 2)), Some(VoteRefusal::Untrusted));
    assert_eq!(refusal(&mut cluster, 3, 1, named(30, 2)), None);
    assert!(!is_trusted(&mut cluster, 3), "before it has an entry, it is needed as it is");
}

/// A cluster of one is formed by nobody else, and no second one beside it.
#[test]
fn a_single_server_trusts_itself() {
    let mut cluster = pristine(1);
    cluster.initialize(1, &voters([1]));
    cluster.timeout(1);
    assert_eq!((cluster.role(1), cluster.commit(1)), (RoleName::Leader, 1));
    assert!(is_trusted(&mut cluster, 1));
}

/// Otherwise a server that was given entries and is not trusted would be missing when the others
/// have to form the cluster anew.
#[test]
fn nobody_that_is_not_a_founder_gets_entries_before_the_cluster_is_formed() {
    let mut cluster = pristine(5);
    (1..=5).for_each(|id| cluster.initialize(id, &voters(1..=5)));
    (4..=5).for_each(|id| cluster.crash(id));
    cluster.timeout(1);
    while cluster.role(1) != RoleName::Leader {
        assert!(cluster.deliver_one());
    }
    (2..=3).for_each(|id| cluster.crash(id));
    (4..=5).for_each(|id| cluster.restart(id));
    cluster.network.clear();
    beat(&mut cluster, 1, 4);
    assert_eq!((cluster.log(4).len(), cluster.log(5).len()), (0, 0));
    (2..=3).for_each(|id| cluster.restart(id));
    beat(&mut cluster, 1, 6);
    assert!(cluster.log(4).len() > 1 && is_trusted(&mut cluster, 4));
}

/// B 70: the same id, another disk, and it had been ahead.
#[test]
fn a_leader_that_loses_its_disk_comes_back_as_a_follower_and_nothing_is_lost() {
    let mut cluster = Cluster::on_disks(3);
    cluster.elect(1);
    for command in ["a", "b", "c"] {
        cluster.propose(1, command).unwrap();
    }
    cluster.settle();
    let log = cluster.log(1);
    cluster.wipe(1, 11);
    cluster.run(20 * T);
    let leaders = cluster.leaders();
    assert!(leaders == [2] || leaders == [3], "{leaders:?}");
    assert_eq!(&cluster.log(1)[..log.len()], &log[..]);
    assert!(is_trusted(&mut cluster, 1) && cluster.commit(1) >= log.len() as u64);
    let said = cluster.said(1);
    assert!(!said.iter().any(|effect| matches!(effect, Effect::Violation { .. })), "{said:?}");
    assert!(cluster.status(1).last_durable >= Index(log.len() as u64));
}

/// A first configuration is the same as what a server was told, and the founders are only added.
#[test]
fn founders_are_kept_through_changes_and_are_no_change() {
    let mut cluster = pristine(3);
    (1..=3).for_each(|id| cluster.initialize(id, &voters(1..=3)));
    cluster.run(4 * T);
    let leader = cluster.leaders()[0];
    let founders = cluster.membership(leader).1.founders().clone();
    assert!(founders.len() >= 2, "{founders:?}");
    let asked = cluster.change(leader, &[add_voter(1)]);
    cluster.settle();
    assert_eq!(cluster.changed(leader, asked), Some(Err(ChangeError::Noop)));
    let gone = 1 + leader % 3;
    let asked = cluster.change(leader, &[remove(gone)]);
    cluster.run(T);
    assert!(matches!(cluster.changed(leader, asked), Some(Ok(_))));
    let left = voters((1..=3).filter(|id| *id != gone));
    assert_eq!(cluster.membership(leader).1, left.founded_on(founders));
}
