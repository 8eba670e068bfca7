use oauth::{Challenge, ErrorCode, OAuthError, Params, Scopes, Verifier};
use url::Url;

use super::{ClaimsRequest, details, targets::Targets};
use crate::{
    Site,
    model::{AppType, AuthorizeRequest, Client, Prompt, ResponseMode, ResponseType, ScreenHint},
    urls,
};

/// Bytes of `state` and of `nonce` at most.
const MAX_OPAQUE: usize = 4096;

/// Scopes that stand for claims and refresh tokens rather than for an API.
pub(crate) const IDENTITY_SCOPES: [&str; 6] =
    ["openid", "profile", "email", "address", "phone", "offline_access"];

/// How well a user is known who gave a password: the lowest level of ISO/IEC 29115 above none, and the only one there is.
pub(crate) const ACR: &str = "1";
/// The value of `acr_values` by which Auth0's clients demand a second factor. There is none, and without it such a client
/// must not be let through.
const MULTI_FACTOR: &str = "http://schemas.openid.net/pape/policies/2007/06/multi-factor";
/// What a page may be shown as (OpenID Connect Core 3.1.2.1). Ours fit them all.
const DISPLAYS: [&str; 4] = ["page", "popup", "touch", "wap"];
/// Bytes of `acr_values`.
const MAX_ACR_VALUES: usize = 1024;

/// Parameters whose effect a client relies on and that this build does not have: ignoring them would be a lie.
const REFUSED: [(&str, ErrorCode); 4] = [
    ("registration", ErrorCode::RegistrationNotSupported),
    ("organization", ErrorCode::InvalidRequest),
    ("invitation", ErrorCode::InvalidRequest),
    ("connection_scope", ErrorCode::InvalidRequest),
];

/// Where the answer to a request goes, known before anything else about it is judged.
#[derive(Clone, Debug)]
pub(crate) struct ReturnAddress {
    pub(crate) redirect_uri: String,
    pub(crate) given: bool,
    pub(crate) mode: ResponseMode,
    /// Whether it goes as one signed JWT.
    pub(crate) jwt: bool,
    pub(crate) state: Option<String>,
}

impl ReturnAddress {
    /// The redirect URI and how to use it.
    ///
    /// # Errors
    ///
    /// For a page: nothing may be sent to an address that is not the client's (RFC 6749 section 4.1.2.1).
    pub(crate) fn parse(client: &Client, params: &Params<'_>) -> Result<Self, OAuthError> {
        let openid =
            params.value("scope").is_some_and(|scope| scope.split(' ').any(|token| token == "openid"));
        let (redirect_uri, given) = match (params.value("redirect_uri"), client.callbacks.as_slice()) {
            (Some(uri), callbacks) if callbacks.iter().any(|known| is_one(client, known, uri)) => {
                (uri.to_owned(), true)
            }
            (Some(_), _) => {
                return Err(invalid(
                    "Callback URL mismatch. The redirect_uri is not in the list of allowed callback URLs.",
                ));
            }
            // OpenID Connect Core 3.1.2.1 requires it; RFC 6749 section 3.1.2.3 does where there are several.
            (None, [only]) if !openid && !client.is_fapi2() => (only.clone(), false),
            (None, _) => return Err(invalid("Missing required parameter: redirect_uri")),
        };
        if !urls::is_callback(&redirect_uri) {
            return Err(invalid("The registered callback URL cannot be used."));
        }
        let state = match params.value("state") {
            Some(state) if state.len() > MAX_OPAQUE => {
                return Err(invalid("The parameter state is too long."));
            }
            state => state.map(str::to_owned),
        };
        let asked = params.value("response_type").and_then(ResponseType::parse).unwrap_or_default();
        let (name, jwt) = match params.value("response_mode") {
            // JARM section 2.3: the way that the response type takes by default.
            Some("jwt") => (None, true),
            Some(name) => (Some(name.strip_suffix(".jwt").unwrap_or(name)), name.ends_with(".jwt")),
            None => (None, false),
        };
        let mode = match name {
            // Tokens do not go into a query; who asks for that is told so in the fragment.
            None | Some("query") if asked.is_front_channel() => ResponseMode::Fragment,
            None | Some("query") => ResponseMode::Query,
            Some("fragment") => ResponseMode::Fragment,
            Some("form_post") => ResponseMode::FormPost,
            Some("web_message") if !jwt && may_message(client, &redirect_uri) => ResponseMode::WebMessage,
            Some("web_message") if !jwt => {
                return Err(invalid("The redirect_uri's origin is not in the list of allowed web origins."));
            }
            Some(_) => return Err(invalid("Unsupported response_mode.")),
        };
        Ok(Self { redirect_uri, given, mode, jwt, state })
    }
}

