use std::{
    collections::HashMap,
    fmt,
    fs::{self, File},
    io::Read,
    time::Duration,
};

use aws_lc_rs::digest;
use base::{Clock, Secret, UnixMillis};
use base64::{Engine, engine::general_purpose::STANDARD};
use fetch::{Fetcher, Request, Response};
use http::{HeaderValue, StatusCode, header};
use jose::{Alg, SigningKey};
use serde_json::{Map, Value, json};

use super::{Failure, MAX_ANSWER, member};
use crate::schema::Schema;

const PATIENCE: Duration = Duration::from_secs(5);
const TOKEN_URI: &str = "https://oauth2.googleapis.com/token";
const ENTRIES_URI: &str = "https://secretmanager.googleapis.com/v1";
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
/// How long an assertion counts: the longest that Google takes.
const ASSERTION_LIFETIME: u64 = 3600;
/// How long before its end an access token is replaced.
const MARGIN: Duration = Duration::from_secs(60);
/// A token's lifetime, where none is said.
const TOKEN_LIFETIME: u64 = 300;
/// Bytes of a service account's file.
const MAX_FILE: u64 = 64 * 1024;
/// RFC 7523 section 2.1.
const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// What may be written below `secrets/gcp`.
pub(crate) fn schema() -> Schema {
    let url = || Schema::string().length(1, 2048).pattern("^https?://[^/?#]+(/[^?#]*)?$");
    let scopes = || {
        Schema::any_of(vec![
            Schema::string().length(1, 4096),
            Schema::array(Schema::string().length(1, 512)).at_least(1),
        ])
    };
    let account = Schema::object()
        .required("client_email", Schema::string().length(1, 512).doc("the service account's address"))
        .required(
            "private_key",
            Schema::string()
                .length(1, 16384)
                .secret()
                .doc("its private key, PEM (RSA); may be `$env://NAME`"),
        )
        .required(
            "project_id",
            Schema::string().length(1, 128).pattern("^[0-9a-zA-Z.:-]+$").doc("the project of the secrets"),
        )
        .field("token_uri", url().default(TOKEN_URI).doc("where access tokens come from"))
        .field("scope", scopes().default(SCOPE).doc("scopes of the access token"))
        .field("scopes", scopes().doc("another spelling of `scope`"))
        .field("entries_uri", url().default(ENTRIES_URI).doc("where secrets are asked for"));
    Schema::object()
        .field("auth_config", account.doc("the service account"))
        .field(
            "auth_file",
            Schema::string()
                .length(1, 4096)
                .pattern("^/")
                .doc("absolute path of the service account's JSON file on the gateway's machine, in place of `auth_config`"),
        )
        .field("ssl_verify", Schema::boolean().default(true).doc("whether Google's certificates are verified"))
        .one_required(&[&["auth_config"], &["auth_file"]])
}

/// Google Secret Manager.
pub(super) struct Gcp {
    client_email: String,
    key: SigningKey,
    project_id: String,
    token_uri: String,
    entries_uri: String,
    scope: String,
    verify_tls: bool,
    /// Stands for all of it.
    identity: [u8; 32],
    clock: Clock,
}

/// The access tokens of service accounts.
#[derive(Default)]
pub(super) struct Tokens(tokio::sync::Mutex<HashMap<[u8; 32], Token>>);

struct Token {
    value: Secret<String>,
    until: UnixMillis,
}

