use std::{
    collections::HashSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use ipnet::IpNet;
use url::{Host, Url};

use crate::{
    Policy,
    error::{Refusal, SetupError},
};

/// Decides what may be connected to. Made once from a [`Policy`].
pub(crate) struct Guard {
    networks: Vec<IpNet>,
    /// As [`url::Origin::ascii_serialization`] writes them.
    origins: HashSet<String>,
    refused: Vec<SocketAddr>,
    loopback: bool,
    private: bool,
}

/// A URL that may be asked for, as far as its text tells.
pub(crate) struct Target {
    pub(crate) url: Url,
    pub(crate) host: Host<String>,
    pub(crate) port: u16,
    pub(crate) tls: bool,
    /// Its origin is allowed by name, wherever it is.
    trusted: bool,
}

/// What kind of place an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    Public,
    Loopback,
    Private,
    /// Not unicast, or "this host" under no address: never connected to.
    Nowhere,
    /// Link-local, shared, documentation, benchmarking, tunnels and the like.
    Special,
}

impl Guard {
    pub(crate) fn new(policy: &Policy) -> Result<Self, SetupError> {
        let origins = policy.allowed_origins.iter().map(|text| {
            let origin = || {
                let url = Url::parse(text).ok()?;
                let bare =
                    matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
                (bare && matches!(url.scheme(), "http" | "https")).then(|| url.origin().ascii_serialization())
            };
            origin().ok_or_else(|| SetupError::Origin(text.clone()))
        });
        Ok(Self {
            networks: policy.allowed_networks.clone(),
            origins: origins.collect::<Result<_, _>>()?,
            refused: policy.refused.clone(),
            loopback: policy.allow_loopback,
            private: policy.allow_private,
        })
    }

    /// Checks what can be told without asking the resolver: scheme, form, and the address where the host is one.
    pub(crate) fn target(&self, url: &str) -> Result<Target, Refusal> {
        let mut target = Self::parse(url)?;
        target.trusted = self.origins.contains(&target.url.origin().ascii_serialization());
        if let Some(address) = target.address() {
            self.check(&target, &[address])?;
        }
        Ok(target)
    }

    fn parse(url: &str) -> Result<Target, Refusal> {
        let url = Url::parse(url).map_err(|_| Refusal::Url)?;
        let tls = match url.scheme() {
            "https" => true,
            "http" => false,
            other => return Err(Refusal::Scheme(other.chars().take(32).collect())),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refusal::Url);
        }
        let host = url.host().ok_or(Refusal::Url)?.to_owned();
        let port = url.port_or_known_default().ok_or(Refusal::Url)?;
        Ok(Target { url, host, port, tls, trusted: false })
    }

    /// Checks every address that the host has: one bad one spoils all, since the connection may go to any of them.
    pub(crate) fn check(&self, target: &Target, addresses: &[SocketAddr]) -> Result<(), Refusal> {
        addresses.iter().try_for_each(|address| self.check_one(target, *address))
    }

    /// Checks a proxy's addresses. What goes through it in the clear is the target's matter, not the proxy's.
    pub(crate) fn check_proxy(&self, proxy: &Target, addresses: &[SocketAddr]) -> Result<(), Refusal> {
        match self.check(proxy, addresses) {
            Err(Refusal::PlainHttp(_)) => Ok(()),
            other => other,
        }
    }

    /// What is left to check of a target that only its proxy can resolve: that nothing goes to it in the clear.
    pub(crate) fn check_unresolved(&self, target: &Target) -> Result<(), Refusal> {
        match target.tls || target.trusted {
            true => Ok(()),
            false => Err(Refusal::PlainHttp(target.host.to_string())),
        }
    }

    /// The proxy at `url` as a target, checked as far as its text tells. `trusted`: the operator of this machine named
    /// it.
    pub(crate) fn proxy(&self, url: &str, trusted: bool) -> Result<Target, Refusal> {
        let mut proxy = Self::parse(url)?;
        proxy.trusted = trusted || self.origins.contains(&proxy.url.origin().ascii_serialization());
        if let Some(address) = proxy.address() {
            self.check_proxy(&proxy, &[address])?;
        }
        Ok(proxy)
    }

    fn check_one(&self, target: &Target, address: SocketAddr) -> Result<(), Refusal> {
        let refused = || Err(Refusal::Address(target.host.to_string()));
        let ip = canonical(address.ip());
        let reach = reach(ip);
        if reach == Reach::Nowhere || self.is_own_listener(ip, reach, address.port()) {
            return refused();
        }
        if target.trusted || self.networks.iter().any(|network| network.contains(&ip)) {
            return Ok(());
        }
        match reach {
            Reach::Loopback if self.loopback => Ok(()),
            Reach::Private if self.private => Ok(()),
            Reach::Public if target.tls => Ok(()),
            Reach::Public => Err(Refusal::PlainHttp(target.host.to_string())),
            _ => refused(),
        }
    }

    fn is_own_listener(&self, ip: IpAddr, reach: Reach, port: u16) -> bool {
        self.refused.iter().filter(|own| own.port() == port).any(|own| {
            let own = canonical(own.ip());
            own == ip
                || (reach == Reach::Loopback && (own.is_unspecified() || self::reach(own) == Reach::Loopback))
        })
    }
}

