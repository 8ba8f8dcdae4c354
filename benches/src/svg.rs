//! A chart of lines as SVG: what a page of documentation needs, and no more.

use std::fmt::Write as _;

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 440.0;
const LEFT: f64 = 70.0;
/// Room for the names at the ends of the lines.
const RIGHT: f64 = 150.0;
const TOP: f64 = 44.0;
const BOTTOM: f64 = 56.0;
/// The names stand at least so far apart.
const NAME_HEIGHT: f64 = 15.0;

/// A chart with lines that have their names at their ends. Both axes are logarithmic: a factor is a distance, whoever is
/// dearer.
#[derive(Clone, Debug)]
pub(crate) struct Chart {
    /// Above it.
    pub(crate) title: String,
    /// Below it.
    pub(crate) x_label: String,
    /// Along its left side.
    pub(crate) y_label: String,
    /// Where the horizontal axis is marked, and with what; its first and last are the ends of the axis.
    pub(crate) x_ticks: Vec<(f64, String)>,
    /// What it shows.
    pub(crate) lines: Vec<Line>,
}

/// One line.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// At its end.
    pub(crate) name: String,
    /// How it is drawn.
    pub(crate) style: Style,
    /// From left to right, both above 0.
    pub(crate) points: Vec<(f64, f64)>,
}

/// How a line is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// What the chart is about.
    Main,
    /// What all is measured against.
    Reference,
    /// The others, each with a colour of its own.
    Other(usize),
}

const OTHERS: [&str; 10] = [
    "#1f77b4", "#2ca02c", "#9467bd", "#8c564b", "#e377c2", "#17becf", "#bcbd22", "#ff7f0e", "#4c72b0",
    "#7f7f7f",
];

impl Chart {
    /// The picture. None when there is nothing in it.
    pub(crate) fn render(&self) -> Option<String> {
        let values = || self.lines.iter().flat_map(|line| &line.points).map(|(_, y)| *y);
        let (low, high) = (values().reduce(f64::min)?, values().reduce(f64::max)?);
        let y_ticks = log_ticks(low, high);
        let (x, y) = (self.x_axis()?, Axis::new(y_ticks[0], *y_ticks.last()?, HEIGHT - BOTTOM, TOP));
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
             font-size=\"12\">\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n"
        );
        self.draw_frame(&mut svg, &x, &y, &y_ticks);
        let main = |line: &&Line| line.style == Style::Main;
        for line in self.lines.iter().filter(|line| !main(line)).chain(self.lines.iter().filter(main)) {
            draw_line(&mut svg, line, &x, &y);
        }
        self.draw_names(&mut svg, &y);
        svg.push_str("</svg>\n");
        Some(svg)
    }

    fn x_axis(&self) -> Option<Axis> {
        let (first, last) = (self.x_ticks.first()?.0, self.x_ticks.last()?.0);
        Some(Axis::new(first, last, LEFT, WIDTH - RIGHT))
    }

    fn draw_frame(&self, svg: &mut String, x: &Axis, y: &Axis, y_ticks: &[f64]) {
        text(svg, (WIDTH / 2.0, 24.0), "middle", &self.title, "font-size=\"15\" font-weight=\"bold\"");
        text(svg, ((LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 14.0), "middle", &self.x_label, "");
        let at = (18.0, (TOP + HEIGHT - BOTTOM) / 2.0);
        text(svg, at, "middle", &self.y_label, &format!("transform=\"rotate(-90 {} {})\"", at.0, at.1));
        for tick in y_ticks {
            let at = y.at(*tick);
            rule(svg, (LEFT, at), (WIDTH - RIGHT, at));
            text(svg, (LEFT - 8.0, at + 4.0), "end", &plain(*tick), "");
        }
        for (tick, label) in &self.x_ticks {
            let at = x.at(*tick);
            rule(svg, (at, TOP), (at, HEIGHT - BOTTOM));
            text(svg, (at, HEIGHT - BOTTOM + 18.0), "middle", label, "");
        }
    }

    /// The names beside the ends of the lines, moved apart where lines end close to one another.
    fn draw_names(&self, svg: &mut String, y: &Axis) {
        let mut ends: Vec<(f64, &Line)> =
            self.lines.iter().filter_map(|line| Some((y.at(line.points.last()?.1), line))).collect();
        ends.sort_by(|one, other| one.0.total_cmp(&other.0));
        let heights = moved_apart(ends.iter().map(|(at, _)| *at).collect(), HEIGHT - BOTTOM);
        for ((_, line), at) in ends.iter().zip(heights) {
            let more = format!("fill=\"{}\"{}", line.style.colour(), line.style.weight());
            text(svg, (WIDTH - RIGHT + 10.0, at + 4.0), "start", &line.name, &more);
        }
    }
}

/// Which place on the picture belongs to a value.
struct Axis {
    from: f64,
    to: f64,
    begin: f64,
    end: f64,
}

impl Axis {
    fn new(from: f64, to: f64, begin: f64, end: f64) -> Axis {
        Axis { from: from.ln(), to: to.ln(), begin, end }
    }

    fn at(&self, value: f64) -> f64 {
        let share = (value.ln() - self.from) / (self.to - self.from);
        self.begin + share * (self.end - self.begin)
    }
}

impl Style {
    fn colour(self) -> &'static str {
        match self {
            Style::Main => "#d62728",
            Style::Reference => "#333",
            Style::Other(number) => OTHERS[number % OTHERS.len()],
        }
    }

    fn stroke(self) -> &'static str {
        match self {
            Style::Main => "stroke-width=\"3\"",
            Style::Reference => "stroke-width=\"1.5\" stroke-dasharray=\"5 4\"",
            Style::Other(_) => "stroke-width=\"1.5\"",
        }
    }

    fn weight(self) -> &'static str {
        if self == Style::Main { " font-weight=\"bold\"" } else { "" }
    }
}

