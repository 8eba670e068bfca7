//! What users let clients do, and users who are locked out.

use idp::management::GrantFilter;
use serde_json::{Value, json};

use super::{Call, Done, Failed, listing::parameter};

impl Call<'_> {
    pub(super) async fn list_consents(self) -> Result<Done, Failed> {
        let listing = self.listing(&["user_id", "client_id", "audience"])?;
        let filter = GrantFilter {
            user_id: listing.filter("user_id"),
            client_id: listing.filter("client_id"),
            audience: listing.filter("audience"),
        };
        let found = self.management().grants.list(self.site, filter, listing.page()).await?;
        Ok(Done::Found(listing.answer("grants", found.items, found.total)))
    }

    pub(super) async fn delete_consent(self) -> Result<Done, Failed> {
        self.management().grants.delete(self.site, self.id()).await?;
        Ok(Done::Gone)
    }

    pub(super) async fn delete_consents_of(self) -> Result<Done, Failed> {
        let listing = self.listing(&["user_id"])?;
        let user = listing.filter("user_id").filter(|user| !user.is_empty());
        let user = user.ok_or_else(|| parameter("Missing required property", "user_id"))?;
        self.management().grants.delete_of(self.site, user).await?;
        Ok(Done::Gone)
    }

    /// By the name that somebody types: an e-mail address or a username.
    pub(super) async fn blocks_by_name(self) -> Result<Done, Failed> {
        let listing = self.listing(&["identifier", "consider_brute_force_enablement"])?;
        let name = listing.filter("identifier").filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| parameter("Missing required property", "identifier"))?;
        let blocks = self.management().users.blocks_by_name(self.site, name).await?;
        Ok(blocked_for(blocks))
    }

    pub(super) async fn unblock_by_name(self) -> Result<Done, Failed> {
        let listing = self.listing(&["identifier"])?;
        let name = listing.filter("identifier").filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| parameter("Missing required property", "identifier"))?;
        self.management().users.unblock_by_name(self.site, name).await?;
        Ok(Done::Gone)
    }

    pub(super) async fn blocks_of_user(self) -> Result<Done, Failed> {
        self.listing(&["consider_brute_force_enablement"])?;
        Ok(blocked_for(self.management().users.blocks(self.site, self.id()).await?))
    }

    pub(super) async fn unblock_user(self) -> Result<Done, Failed> {
        self.management().users.unblock(self.site, self.id()).await?;
        Ok(Done::Gone)
    }
}

impl Call<'_> {
    /// 200 where logins from an address are looked at no more.
    pub(super) async fn block_of_address(self) -> Result<Done, Failed> {
        self.listing(&[])?;
        self.management().users.block_of_address(self.site, self.segment(3)).await?;
        Ok(Done::Found(Value::Null))
    }

    pub(super) async fn unblock_address(self) -> Result<Done, Failed> {
        self.management().users.unblock_address(self.site, self.segment(3)).await?;
        Ok(Done::Gone)
    }
}

fn blocked_for(blocks: Vec<Value>) -> Done {
    Done::Found(json!({ "blocked_for": blocks }))
}
