//! What the browser is to tell, and to find out, about the session (OpenID Connect Front-Channel Logout 1.0, OpenID
//! Connect Session Management 1.0).

use aws_lc_rs::digest;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use url::Url;

use crate::{
    IdpError, Site,
    idp::Core,
    model::{Client, Session},
    urls,
};

/// Where the page is that clients' pages frame to learn whether the session is still the same.
pub const CHECK_SESSION_PATH: &str = "/oidc/check-session";
/// Characters that keep one answer's session state from telling anything about another one's.
const SALT: usize = 16;

impl Client {
    /// Where a frame of the logout page goes to, for a session that the client knows by this issuer. Issuer and session
    /// are always told: a client that does not ask for them is not hurt by them (section 2).
    fn logout_frame(&self, issuer: &str, sid: &str) -> Option<String> {
        let mut url = Url::parse(self.frontchannel_logout_uri.as_deref()?).ok()?;
        url.query_pairs_mut().append_pair("iss", issuer).append_pair("sid", sid);
        Some(url.into())
    }

    /// Whether its `frontchannel_logout_uri` is on the origin of one of its callbacks, as section 2 demands.
    pub(crate) fn frames_its_own(&self) -> bool {
        let origin = |uri: &str| Url::parse(uri).ok().map(|url| urls::origin_of(&url));
        let Some(uri) = self.frontchannel_logout_uri.as_deref() else { return true };
        let web = uri.starts_with("https://") || uri.starts_with("http://");
        let own = self.callbacks.iter().any(|callback| origin(callback) == origin(uri));
        web && own && urls::is_callback(uri)
    }
}

impl Core {
    /// The frames that tell the session's clients of its end.
    pub(crate) async fn logout_frames(
        &self,
        site: &Site,
        session: &Session,
    ) -> Result<Vec<String>, IdpError> {
        let (tenant, repository) = (&site.tenant.id, &self.repository);
        let mut frames = Vec::new();
        for (client_id, issuer) in repository.session_clients(tenant, &session.sid).await? {
            let client = repository.client(tenant, &client_id).await?;
            frames.extend(client.and_then(|client| client.logout_frame(&issuer, &session.sid)));
        }
        Ok(frames)
    }

    /// What the browser's cookie says of its session to the provider's own script: another value for each session,
    /// which opens nothing.
    pub(crate) fn browser_state(&self, sid: &str) -> String {
        URL_SAFE_NO_PAD.encode(self.digester.digest(&format!("browser state/{sid}")).0)
    }

    /// `session_state` of an authorization response: the client cannot make it, and the script at
    /// [`CHECK_SESSION_PATH`] can, from the cookie (Session Management section 2).
    pub(crate) fn session_state(&self, client_id: &str, redirect_uri: &str, state: &str) -> Option<String> {
        let origin = urls::origin_of(&Url::parse(redirect_uri).ok()?);
        let salt = self.random.alphanumeric(SALT);
        let text = format!("{client_id} {origin} {state} {salt}");
        let hash = digest::digest(&digest::SHA256, text.as_bytes());
        let hash: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        Some(format!("{hash}.{salt}"))
    }
}
