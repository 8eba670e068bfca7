use std::sync::Arc;

use base::{Clock, Keyring, Random, UnixMillis};
use oauth::Params;

use crate::{
    Authorization, Backchannel, Bearer, Browser, ClientAuthentication, ConsentPages, DeviceFlow, Discovery,
    EndpointError, IdpError, Introspection, IssuedTokens, Keys, Login, Logout, Mailer, Outbound,
    PasswordHasher, PushedRequests, Registration, Revocation, RevocationListener, Site, Tickets,
    TokenEndpoint, Userinfo, client_keys::ClientKeys, digest::Digester, logs::Waiting,
    management::Management, possession::Nonces, repository::Repository,
};

/// Log entries are kept for 30 days, as long as Auth0 keeps them at most.
const LOG_RETENTION_MS: i64 = 30 * 24 * 60 * 60 * 1000;

/// What the provider is built from.
pub struct Parts {
    /// Its store.
    pub repository: Arc<dyn Repository>,
    /// Its time.
    pub clock: Clock,
    /// Its randomness.
    pub random: Random,
    /// Derives the keys under which codes and tokens are hashed. They must stay for as long as what was hashed, so it is
    /// not the keyring that seals, whose keys come and go.
    pub keyring: Keyring,
    /// Hashes passwords away from request threads.
    pub hasher: Arc<dyn PasswordHasher>,
    /// The way to documents that clients name.
    pub outbound: Arc<dyn Outbound>,
    /// Takes mail to users; `None`: there is none, and nothing that needs it.
    pub mailer: Option<Arc<dyn Mailer>>,
    /// Is told of revoked tokens; `None`: nobody here reads them without asking.
    pub revocation_listener: Option<Arc<dyn RevocationListener>>,
    /// The tenant that answers for hosts nobody configured; `None` refuses them.
    pub fallback_tenant: Option<String>,
    /// The port of the server that asks for client certificates; `None`: there is none.
    pub mtls_port: Option<u16>,
}

/// The identity provider: one value per process, shared by everything that serves it.
pub struct Idp {
    core: Arc<Core>,
    /// `/authorize` and `/authorize/resume`.
    pub authorization: Authorization,
    /// `/oauth/par`.
    pub pushed_requests: PushedRequests,
    /// Login and sign-up pages.
    pub login: Login,
    /// The consent page.
    pub consent: ConsentPages,
    /// Who a client is, at every endpoint that asks.
    pub client_authentication: ClientAuthentication,
    /// `/oauth/token`.
    pub token: TokenEndpoint,
    /// `/oauth/device/code` and `/activate`.
    pub device: DeviceFlow,
    /// `/bc-authorize`.
    pub backchannel: Backchannel,
    /// `/oidc/register`.
    pub registration: Registration,
    /// `/userinfo`.
    pub userinfo: Userinfo,
    /// `/oauth/introspect`.
    pub introspection: Introspection,
    /// `/oauth/revoke`.
    pub revocation: Revocation,
    /// `/oidc/logout` and `/v2/logout`.
    pub logout: Logout,
    /// Links in mails.
    pub tickets: Tickets,
    /// `/.well-known/jwks.json` and rotation.
    pub keys: Keys,
    /// `/.well-known/openid-configuration`.
    pub discovery: Discovery,
    /// Access tokens as the provider's own APIs accept them.
    pub bearer: Bearer,
    /// `/api/v2`.
    pub management: Management,
}

/// What all services share.
pub(crate) struct Core {
    pub(crate) repository: Arc<dyn Repository>,
    pub(crate) clock: Clock,
    pub(crate) random: Random,
    pub(crate) digester: Digester,
    pub(crate) hasher: Arc<dyn PasswordHasher>,
    pub(crate) waiting: Waiting,
    pub(crate) mailer: Option<Arc<dyn Mailer>>,
    pub(crate) keys: Keys,
    pub(crate) nonces: Nonces,
    pub(crate) outbound: Arc<dyn Outbound>,
    pub(crate) client_keys: ClientKeys,
    pub(crate) revocation_listener: Option<Arc<dyn RevocationListener>>,
    mtls_port: Option<u16>,
    fallback_tenant: Option<String>,
}

impl Idp {
    /// Puts the services together. Nothing is read yet.
    pub fn new(parts: Parts) -> Self {
        let keys = Keys::new(parts.repository.clone(), parts.clock.clone(), parts.random.clone());
        let core = Arc::new(Core {
            digester: Digester::new(&parts.keyring),
            waiting: Waiting::default(),
            mailer: parts.mailer,
            nonces: Nonces::new(&parts.keyring),
            outbound: parts.outbound,
            client_keys: ClientKeys::default(),
            revocation_listener: parts.revocation_listener,
            mtls_port: parts.mtls_port,
            keys: keys.clone(),
            repository: parts.repository,
            clock: parts.clock,
            random: parts.random,
            hasher: parts.hasher,
            fallback_tenant: parts.fallback_tenant,
        });
        let client_authentication = ClientAuthentication::new(core.clone());
        let authorization = Authorization::new(core.clone());
        let clients = &client_authentication;
        Self {
            device: DeviceFlow::new(core.clone(), clients.clone(), authorization.clone()),
            backchannel: Backchannel::new(core.clone(), clients.clone(), authorization.clone()),
            pushed_requests: PushedRequests::new(core.clone(), clients.clone()),
            authorization,
            login: Login::new(core.clone()),
            consent: ConsentPages::new(core.clone()),
            token: TokenEndpoint::new(core.clone(), client_authentication.clone()),
            registration: Registration::new(core.clone()),
            userinfo: Userinfo::new(core.clone()),
            introspection: Introspection::new(core.clone(), client_authentication.clone()),
            revocation: Revocation::new(core.clone(), client_authentication.clone()),
            logout: Logout::new(core.clone()),
            discovery: Discovery::new(core.clone()),
            tickets: Tickets::new(core.clone()),
            bearer: Bearer::new(core.clone()),
            management: Management::new(core.clone()),
            client_authentication,
            keys,
            core,
        }
    }

