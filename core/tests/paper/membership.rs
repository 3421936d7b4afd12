//! §6: how the members of a cluster change, step by step.

use std::time::Duration;

use actix_raft_core::admin::{ChangeAnswer, ChangeError, Changed, Inoperable, MemberChange};
use actix_raft_core::effect::Effect;
use actix_raft_core::entry::EntryPayload;
use actix_raft_core::event::Event;
use actix_raft_core::membership::{Address, Membership, MembershipError};
use actix_raft_core::status::RoleName;
use actix_raft_core::types::{Index, NodeId};

use crate::support::cluster::Cluster;
use crate::support::words::*;

/// Every configuration in a server's log, in order, in a few words: the voters of C_old if it is
/// joint, the voters, the other members, and whether it is on the way.
fn configurations(cluster: &mut Cluster, id: u64) -> Vec<String> {
    let entries = &cluster.server(id).disk.live.entries;
    let described = entries.iter().filter_map(|entry| match &entry.payload {
        EntryPayload::ConfigChange(members) => Some(describe(members)),
        EntryPayload::Blank | EntryPayload::Normal(_) => None,
    });
    described.collect()
}

fn describe(members: &Membership) -> String {
    let list = |ids: Vec<u64>| ids.iter().map(u64::to_string).collect::<Vec<_>>().join(" ");
    let old = members.voters_outgoing();
    let old = old.map(|ids| format!("{} & ", list(ids.iter().map(|id| id.0).collect())));
    let voters = list(members.voters().iter().map(|id| id.0).collect());
    let others: Vec<u64> = members.non_voters().map(|id| id.0).collect();
    let others = if others.is_empty() { String::new() } else { format!(" + {}", list(others)) };
    let goal = if members.goal().is_some() { " ..." } else { "" };
    format!("{}{voters}{others}{goal}", old.unwrap_or_default())
}

fn last_index(cluster: &Cluster, id: u64) -> u64 {
    cluster.status(id).last_log.index.0
}

fn final_at(index: u64) -> Option<Result<Changed, ChangeError>> {
    Some(Ok(Changed::Final { index: Index(index) }))
}

/// Three voters led by 1, and a server 4 that knows nothing.
fn three_and_a_newcomer() -> Cluster {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    assert_eq!(cluster.add_pristine(), 4);
    cluster
}

/// §6 "the cluster first switches to ... joint consensus; once the joint consensus has been
/// committed, the system then transitions to the new configuration". B 60, 61
#[test]
fn a_new_voter_catches_up_then_there_are_two_majorities_and_then_the_new_one() {
    let mut cluster = three_and_a_newcomer();
    let asked = cluster.change(1, &[add_voter(4)]);
    cluster.run(2 * T);
    let steps = ["1 2 3", "1 2 3 + 4 ...", "1 2 3 & 1 2 3 4 ...", "1 2 3 4"];
    for id in 1..=4 {
        assert_eq!(configurations(&mut cluster, id), steps);
        assert_eq!(cluster.membership(id), (4, voters(1..=4)));
        assert_eq!(cluster.commit(id), 4);
    }
    assert_eq!(cluster.changed(1, asked), final_at(4));
    assert_eq!((cluster.role(4), cluster.leaders()), (RoleName::Follower, vec![1]));
}

/// §6: nobody has to catch up.
#[test]
fn a_voter_leaves_by_a_joint_configuration() {
    let mut cluster = Cluster::new(4);
    cluster.elect(1);
    let asked = cluster.change(1, &[remove(4)]);
    cluster.run(2 * T);
    assert_eq!(configurations(&mut cluster, 1), ["1 2 3 4", "1 2 3 4 & 1 2 3 ...", "1 2 3"]);
    assert_eq!(cluster.changed(1, asked), final_at(3));
    // It has learnt that it is out.
    assert_eq!((cluster.commit(4), cluster.role(4)), (3, RoleName::NonVoter));
    assert_eq!((cluster.deadline(4), cluster.membership(4)), (None, (3, voters(1..=3))));
}

