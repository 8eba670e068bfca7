use std::sync::Arc;

use base::Secret;
use serde_json::Value;

use super::{
    ManagementError, Object,
    overlay::Rules,
    wording::{additional, invalid},
};
use crate::{
    RepositoryError, Site,
    idp::Core,
    login::SignUpError,
    model::{Connection, LogoutInitiator, User, fold},
    policy,
    repository::{Listing, Page, UserFilter},
};

pub(super) const RULES: Rules = Rules {
    read_only: &[
        "created_at",
        "updated_at",
        "last_login",
        "last_ip",
        "logins_count",
        "last_password_reset",
        "linked",
    ],
    merged: &["user_metadata", "app_metadata"],
    unsupported: &["verify_phone_number", "verify_password"],
};

/// Users.
#[derive(Clone)]
pub struct UserService {
    core: Arc<Core>,
}

impl UserService {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    pub(super) fn core(&self) -> &Core {
        &self.core
    }

    /// One page of them.
    pub async fn list(
        &self,
        site: &Site,
        filter: UserFilter<'_>,
        page: Page,
    ) -> Result<Listing<User>, ManagementError> {
        Ok(self.core.repository.users(&site.tenant.id, filter, page).await?)
    }

    /// One of them.
    pub async fn read(&self, site: &Site, id: &str) -> Result<User, ManagementError> {
        self.core.repository.user(&site.tenant.id, id).await?.ok_or(MISSING)
    }

    /// Makes one (201).
    pub async fn create(&self, site: &Site, mut body: Object) -> Result<User, ManagementError> {
        let password = take_password(&mut body)?;
        let chosen = take_text(&mut body, "user_id")?;
        let mails = self.take_verify_email(&mut body)?;
        let mut user = RULES.apply(&User::default(), body)?;
        let connection = self.connection(site, &user.connection).await?;
        let local = match chosen {
            None => self.core.random.hex(12),
            Some(id) if is_id(&id) => id,
            Some(_) => return Err(invalid("user_id", "Expected up to 200 letters, digits, and . _ - + @")),
        };
        user.user_id = format!("auth0|{local}");
        let now = self.core.clock.now().0;
        (user.created_at, user.updated_at) = (now, now);
        let password = password.ok_or_else(|| invalid("password", "Missing required property: password"))?;
        policy::check_user(&connection, &user, &password).map_err(|error| refuse(&error))?;
        check(&user)?;
        let user = user.newly_made();
        let hash = self.core.hasher.hash(password).await?;
        match self.core.repository.create_user(&site.tenant.id, &user, Some(&hash)).await {
            Err(RepositoryError::Conflict(_)) => return Err(exists()),
            made => made?,
        }
        if mails && !user.email_verified {
            self.core.mail_verification(site, &user).await?;
        }
        Ok(user)
    }

    /// Whether the user is to get a mail that asks to confirm the address. Without mail nobody can be asked.
    fn take_verify_email(&self, body: &mut Object) -> Result<bool, ManagementError> {
        match body.shift_remove("verify_email") {
            None | Some(Value::Null | Value::Bool(false)) => Ok(false),
            Some(Value::Bool(true)) if self.core.mailer.is_some() => Ok(true),
            Some(Value::Bool(true)) => Err(ManagementError::Unsupported(
                "No mail is sent here: verify_email cannot be true.".to_owned(),
            )),
            Some(_) => Err(invalid("verify_email", "Expected type boolean")),
        }
    }

    /// Changes what `body` names. A new password and a block end the user's sessions, refresh tokens and opaque access
    /// tokens before this answers; JWTs of a blocked user are refused by `/userinfo` and introspection at once, elsewhere
    /// they live out their time.
    pub async fn update(&self, site: &Site, id: &str, mut body: Object) -> Result<User, ManagementError> {
        let password = take_password(&mut body)?;
        let named = take_text(&mut body, "connection")?;
        let mails = self.take_verify_email(&mut body)?;
        // Only says whose mail template to use.
        body.shift_remove("client_id");
        if body.contains_key("user_id") {
            return Err(additional("user_id"));
        }
        let verified_given = body.contains_key("email_verified");
        let phone_verified_given = body.contains_key("phone_verified");
        let current = self.read(site, id).await?;
        if named.is_some_and(|name| name != current.connection) {
            return Err(invalid("connection", "The user is not in this connection"));
        }
        let connection = self.connection(site, &current.connection).await?;
        let mut user = RULES.apply(&current, body)?;
        user.updated_at = self.core.clock.now().0;
        user.email = user.email.map(|email| fold(&email));
        if user.email != current.email.as_deref().map(fold) && !verified_given {
            user.email_verified = false;
        }
        if user.phone_number != current.phone_number && !phone_verified_given {
            user.phone_verified = false;
        }
        if user.email.as_ref().is_some_and(|email| !policy::is_email(email)) {
            return Err(refuse(&SignUpError::Email));
        }
        if user.email.is_none() && user.username.is_none() {
            return Err(invalid("email", "A user needs an e-mail address or a username"));
        }
        if user.username != current.username
            && user.username.as_ref().is_some_and(|name| !policy::is_username(&connection, name))
        {
            return Err(refuse(&SignUpError::Username));
        }
        check(&user)?;
        self.save(site, &connection, &current, &user, password).await?;
        if mails && !user.email_verified {
            self.core.mail_verification(site, &user).await?;
        }
        self.read(site, id).await
    }

