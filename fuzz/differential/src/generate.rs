//! Random queries that are well typed, made from the function table and the data's names.

use fastrand::Rng;
use hearth_promql::functions::{FUNCTIONS, Function};
use hearth_promql::syntax::ast::{AggregateOp, BinaryOp, ValueType};
use std::collections::BTreeSet;

/// Deeper queries find nothing that these do not, and mostly answer nothing.
const MAX_DEPTH: u32 = 4;

/// Metrics with floats, and labels that they carry.
const METRICS: &[(&str, &[&str])] = &[
    ("requests_total", &["job", "instance", "code"]),
    ("temperature", &["job", "instance"]),
    ("load", &["job", "instance", "zone"]),
    ("build_info", &["job", "instance", "version"]),
    ("extreme", &["kind"]),
    ("moment", &["n"]),
    ("up", &["job", "instance"]),
    ("sparse", &["job", "instance"]),
    ("single", &["job"]),
    ("latency_bucket", &["job", "instance", "le"]),
    ("latency_count", &["job", "instance"]),
    ("missing", &["job"]),
];

const NATIVE_METRICS: &[(&str, &[&str])] = &[
    ("native", &["job", "instance"]),
    ("native_gauge", &["job", "instance"]),
    ("native_custom", &["job", "instance"]),
];

const LABELS: &[&str] = &["job", "instance", "code", "le", "kind", "version"];

const MATCHERS: &[&str] = &[
    r#"job="api""#,
    r#"job!="api""#,
    r#"instance=~"api.*""#,
    r#"instance=~"(api|db)-[01]:80""#,
    r#"instance!~".*2:80""#,
    r#"code=~"4..|5..""#,
    r#"code="""#,
    r#"kind!~"huge|mixed""#,
    r#"missing="""#,
    r#"le=~"1|2.5|\\+Inf""#,
];

const NUMBERS: &[&str] = &[
    "0", "1", "2", "-1", "0.5", "0.9", "1.5", "-0.25", "3", "10", "1e3", "NaN", "Inf", "-Inf", "1e300",
    "0x1F", "30",
];

const RANGES: &[&str] = &["15s", "20s", "1m", "2m30s", "5m", "10m", "37s", "1ms"];

const OFFSETS: &[&str] = &["1m", "-1m", "15s", "7m", "1s"];

pub struct Generator<'a> {
    random: &'a mut Rng,
    unknown: &'a BTreeSet<&'static str>,
    native: bool,
}

impl<'a> Generator<'a> {
    pub fn new(random: &'a mut Rng, unknown: &'a BTreeSet<&'static str>, native: bool) -> Self {
        Generator { random, unknown, native }
    }

    /// A whole query.
    pub fn query(&mut self) -> String {
        match self.random.u32(0..20) {
            0 => self.scalar(MAX_DEPTH),
            _ => self.vector(MAX_DEPTH),
        }
    }

    fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.random.usize(0..list.len())]
    }

    fn one_in(&mut self, n: u32) -> bool {
        self.random.u32(0..n) == 0
    }

    fn of_type(&mut self, kind: ValueType, depth: u32) -> String {
        match kind {
            ValueType::Scalar => self.scalar(depth),
            ValueType::Vector => self.vector(depth),
            ValueType::Matrix => self.matrix(depth),
            ValueType::String => self.string(),
        }
    }

    fn string(&mut self) -> String {
        self.pick(&[r#""job""#, r#""new""#, r#""instance""#, r#""""#, r#""-""#, r#""a b""#]).to_string()
    }

    fn scalar(&mut self, depth: u32) -> String {
        if depth == 0 || self.one_in(2) {
            return self.pick(NUMBERS).to_string();
        }
        match self.random.u32(0..8) {
            0 => "time()".to_string(),
            1 => "pi()".to_string(),
            2 | 3 => format!("scalar({})", self.vector(depth - 1)),
            4 => format!("-{}", self.scalar(0)),
            5 => {
                let op = self.pick(&["==", "!=", "<", "<=", ">", ">="]);
                format!("({} {op} bool {})", self.scalar(depth - 1), self.scalar(depth - 1))
            }
            _ => {
                let op = self.arithmetic();
                format!("({} {op} {})", self.scalar(depth - 1), self.scalar(depth - 1))
            }
        }
    }

    fn arithmetic(&mut self) -> &'static str {
        self.pick(&[
            BinaryOp::Add,
            BinaryOp::Sub,
            BinaryOp::Mul,
            BinaryOp::Div,
            BinaryOp::Mod,
            BinaryOp::Pow,
            BinaryOp::Atan2,
        ])
        .text()
    }

    fn vector(&mut self, depth: u32) -> String {
        if depth == 0 {
            return self.selector() + &self.modifiers();
        }
        match self.random.u32(0..20) {
            0..2 => self.selector() + &self.modifiers(),
            2..10 => self.call(depth),
            10..14 => self.aggregate(depth),
            14..19 => self.binary(depth),
            _ => format!("-{}", self.vector(depth - 1)),
        }
    }

    fn metric(&mut self) -> (&'static str, &'static [&'static str]) {
        if self.native && self.one_in(2) { self.pick(NATIVE_METRICS) } else { self.pick(METRICS) }
    }

    fn selector(&mut self) -> String {
        let (name, _) = self.metric();
        if self.one_in(2) {
            return name.to_string();
        }
        let mut matchers = vec![self.pick(MATCHERS)];
        if self.one_in(3) {
            matchers.push(self.pick(MATCHERS));
        }
        if self.one_in(12) {
            return format!(r#"{{__name__=~"{}|{name}",{}}}"#, self.metric().0, matchers.join(","));
        }
        format!("{name}{{{}}}", matchers.join(","))
    }

    fn modifiers(&mut self) -> String {
        let mut text = String::new();
        if self.one_in(8) {
            text += " offset ";
            text += self.pick(OFFSETS);
        }
        if self.one_in(12) {
            text += self.pick(&[" @ start()", " @ end()", " @ 1700001200", " @ 1700000607.5"]);
        }
        text
    }

    fn matrix(&mut self, depth: u32) -> String {
        let range = self.pick(RANGES);
        if depth > 0 && self.one_in(4) {
            let step = self.pick(&["", "10s", "15s", "1m", "7s"]);
            return format!(
                "({})[{}:{step}]{}",
                self.vector(depth - 1),
                self.pick(&["1m", "5m", "2m30s"]),
                self.modifiers()
            );
        }
        format!("{}[{range}]{}", self.selector(), self.modifiers())
    }

    fn call(&mut self, depth: u32) -> String {
        let known: Vec<&Function> = FUNCTIONS
            .iter()
            .filter(|function| function.returns == ValueType::Vector && !self.unknown.contains(function.name))
            // It reads series that the tests of labels here do not have.
            .filter(|function| function.name != "info")
            .collect();
        let function = self.pick(&known);
        if let Some(text) = self.particular_call(function.name, depth) {
            return text;
        }
        let most = function.max_args().unwrap_or(function.args.len() + 1).min(function.args.len() + 1);
        let count = self.random.usize(function.min_args()..=most);
        let arguments: Vec<String> = (0..count)
            .filter_map(|index| function.arg_type(index))
            .map(|kind| self.of_type(kind, depth - 1))
            .collect();
        format!("{}({})", function.name, arguments.join(", "))
    }

    /// Functions whose arguments must fit each other to answer anything at all.
    fn particular_call(&mut self, name: &str, depth: u32) -> Option<String> {
        match name {
            "label_replace" => {
                let source = self.pick(LABELS);
                let target = self.pick(&["new", "job", "instance", "__name__"]);
                let template = self.pick(&["$1", "x-$1", "${1}y", "", "fixed", "$2"]);
                let pattern = self.pick(&["(.*)", "(.*)-(.*)", "a.*", "", "(?P<q>.)(.*)"]);
                let inner = self.vector(depth - 1);
                Some(format!(r#"label_replace({inner}, "{target}", "{template}", "{source}", "{pattern}")"#))
            }
            "label_join" => {
                let sources = format!(r#""{}", "{}""#, self.pick(LABELS), self.pick(LABELS));
                let inner = self.vector(depth - 1);
                let target = self.pick(&["new", "job"]);
                Some(format!(r#"label_join({inner}, "{target}", "{}", {sources})"#, self.pick(&["-", ""])))
            }
            "histogram_quantile" if self.random.bool() => {
                let inner = self.histogram();
                Some(format!("{name}({}, {inner})", self.scalar(depth - 1)))
            }
            // 3.5 answers NaN for what lies in the first bucket; later versions do not.
            "histogram_fraction" => {
                let inner = self.histogram();
                let lower = self.pick(&["0.2", "0.5", "1", "1.7", "NaN"]);
                let upper = self.pick(&["0.2", "1", "3", "12", "+Inf", "NaN"]);
                Some(format!("{name}({lower}, {upper}, {inner})"))
            }
            // 3.5 has a deviation even where there is NaN among the values; later versions answer NaN.
            "mad_over_time" => {
                let metric = self.pick(&["temperature", "load", "requests_total", "latency_count"]);
                Some(format!("{name}({metric}[{}]{})", self.pick(RANGES), self.modifiers()))
            }
            "double_exponential_smoothing" => {
                let factors =
                    format!("{}, {}", self.pick(&["0.3", "0.9", "0.01"]), self.pick(&["0.5", "0.99"]));
                Some(format!("{name}({}, {factors})", self.matrix(depth - 1)))
            }
            _ => None,
        }
    }

    /// Classic histograms, and a native one where there are any.
    fn histogram(&mut self) -> &'static str {
        if self.native && self.random.bool() {
            return self.pick(&[
                "native",
                "rate(native[2m])",
                "native_gauge",
                "sum by (job) (native_custom)",
            ]);
        }
        self.pick(&[
            "latency_bucket",
            "rate(latency_bucket[5m])",
            "sum by (le) (rate(latency_bucket[1m]))",
            "sum by (job, le) (latency_bucket)",
            r#"latency_bucket{le!="1"}"#,
        ])
    }

    fn label_list(&mut self) -> String {
        let count = self.random.usize(0..3);
        let labels: Vec<&str> = (0..count).map(|_| self.pick(LABELS)).collect();
        labels.join(", ")
    }

    fn aggregate(&mut self, depth: u32) -> String {
        let op = loop {
            let op = self.pick(&AggregateOp::ALL);
            // Which series limitk takes is the server's own choice; the variance over series comes with
            // fewer digits from 3.5, and what computes on with those goes astray.
            let inexact = matches!(op, AggregateOp::Stddev | AggregateOp::Stdvar) && depth < MAX_DEPTH;
            if op != AggregateOp::Limitk && !inexact {
                break op;
            }
        };
        let parameter = match op {
            AggregateOp::CountValues => r#""value", "#.to_string(),
            AggregateOp::LimitRatio => format!("{}, ", self.pick(&["0.5", "-0.5", "0.1", "1", "-0.9", "2"])),
            _ if op.param_type() == Some(ValueType::Scalar) => format!("{}, ", self.scalar(depth.min(2) - 1)),
            _ => String::new(),
        };
        // Which of equal values are among the best follows from the order of the series, and Prometheus
        // gives only these a certain one.
        let inner = match op {
            AggregateOp::Topk | AggregateOp::Bottomk => self.ordered(),
            _ => self.vector(depth - 1),
        };
        match self.random.u32(0..3) {
            0 => format!("{}({parameter}{inner})", op.name()),
            1 => format!("{} by ({}) ({parameter}{inner})", op.name(), self.label_list()),
            _ => format!("{} without ({}) ({parameter}{inner})", op.name(), self.label_list()),
        }
    }

    /// A vector whose series come in the order of their labels, as the data are written.
    fn ordered(&mut self) -> String {
        let selector = self.selector();
        match self.random.u32(0..3) {
            0 => selector + &self.modifiers(),
            1 => {
                let function =
                    self.pick(&["rate", "delta", "max_over_time", "sum_over_time", "count_over_time"]);
                format!("{function}({selector}[{}]{})", self.pick(RANGES), self.modifiers())
            }
            _ => {
                let op = self.pick(&["sum", "max", "count", "avg"]);
                format!("{op} by ({}) ({selector})", self.label_list())
            }
        }
    }

    fn binary(&mut self, depth: u32) -> String {
        let comparison = self.pick(&["==", "!=", "<", "<=", ">", ">="]);
        let op = match self.random.u32(0..10) {
            0..5 => self.arithmetic().to_string(),
            5..7 => comparison.to_string(),
            7 => format!("{comparison} bool"),
            _ => return self.set_operation(depth),
        };
        if self.one_in(3) {
            let (vector, scalar) = (self.vector(depth - 1), self.scalar(depth - 1));
            return if self.random.bool() {
                format!("({vector} {op} {scalar})")
            } else {
                format!("({scalar} {op} {vector})")
            };
        }
        if self.one_in(3) {
            // Both sides from one metric, so that something matches without labels named.
            let (left, right) = self.related(depth - 1);
            return format!("({left} {op} {right})");
        }
        let matching = self.matching();
        format!("({} {op}{matching} {})", self.vector(depth - 1), self.vector(depth - 1))
    }

    fn related(&mut self, depth: u32) -> (String, String) {
        let left = self.selector();
        if self.random.bool() {
            return (left.clone() + &self.modifiers(), left + &self.modifiers());
        }
        let wrap = self.pick(&["abs", "floor", "sgn", "ceil"]);
        let aggregated = format!("sum without (zone) ({left})");
        if depth > 0 { (format!("{wrap}({left})"), left) } else { (aggregated, left) }
    }

    fn matching(&mut self) -> String {
        let (on, group) = (
            self.pick(&[
                " on (job, instance)",
                " on (job)",
                " ignoring (code, le, version, zone)",
                " on ()",
                "",
            ]),
            self.pick(&[
                "",
                "",
                " group_left",
                " group_left (version)",
                " group_right",
                " group_right (code)",
            ]),
        );
        if on.is_empty() { String::new() } else { format!("{on}{group} ") }
    }

    fn set_operation(&mut self, depth: u32) -> String {
        let op = self.pick(&["and", "or", "unless"]);
        let on = self.pick(&["", "", " on (job)", " ignoring (code, le)", " on ()", " on (instance)"]);
        format!("({} {op}{on} {})", self.vector(depth - 1), self.vector(depth - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hearth_promql::syntax::{ParseOptions, parse};

    /// Matching that repeats a label, and the like, are refused by both servers alike; nearly all parse.
    #[test]
    fn nearly_every_query_is_well_typed() {
        let (mut random, unknown) = (Rng::with_seed(7), BTreeSet::new());
        let mut refused = Vec::new();
        for _ in 0..2000 {
            let query = Generator::new(&mut random, &unknown, true).query();
            if let Err(error) = parse(&query, &ParseOptions::ALL) {
                refused.push(format!("{query}: {error}"));
            }
        }
        assert!(refused.len() < 100, "{} refused: {:#?}", refused.len(), &refused[..10]);
    }

    #[test]
    fn the_labels_of_a_metric_are_known() {
        assert!(METRICS.iter().all(|(name, labels)| !name.is_empty() && !labels.is_empty()));
    }
}
