//! The sections of the page, each nothing where there is nothing to tell.

use maud::{Markup, html};

use super::advice::advice;
use super::words::{brief, float, moment, plain, share_of};
use super::{Picture, Report};
use crate::terminal::{grouped, size, span};
use crate::warehouse::{Choice, Example, FailedKind, RunRow};

/// One body in so many files of all is more than chance.
const SUSPICIOUS: u64 = 20;

pub(super) fn runs(report: &Report) -> Option<Markup> {
    let (runs, all) = (&report.found.runs, report.found.runs_in_all);
    let shown = runs.len() as u64;
    // Most warehouses are never asked for again.
    let refreshed = runs.iter().any(|run| run.unchanged > 0);
    (!runs.is_empty()).then(|| {
        html! {
            @if all > shown { p .note { "The latest " (grouped(shown)) " of " (grouped(all)) "." } }
            table .stack.runs {
                thead { tr {
                    th scope="col" { "Began" } th scope="col" { "Status" }
                    @for (name, _) in run_numbers(&runs[0], refreshed) { th .n scope="col" { (name) } }
                } }
                tbody { @for run in runs { (run_rows(run, refreshed)) } }
            }
        }
    })
}

/// The columns of a run, with their names.
fn run_numbers(run: &RunRow, refreshed: bool) -> Vec<(&'static str, String)> {
    let came = float(run.fetched + run.unchanged);
    let rate = if run.seconds > 0.0 { plain(came / run.seconds) } else { String::new() };
    let mut numbers = vec![("Fetched", grouped(run.fetched)), ("Reused", grouped(run.reused))];
    if refreshed {
        numbers.push(("Unchanged", grouped(run.unchanged)));
    }
    numbers.extend([
        ("Failed", grouped(run.failed)),
        ("Size", size(float(run.bytes))),
        ("Time", span(run.seconds)),
        ("Images/s", rate),
    ]);
    numbers
}

/// A run, and below it what it said at its end.
fn run_rows(run: &RunRow, refreshed: bool) -> Markup {
    let gone = (run.status == "running" && !run.lives)
        .then_some("Its process is gone; the next fetch closes it as abandoned.");
    let said = run.error.as_deref().map(brief).or(gone.map(str::to_owned));
    let numbers = run_numbers(run, refreshed);
    let columns = numbers.len() + 2;
    html! {
        tr .said[said.is_some()] {
            td { @match &run.started_at { Some(time) => { (moment(time)) } None => { "unknown" } } }
            td { (brief(&run.status)) }
            @for (name, number) in numbers { td .n data-of=(name) { (number) } }
        }
        @if let Some(said) = said { tr .why { td .full colspan=(columns) { bdi { (said) } } } }
    }
}

pub(super) fn failures(report: &Report) -> Option<Markup> {
    let found = &report.found;
    (found.failed > 0).then(|| {
        html! {
            p .note {
                (grouped(found.failed)) @if found.failed == 1 { " stands" } @else { " stand" } " failed, "
                (grouped(found.failed_permanent)) " of them for good: those are not asked for again without "
                code { "--retry-failed" } ". The rest is tried by the next fetch."
            }
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
            div {
                h3 {
                    bdi .mono { (brief(&kind.kind)) }
                    span { (grouped(kind.images)) @if kind.images == 1 { " image, " } @else { " images, " } (lasting) }
                }
                p { (with_options(words.meaning)) " " (with_options(words.remedy)) }
            }
            ul { @for example in &kind.examples { li { (failed_example(example)) } } }
        }
    }
}

fn failed_example(example: &Example) -> Markup {
    html! {
        bdi .mono { (brief(&example.guid)) }
        @if let Some(message) = &example.message { div .said { bdi { (brief(message)) } } }
        @if let Some(url) = &example.url { div { bdi { (brief(url)) } } }
        div {
            @if let Some(attempts) = example.attempts {
                (attempts) @if attempts == 1 { " attempt" } @else { " attempts" }
                @if example.failed_at.is_some() { ", last " }
            }
            @if let Some(time) = &example.failed_at { (moment(time)) }
        }
    }
}

/// Our own words, with the options in them set as such.
fn with_options(words: &'static str) -> Markup {
    html! {
        @for word in words.split_inclusive(' ') {
            @if word.starts_with("--") {
                @let end = word.trim_end_matches([' ', '.', ',', ';', ':']).len();
                code { (&word[..end]) } (&word[end..])
            } @else { (word) }
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
    let all = report.found.files.as_ref().map_or(same.looked_at, |files| files.count);
    let suspect = same.most.first().filter(|body| body.files > 2 && body.files.saturating_mul(SUSPICIOUS) > all);
    Some(html! {
        p .note {
            (part) (grouped(same.files))
            @if same.bodies == 1 { " files have one and the same body." }
            @else { " files share their body with others; there are " (grouped(same.bodies)) " such bodies." }
        }
        @if let Some(body) = suspect {
            p {
                "The first one is " (share_of(body.files, all)) " of all files. If it is a picture that stands for images "
                "that are not there, give its digest to fetch with " code { "--reject-digest" } "."
            }
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
        picture.bytes.map(|bytes| size(float(bytes.unsigned_abs()))),
    ];
    let facts: Vec<_> = facts.into_iter().flatten().collect();
    html! {
        figure {
            @if let Some(address) = &picture.address {
                div .pane { img src=(address) alt={ "Thumbnail of " (guid) } loading="lazy" decoding="async"; }
            }
            @if let Some(why) = &picture.why_not { div .pane.empty { p { (brief(why)) } } }
            figcaption { bdi .mono { (guid) } (facts.join(" · ").replace(' ', "\u{a0}").replace("·\u{a0}", "· ")) }
        }
    }
}
