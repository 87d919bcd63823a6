//! The comparison as a picture: requests a second by system, one panel a number of connections.

use super::{
    report::{Measurement, Report},
    system::{Spread, System},
};
use std::{collections::BTreeSet, fmt::Write as _};

const WIDTH: f64 = 860.0;
/// Where bars begin, and how long the longest may be.
const LEFT: f64 = 330.0;
const LONGEST: f64 = 400.0;
const ROW: f64 = 22.0;
const PANEL: f64 = 44.0;

/// An SVG picture. Lengths are linear and each panel's own, without the server that does nothing,
/// beside which nothing else would be seen.
pub(super) fn draw(report: &Report) -> String {
    let rows: Vec<Measurement> = report.rows().filter(|it| it.system != System::Plain).collect();
    let panels: BTreeSet<u32> = rows.iter().map(|row| row.connections).collect();
    let height = 24.0 + panels.len() as f64 * PANEL + rows.len() as f64 * ROW;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    );
    let mut y = 12.0;
    for connections in panels {
        let inside = || rows.iter().filter(|row| row.connections == connections);
        let most = inside().map(|row| row.sample.per_second).fold(1.0, f64::max);
        let noun = if connections == 1 { "connection" } else { "connections" };
        let _ = writeln!(
            out,
            "<text x=\"16\" y=\"{}\" font-weight=\"bold\">{connections} {noun}: requests a second \
             (p50)</text>",
            y + 22.0
        );
        y += PANEL - 8.0;
        for row in inside() {
            bar(&mut out, row, y, most);
            y += ROW;
        }
        y += 8.0;
    }
    out + "</svg>\n"
}

fn bar(out: &mut String, row: &Measurement, y: f64, most: f64) {
    let Measurement { system, spread, sample, .. } = row;
    let length = (sample.per_second / most * LONGEST).max(1.0);
    let fill = if *system == System::Quorate { "#1f6f5c" } else { "#9aa5b1" };
    let to = if *spread == Spread::All { "all nodes" } else { "one node" };
    let title = system.title().split(", a proof").next().unwrap_or_default();
    // Errors come at once, and would pass for a short latency.
    let note = match sample.errors {
        0 => format!("{:.1} ms", sample.p50_ms),
        errors => format!("{errors} errors"),
    };
    let _ = writeln!(
        out,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{title}, {to}</text>\
         <rect x=\"{LEFT}\" y=\"{}\" width=\"{length:.1}\" height=\"{}\" fill=\"{fill}\"/>\
         <text x=\"{:.1}\" y=\"{}\">{:.0} ({note})</text>",
        LEFT - 8.0,
        y + 14.0,
        y + 2.0,
        ROW - 5.0,
        LEFT + length + 6.0,
        y + 14.0,
        sample.per_second
    );
}
