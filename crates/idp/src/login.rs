use std::{sync::Arc, time::Duration};

use base::Secret;
use oauth::{ErrorCode, OAuthError};

use crate::{
    AuthorizeOutcome, Browser, IdpError, Site,
    authorization::expired,
    idp::Core,
    model::{AuthorizeRequest, Client, Connection, LogEvent, Transaction, User, fold},
    password::imported,
};

/// Bytes of the longest e-mail address (RFC 3696, erratum 1690), and more than any username.
const MAX_IDENTIFIER: usize = 320;

/// Login and sign-up pages of a transaction.
#[derive(Clone)]
pub struct Login {
    core: Arc<Core>,
}

/// What a login or sign-up page shows.
#[derive(Clone, Debug)]
pub struct LoginPage {
    /// Who the login is for.
    pub client: Client,
    /// The database connection that is asked; `None` where the client has none: nobody can log in.
    pub connection: Option<Connection>,
    /// Prefills the name.
    pub login_hint: Option<String>,
    /// Preferred languages, as the request said.
    pub ui_locales: Option<String>,
    /// Whether there is a sign-up page.
    pub signup: bool,
}

/// What became of a login.
#[derive(Debug)]
pub enum LoginOutcome {
    /// Set the session cookie, then redirect to `/authorize/resume?state=handle`.
    Done(NewSession),
    /// The transaction is over, expired, or another browser's: an error page.
    Expired,
    /// Name or password is wrong: the page again. Which of the two is never said.
    Wrong,
    /// Too many failures for this user from this address; answers 429.
    Blocked,
    /// The password is right, but the user is blocked.
    UserBlocked,
}

/// What became of a sign-up.
#[derive(Debug)]
pub enum SignUpOutcome {
    /// As [`LoginOutcome::Done`].
    Done(NewSession),
    /// As [`LoginOutcome::Expired`].
    Expired,
    /// The connection has no sign-up.
    Closed,
    /// The page again, with what is wrong.
    Refused(SignUpError),
}

/// Why a sign-up is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignUpError {
    /// No e-mail address that mail could reach.
    #[error("Enter a valid e-mail address.")]
    Email,
    /// The connection needs a username of its length and characters.
    #[error("Enter a valid username.")]
    Username,
    /// The password breaks the policy's rules, each with its words.
    #[error("The password is too weak: {}", .0.join("; "))]
    WeakPassword(Vec<String>),
    /// The password is one of the last that the user had.
    #[error("You have used this password before. Choose another one.")]
    UsedPassword,
    /// The user exists, and the tenant says so (`enable_public_signup_user_exists_error`).
    #[error("This user already exists.")]
    Exists,
    /// The user exists, and the tenant does not say so.
    #[error("Something went wrong. Try another address, or log in.")]
    Rejected,
}

/// A session that was just made.
#[derive(Debug)]
pub struct NewSession {
    /// The session cookie's value. New at every login, whatever the browser sent.
    pub cookie: Secret<String>,
    /// How long the browser is to keep it; `None` until it is closed.
    pub max_age: Option<Duration>,
    /// What the provider's script in clients' pages knows the session by.
    pub browser_state: String,
}

impl Login {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// What the page shows; `None` where the transaction is over, expired, or another browser's.
    pub async fn page(
        &self,
        site: &Site,
        handle: &str,
        browser: &Browser,
    ) -> Result<Option<LoginPage>, IdpError> {
        let Some(Asked { transaction, client, connection }) = self.asked(site, handle, browser).await? else {
            return Ok(None);
        };
        let signup = connection.as_ref().is_some_and(|connection| !connection.options.disable_signup);
        let AuthorizeRequest { login_hint, ui_locales, .. } = transaction.request;
        Ok(Some(LoginPage { client, connection, login_hint, ui_locales, signup }))
    }

