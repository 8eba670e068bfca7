use base::UnixMillis;
use jose::{Alg, VerifyingKey};
use oauth::ClientAuthMethod;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::iso8601;

/// A key, a certificate or a certificate's name that an administrator put down for a client. It counts while one of the
/// client's [`ClientAuthenticationMethods`] names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credential {
    /// `cred_` and 16 letters.
    pub id: String,
    /// For administrators.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it is.
    pub credential_type: CredentialType,
    /// The key id that assertions may name: a hash of the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kid: Option<String>,
    /// The one algorithm of assertions, for a public key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alg: Option<String>,
    /// The public key, PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pem: Option<String>,
    /// The certificate's subject as RFC 4514 writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject_dn: Option<String>,
    /// SHA-256 of the certificate, base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thumbprint_sha256: Option<String>,
    /// Milliseconds since the epoch; it does not count any more then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<i64>,
    /// Milliseconds since the epoch.
    pub created_at: i64,
    /// Milliseconds since the epoch.
    pub updated_at: i64,
}

/// `credential_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CredentialType {
    /// For `private_key_jwt`.
    PublicKey,
    /// For `tls_client_auth`: the subject of a certificate that an authority vouches for.
    CertSubjectDn,
    /// For `self_signed_tls_client_auth`: the certificate itself.
    X509Cert,
}

impl Credential {
    /// Whether it still counts.
    pub fn is_current(&self, now: UnixMillis) -> bool {
        self.expires_at.is_none_or(|until| now.0 < until)
    }

    /// The public key with its one algorithm.
    pub(crate) fn key(&self) -> Option<VerifyingKey> {
        let alg: Alg = self.alg.as_deref()?.parse().ok()?;
        let key = VerifyingKey::from_pem(self.pem.as_deref()?).ok()?.restricted_to(&[alg]).ok()?;
        Some(match &self.kid {
            Some(kid) => key.with_kid(kid),
            None => key,
        })
    }

    /// The object as the Management API sends it.
    pub fn to_wire(&self) -> Map<String, Value> {
        let mut wire = match serde_json::to_value(self) {
            Ok(Value::Object(wire)) => wire,
            _ => Map::new(),
        };
        wire.remove("pem");
        for (name, at) in [("created_at", Some(self.created_at)), ("updated_at", Some(self.updated_at))]
            .into_iter()
            .chain([("expires_at", self.expires_at)])
        {
            if let Some(at) = at {
                wire.insert(name.to_owned(), json!(iso8601(UnixMillis(at))));
            }
        }
        wire
    }
}

/// `client_authentication_methods`: exactly one of them is there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClientAuthenticationMethods {
    /// Assertions by a private key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub private_key_jwt: Option<CredentialList>,
    /// Certificates of an authority.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_client_auth: Option<CredentialList>,
    /// The client's own certificates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub self_signed_tls_client_auth: Option<CredentialList>,
}

/// Which credentials count.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CredentialList {
    /// By their ids.
    pub credentials: Vec<CredentialId>,
}

/// One credential by its id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CredentialId {
    /// `cred_…`
    pub id: String,
}

impl ClientAuthenticationMethods {
    /// The one method that is there, the kind of credential that it takes, and its list.
    pub fn chosen(&self) -> Option<(ClientAuthMethod, CredentialType, &CredentialList)> {
        let methods = [
            (&self.private_key_jwt, ClientAuthMethod::PrivateKeyJwt, CredentialType::PublicKey),
            (&self.tls_client_auth, ClientAuthMethod::TlsClientAuth, CredentialType::CertSubjectDn),
            (
                &self.self_signed_tls_client_auth,
                ClientAuthMethod::SelfSignedTlsClientAuth,
                CredentialType::X509Cert,
            ),
        ];
        let mut given =
            methods.into_iter().filter_map(|(list, method, kind)| Some((method, kind, list.as_ref()?)));
        match (given.next(), given.next()) {
            (chosen, None) => chosen,
            _ => None,
        }
    }

    /// Takes a credential off every list.
    pub(crate) fn forget(&mut self, id: &str) {
        let lists =
            [&mut self.private_key_jwt, &mut self.tls_client_auth, &mut self.self_signed_tls_client_auth];
        for list in lists.into_iter().flatten() {
            list.credentials.retain(|known| known.id != id);
        }
    }
}
