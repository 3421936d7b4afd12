//! §7: a follower receives a snapshot, and puts it in the place of its state (InstallSnapshot RPC,
//! receiver implementation, Figure 13).

use actix_raft_core::admin::SnapshotError;
use actix_raft_core::effect::Effect;
use actix_raft_core::entry::EntryPayload;
use actix_raft_core::event::Event;
use actix_raft_core::message::{InstallOutcome, MessageBody, TimeoutNowRequest, VoteKind};
use actix_raft_core::snapshot::SnapshotChunk;
use actix_raft_core::status::RoleName;
use actix_raft_core::stored::Base;
use actix_raft_core::types::{Index, LogPosition, NodeId, Term};

use crate::support::cluster::{Cluster, receive};
use crate::support::disk::Image;
use crate::support::files::File;
use crate::support::server::{Prompt, Task};
use crate::support::words::*;

const ALL: usize = usize::MAX;
const PROMPT: Prompt = Prompt { saves: true, applies: true, log_reads: true, snapshots: true };

/// Server 1 has a log of these terms in a cluster of three, and has committed so much of it.
fn follower(terms: &[u64], commit: u64) -> Cluster {
    let mut cluster = Cluster::of_logs(&[(3, terms), (3, &[]), (3, &[])]);
    let last = (1..).zip(terms).last().map_or(at(0, 0), |(index, term)| at(index, *term));
    cluster.hear(1, 2, append(3, last, &[], commit));
    assert_eq!((cluster.commit(1), cluster.applied(1)), (commit, commit as usize));
    cluster.sent();
    cluster.said(1);
    cluster
}

/// A leader's snapshot up to index 5.
fn five() -> File {
    snapshot_of(&voters(1..=3), &[1, 1, 2, 2, 3])
}

/// A snapshot of the same entry with other bytes: of a state machine that does not write the same
/// state in the same way each time.
fn another_five() -> File {
    let mut state = five().state();
    state[1].payload = EntryPayload::Normal("other".into());
    File::of(five().snapshot.base, &state)
}

/// What server 1 said about snapshots since this was asked last.
fn outcomes(cluster: &mut Cluster) -> Vec<InstallOutcome> {
    cluster.sent().iter().filter_map(|(_, body)| outcome_of(body)).collect()
}

fn installed(cluster: &mut Cluster) -> bool {
    outcomes(cluster).contains(&InstallOutcome::Installed)
}

fn do_task(cluster: &mut Cluster, id: u64) {
    let event = cluster.server(id).do_task().expect("there is a task");
    cluster.step(id, vec![event]);
}

fn violations(cluster: &mut Cluster) -> usize {
    let said = cluster.said(1);
    said.iter().filter(|effect| matches!(effect, Effect::Violation { .. })).count()
}

/// Rules 2 to 8: "create new snapshot file", "write data into it", "reset state machine using
/// snapshot contents (and load snapshot's cluster configuration)".
#[test]
fn a_snapshot_takes_the_place_of_log_state_and_configuration() {
    let mut cluster = follower(&[1, 1], 2);
    let (file, size) = (five(), five().bytes.len() as u64);
    cluster.hear(1, 2, how_much(3, &file.snapshot));
    assert_eq!(outcomes(&mut cluster), [InstallOutcome::Received { offset: 0 }]);
    cluster.hear(1, 2, piece(3, &file, 0, 20));
    assert_eq!(outcomes(&mut cluster), [InstallOutcome::Received { offset: 20 }]);
    assert_eq!((cluster.applied(1), cluster.log(1)), (2, vec![1, 1]), "nothing has changed yet");
    cluster.hear(1, 2, piece(3, &file, 20, ALL));
    let said = outcomes(&mut cluster);
    assert_eq!(said, [InstallOutcome::Received { offset: size }, InstallOutcome::Installed]);
    let status = cluster.status(1);
    assert_eq!((status.purged, status.snapshot, status.last_log), (at(5, 3), at(5, 3), at(5, 3)));
    assert_eq!((status.commit_index, status.last_applied), (Index(5), Index(5)));
    assert_eq!((cluster.log(1), cluster.server(1).applied.clone()), (vec![], file.state()));
    // The log goes on from there.
    cluster.hear(1, 2, append(3, at(5, 3), &[3, 3], 7));
    assert_eq!((cluster.commit(1), cluster.applied(1)), (7, 7));
}

