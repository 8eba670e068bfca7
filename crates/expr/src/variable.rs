use std::borrow::Cow;

/// Longest name of an argument, header or cookie, in bytes.
const NAME_BYTES: usize = 256;

/// What a condition can ask a request for. Names are parsed when the expression is compiled.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Variable {
    /// `uri`, `document_uri`: the normalised path, without the query.
    Uri,
    /// `request_uri`: path and query.
    RequestUri,
    /// `host`: the request's host, lower case, without port.
    Host,
    /// `http_host`: host and port as the client named them.
    HttpHost,
    /// `remote_addr`: the client's address.
    RemoteAddr,
    /// `remote_port`: the client's port.
    RemotePort,
    /// `server_addr`: the address the connection came in on.
    ServerAddr,
    /// `server_port`: the port the connection came in on.
    ServerPort,
    /// `server_protocol`: `HTTP/1.0`, `HTTP/1.1` or `HTTP/2.0`.
    ServerProtocol,
    /// `scheme`: `http` or `https`.
    Scheme,
    /// `request_method`: as sent.
    RequestMethod,
    /// `query_string`, `args`: what follows the `?`, byte for byte; missing when empty.
    QueryString,
    /// `arg_NAME`: the first query argument of this exact name, percent-decoded, `+` read as a space.
    Arg(Box<str>),
    /// `http_NAME`, `content_type`, `content_length`: a header by its lower-case name, all values joined by `, `.
    Header(Box<str>),
    /// `cookie_NAME`: the first cookie of this exact name.
    Cookie(Box<str>),
    /// `route_id`.
    RouteId,
    /// `route_name`.
    RouteName,
    /// `service_id`.
    ServiceId,
    /// What a group of the route's pattern took of the path: by its name, or by its number.
    PathGroup(Box<str>),
    /// The first of these that is there, or else this text.
    FirstOf(Box<[Variable]>, Box<str>),
    /// `consumer_name`: missing until the request is known to come from a consumer.
    ConsumerName,
    /// `consumer_group_id`.
    ConsumerGroupId,
    /// `status`: of the answer; missing until there is one.
    Status,
    /// `upstream_status`: of the upstream's answer; missing until there is one, and where the gate itself answers.
    UpstreamStatus,
    /// `sent_http_NAME`: a header of the answer by its lower-case name, all values joined by `, `.
    SentHeader(Box<str>),
    /// `upstream_addr`: the target that answered.
    UpstreamAddr,
    /// `post_arg_NAME`: the first field of this exact name in a body of `application/x-www-form-urlencoded`.
    PostArg(Box<str>),
    /// `post_arg.PATH`: what a body of form fields, JSON or multipart has at this path of names.
    PostPath(Box<[Box<str>]>),
    /// `graphql_operation`: `query`, `mutation` or `subscription`.
    GraphqlOperation,
    /// `graphql_name`: of the operation; empty where it has none.
    GraphqlName,
    /// `graphql_root_fields`, which `has` this one.
    GraphqlRootField(Box<str>),
    /// What is known when request and answer have ended.
    Exchange(ExchangeVariable),
}

/// A measure of a request and its answer, known when both have ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExchangeVariable {
    /// `request_time`: seconds from the request's head to the end of the answer, with milliseconds.
    RequestTime,
    /// `upstream_response_time`: seconds until the target's answer began, with milliseconds.
    UpstreamResponseTime,
    /// `body_bytes_sent`, `bytes_sent`: bytes of the answer's body.
    BodyBytesSent,
    /// `request_length`: bytes of the request's body.
    RequestLength,
    /// `time_iso8601`: when the request's head was read, in UTC.
    TimeIso8601,
    /// `msec`: the same in seconds since 1970, with milliseconds.
    Msec,
}

/// A request, as far as conditions see it.
pub trait Variables {
    /// The value of `name`, or `None` when the request has none.
    fn value(&self, name: &Variable) -> Option<Cow<'_, str>>;
}

/// Why a name is no variable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VariableError {
    /// APISIX knows it, this build does not implement it.
    #[error("variable `{0}` is not supported")]
    Unsupported(String),
    /// Nobody knows it.
    #[error("unknown variable `{0}`")]
    Unknown(String),
    /// It is known when request and answer have ended, and asked for before.
    #[error("variable `{0}` is known only when the exchange has ended: it is for logs")]
    TooEarly(String),
    /// `arg_`, `http_` or another beginning is followed by nothing, by too much, or by what such a name cannot hold.
    #[error("variable `{0}` does not name an argument, header, cookie or field")]
    BadName(String),
}

