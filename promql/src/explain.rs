//! What a query would do (`explain`), and what it did and cost (`analyze`): its plan as a tree that people
//! and programs can read. Nothing in here runs a query.
//!
//! The plan has two parts. *Fragments* run on every shard, beside the data: a selector with everything that
//! was pushed down to it. The *finish* runs once, over what the shards sent. A fragment that several places
//! of the expression share is read once.

use crate::plan::grid::Steps;
use crate::plan::{Fragment, Node, Plan};
use crate::query::{InstantRequest, RangeRequest};
use std::collections::HashMap;
use std::fmt::{self, Write};
use std::time::Duration;

/// The query to be explained.
#[derive(Debug, Clone)]
pub enum Asked {
    Instant(InstantRequest),
    Range(RangeRequest),
}

/// What the cache of results has for a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheState {
    /// There is no cache, or it was not to be used.
    Off,
    /// An instant query, or one whose result at a step depends on more than that step.
    Uncacheable,
    /// So many of the steps are there.
    Kept { steps: usize },
}

/// What a scan or an operator took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    /// Series that came out.
    pub series: u64,
    /// Of a fragment: samples read, each once, and looks at them, one for each window that saw one.
    pub samples_read: u64,
    pub samples_looked_at: u64,
    /// Summed over shards that work beside each other; with what is below it in the tree.
    pub wall: Duration,
    pub cpu: Duration,
    /// Memory that its result held; of all shards together.
    pub memory_bytes: u64,
}

impl Cost {
    pub fn add(&mut self, other: &Cost) {
        self.series += other.series;
        self.samples_read += other.samples_read;
        self.samples_looked_at += other.samples_looked_at;
        self.wall += other.wall;
        self.cpu += other.cpu;
        self.memory_bytes += other.memory_bytes;
    }
}

/// What each node of a plan's finish cost, by where the node lies: a plan does not move while it runs.
#[derive(Debug, Default)]
pub struct NodeCosts(HashMap<usize, Cost>);

impl NodeCosts {
    pub fn add(&mut self, node: &Node, cost: &Cost) {
        self.0.entry(std::ptr::from_ref(node).addr()).or_default().add(cost);
    }

    fn of(&self, node: &Node) -> Option<Cost> {
        self.0.get(&std::ptr::from_ref(node).addr()).copied()
    }
}

/// A fragment and its parts.
#[derive(Debug, Clone, PartialEq)]
pub struct FragmentReport {
    /// All of it in one line.
    pub line: String,
    /// The selector, as it would be written.
    pub selector: String,
    /// How samples become values at steps.
    pub read: String,
    /// What else runs beside the data, innermost first: functions of single values, then an aggregation.
    pub pushed_down: Vec<String>,
    /// All times that any step sees, both inclusive.
    pub min_ms: i64,
    pub max_ms: i64,
    pub steps: usize,
    /// How many places of the expression use it.
    pub uses: usize,
    /// What the index of each shard has for the selector.
    pub series_by_shard: Vec<u64>,
    pub cost: Option<Cost>,
}

/// An operator of the finish.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeReport {
    pub operator: String,
    /// The fragment whose result it takes.
    pub fragment: Option<usize>,
    pub steps: usize,
    pub cost: Option<Cost>,
    pub children: Vec<NodeReport>,
}

/// See the module's head.
#[derive(Debug, Clone, PartialEq)]
pub struct Explained {
    /// The expression as it is kept in the cache: printed from its tree.
    pub query: String,
    pub start_ms: i64,
    pub end_ms: i64,
    pub step_ms: i64,
    pub steps: usize,
    pub shards: usize,
    pub cache: CacheState,
    pub fragments: Vec<FragmentReport>,
    pub finish: NodeReport,
    /// There when the query was run.
    pub totals: Option<Totals>,
}

/// What the whole query took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    pub result_series: u64,
    pub queue: Duration,
    pub prepare: Duration,
    pub evaluate: Duration,
    pub sort: Duration,
    pub samples_read: u64,
    pub samples_looked_at: u64,
    pub peak_samples: u64,
    pub peak_memory_bytes: u64,
}

/// A fragment's part of the report.
pub fn fragment(
    fragment: &Fragment,
    uses: usize,
    series_by_shard: Vec<u64>,
    cost: Option<Cost>,
) -> FragmentReport {
    let windows = fragment.read.windows();
    let range = windows.covers();
    FragmentReport {
        line: fragment.to_string(),
        selector: fragment.selector_text(),
        read: fragment.read_text(),
        pushed_down: fragment.pushed_down(),
        min_ms: range.min_ms,
        max_ms: range.max_ms,
        steps: windows.count,
        uses,
        series_by_shard,
        cost,
    }
}

