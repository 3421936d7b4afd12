//! Servers that are killed, paused, damaged and lied to.

mod support;

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom, Write};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use support::{Cluster, Server, eventually, segments};
use ureq::http::Method;

/// Writes new keys until told to stop; returns those that were acknowledged.
fn write_until(
    stop: &AtomicBool,
    acknowledged: &AtomicUsize,
    servers: &[Server],
) -> BTreeMap<String, String> {
    let done = Mutex::new(BTreeMap::new());
    thread::scope(|scope| {
        for writer in 0..4 {
            let done = &done;
            scope.spawn(move || {
                for n in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let (key, value) = (format!("{writer}-{n}"), format!("value {writer} {n}"));
                    let server = &servers[(writer + n) % servers.len()];
                    let path = format!("/v1/kv/{key}");
                    let answer = server.request(Method::PUT, &path, &[], value.as_bytes());
                    match answer.map(|answer| answer.status) {
                        Ok(200) => {
                            acknowledged.fetch_add(1, Ordering::Relaxed);
                            done.lock().unwrap().insert(key, value);
                        }
                        // A server that is down, or has no leader.
                        Err(_) | Ok(503 | 504) => {}
                        Ok(other) => panic!("an answer of {other}"),
                    }
                }
            });
        }
    });
    done.into_inner().unwrap()
}

fn check_all_there(cluster: &Cluster, written: &BTreeMap<String, String>) {
    for (n, (key, value)) in written.iter().enumerate() {
        let read = cluster.servers[n % cluster.servers.len()].get(&format!("/v1/kv/{key}"));
        assert_eq!((read.status, read.body), (200, value.clone().into_bytes()), "{key}");
    }
}

#[test]
fn no_acknowledged_write_is_lost_when_leaders_are_killed() {
    let mut cluster = Cluster::started(3);
    let mut written = BTreeMap::new();
    for _ in 0..3 {
        let leader = cluster.leader();
        let term = cluster.servers[leader].status().unwrap()["term"].as_u64().unwrap();
        let (stop, acknowledged) = (AtomicBool::new(false), AtomicUsize::new(0));
        let at_least = |count| {
            eventually("writes", || (acknowledged.load(Ordering::Relaxed) >= count).then_some(()));
        };
        let (mut killed, others) = split(&mut cluster.servers, leader);
        let done = thread::scope(|scope| {
            let writes = scope.spawn(|| write_until(&stop, &acknowledged, &others));
            at_least(100);
            killed.kill();
            let before = acknowledged.load(Ordering::Relaxed);
            at_least(before + 100);
            stop.store(true, Ordering::Relaxed);
            writes.join().unwrap()
        });
        written.extend(done);
        killed.start();
        cluster.servers = others;
        cluster.servers.insert(leader, killed);
        cluster.leader_after(term);
        check_all_there(&cluster, &written);
    }
    cluster.converged();
}

/// Takes one server out.
fn split(servers: &mut Vec<Server>, place: usize) -> (Server, Vec<Server>) {
    let taken = servers.remove(place);
    (taken, std::mem::take(servers))
}

#[test]
fn no_acknowledged_write_is_lost_when_all_servers_are_killed_at_once() {
    let mut cluster = Cluster::started(3);
    let (stop, acknowledged) = (AtomicBool::new(false), AtomicUsize::new(0));
    let ids: Vec<String> = cluster.servers.iter().map(|it| it.process_id().to_string()).collect();
    let written = thread::scope(|scope| {
        let writes = scope.spawn(|| write_until(&stop, &acknowledged, &cluster.servers));
        eventually("writes", || (acknowledged.load(Ordering::Relaxed) >= 200).then_some(()));
        let killed = std::process::Command::new("kill").arg("-KILL").args(&ids).status();
        assert!(killed.unwrap().success());
        stop.store(true, Ordering::Relaxed);
        writes.join().unwrap()
    });
    for server in &mut cluster.servers {
        server.wait();
        server.start();
    }
    cluster.leader();
    check_all_there(&cluster, &written);
    cluster.converged();
}

