//! Who stands for election and when: priorities, elections on demand, and numbers that are turned
//! while the server runs.

use std::time::Duration;

use actix_raft_core::admin::{ElectionError, RequestId};
use actix_raft_core::config::{Config, ConfigError, MAX_PRIORITY};
use actix_raft_core::effect::Effect;
use actix_raft_core::event::Event;
use actix_raft_core::message::VoteKind;
use actix_raft_core::status::RoleName;
use actix_raft_core::types::NodeId;

use crate::support::cluster::Cluster;
use crate::support::disk::Image;
use crate::support::words::*;

fn trigger(cluster: &mut Cluster, at: u64) -> Result<(), ElectionError> {
    let id = RequestId(5);
    cluster.said(at);
    cluster.step(at, vec![Event::TriggerElection { id }]);
    let answer = |effect| match effect {
        Effect::ElectionTriggered { id: answered, result } if answered == id => Some(result),
        _ => None,
    };
    cluster.said(at).into_iter().find_map(answer).expect("it is answered at once")
}

fn configure(cluster: &mut Cluster, at: u64, tweak: impl Fn(&mut Config)) {
    let mut config = cluster.server(at).config.clone();
    tweak(&mut config);
    cluster.step(at, vec![Event::Configure(config)]);
}

#[test]
fn a_server_of_lower_priority_waits_longer_by_half_an_election_timeout_a_step() {
    for priority in 1..=MAX_PRIORITY {
        let least = T + T / 2 * u32::from(MAX_PRIORITY - priority);
        for seed in 0..50 {
            let cluster = Cluster::with(3, |config| {
                config.election_priority = priority;
                config.seed = config.seed * 1_000 + seed;
            });
            let wait = cluster.deadline(1).unwrap().since(cluster.now);
            assert!(wait >= least && wait < least + T, "{priority}: {wait:?}");
        }
    }
    let config = Config { election_priority: MAX_PRIORITY + 1, ..Config::default() };
    assert_eq!(config.validate(), Err(ConfigError::Priority(MAX_PRIORITY + 1)));
}

#[test]
fn the_server_of_the_highest_priority_is_elected_if_it_can_be() {
    let priority =
        |config: &mut Config| config.election_priority = [10, 10, 8, 6][config.seed as usize];
    let mut cluster = Cluster::with(3, priority);
    cluster.run(5 * T);
    assert_eq!((cluster.leaders(), cluster.term(1)), (vec![1], 1));
    cluster.crash(1);
    cluster.run(5 * T);
    assert_eq!(cluster.leaders(), [2]);
}

#[test]
fn a_server_of_priority_zero_or_without_elections_never_stands_by_itself() {
    for switch in [
        |config: &mut Config| config.election_priority = 0,
        |config: &mut Config| {
            config.elections = false;
        },
    ] {
        let mut cluster = Cluster::with(3, |config| {
            if config.seed > 1 {
                switch(config);
            }
        });
        assert_eq!([2, 3].map(|id| cluster.deadline(id)), [None, None]);
        cluster.elect(1);
        cluster.heartbeat(1);
        cluster.settle();
        cluster.crash(1);
        cluster.run(20 * T);
        assert_eq!((cluster.leaders(), cluster.term(2)), (vec![], 1));
        // But it votes and follows.
        cluster.restart(1);
        cluster.run(5 * T);
        assert_eq!(cluster.leaders(), [1]);
        // And is handed leadership.
        let (id, to) = (RequestId(1), Some(NodeId(2)));
        cluster.step(1, vec![Event::TransferLeadership { id, to }]);
        cluster.settle();
        assert_eq!(cluster.leaders(), [2]);
        cluster.run(5 * T);
        assert_eq!(cluster.leaders(), [2]);
    }
}

