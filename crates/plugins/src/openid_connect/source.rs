//! Where the access token of a request is looked for.

use gateway::plugin::RequestHead;
use http::{HeaderName, HeaderValue, Method, header::AUTHORIZATION};
use oauth::bearer::{Authorization, BearerError, is_b64token, names_access_token, parse};

use super::visitor::is_cross_site;
use crate::query;

/// Name of the argument that holds a token.
pub(crate) const ACCESS_TOKEN: &str = "access_token";

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
    /// The first of these places that holds one.
    Places(Places),
}

/// Places that are looked at in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// `Authorization: Bearer`, or `DPoP`.
    pub authorization: bool,
    /// Further headers, with or without `Bearer` in front.
    pub headers: Vec<HeaderName>,
    /// The argument `access_token` of the query (RFC 6750 section 2.3).
    pub query: bool,
    /// The member `access_token` of a form or of a JSON object (RFC 6750 section 2.2).
    pub body: bool,
    /// A cookie.
    pub cookie: Option<String>,
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
            Self::Places(places) => return places.read(head),
        };
        let Sent::Token(_) = sent else { return sent };
        let in_query = head.query().is_some_and(|query| names_access_token(query.as_bytes()));
        let beside = *self != Self::Authorization && !matches!(in_authorization(head), Sent::Nothing);
        if in_query || beside { Sent::Unreadable(TWICE.to_owned()) } else { sent }
    }
}

impl TokenSource {
    /// Whether tokens are looked for in this header.
    pub(super) fn reads(&self, name: &HeaderName) -> bool {
        match self {
            Self::Header(own) => own == name,
            Self::Places(places) => places.headers.contains(name),
            Self::Authorization | Self::Cookie(_) => false,
        }
    }

    /// Whether the token of `head` is in `Authorization`.
    pub(super) fn is_in_authorization(&self, head: &RequestHead) -> bool {
        match self {
            Self::Authorization => true,
            Self::Places(places) => places.authorization && matches!(in_authorization(head), Sent::Token(_)),
            Self::Header(_) | Self::Cookie(_) => false,
        }
    }

    /// Takes tokens out of every place that is looked at, but for `Authorization` where the token `stays` in it.
    pub(super) fn hide(&self, head: &mut RequestHead, stays: bool) {
        match self {
            Self::Authorization => hide_authorization(head, stays),
            Self::Header(name) => {
                head.headers.remove(name);
            }
            Self::Cookie(name) => head.remove_cookies(|own| own == name),
            Self::Places(Places { authorization, headers, query, cookie, .. }) => {
                if *authorization {
                    hide_authorization(head, stays);
                }
                for name in headers {
                    head.headers.remove(name);
                }
                if *query && head.query().is_some_and(|query| names_access_token(query.as_bytes())) {
                    query::remove(head, |name| name == ACCESS_TOKEN);
                }
                if let Some(name) = cookie {
                    head.remove_cookies(|own| own == name);
                }
            }
        }
    }
}

fn hide_authorization(head: &mut RequestHead, stays: bool) {
    if !stays && !matches!(in_authorization(head), Sent::Nothing) {
        head.headers.remove(AUTHORIZATION);
    }
}

impl Places {
    fn read<'a>(&self, head: &'a RequestHead) -> Sent<'a> {
        let authorization = || if self.authorization { in_authorization(head) } else { Sent::Nothing };
        let headers = || {
            let mut sent = self.headers.iter().map(|name| in_header(head, name));
            sent.find(|sent| *sent != Sent::Nothing).unwrap_or(Sent::Nothing)
        };
        let query = || if self.query { in_query(head) } else { Sent::Nothing };
        let cookie = || self.cookie.as_ref().map_or(Sent::Nothing, |name| in_cookie(head, name));
        let places: [&dyn Fn() -> Sent<'a>; 4] = [&authorization, &headers, &query, &cookie];
        places.iter().map(|place| place()).find(|sent| *sent != Sent::Nothing).unwrap_or(Sent::Nothing)
    }
}

/// A token has no letter that a query would have to escape.
fn in_query(head: &RequestHead) -> Sent<'_> {
    let query = head.query().unwrap_or_default();
    if !names_access_token(query.as_bytes()) {
        return Sent::Nothing;
    }
    let mut values = query::values(query, ACCESS_TOKEN);
    match (values.next(), values.next()) {
        (None | Some(""), None) => Sent::Nothing,
        (Some(token), None) if is_b64token(token) => Sent::Token(token),
        (Some(_), None) => Sent::Malformed,
        _ => Sent::Unreadable("the argument `access_token` is there more than once".to_owned()),
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
