//! A compressed prefix tree over bytes.

use smallvec::SmallVec;

/// Values under byte strings, found by all of the strings that begin a given one.
#[derive(Debug)]
pub(crate) struct Trie<T> {
    root: Node<T>,
    empty: bool,
}

#[derive(Debug)]
struct Node<T> {
    label: Box<[u8]>,
    value: Option<T>,
    /// Sorted by the first byte of their labels, which differ.
    children: Vec<Node<T>>,
}

impl<T> Default for Trie<T> {
    fn default() -> Self {
        Self { root: Node::leaf(&[], None), empty: true }
    }
}

impl<T> Trie<T> {
    /// Whether nothing was inserted.
    pub(crate) const fn is_empty(&self) -> bool {
        self.empty
    }

    /// Puts `value` under `key`.
    pub(crate) fn insert(&mut self, key: &[u8], value: T) {
        self.empty = false;
        self.root.slot(key).replace(value);
    }

    /// The value under exactly `key`.
    pub(crate) fn get(&self, key: &[u8]) -> Option<&T> {
        self.prefixes_of(key).pop().filter(|(length, _)| *length == key.len()).map(|(_, value)| value)
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

impl<T: Default> Trie<T> {
    /// The value under `key`, made when there is none.
    pub(crate) fn entry(&mut self, key: &[u8]) -> &mut T {
        self.empty = false;
        self.root.slot(key).get_or_insert_default()
    }
}

impl<T> Node<T> {
    fn leaf(label: &[u8], value: Option<T>) -> Self {
        Self { label: label.into(), value, children: Vec::new() }
    }

    fn child(&self, first: u8) -> Option<&Self> {
        let place = self.children.binary_search_by_key(&Some(first), Self::first).ok()?;
        self.children.get(place)
    }

    fn first(&self) -> Option<u8> {
        self.label.first().copied()
    }

    /// The place of the value under `key`, counted from the end of this node's label.
    #[allow(clippy::indexing_slicing)] // every place comes from binary_search or from the insertion before it
    fn slot(&mut self, key: &[u8]) -> &mut Option<T> {
        let Some(first) = key.first() else { return &mut self.value };
        let place = match self.children.binary_search_by_key(&Some(*first), Self::first) {
            Ok(place) => {
                self.children[place].split_where_it_departs_from(key);
                place
            }
            Err(place) => {
                self.children.insert(place, Self::leaf(key, None));
                place
            }
        };
        let child = &mut self.children[place];
        let rest = key.get(child.label.len()..).unwrap_or_default();
        child.slot(rest)
    }

    fn split_where_it_departs_from(&mut self, key: &[u8]) {
        let common = self.label.iter().zip(key).take_while(|(a, b)| a == b).count();
        if common == self.label.len() {
            return;
        }
        let (head, tail) = self.label.split_at(common);
        let lower = Self {
            label: tail.into(),
            value: self.value.take(),
            children: std::mem::take(&mut self.children),
        };
        self.label = head.into();
        self.children.push(lower);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_that_begins_a_text_is_found_shortest_first() {
        let mut trie = Trie::default();
        for key in ["/foo", "/", "/foobar", "/foo/bar", "/fo", ""] {
            trie.insert(key.as_bytes(), key);
        }
        let found: Vec<&str> = trie.prefixes_of(b"/foo/bar/baz").into_iter().map(|(_, key)| *key).collect();
        assert_eq!(found, ["", "/", "/fo", "/foo", "/foo/bar"]);
        assert_eq!(trie.get(b"/foobar"), Some(&"/foobar"));
        assert_eq!(trie.get(b"/foob"), None);
    }

    #[test]
    fn a_trie_agrees_with_a_list_whatever_the_order_of_insertion() {
        let keys = ["a", "ab", "abc", "abd", "b", "ba", "abcd", "x/y/z", "x/y", "x"];
        for turn in 0..keys.len() {
            let mut trie = Trie::default();
            for key in keys.iter().cycle().skip(turn).take(keys.len()) {
                trie.insert(key.as_bytes(), *key);
            }
            for text in ["abcdefg", "abx", "x/y/z/1", "ba", "c", ""] {
                let mut expected: Vec<&str> =
                    keys.iter().copied().filter(|key| text.starts_with(key)).collect();
                expected.sort_by_key(|key| key.len());
                let found: Vec<&str> =
                    trie.prefixes_of(text.as_bytes()).into_iter().map(|(_, key)| *key).collect();
                assert_eq!(found, expected, "{text}");
            }
        }
    }
}