/// One that was handed leadership and not elected does not go on.
#[test]
fn a_server_without_elections_stands_once_when_it_is_told_to() {
    let mut cluster = Cluster::with(3, |config| config.elections = config.seed != 2);
    cluster.elect(1);
    cluster.heartbeat(1);
    cluster.settle();
    let (id, to) = (RequestId(1), Some(NodeId(2)));
    cluster.step(1, vec![Event::TransferLeadership { id, to }]);
    cluster.deliver_round();
    assert_eq!(cluster.role(2), RoleName::Candidate);
    cluster.isolate(2);
    cluster.run(3 * T);
    assert_eq!(
        (cluster.role(2), cluster.term(2), cluster.deadline(2)),
        (RoleName::Follower, 2, None)
    );
}

/// A single server whose elections are off waits for an operator.
#[test]
fn an_operator_starts_an_election_where_nobody_stands_by_himself() {
    let mut cluster = Cluster::with(3, |config| config.elections = false);
    cluster.run(20 * T);
    assert_eq!(cluster.leaders(), []);
    assert_eq!(trigger(&mut cluster, 3), Ok(()));
    cluster.settle();
    assert_eq!((cluster.leaders(), cluster.term(3)), (vec![3], 1));

    let mut cluster = Cluster::from_images(vec![Image::default()], |c| c.elections = false);
    cluster.initialize(1, &voters([1]));
    assert_eq!(cluster.deadline(1), None);
    assert_eq!(trigger(&mut cluster, 1), Ok(()));
    assert_eq!(cluster.leaders(), [1]);
}

#[test]
fn an_election_on_demand_does_not_wait_for_the_timeout() {
    let mut cluster = Cluster::new(3);
    let now = cluster.now;
    assert_eq!(trigger(&mut cluster, 2), Ok(()));
    cluster.settle();
    assert_eq!((cluster.leaders(), cluster.now), (vec![2], now));
    assert_eq!(trigger(&mut cluster, 2), Err(ElectionError::AlreadyLeader));
}

/// It asks for pre-votes as any other: who could not win disturbs nobody.
#[test]
fn an_election_on_demand_asks_for_pre_votes_if_they_are_configured() {
    let mut cluster = Cluster::new(3);
    assert_eq!(trigger(&mut cluster, 2), Ok(()));
    assert_eq!((cluster.role(2), cluster.term(2)), (RoleName::PreCandidate, 0));
    cluster.sent();
    assert_eq!(trigger(&mut cluster, 2), Ok(()), "it stands already");
    assert_eq!(cluster.sent(), []);
    let mut cluster = Cluster::with(3, |config| config.pre_vote = false);
    assert_eq!(trigger(&mut cluster, 2), Ok(()));
    assert_eq!((cluster.role(2), cluster.term(2)), (RoleName::Candidate, 1));
}

/// diss. §4.2.3: it would not be elected, and is told whom to ask for a transfer.
#[test]
fn an_election_on_demand_leaves_a_leader_that_is_heard_in_office() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    let leader = Some(NodeId(1));
    assert_eq!(trigger(&mut cluster, 2), Err(ElectionError::LeaderHeard { leader }));
    assert_eq!((cluster.role(2), cluster.sent()), (RoleName::Follower, vec![]));
    cluster.isolate(1);
    cluster.wait(T);
    assert_eq!(trigger(&mut cluster, 2), Ok(()));
    cluster.settle();
    assert_eq!(cluster.leaders(), [1, 2]);
}

/// §5.1: where servers do not stay with the leader they hear, an operator can unseat it.
#[test]
fn without_check_quorum_an_election_on_demand_unseats_a_leader() {
    let mut cluster = Cluster::with(3, |config| config.check_quorum = false);
    cluster.elect(1);
    assert_eq!(trigger(&mut cluster, 2), Ok(()));
    cluster.settle();
    assert_eq!((cluster.leaders(), cluster.term(2)), (vec![2], 2));
}

#[test]
fn a_server_without_a_vote_stands_on_nobodys_demand() {
    let image = Image::of(&members([1], [2]), 0, &[]);
    let mut cluster = Cluster::from_images(vec![image; 2], |_| {});
    assert_eq!(trigger(&mut cluster, 2), Err(ElectionError::NotAVoter));
    let mut cluster = Cluster::from_images(vec![Image::default()], |_| {});
    assert_eq!(trigger(&mut cluster, 1), Err(ElectionError::NotAVoter));
}

