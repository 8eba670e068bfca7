use std::sync::Arc;

use crate::model::Tenant;

/// A tenant as one request sees it: through one of its origins. Tokens made for the request name this origin as their
/// issuer.
#[derive(Clone, Debug)]
pub struct Site {
    /// Whose.
    pub tenant: Arc<Tenant>,
    /// Scheme, host and port without a slash at the end.
    pub origin: Arc<str>,
}

impl Site {
    /// The issuer: the origin and a slash.
    pub fn issuer(&self) -> String {
        format!("{}/", self.origin)
    }

    /// The URL of a path, which begins with a slash.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }

    /// The audience of `/userinfo` in access tokens of this issuer.
    pub fn userinfo_audience(&self) -> String {
        self.url("/userinfo")
    }

    /// Whether `audience` is `/userinfo` of any origin of the tenant.
    pub fn is_userinfo_audience(&self, audience: &str) -> bool {
        audience
            .strip_suffix("/userinfo")
            .is_some_and(|origin| self.tenant.origins.iter().any(|known| known == origin))
    }

    /// The audience of the Management API as this origin names it.
    pub fn management_audience(&self) -> String {
        self.url("/api/v2/")
    }

    /// Whether `audience` is the Management API by any origin of the tenant.
    pub fn is_management_audience(&self, audience: &str) -> bool {
        audience
            .strip_suffix("/api/v2/")
            .is_some_and(|origin| self.tenant.origins.iter().any(|known| known == origin))
    }

    /// Whether `issuer` is one of the tenant's.
    pub fn is_issuer(&self, issuer: &str) -> bool {
        issuer.strip_suffix('/').is_some_and(|origin| self.tenant.origins.iter().any(|known| known == origin))
    }

    /// Whether the session cookie must have `Secure` and may have the `__Host-` prefix.
    pub fn is_https(&self) -> bool {
        self.origin.starts_with("https://")
    }
}
