//! §6: what holds while a configuration is new, half done, rolled back or found after a restart.

use std::sync::Arc;

use actix_raft_core::effect::Effect;
use actix_raft_core::entry::{Entry, EntryPayload};
use actix_raft_core::event::Event;
use actix_raft_core::membership::Membership;
use actix_raft_core::message::{MessageBody, VoteKind};
use actix_raft_core::status::RoleName;
use actix_raft_core::types::{Index, LogPosition, NodeId, Term};

use crate::support::cluster::Cluster;
use crate::support::disk::Image;
use crate::support::words::*;

/// Servers 1 to 5 on the way from 1, 2, 3 to 3, 4, 5: all have the joint configuration, and nobody
/// knows that it is committed.
fn half_way() -> Cluster {
    half_way_with(true)
}

fn half_way_with(pre_vote: bool) -> Cluster {
    let image = Image::of(&voters(1..=3), 1, &[1]).then(1, &joint(1..=3, 3..=5));
    Cluster::from_images(vec![image; 5], |config| config.pre_vote = pre_vote)
}

/// Server 3 leads it in term 2, and nobody else has heard more than that.
fn led_half_way() -> Cluster {
    let mut cluster = half_way();
    cluster.wait(2 * T);
    cluster.timeout(3);
    while cluster.role(3) != RoleName::Leader {
        assert!(cluster.deliver_one());
    }
    cluster.sent();
    cluster
}

/// An AppendEntries request with one configuration.
fn append_members(term: u64, prev: LogPosition, members: &Membership, commit: u64) -> MessageBody {
    let entry = Entry {
        term: Term(term),
        index: prev.index.next(),
        payload: EntryPayload::ConfigChange(Arc::new(members.clone())),
    };
    append_entries(term, prev, Arc::from([entry]), commit, 1)
}

/// §6 "agreement (for elections and entry commitment) requires separate majorities from both the
/// old and new configurations". B 61, CCF 3948
#[test]
fn while_joint_a_leader_is_elected_by_both_majorities() {
    for (others, elected) in [
        (&[4, 5][..], false),
        (&[1, 2], false),
        (&[1, 4], true),
        (&[4, 5, 2], true),
        (&[4], false),
        (&[1], false),
    ] {
        for pre_vote in [false, true] {
            let mut cluster = half_way_with(pre_vote);
            let silent = (1..=5).filter(|id| *id != 3 && !others.contains(id));
            silent.for_each(|id| cluster.isolate(id));
            cluster.wait(2 * T);
            cluster.timeout(3);
            cluster.settle();
            assert_eq!(cluster.role(3) == RoleName::Leader, elected, "{others:?} {pre_vote}");
        }
    }
}

/// B 61
#[test]
fn while_joint_an_entry_is_committed_by_both_majorities() {
    for (others, commits) in
        [(&[4, 5][..], false), (&[1, 2], false), (&[2, 5], true), (&[1, 2, 4], true)]
    {
        let mut cluster = led_half_way();
        let last = cluster.status(3).last_log.index.0;
        for other in others {
            cluster.hear(3, *other, matched(2, 0, last));
        }
        assert_eq!(cluster.commit(3) == last, commits, "{others:?}");
    }
}

/// B 23, 61
#[test]
fn while_joint_a_leader_that_hears_but_one_of_both_majorities_steps_down() {
    for (others, stays) in [(&[4, 5][..], false), (&[1, 2], false), (&[1, 5], true)] {
        let mut cluster = led_half_way();
        let silent = (1..=5).filter(|id| *id != 3 && !others.contains(id));
        silent.for_each(|id| cluster.isolate(id));
        cluster.run(3 * T);
        assert_eq!(cluster.role(3) == RoleName::Leader, stays, "{others:?}");
    }
}

/// B 51, 61
#[test]
fn while_joint_a_read_is_confirmed_by_both_majorities() {
    for (others, confirmed) in [(&[4, 5][..], false), (&[1, 2], false), (&[1, 5], true)] {
        let image = Image::of(&members(1..=3, 4..=5), 1, &[1]);
        let mut cluster = Cluster::from_images(vec![image; 5], |_| {});
        cluster.elect(3);
        let committed = cluster.commit(3);
        cluster.change(3, &[promote(4), promote(5), remove(1), remove(2)]);
        assert_eq!(cluster.membership(3).1, joint(1..=3, 3..=5));
        cluster.sent();
        let read = cluster.read(3);
        let request = append_of(&cluster.sent_to(1)[0]).cloned().unwrap();
        for other in others {
            // They have heard the leader, and are slow to store what it says.
            cluster.hear(3, *other, matched(2, request.round, committed));
        }
        assert_eq!(cluster.is_ready(3, read), confirmed, "{others:?}");
        assert_eq!(cluster.commit(3), committed);
    }
}

