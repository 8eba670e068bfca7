//! Links that prove an address or set a password, and the pages behind them.

use std::sync::Arc;

use base::{Secret, UnixMillis};
use url::Url;

use crate::{
    Browser, IdpError, Mail, Site,
    idp::Core,
    login::SignUpError,
    model::{Client, Connection, LogEvent, LogoutInitiator, Ticket, TicketKind, TicketTerms, User, fold},
    policy,
};

/// Seconds a link is good for that an administrator asks for: Auth0's five days.
pub(crate) const TICKET_TTL: i64 = 432_000;
/// Seconds a link is good for that somebody asked for who only typed an address: an hour.
const RESET_TTL: i64 = 3600;
/// Mails to one address within a quarter of an hour.
const MAX_MAILS: i64 = 5;
/// Characters of the longest secret of a link.
const MAX_TOKEN: usize = 256;

/// Verification of e-mail addresses and change of passwords by mail.
#[derive(Clone)]
pub struct Tickets {
    core: Arc<Core>,
}

/// What became of a link.
#[derive(Debug)]
pub enum TicketOutcome {
    /// It did what it was for; the browser goes there, or gets to see a page.
    Done(Option<String>),
    /// It was used, replaced, has expired, or never was.
    Invalid,
    /// The password is not good enough; the link is as good as before.
    Refused(SignUpError),
}

impl Tickets {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// Whether mail goes anywhere: without, nobody can ask for any.
    pub fn mails(&self) -> bool {
        self.core.mailer.is_some()
    }

    /// Proves the address that the link was sent to.
    pub async fn verify_email(
        &self,
        site: &Site,
        browser: &Browser,
        token: &str,
    ) -> Result<TicketOutcome, IdpError> {
        let Some((ticket, user)) = self.valid(site, token, TicketKind::EmailVerification).await? else {
            return Ok(TicketOutcome::Invalid);
        };
        // Proven is the address that mail was sent to, and no other.
        let same = user.email.as_deref().is_some_and(|email| fold(email) == fold(&ticket.terms.email));
        if !same || !self.take(site, &ticket).await? {
            return Ok(TicketOutcome::Invalid);
        }
        let now = self.core.clock.now().0;
        let proven = User { email_verified: true, updated_at: now, ..user };
        self.core.repository.update_user(&site.tenant.id, &proven).await?;
        self.core.note(site, Some(browser), LogEvent::new("sv").about(&proven.user_id));
        Ok(TicketOutcome::Done(target(
            &ticket,
            "Your email was verified. You can continue using the application.",
        )))
    }

    /// The address whose password a link changes; `None` where the link is no good.
    pub async fn reset_page(&self, site: &Site, token: &str) -> Result<Option<String>, IdpError> {
        let found = self.valid(site, token, TicketKind::PasswordChange).await?;
        Ok(found.map(|(_, user)| user.email.as_deref().unwrap_or_else(|| user.display_name()).to_owned()))
    }

