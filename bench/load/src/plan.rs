//! What to do, as the benchmark says it.

use std::{net::SocketAddr, path::PathBuf};

use serde::Deserialize;

/// What kind of burden to be.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    /// Requests.
    #[default]
    Load,
    /// Connections that have had one answer and stay open, until standard input ends.
    Idle,
    /// Threads that hash passwords, until standard input ends.
    Burn,
}

/// How requests travel.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Protocol {
    /// HTTP/1.1.
    #[default]
    H1,
    /// HTTP/1.1 over TLS 1.3.
    H1tls,
    /// HTTP/2 over TLS 1.3.
    H2tls,
}

/// One run.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Plan {
    #[serde(default)]
    pub(crate) mode: Mode,
    /// Threads of [`Mode::Burn`].
    #[serde(default)]
    pub(crate) threads: usize,
    #[serde(default = "nowhere")]
    pub(crate) address: SocketAddr,
    #[serde(default)]
    pub(crate) protocol: Protocol,
    /// The certificate to trust for `localhost`, PEM.
    #[serde(default)]
    pub(crate) trust: Option<PathBuf>,
    #[serde(default = "one")]
    pub(crate) connections: usize,
    /// Requests under way on each connection, HTTP/2 only.
    #[serde(default = "one")]
    pub(crate) streams: usize,
    /// Seconds before what happens counts.
    #[serde(default)]
    pub(crate) warm_up: f64,
    #[serde(default)]
    pub(crate) seconds: f64,
    /// Requests each second; without it, a closed loop.
    #[serde(default)]
    pub(crate) rate: Option<f64>,
    #[serde(default)]
    pub(crate) lines: Option<Lines>,
    /// Requests that each connection makes once, before the others: a login, say.
    #[serde(default)]
    pub(crate) prologue: Vec<Step>,
    #[serde(default)]
    pub(crate) steps: Vec<Step>,
    /// Cookies that are set are sent from then on, whatever their path.
    #[serde(default)]
    pub(crate) cookies: bool,
    /// Processes whose cost is reported.
    #[serde(default)]
    pub(crate) watch: Vec<u32>,
}

/// A variable `line` whose values are in a file, one a line.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Lines {
    pub(crate) file: PathBuf,
    /// Another one for each exchange; otherwise each connection begins with one and keeps it.
    #[serde(default)]
    pub(crate) each_time: bool,
}

/// One request of an exchange. `{name}` in its texts is the value of a variable.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Step {
    #[serde(default = "get")]
    pub(crate) method: String,
    pub(crate) target: String,
    /// Lines `Name: value`.
    #[serde(default)]
    pub(crate) headers: Vec<String>,
    #[serde(default)]
    pub(crate) body: Option<String>,
    /// Statuses that are a success.
    #[serde(default = "ok")]
    pub(crate) expect: Vec<u16>,
    /// Length of the answer's body, where it has to have one.
    #[serde(default)]
    pub(crate) length: Option<usize>,
    #[serde(default)]
    pub(crate) captures: Vec<Capture>,
}

/// A variable taken from an answer, head or body: what stands between two texts.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Capture {
    pub(crate) name: String,
    /// Letter case does not count, as it does not in names of headers.
    pub(crate) after: String,
    /// Any of these characters ends it.
    pub(crate) until: String,
}

const fn nowhere() -> SocketAddr {
    SocketAddr::V4(std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 0))
}

const fn one() -> usize {
    1
}

fn get() -> String {
    "GET".to_owned()
}

fn ok() -> Vec<u16> {
    vec![200]
}
