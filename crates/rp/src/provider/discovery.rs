use fetch::Fetcher;
use oauth::ProviderMetadata;
use url::{Host, Url};

use super::ProviderError;

const WHAT: &str = "discovery";
/// What Entra's documents for many tenants hold in place of a tenant's id.
const TENANT: &str = "{tenantid}";
/// What stands in that place where Entra is asked for the document of many tenants.
const ANY_TENANT: [&str; 3] = ["common", "organizations", "consumers"];
/// Entra's clouds, whose documents are read by rules of their own (see [`entra`]): the hosts they are asked at, and the
/// issuers of version 1 besides. Microsoft's own libraries know them by the same names.
const CLOUDS: [(&[&str], &str); 6] = [
    (
        &["login.microsoftonline.com", "login.microsoft.com", "login.windows.net", "sts.windows.net"],
        "sts.windows.net",
    ),
    (&["login.microsoftonline.us", "login.usgovcloudapi.net"], "sts.windows.net"),
    (&["login.partner.microsoftonline.cn", "login.chinacloudapi.cn"], "sts.chinacloudapi.cn"),
    (&["login.sovcloud-identity.fr"], "login.sovcloud-identity.fr"),
    (&["login.sovcloud-identity.de"], "login.sovcloud-identity.de"),
    (&["login.sovcloud-identity.sg"], "login.sovcloud-identity.sg"),
];

/// Reads a discovery document that was found at `source` and refuses one that lies: OIDC Discovery 4.3 and RFC 8414 3.3
/// want the issuer to be the prefix the document was found under, and a document that came over https may not send
/// anybody to http.
///
/// `issuers` are those the operator named; a document with one of them is believed about it.
pub(super) fn read(
    document: &[u8],
    source: &Url,
    issuers: &[String],
    fetcher: &Fetcher,
) -> Result<ProviderMetadata, ProviderError> {
    let junk = |why: String| ProviderError::Junk { what: WHAT, why };
    let metadata = ProviderMetadata::parse(document).map_err(|error| junk(error.to_string()))?;
    if !issuers.contains(&metadata.issuer) && !issuer_fits(&metadata.issuer, source) {
        return Err(junk("its issuer is not the one it was found under".to_owned()));
    }
    let secure = source.scheme() == "https";
    for (name, endpoint) in metadata.endpoints() {
        let url = Url::parse(endpoint).map_err(|_| junk(format!("its {name} is no URL")))?;
        match url.scheme() {
            "https" => {}
            "http" if !secure => {}
            _ => return Err(junk(format!("its {name} is not an https URL"))),
        }
        // Browsers go to these two by themselves; the guard is for what this process connects to.
        if !matches!(name, "authorization_endpoint" | "end_session_endpoint") {
            fetcher
                .permits(endpoint)
                .map_err(|_| junk(format!("its {name} is at a place that is not fetched")))?;
        }
    }
    Ok(metadata)
}

/// Whether tokens with this `iss` are the provider's. Byte for byte, but for two providers that are known to differ:
/// Entra's metadata for many tenants has `{tenantid}` where a token has its own tenant, given here as `tid`; Google's
/// tokens may lack the scheme.
pub fn issuer_matches(metadata: &ProviderMetadata, iss: &str, tid: Option<&str>) -> bool {
    if metadata.issuer == "https://accounts.google.com" && iss == "accounts.google.com" {
        return true;
    }
    named_issuer_matches(&metadata.issuer, iss, tid)
}

/// Whether `iss` is the issuer `named`, byte for byte. A name with `{tenantid}` in it is every tenant's, which the token
/// then names in `tid` too.
pub fn named_issuer_matches(named: &str, iss: &str, tid: Option<&str>) -> bool {
    let Some((before, after)) = named.split_once(TENANT) else { return named == iss };
    let plain = |tid: &&str| !tid.is_empty() && tid.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let of_tenant =
        |tid: &str| iss.strip_prefix(before).and_then(|rest| rest.strip_suffix(after)) == Some(tid);
    tid.filter(plain).is_some_and(of_tenant)
}

/// Whether [`issuer_matches`] needs the token's `tid`.
pub fn issuer_may_vary(metadata: &ProviderMetadata) -> bool {
    names_every_tenant(&metadata.issuer)
}

/// Whether an issuer stands for that of every tenant.
pub fn names_every_tenant(issuer: &str) -> bool {
    issuer.contains(TENANT)
}

fn issuer_fits(issuer: &str, source: &Url) -> bool {
    let Ok(url) = Url::parse(issuer) else { return false };
    // RFC 8414 section 2: an issuer has neither query nor fragment; and https vouches for nothing that is not.
    let plain = url.query().is_none() && url.fragment().is_none() && matches!(url.scheme(), "http" | "https");
    if !plain || (source.scheme() == "https" && url.scheme() != "https") {
        return false;
    }
    if entra(&url, source) {
        return true;
    }
    if names_every_tenant(issuer) {
        return every_tenant_fits(issuer, source);
    }
    same_place(&url, source) && path_fits(url.path(), source.path())
}