/// Whether `uri` is the registered callback: the same byte for byte, but for where an installed application listens.
fn is_one(client: &Client, callback: &str, uri: &str) -> bool {
    let installed = client.app_type == Some(AppType::Native);
    callback == uri || (installed && urls::differs_in_port_alone(callback, uri))
}

fn may_message(client: &Client, redirect_uri: &str) -> bool {
    Url::parse(redirect_uri).is_ok_and(|url| client.web_origins.contains(&urls::origin_of(&url)))
}

/// # Errors
///
/// Where a parameter is there that only ignoring it could answer.
pub(crate) fn without_refused(params: &Params<'_>) -> Result<(), OAuthError> {
    match REFUSED.into_iter().find(|(name, _)| params.value(name).is_some()) {
        Some((name, code)) => Err(OAuthError::new(code, &format!("The parameter {name} is not supported."))),
        None => Ok(()),
    }
}

/// Judges everything that needs no store but the APIs. `expected_user` comes from a verified `id_token_hint`.
pub(crate) fn parse(
    site: &Site,
    client: &Client,
    address: &ReturnAddress,
    targets: &Targets,
    params: &Params<'_>,
) -> Result<AuthorizeRequest, OAuthError> {
    without_refused(params)?;
    let response_type = response_type(site, client, params)?;
    let asked = Scopes::parse(params.value("scope").unwrap_or_default())
        .map_err(|error| OAuthError::new(ErrorCode::InvalidScope, &error.to_string()))?;
    let nonce = params.value("nonce").map(str::to_owned);
    if nonce.as_ref().is_some_and(|nonce| nonce.len() > MAX_OPAQUE) {
        return Err(invalid("The parameter nonce is too long."));
    }
    if response_type.id_token {
        // OpenID Connect Core 3.1.2.1 and 3.2.2.1.
        if !asked.contains("openid") {
            return Err(invalid("A response_type with id_token needs the scope openid."));
        }
        // OpenID Connect Core 3.1.3.7: only what comes straight from the token endpoint may be unsigned.
        if client.jwt_configuration.alg.as_deref() == Some("none") {
            return Err(invalid("A client of unsigned ID tokens gets none through the browser."));
        }
        if nonce.is_none() {
            return Err(invalid("Missing required parameter: nonce"));
        }
    }
    if params.value("display").is_some_and(|display| !DISPLAYS.contains(&display)) {
        return Err(invalid("Unknown value of display."));
    }
    if response_type.token && targets.names().count() > 1 {
        let text = "An access token in the authorization response is for one resource.";
        return Err(OAuthError::new(ErrorCode::InvalidTarget, text));
    }
    let claims = match params.value("claims") {
        Some(text) => ClaimsRequest::parse(text)?,
        None => ClaimsRequest::default(),
    };
    let acr_requested = acr(client, params, &claims)?;
    let prompt = prompt(params)?;
    let screen_hint = match params.value("screen_hint") {
        _ if prompt.contains(&Prompt::Create) => Some(ScreenHint::SignUp),
        Some("signup") => Some(ScreenHint::SignUp),
        Some("reset-password") => Some(ScreenHint::ResetPassword),
        _ => None,
    };
    let mut names = targets.names().map(str::to_owned);
    Ok(AuthorizeRequest {
        issuer: site.issuer(),
        client_id: client.client_id.clone(),
        redirect_uri: address.redirect_uri.clone(),
        redirect_uri_given: address.given,
        response_type,
        response_mode: address.mode,
        response_jwt: address.jwt,
        scope: grantable(&asked, client, targets, response_type),
        audience: names.next(),
        resources: names.collect(),
        authorization_details: details::parse(params, targets)?,
        claims,
        acr_requested,
        state: address.state.clone(),
        nonce,
        code_challenge: code_challenge(site, client, response_type, params)?,
        dpop_jkt: dpop_jkt(params)?,
        prompt,
        max_age: max_age(params)?.or(client.default_max_age),
        login_hint: params.value("login_hint").filter(|hint| hint.len() <= 320).map(str::to_owned),
        ui_locales: params.value("ui_locales").filter(|locales| locales.len() <= 128).map(str::to_owned),
        screen_hint,
        connection: params.value("connection").map(str::to_owned),
        expected_user: None,
        pushed: None,
        deferred: None,
    })
}

