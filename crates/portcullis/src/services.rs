//! What the plugins share, made once for the process and kept in its store.

use std::{fs, sync::Arc};

use anyhow::{Context, bail};
use base::{Clock, Keyring, Random};
use fetch::{Fetcher, Policy};
use plugins::{
    client_credentials::{self, ClientTokens},
    openid_connect,
};
use rp::{
    provider::Providers,
    session::{EndedError, EndedRecord, EndedSessions, EndedStore, Refreshes, Saved},
};
use store::{Condition, Operation, Store};
use tokio::runtime::Handle;

use crate::{config::Config, gate};

/// Key of the deployment's own session keys, which seal the cookies of routes without a `session.secret`.
const SESSION_KEYS: &str = "/portcullis/session-keys";
/// Keys of the record of ended sessions.
const ENDED: &str = "/portcullis/ended-sessions/";

/// What the plugins share.
pub(crate) struct Services {
    /// Of logins and bearer tokens.
    pub(crate) sessions: openid_connect::Services,
    /// Of tokens that the gate obtains for its clients.
    pub(crate) clients: client_credentials::Services,
}

impl Services {
    /// Makes them, with what `store` remembers.
    pub(crate) async fn open(
        config: &Config,
        clock: &Clock,
        random: &Random,
        store: &Arc<dyn Store>,
    ) -> anyhow::Result<Self> {
        let runtime = Handle::current();
        let fetcher = Fetcher::new(&policy(config)?, runtime.clone(), clock.clone())?;
        let providers = Providers::new(fetcher, clock.clone(), runtime.clone());
        let ended = Arc::new(Ended { store: Arc::clone(store), clock: clock.clone() });
        let loaded = ended.load().await.context("cannot read the record of ended sessions")?;
        let clients = client_credentials::Services {
            providers: providers.clone(),
            clock: clock.clone(),
            tokens: Arc::new(ClientTokens::new(runtime.clone(), clock.clone(), random)),
        };
        let sessions = openid_connect::Services {
            providers,
            clock: clock.clone(),
            random: random.clone(),
            session_keys: session_keys(&**store, &config.keyring, random).await?,
            used_states: Arc::default(),
            ended: Arc::new(EndedSessions::new(ended, loaded)),
            refreshes: Arc::new(Refreshes::new(runtime, clock.clone(), random.clone())),
        };
        Ok(Self { sessions, clients })
    }
}

/// What the gateway may fetch from: public addresses over https, and what the configuration adds.
fn policy(config: &Config) -> anyhow::Result<Policy> {
    let read =
        |file| fs::read(file).with_context(|| format!("cannot read {}", std::path::Path::display(file)));
    let tenants = config.identity.iter().flat_map(|identity| &identity.tenants);
    Ok(Policy {
        roots: config.outbound.ca.as_deref().map(read).transpose()?,
        allowed_networks: config.outbound.allow.clone(),
        allowed_origins: tenants.flat_map(|tenant| tenant.domains.iter().cloned()).collect(),
        refused: gate::own_listeners(config),
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
