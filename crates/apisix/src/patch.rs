//! PATCH: a recursive merge, or the replacement of one node.

use serde_json::{Map, Value};

use crate::{answer::Answer, schema::excerpt};

/// Merges `patch` into `target`: `null` deletes, objects are merged, everything else (lists too) replaces.
pub(crate) fn merge(target: &mut Map<String, Value>, patch: Map<String, Value>) {
    for (name, change) in patch {
        match change {
            Value::Null => {
                target.shift_remove(&name);
            }
            Value::Object(change) => {
                let slot = target.entry(name).or_insert(Value::Null);
                if !slot.is_object() {
                    *slot = Value::Object(Map::new());
                }
                if let Value::Object(inner) = slot {
                    merge(inner, change);
                }
            }
            other => {
                target.insert(name, other);
            }
        }
    }
}

/// Puts `node` at `path` (`upstream/nodes`), making the objects on the way; `null` deletes what is there.
pub(crate) fn replace(target: &mut Map<String, Value>, path: &[String], node: Value) -> Result<(), Answer> {
    let Some((last, parents)) = path.split_last() else { return Ok(()) };
    let mut at = target;
    for (depth, name) in parents.iter().enumerate() {
        let next = at.entry(name.clone()).or_insert_with(|| Value::Object(Map::new()));
        at = next.as_object_mut().ok_or_else(|| invalid(path.iter().take(depth + 1)))?;
    }
    if node.is_null() {
        at.shift_remove(last);
    } else {
        at.insert(last.clone(), node);
    }
    Ok(())
}

fn invalid<'a>(path: impl Iterator<Item = &'a String>) -> Answer {
    let path = path.map(|name| excerpt(name)).collect::<Vec<_>>().join("/");
    Answer::refuse(format!("invalid sub-path: /{path}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn merged(mut target: Value, patch: Value) -> Value {
        let (Value::Object(target_members), Value::Object(patch)) = (&mut target, patch) else {
            panic!("objects")
        };
        merge(target_members, patch);
        target
    }

    #[test]
    fn objects_are_merged_lists_replaced_and_null_deletes() {
        assert_eq!(
            merged(
                json!({"a": {"b": 1, "c": 2}, "l": [1, 2], "x": 1}),
                json!({"a": {"b": null, "d": {"e": null}}, "l": [3], "x": null})
            ),
            json!({"a": {"c": 2, "d": {}}, "l": [3]})
        );
        assert_eq!(merged(json!({"a": 1}), json!({"a": {"b": 1}})), json!({"a": {"b": 1}}));
        assert_eq!(
            merged(json!({"nodes": {"a:1": 1}}), json!({"nodes": {"a:1": null, "b:1": 1}})),
            json!({"nodes": {"b:1": 1}})
        );
    }

    #[test]
    fn a_sub_path_replaces_one_node_or_says_where_it_ends() {
        let path = |text: &str| text.split('/').map(str::to_owned).collect::<Vec<_>>();
        let mut target = json!({"upstream": {"nodes": {"a:1": 1}}, "uri": "/"});
        let members = target.as_object_mut().unwrap();
        replace(members, &path("upstream/nodes"), json!({"b:1": 2})).unwrap();
        replace(members, &path("labels/x"), json!("y")).unwrap();
        assert_eq!(
            replace(members, &path("uri/x/y"), json!(1)),
            Err(Answer::refuse("invalid sub-path: /uri"))
        );
        replace(members, &path("uri"), Value::Null).unwrap();
        assert_eq!(target, json!({"upstream": {"nodes": {"b:1": 2}}, "labels": {"x": "y"}}));
    }
}
