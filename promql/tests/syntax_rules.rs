//! The rules of the language one by one: what is younger than the table's Prometheus 3.5, flags, limits,
//! selectors of `match[]`, durations that depend on the query's times, positions.

use hearth_promql::config::{MAX_QUERY_BYTES, MAX_QUERY_DEPTH, MAX_QUERY_NESTING};
use hearth_promql::functions::FUNCTIONS;
use hearth_promql::syntax::ast::{Duration, ValueType};
use hearth_promql::syntax::{
    Expr, ParseOptions, QueryTimes, format, json, parse, parse_metric_selector, resolve_durations,
    selectors_of,
};

/// The query printed again, or the error.
fn read(query: &str, options: &ParseOptions) -> String {
    match parse(query, options) {
        Ok(expr) => {
            let printed = expr.to_string();
            let again = parse(&printed, options).map(|e| e.to_string());
            assert_eq!(again.as_deref(), Ok(printed.as_str()), "not a fixed point");
            let pretty = parse(&format(&expr), options).map(|e| e.to_string());
            assert_eq!(pretty.as_deref(), Ok(printed.as_str()), "not a fixed point when pretty");
            printed
        }
        Err(e) => e.to_string(),
    }
}

#[track_caller]
fn check(query: &str, expect: &str) {
    assert_eq!(read(query, &ParseOptions::ALL), expect, "{query}");
}

#[track_caller]
fn check_default(query: &str, expect: &str) {
    assert_eq!(read(query, &ParseOptions::default()), expect, "{query}");
}

#[test]
fn fills_come_last_and_only_between_vectors() {
    check("a + fill(0) b", "a + fill (0) b");
    check("a + fill", "a + fill");
    check("fill_left + fill_left (0) fill_left{a=\"b\"}", "fill_left + fill_left (0) fill_left{a=\"b\"}");
    check("a + bool b", "1:3: parse error: bool modifier can only be used on comparison operators");
    check("a == bool on(x) group_left(y) fill_left(1) b", "a == bool on (x) group_left (y) fill_left (1) b");
    check("a * fill_right(-1) fill_left(+2) b", "a * fill_left (2) fill_right (-1) b");
    check("a * fill_left(NaN) fill_right(Inf) b", "a * fill_left (NaN) fill_right (+Inf) b");
    check("a + fill(1h) b", "a + fill (3600) b");
    check("a + fill(1e30) b", "a + fill (1e+30) b");
    check("a + fill(0.00001) b", "a + fill (1e-05) b");
    check("a + FILL(0) b", "a + fill (0) b");
    check("a + fill b", "1:10: parse error: unexpected identifier \"b\"");
    check("a + fill() b", "1:10: parse error: unexpected \")\"");
    check("a + fill(0) on(x) b", "1:13: parse error: unexpected <on>");
    check("fill + (fill_left)", "fill + (fill_left)");
    check(
        "a + fill(0) 1",
        "1:1: parse error: filling in missing series only allowed between instant vectors",
    );
    check("a and fill(0) b", "1:1: parse error: filling in missing series not allowed for set operators");
    check_default("a + fill(0) b", "1:1: parse error: binop fill modifiers are experimental and not enabled");
    check_default("fill{a=\"b\"}", "fill{a=\"b\"}");
    check_default("sum by (fill, fill_left) (fill)", "sum by (fill, fill_left) (fill)");
}

#[test]
fn selectors_can_be_extended() {
    check("rate(a[5m] anchored)", "rate(a[5m] anchored)");
    check("rate(a[5m] smoothed @ 5 offset 1m)", "rate(a[5m] smoothed @ 5.000 offset 1m)");
    check("rate(a[5m] offset 1m smoothed)", "rate(a[5m] smoothed offset 1m)");
    check("a smoothed", "a smoothed");
    check("a anchored offset 5m", "a anchored offset 5m");
    check("a anchored @ 5", "a @ 5.000 anchored");
    check("a anchored smoothed", "1:1: parse error: anchored and smoothed modifiers cannot be used together");
    check("a[5m:] anchored", "1:1: parse error: anchored modifier is not supported for subqueries");
    check("sum(a) smoothed", "1:1: parse error: smoothed modifier not implemented");
    check("anchored + smoothed{a=\"b\"}", "anchored + smoothed{a=\"b\"}");
    check_default("a anchored", "1:1: parse error: anchored modifier is experimental and not enabled");
    check_default("a smoothed", "1:1: parse error: smoothed modifier is experimental and not enabled");
}

