//! The requests of an exchange, as text to send, and what is taken from the answers.

use std::collections::BTreeSet;

use anyhow::Context;

use crate::plan::{Capture, Plan, Step};

/// A text with places for variables.
#[derive(Debug)]
enum Template {
    Fixed(Vec<u8>),
    Parts(Vec<Part>),
}

#[derive(Debug)]
enum Part {
    Text(String),
    Variable(usize),
}

/// A step, ready to be sent over HTTP/1.1.
#[derive(Debug)]
pub(crate) struct Request {
    head: Template,
    body: Option<Template>,
    pub(crate) step: Step,
    captures: Vec<(usize, Capture)>,
}

/// All steps, and the names of the variables in them.
#[derive(Debug)]
pub(crate) struct Exchange {
    /// What each connection begins with.
    pub(crate) prologue: Vec<Request>,
    pub(crate) requests: Vec<Request>,
    pub(crate) variables: Vec<String>,
}

impl Exchange {
    /// Reads the steps of a plan.
    pub(crate) fn of(plan: &Plan) -> anyhow::Result<Self> {
        let steps = plan.prologue.iter().chain(&plan.steps);
        let captured = steps.flat_map(|step| &step.captures).map(|capture| capture.name.clone());
        let line = plan.lines.is_some().then(|| "line".to_owned());
        let variables: Vec<String> = captured.chain(line).collect::<BTreeSet<_>>().into_iter().collect();
        let read = |steps: &[Step]| steps.iter().map(|step| Request::of(step, &variables)).collect();
        let (prologue, requests): (anyhow::Result<_>, anyhow::Result<_>) =
            (read(&plan.prologue), read(&plan.steps));
        Ok(Self { prologue: prologue?, requests: requests?, variables })
    }

    /// The place of a variable.
    pub(crate) fn place(&self, name: &str) -> Option<usize> {
        self.variables.iter().position(|known| known == name)
    }
}

impl Request {
    fn of(step: &Step, variables: &[String]) -> anyhow::Result<Self> {
        let mut head = format!("{} {} HTTP/1.1\r\n", step.method, step.target);
        if !step.headers.iter().any(|line| line.to_ascii_lowercase().starts_with("host:")) {
            head += "Host: localhost\r\n";
        }
        for line in &step.headers {
            head += line;
            head += "\r\n";
        }
        let body = step.body.as_deref().map(|body| Template::of(body, variables));
        let captures = step.captures.iter().map(|capture| {
            let place = variables.iter().position(|known| *known == capture.name);
            Ok((place.context("a variable without place")?, capture.clone()))
        });
        Ok(Self {
            head: Template::of(&head, variables),
            body,
            step: step.clone(),
            captures: captures.collect::<anyhow::Result<_>>()?,
        })
    }

    /// Puts what is to be sent in `out`.
    pub(crate) fn render(&self, values: &[String], jar: &Jar, out: &mut Vec<u8>) {
        out.clear();
        self.head.render(values, out);
        jar.render(out);
        if let Some(body) = &self.body {
            let mut rendered = Vec::new();
            body.render(values, &mut rendered);
            out.extend(format!("Content-Length: {}\r\n\r\n", rendered.len()).bytes());
            out.extend(rendered);
        } else {
            out.extend(b"\r\n");
        }
    }

    /// Whether anything is taken from the answer.
    pub(crate) const fn captures(&self) -> bool {
        !self.captures.is_empty()
    }

    /// Takes it; the name of what is not there.
    pub(crate) fn capture(&self, answer: &[u8], values: &mut [String]) -> Result<(), String> {
        for (place, capture) in &self.captures {
            let value =
                between(answer, &capture.after, &capture.until).ok_or_else(|| capture.name.clone())?;
            if let Some(kept) = values.get_mut(*place) {
                *kept = String::from_utf8_lossy(value).into_owned();
            }
        }
        Ok(())
    }
}

/// The cookies of one browser.
#[derive(Debug, Default)]
pub(crate) struct Jar(Vec<(String, String)>);

