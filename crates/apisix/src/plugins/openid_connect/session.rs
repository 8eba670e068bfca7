//! Sessions and their cookies.

use plugins::openid_connect::Contents;
use rp::session::{CookieSettings, Lifetimes, LoginCookies, SameSite};
use serde_json::Value;

use super::{is_on, seconds, text};
use crate::schema::Schema;

pub(super) fn schema() -> Schema {
    let storage = Schema::string().choices(&["cookie"]).absent_choices(&["redis"]);
    let seconds = |default: i64, doc: &'static str| Schema::integer().at_least(0).default(default).doc(doc);
    Schema::object()
        .doc("the session cookie")
        .field(
            "secret",
            Schema::string()
                .length(16, 4096)
                .secret()
                .doc("key material; left out, the deployment's own key is used"),
        )
        .field(
            "cookie_name",
            Schema::string()
                .doc("default session, __Host-session on https where name, path and domain are left out"),
        )
        .field("cookie_path", Schema::string().default("/").doc("Path of the cookie"))
        .field("cookie_domain", Schema::string().doc("Domain of the cookie; none by default"))
        .field("cookie_secure", Schema::boolean().doc("Secure; left out: on https"))
        .field("cookie_http_only", Schema::boolean().default(true).doc("HttpOnly"))
        .field(
            "cookie_same_site",
            Schema::string().choices(&["Strict", "Lax", "None", "Default"]).default("Lax").doc("SameSite"),
        )
        .field(
            "idling_timeout",
            seconds(900, "seconds without a request after which it is over; 0: no such limit"),
        )
        .field(
            "rolling_timeout",
            seconds(3600, "seconds without a renewal after which it is over; 0: no such limit"),
        )
        .field("absolute_timeout", seconds(86_400, "seconds after login at which it is over; 0: 400 days"))
        .field(
            "cookie",
            Schema::object().field(
                "lifetime",
                Schema::integer().at_least(0).doc("deprecated: absolute_timeout where that is left out"),
            ),
        )
        .field("storage", storage.default("cookie").doc("where sessions are kept"))
        .field("redis", Schema::object().open().unimplemented().doc("the Redis where sessions are kept"))
}

/// What may be in a session. Once it is written, only what it names is kept.
pub(super) fn contents_schema() -> Schema {
    let flag = |doc: &'static str| Schema::boolean().default(false).doc(doc);
    Schema::object()
        .doc("what a session keeps; left out, everything")
        .field("access_token", flag("the access token, and the refresh token with it"))
        .field("id_token", flag("the ID token's claims"))
        .field("enc_id_token", flag("the ID token as signed, for X-Raw-ID-Token and the provider's logout"))
        .field("user", flag("the userinfo answer"))
}

pub(super) fn contents(conf: &Value) -> Contents {
    let Some(contents) = conf.get("session_contents") else { return Contents::default() };
    Contents {
        access_token: is_on(contents, "access_token", false),
        claims: is_on(contents, "id_token", false),
        id_token: is_on(contents, "enc_id_token", false),
        userinfo: is_on(contents, "user", false),
    }
}

pub(super) fn cookies(session: &Value) -> CookieSettings {
    CookieSettings {
        logins: LoginCookies::default(),
        name: text(session, "cookie_name"),
        path: text(session, "cookie_path"),
        domain: text(session, "cookie_domain"),
        secure: session.get("cookie_secure").and_then(Value::as_bool),
        readable_by_scripts: !is_on(session, "cookie_http_only", true),
        same_site: match text(session, "cookie_same_site").as_deref() {
            Some("Strict") => SameSite::Strict,
            Some("None") => SameSite::None,
            Some("Default") => SameSite::Unset,
            _ => SameSite::Lax,
        },
    }
}

pub(super) fn lifetimes(session: &Value) -> Lifetimes {
    let lifetime = session.pointer("/cookie/lifetime").and_then(Value::as_u64);
    Lifetimes {
        idling: seconds(session, "idling_timeout", 900),
        rolling: seconds(session, "rolling_timeout", 3600),
        absolute: seconds(session, "absolute_timeout", lifetime.unwrap_or(86_400)),
    }
}
