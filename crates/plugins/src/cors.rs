//! Cross-origin resource sharing (the Fetch standard, section 3.2): preflights are answered by the gate, before anybody
//! asks who is calling, and answers say which origins may read them.
//!
//! What an upstream says under the same names is taken out: two voices would contradict each other.

use std::{any::Any, collections::HashSet, sync::Arc};

use bytes::Bytes;
use gateway::{
    error::ConfigError,
    plugin::{Flow, Phases, Plugin, PluginRequest, PluginResponse, Reply},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use regex::{Regex, RegexBuilder};

/// Bytes of a compiled pattern.
const MAX_COMPILED: usize = 1 << 20;
const TIMING_ALLOW_ORIGIN: HeaderName = HeaderName::from_static("timing-allow-origin");
const ALLOW_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-allow-private-network");
const REQUEST_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-request-private-network");

/// What is said to which origins.
#[derive(Clone, Debug)]
pub struct Config {
    /// Origins that may read answers.
    pub origins: Origins,
    /// `Access-Control-Allow-Methods`.
    pub methods: String,
    /// `Access-Control-Allow-Headers`.
    pub headers: AllowHeaders,
    /// `Access-Control-Expose-Headers`.
    pub expose: Option<String>,
    /// `Access-Control-Max-Age`, in seconds.
    pub max_age: Option<i64>,
    /// Whether credentials may be sent along. Not with every origin: any site could act as its visitor.
    pub credentials: bool,
    /// Origins that may see how long things took.
    pub timing: Option<Origins>,
    /// What counts as a preflight.
    pub preflight: Preflight,
    /// Whether methods, headers and age are on preflights alone, and exposed headers on the other answers alone, as the
    /// Fetch standard has it.
    pub apart: bool,
    /// Whether requests from public pages to private networks are let through (Private Network Access).
    pub private_network: bool,
    /// Whether requests without `Origin` get the headers too.
    pub without_origin: bool,
}

/// Which origins.
#[derive(Clone, Debug)]
pub enum Origins {
    /// `*`.
    Any,
    /// Whoever asks is told its own name.
    Echo,
    /// These.
    Listed {
        /// Word by word.
        exact: Vec<String>,
        /// By pattern.
        patterns: Vec<String>,
        /// Said to everybody, where it is a single one: caches need not tell origins apart.
        always: bool,
    },
}

/// Which headers a request may have.
#[derive(Clone, Debug)]
pub enum AllowHeaders {
    /// Those that the preflight asks for.
    Echo,
    /// These.
    Listed(String),
}

/// What counts as a preflight, and who answers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preflight {
    /// Every `OPTIONS`, answered by the gate.
    EveryOptions,
    /// An `OPTIONS` with `Origin` and `Access-Control-Request-Method`, answered by the gate.
    Real,
    /// The same, answered by the upstream.
    Upstream,
}

/// The compiled form.
struct Cors {
    origins: Compiled,
    methods: HeaderValue,
    headers: Option<HeaderValue>,
    expose: Option<HeaderValue>,
    max_age: Option<HeaderValue>,
    credentials: bool,
    timing: Option<Compiled>,
    preflight: Preflight,
    apart: bool,
    private_network: bool,
    without_origin: bool,
}

enum Compiled {
    Any,
    Echo,
    Listed { exact: HashSet<String>, patterns: Vec<Regex>, always: Option<HeaderValue> },
}

/// What the client asked, before any plugin changed it.
#[derive(Default)]
struct Asked {
    origin: Option<HeaderValue>,
    headers: Option<HeaderValue>,
    is_preflight: bool,
    private_network: bool,
}

/// Compiles `config`.
///
/// # Errors
///
/// Every origin together with credentials, patterns that are none, and what no header can carry.
pub fn compile(config: Config) -> Result<Arc<dyn Plugin>, ConfigError> {
    if config.credentials && matches!(config.origins, Origins::Any) {
        return Err(ConfigError::new(
            "credentials",
            "not together with every origin: any site could then act as its visitor; name the origins",
        ));
    }
    let value = |name: &str, text: String| {
        HeaderValue::try_from(text).map_err(|_| ConfigError::new(name, "no header can carry it"))
    };
    let headers = match config.headers {
        AllowHeaders::Echo => None,
        AllowHeaders::Listed(text) => Some(value("headers", text)?),
    };
    Ok(Arc::new(Cors {
        origins: Compiled::new(config.origins, "origins")?,
        methods: value("methods", config.methods)?,
        headers,
        expose: config.expose.map(|text| value("expose", text)).transpose()?,
        max_age: config.max_age.map(HeaderValue::from),
        credentials: config.credentials,
        timing: config.timing.map(|origins| Compiled::new(origins, "timing")).transpose()?,
        preflight: config.preflight,
        apart: config.apart,
        private_network: config.private_network,
        without_origin: config.without_origin,
    }))
}

