use std::sync::Arc;

use serde_json::Value;

use super::{
    ManagementError, Object,
    wording::{additional, invalid},
};
use crate::{
    Site,
    idp::Core,
    model::{TicketKind, TicketTerms, User, fold},
    tickets::TICKET_TTL,
    urls,
};

/// Thirty days.
const MAX_TTL: i64 = 2_592_000;

/// `/tickets`: links that administrators send themselves, and the mail that asks to confirm an address.
#[derive(Clone)]
pub struct TicketService {
    core: Arc<Core>,
}

impl TicketService {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// A link that proves a user's address (201).
    pub async fn email_verification(&self, site: &Site, mut body: Object) -> Result<String, ManagementError> {
        let user_id = text(&mut body, "user_id")?
            .ok_or_else(|| invalid("user_id", "Missing required property: user_id"))?;
        let order = order(&mut body)?;
        only(&body)?;
        let user = self.user(site, &user_id).await?;
        let email = user.email.clone().ok_or_else(|| invalid("user_id", "The user has no e-mail address"))?;
        self.check_client(site, order.client_id.as_deref()).await?;
        let terms = TicketTerms { email, ..order.terms };
        let kind = TicketKind::EmailVerification;
        Ok(self.core.new_ticket(site, kind, &user_id, terms, order.seconds).await?)
    }

    /// A link that sets a user's password (201).
    pub async fn password_change(&self, site: &Site, mut body: Object) -> Result<String, ManagementError> {
        let user_id = text(&mut body, "user_id")?;
        let (connection, email) = (text(&mut body, "connection_id")?, text(&mut body, "email")?);
        if body.contains_key("new_password") {
            let text = "A new password cannot be given in advance.";
            return Err(ManagementError::Unsupported(text.to_owned()));
        }
        let mark = flag(&mut body, "mark_email_as_verified")?;
        let order = order(&mut body)?;
        only(&body)?;
        let user = match (user_id, connection, email) {
            (Some(user_id), None, None) => self.user(site, &user_id).await?,
            (None, Some(connection), Some(email)) => {
                let repository = &self.core.repository;
                let found = repository.connection(&site.tenant.id, &connection).await?;
                let name = found.map(|connection| connection.name).ok_or(ManagementError::NotFound {
                    code: Some("inexistent_connection"),
                    message: "The connection does not exist",
                })?;
                let found = repository.user_by_identifier(&site.tenant.id, &name, &fold(&email)).await?;
                found.map(|(user, _)| user).ok_or(NO_USER)?
            }
            _ => return Err(invalid("user_id", "Expected user_id, or connection_id and email")),
        };
        self.check_client(site, order.client_id.as_deref()).await?;
        let email = user.email.clone().unwrap_or_default();
        let terms = TicketTerms { email, mark_email_as_verified: mark, ..order.terms };
        let kind = TicketKind::PasswordChange;
        Ok(self.core.new_ticket(site, kind, &user.user_id, terms, order.seconds).await?)
    }

    async fn user(&self, site: &Site, id: &str) -> Result<User, ManagementError> {
        self.core.repository.user(&site.tenant.id, id).await?.ok_or(NO_USER)
    }

    async fn check_client(&self, site: &Site, id: Option<&str>) -> Result<(), ManagementError> {
        let Some(id) = id else { return Ok(()) };
        self.core.repository.client(&site.tenant.id, id).await?.map(|_| ()).ok_or(ManagementError::NotFound {
            code: Some("inexistent_client"),
            message: "The client does not exist",
        })
    }
}

const NO_USER: ManagementError =
    ManagementError::NotFound { code: Some("inexistent_user"), message: "The user does not exist." };

struct Order {
    terms: TicketTerms,
    seconds: i64,
    client_id: Option<String>,
}

/// What both kinds of tickets can be given.
fn order(body: &mut Object) -> Result<Order, ManagementError> {
    let result_url = text(body, "result_url")?.filter(|url| !url.is_empty());
    let web = |url: &String| url.starts_with("https://") || url.starts_with("http://");
    if result_url.as_ref().is_some_and(|url| !web(url) || !urls::is_callback(url)) {
        return Err(invalid("result_url", "Expected an http or https URL"));
    }
    let seconds = match body.shift_remove("ttl_sec") {
        None | Some(Value::Null) => TICKET_TTL,
        Some(value) => match value.as_i64() {
            // Auth0 takes 0 for the default.
            Some(0) => TICKET_TTL,
            Some(seconds) if (1..=MAX_TTL).contains(&seconds) => seconds,
            _ => return Err(invalid("ttl_sec", &format!("Expected 1 to {MAX_TTL}"))),
        },
    };
    let terms = TicketTerms {
        result_url,
        include_email_in_redirect: flag(body, "includeEmailInRedirect")?,
        ..TicketTerms::default()
    };
    for name in ["organization_id", "identity"] {
        if body.shift_remove(name).is_some_and(|value| !value.is_null()) {
            return Err(ManagementError::Unsupported(format!("The property {name} is not supported.")));
        }
    }
    Ok(Order { terms, seconds, client_id: text(body, "client_id")? })
}

fn only(body: &Object) -> Result<(), ManagementError> {
    body.keys().next().map_or(Ok(()), |name| Err(additional(name)))
}

fn text(body: &mut Object, name: &str) -> Result<Option<String>, ManagementError> {
    match body.shift_remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.len() <= 2048 => Ok(Some(text)),
        Some(_) => Err(invalid(name, "Expected a string of up to 2048 characters")),
    }
}

fn flag(body: &mut Object, name: &str) -> Result<bool, ManagementError> {
    match body.shift_remove(name) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(value)) => Ok(value),
        Some(_) => Err(invalid(name, "Expected type boolean")),
    }
}
