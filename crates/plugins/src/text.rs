//! Texts of the operator's with variables in them, as values of headers and members of queries.
//!
//! What a client chose never ends a header: a value with a control character in it is left out whole. And it never
//! becomes an identity: headers by which upstreams know who is calling take constants and the gate's own knowledge.

use std::borrow::Cow;

use expr::{Part, Template, Variable, Variables};
use gateway::{error::ConfigError, is_identity, is_the_gates};
use http::{HeaderName, HeaderValue, header};
use regex::Captures;

/// Bytes of a text as it is written.
const MAX_WRITTEN: usize = 16 * 1024;

/// A text with variables, parsed once.
#[derive(Clone, Debug)]
pub struct Text(Template);

impl Text {
    /// Reads `$name`, `${name}` and `$1`.
    ///
    /// # Errors
    ///
    /// Control characters, and variables that this build does not have.
    pub fn parse(member: &str, text: &str) -> Result<Self, ConfigError> {
        let template = Template::parse(text).map_err(|error| ConfigError::new(member, error.to_string()))?;
        Self::of(member, template)
    }

    /// Of a template that was read already.
    ///
    /// # Errors
    ///
    /// Control characters.
    pub fn of(member: &str, template: Template) -> Result<Self, ConfigError> {
        let mut length = 0;
        for part in template.parts() {
            if let Part::Text(text) = part {
                length += text.len();
                if text.chars().any(|letter| letter.is_control() && letter != '\t') {
                    let why = "it has control characters, which no header can carry";
                    return Err(ConfigError::new(member, why));
                }
            }
        }
        if length > MAX_WRITTEN {
            return Err(ConfigError::new(member, format!("it has more than {MAX_WRITTEN} bytes")));
        }
        Ok(Self(template))
    }

    /// The whole of one without variables.
    pub fn constant(&self) -> Option<&str> {
        match self.parts() {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Its pieces.
    pub(crate) fn parts(&self) -> &[Part] {
        self.0.parts()
    }

    /// The whole, with what the request says in the place of variables.
    pub(crate) fn fill(&self, variables: &dyn Variables, captures: Option<&Captures<'_>>) -> String {
        let mut out = String::new();
        for part in self.parts() {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Variable(variable) => out.push_str(&variables.value(variable).unwrap_or_default()),
                Part::Capture(group) => {
                    let found = captures.and_then(|captures| captures.get(*group));
                    out.push_str(found.map(|found| found.as_str()).unwrap_or_default());
                }
            }
        }
        out
    }

    /// The same as the value of a header; `None` when a client's part of it would end the header.
    pub(crate) fn header(
        &self,
        variables: &dyn Variables,
        captures: Option<&Captures<'_>>,
    ) -> Option<HeaderValue> {
        let text: Cow<'_, str> = match self.parts() {
            [] => Cow::Borrowed(""),
            [Part::Text(text)] => Cow::Borrowed(text),
            _ => Cow::Owned(self.fill(variables, captures)),
        };
        HeaderValue::from_bytes(text.as_bytes()).ok()
    }

    /// Whether any of it is the client's choice.
    fn is_the_clients(&self) -> bool {
        self.parts().iter().any(|part| match part {
            Part::Text(_) => false,
            Part::Capture(_) => true,
            Part::Variable(variable) => !matches!(
                variable,
                Variable::RemoteAddr
                    | Variable::RemotePort
                    | Variable::ServerAddr
                    | Variable::ServerPort
                    | Variable::ServerProtocol
                    | Variable::Scheme
                    | Variable::RouteId
                    | Variable::RouteName
                    | Variable::ServiceId
                    | Variable::ConsumerName
                    | Variable::ConsumerGroupId
            ),
        })
    }
}

/// A header of the request that may be edited.
///
/// # Errors
///
/// No name of a header; `Host`, which has a member of its own; headers that frame the body, belong to the connection, or
/// say what only the gate knows.
pub(crate) fn request_header(member: &str, name: &str) -> Result<HeaderName, ConfigError> {
    let parsed = header_name(member, name)?;
    if parsed == header::HOST {
        return Err(ConfigError::new(member, "`host` has a member of its own"));
    }
    if is_the_gates(parsed.as_str()) || parsed == header::CONTENT_LENGTH || parsed == header::EXPECT {
        let why = format!("{parsed} belongs to the connection or says what only the gate knows");
        return Err(ConfigError::new(member, why));
    }
    Ok(parsed)
}