/// One change, two servers.
#[test]
fn a_node_is_replaced_by_one_command() {
    let mut cluster = three_and_a_newcomer();
    cluster.crash(3);
    let asked = cluster.change(1, &[remove(3), add_voter(4)]);
    cluster.run(2 * T);
    let steps = ["1 2 3", "1 2 3 + 4 ...", "1 2 3 & 1 2 4 ...", "1 2 4"];
    assert_eq!(configurations(&mut cluster, 4), steps);
    assert_eq!(cluster.changed(1, asked), final_at(4));
}

/// Nothing that the old servers had is left.
#[test]
fn a_whole_cluster_is_replaced_at_once() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.propose(1, "x").unwrap();
    let new: Vec<u64> = (0..3).map(|_| cluster.add_pristine()).collect();
    let changes =
        [new.iter().map(|id| add_voter(*id)).collect(), vec![remove(1), remove(2), remove(3)]];
    let asked = cluster.change(1, &changes.concat());
    cluster.run(10 * T);
    assert_eq!(cluster.changed(1, asked), final_at(5));
    (1..=3).for_each(|id| cluster.crash(id));
    cluster.run(10 * T);
    let leaders = cluster.leaders();
    assert!(leaders.len() == 1 && new.contains(&leaders[0]));
    cluster.propose(leaders[0], "y").unwrap();
    cluster.settle();
    assert_eq!(cluster.commit(leaders[0]), last_index(&cluster, leaders[0]));
}

/// The voters stay the same: there is nothing to be joint about.
#[test]
fn non_voters_come_and_go_and_members_move_by_one_entry() {
    let mut cluster = three_and_a_newcomer();
    let away = Address::new("elsewhere", "");
    for (changes, expected) in [
        (vec![add_non_voter(4)], "1 2 3 + 4"),
        (vec![MemberChange::Move(NodeId(2), away.clone())], "1 2 3 + 4"),
        (vec![remove(4)], "1 2 3"),
    ] {
        let before = last_index(&cluster, 1);
        let asked = cluster.change(1, &changes);
        cluster.run(2 * T);
        assert_eq!(cluster.changed(1, asked), final_at(before + 1));
        assert_eq!(configurations(&mut cluster, 1).last().unwrap(), expected);
        assert_eq!(configurations(&mut cluster, 4).last().unwrap(), expected, "it is told");
    }
    assert_eq!(cluster.membership(3).1.address(NodeId(2)), Some(&away));
}

/// §6 "the leader replicates log entries to them, but they are not considered for majorities". B 67
#[test]
fn a_non_voter_receives_the_log_and_is_never_promoted_unasked() {
    let mut cluster = three_and_a_newcomer();
    cluster.change(1, &[add_non_voter(4)]);
    cluster.propose(1, "x").unwrap();
    cluster.run(20 * T);
    assert_eq!((cluster.applied(4), cluster.role(4)), (cluster.applied(1), RoleName::NonVoter));
    assert_eq!(cluster.deadline(4), None);
    // With 2 and 3 gone, it makes no majority.
    cluster.isolate(2);
    cluster.isolate(3);
    let before = cluster.commit(1);
    cluster.propose(1, "y").unwrap();
    cluster.settle();
    assert_eq!(cluster.commit(1), before);
}

/// B 67: a non-voter that is asked to be a voter becomes one, at once if it has all.
#[test]
fn a_non_voter_is_promoted_on_request() {
    let mut cluster = three_and_a_newcomer();
    cluster.change(1, &[add_non_voter(4)]);
    cluster.run(T);
    let asked = cluster.change(1, &[promote(4)]);
    cluster.run(T);
    let steps = ["1 2 3", "1 2 3 + 4", "1 2 3 & 1 2 3 4 ...", "1 2 3 4"];
    assert_eq!(configurations(&mut cluster, 1), steps);
    assert_eq!(cluster.changed(1, asked), final_at(4));
}

