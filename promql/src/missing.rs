//! What an answer says where the store has not everything of the times that it was computed from.

use crate::exec::call::date::rfc3339;
use crate::exec::notes::shown;
use crate::plan::Plan;
use hearth_model::TimeRange;
use hearth_model::missing::{Missing, Why};

/// A warning for each stretch that a plan's windows look into.
pub(crate) fn of_plan(missing: &[Missing], plan: &Plan) -> Vec<String> {
    let looks = |range| plan.fragments.iter().any(|fragment| fragment.read.windows().look_into(range));
    texts(Missing::needed(missing, looks))
}

/// The same for who looks at all of a range.
pub fn of_range(missing: &[Missing], range: TimeRange) -> Vec<String> {
    texts(Missing::needed(missing, |missing| missing.overlaps(range) && !range.is_empty()))
}

fn texts(needed: Vec<Missing>) -> Vec<String> {
    shown(needed.into_iter().map(text), "warning")
}

fn text(missing: Missing) -> String {
    let (from, to) = (rfc3339(missing.range.min_ms), rfc3339(missing.range.max_ms));
    match missing.why {
        Why::Awaited => {
            format!("samples from {from} to {to} are still being taken over, some may be missing here")
        }
        Why::Damaged => {
            format!(
                "samples from {from} to {to} are in damaged blocks, some may be missing here: see the log"
            )
        }
        Why::Unreadable => {
            format!(
                "samples from {from} to {to} could not be taken over, some may be missing here: see the log"
            )
        }
    }
}
