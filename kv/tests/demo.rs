//! The demo, as a newcomer runs it: it holds, and leaves nothing behind.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

mod support;

use support::{eventually, raft_kv};

/// The demo, with temporary files of its own.
fn demo(temporary: &Path, arguments: &[&str]) -> Command {
    let mut command = raft_kv();
    command.arg("demo").args(arguments).env("TMPDIR", temporary);
    command
}

/// Runs it to its end. All that it says is in the message of a failure.
fn run(arguments: &[&str]) -> String {
    let temporary = TempDir::new().unwrap();
    let Output { status, stdout, stderr } = demo(temporary.path(), arguments).output().unwrap();
    let (said, complaints) = (String::from_utf8(stdout).unwrap(), String::from_utf8_lossy(&stderr));
    assert_eq!(status.code(), Some(0), "{said}{complaints}");
    assert_eq!(complaints, "");
    assert_nothing_left(temporary.path());
    said
}

fn assert_nothing_left(temporary: &Path) {
    let left: Vec<_> = std::fs::read_dir(temporary).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(servers_in(temporary), 0);
}

/// How many processes have something in this directory as an argument.
fn servers_in(temporary: &Path) -> usize {
    let of_process = |entry: std::fs::DirEntry| {
        let command_line = std::fs::read(entry.path().join("cmdline")).ok()?;
        String::from_utf8(command_line).ok()
    };
    // Where there is no /proc the check is left out.
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let temporary = temporary.to_str().unwrap();
    processes.filter_map(of_process).filter(|line| line.contains(temporary)).count()
}

/// The value beside a name in the summary.
fn row<'a>(said: &'a str, name: &str) -> &'a str {
    let line = said.lines().find(|line| line.contains(name)).unwrap_or_else(|| panic!("{said}"));
    line.split('┆').nth(1).unwrap().trim_end_matches('│').trim()
}

fn first_number(text: &str) -> u64 {
    let digits = text.split(|c: char| !c.is_ascii_digit()).next();
    digits.and_then(|digits| digits.parse().ok()).unwrap_or_else(|| panic!("{text}"))
}

#[test]
fn three_nodes_lose_their_leader_and_nothing_else() {
    let said = run(&["--writes", "300"]);
    assert_eq!(said.lines().last(), Some("all held"), "{said}");
    assert_eq!(row(&said, "nodes"), "3");
    assert_eq!(row(&said, "acknowledged writes missing"), "0");
    assert_eq!(row(&said, "keys with a wrong value"), "0");
    assert!(row(&said, "state digests").starts_with("equal at index "), "{said}");
    assert!(row(&said, "writes stood still for").ends_with(" ms"), "{said}");
    assert!(row(&said, "new leader").starts_with("node "), "{said}");
    // Every write was acknowledged, or read back when its outcome was unknown.
    let acknowledged = first_number(row(&said, "writes acknowledged"));
    let unknown = first_number(row(&said, "outcome unknown"));
    assert!(acknowledged <= 300 && acknowledged + unknown >= 300, "{said}");
    // The leader was killed in mid-load.
    let killed = row(&said, "leader killed").split(" after ").nth(1).unwrap();
    assert!((120..=210).contains(&first_number(killed)), "{said}");
}

#[test]
fn the_only_node_comes_back_with_all_its_data() {
    let said = run(&["--nodes", "1", "--writes", "50"]);
    assert_eq!(said.lines().last(), Some("all held"), "{said}");
    assert_eq!(row(&said, "acknowledged writes missing"), "0");
    assert!(row(&said, "leader killed").starts_with("node 1, term "), "{said}");
    assert!(row(&said, "new leader").starts_with("node 1, term "), "{said}");
}

#[test]
fn a_directory_that_is_given_stays_and_must_be_empty() {
    let dir = TempDir::new().unwrap();
    let place = dir.path().join("new").to_str().unwrap().to_string();
    let arguments = ["--nodes", "1", "--writes", "10", "--dir", place.as_str()];
    run(&arguments);
    for kept in ["new/node1", "new/node1.log"] {
        assert!(dir.path().join(kept).exists());
    }
    let again = demo(dir.path(), &arguments).output().unwrap();
    assert_eq!(again.status.code(), Some(1));
    let complaints = String::from_utf8_lossy(&again.stderr);
    assert!(complaints.contains("it is not empty"), "{complaints}");
}

#[test]
fn an_interrupt_ends_the_demo_its_servers_and_its_files() {
    for signal in ["INT", "TERM"] {
        let temporary = TempDir::new().unwrap();
        let status = end_in_mid_load(temporary.path(), signal);
        assert_eq!(status.code(), Some(1));
        assert_nothing_left(temporary.path());
    }
}

#[test]
fn no_server_outlives_a_demo_that_is_killed() {
    let temporary = TempDir::new().unwrap();
    end_in_mid_load(temporary.path(), "KILL");
    eventually("the servers' end", || (servers_in(temporary.path()) == 0).then_some(()));
}

/// Sends a signal while the clients write, and waits for the end.
fn end_in_mid_load(temporary: &Path, signal: &str) -> std::process::ExitStatus {
    let mut command = demo(temporary, &["--writes", "1000000"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let started = lines.map_while(Result::ok).any(|line| line.contains("clients write"));
    assert!(started && servers_in(temporary) >= 3, "no servers");
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-s", signal, &id]).status().unwrap().success());
    child.wait().unwrap()
}
