//! What the plugins share that find out which consumer a request comes from.
//!
//! They fail alike: 401, the challenge of RFC 9110 section 11.6.1, and a JSON `message`; or the request goes on as the
//! anonymous consumer's, where there is one. They take a credential only if it was sent once: of two, the gate and the
//! upstream might each believe another.

mod place;

use std::{borrow::Cow, sync::Arc};

use aws_lc_rs::digest;
use bytes::Bytes;
use gateway::{
    consumer::{Attached, Consumer, Consumers, Credential},
    error::{ConfigError, ErrorBody, Failure},
    plugin::{BodyInspector, Flow, HeaderEdit, PluginRequest, Reply, Suspended, Verdict},
};
use http::{HeaderName, HeaderValue, Method, StatusCode, header};

pub(crate) use place::Found;
pub use place::Places;

/// How these answers are worded, in every dialect.
pub(crate) const ERRORS: ErrorBody = ErrorBody { member: "message" };
/// What the upstream is told of an anonymous consumer.
const X_ANONYMOUS_CONSUMER: HeaderName = HeaderName::from_static("x-anonymous-consumer");
/// Told where the anonymous consumer is configured and does not exist.
const NOBODY: &str = "Invalid user authorization";

/// What happens to a request that nobody vouches for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fallback {
    /// The realm of the challenge.
    pub realm: Realm,
    /// Name or id of the consumer in whose name it goes on; `None`: it is turned away.
    pub anonymous: Option<String>,
    /// Whether several of these plugins with an anonymous consumer each are alternatives: a request that one of them
    /// vouched for passes the others, and the upstream is told who is anonymous.
    pub alternatives: bool,
    /// Whether `OPTIONS` passes.
    pub passes_preflight: bool,
}

/// Whether the challenge names a realm.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Realm {
    /// It is the scheme alone.
    #[default]
    Unnamed,
    /// This one.
    Named(String),
}

/// The compiled form.
#[derive(Debug)]
pub(crate) struct Guard {
    challenge: HeaderValue,
    anonymous: Option<Arc<str>>,
    alternatives: bool,
    passes_preflight: bool,
}

impl Guard {
    /// With a challenge of this authentication scheme.
    pub(crate) fn new(scheme: &str, fallback: Fallback) -> Result<Self, ConfigError> {
        let challenge = match &fallback.realm {
            Realm::Unnamed => scheme.to_owned(),
            Realm::Named(realm) => {
                let odd = |byte: u8| !(b' '..=b'~').contains(&byte) || b"\"\\".contains(&byte);
                if realm.is_empty() || realm.bytes().any(odd) {
                    return Err(ConfigError::new(
                        "realm",
                        "it must be printable ASCII without quotes and backslashes",
                    ));
                }
                format!("{scheme} realm=\"{realm}\"")
            }
        };
        let challenge = HeaderValue::from_str(&challenge)
            .map_err(|_| ConfigError::new("realm", "it cannot be sent in a header"))?;
        let Fallback { anonymous, alternatives, passes_preflight, .. } = fallback;
        Ok(Self { challenge, anonymous: anonymous.map(Into::into), alternatives, passes_preflight })
    }

    /// Whether nothing is asked of this request.
    pub(crate) fn passes(&self, request: &PluginRequest<'_>) -> bool {
        let known = || request.attached.is_some() && !request.head.headers.contains_key(X_ANONYMOUS_CONSUMER);
        (self.passes_preflight && request.head.method == Method::OPTIONS)
            || (self.alternatives && self.anonymous.is_some() && known())
    }

    /// Attaches who was found, or does what is to be done with a request that failed so.
    pub(crate) fn conclude(
        &self,
        request: &mut PluginRequest<'_>,
        found: Result<impl Into<Attached>, impl Into<Refusal>>,
    ) -> Flow {
        let why = match found {
            Ok(who) => {
                request.head.headers.remove(X_ANONYMOUS_CONSUMER);
                request.attach(who);
                return Flow::Continue;
            }
            Err(why) => why.into(),
        };
        match self.fall_back(request.consumers, &why) {
            Ok(consumer) => {
                request.attach(consumer);
                if self.alternatives {
                    request.head.headers.insert(X_ANONYMOUS_CONSUMER, HeaderValue::from_static("true"));
                }
                Flow::Continue
            }
            Err(reply) => Flow::Respond(reply),
        }
    }

