//! The page as a whole: its head, its headline in words, and its sections in their order.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::words::{brief, float, moment};
use super::{Report, measures, sections};
use crate::error::Result;
use crate::terminal::{grouped, size};
use crate::text::shown;
use crate::warehouse::RunRow;

/// Nothing is loaded and nothing runs: pictures are in the page itself, and so is its style.
const POLICY: &str =
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";
const STYLE: &str = include_str!("style.css");

pub(super) fn page(report: &Report) -> Result<String> {
    let title = headline(report);
    let sections = [
        ("runs", "Runs", sections::runs(report)),
        ("pace", "Pace", measures::pace(report)?),
        ("files", "Files", measures::files(report)?),
        ("failures", "Failures", sections::failures(report)),
        ("same", "Same bodies", sections::same(report)),
        ("sheet", "Contact sheet", sections::sheet(report)),
    ];
    let sections: Vec<_> = sections.into_iter().filter_map(|(id, name, body)| Some((id, name, body?))).collect();
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="referrer" content="no-referrer";
                // Else a browser would ask for one.
                link rel="icon" href="data:,";
                title { (title) " · " (shown(&report.warehouse)) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    p .kicker { "toller report of " bdi { (shown(&report.warehouse)) } }
                    h1 { (title) }
                    (standing(report))
                    (facts(report))
                }
                @if sections.len() > 1 {
                    nav aria-label="Sections" {
                        ul { @for (id, name, _) in &sections { li { a href={ "#" (id) } { (name) } } } }
                    }
                }
                main {
                    @for (id, name, body) in &sections {
                        section id=(id) aria-labelledby={ (id) "-name" } { h2 id={ (id) "-name" } { (name) } (body) }
                    }
                }
                footer {
                    p { "Made by toller " (env!("CARGO_PKG_VERSION")) " on " (moment(&report.made_at)) ". All times are UTC. "
                        "This page needs nothing else: it holds no script and loads nothing." }
                }
            }
        }
    };
    Ok(page.into_string())
}

/// Where things stand, in words.
fn headline(report: &Report) -> String {
    let (home, total) = (report.found.home, report.found.total);
    match (home, total) {
        (_, 0) => "No images are listed yet".into(),
        (1, 1) => "The one thumbnail is home".into(),
        (home, total) if home == total => format!("All {} thumbnails are home", grouped(total)),
        (0, 1) => "The one thumbnail is not home yet".into(),
        (0, total) => format!("None of {} thumbnails is home yet", grouped(total)),
        (1, total) => format!("1 of {} thumbnails is home", grouped(total)),
        (home, total) => format!("{} of {} thumbnails are home", grouped(home), grouped(total)),
    }
}

/// The whole as one line, and its parts by name.
fn standing(report: &Report) -> Markup {
    let found = &report.found;
    let away = found.total.saturating_sub(found.home);
    // Of failures the table may say more than is pending; a part is never larger than the whole.
    let lost = found.failed_permanent.min(away);
    let parts = [
        ("is-home", found.home, if found.home == 1 { "is home" } else { "are home" }),
        ("is-lost", lost, "failed for good"),
        ("is-left", away - lost, if lost > 0 { "are still to come" } else { "are pending" }),
    ];
    let words: Vec<_> = parts.iter().map(|(_, count, what)| format!("{} {what}", grouped(*count))).collect();
    html! {
        @if found.total > 0 {
            div .whole role="img" aria-label=(words.join(", ")) {
                @for (class, count, _) in parts.iter().filter(|(_, count, _)| *count > 0) {
                    span .(class) style={ "flex:" (count) } {}
                }
            }
            ul .keys {
                @for (class, count, what) in parts.iter().filter(|(_, count, _)| *count > 0) {
                    li { span .key .(class) {} b { (grouped(*count)) } " " (what) }
                }
            }
        }
        @if let Some(run) = &report.running {
            p .lede { "A fetch is under way: run " bdi .mono { (shown(run)) } "." }
        }
    }
}

/// From where to where, as the latest run had it.
fn facts(report: &Report) -> Markup {
    let last = |of: fn(&RunRow) -> Option<&String>| report.found.runs.iter().find_map(of).map(|text| brief(text));
    let (from, to) = (last(|run| run.url.as_ref()), last(|run| run.dest.as_ref()));
    html! {
        dl .facts {
            @if let Some(from) = from { dt { "From" } dd { bdi .mono { (from) } } }
            @if let Some(to) = to { dt { "To" } dd { bdi .mono { (to) } } }
            @if let Some(files) = &report.found.files {
                dt { "In all" }
                dd { (size(float(files.bytes))) " in " (grouped(files.count)) @if files.count == 1 { " file" } @else { " files" }
                    @if files.gone > 0 { "; " (grouped(files.gone)) " of them the origin has no more" } }
            }
            dt { "As of" } dd { (moment(&report.made_at)) }
        }
    }
}
