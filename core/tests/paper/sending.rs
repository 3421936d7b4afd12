//! §7: a leader sends its snapshot to followers whose next entry it has purged.

use std::time::Duration;

use actix_raft_core::config::Config;
use actix_raft_core::effect::Effect;
use actix_raft_core::event::Event;
use actix_raft_core::message::{InstallOutcome, InstallSnapshotResponse, MessageBody};
use actix_raft_core::random::Random;
use actix_raft_core::snapshot::{SnapshotChunk, SnapshotPolicy};
use actix_raft_core::status::RoleName;
use actix_raft_core::types::{DiskId, LogPosition, NodeId, Term};

use crate::support::cluster::Cluster;
use crate::support::server::{Prompt, Task};
use crate::support::words::*;

const NEVER: SnapshotPolicy = SnapshotPolicy { entries: None, bytes: None, interval: None };
const CHUNK: usize = 100;

fn tweak(config: &mut Config) {
    config.snapshot_policy = SnapshotPolicy { entries: Some(10), ..NEVER };
    config.entries_kept = 0;
    config.snapshot_chunk_bytes = CHUNK;
}

/// A leader of three whose log begins after entry 20, and a follower 3 that has one entry and has
/// just said so.
fn leader_and_slow_follower() -> Cluster {
    leader_and_slow_follower_with(|_| {})
}

fn leader_and_slow_follower_with(more: impl Fn(&mut Config)) -> Cluster {
    let mut cluster = Cluster::with(3, |config| {
        tweak(config);
        more(config);
    });
    cluster.elect(1);
    cluster.isolate(3);
    cluster.write(1, 20);
    cluster.heartbeat(1);
    cluster.settle();
    cluster.heal();
    let (status, log) = (cluster.status(1), cluster.log(1).len());
    assert_eq!((status.purged, status.snapshot, log), (at(20, 1), at(20, 1), 1));
    assert_eq!(cluster.status(2).snapshot, at(20, 1));
    cluster.said(1);
    cluster
}

/// Heartbeats until the leader has begun to send: the first question is on its way.
fn ask(cluster: &mut Cluster) {
    for _ in 0..3 {
        if cluster.network.iter().any(|m| is_install(&m.body)) {
            return;
        }
        cluster.deliver_round();
        cluster.deliver_round();
        cluster.heartbeat(1);
    }
    panic!("no snapshot is sent");
}

fn size(cluster: &Cluster) -> u64 {
    cluster.servers[0].disk.durable.file.as_ref().unwrap().snapshot.size
}

/// What server 3 holds of the snapshot.
fn held(cluster: &Cluster) -> usize {
    cluster.servers[2].disk.durable.partial.as_ref().map_or(0, |partial| partial.bytes.len())
}

/// Takes the pieces to server 3 off the network: the offset and the length of each.
fn pieces(cluster: &mut Cluster) -> Vec<(u64, usize)> {
    let taken = cluster.take(|m| m.to.0 == 3 && is_install(&m.body));
    let requests = taken.iter().filter_map(|message| install_of(&message.body));
    requests.map(|request| (request.chunk.offset, request.chunk.data.len())).collect()
}

fn answer_of(term: u64, last_included: LogPosition, outcome: InstallOutcome) -> MessageBody {
    let (term, disk) = (Term(term), DiskId::UNKNOWN);
    let response = InstallSnapshotResponse { term, round: 1, disk, last_included, outcome };
    MessageBody::InstallSnapshotResponse(response)
}

fn has(offset: u64) -> MessageBody {
    answer_of(1, at(20, 1), InstallOutcome::Received { offset })
}

fn violations(cluster: &mut Cluster) -> usize {
    let said = cluster.said(1);
    said.iter().filter(|effect| matches!(effect, Effect::Violation { .. })).count()
}

