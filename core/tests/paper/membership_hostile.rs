//! Changes of members that no correct leader makes, and any message in the middle of one: nobody
//! stops, and nothing committed is lost. B 99

use std::sync::Arc;

use actix_raft_core::entry::{Entry, EntryPayload};
use actix_raft_core::event::Event;
use actix_raft_core::membership::Membership;
use actix_raft_core::message::MessageBody;
use actix_raft_core::random::Random;
use actix_raft_core::types::{Index, Term};

use crate::support::cluster::Cluster;
use crate::support::disk::Image;
use crate::support::words::*;

fn some_members(random: &mut Random) -> Membership {
    let mut some = || 1 + random.next_u64() % 5..2 + random.next_u64() % 6;
    match some() {
        range if range.is_empty() => Membership::default(),
        range if range.start == 1 => joint(range, 2..=4),
        range if range.start == 2 => catching_up(range, [1, 5]),
        range if range.start == 3 => members(range, [6, 7]),
        range => voters(range),
    }
}

/// A message near to what could be said while members change.
fn garbage(random: &mut Random) -> MessageBody {
    let mut below = |end: u64| random.next_u64() % end;
    let (term, index) = (1 + below(8), below(9));
    match below(5) {
        0 => matched(term, below(4), index),
        1 => conflict(term, below(4), index, at(below(6), below(5))),
        2 => ask_vote(term, at(index, below(6))),
        _ => {
            let prev = at(index, if index == 0 { 0 } else { 1 + below(5) });
            let count = below(4);
            let entries: Vec<Entry> = (1..=count)
                .map(|n| Entry {
                    term: Term(prev.term.0.max(1)),
                    index: Index(index + n),
                    payload: EntryPayload::ConfigChange(Arc::new(some_members(random))),
                })
                .collect();
            append_entries(term, prev, Arc::from(entries), random.next_u64() % 9, 1)
        }
    }
}

#[test]
fn no_message_in_the_middle_of_a_change_stops_a_server_or_changes_what_is_committed() {
    let mut led = 0;
    for seed in 0..600 {
        let mut random = Random::new(seed);
        let image = Image::of(&voters(1..=3), 2, &[1]).then(1, &joint(1..=3, [1, 2, 4]));
        let mut cluster = Cluster::from_images(vec![image; 4], |config| {
            config.pre_vote = seed % 2 == 0;
            config.check_quorum = seed % 3 == 0;
            config.catch_up_timeout = T;
        });
        let mut committed: Vec<Entry> = Vec::new();
        for _ in 0..120 {
            let message = garbage(&mut random);
            let from = 2 + random.next_u64() % 5;
            let any = 1 + random.next_u64() % 6;
            match random.next_u64() % 9 {
                0 => cluster.wait(T),
                1 | 2 => cluster.step(1, vec![Event::Timeout]),
                3 => drop(cluster.change(1, &[add_voter(any), remove(any % 6 + 1)])),
                4 => drop(cluster.propose(1, "x")),
                _ => cluster.hear(1, from, message),
            }
            // Now and then it is elected, too.
            let asked = cluster.sent().iter().find_map(|(_, body)| vote_request_of(body));
            if let Some(request) = asked.filter(|_| from != 2) {
                (2..=4).for_each(|voter| cluster.hear(1, voter, answer(&request, true)));
            }
            led += usize::from(cluster.leaders() == [1]);
            let commit = cluster.commit(1) as usize;
            let log = &cluster.server(1).disk.live.entries;
            assert!(commit >= committed.len() && log[..committed.len()] == committed[..]);
            committed = log[..commit].to_vec();
        }
    }
    assert!(led > 1000, "it led for {led} steps");
}
