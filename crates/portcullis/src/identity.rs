//! The identity provider: its database, its tenants as configured, its servers.

use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use fetch::Fetcher;
use idp::{
    Argon2Pool, Idp, Mailer, Parts, RepositoryError,
    model::{AppType, Client, ClientGrant},
    repository::{ClientGrantFilter, Page, Repository},
    seed::DevCredentials,
};
use idp_store::SqlRepository;
use idp_web::IdpState;
use tokio::runtime::Handle;

use crate::{
    config::{Database, Identity, ManagementClient, Rejected, Tenant},
    directory,
    outbound::Guarded,
    revocations::Told,
    serve::{Server, Transport},
    services,
    start::{Plan, over_tls},
    tls::{Authorities, ClientCertificates},
};

/// Name of the application that the configuration file gives a tenant's administrators.
const MANAGEMENT_NAME: &str = "Management API (configuration file)";

/// The provider, ready to be served.
pub(crate) struct Provider {
    pub(crate) idp: Arc<Idp>,
    router: Router,
    /// Who vouches for clients.
    authorities: Arc<Authorities>,
    /// What `dev` seeded its tenant with.
    pub(crate) demo: Option<DevCredentials>,
}

impl Provider {
    /// Opens the database and brings the tenants to what the configuration says.
    pub(crate) async fn open(plan: &Plan, identity: &Identity) -> anyhow::Result<Self> {
        let idp = Arc::new(Idp::new(parts(plan, identity).await?));
        let mut demo = None;
        for tenant in &identity.tenants {
            let failed = || format!("cannot make the tenant {}", tenant.name);
            match &plan.dev {
                Some(dev) => {
                    demo = Some(idp::seed::dev(&idp, &dev.seed(tenant)).await.with_context(failed)?);
                    if let Some(folder) = dev.tenant() {
                        directory::import(&idp, &tenant.name, folder).await?;
                    }
                }
                None => provision(plan, &idp, tenant).await.with_context(failed)?,
            }
        }
        let state = IdpState::new(Arc::clone(&idp), plan.clock.clone());
        let state = state
            .trusting(&plan.config.trusted_proxies)
            .with_forwarded_certificates(identity.forwarded_certificates)
            .for_development(plan.dev.is_some());
        let authorities = Authorities::read(identity.client_ca.as_deref(), plan.clock.clone())?;
        Ok(Self { idp, router: idp_web::router(state), authorities: Arc::new(authorities), demo })
    }

    /// Its servers, bound and not yet running.
    pub(crate) fn servers(&self, identity: &Identity) -> anyhow::Result<Vec<Server>> {
        let name = "identity provider";
        let mut servers = vec![Server::bind(name, identity.listen, Transport::Plain, self.router.clone())?];
        if let Some(tls) = &identity.tls {
            servers.push(over_tls(name, tls, ClientCertificates::Unasked, self.router.clone())?);
        }
        if let Some(tls) = &identity.mtls {
            let server = over_tls(name, tls, ClientCertificates::Any, self.router.clone())?;
            servers.push(server.telling_certificates(Arc::clone(&self.authorities)));
        }
        Ok(servers)
    }
}

/// The provider of a command that serves nothing.
pub(crate) async fn open_for_tools(plan: &Plan, identity: &Identity) -> anyhow::Result<Idp> {
    Ok(Idp::new(parts(plan, identity).await?))
}

async fn parts(plan: &Plan, identity: &Identity) -> anyhow::Result<Parts> {
    let fetcher = Fetcher::new(&services::policy(&plan.config)?, Handle::current(), plan.clock.clone())?;
    let repository = repository(plan, identity).await?;
    let keyring = repository.hash_keys(&plan.random).await.context("cannot read the identity database")?;
    Ok(Parts {
        repository,
        clock: plan.clock.clone(),
        random: plan.random.clone(),
        keyring,
        hasher: Argon2Pool::start(plan.random.clone()),
        outbound: Arc::new(Guarded(fetcher)),
        mailer: plan.dev.as_ref().map(|dev| Arc::clone(dev.outbox()) as Arc<dyn Mailer>),
        mtls_port: identity.mtls.as_ref().map(|server| server.listen.port()),
        revocation_listener: Some(Arc::new(Told(Arc::clone(&plan.revocations)))),
        fallback_tenant: plan.dev.as_ref().and(identity.tenants.first()).map(|tenant| tenant.name.clone()),
    })
}

