//! The provider says that a session, or all of a user, have ended (OpenID Connect Back-Channel Logout 1.0).

use std::sync::Arc;

use base::{Secret, UnixMillis};
use bytes::Bytes;
use gateway::plugin::{Answering, BodyReader, Flow, PluginRequest, Reply};
use http::{HeaderValue, Method, Response, StatusCode, header};
use jose::CompactJws;
use oauth::form;
use rp::{
    provider::issuer_matches,
    session::{LogoutToken, LogoutTokenRules, Mark, StorageError, Unusable},
};

use super::{Inner, answer, tokens::Unverified, visitor::is_form};

/// Bytes of the form that carries a logout token.
const MAX_FORM: usize = 64 * 1024;

/// Why a logout is not done.
enum NotDone {
    /// The request is at fault (section 2.8: 400).
    Request(String),
    /// It could not be done now, and may be asked for again.
    Later(String),
}

impl Inner {
    /// Answers at the back-channel logout path. Only a token that the provider signed does anything there, so anybody may
    /// ask.
    pub(super) fn backchannel_logout(self: &Arc<Self>, request: &PluginRequest<'_>) -> Flow {
        if request.head.method != Method::POST {
            let mut reply = request.error(StatusCode::METHOD_NOT_ALLOWED, "a logout token comes by POST");
            reply.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
            return Flow::respond(reply);
        }
        if !is_form(request.head) {
            return Flow::respond(refusal(&NotDone::Request("the logout token comes in a form".to_owned())));
        }
        let inner = Arc::clone(self);
        let answer = move |form: Bytes| -> Answering {
            Box::pin(async move {
                match inner.end_by_token(&form).await {
                    Ok(()) => done(),
                    Err(not_done) => refusal(&not_done),
                }
            })
        };
        Flow::Read(BodyReader { limit: MAX_FORM, answer: Box::new(answer) })
    }

    async fn end_by_token(&self, form: &[u8]) -> Result<(), NotDone> {
        let request = |why: &dyn ToString| NotDone::Request(why.to_string());
        let params = form::parse(form).map_err(|error| request(&error))?;
        let token = params.value("logout_token").ok_or_else(|| request(&"there is no logout_token"))?;
        let token = self.verify_logout_token(token).await?;
        let now = self.services.clock.now();
        self.services.used_logouts.claim(&token, now).map_err(|unusable| match unusable {
            Unusable::Used => request(&"the logout token was used before"),
            Unusable::Full => NotDone::Later("too many logout tokens are remembered".to_owned()),
        })?;
        let ended = match self.claim_on_all_nodes(&token, now).await {
            Ok(true) => self.end_marked(&token).await,
            Ok(false) => return Err(request(&"the logout token was used before")),
            Err(error) => Err(error.to_string()),
        };
        let Err(why) = ended else { return Ok(()) };
        // The provider may ask again, with the same token.
        self.services.used_logouts.release(&token);
        if let Some((_, shared)) = self.shared() {
            shared.release(&once(&token)).await;
        }
        Err(NotDone::Later(why))
    }

    /// `false` if another node of shared sessions has used `token`.
    async fn claim_on_all_nodes(&self, token: &LogoutToken, now: UnixMillis) -> Result<bool, StorageError> {
        match self.shared() {
            Some((_, shared)) => shared.claim_once(&once(token), token.expires.since(now)).await,
            None => Ok(true),
        }
    }

    async fn verify_logout_token(&self, token: &str) -> Result<LogoutToken, NotDone> {
        let metadata = self.provider.ready().await.map_err(|error| NotDone::Later(error.to_string()))?;
        // It is encrypted as ID tokens are, or not at all (section 2.4).
        let is_encrypted = self.decrypts() && token.bytes().filter(|byte| *byte == b'.').count() == 4;
        let signed = match is_encrypted {
            true => self.decrypt(token).map_err(|error| NotDone::Request(error.to_string()))?,
            false => Secret::new(token.to_owned()),
        };
        let verified = self.verify_id_token(signed.expose(), &metadata).await;
        let (_, payload) = verified.map_err(|error| match error {
            Unverified::Jose(error) => NotDone::Request(format!("the logout token is not verified: {error}")),
            Unverified::Provider(error) => NotDone::Later(error.to_string()),
        })?;
        let jws = CompactJws::parse(signed.expose()).map_err(|error| NotDone::Request(error.to_string()))?;
        let rules = LogoutTokenRules {
            issuer: &|iss, tid| issuer_matches(&metadata, iss, tid),
            client_id: &self.client.client_id,
            slack: self.config.slack,
        };
        let checked = rules.check(jws.header().typ.as_deref(), &payload, self.services.clock.now());
        checked.map_err(|error| NotDone::Request(error.to_string()))
    }

    /// Ends what the token names: with a `sid`, that session alone, and that only if it is the user's whom a `sub` names
    /// beside it (section 2.7).
    async fn end_marked(&self, token: &LogoutToken) -> Result<(), String> {
        let Some(browser) = &self.browser else { return Ok(()) };
        let (ended, realm, now) = (&self.services.ended, browser.jar.realm(), self.services.clock.now());
        let mark = match (&token.sid, &token.subject) {
            (Some(sid), Some(subject)) => Mark::of_both(realm, &token.issuer, sid, subject),
            (Some(sid), None) => Mark::of_sid(realm, &token.issuer, sid),
            (None, Some(subject)) => Mark::of_subject(realm, &token.issuer, subject),
            (None, None) => return Ok(()),
        };
        let until = ended.last_moment(realm, now);
        if let Some(shared) = &browser.shared {
            shared.remove_marked(mark, until, now).await.map_err(|error| error.to_string())?;
        }
        ended.end_marked(realm, mark, until, now).await.map_err(|error| error.to_string())
    }
}

/// Two tokens of one issuer and one id are the same.
fn once(token: &LogoutToken) -> String {
    format!("{}\n{}", token.issuer, token.id)
}

fn done() -> Reply {
    answer::no_store(Response::new(Bytes::new()))
}

/// Section 2.8, and RFC 6749 section 5.2 for its form.
fn refusal(not_done: &NotDone) -> Reply {
    let (status, error, why) = match not_done {
        NotDone::Request(why) => (StatusCode::BAD_REQUEST, "invalid_request", why.as_str()),
        NotDone::Later(why) => {
            tracing::error!(%why, "a back-channel logout is not done");
            (
                StatusCode::SERVICE_UNAVAILABLE,
                "temporarily_unavailable",
                "the logout cannot be done now; ask again",
            )
        }
    };
    let body = serde_json::json!({ "error": error, "error_description": why });
    let mut reply = Response::new(Bytes::from(body.to_string()));
    *reply.status_mut() = status;
    reply.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer::no_store(reply)
}
