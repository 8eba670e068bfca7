use std::sync::Arc;

use jose::jwe::Enc;
use serde_json::{Map, Value, json};

use crate::{
    Site,
    authorization::{
        request::{ACR, IDENTITY_SCOPES},
        request_object::REQUEST_ALGS,
    },
    client_authentication::{ASSERTION_ALGS, METHODS},
    front_channel::CHECK_SESSION_PATH,
    idp::Core,
    keys::SIGNING_ALGS,
    model::{LOCALES, ResponseType},
    sealing::KEY_ALGS,
    standard_claims,
    token_endpoint::GRANT_TYPES,
};

/// `/.well-known/openid-configuration` and `/.well-known/oauth-authorization-server`: only what works is listed.
#[derive(Clone)]
pub struct Discovery {
    core: Arc<Core>,
}

impl Discovery {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// The document of one origin.
    pub fn document(&self, site: &Site) -> Map<String, Value> {
        let certificates = self.core.mtls_origin(site).is_some();
        let methods = METHODS.iter().filter(|method| certificates || !method.is_certificate());
        let methods: Vec<&str> = methods.map(|method| method.as_str()).collect();
        let confidential: Vec<&str> = methods.iter().copied().filter(|method| *method != "none").collect();
        let signing: Vec<&str> = SIGNING_ALGS.iter().map(|alg| alg.as_str()).chain(["HS256"]).collect();
        let assertions: Vec<&str> = ASSERTION_ALGS.iter().map(|alg| alg.as_str()).chain(["HS256"]).collect();
        let unsigned_id = site.tenant.settings.flags.enable_unsigned_id_tokens.then_some("none");
        let id_tokens: Vec<&str> = signing.iter().copied().chain(unsigned_id).collect();
        let implicit = site.tenant.settings.flags.enable_implicit_flow;
        let response_types =
            ResponseType::ALL.into_iter().filter(|(_, kind)| implicit || !kind.is_implicit());
        let response_types: Vec<&str> = response_types.map(|(name, _)| name).collect();
        // OpenID Connect Dynamic Client Registration 2: `code id_token` takes it too.
        let grant_types: Vec<&str> = GRANT_TYPES.into_iter().chain(["implicit"]).collect();
        let own = ["sub", "iss", "aud", "exp", "iat", "auth_time", "acr", "amr", "sid"];
        let claims: Vec<&str> = own.into_iter().chain(standard_claims::all()).collect();
        let settings = &site.tenant.settings;
        let unsigned = settings.flags.enable_unsigned_request_objects.then_some("none");
        let requests: Vec<&str> = REQUEST_ALGS.iter().map(|alg| alg.as_str()).chain(unsigned).collect();
        let plain = settings.flags.enable_plain_code_challenges.then_some("plain");
        let challenges: Vec<&str> = ["S256"].into_iter().chain(plain).collect();
        let document = json!({
            "issuer": site.issuer(),
            "authorization_endpoint": site.url("/authorize"),
            "token_endpoint": site.url("/oauth/token"),
            "userinfo_endpoint": site.url("/userinfo"),
            "jwks_uri": site.url("/.well-known/jwks.json"),
            "revocation_endpoint": site.url("/oauth/revoke"),
            "introspection_endpoint": site.url("/oauth/introspect"),
            "end_session_endpoint": site.url("/oidc/logout"),
            "check_session_iframe": site.url(CHECK_SESSION_PATH),
            "scopes_supported": IDENTITY_SCOPES,
            "response_types_supported": response_types,
            "response_modes_supported": [
                "query", "fragment", "form_post", "web_message", "jwt", "query.jwt", "fragment.jwt", "form_post.jwt",
            ],
            "grant_types_supported": grant_types,
            "code_challenge_methods_supported": challenges,
            "subject_types_supported": ["public", "pairwise"],
            "id_token_signing_alg_values_supported": id_tokens,
            "token_endpoint_auth_methods_supported": methods,
            "token_endpoint_auth_signing_alg_values_supported": assertions,
            "introspection_endpoint_auth_methods_supported": confidential,
            "introspection_endpoint_auth_signing_alg_values_supported": assertions,
            "revocation_endpoint_auth_methods_supported": methods,
            "revocation_endpoint_auth_signing_alg_values_supported": assertions,
            "prompt_values_supported": ["none", "login", "consent", "select_account", "create"],
            "acr_values_supported": [ACR],
            "display_values_supported": ["page", "popup", "touch", "wap"],
            "claims_supported": claims,
            "claim_types_supported": ["normal"],
            "backchannel_logout_supported": true,
            "backchannel_logout_session_supported": true,
            "frontchannel_logout_supported": true,
            "frontchannel_logout_session_supported": true,
            "authorization_response_iss_parameter_supported": true,
            "claims_parameter_supported": true,
            "request_parameter_supported": true,
            "request_uri_parameter_supported": true,
            "require_request_uri_registration": true,
            "request_object_signing_alg_values_supported": requests,
        });
        let mut document = match document {
            Value::Object(document) => document,
            _ => Map::new(),
        };
        document.extend(protection(&signing));
        let mut locales = LOCALES.to_vec();
        locales.retain(|tag| settings.enabled_locales.iter().any(|enabled| enabled == tag));
        if !locales.is_empty() {
            document.insert("ui_locales_supported".to_owned(), json!(locales));
        }
        document.insert("device_authorization_endpoint".to_owned(), json!(site.url("/oauth/device/code")));
        let backchannel = json!({
            "backchannel_authentication_endpoint": site.url("/bc-authorize"),
            "backchannel_token_delivery_modes_supported": ["poll", "ping"],
            "backchannel_authentication_request_signing_alg_values_supported":
                ASSERTION_ALGS.map(|alg| alg.as_str()),
            "backchannel_user_code_parameter_supported": false,
        });
        document.extend(backchannel.as_object().cloned().unwrap_or_default());
        if settings.flags.enable_dynamic_client_registration {
            document.insert("registration_endpoint".to_owned(), json!(site.url("/oidc/register")));
        }
        if settings.pushed_authorization_requests_supported {
            let required = settings.flags.require_pushed_authorization_requests;
            document
                .insert("pushed_authorization_request_endpoint".to_owned(), json!(site.url("/oauth/par")));
            document.insert("require_pushed_authorization_requests".to_owned(), json!(required));
        }
        self.add_possession(site, &mut document);
        document
    }

