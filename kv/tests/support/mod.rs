//! Real server processes on loopback, each with its own data directory.

#![allow(dead_code)] // Each test file uses a part of it.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use ureq::Agent;
use ureq::http::{Method, Request};

/// No test waits longer than this for anything.
const GUARD: Duration = Duration::from_secs(60);

pub fn raft_kv() -> Command {
    Command::new(env!("CARGO_BIN_EXE_raft-kv"))
}

/// One server process.
pub struct Server {
    pub id: usize,
    pub http: String,
    pub raft: String,
    pub data_dir: PathBuf,
    peers: String,
    pub settings: Option<PathBuf>,
    process: Option<Running>,
}

struct Running {
    child: Child,
    log: Mutex<mpsc::Receiver<String>>,
}

/// An answer to a request.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub version: Option<u64>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    /// The error code of an answer that is one.
    pub fn error(&self) -> String {
        self.json()["error"].as_str().expect("an error code").to_string()
    }
}

impl Server {
    pub fn command(&self) -> Command {
        self.command_at(&self.raft, &self.http)
    }

    fn command_at(&self, raft: &str, http: &str) -> Command {
        let mut command = raft_kv();
        command.args(["serve", "--id", &self.id.to_string(), "--data-dir"]).arg(&self.data_dir);
        command.args(["--listen", raft, "--http", http]);
        if !self.peers.is_empty() {
            command.args(["--peers", &self.peers]);
        }
        if let Some(settings) = &self.settings {
            command.arg("--config").arg(settings);
        }
        // So that no server outlives its test, however that ends.
        command.arg("--stop-with-stdin").stdin(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Starts it and waits until it is ready, or has ended: then its status and what it said.
    pub fn try_start(&mut self) -> Result<(), (ExitStatus, String)> {
        self.try_start_as(self.command())
    }

    pub fn try_start_as(&mut self, mut command: Command) -> Result<(), (ExitStatus, String)> {
        let mut child = command.spawn().unwrap();
        let log = lines_of(child.stderr.take().unwrap());
        let mut said = String::new();
        for line in log.iter() {
            said += &line;
            said += "\n";
            if line.contains("ready: ") {
                self.process = Some(Running { child, log: Mutex::new(log) });
                return Ok(());
            }
        }
        Err((child.wait().unwrap(), said))
    }

    /// Starts another process like this one, which runs: how that ends, and what it says.
    pub fn try_start_twice(&self) -> (ExitStatus, String) {
        let ended = self.command_at("127.0.0.1:0", "127.0.0.1:0").output();
        let ended = ended.unwrap();
        (ended.status, String::from_utf8_lossy(&ended.stderr).into_owned())
    }

    pub fn start(&mut self) {
        if let Err((status, said)) = self.try_start() {
            panic!("server {} ended with {status}: {said}", self.id);
        }
    }

    /// Starts it as the only server of a new cluster.
    pub fn start_as_first(&mut self) {
        self.peers = self.peer();
        self.start();
    }

    /// Starts it in a new cluster of the first so many servers.
    pub fn start_in(&mut self, size: usize) {
        let peers: Vec<&str> = self.peers.split(',').take(size).collect();
        self.peers = peers.join(",");
        self.start();
    }

    /// Starts it as a new server that asks this one's cluster to be added.
    pub fn join(&mut self, member: &Server) {
        self.peers.clear();
        let mut command = self.command();
        command.args(["--join", &format!("http://{}", member.http)]);
        if let Err((status, said)) = self.try_start_as(command) {
            panic!("server {} ended with {status}: {said}", self.id);
        }
    }

    /// As the command line names it.
    pub fn peer(&self) -> String {
        format!("{}={}@{}", self.id, self.raft, self.http)
    }

    /// Starts it as a new server that waits until a leader calls.
    pub fn start_alone(&mut self) {
        self.peers.clear();
        self.start();
    }

    pub fn is_up(&self) -> bool {
        self.process.is_some()
    }

    /// Asks it to stop, and waits until it has.
    pub fn stop(&mut self) {
        self.signal("TERM");
        let (status, said) = self.wait();
        assert!(status.success(), "{said}");
    }

    /// SIGKILL: no chance to write anything more.
    pub fn kill(&mut self) {
        let mut running = self.process.take().expect("it runs");
        running.child.kill().unwrap();
        running.child.wait().unwrap();
    }

    pub fn signal(&self, name: &str) {
        let id = self.process.as_ref().expect("it runs").child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }

    /// Waits until it has ended by itself: its status and what it said since it was ready.
    pub fn wait(&mut self) -> (ExitStatus, String) {
        let mut running = self.process.take().expect("it runs");
        let said: Vec<String> = running.log.into_inner().unwrap().iter().collect();
        (running.child.wait().unwrap(), said.join("\n"))
    }

    /// Waits until it has said this.
    pub fn wait_for_log(&self, text: &str) -> String {
        let log = self.process.as_ref().expect("it runs").log.lock().unwrap();
        loop {
            let line = log.recv_timeout(GUARD).unwrap_or_else(|_| panic!("'{text}' is never said"));
            if line.contains(text) {
                return line;
            }
        }
    }

    pub fn process_id(&self) -> u32 {
        self.process.as_ref().expect("it runs").child.id()
    }

    pub fn request(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Answer, ureq::Error> {
        let mut request =
            Request::builder().method(method).uri(format!("http://{}{path}", self.http));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut response = agent().run(request.body(body).unwrap())?;
        let etag = response.headers().get("etag").map(|etag| etag.to_str().unwrap().to_string());
        let mut answer = Answer {
            status: response.status().as_u16(),
            version: etag.map(|etag| etag.trim_matches('"').parse().unwrap()),
            body: Vec::new(),
        };
        response.body_mut().as_reader().read_to_end(&mut answer.body).unwrap();
        Ok(answer)
    }

    pub fn get(&self, path: &str) -> Answer {
        self.request(Method::GET, path, &[], b"").unwrap()
    }

    pub fn put(&self, key: &str, value: &str) -> Answer {
        self.request(Method::PUT, &format!("/v1/kv/{key}"), &[], value.as_bytes()).unwrap()
    }

    pub fn status(&self) -> Option<Value> {
        let answer = self.request(Method::GET, "/v1/status", &[], b"").ok()?;
        (answer.status == 200).then(|| answer.json())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut running) = self.process.take() {
            let _ = running.child.kill();
            let _ = running.child.wait();
        }
    }
}

fn agent() -> Agent {
    Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(10)))
        .build()
        .into()
}

