//! Sign-up and change of password without a login page: `/dbconnections`.

use base::Secret;
use serde_json::{Map, Value};

use crate::{
    Browser, IdpError, Login, RepositoryError, Site,
    login::SignUpError,
    model::{Client, Connection, LogEvent, User, fold},
    policy,
};

/// Members of a user's own metadata, and characters of each, that somebody may choose who signs up.
const MAX_METADATA: usize = 10;
const MAX_METADATA_VALUE: usize = 500;
/// Characters of a name.
const MAX_NAME: usize = 150;

/// What became of a sign-up.
#[derive(Debug)]
pub enum DirectSignUp {
    /// The user was made.
    Done(Box<User>),
    /// The client has no such connection, or nobody may sign up in it.
    Closed,
    /// The request is at fault, in words.
    Invalid(String),
    /// As on the sign-up page.
    Refused(SignUpError),
}

impl Login {
    /// `POST /dbconnections/signup`.
    pub async fn sign_up_directly(
        &self,
        site: &Site,
        browser: &Browser,
        mut body: Map<String, Value>,
    ) -> Result<DirectSignUp, IdpError> {
        let request = match read(&mut body) {
            Ok(request) => request,
            Err(reason) => return Ok(DirectSignUp::Invalid(reason)),
        };
        let found = self.database(site, request.client_id.as_deref(), &request.connection).await?;
        let Some((client, connection)) = found else { return Ok(DirectSignUp::Closed) };
        if connection.options.disable_signup {
            return Ok(DirectSignUp::Closed);
        }
        let now = self.core().clock.now().0;
        let user = User {
            user_id: format!("auth0|{}", self.core().random.hex(12)),
            connection: connection.name.clone(),
            created_at: now,
            updated_at: now,
            ..request.user
        };
        match self.register(site, browser, &client, &connection, user, &request.password).await? {
            Ok(user) => Ok(DirectSignUp::Done(Box::new(user))),
            Err(error) => Ok(DirectSignUp::Refused(error)),
        }
    }

    /// `POST /dbconnections/change_password`: `false` where the client has no such connection.
    pub async fn reset_directly(
        &self,
        site: &Site,
        browser: &Browser,
        client_id: Option<&str>,
        connection: &str,
        email: &str,
    ) -> Result<bool, IdpError> {
        let Some((client, connection)) = self.database(site, client_id, connection).await? else {
            return Ok(false);
        };
        let tickets = crate::Tickets::new(self.core().clone());
        tickets.request_reset(site, browser, &connection, email, &client.client_id).await?;
        Ok(true)
    }

    /// Makes a user who signs up, and mails a link that proves the address. The answer takes one hash, also for an address
    /// that is taken: it must not come sooner (O19).
    pub(crate) async fn register(
        &self,
        site: &Site,
        browser: &Browser,
        client: &Client,
        connection: &Connection,
        user: User,
        password: &Secret<String>,
    ) -> Result<Result<User, SignUpError>, IdpError> {
        if let Err(error) = policy::check_user(connection, &user, password) {
            return Ok(Err(error));
        }
        let user = user.newly_made();
        let name = user.email.as_deref().or(user.username.as_deref()).map(fold).unwrap_or_default();
        let event = |kind: &str| LogEvent::new(kind).named(&name).by(&client.client_id);
        let hash = self.core().hasher.hash(password.clone()).await?;
        match self.core().repository.create_user(&site.tenant.id, &user, Some(&hash)).await {
            Ok(()) => {}
            Err(RepositoryError::Conflict(_)) => {
                let event = event("fs").described("The user already exists.");
                self.note(site, browser, event, client, connection);
                let open = site.tenant.settings.flags.enable_public_signup_user_exists_error;
                return Ok(Err(if open { SignUpError::Exists } else { SignUpError::Rejected }));
            }
            Err(error) => return Err(error.into()),
        }
        self.note(site, browser, event("ss").about(&user.user_id), client, connection);
        self.core().mail_verification(site, &user).await?;
        Ok(Ok(user))
    }

    /// A client and one of its connections, by name.
    async fn database(
        &self,
        site: &Site,
        client_id: Option<&str>,
        connection: &str,
    ) -> Result<Option<(Client, Connection)>, IdpError> {
        let (tenant, repository) = (&site.tenant.id, &self.core().repository);
        let Some(client_id) = client_id else { return Ok(None) };
        let Some(client) = repository.client(tenant, client_id).await? else { return Ok(None) };
        let found = repository.connection(tenant, connection).await?;
        let found = found.filter(|found| found.name == connection && found.serves(&client));
        Ok(found.map(|found| (client, found)))
    }
}

struct Request {
    client_id: Option<String>,
    connection: String,
    password: Secret<String>,
    user: User,
}

fn read(body: &mut Map<String, Value>) -> Result<Request, String> {
    let mut text = |name: &str| match body.shift_remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text).filter(|text| !text.trim().is_empty())),
        Some(_) => Err(format!("{name} must be a string")),
    };
    let client_id = text("client_id")?;
    let connection = text("connection")?.ok_or("connection is required")?;
    let password = Secret::new(text("password")?.ok_or("password is required")?);
    let mut user = User {
        email: text("email")?.map(|email| email.trim().to_owned()),
        username: text("username")?.map(|name| name.trim().to_owned()),
        name: text("name")?,
        nickname: text("nickname")?,
        given_name: text("given_name")?,
        family_name: text("family_name")?,
        picture: text("picture")?,
        ..User::default()
    };
    let names = [&user.name, &user.nickname, &user.given_name, &user.family_name];
    if names.into_iter().flatten().any(|name| name.chars().count() > MAX_NAME) {
        return Err(format!("a name has more than {MAX_NAME} characters"));
    }
    if user.picture.as_ref().is_some_and(|url| !url.starts_with("https://") || url.len() > 2048) {
        return Err("picture must be an https URL".to_owned());
    }
    if body.shift_remove("phone_number").is_some_and(|value| !value.is_null()) {
        return Err("phone_number is not supported".to_owned());
    }
    match body.shift_remove("user_metadata") {
        None | Some(Value::Null) => {}
        Some(Value::Object(metadata)) => {
            let short =
                |value: &Value| value.as_str().is_some_and(|text| text.chars().count() <= MAX_METADATA_VALUE);
            if metadata.len() > MAX_METADATA || !metadata.values().all(short) {
                return Err(format!(
                    "user_metadata must be up to {MAX_METADATA} strings of up to {MAX_METADATA_VALUE} characters"
                ));
            }
            user.user_metadata = metadata;
        }
        Some(_) => return Err("user_metadata must be an object".to_owned()),
    }
    match body.keys().next() {
        Some(name) => Err(format!("unknown member {}", name.chars().take(64).collect::<String>())),
        None => Ok(Request { client_id, connection, password, user }),
    }
}
