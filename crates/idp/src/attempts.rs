use std::{
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use base::UnixMillis;

use crate::{IdpError, Site, idp::Core, model::Digest};

/// Failures of one account from one address before it is locked there: Auth0's `max_attempts`.
pub(crate) const PER_ADDRESS: i64 = 10;
/// Failures of one account from anywhere before addresses that are new to it are locked out.
pub(crate) const PER_ACCOUNT: i64 = 50;
/// Failures of all accounts together from one address before nobody gets in from there any more, but those who are at home
/// there. As many as Auth0's suspicious IP throttling takes.
pub(crate) const PER_NETWORK: i64 = 100;
/// How long failures count, from the first one on.
const WINDOW: Duration = Duration::from_secs(15 * 60);

impl Core {
    /// Counts an attempt before its password is looked at, so that parallel guesses count too (CVE-2024-4629), and on
    /// whichever node. `false`: it must not be looked at. `at_home`: the account's last login came from this address, so
    /// that others cannot lock its user out (O22).
    pub(crate) async fn begin_attempt(
        &self,
        site: &Site,
        account: &str,
        address: Option<IpAddr>,
        at_home: bool,
    ) -> Result<bool, IdpError> {
        let (now, account) = (self.clock.now(), self.account(account));
        let network = network(address).to_string();
        let counted =
            self.repository.count_attempt(&site.tenant.id, &account, &network, since(now), now).await?;
        let (here, anywhere) = counted;
        Ok(here <= PER_ADDRESS && (at_home || anywhere <= PER_ACCOUNT))
    }

    /// Whether so many logins have failed from this address, whosever they were, that the next one is one of them (O21).
    pub(crate) async fn is_spraying(&self, site: &Site, address: Option<IpAddr>) -> Result<bool, IdpError> {
        let Some(address) = address else { return Ok(false) };
        let since = since(self.clock.now());
        let counted = self.repository.attempts(&site.tenant.id, &self.everybody(address), since).await?;
        Ok(counted.iter().any(|(_, failures)| *failures >= PER_NETWORK))
    }

    /// Counts a failure for its address.
    pub(crate) async fn count_failure(&self, site: &Site, address: Option<IpAddr>) -> Result<(), IdpError> {
        let Some(address) = address else { return Ok(()) };
        let (now, place) = (self.clock.now(), self.everybody(address));
        self.repository.count_attempt(&site.tenant.id, &place, "all", since(now), now).await?;
        Ok(())
    }

    /// Forgets the failures of all accounts from an address: an administrator says so.
    pub(crate) async fn forgive(&self, site: &Site, address: IpAddr) -> Result<(), IdpError> {
        Ok(self.repository.forget_attempts(&site.tenant.id, &self.everybody(address), None).await?)
    }

    /// What is counted for an address rather than for an account.
    fn everybody(&self, address: IpAddr) -> Digest {
        self.account(&format!("everybody at {}", network(Some(address))))
    }

    /// Takes back what [`Core::begin_attempt`] has counted last: it was no failure. Those before it still count.
    pub(crate) async fn take_back_attempt(
        &self,
        site: &Site,
        account: &str,
        address: Option<IpAddr>,
    ) -> Result<(), IdpError> {
        let network = network(address).to_string();
        let account = self.account(account);
        Ok(self.repository.take_back_attempt(&site.tenant.id, &account, &network).await?)
    }

    /// Forgets the failures of an account from this address: its password was right.
    pub(crate) async fn forget_attempts(
        &self,
        site: &Site,
        account: &str,
        address: Option<IpAddr>,
    ) -> Result<(), IdpError> {
        let network = network(address).to_string();
        let account = self.account(account);
        Ok(self.repository.forget_attempts(&site.tenant.id, &account, Some(&network)).await?)
    }

    /// Forgets them wherever they came from: an administrator says so.
    pub(crate) async fn unlock(&self, site: &Site, account: &str) -> Result<(), IdpError> {
        Ok(self.repository.forget_attempts(&site.tenant.id, &self.account(account), None).await?)
    }

    /// The addresses from which an account is locked at this moment; an empty one stands for all that are new to it.
    pub(crate) async fn locks(&self, site: &Site, account: &str) -> Result<Vec<String>, IdpError> {
        let (account, since) = (self.account(account), since(self.clock.now()));
        let counted = self.repository.attempts(&site.tenant.id, &account, since).await?;
        let locked = |(address, failures): &(String, i64)| {
            *failures >= if address.is_empty() { PER_ACCOUNT } else { PER_ADDRESS }
        };
        Ok(counted.into_iter().filter(locked).map(|(address, _)| address).collect())
    }

    /// Counts something that is limited within the same time; how many that makes.
    pub(crate) async fn count_of(&self, site: &Site, what: &str) -> Result<i64, IdpError> {
        let (now, name) = (self.clock.now(), self.account(what));
        let counted = self.repository.count_attempt(&site.tenant.id, &name, "all", since(now), now).await?;
        Ok(counted.0)
    }

    /// What was typed may be anything, a password in the wrong field too: it is not kept as it is.
    fn account(&self, name: &str) -> Digest {
        self.digester.digest(&format!("login attempts/{name}"))
    }
}

fn since(now: UnixMillis) -> UnixMillis {
    UnixMillis(now.0.saturating_sub(i64::try_from(WINDOW.as_millis()).unwrap_or(0)))
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

    #[test]
    fn addresses_of_one_ipv6_network_count_together() {
        let a = "2001:db8::1".parse().ok();
        let b = "2001:db8::ffff".parse().ok();
        let v4 = "192.0.2.2".parse().ok();
        assert_eq!(network(a), network(b));
        assert_ne!(network(a), network("2001:db8:0:1::1".parse().ok()));
        assert_eq!(network("::ffff:192.0.2.2".parse().ok()), network(v4));
    }
}
