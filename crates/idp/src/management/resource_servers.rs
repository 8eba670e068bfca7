use std::{collections::HashSet, str::FromStr, sync::Arc};

use base::Secret;
use jose::{Alg, jwe::EncryptionKey};
use oauth::Scopes;
use serde_json::Value;

use super::{ManagementError, Object, overlay::Rules, wording::invalid};
use crate::{
    RepositoryError, Site,
    idp::Core,
    keys::SIGNING_ALGS,
    model::{AppType, Client, ClientGrant, Permission, ResourceServer},
    repository::{Listing, Page},
};

const RULES: Rules = Rules {
    read_only: &["id", "is_system", "created_at", "introspection_clients"],
    merged: &["subject_type_authorization"],
    unsupported: &[
        "allow_online_access",
        "allow_online_access_with_ephemeral_sessions",
        "authorization_policy",
        "consent_policy",
    ],
};

/// APIs. `id` is the id or the identifier.
#[derive(Clone)]
pub struct ResourceServerService {
    core: Arc<Core>,
}

impl ResourceServerService {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// One page of them.
    pub async fn list(&self, site: &Site, page: Page) -> Result<Listing<ResourceServer>, ManagementError> {
        Ok(self.core.repository.resource_servers(&site.tenant.id, page).await?)
    }

    /// One of them.
    pub async fn read(&self, site: &Site, id: &str) -> Result<ResourceServer, ManagementError> {
        if let Some(api) = self.core.api(site, Some(id)).await? {
            return Ok(api);
        }
        self.core.repository.resource_server(&site.tenant.id, id).await?.ok_or(MISSING)
    }

    /// Makes one (201), and with it, as Auth0's console does, an application to try it: "NAME (Test Application)", which
    /// may ask for its scopes in its own name and introspect its tokens.
    pub async fn create(&self, site: &Site, mut body: Object) -> Result<ResourceServer, ManagementError> {
        let secret = take_secret(&mut body)?;
        let mut api = RULES.apply(&ResourceServer::default(), body)?;
        api.id = self.core.random.hex(12);
        api.created_at = self.core.clock.now().0;
        if api.name.is_empty() {
            api.name.clone_from(&api.identifier);
        }
        api.signing_secret = secret.or_else(|| Some(Secret::new(self.core.random.alphanumeric(32))));
        note_thumbprint(&mut api)?;
        check(&api)?;
        if site.is_management_audience(&api.identifier) || site.is_userinfo_audience(&api.identifier) {
            return Err(taken(&api.identifier));
        }
        let client = self.test_application(&api);
        api.introspection_clients = vec![client.client_id.clone()];
        let (tenant, repository) = (&site.tenant.id, &self.core.repository);
        match repository.create_resource_server(tenant, &api).await {
            Err(RepositoryError::Conflict(_)) => return Err(taken(&api.identifier)),
            made => made?,
        }
        repository.create_client(tenant, &client).await?;
        let grant = ClientGrant {
            id: format!("cgr_{}", self.core.random.alphanumeric(16)),
            client_id: client.client_id,
            audience: api.identifier.clone(),
            scope: api.scopes.iter().map(|scope| scope.value.clone()).collect(),
            created_at: self.core.clock.now().0,
            ..ClientGrant::default()
        };
        repository.create_client_grant(tenant, &grant).await?;
        Ok(api)
    }

    /// Changes what `body` names. The identifier never changes.
    pub async fn update(
        &self,
        site: &Site,
        id: &str,
        mut body: Object,
    ) -> Result<ResourceServer, ManagementError> {
        let secret = take_secret(&mut body)?;
        let current = self.read(site, id).await?;
        if current.is_system {
            return Err(ManagementError::Unsupported("A system API cannot be changed.".to_owned()));
        }
        let mut api = RULES.apply(&current, body)?;
        if api.identifier != current.identifier {
            return Err(invalid("identifier", "The identifier cannot be changed"));
        }
        api.signing_secret = secret.or(current.signing_secret);
        note_thumbprint(&mut api)?;
        check(&api)?;
        if !self.core.repository.update_resource_server(&site.tenant.id, &api).await? {
            return Err(MISSING);
        }
        // A scope that comes back later is a new one: nobody holds it.
        let gone =
            current.scopes.iter().filter(|scope| !api.scopes.iter().any(|kept| kept.value == scope.value));
        let gone: Vec<Permission> = gone
            .map(|scope| Permission { audience: api.identifier.clone(), name: scope.value.clone() })
            .collect();
        if !gone.is_empty() {
            self.core.repository.drop_permissions(&site.tenant.id, &gone).await?;
        }
        Ok(api)
    }

    /// Deletes one (204).
    pub async fn delete(&self, site: &Site, id: &str) -> Result<(), ManagementError> {
        let api = self.read(site, id).await?;
        if api.is_system {
            return Err(ManagementError::Unsupported("A system API cannot be deleted.".to_owned()));
        }
        let deleted = self.core.repository.delete_resource_server(&site.tenant.id, &api.id).await?;
        if deleted { Ok(()) } else { Err(MISSING) }
    }

