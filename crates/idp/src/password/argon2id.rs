//! Argon2 in memory that is lent from one hash to the next. Fresh memory costs a page fault for each 4 KiB of it, and
//! giving it back interrupts all cores, those that serve requests too.

use std::sync::{Mutex, MutexGuard, PoisonError};

use argon2::{Algorithm, Argon2, Block, Params, PasswordHash, Version};
use aws_lc_rs::constant_time;
use base::Random;
use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};

/// Bytes of a hash, and of its salt.
const HASH: usize = 32;
const SALT: usize = 16;

/// Memory for hashes of one size. As much is kept as was in use at the same time, until [`Lender::clear`].
#[derive(Debug)]
pub(crate) struct Lender {
    blocks: usize,
    kept: Mutex<Vec<Vec<Block>>>,
}

impl Lender {
    /// For hashes with these parameters; others have memory of their own.
    pub(crate) const fn new(params: &Params) -> Self {
        Self { blocks: params.block_count(), kept: Mutex::new(Vec::new()) }
    }

    /// Gives back what nobody has borrowed.
    pub(crate) fn clear(&self) {
        self.kept().clear();
    }

    fn lend<T>(&self, blocks: usize, work: impl FnOnce(&mut [Block]) -> T) -> T {
        if blocks != self.blocks {
            return work(&mut vec![Block::new(); blocks]);
        }
        let kept = self.kept().pop();
        let mut memory = kept.unwrap_or_else(|| vec![Block::new(); blocks]);
        let done = work(&mut memory);
        self.kept().push(memory);
        done
    }

    fn kept(&self) -> MutexGuard<'_, Vec<Vec<Block>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A new hash of `password`, in PHC string format.
pub(crate) fn hash(params: &Params, lender: &Lender, random: &Random, password: &[u8]) -> Option<String> {
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
    let (salt, mut out) = (random.bytes::<SALT>(), [0; HASH]);
    let hashed = lender.lend(params.block_count(), |memory| {
        argon2.hash_password_into_with_memory(password, &salt, &mut out, memory)
    });
    hashed.ok().map(|()| written(params, &salt, &out))
}

/// Whether `password` belongs to `hash`, of whatever kind of Argon2 with whatever parameters.
pub(crate) fn verify(lender: &Lender, password: &[u8], hash: &str) -> bool {
    let check = || {
        let read = PasswordHash::new(hash).ok()?;
        let algorithm = Algorithm::try_from(read.algorithm.as_str()).ok()?;
        let version = read.version.map(Version::try_from).transpose().ok()?.unwrap_or_default();
        let params = Params::try_from(&read).ok()?;
        let (salt, expected) = (read.salt?, read.hash?);
        let blocks = params.block_count();
        let argon2 = Argon2::new(algorithm, version, params);
        let mut out = vec![0; expected.as_ref().len()];
        lender
            .lend(blocks, |memory| {
                argon2.hash_password_into_with_memory(password, salt.as_ref(), &mut out, memory)
            })
            .ok()?;
        constant_time::verify_slices_are_equal(&out, expected.as_ref()).ok()
    };
    check().is_some()
}

/// What looks like a hash with these parameters. Nothing is hashed for it: that would delay every start.
pub(crate) fn decoy(params: &Params, random: &Random) -> String {
    written(params, &random.bytes::<SALT>(), &random.bytes::<HASH>())
}

fn written(params: &Params, salt: &[u8], hash: &[u8]) -> String {
    let (salt, hash) = (STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(hash));
    let (memory, passes, lanes) = (params.m_cost(), params.t_cost(), params.p_cost());
    format!("$argon2id$v=19$m={memory},t={passes},p={lanes}${salt}${hash}")
}

#[cfg(test)]
mod tests {
    use argon2::{PasswordHasher as _, PasswordVerifier as _};

    use super::*;

    #[test]
    fn hashes_are_those_of_the_library_and_memory_serves_again() {
        let params = Params::new(64, 1, 1, None).unwrap();
        let (lender, random) = (Lender::new(&params), Random::seeded(1));
        let library = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
        for password in ["", "correct horse", "anything else"] {
            let own = hash(&params, &lender, &random, password.as_bytes()).unwrap();
            library.verify_password(password.as_bytes(), own.as_str()).unwrap();
            let theirs = library.hash_password_with_salt(password.as_bytes(), b"a salt of theirs").unwrap();
            assert!(verify(&lender, password.as_bytes(), &theirs.to_string()));
            assert!(!verify(&lender, b"another", &theirs.to_string()));
            assert_eq!(lender.kept().len(), 1);
        }
        lender.clear();
        assert!(lender.kept().is_empty());
    }

    #[test]
    fn hashes_of_other_kinds_and_sizes_verify_in_memory_of_their_own() {
        let params = Params::new(64, 1, 1, None).unwrap();
        let lender = Lender::new(&params);
        for (algorithm, version, memory, lanes, length) in [
            (Algorithm::Argon2i, Version::V0x13, 64, 1, 32),
            (Algorithm::Argon2d, Version::V0x10, 128, 2, 16),
            (Algorithm::Argon2id, Version::V0x13, 256, 4, 64),
        ] {
            let params = Params::new(memory, 2, lanes, Some(length)).unwrap();
            let theirs = Argon2::new(algorithm, version, params);
            let theirs = theirs.hash_password_with_salt(b"secret", b"a salt of theirs").unwrap().to_string();
            assert!(verify(&lender, b"secret", &theirs), "{theirs}");
            assert!(!verify(&lender, b"secreu", &theirs), "{theirs}");
        }
        for broken in [
            "",
            "$argon2id$",
            "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQ",
            "$argon9$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$AAAA",
        ] {
            assert!(!verify(&lender, b"", broken), "{broken}");
        }
    }
}
