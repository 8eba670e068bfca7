//! The gate's own answers on a route with OpenID Connect.

use std::{borrow::Cow, fmt::Display};

use bytes::Bytes;
use gateway::{error::ErrorBody, plugin::Reply};
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use oauth::{bearer::challenge, dpop};
use percent_encoding::{CONTROLS, utf8_percent_encode};
use rp::{bearer::Refusal, provider::ProviderError};
use serde_json::{Map, Value};

use super::{Inner, visitor::Visitor};

/// PNG, 1 by 1, transparent.
const PIXEL: &[u8] = &[
    0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0x00, 0x00, 0x00, 0x0d, 0x49, 0x48, 0x44, 0x52, 0x00,
    0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x01, 0x08, 0x06, 0x00, 0x00, 0x00, 0x1f, 0x15, 0xc4, 0x89, 0x00,
    0x00, 0x00, 0x0b, 0x49, 0x44, 0x41, 0x54, 0x78, 0xda, 0x63, 0x60, 0x00, 0x02, 0x00, 0x00, 0x05, 0x00,
    0x01, 0xe9, 0xfa, 0xdc, 0xd8, 0x00, 0x00, 0x00, 0x00, 0x49, 0x45, 0x4e, 0x44, 0xae, 0x42, 0x60, 0x82,
];

/// 401 to a request without a token where one is needed.
pub(super) fn no_token(inner: &Inner, errors: ErrorBody, html: bool) -> Reply {
    if let Some(reply) = elsewhere(&inner.config.words.unauthorized_redirect) {
        return reply;
    }
    let text = inner.config.words.unauthorized.as_deref().unwrap_or("an access token is needed");
    let text = with_reason(inner, text, &"the request has no credentials");
    let reply = errors.reply(StatusCode::UNAUTHORIZED, &text, html);
    with_challenge(reply, inner, &[])
}

/// 401 to a token that is refused (RFC 6750 section 3.1).
pub(super) fn refused(inner: &Inner, refusal: Refusal, errors: ErrorBody, html: bool) -> Reply {
    if let Some(reply) = elsewhere(&inner.config.words.unauthorized_redirect) {
        return reply;
    }
    let text = inner.config.words.unauthorized.as_deref().unwrap_or("the access token is not accepted");
    let why = refusal.to_string();
    let reply = errors.reply(StatusCode::UNAUTHORIZED, &with_reason(inner, text, &why), html);
    with_challenge(reply, inner, &[("error", "invalid_token"), ("error_description", &why)])
}

/// 401 to claims that do not match the configured schema, with what is wrong with them.
pub(super) fn misfit(inner: &Inner, why: &str, errors: ErrorBody, html: bool) -> Reply {
    let reply = errors.reply(StatusCode::UNAUTHORIZED, "the claims are not accepted", html);
    with_challenge(reply, inner, &[("error", "invalid_token"), ("error_description", why)])
}

/// 400 to credentials that are sent twice or not at all (RFC 6750 section 3.1).
pub(super) fn unreadable(inner: &Inner, why: &str, errors: ErrorBody, html: bool) -> Reply {
    let params = [("error", "invalid_request"), ("error_description", why)];
    unauthorized(inner, &why, errors, html, &challenge(&inner.config.realm, shown(inner, &params)))
        .unwrap_or_else(|| with_challenge(errors.reply(StatusCode::BAD_REQUEST, why, html), inner, &params))
}

/// 401 in the words of a dialect that has some, to whatever is wrong with a request.
fn unauthorized(
    inner: &Inner,
    why: &dyn Display,
    errors: ErrorBody,
    html: bool,
    challenge: &str,
) -> Option<Reply> {
    let words = &inner.config.words;
    elsewhere(&words.unauthorized_redirect).or_else(|| {
        let text = with_reason(inner, words.unauthorized.as_deref()?, why);
        Some(challenged(errors.reply(StatusCode::UNAUTHORIZED, &text, html), challenge))
    })
}

