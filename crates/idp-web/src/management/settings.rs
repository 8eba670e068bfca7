//! The tenant's settings and signing keys.

use axum::http::StatusCode;
use idp::{
    management::ManagementError,
    model::{KeyState, SigningKeyRecord, TenantSettings, iso8601},
};
use serde_json::{Value, json};

use super::{Call, Done, Failed};

impl Call<'_> {
    pub(super) async fn read_tenant(self) -> Result<Done, Failed> {
        let listing = self.listing(&[])?;
        let settings = self.management().tenants.read(self.site).await?;
        Ok(Done::Found(listing.select(wire(&settings))))
    }

    pub(super) async fn update_tenant(mut self) -> Result<Done, Failed> {
        let body = self.object()?;
        let settings = self.management().tenants.update(self.site, body).await?;
        Ok(Done::Found(wire(&settings)))
    }

    pub(super) async fn list_keys(self) -> Result<Done, Failed> {
        let keys = self.keys().await?;
        Ok(Done::Found(Value::Array(keys.iter().map(shown_key).collect())))
    }

    pub(super) async fn read_key(self) -> Result<Done, Failed> {
        let keys = self.keys().await?;
        let key = keys.iter().find(|key| key.kid == self.segment(2)).ok_or_else(no_key)?;
        Ok(Done::Found(shown_key(key)))
    }

    /// Rotates every algorithm's key: Auth0's tenants have one algorithm, and what calls for new keys calls for all.
    pub(super) async fn rotate_keys(self) -> Result<Done, Failed> {
        let mut answer = None;
        for key in self.keys().await?.iter().filter(|key| key.state == KeyState::Current) {
            let Ok(alg) = key.alg.parse() else { continue };
            let rotated = self.state.idp.keys.rotate(&self.site.tenant.id, alg).await;
            let kid = rotated.map_err(ManagementError::Internal)?;
            if answer.is_none() || key.alg == "RS256" {
                answer = Some(json!({ "kid": kid }));
            }
        }
        let rotated = self.state.idp.keys.rotate_encryption(&self.site.tenant.id).await;
        rotated.map_err(ManagementError::Internal)?;
        Ok(Done::Created(answer.unwrap_or_else(|| json!({}))))
    }

    pub(super) async fn revoke_key(self) -> Result<Done, Failed> {
        let kid = self.segment(2);
        let known = self.keys().await?.iter().any(|key| key.kid == kid);
        let revoked = self.state.idp.keys.revoke(&self.site.tenant.id, kid).await;
        match (revoked.map_err(ManagementError::Internal)?, known) {
            (true, _) => Ok(Done::Found(json!({ "kid": kid }))),
            (false, false) => Err(no_key()),
            (false, true) => {
                let message = "A key that signs, or is next to sign, cannot be revoked. Rotate it first.";
                Err(ManagementError::Unsupported(message.to_owned()).into())
            }
        }
    }

    async fn keys(&self) -> Result<Vec<SigningKeyRecord>, Failed> {
        let keys = self.state.idp.keys.list(&self.site.tenant.id).await;
        let mut keys = keys.map_err(ManagementError::Internal)?;
        keys.retain(SigningKeyRecord::signs);
        Ok(keys)
    }
}

fn no_key() -> Failed {
    let message = "The signing key does not exist.".to_owned();
    Failed::Request(StatusCode::NOT_FOUND, "inexistent_signing_key", message)
}

fn wire(settings: &TenantSettings) -> Value {
    serde_json::to_value(settings).unwrap_or_default()
}

fn shown_key(key: &SigningKeyRecord) -> Value {
    let mut shown = json!({
        "kid": key.kid,
        "alg": key.alg,
        "current": key.state == KeyState::Current,
        "next": key.state == KeyState::Next,
        "previous": key.state == KeyState::Previous,
        "created_at": iso8601(base::UnixMillis(key.created_at)),
    });
    if let (Some(certificate), Some(thumbprint), Some(object)) =
        (key.certificate(), key.thumbprint(), shown.as_object_mut())
    {
        object.insert("cert".to_owned(), certificate.into());
        let bytes = thumbprint.as_bytes().chunks(2).filter_map(|byte| str::from_utf8(byte).ok());
        object.insert("fingerprint".to_owned(), bytes.collect::<Vec<_>>().join(":").into());
        object.insert("thumbprint".to_owned(), thumbprint.into());
    }
    shown
}
