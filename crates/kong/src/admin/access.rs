use std::net::{IpAddr, SocketAddr};

use aws_lc_rs::digest;
use base::{Secret, same_bytes};
use http::{HeaderMap, StatusCode, header, request::Parts};

use crate::answer::Answer;

/// Where a key is presented.
const HEADER: &str = "kong-admin-token";
/// Shortest key, in characters.
const SHORTEST_KEY: usize = 12;

/// What a key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Everything.
    Admin,
    /// GET only, and no secrets.
    Viewer,
}

/// A configured key.
#[derive(Clone, Debug)]
pub struct AdminKey {
    /// What the client presents in `Kong-Admin-Token`.
    pub secret: Secret<String>,
    /// What it may do.
    pub role: Role,
}

/// Why the Admin API cannot be served like that.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// The key at this place, counted from 1, is too short.
    #[error("key {0} of Kong's Admin API is shorter than {SHORTEST_KEY} characters")]
    ShortKey(usize),
    /// The key at this place cannot stand in a header.
    #[error("key {0} of Kong's Admin API has characters that a header cannot carry")]
    Unsendable(usize),
    /// Others than this machine could ask, and nothing would stop them.
    #[error(
        "Kong's Admin API would be open to everybody on {0}: configure a key for it, or listen on loopback"
    )]
    Open(SocketAddr),
}

/// Who may ask, and from where. Without a key, everybody who reaches the API may do everything: see
/// [`Access::check_listen`].
#[derive(Debug)]
pub struct Access {
    /// Digests of the keys, all of one length, so that comparing them tells nothing.
    keys: Vec<([u8; 32], Role)>,
    /// Names beside addresses and `localhost` by which the API may be called.
    hosts: Vec<String>,
}

impl Access {
    /// With these keys, or none, and these further host names.
    ///
    /// # Errors
    ///
    /// A key that is too short or could never be presented.
    pub fn new(keys: &[AdminKey], hosts: Vec<String>) -> Result<Self, AccessError> {
        for (at, key) in keys.iter().enumerate() {
            let (at, text) = (at + 1, key.secret.expose());
            if text.chars().count() < SHORTEST_KEY {
                return Err(AccessError::ShortKey(at));
            }
            if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(AccessError::Unsendable(at));
            }
        }
        Ok(Self {
            keys: keys.iter().map(|key| (hash(key.secret.expose().as_bytes()), key.role)).collect(),
            hosts,
        })
    }

    /// Whether the API may be served on `address`. The process must not start where it may not.
    ///
    /// # Errors
    ///
    /// [`AccessError::Open`]: there is no key, and the address is not loopback.
    pub fn check_listen(&self, address: SocketAddr) -> Result<(), AccessError> {
        if self.keys.is_empty() && !address.ip().is_loopback() {
            Err(AccessError::Open(address))
        } else {
            Ok(())
        }
    }

    /// The role of the key in `Kong-Admin-Token`, and nowhere else.
    pub(crate) fn role(&self, headers: &HeaderMap) -> Result<Role, Answer> {
        if self.keys.is_empty() {
            return Ok(Role::Admin);
        }
        let refused = || {
            Answer::message(
                StatusCode::UNAUTHORIZED,
                "Invalid credentials. Token or User credentials required",
            )
        };
        let mut presented = headers.get_all(HEADER).iter();
        let key = hash(presented.next().ok_or_else(refused)?.as_bytes());
        // All are compared, so that the time does not tell which one it was.
        let mut role = None;
        for (known, its_role) in &self.keys {
            if same_bytes(known, &key) {
                role = role.or(Some(*its_role));
            }
        }
        role.filter(|_| presented.next().is_none()).ok_or_else(refused)
    }

    /// Refuses what a web page could make a browser send: requests of another origin, and names that somebody else's
    /// DNS may point here (DNS rebinding).
    pub(crate) fn check_origin(&self, parts: &Parts) -> Result<(), Answer> {
        let refuse = |why: &str| Err(Answer::message(StatusCode::FORBIDDEN, why));
        let Some(host) = authority(parts).filter(|host| self.knows(host)) else {
            return refuse("the Host is neither localhost, an IP address, nor a configured name");
        };
        let sites = parts.headers.get_all("sec-fetch-site");
        if sites.iter().any(|site| site != "same-origin" && site != "none") {
            return refuse("requests of other sites are not accepted");
        }
        for origin in parts.headers.get_all(header::ORIGIN) {
            let origin = origin.to_str().unwrap_or_default();
            let own = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
            if own.is_none_or(|own| !own.eq_ignore_ascii_case(host)) {
                return refuse("requests of other origins are not accepted");
            }
        }
        Ok(())
    }

    fn knows(&self, authority: &str) -> bool {
        let name = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((address, port)) if port.is_empty() || port.starts_with(':') => address,
            Some(_) => return false,
            None => authority.split_once(':').map_or(authority, |(name, _)| name),
        };
        name.parse::<IpAddr>().is_ok()
            || name.eq_ignore_ascii_case("localhost")
            || self.hosts.iter().any(|host| host.eq_ignore_ascii_case(name))
    }
}

/// HTTP/2 names the host in its pseudo-header, HTTP/1.1 in exactly one `Host`.
fn authority(parts: &Parts) -> Option<&str> {
    let mut lines = parts.headers.get_all(header::HOST).iter();
    let line = lines.next().map(|line| line.to_str().unwrap_or_default());
    if lines.next().is_some() {
        return None;
    }
    match (parts.uri.authority().map(http::uri::Authority::as_str), line) {
        (Some(authority), Some(line)) if !authority.eq_ignore_ascii_case(line) => None,
        (Some(authority), _) => Some(authority),
        (None, line) => line,
    }
}

fn hash(key: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    let digest = digest::digest(&digest::SHA256, key);
    out.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> AdminKey {
        AdminKey { secret: Secret::new(text.to_owned()), role: Role::Admin }
    }

    #[test]
    fn a04_without_a_key_only_loopback_is_listened_on() {
        let open = Access::new(&[], Vec::new()).unwrap();
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        assert_eq!(open.check_listen(address("127.0.0.1:8001")), Ok(()));
        assert_eq!(open.check_listen(address("[::1]:8001")), Ok(()));
        for public in ["0.0.0.0:8001", "10.0.0.1:8001", "[::]:8001"] {
            assert_eq!(open.check_listen(address(public)), Err(AccessError::Open(address(public))));
        }
        let closed = Access::new(&[key("a-good-key-of-mine")], Vec::new()).unwrap();
        assert_eq!(closed.check_listen(address("0.0.0.0:8001")), Ok(()));
    }

    #[test]
    fn a03_short_and_unsendable_keys_are_refused() {
        assert_eq!(Access::new(&[key("short")], Vec::new()).unwrap_err(), AccessError::ShortKey(1));
        assert_eq!(
            Access::new(&[key("with a space inside")], Vec::new()).unwrap_err(),
            AccessError::Unsendable(1)
        );
    }

    #[test]
    fn a06_only_addresses_localhost_and_configured_names_are_hosts() {
        let access = Access::new(&[], vec!["kong".to_owned()]).unwrap();
        for good in ["localhost:8001", "127.0.0.1:8001", "[::1]:8001", "kong:8001", "KONG"] {
            assert!(access.knows(good), "{good}");
        }
        for bad in
            ["evil.com", "localhost.evil.com", "kong.evil.com:8001", "127.0.0.1.evil.com", "", "kong@evil"]
        {
            assert!(!access.knows(bad), "{bad}");
        }
    }
}
