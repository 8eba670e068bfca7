//! The two cookies of this provider, and what their attributes are for.

use axum::http::{HeaderMap, HeaderValue, header};

/// A cookie of ours by what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cookie {
    /// The login session: who is signed in at this tenant.
    Session,
    /// What stands for the session in [`crate::pages::CheckSession`]'s script: it opens nothing, and is no secret.
    State,
    /// A random value of this browser. Transactions and forms are bound to it, so that a login begun in one browser
    /// cannot be finished in another, and no other site can fill in our forms.
    Browser,
}

impl Cookie {
    /// Names start with `pc_idp`: the gate removes those from what it sends upstream. `__Host-` keeps plain http and
    /// neighbouring subdomains from setting them (RFC 6265bis section 4.1.3.2); browsers demand `Secure` for it.
    pub(crate) fn name(self, https: bool) -> &'static str {
        match (self, https) {
            (Self::Session, true) => "__Host-pc_idp",
            (Self::Session, false) => "pc_idp",
            (Self::State, true) => "__Host-pc_idp_state",
            (Self::State, false) => "pc_idp_state",
            (Self::Browser, true) => "__Host-pc_idp_browser",
            (Self::Browser, false) => "pc_idp_browser",
        }
    }

    /// The value the browser sent. `None` when there is none, when it is longer than any of ours, or when it comes
    /// twice: then one of them was planted from elsewhere.
    pub(crate) fn read(self, headers: &HeaderMap, https: bool) -> Option<&str> {
        let name = self.name(https);
        let mut values = headers
            .get_all(header::COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .filter(|(key, _)| *key == name)
            .map(|(_, value)| value);
        let value = values.next()?;
        let ours = (1..=256).contains(&value.len()) && value.bytes().all(is_token_byte);
        (ours && values.next().is_none()).then_some(value)
    }

    /// `Set-Cookie` for `value`, which must be base64url or a like alphabet; `max_age` in seconds, or until the
    /// browser is closed. `SameSite=Lax`: the client's redirect to `/authorize` is a cross-site navigation that must
    /// carry the session, a cross-site POST must not.
    pub(crate) fn set(self, value: &str, max_age: Option<u64>, https: bool) -> Option<HeaderValue> {
        let name = self.name(https);
        let attributes = self.attributes(https);
        let age = max_age.map(|seconds| format!("; Max-Age={seconds}")).unwrap_or_default();
        let safe = !value.is_empty() && value.bytes().all(is_token_byte);
        let text = format!("{name}={value}; {attributes}{age}");
        safe.then(|| HeaderValue::from_str(&text).ok()).flatten()
    }

    /// The state is for a script, in a frame of somebody else's page.
    const fn attributes(self, https: bool) -> &'static str {
        match (self, https) {
            (Self::State, true) => "Path=/; SameSite=None; Secure",
            (Self::State, false) => "Path=/; SameSite=Lax",
            (Self::Session | Self::Browser, true) => "Path=/; HttpOnly; SameSite=Lax; Secure",
            (Self::Session | Self::Browser, false) => "Path=/; HttpOnly; SameSite=Lax",
        }
    }

    /// `Set-Cookie` that removes it.
    pub(crate) fn clear(self, https: bool) -> Option<HeaderValue> {
        let text = format!("{}=; {}; Max-Age=0", self.name(https), self.attributes(https));
        HeaderValue::from_str(&text).ok()
    }
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(cookies: &[&str]) -> HeaderMap {
        cookies.iter().map(|cookie| (header::COOKIE, HeaderValue::from_str(cookie).unwrap())).collect()
    }

    #[test]
    fn r22_cookies_are_locked_to_this_host_and_hidden_from_scripts() {
        let https = Cookie::Session.set("abc", Some(60), true).unwrap();
        assert_eq!(https, "__Host-pc_idp=abc; Path=/; HttpOnly; SameSite=Lax; Secure; Max-Age=60");
        let http = Cookie::Browser.set("abc", None, false).unwrap();
        assert_eq!(http, "pc_idp_browser=abc; Path=/; HttpOnly; SameSite=Lax");
        assert_eq!(Cookie::Session.set("a;b", None, true), None);
        let state = Cookie::State.set("abc", None, true).unwrap();
        assert_eq!(state, "__Host-pc_idp_state=abc; Path=/; SameSite=None; Secure");
        assert!(Cookie::Session.clear(true).unwrap().to_str().unwrap().ends_with("; Secure; Max-Age=0"));
    }

    #[test]
    fn o17_a_cookie_that_comes_twice_counts_as_none() {
        assert_eq!(Cookie::Session.read(&headers(&["a=1; pc_idp=x; b=2"]), false), Some("x"));
        assert_eq!(Cookie::Session.read(&headers(&["pc_idp=x; pc_idp=y"]), false), None);
        assert_eq!(Cookie::Session.read(&headers(&["pc_idp=x", "pc_idp=x"]), false), None);
        assert_eq!(Cookie::Session.read(&headers(&["pc_idp=x"]), true), None);
        assert_eq!(Cookie::Session.read(&headers(&["pc_idp=\"x\""]), false), None);
        assert_eq!(Cookie::Session.read(&headers(&["pc_idp="]), false), None);
    }
}