impl Target {
    /// The address, where the host is a literal one.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        let ip = match self.host {
            Host::Ipv4(ip) => IpAddr::V4(ip),
            Host::Ipv6(ip) => IpAddr::V6(ip),
            Host::Domain(_) => return None,
        };
        Some(SocketAddr::new(ip, self.port))
    }
}

/// An IPv6 address that only wraps an IPv4 one for the socket API is that IPv4 address.
fn canonical(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(ip, IpAddr::V4),
        IpAddr::V4(_) => ip,
    }
}

fn reach(ip: IpAddr) -> Reach {
    match ip {
        IpAddr::V4(v4) => reach_v4(v4),
        IpAddr::V6(v6) => reach_v6(v6),
    }
}

/// The IANA IPv4 special-purpose registry (RFC 6890).
fn reach_v4(ip: Ipv4Addr) -> Reach {
    match ip.octets() {
        [0, ..] | [224..=239, ..] | [255, 255, 255, 255] => Reach::Nowhere,
        [127, ..] => Reach::Loopback,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Reach::Private,
        // Shared by carriers, link-local (metadata services), IETF protocols, documentation, 6to4 relays,
        // benchmarking, reserved.
        [100, 64..=127, ..]
        | [169, 254, ..]
        | [192, 0, 0, _]
        | [192, 0, 2, _]
        | [192, 88, 99, _]
        | [198, 18..=19, ..]
        | [198, 51, 100, _]
        | [203, 0, 113, _]
        | [240..=255, ..] => Reach::Special,
        _ => Reach::Public,
    }
}

/// The IANA IPv6 special-purpose registry (RFC 6890). Only 2000::/3 is given out as global unicast.
fn reach_v6(ip: Ipv6Addr) -> Reach {
    match ip.segments() {
        [0, 0, 0, 0, 0, 0, 0, 1] => Reach::Loopback,
        [0, 0, 0, 0, 0, 0, 0, 0] | [0xff00..=0xffff, ..] => Reach::Nowhere,
        // NAT64 by the well-known prefix (RFC 6052) reaches the IPv4 address behind it.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => match reach_v4(v4(high, low)) {
            Reach::Public => Reach::Public,
            Reach::Nowhere => Reach::Nowhere,
            // Another machine's loopback or private network, not this one's.
            _ => Reach::Special,
        },
        [0xfc00..=0xfdff, ..] => Reach::Private,
        // Teredo, ORCHID, benchmarking, documentation, 6to4.
        [0x2001, 0..=0x1ff, ..] | [0x2001, 0xdb8, ..] | [0x2002, ..] | [0x3fff, 0..=0xfff, ..] => {
            Reach::Special
        }
        [0x2000..=0x3fff, ..] => Reach::Public,
        // IPv4-compatible, local NAT64, link-local, site-local, all that is not given out.
        _ => Reach::Special,
    }
}