/// §7 "the leader must occasionally send snapshots to followers that lag behind"; and then it goes
/// on as before, without seeking where the logs agree. B 77, 80; etcd snapshot_succeed_via_app_resp
#[test]
fn a_follower_that_lags_too_far_gets_a_snapshot_and_the_entries_behind_it() {
    let mut cluster = leader_and_slow_follower();
    ask(&mut cluster);
    cluster.settle();
    assert!(size(&cluster) > 3 * CHUNK as u64, "in several pieces");
    assert_eq!((cluster.status(3).last_log, cluster.status(3).purged), (at(21, 1), at(20, 1)));
    cluster.heartbeat(1);
    cluster.settle();
    assert_eq!(cluster.servers[2].applied, cluster.servers[0].applied);
    cluster.sent();
    (0..3).for_each(|_| {
        cluster.propose(1, "more").unwrap();
    });
    let requests = cluster.sent_to(3).iter().filter(|body| is_append(body)).count();
    assert_eq!(requests, 3, "entries stream");
    // So the follower counts: with it alone, the leader commits.
    cluster.crash(2);
    cluster.settle();
    cluster.heartbeat(1);
    cluster.settle();
    assert_eq!((cluster.commit(1), cluster.status(3).last_log), (24, at(24, 1)));
}

/// "Chunks bounded in size", two on their way, one being read.
#[test]
fn pieces_are_bounded_and_two_are_unanswered_at_the_most() {
    let mut cluster = leader_and_slow_follower();
    ask(&mut cluster);
    assert_eq!(pieces(&mut cluster)[0], (0, 0), "how much is there already?");
    cluster.hear(1, 3, has(0));
    assert_eq!(pieces(&mut cluster), [(0, CHUNK), (100, CHUNK)]);
    cluster.heartbeat(1);
    assert_eq!(pieces(&mut cluster), []);
    cluster.hear(1, 3, has(100));
    assert_eq!(pieces(&mut cluster), [(200, CHUNK)]);
    cluster.server(1).prompt.snapshots = false;
    cluster.hear(1, 3, has(300));
    cluster.hear(1, 3, has(300));
    assert_eq!(cluster.server(1).tasks.len(), 1, "one is read at a time");
}

/// B 80: a transfer holds nothing up, neither heartbeats nor entries nor reads nor commits.
#[test]
fn a_transfer_delays_no_heartbeat_no_entry_and_no_read() {
    let mut cluster = leader_and_slow_follower();
    ask(&mut cluster);
    cluster.sent();
    cluster.server(1).prompt.snapshots = false;
    cluster.server(3).prompt.snapshots = false;
    for n in 0..5 {
        cluster.propose(1, "x").unwrap();
        cluster.settle();
        assert_eq!(cluster.commit(1), 22 + n);
        let read = cluster.read(1);
        cluster.settle();
        assert!(cluster.is_ready(1, read));
        cluster.heartbeat(1);
        cluster.settle();
        let patience = cluster.deadline(3).unwrap().since(cluster.now);
        assert!(patience >= T, "server 3 hears its leader");
    }
    // Those who get a snapshot confirm reads, too.
    cluster.crash(2);
    let read = cluster.read(1);
    cluster.settle();
    assert!(cluster.is_ready(1, read));
}

/// "Rate-limitable": by deadlines, with the pieces' bytes.
#[test]
fn pieces_keep_to_the_limit_on_bytes_a_second() {
    let rate = Some(10 * CHUNK as u64);
    let mut cluster = leader_and_slow_follower_with(|c| c.snapshot_bytes_per_second = rate);
    ask(&mut cluster);
    let begun = cluster.now;
    let size = size(&cluster);
    cluster.settle();
    while held(&cluster) == 0 || cluster.servers[2].disk.durable.partial.is_some() {
        cluster.run(Duration::from_millis(1));
        let passed = cluster.now.since(begun).as_secs_f64();
        let allowed = CHUNK as f64 + passed * 10.0 * CHUNK as f64;
        assert!(held(&cluster) as f64 <= allowed + 1.0, "{} in {passed}", held(&cluster));
        if cluster.status(3).snapshot == at(20, 1) {
            break;
        }
    }
    let seconds = cluster.now.since(begun).as_secs_f64();
    let least = (size as f64 - 2.0 * CHUNK as f64) / (10.0 * CHUNK as f64);
    assert!(seconds >= least && seconds < 3.0 * least + 0.2, "{seconds} for {size} bytes");
}

/// "Resumes where it stopped after a broken link". B 76
#[test]
fn after_a_broken_link_a_transfer_goes_on_where_it_stopped() {
    let mut cluster = leader_and_slow_follower();
    ask(&mut cluster);
    while held(&cluster) < 3 * CHUNK {
        cluster.deliver_one();
    }
    let held = held(&cluster) as u64;
    cluster.isolate(3);
    cluster.step(1, vec![Event::Unreachable { peer: NodeId(3) }]);
    cluster.settle();
    cluster.heal();
    cluster.heartbeat(1);
    assert_eq!(pieces(&mut cluster), [(0, 0)], "a question first");
    cluster.hear(1, 3, has(held));
    assert_eq!(pieces(&mut cluster)[0].0, held);
}

