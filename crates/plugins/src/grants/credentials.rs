//! What callers bring: where it is found, and how it is taken out of what goes upstream.

use std::collections::HashSet;

use base::Secret;
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD},
};
use gateway::plugin::RequestHead;
use http::{HeaderMap, HeaderName, header};

use super::{Kind, Way};
use crate::{fields::Fields, query};

/// Bytes of a header that is looked at.
const MAX_HEADER: usize = 8 * 1024;
const REFRESH_TOKEN: &str = "refresh_token";
const REFRESH_TOKEN_HEADER: &str = "refresh-token";

/// What the provider is asked to give a token for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Means {
    RefreshToken,
    Password,
    ClientCredentials,
    Exchange,
}

impl Means {
    /// What Kong calls the grant.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::RefreshToken => "refresh_token",
            Self::Password => "password",
            Self::ClientCredentials => "client_credentials",
            Self::Exchange => "token_exchange",
        }
    }
}

/// Who calls.
#[derive(Clone, Debug)]
pub(super) struct Credentials {
    /// Name of the user or id of the client; empty where a token says it all.
    pub(super) name: String,
    pub(super) secret: Secret<String>,
}

/// What was found.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(super) credentials: Credentials,
    /// What it may be, in the order in which that is tried: a name and a secret may be a user's or a client's.
    pub(super) means: Vec<Means>,
    pub(super) place: Place,
}

/// Where it was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Authorization,
    Header(HeaderName),
    /// Under these names in the query.
    Query(Vec<String>),
    /// Under these names in the body.
    Body(Vec<String>),
    /// Where access tokens are.
    Token,
}

/// What is first found in the head of a request. What is there twice in one place could be read as either by whoever
/// stands before or behind the gate, so it is none; neither is half a pair.
pub(crate) fn find(ways: &[Way], head: &RequestHead) -> Option<Found> {
    ways.iter().enumerate().find_map(|(place, way)| {
        let later = ways.get(place + 1..).unwrap_or_default();
        let header = || in_header(way, later, &head.headers);
        let query = || {
            let query = head.query()?;
            named(&way.kind, |name| query::one(query, name)).map(|(credentials, names)| Found {
                credentials,
                means: vec![means(&way.kind)],
                place: Place::Query(names),
            })
        };
        way.sources.header.then(header).flatten().or_else(|| way.sources.query.then(query).flatten())
    })
}

/// What is first found in a body.
pub(crate) fn find_in_body(ways: &[Way], fields: &Fields) -> Option<Found> {
    ways.iter().filter(|way| way.sources.body).find_map(|way| {
        let (credentials, names) = named(&way.kind, |name| fields.one(name))?;
        Some(Found { credentials, means: vec![means(&way.kind)], place: Place::Body(names) })
    })
}

impl Found {
    /// A token that is to be exchanged.
    pub(crate) fn token(token: &str) -> Self {
        Self {
            credentials: Credentials { name: String::new(), secret: Secret::new(token.to_owned()) },
            means: vec![Means::Exchange],
            place: Place::Token,
        }
    }

    /// The names that it was found under in the body.
    pub(crate) fn names_in_body(&self) -> HashSet<String> {
        match &self.place {
            Place::Body(names) => names.iter().cloned().collect(),
            _ => HashSet::new(),
        }
    }
}

fn means(kind: &Kind) -> Means {
    match kind {
        Kind::RefreshToken(_) => Means::RefreshToken,
        Kind::Password => Means::Password,
        Kind::ClientCredentials => Means::ClientCredentials,
    }
}

fn in_header(way: &Way, later: &[Way], headers: &HeaderMap) -> Option<Found> {
    if let Kind::RefreshToken(name) = &way.kind {
        let name = name.as_deref().unwrap_or(REFRESH_TOKEN_HEADER).replace('_', "-");
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        let mut values = headers.get_all(&name).iter();
        let value = values.next().filter(|value| value.len() <= MAX_HEADER)?.to_str().ok()?.trim();
        if values.next().is_some() || value.is_empty() {
            return None;
        }
        let credentials = Credentials { name: String::new(), secret: Secret::new(value.to_owned()) };
        return Some(Found { credentials, means: vec![Means::RefreshToken], place: Place::Header(name) });
    }
    let credentials = basic(headers)?;
    let also = later.iter().filter(|way| way.sources.header && !matches!(way.kind, Kind::RefreshToken(_)));
    let means = std::iter::once(way).chain(also).map(|way| means(&way.kind)).collect();
    Some(Found { credentials, means, place: Place::Authorization })
}

/// `Authorization: Basic`. The parts are taken as they are: RFC 6749 section 2.3.1 has them form-encoded, RFC 7617 and
/// the callers of gateways do not.
fn basic(headers: &HeaderMap) -> Option<Credentials> {
    let mut lines = headers.get_all(header::AUTHORIZATION).iter();
    let line = lines.next().filter(|line| line.len() <= MAX_HEADER)?.to_str().ok()?;
    if lines.next().is_some() {
        return None;
    }
    let (scheme, encoded) = line.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let encoded = encoded.trim();
    let plain = Secret::new(STANDARD.decode(encoded).or_else(|_| STANDARD_NO_PAD.decode(encoded)).ok()?);
    let (name, secret) = std::str::from_utf8(plain.expose()).ok()?.split_once(':')?;
    pair(name.to_owned(), secret.to_owned())
}

