//! The access log: cores write lines into buffers, one thread hands those to the system. A log that cannot keep up loses
//! lines and counts them; requests never wait for it. Queries are not logged: they carry codes and tokens.
//!
//! A line is written as soon as its request is over. To keep the parts of it for later would keep the heads in memory that
//! they are parts of.

use std::{
    cell::RefCell,
    io::Write,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::Duration,
};

use base::UnixMillis;
use http::{HeaderValue, Method, StatusCode, uri::PathAndQuery};

use crate::{consumer::Consumer, metrics::CoreMetrics, route::Route};

/// Bytes of one core's lines that are handed over together.
const BATCH: usize = 32 * 1024;
/// Room for the line that makes a batch full.
const ROOM: usize = 1024;
/// Batches that may wait for the writer.
const WAITING: usize = 64;

/// One request, until its answer has ended.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) at: UnixMillis,
    pub(crate) client: HeaderValue,
    pub(crate) method: Method,
    pub(crate) host: HeaderValue,
    pub(crate) target: PathAndQuery,
    pub(crate) status: StatusCode,
    pub(crate) bytes: u64,
    pub(crate) took: Duration,
    pub(crate) route: Option<Arc<Route>>,
    pub(crate) consumer: Option<Arc<Consumer>>,
    pub(crate) upstream: Option<Arc<str>>,
    pub(crate) failure: Option<Box<str>>,
}

impl Record {
    /// A request of which nothing else is known yet.
    pub(crate) fn new(
        at: UnixMillis,
        client: HeaderValue,
        method: Method,
        host: HeaderValue,
        target: PathAndQuery,
    ) -> Self {
        Self {
            at,
            client,
            method,
            host,
            target,
            status: StatusCode::OK,
            bytes: 0,
            took: Duration::ZERO,
            route: None,
            consumer: None,
            upstream: None,
            failure: None,
        }
    }
}

/// Lines that travel together.
#[derive(Debug, Default)]
struct Batch {
    text: Vec<u8>,
    lines: u64,
}

/// The writing end of the log, one clone per core.
#[derive(Clone, Debug)]
pub(crate) struct Sink(SyncSender<Batch>);

/// The buffer of one core.
#[derive(Debug)]
pub(crate) struct CoreLog {
    sink: Option<Sink>,
    batch: RefCell<Batch>,
}

impl CoreLog {
    pub(crate) fn new(sink: Option<Sink>) -> Self {
        Self { sink, batch: RefCell::default() }
    }

    pub(crate) const fn is_on(&self) -> bool {
        self.sink.is_some()
    }

    pub(crate) fn add(&self, record: &Record, metrics: &CoreMetrics) {
        let full = {
            let mut batch = self.batch.borrow_mut();
            if batch.text.capacity() == 0 {
                batch.text.reserve_exact(BATCH + ROOM);
            }
            write_line(&mut batch.text, record);
            batch.lines += 1;
            batch.text.len() >= BATCH
        };
        if full {
            self.flush(metrics);
        }
    }

    /// Hands the buffer over. Called when it is full, and by the core's clockwork.
    pub(crate) fn flush(&self, metrics: &CoreMetrics) {
        let batch = self.batch.take();
        let (Some(sink), lines @ 1..) = (&self.sink, batch.lines) else { return };
        if sink.0.try_send(batch).is_err() {
            metrics.log_dropped(lines);
        }
    }
}

impl Drop for CoreLog {
    /// Requests that a drain cut short are noted when their connections are dropped, after the last flush.
    fn drop(&mut self) {
        let batch = self.batch.take();
        if let (Some(sink), 1..) = (&self.sink, batch.lines) {
            let _ = sink.0.try_send(batch);
        }
    }
}

