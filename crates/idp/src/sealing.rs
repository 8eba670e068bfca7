//! Answers that are signed for their client, and that only the client can read (OpenID Connect Core 10.2, JARM, RFC 9701).

use base::Secret;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jose::jwe::{Enc, KeyAlg};
use serde_json::{Map, Value, json};

use crate::{IdpError, Site, idp::Core, model::Client};

/// How keys for answers may be encrypted: with the client's public key.
pub(crate) const KEY_ALGS: [KeyAlg; 5] =
    [KeyAlg::RsaOaep, KeyAlg::RsaOaep256, KeyAlg::EcdhEs, KeyAlg::EcdhEsA128Kw, KeyAlg::EcdhEsA256Kw];
/// What counts where a client names no content encryption (OpenID Connect Dynamic Client Registration 2).
const DEFAULT_ENC: Enc = Enc::A128CbcHs256;

/// The algorithms of one kind of answer, as the client has registered them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Protection<'a> {
    pub(crate) signed: Option<&'a str>,
    pub(crate) encrypted: Option<&'a str>,
    pub(crate) content: Option<&'a str>,
}

impl Client {
    /// Of ID tokens.
    pub(crate) fn id_token_protection(&self) -> Protection<'_> {
        Protection {
            signed: Some(self.id_token_alg()),
            encrypted: self.id_token_encrypted_response_alg.as_deref(),
            content: self.id_token_encrypted_response_enc.as_deref(),
        }
    }

    /// Of `/userinfo`: plain JSON where nothing is registered.
    pub(crate) fn userinfo_protection(&self) -> Protection<'_> {
        Protection {
            signed: self.userinfo_signed_response_alg.as_deref(),
            encrypted: self.userinfo_encrypted_response_alg.as_deref(),
            content: self.userinfo_encrypted_response_enc.as_deref(),
        }
    }

    /// Of introspection answers as JWTs, which are always signed.
    pub(crate) fn introspection_protection(&self) -> Protection<'_> {
        Protection {
            signed: Some(self.introspection_signed_response_alg.as_deref().unwrap_or(self.default_alg())),
            encrypted: self.introspection_encrypted_response_alg.as_deref(),
            content: self.introspection_encrypted_response_enc.as_deref(),
        }
    }

    /// Of authorization responses as JWTs, which are always signed.
    pub(crate) fn authorization_protection(&self) -> Protection<'_> {
        Protection {
            signed: Some(self.authorization_signed_response_alg.as_deref().unwrap_or(self.default_alg())),
            encrypted: self.authorization_encrypted_response_alg.as_deref(),
            content: self.authorization_encrypted_response_enc.as_deref(),
        }
    }
}

impl Core {
    /// Claims for a client, signed and encrypted as it has registered.
    ///
    /// # Errors
    ///
    /// Where the client has no key to encrypt for: nothing goes out in the clear that should not.
    pub(crate) async fn protected(
        &self,
        site: &Site,
        client: &Client,
        protection: Protection<'_>,
        typ: &str,
        claims: &Map<String, Value>,
    ) -> Result<Secret<String>, IdpError> {
        let (text, cty) = match protection.signed {
            Some("none") => (unsigned(site, claims)?, Some("JWT")),
            Some(alg) => {
                (self.sign(site, alg, client.client_secret.as_ref(), typ, claims).await?, Some("JWT"))
            }
            None => (Secret::new(Value::Object(claims.clone()).to_string()), None),
        };
        match protection.encrypted {
            None => Ok(text),
            Some(alg) => self.encrypted(client, alg, protection.content, cty, &text).await,
        }
    }

    async fn encrypted(
        &self,
        client: &Client,
        alg: &str,
        content: Option<&str>,
        cty: Option<&str>,
        text: &Secret<String>,
    ) -> Result<Secret<String>, IdpError> {
        let alg: KeyAlg = alg.parse()?;
        let enc = content.map_or(Ok(DEFAULT_ENC), str::parse::<Enc>)?;
        let missing = || IdpError::NoClientKey { client: client.client_id.clone(), alg: alg.as_str() };
        let keys = self.published_keys(client).await.ok_or_else(missing)?;
        let key = keys.encrypting.iter().find(|key| key.algs().contains(&alg)).ok_or_else(missing)?;
        Ok(Secret::new(key.encrypt(&self.random, alg, enc, cty, text.expose().as_bytes())?))
    }
}

/// A JWT with `alg` `none` (RFC 7519 section 6), where the tenant has them at all. That it does not pass through a browser
/// is for its caller to see to (OpenID Connect Core 3.1.3.7).
fn unsigned(site: &Site, claims: &Map<String, Value>) -> Result<Secret<String>, IdpError> {
    if !site.tenant.settings.flags.enable_unsigned_id_tokens {
        return Err(IdpError::NoKey { tenant: site.tenant.id.clone(), alg: "none".to_owned() });
    }
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = json!({ "alg": "none", "typ": "JWT" });
    Ok(Secret::new(format!("{}.{}.", encode(&header), encode(&Value::Object(claims.clone())))))
}
