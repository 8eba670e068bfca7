//! Tenants as they begin, and what `dev` starts with.

use base::Secret;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value, json};

use crate::{
    Idp, IdpError, RepositoryError,
    idp::Core,
    management::MANAGEMENT_SCOPES,
    model::{
        AppType, Client, ClientGrant, Connection, ResourceServer, ResourceServerScope, RotationType,
        SubjectPolicy, SubjectTypeAuthorization, Tenant, TenantSettings, User, fold,
    },
    repository::{ClientGrantFilter, Page},
};

const DEMO_API: &str = "APISIXClientCredentials";
const DEMO_AUDIENCE: &str = "https://example.com/";
const DEMO_USER: &str = "demo@example.com";
const DEMO_CONNECTION: &str = "Username-Password-Authentication";
const MANAGEMENT_APPLICATION: &str = "Management API (Test Application)";

/// What [`dev`] needs to know.
#[derive(Clone, Debug)]
pub struct DevSeed {
    /// The tenant's id.
    pub tenant: String,
    /// The tenant's origins, the first being `ISSUER` without its slash.
    pub origins: Vec<String>,
    /// Callbacks of the demo application.
    pub callbacks: Vec<String>,
    /// Allowed logout URLs of the demo application.
    pub logout_urls: Vec<String>,
}

/// What `dev.env` tells.
#[derive(Clone, Debug)]
pub struct DevCredentials {
    /// The demo application, "APISIXClientCredentials (Test Application)".
    pub client_id: String,
    /// Its secret.
    pub client_secret: Secret<String>,
    /// The demo API's identifier.
    pub audience: String,
    /// The application with every scope of the Management API.
    pub management_client_id: String,
    /// Its secret.
    pub management_client_secret: Secret<String>,
    /// The demo user's e-mail address.
    pub user: String,
    /// The demo user's password: derived from the keys of hashes, so that it is the same at every start and nowhere written.
    pub password: Secret<String>,
}

/// Makes a tenant, or gives a known one this name and these origins, and with it what every tenant has: the Management
/// API, the client that stands for all, and signing keys. Settings of a known tenant stay as they are.
pub async fn tenant(idp: &Idp, id: &str, name: &str, origins: &[String]) -> Result<(), IdpError> {
    let core = idp.core();
    let known = core.repository.tenants().await?.into_iter().find(|tenant| tenant.id == id);
    let settings = known.as_ref().map_or_else(TenantSettings::default, |tenant| tenant.settings.clone());
    let tenant = Tenant { id: id.to_owned(), name: name.to_owned(), origins: origins.to_vec(), settings };
    if known.as_ref() != Some(&tenant) {
        core.repository.put_tenant(&tenant).await?;
    }
    management_api(core, &tenant).await?;
    let clients = core.repository.clients(id, Page::ALL).await?.items;
    if !clients.iter().any(|client| client.global) {
        let all = Client { name: "All Applications".to_owned(), global: true, ..new_client(core) };
        core.repository.create_client(id, &all).await?;
    }
    core.keys.jwks(id).await?;
    Ok(())
}

/// Makes the demo tenant with the demo API, application, connection and user and the management application, where they
/// are not there yet, and says how to use them. Calling it again changes nothing but the tenant's origins, the demo
/// application's URLs, which follow `seed`, and the demo user's password where it was changed.
pub async fn dev(idp: &Idp, seed: &DevSeed) -> Result<DevCredentials, IdpError> {
    let core = idp.core();
    tenant(idp, &seed.tenant, "Development", &seed.origins).await?;
    let demo = demo_application(core, seed).await?;
    let scopes = demo_api(core, &seed.tenant, &demo).await?;
    grant(core, &seed.tenant, &demo, DEMO_AUDIENCE, scopes).await?;
    let connection = demo_connection(core, &seed.tenant, &demo).await?;
    let password = demo_user(core, &seed.tenant, &connection).await?;
    let management = management_application(core, &seed.tenant).await?;
    Ok(DevCredentials {
        client_secret: demo.client_secret.clone().unwrap_or_default(),
        client_id: demo.client_id,
        audience: DEMO_AUDIENCE.to_owned(),
        management_client_secret: management.client_secret.clone().unwrap_or_default(),
        management_client_id: management.client_id,
        user: DEMO_USER.to_owned(),
        password,
    })
}