    /// Checks name (e-mail address or username) and password.
    pub async fn with_password(
        &self,
        site: &Site,
        handle: &str,
        browser: &Browser,
        identifier: &str,
        password: &Secret<String>,
    ) -> Result<LoginOutcome, IdpError> {
        let Some(Asked { transaction, connection, client }) = self.asked(site, handle, browser).await? else {
            return Ok(LoginOutcome::Expired);
        };
        let Some(connection) = connection else { return Ok(LoginOutcome::Wrong) };
        let checked = self.core.check_password(site, &connection, browser, identifier, password).await?;
        let (kind, user_id, outcome) = match checked {
            PasswordCheck::Locked(user_id) => ("limit_wc", user_id, LoginOutcome::Blocked),
            PasswordCheck::Spraying => ("limit_mu", None, LoginOutcome::Blocked),
            PasswordCheck::Wrong(Some(user_id)) => ("fp", Some(user_id), LoginOutcome::Wrong),
            PasswordCheck::Wrong(None) => ("fu", None, LoginOutcome::Wrong),
            PasswordCheck::Right(user) if user.blocked => {
                ("f", Some(user.user_id), LoginOutcome::UserBlocked)
            }
            PasswordCheck::Right(user) => {
                let session = self.enter(site, &transaction, browser, &user).await?;
                ("s", Some(user.user_id), LoginOutcome::Done(session))
            }
        };
        let mut event = LogEvent::new(kind).by(&client.client_id).named(&fold(identifier));
        event.user_id = user_id;
        self.note(site, browser, event, &client, &connection);
        Ok(outcome)
    }

    /// Makes a user and logs it in.
    pub async fn sign_up(
        &self,
        site: &Site,
        handle: &str,
        browser: &Browser,
        email: &str,
        username: Option<&str>,
        password: &Secret<String>,
    ) -> Result<SignUpOutcome, IdpError> {
        let Some(Asked { transaction, connection, client }) = self.asked(site, handle, browser).await? else {
            return Ok(SignUpOutcome::Expired);
        };
        let Some(connection) = connection.filter(|connection| !connection.options.disable_signup) else {
            return Ok(SignUpOutcome::Closed);
        };
        let now = self.core.clock.now().0;
        let user = User {
            user_id: format!("auth0|{}", self.core.random.hex(12)),
            connection: connection.name.clone(),
            email: Some(email.trim().to_owned()),
            username: username
                .map(|name| name.trim().to_owned())
                .filter(|_| connection.options.requires_username),
            created_at: now,
            updated_at: now,
            ..User::default()
        };
        match self.register(site, browser, &client, &connection, user, password).await? {
            Ok(user) => Ok(SignUpOutcome::Done(self.enter(site, &transaction, browser, &user).await?)),
            Err(error) => Ok(SignUpOutcome::Refused(error)),
        }
    }

    /// Ends the transaction because its person does not want to log in: the client is told (RFC 6749 section 4.1.2.1).
    pub async fn cancel(
        &self,
        site: &Site,
        handle: &str,
        browser: &Browser,
    ) -> Result<AuthorizeOutcome, IdpError> {
        let Some(Asked { transaction, client, .. }) = self.asked(site, handle, browser).await? else {
            return Ok(expired());
        };
        let error = OAuthError::new(ErrorCode::AccessDenied, "User did not log in");
        self.core.refuse(site, &client, &transaction, &error).await
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.core
    }

    pub(crate) fn note(
        &self,
        site: &Site,
        browser: &Browser,
        event: LogEvent,
        client: &Client,
        connection: &Connection,
    ) {
        let (client_name, connection) = (Some(client.name.clone()), Some(connection.name.clone()));
        self.core.note(site, Some(browser), LogEvent { client_name, connection, ..event });
    }

    async fn asked(&self, site: &Site, handle: &str, browser: &Browser) -> Result<Option<Asked>, IdpError> {
        let Some(transaction) = self.core.transaction(site, handle, browser).await? else { return Ok(None) };
        let Some(client) = self.core.client_of(site, &transaction).await? else { return Ok(None) };
        let name = transaction.request.connection.as_deref();
        let connection = self.core.login_connection(site, &client, name).await?;
        Ok(Some(Asked { transaction, client, connection }))
    }

