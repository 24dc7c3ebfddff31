//! What the plots of the examples have in common: how axes, curves and labels look.

use std::error::Error;

use plotters::coord::Shift;
use plotters::coord::ranged1d::ValueFormatter;
use plotters::prelude::*;

pub type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
pub type Drawn = Result<(), Box<dyn Error>>;
pub type Chart<'a, 'b, X, Y> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<X, Y>>;

/// How a number at an axis is written.
pub type Written<'a> = &'a dyn Fn(&f64) -> String;

pub const FONT: &str = "sans-serif";

/// Whole numbers.
pub const WHOLE: Written<'static> = &|number| format!("{number:.0}");

/// Draws the axes; numbers are written as the axis would have it where `None` says so.
pub fn axes<X, Y>(
    chart: &mut Chart<'_, '_, X, Y>,
    (x_desc, y_desc): (&str, &str),
    (x_numbers, y_numbers): (Option<Written>, Option<Written>),
) -> Drawn
where
    X: Ranged<ValueType = f64> + ValueFormatter<f64>,
    Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let mut mesh = chart.configure_mesh();
    mesh.light_line_style(TRANSPARENT).bold_line_style(BLACK.mix(0.08)).x_desc(x_desc).y_desc(y_desc);
    mesh.label_style((FONT, 16)).axis_desc_style((FONT, 17));
    if let Some(written) = &x_numbers {
        mesh.x_label_formatter(written);
    }
    if let Some(written) = &y_numbers {
        mesh.y_label_formatter(written);
    }
    mesh.draw()?;
    Ok(())
}

/// Draws a curve, with points of that size, and its label.
pub fn curve<X, Y>(
    chart: &mut Chart<'_, '_, X, Y>,
    points: impl IntoIterator<Item = (f64, f64)>,
    style: ShapeStyle,
    point_size: u32,
    label: impl Into<String>,
) -> Drawn
where
    X: Ranged<ValueType = f64>,
    Y: Ranged<ValueType = f64>,
{
    chart
        .draw_series(LineSeries::new(points, style).point_size(point_size))?
        .label(label)
        .legend(move |(x, y)| PathElement::new([(x, y), (x + 26, y)], style));
    Ok(())
}

/// Draws the labels of all series.
pub fn labels<'a, 'b: 'a, X, Y>(
    chart: &mut Chart<'a, 'b, X, Y>,
    position: SeriesLabelPosition,
    margin: i32,
    size: i32,
) -> Drawn
where
    X: Ranged<ValueType = f64>,
    Y: Ranged<ValueType = f64>,
{
    chart
        .configure_series_labels()
        .position(position)
        .margin(margin)
        .background_style(WHITE)
        .border_style(BLACK.mix(0.3))
        .label_font((FONT, size))
        .draw()?;
    Ok(())
}
