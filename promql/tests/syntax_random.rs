//! Random queries: well-typed ones from the grammar and the function table, which must print to a fixed
//! point, and rubbish made of the language's words, which must give a tree or an error and nothing else.
//! A failure names its seed; `HEARTH_SEED=N` runs that one alone.

use fastrand::Rng;
use hearth_promql::functions::{FUNCTIONS, Function};
use hearth_promql::syntax::ast::{AggregateOp, ValueType};
use hearth_promql::syntax::{Expr, ParseOptions, format, json, parse};
use serde_json::Value;

const QUERIES: u64 = 4_000;

struct Generator {
    rng: Rng,
    /// How many more levels may open.
    depth: u32,
}

impl Generator {
    fn pick<'t>(&mut self, from: &[&'t str]) -> &'t str {
        from[self.rng.usize(..from.len())]
    }

    fn chance(&mut self, one_in: u32) -> bool {
        self.rng.u32(..one_in) == 0
    }

    fn expr(&mut self, wanted: ValueType) -> String {
        match wanted {
            ValueType::String => self.pick(&["\"\"", "\"a\\\\n\"", "'b\"c'", "`d\\`", "\"é\\u200b\""]).into(),
            ValueType::Matrix => self.matrix(),
            _ if self.depth == 0 => self.leaf(wanted),
            _ => {
                self.depth -= 1;
                let text = self.branch(wanted);
                self.depth += 1;
                text
            }
        }
    }

    fn leaf(&mut self, wanted: ValueType) -> String {
        if wanted == ValueType::Vector {
            return self.selector();
        }
        let numbers =
            ["0", "1.5", "1e300", "0x1F", "1_000", "Inf", "NaN", "1h30m", "017", ".5", "1e-9", "5ms"];
        self.pick(&numbers).into()
    }

    fn branch(&mut self, wanted: ValueType) -> String {
        match self.rng.u32(..9) {
            0 => format!("({})", self.expr(wanted)),
            1 => format!("{}{}", self.pick(&["-", "+", "- "]), self.expr(wanted)),
            2..=4 => self.binary(wanted),
            5..=6 => self.call(wanted),
            7 if wanted == ValueType::Vector => self.aggregate(),
            _ => self.leaf(wanted),
        }
    }

    fn labels(&mut self) -> String {
        let count = self.rng.usize(..3);
        let names = ["a", "le", "by", "\"x.y\"", "\"without\"", "offset", "'inf'", "start"];
        let labels: Vec<&str> = (0..count).map(|_| self.pick(&names)).collect();
        format!("({})", labels.join(","))
    }

    fn binary(&mut self, wanted: ValueType) -> String {
        let vectors = wanted == ValueType::Vector;
        let both = vectors && !self.chance(3);
        let mut op = self.pick(&["+", "-", "*", "/", "%", "^", "atan2", "</", ">/"]).to_string();
        if self.chance(3) {
            op = self.pick(&["==", "!=", "<", "<=", ">", ">="]).to_string();
            if !vectors || self.chance(2) {
                op.push_str(" bool");
            }
        } else if both && self.chance(4) {
            op = self.pick(&["and", "OR", "unless"]).to_string();
        }
        let set = matches!(op.as_str(), "and" | "OR" | "unless");
        if both && self.chance(2) {
            let on = self.chance(2);
            op.push_str(&format!(" {}{}", if on { "on" } else { "ignoring" }, self.labels()));
            if !set && self.chance(2) {
                op.push_str(self.pick(&[" group_left()", " group_right ( )", " group_left(z, \"q.r\")"]));
            }
            if !set && self.chance(2) {
                op.push_str(self.pick(&[" fill(-1)", " fill_left(Inf)", " fill_right(2) fill_left(1e30)"]));
            }
        }
        let (lhs, rhs) = match (vectors, both) {
            (true, true) => (ValueType::Vector, ValueType::Vector),
            (true, false) if self.chance(2) => (ValueType::Scalar, ValueType::Vector),
            (true, false) => (ValueType::Vector, ValueType::Scalar),
            _ => (ValueType::Scalar, ValueType::Scalar),
        };
        let (lhs, rhs) = (self.operand(lhs), self.operand(rhs));
        format!("{lhs} {op} {rhs}")
    }

    /// Brackets around most: the types of what is between operators must not depend on precedence.
    fn operand(&mut self, wanted: ValueType) -> String {
        let text = self.expr(wanted);
        let simple = self.depth == 0 || !text.contains([' ', '-', '+']);
        if simple && !text.is_empty() { text } else { format!("({text})") }
    }

    fn call(&mut self, wanted: ValueType) -> String {
        let fitting: Vec<&Function> = FUNCTIONS.iter().filter(|f| f.returns == wanted).collect();
        let function = fitting[self.rng.usize(..fitting.len())];
        let most = function.max_args().unwrap_or(function.min_args() + 3);
        let count = self.rng.usize(function.min_args()..=most);
        let args: Vec<String> = (0..count)
            .map(|i| match function.arg_type(i) {
                Some(_) if function.name == "info" && i == 1 => self.pick(&["{}", "{a=~\".*\"}"]).to_string(),
                Some(wanted) => self.expr(wanted),
                None => unreachable!("no argument {i} of {}", function.name),
            })
            .collect();
        format!("{}({})", function.name, args.join(","))
    }

    fn aggregate(&mut self) -> String {
        let op = AggregateOp::ALL[self.rng.usize(..AggregateOp::ALL.len())];
        let param = op.param_type().map(|wanted| self.expr(wanted) + ", ").unwrap_or_default();
        let args = format!("({param}{})", self.expr(ValueType::Vector));
        let modifier = format!("{}{}", self.pick(&["by", "without "]), self.labels());
        match self.rng.u32(..3) {
            0 => format!("{}{args}", op.name()),
            1 => format!("{} {modifier}{args}", op.name()),
            _ => format!("{}{args}{modifier}", op.name()),
        }
    }

    fn selector(&mut self) -> String {
        let text = self.bare_selector();
        let extended = self.pick(&["", "", "", " smoothed", " anchored"]);
        format!("{text}{extended}{}", self.modifiers())
    }

    fn bare_selector(&mut self) -> String {
        let names =
            ["up", "a:b", "sum", "by", "offset", "start", "step", "min_of", "fill", "smoothed", "rate"];
        let matchers = ["a=\"b\"", "c!=\"\"", "d=~\"x|y.*\"", "\"l.x\"!~'z'", "le=`0.5`", "by=\"é\\n\""];
        let mut within: Vec<&str> = (0..self.rng.usize(..3)).map(|_| self.pick(&matchers)).collect();
        if self.chance(3) {
            within.push("\"my.metric\"");
            return format!("{{{}}}", within.join(", "));
        }
        // In brackets: the words among the names mean something else after an operand or an operator.
        let name = self.pick(&names);
        let text = if within.is_empty() { name.into() } else { format!("{name}{{{}}}", within.join(",")) };
        if self.chance(9) { format!("{{\"{name}\"}}") } else { text }
    }

    fn modifiers(&mut self) -> String {
        let offset = match self.rng.u32(..4) {
            0 => format!(" offset {}", self.offset()),
            _ => String::new(),
        };
        let at = self.pick(&["", "", "", " @ 5", " @ -1.5", " @ start()", " @ END()"]);
        if self.chance(2) { format!("{offset}{at}") } else { format!("{at}{offset}") }
    }

    fn offset(&mut self) -> String {
        let simple = ["5m", "-1h", "60", "step()", "-range()", "min_of(1m, step())", "+1s"];
        if self.chance(2) {
            return self.pick(&simple).into();
        }
        // A bracket that an operator follows would go on: only a sign ends it there.
        format!("{}({})", self.pick(&["-", "+"]), self.duration(2))
    }

    fn duration(&mut self, depth: u32) -> String {
        if depth == 0 {
            return self.pick(&["5m", "1h30m", "300", "1.5", "2ms", "step()", "range()"]).into();
        }
        let (a, b) = (self.duration(depth - 1), self.duration(depth - 1));
        match self.rng.u32(..9) {
            0 => format!("({a})"),
            1 => format!("-({a})"),
            2 => format!("max_of({a},{b})"),
            3 => format!("(-{a})"),
            n => format!("{a}{}{b}", ["+", "-", "*", "/", "^"][n as usize - 4]),
        }
    }

    fn range(&mut self) -> String {
        if self.chance(3) {
            format!("(({}))+1ms", self.duration(2))
        } else {
            self.pick(&["5m", "1d", "90"]).into()
        }
    }

    fn matrix(&mut self) -> String {
        if self.depth == 0 || self.chance(2) {
            let extended = self.pick(&["", "", " anchored", " smoothed"]);
            return format!("{}[{}]{extended}{}", self.bare_selector(), self.range(), self.modifiers());
        }
        self.depth -= 1;
        let inner = format!("({})", self.expr(ValueType::Vector));
        self.depth += 1;
        let step = if self.chance(2) { String::new() } else { self.range() };
        format!("{inner}[{}:{step}]{}", self.range(), self.modifiers())
    }
}

