//! Who a user is to a client: the same for all of them, or another one for each sector (OpenID Connect Core 8).

use serde_json::Value;
use url::Url;

use crate::{
    IdpError, Site,
    idp::Core,
    model::{Client, SubjectKind},
};

impl Client {
    /// The host that its pairwise subjects are for; `None` where they are public.
    pub(crate) fn sector(&self) -> Option<String> {
        if self.subject_type != Some(SubjectKind::Pairwise) {
            return None;
        }
        let named = self.sector_identifier_uri.as_ref().or_else(|| self.callbacks.first());
        let host = named.and_then(|uri| host_of(uri));
        // A client without any callback shares its subjects with nobody.
        Some(host.unwrap_or_else(|| format!("client:{}", self.client_id)))
    }

    /// Whether nothing has changed that [`Core::sector_problem`] asks for.
    pub(crate) fn names_same_sector(&self, other: &Self) -> bool {
        self.subject_type == other.subject_type
            && self.sector_identifier_uri == other.sector_identifier_uri
            && self.callbacks == other.callbacks
    }
}

impl Core {
    /// The user's `sub` in everything that is for this client.
    pub(crate) async fn subject(
        &self,
        site: &Site,
        client: &Client,
        user_id: &str,
    ) -> Result<String, IdpError> {
        let Some(sector) = client.sector() else { return Ok(user_id.to_owned()) };
        let fresh = self.random.alphanumeric(43);
        Ok(self.repository.pairwise_subject(&site.tenant.id, &sector, user_id, &fresh).await?)
    }

    /// The user behind a `sub`. Users' own ids have a bar in them, pairwise ones have none.
    pub(crate) async fn user_of_subject(
        &self,
        site: &Site,
        subject: &str,
    ) -> Result<Option<String>, IdpError> {
        if subject.contains('|') || subject.len() > 255 {
            return Ok(Some(subject.to_owned()));
        }
        Ok(self.repository.user_of_pairwise_subject(&site.tenant.id, subject).await?)
    }

    /// Why the client cannot have pairwise subjects as it is; `None` where it can. A sector is one host, or the document
    /// at `sector_identifier_uri` names every callback (OpenID Connect Core 8.1).
    pub(crate) async fn sector_problem(&self, client: &Client) -> Option<&'static str> {
        if let Some(uri) = &client.sector_identifier_uri {
            let document = self.document(uri, "application/json").await;
            let Some(Value::Array(listed)) = document.and_then(|bytes| jose::parse_json(&bytes, 2).ok())
            else {
                return Some("The document cannot be fetched, or is not a JSON array");
            };
            let lists = |callback: &String| listed.iter().any(|one| one.as_str() == Some(callback));
            return (!client.callbacks.iter().all(lists))
                .then_some("The document does not list every callback");
        }
        if client.subject_type != Some(SubjectKind::Pairwise) {
            return None;
        }
        let mut hosts = client.callbacks.iter().map(|callback| host_of(callback));
        let first = hosts.next().flatten();
        hosts
            .any(|host| host != first)
            .then_some("Pairwise subjects of callbacks on several hosts need a sector_identifier_uri")
    }
}

fn host_of(uri: &str) -> Option<String> {
    Url::parse(uri).ok()?.host_str().map(str::to_owned)
}
