//! What Portcullis is to cost beside others, whether it does, and what stands in the way where it does not.

use std::fmt::Write;

use super::{
    rows::Rows,
    scenario::{Protocol, Scenario, Shape},
};

/// One aim: our figure, at most so many times theirs.
struct Aim {
    text: &'static str,
    kind: &'static str,
    figure: &'static str,
    shape: Shape,
    own: Scenario,
    theirs: (Scenario, &'static str),
    most: f64,
    /// What stands in the way.
    obstacle: &'static str,
}

/// By `perf record -e cpu-clock` on the release build.
const OWN_CODE: &str = "of a plain request in the clear 83 % of the CPU time is the kernel's, 17 % the binary's and the C \
                        library's. The system calls are fewer than the rivals'; how their time is divided was not \
                        measured";
const TOKEN: &str = "by `perf record -e cpu-clock`, nginx's own code takes 2.0 µs of a plain request, without log and metrics. \
                     Portcullis' own code takes 2.0 µs on a plain route and 2.6 µs with a token: in a flat profile, what is \
                     looked at, compared, written and copied of a token of 800 bytes. The rest of what a token costs is the \
                     kernel's: 0.9 µs more are sampled where threads are switched (`finish_task_switch`), on cores that are \
                     shared with the load generator and the target. One proxy thread in place of two halves the switches \
                     and not the cost, so what takes the time there was not found. Under `SCHED_BATCH` the same build takes \
                     0.9 µs less; [CPU scheduling](configuration.md#cpu-scheduling) says why that is not the default";
const NEW_TOKEN: &str = "what a new token costs is the difference between this table and that of one token; it was not \
                         divided further";
const STREAMS: &str = "HTTP/1.1 over TLS has the same work without it, so what is left is HTTP/2's own: frames and streams \
                       in the h2 crate, whose cost was not divided further";
const LATE: &str = "what the plain route and the token cost shows here too; of the pauses that make a 99th percentile no \
                    more is known than the range between the rounds";

const fn cost(text: &'static str, own: Scenario, theirs: (Scenario, &'static str), most: f64) -> Aim {
    let obstacle = OWN_CODE;
    Aim { text, kind: "closed", figure: "cpu_us", shape: Shape::STANDARD, own, theirs, most, obstacle }
}

const H1_TLS: Shape = Shape { protocol: Protocol::H1Tls, ..Shape::STANDARD };
const H2_TLS: Shape = Shape { protocol: Protocol::H2Tls, ..Shape::STANDARD };
const OWN: &str = "Portcullis";
const PLAIN: Scenario = Scenario::Plain;
const WARM: Scenario = Scenario::Rs256Warm;

fn aims() -> Vec<Aim> {
    let tls = |text, shape, rival| Aim { shape, ..cost(text, PLAIN, (PLAIN, rival), 1.0) };
    let late = |text, scenario, rival| Aim {
        kind: "fixed",
        figure: "p99_ms",
        obstacle: LATE,
        ..cost(text, scenario, (scenario, rival), 1.0)
    };
    vec![
        Aim {
            obstacle: TOKEN,
            ..cost("a warm RS256 bearer costs no more than nginx's plain route", WARM, (PLAIN, "nginx"), 1.0)
        },
        Aim {
            obstacle: NEW_TOKEN,
            ..cost(
                "a cold RS256 bearer costs less than HAProxy's",
                Scenario::Rs256Cold,
                (Scenario::Rs256Cold, "HAProxy"),
                1.0,
            )
        },
        cost("a plain route costs no more than HAProxy's", PLAIN, (PLAIN, "HAProxy"), 1.0),
        cost("a session cookie costs at most 1.2 times the warm bearer", Scenario::Session, (WARM, OWN), 1.2),
        tls("HTTP/1.1 over TLS: ahead of nginx", H1_TLS, "nginx"),
        tls("HTTP/1.1 over TLS: ahead of Envoy", H1_TLS, "Envoy"),
        Aim { obstacle: STREAMS, ..tls("HTTP/2 over TLS: ahead of nginx", H2_TLS, "nginx") },
        Aim { obstacle: STREAMS, ..tls("HTTP/2 over TLS: ahead of Envoy", H2_TLS, "Envoy") },
        late("99th percentile at 70 % load, plain: no worse than HAProxy's", PLAIN, "HAProxy"),
        late(
            "99th percentile at 70 % load, RS256: no worse than HAProxy's",
            WARM,
            "HAProxy, verified each time",
        ),
    ]
}

/// The table of aims.
pub(crate) fn write(page: &mut String, rows: &Rows) {
    let _ = writeln!(
        page,
        "## Aims\n\n| aim | Portcullis | theirs | ratio of medians | between rounds | |\n|---|---:|---:|---:|---:|---|"
    );
    let mut missed: Vec<(&str, Vec<&str>)> = Vec::new();
    for aim in aims() {
        let of = |scenario: Scenario, name: &str| {
            rows.rounds(&format!("{}/{}/{}/{name}", aim.kind, scenario.name(), aim.shape.name()), aim.figure)
        };
        let (own, theirs) = (of(aim.own, OWN), of(aim.theirs.0, aim.theirs.1));
        if !own.is_there() || !theirs.is_there() {
            continue;
        }
        let ratio = own.median / theirs.median;
        let (best, worst) = (own.least / theirs.most, own.most / theirs.least);
        let verdict = match (ratio <= aim.most, best <= aim.most && worst > aim.most) {
            (true, false) => "met",
            (true, true) => "met, within the noise",
            (false, true) => "**not met**, within the noise",
            (false, false) => "**not met**",
        };
        if ratio > aim.most {
            match missed.iter_mut().find(|(obstacle, _)| *obstacle == aim.obstacle) {
                Some((_, texts)) => texts.push(aim.text),
                None => missed.push((aim.obstacle, vec![aim.text])),
            }
        }
        let unit = if aim.figure == "cpu_us" { "µs" } else { "ms" };
        let _ = writeln!(
            page,
            "| {} | {:.1} {unit} | {:.1} {unit} | {ratio:.2} | {best:.2}–{worst:.2} | {verdict} |",
            aim.text, own.median, theirs.median
        );
    }
    if !missed.is_empty() {
        let _ = writeln!(page, "\nWhat stands in the way of those not met:\n");
    }
    for (obstacle, texts) in missed {
        let _ = writeln!(page, "- {}: {obstacle}.", texts.join("; "));
    }
    let _ = writeln!(page);
}
