//! The HTTP API.
//!
//! | request | answer | in |
//! | --- | --- | --- |
//! | `PUT`, `GET`, `DELETE /v1/kv/{key}`, `GET /v1/kv` | keys and their values | `http/keys.rs` |
//! | `POST /v1/sessions` | a session, in which a write is done once | `http/keys.rs` |
//! | `POST /v1/members`, `/v1/transfer`, `/v1/snapshot`, ... | an operator's commands | `http/admin.rs` |
//! | `GET /v1/status`, `/livez`, `/readyz` | how this server is | here |
//!
//! An error is exact about the outcome: 503 means certainly not done, 504 perhaps done.

mod admin;
mod input;
mod keys;

use std::sync::atomic::Ordering;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::{ConnectionType, Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::web::{Data, Query};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, web};
use serde_json::json;

use crate::command::{Failed, Failure};
use crate::http::input::BadRequest;
use crate::node::{Server, stop_reason};
use crate::status::status_of;

type QueryOf<T> = Result<Query<T>, actix_web::Error>;

/// The routes.
pub(crate) fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/livez", web::get().to(async || HttpResponse::Ok().body("ok\n")))
        .route("/readyz", web::get().to(ready))
        .route("/v1/status", web::get().to(status))
        .configure(admin::routes)
        .configure(keys::routes)
        .default_service(web::to(no_such_path));
}

/// While this server drains, each answer is the last on its connection.
pub(crate) async fn drained(
    server: Data<Server>,
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let mut response = next.call(request).await?;
    if server.draining.load(Ordering::Relaxed) {
        response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
    }
    Ok(response)
}

async fn status(server: Data<Server>) -> HttpResponse {
    match server.raft.metrics().await {
        Some(metrics) => HttpResponse::Ok().json(status_of(&metrics, &server.store.current())),
        None => unavailable(&server, "stopping", "this server is stopping"),
    }
}

async fn ready(server: Data<Server>) -> HttpResponse {
    let (stopped, leader) = {
        let metrics = server.metrics.borrow();
        (stop_reason(metrics.as_ref()), metrics.as_ref().and_then(|metrics| metrics.leader))
    };
    match (stopped, leader) {
        _ if server.draining.load(Ordering::Relaxed) => {
            unavailable(&server, "stopping", "this server is about to stop")
        }
        (None, Some(_)) => HttpResponse::Ok().body("ok\n"),
        (None, None) => unavailable(&server, "no_leader", "this server knows of no leader"),
        (Some(reason), _) => unavailable(&server, "stopping", &reason),
    }
}

async fn no_such_path(server: Data<Server>, request: HttpRequest) -> HttpResponse {
    let path = request.path();
    let message = match *request.method() {
        Method::GET => format!("there is nothing at {path}; see /v1/kv, /v1/status"),
        _ => format!("{} {path} is not supported", request.method()),
    };
    error(&server, HttpResponse::NotFound(), "no_such_path", &message)
}

/// A request that has no result.
fn failed(server: &Server, failed: &Failed) -> HttpResponse {
    let message = failed.message.as_str();
    match failed.failure() {
        Failure::OutcomeUnknown => {
            error(server, HttpResponse::GatewayTimeout(), "outcome_unknown", message)
        }
        Failure::NoLeader => unavailable(server, "no_leader", message),
        Failure::Overloaded => unavailable(server, "overloaded", message),
        Failure::DiskFull => unavailable(server, "disk_full", message),
        Failure::Stopping => unavailable(server, "stopping", message),
        Failure::SessionOver => error(server, HttpResponse::Gone(), "session_over", message),
        Failure::LeaseDisabled => {
            error(server, HttpResponse::BadRequest(), "lease_disabled", message)
        }
        Failure::BadRequest => refuse(server, BadRequest::new(message)),
    }
}

fn unavailable(server: &Server, code: &str, message: &str) -> HttpResponse {
    error(server, HttpResponse::ServiceUnavailable(), code, message)
}

fn refuse(server: &Server, request: BadRequest) -> HttpResponse {
    let status = StatusCode::from_u16(request.status).unwrap_or(StatusCode::BAD_REQUEST);
    error(server, HttpResponse::build(status), request.code, &request.message)
}

fn error(
    server: &Server,
    mut response: HttpResponseBuilder,
    code: &str,
    message: &str,
) -> HttpResponse {
    let metrics = server.metrics.borrow();
    let leader = metrics.as_ref().and_then(|metrics| {
        let id = metrics.leader?;
        let address = metrics.membership.as_ref()?.address(id)?;
        Some(json!({ "id": id.0, "http": address.client }))
    });
    response.json(json!({ "error": code, "message": message, "leader": leader }))
}
