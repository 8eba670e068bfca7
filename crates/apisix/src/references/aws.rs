use std::time::Duration;

use base::{Clock, Secret};
use fetch::{Fetcher, Request, Response};
use http::{HeaderName, HeaderValue, StatusCode, Uri, header};
use serde_json::{Value, json};

use super::{
    Failure, MAX_ANSWER, member,
    sigv4::{Signed, Signer, timestamp},
};
use crate::schema::Schema;

const PATIENCE: Duration = Duration::from_secs(5);
const SERVICE: &str = "secretsmanager";
const CONTENT_TYPE: &str = "application/x-amz-json-1.1";
const TARGET: &str = "secretsmanager.GetSecretValue";
/// Longest name of an error that is repeated.
const MAX_ERROR: usize = 64;

/// What may be written below `secrets/aws`.
pub(crate) fn schema() -> Schema {
    let text = || Schema::string().length(1, 4096);
    Schema::object()
        .required(
            "access_key_id",
            text().doc("access key id; may be `$env://NAME`, like the two that follow"),
        )
        .required("secret_access_key", text().secret().doc("secret access key"))
        .field("session_token", text().secret().doc("session token of temporary credentials"))
        .field(
            "region",
            Schema::string()
                .length(1, 64)
                .pattern("^[a-z0-9-]+$")
                .default("us-east-1")
                .doc("region of the secrets"),
        )
        .field(
            "endpoint_url",
            Schema::string()
                .length(1, 2048)
                .pattern(r"^https?://([0-9a-zA-Z.-]+|\[[0-9a-fA-F:]+\])(:[0-9]+)?/?$")
                .doc("scheme, host and port of Secrets Manager; left out: AWS's own in the region"),
        )
}

/// AWS Secrets Manager.
pub(super) struct Aws {
    /// `https://host[:port]/`
    url: String,
    /// What `Host` will say: it is signed.
    host: String,
    access_key_id: String,
    secret_access_key: Secret<String>,
    session_token: Option<Secret<String>>,
    region: String,
    clock: Clock,
}

impl Aws {
    /// `conf` is checked, and in the clear.
    pub(super) fn read(conf: &Value, clock: &Clock) -> Result<Self, String> {
        let text = |name: &str| conf.get(name).and_then(Value::as_str).map(str::to_owned);
        let missing = |name: &str| format!("it has no `{name}`");
        let region = text("region").unwrap_or_else(|| "us-east-1".to_owned());
        let endpoint = text("endpoint_url").unwrap_or_else(|| {
            let china = if region.starts_with("cn-") { ".cn" } else { "" };
            format!("https://{SERVICE}.{region}.amazonaws.com{china}")
        });
        let (scheme, host) = host_of(&endpoint).ok_or("endpoint_url: it is no URL with a host")?;
        Ok(Self {
            url: format!("{scheme}://{host}/"),
            host,
            access_key_id: text("access_key_id").ok_or_else(|| missing("access_key_id"))?,
            secret_access_key: Secret::new(
                text("secret_access_key").ok_or_else(|| missing("secret_access_key"))?,
            ),
            session_token: text("session_token").map(Secret::new),
            region,
            clock: clock.clone(),
        })
    }

    /// `key` of the JSON object that the secret `name` is.
    pub(super) async fn fetch(
        &self,
        fetcher: &Fetcher,
        name: &str,
        key: &str,
    ) -> Result<Secret<String>, Failure> {
        let request = self.request(name).map_err(Failure::passing)?;
        let answer = fetcher
            .send(request)
            .await
            .map_err(|error| Failure::passing(format!("AWS Secrets Manager cannot be asked: {error}")))?;
        if answer.status != StatusCode::OK {
            return Err(refusal(&answer));
        }
        let answer: Value = serde_json::from_slice(&answer.body)
            .map_err(|_| Failure::passing("what AWS Secrets Manager answers is no JSON"))?;
        match answer.get("SecretString").and_then(Value::as_str) {
            Some(secret) => member(secret, key),
            None => Err(Failure::gone("the secret is no text")),
        }
    }

