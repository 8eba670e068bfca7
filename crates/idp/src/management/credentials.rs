//! `/clients/{id}/credentials`, and which of them count: `client_authentication_methods`.

use base::UnixMillis;
use jose::{Alg, VerifyingKey};
use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    ClientService, ManagementError, Object,
    wording::{additional, invalid},
};
use crate::{
    ClientCertificate, Site,
    client_authentication::ASSERTION_ALGS,
    model::{Client, ClientAuthenticationMethods, Credential, CredentialType},
    possession::once,
};

/// Credentials that a client may have.
const MAX_CREDENTIALS: usize = 10;
/// Bytes of a key or certificate.
const MAX_PEM: usize = 16 * 1024;

const MISSING: ManagementError = ManagementError::NotFound {
    code: Some("inexistent_credential"),
    message: "The credential does not exist",
};

impl ClientService {
    /// All credentials of a client.
    pub async fn credentials(
        &self,
        site: &Site,
        client_id: &str,
    ) -> Result<Vec<Credential>, ManagementError> {
        Ok(self.read(site, client_id).await?.credentials)
    }

    /// One of them.
    pub async fn credential(
        &self,
        site: &Site,
        client_id: &str,
        id: &str,
    ) -> Result<Credential, ManagementError> {
        let credentials = self.credentials(site, client_id).await?;
        credentials.into_iter().find(|known| known.id == id).ok_or(MISSING)
    }

    /// Puts one down (201). It counts once a method names it.
    pub async fn add_credential(
        &self,
        site: &Site,
        client_id: &str,
        body: Object,
    ) -> Result<Credential, ManagementError> {
        let mut client = self.read(site, client_id).await?;
        let made = self.new_credential(body, "")?;
        add(&mut client, made.clone())?;
        self.save(site, client).await?;
        Ok(made)
    }

    /// Changes when it ends (201): `{"expires_at": …}`, where null is never.
    pub async fn change_credential(
        &self,
        site: &Site,
        client_id: &str,
        id: &str,
        mut body: Object,
    ) -> Result<Credential, ManagementError> {
        let mut client = self.read(site, client_id).await?;
        let credential = client.credentials.iter_mut().find(|known| known.id == id).ok_or(MISSING)?;
        if let Some(value) = body.shift_remove("expires_at") {
            credential.expires_at = match value {
                Value::Null => None,
                value => Some(self.future(&value, "expires_at")?),
            };
        }
        if let Some(name) = body.keys().next() {
            return Err(additional(name));
        }
        credential.updated_at = self.core().clock.now().0;
        let changed = credential.clone();
        self.save(site, client).await?;
        Ok(changed)
    }

    /// Deletes one (204); whoever has the key is nobody any more when this answers.
    pub async fn delete_credential(
        &self,
        site: &Site,
        client_id: &str,
        id: &str,
    ) -> Result<(), ManagementError> {
        let mut client = self.read(site, client_id).await?;
        if !client.credentials.iter().any(|known| known.id == id) {
            return Err(MISSING);
        }
        client.credentials.retain(|known| known.id != id);
        if let Some(methods) = &mut client.client_authentication_methods {
            methods.forget(id);
        }
        self.save(site, client).await.map(|_| ())
    }

    /// Lays what a body says of `client_authentication_methods` over a client. New credentials may stand where their
    /// ids do; the method that is chosen takes the place of `token_endpoint_auth_method`.
    pub(super) fn choose_methods(
        &self,
        client: &mut Client,
        said: Option<Value>,
        method_given: bool,
    ) -> Result<(), ManagementError> {
        const MEMBER: &str = "client_authentication_methods";
        let mut methods = match said {
            None if method_given && client.client_authentication_methods.is_some() => {
                let text = "It does not go with client_authentication_methods: set that to null first";
                return Err(invalid("token_endpoint_auth_method", text));
            }
            None => return Ok(()),
            Some(Value::Null) => {
                if client.client_authentication_methods.take().is_some() && !method_given {
                    client.token_endpoint_auth_method = None;
                }
                return Ok(());
            }
            Some(Value::Object(methods)) if !method_given => methods,
            Some(Value::Object(_)) => {
                return Err(invalid(MEMBER, "It does not go with token_endpoint_auth_method"));
            }
            Some(_) => return Err(invalid(MEMBER, "Expected type object")),
        };
        for (method, list) in &mut methods {
            let Some(Value::Array(items)) = list.get_mut("credentials") else {
                return Err(invalid(&format!("{MEMBER}.{method}.credentials"), "Expected type array"));
            };
            for item in items {
                let Value::Object(body) = item else {
                    return Err(invalid(&format!("{MEMBER}.{method}.credentials"), "Expected objects"));
                };
                if !body.contains_key("id") {
                    let made = self.new_credential(std::mem::take(body), &format!("{MEMBER}.{method}."))?;
                    *item = json!({ "id": made.id });
                    add(client, made)?;
                }
            }
        }
        let methods: ClientAuthenticationMethods = serde_json::from_value(Value::Object(methods))
            .map_err(|error| invalid(MEMBER, &error.to_string().chars().take(200).collect::<String>()))?;
        let Some((method, kind, list)) = methods.chosen() else {
            let text = "Expected one of private_key_jwt, tls_client_auth and self_signed_tls_client_auth";
            return Err(invalid(MEMBER, text));
        };
        let fits =
            |id: &str| client.credentials.iter().any(|known| known.id == id && known.credential_type == kind);
        match list.credentials.iter().find(|named| !fits(&named.id)) {
            Some(_) => Err(invalid(MEMBER, "A credential is not one of the client's, or of another kind")),
            None if list.credentials.is_empty() => Err(invalid(MEMBER, "Expected at least one credential")),
            None => {
                client.token_endpoint_auth_method = Some(method);
                client.client_authentication_methods = Some(methods);
                Ok(())
            }
        }
    }

