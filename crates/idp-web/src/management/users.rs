//! Users.

use idp::{
    management::{ManagementError, UserSearch},
    model::fold,
    repository::UserFilter,
};
use serde_json::Value;

use super::{
    Call, Done, Failed,
    listing::{Listing, parameter},
};

impl Call<'_> {
    pub(super) async fn list_users(self) -> Result<Done, Failed> {
        let listing = self.listing(&["q", "search_engine", "sort", "connection", "primary_order"])?;
        check_search_engine(&listing)?;
        // Without it the order may be any; the one there is costs nothing.
        listing.flag("primary_order")?;
        let search =
            UserSearch::parse(listing.filter("q"), listing.filter("sort"), listing.filter("connection"))?;
        let found = self.management().users.search(self.site, &search, listing.page()).await?;
        let items = found.items.iter().map(|user| Value::Object(user.to_wire())).collect();
        Ok(Done::Found(listing.answer("users", items, found.total)))
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

    pub(super) async fn link_user(mut self) -> Result<Done, Failed> {
        let body = self.object()?;
        let identities = self.management().users.link(self.site, self.id(), body).await?;
        Ok(Done::Created(Value::Array(identities)))
    }

    pub(super) async fn unlink_user(self) -> Result<Done, Failed> {
        let (provider, id) = (self.segment(3), self.segment(4));
        let identities = self.management().users.unlink(self.site, self.id(), provider, id).await?;
        Ok(Done::Found(Value::Array(identities)))
    }
}

/// Auth0's third search engine is the one there is.
fn check_search_engine(listing: &Listing) -> Result<(), ManagementError> {
    match listing.filter("search_engine") {
        None | Some("v3") => Ok(()),
        Some(_) => Err(parameter("Only v3 is supported", "search_engine")),
    }
}
