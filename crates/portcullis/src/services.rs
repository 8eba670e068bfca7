//! What the plugins share, made once for the process and kept in its store.

use std::{fs, sync::Arc};

use anyhow::{Context, bail};
use base::{Clock, Keyring, Random, UnixMillis};
use fetch::{Fetcher, Policy};
use plugins::{
    grants::{self, ClientTokens},
    login_methods, openid_connect,
};
use rp::{
    assertion::{AssertionKey, AssertionKeys, KeyRecord},
    bearer::Revocations,
    provider::Providers,
    session::{EndedError, EndedRecord, EndedSessions, EndedStore, RedisLinks, Refreshes, Saved, TlsChoices},
};
use store::{Condition, Operation, Store};
use tokio::runtime::Handle;
use zeroize::Zeroizing;

use crate::{config::Config, gate};

/// Key of the deployment's own session keys, which seal the cookies of routes without a `session.secret`.
pub(crate) const SESSION_KEYS: &str = "/portcullis/session-keys";
/// Key of the deployment's own signing keys, by which upstreams are told who is calling.
pub(crate) const ASSERTION_KEYS: &str = "/portcullis/assertion-keys";
/// Keys of the record of ended sessions.
const ENDED: &str = "/portcullis/ended-sessions/";

/// What the plugins share.
pub(crate) struct Services {
    /// Of logins and bearer tokens.
    pub(crate) sessions: openid_connect::Services,
    /// Of these, and of tokens that the gate obtains for its callers.
    pub(crate) login_methods: login_methods::Services,
    /// The keys by which the gate vouches for callers.
    pub(crate) assertions: AssertionUpkeep,
    /// Connections of the process's own.
    pub(crate) fetcher: Fetcher,
}

/// Keeps the keys of assertions: made at first start, sealed in the store, followed by their successors in time. All
/// nodes of a deployment read the same, and look often enough to publish a new key before any of them signs with it.
#[derive(Clone)]
pub(crate) struct AssertionUpkeep {
    store: Arc<dyn Store>,
    keyring: Keyring,
    clock: Clock,
    random: Random,
    keys: Arc<AssertionKeys>,
}

/// What keys become; `None`: they stay as they are.
type Next = fn(&[AssertionKey], &Random, UnixMillis) -> Result<Option<Vec<AssertionKey>>, jose::JoseError>;

impl AssertionUpkeep {
    /// Reads the keys, and changes them where it is time.
    pub(crate) async fn look(&self) -> anyhow::Result<()> {
        self.change(AssertionKeys::due).await
    }

    /// Reads the keys, and makes of them what `next` says.
    async fn change(&self, next: Next) -> anyhow::Result<()> {
        // A second round, because another node may change them in between.
        for _ in 0..2 {
            let entry = self.store.get(ASSERTION_KEYS).await.context("cannot read the assertion keys")?;
            let keys = entry.as_ref().map(|entry| self.open(&entry.value)).transpose()?.unwrap_or_default();
            let Some(next) = next(&keys, &self.random, self.clock.now())? else {
                self.keys.replace(keys);
                return Ok(());
            };
            let unchanged = match &entry {
                None => Condition::Absent(ASSERTION_KEYS.to_owned()),
                Some(entry) => Condition::Unchanged {
                    key: ASSERTION_KEYS.to_owned(),
                    modify_revision: entry.modify_revision,
                },
            };
            let put = Operation::Put { key: ASSERTION_KEYS.to_owned(), value: self.seal(&next)?, ttl: None };
            // A conflict means that another node was first; what it wrote is read in the next round.
            if self.store.commit(vec![unchanged], vec![put]).await.is_ok() {
                self.keys.replace(next);
                return Ok(());
            }
        }
        bail!("the assertion keys cannot be written to the store")
    }

    /// The keys themselves.
    pub(crate) fn keys(&self) -> Arc<AssertionKeys> {
        Arc::clone(&self.keys)
    }

    /// Makes the keys successors before their time.
    pub(crate) async fn replace(&self) -> anyhow::Result<()> {
        self.change(AssertionKeys::replaced).await
    }

    fn open(&self, sealed: &[u8]) -> anyhow::Result<Vec<AssertionKey>> {
        let opened = self.keyring.open(sealed, ASSERTION_KEYS.as_bytes());
        let plain = opened.context("the assertion keys in the store were not sealed with this keyring")?;
        let records: Vec<KeyRecord> = serde_json::from_slice(&plain)?;
        records.iter().map(|record| Ok(AssertionKey::from_record(record)?)).collect()
    }