/// What the answer is to hold, if the tenant and the client have it.
fn response_type(site: &Site, client: &Client, params: &Params<'_>) -> Result<ResponseType, OAuthError> {
    let text =
        params.value("response_type").ok_or_else(|| invalid("Missing required parameter: response_type"))?;
    let refused = |text: &str| OAuthError::new(ErrorCode::UnsupportedResponseType, text);
    let asked = ResponseType::parse(text).ok_or_else(|| refused("Unsupported response_type."))?;
    if asked.is_implicit() && !site.tenant.settings.flags.enable_implicit_flow {
        return Err(refused(
            "Access tokens in the authorization response, and responses without a code, are switched off.",
        ));
    }
    // FAPI 2.0 Security Profile 5.3.2.2.
    if client.is_fapi2() && asked != ResponseType::CODE {
        return Err(refused("The client's profile has the response_type code alone."));
    }
    let needed = [("authorization_code", asked.code), ("implicit", asked.is_front_channel())];
    for (grant_type, needed) in needed {
        if needed && !client.allows_grant(grant_type) {
            let text = format!("Grant type '{grant_type}' not allowed for the client.");
            return Err(OAuthError::new(ErrorCode::UnauthorizedClient, &text));
        }
    }
    if asked.is_front_channel() && matches!(params.value("response_mode"), Some("query" | "query.jwt")) {
        return Err(invalid("This response_type does not go with a response_mode in the query."));
    }
    Ok(asked)
}

/// What of the scopes asked for can be granted at all: the rest is left out, and the answer says what was given.
fn grantable(asked: &Scopes, client: &Client, targets: &Targets, response_type: ResponseType) -> Scopes {
    // OpenID Connect Core 11: without a code there is no refresh token.
    let offline = response_type.code
        && client.allows_grant("refresh_token")
        && targets.apis().all(|api| api.allow_offline_access);
    let allowed: Vec<&str> =
        IDENTITY_SCOPES.into_iter().filter(|scope| offline || *scope != "offline_access").collect();
    let identity = Scopes::parse(&allowed.join(" ")).unwrap_or_default();
    let known = targets.apis().fold(identity, |known, api| known.union(&api.scope_names()));
    asked.intersection(&known)
}

