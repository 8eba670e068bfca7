//! Certificates that the gate shows its clients and its upstreams.

use std::sync::Arc;

use base::Secret;
use gateway::{
    FOREIGN_KEY, KeyPairPem, NO_CERTIFICATE, NO_KEY, TlsVersions,
    error::ConfigError,
    snapshot::Certificate,
    upstream::{ClientIdentity, PrivateKeyPem},
};
use serde_json::{Map, Value};

use super::{Pass, content, text};
use crate::{entities::Kind, schema::Violations};

impl Pass<'_> {
    /// The certificate for its server names; `None` when it has none.
    pub(crate) fn certificate(&mut self, id: &str) -> Result<Option<Arc<Certificate>>, String> {
        if self.view.find(Kind::Certificate, id).is_none() {
            return Ok(None);
        }
        let value = self.open(Kind::Certificate, id)?;
        let made = self.certificate_of(id, &value).map_err(|violations| violations.message())?;
        Ok((!self.server_names(id).is_empty()).then_some(made))
    }

    /// What keeps the names of a certificate that cannot be used from falling to another one.
    pub(crate) fn closed_certificate(&self, id: &str) -> Option<Arc<Certificate>> {
        let names = self.server_names(id);
        (!names.is_empty()).then(|| Certificate::closed(&names, false))
    }

    pub(super) fn certificate_of(
        &mut self,
        id: &str,
        value: &Map<String, Value>,
    ) -> Result<Arc<Certificate>, Violations> {
        let names = self.server_names(id);
        let pairs: Vec<KeyPairPem<'_>> = [("cert", "key"), ("cert_alt", "key_alt")]
            .into_iter()
            .filter_map(|(chain, key)| {
                Some(KeyPairPem { chain: text(value, chain)?, key: text(value, key)? })
            })
            .collect();
        let mut parts: Vec<&str> = names.iter().map(String::as_str).collect();
        parts.extend(pairs.iter().flat_map(|pair| [pair.chain, pair.key]));
        let content = content(&parts);
        let compile = || Certificate::compile(&names, &pairs, TlsVersions::default(), None);
        let made = self.compiler.certificates.find_or(content, compile);
        made.map_err(unusable)
    }

    fn server_names(&self, id: &str) -> Vec<String> {
        let snis = self.view.children(Kind::Sni, Kind::Certificate, id);
        snis.filter_map(|(_, sni)| Some(sni.get("name")?.as_str()?.to_owned())).collect()
    }

    /// The certificate that an upstream is shown.
    pub(super) fn client_identity(&self, id: &str) -> Result<ClientIdentity, ConfigError> {
        let wrong = |why: String| ConfigError::new("client_certificate", why);
        let value = self.open(Kind::Certificate, id).map_err(wrong)?;
        let key = PrivateKeyPem(Secret::new(text(&value, "key").unwrap_or_default().to_owned()));
        Ok(ClientIdentity { certificate: text(&value, "cert").unwrap_or_default().into(), key })
    }
}

/// In Kong's words, as far as it has some.
fn unusable(error: ConfigError) -> Violations {
    let ConfigError { path, reason } = error;
    // Of several pairs the engine counts the further ones.
    let field = match path.as_str() {
        "certs[0]" => "cert_alt",
        "keys[0]" => "key_alt",
        field => field,
    };
    let of_field = |text: String| Violations::of(field, text);
    match reason.as_str() {
        FOREIGN_KEY => {
            let mut violations = Violations::default();
            violations.add_entity("certificate does not match key".to_owned());
            violations
        }
        NO_CERTIFICATE => of_field(format!("invalid certificate: {reason}")),
        NO_KEY => of_field(format!("invalid key: {reason}")),
        _ => of_field(reason),
    }
}