#[test]
fn histograms_are_trimmed_by_operators() {
    check("a </ 5", "a </ 5");
    check("a>/5", "a >/ 5");
    check("a </ b + 1 >/ 2", "a </ b + 1 >/ 2");
    check("a </ bool b", "1:3: parse error: bool modifier can only be used on comparison operators");
    check("a </", "1:5: parse error: unexpected end of input");
    check("</ a", "1:1: parse error: unexpected <op:</>");
}

#[test]
fn durations_are_computed_from_the_query() {
    let (start_ms, end_ms, step_ms) = (50_000, 60_000, 5_000);
    let check_ms = |query: &str, expect: i64| {
        let mut expr = parse(query, &ParseOptions::default()).expect(query);
        resolve_durations(&mut expr, QueryTimes { start_ms, end_ms, step_ms }).expect(query);
        let ms = match &expr {
            Expr::Vector(e) => e.offset.ms(),
            Expr::Matrix(e) => e.range.ms(),
            Expr::Subquery(e) => e.step.as_ref().map_or(0, Duration::ms),
            other => panic!("{other}"),
        };
        assert_eq!(ms, expect, "{query}");
    };
    check_ms("a[step()]", 5_000);
    check_ms("a[range()]", 10_000);
    check_ms("a[1+(STep()-5)*2]", 1_000);
    check_ms("a[max_of(min_of(step()+1,1h),1ms)]", 6_000);
    check_ms("a[5m+1m*2]", 420_000);
    check_ms("a[2^3^2]", 512_000);
    check_ms("a[1h30m % 1h]", 1_800_000);
    check_ms("a[-5m+35m]", 1_800_000);
    check_ms("a offset -min_of(step(), 1s)", -1_000);
    check_ms("a offset (-step()*2)", -10_000);
    check_ms("a[1h:step()/2]", 2_500);
    check_ms("a[1.5]", 1_500);
    check_ms("a[300]", 300_000);
    check_ms("a[1603774568.123]", 1_603_774_568_123);
    let check_fault = |query: &str, expect: &str| {
        let mut expr = parse(query, &ParseOptions::default()).expect(query);
        let fault = resolve_durations(&mut expr, QueryTimes { start_ms, end_ms, step_ms }).unwrap_err();
        assert_eq!(fault.to_string(), expect, "{query}");
    };
    check_fault("a[step()-5]", "2:10: duration must be greater than 0");
    check_fault("a[1/(step()-5)]", "2:14: division by zero");
    check_fault("a[1%(step()-5)]", "2:14: modulo by zero");
    check_fault("a[10^300]", "2:8: duration is out of range");
}

#[test]
fn an_offset_ends_where_prometheus_ends_it() {
    check("a offset 100 + 2", "a offset 1m40s + 2");
    check("a offset -2 ^ 2", "a offset -2s ^ 2");
    check("a offset step()*0", "a offset step() * 0");
    check("a offset -step()*2", "a offset -step() * 2");
    let vector = |query: &str| matches!(parse(query, &ParseOptions::ALL), Ok(Expr::Vector(_)));
    assert!(vector("a offset (1m)*2") && vector("a offset (1m+1s)*2") && vector("a offset --5m*2"));
    assert!(!vector("a offset step()*2") && !vector("a offset -(1m+1s)*2"));
    assert!(!vector("a offset min_of(1m,1s)*2") && !vector("a offset +(1m+1s)*2"));
    check("a offset +(1m+1s)*2", "a offset +(1m + 1s) * 2");
    check("a offset ++49^9", "a offset (49 ^ 9)");
    check("a offset --5m*2", "a offset (5m * 2)");
    check("a offset ++-step()^2", "a offset (-step() ^ 2)");
    check("a offset ---step()^2", "a offset ---step() ^ 2");
    check("a offset (1m+1s)*2", "a offset (1m + 1s) * 2");
    check("a[(-2)^2+5m]", "a[(-2) ^ 2 + 5m]");
    check("a offset +max_of(1s, 2s)", "a offset max_of(1s, 2s)");
    let plain = ParseOptions { duration_expr: false, ..ParseOptions::ALL };
    assert_eq!(read("a[5m+1m]", &plain), "1:3: parse error: experimental duration expression is not enabled");
    assert_eq!(read("a offset -5m", &plain), "a offset -5m");
}

