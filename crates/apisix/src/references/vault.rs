use std::time::Duration;

use base::Secret;
use fetch::{Fetcher, Request};
use http::{HeaderValue, StatusCode};
use serde_json::Value;

use super::{Failure, MAX_ANSWER};
use crate::schema::Schema;

/// APISIX waits so long.
const PATIENCE: Duration = Duration::from_secs(5);

/// What may be written below `secrets/vault`.
pub(crate) fn schema() -> Schema {
    Schema::object()
        .required(
            "uri",
            Schema::string()
                .length(1, 2048)
                .pattern(r"^https?://([0-9a-zA-Z.-]+|\[[0-9a-fA-F:]+\])(:[0-9]+)?(/[a-zA-Z0-9_~-][a-zA-Z0-9._~-]*)*/?$")
                .doc("scheme, host and port of the Vault server, and the path that it stands below behind a proxy"),
        )
        .required(
            "prefix",
            Schema::string()
                .length(1, 1024)
                .pattern("^/?[a-zA-Z0-9_~-][a-zA-Z0-9._~-]*(/[a-zA-Z0-9_~-][a-zA-Z0-9._~-]*)*/?$")
                .doc("what stands before every path: the mount, `kv`"),
        )
        .required("token", Schema::string().length(1, 4096).secret().doc("token; may be `$env://NAME`"))
        .field("namespace", Schema::string().length(1, 1024).doc("Vault Enterprise's namespace"))
}

/// A Vault server.
pub(super) struct Vault {
    /// `https://vault.example:8200/v1/kv`
    base: String,
    token: HeaderValue,
    namespace: Option<HeaderValue>,
}

impl Vault {
    /// `conf` is checked, and in the clear.
    pub(super) fn read(conf: &Value) -> Result<Self, String> {
        let text = |name: &str| conf.get(name).and_then(Value::as_str);
        let header = |name: &str| {
            let value = text(name).map(HeaderValue::from_str).transpose();
            value.map_err(|_| format!("{name}: no header can carry it"))
        };
        let (Some(uri), Some(prefix)) = (text("uri"), text("prefix")) else {
            return Err("it has no `uri` and `prefix`".to_owned());
        };
        let mut token = header("token")?.ok_or("it has no `token`")?;
        token.set_sensitive(true);
        let (uri, prefix) = (uri.trim_end_matches('/'), prefix.trim_matches('/'));
        Ok(Self { base: format!("{uri}/v1/{prefix}"), token, namespace: header("namespace")? })
    }

    /// `key` of the secret at `path`: of version 1 of Vault's key-value engine, or of version 2 where the path has its
    /// `data/`.
    pub(super) async fn fetch(
        &self,
        fetcher: &Fetcher,
        path: &str,
        key: &str,
    ) -> Result<Secret<String>, Failure> {
        let mut request = Request::get(&format!("{}/{path}", self.base));
        request.timeout = PATIENCE;
        request.max_body = MAX_ANSWER;
        request.headers.insert("x-vault-token", self.token.clone());
        request.headers.extend(
            self.namespace.clone().map(|it| (http::HeaderName::from_static("x-vault-namespace"), it)),
        );
        let answer = fetcher
            .send(request)
            .await
            .map_err(|error| Failure::passing(format!("Vault cannot be asked: {error}")))?;
        match answer.status {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Err(Failure::gone("Vault has no secret at this path")),
            status => return Err(Failure::passing(format!("Vault answers {}", status.as_u16()))),
        }
        let answer: Value = serde_json::from_slice(&answer.body)
            .map_err(|_| Failure::passing("what Vault answers is no JSON"))?;
        let data = answer.get("data");
        let second = data.filter(|data| data.get("metadata").is_some_and(Value::is_object));
        let data = second.and_then(|data| data.get("data")).filter(|data| data.is_object()).or(data);
        match data.and_then(|data| data.get(key)) {
            Some(Value::String(text)) => Ok(Secret::new(text.clone())),
            Some(_) => Err(Failure::gone("what Vault has under this key is no text")),
            None => Err(Failure::gone("Vault's secret has no such key")),
        }
    }
}
