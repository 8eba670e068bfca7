//! The caller's id and secret: where they are found, and how they are taken out of what goes upstream.

use base::Secret;
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD},
};
use gateway::plugin::RequestHead;
use http::{header, uri::PathAndQuery};

use super::Sources;

/// Bytes of a Basic header that are looked at.
const MAX_HEADER: usize = 8 * 1024;

const ID: &str = "client_id";
const SECRET: &str = "client_secret";

/// Who calls.
#[derive(Clone, Debug)]
pub(super) struct Credentials {
    pub(super) client_id: String,
    pub(super) client_secret: Secret<String>,
}

/// Where it was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Header,
    Query,
}

/// The first pair of id and secret, both there and not empty. A pair that is there twice in one place could be read as
/// either by whoever stands before or behind the gate, so it is none.
pub(super) fn find(sources: Sources, head: &RequestHead) -> Option<(Credentials, Place)> {
    let in_header = || in_header(head).map(|found| (found, Place::Header));
    let in_query = || in_query(head.query()?).map(|found| (found, Place::Query));
    sources.header.then(in_header).flatten().or_else(|| sources.query.then(in_query).flatten())
}

/// `Authorization: Basic`. The parts are taken as they are: RFC 6749 section 2.3.1 has them form-encoded, RFC 7617 and
/// the callers of gateways do not.
fn in_header(head: &RequestHead) -> Option<Credentials> {
    let mut lines = head.headers.get_all(header::AUTHORIZATION).iter();
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
    let (id, secret) = std::str::from_utf8(plain.expose()).ok()?.split_once(':')?;
    pair(id.to_owned(), secret.to_owned())
}

fn in_query(query: &str) -> Option<Credentials> {
    let (mut id, mut secret) = (None, None);
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let place = match &*name {
            ID => &mut id,
            SECRET => &mut secret,
            _ => continue,
        };
        if place.replace(value.into_owned()).is_some() {
            return None;
        }
    }
    pair(id?, secret?)
}

fn pair(client_id: String, client_secret: String) -> Option<Credentials> {
    let client_secret = Secret::new(client_secret);
    let whole = !client_id.is_empty() && !client_secret.expose().is_empty();
    whole.then_some(Credentials { client_id, client_secret })
}

impl Place {
    /// Takes the credentials out of what goes upstream. The rest of the query keeps its bytes.
    pub(super) fn hide(self, head: &mut RequestHead) {
        match self {
            Self::Header => {
                head.headers.remove(header::AUTHORIZATION);
            }
            Self::Query => {
                let Some(query) = head.query() else { return };
                let kept: Vec<&str> = query.split('&').filter(|piece| !is_credential(piece)).collect();
                let mut target = head.path().to_owned();
                if !kept.is_empty() {
                    target.push('?');
                    target.push_str(&kept.join("&"));
                }
                // A part of a valid query is one.
                if let Ok(target) = PathAndQuery::from_maybe_shared(target) {
                    head.target = target;
                }
            }
        }
    }
}

fn is_credential(piece: &str) -> bool {
    let named = |(name, _): (std::borrow::Cow<'_, str>, _)| name == ID || name == SECRET;
    form_urlencoded::parse(piece.as_bytes()).next().is_some_and(named)
}

#[cfg(test)]
mod tests {
    use gateway::plugin::HostName;
    use http::{HeaderMap, HeaderValue, Method, Version};

    use super::*;

    const BOTH: Sources = Sources { header: true, query: true };

    fn head(target: &str, authorization: &[&str]) -> RequestHead {
        let mut headers = HeaderMap::new();
        for value in authorization {
            headers.append(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        RequestHead {
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

    fn found(head: &RequestHead) -> Option<(String, String, Place)> {
        let (credentials, place) = find(BOTH, head)?;
        Some((credentials.client_id, credentials.client_secret.expose().clone(), place))
    }

    #[test]
    fn the_header_goes_before_the_query_and_is_not_percent_decoded() {
        let both = head("/?client_id=q&client_secret=s", &[&basic("a%20b:c:d+e")]);
        assert_eq!(found(&both), Some(("a%20b".to_owned(), "c:d+e".to_owned(), Place::Header)));
        let query = head("/?x=1&client_id=a%20b&client_secret=c%26d", &["Bearer abc"]);
        assert_eq!(found(&query), Some(("a b".to_owned(), "c&d".to_owned(), Place::Query)));
        assert!(find(Sources { header: true, query: false }, &query).is_none());
        assert!(find(Sources { header: false, query: true }, &head("/", &[&basic("a:b")])).is_none());
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
            Place::Query.hide(&mut head);
            assert_eq!(head.target.as_str(), left);
        }
    }
}
