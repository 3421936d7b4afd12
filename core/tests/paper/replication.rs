//! §5.3: log replication, from the follower's side.

use actix_raft_core::event::Event;
use actix_raft_core::types::{Index, NodeId, Term};

use crate::support::cluster::{Cluster, receive};
use crate::support::words::*;

/// Server 1 of three, which follows server 2 in this term and has told it where their logs agree.
fn following(term: u64, terms: &[u64]) -> Cluster {
    let mut cluster = follower(term, terms);
    let last = cluster.status(1).last_log;
    cluster.hear(1, 2, append(term, last, &[], 0));
    assert_eq!(answers(&mut cluster), [Some(last.index.0)]);
    cluster
}

/// Server 1 of three, with a log of these terms, in this term.
fn follower(term: u64, terms: &[u64]) -> Cluster {
    Cluster::of_logs(&[(term, terms), (term, &[]), (term, &[])])
}

/// What server 1 answers to server 2.
fn answers(cluster: &mut Cluster) -> Vec<Option<u64>> {
    let sent = cluster.sent();
    assert!(sent.iter().all(|(to, _)| *to == 2));
    sent.iter().map(|(_, body)| match_of(body)).collect()
}

/// §5.3 "if the follower does not find an entry in its log with the same index and term, then it
/// refuses the new entries". B 30
#[test]
fn entries_after_one_that_the_follower_does_not_have_are_refused_and_change_nothing() {
    for prev in [at(3, 2), at(2, 2), at(9, 1), at(1, 2)] {
        let mut cluster = follower(3, &[1, 1]);
        cluster.hear(1, 2, append(3, prev, &[3], 9));
        let sent = cluster.sent();
        let (rejected, _) = conflict_of(&sent[0].1).expect("a refusal");
        assert_eq!((sent.len(), rejected), (1, prev.index.0));
        assert_eq!((cluster.log(1), cluster.commit(1)), (vec![1, 1], 0), "{prev}");
        assert!(cluster.server(1).disk.is_idle());
        assert_eq!(cluster.status(1).leader, Some(NodeId(2)), "it is the leader all the same");
    }
}

/// Figure 2, AppendEntries 3 and 4: "if an existing entry conflicts with a new one (same index but
/// different terms), delete the existing entry and all that follow it; append any new entries not
/// already in the log". §5.3. B 31
#[test]
fn only_an_entry_of_another_term_is_overwritten_with_all_that_follow_it() {
    let table: [(_, &[u64], &[u64]); 8] = [
        (at(3, 2), &[4], &[1, 2, 2, 4]),
        (at(3, 2), &[3, 4], &[1, 2, 2, 3, 4]),
        (at(2, 2), &[4], &[1, 2, 4]),
        (at(1, 1), &[4, 4], &[1, 4, 4]),
        // Short, old or doubled requests keep what they don't speak of.
        (at(1, 1), &[2], &[1, 2, 2, 3, 3]),
        (at(1, 1), &[], &[1, 2, 2, 3, 3]),
        (at(2, 2), &[2, 3], &[1, 2, 2, 3, 3]),
        (at(4, 3), &[3, 4], &[1, 2, 2, 3, 3, 4]),
    ];
    for (prev, terms, expected) in table {
        let mut cluster = follower(4, &[1, 2, 2, 3, 3]);
        cluster.hear(1, 2, append(4, prev, terms, 0));
        assert_eq!(cluster.log(1), expected, "{prev} {terms:?}");
        assert_eq!(cluster.server(1).disk.durable.terms(), expected);
        let last = answers(&mut cluster).pop();
        assert_eq!(last, Some(Some(prev.index.0 + terms.len() as u64)));
    }
}

