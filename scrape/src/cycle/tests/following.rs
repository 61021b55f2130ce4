//! Pages that stay the same are read another way than pages that are new: what is stored must not show it.

use super::*;
use crate::trail::Trail;

/// Pages in; for each, the stored samples (`~` before a time of their own), the four figures, and whether the next page may follow it.
async fn follow(yaml: &str, steps: &[(&str, &str, [i64; 4], bool)]) -> Rig {
    let mut rig = rig(yaml, steps.iter().map(|(body, ..)| Answer::text(body)).collect()).await;
    for (body, expect, figures, laid) in steps {
        let expect = expect.replace('@', &format!("@{}", rig.at_ms + 1_000)).replace('~', "@");
        let got = rig.scrape().await;
        assert_eq!(sorted(&got), sorted(&format!("{expect}\n{}", report(*figures, rig.at_ms))), "{body}");
        assert_eq!(rig.cycle.trail.is_laid(), *laid, "{body}");
    }
    rig
}

#[tokio::test]
async fn a_page_that_stays_the_same_is_followed_until_it_changes() {
    let rig = follow(
        "",
        &[
            ("# TYPE a counter\na 1\nb{x=\"y\"} 2\n", "a 1@\nb{x=\"y\"} 2@", [1, 2, 2, 2], false),
            ("# TYPE a counter\na 3\nb{x=\"y\"} 4\n", "a 3@\nb{x=\"y\"} 4@", [1, 2, 2, 0], true),
            ("# TYPE a counter\na 5\nb{x=\"y\"} NaN\n", "a 5@\nb{x=\"y\"} NaN@", [1, 2, 2, 0], true),
            // A type changes, which costs some patience.
            ("# TYPE a gauge\na 7\nb{x=\"y\"} 8\n", "a 7@\nb{x=\"y\"} 8@", [1, 2, 2, 0], false),
            ("# TYPE a gauge\na 7\nb{x=\"y\"} 8\n", "a 7@\nb{x=\"y\"} 8@", [1, 2, 2, 0], true),
            ("# TYPE a gauge\na 9\nb{x=\"y\"} 1e3\n", "a 9@\nb{x=\"y\"} 1000@", [1, 2, 2, 0], true),
            // What vanishes, comes back or is new costs none.
            ("# TYPE a gauge\na 9\n", "a 9@\nb{x=\"y\"} stale@", [1, 1, 1, 0], true),
            ("# TYPE a gauge\na 9\n", "a 9@", [1, 1, 1, 0], true),
            ("# TYPE a gauge\na 9\nc 2\n", "a 9@\nc 2@", [1, 2, 2, 1], true),
            ("# TYPE a gauge\na 9\nb{x=\"y\"} 1\n", "a 9@\nb{x=\"y\"} 1@\nc stale@", [1, 2, 2, 1], true),
            ("# TYPE a gauge\na 9\nb{x=\"y\"} 1\nb{x=\"y\"} 1\n", "a 9@\nb{x=\"y\"} 1@", [1, 3, 3, 0], false),
        ],
    )
    .await;
    let kinds: Vec<_> = rig.entry.metadata().read(None).into_iter().map(|(_, m)| m.kind.name()).collect();
    assert_eq!(kinds, ["gauge"]);
}

#[tokio::test]
async fn what_ends_while_a_page_is_followed_gets_its_markers() {
    let same = ("a 1\nb 2\n", "a 1@\nb 2@");
    let gone = ("a stale@\nb stale@", [0, 0, 0, 0]);
    let step = |figures, laid| (same.0, same.1, figures, laid);
    follow(
        "",
        &[
            step([1, 2, 2, 2], false),
            step([1, 2, 2, 0], true),
            ("a 1\nb x\n", "a stale@\nb stale@", [0, 1, 1, 0], false),
            step([1, 2, 2, 0], false),
            step([1, 2, 2, 0], true),
            step([1, 2, 2, 0], true),
            ("", gone.0, [1, 0, 0, 0], false),
        ],
    )
    .await;
}

