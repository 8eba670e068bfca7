//! T18, T19 and T21: HTTP/2 clients that make work and wait for nothing.

use std::time::Duration;

use crate::support::{
    Probe, Site,
    http2::{
        ACK, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, Frame, Frames, GOAWAY, HEADERS, PING,
        PRIORITY, RST_STREAM, SETTINGS, WINDOW_UPDATE, block, frame, pseudo,
    },
};

/// Makes the frames that force the server to reset a stream.
type Trigger<'a> = &'a dyn Fn(u32) -> Vec<u8>;

/// NO_ERROR excepted, any code that ends the connection.
fn goes_away(frames: &[Frame]) -> Option<u32> {
    frames.iter().find(|frame| frame.kind == GOAWAY).and_then(Frame::error)
}

/// User and system time of the process, in clock ticks of 10 ms.
fn ticks(site: &Site) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", site.gate.pid())).unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[tokio::test]
async fn t18_rapid_resets_are_told_to_calm_down() {
    let site = Site::alone().await;
    let target = site.target("reset");
    let (memory, time) = (site.gate.resident(), ticks(&site));
    let mut frames = Frames::open(site.gate.port(9080)).await;
    let head = block(&pseudo("GET", &target));
    let streams = |from: u32| -> Vec<u8> {
        (from..from + 10_000)
            .flat_map(|n| {
                let stream = 2 * n + 1;
                let head = frame(HEADERS, END_HEADERS | END_STREAM, stream, &head);
                [head, frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())].concat()
            })
            .collect()
    };
    let mut ended = None;
    for round in 0..10 {
        let (seen, open) = frames.flood(&streams(round * 10_000)).await;
        ended = ended.or(goes_away(&seen));
        if ended.is_some() || !open {
            break;
        }
    }
    if ended.is_none() {
        ended = frames.find(|frame| frame.kind == GOAWAY).await.and_then(|frame| frame.error());
    }
    assert_eq!(ended, Some(ENHANCE_YOUR_CALM));
    let grown = site.gate.resident().saturating_sub(memory);
    assert!(grown < 16 << 20, "memory grew by {grown} bytes");
    // 10 s of CPU time in a debug build; a release build needs a fraction.
    assert!(ticks(&site) - time < 1_000, "{} ticks", ticks(&site) - time);
    site.still_serves().await;
}

#[tokio::test]
async fn t19_resets_that_the_server_is_made_to_send_count_as_well() {
    let site = Site::alone().await;
    let target = site.target("made");
    let head = block(&pseudo("POST", &target));
    let open = |stream: u32| frame(HEADERS, END_HEADERS, stream, &head);
    let overflow = |stream: u32| frame(WINDOW_UPDATE, 0, stream, &0x7fff_ffff_u32.to_be_bytes());
    let zero = |stream: u32| frame(WINDOW_UPDATE, 0, stream, &[0; 4]);
    let itself = |stream: u32| frame(PRIORITY, 0, stream, &[&stream.to_be_bytes()[..], &[0]].concat());
    let short = |stream: u32| frame(PRIORITY, 0, stream, &[0; 3]);
    let twice =
        |stream: u32| [frame(DATA, END_STREAM, stream, b"x"), frame(DATA, END_STREAM, stream, b"x")].concat();
    let triggers: [(&str, Trigger<'_>); 5] = [
        ("window overflow", &overflow),
        ("window of zero", &zero),
        ("dependency on itself", &itself),
        ("short priority", &short),
        ("data after the end", &twice),
    ];
    let mut probe = Probe::new(&site);
    for (case, trigger) in triggers {
        let before = site.gate.resident();
        let mut frames = Frames::open(site.gate.port(9080)).await;
        let bytes: Vec<u8> =
            (0..20_000).flat_map(|n| [open(2 * n + 1), trigger(2 * n + 1)].concat()).collect();
        let (seen, open) = frames.flood(&bytes).await;
        let ended =
            !open || goes_away(&seen).is_some() || frames.find(|frame| frame.kind == GOAWAY).await.is_some();
        probe.check(case, ended, "20,000 of them were borne");
        let grown = site.gate.resident().saturating_sub(before);
        probe.check(case, grown < 16 << 20, format!("memory grew by {grown} bytes"));
    }
    probe.finish().await;
}

#[tokio::test]
async fn t21_control_frames_are_answered_or_ended_but_never_kept() {
    let site = Site::alone().await;
    let target = site.target("flood");
    let cycle = [frame(PRIORITY, 0, 3, &[0, 0, 0, 5, 0]), frame(PRIORITY, 0, 5, &[0, 0, 0, 3, 0])].concat();
    let empty = [
        frame(HEADERS, END_HEADERS, 1, &block(&pseudo("POST", &target))),
        frame(DATA, 0, 1, &[]).repeat(200_000),
    ]
    .concat();
    let mut probe = Probe::new(&site);
    for (case, bytes) in [
        ("settings", frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0xff, 0xff]).repeat(100_000)),
        ("empty settings", frame(SETTINGS, 0, 0, &[]).repeat(100_000)),
        ("settings acknowledged", frame(SETTINGS, ACK, 0, &[]).repeat(100_000)),
        ("pings", frame(PING, 0, 0, &[7; 8]).repeat(100_000)),
        ("priorities", frame(PRIORITY, 0, 3, &[0, 0, 0, 0, 9]).repeat(100_000)),
        ("dependency cycles", cycle.repeat(50_000)),
        ("window updates", frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]).repeat(100_000)),
        ("empty data", empty),
        ("unknown frames", frame(0xbe, 0, 0, &[0; 64]).repeat(100_000)),
    ] {
        let before = site.gate.resident();
        let mut frames = Frames::open(site.gate.port(9080)).await;
        let (_, open) = frames.flood(&bytes).await;
        let grown = site.gate.resident().saturating_sub(before);
        probe.check(case, grown < 16 << 20, format!("memory grew by {grown} bytes"));
        if open {
            // Borne to the end: then the connection must still work, or say that it does not.
            frames.request(7, &pseudo("GET", &target)).await;
            frames.outcome(7).await;
        }
        let good = tokio::time::timeout(Duration::from_secs(5), site.get("good")).await;
        probe.check(case, good.is_ok_and(|answer| answer.status == 200), "a good client had to wait");
    }
    probe.finish().await;
}

#[tokio::test]
async fn t21_a_reader_that_never_reads_is_not_written_for() {
    let site = Site::alone().await;
    site.upstream.answer(crate::support::Answer::with(200, &[], vec![b'x'; 1 << 20]));
    let before = site.gate.resident();
    let target = site.target("unread");
    let mut unread = Vec::new();
    for _ in 0..20 {
        let mut frames = Frames::open(site.gate.port(9080)).await;
        for stream in 0..20 {
            frames.request(2 * stream + 1, &pseudo("GET", &target)).await;
        }
        unread.push(frames);
    }
    // 400 answers of a mebibyte wait behind windows of 64 KiB that are never opened.
    site.still_serves().await;
    let grown = site.gate.resident().saturating_sub(before);
    assert!(grown < 128 << 20, "memory grew by {grown} bytes");
    drop(unread);
}
