//! The path that the upstream sees: what the route matched is taken off the front, and the path of the service put
//! before the rest. What the client asked for it is told in a header.
//!
//! It runs after every plugin that judges the request, so that they all see the path that was matched.

use std::{any::Any, sync::Arc};

use gateway::{
    error::ConfigError,
    plugin::{Flow, Phases, Plugin, PluginRequest, RequestHead},
};
use http::{HeaderName, HeaderValue, StatusCode, uri::PathAndQuery};
use regex::Regex;

const X_FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
const X_FORWARDED_PATH: HeaderName = HeaderName::from_static("x-forwarded-path");

/// How a path becomes the upstream's.
#[derive(Clone, Debug)]
pub struct Config {
    /// What is taken off: what the first pattern that fits matches, else the longest beginning that fits; empty: the
    /// path stays whole.
    pub strip: Vec<Strip>,
    /// What is put before it: a path in normal form.
    pub base: String,
    /// How the two become one.
    pub joint: Joint,
}

/// How the service's path and what is left of the request's become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Joint {
    /// With one slash between them.
    #[default]
    Slash,
    /// As they are; of two slashes that meet, one goes. A path that nothing was taken off loses its first.
    Bare,
}

/// What is taken off a path.
#[derive(Clone, Debug)]
pub enum Strip {
    /// This beginning.
    Prefix(String),
    /// What this pattern matches, which is anchored at the beginning.
    Pattern(Regex),
}

/// The compiled form.
#[derive(Debug)]
struct UpstreamPath {
    patterns: Vec<Regex>,
    /// Longest first, each with its value of `X-Forwarded-Prefix`.
    strip: Vec<(String, Option<HeaderValue>)>,
    base: String,
    joint: Joint,
    /// Whether every path stays as it is.
    stays: bool,
}

/// Compiles `config`.
///
/// # Errors
///
/// When `base` is not an absolute path.
pub fn compile(config: Config) -> Result<Arc<dyn Plugin>, ConfigError> {
    let Config { strip: all, base, joint } = config;
    let (mut strip, mut patterns) = (Vec::new(), Vec::new());
    for one in all {
        match one {
            Strip::Prefix(prefix) => strip.push(prefix),
            Strip::Pattern(pattern) => patterns.push(pattern),
        }
    }
    if !base.starts_with('/') || has_dot_segment(&base) || PathAndQuery::try_from(base.as_str()).is_err() {
        return Err(ConfigError::new("path", "it is not an absolute path without dot segments"));
    }
    let stays = base == "/" && patterns.is_empty() && strip.iter().all(|prefix| prefix == "/");
    strip.sort_by_key(|prefix| std::cmp::Reverse(prefix.len()));
    let named = |prefix: String| {
        let header = (prefix != "/").then(|| HeaderValue::from_str(&prefix).ok()).flatten();
        (prefix, header)
    };
    let strip = strip.into_iter().map(named).collect();
    Ok(Arc::new(UpstreamPath { patterns, strip, base, joint, stays }))
}

