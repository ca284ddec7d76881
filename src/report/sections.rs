//! The sections of the page, each nothing where there is nothing to tell.

use maud::{Markup, PreEscaped, html};

use super::advice::advice;
use super::charts::{Column, Columns};
use super::page::{brief, float, moment};
use super::{Frame, Picture, Report};
use crate::error::Result;
use crate::terminal::{grouped, size, span};
use crate::warehouse::{Choice, Example, FailedKind, RunRow, Share, Step};

/// One body in so many files of all is more than chance.
const SUSPICIOUS: u64 = 20;

pub(super) fn runs(report: &Report) -> Option<Markup> {
    let (runs, all) = (&report.found.runs, report.found.runs_in_all);
    let shown = runs.len() as u64;
    (!runs.is_empty()).then(|| {
        html! {
            @if all > shown { p .note { "The latest " (grouped(shown)) " of " (grouped(all)) "." } }
            table .stack.runs {
                thead { tr {
                    th scope="col" { "Began" } th scope="col" { "Status" }
                    @for name in ["Fetched", "Reused", "Failed", "Size", "Time", "Images/s"] { th .n scope="col" { (name) } }
                } }
                tbody { @for run in runs { (run_rows(run)) } }
            }
        }
    })
}

/// A run, and below it what it said at its end.
fn run_rows(run: &RunRow) -> Markup {
    let gone = (run.status == "running" && !run.lives)
        .then_some("Its process is gone; the next fetch closes it as abandoned.");
    let said = run.error.as_deref().map(brief).or(gone.map(str::to_owned));
    let rate = if run.seconds > 0.0 { plain(float(run.fetched) / run.seconds) } else { String::new() };
    let numbers = [
        ("Fetched", grouped(run.fetched)),
        ("Reused", grouped(run.reused)),
        ("Failed", grouped(run.failed)),
        ("Size", size(float(run.bytes))),
        ("Time", span(run.seconds)),
        ("Images/s", rate),
    ];
    html! {
        tr .said[said.is_some()] {
            td { @match &run.started_at { Some(time) => { (moment(time)) } None => { "unknown" } } }
            td { (brief(&run.status)) }
            @for (name, number) in numbers { td .n data-of=(name) { (number) } }
        }
        @if let Some(said) = said { tr .why { td .full colspan="8" { bdi { (said) } } } }
    }
}

pub(super) fn pace(report: &Report) -> Result<Option<Markup>> {
    let mut charts = Vec::new();
    if let Some(course) = &report.found.course {
        let below = elapsed(course.seconds);
        let rates = |of: fn(&Step) -> u64| columns(&course.steps, |step| float(of(step)) / (step.to - step.from));
        let mean = |of: fn(&Step) -> u64| float(course.steps.iter().map(of).sum()) / course.seconds;
        let (images, bytes): (fn(&Step) -> u64, fn(&Step) -> u64) = (|step| step.files, |step| step.bytes);
        let when = course.started_at.as_deref().map(|time| time.replace('T', " ").chars().take(16).collect::<String>());
        let when = format!("in the run of {}", when.as_deref().unwrap_or("an unknown time"));
        charts.push(chart("Images a second", &when, &rates(images), &below, plain, Some(mean(images)))?);
        charts.push(chart("Bytes a second", &when, &rates(bytes), &below, short_size, Some(mean(bytes)))?);
    }
    let runs: Vec<_> = report.found.runs.iter().rev().filter(|run| run.fetched > 0 && run.seconds > 0.0).collect();
    if runs.len() > 1 {
        let rates = |of: fn(&RunRow) -> u64| {
            let rate = |(place, run): (f64, &&RunRow)| Column {
                from: place,
                to: place + 1.0,
                height: float(of(run)) / run.seconds,
            };
            (0..).map(f64::from).zip(&runs).map(rate).collect::<Vec<_>>()
        };
        let day = |run: &RunRow| run.started_at.as_deref().unwrap_or_default().chars().take(10).collect::<String>();
        let below = [(0.0, day(runs[0])), (float(runs.len() as u64), day(runs[runs.len() - 1]))];
        let each = format!("each of the latest {} runs that fetched", grouped(runs.len() as u64));
        charts.push(chart("Images a second, by run", &each, &rates(|run| run.fetched), &below, plain, None)?);
        charts.push(chart("Bytes a second, by run", &each, &rates(|run| run.bytes), &below, short_size, None)?);
    }
    Ok((!charts.is_empty()).then(|| html! { div .pair { @for chart in charts { (chart) } } }))
}

