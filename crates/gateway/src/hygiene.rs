//! What an incoming head goes through before anything is decided on it: one host, one path, no hop-by-hop headers,
//! no identity the client made up.

use std::{borrow::Cow, net::IpAddr};

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header, request::Parts,
    uri::PathAndQuery,
};
use ipnet::IpNet;
use smallvec::SmallVec;

use crate::{
    error::Failure,
    h1::lines::Meaning,
    host::{HostName, LastHost},
    listener::ConnectionInfo,
    path,
    plugin::{Peer, RequestHead, Sending},
};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// Longest method; real ones have at most 17 letters.
const MAX_METHOD: usize = 32;

/// Turns what the codec read into the head that plugins see, or says why it is refused. A refused head keeps its headers.
pub(crate) fn admit(
    parts: &mut Parts,
    seen: Seen,
    connection: &ConnectionInfo,
    most_headers: usize,
) -> Result<RequestHead, Failure> {
    // The codec of HTTP/2 counts bytes alone.
    if parts.headers.len() > most_headers {
        let why = "there are too many header lines";
        return Err(Failure::Client(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, why));
    }
    let extended_connect =
        parts.extensions.get::<hyper::ext::Protocol>().map(|protocol| protocol.as_str() == "websocket");
    check_method(parts, extended_connect)?;
    if seen.transfer_coding {
        check_transfer_coding(parts)?;
    }
    let host = host(parts, &connection.last_host)?;
    let target = target(parts)?;
    let upgrade =
        if seen.upgrade || extended_connect.is_some() { upgrade(parts, extended_connect)? } else { false };
    if seen.hop_by_hop {
        remove_hop_by_hop(&mut parts.headers);
    }
    if seen.cookie {
        join_cookies(&mut parts.headers);
    }
    for name in seen.claims {
        parts.headers.remove(name);
    }
    let named = if connection.peer.trusted { named_host(&parts.headers) } else { None };
    if upgrade && extended_connect.is_some() {
        parts.method = Method::GET;
    }
    Ok(RequestHead {
        method: std::mem::take(&mut parts.method),
        target,
        host,
        named,
        headers: std::mem::take(&mut parts.headers),
        version: parts.version,
        websocket: upgrade,
        sending: Sending::default(),
    })
}

/// What a head has that needs a closer look. Most heads have hardly any of it, and looking through the names once costs
/// less than asking for each.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    transfer_coding: bool,
    upgrade: bool,
    cookie: bool,
    /// Anything that [`remove_hop_by_hop`] takes out, or takes out part of.
    hop_by_hop: bool,
    /// What [is a claim](is_claim) of the client's.
    claims: SmallVec<[HeaderName; 2]>,
}

impl Seen {
    /// What there is among `headers`, of a client that a trusted proxy speaks for or not.
    pub(crate) fn among(headers: &HeaderMap, trusted: bool) -> Self {
        let mut seen = Self::default();
        for name in headers.keys() {
            seen.note(name, Meaning::of(name.as_str()), is_claim(name, trusted));
        }
        seen
    }

    /// Notes a header that means this to its connection, and whether it [is a claim](is_claim).
    pub(crate) fn note(&mut self, name: &HeaderName, meaning: Meaning, claim: bool) {
        self.transfer_coding |= meaning == Meaning::Coding;
        self.upgrade |= meaning == Meaning::Upgrade;
        self.cookie |= meaning == Meaning::Cookie;
        self.hop_by_hop |= meaning.is_of_one_hop();
        if claim {
            self.claims.push(name.clone());
        }
    }
}

fn check_method(parts: &Parts, extended_connect: Option<bool>) -> Result<(), Failure> {
    let name = parts.method.as_str();
    if name.len() > MAX_METHOD
        || !name.bytes().all(|byte| byte.is_ascii_uppercase() || matches!(byte, b'-' | b'_'))
    {
        return Err(bad_request("the method is not made of upper-case letters"));
    }
    match (parts.method == Method::CONNECT, extended_connect) {
        (true, Some(true)) => Ok(()),
        (true, Some(false)) => {
            Err(Failure::Client(StatusCode::NOT_IMPLEMENTED, "this protocol cannot be tunnelled"))
        }
        (true, None) => Err(Failure::Client(StatusCode::METHOD_NOT_ALLOWED, "CONNECT is not allowed")),
        (false, _) if parts.method == Method::TRACE => {
            Err(Failure::Client(StatusCode::METHOD_NOT_ALLOWED, "TRACE is not allowed"))
        }
        (false, _) => Ok(()),
    }
}

