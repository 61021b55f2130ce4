//! Meaning, shapes, and the equality of the fast ways with the automaton.

use super::*;

#[track_caller]
fn check(source: &str, yes: &[&str], no: &[&str]) {
    let regex = Regex::anchored(source).unwrap_or_else(|error| panic!("{error}"));
    for value in yes {
        assert!(regex.is_match(value), "{source} must match {value:?}");
    }
    for value in no {
        assert!(!regex.is_match(value), "{source} must not match {value:?}");
    }
}

/// Asked of Prometheus 3.5.
#[test]
fn means_what_re2_means() {
    check("foo|bar", &["foo", "bar"], &["", "foobar", "xfoo", "foo\n"]);
    check(".", &["\n", "é", "😀"], &["", "ab"]);
    check("(?-s).", &["a"], &["\n"]);
    check(r"\d\w\s", &["1a "], &["٣a ", "1é ", "1a\u{a0}"]);
    check(r"\s", &["\t", "\n", "\u{c}", "\r", " "], &["\u{b}", "\u{85}"]);
    check(r"[[:alpha:]]", &["a", "Z"], &["é", "1"]);
    check(r"[^\d]", &["a", "٣"], &["1"]);
    check(r"\bé", &[], &["é"]);
    check(r"é\bx", &["éx"], &[]);
    check("a$|b", &["a", "b"], &["a\n"]);
    check("(?m)a$\nb", &["a\nb"], &["a"]);
    check(r"\Aa\z", &["a"], &["a\n"]);
    check("(?i)straße", &["STRAẞE", "straße"], &["strasse"]);
    check("(?i)k", &["k", "K", "\u{212a}"], &["c"]);
    check(r"(?i)\w", &["ſ", "\u{212a}"], &["é"]);
    check(r"(?i)\W", &["é"], &["ſ", "\u{212a}"]);
    check(r"(?i)\p{Lu}", &["a", "A", "é"], &["1"]);
    check(r"(?i)\P{Lu}", &["1"], &["a", "A"]);
    check(r"(?i)[^a]", &["b"], &["a", "A"]);
    check(r"\p{Greek}\pL\P{Greek}", &["αéz"], &["zéα"]);
    check(r"\Qa.b*\E.\.", &["a.b*x."], &["axb*x."]);
    check(r"[a&&b]", &["a", "b", "&"], &["&&", ""]);
    check(r"[a~~b-]", &["a", "~", "-"], &["c"]);
    check(r"[[a]", &["[", "a"], &["]"]);
    check(r"[]a-]", &["]", "a", "-"], &[""]);
    check(r"\101\x42\x{43}\a", &["ABC\u{7}"], &["ABC"]);
    check(r"a{,2}|x{2}|b{01}", &["a{,2}", "xx", "b{01}"], &["a", "aa", "x", "b"]);
    check(r"[^\x{0}-\x{10FFFF}]|\x{d800}", &[], &["", "a"]);
    check("", &[""], &["a", "\n"]);
    check("a||b", &["", "a", "b"], &["ab"]);
    check("^foo$", &["foo"], &["^foo$"]);
    check("a^b|a$b", &[], &["ab", "a^b"]);
}

#[track_caller]
fn shape(source: &str, expect: &str) {
    let regex = Regex::anchored(source).unwrap_or_else(|error| panic!("{error}"));
    let got = match regex.shape() {
        Shape::Set(values) => format!("set {}", values.join(" ")),
        Shape::Any => "any".to_owned(),
        Shape::NotEmpty => "not empty".to_owned(),
        Shape::Prefix(word) => format!("prefix {word}"),
        Shape::Contains(word) => format!("contains {word}"),
        Shape::Unknown => "unknown".to_owned(),
    };
    let words = matches!(regex.0.test, Test::Words(_));
    assert_eq!(format!("{got}{}", if words { "" } else { ", automaton" }), expect, "{source}");
}

#[test]
fn shapes_say_what_an_index_can_use() {
    shape("", "set ");
    shape("foo", "set foo");
    shape("b|a|b", "set a b");
    shape("(b|a)c", "set ac bc");
    shape("a[bc]d", "set abd acd");
    shape("^(?:foo|bar)$", "set bar foo");
    shape("x(?:a|b)?", "set x xa xb");
    shape("(?i)ab", "set AB Ab aB ab");
    shape("[ab]{2}", "set aa ab ba bb");
    shape(r"10\.0\.0\.1:9090", "set 10.0.0.1:9090");
    shape(r"[^\x{0}-\x{10FFFF}]", "set ");
    shape(".*", "any");
    shape("(.*)", "any");
    shape("^.*$", "any");
    shape("|.+", "any");
    shape("foo|.*", "any");
    shape(".+", "not empty");
    shape("foo|.+", "not empty");
    shape(".+.*", "not empty");
    shape("foo.*", "prefix foo");
    shape("foo.+bar", "prefix foo");
    shape("foobar|foo.*|foob.+", "prefix foo");
    shape("(foo|bar).*", "unknown");
    shape(".*foo.*", "contains foo");
    shape(".*a.*long.+b", "contains long");
    shape(".*foo", "contains foo");
    shape("..+", "unknown, automaton");
    shape("foo[0-9]+", "prefix foo, automaton");
    shape("foo[0-9]*bars", "prefix foo, automaton");
    shape("[0-9]+-(?:x|yx)", "contains x, automaton");
    shape("[0-9]+long[0-9]+x", "contains long, automaton");
    shape("(?:foo|fob)[0-9]+", "prefix fo, automaton");
    shape("(?-s:.*)", "unknown, automaton");
    shape("(?i)muchlonger", "unknown, automaton");
    shape("foo.*|x.*|[0-9]+", "unknown, automaton");
}