/// The same when only messages are lost and nobody says so: of pieces or of answers.
#[test]
fn lost_pieces_and_answers_are_made_up_for() {
    for lost in [is_install as fn(&MessageBody) -> bool, |body| outcome_of(body).is_some()] {
        let mut cluster = leader_and_slow_follower();
        let mut random = Random::new(1);
        for _ in 0..1000 {
            // Two of three are lost.
            while let Some(message) = cluster.network.pop_front() {
                if !lost(&message.body) || random.next_u64().is_multiple_of(3) {
                    cluster.bring(message);
                }
            }
            if cluster.status(3).last_log == at(21, 1) {
                break;
            }
            cluster.heartbeat(1);
        }
        assert_eq!(cluster.status(3).last_log, at(21, 1));
    }
}

/// B 76: a follower that restarts in the middle.
#[test]
fn a_follower_that_restarts_gets_the_rest() {
    let mut cluster = leader_and_slow_follower();
    ask(&mut cluster);
    while held(&cluster) < 3 * CHUNK {
        cluster.deliver_one();
    }
    cluster.crash(3);
    cluster.network.clear();
    cluster.restart(3);
    let before = held(&cluster) as u64;
    let mut sent = Vec::new();
    for _ in 0..10 {
        cluster.heartbeat(1);
        while let Some(message) = cluster.network.pop_front() {
            sent.extend(install_of(&message.body).map(|r| (r.chunk.offset, r.chunk.data.len())));
            cluster.bring(message);
        }
    }
    assert_eq!(cluster.status(3).last_log, at(21, 1));
    let again = sent.iter().filter(|(offset, length)| *length > 0 && *offset < before).count();
    assert!(again == 0, "{sent:?} with {before} there already");
}

/// "Also after the leader changed if the new leader has the same snapshot."
#[test]
fn the_next_leader_goes_on_with_a_transfer_if_its_snapshot_is_the_same() {
    let mut cluster = leader_and_slow_follower();
    ask(&mut cluster);
    while held(&cluster) < 3 * CHUNK {
        cluster.deliver_one();
    }
    let before = held(&cluster) as u64;
    cluster.crash(1);
    cluster.network.clear();
    cluster.wait(2 * T);
    cluster.timeout(2);
    let mut sent = Vec::new();
    for _ in 0..10 {
        while let Some(message) = cluster.network.pop_front() {
            sent.extend(install_of(&message.body).map(|r| (r.chunk.offset, r.chunk.data.len())));
            cluster.bring(message);
        }
        assert_eq!(cluster.role(2), RoleName::Leader);
        cluster.heartbeat(2);
    }
    assert_eq!(cluster.status(3).purged, at(20, 1));
    assert!(sent.iter().all(|(offset, length)| *length == 0 || *offset >= before), "{sent:?}");
    assert_eq!(cluster.servers[2].applied, cluster.servers[1].applied);
}

/// A follower's disk was busy with the last leader's snapshot when the next was elected, which does
/// not know yet how much is committed.
#[test]
fn an_answer_about_another_leaders_snapshot_may_be_of_entries_not_known_to_be_committed() {
    let log: (u64, &[u64]) = (1, &[1, 1, 1, 1]);
    let mut cluster = Cluster::of_logs(&[log, log, (1, &[1])]);
    cluster.timeout(1);
    while cluster.role(1) != RoleName::Leader {
        assert!(cluster.deliver_one());
    }
    assert_eq!(cluster.commit(1), 0);
    let at_term = cluster.term(1);
    let response = answer_of(at_term, at(4, 1), InstallOutcome::Installed);
    let MessageBody::InstallSnapshotResponse(mut response) = response else { unreachable!() };
    response.round = 0;
    cluster.hear(1, 3, MessageBody::InstallSnapshotResponse(response));
    assert_eq!(violations(&mut cluster), 0);
}