    /// Reads a new credential. `path` stands before the names of its members where one is wrong.
    fn new_credential(&self, mut body: Object, path: &str) -> Result<Credential, ManagementError> {
        let wrong = |member: &str, text: &str| invalid(&format!("{path}{member}"), text);
        let text = |body: &mut Object, member: &str, longest: usize| match body.shift_remove(member) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if (1..=longest).contains(&text.len()) => Ok(Some(text)),
            Some(_) => Err(wrong(member, &format!("Expected a string of 1 to {longest} characters"))),
        };
        let credential_type = match body.shift_remove("credential_type") {
            Some(Value::String(kind)) if kind == "public_key" => CredentialType::PublicKey,
            Some(Value::String(kind)) if kind == "cert_subject_dn" => CredentialType::CertSubjectDn,
            Some(Value::String(kind)) if kind == "x509_cert" => CredentialType::X509Cert,
            _ => return Err(wrong("credential_type", "Expected public_key, cert_subject_dn or x509_cert")),
        };
        let name = text(&mut body, "name", 128)?;
        let alg = text(&mut body, "alg", 16)?;
        let pem = text(&mut body, "pem", MAX_PEM)?;
        let subject_dn = text(&mut body, "subject_dn", 1024)?;
        let from_certificate = match body.shift_remove("parse_expiry_from_cert") {
            None | Some(Value::Null) => false,
            Some(Value::Bool(parse)) => parse,
            Some(_) => return Err(wrong("parse_expiry_from_cert", "Expected type boolean")),
        };
        let mut expires_at = match body.shift_remove("expires_at") {
            None | Some(Value::Null) => None,
            Some(value) => Some(self.future(&value, &format!("{path}expires_at"))?),
        };
        if let Some(unknown) = body.keys().next() {
            return Err(additional(unknown));
        }
        let certificate = pem.as_deref().and_then(ClientCertificate::from_pem);
        if from_certificate {
            let end = certificate.as_ref().and_then(ClientCertificate::end);
            expires_at = Some(end.ok_or_else(|| wrong("pem", "Expected a certificate with an end"))?.0);
        }
        let now = self.core().clock.now().0;
        let mut made = Credential {
            id: format!("cred_{}", self.core().random.alphanumeric(16)),
            name,
            credential_type,
            kid: None,
            alg: None,
            pem: None,
            subject_dn: None,
            thumbprint_sha256: None,
            expires_at,
            created_at: now,
            updated_at: now,
        };
        match credential_type {
            CredentialType::PublicKey => {
                let pem = pem.ok_or_else(|| wrong("pem", "Missing required property: pem"))?;
                let alg = alg.unwrap_or_else(|| "RS256".to_owned());
                let known: Option<Alg> = alg.parse().ok().filter(|alg| ASSERTION_ALGS.contains(alg));
                let known = known.ok_or_else(|| wrong("alg", "Expected RS256, PS256, ES256 or EdDSA"))?;
                let key = VerifyingKey::from_pem(&pem).and_then(|key| key.restricted_to(&[known]));
                if key.is_err() {
                    return Err(wrong("pem", "Expected a public key, or a certificate of one, for the alg"));
                }
                made.kid = Some(once(&pem.split_whitespace().collect::<String>()));
                (made.alg, made.pem) = (Some(alg), Some(pem));
            }
            CredentialType::CertSubjectDn => {
                let named = certificate.and_then(|certificate| certificate.subject());
                made.subject_dn = Some(match (subject_dn, named) {
                    (Some(given), None) | (None, Some(given)) => given,
                    _ => {
                        return Err(wrong(
                            "subject_dn",
                            "Expected either subject_dn, or a certificate as pem",
                        ));
                    }
                });
            }
            CredentialType::X509Cert => {
                let certificate = certificate.ok_or_else(|| wrong("pem", "Expected a certificate"))?;
                made.thumbprint_sha256 = Some(certificate.thumbprint());
            }
        }
        Ok(made)
    }

    /// A moment in the future, in ISO 8601.
    fn future(&self, value: &Value, member: &str) -> Result<i64, ManagementError> {
        let moment = value.as_str().and_then(|text| OffsetDateTime::parse(text, &Rfc3339).ok());
        let millis = moment.and_then(|at| i64::try_from(at.unix_timestamp_nanos() / 1_000_000).ok());
        let now: UnixMillis = self.core().clock.now();
        millis
            .filter(|millis| *millis > now.0)
            .ok_or_else(|| invalid(member, "Expected a date and time in the future, as ISO 8601 writes it"))
    }
}

fn add(client: &mut Client, made: Credential) -> Result<(), ManagementError> {
    if client.credentials.len() >= MAX_CREDENTIALS {
        return Err(invalid("credentials", &format!("Expected up to {MAX_CREDENTIALS} credentials")));
    }
    client.credentials.push(made);
    Ok(())
}