#[test]
fn a_paused_leader_serves_nothing_stale_and_follows_when_it_wakes() {
    let cluster = Cluster::started(3);
    let old = cluster.leader();
    let term = cluster.servers[old].status().unwrap()["term"].as_u64().unwrap();
    cluster.servers[old].put("k", "old");
    cluster.servers[old].signal("STOP");
    let other = &cluster.servers[(old + 1) % 3];
    eventually("a write to the others", || (other.put("k", "new").status == 200).then_some(()));
    thread::scope(|scope| {
        // They wait in the sockets of the paused process and are the first it sees.
        let reads: Vec<_> =
            (0..8).map(|_| scope.spawn(|| cluster.servers[old].get("/v1/kv/k"))).collect();
        cluster.servers[old].signal("CONT");
        for read in reads {
            let read = read.join().unwrap();
            assert!(read.status == 503 || read.body == b"new", "{read:?}");
        }
    });
    eventually("the old leader to follow", || {
        let status = cluster.servers[old].status()?;
        (status["role"] == "follower" && status["term"].as_u64() > Some(term)).then_some(())
    });
    assert_eq!(cluster.servers[old].get("/v1/kv/k").body, b"new");
}

#[test]
fn a_graceful_stop_says_so_and_a_server_with_data_ignores_peers() {
    let mut cluster = Cluster::started(1);
    let server = &mut cluster.servers[0];
    assert_eq!(server.put("k", "v").status, 200);
    server.signal("TERM");
    let (status, said) = server.wait();
    assert!(status.success(), "{status}: {said}");
    assert!(said.contains("stopped: SIGTERM"), "{said}");

    let mut command = server.command();
    command.env("RUST_LOG", "info");
    server.try_start_as(command).unwrap();
    cluster.leader();
    assert_eq!(cluster.servers[0].get("/v1/kv/k").body, b"v");
}

#[test]
fn a_directory_serves_one_process_of_one_server_of_one_cluster() {
    let mut cluster = Cluster::started(1);
    let (_, second) = cluster.servers[0].try_start_twice();
    assert!(second.contains("in use"), "{second}");
    cluster.servers[0].kill();

    let mut command = cluster.servers[0].command();
    command.args(["--cluster-id", "another"]);
    let (status, said) = cluster.servers[0].try_start_as(command).unwrap_err();
    assert!(!status.success() && said.contains("another"), "{said}");
    cluster.servers[0].start();
}

#[test]
fn a_torn_tail_is_cut_and_damage_before_it_is_refused() {
    let mut cluster = Cluster::started(1);
    for n in 0..50 {
        assert_eq!(cluster.servers[0].put(&format!("k{n}"), "a value of some length").status, 200);
    }
    cluster.servers[0].kill();
    let file = segments(&cluster.servers[0].data_dir).pop().unwrap();
    let whole = std::fs::read(&file).unwrap();
    let used = whole.iter().rposition(|byte| *byte != 0).unwrap() + 1;

    std::fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(used as u64 - 5).unwrap();
    cluster.servers[0].start();
    cluster.leader();
    assert_eq!(cluster.servers[0].get("/v1/kv/k0").status, 200);
    cluster.servers[0].kill();

    let mut damaged = std::fs::OpenOptions::new().read(true).write(true).open(&file).unwrap();
    let place = SeekFrom::Start(used as u64 / 2);
    let mut byte = [0];
    damaged.seek(place).unwrap();
    damaged.read_exact(&mut byte).unwrap();
    damaged.seek(place).unwrap();
    damaged.write_all(&[byte[0] ^ 1]).unwrap();
    let (status, said) = cluster.servers[0].try_start().unwrap_err();
    assert!(!status.success());
    assert!(said.contains(file.to_str().unwrap()) && said.contains("offset"), "{said}");
}

#[test]
fn garbage_on_the_raft_port_is_logged_and_changes_nothing() {
    let cluster = Cluster::started(1);
    let server = &cluster.servers[0];
    let term = server.status().unwrap()["term"].clone();
    let mut stream = TcpStream::connect(&server.raft).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    // The server closes the connection; on the way it may reset it.
    let _ = stream.read_to_end(&mut Vec::new());
    server.wait_for_log("WARN");
    assert_eq!(server.put("k", "v").status, 200);
    assert_eq!(server.status().unwrap()["term"], term);
}
