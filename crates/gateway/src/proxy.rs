//! One request: clean its head, find its route, run its plugins, exchange it with a target, send the answer.

use std::{
    rc::Rc,
    sync::{Arc, atomic::Ordering},
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version, header,
    request::Parts, uri::PathAndQuery,
};
use http_body::Body as _;
use hyper::{body::Incoming, upgrade::OnUpgrade};
use tokio::time::Instant;

use crate::{
    access_log::Record,
    arrival::Arrival,
    body::{GateBody, Note, Source},
    chain::{Answered, Chain, End, Ran},
    client_body::{BodyError, ClientBody},
    client_policy,
    core::Core,
    error::{ErrorBody, Failure},
    hygiene,
    listener::ConnectionInfo,
    plugin::{Peer, Reply, RequestHead},
    route::{Backend, Route},
    tunnel,
    upstream::{Answer, Broken, Outgoing, SentHost, Target, Timeouts, Tried, Upstream, deadline},
};

const SERVER: HeaderValue = HeaderValue::from_static("portcullis");

/// Serves one request of a connection.
pub(crate) async fn serve(
    core: Rc<Core>,
    connection: Rc<ConnectionInfo>,
    request: Request<Incoming>,
) -> Response<GateBody> {
    let began = core.settings.clock.monotonic();
    let (mut parts, incoming) = request.into_parts();
    if !incoming.is_end_stream() && parts.version < Version::HTTP_2 {
        connection.signs.unread.store(true, Ordering::Relaxed);
    }
    let on_upgrade = parts.extensions.remove::<OnUpgrade>();
    let snapshot = core.snapshot();
    let vouched = hygiene::vouched_peer(&parts.headers, &connection.peer, &core.settings.trusted_proxies);
    let peer = vouched.as_ref().unwrap_or(&connection.peer);
    let mut log = core.log.is_on().then(|| Box::new(record(&core, peer, &parts)));

    let body = (!incoming.is_end_stream())
        .then(|| ClientBody::new(incoming, core.settings.limits.body_bytes, Arc::clone(&connection.signs)));
    let (html, version) = (wants_page(&parts.headers), parts.version);
    let mut outcome = Outcome::default();
    let mut ran = Ran::default();
    let mut route = None;
    let mut admitted = hygiene::admit(parts, &connection).and_then(|head| {
        client_policy::admit(&snapshot.certificates, &connection, &head)?;
        Ok(head)
    });
    match &mut admitted {
        Err(failure) => {
            core.metrics.head_refused();
            outcome.reply(snapshot.not_found.0.reply(failure.status(), failure.message(), html));
            // Who sends one malformed request is not trusted with the framing of the next.
            if version < Version::HTTP_2 {
                outcome.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
        }
        Ok(head) => {
            if let Some(log) = log.as_mut() {
                log.target = head.target.clone();
            }
            let mut client = Client { core: &core, connection: &connection, peer, body, on_upgrade };
            let chain = Chain {
                core: &core,
                head: &mut *head,
                peer,
                added: &mut outcome.added,
                ran: &mut ran,
                body: &mut client.body,
            };
            match snapshot.router.find(&Arrival { head: chain.head, peer }) {
                None => {
                    let (errors, text) = snapshot.not_found;
                    match chain.run_nowhere(&snapshot.parts).await {
                        Some(end) => client.end(end, errors, head, &mut outcome).await,
                        None => outcome.reply(errors.reply(StatusCode::NOT_FOUND, text, false)),
                    }
                }
                Some(found) => {
                    route = Some(found);
                    match chain.run(found, snapshot.part(found)).await {
                        Some(end) => client.end(end, found.errors, head, &mut outcome).await,
                        None => client.follow(found, head, &mut outcome).await,
                    }
                }
            }
        }
    }
    if let Ok(head) = &admitted {
        let Outcome { status, headers, upstream_status, .. } = &mut outcome;
        ran.on_response(route, Answered { peer, head, upstream_status: *upstream_status, status, headers });
    }
    finish(core, route, outcome, &ran, log, began)
}

/// What the request came to.
#[derive(Debug)]
struct Outcome {
    status: StatusCode,
    headers: HeaderMap,
    source: Source,
    /// Headers that plugins add to whatever is answered.
    added: Vec<(HeaderName, HeaderValue)>,
    upstream: Option<Box<str>>,
    /// What the upstream itself answered with.
    upstream_status: Option<StatusCode>,
    failure: Option<Box<str>>,
}

impl Default for Outcome {
    fn default() -> Self {
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            headers: HeaderMap::new(),
            source: Source::Full(None),
            added: Vec::new(),
            upstream: None,
            upstream_status: None,
            failure: None,
        }
    }
}