/// Whether the ID token is to say how well the user is known. What cannot be reached is refused before anybody logs in
/// (OpenID Connect Core 5.5.1.1).
pub(crate) fn acr(client: &Client, params: &Params<'_>, claims: &ClaimsRequest) -> Result<bool, OAuthError> {
    let unmet = |text: &str| Err(OAuthError::new(ErrorCode::UnmetAuthenticationRequirements, text));
    let values = params.value("acr_values").unwrap_or_default();
    if values.len() > MAX_ACR_VALUES {
        return Err(invalid("The parameter acr_values is too long."));
    }
    let mut wanted: Vec<&str> = values.split(' ').filter(|value| !value.is_empty()).collect();
    if wanted.is_empty() && !claims.id_token.contains_key("acr") {
        wanted.extend(client.default_acr_values.iter().map(String::as_str));
    }
    if wanted.contains(&MULTI_FACTOR) && !wanted.contains(&ACR) {
        return unmet("There is no second factor.");
    }
    if let Some(values) = claims.insists("acr")
        && !values.is_empty()
        && !values.iter().any(|value| value.as_str() == Some(ACR))
    {
        return unmet("The acr that the request insists on cannot be reached.");
    }
    Ok(!wanted.is_empty() || claims.id_token.contains_key("acr"))
}

fn code_challenge(
    site: &Site,
    client: &Client,
    response_type: ResponseType,
    params: &Params<'_>,
) -> Result<Option<String>, OAuthError> {
    let plain = site.tenant.settings.flags.enable_plain_code_challenges && !client.is_fapi2();
    match (params.value("code_challenge"), params.value("code_challenge_method")) {
        // RFC 7636 section 4.2: the challenge is the verifier. Kept as the other method's, it is checked like that.
        (Some(challenge), None | Some("plain")) if plain => Verifier::parse(challenge)
            .map(|verifier| Some(verifier.challenge().as_str().to_owned()))
            .map_err(|error| invalid(&error.to_string())),
        (Some(challenge), method) => Challenge::parse(challenge, method)
            .map(|challenge| Some(challenge.as_str().to_owned()))
            .map_err(|error| invalid(&error.to_string())),
        (None, Some(_)) => Err(invalid("code_challenge_method was sent without code_challenge")),
        // RFC 9700 section 2.1.1: public clients must use PKCE, FAPI 2.0 Security Profile 5.3.2.2: so must all.
        (None, None) if (client.is_public() || client.is_fapi2()) && response_type.code => {
            Err(invalid("Missing required parameter: code_challenge"))
        }
        (None, None) => Ok(None),
    }
}

/// RFC 9449 section 10: the thumbprint of the key that the code is to be redeemed with.
fn dpop_jkt(params: &Params<'_>) -> Result<Option<String>, OAuthError> {
    let Some(thumbprint) = params.value("dpop_jkt") else { return Ok(None) };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if thumbprint.len() != 43 || !thumbprint.bytes().all(plain) {
        return Err(invalid("dpop_jkt must be the SHA-256 thumbprint of a key."));
    }
    Ok(Some(thumbprint.to_owned()))
}

fn prompt(params: &Params<'_>) -> Result<Vec<Prompt>, OAuthError> {
    let mut prompts = Vec::new();
    for word in params.value("prompt").unwrap_or_default().split(' ').filter(|word| !word.is_empty()) {
        prompts.push(match word {
            "none" => Prompt::None,
            "login" => Prompt::Login,
            "consent" => Prompt::Consent,
            "select_account" => Prompt::SelectAccount,
            "create" => Prompt::Create,
            _ => return Err(invalid("Unknown value of prompt.")),
        });
    }
    if prompts.contains(&Prompt::None) && prompts.iter().any(|prompt| *prompt != Prompt::None) {
        return Err(invalid("prompt=none cannot be combined with other values."));
    }
    Ok(prompts)
}

pub(crate) fn max_age(params: &Params<'_>) -> Result<Option<i64>, OAuthError> {
    let Some(text) = params.value("max_age") else { return Ok(None) };
    match text.parse::<i64>() {
        Ok(seconds) if seconds >= 0 => Ok(Some(seconds)),
        _ => Err(invalid("max_age must be a number of seconds.")),
    }
}

pub(crate) fn invalid(description: &str) -> OAuthError {
    OAuthError::new(ErrorCode::InvalidRequest, description)
}
