//! `portcullis jose`: one token from standard input, one key from a file.

use std::{
    fs,
    io::{Read, Write},
    path::Path,
};

use anyhow::{Context, anyhow};

use crate::cli::Jose;

/// Bytes of standard input that are read; no token is longer.
const MAX_INPUT: u64 = 1 << 20;

/// Prints `valid` and what the token holds.
pub(crate) fn run(command: &Jose) -> anyhow::Result<()> {
    let opened = match command {
        Jose::Verify { jwk, alg } => jose::cli::verify(&key(jwk)?, alg.as_deref(), &input()?),
        Jose::Decrypt { jwk, alg, enc } => {
            jose::cli::decrypt(&key(jwk)?, alg.as_deref(), enc.as_deref(), &input()?)
        }
    };
    let payload = opened.map_err(|reason| anyhow!("invalid: {reason}"))?;
    let mut out = std::io::stdout().lock();
    out.write_all(b"valid\n")
        .and_then(|()| out.write_all(&payload))
        .and_then(|()| out.write_all(b"\n"))
        .context("cannot write to standard output")
}

fn key(file: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}

fn input() -> anyhow::Result<String> {
    let mut token = String::new();
    std::io::stdin()
        .take(MAX_INPUT)
        .read_to_string(&mut token)
        .context("cannot read the token from standard input")?;
    Ok(token)
}
