//! OpenMetrics, with the same demands as the text format.

use hearth_wire::exposition::Format;

pub fn run(data: &[u8]) {
    super::exposition_text::walk(Format::OpenMetrics, data);
}
