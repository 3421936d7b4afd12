//! Real clusters that grow, shrink, hand over, lose disks, and are backed up.

mod support;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use support::{Cluster, Server, eventually};
use ureq::http::Method;

/// Writes new keys through one server until told to stop; those that were acknowledged.
fn write_until(stop: &AtomicBool, server: &Server) -> BTreeMap<String, String> {
    let mut acknowledged = BTreeMap::new();
    for n in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let (key, value) = (format!("key-{n}"), format!("value {n}"));
        let answer = server.request(Method::PUT, &format!("/v1/kv/{key}"), &[], value.as_bytes());
        if answer.is_ok_and(|answer| answer.status == 200) {
            acknowledged.insert(key, value);
        }
    }
    acknowledged
}

fn check_all_there(server: &Server, written: &BTreeMap<String, String>) {
    assert!(!written.is_empty());
    for (key, value) in written {
        let read = server.get(&format!("/v1/kv/{key}"));
        assert_eq!((read.status, read.body), (200, value.clone().into_bytes()), "{key}");
    }
}

#[test]
fn a_cluster_grows_from_one_server_and_every_server_is_replaced() {
    let mut cluster = Cluster::new(6);
    cluster.servers[0].start_as_first();
    cluster.leader();
    for place in [1, 2] {
        let (members, new) = cluster.servers.split_at_mut(place);
        new[0].join(&members[0]);
        let ids: Vec<u64> = (1..=place as u64 + 1).collect();
        cluster.voters(&ids);
    }
    let mut written = BTreeMap::new();
    for (old, new) in [(1, 4), (2, 5), (3, 6)] {
        cluster.servers[new - 1].start_alone();
        let stop = AtomicBool::new(false);
        written.append(&mut thread::scope(|scope| {
            let writer = scope.spawn(|| write_until(&stop, &cluster.servers[new - 2]));
            let peer = cluster.servers[new - 1].peer();
            let command = ["member", "replace", &old.to_string(), &peer, "--timeout", "60"];
            let output = cluster.run(&command);
            stop.store(true, Ordering::Relaxed);
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(said.contains("final configuration is committed"), "{output:?}");
            writer.join().unwrap()
        }));
        cluster.servers[old - 1].stop();
    }
    cluster.voters(&[4, 5, 6]);
    check_all_there(&cluster.servers[5], &written);
    let list = cluster.done(&["member", "list"]);
    assert!(list.contains("leader") && !list.contains("a change is under way"), "{list}");
}

