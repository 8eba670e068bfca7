//! Consumers known by a secret with which they sign their requests, so that it never travels.
//!
//! What is signed is a line with the key's id and a line for each header that the client names; `@request-target` stands
//! for method and target. A signature without a date in it would be good for ever: `date` is always among the headers
//! that must be signed, and must be near (CVE-2026-47341).
//!
//! A body is not signed itself: the route may demand its digest in `Digest` (RFC 3230), and that this header is signed.

use std::{any::Any, sync::Arc, time::Duration};

use aws_lc_rs::{digest, hmac};
use base::{Clock, Secret};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use gateway::{
    consumer::{CompiledCredential, Consumers, Credential},
    error::{ConfigError, Failure},
    plugin::{BodyInspector, Flow, HeaderEdit, Phases, Plugin, PluginRequest, RequestHead, Verdict},
};
use http::{HeaderMap, HeaderName, header};
use time::{PrimitiveDateTime, format_description::BorrowedFormatItem, macros::format_description};

use crate::authentication::{ERRORS, Fallback, Guard};

/// The engine's name of it.
pub const NAME: &str = "hmac-auth";

/// What a client may name besides headers.
const REQUEST_TARGET: &str = "@request-target";
/// Most headers that a client may sign.
const MAX_HEADERS: usize = 64;
/// RFC 9110 section 5.6.7.
const IMF_FIXDATE: &[BorrowedFormatItem<'_>] =
    format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");

/// A hash to sign with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// HMAC with SHA-1.
    Sha1,
    /// HMAC with SHA-256.
    Sha256,
    /// HMAC with SHA-512.
    Sha512,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Sha1, Self::Sha256, Self::Sha512];

    /// As the client writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "hmac-sha1",
            Self::Sha256 => "hmac-sha256",
            Self::Sha512 => "hmac-sha512",
        }
    }

    const fn hmac(self) -> hmac::Algorithm {
        match self {
            Self::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha512 => hmac::HMAC_SHA512,
        }
    }
}

/// How signatures are judged.
#[derive(Clone, Debug)]
pub struct Config {
    /// Those that count.
    pub algorithms: Vec<Algorithm>,
    /// How far the request's date may be from the gate's.
    pub clock_skew: Duration,
    /// What must be signed besides the date: headers, or `@request-target`.
    pub signed: Vec<String>,
    /// Bytes of the longest body whose digest is checked; `None`: no digest is asked for.
    pub checked_body: Option<usize>,
    /// Whether the upstream gets the signature.
    pub hide: bool,
    /// What happens to requests without a good one.
    pub fallback: Fallback,
    /// Tells the time.
    pub clock: Clock,
}

/// The compiled form.
struct HmacAuth {
    config: Config,
    guard: Arc<Guard>,
}

/// A consumer's secret, ready for each algorithm.
struct Keys([(Algorithm, hmac::Key); 3]);

/// Compiles `config`.
///
/// # Errors
///
/// When the realm cannot be sent, or a name is no header's.
pub fn compile(mut config: Config) -> Result<Arc<dyn Plugin>, ConfigError> {
    for name in &mut config.signed {
        name.make_ascii_lowercase();
        if name != REQUEST_TARGET && HeaderName::from_bytes(name.as_bytes()).is_err() {
            return Err(ConfigError::new("signed_headers", "it has what is not the name of a header"));
        }
    }
    if !config.signed.iter().any(|name| name == "date") {
        config.signed.push("date".to_owned());
    }
    let guard = Arc::new(Guard::new("hmac", config.fallback.clone())?);
    Ok(Arc::new(HmacAuth { config, guard }))
}

/// A consumer's key id and secret.
///
/// # Errors
///
/// When one of them is empty.
pub fn credential(key_id: &str, secret: &Secret<String>) -> Result<CompiledCredential, ConfigError> {
    for (field, text) in [("key_id", key_id), ("secret_key", secret.expose().as_str())] {
        if text.is_empty() {
            return Err(ConfigError::new(field, "it is empty"));
        }
    }
    let key =
        |algorithm: Algorithm| (algorithm, hmac::Key::new(algorithm.hmac(), secret.expose().as_bytes()));
    Ok(CompiledCredential {
        plugin: NAME,
        lookup: Secret::new(key_id.as_bytes().to_vec()),
        material: Arc::new(Keys(Algorithm::ALL.map(key))),
    })
}

/// What the client said of its signature.
#[derive(Debug, Default, PartialEq, Eq)]
struct Signature<'a> {
    key_id: &'a str,
    algorithm: &'a str,
    headers: Vec<String>,
    value: &'a str,
}

