//! A provider with the demo tenant on a fresh database, and people who use it.

use std::{net::IpAddr, path::PathBuf, sync::Arc, time::Duration};

use base::{Clock, Keyring, Random, Secret, UnixMillis};
use idp::{
    Argon2Pool, AuthorizeOutcome, Browser, Call, Cost, EndpointError, Exchange, Idp, Interaction,
    IssuedTokens, LoginOutcome, Outbound, OutboundError, Parts, PasswordHasher, Site,
    model::{Client, SigningKeyRecord},
    repository::Repository,
    seed::{self, DevCredentials, DevSeed},
};
use idp_store::SqlRepository;
use oauth::{BasicCredentials, Params, Verifier};
use serde_json::{Map, Value, json};
use tokio::sync::OnceCell;
use url::form_urlencoded::Serializer;

pub(crate) const CALLBACK: &str = "http://localhost:9080/callback";
pub(crate) const AUDIENCE: &str = "https://example.com/";
pub(crate) const TENANT: &str = "dev";

/// RSA keys take their time: made once, used in every world.
static KEYS: OnceCell<Vec<SigningKeyRecord>> = OnceCell::const_new();

/// No way out.
struct Offline;

impl Outbound for Offline {
    fn permits(&self, _: &str) -> Result<(), OutboundError> {
        Ok(())
    }

    fn send<'a>(&'a self, _: Call<'a>) -> Exchange<'a> {
        Box::pin(async { Err(OutboundError("there is no network".to_owned())) })
    }
}

pub(crate) struct World {
    pub(crate) idp: Arc<Idp>,
    pub(crate) repository: Arc<SqlRepository>,
    pub(crate) clock: Clock,
    pub(crate) keyring: Keyring,
    pub(crate) demo: DevCredentials,
    pub(crate) site: Site,
    pub(crate) path: PathBuf,
    /// Of a PostgreSQL database.
    url: Option<Secret<String>>,
    _folder: Option<tempfile::TempDir>,
}

