//! `hearth tsdb list`: the blocks of a data directory.

use super::{Failure, output};
use hearth_engine::moving::list::blocks;
use std::io::Write;
use std::path::Path;

const HEADER: [&str; 8] =
    ["BLOCK ULID", "MIN TIME", "MAX TIME", "DURATION", "NUM SAMPLES", "NUM CHUNKS", "NUM SERIES", "SIZE"];

pub fn run(directory: &Path, readable: bool, out: &mut impl Write) -> Result<u8, Failure> {
    let listed = blocks(directory)?;
    let time = |ms: i64| match jiff::Timestamp::from_millisecond(ms) {
        Ok(time) if readable => time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string(),
        _ => ms.to_string(),
    };
    let mut rows = vec![HEADER.map(str::to_owned).to_vec()];
    for block in &listed.blocks {
        rows.push(vec![
            block.name.clone(),
            time(block.min_ms),
            time(block.end_ms),
            output::duration(block.end_ms.saturating_sub(block.min_ms)),
            block.samples.to_string(),
            block.chunks.to_string(),
            block.series.to_string(),
            if readable { output::size(block.size_bytes) } else { block.size_bytes.to_string() },
        ]);
    }
    output::table(&rows, out)?;
    for unreadable in &listed.unreadable {
        eprintln!("not readable: {unreadable}");
    }
    Ok(u8::from(!listed.unreadable.is_empty()))
}