impl<'a> Signature<'a> {
    fn of(headers: &'a HeaderMap) -> Result<Self, &'static str> {
        const MISSING: &str = "client request can't be validated: missing Authorization header";
        const OTHER: &str =
            "client request can't be validated: Authorization header does not start with 'Signature'";
        let mut lines = headers.get_all(header::AUTHORIZATION).iter();
        let line = lines.next().ok_or(MISSING)?;
        if lines.next().is_some() {
            return Err(UNPROVEN);
        }
        let line = line.to_str().map_err(|_| UNPROVEN)?;
        let (scheme, fields) = line.split_once(' ').unwrap_or((line, ""));
        if !scheme.eq_ignore_ascii_case("signature") {
            return Err(OTHER);
        }
        Self::read(fields).ok_or(UNPROVEN)
    }

    /// `name="value"` pairs after commas; each name at most once.
    fn read(fields: &'a str) -> Option<Self> {
        let mut signature = Self::default();
        for field in fields.split(',') {
            let (name, value) = field.trim_matches(' ').split_once('=')?;
            let value = value.strip_prefix('"')?.strip_suffix('"').filter(|value| !value.is_empty())?;
            let place = match name {
                "keyId" => &mut signature.key_id,
                "algorithm" => &mut signature.algorithm,
                "signature" => &mut signature.value,
                "headers" if signature.headers.is_empty() => {
                    signature.headers = value.split(' ').map(str::to_ascii_lowercase).collect();
                    continue;
                }
                _ => return None,
            };
            if !place.is_empty() {
                return None;
            }
            *place = value;
        }
        let whole = ![signature.key_id, signature.algorithm, signature.value].contains(&"");
        Some(signature).filter(|signature| whole && signature.headers.len() <= MAX_HEADERS)
    }

    /// The text that is signed; `None` when it names a header that is not there once.
    fn text(&self, head: &RequestHead) -> Option<String> {
        let mut text = format!("{}\n", self.key_id);
        for name in &self.headers {
            match name.as_str() {
                REQUEST_TARGET => text.push_str(&format!("{} {}", head.method, head.target)),
                "host" => text.push_str(&format!("host: {}", head.authority())),
                name => {
                    let mut values = head.headers.get_all(name).iter();
                    let value = values.next()?.to_str().ok()?;
                    if values.next().is_some() {
                        return None;
                    }
                    text.push_str(&format!("{name}: {value}"));
                }
            }
            text.push('\n');
        }
        Some(text)
    }
}

/// What all failures are told of which more would help to forge.
const UNPROVEN: &str = "client request can't be validated";

impl HmacAuth {
    fn find(&self, request: &PluginRequest<'_>) -> Result<Arc<Credential>, &'static str> {
        let signature = Signature::of(&request.head.headers)?;
        self.judge(request, &signature).ok_or(UNPROVEN)
    }

    fn judge(&self, request: &PluginRequest<'_>, signature: &Signature<'_>) -> Option<Arc<Credential>> {
        let algorithms = self.config.algorithms.iter();
        let algorithm = *algorithms.clone().find(|algorithm| algorithm.name() == signature.algorithm)?;
        if !self.config.signed.iter().all(|demanded| signature.headers.contains(demanded)) {
            return None;
        }
        let credential = request.consumers.credential(NAME, signature.key_id.as_bytes())?;
        let (_, key) = credential.material::<Keys>()?.0.iter().find(|(known, _)| *known == algorithm)?;
        let text = signature.text(request.head)?;
        let value = STANDARD.decode(signature.value).ok()?;
        hmac::verify(key, text.as_bytes(), &value).ok()?;
        self.is_now(&request.head.headers).then(|| Arc::clone(credential))
    }

    /// Goes on with a signed request once its body is known to be the one that `Digest` is of.
    fn inspect(&self, request: &PluginRequest<'_>, signer: Arc<Credential>, limit: usize) -> Flow {
        let promised = BodyDigest::of(&request.head.headers);
        let (guard, consumers) = (Arc::clone(&self.guard), Arc::clone(request.consumers));
        let hidden = self.config.hide.then_some(HeaderEdit::Remove(header::AUTHORIZATION));
        let judge = move |body: Result<Bytes, Failure>| {
            let mut verdict = Self::judge_body(body, promised.as_ref(), signer, &guard, &consumers);
            verdict.request.extend(hidden);
            Box::pin(async move { verdict }) as _
        };
        Flow::Inspect(BodyInspector { limit, judge: Box::new(judge) })
    }

    fn judge_body(
        body: Result<Bytes, Failure>,
        promised: Option<&BodyDigest>,
        signer: Arc<Credential>,
        guard: &Guard,
        consumers: &Consumers,
    ) -> Verdict {
        let body = match body {
            Ok(body) => body,
            Err(failure) => {
                return Verdict::respond(ERRORS.reply(failure.status(), failure.message(), false));
            }
        };
        if promised.is_some_and(|promised| promised.fits(&body)) {
            return Verdict { attach: Some(signer.into()), ..Verdict::default() };
        }
        match guard.fall_back(consumers, &UNPROVEN.into()) {
            Ok(consumer) => Verdict { attach: Some(consumer.into()), ..Verdict::default() },
            Err(reply) => Verdict { reply: Some(reply), ..Verdict::default() },
        }
    }

    fn is_now(&self, headers: &HeaderMap) -> bool {
        let date = headers.get(header::DATE).and_then(|date| date.to_str().ok());
        let date = date.and_then(|date| PrimitiveDateTime::parse(date, IMF_FIXDATE).ok());
        let Some(date) = date.map(|date| date.assume_utc().unix_timestamp()) else { return false };
        date.abs_diff(self.config.clock.now().secs()) <= self.config.clock_skew.as_secs()
    }
}

/// The SHA-256 that a client says its body has.
#[derive(Debug, PartialEq, Eq)]
struct BodyDigest(Vec<u8>);

impl BodyDigest {
    /// Of the one `Digest: SHA-256=…`.
    fn of(headers: &HeaderMap) -> Option<Self> {
        let mut lines = headers.get_all("digest").iter();
        let line = lines.next().filter(|_| lines.next().is_none())?.to_str().ok()?;
        let (algorithm, value) = line.split_once('=')?;
        if !algorithm.eq_ignore_ascii_case("sha-256") {
            return None;
        }
        STANDARD.decode(value).ok().map(Self)
    }

