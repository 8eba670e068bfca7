//! Bar charts as SVG, by hand.

use std::fmt::Write;

use super::rows::Spread;

/// A bar.
#[derive(Debug)]
pub(crate) struct Bar {
    pub(crate) label: String,
    pub(crate) value: Spread,
    /// Drawn in the colour that stands for Portcullis.
    pub(crate) own: bool,
}

const LABELS: f64 = 250.0;
const WIDTH: f64 = 760.0;
const BAR: f64 = 18.0;
const ROW: f64 = 26.0;
const TOP: f64 = 40.0;

/// Horizontal bars of medians, with a line from the smallest to the largest round.
pub(crate) fn bars(title: &str, unit: &str, bars: &[Bar]) -> String {
    let most = bars.iter().map(|bar| bar.value.most).fold(0.0_f64, f64::max).max(f64::MIN_POSITIVE);
    let scale = (WIDTH - LABELS - 90.0) / most;
    #[allow(clippy::cast_precision_loss)] // a handful
    let height = TOP + ROW * bars.len() as f64 + 10.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" font-family=\"sans-serif\" \
         font-size=\"13\">\n<title>{0}</title>\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"10\" y=\"22\" font-weight=\"bold\">{0}: {1}</text>\n",
        escaped(title),
        escaped(unit)
    );
    for (place, bar) in bars.iter().enumerate() {
        #[allow(clippy::cast_precision_loss)] // a handful
        let y = TOP + ROW * place as f64;
        let colour = if bar.own { "#1f6f54" } else { "#8d99a6" };
        let Spread { median, least, most } = bar.value;
        let middle = y + BAR / 2.0;
        let _ = writeln!(
            svg,
            "<text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\n\
             <rect x=\"{LABELS}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{BAR}\" fill=\"{colour}\"/>\n\
             <path d=\"M{:.1} {middle:.1}H{:.1}\" stroke=\"#000\" stroke-width=\"1.5\"/>\n\
             <text x=\"{:.1}\" y=\"{:.1}\">{median:.1}</text>",
            LABELS - 8.0,
            y + 14.0,
            escaped(&bar.label),
            median * scale,
            LABELS + least * scale,
            LABELS + most * scale,
            LABELS + most * scale + 8.0,
            y + 14.0,
        );
    }
    svg + "</svg>\n"
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_long_as_its_median() {
        let bar = |label: &str, median: f64| Bar {
            label: label.to_owned(),
            value: Spread { median, least: median, most: median },
            own: false,
        };
        let svg = bars("A & B", "µs", &[bar("one", 10.0), bar("two", 5.0)]);
        assert!(
            svg.contains("A &amp; B") && svg.contains("width=\"420.0\"") && svg.contains("width=\"210.0\"")
        );
    }
}
