//! What the upstream is told.

use plugins::openid_connect::{AccessTokenHeader, Headers};
use serde_json::Value;

use super::is_on;
use crate::schema::Schema;

pub(super) fn fields(schema: Schema) -> Schema {
    let flag = |default: bool, doc: &'static str| Schema::boolean().default(default).doc(doc);
    schema
        .field("set_access_token_header", flag(true, "sets X-Access-Token to the access token"))
        .field(
            "access_token_in_authorization_header",
            flag(false, "sets Authorization in place of X-Access-Token"),
        )
        .field(
            "set_id_token_header",
            flag(true, "sets X-ID-Token to the ID token's claims, base64 of JSON; sessions only"),
        )
        .field(
            "set_raw_id_token_header",
            flag(false, "sets X-Raw-ID-Token to the ID token as signed; sessions only"),
        )
        .field(
            "set_userinfo_header",
            flag(true, "sets X-Userinfo: userinfo, or the token's claims, base64 of JSON"),
        )
        .field("set_refresh_token_header", flag(false, "sets X-Refresh-Token; sessions only"))
}

pub(super) fn headers(conf: &Value) -> Headers {
    let access_token = match (
        is_on(conf, "set_access_token_header", true),
        is_on(conf, "access_token_in_authorization_header", false),
    ) {
        (false, _) => AccessTokenHeader::None,
        (true, false) => AccessTokenHeader::XAccessToken,
        (true, true) => AccessTokenHeader::Authorization,
    };
    Headers {
        access_token,
        id_token: is_on(conf, "set_id_token_header", true),
        raw_id_token: is_on(conf, "set_raw_id_token_header", false),
        userinfo: is_on(conf, "set_userinfo_header", true),
        refresh_token: is_on(conf, "set_refresh_token_header", false),
        named: Vec::new(),
        back: Vec::new(),
    }
}
