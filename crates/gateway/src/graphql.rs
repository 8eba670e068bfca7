//! The first operation of a GraphQL document, as far as routes ask for it: its kind, its name, its root fields. Nothing is
//! validated but the shape: what a document means is its server's business.

/// An operation.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Operation {
    /// `query`, `mutation` or `subscription`.
    pub(crate) kind: String,
    /// Empty: it has none.
    pub(crate) name: String,
    /// Names of its fields, not their aliases, and of the fragments spread among them.
    pub(crate) root_fields: Vec<String>,
}

/// A lexical token (GraphQL specification, section 2.1), as far as they are told apart here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    Name(&'a str),
    Mark(u8),
    Spread,
    /// A number or a string.
    Value,
}

/// Reads the first definition of `document`; `None` where it is no operation, or where the brackets of the document do not
/// match.
pub(crate) fn operation(document: &str) -> Option<Operation> {
    let tokens = tokens(document)?;
    if !is_balanced(&tokens) {
        return None;
    }
    let (kind, rest) = match tokens.as_slice() {
        rest @ [Token::Mark(b'{'), ..] => ("query", rest),
        [Token::Name(kind @ ("query" | "mutation" | "subscription")), rest @ ..] => (*kind, rest),
        _ => return None,
    };
    let (name, rest) = match rest {
        [Token::Name(name), rest @ ..] => (*name, rest),
        rest => ("", rest),
    };
    let rest = after_directives(after_group(rest, b'('));
    let [Token::Mark(b'{'), rest @ ..] = rest else { return None };
    Some(Operation { kind: kind.to_owned(), name: name.to_owned(), root_fields: root_fields(rest)? })
}

/// The names in a selection set, behind its opening brace.
fn root_fields(mut rest: &[Token<'_>]) -> Option<Vec<String>> {
    let mut names = Vec::new();
    loop {
        let (name, after) = match rest {
            [Token::Mark(b'}'), ..] => return (!names.is_empty()).then_some(names),
            [Token::Spread, Token::Name("on"), Token::Name(_), after @ ..] => (None, after),
            [Token::Spread, Token::Name(name), after @ ..] => (Some(*name), after),
            [Token::Spread, after @ ..] => (None, after),
            [Token::Name(_), Token::Mark(b':'), Token::Name(name), after @ ..] => (Some(*name), after),
            [Token::Name(name), after @ ..] => (Some(*name), after),
            _ => return None,
        };
        names.extend(name.map(str::to_owned));
        rest = after_group(after_directives(after_group(after, b'(')), b'{');
    }
}

/// What comes behind a bracketed group, if one begins here.
fn after_group<'t, 'a>(tokens: &'t [Token<'a>], opening: u8) -> &'t [Token<'a>] {
    if tokens.first() != Some(&Token::Mark(opening)) {
        return tokens;
    }
    let mut depth = 0_usize;
    for (place, token) in tokens.iter().enumerate() {
        match token {
            Token::Mark(b'(' | b'[' | b'{') => depth += 1,
            Token::Mark(b')' | b']' | b'}') => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return tokens.get(place + 1..).unwrap_or_default();
        }
    }
    &[]
}

fn after_directives<'t, 'a>(mut tokens: &'t [Token<'a>]) -> &'t [Token<'a>] {
    while let [Token::Mark(b'@'), Token::Name(_), rest @ ..] = tokens {
        tokens = after_group(rest, b'(');
    }
    tokens
}

fn is_balanced(tokens: &[Token<'_>]) -> bool {
    let mut open = Vec::new();
    for token in tokens {
        let good = match token {
            Token::Mark(b'(') => {
                open.push(b')');
                true
            }
            Token::Mark(b'[') => {
                open.push(b']');
                true
            }
            Token::Mark(b'{') => {
                open.push(b'}');
                true
            }
            Token::Mark(closing @ (b')' | b']' | b'}')) => open.pop() == Some(*closing),
            _ => true,
        };
        if !good {
            return false;
        }
    }
    open.is_empty()
}

fn tokens(document: &str) -> Option<Vec<Token<'_>>> {
    let mut tokens = Vec::new();
    let mut rest = document.trim_start_matches('\u{feff}');
    while let Some(first) = rest.bytes().next() {
        let (token, length) = match first {
            b' ' | b'\t' | b'\r' | b'\n' | b',' => (None, 1),
            b'#' => (None, rest.find(['\r', '\n']).unwrap_or(rest.len())),
            b'.' if rest.starts_with("...") => (Some(Token::Spread), 3),
            b'!' | b'$' | b'&' | b'(' | b')' | b':' | b'=' | b'@' | b'[' | b']' | b'{' | b'|' | b'}' => {
                (Some(Token::Mark(first)), 1)
            }
            b'"' => (Some(Token::Value), string(rest)?),
            b'-' | b'0'..=b'9' => {
                let number = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.');
                (Some(Token::Value), rest.bytes().take_while(|byte| number(*byte)).count())
            }
            b'_' | b'a'..=b'z' | b'A'..=b'Z' => {
                let word = rest.bytes().take_while(|byte| *byte == b'_' || byte.is_ascii_alphanumeric());
                let length = word.count();
                (Some(Token::Name(rest.get(..length)?)), length)
            }
            _ => return None,
        };
        tokens.extend(token);
        rest = rest.get(length..)?;
    }
    Some(tokens)
}

/// The length of the string that begins `text`, quotes included.
fn string(text: &str) -> Option<usize> {
    if let Some(block) = text.strip_prefix("\"\"\"") {
        let mut from = 0;
        loop {
            let end = from + block.get(from..)?.find("\"\"\"")?;
            if !block.get(..end)?.ends_with('\\') {
                return Some(end + 6);
            }
            from = end + 3;
        }
    }
    let mut escaped = false;
    for (place, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            b'\r' | b'\n' => return None,
            b'"' if !escaped => return Some(place + 1),
            byte => escaped = byte == b'\\' && !escaped,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(document: &str) -> Option<(String, String, String)> {
        operation(document).map(|found| (found.kind, found.name, found.root_fields.join(" ")))
    }

    #[test]
    fn the_first_operation_is_read() {
        for (document, kind, name, fields) in [
            ("{ owner { name } }", "query", "", "owner"),
            ("query { owner repo }", "query", "", "owner repo"),
            (
                "# of a guide\nquery getRepo($n: [Int!]! = [1], $s: String = \"}\") @cached(ttl: 60) {\n  owner {\n    name\n  }\n  \
                 mine: repo(name: \"\"\"a \\\"\"\" } \"\"\", at: {x: -1.5e3}) @include(if: $s) { id }\n  ...Rest\n  ... on X { y }\n}\n\
                 fragment Rest on Query { z }",
                "query",
                "getRepo",
                "owner repo Rest",
            ),
            ("mutation M{a,b,c}", "mutation", "M", "a b c"),
            ("subscription query { on }", "subscription", "query", "on"),
        ] {
            assert_eq!(read(document), Some((kind.into(), name.into(), fields.into())), "{document}");
        }
    }

    #[test]
    fn what_is_no_operation_is_none() {
        for document in [
            "",
            "{",
            "{}",
            "query",
            "query {a",
            "query {a)}",
            "{a} }",
            "fragment F on X { a }",
            "AA query {a}",
            "{ a(x: \"unterminated) }",
            "{ ? }",
            "{ \"a\" }",
        ] {
            assert_eq!(read(document), None, "{document}");
        }
    }
}
