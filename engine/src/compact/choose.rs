//! Which blocks should become one: a pure choice.
//!
//! 1. Blocks that overlap in time (a fault left them so): the oldest such run.
//! 2. Blocks that lie in one aligned window of the next larger length, once the window is over: smaller
//!    windows first, older ones first.

use hearth_model::TimeRange;

/// A block, as far as the choice goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    pub number: u64,
    pub range: TimeRange,
}

/// The lengths that blocks grow to, as multiples of the shortest: 2 h -> 6 h -> 24 h.
pub const GROWTH: [i64; 2] = [3, 12];

/// The blocks to bring together next, in order of time. `blocks` ascend in time; what is newer than
/// `until_ms` is not complete yet; no block grows beyond `longest_ms`.
pub fn choose(blocks: &[Candidate], base_ms: i64, longest_ms: i64, until_ms: i64) -> Option<Vec<u64>> {
    overlapping(blocks).or_else(|| {
        let lengths = GROWTH.iter().filter_map(|times| base_ms.checked_mul(*times));
        lengths.filter(|length| *length <= longest_ms).find_map(|length| in_window(blocks, length, until_ms))
    })
}

fn overlapping(blocks: &[Candidate]) -> Option<Vec<u64>> {
    let mut run: Vec<Candidate> = Vec::new();
    for block in blocks {
        if run.iter().any(|b| b.range.overlaps(block.range)) {
            run.push(*block);
        } else if run.len() > 1 {
            break;
        } else {
            run = vec![*block];
        }
    }
    (run.len() > 1).then(|| run.iter().map(|b| b.number).collect())
}

fn in_window(blocks: &[Candidate], length_ms: i64, until_ms: i64) -> Option<Vec<u64>> {
    let window = |time: i64| time.div_euclid(length_ms);
    let inside: Vec<&Candidate> =
        blocks.iter().filter(|b| window(b.range.min_ms) == window(b.range.max_ms)).collect();
    inside
        .chunk_by(|a, b| window(a.range.min_ms) == window(b.range.min_ms))
        .filter(|group| group.len() > 1)
        .find(|group| {
            let end = (window(group[0].range.min_ms) + 1).checked_mul(length_ms);
            end.is_some_and(|end| end <= until_ms)
        })
        .map(|group| group.iter().map(|b| b.number).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Blocks as `number:min-max`, in hours of a base of 2; what is chosen as numbers.
    #[track_caller]
    fn check(blocks: &str, until: i64, expect: &str) {
        let hours = |text: &str| text.parse::<i64>().expect("hours");
        let mut candidates: Vec<Candidate> = blocks
            .split_whitespace()
            .map(|block| {
                let (number, times) = block.split_once(':').expect("number");
                let (min, max) = times.split_once('-').expect("times");
                let range = TimeRange::new(hours(min) * 60, hours(max) * 60 - 1);
                Candidate { number: number.parse().expect("number"), range }
            })
            .collect();
        candidates.sort_by_key(|c| c.range.min_ms);
        let chosen = choose(&candidates, 120, 24 * 60, until * 60).unwrap_or_default();
        assert_eq!(chosen.iter().map(u64::to_string).collect::<Vec<_>>().join(" "), expect);
    }

    #[test]
    fn complete_windows_become_one_block() {
        check("", 10, "");
        check("1:0-2", 10, "");
        check("1:0-2 2:2-4 3:4-6", 6, "1 2 3");
        check("1:0-2 2:2-4 3:4-6", 5, "");
        check("1:0-2 2:2-4 3:6-8", 8, "1 2");
        check("1:0-6 2:6-8 3:8-10 4:10-12", 12, "2 3 4");
        check("1:0-6 2:6-12 3:12-18 4:18-24", 24, "1 2 3 4");
        check("1:0-6 2:6-12 3:12-18 4:18-20 5:20-22 6:22-24", 24, "4 5 6");
        check("1:0-24 2:24-26", 48, "");
        check("1:0-24 2:24-30 3:30-36", 47, "");
        check("1:0-24 2:24-30 3:30-36", 48, "2 3");
        // A block across a window's edge stays as it is.
        check("1:0-4 2:4-8 3:8-10 4:10-12", 12, "3 4");
    }

    #[test]
    fn overlaps_are_mended_first() {
        check("1:0-2 2:2-4 3:3-5 4:6-8", 5, "2 3");
        check("1:0-24 2:2-4 3:4-6", 6, "1 2 3");
    }
}