impl Plugin for UpstreamPath {
    fn name(&self) -> &'static str {
        "upstream-path"
    }

    fn phases(&self) -> Phases {
        Phases::ACCESS
    }

    fn access(&self, request: &mut PluginRequest<'_>) -> Flow {
        tell_path(request.head);
        if self.stays || request.head.sending.is_upstream_path {
            return Flow::Continue;
        }
        match self.rewrite_head(request.head) {
            Ok(()) => Flow::Continue,
            Err(why) => Flow::respond(request.error(StatusCode::BAD_REQUEST, why)),
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Tells the upstream the path of this moment, unless it is told one: by a plugin that changed the path since, or by a
/// proxy that is trusted. What others say of it is gone by now.
pub(crate) fn tell_path(head: &mut RequestHead) {
    if !head.headers.contains_key(X_FORWARDED_PATH)
        && let Ok(path) = HeaderValue::from_str(head.path())
    {
        head.headers.insert(X_FORWARDED_PATH, path);
    }
}

impl UpstreamPath {
    fn rewrite_head(&self, head: &mut RequestHead) -> Result<(), &'static str> {
        let path = head.path();
        let stripped = self.stripped(path);
        let mut target = match stripped {
            _ if self.joint == Joint::Bare => {
                let whole = || path.strip_prefix('/').unwrap_or(path);
                self.append(stripped.as_ref().map_or_else(whole, |(rest, _)| rest))
            }
            Some((rest, _)) => self.join(path, rest),
            None if self.base == "/" => path.to_owned(),
            None if self.base.ends_with('/') => {
                format!("{}{}", self.base, path.strip_prefix('/').unwrap_or(path))
            }
            None if path == "/" => self.base.clone(),
            None => format!("{}{path}", self.base),
        };
        // `/r../x` begins with `/r` like `/r/x` does, and must not become `/../x` (the upstream would resolve it to a
        // path that nobody judged).
        if has_dot_segment(&target) {
            return Err("the path has dot segments where the route's prefix ends");
        }
        let prefix = stripped.and_then(|(_, header)| header);
        if let Some(query) = head.query() {
            target.push('?');
            target.push_str(query);
        }
        head.target = PathAndQuery::from_maybe_shared(target).map_err(|_| "the path is not a path")?;
        head.headers.remove(X_FORWARDED_PREFIX);
        head.headers.extend(prefix.map(|prefix| (X_FORWARDED_PREFIX, prefix)));
        Ok(())
    }

    /// What is left of a path, and what was taken off it.
    fn stripped<'p>(&self, path: &'p str) -> Option<(&'p str, Option<HeaderValue>)> {
        let pattern = self.patterns.iter().find_map(|pattern| pattern.find(path));
        if let Some(found) = pattern.filter(|found| found.start() == 0) {
            let header = (found.len() > 1).then(|| HeaderValue::from_str(found.as_str()).ok()).flatten();
            return Some((path.get(found.end()..)?, header));
        }
        let strips = |(prefix, header): &(String, Option<HeaderValue>)| {
            Some((path.strip_prefix(prefix.as_str())?, header.clone()))
        };
        self.strip.iter().find_map(strips)
    }

    /// The base, and `rest` right behind it.
    fn append(&self, rest: &str) -> String {
        let bare = self.base.strip_suffix('/').filter(|_| rest.starts_with('/'));
        format!("{}{rest}", bare.unwrap_or(&self.base))
    }

    /// The base and what is left of `path`, with one slash between them; a slash at the end of `path` stays.
    fn join(&self, path: &str, rest: &str) -> String {
        let bare = self.base.strip_suffix('/').unwrap_or(&self.base);
        if rest.is_empty() {
            let keeps = path.ends_with('/') && (path.len() > 1 || self.base.ends_with('/'));
            let slash = if keeps || bare.is_empty() { "/" } else { "" };
            return format!("{bare}{slash}");
        }
        let slash = if rest.starts_with('/') { "" } else { "/" };
        format!("{bare}{slash}{rest}")
    }
}

/// Whether a server would resolve part of `path` away.
pub(crate) fn has_dot_segment(path: &str) -> bool {
    path.split('/').any(|segment| matches!(segment.split(';').next(), Some("." | "..")))
}

#[cfg(test)]
mod tests {
    use gateway::plugin::HostName;
    use http::{HeaderMap, Method, Version};

    use super::*;