impl Compiled {
    fn new(origins: Origins, member: &str) -> Result<Self, ConfigError> {
        Ok(match origins {
            Origins::Any => Self::Any,
            Origins::Echo => Self::Echo,
            Origins::Listed { exact, patterns, always } => {
                let always = exact.first().filter(|_| always && exact.len() == 1 && patterns.is_empty());
                let always = always.map(|origin| HeaderValue::from_str(origin)).transpose();
                let always = always.map_err(|_| ConfigError::new(member, "no header can carry it"))?;
                let pattern = |text: String| {
                    let built = RegexBuilder::new(&text).size_limit(MAX_COMPILED).build();
                    built.map_err(|error| ConfigError::new(member, error.to_string()))
                };
                let patterns = patterns.into_iter().map(pattern).collect::<Result<_, _>>()?;
                Self::Listed { exact: exact.into_iter().collect(), patterns, always }
            }
        })
    }

    /// What this origin is told; `None`: nothing.
    fn told(&self, origin: Option<&HeaderValue>) -> Option<HeaderValue> {
        match self {
            Self::Any => Some(HeaderValue::from_static("*")),
            Self::Echo => Some(origin.cloned().unwrap_or(HeaderValue::from_static("*"))),
            Self::Listed { always: Some(always), .. } => Some(always.clone()),
            Self::Listed { exact, patterns, .. } => {
                let text = origin?.to_str().ok()?;
                let listed = exact.contains(text) || patterns.iter().any(|pattern| pattern.is_match(text));
                origin.filter(|_| listed).cloned()
            }
        }
    }
}

impl Plugin for Cors {
    fn name(&self) -> &'static str {
        "cors"
    }

    fn phases(&self) -> Phases {
        Phases::REWRITE.and(Phases::RESPONSE_HEADERS)
    }

    fn rewrite(&self, request: &mut PluginRequest<'_>) -> Flow {
        let head = &request.head;
        let asks = |name: &HeaderName| head.headers.get(name).cloned();
        let origin = asks(&header::ORIGIN);
        let is_options = head.method == Method::OPTIONS;
        let is_preflight = is_options
            && (self.preflight == Preflight::EveryOptions
                || (origin.is_some() && head.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)));
        let private_network = asks(&REQUEST_PRIVATE_NETWORK).is_some_and(|asked| asked == "true");
        let headers = asks(&header::ACCESS_CONTROL_REQUEST_HEADERS);
        request.notes.set(self, Asked { origin, headers, is_preflight, private_network });
        if is_preflight && self.preflight != Preflight::Upstream {
            let mut reply = Reply::new(Bytes::new());
            *reply.status_mut() = StatusCode::OK;
            return Flow::respond(reply);
        }
        Flow::Continue
    }

    fn response_headers(&self, response: &mut PluginResponse<'_>) {
        let nothing = Asked::default();
        let asked = response.notes.get::<_, Asked>(self).unwrap_or(&nothing);
        if asked.is_preflight && self.preflight == Preflight::Upstream {
            return;
        }
        remove_others(response.headers);
        if !self.without_origin && asked.origin.is_none() {
            return;
        }
        self.answer(asked, response.headers);
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Cors {
    fn answer(&self, asked: &Asked, headers: &mut HeaderMap) {
        if !matches!(self.origins, Compiled::Any) {
            // What one origin is told must not be kept for another (the Fetch standard, section 3.2.5).
            add_vary(headers);
        }
        if let Some(timing) = self.timing.as_ref().and_then(|timing| timing.told(asked.origin.as_ref())) {
            headers.insert(TIMING_ALLOW_ORIGIN, timing);
        }
        let Some(told) = self.origins.told(asked.origin.as_ref()) else { return };
        // `**` says `*` to a request without an origin, which credentials must not go with.
        let credentials = self.credentials && told != "*";
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, told);
        if credentials {
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        if asked.is_preflight || !self.apart {
            headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, self.methods.clone());
            if let Some(allowed) = self.headers.as_ref().or(asked.headers.as_ref()) {
                headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed.clone());
            }
            if let Some(age) = &self.max_age {
                headers.insert(header::ACCESS_CONTROL_MAX_AGE, age.clone());
            }
            if self.private_network && asked.private_network {
                headers.insert(ALLOW_PRIVATE_NETWORK, HeaderValue::from_static("true"));
            }
        }
        if let Some(expose) = self.expose.as_ref().filter(|_| !asked.is_preflight || !self.apart) {
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, expose.clone());
        }
    }
}

