//! The ratios as a bar chart.

use std::fmt::Write;

use crate::row::{Place, Row};

/// Width of the image, of the names, and of a ratio of 1.
const WIDTH: f64 = 760.0;
const NAMES: f64 = 300.0;
const ONE: f64 = 200.0;
/// The longest ratio that is drawn completely.
const MOST: f64 = 2.0;
const LINE: f64 = 18.0;
/// Width of a ratio's number.
const LABEL: f64 = 30.0;

const STYLE: &str = "text { font: 12px sans-serif; fill: #222 } .place { font-weight: bold } \
    .met { fill: #2a7 } .missed { fill: #c63 } .other { fill: #789 } .one { stroke: #999 } \
    .target { stroke: #222; stroke-width: 2 } \
    @media (prefers-color-scheme: dark) { text { fill: #ddd } .target { stroke: #ddd } }";

/// Draws an SVG of all rows: a bar as long as the ratio to the other library, and a mark at the
/// target.
pub(crate) fn svg(rows: &[Row]) -> String {
    let (mut body, mut y) = (String::new(), 0.0);
    for place in Place::ALL {
        let rows: Vec<_> = rows.iter().filter(|row| row.place == place).collect();
        if rows.is_empty() {
            continue;
        }
        y += 1.5 * LINE;
        text(
            &mut body,
            0.0,
            y,
            "place",
            &format!("{}: ratio to the other library", place.name()),
        );
        let top = y + 0.3 * LINE;
        for row in rows {
            y += LINE;
            bar(&mut body, y, row);
        }
        let one = NAMES + ONE;
        line(&mut body, "one", one, top, y + 0.3 * LINE);
    }
    let height = y + LINE;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         width=\"{WIDTH}\" height=\"{height}\" role=\"img\">\n<style>{STYLE}</style>\n{body}</svg>\n"
    )
}

fn bar(body: &mut String, y: f64, row: &Row) {
    let class = match (row.goal, row.met) {
        (0, _) => "other",
        (_, true) => "met",
        (_, false) => "missed",
    };
    text(body, 0.0, y, "", &format!("{} / {}", row.name, row.peer));
    let (x, top, height) = (NAMES, y - 0.65 * LINE, 0.7 * LINE);
    let width = row.ratio.min(MOST) * ONE;
    let _ = writeln!(
        body,
        "<rect class=\"{class}\" x=\"{x}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"/>"
    );
    let mut label = NAMES + width + 6.0;
    if row.goal != 0 {
        let x = NAMES + row.target.min(MOST) * ONE;
        line(body, "target", x, y - 0.75 * LINE, y + 0.15 * LINE);
        // The number moves to where the mark does not cross it.
        if (label - 4.0..label + LABEL).contains(&x) {
            label = x + 6.0;
        }
    }
    text(body, label, y, "", &format!("{:.2}", row.ratio));
}

fn text(body: &mut String, x: f64, y: f64, class: &str, text: &str) {
    let _ = writeln!(
        body,
        "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{text}</text>"
    );
}

fn line(body: &mut String, class: &str, x: f64, from: f64, to: f64) {
    let _ = writeln!(
        body,
        "<line class=\"{class}\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{from:.1}\" y2=\"{to:.1}\"/>"
    );
}