/// `chunked` is the one transfer coding, alone and once (RFC 9112 section 6.1): the codec takes every list that ends
/// in it, and what comes before would be lost on the way.
fn check_transfer_coding(parts: &Parts) -> Result<(), Failure> {
    let mut codings = parts.headers.get_all(header::TRANSFER_ENCODING).iter();
    if codings.next().is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked"))
        || codings.next().is_some()
    {
        return Err(Failure::Client(
            StatusCode::NOT_IMPLEMENTED,
            "chunked is the only transfer coding known",
        ));
    }
    Ok(())
}

/// The one host of the request: `:authority` or the absolute form, and `Host`, which must agree (RFC 9112 section
/// 3.2, RFC 9113 section 8.3.1).
fn host(parts: &mut Parts, last: &LastHost) -> Result<HostName, Failure> {
    let mut lines = parts.headers.get_all(header::HOST).iter();
    let (line, second) = (lines.next(), lines.next());
    if second.is_some() {
        return Err(bad_request("there is more than one Host"));
    }
    let from_line = match line {
        Some(value) => Some(last.parse(value.as_bytes()).ok_or(bad_request("the Host is not a host"))?),
        None => None,
    };
    let from_target = match parts.uri.authority() {
        Some(authority) => {
            let host = last.parse(authority.as_str().as_bytes());
            Some(host.ok_or(bad_request("the target's host is not a host"))?)
        }
        None => None,
    };
    let host = match (from_line, from_target) {
        (Some(line), Some(target)) if line.name() != target.name() || line.port() != target.port() => {
            return Err(bad_request("the Host and the target disagree"));
        }
        (Some(host), _) => host,
        // HTTP/1.1 demands the header beside the absolute form too (RFC 9112 section 3.2).
        (None, Some(host)) if parts.version != Version::HTTP_11 => host,
        (None, None) if parts.version == Version::HTTP_10 => unnamed_host(),
        (None, _) => return Err(bad_request("there is no Host")),
    };
    parts.headers.remove(header::HOST);
    Ok(host)
}

/// HTTP/1.0 may leave the host out (RFC 1945).
fn unnamed_host() -> HostName {
    const NAME: HeaderValue = HeaderValue::from_static("localhost");
    #[allow(clippy::expect_used)]
    HostName::parse(&NAME).expect("`localhost` is a host")
}

fn target(parts: &Parts) -> Result<PathAndQuery, Failure> {
    let Some(target) = parts.uri.path_and_query() else { return Err(bad_request("the target has no path")) };
    if target.path() == "*" {
        return Err(Failure::Client(StatusCode::NOT_FOUND, "404 Route Not Found"));
    }
    let path = path::normalise(target.path()).map_err(|path::Refused(why)| bad_request(why))?;
    // The absolute form may go without a path, `http://host?query`, which no request line towards a target can.
    if matches!(path, Cow::Borrowed(_)) && target.as_str().starts_with('/') {
        return Ok(target.clone());
    }
    let mut path = path.into_owned();
    if let Some(query) = target.query() {
        path.push('?');
        path.push_str(query);
    }
    PathAndQuery::from_maybe_shared(path).map_err(|_| bad_request("the path is not a path"))
}

/// Whether the client asks for a WebSocket (RFC 6455 section 4.1, RFC 8441). Other upgrades are not passed on: the
/// request goes on as if it had not asked.
fn upgrade(parts: &Parts, extended_connect: Option<bool>) -> Result<bool, Failure> {
    if extended_connect == Some(true) {
        return Ok(true);
    }
    let headers = &parts.headers;
    let asks = parts.version == Version::HTTP_11
        && parts.method == Method::GET
        && tokens(headers, &header::CONNECTION).any(|token| token.eq_ignore_ascii_case("upgrade"))
        && tokens(headers, &header::UPGRADE).any(|token| token.eq_ignore_ascii_case("websocket"));
    if !asks {
        return Ok(false);
    }
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err(Failure::Client(StatusCode::UPGRADE_REQUIRED, "only version 13 of WebSocket is known"));
    }
    // 16 bytes in base64 are 22 letters of its alphabet and `==`.
    let key = headers.get(header::SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes).unwrap_or_default();
    let is_letter = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    if key.len() != 24 || !key.strip_suffix(b"==").is_some_and(|key| key.iter().all(is_letter)) {
        return Err(bad_request("the WebSocket key is not 16 bytes in base64"));
    }
    Ok(true)
}

