//! What operators ask for.
//!
//! | request | answer |
//! | --- | --- |
//! | `POST /v1/members`, `{"changes": [{"op", "id", ...}], "expected", "answer"}` | 200 when committed, 409 |
//! | `POST /v1/transfer`, `{"to"}` | 200 when another server leads, 409 |
//! | `POST /v1/snapshot`, `/v1/purge`, `/v1/elect`, `/v1/config` | 200, of this server alone, 409 |
//! | `GET /v1/explain` | 200, sentences |
//! | `GET /v1/backup[?consistency=local]` | 200, all keys as they are at one moment |

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use actix_raft::admin::{
    PurgeLogError, TriggerElectionError, TriggerSnapshotError, UpdateConfigError,
};
use actix_raft::messages::Index;
use actix_web::body::{BodySize, MessageBody};
use actix_web::http::StatusCode;
use actix_web::web::{Bytes, Data, Json};
use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::sync::mpsc;

use super::input::BadRequest;
use super::keys::GetQuery;
use super::{QueryOf, error, failed, refuse, unavailable};
use crate::administer::{ChangeMembers, LeaderCommand, Transfer};
use crate::backup::write_items;
use crate::command::{Administered, Answer};
use crate::explain::sentences;
use crate::node::Server;
use crate::settings::Changed;

/// How many pieces of a backup may wait for a slow reader.
const PIECES_AHEAD: usize = 8;
/// How large they are.
const PIECE_BYTES: usize = 64 << 10;

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/v1/members", web::post().to(change_members))
        .route("/v1/transfer", web::post().to(transfer))
        .route("/v1/elect", web::post().to(elect))
        .route("/v1/snapshot", web::post().to(snapshot))
        .route("/v1/purge", web::post().to(purge))
        .route("/v1/config", web::post().to(configure))
        .route("/v1/explain", web::get().to(explain))
        .route("/v1/backup", web::get().to(backup));
}

type Body<T> = Result<Json<T>, actix_web::Error>;

async fn change_members(server: Data<Server>, body: Body<ChangeMembers>) -> HttpResponse {
    lead(&server, body, LeaderCommand::ChangeMembers).await
}

async fn transfer(server: Data<Server>, body: Body<Transfer>) -> HttpResponse {
    lead(&server, body, LeaderCommand::Transfer).await
}

async fn lead<T: DeserializeOwned>(
    server: &Server,
    body: Body<T>,
    command: impl FnOnce(T) -> LeaderCommand,
) -> HttpResponse {
    let command = match body {
        Ok(body) => command(body.into_inner()),
        Err(error) => return refuse(server, BadRequest::new(error.to_string())),
    };
    match server.administer(&command).await {
        Answer::Administered(done) => said(&done),
        Answer::Failed(error) => failed(server, &error),
        // The leader answers each kind of request with its own kind of answer.
        _ => refuse(server, BadRequest::new("the leader answered something else")),
    }
}

/// An answer that was given somewhere else.
pub(super) fn said(done: &Administered) -> HttpResponse {
    let status = u16::try_from(done.status).ok().and_then(|it| StatusCode::from_u16(it).ok());
    let mut response = HttpResponse::build(status.unwrap_or(StatusCode::OK));
    response.content_type("application/json").body(done.body.clone())
}

async fn elect(server: Data<Server>) -> HttpResponse {
    match server.raft.trigger_election().await {
        Ok(()) => HttpResponse::Ok().json(json!({})),
        Err(TriggerElectionError::Stopped { reason }) => unavailable(&server, "stopping", &reason),
        Err(TriggerElectionError::AlreadyLeader) => {
            conflict(&server, "already_leader", "this server leads already")
        }
        Err(error @ TriggerElectionError::LeaderHeard { .. }) => {
            conflict(&server, "leader_heard", &error.to_string())
        }
        Err(error @ TriggerElectionError::NotAVoter) => {
            conflict(&server, "not_a_voter", &error.to_string())
        }
    }
}

