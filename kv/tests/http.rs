//! The HTTP API, as any client sees it.

mod support;

use support::{Cluster, Server, eventually};
use ureq::http::Method;

fn put_if(server: &Server, header: (&str, &str)) -> u16 {
    let answer = server.request(Method::PUT, "/v1/kv/k", &[header], b"new").unwrap();
    answer.status
}

#[test]
fn every_server_answers_every_request() {
    let cluster = Cluster::started(3);
    let mut last = 0;
    for writer in &cluster.servers {
        let written = writer.put("k", &format!("by {}", writer.id));
        assert_eq!(written.status, 200);
        assert!(written.version.unwrap() > last, "versions grow");
        last = written.version.unwrap();
        for reader in &cluster.servers {
            let read = reader.get("/v1/kv/k");
            assert_eq!((read.status, read.version), (200, Some(last)));
            assert_eq!(read.body, format!("by {}", writer.id).into_bytes());
        }
    }
    for server in &cluster.servers {
        assert_eq!(server.get("/livez").status, 200);
        assert_eq!(server.get("/readyz").status, 200);
        // A local read is stale until the server has applied the write.
        eventually("the write, locally", || {
            (server.get("/v1/kv/k?consistency=local").version == Some(last)).then_some(())
        });
    }
    cluster.converged();
}

#[test]
fn a_condition_that_fails_changes_nothing() {
    let cluster = Cluster::started(1);
    let server = &cluster.servers[0];
    assert_eq!(put_if(server, ("If-Match", "*")), 412);
    assert_eq!(put_if(server, ("If-None-Match", "*")), 200);
    assert_eq!(put_if(server, ("If-None-Match", "*")), 412);
    let version = server.get("/v1/kv/k").version.unwrap();
    assert_eq!(put_if(server, ("If-Match", &format!("\"{}\"", version + 1))), 412);
    assert_eq!(server.get("/v1/kv/k").version, Some(version));
    assert_eq!(put_if(server, ("If-Match", &format!("\"{version}\""))), 200);

    let delete = |headers: &[(&str, &str)]| {
        server.request(Method::DELETE, "/v1/kv/k", headers, b"").unwrap().status
    };
    assert_eq!(delete(&[("If-Match", &format!("\"{version}\""))]), 412);
    assert_eq!(delete(&[]), 204);
    assert_eq!(delete(&[]), 404);
    assert_eq!(server.get("/v1/kv/k").status, 404);
}

#[test]
fn a_list_is_in_order_and_goes_on_where_it_stopped() {
    let cluster = Cluster::started(1);
    let server = &cluster.servers[0];
    for key in ["b%2F2", "a", "b/1", "c", "b/3"] {
        assert_eq!(server.put(key, "v").status, 200);
    }
    let binary = server.request(Method::PUT, "/v1/kv/b/3", &[], b"\xff\x00").unwrap();
    assert_eq!(binary.status, 200);
    let first = server.get("/v1/kv?prefix=b/&limit=2").json();
    let keys: Vec<&str> = first["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["key"].as_str().unwrap())
        .collect();
    assert_eq!(keys, ["b/1", "b/2"]);
    assert_eq!(first["next"], "b/3");
    let second = server.get("/v1/kv?prefix=b/&start=b/3").json();
    assert_eq!(second["items"][0]["value_base64"], "/wA=");
    assert!(second["next"].is_null());
}

#[test]
fn bad_requests_are_refused_in_words_and_change_nothing() {
    let cluster = Cluster::started(1);
    let server = &cluster.servers[0];
    let refused = |method: Method, path: &str, headers: &[(&str, &str)], body: &[u8]| {
        let answer = server.request(method, path, headers, body).unwrap();
        (answer.status, answer.error())
    };
    let bad = (400, "bad_request".to_string());
    assert_eq!(refused(Method::PUT, "/v1/kv/", &[], b"x"), bad);
    assert_eq!(refused(Method::PUT, "/v1/kv/%ff", &[], b"x"), bad);
    assert_eq!(refused(Method::PUT, "/v1/kv/k", &[("If-Match", "7")], b"x"), bad);
    assert_eq!(refused(Method::GET, "/v1/kv?limit=0", &[], b""), bad);
    assert_eq!(refused(Method::GET, "/v1/kv?limit=x", &[], b""), bad);
    assert_eq!(refused(Method::GET, "/v1/kv?nonsense=1", &[], b""), bad);
    assert_eq!(refused(Method::GET, "/v1/kv/k?consistency=eventual", &[], b""), bad);
    let long = format!("/v1/kv/{}", "k".repeat(1025));
    assert_eq!(refused(Method::PUT, &long, &[], b"x"), (414, "key_too_long".to_string()));
    let large = vec![0; (1 << 20) + 1];
    let too_large = (413, "value_too_large".to_string());
    assert_eq!(refused(Method::PUT, "/v1/kv/k", &[], &large), too_large);
    assert_eq!(refused(Method::GET, "/v1/kv/k", &[], b""), (404, "not_found".to_string()));
    assert_eq!(refused(Method::GET, "/nothing", &[], b""), (404, "no_such_path".to_string()));
    assert_eq!(
        refused(Method::POST, "/v1/kv/k", &[], b"x"),
        (405, "method_not_allowed".to_string())
    );
    // The largest value passes, and comes back whole.
    let answer = server.request(Method::PUT, "/v1/kv/k", &[], &large[1..]).unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(server.get("/v1/kv/k").body.len(), 1 << 20);
}

#[test]
fn without_a_majority_a_write_is_refused_as_certainly_not_done() {
    let mut cluster = Cluster::started(3);
    let leader = cluster.leader();
    let left = (leader + 1) % 3;
    cluster.servers[leader].kill();
    cluster.servers[(leader + 2) % 3].kill();
    let server = &cluster.servers[left];
    eventually("the leader's loss to be noticed", || {
        server.status()?["leader"].is_null().then_some(())
    });
    let refused = server.put("k", "v");
    assert_eq!((refused.status, refused.error()), (503, "no_leader".to_string()));
    let refused = server.get("/v1/kv/k");
    assert_eq!((refused.status, refused.error()), (503, "no_leader".to_string()));
    assert_eq!(server.get("/v1/kv/k?consistency=local").status, 404, "local reads go on");
    assert_eq!(server.get("/livez").status, 200);
    assert_eq!(server.get("/readyz").status, 503);
}
