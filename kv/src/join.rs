//! A new server that asks a cluster to be added to it.

use std::time::Duration;

use actix_raft::messages::{Address, NodeId};
use actix_raft::metrics::{RaftMetrics, RaftState, RoleName};
use serde_json::json;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::client::admin::{Admin, AdminError};
use crate::client::endpoint::Endpoint;

/// How long one attempt takes.
const PATIENCE: Duration = Duration::from_secs(60);
/// The pause after one that failed.
const PAUSE: Duration = Duration::from_secs(1);

/// Asks, in the background, until the cluster has this server as a voter, and says how far it is.
pub(crate) fn ask_in(
    url: Endpoint,
    id: NodeId,
    address: Address,
    metrics: watch::Receiver<Option<RaftMetrics>>,
) {
    tokio::spawn(tell_progress(id, metrics));
    tokio::spawn(async move {
        info!("asking {url} to be added as server {id}");
        loop {
            let (url, address) = (url.clone(), address.clone());
            let asked = tokio::task::spawn_blocking(move || ask(&url, id, &address)).await;
            match asked {
                Ok(Ok(())) => return info!("server {id} is a voter of the cluster"),
                Ok(Err(error)) => {
                    warn!("not added yet: {error}");
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => return warn!("asking to be added ended: {error}"),
            }
        }
    });
}

fn ask(url: &Endpoint, id: NodeId, address: &Address) -> Result<(), AdminError> {
    let change = json!({ "op": "add", "id": id.0, "raft": address.rpc, "http": address.client });
    match Admin::new(vec![url.clone()], PATIENCE)
        .ask("/v1/members", &json!({ "changes": [change] }))
    {
        // It is one already.
        Err(AdminError::Refused { code, .. }) if code == "noop" => Ok(()),
        asked => asked.map(|_| ()),
    }
}

/// Says when this server is a non-voter and how far its log has come, until it is a voter.
async fn tell_progress(id: NodeId, mut metrics: watch::Receiver<Option<RaftMetrics>>) {
    let mut said = 0;
    let mut was_added = false;
    while metrics.changed().await.is_ok() {
        let Some(seen) = metrics.borrow_and_update().clone() else { continue };
        let membership = seen.membership.as_deref();
        if membership.is_some_and(|members| members.is_voter(id)) {
            return;
        }
        let is_member = membership.is_some_and(|members| members.address(id).is_some());
        if is_member && !was_added {
            was_added = true;
            info!("added as a non-voter; catching up");
        }
        // Not each time: it may be many times a second.
        let applied = seen.last_applied.0;
        let running = seen.state == RaftState::Running(RoleName::NonVoter);
        if running && is_member && applied >= said + 100_000 {
            said = applied;
            info!("catching up: applied entries up to {applied}, of {} known", seen.commit_index);
        }
    }
}
