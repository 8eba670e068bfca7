//! Published keys as PEM (SubjectPublicKeyInfo, RFC 5280), which is what HAProxy reads.

use anyhow::{Context, bail};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde_json::Value;

/// rsaEncryption (1.2.840.113549.1.1.1) with its NULL parameter.
const RSA: &[u8] =
    &[0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
/// id-ecPublicKey (1.2.840.10045.2.1) on prime256v1 (1.2.840.10045.3.1.7).
const P256: &[u8] = &[
    0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07,
];

/// The key that signed `token`.
pub(crate) fn pem(jwks: &Value, token: &str) -> anyhow::Result<String> {
    let header = token.split('.').next().unwrap_or_default();
    let header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header)?)?;
    let key = jwks
        .get("keys")
        .and_then(Value::as_array)
        .and_then(|keys| keys.iter().find(|key| key.get("kid") == header.get("kid")))
        .context("the token's key is not published")?;
    let text = |name: &str| key.get(name).and_then(Value::as_str).unwrap_or_default();
    let number = |name: &str| URL_SAFE_NO_PAD.decode(text(name));
    let (algorithm, bits) = match text("kty") {
        "RSA" => (RSA, sequence(&[integer(&number("n")?), integer(&number("e")?)].concat())),
        // An uncompressed point (SEC 1, 2.3.3).
        "EC" => (P256, [&[4][..], &number("x")?, &number("y")?].concat()),
        other => bail!("a key of the kind {other:?}"),
    };
    let bits = tagged(0x03, &[&[0][..], &bits].concat());
    let text = STANDARD.encode(sequence(&[algorithm, &bits].concat()));
    Ok(format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n"))
}

fn integer(bytes: &[u8]) -> Vec<u8> {
    let negative = bytes.first().is_some_and(|first| *first >= 0x80);
    let padded = if negative { [&[0][..], bytes].concat() } else { bytes.to_vec() };
    tagged(0x02, &padded)
}

fn sequence(content: &[u8]) -> Vec<u8> {
    tagged(0x30, content)
}

/// DER: tag, length, content.
fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut out = vec![tag];
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => out.push(short),
        _ => {
            let bytes: Vec<u8> = length.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect();
            out.push(0x80 | u8::try_from(bytes.len()).unwrap_or(0));
            out.extend(bytes);
        }
    }
    out.extend_from_slice(content);
    out
}