impl Jar {
    /// Takes what an answer sets; an empty value is none.
    pub(crate) fn take(&mut self, answer: &[u8]) {
        let head = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or(answer.len());
        let head = String::from_utf8_lossy(answer.get(..head).unwrap_or_default());
        for line in head.lines() {
            let Some((name, cookie)) = line.split_once(':') else { continue };
            let pair = cookie.split(';').next().and_then(|pair| pair.trim().split_once('='));
            let Some((cookie, value)) = pair.filter(|_| name.eq_ignore_ascii_case("set-cookie")) else {
                continue;
            };
            self.0.retain(|(known, _)| known != cookie);
            if !value.is_empty() {
                self.0.push((cookie.to_owned(), value.to_owned()));
            }
        }
    }

    fn render(&self, out: &mut Vec<u8>) {
        for (place, (name, value)) in self.0.iter().enumerate() {
            out.extend_from_slice(if place == 0 { b"Cookie: " } else { b"; " });
            out.extend(name.bytes().chain(*b"=").chain(value.bytes()));
        }
        if !self.0.is_empty() {
            out.extend_from_slice(b"\r\n");
        }
    }
}

impl Template {
    fn of(text: &str, variables: &[String]) -> Self {
        let mut parts = Vec::new();
        let (mut rest, mut text_before) = (text, String::new());
        while let Some((before, behind)) = rest.split_once('{') {
            text_before += before;
            let named = behind
                .split_once('}')
                .and_then(|(name, after)| Some((variables.iter().position(|known| known == name)?, after)));
            match named {
                Some((place, after)) => {
                    parts.push(Part::Text(std::mem::take(&mut text_before)));
                    parts.push(Part::Variable(place));
                    rest = after;
                }
                None => {
                    text_before.push('{');
                    rest = behind;
                }
            }
        }
        text_before += rest;
        if parts.is_empty() {
            return Self::Fixed(text_before.into_bytes());
        }
        parts.push(Part::Text(text_before));
        Self::Parts(parts)
    }

    fn render(&self, values: &[String], out: &mut Vec<u8>) {
        match self {
            Self::Fixed(bytes) => out.extend_from_slice(bytes),
            Self::Parts(parts) => {
                for part in parts {
                    match part {
                        Part::Text(text) => out.extend_from_slice(text.as_bytes()),
                        Part::Variable(place) => {
                            out.extend(values.get(*place).into_iter().flat_map(|value| value.bytes()));
                        }
                    }
                }
            }
        }
    }
}

/// What stands behind `after`, up to one of the characters `until` or the end.
fn between<'a>(text: &'a [u8], after: &str, until: &str) -> Option<&'a [u8]> {
    let found = text.windows(after.len()).position(|window| window.eq_ignore_ascii_case(after.as_bytes()))?;
    let rest = text.get(found + after.len()..)?;
    let end = rest.iter().position(|byte| until.as_bytes().contains(byte)).unwrap_or(rest.len());
    rest.get(..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_one_answer_is_sent_with_the_next_request() {
        let plan = serde_json::json!({"steps": [
            {"target": "/a", "captures": [{"name": "code", "after": "location: /?code=", "until": "&\r"}]},
            {"method": "POST", "target": "/b", "headers": ["Host: h"], "body": "{\"code\":\"{code}\"}"},
        ]});
        let exchange = Exchange::of(&serde_json::from_value(plan).unwrap()).unwrap();
        let mut values = vec![String::new(); exchange.variables.len()];
        let answer = b"HTTP/1.1 302 Found\r\nLocation: /?code=xyz&state=1\r\n\r\n";
        exchange.requests[0].capture(answer, &mut values).unwrap();
        assert_eq!(
            exchange.requests[0].capture(b"HTTP/1.1 200 OK\r\n\r\n", &mut values),
            Err("code".to_owned())
        );
        let (mut out, mut jar) = (Vec::new(), Jar::default());
        jar.take(b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1; Path=/\r\nset-cookie: b=\r\nset-cookie: a=2\r\n\r\n");
        exchange.requests[1].render(&values, &jar, &mut out);
        let expected =
            "POST /b HTTP/1.1\r\nHost: h\r\nCookie: a=2\r\nContent-Length: 14\r\n\r\n{\"code\":\"xyz\"}";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