fn columns(steps: &[Step], height: impl Fn(&Step) -> f64) -> Vec<Column> {
    steps.iter().map(|step| Column { from: step.from, to: step.to, height: height(step) }).collect()
}

/// A chart with its name, what it is of, and its peak in words.
fn chart(
    name: &str,
    of: &str,
    columns: &[Column],
    below: &[(f64, String)],
    unit: fn(f64) -> String,
    mean: Option<f64>,
) -> Result<Markup> {
    let peak = columns.iter().map(|column| column.height).fold(0.0, f64::max);
    let mean = mean.map(|mean| format!(", {} on average", unit(mean))).unwrap_or_default();
    let words = format!("{of}; at most {}{mean}", unit(peak));
    let svg = Columns { columns, below, unit }.svg()?;
    Ok(html! {
        figure .chart {
            figcaption { b { (name) } (words) }
            div role="img" aria-label={ (name) ", " (words) } { (PreEscaped(svg)) }
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
            Some(chart("Size", &words, &columns(&steps, |step| float(step.files)), &below, plain, None)?)
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
                    (row(match &share.name { Some(name) => html! { bdi { (brief(name)) } }, None => html! { "not known" } }, share.files))
                }
                @if shares.is_none() { tr { td { "Too many of them differ to be counted here." } } }
                @else if rest > 0 { (row(html! { "any other " (name) }, rest)) }
            }
        }
    }
}

/// A share for the eye, never rounded to all or nothing.
fn share_of(files: u64, all: u64) -> String {
    let percent = 100.0 * float(files) / float(all.max(1));
    match percent {
        _ if files == all => "100 %".into(),
        small if small < 0.1 => "< 0.1 %".into(),
        large if large > 99.9 => "> 99.9 %".into(),
        percent => format!("{percent:.1} %"),
    }
}

pub(super) fn failures(report: &Report) -> Option<Markup> {
    let found = &report.found;
    (found.failed > 0).then(|| {
        html! {
            p .note { (grouped(found.failed)) " stand failed, " (grouped(found.failed_permanent)) " of them for good: those are not asked for again without "
                code { "--retry-failed" } ". The rest is tried by the next fetch." }
            @for kind in &found.failures { (failed_kind(kind)) }
            @let listed: u64 = found.failures.iter().map(|kind| kind.images).sum();
            @if listed < found.failed { p .note { "Another " (grouped(found.failed - listed)) " are of further kinds." } }
        }
    })
}

fn failed_kind(kind: &FailedKind) -> Markup {
    let words = advice(&kind.kind);
    let lasting = match kind.permanent {
        0 => "may pass".to_owned(),
        permanent if permanent == kind.images => "for good".into(),
        permanent => format!("{} for good", grouped(permanent)),
    };
    html! {
        article .kind {
            h3 { bdi .mono { (brief(&kind.kind)) } span { (grouped(kind.images)) @if kind.images == 1 { " image, " } @else { " images, " } (lasting) } }
            p { (words.meaning) " " (words.remedy) }
            ul { @for example in &kind.examples { li { (failed_example(example)) } } }
        }
    }
}

