//! Lets requests through by the address they come from: the connection's, or the one that a trusted proxy vouches for.

use std::{any::Any, net::IpAddr, sync::Arc};

use bytes::Bytes;
use gateway::{
    error::ConfigError,
    plugin::{Flow, Phases, Plugin, PluginRequest, Reply},
};
use http::{HeaderValue, StatusCode, header};
use ipnet::IpNet;

/// Which addresses, and what the others are told.
#[derive(Clone, Debug)]
pub struct Config {
    /// Only these; empty: all.
    pub allow: Vec<IpNet>,
    /// Not these, also where they are allowed.
    pub deny: Vec<IpNet>,
    /// The status of a refusal.
    pub status: u16,
    /// Its message.
    pub message: String,
    /// The member of its JSON body that carries the message.
    pub member: &'static str,
    /// Whether the address is named after the message.
    pub names_address: bool,
}

/// The compiled form.
struct IpRestriction {
    allow: Vec<IpNet>,
    deny: Vec<IpNet>,
    status: StatusCode,
    message: String,
    member: &'static str,
    names_address: bool,
}

/// Compiles `config`.
///
/// # Errors
///
/// When both lists are empty, or the status is none of a refusal.
pub fn compile(config: Config) -> Result<Arc<dyn Plugin>, ConfigError> {
    let Config { allow, deny, status, message, member, names_address } = config;
    if allow.is_empty() && deny.is_empty() {
        return Err(ConfigError::new("allow", "neither `allow` nor `deny` names an address"));
    }
    let status = StatusCode::from_u16(status).ok().filter(|status| status.as_u16() >= 200);
    let status = status.ok_or_else(|| ConfigError::new("status", "a status from 200 to 999 is needed"))?;
    Ok(Arc::new(IpRestriction { allow, deny, status, message, member, names_address }))
}

impl Plugin for IpRestriction {
    fn name(&self) -> &'static str {
        "ip-restriction"
    }

    fn phases(&self) -> Phases {
        Phases::ACCESS
    }

    fn access(&self, request: &mut PluginRequest<'_>) -> Flow {
        let address = request.peer.ip;
        if self.admits(address) {
            return Flow::Continue;
        }
        let message =
            if self.names_address { format!("{}: {address}", self.message) } else { self.message.clone() };
        let body = format!("{{\"{}\":{}}}\n", self.member, serde_json::Value::from(message));
        let mut reply = Reply::new(Bytes::from(body));
        *reply.status_mut() = self.status;
        reply.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Flow::respond(reply)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl IpRestriction {
    fn admits(&self, address: IpAddr) -> bool {
        // `::ffff:10.0.0.1` is 10.0.0.1 to a listener of both families.
        let address = address.to_canonical();
        let holds = |networks: &[IpNet]| networks.iter().any(|network| network.contains(&address));
        !holds(&self.deny) && (self.allow.is_empty() || holds(&self.allow))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admits(allow: &[&str], deny: &[&str], address: &str) -> bool {
        let networks = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        let (allow, deny) = (networks(allow), networks(deny));
        let config = Config {
            allow,
            deny,
            status: 403,
            message: String::new(),
            member: "message",
            names_address: false,
        };
        let plugin = compile(config).unwrap();
        plugin.as_any().downcast_ref::<IpRestriction>().unwrap().admits(address.parse().unwrap())
    }

    #[test]
    fn a_listed_network_is_let_in_and_a_denied_part_of_it_is_not() {
        assert!(admits(&["10.0.0.0/8"], &[], "10.1.2.3"));
        assert!(!admits(&["10.0.0.0/8"], &[], "11.1.2.3"));
        assert!(!admits(&["10.0.0.0/8"], &["10.1.0.0/16"], "10.1.2.3"));
        assert!(!admits(&[], &["2001:db8::/32"], "2001:db8::1"));
        assert!(admits(&[], &["2001:db8::/32"], "::1"));
        assert!(!admits(&[], &["127.0.0.1/32"], "::ffff:127.0.0.1"));
    }
}
