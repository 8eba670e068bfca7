use std::fmt;

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    digest, hkdf,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

use crate::Random;

/// Bytes of a key, before base64.
const KEY_BYTES: usize = 32;
/// Bytes of a key's id in front of everything it sealed.
const ID_BYTES: usize = 8;
/// Layout 1: version byte, key id, nonce, AES-256-GCM ciphertext with its tag.
const VERSION: u8 = 1;

/// The keys that seal what is stored. The first key seals, every key opens, so a new key is put in front, everything
/// is sealed again, and only then the old one is taken away.
#[derive(Clone)]
pub struct Keyring {
    keys: Vec<Key>,
}

#[derive(Clone)]
struct Key {
    id: [u8; ID_BYTES],
    bytes: Zeroizing<[u8; KEY_BYTES]>,
}

/// Why a text is no keyring.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// There is no key in it.
    #[error("a keyring needs at least one key")]
    Empty,
    /// The entry at this place, counted from 1, is not 32 bytes of base64.
    #[error("key {0} of the keyring is not 32 bytes in base64")]
    Malformed(usize),
}

/// Why something sealed cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// Too short, or of a layout this version does not know.
    #[error("this is not a sealed value")]
    Malformed,
    /// No key of the ring sealed it.
    #[error("the value was sealed with a key that is not in the keyring")]
    UnknownKey,
    /// It was changed, or belongs to another record or field.
    #[error("the sealed value was altered or belongs elsewhere")]
    Tampered,
}

impl Keyring {
    /// A ring of one new key.
    pub fn generate(random: &Random) -> Self {
        Self { keys: vec![Key::new(random.bytes())] }
    }

    /// Reads keys, the sealing one first: base64 of 32 bytes each, separated by commas or white space; lines that
    /// begin with `#` are comments.
    pub fn parse(text: &str) -> Result<Self, KeyringError> {
        let keys = text
            .lines()
            .filter(|line| !line.trim_start().starts_with('#'))
            .flat_map(|line| line.split([',', ' ', '\t']))
            .filter(|entry| !entry.is_empty())
            .enumerate()
            .map(|(index, entry)| {
                let decoded = Zeroizing::new(STANDARD.decode(entry.trim()).unwrap_or_default());
                let bytes: [u8; KEY_BYTES] =
                    decoded.as_slice().try_into().map_err(|_| KeyringError::Malformed(index + 1))?;
                Ok(Key::new(bytes))
            })
            .collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() { Err(KeyringError::Empty) } else { Ok(Self { keys }) }
    }

    /// The text that [`Keyring::parse`] reads: one key a line. For the file that `dev` keeps.
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::new());
        for key in &self.keys {
            STANDARD.encode_string(key.bytes.as_slice(), &mut text);
            text.push('\n');
        }
        text
    }

    /// Seals `plain` for one place: `place` names record and field, and must be the same at [`Keyring::open`], so
    /// that a sealed value moved to another record does not open.
    pub fn seal(&self, random: &Random, plain: &[u8], place: &[u8]) -> Vec<u8> {
        let nonce: [u8; NONCE_LEN] = random.bytes();
        let mut out = Vec::with_capacity(1 + ID_BYTES + NONCE_LEN + plain.len() + AES_256_GCM.tag_len());
        // A ring has a first key by construction.
        let Some(key) = self.keys.first() else { return out };
        out.push(VERSION);
        out.extend_from_slice(&key.id);
        out.extend_from_slice(&nonce);
        let mut sealed = plain.to_vec();
        #[allow(clippy::expect_used)]
        key.aead()
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(place), &mut sealed)
            .expect("AES-GCM seals anything below 64 GiB");
        out.extend_from_slice(&sealed);
        out
    }

    /// Opens what [`Keyring::seal`] made for the same `place`.
    pub fn open(&self, sealed: &[u8], place: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let (id, rest) = match sealed.split_first() {
            Some((&VERSION, rest)) => rest.split_at_checked(ID_BYTES).ok_or(SealError::Malformed)?,
            _ => return Err(SealError::Malformed),
        };
        let (nonce, ciphertext) = rest.split_first_chunk::<NONCE_LEN>().ok_or(SealError::Malformed)?;
        let key = self.keys.iter().find(|key| key.id == id).ok_or(SealError::UnknownKey)?;
        let mut plain = Zeroizing::new(ciphertext.to_vec());
        let length = key
            .aead()
            .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(place), &mut plain)
            .map_err(|_| SealError::Tampered)?
            .len();
        plain.truncate(length);
        Ok(plain)
    }

    /// Whether `sealed` was made by the ring's first key.
    fn is_current(&self, sealed: &[u8]) -> bool {
        let id = sealed.get(1..=ID_BYTES);
        sealed.first() == Some(&VERSION) && self.keys.first().is_some_and(|key| id == Some(&key.id))
    }

    /// What `sealed` holds, sealed by the ring's first key; `None` where that is what sealed it.
    pub fn again(&self, random: &Random, sealed: &[u8], place: &[u8]) -> Result<Option<Vec<u8>>, SealError> {
        if self.is_current(sealed) {
            return Ok(None);
        }
        Ok(Some(self.seal(random, &self.open(sealed, place)?, place)))
    }

    /// Names of its keys, the sealing one first: hexadecimal, and no secret.
    pub fn ids(&self) -> Vec<String> {
        self.keys.iter().map(|key| key.id.iter().map(|byte| format!("{byte:02x}")).collect()).collect()
    }

    /// One key per member of the ring for another purpose, the sealing one first (HKDF-SHA256, `purpose` as info).
    pub fn derive(&self, purpose: &str) -> Vec<Zeroizing<[u8; 32]>> {
        self.keys.iter().map(|key| key.derive(purpose)).collect()
    }
}

