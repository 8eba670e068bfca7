//! What is asked and told of the claims of callers.

use gateway::error::ConfigError;
use plugins::openid_connect::{
    ClaimHeader, ClaimRef, ClaimRule, ClaimTest, ConsumerConfig, ConsumerName, Document, GroupsClaim, Judging,
};
use rp::bearer::ClaimPath;
use serde_json::Value;

use super::{Reader, header_name, texts};

impl Reader<'_> {
    pub(super) fn judging(&self) -> Result<Judging, ConfigError> {
        let mut headers = self.claim_headers("upstream")?;
        if !self.texts("authenticated_groups_claim").is_empty() {
            let name = plugins::acl::X_AUTHENTICATED_GROUPS;
            headers.push(ClaimHeader { name, claim: self.path("authenticated_groups_claim")? });
        }
        let consumer = self.consumer()?;
        let is_nobody = consumer.as_ref().is_none_or(|consumer| consumer.claims.is_empty());
        let tells_apart = is_nobody && !self.texts("credential_claim").is_empty();
        let credential = tells_apart.then(|| self.path("credential_claim")).transpose()?;
        let (rules, back) = (self.claim_rules()?, self.claim_headers("downstream")?);
        Ok(Judging { rules, consumer, credential, headers, back })
    }

    /// Of each list one entry must hold, and of an entry all of its words.
    fn claim_rules(&self) -> Result<Vec<ClaimRule>, ConfigError> {
        let mut rules = Vec::new();
        for (required, claim) in [
            ("scopes_required", "scopes_claim"),
            ("audience_required", "audience_claim"),
            ("groups_required", "groups_claim"),
            ("roles_required", "roles_claim"),
        ] {
            let entries = self.texts(required);
            if entries.is_empty() {
                continue;
            }
            let claim = self.path(claim)?;
            let test = |entry: &str| ClaimTest {
                claim: claim.clone(),
                any_of: Vec::new(),
                all_of: entry.split_ascii_whitespace().map(Value::from).collect(),
                none_of: Vec::new(),
            };
            rules.push(ClaimRule::AnyOf(entries.into_iter().map(test).collect()));
        }
        let domains: Vec<Value> = self.texts("domains").into_iter().map(Value::from).collect();
        if !domains.is_empty() {
            let claim = reference("domains", ["hd"])?;
            let (all_of, none_of) = (Vec::new(), Vec::new());
            rules.push(ClaimRule::Test(ClaimTest { claim, any_of: domains, all_of, none_of }));
        }
        for name in self.texts("claims_forbidden") {
            rules.push(ClaimRule::Absent(reference("claims_forbidden", [name])?));
        }
        Ok(rules)
    }

    fn path(&self, field: &str) -> Result<ClaimRef, ConfigError> {
        // Each of these is a path of one name where it is null.
        let kongs = match field {
            "scopes_claim" => "scope",
            "audience_claim" => "aud",
            "groups_claim" => "groups",
            "roles_claim" => "roles",
            _ => return reference(field, self.texts(field)),
        };
        reference(field, self.listed(field, &[kongs]))
    }

    /// Claims in headers. Both ways to write them count.
    fn claim_headers(&self, direction: &str) -> Result<Vec<ClaimHeader>, ConfigError> {
        let (both, claims) = (format!("{direction}_headers"), format!("{direction}_headers_claims"));
        let names = format!("{direction}_headers_names");
        let mut headers = Vec::new();
        for (claim, name) in self.pairs(&claims, &names)? {
            let claim = reference(&claims, [claim.as_str()])?;
            headers.push(ClaimHeader { name: header_name(&names, &name)?, claim });
        }
        for entry in self.config.get(&both).and_then(Value::as_array).into_iter().flatten() {
            let name = entry.get("header").and_then(Value::as_str).unwrap_or_default();
            let claim = reference(&both, texts(entry.get("path")))?;
            headers.push(ClaimHeader { name: header_name(&both, name)?, claim });
        }
        Ok(headers)
    }

    fn consumer(&self) -> Result<Option<ConsumerConfig>, ConfigError> {
        let several = self.config.get("consumer_claims").and_then(Value::as_array);
        let mut claims = Vec::new();
        for path in several.into_iter().flatten() {
            claims.push(reference("consumer_claims", texts(Some(path)))?);
        }
        if !self.texts("consumer_claim").is_empty() {
            claims.push(self.path("consumer_claim")?);
        }
        let groups = match self.texts("consumer_groups_claim").is_empty() {
            true => None,
            false => Some(GroupsClaim {
                claim: self.path("consumer_groups_claim")?,
                required: !self.flag("consumer_groups_optional", false),
            }),
        };
        if claims.is_empty() && groups.is_none() {
            return Ok(None);
        }
        let required = !claims.is_empty() && !self.flag("consumer_optional", false);
        let by = self.listed("consumer_by", &["custom_id", "username"]).into_iter().map(|by| match by {
            "id" => ConsumerName::Id,
            "custom_id" => ConsumerName::CustomId,
            _ if self.flag("by_username_ignore_case", false) => ConsumerName::UsernameInAnyCase,
            _ => ConsumerName::Username,
        });
        Ok(Some(ConsumerConfig { claims, by: by.collect(), required, anonymous: None, groups }))
    }
}

fn reference<'a>(field: &str, names: impl IntoIterator<Item = &'a str>) -> Result<ClaimRef, ConfigError> {
    let path = ClaimPath::over(names);
    let path = path.ok_or_else(|| ConfigError::new(field, "it does not name a claim"))?;
    Ok(ClaimRef { path, document: Document::Any })
}