/// Rule 6 "if existing log entry has same index and term as snapshot's last included entry, retain
/// log entries following it and reply". B 73: without touching the state machine.
#[test]
fn a_follower_that_has_the_last_included_entry_just_commits_it() {
    let mut cluster = follower(&[1, 1, 2, 2, 3, 3], 2);
    cluster.hear(1, 2, how_much(3, &five().snapshot));
    assert!(installed(&mut cluster));
    assert_eq!((cluster.commit(1), cluster.applied(1)), (5, 5));
    assert_eq!((cluster.log(1).len(), cluster.server(1).tasks.len()), (6, 0));
    assert_eq!(cluster.status(1).snapshot, LogPosition::ZERO);
}

/// But it says so only of what is on its disk.
#[test]
fn what_is_not_on_disk_yet_is_not_called_installed() {
    let mut cluster = follower(&[1, 1], 2);
    cluster.server(1).prompt.saves = false;
    cluster.hear(1, 2, append(3, at(2, 1), &[2, 2, 3], 2));
    cluster.sent();
    cluster.hear(1, 2, how_much(3, &five().snapshot));
    assert_eq!(cluster.sent(), []);
    assert_eq!((cluster.commit(1), cluster.applied(1)), (5, 2), "nor is it applied");
    let saved = cluster.server(1).saved().unwrap();
    cluster.step(1, vec![saved]);
    assert_eq!(cluster.sent().iter().find_map(|(_, body)| match_of(body)), Some(5));
    assert_eq!(cluster.applied(1), 5);
}

/// Rule 7 "discard the entire log". B 74, hashicorp 697: also the entry that conflicts at the very
/// index, and what follows it.
#[test]
fn a_log_that_conflicts_with_the_snapshot_is_discarded() {
    for terms in [&[1, 1, 2, 2, 2][..], &[1, 1, 2, 2, 2, 2, 2], &[1, 1, 2, 2], &[1, 1]] {
        let mut cluster = follower(terms, 2);
        cluster.hear(1, 2, piece(3, &five(), 0, ALL));
        assert!(installed(&mut cluster));
        assert_eq!((cluster.log(1), cluster.status(1).last_log), (vec![], at(5, 3)));
        assert_eq!(cluster.server(1).disk.durable.last(), at(5, 3));
        cluster.hear(1, 2, append(3, at(5, 3), &[3], 6));
        cluster.crash(1);
        cluster.restart(1);
        assert_eq!((cluster.log(1), cluster.status(1).last_log), (vec![3], at(6, 3)));
    }
}

/// B 73: what the follower has is not given up for less.
#[test]
fn a_stale_snapshot_changes_nothing_and_is_answered() {
    let mut cluster = follower(&[1, 1, 2, 2, 3, 3], 6);
    for file in [five(), snapshot_of(&voters(1..=3), &[1, 1])] {
        for message in [how_much(3, &file.snapshot), piece(3, &file, 0, ALL)] {
            cluster.hear(1, 2, message);
            assert_eq!(outcomes(&mut cluster), [InstallOutcome::Installed]);
            assert_eq!((cluster.commit(1), cluster.applied(1), cluster.log(1).len()), (6, 6, 6));
            assert!(cluster.server(1).tasks.is_empty());
        }
    }
}

/// A piece that arrives once more, long after its snapshot was installed.
#[test]
fn a_piece_that_comes_late_does_not_bring_the_old_state_back() {
    let mut cluster = follower(&[1, 1], 2);
    cluster.hear(1, 2, piece(3, &five(), 0, ALL));
    cluster.hear(1, 2, append(3, at(5, 3), &[3, 3], 7));
    assert_eq!(cluster.applied(1), 7);
    cluster.sent();
    cluster.hear(1, 2, piece(3, &five(), 0, ALL));
    assert_eq!(outcomes(&mut cluster), [InstallOutcome::Installed]);
    assert_eq!((cluster.applied(1), cluster.log(1)), (7, vec![3, 3]));
}

