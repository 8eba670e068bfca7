//! Clients and targets that want to be misread: framing, pooled connections, silence.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // a test that cannot go on fails

mod support;

use gateway::{engine::Limits, upstream::Timeouts};
use support::{Gate, OK, Target};

#[test]
fn t03_chunked_is_the_one_transfer_coding() {
    let (gate, target) = (Gate::start(Limits::default()), Target::answering(OK));
    gate.route_to(&[target.address], Timeouts::default());
    for codings in [
        "transfer-encoding: gzip, chunked",
        "transfer-encoding: identity, chunked",
        "transfer-encoding: chunked, chunked",
        "transfer-encoding: identity\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
        "connection: transfer-encoding\r\ntransfer-encoding: gzip, chunked",
    ] {
        let request = format!(
            "POST / HTTP/1.1\r\nhost: a\r\n{codings}\r\n\r\n0\r\n\r\nGET /b HTTP/1.1\r\nhost: a\r\n\r\n"
        );
        let answer = gate.ask(&request);
        assert!(
            answer.starts_with("HTTP/1.1 501") && answer.contains("connection: close"),
            "{codings}: {answer}"
        );
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{codings}: {answer}");
    }
    assert!(target.seen.try_recv().is_err());
}

#[test]
fn the_absolute_form_without_a_path_asks_for_the_root() {
    let (gate, target) = (Gate::start(Limits::default()), Target::answering(OK));
    gate.route_to(&[target.address], Timeouts::default());
    gate.ask("GET http://a?x=1 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    assert!(target.next().starts_with("GET /?x=1 HTTP/1.1\r\n"));
}
