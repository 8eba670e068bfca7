//! The head of an answer, and how the end of its body is told.

use std::cell::{Cell, RefCell};

use base::UnixMillis;
use bytes::BytesMut;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use crate::h1::outbox::{Framing, add_length, add_line};

/// What of a request its answer depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) head_alone: bool,
    pub(super) http_10: bool,
    pub(super) keep_alive: bool,
    pub(super) takes_trailers: bool,
}

/// What the head of an answer says of what follows it.
#[derive(Debug)]
pub(super) struct Promise {
    pub(super) framing: Framing,
    pub(super) keep_alive: bool,
    /// Trailers that may follow the body.
    pub(super) trailers: Vec<HeaderName>,
}

/// Writes the head of an answer whose body has `length` bytes, if that is known.
pub(super) fn encode(
    out: &mut BytesMut,
    asked: Asked,
    (status, headers): (StatusCode, &HeaderMap),
    length: Option<u64>,
    date: impl FnOnce(&mut BytesMut),
) -> Promise {
    let switches = status == StatusCode::SWITCHING_PROTOCOLS;
    let unsized_status =
        status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let declared = || headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok();
    let framing = match length.or_else(declared) {
        _ if unsized_status || asked.head_alone => Framing::Nothing,
        Some(length) => Framing::Length(length),
        None if asked.http_10 => Framing::Close,
        None => Framing::Chunked,
    };
    let closes = headers.get_all(header::CONNECTION).iter().any(is_close);
    let keep_alive = asked.keep_alive && !closes && framing != Framing::Close;
    let mut promise = Promise { framing, keep_alive, trailers: Vec::new() };
    first_line(out, asked, status);
    let (mut dated, mut sized) = (false, false);
    for (name, value) in headers {
        match *name {
            header::TRANSFER_ENCODING => continue,
            header::CONTENT_LENGTH => {
                // What is sent counts, whatever is said of it.
                match framing {
                    Framing::Length(length) if !sized => add_length(out, length),
                    Framing::Nothing if !sized && !unsized_status => add_line(out, name, value),
                    _ => {}
                }
                sized = true;
                continue;
            }
            header::CONNECTION if !switches => continue,
            header::TRAILER if framing != Framing::Chunked => continue,
            header::TRAILER => promise.trailers.extend(names(value)),
            header::DATE => dated = true,
            _ => {}
        }
        add_line(out, name, value);
    }
    match framing {
        Framing::Length(length) if !sized => add_length(out, length),
        Framing::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        // It is what a body would have had.
        Framing::Nothing if !sized && !unsized_status => {
            length.filter(|length| *length > 0).into_iter().for_each(|length| add_length(out, length));
        }
        _ => {}
    }
    match (switches, keep_alive, asked.http_10) {
        (_, true, true) => out.extend_from_slice(b"connection: keep-alive\r\n"),
        (false, false, http_10) if !http_10 || closes => out.extend_from_slice(b"connection: close\r\n"),
        // What goes without saying.
        _ => {}
    }
    if !dated {
        date(out);
    }
    out.extend_from_slice(b"\r\n");
    promise
}

fn first_line(out: &mut BytesMut, asked: Asked, status: StatusCode) {
    if status == StatusCode::OK && !asked.http_10 {
        out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
        return;
    }
    out.extend_from_slice(if asked.http_10 { b"HTTP/1.0 " } else { b"HTTP/1.1 " });
    out.extend_from_slice(status.as_str().as_bytes());
    out.extend_from_slice(b" ");
    // It may be empty (RFC 9112 section 4).
    out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn is_close(value: &HeaderValue) -> bool {
    value
        .as_bytes()
        .split(|byte| *byte == b',')
        .any(|entry| entry.trim_ascii().eq_ignore_ascii_case(b"close"))
}

fn names(list: &HeaderValue) -> impl Iterator<Item = HeaderName> {
    let entries = list.as_bytes().split(|byte| *byte == b',');
    entries.filter_map(|entry| HeaderName::from_bytes(entry.trim_ascii()).ok())
}

/// The moment as answers say it (RFC 9110 section 5.6.7), written anew each second.
#[derive(Debug, Default)]
pub(crate) struct Date {
    second: Cell<Option<i64>>,
    line: RefCell<String>,
}

impl Date {
    /// Adds the header.
    pub(crate) fn add(&self, now: UnixMillis, out: &mut BytesMut) {
        if self.second.replace(Some(now.secs())) != Some(now.secs()) {
            let since = std::time::Duration::from_secs(u64::try_from(now.secs()).unwrap_or(0));
            let date = httpdate::fmt_http_date(std::time::UNIX_EPOCH + since);
            *self.line.borrow_mut() = format!("date: {date}\r\n");
        }
        out.extend_from_slice(self.line.borrow().as_bytes());
    }
}
