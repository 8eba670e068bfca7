//! What a plugin is to the engine: phases that run on a request, synchronously unless they say otherwise.

use std::{any::Any, fmt, future::Future, net::IpAddr, pin::Pin, ptr, sync::Arc, time::Duration};

use aws_lc_rs::digest;
use base::UnixMillis;
use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version, header, uri::PathAndQuery,
};
use smallvec::SmallVec;

use crate::{
    arrival::{Answer, Ended, Seen},
    condition::Decided,
    consumer::{Attached, Brought, Consumer, Consumers, Credential},
    error::{ErrorBody, Failure},
    route::Route,
};

pub use crate::host::HostName;

/// What the value of every cookie that the gate sealed begins with. Such a cookie is the gate's own on every route, and
/// no upstream's business: whoever holds a copy of a session cookie holds the session.
pub const SEALED_COOKIE: &[u8] = b"pc~";

/// An answer made by the gate itself.
pub type Reply = Response<Bytes>;

/// Future of a suspended phase. It runs on the proxy core that serves the request, so it need not be `Send`; it owns
/// what it needs, because the request head stays with the engine.
pub type Suspended = Pin<Box<dyn Future<Output = Verdict>>>;

/// A configured plugin instance, compiled when the configuration was written and shared by all cores.
pub trait Plugin: Send + Sync {
    /// The engine's name of it, for logs and metrics.
    fn name(&self) -> &'static str;

    /// The phases it takes part in; the others are never called.
    fn phases(&self) -> Phases;

    /// Before the upstream is chosen, first round: authentication and request rewriting.
    fn rewrite(&self, _request: &mut PluginRequest<'_>) -> Flow {
        Flow::Continue
    }

    /// Before the upstream is chosen, second round: decisions about an authenticated request.
    fn access(&self, _request: &mut PluginRequest<'_>) -> Flow {
        Flow::Continue
    }

    /// When the head of the answer is known, whoever made it.
    fn response_headers(&self, _response: &mut PluginResponse<'_>) {}

    /// When the answer has ended, however it ended. Runs on the core that served the request, so it must not wait.
    fn log(&self, _exchange: &Exchange<'_>) {}

    /// For downcasts in tests and status pages.
    fn as_any(&self) -> &dyn Any;
}

/// A set of phases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Phases(u8);

impl Phases {
    /// [`Plugin::rewrite`].
    pub const REWRITE: Self = Self(1);
    /// [`Plugin::access`].
    pub const ACCESS: Self = Self(1 << 1);
    /// [`Plugin::response_headers`].
    pub const RESPONSE_HEADERS: Self = Self(1 << 2);
    /// [`Plugin::log`].
    pub const LOG: Self = Self(1 << 3);
    /// [`Plugin::log`], with the heads of request and answer, which cost a copy.
    pub const LOG_HEADS: Self = Self(1 << 3 | 1 << 4);

    /// Both sets together.
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether every phase of `other` is in this set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// What a phase decides.
pub enum Flow {
    /// Go on with the next plugin.
    Continue,
    /// Answer the client now; nothing is sent upstream.
    Respond(Box<Reply>),
    /// Wait for this future, apply its edits, and do what it says.
    Suspend(Suspended),
    /// Read the request's body, then answer the client; nothing is sent upstream.
    Read(BodyReader),
    /// Read the request's body, judge it, and go on as the verdict says: upstream gets the same body.
    Inspect(BodyInspector),
}

/// Future of an answer made from a request's body.
pub type Answering = Pin<Box<dyn Future<Output = Reply>>>;

/// A plugin that answers a request itself, by what is in the request's body. The request ends with it, so nobody after
/// it misses the body.
pub struct BodyReader {
    /// Bytes that the body may have; a longer one is answered with 413, and one that does not come in time with 408.
    pub limit: usize,
    /// Makes the answer.
    pub answer: Box<dyn FnOnce(Bytes) -> Answering>,
}

/// A plugin that has to see a request's body before the request goes on.
pub struct BodyInspector {
    /// Bytes that the body may have; the limit of the listener holds as well.
    pub limit: usize,
    /// Judges the body, or what came of reading it: it was too large (413), too slow (408) or broke off (400).
    pub judge: Box<dyn FnOnce(Result<Bytes, Failure>) -> Suspended>,
}

impl Flow {
    /// Answers with `reply`.
    pub fn respond(reply: Reply) -> Self {
        Self::Respond(Box::new(reply))
    }
}

impl fmt::Debug for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Continue => f.write_str("Continue"),
            Self::Respond(reply) => f.debug_tuple("Respond").field(&reply.status()).finish(),
            Self::Suspend(_) => f.write_str("Suspend"),
            Self::Read(reader) => f.debug_tuple("Read").field(&reader.limit).finish(),
            Self::Inspect(inspector) => f.debug_tuple("Inspect").field(&inspector.limit).finish(),
        }
    }
}

