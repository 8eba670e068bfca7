//! Kong's rules for single texts, in its words.

/// A name: any UTF-8, but of ASCII only what stands in a path unescaped.
pub(super) fn name(text: &str) -> Result<(), String> {
    let good = |c: char| !c.is_ascii() && !c.is_control() || c.is_ascii_alphanumeric() || ".-_~".contains(c);
    if text.chars().all(good) && text.len() <= 256 {
        return Ok(());
    }
    Err(format!(
        "invalid value '{}': the only accepted ascii characters are alphanumerics or ., -, _, and ~",
        excerpt(text)
    ))
}

pub(super) fn uuid(text: &str) -> Result<(), String> {
    if super::is_uuid(text) { Ok(()) } else { Err("expected a valid UUID".to_owned()) }
}

pub(crate) fn tag(text: &str) -> Result<(), String> {
    if text.chars().all(|c| !c.is_control() && !matches!(c, ',' | '/')) && text.len() <= 256 {
        return Ok(());
    }
    let why = "expected printable ascii (except `,` and `/`) or valid utf-8 sequences";
    Err(format!("invalid tag '{}': {why}", excerpt(text)))
}

/// A host name or an address, without a port.
pub(super) fn host(text: &str) -> Result<(), String> {
    if text.parse::<std::net::IpAddr>().is_ok() {
        return Ok(());
    }
    if text.rsplit_once(':').is_some_and(|(host, port)| is_name(host) && port.parse::<u16>().is_ok()) {
        return Err("must not have a port".to_owned());
    }
    if is_name(text) { Ok(()) } else { Err(format!("invalid value: {}", excerpt(text))) }
}

/// What a route may name as a host: a name, one with `*.` before it or `.*` behind it, and perhaps a port.
pub(super) fn host_pattern(text: &str) -> Result<(), String> {
    let wrong = || format!("invalid hostname: {}", excerpt(text));
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') => (host, Some(port)),
        _ => (text, None),
    };
    if port
        .is_some_and(|port| port.parse::<u16>().is_ok_and(|port| port == 0) || port.parse::<u16>().is_err())
    {
        return Err(wrong());
    }
    let name = host.strip_prefix("*.").or_else(|| host.strip_suffix(".*")).unwrap_or(host);
    if host.matches('*').count() > 1 {
        return Err("invalid wildcard: must have at most one wildcard".to_owned());
    }
    if host.contains('*') && name == host {
        return Err("invalid wildcard: must be placed at leftmost or rightmost label".to_owned());
    }
    if is_name(name) || (name == host && host.parse::<std::net::Ipv4Addr>().is_ok()) {
        return Ok(());
    }
    Err(wrong())
}

/// A server name of TLS, `*.example.com` and `example.*` too.
pub(crate) fn sni(text: &str) -> Result<(), String> {
    if text.parse::<std::net::IpAddr>().is_ok() {
        return Err("must not be an IP".to_owned());
    }
    if text.rsplit_once(':').is_some_and(|(host, port)| is_name(host) && port.parse::<u16>().is_ok()) {
        return Err("must not have a port".to_owned());
    }
    let wildcards = text.matches('*').count();
    if wildcards > 0 && !text.starts_with('*') && !text.ends_with('*') {
        return Err("wildcard must be leftmost or rightmost character".to_owned());
    }
    if wildcards > 1 {
        return Err("only one wildcard must be specified".to_owned());
    }
    if text.ends_with(".*") {
        return Err("wildcards at the end of a server name are not implemented in this build".to_owned());
    }
    let name = text.strip_prefix("*.").unwrap_or(text);
    if text == "*" || is_name(name) { Ok(()) } else { Err(format!("invalid value: {}", excerpt(text))) }
}

/// The Host that an upstream is sent: a name or an address, perhaps with a port.
pub(super) fn host_header(text: &str) -> Result<(), String> {
    let name = match text.rsplit_once(':') {
        Some((name, port)) if port.parse::<u16>().is_ok() => name,
        _ => text,
    };
    host(name)
}

