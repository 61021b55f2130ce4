//! What Prometheus 3.5 accepts, and in which words it refuses; every line was asked of it.

use super::*;

#[track_caller]
fn refuse(source: &str, expect: &str) {
    match parse(source, true) {
        Err(error) => assert_eq!(error.to_string(), format!("error parsing regexp: {expect}"), "{source}"),
        Ok(parsed) => panic!("{source} is accepted as {:?}", parsed.hir),
    }
}

#[test]
fn faults_are_named_in_the_words_of_re2() {
    refuse(r"[[:foo:]]", r"invalid character class range: `[:foo:]`");
    refuse(r"[\p{Foo}]", r"invalid character class range: `\p{Foo}`");
    refuse(r"[a--b]", r"invalid character class range: `a--`");
    refuse(r"[a\pX]", r"invalid character class range: `\pX`");
    refuse(r"[b-a]", r"invalid character class range: `b-a`");
    refuse(r"\P", r"invalid character class range: `\P`");
    refuse(r"\p", r"invalid character class range: `\p`");
    refuse(r"\pX", r"invalid character class range: `\pX`");
    refuse(r"\p^", r"invalid character class range: `\p^`");
    refuse(r"\pl", r"invalid character class range: `\pl`");
    refuse(r"\p{", r"invalid character class range: `\p{`");
    refuse(r"\p{ASCII}", r"invalid character class range: `\p{ASCII}`");
    refuse(r"\p{Foo}", r"invalid character class range: `\p{Foo}`");
    refuse(r"\p{L", r"invalid character class range: `\p{L`");
    refuse(r"\p{L&}", r"invalid character class range: `\p{L&}`");
    refuse(r"\p{Letter}", r"invalid character class range: `\p{Letter}`");
    refuse(r"\p{Script=Greek}", r"invalid character class range: `\p{Script=Greek}`");
    refuse(r"\p{^", r"invalid character class range: `\p{^`");
    refuse(r"\p{^Foo}", r"invalid character class range: `\p{^Foo}`");
    refuse(r"\p{greek}", r"invalid character class range: `\p{greek}`");
    refuse(r"\pé", r"invalid character class range: `\pé`");
    refuse(r"[\B]", r"invalid escape sequence: `\B`");
    refuse(r"[\C]", r"invalid escape sequence: `\C`");
    refuse(r"[\Q]", r"invalid escape sequence: `\Q`");
    refuse(r"[\b]", r"invalid escape sequence: `\b`");
    refuse(r"[a-\Q]", r"invalid escape sequence: `\Q`");
    refuse(r"[a-\d]", r"invalid escape sequence: `\d`");
    refuse(r"[a-\x{110000}]", r"invalid escape sequence: `\x{110000`");
    refuse(r"[z-\w]", r"invalid escape sequence: `\w`");
    refuse(r"\1", r"invalid escape sequence: `\1`");
    refuse(r"\8", r"invalid escape sequence: `\8`");
    refuse(r"\C", r"invalid escape sequence: `\C`");
    refuse(r"\E", r"invalid escape sequence: `\E`");
    refuse(r"\Ea", r"invalid escape sequence: `\E`");
    refuse(r"\G", r"invalid escape sequence: `\G`");
    refuse(r"\K", r"invalid escape sequence: `\K`");
    refuse(r"\Z", r"invalid escape sequence: `\Z`");
    refuse(r"\e", r"invalid escape sequence: `\e`");
    refuse(r"\k", r"invalid escape sequence: `\k`");
    refuse(r"\u1234", r"invalid escape sequence: `\u`");
    refuse(r"\x", r"invalid escape sequence: `\x`");
    refuse(r"\x1", r"invalid escape sequence: `\x1`");
    refuse(r"\xg1", r"invalid escape sequence: `\xg1`");
    refuse(r"\x{110000}", r"invalid escape sequence: `\x{110000`");
    refuse(r"\x{}", r"invalid escape sequence: `\x{}`");
    refuse(r"\é", r"invalid escape sequence: `\é`");
    refuse(r"(?<!a)", r"invalid named capture: `(?<!a)`");
    refuse(r"(?<=a)", r"invalid named capture: `(?<=a)`");
    refuse(r"(?P<>a)", r"invalid named capture: `(?P<>`");
    refuse(r"(?P<a-b>x)", r"invalid named capture: `(?P<a-b>`");
    refuse(r"(?P<n", r"invalid named capture: `(?P<n`");
    refuse(r"(?P<n", r"invalid named capture: `(?P<n`");
    refuse(r"(?P<é>a)", r"invalid named capture: `(?P<é>`");
    refuse(r"(?:){1000}{2}", r"invalid nested repetition operator: `{1000}{2}`");
    refuse(r"(a{100}){10}{1}", r"invalid nested repetition operator: `{10}{1}`");
    refuse(r"^*?*", r"invalid nested repetition operator: `*?*`");
    refuse(r"a**", r"invalid nested repetition operator: `**`");
    refuse(r"a*+", r"invalid nested repetition operator: `*+`");
    refuse(r"a*??", r"invalid nested repetition operator: `*??`");
    refuse(r"a*{2}", r"invalid nested repetition operator: `*{2}`");
    refuse(r"a+*", r"invalid nested repetition operator: `+*`");
    refuse(r"a???", r"invalid nested repetition operator: `???`");
    refuse(r"a{1}{1}{1}", r"invalid nested repetition operator: `{1}{1}`");
    refuse(r"a{2}*", r"invalid nested repetition operator: `{2}*`");
    refuse(r"a{2}??", r"invalid nested repetition operator: `{2}??`");
    refuse(r"a{2}{3}", r"invalid nested repetition operator: `{2}{3}`");
    refuse(r"(?!a)", r"invalid or unsupported Perl syntax: `(?!`");
    refuse(r"(?#a)", r"invalid or unsupported Perl syntax: `(?#`");
    refuse(r"(?'n'a)", r"invalid or unsupported Perl syntax: `(?'`");
    refuse(r"(?-)", r"invalid or unsupported Perl syntax: `(?-)`");
    refuse(r"(?<", r"invalid or unsupported Perl syntax: `(?<`");
    refuse(r"(?=a)", r"invalid or unsupported Perl syntax: `(?=`");
    refuse(r"(?>a)", r"invalid or unsupported Perl syntax: `(?>`");
    refuse(r"(?P<", r"invalid or unsupported Perl syntax: `(?P`");
    refuse(r"(?P=n)", r"invalid or unsupported Perl syntax: `(?P`");
    refuse(r"(?P>n)", r"invalid or unsupported Perl syntax: `(?P`");
    refuse(r"(?R)a", r"invalid or unsupported Perl syntax: `(?R`");
    refuse(r"(?flags)", r"invalid or unsupported Perl syntax: `(?f`");
    refuse(r"(?i", r"invalid or unsupported Perl syntax: `(?i`");
    refuse(r"(?i-", r"invalid or unsupported Perl syntax: `(?i-`");
    refuse(r"(?i-)a", r"invalid or unsupported Perl syntax: `(?i-)`");
    refuse(r"(?i-m-s)a", r"invalid or unsupported Perl syntax: `(?i-m-`");
    refuse(r"(?u)a", r"invalid or unsupported Perl syntax: `(?u`");
    refuse(r"(?x)a", r"invalid or unsupported Perl syntax: `(?x`");
    refuse(r"((?:){1000}){1000}", r"invalid repeat count: `{1000}`");
    refuse(r"((a{0}){1000}){1000}", r"invalid repeat count: `{1000}`");
    refuse(r"((a{10}){10}){11}", r"invalid repeat count: `{11}`");
    refuse(r"(?:a{100}){11}", r"invalid repeat count: `{11}`");
    refuse(r"(a{1000}){2}", r"invalid repeat count: `{2}`");
    refuse(r"(a{100}){11}", r"invalid repeat count: `{11}`");
    refuse(r"a{0,1001}", r"invalid repeat count: `{0,1001}`");
    refuse(r"a{1001,}", r"invalid repeat count: `{1001,}`");
    refuse(r"a{1001}", r"invalid repeat count: `{1001}`");
    refuse(r"a{2,1}", r"invalid repeat count: `{2,1}`");
    refuse(r"a{99999999999999999999}", r"invalid repeat count: `{99999999999999999999}`");
    refuse(r"(*)", r"missing argument to repetition operator: `*`");
    refuse(r"(?:|+)", r"missing argument to repetition operator: `+`");
    refuse(r"(?i)*", r"missing argument to repetition operator: `*`");
    refuse(r"(|*)", r"missing argument to repetition operator: `*`");
    refuse(r"*", r"missing argument to repetition operator: `*`");
    refuse(r"**", r"missing argument to repetition operator: `*`");
    refuse(r"+", r"missing argument to repetition operator: `+`");
    refuse(r"?", r"missing argument to repetition operator: `?`");
    refuse(r"\Q\E*", r"missing argument to repetition operator: `*`");
    refuse(r"a|*", r"missing argument to repetition operator: `*`");
    refuse(r"{1}", r"missing argument to repetition operator: `{1}`");
    refuse(r"(", r"missing closing ): `(`");
    refuse(r"(?:a", r"missing closing ): `(?:a`");
    refuse(r"(?i:a", r"missing closing ): `(?i:a`");
    refuse(r"(a", r"missing closing ): `(a`");
    refuse(r"[[:alpha:]", r"missing closing ]: `[[:alpha:]`");
    refuse(r"[[:foo", r"missing closing ]: `[[:foo`");
    refuse(r"[]", r"missing closing ]: `[]`");
    refuse(r"[^]", r"missing closing ]: `[^]`");
    refuse(r"[a", r"missing closing ]: `[a`");
    refuse(r"[a", r"missing closing ]: `[a`");
    refuse(r"[\", r"trailing backslash at end of expression: ``");
    refuse(r"[a\", r"trailing backslash at end of expression: ``");
    refuse(r"\", r"trailing backslash at end of expression: ``");
    refuse(r"a\", r"trailing backslash at end of expression: ``");
    refuse(r"(?i:a)b)", r"unexpected ): `(?i:a)b)`");
    refuse(r")", r"unexpected ): `)`");
    refuse(r"a)", r"unexpected ): `a)`");
    refuse(r"a|b)", r"unexpected ): `a|b)`");
}

#[test]
fn what_prometheus_accepts_is_accepted() {
    let accepted = [
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
    for source in accepted {
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
