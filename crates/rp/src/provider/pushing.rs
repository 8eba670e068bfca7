use fetch::Response;
use http::StatusCode;
use oauth::ProviderMetadata;
use serde_json::{Map, Value};

use super::{Client, Provider, ProviderError, TokenAuth, calls::ok};

const PUSHING: &str = "pushed_authorization_request_endpoint";
/// Bytes of a `request_uri`, which goes into the browser's address.
const MAX_REQUEST_URI: usize = 2048;

impl Provider {
    /// Pushes the parameters of an authorization request (RFC 9126 section 2) to `endpoint`, or to the provider's own
    /// without one, and returns the `request_uri` that stands for them. `auth`: how the client authenticates there;
    /// `None`: as at the token endpoint.
    ///
    /// # Errors
    ///
    /// [`ProviderError::Missing`] when there is no endpoint; [`ProviderError::Denied`] when the provider refuses the
    /// request or the client; the others when it is down or talks nonsense.
    pub async fn push(
        &self,
        client: &Client,
        endpoint: Option<&str>,
        auth: Option<TokenAuth>,
        params: &[(&str, &str)],
    ) -> Result<String, ProviderError> {
        let metadata = self.ready().await?;
        let url = endpoint.or(metadata.pushed_authorization_request_endpoint.as_deref());
        let url = url.ok_or(ProviderError::Missing(PUSHING))?;
        // RFC 9126 section 2: clients authenticate there as at the token endpoint.
        let method = client.method(auth.unwrap_or(client.token_auth), listed(&metadata));
        let answer = self.post(PUSHING, url, client, method, params).await?;
        let body = pushed(&answer)?;
        let request_uri = body.get("request_uri").and_then(Value::as_str).unwrap_or_default();
        // RFC 9126 section 2.2: an opaque reference; a URN in practice.
        let plain = request_uri.bytes().all(|byte| (0x21..0x7f).contains(&byte));
        if request_uri.is_empty() || request_uri.len() > MAX_REQUEST_URI || !plain {
            let why = "it has no request_uri that can be used".to_owned();
            return Err(ProviderError::Junk { what: PUSHING, why });
        }
        Ok(request_uri.to_owned())
    }
}

fn pushed(answer: &Response) -> Result<Map<String, Value>, ProviderError> {
    // 201 by the RFC; many send 200.
    let answer = ok(PUSHING, answer, &[StatusCode::CREATED, StatusCode::OK])?;
    oauth::json_object(&answer.body)
        .map_err(|error| ProviderError::Junk { what: PUSHING, why: error.to_string() })
}

fn listed(metadata: &ProviderMetadata) -> Option<&[String]> {
    metadata.token_endpoint_auth_methods_supported.as_deref()
}
