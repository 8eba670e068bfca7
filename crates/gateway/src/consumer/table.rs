use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use aws_lc_rs::hmac;
use smallvec::SmallVec;

use super::{Brought, Consumer, Credential};
use crate::{
    route::Layer,
    sharded::{Emptiable, Sharded},
};

/// A keyed digest of a lookup key: it says nothing about the key, not even through the time that comparing it takes.
type Digest = [u8; 32];

/// All consumers of one dialect and their credentials. A copy shares what it does not change.
#[derive(Clone)]
pub struct Consumers {
    pepper: hmac::Key,
    credentials: Sharded<Digest, Claims<Credential>>,
    ids: Sharded<Arc<str>, Claims<Consumer>>,
    usernames: Sharded<Arc<str>, Claims<Consumer>>,
    /// Those that have capital letters, in small ones.
    small_usernames: Sharded<Arc<str>, Claims<Consumer>>,
    custom_ids: Sharded<Arc<str>, Claims<Consumer>>,
    contested: BTreeSet<Digest>,
    groups: Arc<BTreeMap<Arc<str>, Arc<Layer>>>,
}

/// A credential that nothing finds, because an older one is found by the same key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contested {
    /// Id of the credential.
    pub credential: Arc<str>,
    /// The engine's name of its plugin.
    pub plugin: &'static str,
    /// Name of the consumer whose credential is found.
    pub owner: String,
}

impl Consumers {
    /// An empty table. `pepper` is secret and random: it keys the digests.
    pub fn new(pepper: &[u8; 32]) -> Self {
        Self {
            pepper: hmac::Key::new(hmac::HMAC_SHA256, pepper),
            credentials: Sharded::default(),
            ids: Sharded::default(),
            usernames: Sharded::default(),
            small_usernames: Sharded::default(),
            custom_ids: Sharded::default(),
            contested: BTreeSet::new(),
            groups: Arc::default(),
        }
    }

    /// The credential that the authentication plugin of that name finds by `lookup`.
    pub fn credential(&self, plugin: &str, lookup: &[u8]) -> Option<&Arc<Credential>> {
        self.credentials.get(&self.digest(plugin, lookup))?.first()
    }

    /// The consumer of this id.
    pub fn by_id(&self, id: &str) -> Option<&Arc<Consumer>> {
        self.ids.get(id)?.first()
    }

    /// The consumer of this name.
    pub fn by_username(&self, username: &str) -> Option<&Arc<Consumer>> {
        self.usernames.get(username)?.first()
    }

    /// The same, however its letters are written; of several, the one that is written so, or else none.
    pub fn by_username_in_any_case(&self, username: &str) -> Option<&Arc<Consumer>> {
        let small = username.to_lowercase();
        let others = || match (self.usernames.get(small.as_str()), self.small_usernames.get(small.as_str())) {
            (Some(one), None) | (None, Some(one)) => one.only(),
            _ => None,
        };
        self.by_username(username).or_else(others)
    }

    /// The consumer that another system calls so. Nothing keeps two consumers from saying so: then it is neither.
    pub fn by_custom_id(&self, custom_id: &str) -> Option<&Arc<Consumer>> {
        self.custom_ids.get(custom_id)?.only()
    }

    /// What a caller has who belongs to the groups of these names: the plugins of the first that there is.
    pub fn brought<'n>(&self, names: impl Iterator<Item = &'n str>) -> Option<Brought> {
        let mut found = names.filter_map(|name| self.groups.get_key_value(name));
        let (first, layer) = found.next()?;
        let groups = std::iter::once(first).chain(found.map(|(name, _)| name)).cloned().collect();
        Some(Brought { layer: Arc::clone(layer), groups })
    }

    /// Puts these in the place of all groups.
    pub fn set_groups(&mut self, groups: BTreeMap<Arc<str>, Arc<Layer>>) {
        self.groups = Arc::new(groups);
    }

    /// Puts a consumer and its credentials into the table.
    pub fn insert(&mut self, consumer: &Arc<Consumer>, credentials: &[Arc<Credential>]) {
        self.each_name(consumer, |claims| claims.add(Arc::clone(consumer), |other| other.created));
        for credential in credentials {
            let digest = self.digest(credential.compiled.plugin, credential.compiled.lookup.expose());
            let mut contested = false;
            self.credentials.change(&digest, |claims| {
                claims.add(Arc::clone(credential), |other| other.created);
                contested = claims.0.len() > 1;
            });
            if contested {
                self.contested.insert(digest);
            }
        }
    }

    /// Takes out what [`Consumers::insert`] put in.
    pub fn remove(&mut self, consumer: &Arc<Consumer>, credentials: &[Arc<Credential>]) {
        self.each_name(consumer, |claims| claims.drop(consumer));
        for credential in credentials {
            let digest = self.digest(credential.compiled.plugin, credential.compiled.lookup.expose());
            let mut contested = false;
            self.credentials.change(&digest, |claims| {
                claims.drop(credential);
                contested = claims.0.len() > 1;
            });
            if !contested {
                self.contested.remove(&digest);
            }
        }
    }

    /// The credentials that are never found.
    pub fn contested(&self) -> Vec<Contested> {
        let mut out = Vec::new();
        for claims in self.contested.iter().filter_map(|digest| self.credentials.get(digest)) {
            let Some((first, others)) = claims.0.split_first() else { continue };
            out.extend(others.iter().map(|credential| Contested {
                credential: Arc::clone(&credential.id),
                plugin: credential.compiled.plugin,
                owner: first.consumer.name().to_owned(),
            }));
        }
        out
    }

    fn each_name(&mut self, consumer: &Arc<Consumer>, mut change: impl FnMut(&mut Claims<Consumer>)) {
        self.ids.change(&consumer.id, &mut change);
        if let Some(username) = &consumer.username {
            self.usernames.change(username, &mut change);
            let small = username.to_lowercase();
            if small != **username {
                self.small_usernames.change(&Arc::from(small), &mut change);
            }
        }
        if let Some(custom_id) = &consumer.custom_id {
            self.custom_ids.change(custom_id, &mut change);
        }
    }

    fn digest(&self, plugin: &str, lookup: &[u8]) -> Digest {
        let mut context = hmac::Context::with_key(&self.pepper);
        context.update(plugin.as_bytes());
        context.update(b"\0");
        context.update(lookup);
        let mut out = [0; 32];
        out.iter_mut().zip(context.sign().as_ref()).for_each(|(to, from)| *to = *from);
        out
    }
}