/// Beginnings and names that APISIX gives a meaning which needs more than the request's head.
const UNSUPPORTED: &[&str] = &[
    "post_arg",
    "graphql_",
    "uri_param_",
    "consumer_",
    "balancer_",
    "upstream_",
    "ssl_",
    "geoip",
    "apisix_request_id",
    "service_name",
    "request_body",
    "server_name",
    "hostname",
    "mqtt_",
    "resp_",
    "time_",
];

impl Variable {
    /// Reads a name as APISIX writes it.
    pub fn parse(name: &str) -> Result<Self, VariableError> {
        Ok(match name {
            "uri" | "document_uri" => Self::Uri,
            "request_uri" => Self::RequestUri,
            "host" => Self::Host,
            "http_host" => Self::HttpHost,
            "remote_addr" => Self::RemoteAddr,
            "remote_port" => Self::RemotePort,
            "server_addr" => Self::ServerAddr,
            "server_port" => Self::ServerPort,
            "server_protocol" => Self::ServerProtocol,
            "scheme" => Self::Scheme,
            "request_method" => Self::RequestMethod,
            "query_string" | "args" => Self::QueryString,
            "content_type" => Self::Header("content-type".into()),
            "content_length" => Self::Header("content-length".into()),
            "route_id" => Self::RouteId,
            "route_name" => Self::RouteName,
            "service_id" => Self::ServiceId,
            "consumer_name" => Self::ConsumerName,
            "consumer_group_id" => Self::ConsumerGroupId,
            "status" => Self::Status,
            "upstream_addr" => Self::UpstreamAddr,
            "request_time" => Self::Exchange(ExchangeVariable::RequestTime),
            "upstream_response_time" => Self::Exchange(ExchangeVariable::UpstreamResponseTime),
            "body_bytes_sent" | "bytes_sent" => Self::Exchange(ExchangeVariable::BodyBytesSent),
            "request_length" => Self::Exchange(ExchangeVariable::RequestLength),
            "time_iso8601" => Self::Exchange(ExchangeVariable::TimeIso8601),
            "msec" => Self::Exchange(ExchangeVariable::Msec),
            other => return Self::parse_prefixed(other),
        })
    }

    /// Reads a name where a request's route is looked for: the time is known then, and the body can be read.
    pub(crate) fn parse_at_arrival(name: &str) -> Result<Self, VariableError> {
        match name {
            "graphql_operation" => return Ok(Self::GraphqlOperation),
            "graphql_name" => return Ok(Self::GraphqlName),
            // Which field it is, says what follows the operator.
            "graphql_root_fields" => return Ok(Self::GraphqlRootField(Box::default())),
            _ => {}
        }
        if let Some(field) = name.strip_prefix("post_arg_") {
            let fits = !field.is_empty() && field.len() <= NAME_BYTES;
            return if fits { Ok(Self::PostArg(field.into())) } else { Err(bad_name(name)) };
        }
        if let Some(path) = name.strip_prefix("post_arg.") {
            if path.contains(['[', ']', '*']) || path.contains("..") {
                return Err(VariableError::Unsupported(shortened(name)));
            }
            let fits = path.len() <= NAME_BYTES && path.split('.').all(|part| !part.is_empty());
            let parts = || path.split('.').map(Box::from).collect();
            return if fits { Ok(Self::PostPath(parts())) } else { Err(bad_name(name)) };
        }
        match Self::parse(name)? {
            Self::Exchange(ExchangeVariable::TimeIso8601 | ExchangeVariable::Msec) => Self::parse(name),
            other => other.unless_too_early(name),
        }
    }

    /// Reads a name where a request is on its way.
    pub(crate) fn parse_under_way(name: &str) -> Result<Self, VariableError> {
        Self::parse(name)?.unless_too_early(name)
    }

    /// The same where the answer may be asked about, too.
    pub(crate) fn parse_with_answers(name: &str) -> Result<Self, VariableError> {
        match name {
            "status" => Ok(Self::Status),
            "upstream_status" => Ok(Self::UpstreamStatus),
            other => Self::parse_under_way(other),
        }
    }

    /// Whether it is a part of the request's body.
    pub const fn is_of_body(&self) -> bool {
        matches!(
            self,
            Self::PostArg(_)
                | Self::PostPath(_)
                | Self::GraphqlOperation
                | Self::GraphqlName
                | Self::GraphqlRootField(_)
        )
    }