    /// Deletes one with all that is theirs (204).
    pub async fn delete(&self, site: &Site, id: &str) -> Result<(), ManagementError> {
        self.core.end_sessions_of(site, id, LogoutInitiator::AccountDeleted).await?;
        if self.core.repository.delete_user(&site.tenant.id, id).await? { Ok(()) } else { Err(MISSING) }
    }

    async fn save(
        &self,
        site: &Site,
        connection: &Connection,
        current: &User,
        user: &User,
        password: Option<Secret<String>>,
    ) -> Result<(), ManagementError> {
        let (tenant, repository, now) = (&site.tenant.id, &self.core.repository, self.core.clock.now());
        let hash = match password {
            None => None,
            Some(password) => {
                policy::check_password(connection, user, &password).map_err(|error| refuse(&error))?;
                if self.core.is_remembered(site, connection, &user.user_id, &password).await? {
                    return Err(refuse(&SignUpError::UsedPassword));
                }
                Some(self.core.hasher.hash(password).await?)
            }
        };
        match repository.update_user(tenant, user).await {
            Err(RepositoryError::Conflict(_)) => return Err(exists()),
            Ok(false) => return Err(MISSING),
            done => done?,
        };
        if let Some(hash) = &hash {
            self.core.change_password(site, connection, &user.user_id, hash).await?;
        }
        if hash.is_some() || (user.blocked && !current.blocked) {
            let why = match hash {
                Some(_) => LogoutInitiator::PasswordChanged,
                None => LogoutInitiator::AccountDeactivated,
            };
            self.core.end_sessions_of(site, &user.user_id, why).await?;
            repository.end_everything(tenant, &user.user_id, now).await?;
        }
        Ok(())
    }

    async fn connection(&self, site: &Site, name: &str) -> Result<Connection, ManagementError> {
        let found = self.core.repository.connection(&site.tenant.id, name).await?;
        found
            .filter(|connection| connection.name == name)
            .ok_or_else(|| ManagementError::InvalidBody("The connection does not exist.".to_owned()))
    }
}

const MISSING: ManagementError =
    ManagementError::NotFound { code: Some("inexistent_user"), message: "The user does not exist." };

fn exists() -> ManagementError {
    ManagementError::Conflict { code: "auth0_idp_error", message: "The user already exists.".to_owned() }
}

fn refuse(error: &SignUpError) -> ManagementError {
    match error {
        SignUpError::WeakPassword(rules) => ManagementError::InvalidBody(format!(
            "PasswordStrengthError: Password is too weak: {}",
            rules.join("; ")
        )),
        SignUpError::UsedPassword => {
            ManagementError::InvalidBody("PasswordHistoryError: Password has previously been used".to_owned())
        }
        SignUpError::Email => invalid("email", "Object didn't pass validation for format email"),
        SignUpError::Username => invalid("username", "Object didn't pass validation for format username"),
        SignUpError::Exists | SignUpError::Rejected => exists(),
    }
}

fn take_password(body: &mut Object) -> Result<Option<Secret<String>>, ManagementError> {
    Ok(take_text(body, "password")?.map(Secret::new))
}

fn take_text(body: &mut Object, name: &str) -> Result<Option<String>, ManagementError> {
    match body.shift_remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(invalid(name, "Expected type string")),
    }
}

pub(super) fn is_id(id: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-+@".contains(c);
    (1..=200).contains(&id.len()) && id.chars().all(allowed)
}

/// Names fit Auth0's lengths, pictures are web addresses, metadata is no store for files.
pub(super) fn check(user: &User) -> Result<(), ManagementError> {
    let names = [("name", &user.name), ("nickname", &user.nickname), ("given_name", &user.given_name)];
    for (member, name) in names.into_iter().chain([("family_name", &user.family_name)]) {
        if name.as_ref().is_some_and(|name| name.is_empty() || name.chars().count() > 300) {
            return Err(invalid(member, "Expected 1 to 300 characters"));
        }
    }
    // E.164.
    let phone = |number: &String| {
        let digits = number.strip_prefix('+').unwrap_or_default();
        (2..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
    };
    if user.phone_number.as_ref().is_some_and(|number| !phone(number)) {
        return Err(invalid("phone_number", "Expected a plus sign and 2 to 15 digits"));
    }
    let web = |url: &String| {
        url.len() <= 2048 && url::Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
    };
    if user.picture.as_ref().is_some_and(|picture| !web(picture)) {
        return Err(invalid("picture", "Object didn't pass validation for format strict-uri"));
    }
    for (member, metadata) in [("user_metadata", &user.user_metadata), ("app_metadata", &user.app_metadata)] {
        if serde_json::to_vec(metadata).map_or(0, |json| json.len()) > 64 * 1024 {
            return Err(invalid(member, "Expected up to 64 KiB"));
        }
    }
    Ok(())
}