fn seeds() -> Vec<u64> {
    match std::env::var("HEARTH_SEED") {
        Ok(seed) => vec![seed.parse().expect("HEARTH_SEED is a number")],
        Err(_) => {
            let first = fastrand::u64(..1 << 48);
            println!("seeds {first}..{}", first + QUERIES);
            (first..first + QUERIES).collect()
        }
    }
}

/// The tree with the matchers of each selector in the order in which they are printed.
fn sorted(tree: &Expr) -> Value {
    fn sort(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                if let Some(Value::Array(matchers)) = fields.get_mut("matchers") {
                    matchers.sort_by_key(Value::to_string);
                }
                fields.values_mut().for_each(sort);
            }
            Value::Array(items) => items.iter_mut().for_each(sort),
            _ => {}
        }
    }
    let mut value = serde_json::from_str(&json::to_json(tree)).expect("the tree is JSON");
    sort(&mut value);
    value
}

#[test]
fn what_is_printed_is_read_as_the_same() {
    for seed in seeds() {
        let mut generator = Generator { rng: Rng::with_seed(seed), depth: 4 };
        let wanted = [ValueType::Vector, ValueType::Scalar, ValueType::Matrix][(seed % 3) as usize];
        let query = generator.expr(wanted);
        let read = |text: &str| {
            parse(text, &ParseOptions::ALL).unwrap_or_else(|e| panic!("seed {seed}\n{query}\n{text}\n{e}"))
        };
        let tree = read(&query);
        assert_eq!(tree.value_type(), wanted, "seed {seed}: {query}");
        let printed = tree.to_string();
        let (again, pretty) = (read(&printed), read(&format(&tree)));
        for other in [again, pretty] {
            assert_eq!(other.to_string(), printed, "seed {seed}: {query}");
            assert_eq!(sorted(&other), sorted(&tree), "seed {seed}: {query}");
        }
    }
}

