//! What a server asks of a proof (RFC 9449 section 4.3).

use std::{borrow::Cow, time::Duration};

use aws_lc_rs::digest;
use base::UnixMillis;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jose::{CompactJws, VerifyingKey, parse_json, thumbprint};
use serde_json::{Map, Value};
use url::Url;

use crate::bearer::quote;

/// The algorithms that proofs may be signed with, as `algs` of a challenge and metadata list them.
pub const ALGS: &str = "ES256 ES384 ES512 EdDSA PS256 PS384 PS512 RS256 RS384 RS512";

/// Bytes of a `jti`: longer ones are no identifiers but ballast.
const MAX_JTI: usize = 512;
/// Nesting of a proof's payload.
const MAX_DEPTH: usize = 8;

/// The request that a proof must be for, and when.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// Its method.
    pub method: &'a str,
    /// Its URL, absolute; query and fragment do not count.
    pub url: &'a str,
    /// The access token that came with it; `None` at a token endpoint.
    pub access_token: Option<&'a str>,
    /// The nonce that the server gave; `None`: it gave none, and does not look at one.
    pub nonce: Option<&'a str>,
    /// Now.
    pub now: UnixMillis,
    /// How old a proof may be.
    pub max_age: Duration,
    /// How far ahead the client's clock may be.
    pub ahead: Duration,
}

/// What a proof has shown. Whether it was shown before is for the caller to know, by thumbprint and `jti`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proven {
    /// Thumbprint of the key (RFC 7638): what `cnf.jkt` of a bound token names.
    pub thumbprint: String,
    /// The proof's own identifier.
    pub jti: String,
    /// The nonce in it, whether or not one was expected.
    pub nonce: Option<String>,
    /// When it is too old for anybody.
    pub until: UnixMillis,
}

/// Why a proof is none. Nothing of the proof is in the words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// Not a compact JWS with a JSON object in it.
    #[error("the proof is not a JWT")]
    Malformed,
    /// `typ` is not `dpop+jwt`.
    #[error("the proof's typ is not dpop+jwt")]
    Type,
    /// `alg` is none, symmetric or unknown.
    #[error("the proof's alg is not an asymmetric one that is known here")]
    Algorithm,
    /// `jwk` is missing, private, or no key for that algorithm.
    #[error("the proof's jwk is not a public key for its alg")]
    Key,
    /// Not signed by that key.
    #[error("the proof is not signed by its key")]
    Signature,
    /// A claim is missing or malformed.
    #[error("the proof's {0} is missing or malformed")]
    Claim(&'static str),
    /// For another method.
    #[error("the proof is for another method")]
    Method,
    /// For another URL.
    #[error("the proof is for another URL")]
    Url,
    /// Made too long ago, or too far ahead.
    #[error("the proof was not made just now")]
    Time,
    /// For another access token.
    #[error("the proof is for another access token")]
    Token,
    /// Without the nonce that the server gave (section 8).
    #[error("the proof does not have the nonce that it was asked to have")]
    Nonce,
}

impl ProofError {
    /// `error` of the answer (sections 7.1 and 8).
    pub const fn code(self) -> &'static str {
        match self {
            Self::Nonce => "use_dpop_nonce",
            _ => "invalid_dpop_proof",
        }
    }
}