/// §5.3 "the leader's AppendEntries RPCs may be retried indefinitely", Figure 2 "RPCs are
/// idempotent". B 31
#[test]
fn the_same_request_twice_changes_nothing_and_is_answered_twice() {
    let mut cluster = following(2, &[1]);
    let request = append(2, at(1, 1), &[2, 2], 2);
    cluster.hear(1, 2, request.clone());
    let after = cluster.status(1);
    cluster.hear(1, 2, append(2, at(3, 2), &[2], 2));
    cluster.hear(1, 2, request);
    assert_eq!(cluster.log(1), [1, 2, 2, 2]);
    assert_eq!(cluster.commit(1), after.commit_index.0);
    assert_eq!(answers(&mut cluster), [Some(3), Some(4), Some(4)]);
}

/// B 33: a heartbeat does the consistency check, too.
#[test]
fn a_heartbeat_is_matched_against_the_log_before_it_commits_anything() {
    let mut cluster = follower(2, &[1, 1, 1]);
    cluster.hear(1, 2, append(2, at(3, 2), &[], 3));
    assert_eq!(cluster.commit(1), 0, "index 3 is not the leader's");
    assert_eq!(conflict_of(&cluster.sent()[0].1), Some((3, at(3, 1))));
    cluster.hear(1, 2, append(2, at(2, 1), &[], 3));
    assert_eq!(cluster.commit(1), 2);
}

/// B 34: what stands after the verified entries may be anybody's.
#[test]
fn an_answer_names_what_was_verified_and_not_the_end_of_the_log() {
    let mut cluster = follower(3, &[1, 2, 2, 2, 2]);
    cluster.hear(1, 2, append(3, at(1, 1), &[], 0));
    assert_eq!(answers(&mut cluster), [Some(1)]);
    cluster.hear(1, 2, append(3, at(1, 1), &[2], 0));
    assert_eq!(answers(&mut cluster), [Some(2)]);
    cluster.hear(1, 2, append(3, at(0, 0), &[], 0));
    assert_eq!(answers(&mut cluster), [Some(2)], "it was verified for the same leader before");
}

/// A new leader's log is verified anew.
#[test]
fn what_was_verified_for_one_leader_says_nothing_to_the_next() {
    let mut cluster = follower(3, &[1, 2, 2, 2, 2]);
    cluster.hear(1, 2, append(3, at(5, 2), &[], 0));
    assert_eq!(answers(&mut cluster), [Some(5)]);
    cluster.hear(1, 2, append(4, at(1, 1), &[], 0));
    assert_eq!(answers(&mut cluster), [Some(1)]);
}

/// Figure 2 "updated on stable storage before responding to RPCs". B 35
#[test]
fn entries_are_acknowledged_once_they_are_durable() {
    let mut cluster = following(2, &[1]);
    cluster.server(1).prompt.saves = false;
    cluster.hear(1, 2, append(2, at(1, 1), &[2], 0));
    cluster.hear(1, 2, append(2, at(2, 2), &[2], 0));
    assert_eq!(cluster.sent(), []);
    // A heartbeat is answered meanwhile, with what is durable.
    cluster.hear(1, 2, append(2, at(3, 2), &[], 0));
    assert_eq!(answers(&mut cluster), [Some(1)]);
    for expected in [2, 3] {
        let id = cluster.server(1).disk.complete_one().unwrap();
        cluster.step(1, vec![Event::Saved { id }]);
        assert_eq!(answers(&mut cluster), [Some(expected)]);
    }
}

/// The acknowledgements under way, by receiver. The first entry is everybody's.
fn acknowledged_beyond_the_first(cluster: &mut Cluster) -> Vec<(u64, u64)> {
    let sent = cluster.sent().into_iter();
    let acknowledged = sent.filter_map(|(to, body)| Some((to, match_of(&body)?)));
    acknowledged.filter(|(_, index)| *index > 1).collect()
}

