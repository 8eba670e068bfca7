//! T26 and J24: the parser that reads headers, claims, metadata and keys, on the documents of JSONTestSuite.

#![allow(clippy::unwrap_used)]

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

/// Valid JSON that is refused all the same, because two readers may see two things in it: members of one name, numbers
/// beyond what a double holds exactly, NUL.
const REFUSED: [&str; 9] = [
    "y_number",
    "y_number_real_capital_e",
    "y_number_real_exponent",
    "y_number_real_fraction_exponent",
    "y_object_duplicated_key",
    "y_object_duplicated_key_and_value",
    "y_object_escaped_null_in_key",
    "y_object_extreme_numbers",
    "y_string_null_escape",
];

#[test]
fn t26_the_parser_of_tokens_accepts_json_and_nothing_else() {
    let list: Vec<Value> =
        serde_json::from_str(include_str!("../../../tests/vectors/json_parsing.json")).unwrap();
    let text = |case: &Value, member: &str| case[member].as_str().unwrap_or_default().to_owned();
    let (mut wrong, mut counted) = (Vec::new(), [0; 3]);
    for case in &list {
        let name = text(case, "name");
        let bytes = match case["times"].as_u64() {
            Some(times) => (text(case, "repeated").repeat(usize::try_from(times).unwrap())
                + &text(case, "then"))
                .into_bytes(),
            None => STANDARD.decode(text(case, "base64")).unwrap(),
        };
        let accepted = jose::parse_json(&bytes, 32).is_ok();
        let (place, good) = match name.as_bytes().first() {
            Some(b'y') => (0, accepted != REFUSED.contains(&name.as_str())),
            Some(b'n') => (1, !accepted),
            // Up to the parser, but never text that is no UTF-8 (RFC 8259 section 8.1).
            _ => (2, !accepted || std::str::from_utf8(&bytes).is_ok()),
        };
        counted[place] += 1;
        if !good {
            wrong.push(name);
        }
    }
    assert_eq!(counted, [95, 188, 35]);
    assert!(wrong.is_empty(), "{wrong:?}");
}