    fn seal(&self, keys: &[AssertionKey]) -> anyhow::Result<Vec<u8>> {
        let records = keys.iter().map(AssertionKey::to_record).collect::<Result<Vec<_>, _>>()?;
        let plain = Zeroizing::new(serde_json::to_vec(&records)?);
        Ok(self.keyring.seal(&self.random, &plain, ASSERTION_KEYS.as_bytes()))
    }
}

impl Services {
    /// Makes them, with what `store` remembers.
    pub(crate) async fn open(
        config: &Config,
        clock: &Clock,
        random: &Random,
        store: &Arc<dyn Store>,
        revocations: &Arc<Revocations>,
    ) -> anyhow::Result<Self> {
        let runtime = Handle::current();
        let policy = policy(config)?;
        let tls = |verify| fetch::tls_config(policy.roots.as_deref(), verify);
        let tls = TlsChoices { verified: tls(true)?, unverified: tls(false)? };
        let redis = RedisLinks::new(runtime.clone(), tls, policy.refused.clone());
        let fetcher = Fetcher::new(&policy, runtime.clone(), clock.clone())?;
        let providers = Providers::new(fetcher.clone(), clock.clone(), runtime.clone());
        let ended = Arc::new(Ended { store: Arc::clone(store), clock: clock.clone() });
        let loaded = ended.load().await.context("cannot read the record of ended sessions")?;
        let grants = grants::Services {
            providers: providers.clone(),
            clock: clock.clone(),
            random: random.clone(),
            tokens: Arc::new(ClientTokens::new(runtime.clone(), clock.clone(), random)),
        };
        let assertions = AssertionUpkeep {
            store: Arc::clone(store),
            keyring: config.keyring.clone(),
            clock: clock.clone(),
            random: random.clone(),
            keys: Arc::new(AssertionKeys::new(Vec::new())),
        };
        assertions.look().await?;
        let assertion_keys = Arc::clone(&assertions.keys);
        let sessions = openid_connect::Services {
            providers,
            clock: clock.clone(),
            random: random.clone(),
            session_keys: session_keys(&**store, &config.keyring, random).await?,
            assertion_keys,
            used_states: Arc::default(),
            used_logouts: Arc::default(),
            redis,
            ended: Arc::new(EndedSessions::new(ended, loaded)),
            refreshes: Arc::new(Refreshes::new(runtime, clock.clone(), random.clone())),
            proofs: Arc::default(),
            revocations: Arc::clone(revocations),
        };
        let login_methods = login_methods::Services { tokens: sessions.clone(), grants };
        Ok(Self { sessions, login_methods, assertions, fetcher })
    }
}

/// What the gateway and the identity provider may fetch from: public addresses over https, and what the configuration adds.
pub(crate) fn policy(config: &Config) -> anyhow::Result<Policy> {
    let read =
        |file| fs::read(file).with_context(|| format!("cannot read {}", std::path::Path::display(file)));
    let tenants = config.identity.iter().flat_map(|identity| &identity.tenants);
    Ok(Policy {
        roots: config.outbound.ca.as_deref().map(read).transpose()?,
        allowed_networks: config.outbound.allow.clone(),
        allowed_origins: tenants.flat_map(|tenant| tenant.domains.iter().cloned()).collect(),
        refused: gate::own_listeners(config),
        proxies: config.outbound.proxies.clone(),
        ..Policy::default()
    })
}

/// The deployment's session keys, made at first start. All nodes of a deployment read the same.
async fn session_keys(store: &dyn Store, keyring: &Keyring, random: &Random) -> anyhow::Result<Keyring> {
    // A second round, because another node may make them in between.
    for _ in 0..2 {
        if let Some(entry) = store.get(SESSION_KEYS).await.context("cannot read the session keys")? {
            let opened = keyring.open(&entry.value, SESSION_KEYS.as_bytes());
            let text = opened.context("the session keys in the store were not sealed with this keyring")?;
            return Ok(Keyring::parse(std::str::from_utf8(&text)?)?);
        }
        let made =
            keyring.seal(random, Keyring::generate(random).to_text().as_bytes(), SESSION_KEYS.as_bytes());
        let put = Operation::Put { key: SESSION_KEYS.to_owned(), value: made, ttl: None };
        // A conflict means that they are there now.
        let _ = store.commit(vec![Condition::Absent(SESSION_KEYS.to_owned())], vec![put]).await;
    }
    bail!("the session keys cannot be written to the store")
}

