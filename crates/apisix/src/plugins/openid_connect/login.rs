//! Logins and logouts.

use base::Secret;
use plugins::openid_connect::{LoginConfig, Unauthenticated};
use serde_json::Value;

use super::{is_on, seconds, session, text};
use crate::schema::Schema;

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
                "without a session: auth sends page loads to log in and gives others 401; deny 401; pass goes on",
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
}

pub(super) fn login_config(conf: &Value) -> LoginConfig {
    let none = Value::Null;
    let session = conf.get("session").unwrap_or(&none);
    let unauthenticated = match text(conf, "unauth_action").as_deref() {
        Some("deny") => Unauthenticated::Deny,
        Some("pass") => Unauthenticated::Pass,
        _ => Unauthenticated::Login,
    };
    LoginConfig {
        redirect_uri: text(conf, "redirect_uri"),
        scope: text(conf, "scope").unwrap_or_else(|| "openid".to_owned()),
        authorization_params: authorization_params(conf),
        unauthenticated,
        force_reauthorize: is_on(conf, "force_reauthorize", false),
        logout_path: text(conf, "logout_path").unwrap_or_else(|| "/logout".to_owned()),
        post_logout_redirect_uri: text(conf, "post_logout_redirect_uri"),
        revoke_on_logout: is_on(conf, "revoke_tokens_on_logout", false),
        secret: text(session, "secret").map(Secret::new),
        cookies: session::cookies(session),
        lifetimes: session::lifetimes(session),
        renew: is_on(conf, "renew_access_token_on_expiry", true),
        default_expires_in: seconds(conf, "access_token_expires_in", 3600),
        expires_leeway: seconds(conf, "access_token_expires_leeway", 0),
    }
}

/// `authorization_params` come last and win over `prompt` and `display`.
fn authorization_params(conf: &Value) -> Vec<(String, String)> {
    let own = ["prompt", "display"].into_iter().filter_map(|name| Some((name.to_owned(), text(conf, name)?)));
    let further = conf.get("authorization_params").and_then(Value::as_object).into_iter().flatten();
    let further = further.map(|(name, value)| {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        (name.clone(), value)
    });
    own.chain(further).collect()
}