/// The lines of a process, as they come.
fn lines_of(stderr: ChildStderr) -> mpsc::Receiver<String> {
    let (said, log) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            // A test that no longer listens has ended.
            let _ = said.send(line);
        }
    });
    log
}

/// Servers that form a cluster.
pub struct Cluster {
    pub servers: Vec<Server>,
    _dir: TempDir,
}

impl Cluster {
    /// Servers 1 to `size`, not started.
    pub fn new(size: usize) -> Cluster {
        let dir = TempDir::new().unwrap();
        // Held all at once, so that they differ.
        let ports: Vec<TcpListener> =
            (0..2 * size).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let address = |place: usize| ports[place].local_addr().unwrap().to_string();
        let peers: Vec<String> = (0..size)
            .map(|n| format!("{}={}@{}", n + 1, address(2 * n), address(2 * n + 1)))
            .collect();
        let server = |n: usize| Server {
            id: n + 1,
            raft: address(2 * n),
            http: address(2 * n + 1),
            data_dir: dir.path().join(format!("node{}", n + 1)),
            peers: peers.join(","),
            settings: None,
            process: None,
        };
        Cluster { servers: (0..size).map(server).collect(), _dir: dir }
    }

    /// The same, started and formed.
    pub fn started(size: usize) -> Cluster {
        let mut cluster = Cluster::new(size);
        cluster.servers.iter_mut().for_each(Server::start);
        cluster.leader();
        cluster
    }

    /// The same with settings: the text of a file.
    pub fn started_with(size: usize, settings: &str) -> Cluster {
        let mut cluster = Cluster::new(size);
        cluster.configure(settings);
        cluster.servers.iter_mut().for_each(Server::start);
        cluster.leader();
        cluster
    }

    /// Gives all servers these settings when they start next.
    pub fn configure(&mut self, settings: &str) {
        let file = self._dir.path().join("settings.toml");
        std::fs::write(&file, settings).unwrap();
        self.servers.iter_mut().for_each(|server| server.settings = Some(file.clone()));
    }

    /// A directory for a test's own files.
    pub fn dir(&self) -> &Path {
        self._dir.path()
    }

    /// Runs a command of the client against all servers that are up; its output.
    pub fn run(&self, arguments: &[&str]) -> std::process::Output {
        let up = self.servers.iter().filter(|server| server.is_up());
        let endpoints = up.map(|server| server.http.clone()).collect::<Vec<_>>().join(",");
        raft_kv().args(arguments).args(["--endpoints", &endpoints]).output().unwrap()
    }

    /// The same for one that succeeds: what it says.
    pub fn done(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {} {error}", output.status);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Waits until exactly these are the voters, and no change is under way.
    pub fn voters(&self, ids: &[u64]) {
        eventually("these voters", || {
            let up = self.servers.iter().filter(|server| server.is_up());
            let leads = |status: &Value| status["role"] == "leader";
            let status = up.filter_map(Server::status).find(leads)?;
            let members = &status["membership"];
            let voters = members["voters"].as_array()?.iter().filter_map(|it| it["id"].as_u64());
            let are = voters.collect::<Vec<_>>() == ids && members["goal"].is_null();
            are.then_some(())
        });
    }

    /// Waits for a leader, the one of the latest term: its place in `servers`.
    pub fn leader(&self) -> usize {
        self.leader_after(0)
    }

    /// The same, of a later term than this.
    pub fn leader_after(&self, term: u64) -> usize {
        eventually("a leader", || {
            let leads = |place: &usize| {
                self.servers[*place].process.as_ref()?;
                let status = self.servers[*place].status()?;
                let its_term = status["term"].as_u64().unwrap();
                (status["role"] == "leader" && its_term > term).then_some((its_term, *place))
            };
            let places: Vec<usize> = (0..self.servers.len()).collect();
            places.iter().filter_map(leads).max().map(|(_, place)| place)
        })
    }

    /// Waits until all servers have applied the same, and checks that it is the same.
    pub fn converged(&self) {
        eventually("equal digests", || {
            let statuses: Vec<Value> =
                self.servers.iter().map(Server::status).collect::<Option<_>>()?;
            let digest = &statuses[0]["state_digest"];
            let applied = |status: &Value| {
                status["state_digest"]["index"] == status["last_log_index"]
                    && status["state_digest"]["index"] == digest["index"]
            };
            if !statuses.iter().all(applied) {
                return None;
            }
            for status in &statuses {
                assert_eq!(&status["state_digest"], digest, "state at one index differs");
            }
            Some(())
        });
    }
}

/// Asks again and again until there is an answer.
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(started.elapsed() < GUARD, "never: {what}");
        // Other processes are waited for, which can't say when.
        thread::sleep(Duration::from_millis(20));
    }
}

/// The log's files in a data directory, in order.
pub fn segments(data_dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(data_dir).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|it| it == "wal")).collect();
    files.sort();
    files
}