/// B 63, openraft 1808: the configuration in force is the snapshot's, with the index from which it
/// holds; one that was never committed goes with the log that had it.
#[test]
fn the_configuration_in_force_is_the_snapshots() {
    let mut cluster = follower(&[1, 1], 2);
    // A leader of the past made server 1 believe that 1 and 2 alone are the cluster.
    let mut entries = entries(at(2, 1), &[3]).to_vec();
    entries[0].payload = EntryPayload::ConfigChange(voters(1..=2).into());
    cluster.hear(1, 2, append_entries(3, at(2, 1), entries.into(), 2, 1));
    assert_eq!(cluster.membership(1), (3, voters(1..=2)));
    let mut file = snapshot_of(&voters(1..=3), &[1, 1, 4, 4, 4]);
    file.snapshot.base.membership = Some((Index(4), voters(1..=5).into()));
    cluster.hear(1, 3, piece(4, &file, 0, ALL));
    assert!(installed(&mut cluster));
    assert_eq!(cluster.membership(1), (4, voters(1..=5)));
    cluster.crash(1);
    cluster.restart(1);
    assert_eq!(cluster.membership(1), (4, voters(1..=5)));
}

/// A snapshot may give a server its vote, or take it.
#[test]
fn a_server_learns_from_a_snapshot_whether_it_votes() {
    let mut cluster = Cluster::new(3);
    cluster.add_pristine();
    assert_eq!((cluster.role(4), cluster.deadline(4)), (RoleName::NonVoter, None));
    cluster.hear(4, 2, piece(3, &snapshot_of(&voters(1..=4), &[1, 1]), 0, ALL));
    assert_eq!(cluster.role(4), RoleName::Follower);
    assert!(cluster.deadline(4).is_some(), "it stands for election if it hears no more");
    assert_eq!(cluster.server(4).applied.len(), 2);
    let mut file = snapshot_of(&voters(1..=4), &[1, 1, 1, 1]);
    file.snapshot.base.membership = Some((Index(3), members(1..=3, [4]).into()));
    cluster.hear(4, 2, piece(3, &file, 0, ALL));
    assert_eq!((cluster.role(4), cluster.deadline(4)), (RoleName::NonVoter, None));
}

/// Rule 1 "reply immediately if term < currentTerm".
#[test]
fn a_leader_of_the_past_is_told_so() {
    let mut cluster = follower(&[1, 1], 2);
    let before = (cluster.deadline(1), cluster.server(1).disk.live.clone());
    cluster.hear(1, 3, piece(2, &snapshot_of(&voters(1..=3), &[1, 1, 2]), 0, ALL));
    let sent = cluster.sent();
    assert_eq!((sent.len(), sent[0].0, sent[0].1.term()), (1, 3, Term(3)));
    assert_eq!((cluster.deadline(1), cluster.server(1).disk.live.clone()), before);
}

/// §5.2: a piece of a snapshot is a word of the leader, as AppendEntries is. B 2, 10, 12
#[test]
fn a_candidate_recognizes_a_leader_by_its_snapshot() {
    let mut cluster = Cluster::of_logs(&[(3, &[1, 1]), (3, &[]), (3, &[])]);
    for term in [4, 5] {
        cluster.isolate(1);
        cluster.timeout(1);
        cluster.heal();
        assert_eq!(cluster.role(1), RoleName::PreCandidate);
        cluster.hear(1, 2, how_much(term, &five().snapshot));
        assert_eq!((cluster.role(1), cluster.term(1)), (RoleName::Follower, term));
        assert_eq!(cluster.status(1).leader, Some(NodeId(2)));
        let patience = cluster.deadline(1).unwrap().since(cluster.now);
        assert!(patience >= T, "its patience begins anew");
        cluster.wait(T / 2);
        cluster.hear(1, 2, how_much(term, &five().snapshot));
        assert!(cluster.deadline(1).unwrap().since(cluster.now) >= T);
    }
}