/// What stands under the names that a kind has, and those names.
fn named(kind: &Kind, one: impl Fn(&str) -> Option<String>) -> Option<(Credentials, Vec<String>)> {
    let (name, secret) = match kind {
        Kind::RefreshToken(name) => {
            let name = name.as_deref().unwrap_or(REFRESH_TOKEN);
            let secret = Secret::new(one(name).filter(|token| !token.is_empty())?);
            return Some((Credentials { name: String::new(), secret }, vec![name.to_owned()]));
        }
        Kind::Password => ("username", "password"),
        Kind::ClientCredentials => ("client_id", "client_secret"),
    };
    let credentials = pair(one(name)?, one(secret)?)?;
    Some((credentials, vec![name.to_owned(), secret.to_owned()]))
}

fn pair(name: String, secret: String) -> Option<Credentials> {
    let secret = Secret::new(secret);
    let whole = !name.is_empty() && !secret.expose().is_empty();
    whole.then_some(Credentials { name, secret })
}

impl Place {
    /// Takes what was found out of the head that goes upstream.
    pub(super) fn hide(&self, head: &mut RequestHead) {
        match self {
            Self::Authorization => {
                head.headers.remove(header::AUTHORIZATION);
            }
            Self::Header(name) => {
                head.headers.remove(name);
            }
            Self::Query(names) => query::remove(head, |name| names.iter().any(|hidden| hidden == name)),
            Self::Body(_) | Self::Token => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use gateway::plugin::HostName;
    use http::{HeaderMap, HeaderValue, Method, Version};

    use super::{super::Sources, *};

    const BOTH: Sources = Sources { header: true, query: true, body: false };

    fn clients(sources: Sources) -> [Way; 1] {
        [Way { kind: Kind::ClientCredentials, sources }]
    }

    fn head(target: &str, authorization: &[&str]) -> RequestHead {
        let mut headers = HeaderMap::new();
        for value in authorization {
            headers.append(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        RequestHead {
            named: None,
            method: Method::GET,
            target: target.parse().unwrap(),
            host: HostName::parse(&HeaderValue::from_static("a")).unwrap(),
            headers,
            version: Version::HTTP_11,
            websocket: false,
            sending: Default::default(),
        }
    }

    fn basic(plain: &str) -> String {
        format!("Basic {}", STANDARD.encode(plain))
    }

    fn found(head: &RequestHead) -> Option<(String, String, bool)> {
        let found = find(&clients(BOTH), head)?;
        let Credentials { name, secret } = found.credentials;
        Some((name, secret.expose().clone(), found.place == Place::Authorization))
    }

    #[test]
    fn the_header_goes_before_the_query_and_is_not_percent_decoded() {
        let both = head("/?client_id=q&client_secret=s", &[&basic("a%20b:c:d+e")]);
        assert_eq!(found(&both), Some(("a%20b".to_owned(), "c:d+e".to_owned(), true)));
        let query = head("/?x=1&client_id=a%20b&client_secret=c%26d", &["Bearer abc"]);
        assert_eq!(found(&query), Some(("a b".to_owned(), "c&d".to_owned(), false)));
        assert!(find(&clients(Sources { query: false, ..BOTH }), &query).is_none());
        let header = head("/", &[&basic("a:b")]);
        assert!(find(&clients(Sources { header: false, ..BOTH }), &header).is_none());
    }

    #[test]
    fn half_a_pair_or_two_pairs_are_none() {
        for target in [
            "/",
            "/?client_id=a",
            "/?client_secret=a",
            "/?client_id=&client_secret=a",
            "/?client_id=a&client_secret=",
        ] {
            assert_eq!(found(&head(target, &[])), None, "{target}");
        }
        assert_eq!(found(&head("/?client_id=a&client_secret=b&client%5Fid=c", &[])), None);
        assert_eq!(found(&head("/", &[&basic("a:b"), &basic("a:b")])), None);
        for header in [
            basic("ab"),
            basic(":b"),
            basic("a:"),
            "Basic".to_owned(),
            "Basic !".to_owned(),
            "Basic /w==".to_owned(),
        ] {
            assert_eq!(found(&head("/", &[&header])), None, "{header}");
        }
    }

    #[test]
    fn hiding_leaves_the_bytes_of_the_rest() {
        for (sent, left) in [
            ("/a?client_id=x&b=%7e&client_secret=y&c&&=d", "/a?b=%7e&c&&=d"),
            ("/a?client%5fid=x&client_secret=y", "/a"),
            ("/a?xclient_id=x", "/a?xclient_id=x"),
        ] {
            let mut head = head(sent, &[]);
            Place::Query(vec!["client_id".to_owned(), "client_secret".to_owned()]).hide(&mut head);
            assert_eq!(head.target.as_str(), left);
        }
    }

    #[test]
    fn one_pair_is_a_users_before_it_is_a_clients_and_a_refresh_token_goes_before_both() {
        let ways = [
            Way { kind: Kind::RefreshToken(None), sources: BOTH },
            Way { kind: Kind::Password, sources: BOTH },
            Way { kind: Kind::ClientCredentials, sources: BOTH },
        ];
        let found = |target: &str, header: &[&str]| find(&ways, &head(target, header)).unwrap().means;
        assert_eq!(found("/", &[&basic("a:b")]), [Means::Password, Means::ClientCredentials]);
        assert_eq!(found("/?refresh_token=r", &[&basic("a:b")]), [Means::RefreshToken]);
        assert_eq!(found("/?username=r&password=p", &[]), [Means::Password]);
        assert_eq!(found("/?client_id=r&client_secret=p", &[]), [Means::ClientCredentials]);
        let mut with_header = head("/", &[]);
        with_header.headers.insert("refresh-token", HeaderValue::from_static("r"));
        let found = find(&ways, &with_header).unwrap();
        found.place.hide(&mut with_header);
        assert!(with_header.headers.is_empty());
    }
}
