use aws_lc_rs::hmac;
use base::Keyring;

use crate::model::Digest;

/// Makes the keyed hashes under which codes, tokens and cookies are stored.
pub(crate) struct Digester {
    keys: Vec<hmac::Key>,
}

impl Digester {
    pub(crate) fn new(keyring: &Keyring) -> Self {
        let keys = keyring.derive("idp bearer values");
        Self { keys: keys.iter().map(|key| hmac::Key::new(hmac::HMAC_SHA256, key.as_slice())).collect() }
    }

    /// Under the keyring's first key, for what is stored now.
    pub(crate) fn digest(&self, value: &str) -> Digest {
        self.all(value).next().unwrap_or(Digest([0; 32]))
    }

    /// Under every key of the ring, the first one first, for what was stored before the ring changed.
    pub(crate) fn all<'a>(&'a self, value: &'a str) -> impl Iterator<Item = Digest> + 'a {
        self.keys.iter().map(move |key| {
            let tag = hmac::sign(key, value.as_bytes());
            let mut out = [0; 32];
            out.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
            Digest(out)
        })
    }
}