impl World {
    pub(crate) async fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let keyring = Keyring::generate(&Random::system());
        let path = folder.path().join("identity.db");
        let repository = idp_store::open_sqlite(&path, keyring.clone(), Random::system()).await.unwrap();
        Self::on(repository, keyring, path, None, folder).await
    }

    #[cfg(feature = "peers")]
    pub(crate) async fn postgres(server: &crate::postgres::Server) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let keyring = Keyring::generate(&Random::system());
        let url = server.database();
        let repository = idp_store::open_postgres(&url, keyring.clone(), Random::system()).await.unwrap();
        let path = folder.path().join("none");
        Self::on(repository, keyring, path, Some(url), folder).await
    }

    async fn on(
        repository: Arc<SqlRepository>,
        keyring: Keyring,
        path: PathBuf,
        url: Option<Secret<String>>,
        folder: tempfile::TempDir,
    ) -> Self {
        let clock = Clock::fixed(UnixMillis::from_secs(1_800_000_000));
        let idp = provider(repository.clone(), keyring.clone(), clock.clone());
        let keys = KEYS.get_or_init(async || idp.keys.list("template").await.unwrap()).await;
        idp::repository::SigningKeys::add_signing_keys(&*repository, TENANT, keys).await.unwrap();
        let demo = seed::dev(&idp, &seed()).await.unwrap();
        let site = idp.site("localhost:9400").await.unwrap().unwrap();
        Self { idp, repository, clock, keyring, demo, site, path, url, _folder: Some(folder) }
    }

    /// On a file that another world has made.
    pub(crate) async fn on_file(path: PathBuf, keyring: Keyring) -> Self {
        let repository = idp_store::open_sqlite(&path, keyring.clone(), Random::system()).await.unwrap();
        let clock = Clock::fixed(UnixMillis::from_secs(1_800_000_000));
        let idp = provider(repository.clone(), keyring.clone(), clock.clone());
        let demo = seed::dev(&idp, &seed()).await.unwrap();
        let site = idp.site("localhost:9400").await.unwrap().unwrap();
        Self { idp, repository, clock, keyring, demo, site, path, url: None, _folder: None }
    }

    /// The same database as a process with another keyring opens it.
    pub(crate) async fn reopened(&self, keyring: &Keyring) -> Arc<SqlRepository> {
        let (keyring, random) = (keyring.clone(), Random::system());
        match &self.url {
            Some(url) => idp_store::open_postgres(url, keyring, random).await.unwrap(),
            None => idp_store::open_sqlite(&self.path, keyring, random).await.unwrap(),
        }
    }

    pub(crate) fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// Reads the tenant again, after its settings changed.
    pub(crate) async fn reload(&mut self) {
        self.site = self.idp.site("localhost:9400").await.unwrap().unwrap();
    }

    /// The demo application as the store has it.
    pub(crate) async fn demo_client(&self) -> Client {
        self.client(&self.demo.client_id).await
    }

    pub(crate) async fn client(&self, id: &str) -> Client {
        idp::repository::Clients::client(&*self.repository, TENANT, id).await.unwrap().unwrap()
    }

    pub(crate) async fn save(&self, client: &Client) {
        assert!(idp::repository::Clients::update_client(&*self.repository, TENANT, client).await.unwrap());
    }

    pub(crate) fn basic(&self) -> String {
        basic(&self.demo.client_id, &self.demo.client_secret)
    }

    /// A token request of the demo application.
    pub(crate) async fn token(&self, form: &[(&str, &str)]) -> Result<IssuedTokens, EndpointError> {
        self.idp.token.answer(&self.site, Some(self.basic().as_str()), &params(form)).await
    }

    /// Redeems a code of the demo application.
    pub(crate) async fn redeem(
        &self,
        code: &str,
        verifier: &Verifier,
    ) -> Result<IssuedTokens, EndpointError> {
        self.token(&[
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", CALLBACK),
            ("code_verifier", verifier.expose()),
        ])
        .await
    }

    pub(crate) async fn refresh(&self, token: &str) -> Result<IssuedTokens, EndpointError> {
        self.token(&[("grant_type", "refresh_token"), ("refresh_token", token)]).await
    }

    /// Signs the demo user in and gets tokens for these scopes.
    pub(crate) async fn tokens(&self, scope: &str, audience: Option<&str>) -> (Person, IssuedTokens) {
        let mut person = Person::new();
        let verifier = Verifier::generate(&Random::system());
        let code = person.code(self, scope, audience, &verifier).await;
        (person, self.redeem(&code, &verifier).await.unwrap())
    }
}

pub(crate) fn provider(repository: Arc<dyn Repository>, keyring: Keyring, clock: Clock) -> Arc<Idp> {
    let hasher: Arc<dyn PasswordHasher> =
        Argon2Pool::with_cost(Random::system(), Cost { memory_kib: 64, passes: 1 });
    let random = Random::system();
    let fallback_tenant = Some(TENANT.to_owned());
    Arc::new(Idp::new(Parts {
        revocation_listener: None,
        repository,
        clock,
        random,
        keyring,
        hasher,
        outbound: Arc::new(Offline),
        mailer: None,
        mtls_port: None,
        fallback_tenant,
    }))
}

pub(crate) fn seed() -> DevSeed {
    DevSeed {
        tenant: TENANT.to_owned(),
        origins: vec!["http://localhost:9400".to_owned(), "https://localhost:9401".to_owned()],
        callbacks: vec!["http://localhost:9080/anything/callback".to_owned(), CALLBACK.to_owned()],
        logout_urls: vec!["http://localhost:9080/".to_owned()],
    }
}

pub(crate) fn basic(id: &str, secret: &Secret<String>) -> String {
    BasicCredentials::header(id, secret).expose().clone()
}

/// A form as it comes over the wire.
pub(crate) fn params(form: &[(&str, &str)]) -> Params<'static> {
    let text = Serializer::new(String::new()).extend_pairs(form).finish();
    oauth::form::parse(text.as_bytes()).unwrap().into_owned()
}

/// The claims of a compact JWS, unverified.
pub(crate) fn claims(token: &str) -> Map<String, Value> {
    let jws = jose::CompactJws::parse(token).unwrap();
    match serde_json::from_slice(&jws.payload_unverified().unwrap()).unwrap() {
        Value::Object(claims) => claims,
        other => panic!("{other}"),
    }
}

