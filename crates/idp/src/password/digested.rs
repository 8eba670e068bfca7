//! Hashes of passwords by a digest, an HMAC or scrypt, as imports bring them. Digests are no protection for passwords: they
//! are checked once, at the user's next login, which puts one of ours in their place.

use aws_lc_rs::{
    digest::{self, SHA1_FOR_LEGACY_USE_ONLY, SHA224, SHA256, SHA384, SHA512},
    hmac::{self, HMAC_SHA1_FOR_LEGACY_USE_ONLY, HMAC_SHA224, HMAC_SHA256, HMAC_SHA384, HMAC_SHA512},
};
use base::same_bytes;
use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use md5::Md5;

/// KiB of memory that scrypt may take, and its work: blocks times lanes.
const SCRYPT_MEMORY: u64 = 64 * 1024;
const SCRYPT_WORK: u64 = 1 << 20;
/// Bytes that scrypt may give.
const SCRYPT_BYTES: std::ops::RangeInclusive<usize> = 16..=128;
/// Bytes of a salt, and of an HMAC's key.
pub(crate) const MAX_SALT: usize = 128;
/// Bytes of a block of MD5 (RFC 2104).
const MD5_BLOCK: usize = 64;

/// One hash, with all that it takes to check a password.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Digested {
    pub(crate) method: Method,
    pub(crate) encoding: Encoding,
    pub(crate) salt: Vec<u8>,
    pub(crate) hash: Vec<u8>,
}

/// How the password and the salt became the hash.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Method {
    /// Of both, one behind the other.
    Digest { digest: DigestName, position: Position },
    /// The same, under a key.
    Hmac { digest: DigestName, key: Vec<u8>, position: Position },
    /// RFC 7914; the cost as a logarithm.
    Scrypt { log_cost: u8, block_size: u32, lanes: u32 },
}

/// A digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DigestName {
    Md5,
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

/// Where the salt stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Position {
    /// Before the password.
    Prefix,
    /// Behind it.
    Suffix,
}

/// How a password became bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Utf8,
    Utf16,
    /// ISO 8859-1, and so ASCII.
    Latin1,
}

impl DigestName {
    const ALL: [(&'static str, Self); 6] = [
        ("md5", Self::Md5),
        ("sha1", Self::Sha1),
        ("sha224", Self::Sha224),
        ("sha256", Self::Sha256),
        ("sha384", Self::Sha384),
        ("sha512", Self::Sha512),
    ];

    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find_map(|(known, digest)| (known == name).then_some(digest))
    }

    fn name(self) -> &'static str {
        Self::ALL.into_iter().find_map(|(name, known)| (known == self).then_some(name)).unwrap_or_default()
    }

    /// Bytes of what it gives.
    pub(crate) const fn len(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha224 => 28,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    fn of(self, bytes: &[u8]) -> Vec<u8> {
        let algorithm = match self {
            Self::Md5 => return md5(bytes),
            Self::Sha1 => &SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha224 => &SHA224,
            Self::Sha256 => &SHA256,
            Self::Sha384 => &SHA384,
            Self::Sha512 => &SHA512,
        };
        digest::digest(algorithm, bytes).as_ref().to_vec()
    }

    fn under(self, key: &[u8], bytes: &[u8]) -> Vec<u8> {
        let algorithm = match self {
            Self::Md5 => return hmac_md5(key, bytes),
            Self::Sha1 => HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha224 => HMAC_SHA224,
            Self::Sha256 => HMAC_SHA256,
            Self::Sha384 => HMAC_SHA384,
            Self::Sha512 => HMAC_SHA512,
        };
        hmac::sign(&hmac::Key::new(algorithm, key), bytes).as_ref().to_vec()
    }
}

fn md5(bytes: &[u8]) -> Vec<u8> {
    use md5::Digest as _;
    Md5::digest(bytes).to_vec()
}

/// RFC 2104, for the one digest that the HMACs at hand do not have.
fn hmac_md5(key: &[u8], bytes: &[u8]) -> Vec<u8> {
    let mut block = if key.len() > MD5_BLOCK { md5(key) } else { key.to_vec() };
    block.resize(MD5_BLOCK, 0);
    let padded = |pad: u8| block.iter().map(|byte| byte ^ pad).collect::<Vec<u8>>();
    md5(&[padded(0x5c), md5(&[&padded(0x36), bytes].concat())].concat())
}

impl Position {
    pub(crate) fn parse(name: &str) -> Option<Self> {
        match name {
            "prefix" => Some(Self::Prefix),
            "suffix" => Some(Self::Suffix),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Prefix => "prefix",
            Self::Suffix => "suffix",
        }
    }
}

