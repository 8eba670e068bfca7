//! Which APIs a request is for: Auth0's `audience` and the resource indicators of RFC 8707.

use oauth::{ErrorCode, OAuthError, Params};
use url::Url;

use crate::{
    IdpError, Site,
    idp::Core,
    model::{Grant, ResourceServer},
};

/// APIs that one request may name.
const MAX_TARGETS: usize = 10;

/// The APIs of a request, each by the name it was asked for.
#[derive(Debug, Default)]
pub(crate) struct Targets(Vec<(String, ResourceServer)>);

impl Targets {
    /// The names.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// The APIs.
    pub(crate) fn apis(&self) -> impl Iterator<Item = &ResourceServer> {
        self.0.iter().map(|(_, api)| api)
    }

    /// Name and API.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &ResourceServer)> {
        self.0.iter().map(|(name, api)| (name.as_str(), api))
    }
}

impl Core {
    /// The APIs that a request names; the tenant's default where it names none. `Err` is for the client.
    pub(crate) async fn targets(
        &self,
        site: &Site,
        params: &Params<'_>,
    ) -> Result<Result<Targets, OAuthError>, IdpError> {
        let resources: Vec<&str> = params.values("resource").collect();
        if let Some(bad) = resources.iter().find(|name| !is_resource(name)) {
            let shown: String = bad.chars().take(100).collect();
            return Ok(Err(no_target(&format!("{shown} is not an absolute URI without a fragment."))));
        }
        let default = site.tenant.settings.default_audience.as_deref().filter(|_| resources.is_empty());
        // Auth0's libraries name /userinfo as audience for a token that is good for it alone.
        let audience = params.value("audience").or(default).filter(|name| *name != site.userinfo_audience());
        let mut targets = Targets::default();
        for (name, is_resource) in audience
            .map(|name| (name, false))
            .into_iter()
            .chain(resources.into_iter().map(|name| (name, true)))
        {
            if targets.names().any(|known| known == name) {
                continue;
            }
            match self.api(site, Some(name)).await? {
                Some(api) => targets.0.push((name.to_owned(), api)),
                None if is_resource => return Ok(Err(no_target(&format!("There is no API {name}.")))),
                None => {
                    let text = format!("Service not found: {name}");
                    return Ok(Err(OAuthError::new(ErrorCode::AccessDenied, &text)));
                }
            }
            if targets.0.len() > MAX_TARGETS {
                return Ok(Err(no_target("The request names too many APIs.")));
            }
        }
        Ok(Ok(targets))
    }

    /// The APIs of names that were granted before and are still there.
    pub(crate) async fn targets_of<'a>(
        &self,
        site: &Site,
        names: impl Iterator<Item = &'a str>,
    ) -> Result<Targets, IdpError> {
        let mut targets = Targets::default();
        for name in names {
            if let Some(api) = self.api(site, Some(name)).await? {
                targets.0.push((name.to_owned(), api));
            }
        }
        Ok(targets)
    }
}

impl Grant {
    /// The grant as one token request uses it: for the API that it names among those granted, with `resource` (RFC 8707
    /// section 2.2) or `audience`; the first one where it names none.
    ///
    /// # Errors
    ///
    /// `invalid_target`.
    pub(crate) fn aimed(&self, site: &Site, params: &Params<'_>) -> Result<Self, OAuthError> {
        let Some(name) = single_target(params)? else { return Ok(self.clone()) };
        let mut granted = self.audience.iter().chain(&self.resources);
        // The Management API has several names.
        let same = |known: &String| {
            known == name || (site.is_management_audience(known) && site.is_management_audience(name))
        };
        match granted.find(|known| same(known)) {
            Some(known) => Ok(Self { audience: Some(known.clone()), ..self.clone() }),
            None if self.audience.is_none() && site.is_userinfo_audience(name) => Ok(self.clone()),
            None => Err(no_target("The request names an API that was not granted.")),
        }
    }
}

/// The one API that a request names, where it can name one only: by `audience`, or by `resource` (RFC 8707, RFC 8693
/// section 2.1).
///
/// # Errors
///
/// `invalid_target`.
pub(crate) fn single_target<'p>(params: &'p Params<'_>) -> Result<Option<&'p str>, OAuthError> {
    let mut resources = params.values("resource");
    let target = match (params.value("audience"), resources.next(), resources.next()) {
        (_, _, Some(_)) => return Err(no_target("A token is for one resource: name one at a time.")),
        (Some(audience), Some(resource), None) if audience != resource => {
            return Err(no_target("audience and resource name two APIs."));
        }
        (_, Some(resource), None) if !is_resource(resource) => {
            return Err(no_target("A resource is an absolute URI without a fragment."));
        }
        (audience, resource, None) => resource.or(audience),
    };
    Ok(target)
}

/// RFC 8707 section 2: an absolute URI, without a fragment.
fn is_resource(name: &str) -> bool {
    name.len() <= 2048 && !name.contains('#') && Url::parse(name).is_ok()
}

fn no_target(description: &str) -> OAuthError {
    OAuthError::new(ErrorCode::InvalidTarget, description)
}