/// What a suspended phase came to.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Changes to the request that go upstream, in order.
    pub request: Vec<HeaderEdit>,
    /// Headers added to the final answer, whoever makes it (session cookies).
    pub response: Vec<(HeaderName, HeaderValue)>,
    /// Who the request was found to come from.
    pub attach: Option<Attached>,
    /// What runs for the caller who is no consumer: see [`PluginRequest::bring`].
    pub bring: Option<Box<Brought>>,
    /// Another path and query, in the form of [`RequestHead::target`].
    pub target: Option<Box<PathAndQuery>>,
    /// The answer, if the request ends here.
    pub reply: Option<Box<Reply>>,
}

impl Verdict {
    /// Ends the request with `reply`.
    pub fn respond(reply: Reply) -> Self {
        Self { reply: Some(Box::new(reply)), ..Self::default() }
    }
}

/// One change to the headers that go upstream.
#[derive(Clone, Debug)]
pub enum HeaderEdit {
    /// Replaces all values of a name by one.
    Set(HeaderName, HeaderValue),
    /// Removes all values of a name.
    Remove(HeaderName),
}

impl HeaderEdit {
    /// Carries the edit out.
    pub fn apply(self, headers: &mut HeaderMap) {
        match self {
            Self::Set(name, value) => {
                headers.insert(name, value);
            }
            Self::Remove(name) => {
                headers.remove(name);
            }
        }
    }
}

/// The request as plugins see it. Identity headers of the client are gone, hop-by-hop headers too.
pub struct PluginRequest<'a> {
    /// The head that will go upstream; edits are made here.
    pub head: &'a mut RequestHead,
    /// Where it came from.
    pub peer: &'a Peer,
    /// The route that matched.
    pub route: &'a Arc<Route>,
    /// Headers added to the final answer, whoever makes it.
    pub response: &'a mut Vec<(HeaderName, HeaderValue)>,
    /// The consumers of the route's dialect.
    pub consumers: &'a Arc<Consumers>,
    /// Who the request was found to come from.
    pub attached: &'a mut Option<Attached>,
    /// What groups of the caller's bring.
    pub brought: &'a mut Option<Box<Brought>>,
    /// Which conditional plugins run on this request.
    pub decided: &'a mut Decided,
    /// What plugins remember until the answer comes.
    pub notes: &'a mut Notes,
}

impl PluginRequest<'_> {
    /// Says who the request comes from: the upstream is told, and the plugins that the consumer brings run from here on.
    /// A suspended phase says so in [`Verdict::attach`].
    pub fn attach(&mut self, who: impl Into<Attached>) {
        who.into().attach(self.attached, &mut self.head.headers);
    }

    /// Has the plugins of a group run from here on for a caller who is no consumer. A suspended phase says so in
    /// [`Verdict::bring`].
    pub fn bring(&mut self, brought: Box<Brought>) {
        *self.brought = Some(brought);
    }

    /// Who the request was found to come from.
    pub fn consumer(&self) -> Option<&Arc<Consumer>> {
        self.attached.as_ref().map(Attached::consumer)
    }

    /// The request for conditions over its variables.
    pub fn variables(&self) -> impl expr::Variables {
        let consumer = self.consumer().map(Arc::as_ref);
        Seen { head: self.head, peer: self.peer, route: self.route, consumer, answer: None }
    }

    /// The gate's own answer in the words of the route's dialect: a page for browsers, JSON for everybody else.
    pub fn error(&self, status: StatusCode, message: &str) -> Reply {
        self.route.errors.reply(status, message, self.head.prefers_html())
    }

    /// How the route's dialect words errors, for answers made in a suspended phase.
    pub fn errors(&self) -> ErrorBody {
        self.route.errors
    }
}