/// B 76: the follower came by the entries in another way.
#[test]
fn an_acknowledgement_that_reaches_the_log_ends_the_transfer() {
    for matched_index in [20, 21] {
        let mut cluster = leader_and_slow_follower();
        ask(&mut cluster);
        cluster.sent();
        cluster.hear(1, 3, matched(1, 1, matched_index));
        cluster.propose(1, "x").unwrap();
        let sent = cluster.sent_to(3);
        let first = sent.iter().filter_map(append_of).find(|r| !r.entries.is_empty());
        assert_eq!(first.map(|request| request.prev_log), Some(at(matched_index, 1)));
        cluster.heartbeat(1);
        assert_eq!(pieces(&mut cluster), []);
    }
    // One that does not reach it ends nothing.
    let mut cluster = leader_and_slow_follower();
    ask(&mut cluster);
    cluster.sent();
    cluster.hear(1, 3, matched(1, 1, 19));
    cluster.hear(1, 3, has(0));
    assert_eq!(pieces(&mut cluster).len(), 2);
}

/// A lost "installed" is asked for again.
#[test]
fn a_follower_that_has_it_all_is_asked_until_it_says_that_it_is_installed() {
    let mut cluster = leader_and_slow_follower();
    ask(&mut cluster);
    cluster.sent();
    let size = size(&cluster);
    cluster.hear(1, 3, has(size));
    for _ in 0..3 {
        cluster.heartbeat(1);
        assert_eq!(pieces(&mut cluster), [(0, 0)]);
        cluster.hear(1, 3, has(size));
        assert_eq!(pieces(&mut cluster), [], "nothing is sent again");
    }
    cluster.hear(1, 3, answer_of(1, at(20, 1), InstallOutcome::Installed));
    let sent = cluster.sent_to(3);
    let entries = sent.iter().filter_map(append_of).find(|r| !r.entries.is_empty()).unwrap();
    assert_eq!(entries.prev_log, at(20, 1));
}

/// B 80, etcd 18055: two snapshots in short succession. The one that is sent is given time to
/// arrive; what follows it is kept for as long.
#[test]
fn the_next_snapshot_waits_for_one_that_is_on_its_way() {
    let mut cluster = leader_and_slow_follower();
    ask(&mut cluster);
    cluster.server(3).prompt.snapshots = false;
    cluster.settle();
    for _ in 0..15 {
        cluster.write(1, 1);
        cluster.heartbeat(1);
        cluster.settle();
    }
    assert_eq!(cluster.status(1).snapshot, at(20, 1));
    assert_eq!(cluster.status(2).snapshot, at(30, 1), "who sends none does not wait");
    // An operator's word is done all the same, and purges nothing that the follower will need.
    cluster.trigger_snapshot(1);
    assert_eq!((cluster.status(1).snapshot, cluster.status(1).purged), (at(36, 1), at(20, 1)));
    // It can't be held up for ever.
    for _ in 0..30 {
        cluster.write(1, 1);
        cluster.heartbeat(1);
        cluster.settle();
    }
    assert_eq!(cluster.commit(1), 66);
    for _ in 0..30 {
        cluster.write(1, 1);
        cluster.heartbeat(1);
        cluster.settle();
    }
    assert!(cluster.status(1).snapshot.index.0 >= 80, "{:?}", cluster.status(1).snapshot);
    // Nor for one that is not heard.
    cluster.server(3).prompt.snapshots = true;
    cluster.step(3, vec![]);
    (0..4).for_each(|_| {
        cluster.heartbeat(1);
        cluster.settle();
    });
    assert_eq!(cluster.servers[2].applied, cluster.servers[0].applied);
}

/// A transfer to someone who is cut off for a while keeps what follows the snapshot, over any number
/// of later ones; one that has not moved for long holds nothing up, and neither does one while the
/// disk is full.
#[test]
fn what_follows_a_snapshot_is_kept_while_it_moves() {
    let cut_off = || {
        let mut cluster = leader_and_slow_follower();
        ask(&mut cluster);
        // The question, an answer, a piece, an answer.
        (0..4).for_each(|_| cluster.deliver_round());
        cluster.isolate(3);
        cluster.run(2 * T);
        cluster.write(1, 10);
        for _ in 0..3 {
            cluster.write(1, 5);
            cluster.trigger_snapshot(1);
        }
        cluster
    };
    let mut cluster = cut_off();
    assert_eq!((cluster.status(1).snapshot, cluster.status(1).purged), (at(46, 1), at(20, 1)));
    cluster.run(Config::default().catch_up_timeout);
    cluster.write(1, 5);
    cluster.trigger_snapshot(1);
    assert_eq!(cluster.status(1).purged, at(51, 1));

    let mut cluster = cut_off();
    cluster.write(1, 5);
    cluster.step(1, vec![Event::DiskSpace { low: true }]);
    cluster.trigger_snapshot(1);
    assert_eq!(cluster.status(1).purged, at(51, 1));
}