/// To a login that came to nothing, in the words of a dialect that has some: 401, or 500 where the provider is at fault.
pub(super) fn login_failed(
    inner: &Inner,
    by_provider: bool,
    why: &dyn Display,
    visitor: &Visitor,
) -> Option<Reply> {
    let (errors, html) = visitor.errors();
    match by_provider {
        true => unexpected(inner, why, errors, html),
        false => unauthorized(inner, why, errors, html, &challenge(&inner.config.realm, &[])),
    }
}

/// 500 in the words of a dialect that has some.
fn unexpected(inner: &Inner, why: &dyn Display, errors: ErrorBody, html: bool) -> Option<Reply> {
    let words = &inner.config.words;
    elsewhere(&words.unexpected_redirect).or_else(|| {
        let text = with_reason(inner, words.unexpected.as_deref()?, why);
        Some(errors.reply(StatusCode::INTERNAL_SERVER_ERROR, &text, html))
    })
}

/// 401 to a proof of possession that does not hold, with the challenge of RFC 9449 section 7.1.
pub(super) fn unproven(inner: &Inner, error: &str, why: &str, errors: ErrorBody, html: bool) -> Reply {
    let challenge = dpop::challenge(shown(inner, &[("error", error), ("error_description", why)]));
    unauthorized(inner, &why, errors, html, &challenge).unwrap_or_else(|| {
        let reply = errors.reply(StatusCode::UNAUTHORIZED, "the access token is not accepted", html);
        challenged(reply, &challenge)
    })
}

/// 401 to a request that is no page load and has no session.
pub(super) fn login_needed(inner: &Inner, visitor: &Visitor) -> Reply {
    if let Some(reply) = elsewhere(&inner.config.words.unauthorized_redirect) {
        return reply;
    }
    let Some(text) = &inner.config.words.unauthorized else {
        return visitor.error(StatusCode::UNAUTHORIZED, "a login is needed");
    };
    let text = with_reason(inner, text, &"the request has no credentials");
    with_challenge(visitor.error(StatusCode::UNAUTHORIZED, &text), inner, &[])
}

/// 503, or 500 where the dialect has a word for it: a provider that is down is not one that says no.
pub(super) fn unavailable(inner: &Inner, error: &ProviderError, errors: ErrorBody, html: bool) -> Reply {
    tracing::warn!(%error, "a request is not served because the identity provider is not available");
    unexpected(inner, error, errors, html).unwrap_or_else(|| {
        errors.reply(StatusCode::SERVICE_UNAVAILABLE, "the identity provider is not available", html)
    })
}

/// 403 in the words of APISIX, `{"error":…}`, or in those that the configuration has for it.
pub(super) fn forbidden(inner: &Inner, why: &str, errors: ErrorBody) -> Reply {
    if let Some(reply) = elsewhere(&inner.config.words.forbidden_redirect) {
        return reply;
    }
    if let Some(text) = &inner.config.words.forbidden {
        let reply = errors.reply(StatusCode::FORBIDDEN, &with_reason(inner, text, &why), false);
        return with_challenge(reply, inner, &[("error", "insufficient_scope")]);
    }
    let mut reply = Response::new(Bytes::from(serde_json::json!({ "error": why }).to_string()));
    *reply.status_mut() = StatusCode::FORBIDDEN;
    reply.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    no_store(reply)
}

/// The words of an answer, and the reason behind them where callers are to know it.
fn with_reason<'t>(inner: &Inner, text: &'t str, why: &dyn Display) -> Cow<'t, str> {
    if inner.config.words.shows_reasons { format!("{text}: {why}").into() } else { text.into() }
}

/// What is said where scopes are missing. All that are required are named.
pub(super) fn scopes_missing(required: &[String]) -> String {
    format!("required scopes {} not present", required.join(", "))
}

