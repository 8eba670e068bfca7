//! Finding users by Auth0's search language.

use std::cmp::Ordering;

use serde_json::Value;

use super::{
    ManagementError, UserService,
    search::{Query, Test},
};
use crate::{
    Site,
    idp::Core,
    model::{User, fold},
    repository::{Listing, Page, UserFilter},
};

/// Users that are looked at together.
const BATCH: u32 = 500;
/// Users that a search shows, whatever page is asked for: Auth0's limit.
const MAX_FOUND: u32 = 1000;
/// What words without a field are looked for in.
const ANYWHERE: [&str; 7] = ["user_id", "email", "username", "name", "nickname", "given_name", "family_name"];

/// What users are looked for, and how they are ordered.
#[derive(Clone, Debug, Default)]
pub struct UserSearch {
    query: Option<Query>,
    /// Of this connection.
    connection: Option<String>,
    /// A member's path, and whether the greatest comes first.
    sort: Option<(Vec<String>, bool)>,
}

impl UserSearch {
    /// Reads `q`, `sort` and `connection` of the Management API.
    pub fn parse(
        q: Option<&str>,
        sort: Option<&str>,
        connection: Option<&str>,
    ) -> Result<Self, ManagementError> {
        let refused = |why: &str, name: &str| {
            ManagementError::InvalidQuery(format!("Query validation error: '{why}' on property {name}."))
        };
        let query = match q.map(str::trim).filter(|q| !q.is_empty() && *q != "*") {
            None => None,
            Some(q) => Some(Query::parse(q).map_err(|why| refused(why, "q"))?),
        };
        let sort = match sort.filter(|sort| !sort.is_empty()) {
            None => None,
            Some(sort) => Some(order(sort).ok_or_else(|| refused("Expected field:1 or field:-1", "sort"))?),
        };
        Ok(Self { query, sort, connection: connection.map(str::to_owned) })
    }
}

fn order(sort: &str) -> Option<(Vec<String>, bool)> {
    let (field, direction) = sort.rsplit_once(':')?;
    let falling = match direction {
        "1" => false,
        "-1" => true,
        _ => return None,
    };
    let name = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    let plain = !field.is_empty() && field.len() <= 128 && field.chars().all(name);
    plain.then(|| (field.split('.').map(str::to_owned).collect(), falling))
}

impl UserService {
    /// One page of those that are looked for.
    pub async fn search(
        &self,
        site: &Site,
        search: &UserSearch,
        page: Page,
    ) -> Result<Listing<User>, ManagementError> {
        let made_first =
            search.sort.as_ref().is_none_or(|(path, falling)| path == &["created_at"] && !falling);
        if search.query.is_none() && made_first {
            let filter = UserFilter { connection: search.connection.as_deref(), ..UserFilter::default() };
            return self.list(site, filter, page).await;
        }
        if page.offset.saturating_add(page.limit) > MAX_FOUND && page.offset > 0 {
            let text = format!("You can only page through the first {MAX_FOUND} records.");
            return Err(ManagementError::InvalidQuery(text));
        }
        scan(self.core(), site, search, page).await
    }
}

/// Looks at every user that the store cannot rule out.
async fn scan(
    core: &Core,
    site: &Site,
    search: &UserSearch,
    page: Page,
) -> Result<Listing<User>, ManagementError> {
    let (email, contains) = narrowed(search.query.as_ref());
    let filter = UserFilter {
        connection: search.connection.as_deref(),
        email: email.as_deref(),
        contains: contains.as_deref(),
    };
    let wanted = usize::try_from(page.offset.saturating_add(page.limit)).unwrap_or(usize::MAX);
    let mut found: Vec<(Value, User)> = Vec::new();
    let mut total = 0;
    let mut after: Option<(i64, String)> = None;
    loop {
        let from = after.as_ref().map(|(at, id)| (*at, id.as_str()));
        let batch = core.repository.users_after(&site.tenant.id, filter, from, BATCH).await?;
        let last = batch.len() < BATCH as usize;
        after = batch.last().map(|user| (user.created_at, user.user_id.clone()));
        for user in batch {
            let object = searchable(&user);
            if search.query.as_ref().is_some_and(|query| !query.matches(&object, &ANYWHERE)) {
                continue;
            }
            total += 1;
            match &search.sort {
                None if found.len() >= wanted => {}
                None => found.push((Value::Null, user)),
                Some((path, _)) => found.push((at(&object, path), user)),
            }
        }
        if let Some((_, falling)) = search.sort {
            // No more is kept than can be shown.
            found.sort_by(|(a, _), (b, _)| compare(a, b, falling));
            found.truncate(wanted);
        }
        if last {
            break;
        }
    }
    let skip = usize::try_from(page.offset).unwrap_or(usize::MAX);
    let items = found.into_iter().skip(skip).map(|(_, user)| user).collect();
    Ok(Listing { items, total })
}

