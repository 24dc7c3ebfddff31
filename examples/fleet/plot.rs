//! The plot: who was alive and what the scheduler knew of it, and how soon it found each death.

use std::path::Path;
use std::time::Duration;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::chart::{Area, Drawn, FONT, WHOLE, axes, curve, labels};
use crate::common::times::show;
use crate::history::History;
use crate::judge::{Detection, Verdict};
use crate::observation::Count;
use crate::plan::{INTERVAL_MS, Plan, leaves_after};
use crate::report::SCAN_EVERY;

// Colours that stay apart for everybody (Okabe and Ito).
const TRUTH: RGBColor = BLACK;
const LIVE: RGBColor = RGBColor(0, 114, 178);
const SUSPECT: RGBColor = RGBColor(230, 159, 0);
const STOP: RGBColor = RGBColor(225, 225, 225);
const CUT: RGBColor = RGBColor(219, 235, 246);
const SILENCE: RGBColor = RGBColor(0, 158, 115);
const GONE: RGBColor = RGBColor(213, 94, 0);

const SIZE: (u32, u32) = (1200, 1060);

/// Draws the plot into the file.
pub fn draw(path: &Path, plan: &Plan, history: &History, verdict: &Verdict) -> Drawn {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let (head, body) = root.split_vertically(48);
    let title = format!("{} hosts, and what the scheduler knew of them", plan.hosts.len());
    head.draw(&Text::new(title, (30, 14), (FONT, 28).into_font()))?;
    let (above, below) = body.split_vertically(500);
    draw_hosts(&above, plan, history)?;
    let (left, right) = below.split_horizontally(SIZE.0 / 2);
    draw_detections(&left, plan, &verdict.detections)?;
    draw_lateness(&right, &verdict.detections)?;
    root.present()?;
    Ok(())
}

/// A curve from 0 to `end` that keeps its value until the next one. Points must be in order of time.
fn steps(points: impl Iterator<Item = (f64, f64)>, end: f64) -> Vec<(f64, f64)> {
    let mut curve: Vec<(f64, f64)> = Vec::new();
    for (x, y) in points.filter(|(x, _)| *x < end) {
        match curve.last() {
            // Of what was before the beginning, only the last counts.
            Some(_) if x <= 0.0 => curve.clear(),
            Some(&(_, before)) => curve.push((x, before)),
            None => {}
        }
        curve.push((x.max(0.0), y));
    }
    if let Some(&(_, last)) = curve.last() {
        curve.push((end, last));
    }
    curve
}

/// Hosts over time: the truth, and the scheduler's view of it.
fn draw_hosts(area: &Area, plan: &Plan, history: &History) -> Drawn {
    let end = plan.length.as_secs_f64();
    let second = |ns: u64| (ns as f64 - history.started_ns as f64) / 1e9;
    let sampled = |value: fn(&Count) -> u64| {
        // A sample from before the beginning may have been taken among the registrations.
        let counts = history.counts.iter().filter(|count| count.at_ns >= history.started_ns);
        steps(counts.map(|count| (second(count.at_ns), value(count) as f64)), end)
    };
    let known = sampled(|count| count.known);
    let live = sampled(|count| count.known.saturating_sub(count.suspect));
    let running = steps(history.running.iter().map(|(at_ns, running)| (second(*at_ns), *running as f64)), end);

    let all = [&known, &live, &running];
    let heights = all.iter().flat_map(|curve| curve.iter().map(|(_, y)| *y));
    let (least, most) = heights.fold((f64::MAX, 0.0_f64), |(low, high), y| (low.min(y), high.max(y)));
    let room = (most - least).max(10.0);
    // The top is for the labels.
    let range = (least - 0.06 * room).max(0.0)..most + 0.2 * room;

    let mut chart = ChartBuilder::on(area)
        .margin(16)
        .margin_right(30)
        .caption("Hosts over time", (FONT, 20))
        .x_label_area_size(52)
        .y_label_area_size(76)
        .build_cartesian_2d(0.0..end, range.clone())?;
    let stop = second(history.stop_ns.start)..second(history.stop_ns.end);
    chart.draw_series([Rectangle::new([(stop.start, range.start), (stop.end, range.end)], STOP.filled())])?;
    let cut = second(history.cut_ns.start)..second(history.cut_ns.end);
    if plan.cut.is_some() {
        chart.draw_series([Rectangle::new([(cut.start, range.start), (cut.end, range.end)], CUT.filled())])?;
    }
    axes(
        &mut chart,
        (
            "seconds since all hosts were registered",
            if range.start > 0.0 { "hosts (the axis does not start at 0)" } else { "hosts" },
        ),
        (Some(WHOLE), Some(WHOLE)),
    )?;

    let band: Vec<_> = known.iter().copied().chain(live.iter().rev().copied()).collect();
    chart
        .draw_series([Polygon::new(band, SUSPECT.filled())])?
        .label("the scheduler holds them for suspect")
        .legend(|(x, y)| Rectangle::new([(x, y - 6), (x + 26, y + 6)], SUSPECT.filled()));
    curve(&mut chart, live, LIVE.stroke_width(3), 0, "the scheduler holds them for live")?;
    curve(&mut chart, running, TRUTH.stroke_width(1), 0, "the truth: they really run")?;
    if let Some(silence) = history.silence_ns() {
        let (left, right) = (second(silence.start), second(silence.end));
        let top = range.start + 0.03 * (range.end - range.start);
        chart
            .draw_series([Rectangle::new([(left, range.start), (right, top)], SILENCE.filled())])?
            .label("silence: nobody is heard, and nobody leaves")
            .legend(|(x, y)| Rectangle::new([(x, y - 6), (x + 26, y + 6)], SILENCE.filled()));
    }
    let centred = (FONT, 17).into_font().color(&BLACK).pos(Pos::new(HPos::Center, VPos::Center));
    let label = ((stop.start + stop.end) / 2.0, range.end - 0.05 * (range.end - range.start));
    chart.draw_series([Text::new("scheduler stopped", label, centred.clone())])?;
    if plan.cut.is_some() {
        let label = ((cut.start + cut.end) / 2.0, label.1);
        chart.draw_series([Text::new("all hosts cut off", label, centred)])?;
    }
    // In a cut all hosts are suspects in the end: then there is room below, else the curves go down there.
    let place = if plan.cut.is_some() { SeriesLabelPosition::LowerRight } else { SeriesLabelPosition::UpperRight };
    labels(&mut chart, place, 14, 16)
}

