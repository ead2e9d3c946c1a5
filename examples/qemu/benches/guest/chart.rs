//! Draws the results as bars, readable on a light and on a dark page.

use std::fmt::Write;

use crate::names::{DOORBELL, NOTHING, POLLED, SERIAL, VIRTIO};
use crate::report::Report;

const WIDTH: f64 = 720.0;
/// Where bars begin, and the length of the longest.
const LEFT: f64 = 150.0;
const LONGEST: f64 = 480.0;
const BAR: f64 = 18.0;
const STEP: f64 = 26.0;
const GAP: f64 = 44.0;

const STYLE: &str = "text{font:13px system-ui,sans-serif;fill:#1f2328}\
.head{font-weight:600}.ours{fill:#0969da}.peer{fill:#8c959f}\
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.ours{fill:#4493f8}.peer{fill:#6e7681}}";

/// One bar: its name, its length, and the text after it.
struct Bar {
    name: &'static str,
    value: f64,
    text: String,
}

/// Returns an SVG document.
pub(crate) fn draw(report: &Report) -> String {
    let terminals = [POLLED, DOORBELL, SERIAL, VIRTIO];
    let rates = terminals.map(|name| {
        let value = report.rate(name);
        bar(name, value, format!("{value:.2}"))
    });
    let typed = terminals.map(|name| {
        let value = report.median(name, true) / 1000.0;
        bar(name, value, format!("{value:.2}"))
    });
    let idle = [POLLED, DOORBELL, SERIAL, NOTHING].map(|name| {
        let value = report
            .span(name)
            .map_or(f64::NAN, |span| span.guest_percent);
        bar(name, value, format!("{value:.2}"))
    });
    let panels = [
        ("Console throughput, MB/s (more is better)", rates),
        (
            "A typed line and its answer, median in ms (less is better)",
            typed,
        ),
        ("Processor of an idle guest, % (less is better)", idle),
    ];
    let mut body = String::new();
    let mut y = 0.0;
    for (head, bars) in &panels {
        panel(&mut body, &mut y, head, bars);
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {y}\" width=\"{WIDTH}\" \
         role=\"img\" aria-label=\"Rings, a serial port and a virtio console compared\">\n\
         <style>{STYLE}</style>\n{body}</svg>\n"
    )
}

fn bar(name: &'static str, value: f64, text: String) -> Bar {
    Bar { name, value, text }
}

fn panel(body: &mut String, y: &mut f64, head: &str, bars: &[Bar]) {
    *y += 24.0;
    let _ = writeln!(body, "<text class=\"head\" x=\"8\" y=\"{y}\">{head}</text>");
    *y += 12.0;
    let most = bars
        .iter()
        .map(|bar| bar.value)
        .fold(f64::MIN_POSITIVE, f64::max);
    for Bar { name, value, text } in bars {
        let class = match *name {
            POLLED | DOORBELL => "ours",
            _ => "peer",
        };
        let length = (value.max(0.0) / most * LONGEST).max(1.0);
        let (middle, after) = (*y + 13.5, LEFT + length + 8.0);
        let _ = writeln!(
            body,
            "<text x=\"{:.0}\" y=\"{middle}\" text-anchor=\"end\">{name}</text>\
             <rect class=\"{class}\" x=\"{LEFT}\" y=\"{y}\" width=\"{length:.1}\" height=\"{BAR}\" rx=\"2\"/>\
             <text x=\"{after:.1}\" y=\"{middle}\">{text}</text>",
            LEFT - 10.0,
        );
        *y += STEP;
    }
    *y += GAP - STEP;
}