/// The record of ended sessions, one key a line, each gone when it no longer matters.
struct Ended {
    store: Arc<dyn Store>,
    clock: Clock,
}

impl Ended {
    async fn load(&self) -> anyhow::Result<Vec<EndedRecord>> {
        let (entries, _) = self.store.range(ENDED).await?;
        entries.iter().map(|entry| Ok(serde_json::from_slice(&entry.value)?)).collect()
    }
}

impl EndedStore for Ended {
    fn save(&self, record: EndedRecord) -> Saved {
        let store = Arc::clone(&self.store);
        let ttl = base::UnixMillis(record.until).since(self.clock.now());
        Box::pin(async move {
            if ttl.is_zero() {
                return Ok(());
            }
            let value = serde_json::to_vec(&record).map_err(|error| EndedError(error.to_string()))?;
            let put = Operation::Put { key: format!("{ENDED}{}", record.key()), value, ttl: Some(ttl) };
            store.commit(Vec::new(), vec![put]).await.map(drop).map_err(|error| EndedError(error.to_string()))
        })
    }

    fn forget(&self, keys: Vec<String>) -> Saved {
        let store = Arc::clone(&self.store);
        Box::pin(async move {
            // Within what a transaction may hold in any store.
            for some in keys.chunks(64) {
                let operations =
                    some.iter().map(|key| Operation::Delete { key: format!("{ENDED}{key}") }).collect();
                store.commit(Vec::new(), operations).await.map_err(|error| EndedError(error.to_string()))?;
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use base::UnixMillis;
    use store::MemoryStore;

    use super::*;

    #[tokio::test]
    async fn session_keys_are_made_once_and_sealed() {
        let (clock, random) = (Clock::fixed(UnixMillis::from_secs(1000)), Random::seeded(1));
        let store = MemoryStore::new(clock);
        let keyring = Keyring::generate(&random);
        let first = session_keys(&store, &keyring, &random).await.unwrap();
        let second = session_keys(&store, &keyring, &random).await.unwrap();
        assert_eq!(*first.to_text(), *second.to_text());
        let stored = store.get(SESSION_KEYS).await.unwrap().unwrap().value;
        assert!(!String::from_utf8_lossy(&stored).contains(first.to_text().trim()));
        assert!(session_keys(&store, &Keyring::generate(&random), &random).await.is_err());
    }

    #[tokio::test]
    async fn assertion_keys_are_sealed_shared_and_followed_by_successors() {
        let (clock, random) = (Clock::fixed(UnixMillis::from_secs(1000)), Random::seeded(1));
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(clock.clone()));
        let keyring = Keyring::generate(&random);
        let node = || AssertionUpkeep {
            store: Arc::clone(&store),
            keyring: keyring.clone(),
            clock: clock.clone(),
            random: random.clone(),
            keys: Arc::new(AssertionKeys::new(Vec::new())),
        };
        let (one, other) = (node(), node());
        one.look().await.unwrap();
        other.look().await.unwrap();
        assert_eq!(one.keys.jwks(), other.keys.jwks());
        let stored = store.get(ASSERTION_KEYS).await.unwrap().unwrap().value;
        assert!(!String::from_utf8_lossy(&stored).contains("kid"), "s02: it is sealed");
        clock.advance(Duration::from_secs(31 * 86_400));
        other.look().await.unwrap();
        assert_eq!(other.keys.all().len(), 2);
        assert_ne!(one.keys.jwks(), other.keys.jwks());
        one.look().await.unwrap();
        assert_eq!(one.keys.jwks(), other.keys.jwks(), "whoever looks next has the successor too");
        let stranger = AssertionUpkeep { keyring: Keyring::generate(&random), ..node() };
        assert!(stranger.look().await.is_err());
    }

    #[tokio::test]
    async fn an_ended_session_is_remembered_until_it_could_have_lived() {
        let clock = Clock::fixed(UnixMillis::from_secs(1000));
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(clock.clone()));
        let ended = Ended { store: Arc::clone(&store), clock: clock.clone() };
        let kept = rp::session::Ended::Session { id: "00".repeat(16), created: 0 };
        let record =
            EndedRecord { realm: "00".repeat(16), ended: kept, until: UnixMillis::from_secs(1060).0 };
        ended.save(record.clone()).await.unwrap();
        assert_eq!(ended.load().await.unwrap(), [record]);
        clock.advance(Duration::from_secs(61));
        store.expire_due().await.unwrap();
        assert!(ended.load().await.unwrap().is_empty());
    }
}