/// A cluster never stays joint, whoever leads. B 64
#[test]
fn a_new_leader_leaves_a_joint_configuration_that_it_finds() {
    for leader in 1..=5 {
        let mut cluster = half_way();
        cluster.wait(2 * T);
        cluster.timeout(leader);
        cluster.run(20 * T);
        let leaders = cluster.leaders();
        assert_eq!(leaders.len(), 1);
        for id in 3..=5 {
            assert_eq!(cluster.membership(id).1, voters(3..=5), "elected: {leader}");
        }
        assert!((3..=5).contains(&leaders[0]), "elected: {leader}, leads: {leaders:?}");
    }
}

/// B 64: likewise when the new voters were still catching up.
#[test]
fn a_new_leader_goes_on_with_new_voters_that_catch_up() {
    let image = Image::of(&voters(1..=3), 1, &[1]).then(1, &catching_up(1..=3, [1, 2, 4]));
    let mut cluster = Cluster::from_images(vec![image.clone(), image.clone(), image], |_| {});
    cluster.add_pristine();
    cluster.elect(2);
    cluster.run(5 * T);
    for id in [1, 2, 4] {
        assert_eq!(cluster.membership(id).1, voters([1, 2, 4]));
    }
    assert_eq!(cluster.log(4), cluster.log(2));
}

/// raft-dev 2015: what a new leader finds in its log may not be committed. B 60, 64
#[test]
fn a_new_leader_leaves_a_joint_configuration_only_when_it_is_committed() {
    let mut cluster = led_half_way();
    let joint = cluster.membership(3);
    for other in [4, 5] {
        cluster.hear(3, other, matched(2, 0, 3));
        // Of an earlier term, and stored everywhere: not committed by counting (§5.4.2).
        cluster.hear(3, other - 3, matched(2, 0, 2));
    }
    assert_eq!((cluster.membership(3), cluster.commit(3)), (joint.clone(), 0));
    cluster.hear(3, 1, matched(2, 0, 3));
    assert_eq!(cluster.membership(3), (4, voters(3..=5)));
}

/// §6 "a server always uses the latest configuration in its log, regardless of whether the entry is
/// committed". B 62
#[test]
fn a_configuration_holds_from_the_moment_it_is_appended() {
    let mut cluster = Cluster::new(4);
    cluster.elect(1);
    cluster.isolate(3);
    cluster.isolate(4);
    cluster.change(1, &[remove(4)]);
    assert_eq!(cluster.membership(1), (2, joint(1..=4, 1..=3)));
    cluster.settle();
    assert_eq!(cluster.membership(2), (2, joint(1..=4, 1..=3)));
    assert_eq!((cluster.commit(1), cluster.commit(2)), (1, 1), "two of four commit nothing");
}

/// B 62, canonical baa8f52
#[test]
fn a_configuration_is_rolled_back_with_its_entry() {
    for restart in [false, true] {
        let mut cluster = Cluster::from_images(vec![Image::of(&voters(1..=3), 1, &[1]); 3], |_| {});
        cluster.hear(1, 2, append(1, at(1, 1), &[], 1));
        let before = cluster.membership(1);
        cluster.hear(1, 2, append_members(1, at(1, 1), &joint(1..=3, [2]), 1));
        cluster.hear(1, 2, append_members(1, at(2, 1), &voters([2]), 1));
        assert_eq!(cluster.membership(1), (3, voters([2])));
        assert_eq!(cluster.role(1), RoleName::NonVoter);
        // The next leader never heard of it.
        cluster.hear(1, 3, append(2, at(1, 1), &[2], 1));
        if restart {
            cluster.crash(1);
            cluster.restart(1);
        }
        assert_eq!(cluster.membership(1), before);
        assert_eq!(cluster.role(1), RoleName::Follower);
        assert!(cluster.deadline(1).is_some(), "it may stand again");
        cluster.sent();
        cluster.wait(2 * T);
        cluster.timeout(1);
        let asked = cluster.sent().into_iter().filter(|(_, b)| vote_request_of(b).is_some());
        assert_eq!(asked.map(|(to, _)| to).collect::<Vec<_>>(), [2, 3]);
    }
}

/// B 63
#[test]
fn the_configuration_in_force_is_the_same_after_a_restart() {
    let first = Image::of(&voters(1..=3), 1, &[1]);
    let steps =
        [catching_up(1..=3, [1, 4]), joint(1..=3, [1, 4]), members([1, 4], [2]), voters([1, 4])];
    for count in 1..=steps.len() {
        let image = steps[..count].iter().fold(first.clone(), |image, step| image.then(1, step));
        let mut cluster = Cluster::from_images(vec![image], |_| {});
        let before = cluster.membership(1);
        assert_eq!(before, (count as u64 + 1, steps[count - 1].clone()));
        cluster.crash(1);
        cluster.restart(1);
        assert_eq!(cluster.membership(1), before);
    }
}

/// B 63: only what is on disk.
#[test]
fn a_configuration_that_was_lost_in_a_crash_is_not_in_force() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.server(1).prompt.saves = false;
    cluster.change(1, &[remove(3)]);
    assert_eq!(cluster.membership(1), (2, joint(1..=3, 1..=2)));
    cluster.crash(1);
    cluster.restart(1);
    assert_eq!(cluster.membership(1), (1, voters(1..=3)));
}

