//! What calls to a provider's endpoints say beside what they need.

use std::{borrow::Cow, fmt};

use aws_lc_rs::digest;
use http::HeaderMap;

use super::Client;

/// What is said to a provider's endpoints beside what each call needs.
#[derive(Clone, Default, PartialEq)]
pub struct Further {
    /// Headers at the token endpoint.
    pub token_headers: HeaderMap,
    /// Headers at the introspection endpoint.
    pub introspection_headers: HeaderMap,
    /// Headers at the userinfo endpoint.
    pub userinfo_headers: HeaderMap,
    /// Arguments of the query at the userinfo endpoint.
    pub userinfo_query: Vec<(String, String)>,
}

impl Further {
    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        let Self { token_headers, introspection_headers, userinfo_headers, userinfo_query } = self;
        token_headers.is_empty()
            && introspection_headers.is_empty()
            && userinfo_headers.is_empty()
            && userinfo_query.is_empty()
    }

    /// Appends it to a text that things are told apart by. Every part has its length in front of it.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut part = |bytes: &[u8]| {
            out.extend_from_slice(&bytes.len().to_be_bytes());
            out.extend_from_slice(bytes);
        };
        for headers in [&self.token_headers, &self.introspection_headers, &self.userinfo_headers] {
            part(&headers.len().to_be_bytes());
            for (name, value) in headers {
                part(name.as_str().as_bytes());
                part(value.as_bytes());
            }
        }
        for (name, value) in &self.userinfo_query {
            part(name.as_bytes());
            part(value.as_bytes());
        }
    }
}

impl fmt::Debug for Further {
    /// A digest: configurations are told apart by it, and the values may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::new();
        self.write(&mut text);
        f.write_str("Further(")?;
        for byte in digest::digest(&digest::SHA256, &text).as_ref() {
            write!(f, "{byte:02x}")?;
        }
        f.write_str(")")
    }
}

impl Client {
    /// The client, in whose calls `more` is said as well. Of a header that both have, `more` has the value.
    pub fn saying(&self, more: &Further) -> Cow<'_, Self> {
        if more.is_empty() {
            return Cow::Borrowed(self);
        }
        let joined = |own: &HeaderMap, more: &HeaderMap| {
            let mut all = own.clone();
            more.keys().for_each(|name| drop(all.remove(name)));
            all.extend(more.iter().map(|(name, value)| (name.clone(), value.clone())));
            all
        };
        let own = &self.further;
        let mut userinfo_query = own.userinfo_query.clone();
        userinfo_query.retain(|(name, _)| !more.userinfo_query.iter().any(|(other, _)| other == name));
        userinfo_query.extend(more.userinfo_query.iter().cloned());
        let further = Further {
            token_headers: joined(&own.token_headers, &more.token_headers),
            introspection_headers: joined(&own.introspection_headers, &more.introspection_headers),
            userinfo_headers: joined(&own.userinfo_headers, &more.userinfo_headers),
            userinfo_query,
        };
        Cow::Owned(Self { further: further.into(), ..self.clone() })
    }
}

/// `url` with these arguments behind those that it has.
pub(super) fn with_query<'u>(url: &'u str, query: &[(String, String)]) -> Cow<'u, str> {
    if query.is_empty() {
        return Cow::Borrowed(url);
    }
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
    let joint = if url.contains('?') { '&' } else { '?' };
    Cow::Owned(format!("{url}{joint}{query}"))
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn no_two_of_them_look_alike_and_none_shows_what_it_says() {
        let one = Further { token_headers: headers(&[("x-a", "secret")]), ..Further::default() };
        let other = Further { userinfo_headers: headers(&[("x-a", "secret")]), ..Further::default() };
        let shorter = Further { token_headers: headers(&[("x-a", "secre")]), ..Further::default() };
        let all = [&one, &other, &shorter, &Further::default()].map(|further| format!("{further:?}"));
        for (at, text) in all.iter().enumerate() {
            assert!(!text.contains("secr"), "{text}");
            assert!(!all.iter().take(at).any(|before| before == text), "{text}");
        }
    }

    #[test]
    fn arguments_go_behind_those_that_are_there() {
        let query = [("a".to_owned(), "1 2".to_owned()), ("b".to_owned(), "&".to_owned())];
        assert_eq!(with_query("https://idp/u", &query), "https://idp/u?a=1+2&b=%26");
        assert_eq!(with_query("https://idp/u?x=y", &query), "https://idp/u?x=y&a=1+2&b=%26");
        assert_eq!(with_query("https://idp/u", &[]), "https://idp/u");
    }
}