pub(crate) async fn repository(plan: &Plan, identity: &Identity) -> anyhow::Result<Arc<SqlRepository>> {
    let (keyring, random) = (plan.config.keyring.clone(), plan.random.clone());
    let opened = match &identity.database {
        Database::Sqlite(path) => idp_store::open_sqlite(path, keyring, random).await,
        Database::Postgres(url) => idp_store::open_postgres(url, keyring, random).await,
    };
    opened.map_err(|error| unusable(plan, identity, &error))
}

/// Says whether the identity database could be opened, and leaves it as it is.
pub(crate) async fn check(plan: &Plan, identity: &Identity) -> anyhow::Result<()> {
    let checked = match &identity.database {
        Database::Sqlite(path) => idp_store::check_sqlite(path).await,
        Database::Postgres(url) => idp_store::check_postgres(url).await,
    };
    checked.map_err(|error| unusable(plan, identity, &error))
}

/// What is wrong with the database, at the place where the file names it.
fn unusable(plan: &Plan, identity: &Identity, error: &RepositoryError) -> anyhow::Error {
    let name = match identity.database {
        Database::Sqlite(_) => "sqlite",
        Database::Postgres(_) => "postgres",
    };
    let reason = format!("`identity.database.{name}`: {error}").replace('\n', " ");
    Rejected::at(&plan.config.file, identity.database_mark, reason).into()
}

/// A tenant of `run`: what every tenant has, and the application its administrators begin with.
async fn provision(plan: &Plan, idp: &Idp, tenant: &Tenant) -> anyhow::Result<()> {
    idp::seed::tenant(idp, &tenant.name, &tenant.name, &tenant.domains).await?;
    match &tenant.management {
        Some(management) => management_client(plan, &**idp.repository(), &tenant.name, management).await,
        None => Ok(()),
    }
}

/// The file says id and secret; everything else about the application is the administrators' own from then on.
async fn management_client(
    plan: &Plan,
    repository: &dyn Repository,
    tenant: &str,
    management: &ManagementClient,
) -> anyhow::Result<()> {
    let id = &management.client_id;
    let secret = Some(management.client_secret.clone());
    let now = plan.clock.now().0;
    match repository.client(tenant, id).await? {
        Some(known) if known.client_secret == secret => {}
        Some(known) => {
            repository.update_client(tenant, &Client { client_secret: secret, ..known }).await?;
        }
        None => {
            let client = Client {
                client_id: id.clone(),
                client_secret: secret,
                name: MANAGEMENT_NAME.to_owned(),
                app_type: Some(AppType::NonInteractive),
                grant_types: vec!["client_credentials".to_owned()],
                oidc_conformant: true,
                created_at: now,
                ..Client::default()
            };
            repository.create_client(tenant, &client).await?;
        }
    }
    let apis = repository.resource_servers(tenant, Page::ALL).await?.items;
    let Some(api) = apis.into_iter().find(|api| api.is_system) else { return Ok(()) };
    let filter = ClientGrantFilter {
        client_id: Some(id),
        audience: Some(&api.identifier),
        ..ClientGrantFilter::default()
    };
    if repository.client_grants(tenant, filter, Page::ALL).await?.total == 0 {
        let grant = ClientGrant {
            id: format!("cgr_{}", plan.random.alphanumeric(16)),
            client_id: id.clone(),
            audience: api.identifier,
            scope: api.scopes.into_iter().map(|scope| scope.value).collect(),
            created_at: now,
            ..ClientGrant::default()
        };
        repository.create_client_grant(tenant, &grant).await?;
    }
    Ok(())
}
