//! The HTTP API.
//!
//! | request | answer |
//! | --- | --- |
//! | `PUT /v1/kv/{key}`, with `If-Match: "VERSION"` or `*`, or `If-None-Match: *` | 200 and `ETag`, 412 |
//! | `GET /v1/kv/{key}[?consistency=local]` | 200 with the value and `ETag`, 404 |
//! | `DELETE /v1/kv/{key}`, with `If-Match` | 204, 404, 412 |
//! | `GET /v1/kv?prefix=&start=&limit=[&consistency=local]` | 200 |
//! | `GET /v1/status`, `/livez`, `/readyz` | 200, or 503 |
//!
//! An error is exact about the outcome: 503 means certainly not done, 504 perhaps done.

use std::sync::atomic::Ordering;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{CONTENT_TYPE, ETAG};
use actix_web::http::{ConnectionType, Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::web::{Data, Payload, Query};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, web};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::command::{
    Answer, Change, Command, Delete, Failure, Get, Item, List, Operation, Precondition, Put,
};
use crate::http_input::{BadRequest, key_of, precondition_of};
use crate::node::{Server, stop_reason};
use crate::settings::MAX_VALUE_BYTES;
use crate::status::status_of;

/// The most keys in one answer to a list, and how many if the request does not say.
const MAX_LIMIT: u32 = 10_000;
const DEFAULT_LIMIT: u32 = 100;

/// The routes.
pub(crate) fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/livez", web::get().to(async || HttpResponse::Ok().body("ok\n")))
        .route("/readyz", web::get().to(ready))
        .route("/v1/status", web::get().to(status))
        .route("/v1/kv", web::get().to(list))
        .service(
            web::resource("/v1/kv/{key:.*}")
                .route(web::get().to(get))
                .route(web::put().to(put))
                .route(web::delete().to(delete))
                .default_service(web::to(wrong_method)),
        )
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GetQuery {
    consistency: Option<Consistency>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    start: String,
    limit: Option<u32>,
    consistency: Option<Consistency>,
}

#[derive(Clone, Copy, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Consistency {
    Linearizable,
    Local,
}

type QueryOf<T> = Result<Query<T>, actix_web::Error>;

async fn put(server: Data<Server>, request: HttpRequest, body: Payload) -> HttpResponse {
    let change = key_of(&request).and_then(|key| Ok((key, precondition_of(&request)?)));
    let (key, expected) = match change {
        Ok(change) => change,
        Err(error) => return refuse(&server, error),
    };
    let value = match body.to_bytes_limited(MAX_VALUE_BYTES).await {
        Ok(Ok(value)) => value,
        Ok(Err(error)) => {
            return refuse(&server, BadRequest::new(format!("the body can't be read: {error}")));
        }
        Err(_) => return refuse(&server, BadRequest::value_too_large()),
    };
    let precondition = expected.map(|expected| Precondition { expected: Some(expected) });
    let change = Some(Change::Put(Put { key, value, precondition }));
    answer(&server, server.execute(Operation::Write(Command { change })).await)
}

async fn delete(server: Data<Server>, request: HttpRequest) -> HttpResponse {
    match key_of(&request).and_then(|key| Ok((key, precondition_of(&request)?))) {
        Ok((key, expected)) => {
            let precondition = expected.map(|expected| Precondition { expected: Some(expected) });
            let change = Some(Change::Delete(Delete { key, precondition }));
            answer(&server, server.execute(Operation::Write(Command { change })).await)
        }
        Err(error) => refuse(&server, error),
    }
}

async fn get(server: Data<Server>, request: HttpRequest, query: QueryOf<GetQuery>) -> HttpResponse {
    let (key, query) = match (key_of(&request), query) {
        (Ok(key), Ok(query)) => (key, query),
        (Err(error), _) => return refuse(&server, error),
        (_, Err(error)) => return refuse(&server, BadRequest::new(error.to_string())),
    };
    let found = match query.consistency {
        Some(Consistency::Local) => match server.store.current().get(&key) {
            Some(item) => Answer::Found(item),
            None => Answer::NotFound(true),
        },
        Some(Consistency::Linearizable) | None => server.execute(Operation::Get(Get { key })).await,
    };
    answer(&server, found)
}

