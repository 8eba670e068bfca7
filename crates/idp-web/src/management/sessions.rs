//! Sessions and refresh tokens.

use idp::management::Object;

use super::{Call, Done, Failed, listing::parameter};

impl Call<'_> {
    pub(super) async fn list_user_sessions(self) -> Result<Done, Failed> {
        // This list has the checkpoint shape whatever is asked.
        let listing = self.listing(&[])?.by_checkpoint();
        let found = self.management().sessions.of_user(self.site, self.id(), listing.page()).await?;
        Ok(Done::Found(listing.answer("sessions", found.items, found.total)))
    }

    pub(super) async fn end_user_sessions(self) -> Result<Done, Failed> {
        self.management().sessions.end_of_user(self.site, self.id()).await?;
        Ok(Done::Accepted)
    }

    pub(super) async fn list_user_tokens(self) -> Result<Done, Failed> {
        let listing = self.listing(&[])?.by_checkpoint();
        let found = self.management().sessions.tokens_of_user(self.site, self.id(), listing.page()).await?;
        Ok(Done::Found(listing.answer("tokens", found.items, found.total)))
    }

    /// Refresh tokens by whose they are: a list of everybody's would be for nobody.
    pub(super) async fn list_tokens(self) -> Result<Done, Failed> {
        let listing = self.listing(&["user_id", "client_id"])?.by_checkpoint();
        let user = listing.filter("user_id").filter(|user| !user.is_empty());
        let user = user.ok_or_else(|| parameter("Missing required property", "user_id"))?;
        let client = listing.filter("client_id");
        let found = self.management().sessions.tokens_of(self.site, user, client, listing.page()).await?;
        Ok(Done::Found(listing.answer("refresh_tokens", found.items, found.total)))
    }

    pub(super) async fn end_user_tokens(self) -> Result<Done, Failed> {
        self.management().sessions.end_tokens_of_user(self.site, self.id()).await?;
        Ok(Done::Accepted)
    }

    pub(super) async fn revoke_access(mut self) -> Result<Done, Failed> {
        let body = if self.body.is_some() { self.object()? } else { Object::new() };
        self.management().sessions.revoke_access(self.site, self.id(), body).await?;
        Ok(Done::Accepted)
    }

    pub(super) async fn read_session(self) -> Result<Done, Failed> {
        Ok(Done::Found(self.management().sessions.read(self.site, self.id()).await?))
    }

    pub(super) async fn end_session(self) -> Result<Done, Failed> {
        self.management().sessions.end(self.site, self.id()).await?;
        Ok(Done::Accepted)
    }

    pub(super) async fn revoke_session(self) -> Result<Done, Failed> {
        self.management().sessions.revoke(self.site, self.id()).await?;
        Ok(Done::Accepted)
    }

    pub(super) async fn read_token(self) -> Result<Done, Failed> {
        Ok(Done::Found(self.management().sessions.read_token(self.site, self.id()).await?))
    }

    pub(super) async fn end_token(self) -> Result<Done, Failed> {
        self.management().sessions.end_token(self.site, self.id()).await?;
        Ok(Done::Accepted)
    }
}