fn draw_line(svg: &mut String, line: &Line, x: &Axis, y: &Axis) {
    let (colour, stroke) = (line.style.colour(), line.style.stroke());
    let places: Vec<(f64, f64)> = line.points.iter().map(|point| (x.at(point.0), y.at(point.1))).collect();
    let joined: Vec<String> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    let joined = joined.join(" ");
    let _ = writeln!(svg, "<polyline points=\"{joined}\" fill=\"none\" stroke=\"{colour}\" {stroke}/>");
    for (x, y) in places {
        let _ = writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.5\" fill=\"{colour}\"/>");
    }
}

fn rule(svg: &mut String, from: (f64, f64), to: (f64, f64)) {
    let ((x1, y1), (x2, y2)) = (from, to);
    let _ = writeln!(svg, "<path d=\"M{x1:.1} {y1:.1}L{x2:.1} {y2:.1}\" stroke=\"#ddd\"/>");
}

fn text(svg: &mut String, at: (f64, f64), anchor: &str, words: &str, more: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(
        svg,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\" {more}>{words}</text>",
        at.0, at.1
    );
}

/// 1, 2, 5, 10, 20 … such that the first is not above `low` and the last not below `high`; only the powers of ten when
/// there would be more than a dozen.
fn log_ticks(low: f64, high: f64) -> Vec<f64> {
    let ticks = |steps: &'static [f64]| {
        let decades = low.max(f64::MIN_POSITIVE).log10().floor() as i32..=high.log10().ceil() as i32;
        let all: Vec<f64> =
            decades.flat_map(|decade| steps.iter().map(move |step| step * 10f64.powi(decade))).collect();
        let first = all.iter().rposition(|tick| *tick <= low * 1.000_001).unwrap_or(0);
        let last = all.iter().position(|tick| *tick >= high * 0.999_999).unwrap_or(all.len() - 1);
        all[first..=last.max(first + 1).min(all.len() - 1)].to_vec()
    };
    let fine = ticks(&[1.0, 2.0, 5.0]);
    if fine.len() <= 12 { fine } else { ticks(&[1.0]) }
}

/// Sorted heights, the least changed so that each is at least the height of a name below the one before, and none below
/// `bottom` as long as there is room.
fn moved_apart(mut heights: Vec<f64>, bottom: f64) -> Vec<f64> {
    for index in 1..heights.len() {
        heights[index] = heights[index].max(heights[index - 1] + NAME_HEIGHT);
    }
    let mut limit = bottom;
    for height in heights.iter_mut().rev() {
        *height = height.min(limit);
        limit = *height - NAME_HEIGHT;
    }
    heights
}

/// A number without an exponent, and with a thousands' k or M.
pub(crate) fn plain(value: f64) -> String {
    match value {
        many if many >= 1e6 => format!("{}M", many / 1e6),
        many if many >= 1e3 => format!("{}k", many / 1e3),
        few => format!("{}", (few * 1e6).round() / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_logarithmic_axis_is_marked_around_its_values() {
        assert_eq!(log_ticks(8.0, 31.0), [5.0, 10.0, 20.0, 50.0]);
        assert_eq!(log_ticks(10.0, 100.0), [10.0, 20.0, 50.0, 100.0]);
        assert_eq!(log_ticks(3.0, 3.0), [2.0, 5.0]);
        assert_eq!(log_ticks(5.0, 90_000.0), [1.0, 10.0, 100.0, 1e3, 1e4, 1e5]);
    }

    #[test]
    fn names_do_not_lie_upon_each_other_nor_below_the_picture() {
        let heights = moved_apart(vec![10.0, 11.0, 50.0, 99.0, 99.5], 100.0);
        assert!(heights.windows(2).all(|pair| pair[1] - pair[0] >= NAME_HEIGHT), "{heights:?}");
        assert_eq!((heights[0], heights[4]), (10.0, 100.0));
    }

    #[test]
    fn a_picture_has_its_lines_names_and_marks() {
        let line = |name: &str, style| Line {
            name: name.to_string(),
            style,
            points: vec![(1.0, 10.0), (10.0, 10.0), (100.0, 100.0)],
        };
        let chart = Chart {
            title: "CPU & time".to_string(),
            x_label: "connections".to_string(),
            y_label: "µs".to_string(),
            x_ticks: [1.0, 10.0, 100.0].map(|tick| (tick, plain(tick))).to_vec(),
            lines: vec![line("ours", Style::Main), line("floor", Style::Reference)],
        };
        let svg = chart.render().unwrap();
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
        assert!(svg.contains("CPU &amp; time") && svg.contains(">connections<") && svg.contains(">ours<"));
        // The middle of a factor of a hundred is a factor of ten; the least value is at the bottom.
        let middle = (LEFT + WIDTH - RIGHT) / 2.0;
        let first =
            format!("points=\"{LEFT:.1},{bottom:.1} {middle:.1},{bottom:.1} ", bottom = HEIGHT - BOTTOM);
        assert_eq!(svg.matches(&first).count(), 2, "{svg}");
        assert!(Chart { lines: Vec::new(), ..chart }.render().is_none());
    }

    #[test]
    fn large_numbers_are_shortened() {
        assert_eq!([0.5, 20.0, 1000.0, 16_000.0, 2e6].map(plain), ["0.5", "20", "1k", "16k", "2M"]);
    }
}
