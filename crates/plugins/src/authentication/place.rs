use std::borrow::Cow;

use gateway::plugin::RequestHead;
use http::{HeaderName, header, uri::PathAndQuery};

/// Where a credential may stand in a request, in the order in which it is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// A header.
    pub header: Option<HeaderName>,
    /// A query argument.
    pub query: Option<String>,
    /// A cookie.
    pub cookie: Option<String>,
}

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found<'a> {
    /// The credential.
    One(Cow<'a, str>),
    /// No place has one.
    Nothing,
    /// A place has more than one, or one that is no text.
    Unclear,
}

impl Places {
    pub(crate) fn find<'a>(&self, head: &'a RequestHead) -> Found<'a> {
        let mut lines = self.header.iter().flat_map(|name| head.headers.get_all(name).iter());
        if let Some(line) = lines.next() {
            return match (line.to_str(), lines.next()) {
                (Ok(text), None) => Found::One(Cow::Borrowed(text)),
                _ => Found::Unclear,
            };
        }
        if let Some(name) = &self.query {
            let mut values = pairs(head.query()).filter(|(_, key, _)| key == name).map(|(_, _, value)| value);
            match (values.next(), values.next()) {
                (None, _) => {}
                (Some(value), None) => return Found::One(value),
                (Some(_), Some(_)) => return Found::Unclear,
            }
        }
        let Some(name) = &self.cookie else { return Found::Nothing };
        let mut values = head.cookies(name);
        match (values.next(), values.next()) {
            (None, _) => Found::Nothing,
            (Some(value), None) => Found::One(Cow::Borrowed(value)),
            (Some(_), Some(_)) => Found::Unclear,
        }
    }

    /// Takes credentials out of every place, also those that were not looked at.
    pub(crate) fn clear(&self, head: &mut RequestHead) {
        if let Some(name) = &self.header {
            head.headers.remove(name);
        }
        if let Some(name) = &self.query
            && pairs(head.query()).any(|(_, key, _)| key == name.as_str())
        {
            let kept: Vec<&str> =
                pairs(head.query()).filter(|(_, key, _)| key != name).map(|(raw, ..)| raw).collect();
            let mut target = head.path().to_owned();
            if !kept.is_empty() {
                target.push('?');
                target.push_str(&kept.join("&"));
            }
            if let Ok(target) = PathAndQuery::from_maybe_shared(target) {
                head.target = target;
            }
        }
        if let Some(cookie) = &self.cookie
            && head.headers.contains_key(header::COOKIE)
        {
            head.remove_cookies(|name| name == cookie);
        }
    }
}

/// The arguments of a query: as they came, and name and value decoded as HTML forms are encoded.
fn pairs(query: Option<&str>) -> impl Iterator<Item = (&str, Cow<'_, str>, Cow<'_, str>)> {
    query.unwrap_or_default().split('&').filter(|raw| !raw.is_empty()).map(|raw| {
        let (key, value) = form_urlencoded::parse(raw.as_bytes()).next().unwrap_or_default();
        (raw, key, value)
    })
}

#[cfg(test)]
mod tests {
    use gateway::plugin::HostName;
    use http::{HeaderMap, HeaderValue, Method, Version};

    use super::*;

    fn head(target: &str, headers: &[(&'static str, &'static str)]) -> RequestHead {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        RequestHead {
            named: None,
            method: Method::GET,
            target: target.parse().unwrap(),
            host: HostName::parse(&HeaderValue::from_static("a")).unwrap(),
            headers: map,
            version: Version::HTTP_11,
            websocket: false,
            sending: Default::default(),
        }
    }

    fn places() -> Places {
        Places {
            header: Some(HeaderName::from_static("apikey")),
            query: Some("key".to_owned()),
            cookie: Some("c".to_owned()),
        }
    }

    #[test]
    fn a_credential_is_found_in_the_first_place_that_has_one() {
        let found = |target: &str, headers: &[(&'static str, &'static str)]| {
            let head = head(target, headers);
            match places().find(&head) {
                Found::One(text) => text.into_owned(),
                other => format!("{other:?}"),
            }
        };
        assert_eq!(found("/?key=q", &[("apikey", "h"), ("cookie", "c=c")]), "h");
        assert_eq!(found("/?a=1&k%65y=q%20+x", &[("cookie", "c=c")]), "q  x");
        assert_eq!(found("/?a=1", &[("cookie", "b=1; c=c")]), "c");
        assert_eq!(found("/", &[]), "Nothing");
        assert_eq!(found("/?key", &[]), "");
    }

    #[test]
    fn h19_two_credentials_in_one_place_are_none() {
        for (target, headers) in [
            ("/", &[("apikey", "a"), ("apikey", "b")][..]),
            ("/", &[("apikey", "a"), ("apikey", "a")]),
            ("/?key=a&k%65y=b", &[]),
            ("/", &[("cookie", "c=1; c=2")]),
        ] {
            assert_eq!(places().find(&head(target, headers)), Found::Unclear, "{target} {headers:?}");
        }
    }

    #[test]
    fn what_is_hidden_is_hidden_everywhere_and_the_rest_keeps_its_bytes() {
        let mut head = head(
            "/x?a=%31&key=q&b&k%65y=2&c=+",
            &[("apikey", "h"), ("apikey", "i"), ("cookie", "c=c; d=1"), ("other", "o")],
        );
        places().clear(&mut head);
        assert_eq!(head.target, "/x?a=%31&b&c=+");
        assert_eq!(head.headers["cookie"], "d=1");
        assert!(!head.headers.contains_key("apikey") && head.headers.contains_key("other"));
        let mut only = self::head("/x?key=q", &[]);
        places().clear(&mut only);
        assert_eq!(only.target, "/x");
    }
}
