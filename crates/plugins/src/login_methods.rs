//! The ways by which the callers of one route are known to one provider, as one plugin: a session, an access token, what
//! a token is obtained for, and a login, in this order. The first way that a request has something for is the only one
//! that is tried.

use std::{
    any::Any,
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use base::Secret;
use bytes::Bytes;
use gateway::{
    consumer::{Attached, Consumers},
    error::{ConfigError, Failure},
    plugin::{
        BodyEdit, BodyInspector, Flow, HeaderEdit, Phases, Plugin, PluginRequest, Reply, Suspended, Verdict,
    },
};
use http::{HeaderName, HeaderValue, Method, Response, StatusCode, header};

use crate::{
    fields::{BodyKind, Fields},
    grants::{self, Grants},
    openid_connect::{self, ACCESS_TOKEN, OpenidConnect},
};

const X_ANONYMOUS_CONSUMER: HeaderName = HeaderName::from_static("x-anonymous-consumer");
/// Bytes of a body that is looked at for credentials; a longer one has none.
const MAX_BODY: usize = 1 << 20;

/// The ways of a route. At least one is there.
#[derive(Debug)]
pub struct Config {
    /// For sessions, access tokens and logins.
    pub tokens: Option<openid_connect::Config>,
    /// For callers that bring what a token is obtained for.
    pub grants: Option<grants::Config>,
    /// Name or id of the consumer in whose name a refused request goes on; `None`: it stays refused.
    pub anonymous: Option<String>,
    /// Whether `OPTIONS` passes.
    pub passes_preflight: bool,
}

/// What the instances of this plugin share.
#[derive(Clone)]
pub struct Services {
    /// For sessions, access tokens and logins.
    pub tokens: openid_connect::Services,
    /// For what tokens are obtained for.
    pub grants: grants::Services,
}

/// The compiled form.
struct LoginMethods {
    tokens: Option<OpenidConnect>,
    grants: Option<Grants>,
    anonymous: Option<String>,
    passes_preflight: bool,
    /// Whether bodies are looked at.
    reads_bodies: bool,
    /// Whether the upstream does not see what was found in them.
    hides: bool,
}

/// Compiles `config`.
///
/// # Errors
///
/// When there is no way, or one could not work or would not be safe.
pub fn compile(config: Config, services: &Services) -> Result<Arc<dyn Plugin>, ConfigError> {
    let Config { mut tokens, mut grants, anonymous, passes_preflight } = config;
    if anonymous.is_some() {
        // Whoever would be sent elsewhere goes on, like everybody who is refused.
        for words in tokens.iter_mut().map(|config| &mut config.words) {
            (words.unauthorized_redirect, words.forbidden_redirect) = (None, None);
        }
        for answers in grants.iter_mut().map(|config| &mut config.answers) {
            (answers.unauthorized_redirect, answers.forbidden_redirect) = (None, None);
        }
    }
    let tokens = tokens.map(|config| openid_connect::compile_whole(config, &services.tokens)).transpose()?;
    let grants = grants.map(|config| grants::compile(config, &services.grants)).transpose()?;
    if tokens.is_none() && grants.is_none() {
        return Err(ConfigError::new("auth_methods", "there is none"));
    }
    let reads_bodies = tokens.as_ref().is_some_and(OpenidConnect::reads_bodies)
        || grants.as_ref().is_some_and(Grants::reads_bodies);
    let hides = tokens.as_ref().is_some_and(OpenidConnect::hides_tokens)
        || grants.as_ref().is_some_and(Grants::hides_credentials);
    Ok(Arc::new(LoginMethods { tokens, grants, anonymous, passes_preflight, reads_bodies, hides }))
}

impl LoginMethods {
    fn judge(&self, request: &mut PluginRequest<'_>) -> Flow {
        if let Some(flow) = self.tokens.as_ref().and_then(|tokens| tokens.by_session(request)) {
            return flow;
        }
        if let Some(flow) = self.exchange(request) {
            return flow;
        }
        if let Some(flow) = self.tokens.as_ref().and_then(|tokens| tokens.by_token(request)) {
            return flow;
        }
        if let Some((grants, found)) =
            self.grants.as_ref().and_then(|grants| Some((grants, grants.find(request.head)?)))
        {
            return grants.judge(found, request);
        }
        match BodyKind::of(request.head).filter(|_| self.reads_bodies) {
            Some(kind) => self.look_into_body(kind, request),
            None => self.turn_away(request),
        }
    }

    /// A token that is to become another one.
    fn exchange(&self, request: &mut PluginRequest<'_>) -> Option<Flow> {
        let (tokens, grants) = (self.tokens.as_ref()?, self.grants.as_ref()?);
        let found = grants.exchanged(tokens.token(request.head)?)?;
        tokens.hide_token(request.head);
        Some(grants.judge(found, request))
    }

    /// What becomes of a request that brings nothing.
    fn turn_away(&self, request: &mut PluginRequest<'_>) -> Flow {
        match (&self.tokens, &self.grants) {
            (Some(tokens), _) => tokens.by_nothing(request),
            (None, Some(grants)) => Flow::respond(grants.refuse(request.errors())),
            (None, None) => Flow::respond(request.error(StatusCode::UNAUTHORIZED, "Unauthorized")),
        }
    }

    /// Waits for the body, and goes by what is in it. What becomes of a request that brings nothing is settled before,
    /// while the request is at hand.
    fn look_into_body(&self, kind: BodyKind, request: &mut PluginRequest<'_>) -> Flow {
        let errors = request.errors();
        let by_token = self.tokens.as_ref().filter(|tokens| tokens.reads_bodies());
        let by_token = by_token.map(|tokens| tokens.judge_later(request));
        let by_grant = self.grants.clone().filter(Grants::reads_bodies);
        let by_grant = by_grant.map(|grants| (grants::Asking::of(&grants, request), grants));
        let otherwise = self.turn_away(request);
        let hidden = Hidden::default();
        if self.hides {
            let hidden = hidden.clone();
            request.head.sending.body.push(BodyEdit {
                limit: MAX_BODY,
                apply: Arc::new(move |body| hidden.with(|names| kind.without(body, names))),
            });
        }
        let judge = move |body: Result<Bytes, Failure>| -> Suspended {
            let body = match body {
                Ok(body) => body,
                Err(failure) if failure.status() == StatusCode::PAYLOAD_TOO_LARGE => {
                    return settled(otherwise);
                }
                Err(failure) => {
                    let reply = errors.reply(failure.status(), failure.message(), false);
                    return Box::pin(async move { Verdict::respond(reply) });
                }
            };
            let Some(fields) = Fields::read(kind, &body) else { return settled(otherwise) };
            if let Some(judge) = by_token
                && let Some(token) = fields.one(ACCESS_TOKEN).filter(|token| !token.is_empty())
            {
                hidden.with(|names| names.insert(ACCESS_TOKEN.to_owned()));
                return judge(Secret::new(token));
            }
            if let Some((asking, grants)) = by_grant
                && let Some(found) = grants.find_in_body(&fields)
            {
                hidden.with(|names| names.extend(found.names_in_body()));
                return grants.judge_later(found, asking.with(&grants, &fields));
            }
            settled(otherwise)
        };
        Flow::Inspect(BodyInspector { limit: MAX_BODY, judge: Box::new(judge) })
    }

    /// Lets a refused request go on as the anonymous consumer's.
    fn resort(&self, flow: Flow, request: &mut PluginRequest<'_>) -> Flow {
        let Some(name) = &self.anonymous else { return flow };
        let Some(consumer) = anonymous(request.consumers, name) else { return flow };
        match flow {
            Flow::Respond(reply) if is_refusal(&reply) => {
                request.head.headers.remove(header::AUTHORIZATION);
                if let Some(tokens) = &self.tokens {
                    tokens.hide_token(request.head);
                }
                request.head.headers.insert(X_ANONYMOUS_CONSUMER, HeaderValue::from_static("true"));
                request.attach(consumer);
                Flow::Continue
            }
            Flow::Suspend(future) => Flow::Suspend(Box::pin(resorting(future, consumer))),
            Flow::Inspect(BodyInspector { limit, judge }) => Flow::Inspect(BodyInspector {
                limit,
                judge: Box::new(move |body| Box::pin(resorting(judge(body), consumer))),
            }),
            other => other,
        }
    }
}

/// Names of fields that the upstream does not see in the body. They are known when the body is.
#[derive(Clone, Default)]
struct Hidden(Arc<Mutex<HashSet<String>>>);

impl Hidden {
    fn with<T>(&self, work: impl FnOnce(&mut HashSet<String>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A flow that was settled without the body.
pub(crate) fn settled(flow: Flow) -> Suspended {
    match flow {
        Flow::Suspend(future) => future,
        Flow::Respond(reply) => Box::pin(async move { Verdict { reply: Some(reply), ..Verdict::default() } }),
        Flow::Continue => Box::pin(async { Verdict::default() }),
        // Nobody who is turned away is waited for; and who would be does not get in.
        Flow::Read(_) | Flow::Inspect(_) => {
            let mut reply = Response::new(Bytes::new());
            *reply.status_mut() = StatusCode::UNAUTHORIZED;
            Box::pin(async move { Verdict::respond(reply) })
        }
    }
}

async fn resorting(future: Suspended, consumer: Attached) -> Verdict {
    let verdict = future.await;
    match &verdict.reply {
        Some(reply) if is_refusal(reply) => Verdict {
            request: vec![
                HeaderEdit::Remove(header::AUTHORIZATION),
                HeaderEdit::Set(X_ANONYMOUS_CONSUMER, HeaderValue::from_static("true")),
            ],
            attach: Some(consumer),
            ..Verdict::default()
        },
        _ => verdict,
    }
}

fn is_refusal(reply: &Reply) -> bool {
    matches!(reply.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
}

fn anonymous(consumers: &Consumers, name: &str) -> Option<Attached> {
    let found = consumers.by_username(name).or_else(|| consumers.by_id(name))?;
    Some(Attached::from(Arc::clone(found)))
}

impl Plugin for LoginMethods {
    fn name(&self) -> &'static str {
        "login-methods"
    }

    fn phases(&self) -> Phases {
        Phases::REWRITE
    }

    fn rewrite(&self, request: &mut PluginRequest<'_>) -> Flow {
        // Also where nobody is asked who it is: only the gate may say so.
        if let Some(grants) = &self.grants {
            grants.prepare(request.head);
        }
        if let Some(flow) = self.tokens.as_ref().and_then(|tokens| tokens.prepare(request)) {
            return flow;
        }
        if self.passes_preflight && request.head.method == Method::OPTIONS {
            // An upstream that takes what is there for the gate's must not see what nobody judged.
            request.head.headers.remove(header::AUTHORIZATION);
            return Flow::Continue;
        }
        let is_known = request.attached.is_some() && !request.head.headers.contains_key(X_ANONYMOUS_CONSUMER);
        if self.anonymous.is_some() && is_known {
            return Flow::Continue;
        }
        let flow = self.judge(request);
        self.resort(flow, request)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
