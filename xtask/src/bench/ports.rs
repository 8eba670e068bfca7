//! Ports of one run; high, so that nothing of the system is in the way.

pub(crate) const TARGET: u16 = 28_080;

pub(crate) const NGINX_PLAIN: u16 = 28_081;
pub(crate) const NGINX_KEYED: u16 = 28_082;

pub(crate) const HAPROXY_PLAIN: u16 = 28_091;
pub(crate) const HAPROXY_KEYED: u16 = 28_092;
pub(crate) const HAPROXY_RS256: u16 = 28_093;
pub(crate) const HAPROXY_ES256: u16 = 28_094;

pub(crate) const ENVOY_PLAIN: u16 = 28_101;
pub(crate) const ENVOY_KEYED: u16 = 28_102;
pub(crate) const ENVOY_BEARER: u16 = 28_103;
pub(crate) const ENVOY_CACHED: u16 = 28_104;

pub(crate) const OIDC_PROVIDER: u16 = 28_111;

/// From a rival's port in the clear to the one with TLS.
pub(crate) const TLS: u16 = 100;

/// What Portcullis' ports are moved by; a second one, to compare with, by the other.
pub(crate) const OFFSET: u16 = 20_000;
pub(crate) const SECOND_OFFSET: u16 = 21_000;