/// Verifies the value of a request's one `DPoP` header.
///
/// # Errors
///
/// When it does not prove that whoever made this request has the key that it carries.
pub fn verify(proof: &str, expected: &Expected<'_>) -> Result<Proven, ProofError> {
    let jws = CompactJws::parse(proof).map_err(|_| ProofError::Malformed)?;
    if !jws.header().has_typ("dpop+jwt") {
        return Err(ProofError::Type);
    }
    if jws.alg().is_err() || jws.alg().is_ok_and(jose::Alg::is_symmetric) {
        return Err(ProofError::Algorithm);
    }
    let jwk = jws.carried_key().map_err(|_| ProofError::Key)?;
    let key = VerifyingKey::from_public_jwk(&jwk).map_err(|_| ProofError::Key)?;
    let payload = jws.verify(&key).map_err(|error| match error {
        jose::JoseError::AlgNotAllowed => ProofError::Key,
        _ => ProofError::Signature,
    })?;
    let Ok(Value::Object(claims)) = parse_json(&payload, MAX_DEPTH) else {
        return Err(ProofError::Malformed);
    };
    if text(&claims, "htm")? != expected.method {
        return Err(ProofError::Method);
    }
    let url = one_form(text(&claims, "htu")?).ok_or(ProofError::Claim("htu"))?;
    if one_form(expected.url).is_none_or(|asked| asked != url) {
        return Err(ProofError::Url);
    }
    let made = issued(&claims)?;
    let until = made + expected.max_age;
    if made > expected.now + expected.ahead || until < expected.now {
        return Err(ProofError::Time);
    }
    if let Some(token) = expected.access_token {
        let digest = digest::digest(&digest::SHA256, token.as_bytes());
        if text(&claims, "ath")? != URL_SAFE_NO_PAD.encode(digest) {
            return Err(ProofError::Token);
        }
    }
    let nonce = match claims.get("nonce") {
        None => None,
        Some(Value::String(nonce)) => Some(nonce.clone()),
        // Section 4.2 makes it a string, also where nobody asked for one.
        Some(_) => return Err(ProofError::Claim("nonce")),
    };
    if expected.nonce.is_some_and(|expected| nonce.as_deref() != Some(expected)) {
        return Err(ProofError::Nonce);
    }
    let jti = text(&claims, "jti")?;
    if jti.is_empty() || jti.len() > MAX_JTI {
        return Err(ProofError::Claim("jti"));
    }
    let thumbprint = thumbprint(&jwk).map_err(|_| ProofError::Key)?;
    Ok(Proven { thumbprint, jti: jti.to_owned(), nonce, until })
}

/// The value of `WWW-Authenticate` for a resource that takes proofs (section 7.1).
pub fn challenge(params: &[(&str, &str)]) -> String {
    let mut out = String::from("DPoP ");
    for (name, value) in params.iter().copied().chain([("algs", ALGS)]) {
        if out.len() > "DPoP ".len() {
            out.push_str(", ");
        }
        out.push_str(name);
        out.push('=');
        quote(&mut out, value);
    }
    out
}

fn text<'a>(claims: &'a Map<String, Value>, name: &'static str) -> Result<&'a str, ProofError> {
    claims.get(name).and_then(Value::as_str).ok_or(ProofError::Claim(name))
}

fn issued(claims: &Map<String, Value>) -> Result<UnixMillis, ProofError> {
    // The year 9999 is as far as a date can be meant.
    let seconds = claims
        .get("iat")
        .filter(|iat| iat.is_number())
        .and_then(Value::as_f64)
        .filter(|seconds| (0.0..=253_402_300_799.0).contains(seconds))
        .ok_or(ProofError::Claim("iat"))?;
    // Bounded above, so the product fits.
    #[allow(clippy::cast_possible_truncation)]
    Ok(UnixMillis((seconds * 1000.0).floor() as i64))
}

/// A URL in the one form that two spellings of it have in common (RFC 3986 section 6.2.2 and 6.2.3): letters of scheme
/// and host in lower case, no default port, no dot segments, escapes only where they are needed and in upper case.
/// Query and fragment are left out. `None`: it is not an absolute http or https URL, or says who the user is.
fn one_form(text: &str) -> Option<String> {
    // The parser of browsers is more forgiving than RFC 3986: it drops white space and turns backslashes.
    if !text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') {
        return None;
    }
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return None;
    }
    let (host, port) = (url.host_str()?, url.port().map(|port| format!(":{port}")).unwrap_or_default());
    Some(format!("{}://{host}{port}{}", url.scheme(), escapes_in_one_form(url.path())))
}

