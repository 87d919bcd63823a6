//! Curves as a picture: what was measured, and what the model expected, in panels beside each
//! other.

use std::fmt::Write as _;

const PANEL: f64 = 430.0;
const HEIGHT: f64 = 340.0;
/// The frame of a panel's curves, from its own left edge and from the top.
const LEFT: f64 = 62.0;
const RIGHT: f64 = 410.0;
const TOP: f64 = 52.0;
const BOTTOM: f64 = 282.0;
const LINES: u32 = 4;

const MEASURED: &str = "#1f6f5c";
const PREDICTED: &str = "#8a5a00";

/// One point of a curve.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Point {
    pub(super) x: f64,
    pub(super) y: f64,
    /// What stands beside it.
    pub(super) note: String,
}

/// Two curves over one axis.
#[derive(Clone, Debug)]
pub(super) struct Panel {
    /// What goes from left to right.
    pub(super) axis: &'static str,
    /// Whether it does so by factors.
    pub(super) is_log: bool,
    pub(super) measured: Vec<Point>,
    pub(super) predicted: Vec<Point>,
}

/// An SVG picture on a ground of its own, so that it reads on any page.
pub(super) fn draw(panels: &[Panel]) -> String {
    let width = PANEL * panels.len() as f64;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"12\" fill=\"#1b1f24\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    );
    for (place, panel) in panels.iter().enumerate() {
        let _ = writeln!(out, "<g transform=\"translate({} 0)\">", place as f64 * PANEL);
        panel.draw(&mut out);
        out += "</g>\n";
    }
    out + "</svg>\n"
}

impl Panel {
    fn draw(&self, out: &mut String) {
        let most = rounded_up(self.points().map(|point| point.y).fold(1.0, f64::max));
        let _ = writeln!(
            out,
            "<text x=\"{LEFT}\" y=\"20\" font-weight=\"bold\">requests a second (p50)</text>\
             <text x=\"{LEFT}\" y=\"38\" fill=\"{MEASURED}\">measured</text>\
             <text x=\"{}\" y=\"38\" fill=\"{PREDICTED}\">predicted, dashed</text>\
             <text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            LEFT + 70.0,
            (LEFT + RIGHT) / 2.0,
            HEIGHT - 10.0,
            self.axis
        );
        for line in 0..=LINES {
            let part = f64::from(line) / f64::from(LINES);
            let y = BOTTOM - part * (BOTTOM - TOP);
            let _ = writeln!(
                out,
                "<line x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{y:.1}\" y2=\"{y:.1}\" \
                 stroke=\"#d5dae0\"/><text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{:.0}</text>",
                LEFT - 6.0,
                y + 4.0,
                part * most
            );
        }
        for point in &self.measured {
            let (x, _) = self.place(point, most);
            let _ = writeln!(
                out,
                "<text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                BOTTOM + 32.0,
                told(point.x)
            );
        }
        let dashes = " stroke-dasharray=\"5 4\"";
        self.curve(out, (&self.predicted, &self.measured), most, PREDICTED, dashes);
        self.curve(out, (&self.measured, &self.predicted), most, MEASURED, "");
    }

    /// A curve, with its numbers above where it is the upper one, and else below.
    fn curve(
        &self,
        out: &mut String,
        (points, others): (&[Point], &[Point]),
        most: f64,
        colour: &str,
        dashes: &str,
    ) {
        let places: Vec<_> = points.iter().map(|point| self.place(point, most)).collect();
        let line: Vec<_> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let _ = writeln!(
            out,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"{dashes}/>",
            line.join(" ")
        );
        for (at, (point, (x, y))) in points.iter().zip(places).enumerate() {
            let is_upper = others.get(at).is_none_or(|other| point.y >= other.y);
            let beside = if is_upper { -9.0 } else { 18.0 };
            let _ = writeln!(
                out,
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" fill=\"{colour}\"/>\
                 <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\" font-size=\"10\" \
                 fill=\"{colour}\">{:.0} ({})</text>",
                y + beside,
                point.y,
                point.note
            );
        }
    }

    /// Where a point lies, some way from both ends, so that its text has room.
    fn place(&self, point: &Point, most: f64) -> (f64, f64) {
        const MARGIN: f64 = 28.0;
        let scale = |x: f64| if self.is_log { x.max(1.0).ln() } else { x };
        let all = || self.points().map(|point| scale(point.x));
        let (least, largest) =
            (all().fold(f64::INFINITY, f64::min), all().fold(f64::NEG_INFINITY, f64::max));
        // A single point stands in the middle.
        let part = match largest > least {
            true => (scale(point.x) - least) / (largest - least),
            false => 0.5,
        };
        let x = LEFT + MARGIN + part * (RIGHT - LEFT - 2.0 * MARGIN);
        (x, BOTTOM - point.y / most * (BOTTOM - TOP))
    }

    fn points(&self) -> impl Iterator<Item = &Point> {
        self.measured.iter().chain(&self.predicted)
    }
}

/// The end of an axis: so many times a round number as there are lines.
fn rounded_up(most: f64) -> f64 {
    let step = most / f64::from(LINES);
    let power = 10_f64.powf(step.log10().floor());
    let round = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().find(|it| it * power >= step);
    round.unwrap_or(10.0) * power * f64::from(LINES)
}

/// A number below an axis: whole kilobytes as such.
fn told(number: f64) -> String {
    match number {
        kilobytes if kilobytes >= 1024.0 => format!("{:.0} kB", kilobytes / 1024.0),
        other => format!("{other:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(all: &[(f64, f64)]) -> Vec<Point> {
        all.iter().map(|&(x, y)| Point { x, y, note: "1 ms".to_owned() }).collect()
    }

    #[test]
    fn factors_are_alike_on_an_axis_of_factors() {
        let measured = points(&[(64.0, 100.0), (512.0, 50.0), (4096.0, 0.0)]);
        let panel = Panel { axis: "x", is_log: true, measured, predicted: Vec::new() };
        let place = |at: usize| panel.place(&panel.measured[at], 100.0);
        assert!((place(1).0 - place(0).0 - (place(2).0 - place(1).0)).abs() < 1e-9);
        assert!((place(0).1 - TOP).abs() < 1e-9 && (place(2).1 - BOTTOM).abs() < 1e-9);
    }

    #[test]
    fn an_axis_ends_at_a_round_number() {
        assert!((rounded_up(4359.0) - 8000.0).abs() < 1e-6);
        assert!((rounded_up(15_855.0) - 20_000.0).abs() < 1e-6);
        assert!((rounded_up(1.0) - 1.0).abs() < 1e-6);
    }

    #[test]
    fn a_picture_has_both_curves_and_every_point() {
        let panel = Panel {
            axis: "replicas",
            is_log: false,
            measured: points(&[(4.0, 10.0)]),
            predicted: points(&[(4.0, 12.0)]),
        };
        let picture = draw(&[panel.clone(), panel]);
        assert_eq!(picture.matches("<circle").count(), 4);
        assert_eq!(picture.matches("stroke-dasharray").count(), 2);
        assert!(!picture.contains("NaN") && !picture.contains("inf"), "{picture}");
        assert_eq!(told(262_144.0), "256 kB");
        assert_eq!(told(512.0), "512");
    }
}
