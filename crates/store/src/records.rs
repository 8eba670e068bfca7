use std::{fmt, sync::Arc};

use base::{Clock, UnixMillis};

use crate::{Operation, Store, StoreError};

/// Longest id, in bytes.
const MAX_ID: usize = 256;

/// A durable set of ids, each kept until a moment: sessions that ended before their cookies ran out. The caller keeps
/// what it asks on its warm path in memory, filled by [`Records::load_all`].
#[derive(Clone)]
pub struct Records {
    store: Arc<dyn Store>,
    clock: Clock,
    prefix: String,
}

impl Records {
    /// The set called `name`, a path segment such as `ended-sessions`, under `/portcullis/`.
    pub fn new(store: Arc<dyn Store>, clock: Clock, name: &str) -> Self {
        Self { store, clock, prefix: format!("/portcullis/{name}/") }
    }

    /// Adds `id` until `until`, durably before it answers. An id that is there already gets the later moment only.
    pub async fn put(&self, id: &[u8], until: UnixMillis) -> Result<(), StoreError> {
        if id.is_empty() || id.len() > MAX_ID {
            return Err(StoreError::Invalid { reason: format!("an id has 1 to {MAX_ID} bytes") });
        }
        let now = self.clock.now();
        let key = format!("{}{}", self.prefix, hex(id));
        if until <= now || self.until(&key).await?.is_some_and(|known| known >= until) {
            return Ok(());
        }
        let put =
            Operation::Put { key, value: until.0.to_string().into_bytes(), ttl: Some(until.since(now)) };
        self.store.commit(Vec::new(), vec![put]).await.map(drop)
    }

    /// All ids that are to be kept now, with the moment until which.
    pub async fn load_all(&self) -> Result<Vec<(Vec<u8>, UnixMillis)>, StoreError> {
        let now = self.clock.now();
        let (entries, _) = self.store.range(&self.prefix).await?;
        let mut records = Vec::with_capacity(entries.len());
        for entry in entries {
            let id = entry.key.strip_prefix(&self.prefix).and_then(unhex);
            let (Some(id), Some(until)) = (id, read(&entry.value)) else {
                return Err(StoreError::Corrupt { reason: format!("`{}` is not a record", entry.key) });
            };
            if until > now {
                records.push((id, until));
            }
        }
        Ok(records)
    }

    async fn until(&self, key: &str) -> Result<Option<UnixMillis>, StoreError> {
        Ok(self.store.get(key).await?.and_then(|entry| read(&entry.value)))
    }
}

impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Records").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

fn read(value: &[u8]) -> Option<UnixMillis> {
    std::str::from_utf8(value).ok()?.parse().ok().map(UnixMillis)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    text.as_bytes()
        .chunks(2)
        .map(|pair| match pair {
            [_, _] => u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok(),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::MemoryStore;

    #[tokio::test]
    async fn a_record_is_there_until_its_moment() {
        let clock = Clock::fixed(UnixMillis::from_secs(100));
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(clock.clone()));
        let records = Records::new(Arc::clone(&store), clock.clone(), "ended-sessions");
        let until = UnixMillis::from_secs(160);
        records.put(b"\x00one/", until).await.unwrap();
        records.put(b"past", UnixMillis::from_secs(100)).await.unwrap();
        assert_eq!(records.load_all().await.unwrap(), [(b"\x00one/".to_vec(), until)]);
        clock.advance(Duration::from_secs(60));
        assert!(records.load_all().await.unwrap().is_empty());
        assert_eq!(store.expire_due().await, Ok(1));
        assert!(store.range("/").await.unwrap().0.is_empty());
    }

    #[tokio::test]
    async fn an_id_keeps_its_latest_moment() {
        let clock = Clock::fixed(UnixMillis(0));
        let records = Records::new(Arc::new(MemoryStore::new(clock.clone())), clock, "ended-sessions");
        for until in [5, 9, 7] {
            records.put(b"a", UnixMillis(until)).await.unwrap();
        }
        assert_eq!(records.load_all().await.unwrap(), [(b"a".to_vec(), UnixMillis(9))]);
    }

    #[tokio::test]
    async fn ids_of_absurd_size_are_refused() {
        let clock = Clock::fixed(UnixMillis(0));
        let records = Records::new(Arc::new(MemoryStore::new(clock.clone())), clock, "ended-sessions");
        for id in [vec![], vec![0; 257]] {
            assert!(matches!(records.put(&id, UnixMillis(1)).await, Err(StoreError::Invalid { .. })));
        }
    }
}
