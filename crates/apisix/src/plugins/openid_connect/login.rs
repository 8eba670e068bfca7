//! Logins and logouts.

use base::Secret;
use gateway::error::ConfigError;
use plugins::openid_connect::{
    DecryptionKeys, LoginConfig, LoginEnd, LogoutConfig, ResponseMode, Unauthenticated, WayBack,
};
use rp::session::{CookieSettings, LOGIN_LIFETIME, LoginCookies, MAX_LOGINS};
use serde_json::Value;

use super::{client, is_on, plain_members, seconds, session, text};
use crate::schema::Schema;

/// The most of `authorization_state_expires_in` and of `authorization_state_max_number`, and what holds without them:
/// people take long, and open many tabs. APISIX has 300 and 10.
const MOST_SECONDS: i64 = 3600;
const MOST_LOGINS: i64 = 50;

pub(super) fn fields(schema: Schema) -> Schema {
    let flag = |default: bool, doc: &'static str| Schema::boolean().default(default).doc(doc);
    let seconds = |default: i64, doc: &'static str| Schema::integer().at_least(0).default(default).doc(doc);
    schema
        .field("scope", Schema::string().default("openid").doc("scopes asked for at login"))
        .field(
            "redirect_uri",
            Schema::string().doc("URL or path the provider sends the browser back to; else path + /.apisix/redirect"),
        )
        .field(
            "unauth_action",
            Schema::string().choices(&["auth", "deny", "pass"]).default("auth").doc(
                "without a session: auth sends page loads to log in and gives others 401; deny 401; pass goes on, \
                 with bearer_only where there is no token",
            ),
        )
        .field("logout_path", Schema::string().default("/logout").doc("path that ends the session"))
        .field("post_logout_redirect_uri", Schema::string().doc("URL or path to go to after logout"))
        .field("revoke_tokens_on_logout", flag(false, "logout revokes refresh and access token at the provider"))
        .field("use_pkce", flag(false, "accepted; PKCE with S256 is always used"))
        .field("use_nonce", flag(false, "accepted; a nonce is always used"))
        .field(
            "authorization_params",
            Schema::map(Schema::any_of(vec![Schema::string(), Schema::number(), Schema::boolean()]))
                .doc("further parameters of the authorization request"),
        )
        .field("prompt", Schema::string().doc("prompt of the authorization request"))
        .field("display", Schema::string().doc("display of the authorization request"))
        .field("renew_access_token_on_expiry", flag(true, "an access token that is over is refreshed in the request"))
        .field(
            "access_token_expires_in",
            Schema::integer().at_least(1).default(3600).doc("seconds, where the provider does not say it"),
        )
        .field("access_token_expires_leeway", seconds(0, "seconds before its end that an access token counts as over"))
        .field("force_reauthorize", flag(false, "a login counts for ten seconds: each visit goes through the provider"))
        .field("session", session::schema())
        .field("session_contents", session::contents_schema())
        .field(
            "refresh_session_interval",
            Schema::integer().at_least(1).doc(
                "seconds after which the provider is asked, without a page, if the user is still logged in there",
            ),
        )
        .field(
            "authorization_state_expires_in",
            Schema::integer().at_least(1).at_most(MOST_SECONDS).default(MOST_SECONDS).doc("seconds a login may take"),
        )
        .field(
            "authorization_state_max_number",
            Schema::integer().at_least(1).at_most(MOST_LOGINS).default(MOST_LOGINS).doc(
                "logins that may be under way in one browser; the oldest goes first",
            ),
        )
        .field(
            "response_mode",
            Schema::string().choices(&["query", "form_post"]).absent_choices(&["fragment"]).default("query").doc(
                "how the provider's answer comes back; with form_post the login's cookie is SameSite=None and Secure",
            ),
        )
        .field(
            "local_redirect_uri_path",
            Schema::string().doc("path at which the answer arrives here, where a proxy in front changes redirect_uri's"),
        )
        .field(
            "redirect_uri_scheme",
            Schema::string().choices(&["http", "https"]).doc("scheme of redirect_uri and of ways back that are paths"),
        )
        .field(
            "redirect_after_logout_uri",
            Schema::string().doc("URL or path a logout goes to in place of the provider's end_session_endpoint"),
        )
        .field(
            "redirect_after_logout_with_id_token_hint",
            flag(false, "whether redirect_after_logout_uri is given the ID token"),
        )
        .field(
            "redirect_after_logout_with_client_id",
            flag(false, "whether a logout names the client also beside the ID token"),
        )
        .field(
            "backchannel_logout_path",
            Schema::string().doc(
                "extension: path where the provider posts logout tokens (OpenID Connect Back-Channel Logout 1.0)",
            ),
        )
        .field(
            "frontchannel_logout_path",
            Schema::string().doc(
                "extension: path the provider loads in a frame to end the browser's session, by its iss and sid",
            ),
        )
        .field(
            "id_token_decryption_key",
            Schema::string().length(1, 65_536).secret().doc(
                "extension: PEM, JWK or JWK Set of the keys ID tokens are encrypted for; in the clear they are refused",
            ),
        )
}

