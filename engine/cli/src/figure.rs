//! Line charts as SVG, drawn as figures of a paper are: black axes with ticks on a white ground, a
//! legend inside, lines that differ by dash and marker as well as by color, so that they can be
//! told apart in print.

use std::fmt::Write;

/// Size of a panel's plot area and the room around it, in pixels.
const PLOT: (f64, f64) = (320.0, 240.0);
const LEFT: f64 = 58.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 32.0;
const BOTTOM: f64 = 48.0;
/// Length of a tick.
const TICK: f64 = 5.0;
/// Most markers on a line.
const MARKERS: usize = 12;
/// How lines look, by their order.
const STYLES: [Style; 6] = [
    Style { color: "#1f4e9c", dash: "", marker: Marker::Circle },
    Style { color: "#c23b22", dash: "7 3", marker: Marker::Square },
    Style { color: "#2c7a3f", dash: "2 3", marker: Marker::Triangle },
    Style { color: "#7a3fa0", dash: "9 3 2 3", marker: Marker::Diamond },
    Style { color: "#b8860b", dash: "4 2", marker: Marker::Cross },
    Style { color: "#333333", dash: "1 2", marker: Marker::Circle },
];

struct Style {
    color: &'static str,
    dash: &'static str,
    marker: Marker,
}

enum Marker {
    Circle,
    Square,
    Triangle,
    Diamond,
    Cross,
}

/// A line of a panel.
pub struct Line {
    /// Name in the legend.
    pub name: String,
    /// Points from left to right.
    pub points: Vec<(f64, f64)>,
}

/// A chart with its own axes.
pub struct Panel {
    /// Printed above it.
    pub title: String,
    /// Name of the horizontal axis.
    pub x: &'static str,
    /// Name of the vertical axis.
    pub y: &'static str,
    /// The lines, at most six.
    pub lines: Vec<Line>,
}

/// Panels side by side, as an SVG document.
pub fn svg(panels: &[Panel]) -> String {
    let width = LEFT + PLOT.0 + RIGHT;
    let (all, height) = (width * panels.len() as f64, TOP + PLOT.1 + BOTTOM);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{all}\" height=\"{height}\" viewBox=\"0 0 {all} {height}\" \
         font-family=\"'Times New Roman', Times, serif\" font-size=\"13\">\n\
         <rect width=\"{all}\" height=\"{height}\" fill=\"white\"/>\n"
    );
    for (index, panel) in panels.iter().enumerate() {
        let left = width * index as f64 + LEFT;
        put(&mut svg, format_args!("<g transform=\"translate({left} {TOP})\">\n"));
        panel.draw(&mut svg);
        svg.push_str("</g>\n");
    }
    svg.push_str("</svg>\n");
    svg
}

impl Panel {
    fn draw(&self, svg: &mut String) {
        let values = |of: fn(&(f64, f64)) -> f64| self.lines.iter().flat_map(|line| &line.points).map(of);
        let x = Axis::over(values(|point| point.0), PLOT.0);
        let y = Axis::over(values(|point| point.1), PLOT.1);
        let (width, height) = PLOT;
        put(
            svg,
            format_args!(
                "<text x=\"{}\" y=\"-12\" text-anchor=\"middle\" font-size=\"15\">{}</text>\n\
                 <text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n\
                 <text transform=\"translate(-42 {}) rotate(-90)\" text-anchor=\"middle\">{}</text>\n",
                width / 2.0,
                escaped(&self.title),
                width / 2.0,
                height + 38.0,
                escaped(self.x),
                height / 2.0,
                escaped(self.y)
            ),
        );
        for (value, at) in x.ticks() {
            put(
                svg,
                format_args!(
                    "<path d=\"M{at:.1} {height}v-{TICK}M{at:.1} 0v{TICK}\" stroke=\"black\"/>\
                     <text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{value}</text>\n",
                    height + 17.0
                ),
            );
        }
        for (value, at) in y.ticks() {
            let at = height - at;
            put(
                svg,
                format_args!(
                    "<path d=\"M0 {at:.1}h{TICK}M{width} {at:.1}h-{TICK}\" stroke=\"black\"/>\
                     <path d=\"M0 {at:.1}H{width}\" stroke=\"#dddddd\" stroke-width=\"0.6\"/>\
                     <text x=\"-7\" y=\"{:.1}\" text-anchor=\"end\">{value}</text>\n",
                    at + 4.0
                ),
            );
        }
        for (line, style) in self.lines.iter().zip(&STYLES) {
            let place = |&(h, v): &(f64, f64)| (x.place(h), height - y.place(v));
            let points: Vec<(f64, f64)> = line.points.iter().map(place).collect();
            draw_path(svg, &points, style);
            for &point in points.iter().step_by(points.len().div_ceil(MARKERS).max(1)) {
                draw_marker(svg, point, style);
            }
        }
        put(
            svg,
            format_args!("<rect width=\"{width}\" height=\"{height}\" fill=\"none\" stroke=\"black\"/>\n"),
        );
        self.draw_legend(svg, &x, &y);
    }