async fn list(server: Data<Server>, query: QueryOf<ListQuery>) -> HttpResponse {
    let query = match query {
        Ok(query) => query.into_inner(),
        Err(error) => return refuse(&server, BadRequest::new(error.to_string())),
    };
    let limit = query.limit.unwrap_or(DEFAULT_LIMIT);
    if limit == 0 || limit > MAX_LIMIT {
        let message = format!("limit must be from 1 to {MAX_LIMIT}");
        return refuse(&server, BadRequest::new(message));
    }
    let list = List { prefix: query.prefix, start: query.start, limit };
    let listed = match query.consistency {
        Some(Consistency::Local) => Answer::Listed(server.store.current().list(&list)),
        Some(Consistency::Linearizable) | None => server.execute(Operation::List(list)).await,
    };
    answer(&server, listed)
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

async fn wrong_method(server: Data<Server>, request: HttpRequest) -> HttpResponse {
    let message = format!("{} is not supported here; use GET, PUT or DELETE", request.method());
    let mut response = HttpResponse::MethodNotAllowed();
    response.insert_header(("Allow", "GET, PUT, DELETE"));
    error(&server, response, "method_not_allowed", &message)
}

async fn no_such_path(server: Data<Server>, request: HttpRequest) -> HttpResponse {
    let path = request.path();
    let message = match *request.method() {
        Method::GET => format!("there is nothing at {path}; see /v1/kv, /v1/status"),
        _ => format!("{} {path} is not supported", request.method()),
    };
    error(&server, HttpResponse::NotFound(), "no_such_path", &message)
}

/// The answer to a request as HTTP says it.
fn answer(server: &Server, answer: Answer) -> HttpResponse {
    match answer {
        Answer::Written(version) => HttpResponse::Ok()
            .insert_header((ETAG, format!("\"{version}\"")))
            .json(json!({ "version": version })),
        Answer::Deleted(_) => HttpResponse::NoContent().finish(),
        Answer::NotFound(_) => {
            error(server, HttpResponse::NotFound(), "not_found", "there is no such key")
        }
        Answer::PreconditionFailed(_) => error(
            server,
            HttpResponse::PreconditionFailed(),
            "precondition_failed",
            "the key's version is not the expected one; nothing changed",
        ),
        Answer::Found(item) => HttpResponse::Ok()
            .insert_header((ETAG, format!("\"{}\"", item.version)))
            .insert_header((CONTENT_TYPE, "application/octet-stream"))
            .body(item.value),
        Answer::Listed(listed) => {
            let items: Vec<Value> = listed.items.into_iter().map(json_of).collect();
            HttpResponse::Ok().json(json!({ "items": items, "next": listed.next }))
        }
        Answer::Failed(failed) => {
            let message = failed.message.as_str();
            match failed.failure() {
                Failure::OutcomeUnknown => {
                    error(server, HttpResponse::GatewayTimeout(), "outcome_unknown", message)
                }
                Failure::NoLeader => unavailable(server, "no_leader", message),
                Failure::Overloaded => unavailable(server, "overloaded", message),
                Failure::Stopping => unavailable(server, "stopping", message),
                Failure::BadRequest => refuse(server, BadRequest::new(message)),
            }
        }
    }
}

/// A value that is not text is written in Base64, under another name.
fn json_of(item: Item) -> Value {
    let Item { key, value, version } = item;
    match std::str::from_utf8(&value) {
        Ok(text) => json!({ "key": key, "value": text, "version": version }),
        Err(_) => {
            let encoded = BASE64_STANDARD.encode(&value);
            json!({ "key": key, "value_base64": encoded, "version": version })
        }
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
