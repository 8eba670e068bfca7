//! Where a text stops being JSON, in the words of the parser behind APISIX's Admin API: its clients and its tests know
//! them.

/// Deepest nesting that is followed.
const MAX_DEPTH: usize = 1000;

/// What a text consists of.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Token {
    ObjectBegin,
    ObjectEnd,
    ArrayBegin,
    ArrayEnd,
    Text,
    Number,
    Boolean,
    Null,
    Colon,
    Comma,
    End,
    /// None of these, and why.
    Wrong(&'static str),
}

impl Token {
    const fn name(self) -> &'static str {
        match self {
            Self::ObjectBegin => "T_OBJ_BEGIN",
            Self::ObjectEnd => "T_OBJ_END",
            Self::ArrayBegin => "T_ARR_BEGIN",
            Self::ArrayEnd => "T_ARR_END",
            Self::Text => "T_STRING",
            Self::Number => "T_NUMBER",
            Self::Boolean => "T_BOOLEAN",
            Self::Null => "T_NULL",
            Self::Colon => "T_COLON",
            Self::Comma => "T_COMMA",
            Self::End => "T_END",
            Self::Wrong(why) => why,
        }
    }
}

/// The first place where `text` breaks JSON's grammar; `None` where what is wrong with it is something else.
pub(super) fn problem(text: &[u8]) -> Option<String> {
    let mut reader = Reader { text, at: 0 };
    let told = reader.value().and_then(|()| match reader.next() {
        (Token::End, _) => Ok(()),
        found => Err(expected("the end", found)),
    });
    told.err().flatten()
}

/// The error is `None` where the text is not followed any further.
type Followed = Result<(), Option<String>>;

fn expected(what: &str, (found, at): (Token, usize)) -> Option<String> {
    Some(format!("Expected {what} but found {} at character {}", found.name(), at.saturating_add(1)))
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
}

/// An object or array that has begun.
#[derive(Clone, Copy, PartialEq)]
enum Open {
    Object,
    Array,
}

