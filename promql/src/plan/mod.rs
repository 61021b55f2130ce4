//! The plan: what an expression becomes before anything is read. It does not change after this room.
//!
//! ```text
//! tree --lower--> Node --split--> fragments (run on every shard, beside the data)
//!                                 + finish  (runs once, over the merged partials)
//! ```
//! A [`Fragment`] reads one selector and does everything that can be done series by series; where an
//! aggregation stands directly above, it folds, so that groups leave the shard instead of series.
//! Everything else is a [`Node`] of the finish.

pub mod explain;
pub mod grid;
pub mod lower;
pub mod passes;
pub mod split;

use crate::exec::aggregate::FoldOp;
use crate::exec::window::{Param, RangeCall};
use crate::functions::{HistogramKind, LabelKind, MathKind, SortKind, TimeKind};
use crate::syntax::PositionRange;
use crate::syntax::ast::{AggregateOp, BinaryOp, ValueType, VectorMatching};
use grid::{Steps, Windows};
use hearth_model::{Labels, Matcher, Projection};
use std::sync::Arc;

/// What runs on every shard for one selector.
#[derive(Debug, Clone, PartialEq)]
pub struct Fragment {
    pub matchers: Arc<[Matcher]>,
    /// The metric name that the matchers pin.
    pub metric: Option<String>,
    pub read: Read,
    pub then: Vec<RowOp>,
    pub fold: Option<Fold>,
    /// Only counts and sums of histograms are asked for: samples that do not say themselves whether they
    /// were reset are given the answer where the one before is read too.
    pub marks_resets: bool,
    /// The result has no metric name.
    pub drops_name: bool,
    /// Where the same stands again in the text: what there is to remark is remarked there too.
    pub twins: Vec<Vec<PositionRange>>,
}

impl Fragment {
    /// Every position that a note of this fragment can have.
    pub fn positions(&self) -> Vec<PositionRange> {
        let mut all: Vec<PositionRange> = self.fold.iter().map(|fold| fold.position).collect();
        if let Read::Range(call) = &self.read {
            all.push(call.position);
            all.extend_from_slice(&call.param_positions);
        }
        all
    }

    /// Reads and computes the same, wherever it stands.
    pub fn is_twin_of(&self, other: &Fragment) -> bool {
        let placeless = |fragment: &Fragment| {
            let mut fragment = fragment.clone();
            fragment.twins.clear();
            if let Some(fold) = &mut fragment.fold {
                fold.position = PositionRange::default();
            }
            if let Read::Range(call) = &mut fragment.read {
                call.position = PositionRange::default();
                call.param_positions.fill(PositionRange::default());
            }
            fragment
        };
        self.matchers == other.matchers && placeless(self) == placeless(other)
    }
}

/// How samples become values at steps.
#[derive(Debug, Clone, PartialEq)]
pub enum Read {
    /// The newest sample within the lookback.
    Instant { windows: Windows, value: InstantValue },
    /// A function over windows.
    Range(RangeCall),
    /// The samples themselves, for what needs more than one series or is not known before.
    Samples { windows: Windows },
}

impl Read {
    pub fn windows(&self) -> &Windows {
        match self {
            Read::Instant { windows, .. } | Read::Samples { windows } => windows,
            Read::Range(call) => &call.seen,
        }
    }
}

/// What is told of the newest sample within a lookback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstantValue {
    Sample,
    /// Its time in seconds.
    Time,
    /// When its count began, in seconds; 0 where that is not known.
    Start,
    /// Its time in seconds too, but of floats only; a histogram stays one, for `info` to refuse.
    InfoTime,
}

/// What happens to each value of a series on its own.
#[derive(Debug, Clone, PartialEq)]
pub enum RowOp {
    Math { kind: MathKind, params: Vec<Param> },
    Negate,
}

/// An aggregation that runs on the shards.
#[derive(Debug, Clone, PartialEq)]
pub struct Fold {
    pub op: FoldOp,
    pub projection: Projection,
    /// Names that differ are dropped: series that become equal have to be found over all shards.
    pub loses_names: bool,
    pub position: PositionRange,
}

/// Where a range function that runs in the finish gets its samples.
#[derive(Debug, Clone, PartialEq)]
pub enum RangeSource {
    /// Samples that the shards sent.
    Fragment(usize),
    Subquery(Box<SubqueryNode>),
}

#[derive(Debug, Clone, PartialEq)]
pub struct SubqueryNode {
    pub inner: Node,
    /// When the inner expression is evaluated.
    pub steps: Steps,
    /// Which of those times each outer step sees.
    pub windows: Windows,
}