impl Default for Consumers {
    /// A table that is to stay empty.
    fn default() -> Self {
        Self::new(&[0; 32])
    }
}

impl fmt::Debug for Consumers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Consumers")
    }
}

/// Those who claim one key, the oldest first.
#[derive(Debug)]
struct Claims<T>(SmallVec<[Arc<T>; 1]>);

impl<T> Claims<T> {
    fn first(&self) -> Option<&Arc<T>> {
        self.0.first()
    }

    fn only(&self) -> Option<&Arc<T>> {
        self.0.first().filter(|_| self.0.len() == 1)
    }

    fn add(&mut self, one: Arc<T>, created: impl Fn(&T) -> u64) {
        self.0.push(one);
        self.0.sort_by_key(|one| created(one));
    }

    fn drop(&mut self, one: &Arc<T>) {
        self.0.retain(|other| !Arc::ptr_eq(other, one));
    }
}

impl<T> Default for Claims<T> {
    fn default() -> Self {
        Self(SmallVec::new())
    }
}

impl<T> Clone for Claims<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Emptiable for Claims<T> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use base::Secret;

    use super::*;
    use crate::consumer::CompiledCredential;

    fn consumer(name: &str, custom_id: Option<&str>, created: u64) -> Arc<Consumer> {
        Arc::new(Consumer {
            id: name.into(),
            username: Some(name.into()),
            custom_id: custom_id.map(Into::into),
            groups: Vec::new(),
            memberships: Vec::new(),
            labels: BTreeMap::new(),
            headers: Vec::new(),
            layer: Arc::default(),
            created,
        })
    }

    fn key(of: &Arc<Consumer>, key: &str) -> Arc<Credential> {
        let compiled = CompiledCredential {
            plugin: "key-auth",
            lookup: Secret::new(key.as_bytes().to_vec()),
            material: Arc::new(key.len()),
        };
        Arc::new(Credential::new(format!("{}/{key}", of.id).into(), Arc::clone(of), of.created, compiled))
    }

    fn owner<'a>(table: &'a Consumers, key: &str) -> Option<&'a str> {
        table.credential("key-auth", key.as_bytes()).map(|found| found.consumer.name())
    }

    #[test]
    fn a_credential_is_found_by_its_plugin_and_key_and_holds_what_was_compiled() {
        let mut table = Consumers::new(&[7; 32]);
        let jack = consumer("jack", None, 1);
        table.insert(&jack, &[key(&jack, "k")]);
        assert_eq!(owner(&table, "k"), Some("jack"));
        let found = table.credential("key-auth", b"k").unwrap();
        assert_eq!((found.material::<usize>(), found.material::<String>()), (Some(&1), None));
        assert!(table.credential("jwt-auth", b"k").is_none());
        assert!(table.credential("key-auth", b"K").is_none() && table.credential("key-auth", b"").is_none());
    }

    #[test]
    fn of_two_that_claim_a_key_the_older_has_it_whatever_order_they_came_in() {
        let (old, young) = (consumer("old", None, 1), consumer("young", None, 2));
        let (of_old, of_young) = (key(&old, "k"), key(&young, "k"));
        let mut table = Consumers::default();
        table.insert(&young, &[Arc::clone(&of_young)]);
        assert_eq!((owner(&table, "k"), table.contested().len()), (Some("young"), 0));
        table.insert(&old, &[Arc::clone(&of_old)]);
        assert_eq!(owner(&table, "k"), Some("old"));
        let contested = table.contested();
        assert_eq!((contested[0].credential.as_ref(), contested[0].owner.as_str()), ("young/k", "old"));
        table.remove(&old, &[of_old]);
        assert_eq!((owner(&table, "k"), table.contested().len()), (Some("young"), 0));
        assert!(table.by_username("old").is_none());
    }

    #[test]
    fn an_id_of_another_system_that_two_consumers_claim_is_neithers() {
        let (a, b) = (consumer("a", Some("x"), 1), consumer("b", Some("x"), 2));
        let mut table = Consumers::default();
        table.insert(&a, &[]);
        assert_eq!(table.by_custom_id("x").map(|found| found.name()), Some("a"));
        table.insert(&b, &[]);
        assert!(table.by_custom_id("x").is_none());
        table.remove(&a, &[]);
        assert_eq!(table.by_custom_id("x").map(|found| found.name()), Some("b"));
    }

    #[test]
    fn a_copy_does_not_see_what_changes_afterwards() {
        let mut table = Consumers::default();
        let jack = consumer("jack", None, 1);
        let before = table.clone();
        table.insert(&jack, &[key(&jack, "k")]);
        assert!(before.by_id("jack").is_none() && owner(&before, "k").is_none());
        assert!(table.by_id("jack").is_some());
    }
}