/// B 32, 99: what no correct leader sends is reported and changes nothing.
#[test]
fn snapshots_that_no_leader_has_are_violations() {
    let mut cluster = follower(&[1, 1, 2, 2, 3, 3], 4);
    let file = five();
    let with = |base: Base| {
        let mut file = file.clone();
        file.snapshot.base = base;
        piece(3, &file, 0, ALL)
    };
    let members = file.snapshot.base.membership.clone();
    let at_position = |last_included| with(Base { last_included, membership: members.clone() });
    let chunk = file.chunk(0, 20).unwrap();
    let cut = |offset, done| {
        let chunk = SnapshotChunk { offset, done, ..chunk.clone() };
        install(3, file.snapshot.clone(), chunk)
    };
    let later = Some((Index(6), voters(1..=3).into()));
    let impossible = [
        // It lacks a committed entry.
        at_position(at(4, 1)),
        at_position(at(4, 3)),
        at_position(at(9, 1)),
        // It is of the future, or of nothing.
        at_position(at(9, 4)),
        at_position(at(0, 0)),
        at_position(at(9, 0)),
        at_position(at(u64::MAX, 3)),
        // It has no configuration, or a later one.
        with(Base { last_included: at(5, 3), membership: None }),
        with(Base { last_included: at(5, 3), membership: later }),
        // The piece is not one of it.
        cut(file.snapshot.size, false),
        cut(u64::MAX, false),
        cut(0, true),
    ];
    for message in impossible {
        let before = (cluster.status(1), cluster.server(1).disk.live.clone());
        cluster.hear(1, 2, message.clone());
        assert_eq!((cluster.status(1), cluster.server(1).disk.live.clone()), before, "{message}");
        assert_eq!((violations(&mut cluster), cluster.sent()), (1, vec![]), "{message}");
    }
    cluster.hear(1, 3, piece(3, &file, 0, ALL));
    assert_eq!(violations(&mut cluster), 1, "a second leader in one term");
    // To a leader, too.
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.said(1);
    cluster.hear(1, 2, piece(1, &snapshot_of(&voters(1..=3), &[1, 1]), 0, ALL));
    assert_eq!((violations(&mut cluster), cluster.role(1)), (1, RoleName::Leader));
}

/// B 99: however often a leader asks, what waits for a disk that hangs is bounded.
#[test]
fn a_flood_of_pieces_fills_no_memory() {
    let mut cluster = follower(&[1, 1], 2);
    cluster.server(1).prompt.snapshots = false;
    for _ in 0..1000 {
        cluster.hear(1, 2, piece(3, &five(), 0, ALL));
    }
    assert!(cluster.server(1).tasks.len() <= 8, "{}", cluster.server(1).tasks.len());
    cluster.server(1).prompt.snapshots = true;
    cluster.step(1, vec![]);
    cluster.hear(1, 2, how_much(3, &five().snapshot));
    assert!(installed(&mut cluster));
}

/// Figure 13, 3: pieces go where they belong; one that is lost, doubled or early does no harm.
#[test]
fn pieces_that_are_lost_or_doubled_or_early_are_sorted_out_by_the_answers() {
    let mut cluster = follower(&[1, 1], 2);
    let file = five();
    let mut said = |offset| {
        cluster.hear(1, 2, piece(3, &file, offset, 10));
        outcomes(&mut cluster).pop()
    };
    assert_eq!(said(10), received(0));
    assert_eq!(said(0), received(10));
    assert_eq!(said(0), received(10));
    assert_eq!(said(20), received(10));
    assert_eq!(said(10), received(20));
}

/// B 76: a follower that restarts goes on where it stopped.
#[test]
fn a_restarted_follower_still_has_its_pieces() {
    let mut cluster = follower(&[1, 1], 2);
    cluster.hear(1, 2, piece(3, &five(), 0, 30));
    cluster.crash(1);
    cluster.restart(1);
    cluster.sent();
    cluster.hear(1, 2, how_much(3, &five().snapshot));
    assert_eq!(outcomes(&mut cluster).pop(), received(30));
    cluster.hear(1, 2, piece(3, &five(), 30, ALL));
    assert!(installed(&mut cluster));
}

/// B 77, canonical's newTermWhileInstalling: the next leader goes on if it has the same snapshot.
#[test]
fn another_leader_with_the_same_snapshot_goes_on() {
    let mut cluster = follower(&[1, 1], 2);
    cluster.hear(1, 2, piece(3, &five(), 0, 30));
    cluster.sent();
    cluster.hear(1, 3, how_much(4, &five().snapshot));
    let sent = cluster.sent();
    assert_eq!((sent[0].0, outcome_of(&sent[0].1)), (3, received(30)));
    cluster.hear(1, 3, piece(4, &five(), 30, ALL));
    assert!(installed(&mut cluster));
}