    /// Starts the session and notes it in the transaction.
    async fn enter(
        &self,
        site: &Site,
        transaction: &Transaction,
        browser: &Browser,
        user: &User,
    ) -> Result<NewSession, IdpError> {
        let (tenant, repository) = (&site.tenant.id, &self.core.repository);
        let (session, new) = self.core.start_session(site, user, browser).await?;
        repository.set_transaction_session(tenant, &transaction.handle, &session.sid).await?;
        let ip = browser.ip.map(|ip| ip.to_string());
        repository.record_login(tenant, &user.user_id, ip.as_deref(), self.core.clock.now()).await?;
        Ok(new)
    }
}

/// What failed logins are counted under: the user, whichever of its names was typed, or what was typed.
pub(crate) fn account_of(connection: &str, user: Option<&User>, typed: &str) -> String {
    format!("{connection}/{}", user.map_or(typed, |user| user.user_id.as_str()))
}

/// A login page's transaction with all that belongs to it.
struct Asked {
    transaction: Transaction,
    client: Client,
    connection: Option<Connection>,
}

/// What became of a name and a password.
pub(crate) enum PasswordCheck {
    /// They belong together; whether the user is blocked is for the caller to see.
    Right(Box<User>),
    /// With the user's id, where there is such a user.
    Wrong(Option<String>),
    Locked(Option<String>),
    /// Too many failures of all users together from this address.
    Spraying,
}

impl Core {
    /// Every way out costs one look-up and one hash, but for a lock.
    pub(crate) async fn check_password(
        &self,
        site: &Site,
        connection: &Connection,
        browser: &Browser,
        identifier: &str,
        password: &Secret<String>,
    ) -> Result<PasswordCheck, IdpError> {
        let identifier = fold(identifier);
        let found = match identifier.len() {
            1..=MAX_IDENTIFIER => {
                self.repository.user_by_identifier(&site.tenant.id, &connection.name, &identifier).await?
            }
            _ => None,
        };
        // A user who has an address and a username is one account (O20). What is too long to be anybody's counts as
        // one name: it is remembered, and would fill the memory (O50).
        let unknown = if identifier.len() <= MAX_IDENTIFIER { identifier.as_str() } else { "" };
        let user_id = found.as_ref().map(|(user, _)| user.user_id.clone());
        let account = account_of(&connection.name, found.as_ref().map(|(user, _)| user), unknown);
        let ip = browser.ip;
        let home = found.as_ref().and_then(|(user, _)| user.last_ip.as_deref());
        let at_home = home.is_some() && home == ip.map(|ip| ip.to_string()).as_deref();
        let limited = connection.options.brute_force_protection;
        let spraying = limited && self.is_spraying(site, ip).await?;
        if limited && !self.begin_attempt(site, &account, ip, at_home).await? {
            return Ok(PasswordCheck::Locked(user_id));
        }
        let (user, hash) = found.map_or((None, None), |(user, hash)| (Some(user), hash));
        let right = self.hasher.verify(password.clone(), hash.clone()).await?;
        // Told after the hash, and of a wrong password at home, too: who is at home there is nobody else's business (O19).
        let Some(user) = user.filter(|_| right && (at_home || !spraying)) else {
            if limited && !right {
                self.count_failure(site, ip).await?;
            }
            return Ok(if spraying { PasswordCheck::Spraying } else { PasswordCheck::Wrong(user_id) });
        };
        if let Some(foreign) = hash.filter(|hash| imported::is_foreign(hash)) {
            let ours = self.hasher.hash(password.clone()).await?;
            self.repository.rehash_password(&site.tenant.id, &user.user_id, &foreign, &ours).await?;
        }
        if limited {
            self.forget_attempts(site, &account, ip).await?;
        }
        Ok(PasswordCheck::Right(Box::new(user)))
    }
}