impl Encoding {
    /// By the names that Node.js has for them.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        match name {
            "utf8" => Some(Self::Utf8),
            "utf16le" | "ucs2" => Some(Self::Utf16),
            "ascii" | "latin1" | "binary" => Some(Self::Latin1),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Utf8 => "utf8",
            Self::Utf16 => "utf16le",
            Self::Latin1 => "latin1",
        }
    }

    /// `None` where the password has characters that there are no bytes for: cutting them off would open for others.
    fn bytes(self, password: &str) -> Option<Vec<u8>> {
        match self {
            Self::Utf8 => Some(password.as_bytes().to_vec()),
            Self::Utf16 => Some(password.encode_utf16().flat_map(u16::to_le_bytes).collect()),
            Self::Latin1 => password.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect(),
        }
    }
}

impl Method {
    fn apply(&self, password: &[u8], salt: &[u8], length: usize) -> Option<Vec<u8>> {
        let joined = |position: &Position| match position {
            Position::Prefix => [salt, password].concat(),
            Position::Suffix => [password, salt].concat(),
        };
        match self {
            Self::Digest { digest, position } => Some(digest.of(&joined(position))),
            Self::Hmac { digest, key, position } => Some(digest.under(key, &joined(position))),
            Self::Scrypt { log_cost, block_size, lanes } => {
                let params = scrypt::Params::new(*log_cost, *block_size, *lanes).ok()?;
                let mut hash = vec![0; length];
                scrypt::scrypt(password, salt, &params, &mut hash).ok()?;
                Some(hash)
            }
        }
    }
}

impl Digested {
    /// Whether it can be checked, and without delaying everybody else's login.
    pub(crate) fn is_acceptable(&self) -> bool {
        let fits = match &self.method {
            Method::Digest { digest, .. } => self.hash.len() == digest.len(),
            Method::Hmac { digest, key, .. } => {
                self.hash.len() == digest.len() && (1..=MAX_SALT).contains(&key.len())
            }
            Method::Scrypt { log_cost, block_size, lanes } => {
                let blocks = u64::from(*block_size) << (*log_cost).min(30);
                SCRYPT_BYTES.contains(&self.hash.len())
                    && !self.salt.is_empty()
                    && *log_cost >= 1
                    && *block_size >= 1
                    && *lanes >= 1
                    && blocks.saturating_mul(128) <= SCRYPT_MEMORY * 1024
                    && blocks.saturating_mul(u64::from(*lanes)) <= SCRYPT_WORK
            }
        };
        fits && self.salt.len() <= MAX_SALT
    }

    /// Whether `password` belongs to it.
    pub(crate) fn opens_for(&self, password: &str) -> bool {
        let Some(bytes) = self.encoding.bytes(password) else { return false };
        let made = self.method.apply(&bytes, &self.salt, self.hash.len());
        self.is_acceptable() && made.is_some_and(|made| same_bytes(&made, &self.hash))
    }

    /// As it is kept: in the manner of PHC strings.
    pub(crate) fn to_text(&self) -> String {
        let encode = |bytes: &[u8]| STANDARD_NO_PAD.encode(bytes);
        let method = match &self.method {
            Method::Digest { digest, position } => {
                format!("digest$a={},s={}", digest.name(), position.name())
            }
            Method::Hmac { digest, key, position } => {
                format!("hmac$a={},s={},k={}", digest.name(), position.name(), encode(key))
            }
            Method::Scrypt { log_cost, block_size, lanes } => {
                format!("scrypt$ln={log_cost},r={block_size},p={lanes}")
            }
        };
        format!("${method},e={}${}${}", self.encoding.name(), encode(&self.salt), encode(&self.hash))
    }

