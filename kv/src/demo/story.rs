//! What happens while the clients write: the leader is killed, and later started again.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::anyhow;

use super::cluster::Cluster;
use super::limits::Limits;
use super::load::{CLIENTS, Ledger, client, write_keys};
use super::observe::{Leader, has_caught_up, leader_after};
use super::progress::Progress;
use super::screen::Screen;

/// When the leader is killed, and when it is started again, in percent of the writes.
const KILL_AT: u64 = 40;
const RESTART_AT: u64 = 70;
/// How long an election, or a restart, may take.
const RECOVERY: Duration = Duration::from_secs(30);

/// What happened.
pub(super) struct Story {
    pub(super) ledger: Ledger,
    pub(super) events: Events,
    /// How long the writes took.
    pub(super) elapsed: Duration,
}

/// The leader's loss, and its return.
pub(super) struct Events {
    pub(super) killed: Leader,
    pub(super) killed_at: Instant,
    pub(super) killed_after_writes: u64,
    pub(super) new_leader: Leader,
    /// When the new leader was seen.
    pub(super) led_at: Instant,
    /// How long the restarted server took to catch up.
    pub(super) caught_up_after: Duration,
}

/// Plays it all, to the last write.
pub(super) fn play(
    cluster: &mut Cluster,
    writes: u64,
    limits: &Limits,
    screen: &Screen,
) -> anyhow::Result<Story> {
    let endpoints = cluster.endpoints();
    screen.say(&format!("{CLIENTS} clients write {writes} keys"));
    let progress =
        Progress::new(writes, percent(writes, RESTART_AT), screen.bar(writes, "written"));
    let started = Instant::now();
    let write = |place| {
        let written = write_keys(client(place, &endpoints), &progress);
        if written.is_err() {
            progress.stop();
        }
        written
    };
    thread::scope(|scope| {
        let write = &write;
        let clients: Vec<_> = (0..CLIENTS).map(|place| scope.spawn(move || write(place))).collect();
        let conducted = conduct(cluster, writes, &progress, limits, screen)
            .and_then(|events| progress.wait_settled(writes, limits).map(|()| events));
        let elapsed = started.elapsed();
        if conducted.is_err() {
            progress.stop();
            // Then no client waits for an answer.
            cluster.stop_at_once();
        }
        let mut ledger = Ledger::default();
        for client in clients {
            // A client's own error is the cause of what else went wrong.
            ledger.merge(client.join().unwrap_or_else(|_| Err(anyhow!("a client panicked")))?);
        }
        Ok(Story { ledger, events: conducted?, elapsed })
    })
}

/// Kills and restarts, while the clients go on.
fn conduct(
    cluster: &mut Cluster,
    writes: u64,
    progress: &Progress,
    limits: &Limits,
    screen: &Screen,
) -> anyhow::Result<Events> {
    let endpoints = cluster.endpoints();
    progress.wait_settled(percent(writes, KILL_AT), limits)?;
    let killed = limits.wait("a leader", RECOVERY, || Ok(leader_after(0, &endpoints)))?;
    let (killed_after_writes, killed_at) = (progress.settled(), Instant::now());
    cluster.kill(killed.id)?;
    progress.open();
    screen.say(&format!(
        "{killed_after_writes} written: node {}, the leader, is killed with SIGKILL",
        killed.id
    ));
    let new_leader = || -> anyhow::Result<(Leader, Instant)> {
        let after = || Ok(leader_after(killed.term, &endpoints));
        let leader = limits.wait("a new leader", RECOVERY, after)?;
        let led_at = Instant::now();
        let passed = (led_at - killed_at).as_millis();
        screen.say(&format!("node {} leads in term {}, {passed} ms later", leader.id, leader.term));
        Ok((leader, led_at))
    };
    // Without it there is no majority of fewer than three.
    let is_needed = endpoints.len() < 3;
    let (seen, caught_up_after) = if is_needed {
        let caught_up_after = restart(cluster, killed.id, limits, screen)?;
        (new_leader()?, caught_up_after)
    } else {
        let seen = new_leader()?;
        progress.wait_settled(percent(writes, RESTART_AT), limits)?;
        (seen, restart(cluster, killed.id, limits, screen)?)
    };
    let (new_leader, led_at) = seen;
    Ok(Events { killed, killed_at, killed_after_writes, new_leader, led_at, caught_up_after })
}

/// Starts a server again, and waits until it has caught up. Returns how long that took.
fn restart(
    cluster: &mut Cluster,
    id: u64,
    limits: &Limits,
    screen: &Screen,
) -> anyhow::Result<Duration> {
    screen.say(&format!("node {id} is started again, on its old data"));
    let started = Instant::now();
    let endpoints = cluster.endpoints();
    cluster.start(id)?;
    limits.wait("the restarted server to catch up", RECOVERY, || {
        // Its port may be taken, for a moment, by a connection of another process.
        if cluster.has_ended(id)? {
            cluster.start(id)?;
        }
        Ok(has_caught_up(id, &endpoints).then_some(()))
    })?;
    let passed = started.elapsed();
    screen.say(&format!("node {id} has caught up after {} ms", passed.as_millis()));
    Ok(passed)
}

fn percent(writes: u64, percent: u64) -> u64 {
    writes * percent / 100
}
