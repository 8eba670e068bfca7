//! What the two plugins of signed requests share: an `Authorization` header of `name="value"` pairs, in which a consumer
//! named by one of them signs headers of the request by HMAC.

use std::{sync::Arc, time::Duration};

use aws_lc_rs::hmac;
use base::{Clock, Secret};
use base64::{Engine, engine::general_purpose::STANDARD};
use gateway::{consumer::CompiledCredential, error::ConfigError, plugin::RequestHead};
use http::{HeaderMap, HeaderName};
use time::{PrimitiveDateTime, format_description::BorrowedFormatItem, macros::format_description};

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
    /// HMAC with SHA-384.
    Sha384,
    /// HMAC with SHA-512.
    Sha512,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Sha1, Self::Sha256, Self::Sha384, Self::Sha512];

    /// As the client writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "hmac-sha1",
            Self::Sha256 => "hmac-sha256",
            Self::Sha384 => "hmac-sha384",
            Self::Sha512 => "hmac-sha512",
        }
    }

    const fn hmac(self) -> hmac::Algorithm {
        match self {
            Self::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha384 => hmac::HMAC_SHA384,
            Self::Sha512 => hmac::HMAC_SHA512,
        }
    }
}

/// A consumer's secret, ready for each algorithm.
pub(crate) struct Keys([(Algorithm, hmac::Key); 4]);

impl Keys {
    /// Whether `value`, in base64, is the signature of `text`.
    pub(crate) fn verify(&self, algorithm: Algorithm, text: &str, value: &str) -> bool {
        let key = self.0.iter().find(|(known, _)| *known == algorithm);
        let value = STANDARD.decode(value).ok();
        key.zip(value).is_some_and(|((_, key), value)| hmac::verify(key, text.as_bytes(), &value).is_ok())
    }
}

/// What a consumer signs as and with; each comes with the name of its field.
pub(crate) fn credential(
    plugin: &'static str,
    (signer_field, signer): (&str, &str),
    (secret_field, secret): (&str, &Secret<String>),
) -> Result<CompiledCredential, ConfigError> {
    let secret = secret.expose().as_bytes();
    for (field, is_empty) in [(signer_field, signer.is_empty()), (secret_field, secret.is_empty())] {
        if is_empty {
            return Err(ConfigError::new(field, "it is empty"));
        }
    }
    let key = |algorithm: Algorithm| (algorithm, hmac::Key::new(algorithm.hmac(), secret));
    Ok(CompiledCredential {
        plugin,
        lookup: Secret::new(signer.as_bytes().to_vec()),
        material: Arc::new(Keys(Algorithm::ALL.map(key))),
    })
}

/// What the client said of its signature.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Signature<'a> {
    pub(crate) signer: &'a str,
    pub(crate) algorithm: &'a str,
    /// What is signed, in lower case.
    pub(crate) headers: Vec<String>,
    /// In base64.
    pub(crate) value: &'a str,
}

impl<'a> Signature<'a> {
    /// `name="value"` pairs after commas, each name at most once; `signer_field` is the name of the signer's.
    pub(crate) fn read(fields: &'a str, signer_field: &str) -> Option<Self> {
        let mut signature = Self::default();
        for field in fields.split(',') {
            let (name, value) = field.trim_matches(' ').split_once('=')?;
            let value = value.strip_prefix('"')?.strip_suffix('"').filter(|value| !value.is_empty())?;
            let place = match name {
                name if name == signer_field => &mut signature.signer,
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
        let whole = ![signature.signer, signature.algorithm, signature.value].contains(&"");
        Some(signature).filter(|signature| whole && signature.headers.len() <= MAX_HEADERS)
    }

    /// The algorithm that it names, where that is one of `allowed`.
    pub(crate) fn algorithm_of(&self, allowed: &[Algorithm]) -> Option<Algorithm> {
        allowed.iter().copied().find(|algorithm| algorithm.name() == self.algorithm)
    }
}

/// The signed line of a header, `name: value`; `None` when it is not there once.
pub(crate) fn line(head: &RequestHead, name: &str) -> Option<String> {
    if name == "host" {
        return Some(format!("host: {}", head.authority()));
    }
    let mut values = head.headers.get_all(name).iter();
    let value = values.next().filter(|_| values.next().is_none())?;
    Some(format!("{name}: {}", value.to_str().ok()?))
}

/// Whether the date in this header is at most `skew` from now.
pub(crate) fn is_near(headers: &HeaderMap, name: &HeaderName, clock: &Clock, skew: Duration) -> bool {
    let date = headers.get(name).and_then(|date| date.to_str().ok()).and_then(seconds);
    date.is_some_and(|date| date.abs_diff(clock.now().secs()) <= skew.as_secs())
}

fn seconds(date: &str) -> Option<i64> {
    Some(PrimitiveDateTime::parse(date, IMF_FIXDATE).ok()?.assume_utc().unix_timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_names_each_of_its_fields_once() {
        for signer in ["keyId", "username"] {
            let read = |text: &'static str| {
                let text: &'static str = text.replace("SIGNER", signer).leak();
                Signature::read(text, signer)
            };
            let good = read(
                r#"SIGNER="k",algorithm="hmac-sha256", headers="@request-target Date",signature="c2ln""#,
            );
            let expected = Signature {
                signer: "k",
                algorithm: "hmac-sha256",
                headers: vec!["@request-target".to_owned(), "date".to_owned()],
                value: "c2ln",
            };
            assert_eq!(good, Some(expected));
            for bad in [
                "",
                r#"SIGNER="k""#,
                r#"SIGNER="k",algorithm="a",signature="s",SIGNER="other""#,
                r#"SIGNER="k",algorithm="a",signature="s",headers="a",headers="b""#,
                r#"SIGNER="",algorithm="a",signature="s""#,
                r#"SIGNER="k",algorithm="a",signature="s",more="x""#,
                r#"SIGNER=k,algorithm="a",signature="s""#,
            ] {
                assert_eq!(read(bad), None, "{bad}");
            }
        }
        assert_eq!(Signature::read(r#"keyId="k",algorithm="a",signature="s""#, "username"), None);
    }

    #[test]
    fn dates_are_those_of_http() {
        assert_eq!(seconds("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        for bad in [
            "",
            "784111777",
            "Sun, 06 Nov 1994 08:49:37",
            "1994-11-06T08:49:37Z",
            "Sun, 06 Nov 1994 08:49:37 GMT x",
        ] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }
}