/// The finish's part of the report.
pub fn finish(plan: &Plan, costs: Option<&NodeCosts>) -> NodeReport {
    node(&plan.finish, &plan.steps, costs)
}

fn node(of: &Node, steps: &Steps, costs: Option<&NodeCosts>) -> NodeReport {
    let children = of.children(steps);
    NodeReport {
        operator: of.describe(),
        fragment: of.fragment(),
        steps: steps.count,
        cost: costs.and_then(|costs| costs.of(of)),
        children: children.into_iter().map(|(child, steps)| node(child, &steps, costs)).collect(),
    }
}

impl fmt::Display for Explained {
    /// For a terminal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.query)?;
        let step = Duration::from_millis(self.step_ms.unsigned_abs());
        match self.step_ms {
            0 => writeln!(f, "instant, {} shards", self.shards)?,
            _ => writeln!(f, "{} steps, one every {step:?}, {} shards", self.steps, self.shards)?,
        }
        match self.cache {
            CacheState::Off => writeln!(f, "cache: not used")?,
            CacheState::Uncacheable => writeln!(f, "cache: no result of this query can be kept")?,
            CacheState::Kept { steps } => writeln!(f, "cache: {steps} of {} steps are kept", self.steps)?,
        }
        if let Some(totals) = &self.totals {
            write!(f, "{totals}")?;
        }
        writeln!(f, "\nonce, over what the shards send:")?;
        self.finish.write(f, 1)?;
        if !self.fragments.is_empty() {
            writeln!(f, "\non every shard:")?;
        }
        for (number, fragment) in self.fragments.iter().enumerate() {
            fragment.write(f, number)?;
        }
        Ok(())
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Totals { queue, prepare, evaluate, sort, .. } = self;
        writeln!(
            f,
            "took: queue {queue:.1?}, prepare {prepare:.1?}, evaluate {evaluate:.1?}, sort {sort:.1?}"
        )?;
        writeln!(
            f,
            "result: {} series; samples: {} read, {} looked at, {} held at most; memory: {} at most",
            self.result_series,
            self.samples_read,
            self.samples_looked_at,
            self.peak_samples,
            bytes(self.peak_memory_bytes)
        )
    }
}

impl NodeReport {
    fn write(&self, f: &mut fmt::Formatter<'_>, depth: usize) -> fmt::Result {
        write!(f, "{:indent$}{}", "", self.operator, indent = depth * 2)?;
        if let Some(cost) = &self.cost {
            let below: Duration = self.children.iter().filter_map(|c| Some(c.cost?.wall)).sum();
            let own = cost.wall.saturating_sub(below);
            write!(f, "  [{} series, {own:.1?} of {:.1?}, CPU {:.1?}", cost.series, cost.wall, cost.cpu)?;
            write!(f, ", {}]", bytes(cost.memory_bytes))?;
        }
        f.write_char('\n')?;
        self.children.iter().try_for_each(|child| child.write(f, depth + 1))
    }
}

impl FragmentReport {
    fn write(&self, f: &mut fmt::Formatter<'_>, number: usize) -> fmt::Result {
        let series: u64 = self.series_by_shard.iter().sum();
        writeln!(f, "  fragment {number}: {} of {} at {} steps", self.read, self.selector, self.steps)?;
        for pushed in &self.pushed_down {
            writeln!(f, "    then {pushed}")?;
        }
        if self.uses > 1 {
            writeln!(f, "    read once, used {} times", self.uses)?;
        }
        writeln!(f, "    index: {series} series, by shard {:?}", self.series_by_shard)?;
        let Some(cost) = &self.cost else { return Ok(()) };
        writeln!(
            f,
            "    {} series out, samples: {} read, {} looked at; {:.1?}, CPU {:.1?}, {}",
            cost.series,
            cost.samples_read,
            cost.samples_looked_at,
            cost.wall,
            cost.cpu,
            bytes(cost.memory_bytes)
        )
    }
}

fn bytes(count: u64) -> String {
    match count {
        0..10_240 => format!("{count} B"),
        10_240..10_485_760 => format!("{} KiB", count >> 10),
        _ => format!("{} MiB", count >> 20),
    }
}