/// B 67 "voter→learner demotion staged through joint, never in one step".
#[test]
fn a_voter_is_demoted_by_a_joint_configuration_and_goes_on_to_receive_the_log() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    let asked = cluster.change(1, &[demote(3)]);
    cluster.run(T);
    assert_eq!(configurations(&mut cluster, 3), ["1 2 3", "1 2 3 & 1 2 ...", "1 2 + 3"]);
    assert_eq!(cluster.changed(1, asked), final_at(3));
    cluster.propose(1, "x").unwrap();
    cluster.run(T);
    assert_eq!((cluster.applied(3), cluster.role(3)), (4, RoleName::NonVoter));
}

/// The joint configuration decides: from it on, whoever leads goes on.
#[test]
fn a_change_is_answered_at_the_joint_configuration_if_the_asker_wants() {
    let mut cluster = Cluster::new(4);
    cluster.elect(1);
    let early = cluster.change_if(1, &[remove(4)], None, ChangeAnswer::Joint);
    let late = cluster.change(1, &[remove(4)]);
    cluster.deliver_round();
    assert_eq!(cluster.changed(1, early), None);
    cluster.deliver_round();
    let joint = Some(Ok(Changed::Joint { index: Index(2) }));
    assert_eq!((cluster.changed(1, early), cluster.changed(1, late)), (joint, None));
    cluster.settle();
    assert_eq!(cluster.changed(1, late), final_at(3));
    // Without a joint configuration the final one must do.
    let alone = cluster.change_if(1, &[add_non_voter(4)], None, ChangeAnswer::Joint);
    cluster.settle();
    assert_eq!(cluster.changed(1, alone), final_at(4));
}

/// B 60, 68
#[test]
fn only_the_leader_changes_the_members() {
    let mut cluster = three_and_a_newcomer();
    let refused =
        |leader: Option<u64>| Some(Err(ChangeError::NotLeader { leader: leader.map(NodeId) }));
    for (id, leader) in [(2, Some(1)), (4, None)] {
        let asked = cluster.change(id, &[add_voter(4)]);
        assert_eq!(cluster.changed(id, asked), refused(leader));
    }
}

/// B 68 "duplicate add is harmless, removing an unknown is harmless".
#[test]
fn what_changes_nothing_is_refused_as_such() {
    let mut cluster = three_and_a_newcomer();
    let before = last_index(&cluster, 1);
    for changes in [vec![], vec![add_voter(2), add_voter(2)], vec![remove(9), add_non_voter(3)]] {
        let asked = cluster.change(1, &changes);
        assert_eq!(cluster.changed(1, asked), Some(Err(ChangeError::Noop)));
    }
    assert_eq!(last_index(&cluster, 1), before);
}

/// B 68 "refused: empty voter set".
#[test]
fn a_cluster_that_nobody_votes_in_is_refused() {
    let mut cluster = Cluster::new(2);
    cluster.elect(1);
    let nobody = Inoperable::Membership(MembershipError::NoVoter);
    let asked = cluster.change(1, &[remove(1), demote(2)]);
    assert_eq!(cluster.changed(1, asked), Some(Err(ChangeError::InoperableConfig(nobody))));
}

/// With 3 silent, 1 and 3 would decide nothing any more.
#[test]
fn a_cluster_of_which_too_few_are_heard_is_refused() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.isolate(3);
    cluster.run(2 * T);
    let asked = cluster.change(1, &[remove(2)]);
    let too_few = Inoperable::TooFewHeard { voters: 2, heard: 1 };
    assert_eq!(cluster.changed(1, asked), Some(Err(ChangeError::InoperableConfig(too_few))));
    // B 69 "unreachable follower can be removed".
    let asked = cluster.change(1, &[remove(3)]);
    cluster.run(T);
    assert_eq!(cluster.changed(1, asked), final_at(3));
}

#[test]
fn strangers_and_contradictions_are_refused() {
    let mut cluster = three_and_a_newcomer();
    let asked = cluster.change(1, &[promote(4)]);
    assert_eq!(cluster.changed(1, asked), Some(Err(ChangeError::NotAMember(NodeId(4)))));
    let asked = cluster.change(1, &[remove(2), demote(2)]);
    assert_eq!(cluster.changed(1, asked), Some(Err(ChangeError::Contradiction(NodeId(2)))));
}