    /// Sets a new password. Everything that the old one opened ends.
    pub async fn reset(
        &self,
        site: &Site,
        browser: &Browser,
        token: &str,
        password: Secret<String>,
    ) -> Result<TicketOutcome, IdpError> {
        let Some((ticket, user)) = self.valid(site, token, TicketKind::PasswordChange).await? else {
            return Ok(TicketOutcome::Invalid);
        };
        let (tenant, repository) = (&site.tenant.id, &self.core.repository);
        let connection = repository.connection(tenant, &user.connection).await?;
        let Some(connection) = connection.filter(|known| known.name == user.connection) else {
            return Ok(TicketOutcome::Invalid);
        };
        if let Err(error) = policy::check_password(&connection, &user, &password) {
            return Ok(TicketOutcome::Refused(error));
        }
        if self.core.is_remembered(site, &connection, &user.user_id, &password).await? {
            return Ok(TicketOutcome::Refused(SignUpError::UsedPassword));
        }
        let hash = self.core.hasher.hash(password).await?;
        if !self.take(site, &ticket).await? {
            return Ok(TicketOutcome::Invalid);
        }
        let now = self.core.clock.now();
        self.core.change_password(site, &connection, &user.user_id, &hash).await?;
        self.core.end_sessions_of(site, &user.user_id, LogoutInitiator::PasswordChanged).await?;
        repository.end_everything(tenant, &user.user_id, now).await?;
        self.core.unlock(site, &crate::login::account_of(&user.connection, Some(&user), "")).await?;
        let same = user.email.as_deref().is_some_and(|email| fold(email) == fold(&ticket.terms.email));
        if ticket.terms.mark_email_as_verified && same && !user.email_verified {
            let proven = User { email_verified: true, updated_at: now.0, ..user.clone() };
            repository.update_user(tenant, &proven).await?;
        }
        self.core.note(site, Some(browser), LogEvent::new("scp").about(&user.user_id));
        Ok(TicketOutcome::Done(target(
            &ticket,
            "You can now log in to the application with the new password.",
        )))
    }

    /// Mails a link to whoever has this address in a connection. Takes the same steps and says the same where nobody has.
    pub async fn request_reset(
        &self,
        site: &Site,
        browser: &Browser,
        connection: &Connection,
        email: &str,
        client_id: &str,
    ) -> Result<(), IdpError> {
        let (tenant, email) = (&site.tenant.id, fold(email));
        if !policy::is_email(&email) {
            return Ok(());
        }
        let found = self.core.repository.user_by_identifier(tenant, &connection.name, &email).await?;
        let user = found
            .map(|(user, _)| user)
            .filter(|user| !user.blocked && user.email.as_deref().is_some_and(|known| fold(known) == email));
        // Beyond, the link that was mailed last stays good.
        let many = self.core.count_mails(site, &email).await? > MAX_MAILS;
        let user = user.filter(|_| !many);
        let user_id = user.as_ref().map_or("", |user| user.user_id.as_str());
        let client = self.core.repository.client(tenant, client_id).await?;
        let login_url = client.and_then(|client| client.login_url(&site.issuer(), &email));
        let terms = TicketTerms {
            email: email.clone(),
            login_url,
            mark_email_as_verified: true,
            ..TicketTerms::default()
        };
        // A ticket of nobody opens nothing; making it takes as long as making one that does.
        let url = self.core.new_ticket(site, TicketKind::PasswordChange, user_id, terms, RESET_TTL).await?;
        let Some(user) = user else {
            let event = LogEvent::new("fcpr").described("No such user, or too many mails.").named(&email);
            self.core.note(site, Some(browser), event.by(client_id));
            return Ok(());
        };
        self.core.note(site, Some(browser), LogEvent::new("scpr").about(&user.user_id).by(client_id));
        let name = site.tenant.settings.friendly_name.as_deref().unwrap_or(&site.tenant.name);
        let text = format!(
            "Somebody asked for a new password for your account at {name}.\n\nTo choose one, open this page within an \
             hour:\n\n{url}\n\nIf it was not you, ignore this mail: nothing changes.\n"
        );
        self.core.mail(user.email.as_deref().unwrap_or(&email), "Choose a new password", text);
        Ok(())
    }

    async fn valid(
        &self,
        site: &Site,
        token: &str,
        kind: TicketKind,
    ) -> Result<Option<(Ticket, User)>, IdpError> {
        if token.is_empty() || token.len() > MAX_TOKEN {
            return Ok(None);
        }
        let (tenant, now) = (&site.tenant.id, self.core.clock.now());
        for digest in self.core.digester.all(token) {
            let Some(ticket) = self.core.repository.ticket(tenant, &digest, kind, now).await? else {
                continue;
            };
            let user = self.core.repository.user(tenant, &ticket.user_id).await?;
            return Ok(user.filter(|user| !user.blocked).map(|user| (ticket, user)));
        }
        Ok(None)
    }