/// "A newer snapshot supersedes it cleanly": the storage has the old one no more.
#[test]
fn a_transfer_whose_snapshot_is_gone_begins_again_with_the_latest() {
    let mut cluster = leader_and_slow_follower();
    ask(&mut cluster);
    while held(&cluster) < CHUNK {
        cluster.deliver_one();
    }
    cluster.isolate(3);
    cluster.write(1, 3);
    cluster.trigger_snapshot(1);
    cluster.heal();
    (0..12).for_each(|_| {
        cluster.heartbeat(1);
        cluster.settle();
    });
    assert_eq!(cluster.status(3).snapshot, cluster.status(1).snapshot);
    assert_eq!(cluster.servers[2].applied, cluster.servers[0].applied);
}

/// "Damaged snapshot files are detected and not served": another is taken.
#[test]
fn a_damaged_snapshot_is_not_sent_but_taken_anew() {
    let mut cluster = leader_and_slow_follower();
    cluster.server(1).disk.durable.file.as_mut().unwrap().bytes[50] ^= 1;
    ask(&mut cluster);
    cluster.settle();
    (0..4).for_each(|_| {
        cluster.heartbeat(1);
        cluster.settle();
    });
    assert_eq!(cluster.status(1).snapshot, at(21, 1));
    assert_eq!(cluster.servers[2].applied, cluster.servers[0].applied);
}

/// The same if the storage knew at the start; and if it takes none, it is not asked in a loop.
#[test]
fn a_leader_whose_snapshot_was_damaged_before_it_started_takes_one_when_it_is_needed() {
    for builds in [true, false] {
        let mut cluster = leader_and_slow_follower();
        // Its state machine survives by itself, and so can do without.
        let state = cluster.server(2).applied.clone();
        cluster.crash(2);
        cluster.server(2).applied = state;
        cluster.server(2).disk.durable.file.as_mut().unwrap().bytes[50] ^= 1;
        cluster.server(2).builds = builds;
        cluster.restart(2);
        cluster.crash(1);
        cluster.restart(1);
        cluster.isolate(3);
        cluster.elect(2);
        cluster.heal();
        cluster.server(2).prompt.snapshots = false;
        let mut builds_asked = 0;
        for _ in 0..50 {
            cluster.heartbeat(2);
            cluster.settle();
            while let Some(task) = cluster.server(2).tasks.front().cloned() {
                builds_asked += usize::from(matches!(task, Task::Build(_)));
                let done = cluster.server(2).do_task().unwrap();
                cluster.step(2, vec![done]);
                cluster.settle();
            }
        }
        if builds {
            assert_eq!(builds_asked, 1);
            assert_eq!(cluster.servers[2].applied, cluster.servers[1].applied);
        } else {
            assert!((1..=2).contains(&builds_asked), "{builds_asked} in ten election timeouts");
            assert_eq!(cluster.applied(3), 0);
        }
    }
}

/// "The leader decides who needs one (new or slow members)." §6: a new server that joins.
#[test]
fn a_new_member_gets_the_snapshot() {
    let mut cluster = leader_and_slow_follower();
    cluster.add_pristine_with(tweak);
    cluster.change(1, &[add_voter(4)]);
    cluster.run(4 * T);
    assert_eq!(cluster.membership(1).1, voters(1..=4), "it has caught up and votes");
    assert!(cluster.status(4).purged >= at(20, 1));
    assert_eq!(cluster.servers[3].applied, cluster.servers[0].applied);
}

/// Two followers at a time, each at its own pace.
#[test]
fn each_follower_has_a_transfer_of_its_own() {
    let mut cluster = Cluster::with(5, tweak);
    cluster.elect(1);
    cluster.isolate(4);
    cluster.isolate(5);
    cluster.write(1, 20);
    cluster.heal();
    cluster.server(4).prompt =
        Prompt { saves: true, applies: true, log_reads: true, snapshots: false };
    cluster.run(2 * T);
    assert_eq!(cluster.status(5).purged, at(20, 1));
    assert_eq!(cluster.status(4).purged, LogPosition::ZERO);
    cluster.server(4).prompt.snapshots = true;
    cluster.step(4, vec![]);
    cluster.run(2 * T);
    assert_eq!(cluster.servers[3].applied, cluster.servers[0].applied);
}