    fn fits(&self, body: &[u8]) -> bool {
        digest::digest(&digest::SHA256, body).as_ref() == self.0
    }
}

impl Plugin for HmacAuth {
    fn name(&self) -> &'static str {
        NAME
    }

    fn phases(&self) -> Phases {
        Phases::REWRITE
    }

    fn rewrite(&self, request: &mut PluginRequest<'_>) -> Flow {
        if self.guard.passes(request) {
            return Flow::Continue;
        }
        let found = match (self.find(request), self.config.checked_body) {
            (Ok(signer), Some(limit)) => return self.inspect(request, signer, limit),
            (found, _) => found,
        };
        let flow = self.guard.conclude(request, found);
        if self.config.hide && matches!(flow, Flow::Continue) {
            request.head.headers.remove(header::AUTHORIZATION);
        }
        flow
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_names_each_of_its_fields_once() {
        let good = Signature::read(
            r#"keyId="k",algorithm="hmac-sha256", headers="@request-target Date",signature="c2ln""#,
        );
        let expected = Signature {
            key_id: "k",
            algorithm: "hmac-sha256",
            headers: vec!["@request-target".to_owned(), "date".to_owned()],
            value: "c2ln",
        };
        assert_eq!(good, Some(expected));
        for bad in [
            "",
            r#"keyId="k""#,
            r#"keyId="k",algorithm="a",signature="s",keyId="other""#,
            r#"keyId="k",algorithm="a",signature="s",headers="a",headers="b""#,
            r#"keyId="",algorithm="a",signature="s""#,
            r#"keyId="k",algorithm="a",signature="s",more="x""#,
            r#"keyId=k,algorithm="a",signature="s""#,
        ] {
            assert_eq!(Signature::read(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_body_has_one_digest_by_sha_256() {
        let of = |lines: &[&str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append("digest", line.parse().unwrap());
            }
            BodyDigest::of(&headers)
        };
        let empty = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
        for good in [format!("SHA-256={empty}"), format!("sha-256={empty}")] {
            let digest = of(&[&good]).unwrap();
            assert!(digest.fits(b"") && !digest.fits(b" "), "{good}");
        }
        let sha = format!("SHA-256={empty}");
        for bad in [
            &[][..],
            &["hello"],
            &["SHA-256="],
            &[&sha, &sha],
            &[&format!("{sha}, SHA-512=x")],
            &[&format!("MD5={empty}")],
        ] {
            assert!(of(bad).is_none_or(|digest| !digest.fits(b"")), "{bad:?}");
        }
    }

    #[test]
    fn dates_are_those_of_http() {
        let parse = |text: &str| PrimitiveDateTime::parse(text, IMF_FIXDATE).ok();
        assert_eq!(
            parse("Sun, 06 Nov 1994 08:49:37 GMT").unwrap().assume_utc().unix_timestamp(),
            784_111_777
        );
        for bad in [
            "",
            "784111777",
            "Sun, 06 Nov 1994 08:49:37",
            "1994-11-06T08:49:37Z",
            "Sun, 06 Nov 1994 08:49:37 GMT x",
        ] {
            assert!(parse(bad).is_none(), "{bad}");
        }
    }
}
