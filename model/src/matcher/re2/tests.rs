//! What Prometheus 3.5 accepts, and in which words it refuses; every line was asked of it.

use super::*;

#[track_caller]
fn refuse(source: &str, expect: &str) {
    match parse(source, true) {
        Err(error) => assert_eq!(error.to_string(), format!("error parsing regexp: {expect}"), "{source}"),
        Ok(parsed) => panic!("{source} is accepted as {:?}", parsed.hir),
    }
}

/// Patterns, and what Prometheus says of them.
const REFUSED: &[(&str, &str)] = &[
    (r"[[:foo:]]", r"invalid character class range: `[:foo:]`"),
    (r"[\p{Foo}]", r"invalid character class range: `\p{Foo}`"),
    (r"[a--b]", r"invalid character class range: `a--`"),
    (r"[a\pX]", r"invalid character class range: `\pX`"),
    (r"[b-a]", r"invalid character class range: `b-a`"),
    (r"\P", r"invalid character class range: `\P`"),
    (r"\p", r"invalid character class range: `\p`"),
    (r"\pX", r"invalid character class range: `\pX`"),
    (r"\p^", r"invalid character class range: `\p^`"),
    (r"\pl", r"invalid character class range: `\pl`"),
    (r"\p{", r"invalid character class range: `\p{`"),
    (r"\p{ASCII}", r"invalid character class range: `\p{ASCII}`"),
    (r"\p{Foo}", r"invalid character class range: `\p{Foo}`"),
    (r"\p{L", r"invalid character class range: `\p{L`"),
    (r"\p{L&}", r"invalid character class range: `\p{L&}`"),
    (r"\p{Letter}", r"invalid character class range: `\p{Letter}`"),
    (r"\p{Script=Greek}", r"invalid character class range: `\p{Script=Greek}`"),
    (r"\p{^", r"invalid character class range: `\p{^`"),
    (r"\p{^Foo}", r"invalid character class range: `\p{^Foo}`"),
    (r"\p{greek}", r"invalid character class range: `\p{greek}`"),
    (r"\pé", r"invalid character class range: `\pé`"),
    (r"[\B]", r"invalid escape sequence: `\B`"),
    (r"[\C]", r"invalid escape sequence: `\C`"),
    (r"[\Q]", r"invalid escape sequence: `\Q`"),
    (r"[\b]", r"invalid escape sequence: `\b`"),
    (r"[a-\Q]", r"invalid escape sequence: `\Q`"),
    (r"[a-\d]", r"invalid escape sequence: `\d`"),
    (r"[a-\x{110000}]", r"invalid escape sequence: `\x{110000`"),
    (r"[z-\w]", r"invalid escape sequence: `\w`"),
    (r"\1", r"invalid escape sequence: `\1`"),
    (r"\8", r"invalid escape sequence: `\8`"),
    (r"\C", r"invalid escape sequence: `\C`"),
    (r"\E", r"invalid escape sequence: `\E`"),
    (r"\Ea", r"invalid escape sequence: `\E`"),
    (r"\G", r"invalid escape sequence: `\G`"),
    (r"\K", r"invalid escape sequence: `\K`"),
    (r"\Z", r"invalid escape sequence: `\Z`"),
    (r"\e", r"invalid escape sequence: `\e`"),
    (r"\k", r"invalid escape sequence: `\k`"),
    (r"\u1234", r"invalid escape sequence: `\u`"),
    (r"\x", r"invalid escape sequence: `\x`"),
    (r"\x1", r"invalid escape sequence: `\x1`"),
    (r"\xg1", r"invalid escape sequence: `\xg1`"),
    (r"\x{110000}", r"invalid escape sequence: `\x{110000`"),
    (r"\x{}", r"invalid escape sequence: `\x{}`"),
    (r"\é", r"invalid escape sequence: `\é`"),
    (r"(?<!a)", r"invalid named capture: `(?<!a)`"),
    (r"(?<=a)", r"invalid named capture: `(?<=a)`"),
    (r"(?P<>a)", r"invalid named capture: `(?P<>`"),
    (r"(?P<a-b>x)", r"invalid named capture: `(?P<a-b>`"),
    (r"(?P<n", r"invalid named capture: `(?P<n`"),
    (r"(?P<n", r"invalid named capture: `(?P<n`"),
    (r"(?P<é>a)", r"invalid named capture: `(?P<é>`"),
    (r"(?:){1000}{2}", r"invalid nested repetition operator: `{1000}{2}`"),
    (r"(a{100}){10}{1}", r"invalid nested repetition operator: `{10}{1}`"),
    (r"^*?*", r"invalid nested repetition operator: `*?*`"),
    (r"a**", r"invalid nested repetition operator: `**`"),
    (r"a*+", r"invalid nested repetition operator: `*+`"),
    (r"a*??", r"invalid nested repetition operator: `*??`"),
    (r"a*{2}", r"invalid nested repetition operator: `*{2}`"),
    (r"a+*", r"invalid nested repetition operator: `+*`"),
    (r"a???", r"invalid nested repetition operator: `???`"),
    (r"a{1}{1}{1}", r"invalid nested repetition operator: `{1}{1}`"),
    (r"a{2}*", r"invalid nested repetition operator: `{2}*`"),
    (r"a{2}??", r"invalid nested repetition operator: `{2}??`"),
    (r"a{2}{3}", r"invalid nested repetition operator: `{2}{3}`"),
    (r"(?!a)", r"invalid or unsupported Perl syntax: `(?!`"),
    (r"(?#a)", r"invalid or unsupported Perl syntax: `(?#`"),
    (r"(?'n'a)", r"invalid or unsupported Perl syntax: `(?'`"),
    (r"(?-)", r"invalid or unsupported Perl syntax: `(?-)`"),
    (r"(?<", r"invalid or unsupported Perl syntax: `(?<`"),
    (r"(?=a)", r"invalid or unsupported Perl syntax: `(?=`"),
    (r"(?>a)", r"invalid or unsupported Perl syntax: `(?>`"),
    (r"(?P<", r"invalid or unsupported Perl syntax: `(?P`"),
    (r"(?P=n)", r"invalid or unsupported Perl syntax: `(?P`"),
    (r"(?P>n)", r"invalid or unsupported Perl syntax: `(?P`"),
    (r"(?R)a", r"invalid or unsupported Perl syntax: `(?R`"),
    (r"(?flags)", r"invalid or unsupported Perl syntax: `(?f`"),
    (r"(?i", r"invalid or unsupported Perl syntax: `(?i`"),
    (r"(?i-", r"invalid or unsupported Perl syntax: `(?i-`"),
    (r"(?i-)a", r"invalid or unsupported Perl syntax: `(?i-)`"),
    (r"(?i-m-s)a", r"invalid or unsupported Perl syntax: `(?i-m-`"),
    (r"(?u)a", r"invalid or unsupported Perl syntax: `(?u`"),
    (r"(?x)a", r"invalid or unsupported Perl syntax: `(?x`"),
    (r"((?:){1000}){1000}", r"invalid repeat count: `{1000}`"),
    (r"((a{0}){1000}){1000}", r"invalid repeat count: `{1000}`"),
    (r"((a{10}){10}){11}", r"invalid repeat count: `{11}`"),
    (r"(?:a{100}){11}", r"invalid repeat count: `{11}`"),
    (r"(a{1000}){2}", r"invalid repeat count: `{2}`"),
    (r"(a{100}){11}", r"invalid repeat count: `{11}`"),
    (r"a{0,1001}", r"invalid repeat count: `{0,1001}`"),
    (r"a{1001,}", r"invalid repeat count: `{1001,}`"),
    (r"a{1001}", r"invalid repeat count: `{1001}`"),
    (r"a{2,1}", r"invalid repeat count: `{2,1}`"),
    (r"a{99999999999999999999}", r"invalid repeat count: `{99999999999999999999}`"),
    (r"(*)", r"missing argument to repetition operator: `*`"),
    (r"(?:|+)", r"missing argument to repetition operator: `+`"),
    (r"(?i)*", r"missing argument to repetition operator: `*`"),
    (r"(|*)", r"missing argument to repetition operator: `*`"),
    (r"*", r"missing argument to repetition operator: `*`"),
    (r"**", r"missing argument to repetition operator: `*`"),
    (r"+", r"missing argument to repetition operator: `+`"),
    (r"?", r"missing argument to repetition operator: `?`"),
    (r"\Q\E*", r"missing argument to repetition operator: `*`"),
    (r"a|*", r"missing argument to repetition operator: `*`"),
    (r"{1}", r"missing argument to repetition operator: `{1}`"),
    (r"(", r"missing closing ): `(`"),
    (r"(?:a", r"missing closing ): `(?:a`"),
    (r"(?i:a", r"missing closing ): `(?i:a`"),
    (r"(a", r"missing closing ): `(a`"),
    (r"[[:alpha:]", r"missing closing ]: `[[:alpha:]`"),
    (r"[[:foo", r"missing closing ]: `[[:foo`"),
    (r"[]", r"missing closing ]: `[]`"),
    (r"[^]", r"missing closing ]: `[^]`"),
    (r"[a", r"missing closing ]: `[a`"),
    (r"[a", r"missing closing ]: `[a`"),
    (r"[\", r"trailing backslash at end of expression: ``"),
    (r"[a\", r"trailing backslash at end of expression: ``"),
    (r"\", r"trailing backslash at end of expression: ``"),
    (r"a\", r"trailing backslash at end of expression: ``"),
    (r"(?i:a)b)", r"unexpected ): `(?i:a)b)`"),
    (r")", r"unexpected ): `)`"),
    (r"a)", r"unexpected ): `a)`"),
    (r"a|b)", r"unexpected ): `a|b)`"),
];

const ACCEPTED: &[&str] = &[
    r"a??",
    r"a*?",
    r"\123",
    r"\08",
    r"\0",
    r"\pN",
    r"\p{^Greek}",
    r"\P{^Greek}",
    r"\z",
    r"\A",
    r"\a\f\t\n\r\v",
    r"\x{10FFFF}",
    r"\Qa\Eb",
    r"\Qab",
    r"\Qa.\E*",
    r"[\d-a]",
    r"[a-z-9]",
    r"[]a]",
    r"[^]a]",
    r"[[:word:]]",
    r"[[:^alpha:]]",
    r"[[a]",
    r"[a&&b]",
    r"[a~~b]",
    r"[]-a]",
    r"[--a]",
    r"[a-]",
    r"[-a]",
    r"[a-b-c]",
    r"(?i)a",
    r"(?s-i:a)",
    r"(?U)a*",
    r"(?)",
    r"(?P<n>a)",
    r"(?<n>a)",
    r"(?P<n>a)(?P<n>b)",
    r"(?P<1>a)",
    r"a{1000}",
    r"a{,2}",
    r"a{1,",
    r"a{1",
    r"a{",
    r"a{a}",
    r"{",
    r"a{0}",
    r"a{01}",
    r"(a{100}){10}",
    r"a{2}?",
    r"(a*)*",
    r"^*",
    r"$*",
    r"\b+",
    r"\b*",
    r"(^)*",
    r"a||b",
    r"|",
    r"()",
    r"(|a)*",
    r"(?:)*",
    r"\<",
    r"\>",
    r"\_",
    r"\-",
    r"\ ",
    r#"\""#,
    r"\#",
    r"é",
    r"\p{Lu}",
    r"\p{Any}",
    r"\p{Cn}",
    r"\p{Cs}",
    r"\p{Zanabazar_Square}",
    r"[\pN\d\D]",
    r"[^\n]",
    r"[\w-z]",
    r"(?i)[a-\x{10FFFF}]",
    r"\x{00000000061}",
    r"\x{0000000000000000000061}",
    r"(?ii)",
    r"(?s)",
    r"(?m)^a$",
    r"(?i)(?-i)a",
    r"\Q*\E",
    r"(?i)\Q",
    r"a*\Q\E*",
    r"a(?i)*",
    r"a*(?i)*",
    r"a{0,}",
    r"(?:a{0,}){1000}",
    r"(?im-s)a",
    r"x{2}{",
    r"x{2}{3",
    r"x{2}{03}",
    r"[\x{D800}-\x{DFFF}]",
    r"\x{d800}",
];

#[test]
fn faults_are_named_in_the_words_of_re2() {
    for (source, expect) in REFUSED {
        refuse(source, expect);
    }
}

#[test]
fn what_prometheus_accepts_is_accepted() {
    for source in ACCEPTED {
        if let Err(error) = parse(source, true) {
            panic!("{source}: {error}");
        }
    }
}

#[test]
fn every_named_class_is_known_to_the_tables() {
    for name in class::CATEGORIES.split(' ').chain(class::SCRIPTS.split(' ')) {
        if let Err(error) = parse(&format!("\\p{{{name}}}"), true) {
            panic!("{error}");
        }
    }
}

#[test]
fn size_and_depth_are_bounded() {
    let check = |source: String, expect: &str| {
        let excerpt: String = source.chars().take(MAX_EXCERPT_BYTES).collect();
        let dots = if source.len() > MAX_EXCERPT_BYTES { "..." } else { "" };
        refuse(&source, &format!("{expect}: `{excerpt}{dots}`"));
    };
    let nested = |n: usize| format!("{}a{}", "(".repeat(n), ")".repeat(n));
    assert!(parse(&nested(999), true).is_ok());
    check(nested(1_000), "expression nests too deeply");
    check("(".repeat(1_000_000), "expression nests too deeply");
    check("(?:".repeat(300_000), "expression nests too deeply");
    check(format!("a{}", "(?i)*".repeat(1_001)), "expression nests too deeply");
    check("x".repeat(MAX_SOURCE_BYTES + 1), "expression too large");
    check(r"\PL".repeat(10_000), "expression too large");
    check("a?".repeat(400_000), "expression too large");
    assert!(parse(&format!("[{}]", r"\PL".repeat(100_000)), true).is_ok());
    assert!(parse(&format!("[{}a]", "[:".repeat(400_000)), true).is_ok());
    assert!(parse(&"x".repeat(MAX_SOURCE_BYTES), true).is_ok());
}
