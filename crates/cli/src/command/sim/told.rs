//! Numbers and counts, for people.

use std::fmt::Write as _;

/// How wide a table is, in columns.
const WIDTH: usize = 96;

/// How wide its first column is.
const LABEL: usize = 11;

/// A number with a comma before every third digit.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A labelled row of cells, broken between them where the line would be too long.
pub(super) fn row(out: &mut String, label: &str, cells: impl IntoIterator<Item = String>) {
    let mut line = format!("{label:<LABEL$}");
    let mut empty = true;
    for cell in cells {
        if !empty && line.chars().count() + 2 + cell.chars().count() > WIDTH {
            let _ = writeln!(out, "{},", line.trim_end());
            line = " ".repeat(LABEL);
            empty = true;
        }
        let separator = if empty { "" } else { ", " };
        let _ = write!(line, "{separator}{cell}");
        empty = false;
    }
    let _ = writeln!(out, "{}", line.trim_end());
}

/// Counts by name, the most frequent first.
pub(super) fn counted<'a>(
    counts: impl IntoIterator<Item = (&'a &'static str, &'a u64)>,
) -> Vec<String> {
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|&(name, count)| (std::cmp::Reverse(*count), *name));
    let cells: Vec<String> =
        counts.into_iter().map(|(name, count)| format!("{name} {}", grouped(*count))).collect();
    if cells.is_empty() { vec!["none".to_owned()] } else { cells }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_come_in_threes() {
        let all = [0, 12, 999, 1_000, 45_678, 1_234_567].map(grouped);
        assert_eq!(all, ["0", "12", "999", "1,000", "45,678", "1,234,567"]);
    }

    #[test]
    fn a_row_is_broken_between_cells() {
        let mut out = String::new();
        row(&mut out, "faults", (0..12).map(|n| format!("a-kind-of-fault {n}")));
        assert!(
            out.lines().count() > 1 && out.lines().all(|line| line.chars().count() <= WIDTH + 1)
        );
        assert!(out.starts_with("faults     a-kind-of-fault 0, a-kind"), "{out}");
        assert!(out.lines().nth(1).unwrap().starts_with("           a-kind-of-fault"), "{out}");
    }

    #[test]
    fn counts_are_told_by_their_size() {
        let counts = std::collections::BTreeMap::from([("crash", 3), ("cut", 12), ("boast", 3)]);
        assert_eq!(counted(&counts), ["cut 12", "boast 3", "crash 3"]);
        assert_eq!(counted([]), ["none"]);
    }
}
