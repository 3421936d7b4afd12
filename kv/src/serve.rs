//! `raft-kv serve`: one server of a cluster, from its start to its stop.

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use actix::Actor;
use actix_raft::admin::InitWithConfigError;
use actix_raft::client::Client;
use actix_raft::durable::DurableStorage;
use actix_raft::messages::{Address, GroupId, NodeId};
use actix_raft::metrics::RaftMetrics;
use actix_raft::raft::{Raft, RaftOptions};
use actix_raft::tcp::{OnRequest, TcpNetwork, TransportConfig};
use actix_web::dev::ServerHandle;
use actix_web::middleware::from_fn;
use actix_web::web::Data;
use actix_web::{App, HttpServer};
use anyhow::{Context, anyhow};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::client::endpoint::Endpoint;
use crate::http;
use crate::join;
use crate::node::{MetricsWatch, Server, stop_reason};
use crate::peers::{Peer, check_address, check_peers};
use crate::settings::Settings;
use crate::state::KvState;

/// Run one server of a cluster until SIGTERM or SIGINT
#[derive(clap::Args, Debug)]
#[command(after_help = "Example, a cluster of one:\n  raft-kv serve --id 1 --data-dir data \
    --listen 127.0.0.1:7001 --http 127.0.0.1:8001 --peers 1=127.0.0.1:7001@127.0.0.1:8001")]
pub(crate) struct ServeArgs {
    /// This server's id: a number that no other server ever has
    #[arg(long)]
    id: u64,
    /// Where its data is kept; created if missing, in a directory that is there
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// Where it listens for the other servers
    #[arg(long, value_name = "HOST:PORT", value_parser = check_address)]
    listen: String,
    /// Where it listens for clients
    #[arg(long, value_name = "HOST:PORT", value_parser = check_address)]
    http: String,
    /// All servers of a new cluster and where they are reached, this one included; the same on
    /// all. Ignored if there is data already
    #[arg(long, value_name = "ID=RAFT_ADDR@HTTP_ADDR", value_delimiter = ',')]
    peers: Vec<Peer>,
    /// A server of a cluster that this new one asks to be added to, as a voter; it gets its vote when it
    /// has caught up. Ignored if there is data already
    #[arg(long, value_name = "URL", conflicts_with = "peers")]
    join: Option<Endpoint>,
    /// Where other servers and clients reach this one, if not at --listen and --http; told with --join
    #[arg(long, value_name = "RAFT_ADDR@HTTP_ADDR", value_parser = advertised, requires = "join")]
    advertise: Option<Address>,
    /// The cluster's name; servers of other clusters are refused
    #[arg(long, value_name = "NAME", default_value = "raft-kv")]
    cluster_id: String,
    /// Settings in TOML
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Stop when standard input ends, as it does when the parent process dies
    #[arg(long, hide = true)]
    stop_with_stdin: bool,
}

/// How long clients are still answered at a stop, each answer telling them to connect elsewhere.
const DRAIN: Duration = Duration::from_millis(500);
/// How long requests in progress may take to finish at a stop, in seconds.
const GRACE_SECONDS: u64 = 5;

/// Runs the server. Returns after a graceful stop; an error is why it could not start or go on.
pub(crate) fn run(args: ServeArgs) -> anyhow::Result<()> {
    // A broken invariant in the Raft actor must end the process, not leave it half alive.
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::abort();
    }));
    check_peers(&args.peers, NodeId(args.id)).map_err(|error| anyhow!(error))?;
    let settings = Settings::read(args.config.as_deref())?;
    actix::System::new().block_on(serve(args, settings))
}

async fn serve(args: ServeArgs, settings: Settings) -> anyhow::Result<()> {
    let id = NodeId(args.id);
    // Before the directory is opened: a new one is given its owner's name for good.
    let config = settings.raft_config()?;
    let state = KvState::default();
    let store = state.published();
    let storage = DurableStorage::open(&args.data_dir, &args.cluster_id, id, state)
        .context("can't open the data directory")?;
    let pristine = storage.stored().is_pristine();

    let door: Arc<OnceLock<Server>> = Arc::default();
    let mut transport = TransportConfig::new(&args.cluster_id, id, GroupId::default());
    transport.advertise = own_address(&args);
    let network = TcpNetwork::bind(&args.listen, transport, answer_peers(&door))
        .await
        .with_context(|| format!("can't listen on {} for the other servers", args.listen))?;
    let listener = TcpListener::bind(&args.http)
        .with_context(|| format!("can't listen on {} for clients", args.http))?;

    let (shown, metrics) = watch::channel(None);
    let mut options = RaftOptions::new(id, storage.start(), network.clone().start());
    options.config = config;
    options.metrics = Some(MetricsWatch(shown).start().recipient());
    let raft = Raft::start(options).await?;
    network.attach(&raft);
    let (settings, draining) = (Arc::new(settings), Arc::default());
    let server = Server { raft, store, metrics, network, settings, draining };
    // Empty until now.
    let _ = door.set(server.clone());

    let http = start_http(&server, listener)?;
    form_cluster(&server.raft, &args, pristine).await?;
    if let (true, Some(url)) = (pristine, &args.join) {
        join::ask_in(url.clone(), NodeId(args.id), address_to_join(&args), server.metrics.clone());
    }
    let voters = if pristine { "a new server" } else { "a server with data" };
    info!("ready: {voters}, id {id}, clients at http://{}, peers at {}", args.http, args.listen);

    let stopped = wait_for_end(server.metrics.clone(), args.stop_with_stdin).await;
    if stopped.is_ok() {
        drain(&server).await;
    }
    http.stop(true).await;
    server.raft.shutdown().await;
    server.network.transport().shutdown().await;
    match stopped {
        Ok(why) => {
            info!("stopped: {why}");
            Ok(())
        }
        Err(reason) => Err(anyhow!("this server can't go on: {reason}")),
    }
}

