//! The text of `--help`, laid out from the table.

use super::table::{FLAGS, Flag, Kind};

const WIDTH: usize = 80;
const HELP_COLUMN: usize = 33;

/// Everything an operator may set; with `all`, the hidden tuning knobs too.
pub fn text(all: bool) -> String {
    let mut out = String::from(
        "usage: hearth [<flags>]\n       hearth query|promql <command> [<args>] (--help lists them)\n\nHearth, a Prometheus-compatible monitoring server\n\nFlags:\n",
    );
    entry(&mut out, "  -h, --[no-]help", "Show this help (--help-long shows the hidden flags too).");
    entry(&mut out, "      --[no-]version", "Show the version.");
    for flag in FLAGS.iter().filter(|flag| all || !flag.hidden) {
        entry(&mut out, &format!("      {}", synopsis(flag)), &description(flag));
    }
    out
}

fn synopsis(flag: &Flag) -> String {
    let Flag { name, default, .. } = flag;
    match flag.kind {
        Kind::Switch => format!("--[no-]{name}"),
        Kind::Texts | Kind::Names | Kind::SomeOf(_) => format!("--{name}={default} ..."),
        Kind::Text => format!("--{name}={default:?}"),
        Kind::Duration | Kind::Bytes | Kind::Count | Kind::Ratio | Kind::OneOf(_) => {
            format!("--{name}={default}")
        }
    }
}

fn description(flag: &Flag) -> String {
    use super::table::Effect;
    let state = match flag.effect {
        Effect::Served => return flag.help.to_owned(),
        Effect::NotYet(why) => format!("(No effect yet: {why}.)"),
        Effect::Meaningless(why) => format!("(No effect: {why}.)"),
    };
    [flag.help, &state].iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join(" ")
}

/// The flag, then its help in a column of its own.
fn entry(out: &mut String, synopsis: &str, help: &str) {
    out.push_str(synopsis);
    let mut column = synopsis.chars().count();
    if column + 2 > HELP_COLUMN {
        out.push('\n');
        column = 0;
    }
    let indent = |out: &mut String, from: usize| out.extend(std::iter::repeat_n(' ', HELP_COLUMN - from));
    indent(out, column);
    column = HELP_COLUMN;
    for word in help.split_whitespace() {
        if column > HELP_COLUMN && column + 1 + word.len() > WIDTH {
            out.push('\n');
            indent(out, 0);
            column = HELP_COLUMN;
        }
        if column > HELP_COLUMN {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += word.len();
    }
    out.push('\n');
}
