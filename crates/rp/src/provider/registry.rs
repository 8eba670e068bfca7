use std::{
    collections::HashMap,
    hash::{Hash, Hasher},
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use base::Clock;
use fetch::{Fetcher, Proxies};
use http::HeaderMap;
use oauth::ProviderMetadata;
use tokio::runtime::Handle;

use super::{ProviderError, keeper::Provider};

/// Where a provider's metadata are, and how it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceConfig {
    /// URL of the discovery document.
    pub discovery_url: String,
    /// Whether the provider's certificates are verified.
    pub verify_tls: bool,
    /// How long one call may take.
    pub timeout: Duration,
    /// How long a key set is used at most before it is fetched again.
    pub jwks_ttl: Duration,
    /// How long metadata are used before they are fetched again; `None`: a day.
    pub metadata_ttl: Option<Duration>,
    /// Whether connections to the provider are kept for further calls.
    pub keep_alive: bool,
    /// The way to the provider through proxies; `None`: that of the process.
    pub proxies: Option<Arc<Proxies>>,
    /// Issuers the operator names beside the one that the discovery URL implies, such as a public name of a provider
    /// that is asked under an internal one. Usually empty.
    pub issuers: Vec<String>,
    /// Endpoints that the operator names in place of those that discovery names.
    pub endpoints: Endpoints,
    /// Further headers of the request for the discovery document.
    pub headers: HeaderMap,
    /// Where further key sets are, whose keys count like the provider's own.
    pub extra_jwks: Vec<String>,
}

/// Endpoints in place of those that discovery names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoints {
    /// Where logins begin.
    pub authorization: Option<String>,
    /// Where tokens are had.
    pub token: Option<String>,
    /// Where claims about users are had.
    pub userinfo: Option<String>,
    /// Where tokens are revoked.
    pub revocation: Option<String>,
    /// Where logouts go.
    pub end_session: Option<String>,
    /// Where the keys are.
    pub jwks: Option<String>,
}

impl Endpoints {
    /// Puts them in place of what was discovered.
    pub(super) fn replace(&self, metadata: &mut ProviderMetadata) {
        let places = [
            (&self.authorization, &mut metadata.authorization_endpoint),
            (&self.token, &mut metadata.token_endpoint),
            (&self.userinfo, &mut metadata.userinfo_endpoint),
            (&self.revocation, &mut metadata.revocation_endpoint),
            (&self.end_session, &mut metadata.end_session_endpoint),
            (&self.jwks, &mut metadata.jwks_uri),
        ];
        for (named, place) in places {
            if named.is_some() {
                place.clone_from(named);
            }
        }
    }

    /// Those that this process connects to.
    pub(super) fn fetched(&self) -> impl Iterator<Item = &String> {
        [&self.token, &self.userinfo, &self.revocation, &self.jwks].into_iter().flatten()
    }
}

/// What makes two sources the same provider.
#[derive(Clone, PartialEq, Eq)]
struct Identity {
    discovery_url: String,
    verify_tls: bool,
    keep_alive: bool,
    proxies: Option<Arc<Proxies>>,
    issuers: Vec<String>,
    endpoints: Endpoints,
    headers: HeaderMap,
    extra_jwks: Vec<String>,
}

/// By the URL alone, of which few sources share one.
impl Hash for Identity {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.discovery_url.hash(state);
    }
}

/// All providers that some configuration uses, each once in the process. Clones share them.
#[derive(Clone)]
pub struct Providers(Arc<Inner>);

struct Inner {
    fetcher: Fetcher,
    clock: Clock,
    runtime: Handle,
    live: Mutex<HashMap<Identity, Weak<Provider>>>,
}

impl Providers {
    /// An empty registry. Providers are kept fresh on `runtime`; `clock` says when they are stale.
    pub fn new(fetcher: Fetcher, clock: Clock, runtime: Handle) -> Self {
        Self(Arc::new(Inner { fetcher, clock, runtime, live: Mutex::default() }))
    }

    /// The provider at `source`, for as long as the answer is kept. A new one begins to fetch at once in the
    /// background; it may be down. Sources that differ in times alone share a provider, which takes the longest
    /// timeout and the shortest lifetimes it was ever asked for with.
    ///
    /// # Errors
    ///
    /// [`ProviderError::Unsupported`] when the discovery URL is one that the guard refuses by its text: not http or
    /// https, or a literal address that is not allowed; and for a proxy at such an address.
    pub fn provider(&self, source: &SourceConfig) -> Result<Arc<Provider>, ProviderError> {
        let identity = Identity {
            discovery_url: source.discovery_url.clone(),
            verify_tls: source.verify_tls,
            keep_alive: source.keep_alive,
            proxies: source.proxies.clone(),
            issuers: source.issuers.clone(),
            endpoints: source.endpoints.clone(),
            headers: source.headers.clone(),
            extra_jwks: source.extra_jwks.clone(),
        };
        let mut live = self.0.live.lock().unwrap_or_else(PoisonError::into_inner);
        live.retain(|_, provider| provider.strong_count() > 0);
        if let Some(provider) = live.get(&identity).and_then(Weak::upgrade) {
            provider.adopt(source);
            return Ok(provider);
        }
        let inner = &self.0;
        let provider = Provider::start(source, inner.fetcher.clone(), inner.clock.clone(), &inner.runtime)?;
        let provider = Arc::new(provider);
        live.insert(identity, Arc::downgrade(&provider));
        Ok(provider)
    }

    /// Refuses a URL that the guard refuses by its text, as [`Providers::provider`] does.
    ///
    /// # Errors
    ///
    /// [`ProviderError::Unsupported`].
    pub fn permits(&self, url: &str) -> Result<(), ProviderError> {
        let refused = |refusal| ProviderError::Unsupported(format!("an endpoint like this ({refusal})"));
        self.0.fetcher.permits(url).map_err(refused)
    }

    /// All that are in use.
    pub fn in_use(&self) -> Vec<Arc<Provider>> {
        let live = self.0.live.lock().unwrap_or_else(PoisonError::into_inner);
        live.values().filter_map(Weak::upgrade).collect()
    }

    /// Fetches everything whose time has come, and what failed last time, and returns when that is done. For clocks
    /// that jump; on a clock that runs, it happens by itself.
    pub async fn refresh_due(&self) {
        let live: Vec<_> = {
            let live = self.0.live.lock().unwrap_or_else(PoisonError::into_inner);
            live.values().filter_map(Weak::upgrade).collect()
        };
        // Each works on its own task; waiting for one after the other takes no longer than the slowest.
        let waiting: Vec<_> = live.iter().map(|provider| provider.run_due()).collect();
        for done in waiting {
            let _ = done.await;
        }
    }
}
