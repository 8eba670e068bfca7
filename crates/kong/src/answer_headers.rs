//! What is said of each request on the dialect's routes, to its client and its upstream: `headers` of Kong's own
//! configuration.

use base::{Clock, Random};
use gateway::route::Entry;
use http::{HeaderName, HeaderValue};
use plugins::{
    exchange_marks,
    request_id::{self, Algorithm},
};

const UPSTREAM_LATENCY: HeaderName = HeaderName::from_static("x-kong-upstream-latency");
const PROXY_LATENCY: HeaderName = HeaderName::from_static("x-kong-proxy-latency");
const RESPONSE_LATENCY: HeaderName = HeaderName::from_static("x-kong-response-latency");
const UPSTREAM_STATUS: HeaderName = HeaderName::from_static("x-kong-upstream-status");
const REQUEST_ID: &str = "X-Kong-Request-Id";
/// The gate as it names itself in `Server`, too.
const VIA: HeaderValue = HeaderValue::from_static("1.1 portcullis");
/// Letters of a request's name: 128 bits.
const LETTERS: usize = 32;

/// Which of the headers are sent.
#[derive(Clone, Debug)]
pub struct AnswerHeaders {
    marks: exchange_marks::Config,
    request_id: bool,
}

impl Default for AnswerHeaders {
    /// Kong's own choice, but for a name of each request: a header that hardly anybody reads is not worth randomness.
    fn default() -> Self {
        let mut headers = Self { marks: exchange_marks::Config::default(), request_id: false };
        headers.add("server_tokens");
        headers.add("latency_tokens");
        headers
    }
}

impl AnswerHeaders {
    /// Reads names as Kong's configuration has them: of headers, `server_tokens`, `latency_tokens`, or `off` alone.
    ///
    /// # Errors
    ///
    /// What no header of these is.
    pub fn read<'n>(names: impl IntoIterator<Item = &'n str>) -> Result<Self, String> {
        let mut headers = Self { marks: exchange_marks::Config::default(), request_id: false };
        let names: Vec<&str> = names.into_iter().collect();
        if names == ["off"] {
            return Ok(headers);
        }
        match names.into_iter().find(|name| !headers.add(name)) {
            None => Ok(headers),
            Some(name) => Err(format!("`{name}` is none of the headers that are known")),
        }
    }

    fn add(&mut self, name: &str) -> bool {
        let marks = &mut self.marks;
        match name.to_ascii_lowercase().as_str() {
            "server_tokens" | "via" => marks.via = Some(VIA),
            // Said in any case.
            "server" => {}
            "latency_tokens" => {
                marks.upstream = Some(UPSTREAM_LATENCY);
                marks.gate = Some(PROXY_LATENCY);
                marks.own = Some(RESPONSE_LATENCY);
            }
            "x-kong-upstream-latency" => marks.upstream = Some(UPSTREAM_LATENCY),
            "x-kong-proxy-latency" => marks.gate = Some(PROXY_LATENCY),
            "x-kong-response-latency" => marks.own = Some(RESPONSE_LATENCY),
            "x-kong-upstream-status" => marks.status = Some(UPSTREAM_STATUS),
            "x-kong-request-id" => self.request_id = true,
            // The Admin API's own, which always says it.
            "x-kong-admin-latency" => {}
            _ => return false,
        }
        true
    }

    /// What says it on every route: before all other plugins, and after them.
    pub(crate) fn entries(&self, clock: &Clock, random: &Random) -> Vec<Entry> {
        let mut entries = Vec::new();
        if self.request_id {
            let config = request_id::Config {
                header: REQUEST_ID.to_owned(),
                echo: true,
                keeps_clients: false,
                keeps_upstreams: false,
                algorithm: Algorithm::Letters(LETTERS, "0123456789abcdef".to_owned()),
            };
            // The same whatever is configured, and it compiles.
            let named = request_id::compile(config, random, clock).ok();
            entries.extend(named.map(|plugin| Entry::new("request-name", i64::MAX, plugin)));
        }
        let exchange_marks::Config { upstream, gate, own, status, via } = &self.marks;
        let tells = [upstream, gate, own, status].into_iter().any(Option::is_some) || via.is_some();
        if tells {
            let marks = exchange_marks::compile(self.marks.clone(), clock);
            entries.push(Entry::new("exchange-marks", i64::MIN, marks));
        }
        entries
    }
}
