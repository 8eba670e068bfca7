//! Digests of texts that come again and again. A client sends its token with every request: comparing it with the last one
//! costs a tenth of hashing it.

use std::cell::RefCell;

use aws_lc_rs::digest;

/// Texts that one core remembers: a power of two.
const SLOTS: usize = 256;
/// Bytes of a text that is remembered, at most.
const LONGEST: usize = 4096;

pub(super) type Sha256 = [u8; 32];

thread_local! {
    static RECENT: RefCell<Recent> = RefCell::new(Recent::default());
}

/// The last text of each slot. All of a text is compared, so whoever chooses texts can make others be hashed anew, and
/// nothing else.
struct Recent(Vec<Slot>);

/// No `Debug`: texts are secrets.
#[derive(Clone, Default)]
struct Slot {
    text: Vec<u8>,
    digest: Sha256,
}

/// The SHA-256 of `text`.
pub(super) fn sha256(text: &[u8]) -> Sha256 {
    match text.last_chunk() {
        Some(end) if text.len() <= LONGEST => {
            RECENT.with_borrow_mut(|recent| recent.digest(text, u64::from_ne_bytes(*end)))
        }
        _ => computed(text),
    }
}

/// An array of a digest made otherwise.
pub(super) fn array(digest: &digest::Digest) -> Sha256 {
    let mut array = [0; 32];
    array.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
    array
}

fn computed(text: &[u8]) -> Sha256 {
    array(&digest::digest(&digest::SHA256, text))
}

impl Recent {
    /// `end` are the last bytes of `text`: those of a signature, or of a seal, which are as good as random.
    fn digest(&mut self, text: &[u8], end: u64) -> Sha256 {
        // Fibonacci hashing: only the uppermost bits of the product depend on all bits of the factor.
        let product = end.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let place = usize::try_from(product >> (u64::BITS - SLOTS.ilog2())).unwrap_or_default();
        let Some(slot) = self.0.get_mut(place) else { return computed(text) };
        if slot.text != text {
            slot.digest = computed(text);
            slot.text.clear();
            slot.text.extend_from_slice(text);
        }
        slot.digest
    }
}

impl Default for Recent {
    fn default() -> Self {
        Self(vec![Slot::default(); SLOTS])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_that_of_its_text_whatever_came_before() {
        // With one end, so in one slot; and of every kind of length.
        let texts =
            ["", "short", "one.12345678", "two.12345678", "one.12345678", "one.12345679"].map(str::to_owned);
        let long = [LONGEST, LONGEST + 1].map(|length| "x".repeat(length));
        for text in texts.iter().chain(&long).chain(&texts) {
            for _ in 0..2 {
                assert_eq!(sha256(text.as_bytes()), computed(text.as_bytes()), "{text}");
            }
        }
    }

    #[test]
    fn what_is_remembered_does_not_grow() {
        let mut recent = Recent::default();
        for number in 0..10_000_u64 {
            let text = number.to_le_bytes();
            assert_eq!(recent.digest(&text, number), computed(&text));
        }
        assert_eq!(recent.0.len(), SLOTS);
        let used = recent.0.iter().filter(|slot| !slot.text.is_empty()).count();
        assert!(used > SLOTS / 2, "texts share {used} slots");
    }
}