/// Figure 13, 5: "discard any existing or partial snapshot with a smaller index"; and what another
/// leader has takes the place of what the last one sent, whatever its index. Nothing is mixed.
#[test]
fn another_snapshot_takes_the_place_of_a_partial_one() {
    let (older, newer) = (five(), snapshot_of(&voters(1..=3), &[1, 1, 2, 2, 3, 3, 3]));
    let other = another_five();
    for (term, first, second) in [
        (3, &older, &newer),
        (4, &older, &newer),
        (4, &newer, &older),
        (4, &older, &other),
        (3, &older, &other),
    ] {
        let mut cluster = follower(&[1, 1], 2);
        cluster.hear(1, 2, piece(3, first, 0, 30));
        cluster.sent();
        let leader = if term == 3 { 2 } else { 3 };
        cluster.hear(1, leader, piece(term, second, 30, 10));
        assert_eq!(outcomes(&mut cluster).pop(), received(0), "not a byte of it is there");
        cluster.hear(1, leader, piece(term, second, 0, ALL));
        assert!(installed(&mut cluster));
        assert_eq!(cluster.server(1).applied, second.state());
    }
}

/// A piece of an older snapshot of the same leader was overtaken on its way.
#[test]
fn a_piece_that_was_overtaken_by_a_later_snapshot_is_ignored() {
    let mut cluster = follower(&[1, 1], 2);
    let newer = snapshot_of(&voters(1..=3), &[1, 1, 2, 2, 3, 3, 3]);
    cluster.hear(1, 2, piece(3, &newer, 0, 30));
    cluster.sent();
    cluster.hear(1, 2, piece(3, &five(), 0, 30));
    cluster.hear(1, 2, how_much(3, &newer.snapshot));
    assert_eq!(outcomes(&mut cluster), [InstallOutcome::Received { offset: 30 }]);
}

/// Pieces of two snapshots that wait for a slow disk are not taken for one another.
#[test]
fn a_report_about_one_snapshot_says_nothing_about_another_of_the_same_entry() {
    let mut cluster = follower(&[1, 1], 2);
    let other = another_five();
    cluster.server(1).prompt.snapshots = false;
    cluster.hear(1, 2, piece(3, &five(), 0, 30));
    cluster.hear(1, 3, how_much(4, &other.snapshot));
    cluster.sent();
    do_task(&mut cluster, 1);
    for _ in 0..cluster.server(1).tasks.len() {
        do_task(&mut cluster, 1);
    }
    let wrong = outcomes(&mut cluster).contains(&InstallOutcome::Received { offset: 30 });
    let asked = cluster.server(1).disk.durable.partial.clone().unwrap();
    assert!(!wrong || asked.snapshot == five().snapshot);
    cluster.hear(1, 3, how_much(4, &other.snapshot));
    do_task(&mut cluster, 1);
    assert_eq!(outcomes(&mut cluster).pop(), received(0));
}

/// What was damaged on its way or on the disk is found out before it is in place.
#[test]
fn a_damaged_snapshot_is_thrown_away_and_sent_again() {
    let mut cluster = follower(&[1, 1], 2);
    cluster.hear(1, 2, piece(3, &five(), 0, 30));
    cluster.server(1).disk.durable.partial.as_mut().unwrap().bytes[7] ^= 1;
    cluster.sent();
    cluster.hear(1, 2, piece(3, &five(), 30, ALL));
    assert_eq!(outcomes(&mut cluster).pop(), received(0));
    assert_eq!((cluster.applied(1), cluster.log(1).len()), (2, 2), "the old state is whole");
    cluster.hear(1, 2, piece(3, &five(), 0, ALL));
    assert!(installed(&mut cluster));
    assert_eq!(cluster.applied(1), 5);
}

/// Server 1 was told to install the snapshot, and its disk is slow.
fn installing(terms: &[u64], commit: u64) -> Cluster {
    let mut cluster = follower(terms, commit);
    cluster.server(1).prompt.snapshots = false;
    cluster.hear(1, 2, piece(3, &five(), 0, ALL));
    do_task(&mut cluster, 1);
    assert!(matches!(cluster.server(1).tasks[0], Task::Install(_)));
    cluster.sent();
    cluster.said(1);
    cluster
}

