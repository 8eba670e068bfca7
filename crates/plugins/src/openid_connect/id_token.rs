//! ID tokens as they come: encrypted for this client where the configuration says so, and signed in any case.

use base::{Secret, UnixMillis};
use jose::{
    JoseError,
    jwe::{CompactJwe, Enc, KeyAlg},
};
use rp::session::IdToken;

use super::{
    Inner,
    tokens::{BadIdToken, Expected, Unverified},
};

/// Key management for ID tokens: with public keys alone. `dir` and key wrap would need a shared key, which is no proof of
/// who encrypted.
const ALGS: [KeyAlg; 5] =
    [KeyAlg::RsaOaep256, KeyAlg::RsaOaep, KeyAlg::EcdhEs, KeyAlg::EcdhEsA128Kw, KeyAlg::EcdhEsA256Kw];

impl Inner {
    /// The ID token as it was signed, and what it says, if it is as it must be.
    pub(super) async fn take_id_token(
        &self,
        token: &Secret<String>,
        expected: &Expected<'_>,
        now: UnixMillis,
    ) -> Result<(Secret<String>, IdToken), BadIdToken> {
        // What was agreed to be encrypted is not taken in the clear (OIDC Core 3.1.3.7, rule 1).
        let signed = match self.decrypts() {
            true => self.decrypt(token.expose()).map_err(Unverified::from)?,
            false => token.clone(),
        };
        let checked = self.check_id_token(&signed, expected, now).await?;
        Ok((signed, checked))
    }

    /// Whether ID tokens are encrypted for this client.
    pub(super) fn decrypts(&self) -> bool {
        self.config.login.as_ref().is_some_and(|login| login.decryption.is_some())
    }

    /// The JWS in a JWE: an ID token is signed first (OIDC Core 10.2), so nothing is believed yet.
    pub(super) fn decrypt(&self, token: &str) -> Result<Secret<String>, JoseError> {
        let keys = self.config.login.as_ref().and_then(|login| login.decryption.as_ref());
        let keys = keys.ok_or(JoseError::NotCompactJws)?;
        let jwe = CompactJwe::parse(token)?;
        let named = |kid: Option<&str>| jwe.kid().is_none_or(|wanted| kid.is_none_or(|kid| kid == wanted));
        // One answer for every failure: which key came near is nobody's business.
        let mut last = JoseError::Decryption;
        for key in keys.iter().filter(|key| named(key.kid())) {
            match jwe.decrypt(key, &ALGS, &Enc::ALL) {
                Ok(plain) => {
                    return String::from_utf8(plain).map(Secret::new).map_err(|_| JoseError::NotCompactJws);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}