/// The object that a search looks at: what administrators see, and what they see only where it is so.
fn searchable(user: &User) -> Value {
    let mut object = user.to_wire();
    object.entry("blocked").or_insert(Value::Bool(false));
    Value::Object(object)
}

fn at(object: &Value, path: &[String]) -> Value {
    path.iter().try_fold(object, |value, name| value.get(name)).cloned().unwrap_or_default()
}

/// What is not there comes last, whichever way round.
fn compare(a: &Value, b: &Value, falling: bool) -> Ordering {
    let ascending = match (a, b) {
        (Value::Null, Value::Null) => Ordering::Equal,
        (Value::Null, _) => return Ordering::Greater,
        (_, Value::Null) => return Ordering::Less,
        (Value::Number(a), Value::Number(b)) => {
            a.as_f64().partial_cmp(&b.as_f64()).unwrap_or(Ordering::Equal)
        }
        (Value::String(a), Value::String(b)) => a.to_lowercase().cmp(&b.to_lowercase()),
        (a, b) => a.to_string().cmp(&b.to_string()),
    };
    if falling { ascending.reverse() } else { ascending }
}

/// What the store can look for itself: an e-mail address, or a part of a name.
fn narrowed(query: Option<&Query>) -> (Option<String>, Option<String>) {
    let (mut email, mut contains) = (None, None);
    for condition in query.map(Query::required).unwrap_or_default() {
        let Query::Condition { path, test } = condition else { continue };
        let names: Vec<&str> = path.iter().map(String::as_str).collect();
        match (names.as_slice(), test) {
            (["email"], Test::Word(text) | Test::Phrase(text)) => email = Some(fold(text)),
            // Texts of lists and numbers are no part of what the store looks at.
            ([] | ["user_id"], Test::Word(text) | Test::Phrase(text)) => contains = Some(text.to_lowercase()),
            _ => {}
        }
    }
    (email, contains)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_there_is_sorted_last() {
        let mut values = vec![json!(2), Value::Null, json!(10), json!(1)];
        values.sort_by(|a, b| compare(a, b, true));
        assert_eq!(values, [json!(10), json!(2), json!(1), Value::Null]);
        values.sort_by(|a, b| compare(a, b, false));
        assert_eq!(values, [json!(1), json!(2), json!(10), Value::Null]);
    }

    #[test]
    fn o37_an_order_is_a_field_and_a_direction() {
        for bad in ["name", "name:2", ":1", "name:1:x", "na me:1", "name;drop:1", "'--:1"] {
            assert!(UserSearch::parse(None, Some(bad), None).is_err(), "{bad}");
        }
        assert!(UserSearch::parse(Some("name:a"), Some("app_metadata.plan:-1"), None).is_ok());
    }

    #[test]
    fn the_store_narrows_only_by_what_must_be_so() {
        let narrowed = |q: &str| narrowed(Some(&Query::parse(q).unwrap()));
        assert_eq!(narrowed("email:\"A@b.example\" AND name:x"), (Some("a@b.example".to_owned()), None));
        assert_eq!(narrowed("email:a OR email:b"), (None, None));
        assert_eq!(narrowed("NOT email:a"), (None, None));
        assert_eq!(narrowed("Jane"), (None, Some("jane".to_owned())));
    }
}
