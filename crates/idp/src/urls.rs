//! Which URLs a client may register, and what of a request's URL counts when it is compared with them.

use url::{Host, Url};

/// Schemes that a browser executes, displays or reads locally instead of going there.
const DANGEROUS: [&str; 8] =
    ["javascript", "data", "vbscript", "file", "blob", "about", "view-source", "filesystem"];

/// Whether `uri` may be registered as a callback: absolute, without fragment (RFC 6749 section 3.1.2), user name, white
/// space and control characters, with a harmless scheme. A scheme of one's own (RFC 8252 section 7.1) will do. Wildcards
/// are refused.
pub(crate) fn is_callback(uri: &str) -> bool {
    if uri.len() > 2048 || uri.contains('*') || uri.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return false;
    }
    let Ok(url) = Url::parse(uri) else { return false };
    let web = matches!(url.scheme(), "http" | "https");
    !DANGEROUS.contains(&url.scheme())
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none()
        && (!web || url.has_host())
        // `https:/host` and `HTTPS://host` would come out of a parser differently than they went in.
        && uri.starts_with(&format!("{}:{}", url.scheme(), if web { "//" } else { "" }))
}

/// Whether `uri` may be registered for logout: as a callback, and one `*` as the left-most label of the host.
pub(crate) fn is_logout_url(uri: &str) -> bool {
    match uri.split_once("://*.") {
        Some((scheme @ ("http" | "https"), rest)) => is_callback(&format!("{scheme}://w.{rest}")),
        _ => is_callback(uri),
    }
}

/// Whether `uri` is an origin: http or https, host and port, nothing else.
pub(crate) fn is_origin(uri: &str) -> bool {
    is_callback(uri) && Url::parse(uri).is_ok_and(|url| origin_of(&url) == uri)
}

