//! Who a client is, at every endpoint that asks.

mod assertion;
mod certificate;

use std::sync::Arc;

use base::{Secret, same_bytes};
use oauth::{BasicCredentials, ClientAssertion, ClientAuthMethod, ErrorCode, Params};

pub(crate) use self::assertion::{ASSERTION_ALGS, MAX_ASSERTION, SKEW, moment};
use crate::{EndpointError, Presented, Site, idp::Core, model::Client};

/// The methods that work, for discovery.
pub(crate) const METHODS: [ClientAuthMethod; 7] = [
    ClientAuthMethod::ClientSecretBasic,
    ClientAuthMethod::ClientSecretPost,
    ClientAuthMethod::PrivateKeyJwt,
    ClientAuthMethod::ClientSecretJwt,
    ClientAuthMethod::TlsClientAuth,
    ClientAuthMethod::SelfSignedTlsClientAuth,
    ClientAuthMethod::None,
];
/// Compared with where there is no secret, so that a missing client takes the time of a present one.
const NO_SECRET: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Who a client is (RFC 6749 section 2.3, RFC 7523, RFC 8705), and that it uses exactly one way to prove it: the one
/// that it registered.
#[derive(Clone)]
pub struct ClientAuthentication {
    core: Arc<Core>,
}

/// What a request offers as proof.
enum Proof {
    Secret { client_id: String, secret: Secret<String>, method: ClientAuthMethod },
    Assertion { client_id: Option<String>, assertion: String },
    Name { client_id: String },
}

impl ClientAuthentication {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// The client that the request's header, form or certificate authenticates.
    ///
    /// # Errors
    ///
    /// `invalid_client` (401, with `WWW-Authenticate: Basic` where the header was used), `invalid_request` for two
    /// methods at once.
    pub async fn authenticate<'a>(
        &self,
        site: &Site,
        presented: impl Into<Presented<'a>>,
        params: &Params<'_>,
    ) -> Result<Client, EndpointError> {
        let presented = presented.into();
        let client = self.proven(site, presented, params).await?;
        match client.compliance_level {
            Some(level) if !level.allows_method(client.token_endpoint_auth_method) => Err(refused()),
            _ => Ok(client),
        }
    }

    async fn proven(
        &self,
        site: &Site,
        presented: Presented<'_>,
        params: &Params<'_>,
    ) -> Result<Client, EndpointError> {
        match read(presented.authorization, params)? {
            Proof::Secret { client_id, secret, method } => {
                self.by_secret(site, &client_id, &secret, method).await
            }
            Proof::Assertion { client_id, assertion } => {
                self.by_assertion(site, client_id.as_deref(), &assertion, presented.url).await
            }
            Proof::Name { client_id } => {
                let client = self.client(site, &client_id).await?.ok_or_else(refused)?;
                match (client.token_endpoint_auth_method, presented.certificate) {
                    (Some(ClientAuthMethod::None), _) => Ok(client),
                    (Some(method), Some(certificate))
                        if self.core.is_certificate_of(&client, method, certificate).await =>
                    {
                        Ok(client)
                    }
                    _ => Err(refused()),
                }
            }
        }
    }

    async fn by_secret(
        &self,
        site: &Site,
        client_id: &str,
        secret: &Secret<String>,
        method: ClientAuthMethod,
    ) -> Result<Client, EndpointError> {
        let client = self.client(site, client_id).await?;
        let known = client.as_ref().and_then(|client| client.client_secret.as_ref());
        let expected = known.map_or(NO_SECRET, |secret| secret.expose().as_str());
        let right = same_bytes(expected.as_bytes(), secret.expose().as_bytes()) && known.is_some();
        let fits = |client: &Client| match client.token_endpoint_auth_method {
            None => true,
            Some(registered) => registered == method,
        };
        client.filter(|client| right && fits(client)).ok_or_else(refused)
    }

    async fn client(&self, site: &Site, client_id: &str) -> Result<Option<Client>, EndpointError> {
        let client = self.core.repository.client(&site.tenant.id, client_id).await?;
        Ok(client.filter(|client| !client.global))
    }
}

/// One answer for every cause, so that nobody learns which clients exist.
fn refused() -> EndpointError {
    EndpointError::oauth(ErrorCode::InvalidClient, "Unauthorized")
}

fn read(authorization: Option<&str>, params: &Params<'_>) -> Result<Proof, EndpointError> {
    let two = || {
        EndpointError::oauth(ErrorCode::InvalidRequest, "More than one client authentication method was used")
    };
    let named = params.value("client_id").map(str::to_owned);
    let posted = params.first("client_secret");
    let assertion = params.first("client_assertion");
    let basic = match authorization {
        Some(header) => BasicCredentials::parse(header.as_bytes()).map_err(|_| refused())?,
        None => None,
    };
    match (basic, posted, assertion) {
        (Some(basic), None, None) => {
            if named.is_some_and(|named| named != basic.client_id) {
                return Err(two());
            }
            let method = ClientAuthMethod::ClientSecretBasic;
            Ok(Proof::Secret { client_id: basic.client_id, secret: basic.secret, method })
        }
        (None, Some(secret), None) => {
            let method = ClientAuthMethod::ClientSecretPost;
            let client_id = named.ok_or_else(refused)?;
            Ok(Proof::Secret { client_id, secret: Secret::new(secret.to_owned()), method })
        }
        (None, None, Some(assertion)) => {
            if params.value("client_assertion_type") != Some(ClientAssertion::TYPE) {
                return Err(refused());
            }
            Ok(Proof::Assertion { client_id: named, assertion: assertion.to_owned() })
        }
        (None, None, None) => Ok(Proof::Name { client_id: named.ok_or_else(refused)? }),
        _ => Err(two()),
    }
}