#[test]
fn what_can_not_be_is_refused_in_words() {
    let mut cluster = Cluster::new(4);
    for place in 0..3 {
        cluster.servers[place].start_in(3);
    }
    cluster.leader();
    let refused = |arguments: &[&str]| {
        let output = cluster.run(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(refused(&["member", "remove", "1", "2", "3"]).contains("inoperable"));
    assert!(refused(&["member", "promote", "9"]).contains("node 9 is not a member"));
    let stale = ["member", "demote", "1", "--if-configuration", "77"];
    assert!(refused(&stale).contains("other_configuration"), "{}", refused(&stale));
    assert_eq!(cluster.done(&["member", "remove", "9"]), "nothing to do\n");
    assert!(refused(&["transfer", "--to", "9"]).contains("node 9 has no vote"));
    cluster.voters(&[1, 2, 3]);
}

#[test]
fn leadership_goes_where_an_operator_wants_it_and_to_another_at_a_stop() {
    let mut cluster = Cluster::started(3);
    let first = cluster.leader();
    let to = (first + 1) % 3;
    let said = cluster.done(&["transfer", "--to", &(to + 1).to_string()]);
    assert_eq!(said, format!("server {} leads\n", to + 1));
    assert_eq!(cluster.leader(), to);
    let term = cluster.servers[to].status().unwrap()["term"].as_u64().unwrap();
    cluster.servers[to].stop();
    // The next term, and no later one: nobody had to wait for a timeout.
    let next = cluster.leader_after(term);
    assert_eq!(cluster.servers[next].status().unwrap()["term"], term + 1);
}

#[test]
fn a_server_far_behind_gets_a_snapshot_and_a_restart_begins_with_one() {
    let settings = "snapshot_entries = 20\nentries_kept = 5\n";
    let mut cluster = Cluster::started_with(3, settings);
    let behind = (cluster.leader() + 1) % 3;
    cluster.servers[behind].kill();
    let up = (behind + 1) % 3;
    for n in 0..100 {
        assert_eq!(cluster.servers[up].put(&format!("k{n}"), &n.to_string()).status, 200);
    }
    let purged = |server: &Server| server.status().unwrap()["purged_index"].as_u64().unwrap();
    let leader = cluster.leader();
    eventually("a purged log", || (purged(&cluster.servers[leader]) > 50).then_some(()));
    cluster.servers[behind].start();
    cluster.converged();
    assert!(purged(&cluster.servers[behind]) > 50, "it was not sent entry by entry");
    cluster.servers[behind].stop();
    cluster.servers[behind].start();
    cluster.converged();
    for n in 0..100 {
        let path = format!("/v1/kv/k{n}?consistency=local");
        assert_eq!(cluster.servers[behind].get(&path).body, n.to_string().into_bytes());
    }
    let said = cluster.done(&["snapshot"]);
    assert_eq!(said.matches("snapshot up to index").count(), 3, "{said}");
}

#[test]
fn a_server_that_lost_its_disk_comes_back_under_its_id_and_catches_up() {
    let mut cluster = Cluster::started(3);
    let lost = (cluster.leader() + 1) % 3;
    for n in 0..50 {
        assert_eq!(cluster.servers[lost].put(&format!("k{n}"), "v").status, 200);
    }
    cluster.servers[lost].kill();
    std::fs::remove_dir_all(&cluster.servers[lost].data_dir).unwrap();
    // Given the same peers again, as a service manager would.
    cluster.servers[lost].start();
    cluster.converged();
    eventually("trust", || {
        let status = cluster.servers[lost].status()?;
        (status["trusted"] == true).then_some(())
    });
    // It counts again: with another one down there is a majority only with it.
    cluster.servers[(lost + 1) % 3].kill();
    eventually("a write", || {
        let answer = cluster.servers[lost].request(Method::PUT, "/v1/kv/after", &[], b"v").ok()?;
        (answer.status == 200).then_some(())
    });
}

#[test]
fn a_write_in_a_session_is_done_once_however_often_it_is_sent() {
    let cluster = Cluster::started(3);
    let session = cluster.servers[0].request(Method::POST, "/v1/sessions", &[], b"").unwrap();
    let session = session.json()["session"].to_string();
    let send = |server: usize, serial: &str, value: &[u8]| {
        let headers = [("Raft-Session", session.as_str()), ("Raft-Serial", serial)];
        cluster.servers[server].request(Method::PUT, "/v1/kv/k", &headers, value).unwrap()
    };
    let first = send(0, "1", b"a");
    assert_eq!(first.status, 200);
    for server in 0..3 {
        let again = send(server, "1", b"a");
        assert_eq!((again.status, again.version), (200, first.version));
    }
    assert!(send(1, "2", b"b").version > first.version);
    let output = cluster.run(&["put", "k", "c", "--retry"]);
    assert!(output.status.success());
    let headers = [("Raft-Session", "999999"), ("Raft-Serial", "1")];
    let unknown = cluster.servers[0].request(Method::PUT, "/v1/kv/k", &headers, b"d").unwrap();
    assert_eq!((unknown.status, unknown.error()), (410, "session_over".to_string()));
    assert_eq!(cluster.servers[2].get("/v1/kv/k").body, b"c");
}

#[test]
fn a_backup_is_restored_into_a_new_cluster() {
    let old = Cluster::started(1);
    for n in 0..200 {
        assert_eq!(old.servers[0].put(&format!("k{n}"), &"v".repeat(n)).status, 200);
    }
    let file = old.dir().join("kv.backup");
    let file = file.to_str().unwrap();
    assert!(old.done(&["backup", file]).starts_with("200 keys in "));
    assert!(!old.run(&["backup", file]).status.success(), "the file is there already");

    let new = Cluster::started(1);
    assert_eq!(new.done(&["restore", file]), "200 keys restored\n");
    assert_eq!(new.done(&["restore", file]), "200 keys restored\n", "again, with nothing to do");
    for n in 0..200 {
        assert_eq!(new.servers[0].get(&format!("/v1/kv/k{n}")).body, "v".repeat(n).into_bytes());
    }
    new.servers[0].put("k7", "other");
    let output = new.run(&["restore", file]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("'k7' is there with another value"));

    let bytes = std::fs::read(file).unwrap();
    std::fs::write(file, &bytes[..bytes.len() - 1]).unwrap();
    let output = new.run(&["restore", file]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("is no whole backup"));
}

#[test]
fn leases_are_refused_until_the_settings_allow_them() {
    let cluster = Cluster::started(3);
    assert_eq!(cluster.servers[0].put("k", "v").status, 200);
    for server in &cluster.servers {
        let refused = server.get("/v1/kv/k?consistency=lease");
        assert_eq!((refused.status, refused.error()), (400, "lease_disabled".to_string()));
    }
    cluster.done(&["config", "lease_max_clock_drift_percent=10"]);
    for server in &cluster.servers {
        assert_eq!(server.get("/v1/kv/k?consistency=lease").body, b"v");
    }
    let output = cluster.run(&["config", "election_timeout_ms=1"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("at most half"), "{output:?}");
    let explained = cluster.done(&["explain"]);
    assert!(explained.contains("it leads") && explained.contains("it follows"), "{explained}");
}
