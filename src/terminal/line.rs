//! One line on a terminal, from parts that matter more and less, in as much room as there is.

/// A part of the line, in one or more wordings, the longest first.
#[derive(Debug)]
pub(super) struct Part {
    wordings: Vec<String>,
    /// Those of a low rank get their room first.
    rank: u8,
}

impl Part {
    pub(super) fn new(rank: u8, text: String) -> Self {
        Self { wordings: vec![text], rank }
    }

    pub(super) fn shortening(rank: u8, wordings: Vec<String>) -> Self {
        Self { wordings, rank }
    }
}

/// Between two parts.
const BETWEEN: &str = ", ";
/// The shortest and the longest bar.
const BAR: (usize, usize) = (8, 40);

/// The parts in their order, as many as fit so many columns, each as long as it can be, and before them a bar, where there
/// is something to show on it and room for it.
pub(super) fn line(parts: &[Part], share: Option<f64>, columns: usize) -> String {
    let mut order: Vec<usize> = (0..parts.len()).collect();
    order.sort_by_key(|at| parts[*at].rank);
    let mut chosen: Vec<Option<&str>> = vec![None; parts.len()];
    let mut taken = 0;
    // Each as short as it can be, so that many fit; then as long as there is room left.
    for at in &order {
        let between = if taken > 0 { BETWEEN.len() } else { 0 };
        let shortest = parts[*at].wordings.last().filter(|words| taken + between + width(words) <= columns);
        if let Some(words) = shortest {
            taken += between + width(words);
            chosen[*at] = Some(words);
        }
    }
    for at in order {
        let Some(short) = chosen[at] else { continue };
        let fits = |words: &&String| taken - width(short) + width(words) <= columns;
        if let Some(words) = parts[at].wordings.iter().find(fits) {
            taken = taken - width(short) + width(words);
            chosen[at] = Some(words);
        }
    }
    let words = chosen.into_iter().flatten().collect::<Vec<_>>().join(BETWEEN);
    match share {
        Some(share) if columns > taken + BAR.0 => {
            format!("{} {words}", bar(share, (columns - taken - 1).min(BAR.1)))
        }
        _ => words,
    }
}

/// A bar that is full to this share.
fn bar(share: f64, columns: usize) -> String {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a few columns"
    )]
    let full = (share.clamp(0.0, 1.0) * columns as f64) as usize;
    format!("{}{}", "█".repeat(full), "░".repeat(columns - full))
}

/// The columns that a text takes at the most: characters outside ASCII may take two, and may take none.
fn width(text: &str) -> usize {
    text.chars().map(|c| if c.is_ascii() { 1 } else { 2 }).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts() -> Vec<Part> {
        vec![
            Part::new(0, "6,178 of 12,217".into()),
            Part::new(3, "2145 images/s".into()),
            Part::new(4, "45.0 MB/s".into()),
            Part::shortening(1, vec!["cool-down until 23:10:05 UTC".into(), "cool-down, 28 s".into()]),
        ]
    }

    #[test]
    fn a_line_never_takes_more_than_there_is_and_drops_what_matters_least() {
        for columns in 0..250 {
            let line = line(&parts(), Some(0.5), columns);
            assert!(line.chars().count() <= columns, "{columns}: {line}");
        }
        assert_eq!(line(&parts(), Some(0.5), 20), "6,178 of 12,217");
        assert_eq!(line(&parts(), Some(0.5), 39), "6,178 of 12,217, cool-down, 28 s");
        assert_eq!(line(&parts(), None, 80), "6,178 of 12,217, 2145 images/s, 45.0 MB/s, cool-down until 23:10:05 UTC");
        assert!(line(&parts(), Some(0.5), 200).starts_with(&format!("{}{} 6,178", "█".repeat(20), "░".repeat(20))));
    }
}
