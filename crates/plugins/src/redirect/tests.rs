use super::*;

fn config(target: Target) -> Config {
    Config { target, status: 302, encode: false, append_query: false, hsts: None }
}

fn reason(config: Config) -> String {
    match compile(config) {
        Ok(_) => panic!("it compiles"),
        Err(error) => error.reason,
    }
}

#[test]
fn what_cannot_work_is_refused_where_it_is_written() {
    assert!(compile(Config { status: 199, ..config(Target::Nowhere) }).is_err());
    assert!(compile(config(Target::Template("/a\r\nX: y".to_owned()))).is_err());
    assert!(compile(config(Target::Template("/$graphql_name".to_owned()))).is_err());
    let pattern = |pattern: &str, with: &str| config(Target::Pattern(pattern.to_owned(), with.to_owned()));
    assert!(reason(pattern("(", "/")).starts_with("invalid regex_uri ((, /), err:"));
    assert!(reason(pattern("/", "/$uri")).starts_with("invalid regex_uri (/, /$uri), err:"));
}

#[test]
fn browsers_are_told_in_the_words_of_rfc_6797() {
    let hsts = |days: u64, include_subdomains, preload| {
        let max_age = Duration::from_secs(days * 86_400);
        hsts_header(Hsts { max_age, include_subdomains, preload }).ok()
    };
    assert_eq!(hsts(0, false, false).unwrap(), "max-age=0");
    assert_eq!(hsts(365, true, true).unwrap(), "max-age=31536000; includeSubDomains; preload");
    assert_eq!(hsts(365, false, true), None);
    assert_eq!(hsts(30, true, true), None);
}
