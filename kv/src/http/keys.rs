//! Keys and their values.
//!
//! | request | answer |
//! | --- | --- |
//! | `PUT /v1/kv/{key}`, with `If-Match: "VERSION"` or `*`, or `If-None-Match: *` | 200 and `ETag`, 412 |
//! | `GET /v1/kv/{key}[?consistency=linearizable, lease or local]` | 200 with the value and `ETag`, 404 |
//! | `DELETE /v1/kv/{key}`, with `If-Match` | 204, 404, 412 |
//! | `GET /v1/kv?prefix=&start=&limit=[&consistency=...]` | 200 |
//! | `POST /v1/sessions` | 200 with a session for the headers `Raft-Session` and `Raft-Serial` |

use actix_raft::messages::Consistency;
use actix_web::http::header::{CONTENT_TYPE, ETAG};
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse, web};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use super::input::{BadRequest, key_of, precondition_of, serial_of};
use super::{QueryOf, error, failed, refuse};
use crate::command::{
    Answer, Change, Command, Delete, Item, List, Operation, Precondition, Put, SessionWrite,
};
use crate::node::Server;
use crate::settings::MAX_VALUE_BYTES;

/// The most keys in one answer to a list, and how many if the request does not say.
const MAX_LIMIT: u32 = 10_000;
const DEFAULT_LIMIT: u32 = 100;

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/v1/kv", web::get().to(list))
        .route("/v1/sessions", web::post().to(register))
        .service(
            web::resource("/v1/kv/{key:.*}")
                .route(web::get().to(get))
                .route(web::put().to(put))
                .route(web::delete().to(delete))
                .default_service(web::to(wrong_method)),
        );
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GetQuery {
    #[serde(default)]
    pub(super) consistency: Level,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    start: String,
    limit: Option<u32>,
    #[serde(default)]
    consistency: Level,
}

/// How fresh a read must be.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    #[default]
    Linearizable,
    Lease,
    Local,
}

impl From<Level> for Consistency {
    fn from(level: Level) -> Consistency {
        match level {
            Level::Linearizable => Consistency::Linearizable,
            Level::Lease => Consistency::Lease,
            Level::Local => Consistency::Local,
        }
    }
}

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
    write(&server, &request, Change::Put(Put { key, value, precondition })).await
}

async fn delete(server: Data<Server>, request: HttpRequest) -> HttpResponse {
    match key_of(&request).and_then(|key| Ok((key, precondition_of(&request)?))) {
        Ok((key, expected)) => {
            let precondition = expected.map(|expected| Precondition { expected: Some(expected) });
            write(&server, &request, Change::Delete(Delete { key, precondition })).await
        }
        Err(error) => refuse(&server, error),
    }
}

/// Writes, in a session if the request names one.
async fn write(server: &Server, request: &HttpRequest, change: Change) -> HttpResponse {
    let command = Command { change: Some(change) };
    let operation = match serial_of(request) {
        Ok(None) => Operation::Write(command),
        Ok(Some((session, number))) => Operation::SessionWrite(SessionWrite {
            command: Some(command),
            session,
            number,
            // A client over HTTP has one write unanswered at a time.
            answered_below: number,
        }),
        Err(error) => return refuse(server, error),
    };
    answer(server, server.execute(operation).await)
}

async fn register(server: Data<Server>) -> HttpResponse {
    answer(&server, server.execute(Operation::Register(true)).await)
}

async fn get(server: Data<Server>, request: HttpRequest, query: QueryOf<GetQuery>) -> HttpResponse {
    let (key, query) = match (key_of(&request), query) {
        (Ok(key), Ok(query)) => (key, query),
        (Err(error), _) => return refuse(&server, error),
        (_, Err(error)) => return refuse(&server, BadRequest::new(error.to_string())),
    };
    match server.read(query.consistency.into()).await.map(|view| view.get(&key)) {
        Ok(Some(item)) => HttpResponse::Ok()
            .insert_header((ETAG, format!("\"{}\"", item.version)))
            .insert_header((CONTENT_TYPE, "application/octet-stream"))
            .body(item.value),
        Ok(None) => not_found(&server),
        Err(error) => failed(&server, &error),
    }
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
    match server.read(query.consistency.into()).await {
        Ok(view) => {
            let listed = view.list(&list);
            let items: Vec<Value> = listed.items.into_iter().map(json_of).collect();
            HttpResponse::Ok().json(json!({ "items": items, "next": listed.next }))
        }
        Err(error) => failed(&server, &error),
    }
}

async fn wrong_method(server: Data<Server>, request: HttpRequest) -> HttpResponse {
    let message = format!("{} is not supported here; use GET, PUT or DELETE", request.method());
    let mut response = HttpResponse::MethodNotAllowed();
    response.insert_header(("Allow", "GET, PUT, DELETE"));
    error(&server, response, "method_not_allowed", &message)
}

fn not_found(server: &Server) -> HttpResponse {
    error(server, HttpResponse::NotFound(), "not_found", "there is no such key")
}

/// The answer to a write as HTTP says it.
fn answer(server: &Server, answer: Answer) -> HttpResponse {
    match answer {
        Answer::Written(version) => HttpResponse::Ok()
            .insert_header((ETAG, format!("\"{version}\"")))
            .json(json!({ "version": version })),
        Answer::Deleted(_) => HttpResponse::NoContent().finish(),
        Answer::NotFound(_) => not_found(server),
        Answer::PreconditionFailed(_) => error(
            server,
            HttpResponse::PreconditionFailed(),
            "precondition_failed",
            "the key's version is not the expected one; nothing changed",
        ),
        Answer::Registered(session) => HttpResponse::Ok().json(json!({ "session": session })),
        Answer::Administered(done) => super::admin::said(&done),
        Answer::Failed(error) => failed(server, &error),
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