    /// Reads [`Digested::to_text`].
    pub(crate) fn read(text: &str) -> Option<Self> {
        let mut parts = text.strip_prefix('$')?.split('$');
        let (kind, parameters) = (parts.next()?, parts.next()?);
        let decode = |text: &str| STANDARD_NO_PAD.decode(text).ok();
        let text_of = |name: &str| parameters.split(',').find_map(|part| part.strip_prefix(name));
        let number = |name: &str| text_of(name)?.parse::<u32>().ok();
        let digest = || DigestName::parse(text_of("a=")?);
        let position = || Position::parse(text_of("s=")?);
        let method = match kind {
            "digest" => Method::Digest { digest: digest()?, position: position()? },
            "hmac" => Method::Hmac { digest: digest()?, key: decode(text_of("k=")?)?, position: position()? },
            "scrypt" => Method::Scrypt {
                log_cost: u8::try_from(number("ln=")?).ok()?,
                block_size: number("r=")?,
                lanes: number("p=")?,
            },
            _ => return None,
        };
        let encoding = text_of("e=").map_or(Some(Encoding::Utf8), Encoding::parse)?;
        let (salt, hash) = (decode(parts.next()?)?, decode(parts.next()?)?);
        let read = Self { method, encoding, salt, hash };
        (parts.next().is_none() && read.is_acceptable()).then_some(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digit = |byte: u8| char::from(byte).to_digit(16).unwrap() as u8;
        text.as_bytes().chunks(2).map(|pair| digit(pair[0]) * 16 + digit(pair[1])).collect()
    }

    #[test]
    fn digests_and_macs_are_those_of_their_standards() {
        // RFC 1321 appendix A.5, RFC 2202 sections 2 and 3 (the long key too), RFC 4231 section 4.3.
        assert_eq!(DigestName::Md5.of(b"abc"), hex("900150983cd24fb0d6963f7d28e17f72"));
        let ask = b"what do ya want for nothing?";
        assert_eq!(DigestName::Md5.under(b"Jefe", ask), hex("750c783e6ab0b503eaa86e310a5db738"));
        let long = b"Test Using Larger Than Block-Size Key - Hash Key First";
        assert_eq!(DigestName::Md5.under(&[0xaa; 80], long), hex("6b1ab7fe4bd7bf8f0b62e6ce61b9d0cd"));
        assert_eq!(DigestName::Sha1.under(b"Jefe", ask), hex("effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"));
        let mac = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(DigestName::Sha256.under(b"Jefe", ask), hex(mac));
        for (_, digest) in DigestName::ALL {
            assert_eq!((digest.of(b"").len(), digest.under(b"k", b"").len()), (digest.len(), digest.len()));
        }
    }

    #[test]
    fn scrypt_is_rfc_7914s() {
        // Section 12.
        let digested = Digested {
            method: Method::Scrypt { log_cost: 10, block_size: 8, lanes: 16 },
            encoding: Encoding::Utf8,
            salt: b"NaCl".to_vec(),
            hash: hex(concat!(
                "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162",
                "2eaf30d92e22a3886ff109279d9830dac727afb94a83ee6d8360cbdfa2cc0640"
            )),
        };
        assert!(digested.opens_for("password") && !digested.opens_for("passwore"));
        assert_eq!(Digested::read(&digested.to_text()), Some(digested));
    }

    #[test]
    fn salt_and_password_stand_where_the_hash_says_and_are_read_as_it_says() {
        let made = |position, encoding: Encoding, password: &str| {
            let salt = b"pepper".to_vec();
            let bytes = encoding.bytes(password).unwrap();
            let method = Method::Digest { digest: DigestName::Sha256, position };
            let hash = method.apply(&bytes, &salt, 32).unwrap();
            Digested { method, encoding, salt, hash }
        };
        for position in [Position::Prefix, Position::Suffix] {
            for encoding in [Encoding::Utf8, Encoding::Utf16, Encoding::Latin1] {
                let digested = made(position, encoding, "pässword");
                assert!(digested.opens_for("pässword"));
                assert!(!digested.opens_for("pässworD") && !digested.opens_for(""));
                assert_eq!(Digested::read(&digested.to_text()), Some(digested));
            }
        }
        // By Node.js: sha256("pepper" + "password"), Buffer.from("é", "latin1"), Buffer.from("é", "utf16le").
        assert_eq!(Encoding::Latin1.bytes("é"), Some(vec![0xe9]));
        assert_eq!(Encoding::Utf16.bytes("é"), Some(vec![0xe9, 0]));
        let latin = made(Position::Prefix, Encoding::Latin1, "p\u{1}");
        assert!(!latin.opens_for("p\u{101}"), "a character is not cut to its lower byte");
    }

    #[test]
    fn hashes_that_cost_too_much_or_are_cut_are_refused() {
        let hash = STANDARD_NO_PAD.encode([7; 32]);
        for text in [
            format!("$scrypt$ln=20,r=8,p=1,e=utf8$c2FsdA${hash}"),
            format!("$scrypt$ln=14,r=8,p=100,e=utf8$c2FsdA${hash}"),
            format!("$scrypt$ln=64,r=8,p=1,e=utf8$c2FsdA${hash}"),
            format!("$scrypt$ln=0,r=8,p=1,e=utf8$c2FsdA${hash}"),
            format!("$scrypt$ln=14,r=0,p=1,e=utf8$c2FsdA${hash}"),
            format!("$scrypt$ln=14,r=4294967295,p=1,e=utf8$c2FsdA${hash}"),
            format!("$scrypt$ln=14,r=8,p=1,e=utf8$${hash}"),
            format!("$digest$a=sha1,s=prefix,e=utf8$c2FsdA${hash}"),
            format!("$digest$a=md4,s=prefix,e=utf8$c2FsdA${hash}"),
            format!("$digest$a=sha256,s=middle,e=utf8$c2FsdA${hash}"),
            format!("$digest$a=sha256,s=prefix,e=ebcdic$c2FsdA${hash}"),
            format!("$digest$a=sha256,s=prefix,e=utf8$c2FsdA${hash}$more"),
            format!("$hmac$a=sha256,s=prefix,k=,e=utf8$c2FsdA${hash}"),
            "$digest$a=sha256,s=prefix,e=utf8$c2FsdA$".to_owned(),
            "$digest$a=sha256,s=prefix,e=utf8$c2FsdA".to_owned(),
        ] {
            assert_eq!(Digested::read(&text), None, "{text}");
        }
    }
}