/// §6, B 60, 68 "one change at a time": at every step of the first one.
#[test]
fn another_change_is_refused_while_one_runs_and_the_same_one_joins_it() {
    let mut cluster = three_and_a_newcomer();
    let (other, refused) = ([demote(2)], Some(Err(ChangeError::AnotherChange)));
    let mut same = vec![cluster.change(1, &[add_voter(4)])];
    loop {
        let asked = cluster.change(1, &other);
        assert_eq!(cluster.changed(1, asked), refused, "{:?}", configurations(&mut cluster, 1));
        // What would change nothing in any case is still told so.
        let noop = cluster.change(1, &[add_voter(2)]);
        assert_eq!(cluster.changed(1, noop), Some(Err(ChangeError::Noop)));
        same.push(cluster.change(1, &[add_voter(4)]));
        if !cluster.deliver_one() {
            cluster.heartbeat(1);
            cluster.deliver_one();
        }
        if cluster.changed(1, same[0]).is_some() {
            break;
        }
    }
    assert_eq!(last_index(&cluster, 1), 4, "one change was made");
    let all = same.iter().map(|id| cluster.changed(1, *id)).collect::<Vec<_>>();
    assert!(all.iter().all(|answer| *answer == final_at(4)), "{all:?}");
    let next = cluster.change(1, &other);
    cluster.settle();
    assert_eq!(cluster.changed(1, next), final_at(6));
}

/// What the change under way will have made of the members is no reason for another answer.
#[test]
fn a_change_of_what_another_one_changes_is_another_change() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.change(1, &[remove(2), remove(3)]);
    for changes in
        [vec![remove(1)], vec![demote(3)], vec![add_voter(2)], vec![remove(2), add_voter(3)]]
    {
        let asked = cluster.change(1, &changes);
        assert_eq!(cluster.changed(1, asked), Some(Err(ChangeError::AnotherChange)), "{changes:?}");
    }
}

/// raft-dev 2015. B 60 "none before an entry of the own term is committed".
#[test]
fn a_change_waits_until_an_entry_of_the_leaders_term_is_committed() {
    let mut cluster = Cluster::new(4);
    cluster.wait(2 * T);
    cluster.timeout(1);
    while cluster.role(1) != RoleName::Leader {
        assert!(cluster.deliver_one());
    }
    let asked = cluster.change(1, &[remove(4)]);
    let too = cluster.change(1, &[remove(3)]);
    assert_eq!((last_index(&cluster, 1), cluster.commit(1)), (1, 0));
    assert_eq!((cluster.changed(1, asked), cluster.changed(1, too)), (None, None));
    cluster.settle();
    assert_eq!(cluster.changed(1, asked), final_at(3));
    assert_eq!(cluster.changed(1, too), Some(Err(ChangeError::AnotherChange)));
}

/// The optional precondition.
#[test]
fn a_change_meant_for_another_configuration_is_refused() {
    let mut cluster = Cluster::new(4);
    cluster.elect(1);
    let asked = cluster.change_if(1, &[remove(4)], Some(0), ChangeAnswer::Final);
    let other = ChangeError::OtherConfiguration { current: Index(1), expected: Index(0) };
    assert_eq!(cluster.changed(1, asked), Some(Err(other)));
    let asked = cluster.change_if(1, &[remove(4)], Some(1), ChangeAnswer::Final);
    // Asked again while it runs, with the same expectation: it is the same.
    let again = cluster.change_if(1, &[remove(4)], Some(1), ChangeAnswer::Final);
    let wrong = cluster.change_if(1, &[remove(4)], Some(0), ChangeAnswer::Final);
    cluster.settle();
    assert_eq!((cluster.changed(1, asked), cluster.changed(1, again)), (final_at(3), final_at(3)));
    assert!(matches!(
        cluster.changed(1, wrong),
        Some(Err(ChangeError::OtherConfiguration { current: Index(2), .. }))
    ));
}

