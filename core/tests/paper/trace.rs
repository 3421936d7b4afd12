//! The trace of a server: a line for each event, and the same lines for the same events.

use std::sync::{Arc, Mutex};

use crate::support::cluster::Cluster;

/// B 100
#[test]
fn the_same_events_are_told_in_the_same_lines() {
    let traced = || {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let mut cluster = Cluster::new(3);
        let told = Arc::clone(&lines);
        let hook = move |line: actix_raft_core::status::TraceLine| {
            told.lock().unwrap().push(line.to_string());
        };
        cluster.server(1).raft().set_trace(Box::new(hook));
        cluster.elect(1);
        std::mem::take(&mut *lines.lock().unwrap())
    };
    let lines = traced();
    assert_eq!(lines, traced());
    assert!(
        lines[0].contains("role=pre-candidate") && lines[0].ends_with("<- Timeout"),
        "{lines:?}"
    );
    assert!(lines.last().is_some_and(|line| line.contains("role=leader")), "{lines:?}");
}
