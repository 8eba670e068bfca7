//! The host of a request: read once, compared in one form.

use std::{cell::RefCell, ops::Range};

use http::HeaderValue;

/// A checked host with its optional port. Nothing is copied when it is in lower case already.
#[derive(Clone, Debug)]
pub struct HostName {
    authority: HeaderValue,
    name: Name,
}

#[derive(Clone, Debug)]
enum Name {
    Part(Range<usize>),
    Folded(Box<str>),
}

impl HostName {
    /// Reads the value of `Host` or `:authority`: a name, an IPv4 address or a bracketed IPv6 address without zone,
    /// and an optional port. `None` for everything else, user information included (RFC 9112 section 3.2).
    pub fn parse(value: &HeaderValue) -> Option<Self> {
        let text = value.to_str().ok()?;
        let (name, port) = split_port(text)?;
        let valid_port = port.is_none_or(|port| {
            port.bytes().all(|byte| byte.is_ascii_digit()) && (port.is_empty() || port.parse::<u16>().is_ok())
        });
        if name.is_empty() || name.len() > 255 || !valid_port || !is_host(name) {
            return None;
        }
        let plain = name.strip_suffix('.').unwrap_or(name);
        if plain.is_empty() {
            return None;
        }
        let name = if plain.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Name::Folded(plain.to_ascii_lowercase().into())
        } else {
            Name::Part(0..plain.len())
        };
        Some(Self { authority: value.clone(), name })
    }

    /// Host without port: lower case, no trailing dot.
    pub fn name(&self) -> &str {
        match &self.name {
            Name::Part(range) => self.authority().get(range.clone()).unwrap_or_default(),
            Name::Folded(name) => name,
        }
    }

    /// Host and port as the client wrote them.
    pub fn authority(&self) -> &str {
        self.authority.to_str().unwrap_or_default()
    }

    /// The header value this was read from.
    pub fn as_header(&self) -> &HeaderValue {
        &self.authority
    }

    /// The port, if one was named.
    pub fn port(&self) -> Option<u16> {
        split_port(self.authority()).and_then(|(_, port)| port).and_then(|port| port.parse().ok())
    }
}

/// The host that the last request of a connection named, which is most likely what the next one names.
#[derive(Debug, Default)]
pub(crate) struct LastHost(RefCell<Option<HostName>>);

impl LastHost {
    /// What [`HostName::parse`] makes of `text`.
    pub(crate) fn parse(&self, text: &[u8]) -> Option<HostName> {
        if let Some(last) = &*self.0.borrow()
            && last.authority.as_bytes() == text
        {
            return Some(last.clone());
        }
        // A copy: what is remembered must not keep the whole head in memory.
        let host = HostName::parse(&HeaderValue::from_bytes(text).ok()?)?;
        *self.0.borrow_mut() = Some(host.clone());
        Some(host)
    }
}

fn split_port(text: &str) -> Option<(&str, Option<&str>)> {
    if text.starts_with('[') {
        let end = text.find(']')?;
        let (host, rest) = text.split_at_checked(end + 1)?;
        return match rest.strip_prefix(':') {
            Some(port) => Some((host, Some(port))),
            None if rest.is_empty() => Some((host, None)),
            None => None,
        };
    }
    match text.split_once(':') {
        Some((host, port)) => Some((host, Some(port))),
        None => Some((text, None)),
    }
}

fn is_host(name: &str) -> bool {
    match name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            // No dot at the beginning, and none behind another.
            let mut label_begins = true;
            name.bytes().all(|byte| {
                let belongs = match byte {
                    b'.' => !label_begins,
                    b'-' | b'_' | b'~' => true,
                    other => other.is_ascii_alphanumeric(),
                };
                label_begins = byte == b'.';
                belongs
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<(String, Option<u16>)> {
        HostName::parse(&HeaderValue::from_str(text).unwrap())
            .map(|host| (host.name().to_owned(), host.port()))
    }

    #[test]
    fn a_host_is_read_like_the_last_one_only_where_it_is_the_same() {
        let last = LastHost::default();
        let read = |text: &str| last.parse(text.as_bytes()).map(|host| host.name().to_owned());
        for text in ["A.example:80", "A.example:80", "a.example:80", "a.example:8", "A.example"] {
            assert_eq!(read(text).as_deref(), Some("a.example"), "{text}");
        }
        assert_eq!(read("a.example:b"), None);
        assert_eq!(read("b.example").as_deref(), Some("b.example"));
    }

    #[test]
    fn h17_a_host_has_one_form_or_none() {
        assert_eq!(read("Example.COM:8080"), Some(("example.com".into(), Some(8080))));
        assert_eq!(read("example.com."), Some(("example.com".into(), None)));
        assert_eq!(read("[::1]:80"), Some(("[::1]".into(), Some(80))));
        for bad in [
            "",
            ".",
            ":80",
            "a@b",
            "a b",
            "[::1%25eth0]",
            "[::1",
            "a:99999",
            "a:b",
            "a:+80",
            "a/b",
            "a,b",
            "[a]",
            "a..",
            ".a",
            "a..b",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