impl Reader<'_> {
    /// One value with all that is in it, without recursion: the text is a client's.
    fn value(&mut self) -> Followed {
        let mut open: Vec<Open> = Vec::new();
        let mut token = self.next();
        loop {
            match token.0 {
                Token::ObjectBegin | Token::ArrayBegin if open.len() >= MAX_DEPTH => return Err(None),
                Token::ObjectBegin => {
                    let first = self.next();
                    if first.0 != Token::ObjectEnd {
                        open.push(Open::Object);
                        self.member(first)?;
                        token = self.next();
                        continue;
                    }
                }
                Token::ArrayBegin => {
                    let first = self.next();
                    if first.0 != Token::ArrayEnd {
                        open.push(Open::Array);
                        token = first;
                        continue;
                    }
                }
                Token::Text | Token::Number | Token::Boolean | Token::Null => {}
                _ => return Err(expected("value", token)),
            }
            // A value is over, and with it perhaps what it stands in.
            token = loop {
                let Some(inside) = open.last().copied() else { return Ok(()) };
                let next = self.next();
                match (inside, next.0) {
                    (Open::Object, Token::ObjectEnd) | (Open::Array, Token::ArrayEnd) => {
                        open.pop();
                    }
                    (Open::Object, Token::Comma) => {
                        let name = self.next();
                        self.member(name)?;
                        break self.next();
                    }
                    (Open::Array, Token::Comma) => break self.next(),
                    (Open::Object, _) => return Err(expected("comma or object end", next)),
                    (Open::Array, _) => return Err(expected("comma or array end", next)),
                }
            };
        }
    }

    /// A member's name, and the colon behind it.
    fn member(&mut self, name: (Token, usize)) -> Followed {
        if name.0 != Token::Text {
            return Err(expected("object key string", name));
        }
        match self.next() {
            (Token::Colon, _) => Ok(()),
            found => Err(expected("colon", found)),
        }
    }

    /// The next token, and where it begins or goes wrong.
    fn next(&mut self) -> (Token, usize) {
        while self.peek().is_some_and(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
        let begin = self.at;
        let single = match self.peek() {
            None | Some(0) => return (Token::End, begin),
            Some(b'{') => Token::ObjectBegin,
            Some(b'}') => Token::ObjectEnd,
            Some(b'[') => Token::ArrayBegin,
            Some(b']') => Token::ArrayEnd,
            Some(b':') => Token::Colon,
            Some(b',') => Token::Comma,
            Some(b'"') => return self.string(begin),
            Some(b'-' | b'0'..=b'9') => return self.number(begin),
            Some(_) => return self.word(begin),
        };
        self.at += 1;
        (single, begin)
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn string(&mut self, begin: usize) -> (Token, usize) {
        self.at += 1;
        loop {
            match self.peek() {
                None | Some(0) => return (Token::Wrong("unexpected end of string"), self.at),
                Some(b'"') => {
                    self.at += 1;
                    return (Token::Text, begin);
                }
                Some(b'\\') => {
                    let escaped = self.text.get(self.at + 1).copied();
                    match escaped {
                        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
                        Some(b'u') => {
                            let digits = self.text.get(self.at + 2..self.at + 6).unwrap_or_default();
                            if digits.len() != 4 || !digits.iter().all(u8::is_ascii_hexdigit) {
                                return (Token::Wrong("invalid unicode escape code"), self.at);
                            }
                            self.at += 6;
                        }
                        _ => return (Token::Wrong("invalid escape code"), self.at),
                    }
                }
                Some(_) => self.at += 1,
            }
        }
    }

    fn number(&mut self, begin: usize) -> (Token, usize) {
        let digits = |reader: &mut Self| {
            let first = reader.at;
            while reader.peek().is_some_and(|byte| byte.is_ascii_digit()) {
                reader.at += 1;
            }
            reader.at > first
        };
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if !digits(self) {
            return (Token::Wrong("invalid number"), begin);
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            digits(self);
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            let before = self.at;
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            if !digits(self) {
                self.at = before;
            }
        }
        (Token::Number, begin)
    }

    fn word(&mut self, begin: usize) -> (Token, usize) {
        let rest = self.text.get(begin..).unwrap_or_default();
        for (word, token) in [("true", Token::Boolean), ("false", Token::Boolean), ("null", Token::Null)] {
            if rest.starts_with(word.as_bytes()) {
                self.at += word.len();
                return (token, begin);
            }
        }
        (Token::Wrong("invalid token"), begin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_thing_that_is_no_json_is_named_with_its_place() {
        for (text, told) in [
            ("{abcd", "Expected object key string but found invalid token at character 2"),
            ("not json", "Expected value but found invalid token at character 1"),
            ("", "Expected value but found T_END at character 1"),
            (r#"{"a":1,}"#, "Expected object key string but found T_OBJ_END at character 8"),
            (r#"{"a" 1}"#, "Expected colon but found T_NUMBER at character 6"),
            (r#"{"a":}"#, "Expected value but found T_OBJ_END at character 6"),
            (r#"{"a":{"b":[1 2]}}"#, "Expected comma or array end but found T_NUMBER at character 14"),
            (r#"{"a":1 "b":2}"#, "Expected comma or object end but found T_STRING at character 8"),
            (r#"{"a":1"#, "Expected comma or object end but found T_END at character 7"),
            ("[[]", "Expected comma or array end but found T_END at character 4"),
            ("{} {}", "Expected the end but found T_OBJ_BEGIN at character 4"),
            ("\"a", "Expected value but found unexpected end of string at character 3"),
            (r#"["\x"]"#, "Expected value but found invalid escape code at character 3"),
            (r#"["\u12"]"#, "Expected value but found invalid unicode escape code at character 3"),
            ("[-]", "Expected value but found invalid number at character 2"),
        ] {
            assert_eq!(problem(text.as_bytes()).as_deref(), Some(told), "{text}");
        }
    }

    #[test]
    fn nothing_is_said_of_what_is_json() {
        for text in [r#"{"a":[1,-2.5e+3,true,false,null,"\u00e4\n"],"a":{}}"#, "1e400", " [ ] "] {
            assert_eq!(problem(text.as_bytes()), None, "{text}");
        }
        assert_eq!(problem("[".repeat(100_000).as_bytes()), None);
    }
}