fn failed_example(example: &Example) -> Markup {
    html! {
        bdi .mono { (brief(&example.guid)) }
        @if let Some(message) = &example.message { div .lost { bdi { (brief(message)) } } }
        @if let Some(url) = &example.url { div { bdi { (brief(url)) } } }
        div {
            @if let Some(attempts) = example.attempts { (attempts) @if attempts == 1 { " attempt" } @else { " attempts" } }
            @if let Some(time) = &example.failed_at { @if example.attempts.is_some() { ", last " } (moment(time)) }
        }
    }
}

pub(super) fn same(report: &Report) -> Option<Markup> {
    let same = report.found.same.as_ref().filter(|same| same.bodies > 0)?;
    let part = if same.one_in > 1 {
        format!("Looked at one digest in {}, with all its files: others may be missing here. ", grouped(same.one_in))
    } else {
        String::new()
    };
    let suspect =
        same.most.first().filter(|body| body.files > 2 && body.files.saturating_mul(SUSPICIOUS) > same.looked_at);
    Some(html! {
        p .note { (part) (grouped(same.files)) " files share their body with another: there are " (grouped(same.bodies))
            @if same.bodies == 1 { " such body." } @else { " such bodies." } }
        @if let Some(body) = suspect {
            p { "The first one is " (share_of(body.files, same.looked_at)) " of all files. If it is a picture that stands for images that are not there, give its digest to fetch with "
                code { "--reject-digest" } "." }
        }
        table .stack {
            thead { tr { th scope="col" { "SHA-256" } th .n scope="col" { "Files" } th .n scope="col" { "Size" } th scope="col" { "Some of their names" } } }
            tbody {
                @for body in &same.most {
                    tr {
                        td .full { bdi .mono { (brief(&body.sha256)) } }
                        td .n data-of="Files" { (grouped(body.files)) }
                        td .n data-of="Size" { (size(float(body.bytes))) }
                        td .full { div { @for guid in &body.guids { div { bdi .mono { (brief(guid)) } } } } }
                    }
                }
            }
        }
    })
}

pub(super) fn sheet(report: &Report) -> Option<Markup> {
    let sheet = &report.sheet;
    if let Some(why) = sheet.why_not.as_ref().filter(|_| report.found.home > 0) {
        return Some(
            html! { p .note { "The files are not at hand, so this page is made from the tables alone (" bdi { (brief(why)) } ")." } },
        );
    }
    let many = grouped(sheet.pictures.len() as u64);
    (!sheet.pictures.is_empty()).then(|| {
        html! {
            p .note {
                @match report.chosen { Choice::Latest => { "The " (many) " that came home last" } Choice::Random => { (many) " at random" } }
                @if let Some(folder) = &sheet.folder { ", from " bdi .mono { (brief(folder)) } }
                "."
            }
            ul .sheet { @for picture in &sheet.pictures { li { (one(picture)) } } }
        }
    })
}

fn one(picture: &Picture) -> Markup {
    let guid = brief(&picture.guid);
    let facts = [
        picture.width.zip(picture.height).map(|(width, height)| format!("{width} × {height}")),
        picture.format.as_deref().map(brief),
        picture.bytes.map(|bytes| size(float(bytes.unsigned_abs()))),
    ];
    let facts: Vec<_> = facts.into_iter().flatten().collect();
    html! {
        figure {
            @match &picture.frame {
                Frame::Embedded(address) => { div .pane { img src=(address) alt={ "Thumbnail of " (guid) } loading="lazy" decoding="async"; } }
                Frame::Empty(why) => { div .pane.empty { p { (brief(why)) } } }
            }
            figcaption { bdi .mono { (guid) } (facts.join(" · ")) }
        }
    }
}

/// A number for the eye: whole where it is large.
fn plain(number: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a height above nought, rounded")]
    if number >= 10.0 { grouped(number.round() as u64) } else { trimmed((number * 10.0).round() / 10.0) }
}

/// Without a nought behind the dot.
fn trimmed(number: f64) -> String {
    format!("{number:.1}").trim_end_matches(".0").to_owned()
}

fn short_size(bytes: f64) -> String {
    size(bytes).replace(".0 ", " ")
}