    async fn take(&self, site: &Site, ticket: &Ticket) -> Result<bool, IdpError> {
        let now = self.core.clock.now();
        Ok(self.core.repository.use_ticket(&site.tenant.id, &ticket.token, now).await?)
    }
}

impl Client {
    /// Where a login of the client's begins that this provider asks for: `iss` says who, `login_hint` whom for.
    fn login_url(&self, issuer: &str, login_hint: &str) -> Option<String> {
        let mut url = Url::parse(self.initiate_login_uri.as_deref()?).ok()?;
        url.query_pairs_mut().append_pair("iss", issuer).append_pair("login_hint", login_hint);
        Some(url.into())
    }
}

impl Core {
    /// Makes a ticket, and its link: always at the origin that was configured, whatever the request said (O23).
    pub(crate) async fn new_ticket(
        &self,
        site: &Site,
        kind: TicketKind,
        user_id: &str,
        terms: TicketTerms,
        seconds: i64,
    ) -> Result<String, IdpError> {
        let token = Secret::new(self.random.token(32));
        let ticket = Ticket {
            token: self.digester.digest(token.expose()),
            kind,
            user_id: user_id.to_owned(),
            terms,
            expires_at: UnixMillis(self.clock.now().0.saturating_add(seconds.saturating_mul(1000))).0,
        };
        self.repository.create_ticket(&site.tenant.id, &ticket).await?;
        let path = match kind {
            TicketKind::EmailVerification => "/u/email-verification",
            TicketKind::PasswordChange => "/u/reset-verify",
        };
        Ok(format!("{}?ticket={}#", site.url(path), token.expose()))
    }

    /// Mails a user a link that proves the address. Nothing where there is no mail.
    pub(crate) async fn mail_verification(&self, site: &Site, user: &User) -> Result<(), IdpError> {
        let Some(email) = user.email.as_deref().filter(|_| self.mailer.is_some()) else { return Ok(()) };
        if self.count_mails(site, &fold(email)).await? > MAX_MAILS {
            return Ok(());
        }
        let terms = TicketTerms { email: email.to_owned(), ..TicketTerms::default() };
        let kind = TicketKind::EmailVerification;
        let url = self.new_ticket(site, kind, &user.user_id, terms, TICKET_TTL).await?;
        let name = site.tenant.settings.friendly_name.as_deref().unwrap_or(&site.tenant.name);
        let text = format!(
            "Welcome to {name}.\n\nTo confirm that this is your address, open this page:\n\n{url}\n\nIf you did not sign \
             up, ignore this mail.\n"
        );
        self.mail(email, "Confirm your e-mail address", text);
        Ok(())
    }

    fn mail(&self, to: &str, subject: &str, text: String) {
        if let Some(mailer) = &self.mailer {
            // Addresses were checked when users were made; a line end in one would begin another header (O39).
            let to = to.chars().filter(|c| !c.is_control()).collect();
            mailer.take(Mail { to, subject: subject.to_owned(), text: Secret::new(text) });
        }
    }

    /// Counts a mail to an address; how many that makes in a quarter of an hour.
    async fn count_mails(&self, site: &Site, address: &str) -> Result<i64, IdpError> {
        self.count_of(site, &format!("mail/{address}")).await
    }
}

/// Where the browser goes, told as Auth0 tells it.
fn target(ticket: &Ticket, message: &str) -> Option<String> {
    let Some(result_url) = ticket.terms.result_url.as_deref() else { return ticket.terms.login_url.clone() };
    let mut url = Url::parse(result_url).ok()?;
    url.query_pairs_mut()
        .append_pair("supportSignUp", "true")
        .append_pair("supportForgotPassword", "true")
        .append_pair("message", message)
        .append_pair("success", "true")
        .append_pair("code", "success");
    if ticket.terms.include_email_in_redirect {
        url.query_pairs_mut().append_pair("email", &ticket.terms.email);
    }
    Some(url.into())
}