fn remove_others(headers: &mut HeaderMap) {
    for name in [
        header::ACCESS_CONTROL_ALLOW_ORIGIN,
        header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
        header::ACCESS_CONTROL_ALLOW_METHODS,
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        header::ACCESS_CONTROL_MAX_AGE,
        ALLOW_PRIVATE_NETWORK,
    ] {
        headers.remove(name);
    }
}

fn add_vary(headers: &mut HeaderMap) {
    let named = |value: &HeaderValue| {
        let mut names = value.to_str().unwrap_or_default().split(',').map(str::trim);
        names.any(|name| name == "*" || name.eq_ignore_ascii_case("origin"))
    };
    if !headers.get_all(header::VARY).iter().any(named) {
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(origins: Origins) -> Config {
        Config {
            origins,
            methods: "GET,POST".to_owned(),
            headers: AllowHeaders::Echo,
            expose: Some("X-A".to_owned()),
            max_age: Some(5),
            credentials: true,
            timing: None,
            preflight: Preflight::Real,
            apart: true,
            private_network: false,
            without_origin: true,
        }
    }

    fn listed(exact: &[&str], patterns: &[&str]) -> Origins {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Origins::Listed { exact: owned(exact), patterns: owned(patterns), always: false }
    }

    fn told(config: Config, origin: Option<&str>) -> HeaderMap {
        let plugin = compile(config).unwrap();
        let cors = plugin.as_any().downcast_ref::<Cors>().unwrap();
        let origin = origin.map(|origin| HeaderValue::from_str(origin).unwrap());
        let mut headers = HeaderMap::new();
        cors.answer(&Asked { origin, is_preflight: true, ..Asked::default() }, &mut headers);
        headers
    }

    #[test]
    fn h30_only_a_listed_origin_is_named_and_caches_tell_origins_apart() {
        let of = || config(listed(&["https://a.example"], &["^https://[a-z]+\\.b\\.example$"]));
        for good in ["https://a.example", "https://x.b.example"] {
            let headers = told(of(), Some(good));
            assert_eq!(headers["access-control-allow-origin"], good);
            assert_eq!(headers["access-control-allow-credentials"], "true");
            assert_eq!(headers["vary"], "Origin");
        }
        let others = ["https://a.example.evil", "http://a.example", "https://x.b.example.evil", "null"];
        for bad in others.map(Some).into_iter().chain([None]) {
            let headers = told(of(), bad);
            assert!(!headers.contains_key("access-control-allow-origin"), "{bad:?}");
            assert!(!headers.contains_key("access-control-allow-credentials"), "{bad:?}");
            assert_eq!(headers["vary"], "Origin", "{bad:?}");
        }
    }

    #[test]
    fn h30_credentials_never_go_with_every_origin() {
        assert!(compile(config(Origins::Any)).is_err());
        let headers = told(config(Origins::Echo), None);
        assert_eq!(headers["access-control-allow-origin"], "*");
        assert!(!headers.contains_key("access-control-allow-credentials"));
    }

    #[test]
    fn vary_is_said_once_and_keeps_what_the_upstream_said() {
        let mut headers = HeaderMap::new();
        headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding, origin"));
        add_vary(&mut headers);
        assert_eq!(headers.get_all(header::VARY).iter().count(), 1);
        let mut headers = HeaderMap::new();
        headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        add_vary(&mut headers);
        assert_eq!(headers.get_all(header::VARY).iter().count(), 2);
    }

    #[test]
    fn a_pattern_that_is_none_is_refused() {
        assert!(compile(config(listed(&[], &["("]))).is_err());
        assert!(compile(config(listed(&[], &["(?=a)"]))).is_err());
    }
}