    /// Waits for the body, of at most `limit` bytes, and concludes by what is found in it. Where the request goes on, the
    /// upstream does not see the header `hidden`.
    pub(crate) fn inspect(
        self: &Arc<Self>,
        request: &PluginRequest<'_>,
        limit: usize,
        hidden: Option<HeaderName>,
        find: impl FnOnce(&[u8]) -> Result<Arc<Credential>, Refusal> + 'static,
    ) -> Flow {
        let (guard, consumers) = (Arc::clone(self), Arc::clone(request.consumers));
        let judge = move |body: Result<Bytes, Failure>| -> Suspended {
            let mut verdict = match body {
                Ok(body) => guard.verdict(&consumers, find(&body)),
                Err(failure) => Verdict::respond(ERRORS.reply(failure.status(), failure.message(), false)),
            };
            verdict.request.extend(hidden.map(HeaderEdit::Remove));
            Box::pin(async move { verdict })
        };
        Flow::Inspect(BodyInspector { limit, judge: Box::new(judge) })
    }

    /// What [`Self::conclude`] does, for a request that waited.
    fn verdict(&self, consumers: &Consumers, found: Result<Arc<Credential>, Refusal>) -> Verdict {
        let (who, anonymous): (Attached, _) = match found {
            Ok(credential) => (credential.into(), HeaderEdit::Remove(X_ANONYMOUS_CONSUMER)),
            Err(why) => match self.fall_back(consumers, &why) {
                Ok(consumer) if self.alternatives => {
                    (consumer.into(), HeaderEdit::Set(X_ANONYMOUS_CONSUMER, HeaderValue::from_static("true")))
                }
                Ok(consumer) => return Verdict { attach: Some(consumer.into()), ..Verdict::default() },
                Err(reply) => return Verdict { reply: Some(reply), ..Verdict::default() },
            },
        };
        Verdict { request: vec![anonymous], attach: Some(who), ..Verdict::default() }
    }

    /// In whose name a request goes on that failed so, or how it is turned away.
    pub(crate) fn fall_back(
        &self,
        consumers: &Consumers,
        why: &Refusal,
    ) -> Result<Arc<Consumer>, Box<Reply>> {
        let Some(anonymous) = &self.anonymous else { return Err(self.turn_away(why)) };
        let named = consumers.by_username(anonymous).or_else(|| consumers.by_id(anonymous));
        named.cloned().ok_or_else(|| self.turn_away(&NOBODY.into()))
    }

    fn turn_away(&self, why: &Refusal) -> Box<Reply> {
        let mut reply = match why.member {
            None => ERRORS.reply(StatusCode::UNAUTHORIZED, &why.text, false),
            Some(member) => ErrorBody { member }.reply(StatusCode::UNAUTHORIZED, &why.text, false),
        };
        let mut challenge = self.challenge.clone();
        if why.invalid_token {
            let text = self.challenge.to_str().unwrap_or_default();
            let comma = if text.contains(' ') { "," } else { "" };
            let with_error = format!("{text}{comma} error=\"invalid_token\"");
            challenge = HeaderValue::from_str(&with_error).unwrap_or(challenge);
        }
        reply.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        Box::new(reply)
    }
}

/// Why a request is turned away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What it is told.
    pub text: Cow<'static, str>,
    /// The member of the answer that says so, where it is not `message`.
    pub member: Option<&'static str>,
    /// Whether the challenge says that the token is no good (RFC 6750 section 3.1).
    pub invalid_token: bool,
}

impl From<&'static str> for Refusal {
    fn from(text: &'static str) -> Self {
        Self { text: Cow::Borrowed(text), member: None, invalid_token: false }
    }
}

/// What stands for a secret that is only ever compared.
pub(crate) fn fingerprint(secret: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    let digest = digest::digest(&digest::SHA256, secret);
    out.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
    out
}