/// Asked again after it was done: there is nothing left to do.
#[test]
fn a_change_that_was_lost_with_its_leader_can_be_asked_for_again() {
    let mut cluster = Cluster::new(4);
    cluster.elect(1);
    let asked = cluster.change(1, &[remove(4)]);
    let messages = cluster.take(|m| m.to.0 == 2);
    cluster.sent();
    cluster.isolate(1);
    messages.into_iter().for_each(|message| {
        cluster.step(2, vec![Event::Receive(message)]);
    });
    cluster.run(2 * T);
    assert_eq!(cluster.changed(1, asked), Some(Err(ChangeError::OutcomeUnknown)));
    cluster.run(8 * T);
    assert_eq!(cluster.leaders(), [2], "only its log is long enough");
    assert_eq!(cluster.membership(2).1, voters(1..=3), "it finished what it found");
    let again = cluster.change(2, &[remove(4)]);
    assert_eq!(cluster.changed(2, again), Some(Err(ChangeError::Noop)));
}

/// A leader that was asked, and could not begin.
#[test]
fn a_change_that_a_leader_could_not_begin_is_surely_not_done() {
    let mut cluster = Cluster::new(3);
    cluster.wait(2 * T);
    cluster.timeout(1);
    while cluster.role(1) != RoleName::Leader {
        assert!(cluster.deliver_one());
    }
    cluster.sent();
    let asked = cluster.change(1, &[remove(3)]);
    cluster.isolate(1);
    cluster.run(2 * T);
    assert_eq!(cluster.changed(1, asked), Some(Err(ChangeError::NotLeader { leader: None })));
    assert!(!configurations(&mut cluster, 1).iter().any(|c| c == "1 2"));
}

/// B 69 "removal shrinking the quorum commits what is now committed".
#[test]
fn what_a_smaller_majority_holds_is_committed_when_that_majority_is_in_force() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.change(1, &[remove(2), remove(3)]);
    let (joint, _) = cluster.membership(1);
    cluster.deliver_round();
    cluster.take(|message| message.from.0 == 3);
    // The answer that commits the joint configuration also commits the final one.
    assert!(cluster.deliver_one());
    assert_eq!(cluster.membership(1), (joint + 1, voters([1])));
    assert_eq!(cluster.commit(1), joint + 1);
    assert!(
        cluster.leaders() == [1]
            && cluster.said(1).contains(&Effect::Committed { index: Index(joint + 1) })
    );
}

/// B 70: it starts from nothing again, for it may have nothing.
#[test]
fn a_server_that_was_removed_can_come_back_with_an_empty_log() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    let asked = cluster.change(1, &[remove(3)]);
    cluster.settle();
    assert_eq!(cluster.changed(1, asked), final_at(3));
    cluster.crash(3);
    cluster.server(3).disk = crate::support::disk::Disk::new(Default::default());
    cluster.restart(3);
    let asked = cluster.change(1, &[add_voter(3)]);
    cluster.run(2 * T);
    assert_eq!(cluster.changed(1, asked), final_at(6));
    assert_eq!((cluster.log(3), cluster.commit(3)), (cluster.log(1), 6));
}

/// B 70: the same before the leader has seen it off.
#[test]
fn a_server_that_comes_back_while_it_is_still_told_of_its_removal_starts_from_nothing() {
    let mut cluster = Cluster::new(4);
    cluster.elect(1);
    cluster.isolate(4);
    cluster.change(1, &[remove(4)]);
    cluster.run(T);
    cluster.crash(4);
    cluster.server(4).disk = crate::support::disk::Disk::new(Default::default());
    cluster.restart(4);
    let asked = cluster.change(1, &[add_voter(4)]);
    cluster.heal();
    cluster.run(2 * T);
    assert_eq!(cluster.changed(1, asked), final_at(6));
    assert_eq!(cluster.log(4), cluster.log(1));
    // It is not forgotten when the farewell would have been over.
    cluster.run(20 * T);
    cluster.propose(1, "x").unwrap();
    cluster.run(T);
    assert_eq!(cluster.commit(4), cluster.commit(1));
}