#[test]
fn sets_that_are_listed_have_no_limit_and_others_have() {
    let listed: Vec<String> = (0..5_000).map(|i| format!("pod-{i}")).collect();
    let regex = Regex::anchored(&listed.join("|")).expect("valid");
    assert!(matches!(regex.shape(), Shape::Set(values) if values.len() == 5_000));
    assert!(regex.is_match("pod-4999") && !regex.is_match("pod-5000"));
    let regex = Regex::anchored(&format!("a-({})-z", listed.join("|"))).expect("valid");
    assert!(matches!(regex.shape(), Shape::Set(values) if values.len() == 5_000));
    assert!(matches!(Regex::anchored("[0-9]{2}").expect("valid").shape(), Shape::Set(v) if v.len() == 100));
    assert!(matches!(Regex::anchored("[0-9]{3}").expect("valid").shape(), Shape::Unknown));
}

/// A random pattern of what patterns are made of, mostly small enough for a fast way.
fn pattern(rng: &mut fastrand::Rng, depth: u32) -> String {
    const LEAVES: [&str; 16] =
        ["a", "b", "ab", "é", ".*", ".+", ".*", "", "[ab]", "[^a]", ".", "a?", "(?i:a)", "b{2}", "^", "$"];
    if depth == 0 {
        return LEAVES[rng.usize(..LEAVES.len())].to_owned();
    }
    match rng.u32(..8) {
        0 => format!("({})", pattern(rng, depth - 1)),
        1 => format!("(?:{}){}", pattern(rng, depth - 1), ["?", "*", "+", "{2}", "{0,1}"][rng.usize(..5)]),
        2 | 3 => format!("(?:{}|{})", pattern(rng, depth - 1), pattern(rng, depth - 1)),
        4 => format!("{}|{}", pattern(rng, depth - 1), pattern(rng, depth - 1)),
        _ => format!("{}{}", pattern(rng, depth - 1), pattern(rng, depth - 1)),
    }
}

#[test]
fn the_fast_ways_equal_the_automaton() {
    let seed = std::env::var("HEARTH_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(20_260_101);
    println!("HEARTH_SEED={seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut fast = 0;
    for _ in 0..3_000 {
        let depth = rng.u32(..5);
        let source = pattern(&mut rng, depth);
        let Ok(regex) = Regex::anchored(&source) else { continue };
        fast += usize::from(matches!(regex.0.test, Test::Words(_)));
        let plain = compile(&source, re2::parse(&source, true).expect("parsed before").hir).expect("small");
        for _ in 0..30 {
            let length = rng.usize(..7);
            let letters = ['a', 'b', 'b', 'A', 'é', '\n', '\u{10ffff}'];
            let value: String = (0..length).map(|_| letters[rng.usize(..letters.len())]).collect();
            let expect = plain.is_match(&value);
            assert_eq!(regex.is_match(&value), expect, "{source} on {value:?}");
            let possible = match regex.shape() {
                Shape::Set(values) => expect == values.contains(&value),
                Shape::Any => expect,
                Shape::NotEmpty => expect != value.is_empty(),
                Shape::Prefix(word) => !expect || value.starts_with(word.as_str()),
                Shape::Contains(word) => !expect || value.contains(word.as_str()),
                Shape::Unknown => true,
            };
            assert!(possible, "{source} has shape {:?}, on {value:?}", regex.shape());
        }
    }
    assert!(fast > 500, "only {fast} patterns took a fast way");
}

/// Letters that mean something, in any order: nothing may panic, and what compiles must run.
#[test]
fn any_text_is_answered_or_refused() {
    let seed = std::env::var("HEARTH_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(1);
    println!("HEARTH_SEED={seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let parts = [
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        "*",
        "+",
        "?",
        "|",
        "^",
        "$",
        ".",
        "\\",
        "-",
        ":",
        "[:",
        ":]",
        "a",
        "é",
        "1",
        ",",
        "\\p",
        "\\x",
        "\\Q",
        "\\E",
        "(?",
        "P<",
        ">",
        "i",
        "alpha",
        "Greek",
        "\u{10ffff}",
        "{2}",
        "\n",
    ];
    for _ in 0..20_000 {
        let length = rng.usize(..12);
        let source: String = (0..length).map(|_| parts[rng.usize(..parts.len())]).collect();
        if let Ok(regex) = Regex::anchored(&source) {
            regex.is_match(&source);
        }
        if let Ok(regex) = crate::matcher::capture::CaptureRegex::new(&source) {
            regex.expand(&source, &regex.template(&source), &mut String::new());
        }
    }
}

/// The deepest and widest trees pass every stage on a small stack.
#[test]
fn deep_and_wide_patterns_need_little_stack() {
    let deep = |open: &str, close: &str| format!("{}a{}", open.repeat(900), close.repeat(900));
    let mut sources = vec![
        deep("(", ")"),
        deep("(", ")*"),
        deep("(?:b", ")?"),
        deep("(b|", ")"),
        deep("(", "|b)"),
        deep("(?:(?:", "c)+d)*").replacen("(?:(?:", "", 450),
        deep("(?i:[a-z]", ")*"),
        "(?:a?){1000}".to_owned(),
        r"(?:\pL{1000})".to_owned(),
        ".{1000}".to_owned(),
        "()".repeat(10_000),
        "a|".repeat(100_000),
        "[ab]".repeat(30_000),
        r"[\x{0}-\x{ff}]a|".repeat(5_000),
    ];
    sources.push(format!("({})", ["x"; 20_000].join("|y")));
    let worker = std::thread::Builder::new().stack_size(1 << 20).spawn(move || {
        for source in sources {
            if let Ok(regex) = Regex::anchored(&source) {
                regex.is_match("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
            }
        }
    });
    worker.expect("a thread").join().expect("no panic");
}