    /// The legend stands in the corner that the lines leave free, or nearly so.
    fn draw_legend(&self, svg: &mut String, x: &Axis, y: &Axis) {
        let longest = self.lines.iter().map(|line| line.name.chars().count()).max().unwrap_or(0);
        let (width, height) = (46.0 + 7.6 * longest as f64, 6.0 + 18.0 * self.lines.len() as f64);
        let corners = [(false, true), (false, false), (true, true), (true, false)].map(|(left, top)| {
            let from_left = if left { 10.0 } else { PLOT.0 - width - 10.0 };
            let from_top = if top { 10.0 } else { PLOT.1 - height - 10.0 };
            (from_left, from_top)
        });
        // Lines are looked at in small steps, as a long one may cross a corner without a point in it.
        const STEPS: u32 = 16;
        let places: Vec<(f64, f64)> = self
            .lines
            .iter()
            .flat_map(|line| line.points.windows(2))
            .flat_map(|ends| {
                let [from, to] = [ends[0], ends[1]].map(|(h, v)| (x.place(h), PLOT.1 - y.place(v)));
                (0..=STEPS).map(move |step| {
                    let share = f64::from(step) / f64::from(STEPS);
                    (from.0 + share * (to.0 - from.0), from.1 + share * (to.1 - from.1))
                })
            })
            .collect();
        let inside = |(left, top): (f64, f64)| {
            let within =
                |(h, v): &&(f64, f64)| (left..left + width).contains(h) && (top..top + height).contains(v);
            places.iter().filter(within).count()
        };
        let Some((left, top)) = corners.into_iter().min_by_key(|corner| inside(*corner)) else { return };
        put(
            svg,
            format_args!(
                "<g transform=\"translate({left:.1} {top:.1})\"><rect width=\"{width:.1}\" height=\"{height:.1}\" \
                 fill=\"white\" fill-opacity=\"0.85\" stroke=\"black\" stroke-width=\"0.6\"/>\n"
            ),
        );
        for (index, (line, style)) in self.lines.iter().zip(&STYLES).enumerate() {
            let at = 12.0 + 18.0 * index as f64;
            draw_path(svg, &[(7.0, at), (33.0, at)], style);
            draw_marker(svg, (20.0, at), style);
            put(svg, format_args!("<text x=\"39\" y=\"{:.1}\">{}</text>\n", at + 4.0, escaped(&line.name)));
        }
        svg.push_str("</g>\n");
    }
}

/// Writing to a string cannot fail.
fn put(svg: &mut String, text: std::fmt::Arguments<'_>) {
    let _ = svg.write_fmt(text);
}

fn draw_path(svg: &mut String, points: &[(f64, f64)], style: &Style) {
    let path: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    let (path, Style { color, dash, .. }) = (path.join(" "), style);
    put(
        svg,
        format_args!(
            "<polyline points=\"{path}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"1.6\" stroke-dasharray=\"{dash}\"/>\n"
        ),
    );
}