#[test]
fn the_querys_times_are_functions_too() {
    check("start() + end() + step() + range()", "start() + end() + step() + range()");
    check("min_of(1, max_of(2, time()))", "min_of(1, max_of(2, time()))");
    check("STEP()", "1:1: parse error: unknown function with name \"STEP\"");
    check("step + range + min_of + max_of", "step + range + min_of + max_of");
    check(
        "sum by (step, range, min_of, max_of) (step{a=\"b\"})",
        "sum by (step, range, min_of, max_of) (step{a=\"b\"})",
    );
    check_default("step()", "1:1: parse error: function \"step\" is not enabled");
    check_default("min_of(1, 2)", "1:1: parse error: function \"min_of\" is not enabled");
    check_default(
        "limitk(1, a)",
        "1:1: parse error: limitk() is experimental and must be enabled with \
         --enable-feature=promql-experimental-functions",
    );
    check_default("first_over_time(a[5m])", "first_over_time(a[5m])");
    check("a @ step()", "1:5: parse error: unexpected \"step\" in @, expected timestamp");
}

/// As many arguments of the right types as asked for.
fn call_of(name: &str, types: &[ValueType], count: usize) -> String {
    let args: Vec<&str> = (0..count)
        .map(|i| match types[i.min(types.len() - 1)] {
            ValueType::Scalar => "1",
            ValueType::Vector if name == "info" && i == 1 => "{a=\"b\"}",
            ValueType::Vector => "v",
            ValueType::Matrix => "m[5m]",
            ValueType::String => "\"s\"",
        })
        .collect();
    format!("{name}({})", args.join(", "))
}

#[test]
fn every_function_takes_the_arguments_of_its_table() {
    for function in &FUNCTIONS {
        let (min, max) = (function.min_args(), function.max_args());
        for count in min..=max.unwrap_or(min + 3) {
            let query = call_of(function.name, function.args, count);
            check(&query, &query);
        }
        let bound = if max == Some(min) { "" } else { "at least " };
        if min > 0 {
            let query = call_of(function.name, function.args, min - 1);
            let message = format!(
                "1:1: parse error: expected {bound}{min} argument(s) in call to \"{}\", got {}",
                function.name,
                min - 1
            );
            check(&query, &message);
        }
        if let Some(max) = max {
            let bound = if max == min { "" } else { "at most " };
            let query = if function.args.is_empty() {
                format!("{}(1)", function.name)
            } else {
                call_of(function.name, function.args, max + 1)
            };
            let message = format!(
                "1:1: parse error: expected {bound}{max} argument(s) in call to \"{}\", got {}",
                function.name,
                max + 1
            );
            check(&query, &message);
        }
    }
}

#[test]
fn selectors_of_match_parameters() {
    let check = |text: &str, expect: &str| {
        let read = parse_metric_selector(text);
        let shown = read.map(|m| m.iter().map(|m| m.to_string()).collect::<Vec<_>>().join(" "));
        assert_eq!(shown.unwrap_or_else(|e| e.to_string()), expect, "{text}");
    };
    check("foo", "__name__=\"foo\"");
    check("foo{a=\"b\"} # c", "a=\"b\" __name__=\"foo\"");
    check("{\"a.b\",c!=\"d\"}", "__name__=\"a.b\" c!=\"d\"");
    check("by", "__name__=\"by\"");
    check("{}", "");
    check("", "unknown position: parse error: unexpected end of input");
    check(" ", "1:2: parse error: unexpected end of input");
    check("foo{", "1:5: parse error: unexpected end of input inside braces");
    check("foo bar", "1:5: parse error: unexpected identifier \"bar\"");
    check("foo[5m]", "1:4: parse error: unexpected \"[\"");
    check("sum(foo)", "1:4: parse error: unexpected \"(\"");
    check("foo offset 5m", "1:5: parse error: unexpected <offset>");
    check("1", "1:1: parse error: unexpected number \"1\"");
    check(")", "1:2: parse error: unexpected right parenthesis ')'");
    check("\"a\"", "1:1: parse error: unexpected string \"\\\"a\\\"\"");
    check("foo{a=\"b\"}}", "1:11: parse error: unexpected character: '}'");
    check("bool", "1:1: parse error: unexpected <bool>");
}