/// The answer as plugins see it, before its body.
pub struct PluginResponse<'a> {
    /// Its status.
    pub status: &'a mut StatusCode,
    /// Its headers.
    pub headers: &'a mut HeaderMap,
    /// The route that matched.
    pub route: &'a Arc<Route>,
    /// Where the request came from.
    pub peer: &'a Peer,
    /// The head that went upstream, or would have gone.
    pub head: &'a RequestHead,
    /// Who the request was found to come from.
    pub consumer: Option<&'a Consumer>,
    /// The target that answered; `None`: the gate itself did.
    pub upstream: Option<&'a str>,
    /// The status that the upstream answered with; `None`: the answer is not its own.
    pub upstream_status: Option<StatusCode>,
    /// When the request's head was read, by the monotonic clock.
    pub began: Duration,
    /// From the beginning of the first try to the head of the upstream's answer; `None`: no target was asked.
    pub upstream_took: Option<Duration>,
    /// Which conditional plugins run on this request.
    pub decided: &'a mut Decided,
    /// What plugins remembered of the request.
    pub notes: &'a Notes,
    /// What is to become of the body, in order: see [`PluginResponse::change_body`].
    pub(crate) body: &'a mut Vec<BodyChange>,
}

impl PluginResponse<'_> {
    /// Request and answer for conditions over their variables.
    pub fn variables(&self) -> impl expr::Variables {
        let answer = Answer {
            status: *self.status,
            headers: self.headers,
            upstream: self.upstream,
            upstream_status: self.upstream_status,
        };
        Seen {
            head: self.head,
            peer: self.peer,
            route: self.route,
            consumer: self.consumer,
            answer: Some(answer),
        }
    }

    /// Has the body changed. The headers that say of the old one what does not hold for the new are gone from here on;
    /// the length is the engine's business.
    pub fn change_body(&mut self, change: BodyChange) {
        const OF_THE_OLD: [HeaderName; 5] = [
            header::CONTENT_LENGTH,
            header::CONTENT_ENCODING,
            header::LAST_MODIFIED,
            header::ETAG,
            header::ACCEPT_RANGES,
        ];
        for name in OF_THE_OLD.iter().chain(&DIGESTS) {
            self.headers.remove(name);
        }
        self.body.push(change);
    }
}

/// What was reckoned over the bytes of a body, by their names from RFC 3230 to RFC 9530.
pub(crate) const DIGESTS: [HeaderName; 4] = [
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
    HeaderName::from_static("content-md5"),
];

/// What a plugin makes of an answer's body.
pub enum BodyChange {
    /// This one takes its place.
    Replace(Bytes),
    /// It is read whole and made into another.
    Transform {
        /// Bytes that it may have; a longer one makes the answer a 502.
        limit: usize,
        /// Makes the new one; `None`: it cannot, and the answer is a 502.
        apply: Box<dyn FnOnce(Bytes) -> Option<Bytes>>,
    },
}

impl fmt::Debug for BodyChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Replace(bytes) => f.debug_tuple("Replace").field(&bytes.len()).finish(),
            Self::Transform { limit, .. } => f.debug_tuple("Transform").field(limit).finish(),
        }
    }
}

/// What plugin instances remember of a request until its answer comes.
#[derive(Default)]
pub struct Notes(SmallVec<[(usize, Box<dyn Any>); 1]>);

impl Notes {
    /// Remembers `value` for this instance, in place of what it remembered before.
    pub fn set<P, T: Any>(&mut self, plugin: &P, value: T) {
        let key = ptr::from_ref(plugin).addr();
        self.0.retain(|(owner, _)| *owner != key);
        self.0.push((key, Box::new(value)));
    }

    /// What this instance remembers.
    pub fn get<P, T: Any>(&self, plugin: &P) -> Option<&T> {
        let key = ptr::from_ref(plugin).addr();
        self.0.iter().find(|(owner, _)| *owner == key)?.1.downcast_ref()
    }
}

impl fmt::Debug for Notes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notes").field("plugins", &self.0.len()).finish()
    }
}

/// What plugins decide of how a request is sent.
#[derive(Clone, Debug, Default)]
pub struct Sending {
    /// `Host` in place of the client's. An upstream that names its own host still does, unless the next member says no.
    pub host: Option<HeaderValue>,
    /// Whether `host` goes before an upstream's own.
    pub overrides_upstream_host: bool,
    /// Whether the path is the upstream's already: nothing is taken off it or put before it.
    pub is_upstream_path: bool,
    /// What a target is chosen by where its upstream hashes; `None`: the upstream's own key, or by turns.
    pub hash: Option<u32>,
    /// Bytes that its body may have, where that is less than the listener allows.
    pub body_limit: Option<u64>,
    /// Changes to the body, which is then read whole before it is sent.
    pub body: Vec<BodyEdit>,
}

/// A change to the body of a request.
#[derive(Clone)]
pub struct BodyEdit {
    /// Bytes that the body may have; a longer one is answered with 413.
    pub limit: usize,
    /// Makes the new one.
    pub apply: Arc<dyn Fn(Bytes) -> Bytes>,
}

