//! The provider's logout page loads a frame that ends the browser's session here (OpenID Connect Front-Channel Logout 1.0).

use std::sync::Arc;

use gateway::plugin::{Flow, Reply, Verdict};
use http::{HeaderValue, Method, StatusCode, header};
use oauth::form;
use rp::session::{Mark, Marks, SessionSpan};
use url::Url;

use super::{Inner, answer, browser::Browser, visitor::Visitor};

impl Inner {
    /// Answers at the front-channel logout path. Any page can load it, so only `iss` and `sid` of the session itself, which
    /// the provider alone knows, end it; and nothing is revoked at the provider, which has ended its own session.
    pub(super) fn frontchannel_logout(self: &Arc<Self>, browser: &Browser, visitor: Visitor) -> Flow {
        if visitor.method != Method::GET {
            let mut reply =
                visitor.error(StatusCode::METHOD_NOT_ALLOWED, "a front-channel logout comes by GET");
            reply.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET"));
            return Flow::respond(reply);
        }
        let params = form::parse(visitor.target.query().unwrap_or_default().as_bytes());
        let named =
            params.as_ref().ok().and_then(|params| Some((params.value("iss")?, params.value("sid")?)));
        let Some((iss, sid)) = named else {
            let why = "iss and sid must say which session ends";
            return Flow::respond(visitor.error(StatusCode::BAD_REQUEST, why));
        };
        let mark = Mark::of_sid(browser.jar.realm(), iss, sid);
        let now = self.services.clock.now();
        let https = visitor.https;
        let shown: Vec<(SessionSpan, Marks)> = match browser.shared {
            None => browser
                .opened(self, &visitor.cookies(), https)
                .map(|opened| (opened.session.span(), opened.session.marks))
                .collect(),
            Some(_) => browser
                .shown(&visitor.cookies(), https)
                .iter()
                .map(|shown| (shown.ticket.span, shown.ticket.marks))
                .collect(),
        };
        let ours = |(span, marks): &(SessionSpan, Marks)| now < span.ends && marks.sid == Some(mark);
        let sessions: Vec<SessionSpan> = shown.into_iter().filter(ours).map(|(span, _)| span).collect();
        let ancestor = Url::parse(iss).ok().map(|iss| iss.origin().ascii_serialization());
        let inner = Arc::clone(self);
        Flow::Suspend(Box::pin(async move {
            let Some(browser) = &inner.browser else { return Verdict::default() };
            Verdict::respond(inner.end_framed(browser, &visitor, &sessions, ancestor).await)
        }))
    }

    async fn end_framed(
        &self,
        browser: &Browser,
        visitor: &Visitor,
        sessions: &[SessionSpan],
        ancestor: Option<String>,
    ) -> Reply {
        let mut cookies = Vec::new();
        for session in sessions {
            let now = self.services.clock.now();
            if let Err(error) = self.end_session(browser, *session, now).await {
                tracing::error!(%error, "a front-channel logout is not recorded");
                return visitor.error(StatusCode::SERVICE_UNAVAILABLE, "the logout could not be recorded");
            }
            cookies = browser.jar.clear(&visitor.cookies(), visitor.https);
        }
        // The same page whatever came of it: which sessions there are is no other site's business.
        let mut reply = answer::page(StatusCode::OK, PAGE.to_owned(), cookies);
        // The provider shows it in a frame.
        let policy = ancestor.filter(|_| !sessions.is_empty());
        let policy = policy.map(|origin| format!("default-src 'none'; frame-ancestors {origin}"));
        if let Some(policy) = policy.and_then(|policy| HeaderValue::try_from(policy).ok()) {
            reply.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
        }
        reply
    }
}

const PAGE: &str =
    "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>Logged out</title>\n</html>\n";
