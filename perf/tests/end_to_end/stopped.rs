//! Queries that are killed, and clients that hang up: the work ends, and the server goes on.

use crate::setup::{folder, launch_hearth};
use hearth_perf::http::Client;
use hearth_perf::process::wait_until;
use serde_json::Value;
use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

/// Computes for a long time without any data: each part looks a hundred million times at its own steps.
fn endless() -> String {
    vec!["max_over_time(stddev_over_time(vector(time())[2h:1s])[8h:1s])"; 40].join(" + ")
}

fn active(client: &Client) -> Vec<Value> {
    let answer = client.get("/api/v1/status/active_queries", &[]).expect("it answers");
    let mut answer: Value = serde_json::from_str(&answer.body).expect("JSON");
    let Value::Array(queries) = answer["data"]["queries"].take() else { panic!("{answer}") };
    queries
}

fn wait_for(client: &Client, count: usize) -> Vec<Value> {
    wait_until("the list of active queries changes", PATIENCE, || Ok(active(client).len() == count))
        .expect("in time");
    active(client)
}

#[test]
fn a_killed_query_ends_with_its_own_error() {
    let folder = folder();
    let server = launch_hearth(folder.path()).start().expect("hearth starts");
    let client = Client::new(format!("http://{}", server.address()));
    let asking = client.clone();
    let asked = std::thread::spawn(move || asking.post_form("/api/v1/query", &[("query", &endless())]));
    let listed = wait_for(&client, 1);
    assert_eq!((&listed[0]["client"], &listed[0]["kind"]), (&"127.0.0.1".into(), &"instant".into()));
    let path = format!("/api/v1/status/active_queries/{}/kill", listed[0]["id"]);
    assert_eq!(client.post_form(&path, &[]).expect("it answers").status, 200);
    let answer = asked.join().expect("no panic").expect("an answer");
    assert_eq!(answer.status, 499, "{}", answer.body);
    let error: Value = serde_json::from_str(&answer.body).expect("JSON");
    assert_eq!(error["errorType"], "canceled");
    assert_eq!(error["error"], "query was canceled in expression evaluation");
    wait_for(&client, 0);
    assert_eq!(client.post_form(&path, &[]).expect("it answers").status, 404);
    server.stop().expect("it ends when asked to");
}

#[test]
fn a_client_that_hangs_up_ends_its_query() {
    let folder = folder();
    let server = launch_hearth(folder.path()).start().expect("hearth starts");
    let client = Client::new(format!("http://{}", server.address()));
    let body = format!("query={}", endless().replace('+', "%2B"));
    let mut stream = TcpStream::connect(server.address()).expect("it accepts");
    let head = "POST /api/v1/query HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded";
    write!(stream, "{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).expect("it reads");
    wait_for(&client, 1);
    drop(stream);
    wait_for(&client, 0);
    assert_eq!(client.number("vector(2)", 5_000), Ok(Some(2.0)));
    server.stop().expect("it ends when asked to");
}
