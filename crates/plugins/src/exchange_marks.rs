//! Tells the client how long its request took and whom the answer went through.

use std::{
    any::Any,
    sync::{Arc, LazyLock},
    time::Duration,
};

use base::Clock;
use gateway::plugin::{Phases, Plugin, PluginResponse};
use http::{HeaderName, HeaderValue, header};

/// What is told; what is `None` is not.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Header for the milliseconds until the upstream's answer began.
    pub upstream: Option<HeaderName>,
    /// Header for those that the gate took beside them.
    pub gate: Option<HeaderName>,
    /// Header for those until an answer of the gate's own.
    pub own: Option<HeaderName>,
    /// Header for the status of the upstream's answer.
    pub status: Option<HeaderName>,
    /// Whom an upstream's answer went through (RFC 9110 section 7.6.3).
    pub via: Option<HeaderValue>,
}

/// The compiled form.
struct ExchangeMarks {
    config: Config,
    clock: Clock,
}

/// Compiles `config`.
pub fn compile(config: Config, clock: &Clock) -> Arc<dyn Plugin> {
    Arc::new(ExchangeMarks { config, clock: clock.clone() })
}

impl Plugin for ExchangeMarks {
    fn name(&self) -> &'static str {
        "exchange-marks"
    }

    fn phases(&self) -> Phases {
        Phases::RESPONSE_HEADERS
    }

    fn response_headers(&self, response: &mut PluginResponse<'_>) {
        let took = self.clock.monotonic().saturating_sub(response.began);
        let Config { upstream, gate, own, status, via } = &self.config;
        let headers = &mut *response.headers;
        let mut tell = |name: &Option<HeaderName>, value: HeaderValue| {
            if let Some(name) = name {
                headers.insert(name.clone(), value);
            }
        };
        let Some(answered) = response.upstream_status else {
            tell(own, millis(took));
            return;
        };
        let waited = response.upstream_took.unwrap_or_default();
        tell(upstream, millis(waited));
        tell(gate, millis(took.saturating_sub(waited)));
        if status.is_some() {
            tell(status, HeaderValue::from(answered.as_u16()));
        }
        if let Some(via) = via {
            headers.append(header::VIA, via.clone());
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Values for what hardly any request takes longer than. They are static, so that no request allocates any, and no core
/// counts what another one uses.
static SHORT: LazyLock<Vec<HeaderValue>> = LazyLock::new(|| {
    (0..1000)
        .map(|millis: u16| HeaderValue::from_static(Box::leak(millis.to_string().into_boxed_str())))
        .collect()
});

fn millis(time: Duration) -> HeaderValue {
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let short = usize::try_from(millis).ok().and_then(|millis| SHORT.get(millis));
    short.cloned().unwrap_or_else(|| HeaderValue::from(millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_are_whole_and_without_zeros_in_front() {
        for (micros, text) in
            [(0, "0"), (999, "0"), (7_000, "7"), (999_999, "999"), (1_000_000, "1000"), (61_234_567, "61234")]
        {
            assert_eq!(millis(Duration::from_micros(micros)), text);
        }
        assert_eq!(millis(Duration::MAX), u64::MAX.to_string().as_str());
    }
}
