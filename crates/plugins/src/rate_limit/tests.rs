use std::borrow::Cow;

use super::*;

const NOW: i64 = 1_800_000_000_000;

struct Says(&'static [(&'static str, &'static str)]);

impl Variables for Says {
    fn value(&self, name: &Variable) -> Option<Cow<'_, str>> {
        let found = self.0.iter().find(|(own, _)| Variable::parse(own).as_ref() == Ok(name));
        found.map(|(_, value)| Cow::Borrowed(*value))
    }
}

fn limit(rules: Vec<Rule>) -> RateLimit {
    let config = Config {
        scope: "s".to_owned(),
        rules,
        store: Store::Local,
        degrades: false,
        refusal: Refusal { status: 429, message: "no".to_owned() },
        tightest: Some(names("ratelimit")),
        retry_after: true,
        failure: "failed".to_owned(),
    };
    let services = Services { counters: Arc::default(), clock: Clock::fixed(UnixMillis(NOW)) };
    RateLimit { config: Arc::new(config), status: StatusCode::TOO_MANY_REQUESTS, services }
}

fn names(prefix: &str) -> Names {
    let name = |what: &str| HeaderName::try_from(format!("{prefix}-{what}")).unwrap();
    Names { limit: name("limit"), remaining: name("remaining"), reset: Some(name("reset")) }
}

fn rule(count: u64, window: Window) -> Rule {
    Rule { key: Key::Address, count: Amount::Fixed(count), window, names: Some(names("x")) }
}

fn due(place: usize, rule: &Rule) -> Due {
    let (limit, span) = rule.numbers(&Says(&[]), NOW).unwrap();
    Due { place, key: "k".to_owned(), limit, span }
}

fn told(verdict: &Verdict, name: &str) -> Vec<String> {
    let text = |value: &HeaderValue| value.to_str().unwrap().to_owned();
    match &verdict.reply {
        Some(reply) => reply.headers().get_all(name).iter().map(text).collect(),
        None => {
            verdict.response.iter().filter(|(own, _)| own == name).map(|(_, value)| text(value)).collect()
        }
    }
}

#[test]
fn a_request_is_counted_at_all_its_limits_or_at_none() {
    let rules = vec![rule(10, Window::Calendar(Period::Minute)), rule(2, Window::Fixed(Amount::Fixed(3600)))];
    let due: Vec<Due> = rules.iter().enumerate().map(|(place, rule)| due(place, rule)).collect();
    let plugin = limit(rules);
    let errors = ErrorBody { member: "message" };
    let mut last = None;
    for _ in 0..5 {
        let spent = plugin.spend(&due, NOW);
        last = Some(plugin.verdict(&due, &spent, errors, false));
    }
    let last = last.unwrap();
    // Three were stopped by the hour, and the minute does not know of them.
    assert_eq!(told(&last, "x-remaining"), ["8", "0"]);
    assert_eq!(last.reply.as_ref().unwrap().status(), 429);
    assert_eq!(told(&last, "ratelimit-limit"), ["2"]);
    assert_eq!(told(&last, "retry-after"), ["3600"]);
}

#[test]
fn periods_are_the_calendars() {
    // 2027-01-15T08:00:00Z.
    let span = |period: Period| match period.around(NOW) {
        Span::Between(start, end) => (start, end),
        other => panic!("{other:?}"),
    };
    assert_eq!(span(Period::Second), (NOW, NOW + 1000));
    assert_eq!(span(Period::Day), (1_799_971_200_000, 1_800_057_600_000));
    assert_eq!(span(Period::Month), (1_798_761_600_000, 1_801_440_000_000));
    assert_eq!(span(Period::Year), (1_798_761_600_000, 1_830_297_600_000));
}

#[test]
fn amounts_are_numbers_or_what_a_request_says() {
    let amount = |text: &str| Amount::Variable(Template::parse(text).unwrap());
    let says = Says(&[("arg_n", "7"), ("arg_bad", "x"), ("arg_zero", "0"), ("arg_less", "-1")]);
    assert_eq!(amount("$arg_n").of(&says), Some(7));
    for bad in ["$arg_bad", "$arg_zero", "$arg_less", "$arg_none"] {
        assert_eq!(amount(bad).of(&says), None, "{bad}");
    }
    let check = |count: u64, window: u64| {
        let services = Services { counters: Arc::default(), clock: Clock::fixed(UnixMillis(NOW)) };
        let config =
            Arc::unwrap_or_clone(limit(vec![rule(count, Window::Fixed(Amount::Fixed(window)))]).config);
        compile(config, &services).is_ok()
    };
    assert!(check(1, 1) && check(MAX_COUNT, MAX_WINDOW));
    assert!(!check(0, 1) && !check(1, 0) && !check(MAX_COUNT + 1, 1) && !check(1, MAX_WINDOW + 1));
}

#[test]
fn keys_are_bounded_and_told_apart() {
    let template = Template::parse("$http_a $http_b").unwrap();
    let of = |says: &'static [(&str, &str)]| fill(&template, &Says(says));
    assert_eq!(of(&[("http_a", "1"), ("http_b", "2")]), ("1 2".to_owned(), 2));
    assert_eq!(of(&[]).1, 0);
    let long = |length: usize| bounded("ä".repeat(length));
    assert!(long(5000).len() < MAX_KEY + 16);
    assert_ne!(long(5000), long(5001));
    let mapped =
        fill(&Template::parse("$remote_addr").unwrap(), &Says(&[("remote_addr", "::ffff:10.0.0.1")]));
    assert_eq!(mapped.0, "10.0.0.1");
}

#[test]
fn a_client_that_waits_as_told_is_not_too_early() {
    assert_eq!([0, 1, 999, 1000, 1001].map(seconds), [0, 1, 1, 1, 2]);
}
