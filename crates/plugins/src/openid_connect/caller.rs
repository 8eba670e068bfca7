//! A verified caller, whichever way it came: what is decided of it once, and what is said of it on each request.

use std::{borrow::Cow, sync::Arc};

use base::UnixMillis;
use gateway::{
    consumer::{Attached, Brought, Consumer, Consumers},
    plugin::{PluginRequest, Verdict},
    route::Route,
};
use http::{HeaderName, HeaderValue};
use rp::bearer::Found;
use serde_json::{Map, Value};

use super::{
    Config, Headers, Inner,
    assertion::Assertion,
    claim_headers::{self, ClaimHeader},
    claims::{ClaimRef, ClaimRule, Documents},
    token_headers::{self, TokenPart},
};

/// How a caller is found among the consumers.
#[derive(Clone, Debug)]
pub struct ConsumerConfig {
    /// The claims that name it; the first that is there counts.
    pub claims: Vec<ClaimRef>,
    /// What the claim holds: the first that leads to a consumer.
    pub by: Vec<ConsumerName>,
    /// Whether a caller that is no consumer is refused.
    pub required: bool,
    /// Name of the consumer that such a caller counts as.
    pub anonymous: Option<String>,
    /// The groups of a caller who is no consumer.
    pub groups: Option<GroupsClaim>,
}

/// How the groups are found of a caller who is no consumer. The first of them that there is brings its plugins.
#[derive(Clone, Debug)]
pub struct GroupsClaim {
    /// The claim that names them.
    pub claim: ClaimRef,
    /// Whether one of them must be there.
    pub required: bool,
}

/// Whom a request comes from, or what a group of the caller's brings.
#[derive(Default)]
pub(crate) struct Membership {
    pub(crate) attach: Option<Attached>,
    pub(crate) bring: Option<Box<Brought>>,
}

/// A caller is neither the consumer nor in the group that it must be.
pub(crate) struct NoMember;

/// What consumers are looked up by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConsumerName {
    /// The consumer's name.
    #[default]
    Username,
    /// The same, however its letters are written.
    UsernameInAnyCase,
    /// What another system calls it.
    CustomId,
    /// The consumer's id.
    Id,
}

impl ConsumerConfig {
    /// What the claims call it.
    fn name(&self, documents: &Documents<'_>) -> Option<Box<str>> {
        let mut found = self.claims.iter().map(|claim| documents.find(claim));
        name(found.find(|found| *found != Found::Nothing)?)
    }

    /// What the claims call the groups.
    fn groups(&self, documents: &Documents<'_>) -> Box<[Box<str>]> {
        let Some(groups) = &self.groups else { return Box::default() };
        let Found::Values(values) = documents.find(&groups.claim) else { return Box::default() };
        let mut names: Vec<Box<str>> = Vec::new();
        for text in values.iter().filter_map(|value| value.as_str()) {
            names.push(text.into());
            // A claim that is one text may hold several, as `scope` does.
            names.extend(text.split_ascii_whitespace().filter(|word| *word != text).map(Box::from));
        }
        names.into()
    }

    /// Whom a caller is that is called so, or what its groups bring.
    fn place(
        &self,
        name: Option<&str>,
        groups: &[Box<str>],
        consumers: &Consumers,
    ) -> Result<Membership, NoMember> {
        let found = name.and_then(|name| self.find(name, consumers));
        let anonymous = || self.anonymous.as_deref().and_then(|name| consumers.by_username(name));
        if let Some(consumer) = found.or_else(anonymous) {
            return Ok(Membership { attach: Some(Attached::from(Arc::clone(consumer))), bring: None });
        }
        if self.required {
            return Err(NoMember);
        }
        let Some(claim) = &self.groups else { return Ok(Membership::default()) };
        match consumers.brought(groups.iter().map(|name| &**name)) {
            None if claim.required => Err(NoMember),
            brought => Ok(Membership { attach: None, bring: brought.map(Box::new) }),
        }
    }

