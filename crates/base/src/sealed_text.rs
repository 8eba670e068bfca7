//! Secrets inside of records that are text: each sealed on its own, for its record and field, and known by a prefix.

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};

use crate::{Keyring, Random};

/// In front of everything sealed, so that plain values are told apart.
const SEALED: &str = "pc:sealed:";
const NO_SEALED_VALUE: &str = "this is not a sealed value";

/// Seals texts, and opens them at the record and field they were sealed for.
#[derive(Clone, Debug)]
pub struct TextSealer {
    keyring: Keyring,
    random: Random,
}

impl TextSealer {
    /// Seals with the first key of `keyring`, and opens with any.
    pub const fn new(keyring: Keyring, random: Random) -> Self {
        Self { keyring, random }
    }

    /// `plain`, sealed for `field` of the record that is stored under `key`.
    pub fn seal(&self, plain: &str, (key, field): (&str, &str)) -> String {
        let sealed = self.keyring.seal(&self.random, plain.as_bytes(), place(key, field).as_bytes());
        format!("{SEALED}{}", STANDARD_NO_PAD.encode(sealed))
    }

    /// What `text` holds; `None` where it is not sealed.
    ///
    /// # Errors
    ///
    /// Why it does not open there.
    pub fn open(&self, text: &str, (key, field): (&str, &str)) -> Result<Option<String>, String> {
        let Some(sealed) = decoded(text)? else { return Ok(None) };
        let plain = self.keyring.open(&sealed, place(key, field).as_bytes());
        let plain = plain.map_err(|error| error.to_string())?;
        String::from_utf8(plain.to_vec()).map(Some).map_err(|_| NO_SEALED_VALUE.to_owned())
    }

    /// The same sealed by the keyring's first key; `None` where it is not sealed, or that key has sealed it.
    ///
    /// # Errors
    ///
    /// Why it does not open there.
    pub fn again(&self, text: &str, (key, field): (&str, &str)) -> Result<Option<String>, String> {
        let Some(sealed) = decoded(text)? else { return Ok(None) };
        let again = self.keyring.again(&self.random, &sealed, place(key, field).as_bytes());
        let again = again.map_err(|error| error.to_string())?;
        Ok(again.map(|sealed| format!("{SEALED}{}", STANDARD_NO_PAD.encode(sealed))))
    }

    /// The record `stored` with each first text of `changes` replaced by its second, and all else as it is, byte for
    /// byte; `None` where nothing changes.
    ///
    /// # Errors
    ///
    /// When a text is not there as [`TextSealer::seal`] wrote it.
    pub fn replace(stored: &[u8], changes: &[(String, String)]) -> Result<Option<Vec<u8>>, String> {
        if changes.is_empty() {
            return Ok(None);
        }
        let mut record = String::from_utf8(stored.to_vec()).map_err(|_| "it is not text".to_owned())?;
        for (old, new) in changes {
            // No two values were sealed with one nonce, so each stands there once.
            if !record.contains(old) {
                return Err("it is not written as this version writes it".to_owned());
            }
            record = record.replacen(old, new, 1);
        }
        Ok(Some(record.into_bytes()))
    }
}

fn decoded(text: &str) -> Result<Option<Vec<u8>>, String> {
    let Some(sealed) = text.strip_prefix(SEALED) else { return Ok(None) };
    STANDARD_NO_PAD.decode(sealed).map(Some).map_err(|_| NO_SEALED_VALUE.to_owned())
}

/// What a sealed text is bound to.
fn place(key: &str, field: &str) -> String {
    format!("{key}#{field}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealer(keys: &str) -> TextSealer {
        TextSealer::new(Keyring::parse(keys).unwrap(), Random::system())
    }

    #[test]
    fn s03_a_text_opens_at_its_place_and_is_sealed_again_once() {
        let key = || Keyring::generate(&Random::system()).to_text();
        let (old, new) = (key(), key());
        let sealed = sealer(&old).seal("secret", ("/routes/1", "key"));
        let both = sealer(&format!("{}{}", *new, *old));
        assert_eq!(both.open(&sealed, ("/routes/1", "key")), Ok(Some("secret".to_owned())));
        assert!(both.open(&sealed, ("/routes/2", "key")).is_err());
        assert!(both.open(&sealed, ("/routes/1", "other")).is_err());
        assert!(sealer(&new).open(&sealed, ("/routes/1", "key")).is_err());
        let again = both.again(&sealed, ("/routes/1", "key")).unwrap().unwrap();
        assert_eq!(sealer(&new).open(&again, ("/routes/1", "key")), Ok(Some("secret".to_owned())));
        assert_eq!(both.again(&again, ("/routes/1", "key")), Ok(None));
        for plain in ["", "secret", "pc:sealed"] {
            assert_eq!(both.open(plain, ("/routes/1", "key")), Ok(None));
            assert_eq!(both.again(plain, ("/routes/1", "key")), Ok(None));
        }
        assert!(both.open("pc:sealed:!", ("/routes/1", "key")).is_err());
    }

    #[test]
    fn a_record_keeps_every_byte_that_is_not_replaced() {
        let changes = [("a".to_owned(), "b".to_owned())];
        assert_eq!(TextSealer::replace(b"{ a  }", &changes), Ok(Some(b"{ b  }".to_vec())));
        assert_eq!(TextSealer::replace(b"{ a  }", &[]), Ok(None));
        assert!(TextSealer::replace(b"{}", &changes).is_err());
    }
}