/// RFC 9110 section 5.1.
pub(crate) fn header_name(text: &str) -> Result<(), String> {
    let wrong =
        || format!("bad header name '{}', allowed characters are A-Z, a-z, 0-9, '_', and '-'", excerpt(text));
    let good = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    if good { Ok(()) } else { Err(wrong()) }
}

/// RFC 6265 section 4.1.1.
pub(super) fn cookie_name(text: &str) -> Result<(), String> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    match text.bytes().all(good) {
        true => Ok(()),
        false => Err(format!(
            "bad cookie name '{}', allowed characters are A-Z, a-z, 0-9, '_', and '-'",
            excerpt(text)
        )),
    }
}

/// What references call a vault.
pub(super) fn vault_prefix(text: &str) -> Result<(), String> {
    /// Kong's own vaults have their names for themselves.
    const TAKEN: [&str; 6] = ["env", "aws", "gcp", "azure", "hcv", "conjur"];
    if TAKEN.contains(&text) {
        return Err("must not be one of: aws, azure, conjur, env, gcp, hcv".to_owned());
    }
    let good = text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if good && text.bytes().next().is_some_and(|first| first.is_ascii_lowercase()) && text.len() <= 64 {
        return Ok(());
    }
    Err(format!("invalid value: {}", excerpt(text)))
}

pub(super) fn method(text: &str) -> Result<(), String> {
    if text.bytes().all(|byte| byte.is_ascii_uppercase()) && text.len() <= 32 {
        return Ok(());
    }
    Err(format!("invalid value: {}", excerpt(text)))
}

/// The path of a service.
pub(super) fn path(text: &str) -> Result<(), String> {
    if !text.starts_with('/') {
        return Err("should start with: /".to_owned());
    }
    characters(text)?;
    // Whatever the upstream would make of them, the gate would have judged another path.
    if text.split('/').any(|segment| matches!(segment, "." | "..")) {
        return Err(format!("invalid path: '{}' (it has dot segments)", excerpt(text)));
    }
    Ok(())
}

/// A path of a route: a beginning that requests are compared with, so it must be in the form they are brought into.
pub(super) fn router_path(text: &str) -> Result<(), String> {
    if let Some(pattern) = text.strip_prefix('~') {
        if !pattern.starts_with('/') {
            return Err("should start with: / (fixed path) or ~/ (regex path)".to_owned());
        }
        return gateway::path_pattern(pattern)
            .map(drop)
            .map_err(|_| format!("invalid regex: '{}'", excerpt(pattern)));
    }
    if !text.starts_with('/') {
        return Err("should start with: / (fixed path) or ~/ (regex path)".to_owned());
    }
    characters(text)?;
    let normal = normal(text);
    if normal == text {
        return Ok(());
    }
    Err(format!("non-normalized path, consider use '{}' instead", excerpt(&normal)))
}

