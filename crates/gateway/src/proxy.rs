//! One request: clean its head, find its route, run its plugins, exchange it with a target, send the answer.

use std::{
    rc::Rc,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use base::UnixMillis;
use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version, header,
    request::Parts, uri::PathAndQuery,
};
use http_body::Body as _;
use hyper::upgrade::OnUpgrade;
use smallvec::SmallVec;

use crate::{
    access_log::Record,
    arrival::{Arrival, Seen},
    body::{GateBody, Note, Observed, Source},
    chain::{Answered, Chain, End, Ran},
    client_body::{BodyError, ClientBody, Incoming},
    client_policy,
    consumer::Consumer,
    core::Core,
    delivery::{Delivered, Delivery, told},
    error::{ErrorBody, Failure},
    fields::{self, Encoding, Fields},
    hygiene,
    listener::ConnectionInfo,
    plugin::{BodyChange, DIGESTS, Peer, Reply, RequestHead},
    route::{Backend, Route},
    snapshot::Snapshot,
    tunnel::{self, Upgrade},
    upstream::{Answer, Busy, FailureWords, KeyHash, Upstream},
};

const SERVER: HeaderValue = HeaderValue::from_static("portcullis");

/// Serves one request of a connection.
pub(crate) async fn serve(
    core: Rc<Core>,
    connection: Rc<ConnectionInfo>,
    arrived: Arrived,
) -> Response<GateBody> {
    let began = core.settings.clock.monotonic();
    let snapshot = core.snapshot();
    let mut came = Came::read(&core, &connection, &snapshot, arrived);
    let peer = came.vouched.as_ref().unwrap_or(&connection.peer);
    let mut outcome = Outcome::default();
    let mut ran = Ran::default();
    let mut route = None;
    match &mut came.head {
        Err((failure, html)) => {
            core.metrics.head_refused();
            outcome.reply(snapshot.not_found.0.reply(failure.status(), failure.message(), *html));
            // Who sends one malformed request is not trusted with the framing of the next.
            outcome.closes = true;
        }
        Ok(head) => {
            let (body, upgrade) = (&mut came.body, came.upgrade.take());
            let mut client = Client { core: &core, connection: &connection, peer, body, upgrade };
            let found = match route_by_head(&core, &snapshot, (head, peer)) {
                Some(found) => Ok(found),
                // Boxed, because hardly any request takes this way and every request's future would have room for it.
                None => Box::pin(route_by_body(&core, &snapshot, (head, peer), client.body)).await,
            };
            let chain = Chain {
                core: &core,
                head: &mut *head,
                peer,
                added: &mut outcome.added,
                ran: &mut ran,
                body: &mut *client.body,
            };
            match found {
                Err(failure) => outcome.fail(&failure, snapshot.not_found.0, head),
                Ok(None) => {
                    let (errors, text) = snapshot.not_found;
                    match chain.run_nowhere(&snapshot.parts).await {
                        Some(end) => client.end(end, errors, head, &mut outcome).await,
                        None => outcome.reply(errors.reply(StatusCode::NOT_FOUND, text, false)),
                    }
                }
                Ok(Some(found)) => {
                    route = Some(found);
                    let end = chain.run(found, snapshot.part(found)).await;
                    outcome.timed = ran.is_watched(found);
                    outcome.traced = outcome.timed || core.log.is_on();
                    match end {
                        Some(end) => client.end(end, found.errors, head, &mut outcome).await,
                        None => {
                            let consumer = ran.attached.as_ref().map(|attached| attached.consumer().as_ref());
                            client.follow(found, (head, consumer), &mut outcome).await;
                        }
                    }
                }
            }
        }
    }
    if outcome.closes && came.version < Version::HTTP_2 {
        outcome.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    outcome.headers.insert(header::SERVER, SERVER);
    let mut sent = None;
    if let Ok(head) = came.head {
        show_answer(&core, route, (peer, &head, began), &mut outcome, &mut ran).await;
        core.pools.recycle(head.headers);
        sent = Some(head.target);
    }
    finish(core, route, (peer, sent), outcome, ran, came.log, began)
}

/// The answer to what is no request.
pub(crate) fn refusal(reply: Reply) -> Response<GateBody> {
    let mut answer = reply.map(|body| GateBody::new(Source::Full(Some(body)), None));
    answer.headers_mut().insert(header::SERVER, SERVER);
    answer
}

/// A request as a codec read it.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) parts: Parts,
    pub(crate) seen: hygiene::Seen,
    /// `None`: there is none.
    pub(crate) body: Option<Incoming>,
    pub(crate) upgrade: Option<Upgrade>,
}