/// Scheme, host and port of a web address, as browsers write origins.
pub(crate) fn origin_of(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// Whether the URL's host is this machine for the browser.
pub(crate) fn is_loopback(uri: &str) -> bool {
    match Url::parse(uri).ok().as_ref().and_then(Url::host) {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Whether `uri` is the `callback` of an installed application but for its port: on this machine it listens where there is
/// place at the moment (RFC 8252 section 7.3). All else is the same byte for byte.
pub(crate) fn differs_in_port_alone(callback: &str, uri: &str) -> bool {
    loopback_parts(callback).is_some_and(|known| loopback_parts(uri) == Some(known))
}

/// Host and what follows the port of an http address on this machine, given by number: a name may lead elsewhere (section
/// 8.3).
fn loopback_parts(uri: &str) -> Option<(&str, &str)> {
    let after = uri.strip_prefix("http://")?;
    let (host, rest) =
        ["127.0.0.1", "[::1]"].into_iter().find_map(|host| Some((host, after.strip_prefix(host)?)))?;
    let rest = match rest.strip_prefix(':') {
        None => rest,
        Some(rest) => {
            let (port, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
            let digits = port.bytes().all(|byte| byte.is_ascii_digit());
            port.parse::<u16>().ok().filter(|port| digits && *port > 0)?;
            rest
        }
    };
    (rest.is_empty() || rest.starts_with(['/', '?'])).then_some((host, rest))
}

/// Whether `/v2/logout` may return to `url` under the registered `pattern`: query and fragment do not count, the host's
/// case does not, and `*` stands for one or more labels.
pub(crate) fn matches_logout(pattern: &str, url: &str) -> bool {
    let Ok(url) = Url::parse(url) else { return false };
    if !url.username().is_empty() || url.password().is_some() {
        return false;
    }
    let wild = pattern.split_once("://*.").map(|(scheme, rest)| format!("{scheme}://w.{rest}"));
    let Ok(registered) = Url::parse(wild.as_deref().unwrap_or(pattern)) else { return false };
    let (Some(have), Some(want)) = (url.host_str(), registered.host_str()) else {
        // A scheme of one's own has no host to speak of.
        return wild.is_none() && strip(&url) == strip(&registered);
    };
    let host = match want.strip_prefix("w.").filter(|_| wild.is_some()) {
        Some(parent) => have.strip_suffix(parent).is_some_and(|left| left.len() > 1 && left.ends_with('.')),
        None => have == want,
    };
    host && url.scheme() == registered.scheme()
        && url.port_or_known_default() == registered.port_or_known_default()
        && url.path() == registered.path()
}

fn strip(url: &Url) -> Url {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn o02_dangerous_and_ambiguous_callbacks_cannot_be_registered() {
        for bad in [
            "javascript:alert(1)",
            "JavaScript:alert(1)",
            "java\tscript:alert(1)",
            "data:text/html,x",
            "vbscript:x",
            "file:///etc/passwd",
            "blob:https://a/b",
            "https://a/b#c",
            "https://user@a/b",
            "https://*.a/b",
            "https:a/b",
            "HTTPS://a/b",
            "/callback",
            "",
            "https://",
        ] {
            assert!(!is_callback(bad), "{bad:?}");
        }
        for good in
            ["http://localhost:9080/cb", "https://a.example/cb?x=1", "com.example.app:/cb", "app://cb"]
        {
            assert!(is_callback(good), "{good}");
        }
    }

    #[test]
    fn o15_logout_urls_match_without_query_and_with_one_wildcard() {
        assert!(matches_logout("https://a.example/out", "https://A.example/out?x=1#y"));
        assert!(!matches_logout("https://a.example/out", "https://a.example/Out"));
        assert!(!matches_logout("https://a.example/out", "https://a.example:444/out"));
        assert!(!matches_logout("https://a.example/out", "http://a.example/out"));
        assert!(!matches_logout("https://a.example/out", "https://u@a.example/out"));
        assert!(matches_logout("https://*.a.example/", "https://x.a.example/"));
        assert!(!matches_logout("https://*.a.example/", "https://a.example/"));
        assert!(!matches_logout("https://*.a.example/", "https://evila.example/"));
        assert!(!matches_logout("https://*.a.example/", "https://evil.example/.a.example/"));
        assert!(matches_logout("http://localhost:9080/", "http://localhost:9080"));
    }

    #[test]
    fn o01_on_this_machine_the_port_may_be_another_and_nothing_else() {
        for (callback, uri) in [
            ("http://127.0.0.1/cb", "http://127.0.0.1:51004/cb"),
            ("http://127.0.0.1:3000/cb?x=1", "http://127.0.0.1:1/cb?x=1"),
            ("http://127.0.0.1:3000/cb", "http://127.0.0.1/cb"),
            ("http://[::1]/cb", "http://[::1]:51004/cb"),
            ("http://127.0.0.1", "http://127.0.0.1:51004"),
        ] {
            assert!(differs_in_port_alone(callback, uri), "{uri}");
        }
        for (callback, uri) in [
            ("http://127.0.0.1/cb", "http://127.0.0.1:51004/other"),
            ("http://127.0.0.1/cb", "http://127.0.0.1:51004/cb/"),
            ("http://127.0.0.1/cb", "http://127.0.0.1:51004/cb?x=1"),
            ("http://127.0.0.1/cb", "https://127.0.0.1:51004/cb"),
            ("http://127.0.0.1/cb", "http://127.0.0.2:51004/cb"),
            ("http://127.0.0.1/cb", "http://[::1]:51004/cb"),
            ("http://127.0.0.1/cb", "http://127.0.0.1:0/cb"),
            ("http://127.0.0.1/cb", "http://127.0.0.1:70000/cb"),
            ("http://127.0.0.1/cb", "http://127.0.0.1:+80/cb"),
            ("http://127.0.0.1/cb", "http://127.0.0.1:80@evil.example/cb"),
            ("http://127.0.0.1/cb", "http://127.0.0.1.evil.example/cb"),
            ("http://127.0.0.1/cb", "http://127.0.0.1:\\@evil.example/cb"),
            ("http://localhost/cb", "http://localhost:51004/cb"),
            ("https://a.example/cb", "https://a.example:8443/cb"),
        ] {
            assert!(!differs_in_port_alone(callback, uri), "{uri}");
        }
    }

    #[test]
    fn origins_are_scheme_host_and_port() {
        assert!(is_origin("http://localhost:3000"));
        assert!(!is_origin("http://localhost:3000/"));
        assert!(!is_origin("https://a.example:443"));
        assert!(is_loopback("http://127.0.0.1:1/x") && is_loopback("http://app.localhost/"));
        assert!(!is_loopback("http://localhost.example/"));
    }
}