/// Whether a document that is about every tenant was asked for by a name for all of them. Any other one is one tenant's,
/// who could speak for the others by it.
fn every_tenant_fits(issuer: &str, source: &Url) -> bool {
    let Some((before, after)) = issuer.split_once(TENANT) else { return false };
    // One whole member of the path.
    if !before.ends_with('/') || !(after.is_empty() || after.starts_with('/')) || names_every_tenant(after) {
        return false;
    }
    ANY_TENANT.iter().any(|name| {
        Url::parse(&format!("{before}{name}{after}")).is_ok_and(|asked| {
            same_place(&asked, source)
                && source.path().contains("/.well-known/")
                && path_fits(asked.path(), source.path())
        })
    })
}

/// Entra's documents carry the issuer of the version, cloud or tenant id rather than the one they were asked for by;
/// the host of the question is what vouches for them. openid-client makes the same exception.
fn entra(issuer: &Url, source: &Url) -> bool {
    let (Some(asked), Some(said), "https") = (source.host_str(), issuer.host_str(), issuer.scheme()) else {
        return false;
    };
    if let Some((hosts, sts)) = CLOUDS.iter().find(|(hosts, _)| hosts.contains(&asked)) {
        return hosts.contains(&said) || said == *sts;
    }
    [".b2clogin.com", ".ciamlogin.com"].iter().any(|suffix| asked.ends_with(suffix) && said.ends_with(suffix))
}

/// Scheme, host and port are the same. The names of this machine's loopback are one place: a document from `localhost`
/// asked for as `127.0.0.1` is still the same server's.
fn same_place(issuer: &Url, source: &Url) -> bool {
    let loopback = |url: &Url| match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    };
    let host = issuer.host() == source.host() || (loopback(issuer) && loopback(source));
    host && issuer.scheme() == source.scheme()
        && issuer.port_or_known_default() == source.port_or_known_default()
}

