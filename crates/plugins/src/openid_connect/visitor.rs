//! The browser's side of a request, as far as a login needs it when the request itself is out of reach.

use std::{net::IpAddr, sync::Arc};

use gateway::{
    consumer::Consumers,
    error::ErrorBody,
    plugin::{PluginRequest, Reply, RequestHead},
    route::Route,
};
use http::{HeaderMap, HeaderName, Method, StatusCode, header, uri::PathAndQuery};
use rp::{provider::Further, session::Cookies};

use super::{Inner, caller::Place};

const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const X_REQUESTED_WITH: HeaderName = HeaderName::from_static("x-requested-with");

/// Who asks, and for what.
#[derive(Clone)]
pub(super) struct Visitor {
    pub(super) https: bool,
    pub(super) method: Method,
    pub(super) target: PathAndQuery,
    authority: String,
    private: bool,
    /// Whether a redirect to a login page can be followed by a person.
    pub(super) page_load: bool,
    /// Whether another site's page caused the request.
    pub(super) cross_site: bool,
    html: bool,
    /// Whether the body is a form.
    pub(super) form: bool,
    /// Whether an image is asked for rather than a page.
    pub(super) pixel: bool,
    errors: ErrorBody,
    route: Arc<Route>,
    consumers: Arc<Consumers>,
    /// The `Cookie` lines alone.
    cookies: HeaderMap,
    /// What else goes along in calls to the provider.
    pub(super) further: Further,
    /// What it says in an authorization request.
    pub(super) authorization: Vec<(String, String)>,
}

impl Visitor {
    pub(super) fn of(inner: &Inner, request: &PluginRequest<'_>) -> Self {
        let head = &*request.head;
        let passed = &inner.config.calls.additions.passed;
        let lines = head.headers.get_all(header::COOKIE).iter();
        Self {
            https: request.peer.https,
            method: head.method.clone(),
            target: head.target.clone(),
            authority: head.public_host().authority().to_owned(),
            private: is_private(request),
            page_load: is_page_load(head),
            cross_site: is_cross_site(head),
            html: head.prefers_html(),
            form: is_form(head),
            pixel: prefers_pixel(head),
            errors: request.errors(),
            route: Arc::clone(request.route),
            consumers: Arc::clone(request.consumers),
            cookies: lines.map(|line| (header::COOKIE, line.clone())).collect(),
            further: passed.of(head).further,
            authorization: passed.authorization(head),
        }
    }

    /// Scheme, host and port, as the browser sees them.
    pub(super) fn origin(&self) -> String {
        format!("{}://{}", if self.https { "https" } else { "http" }, self.authority)
    }

    /// Host and port, as the browser named them.
    pub(super) fn authority(&self) -> &str {
        &self.authority
    }

    /// The status of a redirect: 302 may repeat a POST at the target; 303 never does.
    pub(super) fn redirect_status(&self) -> StatusCode {
        match self.method {
            Method::GET | Method::HEAD => StatusCode::FOUND,
            _ => StatusCode::SEE_OTHER,
        }
    }

    pub(super) fn place(&self) -> Place<'_> {
        Place { route: &self.route, consumers: &self.consumers }
    }

    pub(super) fn path(&self) -> &str {
        self.target.path()
    }

    pub(super) fn cookies(&self) -> Cookies<'_> {
        Cookies::read(&self.cookies)
    }

    /// Whether cookies that stand for a user may go over this connection: https, or within this machine.
    pub(super) fn may_log_in(&self) -> bool {
        self.private
    }

    /// The gate's own answer in the words of the route's dialect.
    pub(super) fn error(&self, status: StatusCode, message: &str) -> Reply {
        self.errors.reply(status, message, self.html)
    }

    pub(super) fn errors(&self) -> (ErrorBody, bool) {
        (self.errors, self.html)
    }
}

/// Whether what is sent on this connection stays between the two ends: https, or within this machine.
pub(super) fn is_private(request: &PluginRequest<'_>) -> bool {
    request.peer.https || is_loopback(request.head.public_host().name())
}

/// Whether the body is said to be a form.
pub(super) fn is_form(head: &RequestHead) -> bool {
    let kind = head.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next()).map(str::trim);
    kind.is_some_and(|kind| kind.eq_ignore_ascii_case("application/x-www-form-urlencoded"))
}

/// Whether a browser is about to show the answer as a page: by GET or HEAD, and neither a script's request, nor an
/// API client's, nor a WebSocket.
fn is_page_load(head: &RequestHead) -> bool {
    let is = |name: HeaderName, value: &str| {
        head.headers.get(name).is_some_and(|have| have.as_bytes() == value.as_bytes())
    };
    let scripted = head.headers.get(SEC_FETCH_MODE).is_some_and(|mode| mode.as_bytes() != b"navigate")
        || is(X_REQUESTED_WITH, "XMLHttpRequest");
    let accepts_json = || {
        let mut values = head.headers.get_all(header::ACCEPT).iter();
        values.any(|value| value.to_str().is_ok_and(|value| value.contains("application/json")))
    };
    let readable = matches!(head.method, Method::GET | Method::HEAD) && !head.websocket;
    readable && !scripted && (head.prefers_html() || !accepts_json())
}

/// Whether `Accept` ranks `image/png` above `text/html`, as the `img` elements of some providers' logout pages do; of
/// equals, the first counts.
fn prefers_pixel(head: &RequestHead) -> bool {
    let (mut png, mut html) = (0.0, 0.0);
    let values = head.headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    for range in values.flat_map(|value| value.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default();
        let quality = parts.find_map(|part| part.strip_prefix("q=")).and_then(|q| q.parse::<f32>().ok());
        let quality = quality.unwrap_or(1.0).clamp(0.0, 1.0);
        if kind.eq_ignore_ascii_case("image/png") && quality > html {
            png = quality;
        } else if kind.eq_ignore_ascii_case("text/html") {
            html = quality;
        }
    }
    png > 0.0 && png >= html
}

/// Browsers say it in `Sec-Fetch-Site`; older ones show it in `Origin` or `Referer`. A request that says nothing is
/// typed, a bookmark, or not a browser's.
pub(super) fn is_cross_site(head: &RequestHead) -> bool {
    if let Some(site) = head.headers.get(SEC_FETCH_SITE) {
        return site.as_bytes() == b"cross-site";
    }
    let from = head.headers.get(header::ORIGIN).or_else(|| head.headers.get(header::REFERER));
    from.is_some_and(|from| {
        let from = from.to_str().ok().and_then(|from| url::Url::parse(from).ok());
        from.as_ref().and_then(url::Url::host_str) != Some(head.public_host().name())
    })
}

fn is_loopback(host: &str) -> bool {
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host == "localhost"
        || host.ends_with(".localhost")
        || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
