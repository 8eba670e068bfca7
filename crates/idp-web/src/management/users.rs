//! Users, and the part of Auth0's search language that is served.

use idp::{management::ManagementError, model::fold, repository::UserFilter};
use serde_json::Value;

use super::{
    Call, Done, Failed,
    listing::{Listing, parameter},
};

/// Bytes of a search.
const MAX_SEARCH: usize = 1024;

/// One condition of a search.
#[derive(Debug, PartialEq, Eq)]
enum Search<'q> {
    /// `email:"…"`.
    Email(&'q str),
    /// `user_id:"…"`.
    Id(&'q str),
    /// `identities.connection:"…"`.
    Connection(&'q str),
    /// A word anywhere in names and addresses; also `*word*`.
    Contains(&'q str),
}

impl Call<'_> {
    pub(super) async fn list_users(self) -> Result<Done, Failed> {
        let listing = self.listing(&["q", "search_engine", "sort", "connection"])?;
        check_search_options(&listing)?;
        let search = listing.filter("q").filter(|q| !q.trim().is_empty()).map(Search::parse).transpose()?;
        if let Some(Search::Id(id)) = search {
            return self.list_one_user(&listing, id).await;
        }
        let folded = match search {
            Some(Search::Email(text) | Search::Contains(text)) => fold(text),
            _ => String::new(),
        };
        let mut filter = UserFilter { connection: listing.filter("connection"), ..UserFilter::default() };
        match search {
            Some(Search::Email(_)) => filter.email = Some(&folded),
            Some(Search::Contains(_)) => filter.contains = Some(&folded),
            Some(Search::Connection(name)) => filter.connection = Some(name),
            Some(Search::Id(_)) | None => {}
        }
        let found = self.management().users.list(self.site, filter, listing.page()).await?;
        let items = found.items.iter().map(|user| Value::Object(user.to_wire())).collect();
        Ok(Done::Found(listing.answer("users", items, found.total)))
    }

    async fn list_one_user(&self, listing: &Listing, id: &str) -> Result<Done, Failed> {
        let items = match self.management().users.read(self.site, id).await {
            Ok(user) => vec![Value::Object(user.to_wire())],
            Err(ManagementError::NotFound { .. }) => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        Ok(Done::Found(listing.answer_from_all("users", items)))
    }

    pub(super) async fn create_user(mut self) -> Result<Done, Failed> {
        let body = self.new_object(&["connection"])?;
        let user = self.management().users.create(self.site, body).await?;
        Ok(Done::Created(Value::Object(user.to_wire())))
    }

    pub(super) async fn read_user(self) -> Result<Done, Failed> {
        let listing = self.listing(&[])?;
        let user = self.management().users.read(self.site, self.id()).await?;
        Ok(Done::Found(listing.select(Value::Object(user.to_wire()))))
    }

    pub(super) async fn update_user(mut self) -> Result<Done, Failed> {
        let body = self.object()?;
        let user = self.management().users.update(self.site, self.id(), body).await?;
        Ok(Done::Found(Value::Object(user.to_wire())))
    }

    pub(super) async fn delete_user(self) -> Result<Done, Failed> {
        self.management().users.delete(self.site, self.id()).await?;
        Ok(Done::Gone)
    }

    pub(super) async fn users_by_email(self) -> Result<Done, Failed> {
        let listing = self.listing(&["email"])?;
        let email = listing.filter("email").filter(|email| !email.is_empty());
        let email = fold(email.ok_or_else(|| parameter("Missing required property", "email"))?);
        let filter = UserFilter { email: Some(&email), ..UserFilter::default() };
        let found = self.management().users.list(self.site, filter, listing.page()).await?;
        let items = found.items.iter().map(|user| Value::Object(user.to_wire())).collect();
        Ok(Done::Found(listing.answer("users", items, found.total)))
    }
}

fn check_search_options(listing: &Listing) -> Result<(), ManagementError> {
    if listing.filter("search_engine").is_some_and(|engine| engine != "v3") {
        return Err(parameter("Only v3 is supported", "search_engine"));
    }
    // Users come in the order in which they were made.
    if listing.filter("sort").is_some_and(|sort| sort != "created_at:1") {
        return Err(parameter("Only created_at:1 is supported", "sort"));
    }
    Ok(())
}

impl<'q> Search<'q> {
    /// Reads one condition. What is not served is refused, so that no search finds more than it asks for.
    fn parse(q: &'q str) -> Result<Self, ManagementError> {
        let refused = || {
            const SERVED: &str = "one condition is supported: email:\"…\", user_id:\"…\", \
                                  identities.connection:\"…\", or a word";
            parameter(SERVED, "q")
        };
        let q = q.trim();
        if q.len() > MAX_SEARCH {
            return Err(parameter("String is too long", "q"));
        }
        let (field, value) = match q.split_once(':') {
            Some((field, value))
                if field.bytes().all(|b| b.is_ascii_alphanumeric() || b"._".contains(&b)) =>
            {
                (Some(field), value)
            }
            _ => (None, q),
        };
        let quoted = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        let bare = quoted.is_none();
        let value = quoted.unwrap_or(value);
        let value = if field.is_none() && bare { value.trim_matches('*') } else { value };
        let language = if bare { " \t\"\\()[]{}<>~^!?*/" } else { "\"\\" };
        if value.is_empty() || value.contains(|c| language.contains(c)) {
            return Err(refused());
        }
        match field {
            Some("email" | "email.raw") => Ok(Self::Email(value)),
            Some("user_id") => Ok(Self::Id(value)),
            Some("identities.connection") => Ok(Self::Connection(value)),
            Some(_) => Err(refused()),
            None => Ok(Self::Contains(value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_is_one_condition() {
        assert_eq!(Search::parse("email:\"a@b.c\"").unwrap(), Search::Email("a@b.c"));
        assert_eq!(Search::parse("email:a@b.c").unwrap(), Search::Email("a@b.c"));
        assert_eq!(Search::parse("user_id:\"auth0|1\"").unwrap(), Search::Id("auth0|1"));
        assert_eq!(Search::parse("identities.connection:\"A b\"").unwrap(), Search::Connection("A b"));
        assert_eq!(Search::parse(" *jane* ").unwrap(), Search::Contains("jane"));
        assert_eq!(Search::parse("\"jane doe\"").unwrap(), Search::Contains("jane doe"));
    }

    #[test]
    fn o37_what_is_not_served_is_refused() {
        let long = "x".repeat(2000);
        let bad = [
            "email:a OR email:b",
            "name:(a b)",
            "email:a*",
            "logins_count:[1 TO *]",
            "email:\"a\" AND \"b\"",
            "_exists_:email",
            "\"",
            "**",
            "a b",
            &long,
        ];
        for q in bad {
            assert!(Search::parse(q).is_err(), "{q}");
        }
    }
}
