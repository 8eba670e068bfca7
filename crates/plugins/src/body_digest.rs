//! Bodies of signed requests: not signed themselves, but by the digest in `Digest` (RFC 3230).

use aws_lc_rs::digest;
use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderName};

pub(crate) const DIGEST: HeaderName = HeaderName::from_static("digest");

/// The SHA-256 that a client says its body has.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BodyDigest(Vec<u8>);

impl BodyDigest {
    /// Of the one `Digest: SHA-256=…`.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut lines = headers.get_all(DIGEST).iter();
        let line = lines.next().filter(|_| lines.next().is_none())?.to_str().ok()?;
        let (algorithm, value) = line.split_once('=')?;
        if !algorithm.eq_ignore_ascii_case("sha-256") {
            return None;
        }
        STANDARD.decode(value).ok().map(Self)
    }

    pub(crate) fn fits(&self, body: &[u8]) -> bool {
        digest::digest(&digest::SHA256, body).as_ref() == self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