fn escapes_in_one_form(path: &str) -> Cow<'_, str> {
    if !path.contains('%') {
        return Cow::Borrowed(path);
    }
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        let byte = after.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (byte, after.get(2..)) {
            (Some(byte), Some(after)) => {
                if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                    out.push(char::from(byte));
                } else {
                    out.push_str(&format!("%{byte:02X}"));
                }
                rest = after;
            }
            _ => {
                out.push('%');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use jose::{Alg, SigningKey};
    use serde_json::json;

    use super::*;

    const NOW: UnixMillis = UnixMillis::from_secs(1_700_000_000);
    const EXPECTED: Expected<'static> = Expected {
        method: "GET",
        url: "https://api.example/things/1?x=y",
        access_token: Some("the.token"),
        nonce: None,
        now: NOW,
        max_age: Duration::from_secs(60),
        ahead: Duration::from_secs(10),
    };

    fn key() -> SigningKey {
        SigningKey::generate(Alg::ES256, "k".to_owned()).unwrap()
    }

    fn claims() -> Value {
        let ath = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, b"the.token"));
        json!({"jti": "1", "htm": "GET", "htu": "https://api.example/things/1", "iat": NOW.secs(), "ath": ath})
    }

    fn bare(key: &SigningKey) -> Value {
        let mut jwk = key.public_jwk();
        for name in ["kid", "use", "alg", "key_ops"] {
            jwk.as_object_mut().unwrap().remove(name);
        }
        jwk
    }

    fn sign(key: &SigningKey, header: Value, claims: &Value) -> String {
        key.sign_with_header(header.as_object().unwrap(), claims.to_string().as_bytes()).unwrap()
    }

    fn with(change: impl FnOnce(&mut Value)) -> Result<Proven, ProofError> {
        let (key, mut claims) = (key(), claims());
        change(&mut claims);
        verify(&sign(&key, json!({"typ": "dpop+jwt", "jwk": bare(&key)}), &claims), &EXPECTED)
    }

    #[test]
    fn a_proof_shows_the_key_that_a_token_is_bound_to() {
        for alg in Alg::ALL.into_iter().filter(|alg| !alg.is_symmetric()) {
            let key = SigningKey::generate(alg, "k".to_owned()).unwrap();
            let header = json!({"typ": "dpop+jwt", "jwk": bare(&key)});
            let proven = verify(&sign(&key, header, &claims()), &EXPECTED).unwrap();
            assert_eq!(proven.thumbprint, thumbprint(&bare(&key)).unwrap());
            assert_eq!((proven.jti.as_str(), proven.until), ("1", NOW + Duration::from_secs(60)));
            assert!(ALGS.split(' ').any(|name| name == alg.as_str()));
        }
    }

    #[test]
    fn j54_a_claim_that_is_missing_or_says_something_else_is_no_proof() {
        for name in ["htm", "htu", "iat", "jti", "ath"] {
            let without = with(|claims| drop(claims.as_object_mut().unwrap().remove(name)));
            assert_eq!(without.unwrap_err(), ProofError::Claim(name));
            for odd in [json!(null), json!([1]), json!({}), json!(true)] {
                assert_eq!(with(|claims| claims[name] = odd).unwrap_err(), ProofError::Claim(name), "{name}");
            }
        }
        for method in ["POST", "get", "GET ", ""] {
            assert_eq!(with(|claims| claims["htm"] = json!(method)).unwrap_err(), ProofError::Method);
        }
        for ath in ["", "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo"] {
            assert_eq!(with(|claims| claims["ath"] = json!(ath)).unwrap_err(), ProofError::Token);
        }
        for jti in [String::new(), "x".repeat(513)] {
            assert_eq!(with(|claims| claims["jti"] = json!(jti)).unwrap_err(), ProofError::Claim("jti"));
        }
        for (iat, good) in [(0, true), (-60, true), (-61, false), (10, true), (11, false), (-86_400, false)] {
            let made = with(|claims| claims["iat"] = json!(NOW.secs() + iat));
            assert_eq!(made.map(drop), if good { Ok(()) } else { Err(ProofError::Time) }, "{iat}");
        }
        for iat in [json!("1700000000"), json!(-1), json!(1e15)] {
            assert_eq!(with(|claims| claims["iat"] = iat).unwrap_err(), ProofError::Claim("iat"));
        }
    }

    #[test]
    fn j54_a_url_is_the_same_in_every_spelling_and_no_other_one_is() {
        for same in [
            "https://api.example/things/1",
            "HTTPS://API.Example:443/things/1",
            "https://api.example/things/1?a=b#c",
            "https://api.example/a/../things/./1",
            "https://api.example/thin%67s/%31",
        ] {
            assert!(with(|claims| claims["htu"] = json!(same)).is_ok(), "{same}");
        }
        for other in [
            "http://api.example/things/1",
            "https://api.example:8443/things/1",
            "https://api.example/things/1/",
            "https://api.example/things",
            "https://api.example/Things/1",
            "https://api.example.evil/things/1",
            "https://api.example/things%2F1",
        ] {
            assert_eq!(with(|claims| claims["htu"] = json!(other)).unwrap_err(), ProofError::Url, "{other}");
        }
        for none in [
            "",
            "/things/1",
            "api.example/things/1",
            "https://user@api.example/things/1",
            "https:\\\\api.example\\things\\1",
            " https://api.example/things/1",
            "ftp://api.example/things/1",
        ] {
            let refused = with(|claims| claims["htu"] = json!(none)).unwrap_err();
            assert_eq!(refused, ProofError::Claim("htu"), "{none}");
        }
    }

    #[test]
    fn j54_a_header_that_is_not_a_proof_s_is_refused() {
        let (own, other) = (key(), key());
        let header = || json!({"typ": "dpop+jwt", "jwk": bare(&own)});
        let refusal = |header: Value| verify(&sign(&own, header, &claims()), &EXPECTED).unwrap_err();
        assert!(verify(&sign(&own, header(), &claims()), &EXPECTED).is_ok());
        for typ in [json!("JWT"), json!("at+jwt"), json!("dpop"), json!("")] {
            let mut odd = header();
            odd["typ"] = typ;
            assert_eq!(refusal(odd), ProofError::Type);
        }
        let mut no_key = header();
        no_key.as_object_mut().unwrap().remove("jwk");
        assert_eq!(refusal(no_key), ProofError::Key);
        let mut private = header();
        private["jwk"]["d"] = json!("AAAA");
        assert_eq!(refusal(private), ProofError::Key);
        let mut secret = header();
        secret["jwk"] = json!({"kty": "oct", "k": URL_SAFE_NO_PAD.encode([7; 32])});
        assert_eq!(refusal(secret), ProofError::Key);
        let mut foreign = header();
        foreign["jwk"] = bare(&other);
        assert_eq!(refusal(foreign), ProofError::Signature);

        let symmetric = SigningKey::generate(Alg::HS256, "k".to_owned()).unwrap();
        let by_secret = sign(&symmetric, header(), &claims());
        assert_eq!(verify(&by_secret, &EXPECTED).unwrap_err(), ProofError::Algorithm);
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let mut none = header();
        none["alg"] = json!("none");
        let unsigned = format!("{}.{}.AA", part(&none), part(&claims()));
        assert_eq!(verify(&unsigned, &EXPECTED).unwrap_err(), ProofError::Algorithm);
        for odd in ["", "a", "a.b", "a.b.c", "....", &format!("{}.{}.", part(&header()), part(&claims()))] {
            assert_eq!(verify(odd, &EXPECTED).unwrap_err(), ProofError::Malformed, "{odd}");
        }
        let two = format!("{0}, {0}", sign(&own, header(), &claims()));
        assert_eq!(verify(&two, &EXPECTED).unwrap_err(), ProofError::Malformed);
    }

    #[test]
    fn a_nonce_counts_where_one_was_given() {
        let (key, mut claims) = (key(), claims());
        let proof = |claims: &Value| sign(&key, json!({"typ": "dpop+jwt", "jwk": bare(&key)}), claims);
        let expected = Expected { nonce: Some("n"), ..EXPECTED };
        let refused = verify(&proof(&claims), &expected).unwrap_err();
        assert_eq!((refused, refused.code()), (ProofError::Nonce, "use_dpop_nonce"));
        claims["nonce"] = json!("n");
        assert!(verify(&proof(&claims), &expected).is_ok() && verify(&proof(&claims), &EXPECTED).is_ok());
        for nonce in [json!(1), json!(null), json!(["n"])] {
            claims["nonce"] = nonce;
            for expected in [&expected, &EXPECTED] {
                assert_eq!(verify(&proof(&claims), expected).unwrap_err(), ProofError::Claim("nonce"));
            }
        }
    }

    #[test]
    fn a_challenge_names_the_algorithms() {
        let text = challenge(&[("error", "invalid_token"), ("error_description", "a\"b")]);
        assert_eq!(text, format!(r#"DPoP error="invalid_token", error_description="a\"b", algs="{ALGS}""#));
        assert_eq!(challenge(&[]), format!(r#"DPoP algs="{ALGS}""#));
    }
}
