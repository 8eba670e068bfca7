//! The access log: cores fill buffers, one thread writes lines. A log that cannot keep up loses lines and counts
//! them; requests never wait for it. Queries are not logged: they carry codes and tokens.

use std::{
    cell::RefCell,
    io::Write,
    net::IpAddr,
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

/// Records of one core that are handed over together.
const BATCH: usize = 256;
/// Batches that may wait for the writer.
const WAITING: usize = 64;

/// One answered request.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) at: UnixMillis,
    pub(crate) client: IpAddr,
    pub(crate) method: Method,
    pub(crate) host: HeaderValue,
    pub(crate) target: PathAndQuery,
    pub(crate) status: StatusCode,
    pub(crate) bytes: u64,
    pub(crate) took: Duration,
    pub(crate) route: Option<Arc<Route>>,
    pub(crate) consumer: Option<Arc<Consumer>>,
    pub(crate) upstream: Option<Box<str>>,
    pub(crate) failure: Option<Box<str>>,
}

/// The writing end of the log, one clone per core.
#[derive(Clone, Debug)]
pub(crate) struct Sink(SyncSender<Vec<Record>>);

/// The buffer of one core.
#[derive(Debug)]
pub(crate) struct CoreLog {
    sink: Option<Sink>,
    records: RefCell<Vec<Record>>,
}

impl CoreLog {
    pub(crate) fn new(sink: Option<Sink>) -> Self {
        Self { sink, records: RefCell::default() }
    }

    pub(crate) const fn is_on(&self) -> bool {
        self.sink.is_some()
    }

    pub(crate) fn add(&self, record: Record, metrics: &CoreMetrics) {
        let full = {
            let mut records = self.records.borrow_mut();
            records.push(record);
            records.len() >= BATCH
        };
        if full {
            self.flush(metrics);
        }
    }

    /// Hands the buffer over. Called when it is full, and by the core's clockwork.
    pub(crate) fn flush(&self, metrics: &CoreMetrics) {
        let records = self.records.take();
        let (Some(sink), false) = (&self.sink, records.is_empty()) else { return };
        let count = records.len() as u64;
        if sink.0.try_send(records).is_err() {
            metrics.log_dropped(count);
        }
    }
}

impl Drop for CoreLog {
    /// Requests that a drain cut short are noted when their connections are dropped, after the last flush.
    fn drop(&mut self) {
        let records = self.records.take();
        if let (Some(sink), false) = (&self.sink, records.is_empty()) {
            let _ = sink.0.try_send(records);
        }
    }
}

/// Starts the writer. It ends, with everything written, when all sinks are gone.
pub(crate) fn start(mut out: Box<dyn Write + Send>) -> std::io::Result<(Sink, JoinHandle<()>)> {
    let (sender, receiver): (_, Receiver<Vec<Record>>) = sync_channel(WAITING);
    let thread = std::thread::Builder::new().name("access-log".to_owned()).stack_size(256 * 1024).spawn(
        move || {
            let mut text = Vec::with_capacity(16 * 1024);
            for batch in receiver {
                text.clear();
                for record in &batch {
                    write_line(&mut text, record);
                }
                // A log on a full disk must not stop the gate.
                let _ = out.write_all(&text).and_then(|()| out.flush());
            }
        },
    )?;
    Ok((Sink(sender), thread))
}

/// One JSON object and a line end. Every string goes through the JSON encoder, so that no field can begin a line.
fn write_line(out: &mut Vec<u8>, record: &Record) {
    let line = serde_json::json!({
        "time": record.at.0,
        "client": record.client.to_string(),
        "method": record.method.as_str(),
        "host": record.host.to_str().unwrap_or_default(),
        "path": record.target.path(),
        "status": record.status.as_u16(),
        "bytes": record.bytes,
        "took_us": u64::try_from(record.took.as_micros()).unwrap_or(u64::MAX),
        "route": record.route.as_ref().map(|route| route.id.as_ref()),
        "consumer": record.consumer.as_ref().map(|consumer| consumer.name()),
        "upstream": record.upstream.as_deref(),
        "failure": record.failure.as_deref(),
    });
    // Writing to a Vec cannot fail.
    let _ = serde_json::to_writer(&mut *out, &line);
    out.push(b'\n');
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
            labels: std::collections::BTreeMap::new(),
            headers: Vec::new(),
            layer: Arc::default(),
            created: 1,
        };
        let record = Record {
            at: UnixMillis(1),
            client: "::1".parse().unwrap(),
            method: Method::GET,
            host: HeaderValue::from_static("h"),
            target: "/a%0Ab?code=canary".parse().unwrap(),
            status: StatusCode::OK,
            bytes: 2,
            took: Duration::from_micros(3),
            route: None,
            consumer: Some(Arc::new(consumer)),
            upstream: None,
            failure: Some("line\n\u{1b}[31mtwo".into()),
        };
        let mut out = Vec::new();
        write_line(&mut out, &record);
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.matches('\n').count(), 1);
        assert!(text.contains("\"consumer\":\"jack\""));
        assert!(!text.contains("canary") && !text.contains('\u{1b}'));
    }
}