/// Removes what belongs to this connection alone (RFC 9110 section 7.6.1): the fixed names, and whatever the sender
/// names in `Connection`. `TE: trailers` survives, because gRPC asks for it end to end.
pub(crate) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let (mut connection, mut te) = (false, false);
    let mut fixed = SmallVec::<[HeaderName; 4]>::new();
    for name in headers.keys() {
        match Meaning::of(name.as_str()) {
            Meaning::Connection => connection = true,
            Meaning::Te => te = true,
            other if other.is_of_one_hop() => fixed.push(name.clone()),
            _ => {}
        }
    }
    if connection {
        let named: SmallVec<[HeaderName; 4]> = tokens(headers, &header::CONNECTION)
            .filter(|token| !token.eq_ignore_ascii_case("close") && !token.eq_ignore_ascii_case("keep-alive"))
            .filter_map(|token| HeaderName::from_bytes(token.as_bytes()).ok())
            .collect();
        for name in named {
            // The length of the body is framing, and framing is not the sender's to nominate.
            if name != header::CONTENT_LENGTH {
                headers.remove(name);
            }
        }
        headers.remove(header::CONNECTION);
    }
    for name in fixed {
        headers.remove(name);
    }
    // `Connection` may have named it.
    if te && headers.contains_key(header::TE) {
        let trailers = tokens(headers, &header::TE).any(|token| token.eq_ignore_ascii_case("trailers"));
        headers.remove(header::TE);
        if trailers {
            headers.insert(header::TE, HeaderValue::from_static("trailers"));
        }
    }
}

/// HTTP/2 may split the cookie line into crumbs; HTTP/1.1 has one line (RFC 9113 section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let lines = headers.get_all(header::COOKIE);
    if lines.iter().nth(1).is_none() {
        return;
    }
    let joined = lines.iter().map(HeaderValue::as_bytes).collect::<Vec<_>>().join(&b"; "[..]);
    if let Ok(joined) = HeaderValue::from_bytes(&joined) {
        headers.insert(header::COOKIE, joined);
    }
}

/// Removes what [is a claim](is_claim).
fn remove_claims_of_the_client(headers: &mut HeaderMap, trusted: bool) {
    for name in Seen::among(headers, trusted).claims {
        headers.remove(name);
    }
}

/// Whether this is, in any spelling, a header by which upstreams trust the gate, one that some servers read as another
/// method or path, or as the framing of the message, or a forwarding header of a peer that nobody vouches for.
pub(crate) fn is_claim(name: &HeaderName, trusted: bool) -> bool {
    let name = name.as_str();
    let is_other = match name.as_bytes().first() {
        Some(b'x' | b'r' | b'f' | b't') => {
            is_identity(name)
                || is_override(name)
                || is_forwarding(name, trusted)
                || is_certificate(name, trusted)
        }
        // It is for the gate alone, which answers it over HTTP/1.1 (RFC 9110 section 10.1.1).
        Some(b'e') => name == "expect",
        Some(b'c' | b's') => is_certificate(name, trusted),
        // CGI calls it HTTP_PROXY, by which clients there find their proxy (CVE-2016-5385).
        Some(b'p') => name == "proxy",
        _ => false,
    };
    is_other || is_framing_misspelt(name)
}

/// Whether an upstream might take this header for one by which the gate says who the caller is. Letters and digits alone
/// count, without their case: servers fold the others (`X_Userinfo` becomes `HTTP_X_USERINFO` in CGI, and lighttpd's CGI
/// makes the same of `X!Userinfo`).
pub fn is_identity(name: &str) -> bool {
    const EXACT: [&str; 8] = [
        "xidentityassertion",
        "xuserinfo",
        "xaccesstoken",
        "xidtoken",
        "xrefreshtoken",
        "xrawidtoken",
        "xanonymousconsumer",
        "remoteuser",
    ];
    const FAMILIES: [&str; 4] = ["xconsumer", "xcredential", "xauthenticated", "xauthrequest"];
    EXACT.iter().any(|known| letters(name).eq(known.bytes())) || begins_with_any(name, &FAMILIES)
}

