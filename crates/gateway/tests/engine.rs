//! The engine from outside: real sockets on loopback, a scripted target, raw requests.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // a test that cannot go on fails

mod support;

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::{Mutex, mpsc::channel},
    thread,
    time::Duration,
};

use gateway::{
    engine::Limits,
    route::Plan,
    upstream::{Scheme, Timeouts},
};
use loopback::Reserved;
use serde_json::json;
use support::{Gate, OK, Target, read_head, read_to_end, read_until, route};

#[test]
fn a_request_reaches_the_target_and_its_answer_the_client() {
    let (gate, target) = (Gate::start(Limits::default()), Target::answering(OK));
    assert!(
        gate.ask("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").contains("404 Route Not Found")
    );
    gate.route_to(&[target.address], Timeouts::default());
    let answer = gate.ask(
        "GET /x//y/../z?q=%2e HTTP/1.1\r\nHost: Example.com\r\nX-Userinfo: evil\r\nConnection: close\r\n\r\n",
    );
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nhi"), "{answer}");
    assert!(answer.contains("server: portcullis"));
    let seen = target.next();
    assert!(seen.starts_with("GET /x/z?q=%2e HTTP/1.1\r\nhost: Example.com\r\n"), "{seen}");
    assert!(!seen.contains("evil") && seen.contains("x-real-ip: 127.0.0.1"), "{seen}");
}

#[test]
fn bodies_keep_their_framing_and_their_bytes() {
    let gate = Gate::start(Limits::default());
    let target = Target::new(|_, stream, tell| {
        tell(read_head(stream).unwrap());
        tell(read_until(stream, b"0\r\n\r\n").unwrap());
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
            .unwrap();
    });
    gate.route_to(&[target.address], Timeouts::default());
    let answer = gate.ask(
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    );
    assert!(answer.contains("abc"), "{answer}");
    assert!(target.next().contains("transfer-encoding: chunked"));
    assert_eq!(target.next(), "5\r\nhello\r\n0\r\n\r\n");
}

#[test]
fn a_request_that_met_a_closed_connection_is_sent_again_on_a_new_one() {
    let gate = Gate::start(Limits::default());
    // Each connection answers once and then closes without having said so.
    let target = Target::new(|_, stream, tell| {
        tell(read_head(stream).unwrap());
        stream.write_all(OK.as_bytes()).unwrap();
    });
    gate.route_to(&[target.address], Timeouts::default());
    let mut client = gate.connect();
    for _ in 0..5 {
        client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
        assert!(read_until(&mut client, b"hi").unwrap().starts_with("HTTP/1.1 200"));
        target.next();
    }
}

#[test]
fn a_dead_target_is_passed_over_and_without_another_the_answer_is_502() {
    let gate = Gate::start(Limits::default());
    let reserved = Reserved::any().unwrap();
    let dead = reserved.address();
    let target = Target::answering(OK);
    gate.route_to(&[dead, target.address], Timeouts::default());
    for _ in 0..4 {
        assert!(
            gate.ask("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                .contains("hi")
        );
    }
    gate.route_to(&[dead], Timeouts::default());
    let answer = gate.ask("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 502") && answer.contains("{\"error_msg\":"), "{answer}");
}

#[test]
fn a_silent_target_is_given_up_after_its_timeout() {
    let gate = Gate::start(Limits::default());
    let target = Target::new(|_, stream, tell| {
        tell(read_head(stream).unwrap());
        let _ = stream.read(&mut [0]);
    });
    let timeouts = Timeouts { read: Duration::from_millis(100), ..Timeouts::default() };
    gate.route_to(&[target.address], timeouts);
    let answer = gate.ask("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 504"), "{answer}");
}

