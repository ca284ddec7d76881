//! The sections of the page that measure: how fast images came, how large they are, and of which sorts.

use maud::{Markup, PreEscaped, html};

use super::Report;
use super::charts::{Chart, Column};
use super::words::{brief, float, moment, plain, share_of, short_size, trimmed};
use crate::error::Result;
use crate::terminal::{grouped, size};
use crate::warehouse::{RunRow, Share, Step};

pub(super) fn pace(report: &Report) -> Result<Option<Markup>> {
    let mut chapters = Vec::new();
    if let Some(course) = &report.found.course {
        let below = elapsed(course.seconds);
        let rates = |of: fn(&Step) -> u64| columns(&course.steps, |step| float(of(step)) / (step.to - step.from));
        let words = |columns: &[Column], unit: fn(f64) -> String, of: fn(&Step) -> u64| {
            let mean = float(course.steps.iter().map(of).sum()) / course.seconds;
            format!("{} on average, at most {}", unit(mean), unit(highest(columns)))
        };
        let (images, bytes) = (rates(|step| step.files), rates(|step| step.bytes));
        let images = chart("Images a second", &words(&images, plain, |step| step.files), &images, &below, plain)?;
        let bytes = chart("Bytes a second", &words(&bytes, short_size, |step| step.bytes), &bytes, &below, short_size)?;
        let known: u64 = course.steps.iter().map(|step| step.files).sum();
        let name = html! {
            "The run of " @match &course.started_at { Some(time) => { (moment(time)) } None => { "an unknown time" } }
            @if known < course.fetched {
                ", by those " (grouped(known)) " of its " (grouped(course.fetched)) " images that have not come anew since"
            }
        };
        chapters.push((name, [images, bytes]));
    }
    let runs: Vec<_> = report.found.runs.iter().rev().filter(|run| run.fetched > 0 && run.seconds > 0.0).collect();
    if let [first, .., last] = runs[..] {
        let rates = |of: fn(&RunRow) -> u64| {
            let rate = |(place, run): (f64, &&RunRow)| (place + 0.25, place + 0.75, float(of(run)) / run.seconds);
            let rates = (0..).map(f64::from).zip(&runs).map(rate);
            rates.map(|(from, to, height)| Column { from, to, height }).collect::<Vec<_>>()
        };
        let day = |run: &RunRow| run.started_at.as_deref().unwrap_or_default().chars().take(10).collect::<String>();
        let below = [(0.25, day(first)), (float(runs.len() as u64) - 0.25, day(last))];
        let words = |columns: &[Column], unit: fn(f64) -> String| format!("at most {}", unit(highest(columns)));
        let (images, bytes) = (rates(|run| run.fetched), rates(|run| run.bytes));
        let images = chart("Images a second", &words(&images, plain), &images, &below, plain)?;
        let bytes = chart("Bytes a second", &words(&bytes, short_size), &bytes, &below, short_size)?;
        let name = format!("The latest {} runs that fetched, each on average", grouped(runs.len() as u64));
        chapters.push((html! { (name) }, [images, bytes]));
    }
    let page = html! {
        @for (name, charts) in &chapters {
            div .chapter { h3 { (name) } div .pair { @for chart in charts { (chart) } } }
        }
    };
    Ok((!chapters.is_empty()).then_some(page))
}

fn highest(columns: &[Column]) -> f64 {
    columns.iter().map(|column| column.height).fold(0.0, f64::max)
}

fn columns(steps: &[Step], height: impl Fn(&Step) -> f64) -> Vec<Column> {
    steps.iter().map(|step| Column { from: step.from, to: step.to, height: height(step) }).collect()
}

/// A chart with its name, and what it says in words.
fn chart(
    name: &str,
    words: &str,
    columns: &[Column],
    below: &[(f64, String)],
    unit: fn(f64) -> String,
) -> Result<Markup> {
    let svg = Chart { columns, below, unit }.svg()?;
    Ok(html! {
        figure .chart {
            figcaption { b { (name) } (words) }
            div role="img" aria-label={ (name) ": " (words) } { (PreEscaped(svg)) }
        }
    })
}