fn characters(text: &str) -> Result<(), String> {
    if text.contains("//") {
        return Err("must not have empty segments".to_owned());
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_~/%:@!$&'()*+,;=".contains(&byte);
    if !text.bytes().all(allowed) {
        let why = "(characters outside of the reserved list of RFC 3986 found)";
        return Err(format!("invalid path: '{}' {why}", excerpt(text)));
    }
    let mut rest = text;
    while let Some((_, after)) = rest.split_once('%') {
        let escape = after.get(..2).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        match escape {
            Some("00") => return Err("invalid url-encoded value: '%00'".to_owned()),
            Some(_) => rest = after,
            None => {
                return Err(format!(
                    "invalid url-encoded value: '%{}'",
                    excerpt(after.get(..2).unwrap_or(after))
                ));
            }
        }
    }
    Ok(())
}

/// The form that the engine brings paths into: escapes of unreserved characters decoded, others in upper case, dot
/// segments resolved.
fn normal(path: &str) -> String {
    let mut decoded = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((before, after)) = rest.split_once('%') {
        decoded.push_str(before);
        let (digits, after) = after.split_at_checked(2).unwrap_or((after, ""));
        match u8::from_str_radix(digits, 16).map(char::from) {
            Ok(c) if c.is_ascii_alphanumeric() || "-._~".contains(c) => decoded.push(c),
            _ => {
                decoded.push('%');
                decoded.push_str(&digits.to_ascii_uppercase());
            }
        }
        rest = after;
    }
    decoded.push_str(rest);
    let mut out = String::with_capacity(decoded.len());
    let last = decoded.rsplit('/').next().unwrap_or_default();
    for segment in decoded.split('/').skip(1) {
        match segment {
            "" | "." => {}
            ".." => out.truncate(out.rfind('/').unwrap_or(0)),
            segment => {
                out.push('/');
                out.push_str(segment);
            }
        }
    }
    if out.is_empty() || matches!(last, "" | "." | "..") {
        out.push('/');
    }
    out
}

fn is_name(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    text.len() <= 253 && text.strip_suffix('.').unwrap_or(text).split('.').all(label)
}

/// The beginning of what a client sent, for an error text.
pub(crate) fn excerpt(text: &str) -> String {
    const MOST: usize = 128;
    let shown: String = text.chars().take(MOST).collect();
    if shown.len() < text.len() { format!("{shown}…") } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_have_no_port_and_no_spaces() {
        for good in ["localhost", "a.b-c.d_e", "127.0.0.1", "::1", "example.com."] {
            assert_eq!(host(good), Ok(()), "{good}");
        }
        assert_eq!(host("a:80"), Err("must not have a port".to_owned()));
        for bad in ["a b", "a/b", "", "a..b", "http://a", "*.a", "é"] {
            assert!(host(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn hosts_of_routes_have_one_wildcard_at_an_end() {
        for good in
            ["*.example.com", "example.com", "example.*", "example.com:80", "*.example.com:80", "1.2.3.4"]
        {
            assert_eq!(host_pattern(good), Ok(()), "{good}");
        }
        for bad in ["*", "a*b", "*.*.a", "a b", "a:0", "a:x", "*.a.*"] {
            assert!(host_pattern(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn h11_paths_of_routes_are_in_their_one_form() {
        for good in ["/", "/a", "/a/", "/a/b.c~d", "/%20", "/a%2Fb", "~/a$", r"~/u/(?<id>\d+)"] {
            assert_eq!(router_path(good), Ok(()), "{good}");
        }
        for (bad, why) in [
            ("a", "should start with: / (fixed path) or ~/ (regex path)"),
            ("~a$", "should start with: / (fixed path) or ~/ (regex path)"),
            ("~/a(", "invalid regex: '/a('"),
            ("~/a(?=b)", "invalid regex: '/a(?=b)'"),
            ("//a", "must not have empty segments"),
            ("/a/../b", "non-normalized path, consider use '/b' instead"),
            ("/%61", "non-normalized path, consider use '/a' instead"),
            ("/a%2fb", "non-normalized path, consider use '/a%2Fb' instead"),
            ("/a%", "invalid url-encoded value: '%'"),
            ("/%00", "invalid url-encoded value: '%00'"),
            ("/a b", "invalid path: '/a b' (characters outside of the reserved list of RFC 3986 found)"),
        ] {
            assert_eq!(router_path(bad), Err(why.to_owned()), "{bad}");
        }
        assert!(path("/a/./b").is_err());
    }

    #[test]
    fn a11_names_and_tags_have_no_odd_characters() {
        assert_eq!(name("a.b-c_d~é"), Ok(()));
        for bad in ["a/b", "a b", "..\u{0}", "a\n", &"x".repeat(300)] {
            assert!(name(bad).is_err(), "{bad}");
        }
        assert_eq!(tag("a b"), Ok(()));
        assert!(tag("a,b").is_err() && tag("a/b").is_err());
    }
}
