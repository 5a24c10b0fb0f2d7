//! What the charts share: a scale, its ticks, and a frame.

use std::fmt::Write as _;

use super::escape;

/// Maps values onto a stretch of the picture.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Scale {
    /// `low` lands on `from`, `high` on `to`; a scale without width puts everything on `from`.
    pub(super) fn new(low: f64, high: f64, from: f64, to: f64) -> Self {
        Self { low, high, from, to }
    }

    pub(super) fn at(&self, value: f64) -> f64 {
        let width = self.high - self.low;
        if width > 0.0 { self.from + (value - self.low) / width * (self.to - self.from) } else { self.from }
    }
}

/// Round numbers from `low` to at least `high`, about `wanted` of them, in steps of 1, 2 or 5 times a power of ten.
pub(super) fn ticks(low: f64, high: f64, wanted: usize) -> Vec<f64> {
    let span = (high - low).max(1e-9);
    let rough = span / wanted.max(1) as f64;
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].iter().map(|m| m * power).find(|step| *step >= rough * 0.999).unwrap_or(power);
    let first = (low / step).floor();
    let count = ((high / step - 1e-9).ceil() - first).max(1.0) as usize;
    (0..=count).map(|i| (first + i as f64) * step).collect()
}

/// Every how-many-th of `count` labels to print so that each has at least `least` of `width`.
pub(super) fn label_step(count: usize, width: f64, least: f64) -> usize {
    let fits = (width / least).max(1.0) as usize;
    [1, 2, 5, 10, 20, 50, 100].into_iter().find(|step| count.div_ceil(*step) <= fits).unwrap_or(count.max(1))
}

/// Opens a chart that scrolls sideways where the page is narrower than `least_width` pixels.
pub(super) fn open(width: f64, height: f64, least_width: u32, label: &str) -> String {
    format!(
        "<div class=\"scroll\"><svg viewBox=\"0 0 {width:.0} {height:.0}\" style=\"min-width:{least_width}px\" \
         role=\"img\" aria-label=\"{}\">\n",
        escape(label)
    )
}

pub(super) const CLOSE: &str = "</svg></div>\n";

/// Horizontal grid lines with their labels at the left.
pub(super) fn grid(svg: &mut String, ticks: &[f64], y: Scale, left: f64, right: f64, label: impl Fn(f64) -> String) {
    for tick in ticks {
        let at = y.at(*tick);
        let _ = writeln!(
            svg,
            "<line class=\"grid\" x1=\"{left}\" x2=\"{right}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
             <text class=\"tick end\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            left - 8.0,
            at + 4.0,
            label(*tick)
        );
    }
}

/// A key: a swatch of each CSS class with its text, which is escaped here.
pub(super) fn legend(entries: &[(String, String)]) -> String {
    let items: String = entries
        .iter()
        .map(|(class, text)| format!("<li><span class=\"swatch {class}\"></span>{}</li>", escape(text)))
        .collect();
    format!("<ul class=\"legend\">{items}</ul>\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_cover_the_range() {
        assert_eq!(ticks(0.0, 100.0, 5), [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
        assert_eq!(ticks(0.0, 2.34, 4), [0.0, 1.0, 2.0, 3.0]);
        let uneven = ticks(0.0, 0.0, 5);
        assert!(uneven.len() >= 2 && uneven.iter().all(|t| t.is_finite()));
    }

    #[test]
    fn labels_are_thinned_until_they_fit() {
        assert_eq!(label_step(10, 600.0, 30.0), 1);
        assert_eq!(label_step(60, 600.0, 30.0), 5);
        assert_eq!(label_step(2000, 600.0, 30.0), 100);
    }
}