impl fmt::Debug for BodyEdit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BodyEdit").field("limit", &self.limit).finish_non_exhaustive()
    }
}

/// A request and its answer, when both have ended.
#[derive(Debug)]
pub struct Exchange<'a> {
    /// When the request's head was read.
    pub at: UnixMillis,
    /// The request as it was matched, before any plugin; only for [`Phases::LOG_HEADS`].
    pub head: Option<&'a RequestHead>,
    /// Headers of the answer; only for [`Phases::LOG_HEADS`].
    pub headers: Option<&'a HeaderMap>,
    /// Where it came from.
    pub peer: &'a Peer,
    /// The route that matched.
    pub route: &'a Arc<Route>,
    /// Who it was found to come from.
    pub consumer: Option<&'a Arc<Consumer>>,
    /// By which credential that was known.
    pub credential: Option<&'a Arc<Credential>>,
    /// Status of the answer.
    pub status: StatusCode,
    /// Bytes of the request's body.
    pub received: u64,
    /// Bytes of the answer's body.
    pub sent: u64,
    /// From the request's head to the end of the answer.
    pub took: Duration,
    /// From the beginning of the first try to the head of the answer; `None`: no target was asked.
    pub upstream_took: Option<Duration>,
    /// The target that answered.
    pub upstream: Option<&'a str>,
    /// The status that it answered with; `None`: the answer is not its own.
    pub upstream_status: Option<StatusCode>,
    /// What it was asked for; only for [`Phases::LOG_HEADS`].
    pub upstream_target: Option<&'a PathAndQuery>,
    /// What went wrong.
    pub failure: Option<&'a str>,
}

impl Exchange<'_> {
    /// Request, answer and what they took, for texts of variables.
    pub fn variables(&self) -> impl expr::Variables {
        Ended(self)
    }
}

/// Method, target and headers of a request.
#[derive(Clone, Debug)]
pub struct RequestHead {
    /// The method, exactly as sent.
    pub method: Method,
    /// Path and query. The path is normalised once, and this form is matched, logged and sent upstream; the query is
    /// byte for byte what the client sent.
    pub target: PathAndQuery,
    /// Host and port of the request: `Host`, or `:authority`.
    pub host: HostName,
    /// Host and port that the client named, where a trusted proxy says that it sent others on: see
    /// [`RequestHead::public_host`].
    pub named: Option<Box<HostName>>,
    /// The headers that go upstream.
    pub headers: HeaderMap,
    /// HTTP version of the client's request.
    pub version: Version,
    /// Whether the client asks for a WebSocket.
    pub websocket: bool,
    /// What plugins decided of how it is sent.
    pub sending: Sending,
}

impl RequestHead {
    /// The normalised path.
    pub fn path(&self) -> &str {
        self.target.path()
    }

    /// The query after `?`; `None` when there was no `?`.
    pub fn query(&self) -> Option<&str> {
        self.target.query()
    }

    /// Host without port: lower case, no trailing dot.
    pub fn host(&self) -> &str {
        self.host.name()
    }

    /// Host and port of the request, as they were sent.
    pub fn authority(&self) -> &str {
        self.host.authority()
    }

    /// Host and port as the client named them, for addresses that it is told and for what it signs with its own: a trusted
    /// proxy that sends another `Host` on says in `X-Forwarded-Host` which one came.
    pub fn public_host(&self) -> &HostName {
        self.named.as_deref().unwrap_or(&self.host)
    }

    /// Whether the client would rather have a page than JSON: `text/html` in `Accept`.
    pub fn prefers_html(&self) -> bool {
        self.headers
            .get_all(http::header::ACCEPT)
            .iter()
            .any(|value| memchr::memmem::find(value.as_bytes(), b"text/html").is_some())
    }