/// B 75, canonical 2edd2c6: "no apply meanwhile", though more becomes committed.
#[test]
fn nothing_is_applied_while_a_snapshot_is_installed() {
    let mut cluster = installing(&[1, 1], 2);
    cluster.hear(1, 2, append(3, at(2, 1), &[2, 2], 4));
    assert_eq!((cluster.commit(1), cluster.applied(1)), (4, 2));
    assert!(cluster.server(1).applying.is_none());
    do_task(&mut cluster, 1);
    assert_eq!((cluster.commit(1), cluster.applied(1)), (5, 5));
}

/// The log caught up meanwhile, from a leader that has purged less: its tail stays.
#[test]
fn entries_that_come_while_a_snapshot_is_installed_are_kept_behind_it() {
    let mut cluster = installing(&[1, 1], 2);
    cluster.hear(1, 3, append(4, at(2, 1), &[2, 2, 3, 4, 4], 6));
    assert_eq!((cluster.commit(1), cluster.applied(1)), (6, 2));
    do_task(&mut cluster, 1);
    let status = cluster.status(1);
    assert_eq!((status.purged, cluster.log(1)), (at(5, 3), vec![4, 4]));
    assert_eq!((status.commit_index, cluster.applied(1)), (Index(6), 6));
    cluster.crash(1);
    cluster.restart(1);
    assert_eq!((cluster.log(1), cluster.applied(1)), (vec![4, 4], 5));
}

/// The same, all in one step: the base is stored before the entries behind it.
#[test]
fn entries_and_the_base_of_one_step_fit_together() {
    let mut cluster = installing(&[1, 1], 2);
    let entries = append(4, at(2, 1), &[2, 2, 3, 4, 4], 6);
    let done = cluster.server(1).do_task().unwrap();
    let heard = receive(1, 3, entries);
    cluster.step(1, vec![heard, done]);
    assert_eq!((cluster.status(1).purged, cluster.log(1)), (at(5, 3), vec![4, 4]));
    assert_eq!(cluster.server(1).disk.durable.terms(), [4, 4]);
    // And entries that conflict with the snapshot go, although they were in the same step.
    let mut cluster = installing(&[1, 1], 2);
    let done = cluster.server(1).do_task().unwrap();
    let heard = receive(1, 2, append(3, at(2, 1), &[2, 2, 2, 2], 2));
    cluster.step(1, vec![heard, done]);
    assert_eq!((cluster.status(1).last_log, cluster.log(1)), (at(5, 3), vec![]));
    assert_eq!(cluster.server(1).disk.durable.last(), at(5, 3));
}

/// B 13, canonical 4fbd3c0: it lacks committed entries, and its state is neither the old nor the new.
#[test]
fn a_server_that_installs_a_snapshot_is_no_candidate() {
    let mut cluster = installing(&[1, 1], 2);
    for _ in 0..5 {
        cluster.timeout(1);
        assert_eq!((cluster.role(1), cluster.term(1)), (RoleName::Follower, 3));
    }
    assert_eq!(cluster.sent(), [], "it asks nobody");
    let now = MessageBody::TimeoutNowRequest(TimeoutNowRequest { term: Term(3) });
    cluster.hear(1, 2, now);
    assert_eq!((cluster.role(1), cluster.term(1)), (RoleName::Follower, 3));
    do_task(&mut cluster, 1);
    cluster.timeout(1);
    assert_eq!(cluster.role(1), RoleName::PreCandidate);
}

/// It goes on to hear its leader, and to vote.
#[test]
fn a_server_that_installs_a_snapshot_answers_and_votes() {
    let mut cluster = installing(&[1, 1], 2);
    cluster.hear(1, 2, append(3, at(5, 3), &[], 5));
    assert_eq!(conflict_of(&cluster.sent()[0].1), Some((5, at(2, 1))));
    cluster.hear(1, 2, how_much(3, &five().snapshot));
    let size = five().snapshot.size;
    assert_eq!(outcomes(&mut cluster), [InstallOutcome::Received { offset: size }]);
    cluster.wait(3 * T);
    cluster.hear(1, 3, ask_vote(4, at(5, 3)));
    assert!(is_yes(&cluster.sent()[0].1));
    do_task(&mut cluster, 1);
    assert_eq!((cluster.applied(1), cluster.term(1)), (5, 4));
    assert_eq!(cluster.sent(), [], "the leader of term 4 is not heard yet");
    cluster.hear(1, 3, how_much(4, &five().snapshot));
    assert!(installed(&mut cluster));
}

