//! The README as a list of things to do.

/// Ports of `dev` that the README may name.
const PORTS: [u16; 11] = [9080, 9443, 9444, 9180, 7443, 8001, 9091, 9400, 9401, 9402, 9480];

/// One thing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step<'a> {
    /// Commands of a shell.
    Run(&'a str),
    /// A page to open.
    Open(&'a str),
    /// Lines that the step before must have shown.
    Expect(&'a str),
}

/// All of them, each with the number of the line where it starts.
pub(crate) fn steps(text: &str) -> Vec<(usize, Step<'_>)> {
    let mut steps = Vec::new();
    let mut open: Option<(usize, &str, usize)> = None;
    let mut at = 0;
    for (index, line) in text.lines().enumerate() {
        let (number, start) = (index + 1, at);
        at += line.len() + 1;
        match (open, line.strip_prefix("```")) {
            (None, Some(kind)) => open = Some((number, kind, at)),
            (Some((first, kind, from)), Some("")) => {
                let inside = text[from..start].trim_end();
                steps.push((first, block(first, kind, inside)));
                open = None;
            }
            (None, None) => {
                if let Some((_, rest)) = line.split_once("Open <") {
                    steps.push((number, Step::Open(rest.split_once('>').unwrap().0)));
                }
            }
            (Some(_), _) => {}
        }
    }
    assert!(open.is_none(), "a block is not closed");
    steps
}

fn block<'a>(line: usize, kind: &str, inside: &'a str) -> Step<'a> {
    match kind {
        "sh" => Step::Run(inside),
        "text" => Step::Expect(inside),
        _ => panic!("README.md:{line}: a block of kind {kind:?} cannot be tested"),
    }
}

/// The text with each port of `dev`, where it stands as a number of its own, replaced.
pub(crate) fn move_ports(text: &str, port: impl Fn(u16) -> u16) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(from) = rest.find(|letter: char| letter.is_ascii_digit()) {
        let (before, digits) = rest.split_at(from);
        let end = digits.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(digits.len());
        let (digits, after) = digits.split_at(end);
        let in_a_word = before.ends_with(|letter: char| letter.is_alphanumeric() || letter == '_');
        out.push_str(before);
        match digits.parse().ok().filter(|number| PORTS.contains(number) && !in_a_word) {
            Some(number) => out.push_str(&port(number).to_string()),
            None => out.push_str(digits),
        }
        rest = after;
    }
    out + rest
}

/// The first of `lines` that is not in `output` after those before it.
pub(crate) fn first_missing<'a>(lines: &'a str, output: &str) -> Option<&'a str> {
    let mut left = output.lines();
    lines.lines().find(|expected| !left.any(|line| fits(expected.trim(), line.trim())))
}

/// Whether a line is as expected; `...` stands for anything.
fn fits(expected: &str, line: &str) -> bool {
    let parts: Vec<&str> = expected.split("...").collect();
    let [first, between @ .., last] = parts.as_slice() else { return expected == line };
    let Some(mut rest) = line.strip_prefix(first) else { return false };
    for part in between {
        let Some((_, after)) = rest.split_once(part) else { return false };
        rest = after;
    }
    rest.ends_with(last)
}

#[test]
fn blocks_and_links_are_steps_in_order() {
    let text =
        "# A\n\n```sh\necho a\necho b\n```\n\nOpen <http://localhost:9080/x> now.\n\n```text\nb...\n```\n";
    let expected = [
        (3, Step::Run("echo a\necho b")),
        (8, Step::Open("http://localhost:9080/x")),
        (10, Step::Expect("b...")),
    ];
    assert_eq!(steps(text), expected);
}

#[test]
fn only_ports_are_moved() {
    let moved = move_ports("9080 :9480/x9480 19080 90800 v9080 \"httpbin:9480\"", |port| port + 1);
    assert_eq!(moved, "9081 :9481/x9480 19080 90800 v9080 \"httpbin:9481\"");
}

#[test]
fn expected_lines_come_in_order_with_gaps() {
    let output = "HTTP/1.1 200 OK\nserver: x\n\n{\n  \"a\": \"eyJ123\",\n}\n";
    assert_eq!(first_missing("HTTP/1.1 200 OK\n\"a\": \"eyJ...\",", output), None);
    assert_eq!(first_missing("\"a\": \"eyJ...\",\nHTTP/1.1 200 OK", output), Some("HTTP/1.1 200 OK"));
    assert_eq!(first_missing("HTTP/1.1 200", output), Some("HTTP/1.1 200"));
    assert_eq!(first_missing("HTTP...2...OK", output), None);
}
