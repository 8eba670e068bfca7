//! The finer rules of logins, sessions and logouts.

use std::{fmt, sync::Arc};

use base::Secret;
use gateway::{error::ConfigError, plugin::RequestHead};
use jose::jwe::DecryptionKey;
use oauth::{TokenResponse, TokenType};
use serde_json::{Map, Value, json};

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
    /// What a login ends with.
    pub end: LoginEnd,
}

/// What a login ends with, once the session has begun.
#[derive(Clone, Debug, Default)]
pub enum LoginEnd {
    /// The page that was asked for.
    #[default]
    Page,
    /// A JSON object with these.
    Answer(Vec<LoginPart>),
    /// A redirect that carries these.
    Redirect {
        /// Where to: an absolute URL or a path; `None`: to the page that was asked for.
        place: Option<String>,
        /// What it carries.
        parts: Vec<LoginPart>,
        /// Whether in its query, which servers see and log, and not in its fragment.
        in_query: bool,
    },
}

/// What of the provider's answer somebody is given at the end of a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginPart {
    /// The ID token.
    IdToken,
    /// The access token.
    AccessToken,
    /// The refresh token.
    RefreshToken,
    /// The whole answer of the token endpoint.
    Tokens,
}

impl LoginEnd {
    fn parts(&self) -> &[LoginPart] {
        match self {
            Self::Page => &[],
            Self::Answer(parts) | Self::Redirect { parts, .. } => parts,
        }
    }

    /// What is given, by name.
    pub(super) fn handed(&self, tokens: &TokenResponse) -> Handed {
        let text = |token: &Option<Secret<String>>| token.as_ref().map(|token| json!(token.expose()));
        let access_token = json!(tokens.access_token.expose());
        let part = |part: &LoginPart| match part {
            LoginPart::IdToken => Some(("id_token", text(&tokens.id_token)?)),
            LoginPart::AccessToken => Some(("access_token", access_token.clone())),
            LoginPart::RefreshToken => Some(("refresh_token", text(&tokens.refresh_token)?)),
            LoginPart::Tokens => {
                let kind = if tokens.token_type == TokenType::Dpop { "DPoP" } else { "Bearer" };
                let members = [
                    ("access_token", Some(access_token.clone())),
                    ("token_type", Some(json!(kind))),
                    ("id_token", text(&tokens.id_token)),
                    ("refresh_token", text(&tokens.refresh_token)),
                    ("expires_in", tokens.expires_in.map(|life| json!(life.as_secs()))),
                    ("scope", tokens.scope.as_ref().map(|scope| json!(scope.to_string()))),
                ];
                let there = members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
                let all = Value::Object(there.collect());
                Some(("tokens", all))
            }
        };
        self.parts().iter().filter_map(part).map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

/// What of the provider's answer is given to whom a login ends with.
pub(super) type Handed = Map<String, Value>;

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
        if let LoginEnd::Redirect { place: Some(place), .. } = &self.way_back.end {
            absolute_or_path("login_redirect_uri", place)?;
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
