use crate::JoseError;

/// Bits of a modulus: less can be factored (RFC 7518 section 3.3), more makes every verification a burden.
const MODULUS_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;
/// FIPS 186-5 asks for exponents above 2^16; small ones turn padding slips into forgeries.
const MIN_EXPONENT: u64 = 65_537;
/// aws-lc's own limit, which also bounds the work.
const MAX_EXPONENT_BYTES: usize = 4;

/// The first primes of which Infineon's flawed generator (CVE-2017-15361) takes the product.
const ROCA_PRIMES: [u32; 38] = [
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103,
    107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
];

/// Refuses public keys that are weak or costly. `n` and `e` are big-endian without leading zeros (RFC 7518 section
/// 6.3.1).
pub(crate) fn check_public(n: &[u8], e: &[u8]) -> Result<(), JoseError> {
    let (Some(n_first), Some(e_first)) = (n.first(), e.first()) else {
        return Err(JoseError::Key("an RSA number is empty"));
    };
    if *n_first == 0 || *e_first == 0 {
        return Err(JoseError::Key("an RSA number has leading zeros"));
    }
    let bits = n.len().saturating_mul(8) - n_first.leading_zeros() as usize;
    if !MODULUS_BITS.contains(&bits) {
        return Err(JoseError::Key("an RSA modulus must have 2048 to 8192 bits"));
    }
    if n.last().is_none_or(|last| last % 2 == 0) {
        return Err(JoseError::Key("the RSA modulus is even"));
    }
    if e.len() > MAX_EXPONENT_BYTES {
        return Err(JoseError::Key("the RSA exponent is too large"));
    }
    let exponent = e.iter().fold(0u64, |value, byte| value << 8 | u64::from(*byte));
    if exponent < MIN_EXPONENT || exponent.is_multiple_of(2) {
        return Err(JoseError::Key("the RSA exponent must be odd and at least 65537"));
    }
    if has_roca_fingerprint(n) {
        return Err(JoseError::Key("the RSA modulus has the ROCA weakness (CVE-2017-15361)"));
    }
    Ok(())
}

/// Whether `n` looks made by the ROCA generator: modulo each of these primes it is then a power of 65537. A sound
/// modulus is that for all of them with a chance of about 2^-28.
fn has_roca_fingerprint(n: &[u8]) -> bool {
    ROCA_PRIMES.iter().all(|&prime| {
        let residue = n.iter().fold(0, |value, byte| (value << 8 | u32::from(*byte)) % prime);
        is_power_of_65537(residue, prime)
    })
}

fn is_power_of_65537(residue: u32, prime: u32) -> bool {
    let mut power = 1;
    loop {
        if power == residue {
            return true;
        }
        power = power * (65_537 % prime) % prime;
        if power == 1 {
            return false;
        }
    }
}