#[test]
fn t11_an_early_answer_reaches_the_client_and_the_connection_is_not_used_again() {
    let gate = Gate::start(Limits::default());
    let target = Target::new(|number, stream, tell| {
        tell(format!("{number} {}", read_head(stream).unwrap()));
        stream.write_all(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n").unwrap();
        let _ = read_until(stream, b"never");
    });
    gate.route_to(&[target.address], Timeouts::default());
    for turn in 0..2 {
        let answer = gate.ask("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\nbeginning");
        assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
        assert!(target.next().starts_with(&turn.to_string()));
    }
}

#[test]
fn a_client_that_closed_its_sending_half_still_gets_its_answer() {
    let (gate, target) = (Gate::start(Limits::default()), Target::answering(OK));
    gate.route_to(&[target.address], Timeouts::default());
    let mut client = gate.connect();
    client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    assert!(read_to_end(&mut client).ends_with("hi"));
}

#[test]
fn h21_a_websocket_is_carried_both_ways_and_h22_nothing_else_is() {
    let gate = Gate::start(Limits::default());
    let target = Target::new(|_, stream, tell| {
        let head = read_head(stream).unwrap();
        let upgrades = head.contains("upgrade: websocket");
        tell(head);
        if upgrades {
            stream
                .write_all(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\nfirst")
                .unwrap();
            tell(read_until(stream, b"ping").unwrap());
            stream.write_all(b"pong").unwrap();
        } else {
            stream.write_all(OK.as_bytes()).unwrap();
        }
    });
    gate.route_to(&[target.address], Timeouts::default());
    let mut client = gate.connect();
    client
        .write_all(
            b"GET / HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
              sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        )
        .unwrap();
    assert!(read_until(&mut client, b"first").unwrap().starts_with("HTTP/1.1 101"));
    client.write_all(b"ping").unwrap();
    assert_eq!(read_until(&mut client, b"pong").unwrap(), "pong");
    target.next();
    target.next();
    let answer = gate.ask("GET / HTTP/1.1\r\nhost: a\r\nconnection: Upgrade, close\r\nupgrade: foo\r\n\r\n");
    assert!(answer.ends_with("hi"));
    assert!(!target.next().contains("upgrade"));
}

#[test]
fn a_drain_finishes_what_is_in_flight() {
    let mut gate = Gate::start(Limits::default());
    let (go, wait) = channel::<()>();
    let wait = Mutex::new(wait);
    let target = Target::new(move |_, stream, tell| {
        tell(read_head(stream).unwrap());
        wait.lock().unwrap().recv().unwrap();
        stream.write_all(OK.as_bytes()).unwrap();
    });
    gate.route_to(&[target.address], Timeouts::default());
    let mut client = gate.connect();
    client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    target.next();
    let running = gate.running.take().unwrap();
    let drained = thread::spawn(move || running.drain(Duration::from_secs(10)));
    // The listener closes first: that is the event to wait for.
    while TcpStream::connect(gate.address).is_ok() {
        thread::yield_now();
    }
    go.send(()).unwrap();
    let answer = read_to_end(&mut client);
    assert!(answer.ends_with("hi") && answer.contains("connection: close"), "{answer}");
    drained.join().unwrap();
}

#[test]
fn t01_to_t09_malformed_requests_get_a_400_and_a_close() {
    let (gate, target) = (Gate::start(Limits::default()), Target::answering(OK));
    gate.route_to(&[target.address], Timeouts::default());
    for request in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a@b\r\n\r\n",
        "GET / HTTP/1.1\r\nhost : a\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nx: \0\r\n\r\n",
        "GET /%00 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
        "GET /a\\b HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: +1\r\n\r\na",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: xchunked\r\n\r\n",
        "POST / HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "get / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
        "GET http://b/ HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    ] {
        let answer = gate.ask(request);
        assert!(
            answer.starts_with("HTTP/1.1 400") || answer.starts_with("HTTP/1.0 400"),
            "{request:?}: {answer}"
        );
        assert_eq!(answer.matches("HTTP/1.").count(), 1, "{request:?}: {answer}");
    }
    assert!(target.seen.try_recv().is_err());
}

#[test]
fn what_came_of_an_answer_that_breaks_off_reaches_the_client() {
    for (framing, rest) in [("content-length: 100", "part"), ("transfer-encoding: chunked", "4\r\npart\r\n")]
    {
        let gate = Gate::start(Limits::default());
        let answer = format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n{rest}");
        let target = Target::new(move |_, stream, _| {
            read_head(stream).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
        });
        gate.route_to(&[target.address], Timeouts::default());
        for _ in 0..20 {
            let answer = gate.ask("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("\r\n\r\n"), "{answer:?}");
            assert!(answer.contains("part") && !answer.ends_with("0\r\n\r\n"), "{answer:?}");
        }
    }
}

#[test]
fn a_failure_tells_what_each_target_said() {
    let gate = Gate::start(Limits::default());
    let reserved = [Reserved::any().unwrap(), Reserved::any().unwrap()];
    let dead = |which: usize| reserved[which].address();
    let failing =
        Target::answering("HTTP/1.1 503 Busy\r\nx-upstream-status: none\r\ncontent-length: 0\r\n\r\n");
    let good = Target::answering(OK);
    for (targets, status, told) in [
        (vec![failing.address], 503, Some("503")),
        (vec![dead(0)], 502, Some("502")),
        (vec![dead(0), dead(1)], 502, Some("502, 502")),
        (vec![dead(0), failing.address], 503, Some("502, 503")),
        (vec![dead(0), good.address], 200, None),
        (vec![good.address], 200, None),
        // Nobody was asked.
        (Vec::new(), 503, None),
    ] {
        gate.route_to(&targets, Timeouts::default());
        let answer = gate.ask("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        let found: Vec<&str> =
            answer.lines().filter_map(|line| line.strip_prefix("x-upstream-status: ")).collect();
        assert_eq!(found, Vec::from_iter(told), "{answer}");
    }
}

#[test]
fn trailers_of_a_request_follow_its_chunks_and_are_announced_only_there() {
    let gate = Gate::start(Limits::default());
    let target = Target::new(|_, stream, tell| {
        while let Some(head) = read_head(stream) {
            let chunked = head.contains("transfer-encoding: chunked");
            tell(head);
            tell(read_until(stream, if chunked { b"\r\n\r\n" } else { b"hello" }).unwrap());
            stream.write_all(OK.as_bytes()).unwrap();
        }
    });
    gate.route_to(&[target.address], Timeouts::default());
    let start = "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntrailer: X-Sum\r\n";
    let trailers = "X-Sum: 1\r\nX-Userinfo: evil\r\nIf-Match: evil\r\nX-Sum: 2\r\n";
    gate.ask(&format!("{start}transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n{trailers}\r\n"));
    assert!(target.next().contains("\r\ntrailer: X-Sum\r\n"));
    assert_eq!(target.next(), "5\r\nhello\r\n0\r\nx-sum: 1\r\nx-sum: 2\r\n\r\n");
    gate.ask(&format!("{start}content-length: 5\r\n\r\nhello"));
    let head = target.next();
    assert!(!head.contains("trailer"), "{head}");
}

#[test]
fn a_status_that_nobody_registered_has_no_reason() {
    let (gate, target) = (
        Gate::start(Limits::default()),
        Target::answering("HTTP/1.1 999 Odd\r\ncontent-length: 2\r\n\r\nhi"),
    );
    gate.route_to(&[target.address], Timeouts::default());
    let answer = gate.ask("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 999 \r\n") && answer.ends_with("\r\n\r\nhi"), "{answer}");
}

#[test]
fn a_route_that_depends_on_the_body_has_it_read_and_no_other_has() {
    let gate = Gate::start(Limits::default());
    let target = |name: &'static str| {
        Target::new(move |_, stream, tell| {
            while let Some(head) = read_head(stream) {
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                let mut body = vec![0; length.unwrap_or("0").parse().unwrap()];
                if name == "late" {
                    tell(head);
                }
                stream.read_exact(&mut body).unwrap();
                tell(format!("{name}: {}", String::from_utf8(body).unwrap()));
                stream.write_all(OK.as_bytes()).unwrap();
            }
        })
    };
    let (chosen, other, late) = (target("chosen"), target("other"), target("late"));
    let of = |id: &str, path: &str, priority, vars, target: &Target| {
        let backend = gate.backend(Scheme::Http, &[target.address], Timeouts::default());
        let mut made = std::sync::Arc::into_inner(route(std::sync::Arc::default(), backend)).unwrap();
        made.id = id.into();
        made.matcher.paths = vec![gateway::route::PathPattern::parse(path)];
        made.matcher.priority = priority;
        made.matcher.vars = Some(expr::Expression::compile_for_routes(&vars).unwrap());
        std::sync::Arc::new(made)
    };
    let routes = vec![
        of(
            "chosen",
            "/*",
            2,
            json!([
                "OR",
                ["post_arg_a", "==", "1"],
                ["post_arg.model.name", "~~", "^gpt"],
                [["graphql_operation", "mutation"], ["graphql_root_fields", "has", "pay"]]
            ]),
            &chosen,
        ),
        of("other", "/*", 1, json!([]), &other),
        of("late", "/late", 1, json!([]), &late),
    ];
    gate.publish(routes, std::sync::Arc::default(), Plan::default());
    let post = |path: &str, kind: &str, body: &str| {
        let length = body.len();
        gate.ask(&format!(
            "POST {path} HTTP/1.1\r\nhost: a\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
        ))
    };
    let form = "application/x-www-form-urlencoded";
    for (kind, body, takes) in [
        (form, "b=2&a=1", &chosen),
        (form, "a=2", &other),
        ("text/plain", "a=1", &other),
        ("application/json", r#"{"model":{"name":"gpt-9"}}"#, &chosen),
        ("application/json", r#"{"model":{"name":"other"}}"#, &other),
        ("application/json", "not json", &other),
        ("application/graphql", "mutation M { pay }", &chosen),
        ("application/graphql", "query M { pay }", &other),
        ("application/json", r#"{"query":"mutation { see pay }"}"#, &chosen),
        ("application/json", r#"{"query":"mutation { see }"}"#, &other),
    ] {
        assert!(post("/", kind, body).contains("200 OK"), "{body}");
        assert!(takes.next().ends_with(body), "{body}");
    }
    assert!(gate.ask("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").contains("200 OK"));
    assert_eq!(other.next(), "other: ");
    let get = "GET /?query=mutation%7Bpay%7D HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    assert!(gate.ask(get).contains("200 OK"));
    assert_eq!(chosen.next(), "chosen: ");
    let long = format!("a=1&b={}", "x".repeat(1 << 20));
    assert!(post("/", form, &long).starts_with("HTTP/1.1 413"));
    // What is no form has no limit of this kind, and a path that no such route has is not waited for.
    assert!(post("/", "text/plain", &long).contains("200 OK"));
    assert!(other.next().ends_with(&long));
    let mut client = gate.connect();
    client
        .write_all(format!("POST /late HTTP/1.1\r\nhost: a\r\ncontent-type: {form}\r\ncontent-length: 3\r\nconnection: close\r\n\r\n").as_bytes())
        .unwrap();
    assert!(late.next().starts_with("POST /late "));
    client.write_all(b"a=1").unwrap();
    assert_eq!(late.next(), "late: a=1");
    assert!(chosen.seen.try_recv().is_err());
}
