use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use smallvec::SmallVec;
use tokio::time::Instant;

/// How long an answer is used before the system is asked again; its resolver does not tell the record's own time.
const FRESH: Duration = Duration::from_secs(30);

/// Addresses of target names, asked of the system's resolver when a connection is made. An answer outlives a
/// resolver that stopped answering.
#[derive(Debug, Default)]
pub(crate) struct Resolver {
    known: Mutex<HashMap<Box<str>, Known>>,
}

#[derive(Clone, Debug)]
struct Known {
    addresses: Addresses,
    asked: Instant,
}

/// Addresses of one name, IPv4 first.
pub(crate) type Addresses = SmallVec<[IpAddr; 2]>;

impl Resolver {
    /// The addresses of `host`; empty when there are none.
    pub(crate) async fn resolve(&self, host: &str) -> Addresses {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(host).cloned();
        if let Some(known) = known.as_ref().filter(|known| known.asked.elapsed() < FRESH) {
            return known.addresses.clone();
        }
        let found = tokio::net::lookup_host((host, 0)).await;
        let mut addresses: Addresses =
            found.into_iter().flatten().map(|address: SocketAddr| address.ip()).collect();
        addresses.sort_by_key(IpAddr::is_ipv6);
        addresses.dedup();
        if addresses.is_empty() {
            return known.map(|known| known.addresses).unwrap_or_default();
        }
        let entry = Known { addresses: addresses.clone(), asked: Instant::now() };
        let mut table = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        table.retain(|_, known| known.asked.elapsed() < FRESH * 20);
        table.insert(host.into(), entry);
        addresses
    }
}