/// B 35: index 2 was written in term 2, then in term 3, then in term 4; only the last counts.
#[test]
fn a_finished_write_of_entries_that_were_overwritten_since_acknowledges_nothing() {
    let mut cluster = following(4, &[1]);
    cluster.server(1).prompt.saves = false;
    let saved = |cluster: &mut Cluster| {
        let id = cluster.server(1).disk.complete_one().unwrap();
        cluster.step(1, vec![Event::Saved { id }]);
        acknowledged_beyond_the_first(cluster)
    };
    cluster.hear(1, 2, append(4, at(1, 1), &[4, 4], 0));
    cluster.hear(1, 3, append(5, at(1, 1), &[5, 5], 0));
    cluster.hear(1, 2, append(6, at(1, 1), &[6], 0));
    cluster.sent();
    assert_eq!(saved(&mut cluster), [], "term 4's entries");
    assert_eq!(saved(&mut cluster), [], "term 5's entries");
    assert_eq!(cluster.status(1).last_durable, Index(1));
    assert_eq!(saved(&mut cluster), [(2, 2)]);
    assert_eq!(cluster.log(1), [1, 6]);
}

/// B 35, when both happen in one step.
#[test]
fn a_write_that_finishes_in_the_step_that_overwrites_it_acknowledges_nothing() {
    let mut cluster = following(4, &[1]);
    cluster.server(1).prompt.saves = false;
    cluster.hear(1, 2, append(4, at(1, 1), &[4, 4], 0));
    cluster.hear(1, 3, append(5, at(3, 5), &[], 0));
    cluster.sent();
    let saved = cluster.server(1).saved().unwrap();
    cluster.step(1, vec![receive(1, 3, append(5, at(1, 1), &[5], 0)), saved]);
    assert_eq!(cluster.log(1), [1, 5]);
    assert_eq!(cluster.server(1).disk.durable.terms(), [1, 4, 4]);
    assert_eq!(cluster.status(1).last_durable, Index(1));
    assert_eq!(
        acknowledged_beyond_the_first(&mut cluster),
        [],
        "index 2 of term 5 is on nobody's disk"
    );
}

/// B 36
#[test]
fn an_acknowledgement_is_dropped_when_the_term_changed_while_the_disk_worked() {
    let mut cluster = following(2, &[1]);
    cluster.server(1).prompt.saves = false;
    cluster.hear(1, 2, append(2, at(1, 1), &[2], 0));
    cluster.hear(1, 3, append(3, at(5, 3), &[], 0));
    let saved = cluster.server(1).saved().unwrap();
    cluster.step(1, vec![saved]);
    let sent = cluster.sent();
    assert!(sent.iter().all(|(to, body)| *to == 3 && body.term() == Term(3)), "{sent:?}");
    assert_eq!(cluster.log(1), [1, 2]);
}

/// Figure 2 "if leaderCommit > commitIndex, set commitIndex = min(leaderCommit, index of last new
/// entry)". §5.3. B 46
#[test]
fn a_follower_commits_no_more_than_the_leader_has_committed_and_the_request_verified() {
    let table = [
        (at(1, 1), &[1][..], 9, 2),
        (at(1, 1), &[1, 1, 2], 9, 4),
        (at(1, 1), &[1, 1, 2], 3, 3),
        (at(2, 1), &[], 9, 2),
        (at(3, 1), &[], 2, 2),
        (at(0, 0), &[], 9, 0),
    ];
    for (prev, terms, leader_commit, expected) in table {
        let mut cluster = follower(2, &[1, 1, 1]);
        cluster.hear(1, 2, append(2, prev, terms, leader_commit));
        assert_eq!(cluster.commit(1), expected, "{prev} {terms:?} commit={leader_commit}");
    }
}

/// B 46
#[test]
fn a_followers_commit_index_never_goes_back() {
    let mut cluster = follower(2, &[1, 1, 1]);
    cluster.hear(1, 2, append(2, at(3, 1), &[], 3));
    cluster.hear(1, 2, append(2, at(3, 1), &[], 1));
    cluster.hear(1, 2, append(2, at(1, 1), &[1], 3));
    assert_eq!(cluster.commit(1), 3);
}