impl Outcome {
    fn reply(&mut self, reply: Reply) {
        let (parts, body) = reply.into_parts();
        self.status = parts.status;
        self.headers = parts.headers;
        self.source = Source::Full(Some(body));
    }

    fn fail(&mut self, failure: &Failure, errors: ErrorBody, head: &RequestHead) {
        self.failure = Some(failure.to_string().into());
        self.reply(errors.reply(failure.status(), failure.message(), head.prefers_html()));
    }
}

/// The client's side of a request that found its route.
struct Client<'a> {
    core: &'a Rc<Core>,
    connection: &'a Rc<ConnectionInfo>,
    peer: &'a Peer,
    /// `None`: there is none.
    body: Option<ClientBody>,
    on_upgrade: Option<OnUpgrade>,
}

impl Client<'_> {
    /// Ends the request as a plugin says.
    async fn end(self, end: End, errors: ErrorBody, head: &RequestHead, outcome: &mut Outcome) {
        let reader = match end {
            End::Reply(reply) => return outcome.reply(reply),
            End::Read(reader) => reader,
        };
        let whole = match self.body {
            None => Ok(Bytes::new()),
            Some(mut body) => Box::pin(body.whole(reader.limit as u64, self.core.settings.limits.body)).await,
        };
        match whole {
            Ok(body) => outcome.reply((reader.answer)(body).await),
            Err(failure) => outcome.fail(&failure, errors, head),
        }
    }

    /// Does what the route's backend says.
    async fn follow(self, route: &Arc<Route>, head: &mut RequestHead, outcome: &mut Outcome) {
        match &route.backend {
            Backend::None(status, message) => {
                outcome.reply(route.errors.reply(*status, message, head.prefers_html()));
            }
            Backend::Upstream(upstream) => self.send(route, upstream, head, outcome).await,
        }
    }

    async fn send(self, route: &Route, upstream: &Upstream, head: &mut RequestHead, outcome: &mut Outcome) {
        hygiene::forward(head, self.connection, self.peer);
        head.remove_cookies(is_provider_cookie);
        let asked = head.websocket;
        let tunnelled = self.prepare_upgrade(route, head);
        // Over HTTP/2 any success opens the tunnel (RFC 8441 section 5): only a target that switched may cause one.
        let tunnel_or_nothing = asked && head.version == Version::HTTP_2;
        let limit = self.core.settings.limits.body_bytes;
        let refused = if tunnel_or_nothing && !tunnelled {
            Some(Failure::Client(StatusCode::NOT_IMPLEMENTED, "this route has no WebSockets"))
        } else if self.body.as_ref().is_some_and(|body| body.announced() > limit) {
            Some(BodyError::TooLarge.failure())
        } else {
            None
        };
        if let Some(failure) = refused {
            outcome.fail(&failure, route.errors, head);
            return;
        }
        let body = self.body;
        let timeouts = route.timeouts.unwrap_or(upstream.timeouts);
        let mut delivery =
            Delivery { core: self.core, upstream, head, timeouts, had_body: body.is_some(), body };
        let delivered = delivery.deliver().await;
        outcome.upstream =
            delivered.target.filter(|_| self.core.log.is_on()).map(|target| target.label.clone());
        outcome.upstream_status = delivered.answer.as_ref().ok().map(Delivered::status);
        match delivered.answer {
            Ok(Delivered::H1(Answer::Response(status, ..))) if tunnel_or_nothing && status.is_success() => {
                let target = delivered.target.map(|target| target.label.to_string()).unwrap_or_default();
                let reason = "it does not speak WebSocket".to_owned();
                outcome.fail(&Failure::Exchange { target, reason }, route.errors, head);
            }
            Ok(Delivered::H1(Answer::Response(status, headers, body))) => {
                (outcome.status, outcome.headers, outcome.source) = (status, headers, Source::H1(body));
            }
            Ok(Delivered::H1(Answer::Switched(headers, stream, first))) => {
                (outcome.status, outcome.headers) = switched(headers, head.version);
                if let Some(on_upgrade) = self.on_upgrade.filter(|_| tunnelled) {
                    tunnel::spawn(self.core, self.connection, on_upgrade, (stream, first), timeouts.read);
                }
            }
            Ok(Delivered::H2(status, headers, body)) => {
                (outcome.status, outcome.headers, outcome.source) = (status, headers, Source::H2(body));
            }
            Err(failure) => outcome.fail(&failure, route.errors, head),
        }
    }

    /// Settles whether the request goes on as a WebSocket. Where the route does not allow it, it goes on without.
    fn prepare_upgrade(&self, route: &Route, head: &mut RequestHead) -> bool {
        if !head.websocket {
            return false;
        }
        // A body has no place in the handshake; what follows it would have to be told from the tunnel's bytes.
        head.websocket = route.websocket && self.on_upgrade.is_some() && self.body.is_none();
        if head.websocket && head.version == Version::HTTP_2 {
            // RFC 8441 leaves the handshake of RFC 6455 out; the target wants it.
            let key = tunnel::handshake_key();
            head.headers.insert(header::SEC_WEBSOCKET_KEY, key);
            head.headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        }
        head.websocket
    }
}