    /// How tokens are bound to keys (RFC 9449 section 5.1, RFC 8705 sections 3.3 and 5).
    fn add_possession(&self, site: &Site, document: &mut Map<String, Value>) {
        let algs: Vec<&str> = oauth::dpop::ALGS.split(' ').collect();
        document.insert("dpop_signing_alg_values_supported".to_owned(), json!(algs));
        let Some(origin) = self.core.mtls_origin(site) else { return };
        document.insert("tls_client_certificate_bound_access_tokens".to_owned(), json!(true));
        let moved = |name: &str| {
            let url = document.get(name)?.as_str()?;
            Some((name.to_owned(), json!(format!("{origin}{}", url.strip_prefix(&*site.origin)?))))
        };
        let aliases: Map<String, Value> = ALIASED.into_iter().filter_map(moved).collect();
        document.insert("mtls_endpoint_aliases".to_owned(), Value::Object(aliases));
    }
}

/// Endpoints where a certificate says something.
const ALIASED: [&str; 8] = [
    "token_endpoint",
    "userinfo_endpoint",
    "revocation_endpoint",
    "introspection_endpoint",
    "pushed_authorization_request_endpoint",
    "device_authorization_endpoint",
    "backchannel_authentication_endpoint",
    "registration_endpoint",
];

/// How answers may be signed and encrypted, and request objects encrypted. Signatures of ID tokens and request objects are
/// for the document itself to say.
fn protection(signing: &[&str]) -> Map<String, Value> {
    let keys: Vec<&str> = KEY_ALGS.iter().map(|alg| alg.as_str()).collect();
    let contents: Vec<&str> = Enc::ALL.iter().map(|enc| enc.as_str()).collect();
    let mut members = Map::new();
    for kind in ["userinfo", "introspection", "authorization"] {
        members.insert(format!("{kind}_signing_alg_values_supported"), json!(signing));
    }
    for kind in ["id_token", "userinfo", "introspection", "authorization", "request_object"] {
        members.insert(format!("{kind}_encryption_alg_values_supported"), json!(keys));
        members.insert(format!("{kind}_encryption_enc_values_supported"), json!(contents));
    }
    members
}