#[tokio::test]
async fn dropped_series_and_those_of_a_target_that_ends_are_known_to_a_trail() {
    let yaml = "metric_relabel_configs: [{source_labels: [__name__], regex: b, action: drop}]";
    let mut rig = follow(
        yaml,
        &[
            ("a 1\nb 2\nc 3\n", "a 1@\nc 3@", [1, 3, 2, 2], false),
            ("a 1\nb 2\nc 3\n", "a 1@\nc 3@", [1, 3, 2, 0], true),
            ("a 4\nb 5\nc 6\n", "a 4@\nc 6@", [1, 3, 2, 0], true),
        ],
    )
    .await;
    rig.cycle.end(4_000).await;
    let stored = rig.stored();
    assert!(stored.contains("a stale@4000\nc stale@4000\nup stale@4000"), "{stored}");
}

#[tokio::test]
async fn times_are_followed_and_say_whether_a_series_ends() {
    let pages = [
        "a 1 500\nb 2\nc 3 600\n",
        "a 1 501\nb 2\nc 3 601\n",
        "a 4 502\nb 5\nc 6 602\n",
        "b 7\nc 8 603\n",
        "b 9\nd 1 604\n",
    ];
    let check = |yaml: &'static str, expect: [&'static str; 5]| async move {
        let figures = [[1, 3, 3, 3], [1, 3, 3, 0], [1, 3, 3, 0], [1, 2, 2, 0], [1, 2, 2, 1]];
        let laid = [false, true, true, true, true];
        let steps: Vec<_> = (0..5).map(|at| (pages[at], expect[at], figures[at], laid[at])).collect();
        follow(yaml, &steps).await;
    };
    check(
        "",
        [
            "a 1~500\nb 2@\nc 3~600",
            "a 1~501\nb 2@\nc 3~601",
            "a 4~502\nb 5@\nc 6~602",
            "b 7@\nc 8~603",
            "b 9@\nd 1~604",
        ],
    )
    .await;
    check(
        "track_timestamps_staleness: true",
        [
            "a 1~500\nb 2@\nc 3~600",
            "a 1~501\nb 2@\nc 3~601",
            "a 4~502\nb 5@\nc 6~602",
            "a stale@\nb 7@\nc 8~603",
            "b 9@\nc stale@\nd 1~604",
        ],
    )
    .await;
    check(
        "honor_timestamps: false",
        [
            "a 1@\nb 2@\nc 3@",
            "a 1@\nb 2@\nc 3@",
            "a 4@\nb 5@\nc 6@",
            "a stale@\nb 7@\nc 8@",
            "b 9@\nc stale@\nd 1@",
        ],
    )
    .await;
}

#[tokio::test]
async fn a_sample_too_far_ahead_is_counted_wherever_it_stands() {
    let far = "a 1 9000000000000000\nb 2\n";
    let rig = follow(
        "",
        &[
            ("a 1 500\nb 2\n", "a 1~500\nb 2@", [1, 2, 2, 2], false),
            ("a 1 501\nb 2\n", "a 1~501\nb 2@", [1, 2, 2, 0], true),
            (far, "b 2@", [1, 2, 2, 0], false),
        ],
    )
    .await;
    assert_eq!(rig.context.counters.out_of_bounds.get(), 1);
}

#[tokio::test]
async fn exemplars_are_stored_beside_what_is_followed() {
    let page = |a: &str, b: &str| format!("# TYPE a counter\na_total{{x=\"1\"}} {a}\n{b}# EOF\n");
    let other = |b: &str| format!("a_total{{x=\"2\"}} {b}\n");
    let pages = [
        (page("1", &other("2")), "1@", "2@"),
        (page("3", &other("4 # {t=\"u\"} 0.5")), "3@", "4@ # {t=\"u\"} 0.5@"),
        (page("5 # {t=\"v\"} 0.25 7.5", &other("6 # {} 1")), "5@ # {t=\"v\"} 0.25=7500", "6@ # {} 1@"),
        (page("7", ""), "7@", "stale@"),
        (page("7 # {t=\"w\"} 1", &other("8 # {t=\"x\"} 2")), "7@ # {t=\"w\"} 1@", "8@ # {t=\"x\"} 2@"),
    ];
    let mut rig = rig("", pages.iter().map(|(page, ..)| Answer::openmetrics(page)).collect()).await;
    for (at, (page, one, other)) in pages.iter().enumerate() {
        let got = rig.scrape().await;
        for (number, expect) in [(1, one), (2, other)] {
            let expect =
                expect.replace('@', &format!("@{}", rig.at_ms)).replace('=', "@").replace("t@", "t=");
            let line = format!("a_total{{x=\"{number}\"}} {expect}");
            assert!(got.lines().any(|found| found == line), "{line} in {got}, of {page}");
        }
        assert_eq!(rig.cycle.trail.is_laid(), at > 0, "page {at}");
    }
}