    fn rewritten(strip: &[&str], base: &str, target: &str) -> Result<(String, HeaderMap), &'static str> {
        joined(Joint::Slash, strip, base, target)
    }

    fn joined(
        joint: Joint,
        strip: &[&str],
        base: &str,
        target: &str,
    ) -> Result<(String, HeaderMap), &'static str> {
        let mut head = RequestHead {
            named: None,
            method: Method::GET,
            target: target.parse().unwrap(),
            host: HostName::parse(&HeaderValue::from_static("a")).unwrap(),
            headers: HeaderMap::from_iter([(X_FORWARDED_PREFIX, HeaderValue::from_static("/evil"))]),
            version: Version::HTTP_11,
            websocket: false,
            sending: Default::default(),
        };
        let one = |text: &&str| match text.strip_prefix('~') {
            Some(pattern) => Strip::Pattern(gateway::path_pattern(pattern).unwrap()),
            None => Strip::Prefix((*text).to_owned()),
        };
        let config = Config { strip: strip.iter().map(one).collect(), base: base.to_owned(), joint };
        let plugin = compile(config).unwrap();
        plugin.as_any().downcast_ref::<UpstreamPath>().unwrap().rewrite_head(&mut head)?;
        Ok((head.target.to_string(), head.headers))
    }

    #[test]
    fn paths_are_joined_as_kong_joins_them() {
        for (strip, base, sent, seen) in [
            (&["/r"][..], "/s", "/r/x", "/s/x"),
            (&["/r"], "/s", "/r", "/s"),
            (&["/r"], "/s", "/r/", "/s/"),
            (&["/r"], "/s", "/rx", "/s/x"),
            (&["/r"], "/s/", "/r", "/s"),
            (&["/r"], "/s/", "/r/", "/s/"),
            (&["/r"], "/s/", "/r/x", "/s/x"),
            (&["/r"], "/", "/r", "/"),
            (&["/r"], "/", "/r/x/", "/x/"),
            (&["/r/"], "/", "/r/x", "/x"),
            (&["/"], "/s", "/", "/s"),
            (&["/"], "/s/", "/", "/s/"),
            (&["/"], "/s", "/x", "/s/x"),
            (&["/"], "/", "/x", "/x"),
            (&["/r", "/r/a"], "/s", "/r/a/b?q=1", "/s/b?q=1"),
            (&[r"~/v\d+", "/"], "/s", "/v12/x?q", "/s/x?q"),
            (&[r"~/v\d+$"], "/s", "/v12", "/s"),
            (&[r"~/v\d+", "/r"], "/", "/r/x", "/x"),
            (&[], "/s", "/r/x?q", "/s/r/x?q"),
            (&[], "/s", "/", "/s"),
            (&[], "/s/", "/", "/s/"),
            (&[], "/", "/r/x", "/r/x"),
        ] {
            assert_eq!(rewritten(strip, base, sent).unwrap().0, seen, "{strip:?} {base} {sent}");
        }
    }

    #[test]
    fn paths_are_put_together_as_kongs_older_way_puts_them() {
        for (strip, base, sent, seen) in [
            (&["/r"][..], "/s", "/r/x", "/s/x"),
            (&["/r"], "/s", "/r", "/s"),
            (&["/r"], "/s", "/r/", "/s/"),
            (&["/r"], "/s", "/rx", "/sx"),
            (&["/r"], "/s/", "/r", "/s/"),
            (&["/r"], "/s/", "/r/x", "/s/x"),
            (&["/r"], "/", "/r", "/"),
            (&["/r/"], "/s", "/r/x?q", "/sx?q"),
            (&["/"], "/s", "/x", "/sx"),
            (&["/"], "/", "/x", "/x"),
            (&[r"~/v\d+"], "/s", "/v12y", "/sy"),
            (&[], "/s", "/r", "/sr"),
            (&[], "/s/", "/r?q", "/s/r?q"),
            (&[], "/s", "/", "/s"),
            (&[], "/", "/r/x", "/r/x"),
        ] {
            assert_eq!(joined(Joint::Bare, strip, base, sent).unwrap().0, seen, "{strip:?} {base} {sent}");
        }
        assert!(joined(Joint::Bare, &["/r"], "/s/", "/r../admin").is_err());
        assert!(joined(Joint::Bare, &["/r"], "/s", "/r/../admin").is_err());
    }

    #[test]
    fn h16_what_is_left_of_a_path_never_climbs() {
        for sent in ["/r../admin", "/r..", "/r./x", "/r..;a=b/admin"] {
            assert!(rewritten(&["/r"], "/s", sent).is_err(), "{sent}");
        }
        assert_eq!(rewritten(&["/r"], "/s", "/r..x/a").unwrap().0, "/s/..x/a");
    }

    #[test]
    fn the_upstream_is_told_what_was_taken_off_and_nothing_the_client_says() {
        assert_eq!(rewritten(&[r"~/v\d+"], "/s", "/v12/x").unwrap().1[X_FORWARDED_PREFIX], "/v12");
        assert_eq!(rewritten(&["/r"], "/s", "/r/x").unwrap().1[X_FORWARDED_PREFIX], "/r");
        assert!(!rewritten(&[], "/s", "/r/x").unwrap().1.contains_key(X_FORWARDED_PREFIX));
    }

    #[test]
    fn a_base_that_is_no_path_is_refused() {
        for base in ["", "s", "/a/../b", "/a b"] {
            let config = Config { strip: Vec::new(), base: base.to_owned(), joint: Joint::Slash };
            assert!(compile(config).is_err(), "{base}");
        }
    }
}
