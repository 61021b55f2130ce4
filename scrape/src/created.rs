//! When counters began, as OpenMetrics text tells it: in a line of its own (`_created`) behind the lines of
//! the metric it speaks of, so that the first of them needs a look ahead.

use crate::grouping::{Role, place};
use hearth_wire::exposition::{Entry, Parser};
use hearth_wire::metadata::MetricType;

/// The metric looked at last, and what was found of it.
#[derive(Default)]
pub struct Created {
    metric: Vec<u8>,
    scratch: Vec<u8>,
    found_ms: Option<i64>,
}

/// Whether metrics of this type may tell when they began.
pub fn may_begin(kind: MetricType) -> bool {
    matches!(kind, MetricType::Counter | MetricType::Histogram | MetricType::Summary)
}

/// A line of a text body, as seen by this module.
pub enum Seen {
    /// A sample, and when its metric began.
    Sample(Option<i64>),
    /// The line that tells it: no sample.
    Created,
}

impl Created {
    /// `parser` stands behind the line of `series`. Looks no further than the metric's last line, so that a
    /// body is walked twice at most.
    pub fn look(&mut self, parser: &Parser<'_>, series: &[u8], family: &str, kind: MetricType) -> Seen {
        match place(series, family, kind, &mut self.scratch) {
            None => return Seen::Sample(None),
            Some(Role::Created) => return Seen::Created,
            Some(_) => {}
        }
        if self.scratch != self.metric {
            std::mem::swap(&mut self.scratch, &mut self.metric);
            self.found_ms = self.ahead(parser.clone(), family, kind);
        }
        Seen::Sample(self.found_ms)
    }

    /// Forgets the metric: another family begins.
    pub fn reset(&mut self) {
        self.metric.clear();
        self.found_ms = None;
    }

    fn ahead(&mut self, mut parser: Parser<'_>, family: &str, kind: MetricType) -> Option<i64> {
        while let Ok(Entry::Sample(line)) = parser.next() {
            let role = place(line.series, family, kind, &mut self.scratch)?;
            if self.scratch != self.metric {
                return None;
            }
            if role == Role::Created {
                return Some((line.value * 1_000.0) as i64).filter(|ms| *ms != 0);
            }
        }
        None
    }
}
