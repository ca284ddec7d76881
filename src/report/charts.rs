//! Charts as SVG: columns over a quiet scale.
//!
//! A chart is drawn for a light page; the page's style sheet finds its three colours by their names and gives them others
//! in the dark. It has no size of its own, only proportions. Nothing foreign gets here: numbers and units only.

use plotters::coord::Shift;
use plotters::coord::ranged1d::Ranged;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::error::{Error, Result};

/// Plotters knows whole units only; so many of them make one of the page.
const FINE: u32 = 10;
/// Proportions, and the size at which its letters are as large as the page's small ones.
const SIZE: (u32, u32) = (400, 156);
/// Room for the letters of the scales, left and below.
const LEFT: u32 = 58;
const BELOW: u32 = 22;

const ACCENT: RGBColor = RGBColor(0x2a, 0x6f, 0x8e);
const SOFT: RGBColor = RGBColor(0x59, 0x63, 0x6e);
const HAIR: RGBColor = RGBColor(0xe2, 0xe5, 0xe8);

/// One column.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    pub from: f64,
    pub to: f64,
    pub height: f64,
}

/// A chart of columns.
#[derive(Debug)]
pub struct Chart<'c> {
    pub columns: &'c [Column],
    /// Words below the chart, and where they stand.
    pub below: &'c [(f64, String)],
    /// How heights are called.
    pub unit: fn(f64) -> String,
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

impl Chart<'_> {
    /// The chart as an `svg` element.
    ///
    /// # Errors
    /// Plotters has one; into a text it should not.
    pub fn svg(&self) -> Result<String> {
        let mut svg = String::new();
        let size = (SIZE.0 * FINE, SIZE.1 * FINE);
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        let drawn = self.draw(&root).and_then(|()| root.present());
        drawn.map_err(|cause| Error::new("draw chart", "report", cause))?;
        drop(root);
        Ok(svg)
    }

    fn draw(&self, root: &Area<'_>) -> std::result::Result<(), DrawingAreaErrorKind<std::io::Error>> {
        let first = self.columns.first().map_or(0.0, |column| column.from);
        let last = self.columns.last().map_or(1.0, |column| column.to);
        let highest = self.columns.iter().map(|column| column.height).fold(0.0, f64::max).max(f64::MIN_POSITIVE);
        let mut chart = ChartBuilder::on(root)
            .margin_top(8 * FINE)
            .margin_right(2 * FINE)
            .set_label_area_size(LabelAreaPosition::Left, LEFT * FINE)
            .set_label_area_size(LabelAreaPosition::Bottom, BELOW * FINE)
            .build_cartesian_2d(first..last, 0.0..highest * 1.04)?;
        let small = ("sans-serif", f64::from(12 * FINE) * 1.24).into_font().color(&SOFT);
        let right = small.clone().pos(Pos::new(HPos::Right, VPos::Center));
        for height in heights(highest) {
            chart.draw_series([PathElement::new([(first, height), (last, height)], HAIR.stroke_width(FINE))])?;
            let (x, y) = chart.plotting_area().map_coordinate(&(first, height));
            root.draw(&Text::new((self.unit)(height), (x - 8 * FINE.cast_signed(), y), right.clone()))?;
        }
        chart.draw_series(self.columns.iter().filter(|column| column.height > 0.0).map(|column| {
            // A hair of paper between two columns.
            let gap = ((column.to - column.from) * 0.06).min((last - first) * 0.002);
            Rectangle::new([(column.from + gap, 0.0), (column.to - gap, column.height)], ACCENT.filled())
        }))?;
        chart.draw_series([PathElement::new([(first, 0.0), (last, 0.0)], SOFT.stroke_width(FINE))])?;
        for (place, words) in self.below {
            let (x, y) = chart.plotting_area().map_coordinate(&(*place, 0.0));
            let side = match (place - first) / (last - first) {
                near if near < 0.04 => HPos::Left,
                far if far > 0.96 => HPos::Right,
                _ => HPos::Center,
            };
            let style = small.clone().pos(Pos::new(side, VPos::Top));
            root.draw(&Text::new(words.as_str(), (x, y + 7 * FINE.cast_signed()), style))?;
        }
        Ok(())
    }
}

/// The round numbers of a scale, two or three of them.
fn heights(highest: f64) -> Vec<f64> {
    let range: RangedCoordf64 = (0.0..highest).into();
    range.key_points(3)
}
