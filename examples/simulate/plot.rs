//! The plot: dead hosts believed in over time, how soon they were found, and what the crash rate makes of it.

use std::path::Path;

use plotters::prelude::*;

use crate::chart::{Area, Drawn, FONT, WHOLE, axes, curve, labels};
use crate::cleaners::{ALL_KNOWING, BARE_WHEEL, CLEANERS, FAST_SCAN, SLOW_SCAN, WHEEL};
use crate::report::names;
use crate::run::Tally;
use crate::scenario::{HOUR, MINUTE, Options};
use crate::sweep::Study;

/// By cleaner. Colours that stay apart for everybody (Okabe and Ito).
const COLOURS: [RGBColor; CLEANERS] =
    [RGBColor(213, 94, 0), RGBColor(230, 159, 0), RGBColor(86, 180, 233), RGBColor(0, 114, 178), BLACK];

const SIZE: (u32, u32) = (1500, 1060);

/// What a logarithmic axis shows in place of 0.
const LEAST: f64 = 0.5;

/// Draws the plot into the file.
pub fn draw(path: &Path, options: &Options, study: &Study) -> Drawn {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let (head, body) = root.split_vertically(52);
    let title = format!(
        "{} hosts, {} crashes per host and hour, announces every {} s: what five cleaners believe",
        options.hosts, options.crash_rate, options.interval
    );
    head.draw(&Text::new(title, (30, 16), (FONT, 28).into_font()))?;
    let (above, below) = body.split_vertically(480);
    draw_believed(&above, options, study)?;
    let thirds = below.split_evenly((1, 3));
    draw_detection(&thirds[0], options, study)?;
    draw_success(&thirds[1], options, study)?;
    draw_connections(&thirds[2], options, study)?;
    root.present()?;
    Ok(())
}

/// Dead hosts that each cleaner believes in, over time.
fn draw_believed(area: &Area, options: &Options, study: &Study) -> Drawn {
    let samples = &study.main.samples;
    let hours = samples.len() as f64 * MINUTE as f64 / HOUR as f64;
    // The all-knowing one believes in no dead host, and has no line.
    let shown = || samples.iter().flat_map(|sample| sample.iter().take(ALL_KNOWING)).map(|hosts| f64::from(*hosts));
    let least = shown().fold(f64::MAX, f64::min) / 2.0;
    let most = shown().fold(10.0, f64::max);
    let mut chart = ChartBuilder::on(area)
        .margin(16)
        .margin_right(30)
        .caption("Dead hosts that are believed in, and may be picked (the all-knowing cleaner: none)", (FONT, 20))
        .x_label_area_size(52)
        .y_label_area_size(80)
        .build_cartesian_2d(0.0..hours, (least.clamp(LEAST, most)..most * 8.0).log_scale())?;
    axes(&mut chart, ("hours, after the warm-up", "dead hosts"), (Some(WHOLE), Some(WHOLE)))?;
    for (cleaner, name) in names(options).into_iter().enumerate().filter(|(cleaner, _)| *cleaner != ALL_KNOWING) {
        let style = COLOURS[cleaner].stroke_width(2);
        let line = samples.iter().enumerate().map(|(minute, sample)| {
            let hour = (minute + 1) as f64 * MINUTE as f64 / HOUR as f64;
            (hour, f64::from(sample[cleaner]).max(LEAST))
        });
        curve(&mut chart, line, style, 0, name)?;
    }
    labels(&mut chart, SeriesLabelPosition::UpperRight, 14, 16)
}

/// The share of dead hosts found, over the time since their death.
fn draw_detection(area: &Area, options: &Options, study: &Study) -> Drawn {
    let longest = study.main.cleaners.iter().filter_map(|tally| tally.quantile(1.0)).max().unwrap_or(0);
    let end = (longest as f64 / MINUTE as f64 * 1.3).max(20.0);
    let mut chart = ChartBuilder::on(area)
        .margin(16)
        .caption("How soon dead hosts are found", (FONT, 20))
        .x_label_area_size(52)
        .y_label_area_size(70)
        .build_cartesian_2d((4.0..end).log_scale(), 0.0..103.0)?;
    axes(&mut chart, ("minutes since the death", "% of those found"), (Some(WHOLE), Some(WHOLE)))?;
    for (cleaner, name) in names(options).into_iter().enumerate().filter(|(cleaner, _)| *cleaner != ALL_KNOWING) {
        let style = COLOURS[cleaner].stroke_width(2);
        let tally = &study.main.cleaners[cleaner];
        let line = (0..=200).filter_map(|step| {
            let share = f64::from(step) / 200.0;
            Some((tally.quantile(share)? as f64 / MINUTE as f64, share * 100.0))
        });
        curve(&mut chart, line, style, 0, name)?;
    }
    labels(&mut chart, SeriesLabelPosition::MiddleMiddle, 14, 15)
}

