//! The servers: child processes of this program's own executable.
//!
//! Each is held by its standard input: when that ends, because this process closes it or dies, the
//! server stops. So none outlives the demo, even if the demo is killed.

use std::fs::{File, OpenOptions};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};

use crate::client::endpoint::Endpoint;

/// How long servers may take to stop by themselves.
const STOPPING: Duration = Duration::from_secs(5);
/// How much of each log is shown when something failed.
const LOG_LINES: usize = 8;

pub(super) struct Cluster {
    dir: PathBuf,
    name: String,
    nodes: Vec<Node>,
}

struct Node {
    id: u64,
    raft: String,
    http: String,
    process: Option<Child>,
}

impl Cluster {
    /// Servers 1 to `size`, not started, on ports that are free now.
    pub(super) fn new(dir: &Path, size: u64) -> anyhow::Result<Cluster> {
        // A name of its own: servers of a cluster that had these ports before are refused.
        let name = format!("demo-{:08x}", fastrand::u32(..));
        Ok(Cluster { dir: dir.to_path_buf(), name, nodes: on_free_ports(size)? })
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn endpoints(&self) -> Vec<Endpoint> {
        // An address of the form that every endpoint has.
        self.nodes.iter().filter_map(|node| node.http.parse().ok()).collect()
    }

    /// Each server's address for clients and its process, a line each.
    pub(super) fn addresses(&self) -> String {
        let line = |node: &Node| {
            let process = node.process.as_ref().map_or(0, Child::id);
            format!("  node {}: http://{}, process {process}", node.id, node.http)
        };
        self.nodes.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    pub(super) fn start_all(&mut self) -> anyhow::Result<()> {
        (1..=self.nodes.len() as u64).try_for_each(|id| self.start(id))
    }

    /// Starts a server, on its data if it has any.
    pub(super) fn start(&mut self, id: u64) -> anyhow::Result<()> {
        let peer = |node: &Node| format!("{}={}@{}", node.id, node.raft, node.http);
        let peers = self.nodes.iter().map(peer).collect::<Vec<_>>().join(",");
        let (data_dir, log) = (self.dir.join(format!("node{id}")), self.log(id));
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .with_context(|| format!("can't write {}", log.display()))?;
        let program = std::env::current_exe().context("can't find this program's executable")?;
        let name = self.name.clone();
        let node = self.node(id)?;
        let mut command = Command::new(program);
        command.args(["serve", "--id", &id.to_string(), "--data-dir"]).arg(data_dir);
        command.args(["--listen", &node.raft, "--http", &node.http, "--peers", &peers]);
        command.args(["--cluster-id", &name, "--stop-with-stdin"]);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log);
        // A Ctrl-C in the terminal is for the demo, which stops its servers.
        command.process_group(0);
        node.process = Some(command.spawn().context("can't start a server")?);
        Ok(())
    }

    /// SIGKILL: no chance to write anything more.
    pub(super) fn kill(&mut self, id: u64) -> anyhow::Result<()> {
        let node = self.node(id)?;
        let mut process = node.process.take().with_context(|| format!("node {id} is not up"))?;
        process.kill().and_then(|()| process.wait()).context("can't kill a server")?;
        Ok(())
    }

    /// An error if a server that was started has ended.
    pub(super) fn check_all_run(&mut self) -> anyhow::Result<()> {
        for node in &mut self.nodes {
            if let Some(process) = &mut node.process
                && let Some(status) = process.try_wait()?
            {
                bail!("node {} has ended: {status}", node.id);
            }
        }
        Ok(())
    }

    /// Whether a server has ended.
    pub(super) fn has_ended(&mut self, id: u64) -> anyhow::Result<bool> {
        let process = self.node(id)?.process.as_mut();
        Ok(process.map(Child::try_wait).transpose()?.flatten().is_some())
    }

    /// Whether another process was faster to take a port.
    pub(super) fn port_was_taken(&self) -> bool {
        self.nodes.iter().any(|node| self.log_text(node.id).contains("can't listen on"))
    }

    /// Takes other ports, and forgets the data: it names the old ones.
    pub(super) fn move_elsewhere(&mut self) -> anyhow::Result<()> {
        for id in 1..=self.nodes.len() {
            let data_dir = self.dir.join(format!("node{id}"));
            if data_dir.exists() {
                std::fs::remove_dir_all(data_dir)?;
            }
            File::create(self.log(id as u64))?;
        }
        self.nodes = on_free_ports(self.nodes.len() as u64)?;
        Ok(())
    }

    /// Lets all servers stop by themselves, and ends those that don't in time.
    pub(super) fn stop(&mut self) {
        for process in self.nodes.iter_mut().filter_map(|node| node.process.as_mut()) {
            drop(process.stdin.take());
        }
        let started = Instant::now();
        while started.elapsed() < STOPPING && self.any_runs() {
            thread::sleep(Duration::from_millis(10));
        }
        self.stop_at_once();
    }

    fn any_runs(&mut self) -> bool {
        let mut processes = self.nodes.iter_mut().filter_map(|node| node.process.as_mut());
        processes.any(|process| matches!(process.try_wait(), Ok(None)))
    }

    /// Ends all servers, and waits until they have ended.
    pub(super) fn stop_at_once(&mut self) {
        let mut processes: Vec<Child> =
            self.nodes.iter_mut().filter_map(|node| node.process.take()).collect();
        for process in &mut processes {
            // It fails only for one that has ended.
            let _ = process.kill();
        }
        for process in &mut processes {
            let _ = process.wait();
        }
    }

    /// The last lines of all logs.
    pub(super) fn ends_of_logs(&self) -> String {
        let mut ends = String::new();
        for node in &self.nodes {
            let text = self.log_text(node.id);
            let lines: Vec<&str> = text.lines().collect();
            ends += &format!("--- end of the log of node {}\n", node.id);
            for line in &lines[lines.len().saturating_sub(LOG_LINES)..] {
                ends += line;
                ends.push('\n');
            }
        }
        ends
    }

    fn log(&self, id: u64) -> PathBuf {
        self.dir.join(format!("node{id}.log"))
    }

    fn log_text(&self, id: u64) -> String {
        let bytes = std::fs::read(self.log(id)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn node(&mut self, id: u64) -> anyhow::Result<&mut Node> {
        let node = self.nodes.iter_mut().find(|node| node.id == id);
        node.ok_or_else(|| anyhow!("there is no node {id}"))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop_at_once();
    }
}

fn on_free_ports(size: u64) -> anyhow::Result<Vec<Node>> {
    // Held all at once, so that they differ.
    let held = (0..2 * size)
        .map(|_| TcpListener::bind("127.0.0.1:0"))
        .collect::<Result<Vec<_>, _>>()
        .context("can't find free ports")?;
    let mut addresses = Vec::new();
    for listener in &held {
        addresses.push(listener.local_addr()?.to_string());
    }
    let (raft, http) = addresses.split_at(size as usize);
    let addresses = (1..).zip(raft.iter().zip(http));
    let node = |(id, (raft, http)): (u64, (&String, &String))| Node {
        id,
        raft: raft.clone(),
        http: http.clone(),
        process: None,
    };
    Ok(addresses.map(node).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_differ_and_a_taken_port_is_read_from_the_log() {
        let dir = tempfile::tempdir().unwrap();
        let mut cluster = Cluster::new(dir.path(), 3).unwrap();
        let addresses = |cluster: &Cluster| {
            let both = |node: &Node| [node.raft.clone(), node.http.clone()];
            cluster.nodes.iter().flat_map(both).collect::<std::collections::BTreeSet<_>>()
        };
        assert_eq!((addresses(&cluster).len(), cluster.endpoints().len()), (6, 3));
        assert!(!cluster.port_was_taken());
        std::fs::create_dir(dir.path().join("node2")).unwrap();
        std::fs::write(dir.path().join("node2.log"), "a\nerror: can't listen on x\n").unwrap();
        assert!(cluster.port_was_taken());
        assert!(cluster.ends_of_logs().contains("node 2\na\nerror: can't listen on x\n---"));
        cluster.move_elsewhere().unwrap();
        assert!(!cluster.port_was_taken());
        assert!(!dir.path().join("node2").exists());
    }

    #[test]
    fn only_the_end_of_a_log_is_shown() {
        let dir = tempfile::tempdir().unwrap();
        let cluster = Cluster::new(dir.path(), 1).unwrap();
        let lines: Vec<String> = (1..=20).map(|n| format!("line {n}")).collect();
        std::fs::write(dir.path().join("node1.log"), lines.join("\n")).unwrap();
        let shown = cluster.ends_of_logs();
        assert!(shown.starts_with("--- end of the log of node 1\nline 13\n"), "{shown}");
        assert!(shown.ends_with("line 20\n"), "{shown}");
    }
}
