//! What every answer says to browsers: who may frame it, what it may load, whether it may be kept.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

/// Pages load our style sheet, and applications' logos from where those say they are. There is no `form-action`: Chromium applies it to every redirect after
/// the POST, so it would have to list each client's callback and all that the callback redirects to in turn. Every
/// value in a page is escaped, so that nobody else's form gets into one.
pub(crate) const PAGE_POLICY: &str =
    "default-src 'none'; style-src 'self'; img-src 'self' https:; base-uri 'none'; frame-ancestors 'none'";

/// The same for the page that sends itself on.
pub(crate) const SCRIPT_POLICY: &str =
    "default-src 'none'; style-src 'self'; script-src 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The same for the page that hands its answer to the client's own, which may be around it.
pub(crate) fn message_policy(origin: &str) -> String {
    format!(
        "default-src 'none'; style-src 'self'; script-src 'self'; base-uri 'none'; frame-ancestors {origin}"
    )
}

/// The same for the page whose frames tell clients of a logout: these, and no others.
pub(crate) fn frames_policy(frames: &[String]) -> String {
    // A source has no query, and `;` and `,` would end it (CSP 3 section 2.3.1).
    let source = |url: &String| {
        let place = url.split(['?', '#']).next().unwrap_or_default();
        place.replace(';', "%3B").replace(',', "%2C")
    };
    let sources: Vec<String> = frames.iter().map(source).collect();
    format!("{SCRIPT_POLICY}; frame-src {}", sources.join(" "))
}

/// The same for the page that clients' pages frame: there is nothing on it to see or click.
pub(crate) const CHECK_POLICY: &str = "default-src 'none'; script-src 'self'; base-uri 'none'";

/// Answers that are no pages load nothing at all.
const BARE_POLICY: &str = "default-src 'none'; frame-ancestors 'none'";

/// A year, as browsers' preload lists ask; without subdomains, which may belong to somebody else.
const HSTS: &str = "max-age=31536000";

/// Adds to `headers` what the handler has not set. Nothing is cached unless a handler said so: pages hold tokens of one
/// browser and answers hold tokens of one user (RFC 6749 section 5.1).
///
/// `pin` tells the browser to use https from now on.
pub(crate) fn protect(headers: &mut HeaderMap, pin: bool) {
    let mut add = |name: HeaderName, value: &'static str| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    add(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    // Codes, states and tickets are in our URLs.
    add(header::REFERRER_POLICY, "no-referrer");
    add(header::CONTENT_SECURITY_POLICY, BARE_POLICY);
    add(header::CACHE_CONTROL, "no-store");
    if pin {
        add(header::STRICT_TRANSPORT_SECURITY, HSTS);
    }
}