/// One figure of some cleaners over the crash rates; a rate of 0 has no place on a logarithmic axis.
fn over_rates<'a>(
    study: &'a Study,
    cleaner: usize,
    figure: fn(&Tally) -> f64,
) -> impl Iterator<Item = (f64, f64)> + 'a {
    let rates = study.sweep.iter().filter(|(rate, _)| *rate > 0.0);
    rates.map(move |(rate, outcome)| (*rate, figure(&outcome.cleaners[cleaner])))
}

/// The crash rates that can be shown, with a margin.
fn rates(study: &Study) -> std::ops::Range<f64> {
    let rates = study.sweep.iter().map(|(rate, _)| *rate).filter(|rate| *rate > 0.0);
    let (low, high) = rates.fold((f64::MAX, 0.0_f64), |(low, high), rate| (low.min(rate), high.max(rate)));
    if low <= high { low / 1.3..high * 1.3 } else { 0.01..1.0 }
}

/// Scheduling success over the crash rate.
fn draw_success(area: &Area, options: &Options, study: &Study) -> Drawn {
    let figure = |tally: &Tally| tally.attempts.share(tally.attempts.first_alive) * 100.0;
    let lowest = study.sweep.iter().flat_map(|(_, outcome)| outcome.cleaners.iter().map(figure)).fold(100.0, f64::min);
    let mut chart = ChartBuilder::on(area)
        .margin(16)
        .caption("The first parent is alive", (FONT, 20))
        .x_label_area_size(52)
        .y_label_area_size(70)
        .build_cartesian_2d(rates(study).log_scale(), (lowest - 5.0).max(0.0)..101.0)?;
    axes(&mut chart, ("crashes per host and hour", "% of tasks"), (None, Some(WHOLE)))?;
    let names = names(options);
    for cleaner in [ALL_KNOWING, SLOW_SCAN, FAST_SCAN, WHEEL] {
        let style = COLOURS[cleaner].stroke_width(2);
        curve(&mut chart, over_rates(study, cleaner, figure), style, 3, names[cleaner].as_str())?;
    }
    labels(&mut chart, SeriesLabelPosition::LowerLeft, 14, 15)
}

/// Connections to dead hosts over the crash rate.
fn draw_connections(area: &Area, options: &Options, study: &Study) -> Drawn {
    let figure = |tally: &Tally| tally.attempts.share(tally.attempts.dead_connections) * 1000.0;
    let all = study.sweep.iter().flat_map(|(_, outcome)| outcome.cleaners.iter().map(figure)).filter(|y| *y > 0.0);
    let (low, high) = all.fold((1.0_f64, 10.0_f64), |(low, high), y| (low.min(y), high.max(y)));
    let mut chart = ChartBuilder::on(area)
        .margin(16)
        .margin_right(30)
        .caption("Connections to dead hosts", (FONT, 20))
        .x_label_area_size(52)
        .y_label_area_size(80)
        .build_cartesian_2d(rates(study).log_scale(), (low / 1.5..high * 1.5).log_scale())?;
    axes(&mut chart, ("crashes per host and hour", "per 1,000 tasks (all-knowing: none)"), (None, None))?;
    let names = names(options);
    for cleaner in [SLOW_SCAN, FAST_SCAN, WHEEL, BARE_WHEEL] {
        let style = COLOURS[cleaner].stroke_width(2);
        let points = over_rates(study, cleaner, figure).filter(|(_, y)| *y > 0.0);
        curve(&mut chart, points, style, 3, names[cleaner].as_str())?;
    }
    labels(&mut chart, SeriesLabelPosition::UpperLeft, 14, 15)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sweep::tests::small;

    #[test]
    fn a_plot_has_every_panel_and_every_cleaner() {
        let (options, study) = small();
        let path = std::env::temp_dir().join(format!("hostwheel-simulate-{}.svg", std::process::id()));
        draw(&path, &options, &study).expect("a plot can be drawn");
        let plot = std::fs::read_to_string(&path).expect("the plot is there");
        std::fs::remove_file(&path).expect("the plot can be removed");
        for text in
            names(&options).iter().map(String::as_str).chain(["dead hosts", "% of tasks", "minutes since the death"])
        {
            assert!(plot.contains(text), "{text}");
        }
    }
}