pub(super) fn login_config(conf: &Value) -> Result<LoginConfig, ConfigError> {
    let none = Value::Null;
    let session = conf.get("session").unwrap_or(&none);
    let unauthenticated = match text(conf, "unauth_action").as_deref() {
        Some("deny") => Unauthenticated::Deny,
        Some("pass") => Unauthenticated::Pass,
        _ => Unauthenticated::Login,
    };
    let decryption =
        text(conf, "id_token_decryption_key").map(Secret::new).map(DecryptionKeys::read).transpose()?;
    Ok(LoginConfig {
        redirect_uri: text(conf, "redirect_uri"),
        scope: text(conf, "scope").unwrap_or_else(|| "openid".to_owned()),
        authorization_params: authorization_params(conf),
        pushing: client::pushing(conf),
        unauthenticated,
        force_reauthorize: is_on(conf, "force_reauthorize", false),
        logout_path: text(conf, "logout_path").unwrap_or_else(|| "/logout".to_owned()),
        post_logout_redirect_uri: text(conf, "post_logout_redirect_uri"),
        revoke_on_logout: is_on(conf, "revoke_tokens_on_logout", false),
        secret: text(session, "secret").map(Secret::new),
        cookies: CookieSettings { logins: login_cookies(conf), ..session::cookies(session) },
        way_back: WayBack {
            end: LoginEnd::Page,
            mode: response_mode(conf),
            local_path: text(conf, "local_redirect_uri_path"),
            scheme: text(conf, "redirect_uri_scheme")
                .map(|scheme| if scheme == "https" { "https" } else { "http" }),
            is_page: false,
        },
        contents: session::contents(conf),
        logout: LogoutConfig {
            place: text(conf, "redirect_after_logout_uri"),
            id_token_hint: is_on(conf, "redirect_after_logout_with_id_token_hint", false),
            client_id: is_on(conf, "redirect_after_logout_with_client_id", false),
            backchannel_path: text(conf, "backchannel_logout_path"),
            frontchannel_path: text(conf, "frontchannel_logout_path"),
            ..LogoutConfig::default()
        },
        refresh_session_interval: conf
            .get("refresh_session_interval")
            .map(|_| seconds(conf, "refresh_session_interval", 0)),
        decryption,
        storage: session::storage(session)?,
        lifetimes: session::lifetimes(session),
        renew: is_on(conf, "renew_access_token_on_expiry", true),
        default_expires_in: seconds(conf, "access_token_expires_in", 3600),
        expires_leeway: seconds(conf, "access_token_expires_leeway", 0),
    })
}

fn response_mode(conf: &Value) -> ResponseMode {
    match text(conf, "response_mode").as_deref() {
        Some("form_post") => ResponseMode::FormPost,
        _ => ResponseMode::Query,
    }
}

fn login_cookies(conf: &Value) -> LoginCookies {
    let most = conf.get("authorization_state_max_number").and_then(Value::as_u64);
    LoginCookies {
        lifetime: seconds(conf, "authorization_state_expires_in", LOGIN_LIFETIME.as_secs()),
        most: most.and_then(|most| usize::try_from(most).ok()).unwrap_or(MAX_LOGINS),
        cross_site: response_mode(conf) == ResponseMode::FormPost,
    }
}

/// `authorization_params` come last and win over `prompt` and `display`.
fn authorization_params(conf: &Value) -> Vec<(String, String)> {
    let own = ["prompt", "display"].into_iter().filter_map(|name| Some((name.to_owned(), text(conf, name)?)));
    let further = plain_members(conf.get("authorization_params"));
    own.chain(further).collect()
}
