//! A compressed prefix tree over bytes, of which a copy shares everything that does not change afterwards.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::sharded::Emptiable;

/// Values under byte strings, found by all of the strings that begin a given one.
#[derive(Clone, Debug)]
pub(crate) struct Trie<T> {
    root: Node<T>,
}

#[derive(Clone, Debug)]
struct Node<T> {
    label: Box<[u8]>,
    value: Option<T>,
    /// Sorted by the first byte of their labels, which differ; that byte stands in front.
    children: Vec<(u8, Arc<Node<T>>)>,
}

impl<T> Default for Trie<T> {
    fn default() -> Self {
        Self { root: Node::leaf(&[]) }
    }
}

impl<T> Trie<T> {
    /// Whether nothing is in it.
    pub(crate) const fn is_empty(&self) -> bool {
        self.root.value.is_none() && self.root.children.is_empty()
    }

    /// The values of all keys that begin `text`, with the keys' lengths, shortest first.
    pub(crate) fn prefixes_of(&self, text: &[u8]) -> SmallVec<[(usize, &T); 6]> {
        let mut found = SmallVec::new();
        let (mut node, mut depth) = (&self.root, 0);
        loop {
            if let Some(value) = &node.value {
                found.push((depth, value));
            }
            let rest = text.get(depth..).unwrap_or_default();
            let child = rest.first().and_then(|first| node.child(*first));
            match child.filter(|child| rest.starts_with(&child.label)) {
                Some(child) => {
                    depth += child.label.len();
                    node = child;
                }
                None => return found,
            }
        }
    }
}

impl<T: Clone + Default + Emptiable> Trie<T> {
    /// Changes what is under `key`; what is left as nothing is not kept.
    pub(crate) fn change(&mut self, key: &[u8], change: impl FnOnce(&mut T)) {
        self.root.change(key, change);
    }
}

impl<T> Node<T> {
    fn leaf(label: &[u8]) -> Self {
        Self { label: label.into(), value: None, children: Vec::new() }
    }

    fn child(&self, first: u8) -> Option<&Self> {
        let place = self.children.binary_search_by_key(&first, |(first, _)| *first).ok()?;
        self.children.get(place).map(|(_, child)| &**child)
    }
}

impl<T: Clone + Default + Emptiable> Node<T> {
    /// `key` is counted from the end of this node's label.
    fn change(&mut self, key: &[u8], change: impl FnOnce(&mut T)) {
        let Some(first) = key.first() else {
            let mut value = self.value.take().unwrap_or_default();
            change(&mut value);
            self.value = (!value.is_empty()).then_some(value);
            return;
        };
        let place = match self.children.binary_search_by_key(first, |(first, _)| *first) {
            Ok(place) => place,
            Err(place) => {
                self.children.insert(place, (*first, Arc::new(Self::leaf(key))));
                place
            }
        };
        let Some((_, child)) = self.children.get_mut(place) else { return };
        let child = Arc::make_mut(child);
        child.split_where_it_departs_from(key);
        child.change(key.get(child.label.len()..).unwrap_or_default(), change);
        child.join_with_an_only_child();
        if child.value.is_none() && child.children.is_empty() {
            self.children.remove(place);
        }
    }

    fn split_where_it_departs_from(&mut self, key: &[u8]) {
        let common = self.label.iter().zip(key).take_while(|(a, b)| a == b).count();
        let (head, tail) = self.label.split_at(common);
        let Some(first) = tail.first().copied() else { return };
        let lower = Self {
            label: tail.into(),
            value: self.value.take(),
            children: std::mem::take(&mut self.children),
        };
        self.label = head.into();
        self.children.push((first, Arc::new(lower)));
    }

    /// A node that holds nothing and leads to one place only becomes that place.
    fn join_with_an_only_child(&mut self) {
        if self.value.is_some() || self.children.len() != 1 {
            return;
        }
        let Some((_, only)) = self.children.pop() else { return };
        let only = Arc::unwrap_or_clone(only);
        self.label = [&*self.label, &*only.label].concat().into();
        (self.value, self.children) = (only.value, only.children);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    struct Held(Option<&'static str>);

    impl Emptiable for Held {
        fn is_empty(&self) -> bool {
            self.0.is_none()
        }
    }

    fn insert(trie: &mut Trie<Held>, key: &'static str) {
        trie.change(key.as_bytes(), |held| held.0 = Some(key));
    }

    fn found(trie: &Trie<Held>, text: &str) -> Vec<&'static str> {
        trie.prefixes_of(text.as_bytes()).into_iter().filter_map(|(_, held)| held.0).collect()
    }

    #[test]
    fn every_key_that_begins_a_text_is_found_shortest_first() {
        let mut trie = Trie::default();
        for key in ["/foo", "/", "/foobar", "/foo/bar", "/fo", ""] {
            insert(&mut trie, key);
        }
        assert_eq!(found(&trie, "/foo/bar/baz"), ["", "/", "/fo", "/foo", "/foo/bar"]);
        assert_eq!(found(&trie, "/foob"), ["", "/", "/fo", "/foo"]);
    }

    #[test]
    fn a_trie_agrees_with_a_list_whatever_came_and_went_and_copies_stay_as_they_were() {
        let keys = ["a", "ab", "abc", "abd", "b", "ba", "abcd", "x/y/z", "x/y", "x"];
        let texts = ["abcdefg", "abx", "x/y/z/1", "ba", "c", ""];
        let agrees = |trie: &Trie<Held>, held: &[&'static str]| {
            for text in texts {
                let mut expected: Vec<&str> =
                    held.iter().copied().filter(|key| text.starts_with(key)).collect();
                expected.sort_by_key(|key| key.len());
                assert_eq!(found(trie, text), expected, "{text} among {held:?}");
            }
        };
        for turn in 0..keys.len() {
            let (mut trie, mut held, mut past) = (Trie::default(), Vec::new(), Vec::new());
            for key in keys.iter().cycle().skip(turn).take(keys.len()) {
                past.push((trie.clone(), held.clone()));
                insert(&mut trie, key);
                held.push(*key);
                agrees(&trie, &held);
            }
            for key in keys.iter().cycle().skip(turn * 3).take(keys.len()) {
                past.push((trie.clone(), held.clone()));
                trie.change(key.as_bytes(), |held| held.0 = None);
                held.retain(|other| other != key);
                agrees(&trie, &held);
            }
            assert!(trie.is_empty());
            past.iter().for_each(|(trie, held)| agrees(trie, held));
        }
    }

    #[test]
    fn what_came_and_went_leaves_the_tree_as_it_was() {
        let mut trie = Trie::default();
        insert(&mut trie, "/api/one");
        let before = format!("{trie:?}");
        insert(&mut trie, "/api/other");
        trie.change(b"/api/other", |held| held.0 = None);
        assert_eq!(format!("{trie:?}"), before);
    }
}