impl Gcp {
    /// `conf` is checked, and in the clear.
    pub(super) fn read(conf: &Value, clock: &Clock) -> Result<Self, String> {
        let file = match conf.get("auth_file").and_then(Value::as_str) {
            Some(path) => Some(read_file(path).map_err(|why| format!("auth_file: {why}"))?),
            None => None,
        };
        let account = file.as_ref().or_else(|| conf.get("auth_config")).ok_or("it has no `auth_config`")?;
        let text = |name: &str| account.get(name).and_then(Value::as_str).map(str::to_owned);
        let demand = |name: &str| text(name).ok_or_else(|| format!("it has no `{name}`"));
        let project_id = demand("project_id")?;
        if !project_id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".:-".contains(&byte)) {
            return Err("project_id: it is no name of a project".to_owned());
        }
        let pem = Secret::new(demand("private_key")?);
        let key = SigningKey::from_pem(Alg::RS256, String::new(), pem.expose())
            .map_err(|_| "private_key: it is no RSA key in PEM".to_owned())?;
        let without_slash = |url: String| url.trim_end_matches('/').to_owned();
        let written = account.to_string();
        let mut identity = [0; 32];
        let digest = digest::digest(&digest::SHA256, written.as_bytes());
        identity.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
        Ok(Self {
            client_email: demand("client_email")?,
            key,
            project_id,
            token_uri: text("token_uri").unwrap_or_else(|| TOKEN_URI.to_owned()),
            entries_uri: without_slash(text("entries_uri").unwrap_or_else(|| ENTRIES_URI.to_owned())),
            scope: scope(account),
            verify_tls: conf.get("ssl_verify").and_then(Value::as_bool).unwrap_or(true),
            identity,
            clock: clock.clone(),
        })
    }

    /// `key` of the JSON object that the newest version of the secret `name` is.
    pub(super) async fn fetch(
        &self,
        fetcher: &Fetcher,
        tokens: &Tokens,
        name: &str,
        key: &str,
    ) -> Result<Secret<String>, Failure> {
        // A part of the URL, where it must not be more than one.
        if name.contains('/') {
            return Err(Failure::gone("the name of a secret of Google's has no `/`"));
        }
        let token = self.token(fetcher, tokens).await?;
        let url = format!(
            "{}/projects/{}/secrets/{name}/versions/latest:access",
            self.entries_uri, self.project_id
        );
        let mut request = Request::get(&url);
        let mut credentials = HeaderValue::from_str(&format!("Bearer {}", token.expose()))
            .map_err(|_| Failure::passing("Google's access token fits into no header"))?;
        credentials.set_sensitive(true);
        request.headers.insert(header::AUTHORIZATION, credentials);
        let answer = self.send(fetcher, request, "Google Secret Manager").await?;
        match answer.status {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Err(Failure::gone("Google Secret Manager has no such secret")),
            StatusCode::UNAUTHORIZED => {
                tokens.0.lock().await.remove(&self.identity);
                return Err(Failure::passing("Google Secret Manager answers 401"));
            }
            status => {
                return Err(Failure::passing(format!("Google Secret Manager answers {}", status.as_u16())));
            }
        }
        let answer: Value = serde_json::from_slice(&answer.body)
            .map_err(|_| Failure::passing("what Google Secret Manager answers is no JSON"))?;
        let data = answer.pointer("/payload/data").and_then(Value::as_str);
        let data = data.ok_or_else(|| Failure::passing("Google Secret Manager answers without a payload"))?;
        let data = STANDARD.decode(data).ok().and_then(|data| String::from_utf8(data).ok());
        member(&data.ok_or_else(|| Failure::gone("the secret is no text"))?, key)
    }

    /// The access token, asked for once for all who need it.
    async fn token(&self, fetcher: &Fetcher, tokens: &Tokens) -> Result<Secret<String>, Failure> {
        let mut tokens = tokens.0.lock().await;
        let now = self.clock.now();
        tokens.retain(|_, token| now < token.until);
        if let Some(token) = tokens.get(&self.identity) {
            return Ok(token.value.clone());
        }
        let assertion = self.assertion(now).map_err(Failure::passing)?;
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", GRANT_TYPE)
            .append_pair("assertion", &assertion)
            .finish();
        let mut request = Request::post(&self.token_uri, form.into_bytes().into());
        let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
        request.headers.insert(header::CONTENT_TYPE, kind);
        let answer = self.send(fetcher, request, "Google's token endpoint").await?;
        if answer.status != StatusCode::OK {
            let status = answer.status.as_u16();
            return Err(Failure::passing(format!("Google's token endpoint answers {status}")));
        }
        let answer: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let token =
            answer.get("access_token").and_then(Value::as_str).map(|token| Secret::new(token.to_owned()));
        let token =
            token.ok_or_else(|| Failure::passing("Google's token endpoint answers without a token"))?;
        let lasts = answer.get("expires_in").and_then(Value::as_u64).unwrap_or(TOKEN_LIFETIME);
        let until = now + Duration::from_secs(lasts).saturating_sub(MARGIN);
        tokens.insert(self.identity, Token { value: token.clone(), until });
        Ok(token)
    }

    /// RFC 7523 section 3, in Google's profile of it.
    fn assertion(&self, now: UnixMillis) -> Result<String, String> {
        let claims = json!({
            "iss": self.client_email,
            "scope": self.scope,
            "aud": self.token_uri,
            "iat": now.secs(),
            "exp": (now + Duration::from_secs(ASSERTION_LIFETIME)).secs(),
        });
        let mut header = Map::new();
        header.insert("typ".to_owned(), "JWT".into());
        header.insert("kid".to_owned(), Value::Null);
        let signed = self.key.sign_with_header(&header, claims.to_string().as_bytes());
        signed.map_err(|error| format!("private_key: {error}"))
    }

    async fn send(&self, fetcher: &Fetcher, mut request: Request, whom: &str) -> Result<Response, Failure> {
        request.timeout = PATIENCE;
        request.max_body = MAX_ANSWER;
        request.verify_tls = self.verify_tls;
        let answer = fetcher.send(request).await;
        answer.map_err(|error| Failure::passing(format!("{whom} cannot be asked: {error}")))
    }
}

fn scope(account: &Value) -> String {
    match account.get("scope").or_else(|| account.get("scopes")) {
        Some(Value::String(one)) => one.clone(),
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "),
        _ => SCOPE.to_owned(),
    }
}

/// A service account's file. Nothing of what is in it is in the error.
fn read_file(path: &str) -> Result<Value, &'static str> {
    const UNREADABLE: &str = "it cannot be read";
    // Looked at before it is opened: a pipe would never open.
    let about = fs::metadata(path).map_err(|_| UNREADABLE)?;
    if !about.is_file() || about.len() > MAX_FILE {
        return Err("it is no file of at most 64 KiB");
    }
    let file = File::open(path).map_err(|_| UNREADABLE)?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE).read_to_end(&mut bytes).map_err(|_| UNREADABLE)?;
    let account: Value = serde_json::from_slice(&bytes).map_err(|_| "it is no JSON")?;
    account.is_object().then_some(account).ok_or("it is no JSON object")
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens")
    }
}