async fn management_api(core: &Core, tenant: &Tenant) -> Result<ResourceServer, IdpError> {
    let apis = core.repository.resource_servers(&tenant.id, Page::ALL).await?.items;
    let scopes = MANAGEMENT_SCOPES.iter().map(|name| scope(name, None)).collect();
    if let Some(api) = apis.into_iter().find(|api| api.is_system) {
        if api.scopes == scopes {
            return Ok(api);
        }
        let api = ResourceServer { scopes, ..api };
        core.repository.update_resource_server(&tenant.id, &api).await?;
        return Ok(api);
    }
    let policy = |name: &str| SubjectPolicy { policy: Some(name.to_owned()) };
    let api = ResourceServer {
        id: core.random.hex(12),
        name: "Auth0 Management API".to_owned(),
        identifier: format!("{}/api/v2/", tenant.origins.first().map_or("", String::as_str)),
        scopes,
        // Users must not get an administrator's scopes by asking for them.
        subject_type_authorization: Some(SubjectTypeAuthorization {
            user: policy("deny_all"),
            client: policy("require_client_grant"),
        }),
        is_system: true,
        created_at: core.clock.now().0,
        ..ResourceServer::default()
    };
    core.repository.create_resource_server(&tenant.id, &api).await?;
    Ok(api)
}

async fn demo_application(core: &Core, seed: &DevSeed) -> Result<Client, IdpError> {
    let name = format!("{DEMO_API} (Test Application)");
    let known = named_client(core, &seed.tenant, &name).await?;
    let mut client = known.clone().unwrap_or_else(|| Client {
        name,
        app_type: Some(AppType::RegularWeb),
        grant_types: ["authorization_code", "refresh_token", "client_credentials"]
            .map(str::to_owned)
            .to_vec(),
        ..new_client(core)
    });
    if known.is_none() {
        client.refresh_token.rotation_type = RotationType::Rotating;
    }
    // Ports move; what somebody added stays.
    for (list, wanted) in
        [(&mut client.callbacks, &seed.callbacks), (&mut client.allowed_logout_urls, &seed.logout_urls)]
    {
        for url in wanted {
            if !list.contains(url) {
                list.push(url.clone());
            }
        }
    }
    save_client(core, &seed.tenant, known.as_ref(), &client).await?;
    Ok(client)
}

async fn demo_api(core: &Core, tenant: &str, gateway: &Client) -> Result<Vec<String>, IdpError> {
    if let Some(api) = core.repository.resource_server(tenant, DEMO_AUDIENCE).await? {
        return Ok(api.scopes.into_iter().map(|scope| scope.value).collect());
    }
    let api = ResourceServer {
        id: core.random.hex(12),
        name: DEMO_API.to_owned(),
        identifier: DEMO_AUDIENCE.to_owned(),
        scopes: vec![
            scope("read:things", Some("Read your things")),
            scope("write:things", Some("Change your things")),
        ],
        signing_secret: Some(Secret::new(core.random.alphanumeric(32))),
        allow_offline_access: true,
        introspection_clients: vec![gateway.client_id.clone()],
        created_at: core.clock.now().0,
        ..ResourceServer::default()
    };
    core.repository.create_resource_server(tenant, &api).await?;
    Ok(api.scopes.into_iter().map(|scope| scope.value).collect())
}

async fn demo_connection(core: &Core, tenant: &str, demo: &Client) -> Result<Connection, IdpError> {
    let known = core.repository.connection(tenant, DEMO_CONNECTION).await?;
    let mut connection = known.clone().unwrap_or_else(|| Connection {
        id: format!("con_{}", core.random.alphanumeric(16)),
        name: DEMO_CONNECTION.to_owned(),
        realms: vec![DEMO_CONNECTION.to_owned()],
        created_at: core.clock.now().0,
        ..Connection::default()
    });
    if known.is_none() {
        connection.enabled_clients.push(demo.client_id.clone());
        core.repository.create_connection(tenant, &connection).await?;
    }
    Ok(connection)
}

