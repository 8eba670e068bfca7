//! Hashes of passwords that another program made. They are checked at a user's next login, which puts one of ours in their
//! place.

use std::num::NonZeroU32;

use aws_lc_rs::pbkdf2::{self, PBKDF2_HMAC_SHA1, PBKDF2_HMAC_SHA256, PBKDF2_HMAC_SHA384, PBKDF2_HMAC_SHA512};
use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};

use super::{
    argon2id::{self, Lender},
    digested::Digested,
};

/// Rounds of bcrypt, as the logarithm. Each more doubles the time; the last takes a quarter of a second.
const BCRYPT_COSTS: std::ops::RangeInclusive<u32> = 4..=12;
/// Iterations of PBKDF2.
const PBKDF2_ITERATIONS: std::ops::RangeInclusive<u32> = 1_000..=1_000_000;
/// Argon2: KiB of memory times passes.
const ARGON2_WORK: u32 = 512 * 1024;
const ARGON2_MEMORY: u32 = 128 * 1024;

/// A hash by PBKDF2: `$pbkdf2-sha256$i=100000,l=32$SALT$HASH`.
struct Pbkdf2 {
    algorithm: pbkdf2::Algorithm,
    iterations: NonZeroU32,
    salt: Vec<u8>,
    hash: Vec<u8>,
}

/// Whether a hash can be read, and checked without delaying everybody else's login.
pub(crate) fn is_acceptable(hash: &str) -> bool {
    if hash.len() > 512 {
        return false;
    }
    if let Some(rest) = hash.strip_prefix("$argon2") {
        let parameter = |name: &str| {
            let text = rest.split(['$', ',']).find_map(|part| part.strip_prefix(name))?;
            text.parse::<u32>().ok()
        };
        let cheap = match (parameter("m="), parameter("t="), parameter("p=")) {
            (Some(memory), Some(passes), Some(lanes)) => {
                (8..=ARGON2_MEMORY).contains(&memory)
                    && (1..=16).contains(&lanes)
                    && (1..=ARGON2_WORK / memory.max(1)).contains(&passes)
            }
            _ => false,
        };
        return cheap && argon2::PasswordHash::new(hash).is_ok_and(|read| read.hash.is_some());
    }
    if is_bcrypt(hash) {
        let cost = hash.split('$').nth(2).and_then(|cost| cost.parse::<u32>().ok());
        return cost.is_some_and(|cost| BCRYPT_COSTS.contains(&cost))
            && hash.parse::<bcrypt::HashParts>().is_ok();
    }
    Pbkdf2::read(hash).is_some() || Digested::read(hash).is_some()
}

/// Whether `password` belongs to `hash`, whoever made it.
pub(crate) fn verify(lender: &Lender, password: &str, hash: &str) -> bool {
    if let Some(read) = Digested::read(hash) {
        return read.opens_for(password);
    }
    let password = password.as_bytes();
    if is_bcrypt(hash) {
        return bcrypt::verify(password, hash).unwrap_or(false);
    }
    if let Some(read) = Pbkdf2::read(hash) {
        let Pbkdf2 { algorithm, iterations, salt, hash } = read;
        return pbkdf2::verify(algorithm, iterations, &salt, password, &hash).is_ok();
    }
    argon2id::verify(lender, password, hash)
}

/// Whether a hash is to be replaced by one of ours.
pub(crate) fn is_foreign(hash: &str) -> bool {
    !hash.starts_with("$argon2id$")
}

fn is_bcrypt(hash: &str) -> bool {
    ["$2a$", "$2b$", "$2y$"].iter().any(|prefix| hash.starts_with(prefix))
}

impl Pbkdf2 {
    fn read(text: &str) -> Option<Self> {
        let mut parts = text.strip_prefix('$')?.split('$');
        let algorithm = match parts.next()? {
            "pbkdf2-sha1" => PBKDF2_HMAC_SHA1,
            "pbkdf2-sha256" => PBKDF2_HMAC_SHA256,
            "pbkdf2-sha384" => PBKDF2_HMAC_SHA384,
            "pbkdf2-sha512" => PBKDF2_HMAC_SHA512,
            _ => return None,
        };
        let parameters = parts.next()?;
        let number =
            |name: &str| parameters.split(',').find_map(|part| part.strip_prefix(name)?.parse::<u32>().ok());
        let iterations = number("i=")?;
        let salt = STANDARD_NO_PAD.decode(parts.next()?.trim_end_matches('=')).ok()?;
        let hash = STANDARD_NO_PAD.decode(parts.next()?.trim_end_matches('=')).ok()?;
        let fits = PBKDF2_ITERATIONS.contains(&iterations)
            && (16..=64).contains(&hash.len())
            && number("l=").is_none_or(|length| u32::try_from(hash.len()) == Ok(length))
            && !salt.is_empty()
            && parts.next().is_none();
        let iterations = NonZeroU32::new(iterations)?;
        fits.then_some(Self { algorithm, iterations, salt, hash })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASHES: [&str; 5] = [
        "$2b$06$dJ3I6U4dfGRfRAVj.dPS3.jMy6GL78HG5kx/Fp0pku5SorbwxwfQC",
        "$pbkdf2-sha256$i=20000,l=32$c2FsdHNhbHRzYWx0c2FsdA$Amm0pYzYgVHl/4wYfUmJqTL2sWEyr3e6cFgvdURL6cI",
        "$pbkdf2-sha1$i=20000,l=20$c2FsdHNhbHQ$QY+oNgvidW8wpZCltGfWtXQWe4A",
        "$pbkdf2-sha1$i=20000$c2FsdHNhbHQ=$QY+oNgvidW8wpZCltGfWtXQWe4A=",
        "$argon2id$v=19$m=8192,t=2,p=1$pHr3MRXEnWfskpE38uKT1A$Qm+2Lsr7M+ZCWIIkl4wfL8vBEYdYz67PWYiE7VmraaE",
    ];

    fn is(password: &str, hash: &str) -> bool {
        verify(&Lender::new(&argon2::Params::default()), password, hash)
    }

    #[test]
    fn hashes_of_others_open_for_their_passwords() {
        // By Python's bcrypt, hashlib and argon2-cffi.
        for hash in HASHES {
            assert!(is_acceptable(hash), "{hash}");
            assert!(is("secret password", hash) && !is("secret passwore", hash), "{hash}");
        }
        assert!(HASHES.iter().all(|hash| is_foreign(hash) != hash.starts_with("$argon2id$")));
    }

    #[test]
    fn hashes_that_cost_too_much_or_cannot_be_read_are_refused() {
        for hash in [
            "",
            "secret password",
            "$2b$10$short",
            "$2b$31$JjsyzJfCUOlmu4bxFCVrveg41Ah9mRd6Q6zIhRCVZIwdU1t50dIo2",
            "$pbkdf2-sha256$i=1,l=32$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "$pbkdf2-sha256$i=100000000,l=32$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "$pbkdf2-sha256$i=100000,l=16$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "$pbkdf2-md5$i=100000,l=32$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "$argon2id$v=19$m=4194304,t=3,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA",
            "$argon2id$v=19$m=65536,t=1000,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA",
            "$1$salt$qJH7.N4xYta3aEG/dfqo/0",
        ] {
            assert!(!is_acceptable(hash), "{hash}");
        }
    }
}
