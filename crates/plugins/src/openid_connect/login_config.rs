//! The finer rules of logins, sessions and logouts.

use std::{fmt, sync::Arc};

use base::Secret;
use gateway::{error::ConfigError, plugin::RequestHead};
use jose::jwe::DecryptionKey;

use super::{
    LoginConfig,
    config::{absolute_or_path, path_only},
    visitor::is_form,
};

/// How the provider's answer comes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResponseMode {
    /// In the query of the redirect URI (OAuth 2.0 Multiple Response Type Encoding Practices section 2.1).
    #[default]
    Query,
    /// As a form that the provider's page posts (OAuth 2.0 Form Post Response Mode).
    FormPost,
}

/// The way back from the provider, beside the redirect URI itself.
#[derive(Clone, Debug, Default)]
pub struct WayBack {
    /// How the answer comes.
    pub mode: ResponseMode,
    /// Path at which it arrives here, where something in front of the gate changes the redirect URI's.
    pub local_path: Option<String>,
    /// Whether the place that the provider sends the browser back to is also a page: then it is the way back only where
    /// the query holds an answer. Without a redirect URI, every page is its own.
    pub is_page: bool,
    /// `http` or `https` for addresses of this host that the gate makes up, in place of the connection's own.
    pub scheme: Option<&'static str>,
}

/// Which parts of a login the session keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contents {
    /// The access token and, only together with it, the refresh token.
    pub access_token: bool,
    /// The ID token's claims.
    pub claims: bool,
    /// The ID token as it was signed.
    pub id_token: bool,
    /// The answer of the userinfo endpoint.
    pub userinfo: bool,
}

impl Default for Contents {
    fn default() -> Self {
        Self { access_token: true, claims: true, id_token: true, userinfo: true }
    }
}

/// How logouts go, beside the path that begins one.
#[derive(Clone, Debug, Default)]
pub struct LogoutConfig {
    /// Where a logout goes in place of the provider's `end_session_endpoint`: an absolute URL or a path.
    pub place: Option<String>,
    /// Whether that place is given the ID token.
    pub id_token_hint: bool,
    /// Whether a logout names the client also where the ID token does.
    pub client_id: bool,
    /// Whether the address to return to is told nothing where the provider has no place for logouts.
    pub bare: bool,
    /// End of the paths that end the session.
    pub suffix: Option<String>,
    /// Argument of the query that ends the session, whatever its value.
    pub argument: Option<String>,
    /// Field of a form that ends the session, whatever its value.
    pub field: Option<String>,
    /// Methods by which they do so.
    pub methods: Vec<String>,
    /// Path at which the provider tells of sessions that ended there (OIDC Back-Channel Logout 1.0).
    pub backchannel_path: Option<String>,
    /// Path that the provider loads in a frame to end the browser's session (OIDC Front-Channel Logout 1.0).
    pub frontchannel_path: Option<String>,
}

impl LogoutConfig {
    /// The field of the request's body that would end the session, where its body is looked at for that.
    pub(super) fn awaited_field(&self, head: &RequestHead) -> Option<&str> {
        let field = self.field.as_deref()?;
        let fits = is_form(head) && self.methods.iter().any(|method| head.method == method.as_str());
        fits.then_some(field)
    }

    /// Whether a request ends the session by the end of its path, or by an argument.
    pub(super) fn is_asked_for(&self, head: &RequestHead) -> bool {
        let by_path = || self.suffix.as_deref().is_some_and(|suffix| head.path().ends_with(suffix));
        let by_argument = || {
            let pairs = || form_urlencoded::parse(head.query().unwrap_or_default().as_bytes());
            self.argument.as_deref().is_some_and(|name| pairs().any(|(own, _)| own == name))
        };
        self.methods.iter().any(|method| head.method == method.as_str()) && (by_path() || by_argument())
    }
}

/// The keys that ID tokens are encrypted for, as they were written: PEM, a JWK, or a JWK Set.
#[derive(Clone)]
pub struct DecryptionKeys {
    text: Secret<String>,
    keys: Arc<[DecryptionKey]>,
}

impl DecryptionKeys {
    /// Reads the keys.
    ///
    /// # Errors
    ///
    /// When there is none, or one is no private key that an ID token could be encrypted for.
    pub fn read(text: Secret<String>) -> Result<Self, ConfigError> {
        let keys = DecryptionKey::read_all(text.expose());
        let keys = keys.map_err(|error| ConfigError::new("id_token_decryption_key", error.to_string()))?;
        Ok(Self { keys: keys.into(), text })
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &DecryptionKey> {
        self.keys.iter()
    }
}

impl fmt::Debug for DecryptionKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DecryptionKeys").field("text", &self.text).field("keys", &self.keys).finish()
    }
}

impl LoginConfig {
    /// Checks what this file has.
    pub(super) fn check_details(&self) -> Result<(), ConfigError> {
        if self.way_back.mode == ResponseMode::FormPost && self.cookies.secure == Some(false) {
            let reason =
                "form_post needs cookies that browsers send across sites, which they do only with `Secure`";
            return Err(ConfigError::new("response_mode", reason));
        }
        if let Some(path) = &self.way_back.local_path {
            path_only("local_redirect_uri_path", path)?;
        }
        if let Some(place) = &self.logout.place {
            absolute_or_path("redirect_after_logout_uri", place)?;
        }
        if self.refresh_session_interval.is_some_and(|interval| interval.is_zero()) {
            return Err(ConfigError::new("refresh_session_interval", "it must be at least a second"));
        }
        let paths = [
            ("backchannel_logout_path", &self.logout.backchannel_path),
            ("frontchannel_logout_path", &self.logout.frontchannel_path),
        ];
        let mut taken = vec![self.logout_path.as_str()];
        taken.extend(self.way_back.local_path.as_deref().or(self.redirect_uri.as_deref()));
        for (name, path) in paths {
            let Some(path) = path else { continue };
            path_only(name, path)?;
            if taken.contains(&path.as_str()) {
                return Err(ConfigError::new(name, "another path of this route is the same"));
            }
            taken.push(path);
        }
        Ok(())
    }
}