/// Revokes a token of the demo application.
pub(crate) async fn revoke(world: &World, token: &str) {
    let form = params(&[("token", token)]);
    world.idp.revocation.revoke(&world.site, Some(world.basic().as_str()), &form).await.unwrap();
}

/// The code of an OAuth error.
pub(crate) fn refusal<T: std::fmt::Debug>(result: Result<T, EndpointError>) -> String {
    match result {
        Err(EndpointError::OAuth(error)) => error.code.as_str().to_owned(),
        other => panic!("{other:?}"),
    }
}

/// Somebody with a browser.
#[derive(Default)]
pub(crate) struct Person {
    pub(crate) browser: Browser,
}

impl Person {
    pub(crate) fn new() -> Self {
        Self { browser: Browser { ip: Some(IpAddr::from([192, 0, 2, 1])), ..Browser::default() } }
    }

    /// `/authorize` of the demo application with these parameters added.
    pub(crate) async fn authorize(&mut self, world: &World, extra: &[(&str, &str)]) -> AuthorizeOutcome {
        let own = [
            ("client_id", world.demo.client_id.as_str()),
            ("redirect_uri", CALLBACK),
            ("response_type", "code"),
            ("state", "the state"),
        ];
        let kept = own.into_iter().filter(|(name, _)| !extra.iter().any(|(other, _)| other == name));
        let form: Vec<_> = kept.chain(extra.iter().copied().filter(|(_, value)| !value.is_empty())).collect();
        let outcome =
            world.idp.authorization.start(&world.site, &params(&form), &self.browser).await.unwrap();
        self.take_binding(&outcome);
        outcome
    }

    fn take_binding(&mut self, outcome: &AuthorizeOutcome) {
        if let AuthorizeOutcome::Login(page) | AuthorizeOutcome::Consent(page) = outcome
            && let Some(binding) = &page.new_binding
        {
            self.browser.binding = Some(binding.clone());
        }
    }

    /// Types name and password.
    pub(crate) async fn log_in(&mut self, world: &World, page: &Interaction) -> AuthorizeOutcome {
        let password = world.demo.password.clone();
        match self.attempt(world, page, &world.demo.user.clone(), &password).await {
            LoginOutcome::Done(session) => self.browser.session = Some(session.cookie),
            other => panic!("{other:?}"),
        }
        world.idp.authorization.resume(&world.site, &page.handle, &self.browser).await.unwrap()
    }

    pub(crate) async fn attempt(
        &self,
        world: &World,
        page: &Interaction,
        name: &str,
        password: &Secret<String>,
    ) -> LoginOutcome {
        world.idp.login.with_password(&world.site, &page.handle, &self.browser, name, password).await.unwrap()
    }

    /// All the way to a code, with a login where one is asked for.
    pub(crate) async fn code(
        &mut self,
        world: &World,
        scope: &str,
        audience: Option<&str>,
        verifier: &Verifier,
    ) -> String {
        let challenge = verifier.challenge();
        let extra = [
            ("scope", scope),
            ("audience", audience.unwrap_or_default()),
            ("nonce", "the nonce"),
            ("code_challenge", challenge.as_str()),
            ("code_challenge_method", "S256"),
        ];
        let outcome = match self.authorize(world, &extra).await {
            AuthorizeOutcome::Login(page) => self.log_in(world, &page).await,
            other => other,
        };
        answer(&outcome, "code").unwrap_or_else(|| panic!("{outcome:?}"))
    }
}

/// A parameter of the answer for the client.
pub(crate) fn answer(outcome: &AuthorizeOutcome, name: &str) -> Option<String> {
    match outcome {
        AuthorizeOutcome::Respond(response) => {
            response.params.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone())
        }
        _ => None,
    }
}

/// The page of a login.
pub(crate) fn login_page(outcome: AuthorizeOutcome) -> Interaction {
    match outcome {
        AuthorizeOutcome::Login(page) => page,
        other => panic!("{other:?}"),
    }
}

/// A second confidential client.
pub(crate) async fn other_client(world: &World) -> (String, Secret<String>) {
    let body = json!({"name": "Other", "grant_types": ["authorization_code", "refresh_token", "client_credentials"]});
    let made =
        world.idp.management.clients.create(&world.site, body.as_object().unwrap().clone()).await.unwrap();
    (made.client_id.clone(), made.client_secret.clone().unwrap())
}