/// What is said where claims are not as the route's rules want them; `None`: they are. The claims are named, never their
/// values or those that would do.
pub(super) fn claims_failing(names: &[String]) -> Option<Box<str>> {
    let (noun, verb) = if names.len() == 1 { ("claim", "does") } else { ("claims", "do") };
    (!names.is_empty())
        .then(|| format!("the {noun} {} {verb} not satisfy the rules of this route", names.join(", ")).into())
}

/// The place that a configuration has for those who are not let in.
fn elsewhere(place: &Option<String>) -> Option<Reply> {
    place.as_deref().map(|place| redirect(StatusCode::FOUND, place, Vec::new()))
}

/// A redirect that changes the method to GET, with cookies, kept by no cache.
pub(super) fn redirect(status: StatusCode, location: &str, cookies: Vec<HeaderValue>) -> Reply {
    let mut reply = Response::new(Bytes::new());
    *reply.status_mut() = status;
    // RFC 3986 has no place for letters beyond ASCII, which a browser's address may hold all the same; and whatever
    // else is in it, it must not split a header.
    let location = utf8_percent_encode(location, CONTROLS).to_string();
    let location = HeaderValue::try_from(location).unwrap_or(HeaderValue::from_static("/"));
    reply.headers_mut().insert(header::LOCATION, location);
    set_cookies(no_store(reply), cookies)
}

/// A JSON object with cookies, kept by no cache.
pub(super) fn json(members: &Map<String, Value>, cookies: Vec<HeaderValue>) -> Reply {
    let text = serde_json::to_string(members).unwrap_or_default();
    let mut reply = Response::new(Bytes::from(text));
    reply.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    set_cookies(no_store(reply), cookies)
}

/// An image of one transparent point, for logout pages that load it.
pub(super) fn pixel() -> Reply {
    let mut reply = Response::new(Bytes::from_static(PIXEL));
    reply.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("image/png"));
    no_store(reply)
}

/// A page of the gate's own.
pub(super) fn page(status: StatusCode, body: String, cookies: Vec<HeaderValue>) -> Reply {
    let mut reply = Response::new(Bytes::from(body));
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let policy = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    set_cookies(no_store(reply), cookies)
}

/// `reply` with cookies.
pub(super) fn set_cookies(mut reply: Reply, cookies: Vec<HeaderValue>) -> Reply {
    let headers = reply.headers_mut();
    headers.extend(cookies.into_iter().map(|cookie| (header::SET_COOKIE, cookie)));
    reply
}

/// Cookies on the answer of the upstream. They are one browser's, so no cache may keep that answer.
pub(super) fn cookie_headers(cookies: Vec<HeaderValue>) -> Vec<(HeaderName, HeaderValue)> {
    let mut out: Vec<_> = cookies.into_iter().map(|cookie| (header::SET_COOKIE, cookie)).collect();
    if !out.is_empty() {
        out.push((header::CACHE_CONTROL, HeaderValue::from_static("no-store")));
    }
    out
}

pub(super) fn no_store(mut reply: Reply) -> Reply {
    let value = HeaderValue::from_static("no-cache, no-store, max-age=0");
    reply.headers_mut().insert(header::CACHE_CONTROL, value);
    reply
}

fn with_challenge(reply: Reply, inner: &Inner, params: &[(&str, &str)]) -> Reply {
    challenged(reply, &challenge(&inner.config.realm, shown(inner, params)))
}

fn challenged(mut reply: Reply, challenge: &str) -> Reply {
    if let Ok(value) = HeaderValue::from_str(challenge) {
        reply.headers_mut().insert(header::WWW_AUTHENTICATE, value);
    }
    reply
}

/// What of an error callers may know.
fn shown<'p>(inner: &Inner, params: &'p [(&'p str, &'p str)]) -> &'p [(&'p str, &'p str)] {
    if inner.config.words.hides_errors { &[] } else { params }
}
