//! The parts of a plan in words, for people, for errors and for tests.

use super::grid::Steps;
use super::{Fragment, InstantValue, Node, RangeSource, Read};
use hearth_model::Projection;
use std::fmt;

/// A label list as an aggregation is written with it.
fn grouping(names: &[String], without: bool) -> String {
    match (without, names.is_empty()) {
        (false, true) => String::new(),
        (false, false) => format!(" by ({})", names.join(", ")),
        (true, _) => format!(" without ({})", names.join(", ")),
    }
}

impl Fragment {
    /// The matchers in braces.
    pub fn selector_text(&self) -> String {
        let matchers: Vec<String> = self.matchers.iter().map(ToString::to_string).collect();
        format!("{{{}}}", matchers.join(", "))
    }

    /// How samples become values at steps.
    pub fn read_text(&self) -> String {
        match &self.read {
            Read::Instant { value: InstantValue::Sample, .. } => "newest".to_owned(),
            Read::Instant { value: InstantValue::Start, .. } => "starts".to_owned(),
            Read::Instant { .. } => "times".to_owned(),
            Read::Range(call) => format!("{:?} over {} ms", call.kind, call.windows.length_ms),
            Read::Samples { windows } => format!("samples over {} ms", windows.length_ms),
        }
    }

    /// What else runs beside the data, innermost first.
    pub fn pushed_down(&self) -> Vec<String> {
        let mut all: Vec<String> = self.then.iter().map(|op| format!("{op:?}")).collect();
        if let Some(fold) = &self.fold {
            let by = match &fold.projection {
                Projection::All => String::new(),
                Projection::Only(names) => grouping(names, false),
                Projection::Without(names) => grouping(names, true),
            };
            all.push(format!("{}{by}", fold.op.name()));
        }
        all
    }
}

impl fmt::Display for Fragment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(fold) = &self.fold {
            write!(f, "{} by {:?} of ", fold.op.name(), fold.projection)?;
        }
        for op in self.then.iter().rev() {
            write!(f, "{op:?} of ")?;
        }
        let steps = self.read.windows().count;
        write!(f, "{} of {} at {steps} steps", self.read_text(), self.selector_text())
    }
}

impl Node {
    /// The fragment whose result the node takes.
    pub fn fragment(&self) -> Option<usize> {
        match self {
            Node::Fragment(fragment) | Node::Samples(RangeSource::Fragment(fragment)) => Some(*fragment),
            Node::Range(range) => match range.source {
                RangeSource::Fragment(fragment) => Some(fragment),
                RangeSource::Subquery(_) => None,
            },
            Node::Info(info) => Some(info.fragment),
            _ => None,
        }
    }

    /// The operator, without what it works on.
    pub fn describe(&self) -> String {
        match self {
            Node::Number(value) => format!("number {value}"),
            Node::Text(text) => format!("text {text:?}"),
            Node::Fragment(fragment) => format!("result of fragment {fragment}"),
            Node::Samples(RangeSource::Fragment(fragment)) => format!("samples of fragment {fragment}"),
            Node::Samples(RangeSource::Subquery(_)) => "subquery".to_owned(),
            Node::Invariant(_) => "the same at every step".to_owned(),
            Node::Range(range) => match &range.source {
                RangeSource::Fragment(fragment) => {
                    format!("{:?} over samples of fragment {fragment}", range.call.kind)
                }
                RangeSource::Subquery(_) => {
                    format!("{:?} over {} ms of a subquery", range.call.kind, range.call.windows.length_ms)
                }
            },
            Node::Math { kind, .. } => format!("function {kind:?}"),
            Node::DatePart { kind, .. } => format!("function {kind:?}"),
            Node::Negate(_) => "negation".to_owned(),
            Node::Time => "time()".to_owned(),
            Node::Timestamp(_) => "timestamp()".to_owned(),
            Node::NoStarts(_) => "start times".to_owned(),
            Node::Extreme { max, .. } => if *max { "max_of()" } else { "min_of()" }.to_owned(),
            Node::ToScalar(_) => "scalar()".to_owned(),
            Node::ToVector(_) => "vector()".to_owned(),
            Node::Label { kind, .. } => format!("function {kind:?}"),
            Node::Sort { kind, .. } => format!("sort {kind:?}"),
            Node::Histogram { kind, .. } => format!("histogram function {kind:?}"),
            Node::Absent { .. } => "absent()".to_owned(),
            Node::Info(info) => format!("info() with fragment {}", info.fragment),
            Node::Aggregate(node) => {
                format!("{}{}", node.op.name(), grouping(&node.grouping, node.without))
            }
            Node::Binary(node) => format!("operator {}", node.op.text()),
        }
    }

    /// The direct children, in the order of the text, each with the steps that it is evaluated at.
    pub fn children(&self, steps: &Steps) -> Vec<(&Node, Steps)> {
        let mut all: Vec<(&Node, Steps)> = Vec::new();
        let own = *steps;
        match self {
            Node::Number(_) | Node::Text(_) | Node::Time | Node::Fragment(_) => {}
            Node::Invariant(inner) => all.push((inner, Steps::once(steps.start_ms))),
            Node::Negate(inner)
            | Node::Timestamp(inner)
            | Node::NoStarts(inner)
            | Node::ToScalar(inner)
            | Node::ToVector(inner)
            | Node::Absent { vector: inner, .. }
            | Node::Label { vector: inner, .. }
            | Node::Sort { vector: inner, .. } => all.push((inner, own)),
            Node::DatePart { vector, .. } => all.extend(vector.iter().map(|inner| (&**inner, own))),
            Node::Extreme { left, right, .. } => all.extend([(&**left, own), (&**right, own)]),
            Node::Math { vector, params, .. } | Node::Histogram { vector, params, .. } => {
                all.push((vector, own));
                all.extend(params.iter().map(|param| (param, own)));
            }
            Node::Samples(from) => {
                if let RangeSource::Subquery(subquery) = from {
                    all.push((&subquery.inner, subquery.steps));
                }
            }
            Node::Range(range) => {
                all.extend(range.params.iter().map(|param| (param, own)));
                if let RangeSource::Subquery(subquery) = &range.source {
                    all.push((&subquery.inner, subquery.steps));
                }
            }
            Node::Info(info) => all.push((&info.base, own)),
            Node::Aggregate(node) => {
                all.extend(node.param.iter().map(|param| (param, own)));
                all.push((&node.input, own));
            }
            Node::Binary(node) => all.extend([(&node.left, own), (&node.right, own)]),
        }
        all
    }
}