    fn test_application(&self, api: &ResourceServer) -> Client {
        Client {
            client_id: self.core.random.alphanumeric(32),
            client_secret: Some(Secret::new(self.core.random.alphanumeric(64))),
            name: format!("{} (Test Application)", api.name),
            app_type: Some(AppType::NonInteractive),
            grant_types: vec!["client_credentials".to_owned()],
            oidc_conformant: true,
            created_at: self.core.clock.now().0,
            ..Client::default()
        }
    }
}

const MISSING: ManagementError = ManagementError::NotFound {
    code: Some("inexistent_resource_server"),
    message: "The resource server does not exist",
};

fn taken(identifier: &str) -> ManagementError {
    let message = format!("A resource server with the identifier {identifier} already exists.");
    ManagementError::Conflict { code: "resource_conflict", message }
}

fn take_secret(body: &mut Object) -> Result<Option<Secret<String>>, ManagementError> {
    match body.shift_remove("signing_secret") {
        None | Some(Value::Null) => Ok(None),
        // RFC 7518 section 3.2: as long as the hash.
        Some(Value::String(secret)) if (32..=255).contains(&secret.len()) => Ok(Some(Secret::new(secret))),
        Some(_) => Err(invalid("signing_secret", "Expected a string of 32 to 255 characters")),
    }
}

/// Reads the key that tokens are to be encrypted for, and notes its thumbprint.
fn note_thumbprint(api: &mut ResourceServer) -> Result<(), ManagementError> {
    const NAME: &str = "token_encryption.encryption_key";
    let Some(encryption) = &mut api.token_encryption else { return Ok(()) };
    let key = &mut encryption.encryption_key;
    match key.alg.as_str() {
        "RSA-OAEP-256" => {}
        "RSA-OAEP-384" | "RSA-OAEP-512" => {
            let text = format!("{NAME}.alg={} is not supported, RSA-OAEP-256 is.", key.alg);
            return Err(ManagementError::Unsupported(text));
        }
        _ => return Err(invalid(&format!("{NAME}.alg"), "Expected RSA-OAEP-256")),
    }
    let short = |text: &str| (1..=128).contains(&text.len()) && !text.contains(|c: char| c.is_control());
    for (member, text) in [("name", &key.name), ("kid", &key.kid)] {
        if text.as_ref().is_some_and(|text| !short(text)) {
            return Err(invalid(&format!("{NAME}.{member}"), "Expected 1 to 128 characters"));
        }
    }
    let usable = key.pem.len() <= 16_384 && EncryptionKey::from_pem(&key.pem, None).is_ok();
    if !usable {
        let text = "Expected the PEM text of an RSA public key of 2048 bits at least, or of a certificate";
        return Err(invalid(&format!("{NAME}.pem"), text));
    }
    key.thumbprint_sha256 = EncryptionKey::pem_thumbprint(&key.pem).ok();
    Ok(())
}

fn check(api: &ResourceServer) -> Result<(), ManagementError> {
    let visible = |text: &str| text.chars().all(|c| !c.is_control() && !c.is_whitespace());
    if api.identifier.is_empty() || api.identifier.len() > 600 || !visible(&api.identifier) {
        return Err(invalid("identifier", "Expected 1 to 600 characters without blanks"));
    }
    if api.name.len() > 200 || api.name.contains(['<', '>']) {
        return Err(invalid("name", "Expected up to 200 characters without < and >"));
    }
    let one_token =
        |value: &str| Scopes::parse(value).is_ok_and(|scopes| scopes.len() == 1) && value.len() <= 280;
    if api.scopes.len() > 1000 || !api.scopes.iter().all(|scope| one_token(&scope.value)) {
        return Err(invalid("scopes", "Expected up to 1000 scopes of up to 280 visible characters"));
    }
    let mut seen = HashSet::new();
    if let Some(place) = api.scopes.iter().position(|scope| !seen.insert(scope.value.as_str())) {
        return Err(invalid(&format!("scopes[{place}].value"), "Expected a value that no other scope has"));
    }
    let signs =
        Alg::from_str(&api.signing_alg).is_ok_and(|alg| SIGNING_ALGS.contains(&alg) || alg == Alg::HS256);
    if !signs {
        return Err(invalid("signing_alg", "Expected RS256, PS256, ES256, EdDSA or HS256"));
    }
    if ![api.token_lifetime, api.token_lifetime_for_web]
        .iter()
        .all(|seconds| (1..=2_592_000).contains(seconds))
    {
        return Err(invalid("token_lifetime", "Expected 1 to 2592000"));
    }
    let kind = |kind: &str| !kind.is_empty() && kind.len() <= 255 && visible(kind);
    if api.authorization_details.len() > 10
        || !api.authorization_details.iter().all(|known| kind(&known.kind))
    {
        let text = "Expected up to 10 types of up to 255 characters without blanks";
        return Err(invalid("authorization_details", text));
    }
    if !matches!(api.user_policy(), "allow_all" | "deny_all" | "require_client_grant")
        || !matches!(api.client_policy(), "deny_all" | "require_client_grant")
    {
        return Err(invalid("subject_type_authorization", "Unknown policy"));
    }
    Ok(())
}
