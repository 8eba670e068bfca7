//! Tells others of requests and their answers: an HTTP server, or a file.
//!
//! The core that served a request puts its entry into a bounded queue and goes on; batches are made and sent elsewhere.
//! When a queue is full, entries are left out and counted: no request ever waits for a log. Secrets never get into an
//! entry: what credentials travel in is masked before anything is written.

mod batch;
mod entry;
mod file;
mod masks;
#[cfg(test)]
mod tests;

use std::{any::Any, sync::Arc, time::Duration};

use bytes::Bytes;
use expr::Expression;
use fetch::{Fetcher, Request};
use gateway::{
    error::ConfigError,
    plugin::{Exchange, Phases, Plugin},
};
use http::{HeaderMap, HeaderValue, Method, header};
use tokio::runtime::Handle;

use self::{batch::Queue, file::LogFile};
pub use self::{
    batch::{Batches, Counts, counts},
    entry::{Member, Shape},
};

/// Where entries go, and what they look like.
#[derive(Clone, Debug)]
pub struct Config {
    /// What the counts of this log are found by.
    pub name: &'static str,
    /// What an entry is.
    pub shape: Shape,
    /// Only exchanges of which any of these holds; empty: all.
    pub only: Vec<Expression>,
    /// Where to.
    pub target: Target,
    /// How many are sent together.
    pub batches: Batches,
}

/// Where entries go.
#[derive(Clone, Debug)]
pub enum Target {
    /// To an HTTP server.
    Http(HttpTarget),
    /// To the end of a file, one a line.
    File(String),
}

/// An HTTP server that takes entries.
#[derive(Clone, Debug)]
pub struct HttpTarget {
    /// Its URL.
    pub url: String,
    /// The method.
    pub method: String,
    /// Headers, `Authorization` among them.
    pub headers: Vec<(String, String)>,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Whether its certificate is verified.
    pub verify_tls: bool,
    /// How several entries become one body.
    pub joined: Joined,
}

/// How several entries become one body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joined {
    /// A JSON list; a single entry stands for itself.
    List,
    /// One a line.
    Lines,
}

/// What instances share.
#[derive(Clone)]
pub struct Services {
    /// Outbound requests, behind the guard.
    pub fetcher: Fetcher,
    /// Where batches are made.
    pub runtime: Handle,
    /// What the machine calls itself.
    pub hostname: Arc<str>,
}

/// The compiled form.
struct ExchangeLog {
    shape: Shape,
    only: Vec<Expression>,
    hostname: Arc<str>,
    queue: Queue,
}

/// Compiles `config`.
///
/// # Errors
///
/// A URL that may not be fetched, a file that is no log, and headers that are none.
pub fn compile(config: Config, services: &Services) -> Result<Arc<dyn Plugin>, ConfigError> {
    let Config { name, shape, only, target, batches } = config;
    let sink = match target {
        Target::Http(target) => Sink::Http(Box::new(HttpSink::new(target, &services.fetcher)?)),
        Target::File(path) => Sink::File(LogFile::new(&path)?),
    };
    let queue = Queue::new(name, batches, sink, services.runtime.clone());
    Ok(Arc::new(ExchangeLog { shape, only, hostname: Arc::clone(&services.hostname), queue }))
}

impl Plugin for ExchangeLog {
    fn name(&self) -> &'static str {
        "exchange-log"
    }

    fn phases(&self) -> Phases {
        Phases::LOG_HEADS
    }

    fn log(&self, exchange: &Exchange<'_>) {
        let meant = self.only.is_empty() || {
            let variables = exchange.variables();
            self.only.iter().any(|condition| condition.matches(&variables))
        };
        // What would not fit is not made.
        if meant && self.queue.has_room() {
            self.queue.push(self.shape.entry(exchange, &self.hostname));
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Takes batches.
enum Sink {
    Http(Box<HttpSink>),
    File(LogFile),
}

impl Sink {
    /// Sends the entries, each of them JSON.
    async fn send(&self, entries: &[Box<str>]) -> Result<(), String> {
        match self {
            Self::Http(sink) => sink.send(entries).await,
            Self::File(file) => file.append(entries).await,
        }
    }
}

struct HttpSink {
    fetcher: Fetcher,
    url: String,
    method: Method,
    headers: HeaderMap,
    timeout: Duration,
    verify_tls: bool,
    joined: Joined,
}

impl HttpSink {
    fn new(target: HttpTarget, fetcher: &Fetcher) -> Result<Self, ConfigError> {
        let HttpTarget { url, method, headers, timeout, verify_tls, joined } = target;
        fetcher.permits(&url).map_err(|refusal| ConfigError::new("uri", refusal.to_string()))?;
        let method = Method::from_bytes(method.as_bytes());
        let method = method.map_err(|_| ConfigError::new("method", "not a method"))?;
        let mut all = HeaderMap::new();
        let kind = match joined {
            Joined::List => "application/json",
            Joined::Lines => "text/plain",
        };
        all.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        for (name, value) in headers {
            let wrong = || ConfigError::new("headers", "a name or a value is none of a header");
            let name = http::HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
            let mut value = HeaderValue::try_from(value).map_err(|_| wrong())?;
            value.set_sensitive(true);
            all.insert(name, value);
        }
        Ok(Self { fetcher: fetcher.clone(), url, method, headers: all, timeout, verify_tls, joined })
    }

    async fn send(&self, entries: &[Box<str>]) -> Result<(), String> {
        let body = match (self.joined, entries) {
            (Joined::List, [one]) => one.to_string(),
            (Joined::List, many) => format!("[{}]", many.join(",")),
            (Joined::Lines, many) => many.join("\n"),
        };
        let request = Request {
            method: self.method.clone(),
            headers: self.headers.clone(),
            timeout: self.timeout,
            verify_tls: self.verify_tls,
            ..Request::post(&self.url, Bytes::from(body))
        };
        let answer = self.fetcher.send(request).await.map_err(|error| error.to_string())?;
        let status = answer.status;
        if status.as_u16() < 400 { Ok(()) } else { Err(format!("the server answers {status}")) }
    }
}