impl Arrived {
    /// The same over HTTP/2, of a client that a trusted proxy speaks for or not.
    pub(crate) fn over_h2(request: Request<hyper::body::Incoming>, trusted: bool) -> Self {
        let (mut parts, body) = request.into_parts();
        let seen = hygiene::Seen::among(&parts.headers, trusted);
        let body = (!body.is_end_stream()).then_some(Incoming::H2(body));
        let upgrade = parts.extensions.remove::<OnUpgrade>().map(Upgrade::H2);
        Self { parts, seen, body, upgrade }
    }
}

/// A request as it came.
struct Came {
    version: Version,
    /// The client that a trusted proxy vouches for.
    vouched: Option<Peer>,
    /// The head, or why it is refused and whether its sender wants a page.
    head: Result<RequestHead, (Failure, bool)>,
    /// `None`: there is none.
    body: Option<ClientBody>,
    upgrade: Option<Upgrade>,
    log: Option<Box<Record>>,
}

impl Came {
    fn read(core: &Core, connection: &ConnectionInfo, snapshot: &Snapshot, arrived: Arrived) -> Self {
        let Arrived { mut parts, seen, body, upgrade } = arrived;
        if body.is_some() && parts.version < Version::HTTP_2 {
            connection.signs.unread.store(true, Ordering::Relaxed);
        }
        let limits = &core.settings.limits;
        let body = body.map(|body| ClientBody::new(body, limits.body_bytes, Arc::clone(&connection.signs)));
        let vouched = hygiene::vouched_peer(&parts.headers, &connection.peer, &core.settings.trusted_proxies);
        let peer = vouched.as_ref().unwrap_or(&connection.peer);
        let version = parts.version;
        // What a refusal looks like is asked only of those who get one.
        let head = match hygiene::admit(&mut parts, seen, connection, limits.headers) {
            Err(failure) => Err((failure, wants_page(&parts.headers))),
            Ok(head) => match client_policy::admit(&snapshot.certificates, connection, &head) {
                Err(failure) => Err((failure, head.prefers_html())),
                Ok(()) => Ok(head),
            },
        };
        let log = core.log.is_on().then(|| {
            let (at, client) = (core.settings.clock.now(), client_text(connection, peer));
            Box::new(match &head {
                Ok(head) => {
                    let (method, host) = (head.method.clone(), head.host.as_header().clone());
                    Record::new(at, client, method, host, head.target.clone())
                }
                Err(_) => refused(at, client, &parts),
            })
        });
        Self { version, vouched, head, body, upgrade, log }
    }
}

/// The route of a request, if it has one. `None`: its body decides.
fn route_by_head<'a>(
    core: &Core,
    snapshot: &'a Snapshot,
    (head, peer): (&RequestHead, &Peer),
) -> Option<Option<&'a Arc<Route>>> {
    let arrival = Arrival::new(head, peer, &core.settings.clock);
    let found = snapshot.router.find(&arrival);
    (!arrival.asks_for_body()).then_some(found)
}

/// The route of a request, whose body is read before because a route of its host and path depends on it.
async fn route_by_body<'a>(
    core: &Core,
    snapshot: &'a Snapshot,
    (head, peer): (&RequestHead, &Peer),
    body: &mut Option<ClientBody>,
) -> Result<Option<&'a Arc<Route>>, Failure> {
    let fields = match Encoding::of(&head.headers).zip(body.as_mut()) {
        None => Fields::of_head(head),
        Some((encoding, body)) => {
            let limits = &core.settings.limits;
            let most = limits.body_bytes.min(fields::MAX_BODY);
            encoding.read(&body.whole(most, limits.body).await?)
        }
    };
    let arrival = Arrival::new(head, peer, &core.settings.clock);
    Ok(snapshot.router.find(&arrival.with_fields(&fields)))
}

/// What the request came to.
#[derive(Debug)]
struct Outcome {
    status: StatusCode,
    headers: HeaderMap,
    source: Source,
    /// Headers that plugins add to whatever is answered.
    added: Vec<(HeaderName, HeaderValue)>,
    upstream: Option<Arc<str>>,
    /// What the upstream itself answered with.
    upstream_status: Option<StatusCode>,
    /// Whether anybody asks who answered.
    traced: bool,
    /// Whether anybody asks how long that took.
    timed: bool,
    /// How long the target's answer took to begin.
    upstream_took: Option<Duration>,
    /// Bytes of the request's body that were sent on.
    received: u64,
    failure: Option<Box<str>>,
    /// The client's connection has no next request.
    closes: bool,
    /// Has the target counted as busy until the answer has ended.
    busy: Option<Busy>,
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
            traced: false,
            timed: false,
            upstream_took: None,
            received: 0,
            failure: None,
            closes: false,
            busy: None,
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

