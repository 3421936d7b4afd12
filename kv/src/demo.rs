//! `raft-kv demo`: a cluster on this machine loses its leader in mid-load, and nothing else.
//!
//! ```text
//!   start 3 servers --> a leader --> 16 clients write ------------------------> read all back
//!                                      at 40 %: SIGKILL for the leader           compare digests
//!                                      at 70 %: it is started again, catches up
//! ```
//!
//! Clients keep account of what they were told: a write is acknowledged, certainly not done (and
//! tried again), or of unknown outcome (and read back).

mod check;
mod cluster;
mod limits;
mod load;
mod observe;
mod place;
mod progress;
mod report;
mod screen;
mod story;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};

use check::check_all;
use cluster::Cluster;
use limits::Limits;
use observe::{formed, same_state};
use place::Place;
use report::Report;
use screen::Screen;
use story::{Story, play};

/// Start a cluster on this machine, kill its leader under load, and check that nothing is lost
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  raft-kv demo
  raft-kv demo --nodes 5 --writes 50000
  raft-kv demo --keep                     (and play with the cluster until Ctrl-C)

Servers listen on free ports of 127.0.0.1 and stop when the demo ends, however it ends.
The exit code is 0 only if all held.")]
pub(crate) struct DemoArgs {
    /// How many servers
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=9))]
    nodes: u64,
    /// How many keys to write
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(10..=10_000_000))]
    writes: u64,
    /// Where the servers' data and logs go, and stay: an empty directory, or one to create.
    /// Without it, a temporary one
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Leave the cluster up until Ctrl-C, and its data after that
    #[arg(long)]
    keep: bool,
}

/// How often a cluster is started on other ports, when someone was faster to take one.
const STARTS: u32 = 3;
/// How long a cluster may take to have a leader, and all servers ready.
const FORMING: Duration = Duration::from_secs(30);

/// Runs the demo. Returns no error only if all held.
pub(crate) fn run(args: &DemoArgs) -> anyhow::Result<()> {
    let limits = Limits::start(args.writes)?;
    let place = Place::new(args.dir.as_deref(), args.keep)?;
    // It is dropped before the place, on every way out: no server writes there any more.
    let mut cluster = Cluster::new(place.path(), args.nodes)?;
    let done = demo(args, &limits, &mut cluster);
    if done.is_err() && !limits.interrupted() {
        cluster.stop_at_once();
        eprint!("{}", cluster.ends_of_logs());
    }
    done
}

fn demo(args: &DemoArgs, limits: &Limits, cluster: &mut Cluster) -> anyhow::Result<()> {
    let screen = Screen::new();
    start(args, limits, cluster, &screen)?;
    let endpoints = cluster.endpoints();
    let story = play(cluster, args.writes, limits, &screen)?;
    screen.say("reading every key back, from all servers");
    let findings = check_all(&endpoints, &story.ledger, limits, &screen)?;
    let state = same_state(&endpoints, limits)?;
    let Story { ledger, events, elapsed } = story;
    let report = Report { nodes: args.nodes, ledger, events, elapsed, findings, state };
    screen.say(&report.table());
    let verdict = report.verdict();
    screen.say(&verdict.as_ref().map_or_else(|broken| broken.clone(), |()| "all held".to_string()));
    if args.keep {
        screen.say(&invitation(cluster));
        limits.wait_for_interrupt();
    }
    cluster.stop();
    match verdict {
        Ok(()) => Ok(()),
        Err(_) => bail!("not all held"),
    }
}

/// Starts the servers and waits until they are a cluster.
fn start(
    args: &DemoArgs,
    limits: &Limits,
    cluster: &mut Cluster,
    screen: &Screen,
) -> anyhow::Result<()> {
    let servers = if args.nodes == 1 { "server" } else { "servers" };
    screen.say(&format!("starting {} {servers}, data in {}", args.nodes, cluster.dir().display()));
    let mut attempt = 1;
    loop {
        cluster.start_all()?;
        let endpoints = cluster.endpoints();
        let waited = limits.wait("a leader and all servers ready", FORMING, || {
            cluster.check_all_run()?;
            Ok(formed(&endpoints))
        });
        match waited {
            Ok(leader) => {
                screen.say(&format!("node {} leads in term {}", leader.id, leader.term));
                return Ok(());
            }
            Err(_) if cluster.port_was_taken() && attempt < STARTS => {
                cluster.stop_at_once();
                cluster.move_elsewhere()?;
                attempt += 1;
            }
            Err(error) => return Err(error).context("the cluster did not form"),
        }
    }
}

/// What to do with a cluster that stays up.
fn invitation(cluster: &Cluster) -> String {
    let program = std::env::args().next().unwrap_or_else(|| "raft-kv".to_string());
    let endpoints: Vec<String> = cluster.endpoints().iter().map(ToString::to_string).collect();
    let (all, first) = (endpoints.join(","), &endpoints[0]);
    format!(
        "\nThe cluster stays up until Ctrl-C:

{}

In another terminal, try

  export RAFT_KV_ENDPOINTS={all}
  {program} status
  {program} put greeting hello
  {program} get greeting
  curl -i {first}/v1/kv/greeting
  curl -s {first}/v1/status

or kill -9 a process, and see how the others go on. Data and logs stay in {}",
        cluster.addresses(),
        cluster.dir().display()
    )
}