/// Each death: how long after its last announce it was found.
fn draw_detections(area: &Area, plan: &Plan, detections: &[Detection]) -> Drawn {
    let intervals = INTERVAL_MS.start as f64 / 1e3 - 0.1..INTERVAL_MS.end as f64 / 1e3 + 0.1;
    let longest = detections.iter().map(|found| found.silence.as_secs_f64()).fold(1.0, f64::max);
    let mut chart = ChartBuilder::on(area)
        .margin(16)
        .caption("How soon each dead host was found", (FONT, 20))
        .x_label_area_size(52)
        .y_label_area_size(76)
        .build_cartesian_2d(intervals.clone(), 0.0..longest * 1.45)?;
    axes(
        &mut chart,
        ("announced interval, in seconds", "seconds from the last announce to the leave"),
        (Some(&|x| format!("{x:.1}")), Some(WHOLE)),
    )?;
    let due = |x: f64| (x, leaves_after(Duration::from_secs_f64(x), plan.grace).as_secs_f64());
    // Straight, but for a bend where the grace gets shorter than the interval.
    let bend = plan.grace.as_secs_f64().clamp(intervals.start, intervals.end);
    curve(
        &mut chart,
        [intervals.start, bend, intervals.end].map(due),
        BLACK.stroke_width(1),
        0,
        "due: TTL (2 intervals) and grace (at most 1 interval)",
    )?;
    let (apart, plain): (Vec<&Detection>, Vec<&Detection>) =
        detections.iter().partition(|found| found.away > Duration::from_millis(100));
    for (found, colour, label) in
        [(plain, LIVE, "found"), (apart, GONE, "found; the scheduler's stop in between is not counted")]
    {
        let points = found.iter().map(|found| (found.interval.as_secs_f64(), found.silence.as_secs_f64()));
        chart
            .draw_series(points.map(|point| Circle::new(point, 4, colour.mix(0.7).filled())))?
            .label(label)
            .legend(move |(x, y)| Circle::new((x + 13, y), 4, colour.filled()));
    }
    labels(&mut chart, SeriesLabelPosition::UpperLeft, 10, 15)
}

/// How late the leaves were, in milliseconds.
fn draw_lateness(area: &Area, detections: &[Detection]) -> Drawn {
    // What fell due while the scheduler was stopped says something about the stop, not about the wheel.
    let watched = detections.iter().filter(|found| !found.due_in_stop);
    let lateness: Vec<f64> = watched.map(|found| found.lateness.as_secs_f64() * 1e3).collect();
    let latest = lateness.iter().copied().fold(0.0, f64::max);
    let width = (latest / 40.0).ceil().max(1.0);
    let bins = (latest / width).floor() as usize + 1;
    let mut counts = vec![0_u32; bins];
    for late in &lateness {
        counts[(late / width) as usize] += 1;
    }
    let most = counts.iter().copied().max().unwrap_or(0).max(1);
    let caption = format!("Lateness of the leaves (a scan every {}: 150 s on average)", show(SCAN_EVERY));
    let mut chart = ChartBuilder::on(area)
        .margin(16)
        .margin_right(30)
        .caption(caption, (FONT, 20))
        .x_label_area_size(52)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..(bins as f64 + 1.0) * width, 0.0..f64::from(most) * 1.1)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.08))
        .x_desc("milliseconds after the leave was due")
        .y_desc("leaves")
        .x_labels(8)
        .y_labels(most.min(8) as usize + 1)
        .y_label_formatter(&|y| if y.fract() == 0.0 { format!("{y:.0}") } else { String::new() })
        .x_label_formatter(&|x| if bins < 8 { format!("{x:.1}") } else { format!("{x:.0}") })
        .label_style((FONT, 16))
        .axis_desc_style((FONT, 17))
        .draw()?;
    chart.draw_series(counts.iter().enumerate().map(|(bin, count)| {
        let left = bin as f64 * width;
        let mut bar = Rectangle::new([(left, 0.0), (left + width, f64::from(*count))], LIVE.mix(0.8).filled());
        bar.set_margin(0, 0, 1, 1);
        bar
    }))?;
    Ok(())
}