/// What rubbish is made of.
const WORDS: [&str; 54] = [
    "a",
    "b:c",
    "sum",
    "by",
    "without",
    "(",
    ")",
    "(",
    ")",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "=",
    "!=",
    "=~",
    "5m",
    "1",
    "0x",
    "1e",
    "\"s\"",
    "'",
    "`",
    "@",
    "start()",
    "end",
    "offset",
    "-",
    "+",
    "*",
    "^",
    "/",
    "==",
    "bool",
    "on",
    "ignoring",
    "group_left",
    "fill",
    "fill_left(0)",
    "and",
    "or",
    "atan2",
    "rate",
    "rate(a[5m])",
    "#",
    "\n",
    "step()",
    "min_of(",
    "smoothed",
    "\u{fffd}",
    "é",
    "</",
];

#[test]
fn rubbish_gives_an_error_or_a_tree() {
    for seed in seeds() {
        let mut rng = Rng::with_seed(seed);
        let count = rng.usize(1..12);
        let glue = if rng.bool() { " " } else { "" };
        let words: Vec<&str> = (0..count).map(|_| WORDS[rng.usize(..WORDS.len())]).collect();
        let query = words.join(glue);
        match parse(&query, &ParseOptions::ALL) {
            Ok(tree) => {
                let printed = tree.to_string();
                let again = parse(&printed, &ParseOptions::ALL).map(|e| e.to_string());
                assert_eq!(again.as_deref(), Ok(printed.as_str()), "seed {seed}: {query:?}");
            }
            Err(e) => {
                assert!(e.position.end as usize <= query.len(), "seed {seed}: {query:?}: {e}");
                assert!(!e.message.is_empty(), "seed {seed}: {query:?}");
            }
        }
    }
}
