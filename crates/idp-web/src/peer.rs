//! Where a request comes from, as far as somebody trustworthy says it.

use std::net::IpAddr;

use axum::http::{HeaderMap, HeaderName};
use ipnet::IpNet;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The address behind `peer`, the connection's other end. Where that is a trusted proxy, the last address of
/// `X-Forwarded-For` that is not a trusted proxy's itself: everything before it may be the client's own invention.
pub(crate) fn address(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |address: &IpAddr| trusted.iter().any(|network| network.contains(address));
    let mut address = peer.to_canonical();
    let lines = headers.get_all(&X_FORWARDED_FOR).iter();
    let entries: Vec<&str> =
        lines.flat_map(|line| line.to_str().unwrap_or_default().split(',')).map(str::trim).collect();
    for entry in entries.into_iter().rev() {
        if !is_trusted(&address) {
            break;
        }
        let Ok(next) = entry.parse::<IpAddr>() else { break };
        address = next.to_canonical();
    }
    address
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn of(peer: &str, lines: &[&'static str]) -> String {
        let trusted = ["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(X_FORWARDED_FOR, HeaderValue::from_static(line));
        }
        address(peer.parse().unwrap(), &headers, &trusted).to_string()
    }

    #[test]
    fn h08_only_trusted_proxies_say_who_is_behind_them() {
        assert_eq!(of("192.0.2.1", &["198.51.100.7"]), "192.0.2.1");
        assert_eq!(of("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(of("::ffff:10.0.0.1", &["198.51.100.7"]), "198.51.100.7");
        assert_eq!(of("10.0.0.1", &["203.0.113.9, 198.51.100.7"]), "198.51.100.7");
        assert_eq!(of("10.0.0.1", &["203.0.113.9", "198.51.100.7,10.0.0.2"]), "198.51.100.7");
        assert_eq!(of("10.0.0.1", &["198.51.100.7, unknown"]), "10.0.0.1");
    }
}