    #[cold]
    fn fail(&mut self, failure: &Failure, errors: ErrorBody, head: &RequestHead) {
        self.fail_in(&FailureWords::OWN, failure, errors, head);
    }

    /// The same where an upstream was asked, in its words.
    fn fail_in(&mut self, words: &FailureWords, failure: &Failure, errors: ErrorBody, head: &RequestHead) {
        self.failure = Some(failure.to_string().into());
        self.closes |= failure.ends_connection();
        self.reply(errors.reply(failure.status(), failure.message_in(words), head.prefers_html()));
    }
}

/// The client's side of a request that found its route.
struct Client<'a> {
    core: &'a Rc<Core>,
    connection: &'a Rc<ConnectionInfo>,
    peer: &'a Peer,
    /// `None`: there is none.
    body: &'a mut Option<ClientBody>,
    upgrade: Option<Upgrade>,
}

impl Client<'_> {
    /// Ends the request as a plugin says.
    async fn end(&mut self, end: End, errors: ErrorBody, head: &RequestHead, outcome: &mut Outcome) {
        let reader = match end {
            End::Reply(reply) => return outcome.reply(reply),
            End::Read(reader) => reader,
        };
        let whole = match &mut *self.body {
            None => Ok(Bytes::new()),
            Some(body) => Box::pin(body.whole(reader.limit as u64, self.core.settings.limits.body)).await,
        };
        match whole {
            Ok(body) => outcome.reply((reader.answer)(body).await),
            Err(failure) => outcome.fail(&failure, errors, head),
        }
    }

    /// Does what the route's backend says.
    async fn follow(
        &mut self,
        route: &Route,
        (head, consumer): (&mut RequestHead, Option<&Consumer>),
        outcome: &mut Outcome,
    ) {
        match &route.backend {
            Backend::None(status, message) => {
                outcome.reply(route.errors.reply(*status, message, head.prefers_html()));
            }
            Backend::Upstream(upstream) => {
                // Before the headers are those for the target.
                let seen = || Seen { head, peer: self.peer, route, consumer, answer: None };
                let hash = match head.sending.hash {
                    None => upstream.hash(seen),
                    said => KeyHash(said),
                };
                self.send(route, (upstream, hash), head, outcome).await;
            }
        }
    }

    async fn send(
        &mut self,
        route: &Route,
        (upstream, hash): (&Upstream, KeyHash),
        head: &mut RequestHead,
        outcome: &mut Outcome,
    ) {
        let own = if upstream.scheme.is_h2() { None } else { hygiene::own_lines(head, self.connection) };
        if own.is_none() {
            hygiene::forward(head, self.connection, self.peer);
        }
        head.remove_cookies(is_provider_cookie);
        let asked = head.websocket;
        let tunnelled = self.prepare_upgrade(route, head);
        // Over HTTP/2 any success opens the tunnel (RFC 8441 section 5): only a target that switched may cause one.
        let tunnel_or_nothing = asked && head.version == Version::HTTP_2;
        let limit = self.core.settings.limits.body_bytes;
        let limit = head.sending.body_limit.map_or(limit, |less| limit.min(less));
        if let Some(body) = &mut *self.body {
            body.limit_to(limit);
        }
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
        if !head.sending.body.is_empty()
            && let Err(failure) = self.edit(limit, head).await
        {
            outcome.fail(&failure, route.errors, head);
            return;
        }
        let timeouts = route.timeouts.unwrap_or(upstream.timeouts);
        let body = &mut *self.body;
        let had_body = body.is_some();
        let failed = SmallVec::new();
        let mut delivery =
            Delivery { core: self.core, route, upstream, hash, head, own, timeouts, body, had_body, failed };
        let clock = &self.core.settings.clock;
        let began = outcome.timed.then(|| clock.monotonic());
        let delivered = delivery.deliver().await;
        outcome.upstream_took = began.map(|began| clock.monotonic().saturating_sub(began));
        if outcome.traced {
            outcome.upstream = delivered.target.map(|target| Arc::clone(&target.label));
        }
        if outcome.timed {
            outcome.received = match &*delivery.body {
                Some(body) => body.total(),
                None if had_body => declared_length(head),
                None => 0,
            };
        }
        outcome.busy = delivered.busy;
        outcome.upstream_status = delivered.answer.as_ref().ok().map(Delivered::status);
        let told = told(&delivery.failed, outcome.upstream_status);
        match delivered.answer {
            Ok(Delivered::H1(Answer::Response(status, ..))) if tunnel_or_nothing && status.is_success() => {
                let target = delivered.target.map(|target| target.label.to_string()).unwrap_or_default();
                let reason = "it does not speak WebSocket".to_owned();
                outcome.fail_in(&upstream.words, &Failure::Exchange { target, reason }, route.errors, head);
            }
            Ok(Delivered::H1(Answer::Response(status, headers, body))) => {
                (outcome.status, outcome.headers, outcome.source) = (status, headers, Source::H1(body));
            }
            Ok(Delivered::H1(Answer::Switched(headers, stream, first))) => {
                (outcome.status, outcome.headers) = switched(headers, head.version);
                if let Some(upgrade) = self.upgrade.take().filter(|_| tunnelled) {
                    let busy = outcome.busy.take();
                    tunnel::spawn(
                        self.core,
                        (self.connection, busy),
                        upgrade,
                        (stream, first),
                        timeouts.read,
                    );
                }
            }
            Ok(Delivered::H2(status, headers, body)) => {
                (outcome.status, outcome.headers, outcome.source) = (status, headers, Source::H2(body));
            }
            Err(failure) => outcome.fail_in(&upstream.words, &failure, route.errors, head),
        }
        if let Some((name, told)) = upstream.failure_header.as_ref().zip(told) {
            outcome.headers.insert(name.clone(), told);
        }
    }

    /// Has plugins change the body, which is read whole before it is sent.
    async fn edit(&mut self, limit: u64, head: &mut RequestHead) -> Result<(), Failure> {
        let edits = std::mem::take(&mut head.sending.body);
        let limit = edits.iter().map(|edit| edit.limit as u64).fold(limit, u64::min);
        let whole = match &mut *self.body {
            None => Bytes::new(),
            // Boxed, because hardly any request takes this way and every request's future would have room for it.
            Some(body) => Box::pin(body.whole(limit, self.core.settings.limits.body)).await?,
        };
        let edited = edits.iter().fold(whole.clone(), |body, edit| (edit.apply)(body));
        if edited != whole {
            DIGESTS.iter().for_each(|name| {
                head.headers.remove(name);
            });
        }
        head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(edited.len()));
        head.headers.remove(header::TRAILER);
        *self.body = (!edited.is_empty()).then(|| ClientBody::of(edited, Arc::clone(&self.connection.signs)));
        Ok(())
    }

    /// Settles whether the request goes on as a WebSocket. Where the route does not allow it, it goes on without.
    fn prepare_upgrade(&self, route: &Route, head: &mut RequestHead) -> bool {
        if !head.websocket {
            return false;
        }
        // A body has no place in the handshake; what follows it would have to be told from the tunnel's bytes.
        head.websocket = route.websocket && self.upgrade.is_some() && self.body.is_none();
        if head.websocket && head.version == Version::HTTP_2 {
            // RFC 8441 leaves the handshake of RFC 6455 out; the target wants it.
            let key = tunnel::handshake_key();
            head.headers.insert(header::SEC_WEBSOCKET_KEY, key);
            head.headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        }
        head.websocket
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

/// Shows the head of the answer to the plugins that take part in it, and does with its body what they say.
async fn show_answer(
    core: &Core,
    route: Option<&Arc<Route>>,
    (peer, head, began): (&Peer, &RequestHead, Duration),
    outcome: &mut Outcome,
    ran: &mut Ran<'_>,
) {
    let mut changes = Vec::new();
    let Outcome { status, headers, upstream, upstream_status, upstream_took, .. } = outcome;
    let mut answered = Answered {
        head,
        peer,
        status,
        headers,
        upstream: upstream.as_deref(),
        upstream_status: *upstream_status,
        began,
        upstream_took: *upstream_took,
        body: &mut changes,
    };
    ran.on_response(route, &mut answered);
    if changes.is_empty() || outcome.status == StatusCode::SWITCHING_PROTOCOLS || head.websocket {
        return;
    }
    outcome.headers.remove(header::CONTENT_LENGTH);
    let bodiless = head.method == Method::HEAD
        || matches!(outcome.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if bodiless {
        outcome.source = Source::default();
        return;
    }
    let source = std::mem::take(&mut outcome.source);
    match Box::pin(change_body(source, changes)).await {
        Ok(body) => outcome.source = Source::Full(Some(body)),
        Err(why) => {
            core.metrics.upstream_failed();
            outcome.failure = Some(why.into());
            let errors = route.map_or(ErrorBody { member: "message" }, |route| route.errors);
            let text = "the upstream's answer cannot be changed as this route says";
            let reply = errors.reply(StatusCode::BAD_GATEWAY, text, head.prefers_html());
            let (parts, body) = reply.into_parts();
            outcome.status = parts.status;
            // What plugins said to the client stays; what described the body does not.
            REPRESENTATION.iter().for_each(|name| {
                outcome.headers.remove(name);
            });
            outcome.headers.extend(parts.headers);
            outcome.source = Source::Full(Some(body));
        }
    }
}

/// What describes a body.
const REPRESENTATION: [HeaderName; 6] = [
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_RANGE,
    header::ETAG,
    header::LAST_MODIFIED,
];

/// What the plugins make of a body.
async fn change_body(mut source: Source, changes: Vec<BodyChange>) -> Result<Bytes, String> {
    let mut body = None;
    for change in changes {
        body = Some(match change {
            BodyChange::Replace(bytes) => bytes,
            BodyChange::Transform { limit, apply } => {
                let whole = match body.take() {
                    Some(body) => body,
                    None => std::mem::take(&mut source).whole(limit).await?,
                };
                apply(whole).ok_or("the answer cannot be changed within its limits")?
            }
        });
    }
    Ok(body.unwrap_or_default())
}

/// Puts the answer together, and has the log and the plugins that asked for it told when it has ended.
fn finish(
    core: Rc<Core>,
    route: Option<&Arc<Route>>,
    (peer, sent): (&Peer, Option<PathAndQuery>),
    outcome: Outcome,
    mut ran: Ran<'_>,
    log: Option<Box<Record>>,
    began: Duration,
) -> Response<GateBody> {
    let Outcome { status, mut headers, source, added, upstream, upstream_took, received, busy, .. } = outcome;
    let (upstream_status, failure) = (outcome.upstream_status, outcome.failure);
    for (name, value) in added {
        if name == header::CACHE_CONTROL {
            // Of two lines a cache may read the first alone.
            headers.insert(name, value);
        } else {
            headers.append(name, value);
        }
    }
    let took = core.settings.clock.monotonic().saturating_sub(began);
    core.metrics.answered(status, took);
    let record = log.map(|mut record| {
        record.status = status;
        record.took = took;
        record.route = route.cloned();
        record.consumer = ran.attached.as_ref().map(|attached| Arc::clone(attached.consumer()));
        record.upstream.clone_from(&upstream);
        record.failure.clone_from(&failure);
        record
    });
    let observed = ran.observers(route).map(|(plugins, route)| {
        let head = ran.arrived.take();
        let asked = head.is_some() && upstream_took.is_some();
        Box::new(Observed {
            plugins,
            at: core.settings.clock.now() - took,
            began,
            headers: head.is_some().then(|| headers.clone()),
            head,
            peer: peer.clone(),
            route,
            attached: ran.attached.take(),
            status,
            received,
            sent: 0,
            upstream_took,
            upstream,
            upstream_status,
            upstream_target: sent.filter(|_| asked),
            failure,
        })
    });
    let noted = record.is_some() || observed.is_some() || busy.is_some();
    let note = noted.then(|| Note { core, record, observed, _busy: busy });
    let mut response = Response::new(GateBody::new(source, note));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// How long the client said its body is.
fn declared_length(head: &RequestHead) -> u64 {
    let length = head.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    length.and_then(|length| length.parse().ok()).unwrap_or(0)
}

/// The client's address, for the log: a text that the connection has, unless a trusted proxy names another client.
fn client_text(connection: &ConnectionInfo, peer: &Peer) -> HeaderValue {
    if peer.ip == connection.peer.ip {
        return connection.ip.clone();
    }
    HeaderValue::try_from(peer.ip.to_string()).unwrap_or(HeaderValue::from_static("-"))
}

/// The log's view of a request whose head was refused.
fn refused(at: UnixMillis, client: HeaderValue, parts: &Parts) -> Record {
    let host = parts.headers.get(header::HOST).cloned();
    let authority =
        || parts.uri.authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    let host = host.or_else(authority).unwrap_or(HeaderValue::from_static(""));
    let target = parts.uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
    Record::new(at, client, parts.method.clone(), host, target)
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