/// Whether an upstream might take the one header's name for the other's.
pub fn is_same_header(one: &str, other: &str) -> bool {
    letters(one).eq(letters(other))
}

/// Whether this header, in any spelling, belongs to the connection, or is one by which the gate tells the upstream of
/// the request: address, scheme, path or method.
pub fn is_the_gates(name: &str) -> bool {
    const CONNECTION: [&str; 9] = [
        "connection",
        "keepalive",
        "proxyconnection",
        "proxyauthenticate",
        "proxyauthorization",
        "transferencoding",
        "te",
        "trailer",
        "upgrade",
    ];
    CONNECTION.iter().any(|known| letters(name).eq(known.bytes()))
        || Meaning::of(name).is_of_one_hop()
        || is_override(name)
        || is_forwarding(name, false)
}

/// Whether some servers read another path or method from this header, in any spelling.
fn is_override(name: &str) -> bool {
    const EXACT: [&str; 7] = [
        "xoriginalurl",
        "xrewriteurl",
        "xoriginaluri",
        "xhttpmethodoverride",
        "xhttpmethod",
        "xmethodoverride",
        "xenvoyoriginalpath",
    ];
    EXACT.iter().any(|known| letters(name).eq(known.bytes()))
}

/// Whether a server might fold this name into one that frames the message, names its host or describes its body, which
/// is not spelt so: in CGI and WSGI `Content_Length` is `Content-Length` (CVE-2015-0219). The separators at the ends
/// count as little as those within.
fn is_framing_misspelt(name: &str) -> bool {
    const EXACT: [&str; 16] = [
        "contentlength",
        "transferencoding",
        "contenttype",
        "contentencoding",
        "host",
        "connection",
        "keepalive",
        "proxy",
        "proxyconnection",
        "proxyauthorization",
        "authorization",
        "cookie",
        "expect",
        "trailer",
        "te",
        "upgrade",
    ];
    has_odd_separator(name) && EXACT.iter().any(|known| letters(name).eq(known.bytes()))
}

/// Whether an upstream might learn the client's address from this header. A trusted proxy may send it as it is
/// commonly written; other spellings come from behind that proxy, which did not know them.
fn is_forwarding(name: &str, trusted: bool) -> bool {
    const EXACT: [&str; 5] = ["forwarded", "xrealip", "xclientip", "xclusterclientip", "trueclientip"];
    let found =
        EXACT.iter().any(|known| letters(name).eq(known.bytes())) || begins_with_any(name, &["xforwarded"]);
    found && (!trusted || has_odd_separator(name))
}

/// Whether an upstream might learn from this header what certificate the client has shown: RFC 9440's names, those of
/// nginx's and HAProxy's guides, of Azure, of AWS, and of the identity provider here. Whoever shows one to a proxy in
/// front shows it there alone, and only that proxy may say so.
fn is_certificate(name: &str, trusted: bool) -> bool {
    const FAMILIES: [&str; 6] =
        ["clientcert", "sslclient", "xclientcert", "xsslclient", "xarrclientcert", "xamznmtlsclientcert"];
    begins_with_any(name, &FAMILIES) && (!trusted || has_odd_separator(name))
}

/// A header's name without case and separators.
fn letters(name: &str) -> impl Iterator<Item = u8> {
    name.bytes().filter(u8::is_ascii_alphanumeric).map(|byte| byte.to_ascii_lowercase())
}

/// Whether a name has any of the marks that the known ones never have: all that tokens may have, but for `-`.
fn has_odd_separator(name: &str) -> bool {
    name.bytes().any(|byte| !byte.is_ascii_alphanumeric() && byte != b'-')
}

fn begins_with_any(name: &str, families: &[&str]) -> bool {
    families.iter().any(|family| {
        let mut letters = letters(name);
        family.bytes().all(|letter| letters.next() == Some(letter))
    })
}