    /// The tenant and origin that a request's `Host` (with its port, if any) names; `None` where nobody answers for
    /// it. Of several origins with one host and port the first counts; where none has it, the fallback tenant's origin
    /// with the same port, else its first.
    pub async fn site(&self, host: &str) -> Result<Option<Site>, IdpError> {
        let host = host.to_ascii_lowercase();
        let tenants = self.core.repository.tenants().await?;
        // The server that asks for certificates stands beside an origin that is https under the same name.
        if let Some(name) = self.core.mtls_port.and_then(|port| host.strip_suffix(&format!(":{port}"))) {
            for tenant in &tenants {
                let is =
                    |origin: &&String| origin.starts_with("https://") && host_name(authority(origin)) == name;
                if let Some(origin) = tenant.origins.iter().find(is) {
                    return Ok(Some(Site {
                        origin: origin.as_str().into(),
                        tenant: Arc::new(tenant.clone()),
                    }));
                }
            }
        }
        for tenant in &tenants {
            if let Some(origin) =
                tenant.origins.iter().find(|origin| authority(origin) == without_default_port(&host, origin))
            {
                return Ok(Some(Site { origin: origin.as_str().into(), tenant: Arc::new(tenant.clone()) }));
            }
        }
        let fallback = self.core.fallback_tenant.as_deref();
        let Some(tenant) = tenants.into_iter().find(|tenant| Some(tenant.id.as_str()) == fallback) else {
            return Ok(None);
        };
        let port = port(&host);
        let same_port =
            tenant.origins.iter().find(|origin| port.is_some() && self::port(authority(origin)) == port);
        let Some(origin) = same_port.or(tenant.origins.first()) else { return Ok(None) };
        Ok(Some(Site { origin: origin.as_str().into(), tenant: Arc::new(tenant) }))
    }

    /// The nonce that DPoP proofs must have at this moment, for the header `DPoP-Nonce` (RFC 9449 section 8).
    pub fn dpop_nonce(&self) -> String {
        self.core.nonces.current(self.core.clock.now())
    }

    /// A name for one exchange with a client that gave it none, for the header `x-fapi-interaction-id`.
    pub fn interaction_id(&self) -> String {
        self.core.random.uuid()
    }

    /// The site of one configured origin of a tenant, for work that no request asked for.
    pub async fn site_of(&self, tenant: &str) -> Result<Option<Site>, IdpError> {
        let tenants = self.core.repository.tenants().await?;
        let tenant = tenants.into_iter().find(|known| known.id == tenant);
        Ok(tenant.and_then(|tenant| {
            let origin = tenant.origins.first()?.as_str().into();
            Some(Site { origin, tenant: Arc::new(tenant) })
        }))
    }

    /// The repositories, for the seed and for administration from the command line.
    pub fn repository(&self) -> &Arc<dyn Repository> {
        &self.core.repository
    }

    /// Notes what became of a token request.
    pub fn note_token_request(
        &self,
        site: &Site,
        browser: &Browser,
        client_id: Option<&str>,
        params: &Params<'_>,
        outcome: &Result<IssuedTokens, EndpointError>,
    ) {
        self.core.note_token_request(site, browser, client_id, params, outcome);
    }

    pub(crate) fn core(&self) -> &Core {
        &self.core
    }

    /// Deletes what is long expired. To be called now and then.
    pub async fn purge(&self) -> Result<u64, IdpError> {
        let now = self.core.clock.now();
        let purged = self.core.repository.purge(now).await?;
        let logs = self.core.repository.purge_logs(UnixMillis(now.0 - LOG_RETENTION_MS)).await?;
        Ok(purged + logs)
    }
}

/// Host and port of an origin.
fn authority(origin: &str) -> &str {
    origin.split_once("://").map_or(origin, |(_, authority)| authority)
}

/// Browsers leave out the scheme's own port; configured origins do too.
fn without_default_port<'h>(host: &'h str, origin: &str) -> &'h str {
    let default = if origin.starts_with("https://") { ":443" } else { ":80" };
    host.strip_suffix(default).unwrap_or(host)
}

/// An authority without its port.
fn host_name(authority: &str) -> &str {
    match port(authority) {
        Some(port) => {
            authority.strip_suffix(port).and_then(|name| name.strip_suffix(':')).unwrap_or(authority)
        }
        None => authority,
    }
}

impl Core {
    /// Where the endpoints of a site that ask for client certificates are; `None` where there are none.
    pub(crate) fn mtls_origin(&self, site: &Site) -> Option<String> {
        let port = self.mtls_port.filter(|_| site.is_https())?;
        Some(format!("https://{}:{port}", host_name(authority(&site.origin))))
    }
}

fn port(authority: &str) -> Option<&str> {
    let (_, port) = authority.rsplit_once(':')?;
    port.bytes().all(|byte| byte.is_ascii_digit()).then_some(port)
}
