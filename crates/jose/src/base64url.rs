use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

/// Whether `text` is base64url as RFC 7515 section 2 has it: no padding, no white space, and no bits set that decoding
/// would drop, so that no two texts stand for the same bytes.
pub(crate) fn is_strict(text: &[u8]) -> bool {
    // Without branches, so that the compiler makes vectors of it: every token passes here.
    let alphabet = text
        .iter()
        .fold(true, |all, &byte| all & (byte.is_ascii_alphanumeric() | (byte == b'-') | (byte == b'_')));
    let spare_bits = match text.len() % 4 {
        0 => return alphabet,
        1 => return false,
        2 => 0b1111,
        _ => 0b11,
    };
    alphabet && text.last().is_some_and(|&last| sextet(last) & spare_bits == 0)
}

/// Decodes strict base64url; `None` for anything else.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// Decodes strict base64url into `out`; `None` when it is not, or does not fit.
pub(crate) fn decode_into<'b>(text: &str, out: &'b mut [u8]) -> Option<&'b [u8]> {
    let length = URL_SAFE_NO_PAD.decode_slice(text, out).ok()?;
    out.get(..length)
}

/// Encodes without padding.
pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Appends the encoding of `bytes`, without padding.
pub(crate) fn encode_to(bytes: &[u8], out: &mut String) {
    URL_SAFE_NO_PAD.encode_string(bytes, out);
}

fn sextet(byte: u8) -> u8 {
    match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'-' => 62,
        _ => 63,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_called_strict_is_what_decodes() {
        for length in 0..4usize {
            for last in 0..=127u8 {
                let mut text = "A".repeat(length);
                text.push(char::from(last));
                assert_eq!(is_strict(text.as_bytes()), decode(&text).is_some(), "{text:?}");
            }
        }
    }
}