/// A request on its way to an upstream, over as many tries as that takes and allows.
struct Delivery<'a> {
    core: &'a Rc<Core>,
    upstream: &'a Upstream,
    head: &'a RequestHead,
    timeouts: Timeouts,
    body: Option<ClientBody>,
    had_body: bool,
}

/// The last target tried, and what came of it.
struct DeliveryResult<'a> {
    target: Option<&'a Arc<Target>>,
    answer: Result<Delivered, Failure>,
}

enum Delivered {
    H1(Answer),
    H2(StatusCode, HeaderMap, crate::upstream::H2Body),
}

impl Delivered {
    const fn status(&self) -> StatusCode {
        match self {
            Self::H1(Answer::Response(status, ..)) | Self::H2(status, ..) => *status,
            Self::H1(Answer::Switched(..)) => StatusCode::SWITCHING_PROTOCOLS,
        }
    }
}

impl<'a> Delivery<'a> {
    async fn deliver(&mut self) -> DeliveryResult<'a> {
        let until = self.upstream.retry_timeout.map(deadline);
        let mut tried = Tried::new();
        let mut retries_left = self.upstream.retries;
        let none = || Failure::NoTarget(self.upstream.id.to_string());
        let Some(mut target) = self.upstream.choose(&tried) else {
            return DeliveryResult { target: None, answer: Err(none()) };
        };
        let mut fresh = false;
        loop {
            let broken = match self.attempt(target, fresh).await {
                Ok(answer) => return DeliveryResult { target: Some(target), answer: Ok(answer) },
                Err(broken) => broken,
            };
            self.core.metrics.upstream_failed();
            tracing::debug!(target = %target.label, error = %broken.failure, "a try failed");
            let repeatable = self.can_repeat(&broken);
            // The target closed a kept connection just as the request set out: that is nobody's failure.
            let closed = matches!(broken.failure, Failure::Exchange { .. });
            if repeatable && closed && broken.reused && broken.silent && !fresh {
                fresh = true;
                continue;
            }
            tried.push(target.id);
            let in_time = until.is_none_or(|until| Instant::now() < until);
            let again = repeatable && in_time && retries_left > 0;
            match again.then(|| self.upstream.choose(&tried)).flatten() {
                Some(next) => (target, fresh) = (next, false),
                None => return DeliveryResult { target: Some(target), answer: Err(broken.failure) },
            }
            retries_left -= 1;
        }
    }

    /// Whether the same request may be sent again: nothing of it left, or sending it twice does no harm (RFC 9110
    /// section 9.2.2) and no answer had begun; and the body can be sent from its beginning.
    fn can_repeat(&mut self, broken: &Broken) -> bool {
        let harmless = matches!(
            self.head.method,
            Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE
        );
        let allowed = match &broken.failure {
            Failure::Client(..) => false,
            _ => broken.unsent || (harmless && broken.silent && !self.head.websocket),
        };
        let whole = match self.body.as_mut() {
            Some(body) => body.rewind(),
            None => !self.had_body,
        };
        allowed && whole
    }

    async fn attempt(&mut self, target: &Arc<Target>, fresh: bool) -> Result<Delivered, Broken> {
        let host = match &self.upstream.host {
            SentHost::Pass => self.head.host.as_header(),
            SentHost::Node => &target.authority,
            SentHost::Fixed(host) => host,
        };
        let client_silence = self.core.settings.limits.body;
        let outgoing = Outgoing { head: self.head, host, timeouts: self.timeouts, client_silence };
        let not_connected = |failure| Broken { failure, silent: true, unsent: true, reused: false };
        let pools = &self.core.pools;
        if target.scheme.is_h2() {
            let connection = pools.multiplexed(target, self.timeouts.connect);
            let connection = Box::pin(connection).await.map_err(not_connected)?;
            let exchange = connection.exchange(outgoing, &mut self.body);
            let (status, headers, body) = Box::pin(exchange).await?;
            return Ok(Delivered::H2(status, headers, body));
        }
        let kept = if fresh { None } else { pools.take(target) };
        let connection = match kept {
            Some(connection) => connection,
            // Boxed, because the future of every request is as large as the largest thing it waits for.
            None => Box::pin(pools.connect(target, self.timeouts.connect)).await.map_err(not_connected)?,
        };
        connection.exchange(outgoing, &mut self.body).await.map(Delivered::H1)
    }
}