/// B 75: no snapshot of its own meanwhile.
#[test]
fn no_snapshot_is_taken_while_one_is_installed() {
    let mut cluster = installing(&[1, 1], 2);
    let id = cluster.trigger_snapshot(1);
    assert_eq!(cluster.snapshot_taken(1, id), Some(Err(SnapshotError::Installing)));
    assert_eq!(cluster.server(1).tasks.len(), 1);
}

/// What the state machine and the storage are doing is done first.
#[test]
fn a_snapshot_waits_until_nothing_is_applied_or_built() {
    let mut cluster = follower(&[1, 1, 2], 1);
    cluster.server(1).prompt = Prompt { applies: false, snapshots: false, ..PROMPT };
    let id = cluster.trigger_snapshot(1);
    cluster.hear(1, 2, append(3, at(3, 2), &[], 3));
    assert_eq!(cluster.server(1).tasks.len(), 1, "a snapshot of its own is built");
    assert!(cluster.server(1).applying.is_some(), "and entries are applied");
    cluster.hear(1, 2, piece(3, &five(), 0, ALL));
    let store = cluster.server(1).tasks.pop_back().unwrap();
    cluster.server(1).tasks.push_front(store);
    do_task(&mut cluster, 1);
    assert_eq!(cluster.server(1).tasks.len(), 1, "the build");
    cluster.timeout(1);
    assert_eq!(cluster.role(1), RoleName::Follower, "it could not win an election now");
    let applied = cluster.server(1).apply().unwrap();
    cluster.step(1, vec![applied]);
    assert!(cluster.server(1).applying.is_none(), "nothing more is applied");
    do_task(&mut cluster, 1);
    assert_eq!(cluster.snapshot_taken(1, id), Some(Ok(at(1, 1))));
    assert!(matches!(cluster.server(1).tasks[0], Task::Install(_)));
    do_task(&mut cluster, 1);
    assert_eq!(cluster.applied(1), 5);
}

/// While it waits, the log may catch up by itself: then the snapshot is not needed.
#[test]
fn a_snapshot_that_became_superfluous_is_not_installed() {
    let mut cluster = follower(&[1, 1, 2], 1);
    cluster.server(1).prompt = Prompt { applies: false, snapshots: false, ..PROMPT };
    cluster.hear(1, 2, append(3, at(3, 2), &[], 3));
    cluster.hear(1, 2, piece(3, &five(), 0, ALL));
    do_task(&mut cluster, 1);
    cluster.hear(1, 3, append(4, at(3, 2), &[2, 3, 4], 6));
    let applied = cluster.server(1).apply().unwrap();
    cluster.step(1, vec![applied]);
    assert!(cluster.server(1).tasks.is_empty());
    cluster.server(1).prompt = PROMPT;
    cluster.step(1, vec![]);
    assert_eq!((cluster.applied(1), cluster.log(1).len()), (6, 6));
}

/// "Before responding to RPCs": what the leader relies on is on disk.
#[test]
fn a_snapshot_is_called_installed_when_the_log_begins_after_it_on_disk() {
    let mut cluster = installing(&[1, 1, 2, 2, 2], 2);
    cluster.server(1).prompt.saves = false;
    do_task(&mut cluster, 1);
    assert_eq!((cluster.applied(1), cluster.sent()), (5, vec![]));
    let saved = cluster.server(1).saved().unwrap();
    cluster.step(1, vec![saved]);
    assert!(installed(&mut cluster));
}

