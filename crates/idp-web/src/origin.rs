//! Which host a request is for.

use std::{fmt, net::Ipv6Addr};

use axum::http::{HeaderMap, Uri, header, uri::Authority};

/// The host and port that a request names, in one form: lower case, no trailing dot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Destination {
    host: String,
    port: Option<u16>,
}

impl Destination {
    /// Reads the destination of a request: the authority of an absolute-form or HTTP/2 target, and `Host`, which must
    /// then agree (RFC 9112 section 3.2.2 lets the target win, but a proxy before us may have gone by the other).
    /// `None` for two `Host` headers, user information, or anything else that is no host.
    pub(crate) fn of(uri: &Uri, headers: &HeaderMap) -> Option<Self> {
        let mut hosts = headers.get_all(header::HOST).iter();
        let host = hosts.next().map(|value| value.to_str().ok().and_then(Self::parse));
        if hosts.next().is_some() {
            return None;
        }
        let target = uri.authority().map(|authority| Self::parse(authority.as_str()));
        match (target, host) {
            (Some(target), Some(host)) => target.filter(|target| Some(target) == host.as_ref()),
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => None,
        }
    }

    /// Reads `host` or `host:port`.
    fn parse(text: &str) -> Option<Self> {
        if text.len() > 255 || text.contains(['@', '%', '/', '\\', '?', '#']) || text.ends_with(':') {
            return None;
        }
        let authority: Authority = text.parse().ok()?;
        let host = authority.host();
        let plain = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        let port = match text.strip_prefix(host)?.strip_prefix(':') {
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => Some(digits.parse().ok()?),
            Some(_) => return None,
            None => None,
        };
        is_host(&plain).then_some(Self { host: plain, port })
    }

    /// Whether browsers may be told to come by https only from now on (RFC 6797 section 8.1.1 exempts addresses; a
    /// policy for `localhost` would shut out every plain server of the machine, whatever its port).
    pub(crate) fn is_public_name(&self) -> bool {
        let local = self.host == "localhost" || self.host.ends_with(".localhost");
        !local && !self.host.starts_with('[') && self.host.parse::<std::net::Ipv4Addr>().is_err()
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

fn is_host(host: &str) -> bool {
    let named = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => !host.is_empty() && !host.starts_with('.') && host.bytes().all(named),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn of(target: &str, hosts: &[&[u8]]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(header::HOST, HeaderValue::from_bytes(host).unwrap());
        }
        Destination::of(&target.parse().unwrap(), &headers).map(|destination| destination.to_string())
    }

    #[test]
    fn h17_one_host_is_read_in_one_form() {
        for same in [&b"LocalHost:9400"[..], b"localhost.:9400", b"localhost:09400"] {
            assert_eq!(of("/", &[same]).as_deref(), Some("localhost:9400"), "{same:?}");
        }
        assert_eq!(of("/", &[b"[::1]:9400"]).as_deref(), Some("[::1]:9400"));
        assert_eq!(of("/", &[b"id.example.com"]).as_deref(), Some("id.example.com"));
        assert_eq!(of("http://localhost:9400/x", &[b"LOCALHOST:9400"]).as_deref(), Some("localhost:9400"));
        assert_eq!(of("http://localhost:9400/x", &[]).as_deref(), Some("localhost:9400"));
    }

    #[test]
    fn h17_what_is_no_single_host_is_refused() {
        let bad: [&[&[u8]]; 12] = [
            &[],
            &[b""],
            &[b"a", b"a"],
            &[b"a", b"b"],
            &[b"a@b"],
            &[b"a:b"],
            &[b"a:"],
            &[b"a:99999"],
            &[b"[fe80::1%25eth0]:80"],
            &[b"a/b"],
            &[b"a%00b"],
            &[b"."],
        ];
        for hosts in bad {
            assert_eq!(of("/", hosts), None, "{hosts:?}");
        }
        assert_eq!(of("http://a/x", &[b"b"]), None);
    }

    #[test]
    fn only_public_names_are_pinned_to_https() {
        let named = |host: &str| Destination::parse(host).unwrap().is_public_name();
        assert!(named("id.example.com"));
        for local in ["localhost", "a.localhost:9401", "127.0.0.1", "[::1]:9401"] {
            assert!(!named(local), "{local}");
        }
    }
}