fn draw_marker(svg: &mut String, (x, y): (f64, f64), style: &Style) {
    let shape = match style.marker {
        Marker::Circle => format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" "),
        Marker::Square => format!("<path d=\"M{:.1} {:.1}h5.6v5.6h-5.6z\" ", x - 2.8, y - 2.8),
        Marker::Triangle => format!("<path d=\"M{x:.1} {:.1}l3.5 6h-7z\" ", y - 3.8),
        Marker::Diamond => format!("<path d=\"M{x:.1} {:.1}l3.6 3.8l-3.6 3.8l-3.6 -3.8z\" ", y - 3.8),
        Marker::Cross => format!("<path d=\"M{:.1} {:.1}l6 6m0 -6l-6 6\" ", x - 3.0, y - 3.0),
    };
    put(svg, format_args!("{shape}fill=\"white\" stroke=\"{}\" stroke-width=\"1.2\"/>\n", style.color));
}

/// A linear axis from one round number to another.
struct Axis {
    first: f64,
    step: f64,
    steps: usize,
    pixels: f64,
}

impl Axis {
    /// The axis over these values: whole steps of 1, 2 or 5 times a power of ten, four to eight of them.
    fn over(values: impl Iterator<Item = f64>, pixels: f64) -> Self {
        let finite = values.filter(|value| value.is_finite());
        let (low, high) =
            finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
        let (low, high) = match (low < high, low.is_finite()) {
            (true, _) => (low, high),
            (false, true) => (low - 0.5, low + 0.5),
            (false, false) => (0.0, 1.0),
        };
        let rough = (high - low) / 5.0;
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0]
            .into_iter()
            .map(|factor| factor * power)
            .find(|step| *step >= rough * 0.999);
        let step = step.unwrap_or(10.0 * power);
        // A hair of tolerance, so that 0.6000000001 does not start another step.
        let first = (low / step + 1e-6).floor() * step;
        let steps = ((high - first) / step - 1e-6).ceil().max(1.0) as usize;
        Self { first, step, steps, pixels }
    }

    fn place(&self, value: f64) -> f64 {
        (value - self.first) / (self.step * self.steps as f64) * self.pixels
    }

    /// Labels and places of the ticks.
    fn ticks(&self) -> impl Iterator<Item = (String, f64)> {
        let decimals = (-self.step.log10().floor()).max(0.0) as usize;
        (0..=self.steps).map(move |index| {
            let value = self.first + self.step * index as f64;
            (format!("{value:.decimals$}"), self.place(value))
        })
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks(values: &[f64]) -> Vec<String> {
        Axis::over(values.iter().copied(), 100.0).ticks().map(|(label, _)| label).collect()
    }

    #[test]
    fn axes_run_between_round_numbers() {
        assert_eq!(ticks(&[0.0, 1.0]), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(ticks(&[0.53, 0.7254]), ["0.50", "0.55", "0.60", "0.65", "0.70", "0.75"]);
        assert_eq!(ticks(&[1.0, 20.0]), ["0", "5", "10", "15", "20"]);
        assert_eq!(ticks(&[3.0]), ["2.4", "2.6", "2.8", "3.0", "3.2", "3.4", "3.6"]);
        assert_eq!(ticks(&[]), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(ticks(&[f64::NAN, 0.0, 4000.0]), ["0", "1000", "2000", "3000", "4000"]);
    }

    #[test]
    fn every_point_is_inside_the_axes() {
        let axis = Axis::over([0.317, 12.9].into_iter(), 100.0);
        for value in [0.317, 5.0, 12.9] {
            assert!((0.0..=100.0).contains(&axis.place(value)));
        }
    }

    #[test]
    fn a_figure_is_one_document_with_its_names_escaped() {
        let line = |name: &str| Line { name: name.to_owned(), points: vec![(0.0, 1.0), (1.0, 0.5)] };
        let panel = Panel {
            title: "a < b".to_owned(),
            x: "recall",
            y: "precision",
            lines: vec![line("A & B"), line("C")],
        };
        let svg = svg(&[panel]);
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
        assert!(svg.contains("a &lt; b") && svg.contains("A &amp; B") && !svg.contains("NaN"));
        assert_eq!(svg.matches("<polyline").count(), 4, "two lines and their two samples");
        assert_eq!(svg.matches("<g ").count(), svg.matches("</g>").count());
    }
}
