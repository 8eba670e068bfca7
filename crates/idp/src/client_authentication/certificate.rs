use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use oauth::ClientAuthMethod;
use serde_json::Value;

use crate::{
    ClientCertificate,
    idp::Core,
    model::{Client, CredentialType},
};

impl Core {
    /// Whether the certificate of the connection proves to be this client's by the method it registered (RFC 8705
    /// section 2).
    pub(super) async fn is_certificate_of(
        &self,
        client: &Client,
        method: ClientAuthMethod,
        certificate: &ClientCertificate,
    ) -> bool {
        if let Some(mut chosen) = client.chosen_credentials(self.clock.now()) {
            let thumbprint = certificate.thumbprint();
            return chosen.any(|credential| match credential.credential_type {
                CredentialType::CertSubjectDn => {
                    let name = credential.subject_dn.as_deref();
                    certificate.is_trusted() && name.is_some_and(|name| certificate.has_subject(name))
                }
                CredentialType::X509Cert => credential.thumbprint_sha256.as_ref() == Some(&thumbprint),
                CredentialType::PublicKey => false,
            });
        }
        match method {
            ClientAuthMethod::TlsClientAuth => certificate.is_trusted() && is_named(client, certificate),
            ClientAuthMethod::SelfSignedTlsClientAuth => {
                let keys = self.published_keys(client).await;
                keys.is_some_and(|keys| is_registered(&keys.document, certificate))
            }
            _ => false,
        }
    }
}

/// Section 2.1.2: one of five names is registered, and the certificate has it.
fn is_named(client: &Client, certificate: &ClientCertificate) -> bool {
    type Has = fn(&ClientCertificate, &str) -> bool;
    let names: [(&Option<String>, Has); 5] = [
        (&client.tls_client_auth_subject_dn, ClientCertificate::has_subject),
        (&client.tls_client_auth_san_dns, ClientCertificate::has_dns),
        (&client.tls_client_auth_san_uri, ClientCertificate::has_uri),
        (&client.tls_client_auth_san_ip, ClientCertificate::has_address),
        (&client.tls_client_auth_san_email, ClientCertificate::has_email),
    ];
    let mut registered = names.into_iter().filter_map(|(name, has)| Some((name.as_deref()?, has)));
    match (registered.next(), registered.next()) {
        (Some((name, has)), None) => has(certificate, name),
        _ => false,
    }
}

/// Section 2.2.2: a key of the set has this very certificate.
fn is_registered(document: &Value, certificate: &ClientCertificate) -> bool {
    let thumbprint = certificate.thumbprint();
    let keys = document.get("keys").and_then(Value::as_array);
    keys.into_iter().flatten().any(|key| {
        let first = key.get("x5c").and_then(|chain| chain.get(0)).and_then(Value::as_str);
        let der = first.and_then(|text| STANDARD.decode(text).or_else(|_| URL_SAFE_NO_PAD.decode(text)).ok());
        match der {
            Some(der) => der == certificate.der(),
            None => key.get("x5t#S256").and_then(Value::as_str) == Some(thumbprint.as_str()),
        }
    })
}