    fn find<'c>(&self, name: &str, consumers: &'c Consumers) -> Option<&'c Arc<Consumer>> {
        self.by.iter().find_map(|by| match by {
            ConsumerName::Username => consumers.by_username(name),
            ConsumerName::UsernameInAnyCase => consumers.by_username_in_any_case(name),
            ConsumerName::CustomId => consumers.by_custom_id(name),
            ConsumerName::Id => consumers.by_id(name),
        })
    }
}

/// What is kept of a token that was judged once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    /// Whether it fails a rule.
    pub(crate) forbidden: bool,
    /// By what its consumer is found.
    pub(crate) consumer: Option<Box<str>>,
    /// What its groups are called.
    pub(crate) groups: Box<[Box<str>]>,
    /// What the upstream is told of its claims.
    pub(crate) told: Box<[(HeaderName, HeaderValue)]>,
    /// What the client is told of them.
    pub(crate) back: Box<[(HeaderName, HeaderValue)]>,
}

/// What is asked and told of the claims of a token.
#[derive(Clone, Debug, Default)]
pub struct Judging {
    /// Conditions over them.
    pub rules: Vec<ClaimRule>,
    /// Which consumer the caller is.
    pub consumer: Option<ConsumerConfig>,
    /// The claim that tells callers apart who are no consumers.
    pub credential: Option<ClaimRef>,
    /// Headers that tell them to the upstream.
    pub headers: Vec<ClaimHeader>,
    /// Headers that tell them to the client.
    pub back: Vec<ClaimHeader>,
}

/// Judges a token that was verified, or of which nothing can be read (`None`): by rules over claims it fails.
pub(crate) fn judge_token(claims: Option<&Map<String, Value>>, judging: &Judging) -> Known {
    let Some(claims) = claims else {
        return Known { forbidden: !judging.rules.is_empty(), ..Known::default() };
    };
    let documents = Documents::of_token(claims);
    let mut told = claim_headers::told(&judging.headers, &documents);
    told.extend(claim_headers::credential(judging.credential.as_ref(), &documents));
    Known {
        forbidden: !documents.failing(&judging.rules).is_empty(),
        consumer: judging.consumer.as_ref().and_then(|consumer| consumer.name(&documents)),
        groups: judging.consumer.as_ref().map(|consumer| consumer.groups(&documents)).unwrap_or_default(),
        told: told.into(),
        back: claim_headers::told(&judging.back, &documents).into(),
    }
}

/// Whom a token is of, or what its groups bring.
pub(crate) fn member_of(
    known: &Known,
    config: Option<&ConsumerConfig>,
    consumers: &Consumers,
) -> Result<Membership, NoMember> {
    match config {
        None => Ok(Membership::default()),
        Some(config) => config.place(known.consumer.as_deref(), &known.groups, consumers),
    }
}

/// What is known of a caller. All of it follows from claims, which do not change while the token or session is good.
pub(super) struct Caller {
    /// Why it is refused on this route, in the words of the 403.
    pub(super) objection: Option<Box<str>>,
    /// What the upstream is told of it.
    pub(super) told: Box<[(HeaderName, HeaderValue)]>,
    /// What the client is told of it.
    pub(super) back: Box<[(HeaderName, HeaderValue)]>,
    /// By what it is found among the consumers.
    consumer: Option<Box<str>>,
    /// What its groups are called.
    groups: Box<[Box<str>]>,
    assertion: Option<Assertion>,
}

/// Where a request stands.
pub(super) struct Place<'a> {
    pub(super) route: &'a Route,
    pub(super) consumers: &'a Consumers,
}

impl<'a> Place<'a> {
    pub(super) fn of(request: &'a PluginRequest<'_>) -> Self {
        Self { route: request.route, consumers: request.consumers }
    }
}

/// What is said of a caller on one request, beside what it is told anyway.
#[derive(Default)]
pub(super) struct Introduction {
    pub(super) assertion: Option<(HeaderName, HeaderValue)>,
    pub(super) attach: Option<Attached>,
    pub(super) bring: Option<Box<Brought>>,
}