    fn request(&self, name: &str) -> Result<Request, String> {
        let body = json!({"SecretId": name, "VersionStage": "AWSCURRENT"}).to_string();
        let now = timestamp(self.clock.now()).ok_or("the time is out of bounds")?;
        let token =
            self.session_token.as_ref().map(|token| ("x-amz-security-token", token.expose().as_str()));
        let mut signed = vec![
            (header::CONTENT_TYPE.as_str(), CONTENT_TYPE),
            (header::HOST.as_str(), self.host.as_str()),
            ("x-amz-date", now.as_str()),
        ];
        signed.extend(token);
        signed.push(("x-amz-target", TARGET));
        let signer = Signer {
            access_key_id: &self.access_key_id,
            secret_access_key: &self.secret_access_key,
            region: &self.region,
            service: SERVICE,
        };
        let subject = Signed { method: "POST", path: "/", headers: &signed, body: body.as_bytes() };
        let authorization = signer.authorization(&subject, &now);
        let mut request = Request::post(&self.url, body.into_bytes().into());
        for (name, value) in signed.iter().filter(|(name, _)| *name != "host") {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| error.to_string())?;
            let mut value =
                HeaderValue::from_str(value).map_err(|_| format!("{name}: no header can carry it"))?;
            value.set_sensitive(name == "x-amz-security-token");
            request.headers.insert(name, value);
        }
        let mut authorization = HeaderValue::from_str(&authorization)
            .map_err(|_| "access_key_id: no header can carry it".to_owned())?;
        authorization.set_sensitive(true);
        request.headers.insert(header::AUTHORIZATION, authorization);
        request.timeout = PATIENCE;
        request.max_body = MAX_ANSWER;
        Ok(request)
    }
}

/// Scheme and host of a URL, the host as `Host` names it: without the scheme's own port.
fn host_of(url: &str) -> Option<(String, String)> {
    let url: Uri = url.parse().ok()?;
    let (scheme, host) = (url.scheme_str()?, url.host().filter(|host| !host.is_empty())?);
    let own = if scheme == "https" { 443 } else { 80 };
    let port = url.port_u16().filter(|port| *port != own);
    let host = host.to_ascii_lowercase();
    let host = port.map_or(host.clone(), |port| format!("{host}:{port}"));
    Some((scheme.to_owned(), host))
}

/// Why there is no secret. AWS says by the name of an error what status it would have elsewhere.
fn refusal(answer: &Response) -> Failure {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let kind = body.get("__type").and_then(Value::as_str).unwrap_or_default();
    let kind = kind.rsplit('#').next().unwrap_or_default();
    if kind == "ResourceNotFoundException" {
        return Failure::gone("AWS Secrets Manager has no such secret");
    }
    let named =
        (1..=MAX_ERROR).contains(&kind.len()) && kind.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let kind = if named { format!(" {kind}") } else { String::new() };
    Failure::passing(format!("AWS Secrets Manager answers {}{kind}", answer.status.as_u16()))
}

#[cfg(test)]
mod tests {
    use base::UnixMillis;

    use super::*;

    fn read(conf: Value) -> Result<Aws, String> {
        Aws::read(&conf, &Clock::fixed(UnixMillis::from_secs(1_440_938_160)))
    }

    #[test]
    fn the_endpoint_is_the_regions_unless_another_is_named() {
        let url = |region: Option<&str>, endpoint: Option<&str>| {
            let conf = json!({"access_key_id": "i", "secret_access_key": "s", "region": region, "endpoint_url": endpoint});
            let aws = read(conf).unwrap();
            (aws.url, aws.host)
        };
        let pair = |url: &str, host: &str| (url.to_owned(), host.to_owned());
        let standard = "secretsmanager.us-east-1.amazonaws.com";
        assert_eq!(url(None, None), pair(&format!("https://{standard}/"), standard));
        let china = "secretsmanager.cn-north-1.amazonaws.com.cn";
        assert_eq!(url(Some("cn-north-1"), None), pair(&format!("https://{china}/"), china));
        assert_eq!(
            url(None, Some("http://127.0.0.1:4566/")),
            pair("http://127.0.0.1:4566/", "127.0.0.1:4566")
        );
        assert_eq!(url(None, Some("https://A.test:443")), pair("https://a.test/", "a.test"));
        assert!(read(json!({"access_key_id": "i"})).is_err());
    }

    #[test]
    fn s01_neither_secret_nor_token_is_in_what_is_shown_of_a_request() {
        let aws =
            read(json!({"access_key_id": "i", "secret_access_key": "s-canary", "session_token": "t-canary"}));
        let request = aws.unwrap().request("name").unwrap();
        assert_eq!(request.headers["x-amz-date"], "20150830T123600Z");
        assert!(!format!("{request:?}{:?}", request.headers).contains("canary"));
    }
}