/// B 37: old and foreign answers move nothing.
#[test]
fn answers_about_another_snapshot_or_of_another_term_count_for_nothing() {
    let mut cluster = leader_and_slow_follower();
    ask(&mut cluster);
    cluster.sent();
    cluster.hear(1, 3, answer_of(1, at(10, 1), InstallOutcome::Received { offset: 30 }));
    assert_eq!(pieces(&mut cluster), []);
    cluster.hear(1, 3, answer_of(1, at(10, 1), InstallOutcome::Installed));
    cluster.hear(1, 3, has(0));
    assert_eq!(pieces(&mut cluster).len(), 2, "ten entries are not enough");
    // A follower whose answers are late or doubled.
    cluster.hear(1, 3, has(100));
    cluster.hear(1, 3, has(200));
    cluster.hear(1, 3, has(200));
    cluster.hear(1, 3, has(200));
    let sent = pieces(&mut cluster);
    assert_eq!(sent.len(), 2, "{sent:?}");
    assert_eq!(violations(&mut cluster), 0);
}

/// B 99
#[test]
fn answers_that_no_follower_gives_are_violations() {
    let mut cluster = leader_and_slow_follower();
    ask(&mut cluster);
    cluster.sent();
    let over = size(&cluster) + 1;
    let mut round = has(0);
    if let MessageBody::InstallSnapshotResponse(response) = &mut round {
        response.round = u64::MAX;
    }
    for message in [
        has(over),
        has(u64::MAX),
        answer_of(1, at(99, 1), InstallOutcome::Installed),
        answer_of(1, at(u64::MAX, 1), InstallOutcome::Installed),
        answer_of(1, at(21, 9), InstallOutcome::Installed),
        round,
    ] {
        cluster.hear(1, 3, message.clone());
        assert_eq!((violations(&mut cluster), cluster.sent()), (1, vec![]), "{message}");
    }
    cluster.hear(1, 9, has(0));
    assert_eq!(cluster.sent(), [], "a stranger is not answered");
}

/// A leader that is none any more sends no pieces, and takes what it read for nobody's.
#[test]
fn a_deposed_leader_sends_nothing_more() {
    let mut cluster = leader_and_slow_follower();
    ask(&mut cluster);
    cluster.sent();
    cluster.server(1).prompt.snapshots = false;
    cluster.hear(1, 3, has(0));
    assert_eq!(cluster.server(1).tasks.len(), 1);
    cluster.hear(1, 2, append(2, at(21, 1), &[], 21));
    cluster.sent();
    let read = cluster.server(1).do_task().unwrap();
    cluster.step(1, vec![read]);
    assert_eq!(cluster.sent(), []);
}

/// B 56: leadership is handed to a follower that first needs a snapshot.
#[test]
fn leadership_is_handed_to_a_follower_after_its_snapshot() {
    let mut cluster = leader_and_slow_follower();
    let id = actix_raft_core::admin::RequestId(77);
    let to = Some(NodeId(3));
    cluster.step(1, vec![Event::TransferLeadership { id, to }]);
    cluster.run(2 * T);
    assert_eq!(cluster.leaders(), [3]);
    assert_eq!(cluster.applied(3), 22);
}

/// Where the storage gives nonsense, nothing is sent for ever.
#[test]
fn an_empty_piece_from_storage_is_a_snapshot_that_can_not_be_read() {
    let mut cluster = leader_and_slow_follower();
    ask(&mut cluster);
    cluster.sent();
    cluster.server(1).prompt.snapshots = false;
    cluster.hear(1, 3, has(0));
    cluster.server(1).tasks.clear();
    let chunk = SnapshotChunk { offset: 0, data: Vec::new().into(), checksum: 0, done: false };
    let event = Event::SnapshotRead { to: NodeId(3), last_included: at(20, 1), chunk: Some(chunk) };
    cluster.step(1, vec![event]);
    assert!(matches!(cluster.server(1).tasks[0], Task::Build(_)), "a new one is taken");
}