/// An operator of the finish. Every node is evaluated at the steps of its surroundings: the query's, a
/// subquery's, or one step below [`Node::Invariant`].
#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    Number(f64),
    Text(String),
    /// A tile, from the shards.
    Fragment(usize),
    /// A range vector as the whole result.
    Samples(RangeSource),
    /// The same at every step: evaluated once.
    Invariant(Box<Node>),
    Range(Box<RangeNode>),
    Math {
        kind: MathKind,
        vector: Box<Node>,
        params: Vec<Node>,
        drop_name: bool,
    },
    DatePart {
        kind: TimeKind,
        vector: Option<Box<Node>>,
    },
    Negate(Box<Node>),
    /// The evaluation time, seconds.
    Time,
    /// `timestamp()` of something that is not a selector: the evaluation time of each element.
    Timestamp(Box<Node>),
    /// `start_timestamp()` of something that is not a selector: nothing that is computed has one.
    NoStarts(Box<Node>),
    Extreme {
        max: bool,
        left: Box<Node>,
        right: Box<Node>,
    },
    ToScalar(Box<Node>),
    ToVector(Box<Node>),
    Label {
        kind: LabelKind,
        vector: Box<Node>,
        texts: Vec<String>,
    },
    Sort {
        kind: SortKind,
        vector: Box<Node>,
        labels: Vec<String>,
        position: PositionRange,
    },
    Histogram {
        kind: HistogramKind,
        vector: Box<Node>,
        params: Vec<Node>,
        /// Of `histogram_quantiles`.
        label: String,
        /// Of each parameter, then of the vector.
        positions: Vec<PositionRange>,
    },
    /// 1 where the vector has nothing at all.
    Absent {
        vector: Box<Node>,
        /// What is known of the missing series.
        labels: Labels,
    },
    Info(Box<InfoNode>),
    Aggregate(Box<AggregateNode>),
    Binary(Box<BinaryNode>),
}

/// A range function evaluated in the finish.
#[derive(Debug, Clone, PartialEq)]
pub struct RangeNode {
    /// Its parameters are filled in when `params` are evaluated.
    pub call: RangeCall,
    pub params: Vec<Node>,
    pub source: RangeSource,
    pub keeps_name: bool,
}

/// `info()`: a vector, and the fragment that finds when each info series was last seen.
#[derive(Debug, Clone, PartialEq)]
pub struct InfoNode {
    pub base: Node,
    pub fragment: usize,
    /// What the name of an info metric has to match.
    pub names: Vec<Matcher>,
    /// Of the data labels that are asked for; all where there is none.
    pub data: Vec<Matcher>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct AggregateNode {
    pub op: AggregateOp,
    pub input: Node,
    pub param: Option<Node>,
    pub grouping: Vec<String>,
    pub without: bool,
    pub position: PositionRange,
    pub input_position: PositionRange,
    pub param_position: PositionRange,
}

#[derive(Debug, Clone, PartialEq)]
pub struct BinaryNode {
    pub op: BinaryOp,
    pub left: Node,
    pub right: Node,
    pub return_bool: bool,
    /// There exactly when both sides are vectors.
    pub matching: Option<VectorMatching>,
    pub position: PositionRange,
}

/// A query ready to run.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    pub steps: Steps,
    /// An instant query may order its result and may be a range vector.
    pub instant: bool,
    pub kind: ValueType,
    pub fragments: Arc<[Fragment]>,
    /// How often the finish uses each fragment's result.
    pub uses: Vec<usize>,
    pub finish: Node,
    pub delayed_name_removal: bool,
}

impl Node {
    /// Shows the direct children, a subquery's inner expression among them.
    pub fn for_each_child(&mut self, see: &mut dyn FnMut(&mut Node)) {
        match self {
            Node::Number(_) | Node::Text(_) | Node::Time | Node::Fragment(_) => {}
            Node::Invariant(inner)
            | Node::Negate(inner)
            | Node::Timestamp(inner)
            | Node::NoStarts(inner)
            | Node::ToScalar(inner)
            | Node::ToVector(inner)
            | Node::Absent { vector: inner, .. }
            | Node::Label { vector: inner, .. }
            | Node::Sort { vector: inner, .. } => see(inner),
            Node::DatePart { vector, .. } => {
                if let Some(inner) = vector {
                    see(inner);
                }
            }
            Node::Extreme { left, right, .. } => {
                see(left);
                see(right);
            }
            Node::Math { vector, params, .. } | Node::Histogram { vector, params, .. } => {
                see(vector);
                params.iter_mut().for_each(see);
            }
            Node::Samples(source) => source.for_each_child(see),
            Node::Range(range) => {
                range.params.iter_mut().for_each(&mut *see);
                range.source.for_each_child(see);
            }
            Node::Info(info) => see(&mut info.base),
            Node::Aggregate(aggregate) => {
                see(&mut aggregate.input);
                if let Some(param) = &mut aggregate.param {
                    see(param);
                }
            }
            Node::Binary(binary) => {
                see(&mut binary.left);
                see(&mut binary.right);
            }
        }
    }
}

impl RangeSource {
    fn for_each_child(&mut self, see: &mut dyn FnMut(&mut Node)) {
        if let RangeSource::Subquery(subquery) = self {
            see(&mut subquery.inner);
        }
    }
}
