//! What a target is chosen by, on routes whose upstream hashes something of the request that a text of variables cannot
//! say: who sent it, what a pattern found in its path, or a cookie that is made up for clients that have none.
//!
//! It runs after every plugin that judges the request and before its path becomes the upstream's.

use std::{any::Any, sync::Arc};

use base::Random;
use gateway::{
    plugin::{Flow, Phases, Plugin, PluginRequest},
    upstream::slot_hash,
};
use http::{HeaderName, HeaderValue, header::SET_COOKIE};
use regex::Regex;

use crate::request_id::uuid;

/// What is hashed: of these the first that the request has. Without any, targets take turns.
#[derive(Clone, Debug)]
pub struct Config {
    /// In the order in which they are looked for.
    pub sources: Vec<Source>,
}

/// A part of a request.
#[derive(Clone, Debug)]
pub enum Source {
    /// The id of the consumer that it was found to come from.
    Consumer,
    /// The client's address.
    Address,
    /// All values of a header.
    Header(HeaderName),
    /// A cookie. A client without it gets one.
    Cookie {
        /// Its name, a token.
        name: String,
        /// The path that clients send it to.
        path: String,
    },
    /// The path as it was matched.
    Path,
    /// All values of an argument of the query, sorted.
    Argument(String),
    /// What a named group found of the path, by the first of these patterns that fits.
    Capture {
        /// The name.
        name: String,
        /// Anchored at the beginning.
        patterns: Vec<Regex>,
    },
}

/// The compiled form.
struct HashKey {
    sources: Vec<Source>,
    random: Random,
}

/// Compiles `config`. What clients are given by `random` tells them apart and protects nothing.
pub fn compile(config: Config, random: &Random) -> Arc<dyn Plugin> {
    Arc::new(HashKey { sources: config.sources, random: random.clone() })
}

impl Plugin for HashKey {
    fn name(&self) -> &'static str {
        "hash-key"
    }

    fn phases(&self) -> Phases {
        Phases::ACCESS
    }

    fn access(&self, request: &mut PluginRequest<'_>) -> Flow {
        let hash = self.sources.iter().find_map(|source| self.hash(source, request));
        request.head.sending.hash = hash;
        Flow::Continue
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl HashKey {
    fn hash(&self, source: &Source, request: &mut PluginRequest<'_>) -> Option<u32> {
        let head = &*request.head;
        let of = |text: &str| slot_hash(text.as_bytes());
        match source {
            Source::Consumer => request.consumer().map(|consumer| of(&consumer.id)),
            Source::Address => Some(of(&request.peer.ip.to_string())),
            Source::Header(name) => {
                let mut values = head.headers.get_all(name).iter().map(HeaderValue::as_bytes);
                match (values.next()?, values.next()) {
                    (only, None) => Some(slot_hash(only)),
                    (first, Some(second)) => {
                        let all: Vec<&[u8]> = [first, second].into_iter().chain(values).collect();
                        Some(slot_hash(&all.join(&b", "[..])))
                    }
                }
            }
            Source::Cookie { name, path } => {
                if let Some(value) = head.cookies(name).next() {
                    return Some(of(value));
                }
                let value = uuid(self.random.bytes());
                let secure = if request.peer.https { "; Secure" } else { "" };
                let cookie = format!("{name}={value}; Path={path}; SameSite=Lax; HttpOnly{secure}");
                request.response.push((SET_COOKIE, HeaderValue::try_from(cookie).ok()?));
                Some(of(&value))
            }
            Source::Path => Some(of(head.path())),
            Source::Argument(name) => argument(head.query()?, name).map(|value| of(&value)),
            Source::Capture { name, patterns } => {
                let found = patterns.iter().find_map(|pattern| pattern.captures(head.path()))?;
                found.name(name).map(|found| of(found.as_str()))
            }
        }
    }
}

/// As Kong joins them: an argument without a value is `true`.
fn argument(query: &str, wanted: &str) -> Option<String> {
    let pieces = query.split('&').filter_map(|piece| {
        let (name, value) = form_urlencoded::parse(piece.as_bytes()).next()?;
        let value = if piece.contains('=') { value.into_owned() } else { "true".to_owned() };
        (name == wanted).then_some(value)
    });
    let mut values: Vec<String> = pieces.collect();
    values.sort();
    (!values.is_empty()).then(|| values.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_an_argument_are_sorted_and_joined() {
        assert_eq!(argument("a=2&b=3&a=1", "a").as_deref(), Some("1,2"));
        assert_eq!(argument("a&%61=x%20y", "a").as_deref(), Some("true,x y"));
        assert_eq!(argument("a=", "a").as_deref(), Some(""));
        assert_eq!(argument("ab=1", "a"), None);
    }
}
