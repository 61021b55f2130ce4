//! What a caller asks of PromQL and what comes back: requests, answers, errors, and the object-safe
//! trait that the HTTP API and the rules hold. Nothing in here computes.

use crate::active::ActiveQuery;
use crate::cache::CacheFigures;
use crate::explain::{Asked, Explained};
use hearth_model::store::BoxFuture;
use hearth_model::{Histogram, Labels, QueryContext, Sample, StoreError};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Answers queries. The engine is the one implementation over a store; tests may have others.
///
/// Deadlines are the caller's: whoever gives up cancels the request's [`QueryContext`] (which the answer
/// then reports as [`QueryError::TimedOut`] or [`QueryError::Canceled`], waiting for its turn or running)
/// or drops the future.
pub trait Query: Send + Sync {
    /// Evaluates an expression at one time.
    fn instant(&self, request: InstantRequest) -> BoxFuture<'_, Result<Answer, QueryError>>;

    /// Evaluates an expression at every step of a range; the value is a matrix.
    fn range(&self, request: RangeRequest) -> BoxFuture<'_, Result<Answer, QueryError>>;

    /// Says what a query would do; with `run` it is run, and what its parts cost is told too.
    fn explain(&self, asked: Asked, run: bool) -> BoxFuture<'_, Result<Explained, QueryError>>;
}

/// What an operator asks of a query engine.
pub trait QueryAdmin: Send + Sync {
    /// The queries that wait or run, oldest first.
    fn active(&self) -> Vec<ActiveQuery>;

    /// Tells a query to stop: it ends as [`QueryError::Canceled`]. `false` where there is none with that
    /// number.
    fn kill(&self, id: u64) -> bool;

    /// What the cache of results did and holds, where there is one.
    fn cache(&self) -> Option<CacheFigures> {
        None
    }

    /// Forgets all kept results.
    fn forget(&self) {}
}

/// Who asks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Origin {
    /// The server itself.
    #[default]
    Internal,
    /// A client of the HTTP interface.
    Http { client: String, method: String, path: String },
    /// A group of rules.
    Rules { file: String, group: String },
}

/// What holds for every kind of request.
#[derive(Debug, Clone)]
pub struct RequestOptions {
    /// How far an instant selector looks back; the engine's own default where `None`.
    pub lookback_ms: Option<i64>,
    /// Most series in the answer, 0 for no bound; what is cut off leaves a warning.
    pub limit: usize,
    /// Counts samples for each step too, for `stats=all`.
    pub stats_per_step: bool,
    pub origin: Origin,
    /// Results of steps up to this time may come from the cache and go there; with `None` everything is
    /// computed. Newer ones still change with what is on its way: keeping them would be for nothing.
    pub keep_until_ms: Option<i64>,
    /// Carries cancellation and the memory account.
    pub context: QueryContext,
}

impl RequestOptions {
    pub fn new(context: QueryContext) -> Self {
        RequestOptions {
            lookback_ms: None,
            limit: 0,
            stats_per_step: false,
            origin: Origin::Internal,
            keep_until_ms: None,
            context,
        }
    }
}

#[derive(Debug, Clone)]
pub struct InstantRequest {
    pub text: String,
    pub time_ms: i64,
    pub options: RequestOptions,
}

#[derive(Debug, Clone)]
pub struct RangeRequest {
    pub text: String,
    pub start_ms: i64,
    /// Inclusive.
    pub end_ms: i64,
    /// Above zero; the caller has refused anything else.
    pub step_ms: i64,
    pub options: RequestOptions,
}

/// A value at one time.
#[derive(Debug, Clone, PartialEq)]
pub enum Point {
    Float(f64),
    Histogram(Arc<Histogram>),
}

/// One element of an instant vector.
#[derive(Debug, Clone, PartialEq)]
pub struct VectorElement {
    pub labels: Labels,
    pub timestamp_ms: i64,
    pub point: Point,
}

/// One series of a matrix: floats and histograms, each ascending in time, never both at one time.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct MatrixSeries {
    pub labels: Labels,
    pub floats: Vec<Sample>,
    pub histograms: Vec<(i64, Arc<Histogram>)>,
}

/// The four kinds of result.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Scalar(Sample),
    String {
        timestamp_ms: i64,
        text: String,
    },
    /// Sorted by labels, except where the expression itself orders (sort, topk, …).
    Vector(Vec<VectorElement>),
    /// Sorted by labels.
    Matrix(Vec<MatrixSeries>),
}

impl Value {
    /// The `resultType` of the HTTP API.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Scalar(_) => "scalar",
            Value::String { .. } => "string",
            Value::Vector(_) => "vector",
            Value::Matrix(_) => "matrix",
        }
    }
}

/// What a query cost.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct QueryStats {
    /// Waiting for a turn.
    pub queue_time: Duration,
    /// Parsing and planning.
    pub prepare_time: Duration,
    /// Reading and computing.
    pub eval_time: Duration,
    /// Bringing the result into order.
    pub sort_time: Duration,
    /// Samples read, each as often as a step looked at it.
    pub total_samples: u64,
    /// The same by step, in the order of the steps; empty unless asked for.
    pub samples_per_step: Vec<(i64, u64)>,
    /// Samples read, each once.
    pub samples_read: u64,
    /// Most samples held at once.
    pub peak_samples: u64,
}

/// A result with what there is to say about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    pub value: Value,
    /// At most ten texts and one that counts the rest, each with its position in the expression.
    pub warnings: Vec<String>,
    pub infos: Vec<String>,
    pub stats: QueryStats,
}

/// Why there is no answer. The texts are Prometheus', because dashboards and tests match on them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QueryError {
    /// The expression is not valid; the text opens with its position. `bad_data`.
    BadData(String),
    /// The expression cannot be evaluated on this data, or only with more than it may use. `execution`.
    Execution(String),
    /// It would hold more memory than it, or all together, may. `execution`.
    OutOfMemory {
        account: &'static str,
        limit_bytes: usize,
        /// The part of the plan that asked for more.
        node: Option<String>,
    },
    /// The context was cancelled for time; says during what. `timeout`.
    TimedOut(&'static str),
    /// The context was cancelled by somebody; says during what. `canceled`.
    Canceled(&'static str),
    /// The store failed. `internal`.
    Storage(StoreError),
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            QueryError::BadData(text) | QueryError::Execution(text) => f.write_str(text),
            QueryError::OutOfMemory { account, limit_bytes, node } => {
                let limit = format_args!("memory limit of {limit_bytes} bytes for {account} reached");
                write!(f, "query execution needs too much memory: {limit}")?;
                node.iter().try_for_each(|node| write!(f, " in {node}"))
            }
            QueryError::TimedOut(during) => write!(f, "query timed out in {during}"),
            QueryError::Canceled(during) => write!(f, "query was canceled in {during}"),
            QueryError::Storage(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for QueryError {}