/// B 14: its own log may lack the configuration that made it a voter.
#[test]
fn a_server_votes_whatever_its_own_configuration_says_of_it() {
    let non_voter = Image::of(&voters(1..=3), 1, &[1]).then(1, &members(1..=3, [4]));
    let stranger = Image::of(&voters(1..=3), 1, &[1]);
    for image in [non_voter, stranger, Image::default()] {
        let old = Image::of(&voters(1..=3), 1, &[1]);
        let mut cluster = Cluster::from_images(vec![old.clone(), old.clone(), old, image], |_| {});
        for kind in [VoteKind::PreVote, VoteKind::Vote] {
            cluster.hear(4, 1, ask(kind, 2, at(9, 1)));
            assert!(cluster.sent().iter().all(|(to, body)| *to == 1 && is_yes(body)));
        }
        assert_eq!(cluster.status(4).voted_for, Some(NodeId(1)));
        assert_eq!(cluster.deadline(4), None, "it stands for nothing itself");
    }
}

/// B 13, 14: to be a voter is to stand.
#[test]
fn a_non_voter_that_is_made_a_voter_stands_when_it_hears_no_leader() {
    let image = Image::of(&voters(1..=3), 1, &[1]).then(1, &members(1..=3, [4]));
    let mut cluster = Cluster::from_images(vec![image; 4], |_| {});
    assert_eq!(cluster.deadline(4), None);
    cluster.hear(4, 1, append_members(2, at(2, 1), &joint(1..=3, 1..=4), 2));
    assert!(cluster.deadline(4).is_some());
    cluster.sent();
    cluster.timeout(4);
    assert_eq!(cluster.role(4), RoleName::PreCandidate);
    let asked: Vec<u64> = cluster.sent().into_iter().map(|(to, _)| to).collect();
    assert_eq!(asked, [1, 2, 3]);
}

/// diss. §4.2.2, figure 4.6: "a server that is not part of its own latest configuration should still
/// start new elections, as it might still be needed until the C_new entry is committed". B 64
#[test]
fn a_server_whose_removal_may_not_be_committed_still_stands() {
    let half = Image::of(&voters(1..=3), 1, &[1]).then(1, &joint(1..=3, 4..=6));
    let ahead = half.clone().then(1, &voters(4..=6));
    // The leader, 1, is gone; 2 alone has its last entry. 3 can't be elected by the old majority,
    // since 2 won't vote for it, nor can 4, 5 and 6.
    let images = vec![ahead.clone(), ahead, half.clone(), half.clone(), half.clone(), half];
    let mut cluster = Cluster::from_images(images, |_| {});
    cluster.crash(1);
    cluster.isolate(1);
    cluster.run(20 * T);
    let leaders = cluster.leaders();
    assert!(leaders.len() == 1 && leaders[0] >= 4, "{leaders:?}");
    for id in 4..=6 {
        assert_eq!(cluster.membership(id).1, voters(4..=6));
        assert_eq!(cluster.commit(id), cluster.status(id).last_log.index.0);
    }
    assert_eq!((cluster.role(2), cluster.deadline(2)), (RoleName::NonVoter, None));
}

/// And it does not count itself.
#[test]
fn a_candidate_without_a_vote_of_its_own_needs_a_majority_of_the_others() {
    let image =
        Image::of(&voters(1..=3), 1, &[1]).then(1, &joint(1..=3, 2..=3)).then(1, &voters(2..=3));
    let mut cluster = Cluster::from_images(vec![image; 3], |config| config.pre_vote = false);
    cluster.timeout(1);
    let requests = cluster.sent();
    let request = vote_request_of(&requests[0].1).unwrap();
    cluster.hear(1, 2, answer(&request, true));
    assert_eq!(cluster.role(1), RoleName::Candidate, "one of two, and itself");
    cluster.hear(1, 3, answer(&request, true));
    assert_eq!(cluster.role(1), RoleName::Leader);
    // Nor does it count itself when it commits.
    let last = cluster.status(1).last_log.index.0;
    cluster.hear(1, 2, matched(request.term.0, 0, last));
    assert_eq!(cluster.commit(1), 0);
    cluster.hear(1, 3, matched(request.term.0, 0, last));
    assert_eq!(cluster.commit(1), last);
    assert!(cluster.said(1).contains(&Effect::Committed { index: Index(last) }));
    assert_eq!(cluster.role(1), RoleName::NonVoter, "and then its work is done");
}

/// B 9: not even as many of them as there are voters.
#[test]
fn votes_of_servers_that_have_none_in_the_configuration_do_not_count() {
    let image = Image::of(&voters(1..=3), 1, &[1]).then(1, &members(1..=3, 4..=6));
    let mut cluster = Cluster::from_images(vec![image; 6], |config| config.pre_vote = false);
    cluster.timeout(1);
    let request = vote_request_of(&cluster.sent()[0].1).unwrap();
    for id in 4..=9 {
        cluster.hear(1, id, answer(&request, true));
    }
    assert_eq!(cluster.role(1), RoleName::Candidate);
    cluster.step(1, vec![Event::Timeout]);
    cluster.hear(1, 3, answer(&request, true));
    assert_eq!(cluster.role(1), RoleName::Leader);
}
