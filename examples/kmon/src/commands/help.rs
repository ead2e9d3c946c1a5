//! `help`: lists the commands, or explains one.

use std::fmt::Write;

use anyhow::anyhow;

use super::arguments::HelpArgs;
use super::line;
use super::print::print;
use crate::text;

pub(super) fn run(args: &HelpArgs) -> anyhow::Result<()> {
    let Some(name) = &args.command else {
        return print(&overview()?);
    };
    let text = line::long_help(name).ok_or_else(|| {
        anyhow!(
            "there is no command `{}`; help alone lists them",
            text::brief(name)
        )
    })?;
    print(&text)
}

fn overview() -> anyhow::Result<String> {
    let mut text = String::new();
    for (name, about) in line::table() {
        writeln!(text, "  {name:<14} {about}")?;
    }
    writeln!(text, "\nhelp COMMAND explains one of them.")?;
    Ok(text)
}
