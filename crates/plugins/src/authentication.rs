//! What the plugins share that find out which consumer a request comes from.
//!
//! They fail alike: 401, the challenge of RFC 9110 section 11.6.1, and a JSON `message`; or the request goes on as the
//! anonymous consumer's, where there is one. They take a credential only if it was sent once: of two, the gate and the
//! upstream might each believe another.

mod place;

use std::sync::Arc;

use aws_lc_rs::digest;
use gateway::{
    consumer::{Attached, Consumer, Consumers},
    error::{ConfigError, ErrorBody},
    plugin::{Flow, PluginRequest, Reply},
};
use http::{HeaderValue, StatusCode, header};

pub(crate) use place::Found;
pub use place::Places;

/// How these answers are worded, in every dialect.
pub(crate) const ERRORS: ErrorBody = ErrorBody { member: "message" };
/// Told where the anonymous consumer is configured and does not exist.
const NOBODY: &str = "Invalid user authorization";

/// What happens to a request that nobody vouches for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fallback {
    /// The realm of the challenge.
    pub realm: String,
    /// Name of the consumer in whose name it goes on; `None`: it is turned away.
    pub anonymous: Option<String>,
}

/// The compiled form.
#[derive(Debug)]
pub(crate) struct Guard {
    challenge: HeaderValue,
    anonymous: Option<Arc<str>>,
}

impl Guard {
    /// With a challenge of this authentication scheme.
    pub(crate) fn new(scheme: &str, fallback: Fallback) -> Result<Self, ConfigError> {
        let realm = &fallback.realm;
        if realm.is_empty()
            || realm.bytes().any(|byte| !(b' '..=b'~').contains(&byte) || b"\"\\".contains(&byte))
        {
            return Err(ConfigError::new(
                "realm",
                "it must be printable ASCII without quotes and backslashes",
            ));
        }
        let challenge = HeaderValue::from_str(&format!("{scheme} realm=\"{realm}\""))
            .map_err(|_| ConfigError::new("realm", "it cannot be sent in a header"))?;
        Ok(Self { challenge, anonymous: fallback.anonymous.map(Into::into) })
    }

    /// Attaches who was found, or does what is to be done with a request that failed so.
    pub(crate) fn conclude(
        &self,
        request: &mut PluginRequest<'_>,
        found: Result<impl Into<Attached>, &'static str>,
    ) -> Flow {
        let why = match found {
            Ok(who) => {
                request.attach(who);
                return Flow::Continue;
            }
            Err(why) => why,
        };
        match self.fall_back(request.consumers, why) {
            Ok(consumer) => {
                request.attach(consumer);
                Flow::Continue
            }
            Err(reply) => Flow::Respond(reply),
        }
    }

    /// In whose name a request goes on that failed so, or how it is turned away.
    pub(crate) fn fall_back(&self, consumers: &Consumers, why: &str) -> Result<Arc<Consumer>, Box<Reply>> {
        let Some(anonymous) = &self.anonymous else { return Err(self.turn_away(why)) };
        consumers.by_username(anonymous).cloned().ok_or_else(|| self.turn_away(NOBODY))
    }

    fn turn_away(&self, why: &str) -> Box<Reply> {
        let mut reply = ERRORS.reply(StatusCode::UNAUTHORIZED, why, false);
        reply.headers_mut().insert(header::WWW_AUTHENTICATE, self.challenge.clone());
        Box::new(reply)
    }
}

/// What stands for a secret that is only ever compared.
pub(crate) fn fingerprint(secret: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    let digest = digest::digest(&digest::SHA256, secret);
    out.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
    out
}