/// diss. §4.2.1: in rounds, until one was short.
#[test]
fn a_new_voter_that_does_not_keep_up_has_no_vote() {
    let mut cluster = three_and_a_newcomer();
    cluster.change(1, &[add_voter(4)]);
    // Its disk takes longer than an election timeout for whatever it is given.
    cluster.server(4).prompt.saves = false;
    for _ in 0..20 {
        cluster.propose(1, "x").unwrap();
        cluster.run(T + Duration::from_millis(1));
        let saved = cluster.server(4).saved();
        cluster.propose(1, "y").unwrap();
        cluster.step(4, saved.into_iter().collect());
        cluster.settle();
        assert_eq!(describe(&cluster.membership(1).1), "1 2 3 + 4 ...");
    }
    cluster.server(4).prompt.saves = true;
    let saved = cluster.server(4).saved();
    cluster.step(4, saved.into_iter().collect());
    cluster.run(2 * T);
    assert_eq!(cluster.membership(4).1, voters(1..=4));
}

/// Nothing is heard of it: the members are what they were.
#[test]
fn a_change_is_given_up_if_a_new_voter_is_not_heard() {
    let mut cluster = three_and_a_newcomer();
    assert_eq!((cluster.add_pristine(), cluster.add_pristine()), (5, 6));
    cluster.crash(5);
    let before = cluster.membership(1).1;
    let asked = cluster.change(1, &[add_voter(4), add_voter(5), add_non_voter(6), remove(3)]);
    cluster.run(Duration::from_millis(9_900));
    assert_eq!(cluster.changed(1, asked), None);
    assert_eq!(describe(&cluster.membership(1).1), "1 2 3 + 4 5 6 ...");
    cluster.run(Duration::from_millis(200));
    assert_eq!(cluster.changed(1, asked), Some(Err(ChangeError::NotCaughtUp(NodeId(5)))));
    assert_eq!(cluster.membership(1).1, before);
    // And another change may be made.
    let asked = cluster.change(1, &[add_voter(4), remove(3)]);
    cluster.run(T);
    let end = last_index(&cluster, 1);
    assert_eq!((cluster.changed(1, asked), cluster.leaders()), (final_at(end), vec![1]));
}

/// The answer to the first request is not the answer to the second.
#[test]
fn a_change_can_be_taken_back_while_a_new_voter_catches_up() {
    let mut cluster = three_and_a_newcomer();
    cluster.crash(4);
    let before = cluster.membership(1).1;
    let asked = cluster.change(1, &[add_voter(4)]);
    cluster.run(T);
    let back = cluster.change(1, &[remove(4)]);
    cluster.run(T);
    assert_eq!(cluster.changed(1, asked), Some(Err(ChangeError::TakenBack)));
    assert_eq!(cluster.changed(1, back), final_at(3));
    assert_eq!(cluster.membership(2).1, before);
}

/// A new leader waits as long as the one before, and no longer.
#[test]
fn a_new_leader_gives_up_a_change_whose_new_voter_is_not_heard() {
    let mut cluster = three_and_a_newcomer();
    cluster.crash(4);
    cluster.change(1, &[add_voter(4)]);
    cluster.settle();
    cluster.crash(1);
    cluster.elect(2);
    cluster.run(Duration::from_secs(11));
    assert_eq!(cluster.membership(2).1, voters(1..=3));
    assert_eq!(cluster.commit(2), last_index(&cluster, 2));
}

/// B 71: a server of another cluster is no server of this one.
#[test]
fn a_server_that_belongs_to_another_cluster_does_not_join() {
    let mut cluster = three_and_a_newcomer();
    cluster.initialize(4, &voters([4]));
    cluster.timeout(4);
    assert_eq!(cluster.leaders(), [1, 4]);
    let asked = cluster.change(1, &[add_voter(4)]);
    cluster.run(Duration::from_secs(11));
    assert_eq!(cluster.changed(1, asked), Some(Err(ChangeError::NotCaughtUp(NodeId(4)))));
    assert_eq!((cluster.leaders(), cluster.membership(4).1), (vec![1, 4], voters([4])));
}