    /// All values of the cookie `name`, in the order sent, over all `Cookie` lines.
    pub fn cookies<'a, 'n>(&'a self, name: &'n str) -> impl Iterator<Item = &'a str> + use<'a, 'n> {
        self.headers
            .get_all(http::header::COOKIE)
            .iter()
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(';'))
            .filter_map(|pair| pair.trim_matches([' ', '\t']).split_once('='))
            .filter(move |(key, _)| *key == name)
            .map(|(_, value)| value)
    }

    /// Takes out every cookie whose name `remove` accepts, and whatever the gate has sealed; a `Cookie` line left empty
    /// goes too. The remaining pairs keep their bytes and order and become one line.
    pub fn remove_cookies(&mut self, remove: impl Fn(&str) -> bool) {
        use http::header::COOKIE;
        let goes = |pair: &[u8]| {
            let end = memchr::memchr(b'=', pair).unwrap_or(pair.len());
            let (name, value) = pair.split_at_checked(end).unwrap_or_default();
            let value = value.strip_prefix(b"=").unwrap_or_default().trim_ascii();
            let value = value.strip_prefix(b"\"").unwrap_or(value);
            value.starts_with(SEALED_COOKIE) || std::str::from_utf8(name.trim_ascii()).is_ok_and(&remove)
        };
        let lines = self.headers.get_all(COOKIE);
        if !lines.iter().any(|line| line.as_bytes().split(|byte| *byte == b';').any(goes)) {
            return;
        }
        let kept: SmallVec<[&[u8]; 8]> = lines
            .iter()
            .flat_map(|line| line.as_bytes().split(|byte| *byte == b';'))
            .map(<[u8]>::trim_ascii)
            .filter(|pair| !pair.is_empty() && !goes(pair))
            .collect();
        let line = kept.join(&b"; "[..]);
        drop(kept);
        let rest = HeaderValue::from_bytes(&line).ok().filter(|rest| !rest.is_empty());
        self.headers.remove(COOKIE);
        self.headers.extend(rest.map(|rest| (COOKIE, rest)));
    }
}

/// The two ends of the client's connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The client's address: the connection's, or the one a trusted proxy vouches for.
    pub ip: IpAddr,
    /// The client's port.
    pub port: u16,
    /// Address the connection came in on.
    pub local_ip: IpAddr,
    /// Port the connection came in on.
    pub local_port: u16,
    /// `https` when the connection, or a trusted proxy's, is TLS.
    pub https: bool,
    /// Whether the connection's own peer is one of the configured `trusted_proxies`.
    pub trusted: bool,
    /// The server name that the connection's TLS began with, lower case.
    pub server_name: Option<Arc<str>>,
    /// The verified client certificate of the connection, if it gave one.
    pub certificate: Option<Arc<ClientCertificate>>,
}

impl Peer {
    /// `http` or `https`.
    pub const fn scheme(&self) -> &'static str {
        if self.https { "https" } else { "http" }
    }
}

/// A client's certificate, verified by the authorities that the server name or the listener has for clients.
#[derive(Debug)]
pub struct ClientCertificate {
    /// The end-entity certificate, DER.
    pub der: Vec<u8>,
    /// Its SHA-256, to which access tokens may be bound (RFC 8705 section 3.1).
    pub sha256: [u8; 32],
}

impl ClientCertificate {
    /// Of a certificate in DER that was verified.
    pub fn new(der: &[u8]) -> Self {
        let mut sha256 = [0; 32];
        let digest = digest::digest(&digest::SHA256, der);
        sha256.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
        Self { der: der.to_vec(), sha256 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(cookies: &[&str]) -> RequestHead {
        let host = HostName::parse(&HeaderValue::from_static("a")).unwrap();
        let mut headers = HeaderMap::new();
        for line in cookies {
            headers.append(http::header::COOKIE, line.parse().unwrap());
        }
        RequestHead {
            named: None,
            method: Method::GET,
            target: PathAndQuery::from_static("/"),
            host,
            headers,
            version: Version::HTTP_11,
            websocket: false,
            sending: Sending::default(),
        }
    }

    #[test]
    fn cookies_are_taken_out_and_the_rest_keeps_its_bytes_and_order() {
        let mut head = head(&["a=1; session=x;b=\"q\"", "session_2=y; c=3=4"]);
        head.remove_cookies(|name| name.starts_with("session"));
        assert_eq!(head.headers.get_all("cookie").iter().collect::<Vec<_>>(), ["a=1; b=\"q\"; c=3=4"]);
        head.remove_cookies(|_| true);
        assert!(!head.headers.contains_key("cookie"));
    }

    #[test]
    fn what_the_gate_sealed_is_taken_out_under_every_name() {
        let mut head = head(&["session=app; sid=pc~1abcdx;sid_2 = pc~abcdy; q=\"pc~1\"", "a=b=pc~; pc~=c"]);
        head.remove_cookies(|_| false);
        assert_eq!(
            head.headers.get_all("cookie").iter().collect::<Vec<_>>(),
            ["session=app; a=b=pc~; pc~=c"]
        );
    }

    #[test]
    fn r14_every_cookie_of_a_name_is_seen() {
        let head = head(&["s=1; t=2", "s=3"]);
        assert_eq!(head.cookies("s").collect::<Vec<_>>(), ["1", "3"]);
    }
}