/// The document is where the issuer's path says: behind it (OIDC Discovery 4) or with the well-known part in front
/// (RFC 8414 3.1). A document under a name of its own, as some gateways serve it, has no rule to break.
fn path_fits(issuer: &str, source: &str) -> bool {
    let issuer = issuer.trim_end_matches('/');
    let Some((before, name)) = source.split_once("/.well-known/") else { return true };
    let (name, behind) = name.split_once('/').map_or((name, ""), |(name, behind)| (name, behind));
    match (before, behind) {
        (before, "") => before == issuer && !name.is_empty(),
        ("", behind) => issuer.strip_prefix('/') == Some(behind.trim_end_matches('/')),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(source: &str, issuer: &str) -> bool {
        issuer_fits(issuer, &Url::parse(source).unwrap())
    }

    #[test]
    fn issuers_of_the_known_providers_fit_where_their_documents_are() {
        for (source, issuer) in [
            ("https://t.auth0.com/.well-known/openid-configuration", "https://t.auth0.com/"),
            ("https://o.okta.com/.well-known/openid-configuration", "https://o.okta.com"),
            (
                "https://o.okta.com/oauth2/default/.well-known/openid-configuration?client_id=x",
                "https://o.okta.com/oauth2/default",
            ),
            (
                "https://o.okta.com/.well-known/oauth-authorization-server/oauth2/default",
                "https://o.okta.com/oauth2/default",
            ),
            ("https://kc/realms/r/.well-known/openid-configuration", "https://kc/realms/r"),
            ("https://accounts.google.com/.well-known/openid-configuration", "https://accounts.google.com"),
            (
                "https://login.microsoftonline.com/common/v2.0/.well-known/openid-configuration",
                "https://login.microsoftonline.com/{tenantid}/v2.0",
            ),
            (
                "https://login.microsoftonline.com/contoso.com/.well-known/openid-configuration",
                "https://sts.windows.net/00000000-0000-0000-0000-000000000001/",
            ),
            (
                "https://login.windows.net/common/.well-known/openid-configuration",
                "https://sts.windows.net/{tenantid}/",
            ),
            (
                "https://login.microsoftonline.us/organizations/v2.0/.well-known/openid-configuration",
                "https://login.microsoftonline.us/{tenantid}/v2.0",
            ),
            (
                "https://login.chinacloudapi.cn/common/.well-known/openid-configuration",
                "https://sts.chinacloudapi.cn/{tenantid}/",
            ),
            (
                "https://login.sovcloud-identity.de/common/v2.0/.well-known/openid-configuration",
                "https://login.sovcloud-identity.de/{tenantid}/v2.0",
            ),
            (
                "https://entra.corp.example/common/v2.0/.well-known/openid-configuration",
                "https://entra.corp.example/{tenantid}/v2.0",
            ),
            (
                "http://127.0.0.1:8080/organizations/.well-known/openid-configuration",
                "http://localhost:8080/{tenantid}",
            ),
            (
                "https://c.b2clogin.com/c.onmicrosoft.com/v2.0/.well-known/openid-configuration?p=b2c_1",
                "https://c.b2clogin.com/00000000-0000-0000-0000-000000000001/v2.0/",
            ),
            ("http://localhost:9400/.well-known/openid-configuration", "http://localhost:9400/"),
            ("http://127.0.0.1:9400/.well-known/openid-configuration", "http://localhost:9400/"),
            ("https://op.example/custom/oidc.json", "https://op.example/tenant"),
        ] {
            assert!(fits(source, issuer), "{issuer} at {source}");
        }
    }

    #[test]
    fn r35_an_issuer_from_elsewhere_is_refused() {
        let source = "https://op.example/a/.well-known/openid-configuration";
        for issuer in [
            "https://evil.example/a",
            "https://op.example/b",
            "https://op.example",
            "https://op.example:444/a",
            "http://op.example/a",
            "https://op.example/a?x",
            "https://op.example/a#x",
            "https://op.example/a/{tenantid}",
            "https://login.microsoftonline.com/a",
            "op.example/a",
            "",
        ] {
            assert!(!fits(source, issuer), "{issuer}");
        }
        let entra = "https://login.microsoftonline.com/common/v2.0/.well-known/openid-configuration";
        assert!(!fits(entra, "https://evil.example/{tenantid}/v2.0"));
        assert!(!fits(entra, "http://login.microsoftonline.com/{tenantid}/v2.0"));
        assert!(!fits(entra, "https://login.partner.microsoftonline.cn/{tenantid}/v2.0"));
        // Nobody speaks for every tenant but who was asked for all of them.
        for (source, issuer) in [
            ("/a/v2.0/.well-known/openid-configuration", "https://op.example/{tenantid}/v2.0"),
            ("/common/v2.0/.well-known/openid-configuration", "https://op.example/{tenantid}/v1.0"),
            ("/common/v2.0/.well-known/openid-configuration", "https://evil.example/{tenantid}/v2.0"),
            ("/common/a/.well-known/openid-configuration", "https://op.example/common/{tenantid}"),
            ("/common/.well-known/openid-configuration", "https://op.example/x{tenantid}"),
            ("/common/common/.well-known/openid-configuration", "https://op.example/{tenantid}/{tenantid}"),
            ("/common/oidc.json", "https://op.example/{tenantid}"),
            ("/custom/oidc.json", "https://op.example/{tenantid}"),
        ] {
            assert!(!fits(&format!("https://op.example{source}"), issuer), "{issuer} at {source}");
        }
        assert!(!fits(
            "https://a.b2clogin.com.evil/.well-known/openid-configuration",
            "https://b.b2clogin.com/"
        ));
        assert!(!fits("http://127.0.0.1:9400/.well-known/openid-configuration", "http://localhost:9401/"));
    }

    #[tokio::test]
    async fn r35_what_was_found_over_https_sends_nobody_to_http_or_inside() {
        let handle = tokio::runtime::Handle::current();
        let fetcher = Fetcher::new(&fetch::Policy::default(), handle, base::Clock::system()).unwrap();
        let source = Url::parse("https://op.example/.well-known/openid-configuration").unwrap();
        let read = |name: &str, endpoint: &str| {
            let document = serde_json::json!({ "issuer": "https://op.example", name: endpoint });
            super::read(document.to_string().as_bytes(), &source, &[], &fetcher)
        };
        for name in ["jwks_uri", "token_endpoint", "authorization_endpoint"] {
            assert!(read(name, "https://keys.example/x").is_ok());
            assert!(read(name, "http://op.example/x").is_err(), "{name}");
        }
        for inside in ["https://127.0.0.1/x", "https://169.254.169.254/x", "https://user@op.example/"] {
            assert!(read("jwks_uri", inside).is_err(), "{inside}");
        }
    }

    #[test]
    fn a_tokens_issuer_is_compared_byte_for_byte_but_for_the_known_exceptions() {
        let metadata =
            |issuer: &str| ProviderMetadata { issuer: issuer.to_owned(), ..ProviderMetadata::default() };
        let auth0 = metadata("https://t.auth0.com/");
        assert!(issuer_matches(&auth0, "https://t.auth0.com/", None));
        assert!(!issuer_matches(&auth0, "https://t.auth0.com", None));
        let google = metadata("https://accounts.google.com");
        assert!(issuer_matches(&google, "accounts.google.com", None));
        let entra = metadata("https://login.microsoftonline.com/{tenantid}/v2.0");
        assert!(issuer_may_vary(&entra) && !issuer_may_vary(&auth0));
        let of = |tenant: &str| format!("https://login.microsoftonline.com/{tenant}/v2.0");
        assert!(issuer_matches(&entra, &of("t-1"), Some("t-1")));
        assert!(!issuer_matches(&entra, &of("t-1"), Some("t-2")));
        assert!(!issuer_matches(&entra, &of("t-1"), None));
        assert!(!issuer_matches(&entra, &of("a/b"), Some("a/b")));
        assert!(!issuer_matches(&entra, &of("{tenantid}"), Some("{tenantid}")));
    }
}
