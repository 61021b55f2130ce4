//! The one table of PromQL's functions: what the type checker, the planner, the executor and the
//! generators of tests know of a function, they know from here.

use crate::syntax::ast::ValueType::{self, Matrix, Scalar, String, Vector};

/// A function of the language.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    pub name: &'static str,
    pub args: &'static [ValueType],
    /// 0: exactly `args`; n > 0: the last argument may be left out or be repeated, so that between
    /// `args.len() - 1` and `args.len() - 1 + n` are written; -1: the last may be left out or repeated
    /// without end.
    pub variadic: i8,
    pub returns: ValueType,
    /// Only with `--enable-feature=promql-experimental-functions`.
    pub experimental: bool,
    pub eval: Eval,
}

/// How the executor runs a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Eval {
    RangeFn(RangeKind),
    Elementwise(MathKind),
    Time(TimeKind),
    Label(LabelKind),
    Sort(SortKind),
    Histogram(HistogramKind),
    Info,
    Special(SpecialKind),
}

/// Value by value, histograms dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MathKind {
    Abs,
    Acos,
    Acosh,
    Asin,
    Asinh,
    Atan,
    Atanh,
    Ceil,
    Clamp,
    ClampMax,
    ClampMin,
    Cos,
    Cosh,
    Deg,
    Exp,
    Floor,
    Ln,
    Log10,
    Log2,
    Rad,
    Round,
    Sgn,
    Sin,
    Sinh,
    Sqrt,
    Tan,
    Tanh,
}

/// One of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SpecialKind {
    Absent,
    AbsentOverTime,
    End,
    MaxOf,
    MinOf,
    Pi,
    Range,
    Scalar,
    Start,
    StartTimestamp,
    Step,
    Time,
    Timestamp,
    Vector,
}

/// Over the samples of one series in a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RangeKind {
    Avg,
    Changes,
    Count,
    Delta,
    Deriv,
    DoubleExponentialSmoothing,
    First,
    Idelta,
    Increase,
    Irate,
    Last,
    Mad,
    Max,
    Min,
    PredictLinear,
    Present,
    Quantile,
    Rate,
    Resets,
    Stddev,
    Stdvar,
    Sum,
    TsOfFirst,
    TsOfLast,
    TsOfMax,
    TsOfMin,
}

/// A part of a UTC date; without argument, of the evaluation time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TimeKind {
    DayOfMonth,
    DayOfWeek,
    DayOfYear,
    DaysInMonth,
    Hour,
    Minute,
    Month,
    Year,
}

/// Of classic or native histograms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HistogramKind {
    Avg,
    Count,
    Fraction,
    Quantile,
    Quantiles,
    Stddev,
    Stdvar,
    Sum,
}

/// Only labels change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LabelKind {
    Join,
    Replace,
}

/// Only the order changes, and only of an instant query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SortKind {
    Ascending,
    ByLabel,
    ByLabelDescending,
    Descending,
}

/// The function of that name.
pub fn find(name: &str) -> Option<&'static Function> {
    let at = FUNCTIONS.binary_search_by(|f| f.name.cmp(name)).ok()?;
    FUNCTIONS.get(at)
}

impl Function {
    /// The least number of arguments.
    pub fn min_args(&self) -> usize {
        if self.variadic == 0 { self.args.len() } else { self.args.len() - 1 }
    }

    /// The greatest number of arguments, if there is one.
    pub fn max_args(&self) -> Option<usize> {
        match self.variadic {
            0 => Some(self.args.len()),
            n => usize::try_from(n).ok().map(|n| self.args.len() - 1 + n),
        }
    }

    /// The type of the argument at `index`; a repeated argument has the type of the last one listed.
    pub fn arg_type(&self, index: usize) -> Option<ValueType> {
        self.args.get(index.min(self.args.len().wrapping_sub(1))).copied()
    }
}

const fn stable(
    name: &'static str,
    args: &'static [ValueType],
    variadic: i8,
    returns: ValueType,
    eval: Eval,
) -> Function {
    Function { name, args, variadic, returns, experimental: false, eval }
}

const fn experimental(
    name: &'static str,
    args: &'static [ValueType],
    variadic: i8,
    returns: ValueType,
    eval: Eval,
) -> Function {
    Function { name, args, variadic, returns, experimental: true, eval }
}

use Eval::{Elementwise, Histogram, Info, Label, RangeFn, Sort, Special, Time};