async fn snapshot(server: Data<Server>) -> HttpResponse {
    let error = match server.raft.trigger_snapshot().await {
        Ok(at) => {
            return HttpResponse::Ok().json(json!({ "index": at.index.0, "term": at.term.0 }));
        }
        Err(error) => error,
    };
    let message = error.to_string();
    match error {
        TriggerSnapshotError::Stopped { reason } => unavailable(&server, "stopping", &reason),
        TriggerSnapshotError::NothingNew(at) => {
            // What was asked for is there.
            HttpResponse::Ok().json(json!({ "index": at.index.0, "term": at.term.0 }))
        }
        TriggerSnapshotError::Installing => conflict(&server, "installing", &message),
        TriggerSnapshotError::Unsupported => conflict(&server, "unsupported", &message),
        TriggerSnapshotError::Failed { .. } => unavailable(&server, "snapshot_failed", &message),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Purge {
    #[serde(default)]
    until: Option<u64>,
}

async fn purge(server: Data<Server>, body: Body<Purge>) -> HttpResponse {
    let until = match body {
        Ok(body) => body.until.map(Index),
        Err(error) => return refuse(&server, BadRequest::new(error.to_string())),
    };
    match server.raft.purge_log(until).await {
        Ok(at) => HttpResponse::Ok().json(json!({ "index": at.index.0, "term": at.term.0 })),
        Err(PurgeLogError::Stopped { reason }) => unavailable(&server, "stopping", &reason),
        Err(error @ PurgeLogError::NotInSnapshot(_)) => {
            conflict(&server, "not_in_snapshot", &error.to_string())
        }
    }
}

async fn configure(server: Data<Server>, body: Body<Changed>) -> HttpResponse {
    let update = match body {
        Ok(changed) => changed.into_inner().update(&server.settings),
        Err(error) => return refuse(&server, BadRequest::new(error.to_string())),
    };
    match server.raft.update_config(update).await {
        Ok(()) => HttpResponse::Ok().json(json!({})),
        Err(UpdateConfigError::Stopped { reason }) => unavailable(&server, "stopping", &reason),
        Err(error @ UpdateConfigError::Config(_)) => {
            refuse(&server, BadRequest::new(error.to_string()))
        }
    }
}

async fn explain(server: Data<Server>) -> HttpResponse {
    match (server.raft.metrics().await, server.raft.explain().await) {
        (Some(metrics), Ok(explanation)) => {
            let sentences = sentences(&metrics, &explanation);
            HttpResponse::Ok().json(json!({ "explanation": sentences }))
        }
        (_, Err(stopped)) => unavailable(&server, "stopping", &stopped.reason),
        (None, _) => unavailable(&server, "stopping", "this server is stopping"),
    }
}

/// All keys, as they are now. They are written by a thread, as fast as the client reads.
async fn backup(server: Data<Server>, query: QueryOf<GetQuery>) -> HttpResponse {
    let consistency = match query {
        Ok(query) => query.consistency,
        Err(error) => return refuse(&server, BadRequest::new(error.to_string())),
    };
    let view = match server.read(consistency.into()).await {
        Ok(view) => view,
        Err(error) => return failed(&server, &error),
    };
    let (sender, receiver) = mpsc::channel(PIECES_AHEAD);
    tokio::task::spawn_blocking(move || {
        let mut pieces = Pieces { sender, piece: Vec::with_capacity(PIECE_BYTES) };
        // A client that has gone away wants no more.
        let _ = write_items(view.items(), &mut pieces).and_then(|_| pieces.send());
    });
    HttpResponse::Ok().content_type("application/octet-stream").body(AsWritten(receiver))
}

/// A body that comes piece by piece.
struct AsWritten(mpsc::Receiver<Bytes>);

impl MessageBody for AsWritten {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Infallible>>> {
        self.0.poll_recv(context).map(|piece| piece.map(Ok))
    }
}

/// What is written becomes pieces for a client.
struct Pieces {
    sender: mpsc::Sender<Bytes>,
    piece: Vec<u8>,
}

impl Pieces {
    fn send(&mut self) -> std::io::Result<()> {
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE_BYTES));
        let sent = self.sender.blocking_send(piece.into());
        sent.map_err(|_| std::io::ErrorKind::BrokenPipe.into())
    }
}

impl std::io::Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE_BYTES {
            self.send()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn conflict(server: &Server, code: &str, message: &str) -> HttpResponse {
    error(server, HttpResponse::Conflict(), code, message)
}