/// Hands leadership over and sends the clients elsewhere, while this server still answers them: so a
/// planned stop costs nobody a request.
async fn drain(server: &Server) {
    server.draining.store(true, Ordering::Relaxed);
    let leads = server.metrics.borrow().as_ref().is_some_and(RaftMetrics::is_leader);
    if leads && let Err(error) = server.raft.transfer_leadership(None).await {
        // The others will elect a leader when they miss this one.
        info!("leadership is not handed over: {error}");
    }
    tokio::time::sleep(DRAIN).await;
}

/// Where the others reach this server, if that was said.
fn own_address(args: &ServeArgs) -> Option<String> {
    let own = args.peers.iter().find(|peer| peer.id == NodeId(args.id));
    let joining = args.join.as_ref().map(|_| address_to_join(args).rpc);
    own.map(|peer| peer.address.rpc.clone()).or(joining)
}

/// Where a server that asks to join is reached.
fn address_to_join(args: &ServeArgs) -> Address {
    let own = || Address::new(args.listen.clone(), args.http.clone());
    args.advertise.clone().unwrap_or_else(own)
}

fn advertised(text: &str) -> Result<Address, String> {
    let (rpc, client) = text.split_once('@').ok_or("not RAFT_ADDR@HTTP_ADDR")?;
    Ok(Address::new(check_address(rpc)?, check_address(client)?))
}

/// Answers what other servers forward, once the server behind the door is there.
fn answer_peers(door: &Arc<OnceLock<Server>>) -> OnRequest {
    let door = Arc::clone(door);
    Box::new(move |_, body, reply| {
        if let Some(server) = door.get().cloned() {
            tokio::spawn(async move { reply.reply(server.serve_peer(body).await) });
        }
    })
}

fn start_http(server: &Server, listener: TcpListener) -> anyhow::Result<ServerHandle> {
    let data = Data::new(server.clone());
    let workers = std::thread::available_parallelism().map_or(2, |cores| cores.get().min(4));
    let app = move || {
        App::new().app_data(data.clone()).wrap(from_fn(http::drained)).configure(http::routes)
    };
    let http = HttpServer::new(app)
        .workers(workers)
        .shutdown_timeout(GRACE_SECONDS)
        .disable_signals()
        .listen(listener)
        .context("can't serve clients")?
        .run();
    let handle = http.handle();
    actix::spawn(http);
    Ok(handle)
}

/// Forms the cluster on the first start. All its servers do, with the same list.
async fn form_cluster(
    raft: &Client<KvState>,
    args: &ServeArgs,
    pristine: bool,
) -> anyhow::Result<()> {
    if !pristine {
        if !args.peers.is_empty() || args.join.is_some() {
            let dir = args.data_dir.display();
            info!("--peers and --join are ignored: there is data in {dir}");
        }
        return Ok(());
    }
    if args.join.is_some() {
        return Ok(());
    }
    if args.peers.is_empty() {
        warn!("no --peers: waiting for a leader of cluster '{}' to call", args.cluster_id);
        return Ok(());
    }
    let members = args.peers.iter().map(|peer| (peer.id, peer.address.clone())).collect();
    match raft.initialize(members).await {
        // A leader was faster.
        Ok(()) | Err(InitWithConfigError::AlreadyInitialized) => Ok(()),
        Err(error) => Err(error).context("can't form the cluster"),
    }
}

/// Waits for a reason to stop: a signal, the end of standard input, or a failure of the node.
async fn wait_for_end(
    mut metrics: watch::Receiver<Option<RaftMetrics>>,
    with_stdin: bool,
) -> Result<&'static str, String> {
    let signals = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    let (Ok(mut terminate), Ok(mut interrupt)) = signals else {
        return Err("signals can't be handled".to_string());
    };
    tokio::select! {
        _ = terminate.recv() => Ok("SIGTERM"),
        _ = interrupt.recv() => Ok("SIGINT"),
        () = end_of_stdin(), if with_stdin => Ok("standard input ended"),
        stopped = metrics.wait_for(|metrics| stop_reason(metrics.as_ref()).is_some()) => {
            let reason = stopped.ok().and_then(|metrics| stop_reason(metrics.as_ref()));
            Err(reason.unwrap_or_else(|| "its Raft actor ended".to_string()))
        }
    }
}

async fn end_of_stdin() {
    let (ended, end) = tokio::sync::oneshot::channel();
    // A thread, not a blocking task: the runtime would wait for it at the end.
    std::thread::spawn(move || {
        // Whatever the end is, it is one.
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        let _ = ended.send(());
    });
    let _ = end.await;
    // The signal that ended the parent may be meant for this process too, and names the reason.
    tokio::time::sleep(Duration::from_millis(50)).await;
}
