//! `portcullis reseal`: every stored secret sealed by the first key of the keyring, so that the other keys can go.
//!
//! It works on the stores themselves, in small batches that are durable each, and replaces a value only where it is
//! still the one that was read. So it may be killed and started again, and runs beside the processes that use the stores,
//! provided that these were started with the same first key: a process notes in the configuration store which keys it
//! has, and nothing is sealed by a key that it lacks.

use std::{
    io::{Write, stderr, stdout},
    path::Path,
    sync::Arc,
};

use anyhow::{Context, bail};
use base::Keyring;
use store::{Entry, MemoryStore, Operation, SqliteFile, Store};
use tokio::runtime::Builder;

use crate::{
    config::{Config, Database, Identity},
    configuration::{Registries, registries},
    identity,
    services::{ASSERTION_KEYS, SESSION_KEYS, Services},
    start::Plan,
};

/// Key of the note on the keys that the process has: their ids, which are no secrets, one a line.
const KEY_IDS: &str = "/portcullis/keyring-ids";
/// Places of values that do not open, which are told before the rest is only counted.
const TOLD: usize = 10;

/// Seals again what is in the stores of `config`.
pub(crate) fn run(config: Config) -> anyhow::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build().context("cannot start a thread")?;
    runtime.block_on(async {
        let plan = Plan::production(config);
        let mut failed = configuration(&plan).await?;
        if let Some(identity) = &plan.config.identity {
            failed.extend(identities(&plan, identity).await?);
        }
        if failed.is_empty() {
            return Ok(());
        }
        let told: Vec<&str> = failed.iter().take(TOLD).map(String::as_str).collect();
        let more = failed.len() - told.len();
        let more = if more > 0 { format!("; and {more} more") } else { String::new() };
        bail!(
            "what no key of the keyring opens is lost unless its key comes back; write it anew or delete it: {}{more}",
            told.join("; ")
        )
    })
}

/// Notes which keys this process has, for whoever seals again beside it.
pub(crate) async fn note_keys(store: &dyn Store, keyring: &Keyring) -> anyhow::Result<()> {
    let failed = "cannot write to the configuration store";
    let ids = keyring.ids().join("\n").into_bytes();
    let known = store.get(KEY_IDS).await.context(failed)?;
    if known.as_ref().is_some_and(|entry| entry.value == ids) {
        return Ok(());
    }
    let put = Operation::Put { key: KEY_IDS.to_owned(), value: ids, ttl: None };
    store.commit(Vec::new(), vec![put]).await.map(drop).context(failed)
}

async fn configuration(plan: &Plan) -> anyhow::Result<Vec<String>> {
    let (path, keyring) = (&plan.config.store, &plan.config.keyring);
    if !path.exists() {
        say(path, "is not there yet")?;
        return Ok(Vec::new());
    }
    let failed = || format!("cannot seal {} again", path.display());
    let mut file = SqliteFile::open(path).await.with_context(failed)?;
    if SqliteFile::is_in_use(path).with_context(failed)? {
        let noted =
            file.get(KEY_IDS).await.with_context(failed)?.map(|entry| entry.value).unwrap_or_default();
        if String::from_utf8_lossy(&noted).lines().next() != keyring.ids().first().map(String::as_str) {
            bail!(
                "the process that uses {} seals with another key than the keyring's first; restart it with this \
                 keyring, then seal again",
                path.display()
            );
        }
    }
    // The plugins say where secrets are; nothing of what they are made with is used, or kept.
    let nowhere: Arc<dyn Store> = Arc::new(MemoryStore::new(plan.clock.clone()));
    let services =
        Services::open(&plan.config, &plan.clock, &plan.random, &nowhere, &plan.revocations).await?;
    let Registries { apisix, kong, .. } = registries(plan, services);
    let apisix = apisix::Resealer::new(apisix, keyring.clone(), plan.random.clone());
    let kong = kong::Resealer::new(kong, keyring.clone(), plan.random.clone());
    let again = |entry: &Entry| {
        let Entry { key, value, .. } = entry;
        if key == SESSION_KEYS || key == ASSERTION_KEYS {
            return keyring.again(&plan.random, value, key.as_bytes()).map_err(|error| error.to_string());
        }
        Ok(apisix.again(key, value)?.or(kong.again(key, value)?))
    };
    let mut total = 0;
    let unopened = loop {
        let pass =
            file.reword(again, |replaced| so_far(path, total + replaced)).await.with_context(failed)?;
        total += pass.replaced;
        if pass.overtaken == 0 {
            break pass.failed;
        }
    };
    file.scrub().await.with_context(failed)?;
    report(path, total, unopened.len())?;
    Ok(unopened.into_iter().map(|(key, reason)| format!("{key}: {reason}")).collect())
}

async fn identities(plan: &Plan, identity: &Identity) -> anyhow::Result<Vec<String>> {
    let place = match &identity.database {
        Database::Sqlite(path) if !path.exists() => {
            say(path, "is not there yet")?;
            return Ok(Vec::new());
        }
        Database::Sqlite(path) => path.as_path(),
        Database::Postgres(_) => Path::new("PostgreSQL"),
    };
    let failed = || format!("cannot seal {} again", place.display());
    let repository = identity::repository(plan, identity).await?;
    let resealed = repository.reseal(|count| so_far(place, count)).await.with_context(failed)?;
    drop(repository);
    if let Database::Sqlite(path) = &identity.database {
        idp_store::scrub_sqlite(path).await.with_context(failed)?;
    }
    report(place, resealed.sealed_again, resealed.failed.len())?;
    Ok(resealed.failed)
}

/// Each batch is told on standard error, the end on standard output.
fn so_far(place: &Path, count: u64) {
    // Whoever closed standard error does not want to know.
    let _ = writeln!(stderr(), "{}: {count} sealed again so far", place.display());
}

fn report(place: &Path, sealed_again: u64, failed: usize) -> anyhow::Result<()> {
    let failed = if failed > 0 { format!(", {failed} cannot be opened") } else { String::new() };
    say(place, &format!("{sealed_again} sealed again{failed}"))
}

fn say(place: &Path, what: &str) -> anyhow::Result<()> {
    writeln!(stdout(), "{}: {what}", place.display()).context("cannot write to standard output")
}