#[tokio::test]
async fn pages_with_repeats_or_an_order_of_their_own_are_not_followed() {
    for bodies in [
        ["a 1 500\na 1 600\n", "a 1 700\na 1 800\n"],
        ["a 1\na 1\n", "a 2\na 2\n"],
        ["a 1\nb 2\nc 3\n", "c 1\nb 2\na 3\n"],
    ] {
        let answers = (0..8).map(|turn| Answer::text(bodies[turn % 2])).collect();
        let mut rig = rig("", answers).await;
        for _ in 0..8 {
            rig.scrape().await;
            assert!(!rig.cycle.trail.is_laid(), "{bodies:?}");
        }
    }
}

#[tokio::test]
async fn a_plan_that_changes_is_heeded_by_the_next_page() {
    let body = "a 1\nb 2\n";
    let mut rig = rig("", vec![Answer::text(body)]).await;
    for _ in 0..3 {
        rig.scrape().await;
    }
    assert!(rig.cycle.trail.is_laid());
    rig.cycle.adopt(plan("sample_limit: 1", &rig.address));
    let stored = rig.scrape().await;
    assert!(stored.starts_with("a stale@4000\nb stale@4000\nup 0@4000"), "{stored}");
}

/// A page of some of these lines; the next one is often the same but for its values.
fn next_page(random: &mut fastrand::Rng, lines: &mut Vec<usize>) -> String {
    const LINES: [&str; 14] = [
        "# TYPE a counter\na V\n",
        "# HELP b B.\n# TYPE b gauge\nb{x=\"y\"} V\n",
        "b{x=\"z\"} V\n",
        "{\"c d\",e=\"f\"} V\n",
        "g V T\n",
        "g{c=\"n\"} V T\n",
        "# TYPE x counter\nx_total V E\n",
        "dropped V\n",
        "# a note\n\nh{i=\"j\\n\"} V\n",
        // Two spellings of one series.
        "p_bucket{le=\"1\"} V\n",
        "# TYPE p histogram\np_bucket{le=\"2\"} V\n",
        "k{l=\"m\",n=\"o\"} V\n",
        "k{n=\"o\",l=\"m\"} V\n",
        "broken{ V\n",
    ];
    if random.u32(0..5) == 0 {
        match random.u32(0..6) {
            0 => random.shuffle(lines),
            1 => lines.truncate(random.usize(..=lines.len())),
            2 if !lines.is_empty() => drop(lines.remove(random.usize(..lines.len()))),
            _ => lines.insert(random.usize(..=lines.len()), random.usize(..LINES.len())),
        }
    }
    if random.u32(0..3) == 0 {
        lines.retain(|line| *line < LINES.len() - 1);
    }
    let value = |random: &mut fastrand::Rng| match random.u32(0..8) {
        0 => "NaN".to_owned(),
        1 => format!("{:?}", random.f64()),
        _ => random.u32(..).to_string(),
    };
    let mut page = String::new();
    for line in lines {
        let time = match random.u32(0..50) {
            0 => "90000000".to_owned(),
            _ => random.u32(600..800).to_string(),
        };
        let exemplar = if random.bool() { format!(" # {{t=\"{time}\"}} 0.5") } else { String::new() };
        let line = LINES[*line].replacen('V', &value(random), 1);
        page +=
            &line.replacen(" T\n", &format!(" {time}\n"), 1).replacen(" E\n", &format!("{exemplar}\n"), 1);
    }
    page
}

/// The same in OpenMetrics, mostly.
fn answer(random: &mut fastrand::Rng, lines: &mut Vec<usize>, openmetrics: bool) -> Answer {
    let page = next_page(random, lines);
    match openmetrics {
        // Notes and empty lines are none there.
        true => Answer::openmetrics(&(page.replace("# a note\n\n", "") + "# EOF\n")),
        false => Answer::text(&page),
    }
}