/// The client behind a trusted proxy: the last address of `X-Forwarded-For` that is not a trusted proxy's itself, and
/// the scheme the proxy names. `None` when the connection's own peer is the client.
pub(crate) fn vouched_peer(headers: &HeaderMap, connection: &Peer, trusted: &[IpNet]) -> Option<Peer> {
    if !connection.trusted {
        return None;
    }
    let mut peer = connection.clone();
    let chain: SmallVec<[&str; 8]> = tokens(headers, &X_FORWARDED_FOR).collect();
    for entry in chain.into_iter().rev() {
        let Ok(address) = entry.parse::<IpAddr>().map(|address| address.to_canonical()) else { break };
        peer.ip = address;
        peer.port = 0;
        if !trusted.iter().any(|network| network.contains(&address)) {
            break;
        }
    }
    if let Some(scheme) = headers.get(&X_FORWARDED_PROTO) {
        peer.https = scheme.as_bytes().eq_ignore_ascii_case(b"https");
    }
    Some(peer)
}

/// The host that the client named, as a trusted proxy says. Of several, the last is its own word: those before it may be
/// the client's.
fn named_host(headers: &HeaderMap) -> Option<Box<HostName>> {
    let last = headers.get_all(&X_FORWARDED_HOST).iter().next_back()?;
    let last = last.as_bytes().rsplit(|byte| *byte == b',').next()?.trim_ascii();
    HeaderValue::from_bytes(last).ok().and_then(|host| HostName::parse(&host)).map(Box::new)
}

/// What a connection's requests all say of where they came from, as lines of HTTP/1.1. The last one lacks its value, which
/// is the host of the request.
pub(crate) fn forwarded_lines(peer: &Peer) -> Box<[u8]> {
    let (ip, scheme, port) = (peer.ip, peer.scheme(), peer.local_port);
    format!(
        "x-forwarded-for: {ip}\r\nx-real-ip: {ip}\r\nx-forwarded-proto: {scheme}\r\nx-forwarded-port: {port}\r\n\
         x-forwarded-host: "
    )
    .into_bytes()
    .into()
}

/// The connection's own lines, where they may be written in the place of headers: when nobody else had a word in them.
pub(crate) fn own_lines<'a>(head: &RequestHead, connection: &'a ConnectionInfo) -> Option<&'a [u8]> {
    let others = [X_FORWARDED_FOR, X_REAL_IP, X_FORWARDED_PROTO, X_FORWARDED_PORT, X_FORWARDED_HOST];
    let is_said = head.headers.keys().any(|name| others.contains(name));
    (!connection.peer.trusted && !is_said).then_some(&*connection.forwarded)
}

/// Tells the upstream where the request came from. What a trusted proxy says is kept and extended; what a plugin says of
/// the way is kept too, as nothing of an untrusted peer's is left by now.
pub(crate) fn forward(head: &mut RequestHead, connection: &ConnectionInfo, peer: &Peer) {
    let host = head.host.as_header().clone();
    let headers = &mut head.headers;
    if connection.peer.trusted {
        let mut chain = Vec::new();
        for line in headers.get_all(&X_FORWARDED_FOR) {
            chain.extend_from_slice(line.as_bytes());
            chain.extend_from_slice(b", ");
        }
        chain.extend_from_slice(connection.ip.as_bytes());
        let chain = HeaderValue::from_bytes(&chain).unwrap_or_else(|_| connection.ip.clone());
        headers.insert(X_FORWARDED_FOR, chain);
        let real = HeaderValue::from_str(&peer.ip.to_string()).unwrap_or_else(|_| connection.ip.clone());
        headers.insert(X_REAL_IP, real);
    } else {
        headers.insert(X_FORWARDED_FOR, connection.ip.clone());
        headers.insert(X_REAL_IP, connection.ip.clone());
    }
    headers.entry(X_FORWARDED_PROTO).or_insert_with(|| scheme(peer.https));
    headers.entry(X_FORWARDED_HOST).or_insert(host);
    headers.entry(X_FORWARDED_PORT).or_insert_with(|| connection.port.clone());
}

const fn scheme(https: bool) -> HeaderValue {
    if https { HeaderValue::from_static("https") } else { HeaderValue::from_static("http") }
}