    fn unless_too_early(self, name: &str) -> Result<Self, VariableError> {
        match self {
            Self::Exchange(_) => Err(VariableError::TooEarly(shortened(name))),
            known => Ok(known),
        }
    }

    fn parse_prefixed(name: &str) -> Result<Self, VariableError> {
        let bad = || bad_name(name);
        let fits = |rest: &str| !rest.is_empty() && rest.len() <= NAME_BYTES;
        if let Some(argument) = name.strip_prefix("arg_") {
            return if fits(argument) { Ok(Self::Arg(argument.into())) } else { Err(bad()) };
        }
        if let Some(header) = name.strip_prefix("http_") {
            // nginx's spelling: lower case, with every hyphen of the header's name written as an underscore.
            let header = header.to_ascii_lowercase().replace('_', "-");
            let good = fits(&header) && header.bytes().all(is_token);
            return if good { Ok(Self::Header(header.into())) } else { Err(bad()) };
        }
        if let Some(header) = name.strip_prefix("sent_http_") {
            let header = header.to_ascii_lowercase().replace('_', "-");
            let good = fits(&header) && header.bytes().all(is_token);
            return if good { Ok(Self::SentHeader(header.into())) } else { Err(bad()) };
        }
        if let Some(cookie) = name.strip_prefix("cookie_") {
            let good = fits(cookie) && cookie.bytes().all(is_token);
            return if good { Ok(Self::Cookie(cookie.into())) } else { Err(bad()) };
        }
        if UNSUPPORTED.iter().any(|known| name.starts_with(known)) {
            return Err(VariableError::Unsupported(shortened(name)));
        }
        Err(VariableError::Unknown(shortened(name)))
    }
}

fn bad_name(name: &str) -> VariableError {
    VariableError::BadName(shortened(name))
}

/// RFC 9110 section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// At most 64 characters of a name, so that an error stays a line.
fn shortened(name: &str) -> String {
    name.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_named_in_nginx_spelling() {
        assert_eq!(Variable::parse("http_X_Foo"), Ok(Variable::Header("x-foo".into())));
        assert_eq!(Variable::parse("http_host"), Ok(Variable::HttpHost));
        assert_eq!(Variable::parse("content_type"), Ok(Variable::Header("content-type".into())));
    }

    #[test]
    fn what_is_not_implemented_is_refused_by_name() {
        for name in
            ["post_arg_name", "post_arg.model", "graphql_name", "uri_param_id", "consumer_x", "balancer_ip"]
        {
            assert_eq!(Variable::parse(name), Err(VariableError::Unsupported(name.into())));
        }
        assert_eq!(Variable::parse("nonsense"), Err(VariableError::Unknown("nonsense".into())));
    }

    #[test]
    fn what_only_the_end_of_an_exchange_tells_is_for_logs() {
        for name in
            ["request_time", "upstream_response_time", "bytes_sent", "body_bytes_sent", "request_length"]
        {
            assert!(Variable::parse(name).is_ok());
            for parse in [Variable::parse_at_arrival, Variable::parse_under_way, Variable::parse_with_answers]
            {
                assert_eq!(parse(name), Err(VariableError::TooEarly(name.into())));
            }
        }
        for name in ["time_iso8601", "msec"] {
            assert_eq!(Variable::parse_at_arrival(name), Variable::parse(name));
            assert_eq!(Variable::parse_under_way(name), Err(VariableError::TooEarly(name.into())));
        }
    }

    #[test]
    fn fields_of_the_body_are_named_where_a_route_is_looked_for() {
        let parse = Variable::parse_at_arrival;
        assert_eq!(parse("post_arg_a.b"), Ok(Variable::PostArg("a.b".into())));
        assert_eq!(parse("post_arg.a.b"), Ok(Variable::PostPath(["a".into(), "b".into()].into())));
        for name in ["post_arg.a[0]", "post_arg.a[*].b", "post_arg.a..b", "post_args", "graphql_x"] {
            assert_eq!(parse(name), Err(VariableError::Unsupported(name.into())));
        }
        for name in ["post_arg_", "post_arg.", "post_arg.a.", "post_arg..b"] {
            assert_eq!(parse(name), Err(VariableError::BadName(name.into())));
        }
    }

    #[test]
    fn a_prefix_alone_names_nothing() {
        for name in ["arg_", "http_", "cookie_", "http_a b", "cookie_a;b"] {
            assert!(matches!(Variable::parse(name), Err(VariableError::BadName(_))), "{name}");
        }
    }
}