/// Starts the writer. It ends, with everything written, when all sinks are gone.
pub(crate) fn start(mut out: Box<dyn Write + Send>) -> std::io::Result<(Sink, JoinHandle<()>)> {
    let (sender, receiver): (_, Receiver<Batch>) = sync_channel(WAITING);
    let thread = std::thread::Builder::new().name("access-log".to_owned()).stack_size(256 * 1024).spawn(
        move || {
            for batch in receiver {
                // A log on a full disk must not stop the gate.
                let _ = out.write_all(&batch.text).and_then(|()| out.flush());
            }
        },
    )?;
    Ok((Sink(sender), thread))
}

/// One JSON object and a line end. Every string goes through the JSON encoder, so that no field can begin a line.
fn write_line(out: &mut Vec<u8>, record: &Record) {
    out.extend_from_slice(b"{\"time\":");
    out.extend_from_slice(itoa::Buffer::new().format(record.at.0).as_bytes());
    string(out, b",\"client\":", Some(record.client.to_str().unwrap_or_default()));
    string(out, b",\"method\":", Some(record.method.as_str()));
    string(out, b",\"host\":", Some(record.host.to_str().unwrap_or_default()));
    string(out, b",\"path\":", Some(record.target.path()));
    number(out, b",\"status\":", record.status.as_u16().into());
    number(out, b",\"bytes\":", record.bytes);
    number(out, b",\"took_us\":", u64::try_from(record.took.as_micros()).unwrap_or(u64::MAX));
    string(out, b",\"route\":", record.route.as_ref().map(|route| route.id.as_ref()));
    string(out, b",\"consumer\":", record.consumer.as_ref().map(|consumer| consumer.name()));
    string(out, b",\"upstream\":", record.upstream.as_deref());
    string(out, b",\"failure\":", record.failure.as_deref());
    out.extend_from_slice(b"}\n");
}

/// `member` is a comma, the name and the colon.
fn string(out: &mut Vec<u8>, member: &[u8], value: Option<&str>) {
    out.extend_from_slice(member);
    match value {
        // Looked through without a branch for each letter, which the compiler turns into a few vectors.
        Some(text) if text.bytes().fold(true, |plain, byte| plain & is_plain(byte)) => {
            out.push(b'"');
            out.extend_from_slice(text.as_bytes());
            out.push(b'"');
        }
        Some(text) => {
            // Writing to a Vec cannot fail.
            let _ = serde_json::to_writer(out, text);
        }
        None => out.extend_from_slice(b"null"),
    }
}

/// Whether JSON writes this byte of a text as it is (RFC 8259 section 7).
const fn is_plain(byte: u8) -> bool {
    (byte >= b' ') & (byte != b'"') & (byte != b'\\')
}

fn number(out: &mut Vec<u8>, member: &[u8], value: u64) {
    out.extend_from_slice(member);
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s06_and_s07_a_line_is_one_line_and_has_no_query() {
        let consumer = Consumer {
            id: "c-1".into(),
            username: Some("jack".into()),
            custom_id: None,
            groups: Vec::new(),
            memberships: Vec::new(),
            labels: std::collections::BTreeMap::new(),
            headers: Vec::new(),
            layer: Arc::default(),
            created: 1,
        };
        let record = Record {
            at: UnixMillis(1),
            client: HeaderValue::from_static("::1"),
            method: Method::GET,
            host: HeaderValue::from_static("h"),
            target: "/a%0Ab?code=canary".parse().unwrap(),
            status: StatusCode::OK,
            bytes: 2,
            took: Duration::from_micros(3),
            route: None,
            consumer: Some(Arc::new(consumer)),
            upstream: None,
            failure: Some("line\n\u{1b}[31m\"two\\".into()),
        };
        let mut out = Vec::new();
        write_line(&mut out, &record);
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.matches('\n').count(), 1);
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (&line["path"], &line["took_us"], &line["route"]),
            (&"/a%0Ab".into(), &3.into(), &().into())
        );
        assert_eq!(line["failure"], "line\n\u{1b}[31m\"two\\");
        assert!(text.contains("\"consumer\":\"jack\""));
        assert!(!text.contains("canary") && !text.contains('\u{1b}'));
    }
}
