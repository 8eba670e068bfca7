use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use base::UnixMillis;

/// Failures of one account from one address before it is locked there: Auth0's `max_attempts`.
const PER_ADDRESS: u32 = 10;
/// Failures of one account from anywhere before addresses that are new to it are locked out.
const PER_ACCOUNT: u32 = 50;
/// How long failures count, from the first one on.
const WINDOW: Duration = Duration::from_secs(15 * 60);
/// Counters at most; beyond, old ones go first.
const MAX_COUNTERS: usize = 100_000;

/// Failed logins, counted by account and address and by account alone. In memory: they are forgotten when the process
/// ends, and each process of several counts for itself.
pub(crate) struct Attempts {
    counters: Mutex<HashMap<Key, Counter>>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    account: String,
    /// `None` counts the account as a whole.
    address: Option<IpAddr>,
}

#[derive(Clone, Copy)]
struct Counter {
    failures: u32,
    since: UnixMillis,
}

impl Attempts {
    pub(crate) fn new() -> Self {
        Self { counters: Mutex::new(HashMap::new()) }
    }

    /// Counts an attempt before its password is looked at, so that parallel guesses count too (CVE-2024-4629).
    /// `false`: it must not be looked at. `at_home`: the account's last login came from this address, so that others
    /// cannot lock its user out (O22).
    pub(crate) fn begin(
        &self,
        account: &str,
        address: Option<IpAddr>,
        at_home: bool,
        now: UnixMillis,
    ) -> bool {
        let mut counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        if counters.len() >= MAX_COUNTERS {
            shrink(&mut counters, now);
        }
        let here = count(&mut counters, account, Some(network(address)), now);
        let anywhere = count(&mut counters, account, None, now);
        here <= PER_ADDRESS && (at_home || anywhere <= PER_ACCOUNT)
    }

    /// Forgets the failures of an account from this address: its password was right.
    pub(crate) fn succeeded(&self, account: &str, address: Option<IpAddr>) {
        let mut counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        for address in [Some(network(address)), None] {
            counters.remove(&Key { account: account.to_owned(), address });
        }
    }
}

fn count(
    counters: &mut HashMap<Key, Counter>,
    account: &str,
    address: Option<IpAddr>,
    now: UnixMillis,
) -> u32 {
    let key = Key { account: account.to_owned(), address };
    let counter = counters.entry(key).or_insert(Counter { failures: 0, since: now });
    if now.since(counter.since) > WINDOW {
        *counter = Counter { failures: 0, since: now };
    }
    counter.failures = counter.failures.saturating_add(1);
    counter.failures
}

fn shrink(counters: &mut HashMap<Key, Counter>, now: UnixMillis) {
    counters.retain(|_, counter| now.since(counter.since) <= WINDOW);
    if counters.len() >= MAX_COUNTERS {
        // Only reached by an attack with very many names: counters that lock stay.
        counters.retain(|_, counter| counter.failures >= PER_ADDRESS);
    }
}

/// Who has one IPv6 address has its /64. A request without an address counts as one place.
fn network(address: Option<IpAddr>) -> IpAddr {
    match address {
        None => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        Some(IpAddr::V6(address)) => match address.to_ipv4_mapped() {
            Some(v4) => IpAddr::V4(v4),
            None => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
        },
        Some(v4) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> Option<IpAddr> {
        Some(IpAddr::from([192, 0, 2, last]))
    }

    #[test]
    fn o20_ten_failures_lock_one_account_at_one_address_for_a_while() {
        let attempts = Attempts::new();
        let now = UnixMillis(0);
        assert!((0..10).all(|_| attempts.begin("a", ip(1), false, now)));
        assert!(!attempts.begin("a", ip(1), false, now));
        assert!(attempts.begin("b", ip(1), false, now));
        assert!(attempts.begin("a", ip(2), false, now));
        assert!(attempts.begin("a", ip(1), false, now + WINDOW + Duration::from_secs(1)));
    }

    #[test]
    fn o20_changing_addresses_does_not_help_and_o22_the_users_own_still_works() {
        let attempts = Attempts::new();
        let tried = (0..100).filter(|n| attempts.begin("a", ip(*n), false, UnixMillis(0))).count();
        assert_eq!(tried, 50);
        assert!(attempts.begin("a", ip(200), true, UnixMillis(0)));
    }

    #[test]
    fn addresses_of_one_ipv6_network_count_together() {
        let a = "2001:db8::1".parse().ok();
        let b = "2001:db8::ffff".parse().ok();
        assert_eq!(network(a), network(b));
        assert_ne!(network(a), network("2001:db8:0:1::1".parse().ok()));
        assert_eq!(network("::ffff:192.0.2.1".parse().ok()), network(ip(1)));
    }
}