#[test]
fn positions_cover_the_text_of_each_node() {
    fn collect(expr: &Expr, query: &str, into: &mut Vec<String>) {
        into.push(expr.position().text(query).to_string());
        expr.children().for_each(|child| collect(child, query, into));
    }
    let query = "sum by (a) ( rate(x{b=\"c\"}[5m] offset 1m) ) / on(d) -(y @ end())[1h:5m] offset 2m > 1";
    // A range on the right is ill-typed, so ask of a well-typed part of it.
    let query =
        &query.replace("-(y @ end())[1h:5m] offset 2m", "max_over_time((y @ end())[1h:5m] offset 2m)");
    let expr = parse(query, &ParseOptions::ALL).unwrap();
    let mut texts = Vec::new();
    collect(&expr, query, &mut texts);
    assert_eq!(texts[0], *query);
    let expect = [
        "sum by (a) ( rate(x{b=\"c\"}[5m] offset 1m) )",
        "rate(x{b=\"c\"}[5m] offset 1m)",
        "x{b=\"c\"}[5m] offset 1m",
        "max_over_time((y @ end())[1h:5m] offset 2m)",
        "(y @ end())[1h:5m] offset 2m",
        "(y @ end())",
        "y @ end()",
        "1",
    ];
    assert_eq!(&texts[2..], expect);
    let names: Vec<_> = selectors_of(&expr).iter().map(|s| s.metric_name()).collect();
    assert_eq!(names, [Some("x"), Some("y")]);
}

#[test]
fn limits_hold_and_say_so() {
    let check_contains = |query: &str, expect: &str| {
        let error = parse(query, &ParseOptions::ALL).expect_err("beyond a limit").to_string();
        assert!(error.contains(expect), "{error}");
    };
    let nested = format!("nested more than {MAX_QUERY_NESTING} levels deep");
    for opening in ["(", "-", "- +", "sum(", "rate((", "1 ^ ", "1 + (", "{a=\"b\"} + ("] {
        check_contains(&opening.repeat(MAX_QUERY_BYTES / opening.len()), &nested);
    }
    for (before, opening) in
        [("a[", "("), ("a[", "-"), ("a[1h:", "1 ^ "), ("a offset ", "("), ("a[", "min_of(")]
    {
        check_contains(&format!("{before}{}", opening.repeat(100_000)), &nested);
    }
    let chained = format!("chained more than {MAX_QUERY_DEPTH} levels deep");
    check_contains(&["a"; 100_000].join("+"), &chained);
    check_contains(&format!("a{}", "[1h:]".repeat(100_000)), &chained);
    check_contains(&format!("a[{}]", ["1"; 100_000].join("+")), &chained);
    check_contains(&format!("a offset ({})", ["1"; 100_000].join("*")), &chained);
    check_contains(&"a".repeat(MAX_QUERY_BYTES + 1), "is longer than the limit of");
    let long = "a".repeat(MAX_QUERY_BYTES);
    assert_eq!(parse(&long, &ParseOptions::ALL).map(|e| e.to_string()), Ok(long));
}

#[test]
fn what_is_within_the_limits_fits_on_a_small_stack() {
    let thread = std::thread::Builder::new().stack_size(1 << 20);
    let run = thread.spawn(|| {
        let deep = MAX_QUERY_NESTING - 1;
        let brackets = format!("{}1{}", "(".repeat(deep), ")".repeat(deep));
        let calls = format!("{}a{}", "sum(".repeat(deep), ")".repeat(deep));
        let chain = ["a"; MAX_QUERY_DEPTH].join(" + ");
        let durations = format!("a[{}step(){}]", "(1+".repeat(deep / 2), ")".repeat(deep / 2));
        for query in [brackets, calls, chain, durations] {
            let mut expr = parse(&query, &ParseOptions::ALL).unwrap();
            assert_eq!(expr.to_string(), query.replace("(1+", "(1 + "));
            assert!(!json::to_json(&expr.clone()).is_empty() && !format(&expr).is_empty());
            resolve_durations(&mut expr, QueryTimes { start_ms: 0, end_ms: 0, step_ms: 1 }).unwrap();
        }
    });
    run.unwrap().join().unwrap();
}
