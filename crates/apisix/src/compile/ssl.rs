use std::sync::Arc;

use base::Secret;
use gateway::{
    ClientPolicy, KeyPairPem, NO_CERTIFICATE, NO_KEY, TlsVersions,
    error::ConfigError,
    snapshot::Certificate,
    upstream::{ClientIdentity, PrivateKeyPem},
};
use serde_json::Value;

use super::{Pass, content};
use crate::{resources::Kind, schema::excerpt};

impl Pass<'_> {
    /// The certificate of an ssl; `None` when it is switched off, gone, or not for clients of the gate.
    pub(crate) fn certificate(&mut self, id: &str) -> Result<Option<Arc<Certificate>>, String> {
        let Some(stored) = self.view.find(Kind::Ssl, id) else { return Ok(None) };
        let is_client = stored.get("type").is_some_and(|kind| kind == "client");
        if !is_client && stored.get("status").is_some_and(|status| status == 0) {
            return Ok(None);
        }
        let value = self.open(Kind::Ssl, id)?;
        let names: Vec<String> = server_names(&value).into_iter().map(str::to_owned).collect();
        let versions = versions(&value);
        let content = content(&[
            &names.join(" "),
            &format!("{versions:?}"),
            &["cert", "key", "certs", "keys", "client"]
                .map(|member| value.get(member).unwrap_or(&Value::Null).to_string())
                .join(" "),
        ]);
        let made = self.compiler.certificates.find_or(content, || {
            Certificate::compile(&names, &pairs(&value), versions, client_policy(&value)?)
        });
        let made = made.map_err(|error| refusal(&value, &error))?;
        Ok((!is_client).then_some(made))
    }

    /// What keeps the names of an ssl that cannot be used from falling to another one, which may ask its clients for
    /// less.
    pub(crate) fn closed_certificate(&self, id: &str) -> Option<Arc<Certificate>> {
        let stored = self.view.find(Kind::Ssl, id)?;
        if stored.get("type").is_some_and(|kind| kind == "client")
            || stored.get("status").is_some_and(|status| status == 0)
        {
            return None;
        }
        let names: Vec<String> = server_names(stored).into_iter().map(str::to_owned).collect();
        Some(Certificate::closed(&names, stored.get("client").is_some()))
    }

    /// The certificate that an upstream's `tls.client_cert_id` names, in APISIX's words when there is none.
    pub(super) fn client_identity(&self, id: &str) -> Result<ClientIdentity, String> {
        let refuse = |why: &str| format!("failed to fetch ssl info by ssl id [{}], {why}", excerpt(id));
        let stored = self.view.find(Kind::Ssl, id).ok_or_else(|| refuse("response code: 404"))?;
        if stored.get("type").is_none_or(|kind| kind != "client") {
            return Err(refuse("wrong ssl type"));
        }
        if stored.get("status").is_some_and(|status| status == 0) {
            return Err(refuse("it is switched off"));
        }
        let value = self.open(Kind::Ssl, id)?;
        let text = |member: &str| value.get(member).and_then(Value::as_str).unwrap_or_default();
        let key = PrivateKeyPem(Secret::new(text("key").to_owned()));
        Ok(ClientIdentity { certificate: text("cert").into(), key })
    }
}

/// Why an ssl cannot be used, in APISIX's words where it has some: what its OpenSSL says is what its clients compare.
fn refusal(ssl: &Value, error: &ConfigError) -> String {
    const NO_PEM: &str = "failed to parse cert: PEM_read_bio_X509_AUX() failed";
    let (member, at) = match error.path.strip_suffix(']').and_then(|path| path.split_once("s[")) {
        Some((member, at)) => (member, at.parse::<usize>().ok()),
        None => (error.path.as_str(), None),
    };
    let text = match member {
        "client.ca" if error.reason == NO_CERTIFICATE => format!("failed to validate client_cert: {NO_PEM}"),
        "client.ca" => format!("failed to validate client_cert: {error}"),
        "cert" if error.reason == NO_CERTIFICATE => NO_PEM.to_owned(),
        "key" if error.reason == NO_KEY => {
            let key = match at {
                Some(at) => ssl.get("keys").and_then(|keys| keys.get(at)),
                None => ssl.get("key"),
            };
            // Anything else APISIX takes for a key that it once encrypted itself.
            match key.and_then(Value::as_str) {
                Some(key) if key.starts_with("---") => {
                    "failed to parse key: PEM_read_bio_PrivateKey() failed".to_owned()
                }
                _ => "failed to decrypt previous encrypted key".to_owned(),
            }
        }
        _ => return format!("invalid configuration: {error}"),
    };
    match at {
        Some(at) => format!("failed to handle cert-key pair[{}]: {text}", at + 1),
        None => text,
    }
}

/// The names of an ssl, in both of its members.
pub(crate) fn server_names(value: &Value) -> Vec<&str> {
    let further = value.get("snis").and_then(Value::as_array).into_iter().flatten();
    value.get("sni").into_iter().chain(further).filter_map(Value::as_str).collect()
}

/// Its own pair, and the further ones.
fn pairs(value: &Value) -> Vec<KeyPairPem<'_>> {
    let list = |member: &str| value.get(member).and_then(Value::as_array).into_iter().flatten();
    let chains = value.get("cert").into_iter().chain(list("certs")).filter_map(Value::as_str);
    let keys = value.get("key").into_iter().chain(list("keys")).filter_map(Value::as_str);
    chains.zip(keys).map(|(chain, key)| KeyPairPem { chain, key }).collect()
}

fn client_policy(value: &Value) -> Result<Option<Arc<ClientPolicy>>, ConfigError> {
    let Some(client) = value.get("client") else { return Ok(None) };
    let ca = client.get("ca").and_then(Value::as_str).unwrap_or_default();
    let depth = client.get("depth").and_then(Value::as_u64).and_then(|depth| usize::try_from(depth).ok());
    let skip = client.get("skip_mtls_uri_regex").and_then(Value::as_array).into_iter().flatten();
    let skip: Vec<String> = skip.filter_map(Value::as_str).map(str::to_owned).collect();
    ClientPolicy::compile(ca, depth.unwrap_or(1), &skip).map(Some)
}

fn versions(value: &Value) -> TlsVersions {
    let Some(named) = value.get("ssl_protocols").and_then(Value::as_array) else {
        return TlsVersions::default();
    };
    let has = |name: &str| named.iter().any(|version| version == name);
    TlsVersions { tls12: has("TLSv1.2"), tls13: has("TLSv1.3") }
}