/// The answer to a WebSocket request that the target accepted, in the client's version of HTTP.
fn switched(mut headers: HeaderMap, version: Version) -> (StatusCode, HeaderMap) {
    headers.remove(header::CONTENT_LENGTH);
    if version == Version::HTTP_2 {
        headers.remove(header::SEC_WEBSOCKET_ACCEPT);
        return (StatusCode::OK, headers);
    }
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    (StatusCode::SWITCHING_PROTOCOLS, headers)
}

/// Puts the answer together, and lets the log learn of it.
fn finish(
    core: Rc<Core>,
    route: Option<&Arc<Route>>,
    outcome: Outcome,
    ran: &Ran<'_>,
    log: Option<Box<Record>>,
    began: std::time::Duration,
) -> Response<GateBody> {
    let Outcome { status, mut headers, source, added, upstream, failure, .. } = outcome;
    for (name, value) in added {
        if name == header::CACHE_CONTROL {
            // Of two lines a cache may read the first alone.
            headers.insert(name, value);
        } else {
            headers.append(name, value);
        }
    }
    headers.insert(header::SERVER, SERVER);
    let took = core.settings.clock.monotonic().saturating_sub(began);
    core.metrics.answered(status, took);
    let note = log.map(|mut record| {
        record.status = status;
        record.took = took;
        record.route = route.cloned();
        record.consumer = ran.attached.as_ref().map(|attached| Arc::clone(attached.consumer()));
        record.upstream = upstream;
        record.failure = failure;
        Note { core, record: Some(record) }
    });
    let mut response = Response::new(GateBody::new(source, note));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// The log's view of a request before anything is known of it.
fn record(core: &Core, peer: &Peer, parts: &Parts) -> Record {
    let host = parts.headers.get(header::HOST).cloned();
    let authority =
        || parts.uri.authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    Record {
        at: core.settings.clock.now(),
        client: peer.ip,
        method: parts.method.clone(),
        host: host.or_else(authority).unwrap_or(HeaderValue::from_static("")),
        target: parts.uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/")),
        status: StatusCode::OK,
        bytes: 0,
        took: std::time::Duration::ZERO,
        route: None,
        consumer: None,
        upstream: None,
        failure: None,
    }
}

fn wants_page(headers: &HeaderMap) -> bool {
    headers
        .get(header::ACCEPT)
        .is_some_and(|accept| memchr::memmem::find(accept.as_bytes(), b"text/html").is_some())
}

/// The embedded provider's own cookies, which share the host with the gate because cookies do not separate ports.
fn is_provider_cookie(name: &str) -> bool {
    name.strip_prefix("__Host-").unwrap_or(name).starts_with("pc_idp")
}

/// An empty body, for answers that have none.
impl Default for Source {
    fn default() -> Self {
        Self::Full(None::<Bytes>)
    }
}