/// Counters, gauges and native histograms; the next page often has the same series.
fn next_protobuf_page(random: &mut fastrand::Rng, members: &mut [Vec<u8>; 3]) -> Answer {
    if random.u32(0..6) == 0 {
        let list = &mut members[random.usize(0..3)];
        match random.u32(0..3) {
            0 => random.shuffle(list),
            1 => drop(list.pop()),
            _ => list.push(random.u8(0..8)),
        }
    }
    let labels = |number: &u8| field(1, &[field(1, b"n"), field(2, &[b'a' + *number])].concat());
    let value = |random: &mut fastrand::Rng| [&[9][..], &random.f64().to_le_bytes()].concat();
    let mut families = Vec::new();
    for (kind, name) in [(0, "c_total"), (1, "dropped"), (4, "h")] {
        let metrics = members[families.len()].iter().map(|number| {
            let mut metric = labels(number);
            match kind {
                0 => {
                    let mut counter = value(random);
                    if random.u32(0..4) == 0 {
                        counter.extend(field(2, &[labels(&7), value(random)].concat()));
                    }
                    metric.extend(field(3, &counter));
                }
                1 => metric.extend(field(2, &value(random))),
                // Seldom one whose count is wrong.
                _ => metric.extend(native_metric(if random.u32(0..100) == 0 { 4 } else { 3 })),
            }
            if *number == 7 {
                // Milliseconds, 640 to 767.
                metric.extend([6 << 3, 0x80 | random.u8(0..128), 5]);
            }
            metric
        });
        families.push((name, kind, metrics.collect()));
    }
    protobuf_page(&families)
}

/// The same pages for a cycle that follows trails, and for one that never does; how often the first followed.
async fn compare(yaml: &str, pages: Vec<Answer>, seed: u64) -> u32 {
    let count = pages.len();
    let (mut one, mut other) = (rig(yaml, pages.clone()).await, rig(yaml, pages).await);
    other.cycle.trail = Trail::never();
    let mut followed = 0;
    for scrape in 0..count {
        followed += u32::from(one.cycle.trail.is_laid());
        let (got, expect) = (one.scrape().await, other.scrape().await);
        assert_eq!(sorted(&got), sorted(&expect), "scrape {scrape}, seed {seed}");
        assert_eq!(one.last_error(), other.last_error(), "scrape {scrape}, seed {seed}");
        let told = |rig: &Rig| format!("{:?}", rig.entry.metadata().read(None));
        assert_eq!(told(&one), told(&other), "scrape {scrape}, seed {seed}");
    }
    let counted = |rig: &Rig| {
        let c = &rig.context.counters;
        [&c.duplicate, &c.out_of_order, &c.out_of_bounds].map(|counter| counter.get())
    };
    assert_eq!(counted(&one), counted(&other), "seed {seed}");
    followed
}

#[tokio::test]
async fn what_is_stored_does_not_depend_on_trails() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut followed, mut of_protobuf) = (0, 0);
    for turn in 0..60 {
        let drop = "metric_relabel_configs: [{source_labels: [__name__], regex: dropped, action: drop}]";
        let times = ["", "honor_timestamps: false", "track_timestamps_staleness: true"][turn % 3];
        let yaml = format!("{drop}\n{times}");
        let mut lines: Vec<usize> = (0..random.usize(1..12)).map(|_| random.usize(0..13)).collect();
        let pages = (0..60).map(|_| answer(&mut random, &mut lines, turn % 2 == 0)).collect();
        followed += compare(&yaml, pages, seed).await;
        let mut members = [vec![0, 1], vec![0], vec![0, 1]];
        let pages = (0..40).map(|_| next_protobuf_page(&mut random, &mut members)).collect();
        of_protobuf += compare(&format!("scrape_native_histograms: true\n{yaml}"), pages, seed).await;
    }
    println!("{followed} and {of_protobuf} pages could follow a trail");
    assert!(followed > 60 && of_protobuf > 60, "seed {seed}: {followed} and {of_protobuf} pages");
}