/// A follower.
#[test]
fn elections_can_be_switched_off_and_on() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    configure(&mut cluster, 2, |config| config.elections = false);
    assert_eq!(cluster.deadline(2), None);
    cluster.heartbeat(1);
    cluster.settle();
    assert_eq!(cluster.deadline(2), None, "for good");
    configure(&mut cluster, 2, |_| {});
    let wait = cluster.deadline(2).unwrap().since(cluster.now);
    assert!(wait >= T && wait < 2 * T);
    configure(&mut cluster, 2, |config| config.election_priority = 6);
    let wait = cluster.deadline(2).unwrap().since(cluster.now);
    assert!(wait >= 3 * T && wait < 4 * T);
}

/// Turning a number that has nothing to do with it makes nobody wait longer.
#[test]
fn a_new_configuration_moves_no_deadline_that_it_says_nothing_of() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.wait(T / 2);
    let before = cluster.deadline(2);
    configure(&mut cluster, 2, |config| config.max_append_bytes = 7);
    assert_eq!(cluster.deadline(2), before);
}

/// A candidate.
#[test]
fn a_longer_election_timeout_holds_for_a_candidacy_too() {
    let mut cluster = Cluster::new(3);
    cluster.isolate(1);
    cluster.timeout(1);
    configure(&mut cluster, 1, |config| config.election_timeout = 10 * T);
    assert!(cluster.deadline(1).unwrap() >= cluster.now + 10 * T);
}

/// A leader.
#[test]
fn a_leaders_heartbeats_follow_a_new_interval_at_once() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.heartbeat(1);
    assert_eq!(cluster.deadline(1), Some(cluster.now + HEARTBEAT));
    configure(&mut cluster, 1, |config| config.heartbeat_interval = HEARTBEAT / 4);
    assert_eq!(cluster.deadline(1), Some(cluster.now + HEARTBEAT / 4));
    configure(&mut cluster, 1, |config| config.heartbeat_interval = HEARTBEAT);
    assert_eq!(cluster.deadline(1), Some(cluster.now + HEARTBEAT / 4), "the one that is due");
}

/// B 23: also if it was not asked to, before.
#[test]
fn a_leader_that_hears_no_majority_steps_down_when_check_quorum_is_switched_on() {
    let mut cluster = Cluster::with(3, |config| config.check_quorum = false);
    cluster.elect(1);
    cluster.isolate(1);
    cluster.run(10 * T);
    assert_eq!(cluster.role(1), RoleName::Leader);
    configure(&mut cluster, 1, |config| config.check_quorum = true);
    let start = cluster.now;
    while cluster.role(1) == RoleName::Leader {
        cluster.timeout(1);
    }
    assert_eq!(cluster.now.since(start), T);
}

/// B 23: and one that hears them does not.
#[test]
fn a_shorter_election_timeout_unseats_no_leader_that_is_followed() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.heartbeat(1);
    cluster.settle();
    cluster.wait(HEARTBEAT - Duration::from_nanos(1));
    for id in 1..=3 {
        configure(&mut cluster, id, |config| {
            config.election_timeout = HEARTBEAT;
            config.heartbeat_interval = HEARTBEAT / 4;
        });
    }
    cluster.run(10 * T);
    assert_eq!((cluster.leaders(), cluster.term(1)), (vec![1], 1));
}

/// A vote is given whatever the voter's own priority is.
#[test]
fn priorities_change_nothing_about_votes() {
    let mut cluster = Cluster::with(3, |config| config.election_priority = 0);
    cluster.hear(2, 1, ask(VoteKind::Vote, 1, at(0, 0)));
    assert!(cluster.sent().iter().any(|(_, body)| is_yes(body)));
    assert_eq!(cluster.deadline(2), None);
}
