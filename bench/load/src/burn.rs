//! Threads that do what a login costs most: Argon2id as the identity provider has it by default.

use std::thread;

use anyhow::{Context, anyhow};
use argon2::{Algorithm, Argon2, Params, Version};

/// Hashes on `threads` threads until standard input ends, which ends the process.
pub(crate) fn burn(threads: usize) -> anyhow::Result<()> {
    let params = Params::new(19 * 1024, 2, 1, None).map_err(|error| anyhow!("{error}"))?;
    for _ in 0..threads {
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
        thread::Builder::new()
            .spawn(move || {
                let mut out = [0; 32];
                while argon2.hash_password_into(b"a password", b"a salt of 16 byt", &mut out).is_ok() {}
            })
            .context("cannot start a thread")?;
    }
    crate::say("begin")?;
    crate::until_released();
    Ok(())
}
