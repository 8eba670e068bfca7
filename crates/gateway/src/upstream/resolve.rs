use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use smallvec::SmallVec;
use tokio::time::Instant;

/// How long an answer is used before the system is asked again; its resolver does not tell the record's own time.
const FRESH: Duration = Duration::from_secs(30);
/// How long a failure is believed: requests for a name that does not resolve must not each occupy a thread.
const FAILED: Duration = Duration::from_secs(1);
/// How long an answer outlives a resolver that stopped answering.
const KEPT: Duration = Duration::from_secs(600);

/// Addresses of target names, asked of the system's resolver when a connection is made, by one connection for all.
#[derive(Debug, Default)]
pub(crate) struct Resolver {
    names: Mutex<HashMap<Box<str>, Arc<Name>>>,
}

#[derive(Debug, Default)]
struct Name {
    known: Mutex<Option<Known>>,
    /// Held by the one who asks.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Clone, Debug)]
struct Known {
    addresses: Addresses,
    fresh_until: Instant,
}

/// Addresses of one name, IPv4 first.
pub(crate) type Addresses = SmallVec<[IpAddr; 2]>;

impl Resolver {
    /// The addresses of `host`; empty when there are none.
    pub(crate) async fn resolve(&self, host: &str) -> Addresses {
        let name = self.name(host);
        let old = match name.known() {
            Some(known) if Instant::now() < known.fresh_until => return known.addresses,
            known => known.map(|known| known.addresses).unwrap_or_default(),
        };
        let _asking = match name.asking.try_lock() {
            Ok(asking) => asking,
            Err(_) if !old.is_empty() => return old,
            Err(_) => {
                let asking = name.asking.lock().await;
                if let Some(known) = name.known().filter(|known| Instant::now() < known.fresh_until) {
                    return known.addresses;
                }
                asking
            }
        };
        let found = tokio::net::lookup_host((host, 0)).await;
        let mut addresses: Addresses =
            found.into_iter().flatten().map(|address: SocketAddr| address.ip()).collect();
        addresses.sort_by_key(IpAddr::is_ipv6);
        addresses.dedup();
        let (addresses, time) = if addresses.is_empty() { (old, FAILED) } else { (addresses, FRESH) };
        let known = Known { addresses: addresses.clone(), fresh_until: Instant::now() + time };
        *name.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(known);
        addresses
    }

    fn name(&self, host: &str) -> Arc<Name> {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(name) = names.get(host) {
            return Arc::clone(name);
        }
        let now = Instant::now();
        names.retain(|_, name| {
            Arc::strong_count(name) > 1 || name.known().is_some_and(|known| now < known.fresh_until + KEPT)
        });
        let name = Arc::default();
        names.insert(host.into(), Arc::clone(&name));
        name
    }
}

impl Name {
    fn known(&self) -> Option<Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_failure_is_believed_for_a_moment_and_an_old_answer_outlives_it() {
        let resolver = Resolver::default();
        let nowhere = "portcullis.invalid";
        assert!(resolver.resolve(nowhere).await.is_empty());
        let name = resolver.name(nowhere);
        assert!(name.known().is_some_and(|known| known.fresh_until <= Instant::now() + FAILED));
        let old: Addresses = [IpAddr::from([192, 0, 2, 1])].into_iter().collect();
        let known = Known { addresses: old.clone(), fresh_until: Instant::now() };
        *name.known.lock().unwrap() = Some(known);
        // While another one asks, the old answer serves; when asking fails, it goes on serving.
        let asking = name.asking.lock().await;
        assert_eq!(resolver.resolve(nowhere).await, old);
        drop(asking);
        assert_eq!(resolver.resolve(nowhere).await, old);
    }
}
