//! `raft-kv serve`: one server of a cluster.

use std::path::PathBuf;

/// Runs one server of a cluster until it is told to stop.
#[derive(clap::Args, Debug)]
pub(crate) struct ServeArgs {
    /// This server's id: a number that no other server ever has
    #[arg(long)]
    id: u64,
    /// Where its data is kept; created if missing
    #[arg(long)]
    data_dir: PathBuf,
    /// Where the other servers reach it
    #[arg(long, value_name = "HOST:PORT")]
    listen: String,
    /// Where clients reach it
    #[arg(long, value_name = "HOST:PORT")]
    http: String,
    /// All servers of a new cluster; ignored if there is data already
    #[arg(long, value_name = "ID=RAFT_ADDR@HTTP_ADDR", value_delimiter = ',')]
    peers: Vec<String>,
    /// The cluster's name; servers of another cluster are refused
    #[arg(long)]
    cluster_id: Option<String>,
    /// Settings in TOML
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Stop when standard input ends, as it does when the parent process dies
    #[arg(long, hide = true)]
    stop_with_stdin: bool,
}

/// Runs the server. Returns after a graceful stop; an error is why it could not start or go on.
pub(crate) fn run(args: ServeArgs) -> anyhow::Result<()> {
    anyhow::bail!("not yet: {args:?}")
}