/// Keeps the trailers a client may send: no framing, no routing, no modifiers of the request, no credentials (RFC 9110
/// section 6.5.1), no identity.
pub(crate) fn clean_trailers(trailers: &mut HeaderMap) {
    const FORBIDDEN: [HeaderName; 20] = [
        header::PROXY_AUTHORIZATION,
        header::PROXY_AUTHENTICATE,
        header::CACHE_CONTROL,
        header::MAX_FORWARDS,
        header::RANGE,
        header::CONTENT_RANGE,
        header::IF_MATCH,
        header::IF_NONE_MATCH,
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
        header::HOST,
        header::AUTHORIZATION,
        header::COOKIE,
        header::SET_COOKIE,
        header::CONTENT_TYPE,
        header::CONTENT_ENCODING,
        header::CONNECTION,
        header::UPGRADE,
        header::TE,
        header::TRAILER,
    ];
    for name in FORBIDDEN {
        trailers.remove(name);
    }
    remove_claims_of_the_client(trailers, false);
}

/// The comma-separated tokens of all lines of a header.
fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(|token| token.trim_matches([' ', '\t']))
        .filter(|token| !token.is_empty())
}

const fn bad_request(why: &'static str) -> Failure {
    Failure::Client(StatusCode::BAD_REQUEST, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn h01_and_h02_identity_headers_are_known_in_every_spelling() {
        for name in [
            "x-userinfo",
            "x_userinfo",
            "x.userinfo",
            "x-userinfo_",
            "X-USERINFO",
            "x-access-token",
            "x-id-token",
            "x-refresh-token",
            "x-raw-id-token",
            "x-consumer-username",
            "x_consumer_id",
            "x-credential-identifier",
            "x-authenticated-scope",
            "x-auth-request-user",
            "remote-user",
            "remote_user",
        ] {
            assert!(is_identity(name), "{name}");
        }
        for name in ["x-user", "authorization", "x-request-id", "remote-addr", "user-agent"] {
            assert!(!is_identity(name), "{name}");
        }
    }

    #[test]
    fn h04_the_sender_cannot_nominate_framing_away() {
        let mut map = headers(&[
            ("connection", "close, X-Foo, content-length"),
            ("x-foo", "1"),
            ("content-length", "3"),
        ]);
        remove_hop_by_hop(&mut map);
        assert!(!map.contains_key("x-foo") && !map.contains_key("connection"));
        assert!(map.contains_key("content-length"));
    }

    #[test]
    fn h08_h09_h10_claims_of_an_untrusted_peer_are_gone() {
        let names = [
            "x-forwarded-for",
            "x-real-ip",
            "forwarded",
            "true-client-ip",
            "x-original-url",
            "x-rewrite-url",
            "x_forwarded_for",
            "x.real_ip",
            "x_original_url",
        ];
        let mut map = headers(&names.map(|name| (name, "evil")));
        map.insert("x-http-method-override", HeaderValue::from_static("PUT"));
        remove_claims_of_the_client(&mut map, false);
        assert!(map.is_empty(), "{map:?}");
    }

    #[test]
    fn h02_names_that_fold_into_framing_are_gone_and_others_with_such_letters_stay() {
        let framing = [
            "content_length",
            "transfer.encoding",
            "te_",
            "_host",
            "cookie_",
            "proxy",
            "content!type",
            "host~",
        ];
        let mut map = headers(&framing.map(|name| (name, "evil")));
        for own in ["content-length", "cookie", "authorization", "api_key", "x_own.name", "tea_time"] {
            map.insert(HeaderName::from_static(own), HeaderValue::from_static("1"));
        }
        remove_claims_of_the_client(&mut map, true);
        assert!(framing.iter().all(|name| !map.contains_key(*name)) && map.len() == 6, "{map:?}");
    }

    #[test]
    fn h08_a_trusted_proxy_is_not_heard_in_spellings_it_does_not_use() {
        let mut map =
            headers(&[("x-forwarded-for", "1"), ("x_forwarded_for", "evil"), ("x_userinfo", "evil")]);
        remove_claims_of_the_client(&mut map, true);
        assert_eq!(map.keys().collect::<Vec<_>>(), ["x-forwarded-for"]);
    }

    #[test]
    fn t05_trailers_carry_no_framing_and_no_identity() {
        let mut map = headers(&[
            ("content-length", "1"),
            ("x-userinfo", "a"),
            ("authorization", "b"),
            ("grpc-status", "0"),
        ]);
        clean_trailers(&mut map);
        assert_eq!(map.len(), 1);
    }
}
