use std::net::IpAddr;

use aws_lc_rs::digest;
use base::{Secret, same_bytes};
use http::{HeaderMap, StatusCode, header, request::Parts};
use serde_json::json;

use crate::answer::Answer;

/// Keys that stand in APISIX's public documentation: anybody knows them (CVE-2020-13945).
const PUBLIC_KEYS: [&str; 2] = ["edd1c9f034335f136f87ad84b625c8f1", "4054f7cf07e344346cd3f287985e76a2"];
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

impl Role {
    /// As in the configuration and the audit log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Viewer => "viewer",
        }
    }
}

/// A configured key.
#[derive(Clone, Debug)]
pub struct AdminKey {
    /// What the client presents in `X-API-KEY`.
    pub secret: Secret<String>,
    /// What it may do.
    pub role: Role,
}

/// Why keys cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// There is none, so nobody could ever ask.
    #[error("the Admin API needs at least one key")]
    NoKey,
    /// The key at this place, counted from 1, is printed in APISIX's documentation.
    #[error("admin key {0} is the sample key of APISIX's documentation: anybody knows it; choose another")]
    PublicKey(usize),
    /// The key at this place is too short.
    #[error("admin key {0} is shorter than {SHORTEST_KEY} characters")]
    ShortKey(usize),
    /// The key at this place cannot stand in a header.
    #[error("admin key {0} has characters that a header cannot carry")]
    Unsendable(usize),
}

/// Who may use the Admin API: keys, and the names under which it may be reached from a browser.
#[derive(Debug)]
pub struct Access {
    /// Digests of the keys: comparing them takes the same time whatever is presented.
    keys: Vec<([u8; 32], Role)>,
    hosts: Vec<String>,
}

impl Access {
    /// `hosts` are names that `Host` may have besides `localhost` and IP addresses.
    pub fn new(keys: &[AdminKey], hosts: Vec<String>) -> Result<Self, AccessError> {
        if keys.is_empty() {
            return Err(AccessError::NoKey);
        }
        for (at, key) in keys.iter().enumerate() {
            let (at, text) = (at + 1, key.secret.expose());
            if PUBLIC_KEYS.contains(&text.as_str()) {
                return Err(AccessError::PublicKey(at));
            }
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

    /// Nobody has a key: for what is served to everybody on this machine, but not to web pages.
    pub(crate) const fn keyless() -> Self {
        Self { keys: Vec::new(), hosts: Vec::new() }
    }

    /// The role of the key in `X-API-KEY`, and nowhere else: keys in queries and cookies end in logs and in other
    /// sites' requests.
    pub(crate) fn role(&self, headers: &HeaderMap) -> Result<Role, Answer> {
        let mut presented = headers.get_all("x-api-key").iter();
        let Some(key) = presented.next().filter(|key| !key.is_empty()) else {
            return Err(denied(StatusCode::UNAUTHORIZED, "missing apikey"));
        };
        let key = hash(key.as_bytes());
        // All are compared, so that the time does not tell which one it was.
        let mut role = None;
        for (known, its_role) in &self.keys {
            if same_bytes(known, &key) {
                role = role.or(Some(*its_role));
            }
        }
        let only = presented.next().is_none();
        role.filter(|_| only).ok_or_else(|| denied(StatusCode::UNAUTHORIZED, "wrong apikey"))
    }

    /// Whether this request carries an administrator's key and comes from where it may. For handlers beside the
    /// Admin API that are guarded by the same keys; the error is status and body.
    pub fn authorize(&self, parts: &Parts) -> Result<Role, (StatusCode, String)> {
        self.check_origin(parts)
            .and_then(|()| self.role(&parts.headers))
            .map_err(|answer| (answer.status, format!("{}\n", answer.body)))
    }

    /// Refuses what a web page could make a browser send: requests of another origin, and names that somebody else's
    /// DNS may point here (DNS rebinding).
    pub(crate) fn check_origin(&self, parts: &Parts) -> Result<(), Answer> {
        let refuse = |why: &str| Err(Answer::error(StatusCode::FORBIDDEN, why));
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

/// 401 or 403 in APISIX's words.
pub(crate) fn denied(status: StatusCode, description: &str) -> Answer {
    Answer::new(status, json!({"error_msg": "failed to check token", "description": description}))
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
    fn a03_sample_empty_and_short_keys_are_refused() {
        let refused =
            |text: &str| Access::new(&[key("a-good-key-of-mine"), key(text)], Vec::new()).unwrap_err();
        assert_eq!(refused("edd1c9f034335f136f87ad84b625c8f1"), AccessError::PublicKey(2));
        assert_eq!(refused(""), AccessError::ShortKey(2));
        assert_eq!(refused("short"), AccessError::ShortKey(2));
        assert_eq!(refused("with a space inside"), AccessError::Unsendable(2));
        assert_eq!(Access::new(&[], Vec::new()).unwrap_err(), AccessError::NoKey);
    }

    #[test]
    fn a06_only_addresses_localhost_and_configured_names_are_hosts() {
        let access = Access::new(&[key("a-good-key-of-mine")], vec!["Admin.example.com".to_owned()]).unwrap();
        for good in
            ["localhost", "LOCALHOST:9180", "127.0.0.1:9180", "[::1]:9180", "[::1]", "admin.example.com:1"]
        {
            assert!(access.knows(good), "{good}");
        }
        for bad in [
            "evil.com",
            "localhost.evil.com",
            "127.0.0.1.evil.com:9180",
            "[::1]evil.com",
            "",
            "localhost@evil",
        ] {
            assert!(!access.knows(bad), "{bad}");
        }
    }
}
