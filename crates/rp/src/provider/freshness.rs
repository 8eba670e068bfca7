use std::time::Duration;

use http::{HeaderMap, header};

/// How long a key set is used at least before it is fetched again.
const FLOOR: Duration = Duration::from_secs(60);
/// How long where the answer does not say: long enough to be no burden, short enough that a withdrawn key goes soon.
const UNSAID: Duration = Duration::from_secs(3600);

/// How long a key set with these headers is fresh (RFC 9111 section 5.2.2): what `Cache-Control` and `Age` say, at
/// least a minute and at most `ceiling`, which also wins over the minute.
pub(crate) fn lifetime(headers: &HeaderMap, ceiling: Duration) -> Duration {
    let mut lifetime = UNSAID;
    let values = headers.get_all(header::CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    for directive in values.flat_map(|value| value.split(',')) {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        let name = name.trim();
        if name.eq_ignore_ascii_case("no-store") || name.eq_ignore_ascii_case("no-cache") {
            return FLOOR.min(ceiling);
        }
        if name.eq_ignore_ascii_case("max-age")
            && let Ok(seconds) = value.trim().trim_matches('"').parse()
        {
            let age = headers.get(header::AGE).and_then(|age| age.to_str().ok()?.trim().parse().ok());
            lifetime = Duration::from_secs(seconds).saturating_sub(Duration::from_secs(age.unwrap_or(0)));
        }
    }
    lifetime.max(FLOOR).min(ceiling)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn of(headers: &[(&'static str, &'static str)]) -> u64 {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        lifetime(&map, Duration::from_secs(86_400)).as_secs()
    }

    #[test]
    fn cache_control_decides_between_a_minute_and_the_ceiling() {
        assert_eq!(of(&[]), 3600);
        assert_eq!(of(&[("cache-control", "public, max-age=600, must-revalidate")]), 600);
        assert_eq!(of(&[("cache-control", "public"), ("cache-control", "MAX-AGE = 700")]), 700);
        assert_eq!(of(&[("cache-control", "max-age=600"), ("age", "500")]), 100);
        assert_eq!(of(&[("cache-control", "max-age=600"), ("age", "9999")]), 60);
        assert_eq!(of(&[("cache-control", "max-age=5")]), 60);
        assert_eq!(of(&[("cache-control", "no-cache, max-age=600")]), 60);
        assert_eq!(of(&[("cache-control", "max-age=99999999")]), 86_400);
        assert_eq!(of(&[("cache-control", "max-age=-1")]), 3600);
    }

    #[test]
    fn a_ceiling_below_a_minute_wins() {
        assert_eq!(lifetime(&HeaderMap::new(), Duration::from_secs(10)), Duration::from_secs(10));
    }
}
