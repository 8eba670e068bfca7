//! Where the access token of a request is looked for.

use gateway::plugin::RequestHead;
use http::{HeaderName, HeaderValue, Method, header::AUTHORIZATION};
use oauth::bearer::{Authorization, BearerError, is_b64token, names_access_token, parse};

use super::visitor::is_cross_site;

/// Where access tokens come from. A route has one place; a token in two is refused (RFC 6750 section 2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TokenSource {
    /// `Authorization: Bearer`, or `DPoP`.
    #[default]
    Authorization,
    /// This header, with or without `Bearer` in front.
    Header(HeaderName),
    /// This cookie.
    Cookie(String),
}

/// What a request has to say about a token.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sent<'a> {
    /// This one, not yet verified.
    Token(&'a str),
    /// None.
    Nothing,
    /// Something that is no token: 401.
    Malformed,
    /// More than one, or a place for one that is empty: 400.
    Unreadable(String),
}

const TWICE: &str = "the access token is sent in two ways";

impl TokenSource {
    pub(super) fn read<'a>(&self, head: &'a RequestHead) -> Sent<'a> {
        let sent = match self {
            Self::Authorization => in_authorization(head),
            Self::Header(name) => in_header(head, name),
            Self::Cookie(name) => in_cookie(head, name),
        };
        let Sent::Token(_) = sent else { return sent };
        let in_query = head.query().is_some_and(|query| names_access_token(query.as_bytes()));
        let beside = *self != Self::Authorization && !matches!(in_authorization(head), Sent::Nothing);
        if in_query || beside { Sent::Unreadable(TWICE.to_owned()) } else { sent }
    }
}

fn in_authorization(head: &RequestHead) -> Sent<'_> {
    match parse(head.headers.get_all(AUTHORIZATION).iter().map(HeaderValue::as_bytes)) {
        Ok(Authorization::Bearer(token) | Authorization::Dpop(token)) => Sent::Token(token),
        Ok(Authorization::Absent | Authorization::Other) => Sent::Nothing,
        Err(BearerError::Malformed) => Sent::Malformed,
        Err(error @ (BearerError::Repeated | BearerError::NoCredentials)) => {
            Sent::Unreadable(error.to_string())
        }
    }
}

fn in_header<'a>(head: &'a RequestHead, name: &HeaderName) -> Sent<'a> {
    let mut values = head.headers.get_all(name).iter().map(HeaderValue::as_bytes);
    let Some(value) = values.next() else { return Sent::Nothing };
    if values.next().is_some() {
        return Sent::Unreadable(format!("there is more than one {name} header"));
    }
    match std::str::from_utf8(value).map(str::trim_ascii) {
        Ok("") => Sent::Unreadable(format!("the {name} header holds no credentials")),
        Ok(bare) if is_b64token(bare) && !bare.eq_ignore_ascii_case("bearer") => Sent::Token(bare),
        _ => match parse([value]) {
            Ok(Authorization::Bearer(token)) => Sent::Token(token),
            _ => Sent::Malformed,
        },
    }
}

/// A browser sends cookies whoever's page made it ask. What another site's page may cause must be harmless, as RFC 9110
/// section 9.2.1 wants it of GET and HEAD; for anything else the cookie is not looked at.
fn in_cookie<'a>(head: &'a RequestHead, name: &str) -> Sent<'a> {
    if !matches!(head.method, Method::GET | Method::HEAD) && is_cross_site(head) {
        return Sent::Nothing;
    }
    let mut values = head.cookies(name);
    let Some(value) = values.next() else { return Sent::Nothing };
    if values.any(|other| other != value) {
        return Sent::Unreadable(format!("there is more than one cookie `{name}`"));
    }
    match value {
        "" => Sent::Nothing,
        token if is_b64token(token) => Sent::Token(token),
        _ => Sent::Malformed,
    }
}
