//! A picture as lines of text.

use super::board::{Picture, Row, Said};
use std::fmt::Write as _;

/// How a line looks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Tone {
    Plain,
    /// A heading.
    Strong,
    /// Somebody should look.
    Alarm,
}

/// A line that fits the terminal.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Line {
    pub(super) tone: Tone,
    pub(super) text: String,
}

/// The lines of a picture, no wider and no more than the terminal shows.
pub(super) fn frame(picture: &Picture, width: usize, height: usize) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut line = |tone, text: String| lines.push(Line { tone, text });
    let development = if picture.development { ", development keys" } else { "" };
    line(
        Tone::Strong,
        format!(
            "{}   {} ({}), {}{development}",
            picture.origin, picture.engine, picture.fault_model, picture.service
        ),
    );
    let rate = picture.requests_per_second.map_or("-".to_owned(), |rate| format!("{rate:.1}"));
    let n = picture.replicas.len();
    let short = picture.ready < picture.quorum;
    line(
        if short { Tone::Alarm } else { Tone::Plain },
        format!(
            "{} of {n} ready{}   view {} (primary r{})   height {}   {rate} requests/s",
            picture.ready,
            if short { format!(", a quorum is {}", picture.quorum) } else { String::new() },
            picture.view,
            picture.primary,
            picture.height,
        ),
    );
    line(Tone::Plain, String::new());
    line(Tone::Strong, heading());
    for row in &picture.replicas {
        let well = row.said.as_ref().is_some_and(|said| said.ready);
        line(if well { Tone::Plain } else { Tone::Alarm }, replica(row, picture));
    }
    line(Tone::Plain, String::new());
    for fork in &picture.forks {
        let text = format!(
            "FORK: {} show different certified roots of {} entries",
            names(&fork.replicas),
            fork.size
        );
        line(Tone::Alarm, text);
    }
    match picture.divergent.as_slice() {
        [] => line(Tone::Plain, "divergent: none".to_owned()),
        divergent => {
            for one in divergent {
                let by = names(&one.by);
                line(Tone::Alarm, format!("DIVERGENT: r{}: {} (told by {by})", one.id, one.charge));
            }
        }
    }
    line(Tone::Plain, "q ends".to_owned());
    lines.truncate(height);
    for line in &mut lines {
        line.text = fitted(&line.text, width);
    }
    lines
}

fn heading() -> String {
    format!(
        "{:<8}{:<6}{:>6} {:>8} {:>10} {:>7} {:>9} {:>6}  {}",
        "REPLICA", "READY", "VIEW", "PRIMARY", "HEIGHT", "LAG", "REQ/S", "LINKS", "LAST HEAD"
    )
}

fn replica(row: &Row, picture: &Picture) -> String {
    let name = row.id.map_or("?".to_owned(), |id| format!("r{id}"));
    match &row.said {
        Some(said) => said_row(&name, said, picture.time),
        None => silent_row(&name, row),
    }
}

fn said_row(name: &str, said: &Said, time: u64) -> String {
    let rate = said.requests_per_second.map_or("-".to_owned(), |rate| format!("{rate:.1}"));
    let mut text = format!(
        "{name:<8}{:<6}{:>6} {:>8} {:>10} {:>7} {rate:>9} {:>6}  ",
        if said.ready { "yes" } else { "no" },
        said.view,
        format!("r{}", said.primary),
        said.height,
        said.lag,
        format!("{}/{}", said.peers_up, said.peers),
    );
    match &said.last_head {
        None => text.push_str("none"),
        Some(head) => {
            let root: String = head.root.chars().take(8).collect();
            let age = ago(time.saturating_sub(head.time));
            let _ = write!(text, "{} entries, {root}.., {age}", head.size);
        }
    }
    if let (false, Some(reason)) = (said.ready, &said.reason) {
        let _ = write!(text, "; {reason}");
    }
    text
}

fn silent_row(name: &str, row: &Row) -> String {
    let url = row.url.as_deref().unwrap_or_default();
    let since = row.age_ms.map_or(String::new(), |age| format!(" (last answer {})", ago(age)));
    let error = row.error.as_deref().unwrap_or_default();
    let mut text = format!("{name:<8}{:<6}  {url}{since}: {error}", "-");
    if row.url.is_none() {
        text = format!("{name:<8}{:<6}  {error}", "-");
    }
    if row.id.is_some() {
        let _ = write!(text, "; {} of {} others have a link to it", row.linked_by, row.others);
    }
    text
}

fn names(replicas: &[u16]) -> String {
    replicas.iter().map(|id| format!("r{id}")).collect::<Vec<_>>().join(", ")
}

/// `3.4 s ago`, `12 min ago`.
fn ago(ms: u64) -> String {
    match ms {
        0..60_000 => format!("{}.{} s ago", ms / 1000, ms % 1000 / 100),
        60_000..7_200_000 => format!("{} min ago", ms / 60_000),
        _ => format!("{} h ago", ms / 3_600_000),
    }
}

/// The text as far as it fits, without what a terminal would obey: it may be a stranger's.
fn fitted(text: &str, width: usize) -> String {
    let shown = |c: char| if c.is_control() { '?' } else { c };
    if text.chars().count() <= width {
        return text.chars().map(shown).collect();
    }
    let kept = text.chars().take(width.saturating_sub(1)).map(shown);
    kept.chain(std::iter::once('>')).take(width).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_where_the_terminal_ends_and_obeys_nobody() {
        assert_eq!(fitted("abc", 3), "abc");
        assert_eq!(fitted("abcd", 3), "ab>");
        assert_eq!(fitted("abcd", 0), "");
        assert_eq!(fitted("a\u{1b}[2Jb", 80), "a?[2Jb");
    }

    #[test]
    fn ages_are_told_in_fitting_units() {
        let told = [0, 3_456, 59_999, 60_000, 7_199_999, 7_200_000].map(ago);
        let expected = ["0.0 s", "3.4 s", "59.9 s", "1 min", "119 min", "2 h"];
        assert_eq!(told.to_vec(), expected.map(|age| format!("{age} ago")));
    }
}
