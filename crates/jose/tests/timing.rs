//! J56: whether a wrong MAC is refused the later, the later its first wrong byte.
//!
//! Measured rather than argued: samples of both kinds in turns, and of each kind the fast half, which no other process has
//! disturbed. What a comparison that stops at the first difference would give away is measured beside it, so that a
//! difference that could not be seen is not taken for none. A leak shows every time and noise does not: one of a few tries
//! must be clean.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::{hint::black_box, time::Instant};

use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jose::{Alg, CompactJws, SigningKey, VerifyingKey};

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
/// Samples of each kind in one try. `J56_SAMPLES` asks for more.
const SAMPLES: usize = 20_000;
const TRIES: usize = 10;

/// The mean of the fast half, in nanoseconds.
fn fast_half(samples: &mut [u64]) -> f64 {
    samples.sort_unstable();
    let half = &samples[..samples.len() / 2];
    half.iter().sum::<u64>() as f64 / half.len() as f64
}

/// How much longer `late` takes than `early`, in nanoseconds.
fn difference(samples: usize, mut early: impl FnMut(), mut late: impl FnMut()) -> f64 {
    let mut took = [Vec::with_capacity(samples), Vec::with_capacity(samples)];
    let measure = |work: &mut dyn FnMut()| {
        let begun = Instant::now();
        work();
        u64::try_from(begun.elapsed().as_nanos()).unwrap()
    };
    for round in 0..samples {
        // In turns, and who goes first changes.
        if round % 2 == 0 {
            took[0].push(measure(&mut early));
            took[1].push(measure(&mut late));
        } else {
            took[1].push(measure(&mut late));
            took[0].push(measure(&mut early));
        }
    }
    let [early, late] = &mut took;
    fast_half(late) - fast_half(early)
}

/// A comparison that gives away where it stopped.
fn leaky(expected: &[u8], given: &[u8]) -> bool {
    expected.len() == given.len() && expected.iter().zip(given).all(|(a, b)| black_box(a) == black_box(b))
}

#[test]
fn j56_a_mac_that_is_wrong_at_its_end_takes_no_longer_than_one_that_is_wrong_at_once() {
    let samples = std::env::var("J56_SAMPLES").ok().and_then(|text| text.parse().ok()).unwrap_or(SAMPLES);
    let key = SigningKey::from_hmac_secret(Alg::HS256, "k".to_owned(), SECRET).unwrap();
    let verifying = VerifyingKey::from_hmac_secret(SECRET, Alg::HS256).unwrap();
    let good = key.sign(None, br#"{"sub":"alice"}"#).unwrap();
    let (input, signature) = good.rsplit_once('.').unwrap();
    let mac = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let wrong_at = |at: usize| {
        let mut mac = mac.clone();
        mac[at] ^= 1;
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(mac))
    };
    let (first, last) = (wrong_at(0), wrong_at(31));
    let own_key = hmac::Key::new(hmac::HMAC_SHA256, SECRET);
    let leak = |token: &str| {
        let (input, signature) = token.rsplit_once('.').unwrap();
        let given = URL_SAFE_NO_PAD.decode(signature).unwrap();
        black_box(leaky(hmac::sign(&own_key, input.as_bytes()).as_ref(), &given));
    };
    let verify = |token: &str| {
        let refused = CompactJws::parse(token).unwrap().verify(&verifying);
        black_box(refused.is_err());
    };
    let mut seen = Vec::new();
    for _ in 0..TRIES {
        let known = difference(samples, || leak(&first), || leak(&last));
        let ours = difference(samples, || verify(&first), || verify(&last));
        if known > 10.0 && ours.abs() < known / 4.0 {
            return;
        }
        seen.push((known, ours));
    }
    panic!("a comparison that leaks, and ours, in nanoseconds: {seen:?}");
}