/// A few round times of a course.
fn elapsed(seconds: f64) -> Vec<(f64, String)> {
    const ROUND: [f64; 17] = [
        0.2, 0.5, 1.0, 2.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0, 21_600.0, 43_200.0,
        86_400.0,
    ];
    let step = ROUND.into_iter().find(|step| seconds / step <= 5.0).unwrap_or((seconds / 432_000.0).ceil() * 86_400.0);
    let name = |time: f64| match time {
        0.0 => "0".into(),
        time if time < 60.0 => format!("{} s", trimmed(time)),
        time if time < 3600.0 => format!("{} min", trimmed(time / 60.0)),
        time if time < 172_800.0 => format!("{} h", trimmed(time / 3600.0)),
        time => format!("{} d", trimmed(time / 86_400.0)),
    };
    (0..6)
        .map(|number| f64::from(number) * step)
        .filter(|time| *time <= seconds)
        .map(|time| (time, name(time)))
        .collect()
}

pub(super) fn files(report: &Report) -> Result<Option<Markup>> {
    let Some(files) = &report.found.files else { return Ok(None) };
    let sizes = match (files.sizes.first(), files.sizes.last(), files.average) {
        (Some(first), Some(last), Some(average)) => {
            let steps: Vec<_> =
                files.sizes.iter().map(|step| Step { from: step.from.log2(), to: step.to.log2(), ..*step }).collect();
            let words = format!(
                "{} on average, from {} to {}",
                size(average),
                size(float(files.smallest)),
                size(float(files.largest))
            );
            let below = round_sizes(first.from, last.to);
            Some(chart("Size", &words, &columns(&steps, |step| float(step.files)), &below, plain)?)
        }
        _ => None,
    };
    Ok(Some(html! {
        div .pair {
            @if let Some(sizes) = sizes { (sizes) }
            (shares("Width × height", "pixels", files.shapes.as_deref(), files.count))
            (shares("Format", "format", files.formats.as_deref(), files.count))
            (shares("Proved whole by", "proof", files.proofs.as_deref(), files.count))
        }
    }))
}

/// Round sizes of a scale that doubles, at most six.
fn round_sizes(from: f64, to: f64) -> Vec<(f64, String)> {
    let all = |steps: &[f64]| -> Vec<f64> {
        let sizes = (0..16).flat_map(|power| steps.iter().map(move |step| step * 10f64.powi(power)));
        sizes.filter(|size| (from..=to).contains(size)).collect()
    };
    let sizes = [&[1.0, 2.0, 5.0][..], &[1.0, 3.0], &[1.0]].map(all).into_iter().find(|sizes| sizes.len() <= 6);
    sizes.unwrap_or_default().into_iter().map(|bytes| (bytes.log2(), short_size(bytes))).collect()
}

fn shares(caption: &str, name: &str, shares: Option<&[Share]>, all: u64) -> Markup {
    let listed: u64 = shares.unwrap_or_default().iter().map(|share| share.files).sum();
    let rest = all.saturating_sub(listed);
    let row = |what: Markup, files: u64| {
        let percent = 100.0 * float(files) / float(all.max(1));
        html! {
            tr {
                th scope="row" { (what) }
                td .track { span style={ "width:" (format!("{percent:.2}")) "%" } {} }
                td .n { (grouped(files)) }
                td .n { (share_of(files, all)) }
            }
        }
    };
    html! {
        table .shares {
            caption { (caption) }
            tbody {
                @for share in shares.unwrap_or_default() {
                    (row(sort(share.name.as_deref()), share.files))
                }
                @if shares.is_none() { tr { td { "Too many of them differ to be counted here." } } }
                @else if rest > 0 { (row(html! { "any other " (name) }, rest)) }
            }
        }
    }
}

fn sort(name: Option<&str>) -> Markup {
    html! { @if let Some(name) = name { bdi { (brief(name)) } } @else { "not known" } }
}