/// Said to a caller who is no consumer where only consumers are let in.
const NO_CONSUMER: &str = "no consumer is known for this caller";

impl Caller {
    /// `told` is what the upstream is told beside the claims and parts that the configuration names.
    pub(super) fn of<'v>(
        config: &Config,
        subject: Option<&str>,
        documents: &Documents<'_>,
        told: impl Iterator<Item = (HeaderName, HeaderValue)>,
        objection: Option<Box<str>>,
        part: &dyn Fn(TokenPart) -> Option<Cow<'v, str>>,
    ) -> Self {
        let Headers { named, back, .. } = &config.headers;
        let claims = claim_headers::told(&config.claim_headers, documents);
        let parts = token_headers::told(named, false, part);
        let mut answered = token_headers::told(named, true, part);
        answered.extend(claim_headers::told(back, documents));
        let consumer = config.consumer.as_ref().and_then(|consumer| consumer.name(documents));
        let groups = config.consumer.as_ref().map(|consumer| consumer.groups(documents)).unwrap_or_default();
        let assertion = config.assertion.as_ref().and_then(|assertion| assertion.of(subject, documents));
        let credential = claim_headers::credential(config.credential.as_ref(), documents);
        let told = told.chain(claims).chain(parts).chain(credential).collect();
        Self { objection, told, back: answered.into(), consumer, groups, assertion }
    }

    /// About how many bytes it takes.
    pub(super) fn weight(&self) -> usize {
        let header = |(name, value): &(HeaderName, HeaderValue)| {
            size_of::<(HeaderName, HeaderValue)>() + name.as_str().len() + value.len()
        };
        let texts = self.objection.iter().chain(&self.consumer).chain(&self.groups);
        let texts = texts.map(|text| text.len()).sum::<usize>();
        self.told.iter().chain(&self.back).map(header).sum::<usize>()
            + texts
            + self.assertion.as_ref().map_or(0, Assertion::weight)
    }
}

/// The one value of a claim that can be a name. Of several, none is the caller's.
fn name(found: Found<'_>) -> Option<Box<str>> {
    let Found::Values(values) = found else { return None };
    match values.as_slice() {
        [Value::String(name)] if !name.is_empty() => Some(name.as_str().into()),
        [Value::Number(number)] => Some(number.to_string().into()),
        _ => None,
    }
}

impl Inner {
    /// What is said of `caller` on a request that stands at `place`, or why it is refused there. `expires` is when the
    /// token or session is over.
    pub(super) fn introduce(
        &self,
        caller: &Caller,
        place: &Place<'_>,
        expires: UnixMillis,
        now: UnixMillis,
    ) -> Result<Introduction, Box<str>> {
        if let Some(objection) = &caller.objection {
            return Err(objection.clone());
        }
        let Membership { attach, bring } = self.member(caller, place.consumers)?;
        let assertion =
            self.config.assertion.as_ref().zip(caller.assertion.as_ref()).and_then(|(config, assertion)| {
                let value =
                    assertion.value(config, &self.services.assertion_keys, place.route, expires, now)?;
                Some((config.header.clone(), value))
            });
        Ok(Introduction { assertion, attach, bring })
    }

    /// Who the caller is. Looked up on every request: one that is deleted is nobody's from then on.
    fn member(&self, caller: &Caller, consumers: &Consumers) -> Result<Membership, Box<str>> {
        let Some(config) = &self.config.consumer else { return Ok(Membership::default()) };
        let placed = config.place(caller.consumer.as_deref(), &caller.groups, consumers);
        placed.map_err(|NoMember| NO_CONSUMER.into())
    }
}

impl Introduction {
    /// Adds itself to a verdict.
    pub(super) fn join(self, verdict: &mut Verdict) {
        let edit = |(name, value)| gateway::plugin::HeaderEdit::Set(name, value);
        verdict.request.extend(self.assertion.map(edit));
        (verdict.attach, verdict.bring) = (self.attach, self.bring);
    }
}