impl Key {
    fn new(bytes: [u8; KEY_BYTES]) -> Self {
        let digest = digest::digest(&digest::SHA256, &bytes);
        let mut id = [0; ID_BYTES];
        id.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
        Self { id, bytes: Zeroizing::new(bytes) }
    }

    fn aead(&self) -> LessSafeKey {
        #[allow(clippy::expect_used)]
        LessSafeKey::new(UnboundKey::new(&AES_256_GCM, self.bytes.as_slice()).expect("the key has 32 bytes"))
    }

    fn derive(&self, purpose: &str) -> Zeroizing<[u8; 32]> {
        let mut out = Zeroizing::new([0; 32]);
        #[allow(clippy::expect_used)]
        hkdf::Salt::new(hkdf::HKDF_SHA256, b"portcullis")
            .extract(self.bytes.as_slice())
            .expand(&[purpose.as_bytes()], hkdf::HKDF_SHA256)
            .and_then(|okm| okm.fill(out.as_mut_slice()))
            .expect("32 bytes are within what HKDF-SHA256 gives");
        out
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyring({} keys)", self.keys.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_only_at_its_place() {
        let random = Random::seeded(1);
        let ring = Keyring::generate(&random);
        let sealed = ring.seal(&random, b"canary", b"client/1/secret");
        assert_eq!(ring.open(&sealed, b"client/1/secret").unwrap().as_slice(), b"canary");
        assert!(matches!(ring.open(&sealed, b"client/2/secret"), Err(SealError::Tampered)));
    }

    #[test]
    fn s03_an_old_key_opens_and_the_new_one_seals() {
        let random = Random::seeded(2);
        let old = Keyring::generate(&random);
        let new = Keyring::generate(&random);
        let both = Keyring::parse(&format!("{}{}", *new.to_text(), *old.to_text())).unwrap();
        let sealed = old.seal(&random, b"x", b"p");
        assert_eq!(both.open(&sealed, b"p").unwrap().as_slice(), b"x");
        let again = both.again(&random, &sealed, b"p").unwrap().unwrap();
        assert_eq!(new.open(&again, b"p").unwrap().as_slice(), b"x");
        assert!(both.again(&random, &again, b"p").unwrap().is_none());
        assert!(matches!(new.open(&sealed, b"p"), Err(SealError::UnknownKey)));
        assert_eq!(both.ids(), [new.ids(), old.ids()].concat());
    }

    #[test]
    fn a_keyring_names_the_entry_it_cannot_read() {
        assert!(matches!(Keyring::parse("# nothing\n"), Err(KeyringError::Empty)));
        let good = Keyring::generate(&Random::seeded(3)).to_text();
        assert!(matches!(Keyring::parse(&format!("{},AAAA", good.trim())), Err(KeyringError::Malformed(2))));
    }

    #[test]
    fn every_cut_of_a_sealed_value_is_refused() {
        let random = Random::seeded(4);
        let ring = Keyring::generate(&random);
        let sealed = ring.seal(&random, b"canary", b"p");
        for cut in 0..sealed.len() {
            assert!(ring.open(&sealed[..cut], b"p").is_err());
        }
    }
}