async fn demo_user(core: &Core, tenant: &str, connection: &Connection) -> Result<Secret<String>, IdpError> {
    let digest = core.digester.digest(&format!("demo password/{tenant}"));
    let text = URL_SAFE_NO_PAD.encode(digest.0);
    // The end sees to it that every password policy is met.
    let password = Secret::new(format!("{}-Aa1", text.get(..16).unwrap_or_default()));
    let found = core.repository.user_by_identifier(tenant, &connection.name, &fold(DEMO_USER)).await?;
    let now = core.clock.now();
    match found {
        Some((user, hash)) => {
            if !core.hasher.verify(password.clone(), hash).await? {
                let hash = core.hasher.hash(password.clone()).await?;
                core.repository.set_password(tenant, &user.user_id, &hash, now).await?;
            }
        }
        None => {
            let hash = core.hasher.hash(password.clone()).await?;
            let user = User {
                user_id: format!("auth0|{}", core.random.hex(12)),
                connection: connection.name.clone(),
                email: Some(DEMO_USER.to_owned()),
                email_verified: true,
                name: Some("Demo User".to_owned()),
                given_name: Some("Demo".to_owned()),
                family_name: Some("User".to_owned()),
                picture: Some("https://demo.example.com/demo.png".to_owned()),
                phone_number: Some("+15555550100".to_owned()),
                phone_verified: true,
                user_metadata: demo_metadata(),
                created_at: now.0,
                updated_at: now.0,
                ..User::default()
            }
            .newly_made();
            core.repository.create_user(tenant, &user, Some(&hash)).await?;
        }
    }
    Ok(password)
}

/// What the demo user says of themselves: with it there is a value for every claim of OpenID Connect Core 5.1.
fn demo_metadata() -> Map<String, Value> {
    let metadata = json!({
        "middle_name": "D.",
        "preferred_username": "demo",
        "profile": "https://demo.example.com/",
        "website": "https://www.example.com/",
        "gender": "female",
        "birthdate": "1990-04-01",
        "zoneinfo": "Europe/Berlin",
        "locale": "en",
        "address": {
            "formatted": "Demo Street 1\n12345 Demotown",
            "street_address": "Demo Street 1",
            "locality": "Demotown",
            "postal_code": "12345",
            "country": "DE",
        },
    });
    metadata.as_object().cloned().unwrap_or_default()
}

async fn management_application(core: &Core, tenant: &str) -> Result<Client, IdpError> {
    let known = named_client(core, tenant, MANAGEMENT_APPLICATION).await?;
    let client = known.clone().unwrap_or_else(|| Client {
        name: MANAGEMENT_APPLICATION.to_owned(),
        app_type: Some(AppType::NonInteractive),
        grant_types: vec!["client_credentials".to_owned()],
        ..new_client(core)
    });
    save_client(core, tenant, known.as_ref(), &client).await?;
    let apis = core.repository.resource_servers(tenant, Page::ALL).await?.items;
    if let Some(api) = apis.into_iter().find(|api| api.is_system) {
        let scopes = api.scopes.into_iter().map(|scope| scope.value).collect();
        grant(core, tenant, &client, &api.identifier, scopes).await?;
    }
    Ok(client)
}

async fn grant(
    core: &Core,
    tenant: &str,
    client: &Client,
    audience: &str,
    scope: Vec<String>,
) -> Result<(), IdpError> {
    let filter = ClientGrantFilter {
        client_id: Some(&client.client_id),
        audience: Some(audience),
        ..ClientGrantFilter::default()
    };
    if core.repository.client_grants(tenant, filter, Page::ALL).await?.total > 0 {
        return Ok(());
    }
    let grant = ClientGrant {
        id: format!("cgr_{}", core.random.alphanumeric(16)),
        client_id: client.client_id.clone(),
        audience: audience.to_owned(),
        scope,
        created_at: core.clock.now().0,
        ..ClientGrant::default()
    };
    match core.repository.create_client_grant(tenant, &grant).await {
        Err(RepositoryError::Conflict(_)) => Ok(()),
        made => Ok(made?),
    }
}

async fn named_client(core: &Core, tenant: &str, name: &str) -> Result<Option<Client>, IdpError> {
    let clients = core.repository.clients(tenant, Page::ALL).await?.items;
    Ok(clients.into_iter().find(|client| client.name == name))
}

async fn save_client(
    core: &Core,
    tenant: &str,
    known: Option<&Client>,
    client: &Client,
) -> Result<(), IdpError> {
    match known {
        None => core.repository.create_client(tenant, client).await?,
        Some(known) if known != client => {
            core.repository.update_client(tenant, client).await?;
        }
        Some(_) => {}
    }
    Ok(())
}

/// Confidential, with an id of 32 and a secret of 64 characters.
fn new_client(core: &Core) -> Client {
    Client {
        client_id: core.random.alphanumeric(32),
        client_secret: Some(Secret::new(core.random.alphanumeric(64))),
        oidc_conformant: true,
        created_at: core.clock.now().0,
        ..Client::default()
    }
}

fn scope(value: &str, description: Option<&str>) -> ResourceServerScope {
    ResourceServerScope { value: value.to_owned(), description: description.map(str::to_owned) }
}
