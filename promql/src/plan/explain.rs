//! A plan in words, for people and for tests: what runs on every shard, and what is left for the finish.

use super::{Fragment, InstantValue, Plan, Read};
use std::fmt;

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, fragment) in self.fragments.iter().enumerate() {
            writeln!(f, "fragment {number}: {fragment}")?;
        }
        write!(f, "finish: {:?}", self.finish)
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
        match &self.read {
            Read::Instant { value: InstantValue::Sample, .. } => f.write_str("newest of ")?,
            Read::Instant { value: InstantValue::Start, .. } => f.write_str("starts of ")?,
            Read::Instant { .. } => f.write_str("times of ")?,
            Read::Range(call) => write!(f, "{:?} over {} ms of ", call.kind, call.windows.length_ms)?,
            Read::Samples { windows } => write!(f, "samples over {} ms of ", windows.length_ms)?,
        }
        f.write_str("{")?;
        for (i, matcher) in self.matchers.iter().enumerate() {
            let comma = if i > 0 { ", " } else { "" };
            write!(f, "{comma}{matcher}")?;
        }
        write!(f, "}} at {} steps", self.read.windows().count)
    }
}
