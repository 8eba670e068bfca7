use std::sync::Arc;

use gateway::{TlsVersions, snapshot::Certificate};
use serde_json::Value;

use super::{Pass, content};
use crate::resources::Kind;

impl Pass<'_> {
    /// The certificate of an ssl; `None` when it is switched off or gone.
    pub(crate) fn certificate(&mut self, id: &str) -> Result<Option<Arc<Certificate>>, String> {
        let Some(stored) = self.view.find(Kind::Ssl, id) else { return Ok(None) };
        if stored.get("status").is_some_and(|status| status == 0) {
            return Ok(None);
        }
        let value = self.open(Kind::Ssl, id)?;
        let text = |member: &str| value.get(member).and_then(Value::as_str).unwrap_or_default();
        let mut names: Vec<String> =
            value.get("sni").and_then(Value::as_str).map(str::to_owned).into_iter().collect();
        let further = value.get("snis").and_then(Value::as_array).into_iter().flatten();
        names.extend(further.filter_map(Value::as_str).map(str::to_owned));
        let versions = versions(&value);
        let content = content(&[&names.join(" "), text("cert"), text("key"), &format!("{versions:?}")]);
        let made = self
            .compiler
            .certificates
            .find_or(content, || Certificate::compile(&names, text("cert"), text("key"), versions));
        made.map(Some).map_err(|error| format!("invalid configuration: {error}"))
    }
}

fn versions(value: &Value) -> TlsVersions {
    let Some(named) = value.get("ssl_protocols").and_then(Value::as_array) else {
        return TlsVersions::default();
    };
    let has = |name: &str| named.iter().any(|version| version == name);
    TlsVersions { tls12: has("TLSv1.2"), tls13: has("TLSv1.3") }
}