fn v4(high: u16, low: u16) -> Ipv4Addr {
    let [a, b] = high.to_be_bytes();
    let [c, d] = low.to_be_bytes();
    Ipv4Addr::new(a, b, c, d)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(policy: Policy) -> Guard {
        Guard::new(&policy).unwrap()
    }

    fn admits(guard: &Guard, url: &str) -> bool {
        guard.target(url).is_ok()
    }

    #[test]
    fn r34_by_default_only_public_addresses_over_https_are_fetched() {
        let guard = guard(Policy::default());
        for bad in [
            "https://169.254.169.254/latest/meta-data",
            "https://127.0.0.1:9180/apisix/admin/routes",
            "https://[::1]/",
            "https://0.0.0.0/",
            "https://[::]/",
            "https://10.1.2.3/",
            "https://172.16.0.1/",
            "https://172.31.255.255/",
            "https://192.168.1.1/",
            "https://100.64.0.1/",
            "https://192.0.0.8/",
            "https://192.0.2.1/",
            "https://198.18.0.1/",
            "https://198.51.100.1/",
            "https://203.0.113.1/",
            "https://192.88.99.1/",
            "https://224.0.0.1/",
            "https://240.0.0.1/",
            "https://255.255.255.255/",
            "https://[::ffff:127.0.0.1]/",
            "https://[::ffff:169.254.169.254]/",
            "https://[::127.0.0.1]/",
            "https://[::8.8.8.8]/",
            "https://[64:ff9b::10.0.0.1]/",
            "https://[64:ff9b::127.0.0.1]/",
            "https://[64:ff9b:1::1]/",
            "https://[2002:7f00:1::]/",
            "https://[2002:808:808::]/",
            "https://[2001::1]/",
            "https://[2001:db8::1]/",
            "https://[3fff::1]/",
            "https://[fc00::1]/",
            "https://[fd12::1]/",
            "https://[fe80::1]/",
            "https://[fec0::1]/",
            "https://[ff02::1]/",
            "https://[5f00::1]/",
            // The URL standard reads all of these as IPv4 addresses.
            "https://2130706433/",
            "https://0x7f.1/",
            "https://0177.0.0.1/",
            "https://127.1/",
            "https://0/",
        ] {
            assert!(!admits(&guard, bad), "{bad}");
        }
        for good in [
            "https://8.8.8.8/",
            "https://[2606:4700::1111]/",
            "https://[64:ff9b::8.8.8.8]/",
            "https://[::ffff:8.8.8.8]/",
            "https://op.example/",
        ] {
            assert!(admits(&guard, good), "{good}");
        }
    }

    #[test]
    fn r34_other_schemes_and_credentials_in_urls_are_refused() {
        let guard = guard(Policy { allow_loopback: true, ..Policy::default() });
        for bad in [
            "file:///etc/passwd",
            "ftp://op.example/",
            "gopher://op.example/",
            "data:,x",
            "javascript:1",
            "unix:/x",
        ] {
            assert!(matches!(guard.target(bad), Err(Refusal::Scheme(_))), "{bad}");
        }
        for bad in [
            "",
            "/relative",
            "//op.example/",
            "https://user@op.example/",
            "https://u:p@op.example/",
            "https://",
        ] {
            assert!(matches!(guard.target(bad), Err(Refusal::Url)), "{bad}");
        }
    }

    #[test]
    fn plain_http_goes_only_where_the_operator_allowed_it() {
        let guard = guard(Policy {
            allow_loopback: true,
            allowed_networks: vec!["10.2.0.0/16".parse().unwrap()],
            allowed_origins: vec!["http://8.8.4.4:8080".to_owned(), "http://10.9.9.9".to_owned()],
            ..Policy::default()
        });
        assert!(admits(&guard, "http://127.0.0.1:9400/"));
        assert!(admits(&guard, "http://[::1]:9400/"));
        assert!(admits(&guard, "http://10.2.3.4/"));
        assert!(admits(&guard, "http://[::ffff:10.2.3.4]/"));
        assert!(admits(&guard, "http://8.8.4.4:8080/x?y"));
        assert!(admits(&guard, "http://10.9.9.9:80/"));
        assert!(!admits(&guard, "http://8.8.4.4/"));
        assert!(!admits(&guard, "https://10.9.9.9/"));
        assert!(!admits(&guard, "http://8.8.8.8/"));
        assert!(!admits(&guard, "https://10.3.0.1/"));
    }

    #[test]
    fn r34_one_bad_address_of_a_name_spoils_all() {
        let guard = guard(Policy::default());
        let target = guard.target("https://op.example/").unwrap();
        let good = "93.184.216.34:443".parse().unwrap();
        let bad = "10.0.0.1:443".parse().unwrap();
        assert_eq!(guard.check(&target, &[good]), Ok(()));
        assert_eq!(guard.check(&target, &[good, bad]), Err(Refusal::Address("op.example".to_owned())));
    }

    #[test]
    fn r34_the_process_own_admin_listener_is_refused_whatever_else_is_allowed() {
        let guard = guard(Policy {
            allow_loopback: true,
            allowed_networks: vec!["127.0.0.0/8".parse().unwrap()],
            refused: vec!["127.0.0.1:9180".parse().unwrap(), "0.0.0.0:8001".parse().unwrap()],
            ..Policy::default()
        });
        assert!(admits(&guard, "http://127.0.0.1:9400/"));
        for own in
            ["127.0.0.1:9180", "127.8.0.1:9180", "[::1]:9180", "[::ffff:127.0.0.1]:9180", "127.0.0.1:8001"]
        {
            assert!(!admits(&guard, &format!("http://{own}/")), "{own}");
        }
    }

    #[test]
    fn an_allowed_origin_has_no_path() {
        for bad in ["localhost:9400", "http://localhost/x", "ftp://localhost", "http://a/?b", ""] {
            let policy = Policy { allowed_origins: vec![bad.to_owned()], ..Policy::default() };
            assert!(matches!(Guard::new(&policy), Err(SetupError::Origin(_))), "{bad}");
        }
    }
}