/// A header of the request that may be given this value.
///
/// # Errors
///
/// As for [`request_header`], and an identity that the client would choose.
pub(crate) fn settable_header(member: &str, name: &str, value: &Text) -> Result<HeaderName, ConfigError> {
    let parsed = request_header(member, name)?;
    if is_identity(parsed.as_str()) && value.is_the_clients() {
        let why = format!("upstreams take {parsed} for the caller's identity, which no client may choose");
        return Err(ConfigError::new(member, why));
    }
    Ok(parsed)
}

/// A header of the request that may be put in the place of all of its name: as [`settable_header`], and those by which the
/// upstream is told how the client came, where the operator knows better and no client has a word in it.
///
/// # Errors
///
/// As for [`settable_header`].
pub(crate) fn replaceable_header(member: &str, name: &str, value: &Text) -> Result<HeaderName, ConfigError> {
    const OF_THE_WAY: [&str; 4] =
        ["x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "x-forwarded-prefix"];
    let parsed = header_name(member, name)?;
    if OF_THE_WAY.contains(&parsed.as_str()) && !value.is_the_clients() {
        return Ok(parsed);
    }
    settable_header(member, name, value)
}

/// A header of an answer that may be edited.
///
/// # Errors
///
/// No name of a header, and headers that frame the body or belong to the connection.
pub(crate) fn response_header(member: &str, name: &str) -> Result<HeaderName, ConfigError> {
    const FRAMING: [HeaderName; 6] = [
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
        header::CONNECTION,
        header::UPGRADE,
        header::TRAILER,
        header::TE,
    ];
    let parsed = header_name(member, name)?;
    if FRAMING.contains(&parsed) || parsed == "keep-alive" || parsed == "proxy-connection" {
        let why = format!("{parsed} frames the answer or belongs to the connection");
        return Err(ConfigError::new(member, why));
    }
    Ok(parsed)
}

fn header_name(member: &str, name: &str) -> Result<HeaderName, ConfigError> {
    HeaderName::from_bytes(name.as_bytes()).map_err(|_| {
        let shown: String = name.chars().take(64).collect();
        ConfigError::new(member, format!("{shown:?} is not the name of a header"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Says(&'static str);

    impl Variables for Says {
        fn value(&self, _: &Variable) -> Option<Cow<'_, str>> {
            Some(Cow::Borrowed(self.0))
        }
    }

    #[test]
    fn h16_a_clients_value_never_ends_a_header() {
        let text = Text::parse("headers", "a-$arg_x").unwrap();
        assert_eq!(text.header(&Says("b"), None).unwrap(), "a-b");
        for bad in ["b\r\nX-Evil: 1", "b\nX", "\0"] {
            assert_eq!(text.header(&Says(bad), None), None, "{bad:?}");
        }
        assert!(Text::parse("headers", "a\r\nX-Evil: 1").is_err());
    }

    #[test]
    fn r06_no_client_chooses_an_identity() {
        let text = |text: &str| Text::parse("headers", text).unwrap();
        for name in ["X-Userinfo", "x_consumer_username", "X-Credential-Identifier", "REMOTE_USER"] {
            for chosen in ["$http_x", "$arg_x", "a$cookie_x", "$uri", "$1", "$host"] {
                assert!(settable_header("headers", name, &text(chosen)).is_err(), "{name} {chosen}");
            }
            for known in ["constant", "$consumer_name", "$remote_addr"] {
                assert!(settable_header("headers", name, &text(known)).is_ok(), "{name} {known}");
            }
        }
        assert!(settable_header("headers", "X-Other", &text("$http_x")).is_ok());
        for (name, value, may) in [
            ("X-Forwarded-Proto", "https", true),
            ("X-Forwarded-Port", "$server_port", true),
            ("X-Forwarded-Host", "$http_x", false),
            ("X-Forwarded-Host", "$host", false),
            ("X_Forwarded_Proto", "https", false),
            ("X-Forwarded-For", "10.0.0.1", false),
            ("X-Real-IP", "10.0.0.1", false),
            ("Forwarded", "for=10.0.0.1", false),
        ] {
            assert_eq!(replaceable_header("headers", name, &text(value)).is_ok(), may, "{name} {value}");
        }
        for name in ["Host", "Content-Length", "Transfer-Encoding", "X-Forwarded-For", "Connection", "a b"] {
            assert!(request_header("headers", name).is_err(), "{name}");
        }
    }
}