/// Every function, by ascending name.
pub static FUNCTIONS: [Function; 90] = [
    stable("abs", &[Vector], 0, Vector, Elementwise(MathKind::Abs)),
    stable("absent", &[Vector], 0, Vector, Special(SpecialKind::Absent)),
    stable("absent_over_time", &[Matrix], 0, Vector, Special(SpecialKind::AbsentOverTime)),
    stable("acos", &[Vector], 0, Vector, Elementwise(MathKind::Acos)),
    stable("acosh", &[Vector], 0, Vector, Elementwise(MathKind::Acosh)),
    stable("asin", &[Vector], 0, Vector, Elementwise(MathKind::Asin)),
    stable("asinh", &[Vector], 0, Vector, Elementwise(MathKind::Asinh)),
    stable("atan", &[Vector], 0, Vector, Elementwise(MathKind::Atan)),
    stable("atanh", &[Vector], 0, Vector, Elementwise(MathKind::Atanh)),
    stable("avg_over_time", &[Matrix], 0, Vector, RangeFn(RangeKind::Avg)),
    stable("ceil", &[Vector], 0, Vector, Elementwise(MathKind::Ceil)),
    stable("changes", &[Matrix], 0, Vector, RangeFn(RangeKind::Changes)),
    stable("clamp", &[Vector, Scalar, Scalar], 0, Vector, Elementwise(MathKind::Clamp)),
    stable("clamp_max", &[Vector, Scalar], 0, Vector, Elementwise(MathKind::ClampMax)),
    stable("clamp_min", &[Vector, Scalar], 0, Vector, Elementwise(MathKind::ClampMin)),
    stable("cos", &[Vector], 0, Vector, Elementwise(MathKind::Cos)),
    stable("cosh", &[Vector], 0, Vector, Elementwise(MathKind::Cosh)),
    stable("count_over_time", &[Matrix], 0, Vector, RangeFn(RangeKind::Count)),
    stable("day_of_month", &[Vector], 1, Vector, Time(TimeKind::DayOfMonth)),
    stable("day_of_week", &[Vector], 1, Vector, Time(TimeKind::DayOfWeek)),
    stable("day_of_year", &[Vector], 1, Vector, Time(TimeKind::DayOfYear)),
    stable("days_in_month", &[Vector], 1, Vector, Time(TimeKind::DaysInMonth)),
    stable("deg", &[Vector], 0, Vector, Elementwise(MathKind::Deg)),
    stable("delta", &[Matrix], 0, Vector, RangeFn(RangeKind::Delta)),
    stable("deriv", &[Matrix], 0, Vector, RangeFn(RangeKind::Deriv)),
    experimental(
        "double_exponential_smoothing",
        &[Matrix, Scalar, Scalar],
        0,
        Vector,
        RangeFn(RangeKind::DoubleExponentialSmoothing),
    ),
    experimental("end", &[], 0, Scalar, Special(SpecialKind::End)),
    stable("exp", &[Vector], 0, Vector, Elementwise(MathKind::Exp)),
    stable("first_over_time", &[Matrix], 0, Vector, RangeFn(RangeKind::First)),
    stable("floor", &[Vector], 0, Vector, Elementwise(MathKind::Floor)),
    stable("histogram_avg", &[Vector], 0, Vector, Histogram(HistogramKind::Avg)),
    stable("histogram_count", &[Vector], 0, Vector, Histogram(HistogramKind::Count)),
    stable("histogram_fraction", &[Scalar, Scalar, Vector], 0, Vector, Histogram(HistogramKind::Fraction)),
    stable("histogram_quantile", &[Scalar, Vector], 0, Vector, Histogram(HistogramKind::Quantile)),
    experimental(
        "histogram_quantiles",
        &[Vector, String, Scalar, Scalar],
        9,
        Vector,
        Histogram(HistogramKind::Quantiles),
    ),
    stable("histogram_stddev", &[Vector], 0, Vector, Histogram(HistogramKind::Stddev)),
    stable("histogram_stdvar", &[Vector], 0, Vector, Histogram(HistogramKind::Stdvar)),
    stable("histogram_sum", &[Vector], 0, Vector, Histogram(HistogramKind::Sum)),
    stable("hour", &[Vector], 1, Vector, Time(TimeKind::Hour)),
    stable("idelta", &[Matrix], 0, Vector, RangeFn(RangeKind::Idelta)),
    stable("increase", &[Matrix], 0, Vector, RangeFn(RangeKind::Increase)),
    experimental("info", &[Vector, Vector], 1, Vector, Info),
    stable("irate", &[Matrix], 0, Vector, RangeFn(RangeKind::Irate)),
    stable("label_join", &[Vector, String, String, String], -1, Vector, Label(LabelKind::Join)),
    stable("label_replace", &[Vector, String, String, String, String], 0, Vector, Label(LabelKind::Replace)),
    stable("last_over_time", &[Matrix], 0, Vector, RangeFn(RangeKind::Last)),
    stable("ln", &[Vector], 0, Vector, Elementwise(MathKind::Ln)),
    stable("log10", &[Vector], 0, Vector, Elementwise(MathKind::Log10)),
    stable("log2", &[Vector], 0, Vector, Elementwise(MathKind::Log2)),
    experimental("mad_over_time", &[Matrix], 0, Vector, RangeFn(RangeKind::Mad)),
    experimental("max_of", &[Scalar, Scalar], 0, Scalar, Special(SpecialKind::MaxOf)),
    stable("max_over_time", &[Matrix], 0, Vector, RangeFn(RangeKind::Max)),
    experimental("min_of", &[Scalar, Scalar], 0, Scalar, Special(SpecialKind::MinOf)),
    stable("min_over_time", &[Matrix], 0, Vector, RangeFn(RangeKind::Min)),
    stable("minute", &[Vector], 1, Vector, Time(TimeKind::Minute)),
    stable("month", &[Vector], 1, Vector, Time(TimeKind::Month)),
    stable("pi", &[], 0, Scalar, Special(SpecialKind::Pi)),
    stable("predict_linear", &[Matrix, Scalar], 0, Vector, RangeFn(RangeKind::PredictLinear)),
    stable("present_over_time", &[Matrix], 0, Vector, RangeFn(RangeKind::Present)),
    stable("quantile_over_time", &[Scalar, Matrix], 0, Vector, RangeFn(RangeKind::Quantile)),
    stable("rad", &[Vector], 0, Vector, Elementwise(MathKind::Rad)),
    experimental("range", &[], 0, Scalar, Special(SpecialKind::Range)),
    stable("rate", &[Matrix], 0, Vector, RangeFn(RangeKind::Rate)),
    stable("resets", &[Matrix], 0, Vector, RangeFn(RangeKind::Resets)),
    stable("round", &[Vector, Scalar], 1, Vector, Elementwise(MathKind::Round)),
    stable("scalar", &[Vector], 0, Scalar, Special(SpecialKind::Scalar)),
    stable("sgn", &[Vector], 0, Vector, Elementwise(MathKind::Sgn)),
    stable("sin", &[Vector], 0, Vector, Elementwise(MathKind::Sin)),
    stable("sinh", &[Vector], 0, Vector, Elementwise(MathKind::Sinh)),
    stable("sort", &[Vector], 0, Vector, Sort(SortKind::Ascending)),
    experimental("sort_by_label", &[Vector, String], -1, Vector, Sort(SortKind::ByLabel)),
    experimental("sort_by_label_desc", &[Vector, String], -1, Vector, Sort(SortKind::ByLabelDescending)),
    stable("sort_desc", &[Vector], 0, Vector, Sort(SortKind::Descending)),
    stable("sqrt", &[Vector], 0, Vector, Elementwise(MathKind::Sqrt)),
    experimental("start", &[], 0, Scalar, Special(SpecialKind::Start)),
    experimental("start_timestamp", &[Vector], 0, Vector, Special(SpecialKind::StartTimestamp)),
    stable("stddev_over_time", &[Matrix], 0, Vector, RangeFn(RangeKind::Stddev)),
    stable("stdvar_over_time", &[Matrix], 0, Vector, RangeFn(RangeKind::Stdvar)),
    experimental("step", &[], 0, Scalar, Special(SpecialKind::Step)),
    stable("sum_over_time", &[Matrix], 0, Vector, RangeFn(RangeKind::Sum)),
    stable("tan", &[Vector], 0, Vector, Elementwise(MathKind::Tan)),
    stable("tanh", &[Vector], 0, Vector, Elementwise(MathKind::Tanh)),
    stable("time", &[], 0, Scalar, Special(SpecialKind::Time)),
    stable("timestamp", &[Vector], 0, Vector, Special(SpecialKind::Timestamp)),
    experimental("ts_of_first_over_time", &[Matrix], 0, Vector, RangeFn(RangeKind::TsOfFirst)),
    experimental("ts_of_last_over_time", &[Matrix], 0, Vector, RangeFn(RangeKind::TsOfLast)),
    experimental("ts_of_max_over_time", &[Matrix], 0, Vector, RangeFn(RangeKind::TsOfMax)),
    experimental("ts_of_min_over_time", &[Matrix], 0, Vector, RangeFn(RangeKind::TsOfMin)),
    stable("vector", &[Scalar], 0, Vector, Special(SpecialKind::Vector)),
    stable("year", &[Vector], 1, Vector, Time(TimeKind::Year)),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_every_name_is_found() {
        assert!(FUNCTIONS.is_sorted_by(|a, b| a.name < b.name));
        for function in &FUNCTIONS {
            assert_eq!(find(function.name), Some(function));
            assert!(function.variadic == 0 || !function.args.is_empty());
        }
        assert_eq!(find("holt_winters"), None);
        assert_eq!(FUNCTIONS.iter().filter(|f| f.experimental).count(), 17);
    }

    #[test]
    fn argument_counts_follow_the_variadic_number() {
        let counts = |name: &str| find(name).map(|f| (f.min_args(), f.max_args()));
        assert_eq!(counts("rate"), Some((1, Some(1))));
        assert_eq!(counts("round"), Some((1, Some(2))));
        assert_eq!(counts("hour"), Some((0, Some(1))));
        assert_eq!(counts("label_join"), Some((3, None)));
        assert_eq!(counts("histogram_quantiles"), Some((3, Some(12))));
        assert_eq!(counts("pi"), Some((0, Some(0))));
        assert_eq!(find("label_join").and_then(|f| f.arg_type(7)), Some(String));
        assert_eq!(find("pi").and_then(|f| f.arg_type(0)), None);
    }
}