/// B 75, 92: "a crash at any step leaves the old state or the new".
#[test]
fn a_crash_at_any_step_of_an_install_leaves_the_old_state_or_the_new() {
    for terms in [&[1, 1][..], &[1, 1, 2, 2, 2, 2, 2]] {
        for crash_after in 0..4 {
            let mut cluster = installing(terms, 2);
            cluster.server(1).prompt.saves = false;
            if crash_after > 0 {
                let done = cluster.server(1).do_task().unwrap();
                if crash_after > 1 {
                    cluster.step(1, vec![done]);
                }
            }
            if crash_after > 2 {
                assert!(cluster.server(1).disk.complete_one().is_some());
            }
            cluster.crash(1);
            cluster.server(1).prompt = PROMPT;
            cluster.restart(1);
            cluster.step(1, vec![]);
            let status = cluster.status(1);
            match crash_after {
                0 => {
                    assert_eq!((status.last_applied, status.purged), (Index(0), at(0, 0)));
                    assert_eq!(cluster.log(1), terms);
                }
                _ => {
                    assert_eq!((status.last_applied, status.purged), (Index(5), at(5, 3)));
                    assert_eq!((status.last_log, cluster.applied(1)), (at(5, 3), 5));
                    assert_eq!(cluster.server(1).disk.durable.last(), at(5, 3), "and so on disk");
                }
            }
            // Either way it goes on.
            cluster.sent();
            cluster.hear(1, 2, how_much(3, &five().snapshot));
            cluster.hear(1, 2, piece(3, &five(), 0, ALL));
            assert!(installed(&mut cluster));
            cluster.hear(1, 2, append(3, at(5, 3), &[3], 6));
            assert_eq!((cluster.applied(1), cluster.log(1)), (6, vec![3]));
        }
    }
}

/// The first step after such a crash also stores entries, behind the base.
#[test]
fn a_half_done_install_is_finished_before_anything_else_is_stored() {
    let mut image = Image::of(&voters(1..=3), 3, &[1, 1, 2, 2, 2, 2]);
    image.file = Some(five());
    let mut cluster = Cluster::from_images(vec![image; 3], |_| {});
    assert_eq!((cluster.status(1).last_log, cluster.commit(1)), (at(5, 3), 5));
    cluster.hear(1, 2, append(3, at(5, 3), &[3, 3], 7));
    assert_eq!(cluster.server(1).disk.durable.terms(), [3, 3]);
    assert_eq!(cluster.applied(1), 7);
}

/// A leader that was elected meanwhile needs no snapshot: it has all that is committed.
#[test]
fn pieces_are_forgotten_by_a_server_that_is_elected() {
    let mut cluster = Cluster::of_logs(&[(3, &[1, 1, 3]), (3, &[1, 1]), (3, &[1, 1])]);
    let file = snapshot_of(&voters(1..=3), &[1, 1, 3, 3, 3]);
    cluster.hear(1, 2, piece(3, &file, 0, 30));
    cluster.sent();
    cluster.elect(1);
    let stored =
        Event::SnapshotChunkStored { last_included: at(5, 3), received: file.snapshot.size };
    cluster.step(1, vec![stored]);
    assert_eq!((cluster.role(1), cluster.server(1).tasks.len()), (RoleName::Leader, 0));
    cluster.write(1, 2);
    assert_eq!(cluster.applied(1), 6);
}

/// A candidate does not install what it was sent; when the next leader has the same, it does.
#[test]
fn the_last_piece_may_be_stored_when_its_leader_is_gone() {
    let mut cluster = follower(&[1, 1], 2);
    cluster.server(1).prompt.snapshots = false;
    cluster.hear(1, 2, piece(3, &five(), 0, ALL));
    cluster.timeout(1);
    assert_eq!(cluster.role(1), RoleName::PreCandidate);
    do_task(&mut cluster, 1);
    assert_eq!((cluster.role(1), cluster.server(1).tasks.len()), (RoleName::PreCandidate, 0));
    cluster.server(1).prompt.snapshots = true;
    cluster.hear(1, 3, how_much(4, &five().snapshot));
    assert!(installed(&mut cluster));
}

/// A vote is about the log, which after a snapshot ends where the snapshot does (§5.4.1).
#[test]
fn a_candidates_last_entry_may_be_its_snapshots() {
    let mut cluster = follower(&[1, 1], 2);
    cluster.hear(1, 2, piece(3, &five(), 0, ALL));
    cluster.sent();
    cluster.timeout(1);
    let asked = cluster.sent().iter().find_map(|(_, body)| vote_request_of(body)).unwrap();
    assert_eq!((asked.kind, asked.last_log), (VoteKind::PreVote, at(5, 3)));
}
