//! What was found: a table, bars, and what else there is to say, for people and for programs.

use crate::compare::bar::Bar;
use serde_json::{Map, Value, json};
use std::fmt::Write as _;

/// The result of a measurement.
#[derive(Debug, Default)]
pub(super) struct Findings {
    head: Vec<&'static str>,
    rows: Vec<Vec<Value>>,
    bars: Vec<Bar>,
    notes: Vec<String>,
    picture: Option<String>,
}

impl Findings {
    /// A table with these columns, and nothing in it.
    pub(super) fn of(head: &[&'static str]) -> Self {
        Self { head: head.to_vec(), ..Self::default() }
    }

    /// Adds a row: a value for each column.
    pub(super) fn row(&mut self, values: impl Into<Vec<Value>>) {
        self.rows.push(values.into());
    }

    /// Adds what is to be reached.
    pub(super) fn bar(&mut self, bar: Bar) {
        self.bars.push(bar);
    }

    /// Adds a sentence.
    pub(super) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Adds an SVG picture.
    pub(super) fn draw(&mut self, picture: String) {
        self.picture = Some(picture);
    }

    /// An SVG picture, where there is one.
    pub(super) fn picture(&self) -> Option<&str> {
        self.picture.as_deref()
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let mut out = format!("| {} |\n|", self.head.join(" | "));
        for place in 0..self.head.len() {
            let numbers =
                self.rows.iter().all(|row| !matches!(row.get(place), Some(Value::String(_))));
            out += if numbers { "---:|" } else { "---|" };
        }
        out += "\n";
        for row in &self.rows {
            let cells: Vec<_> = row.iter().map(cell).collect();
            let _ = writeln!(out, "| {} |", cells.join(" | "));
        }
        for note in &self.notes {
            let _ = writeln!(out, "{note}");
        }
        for bar in &self.bars {
            let _ = writeln!(out, "{bar}");
        }
        out
    }

    /// For programs: what is known of the setting, and what was found in it.
    pub(super) fn json(&self, mut setting: Value) -> Value {
        let named = |row: &Vec<Value>| {
            let names = self.head.iter().map(|name| (*name).to_owned());
            Value::Object(names.zip(row.iter().cloned()).collect::<Map<_, _>>())
        };
        setting["rows"] = self.rows.iter().map(named).collect();
        setting["bars"] = self.bars.iter().map(Bar::json).collect();
        setting["notes"] = json!(self.notes);
        setting
    }
}

/// Large numbers without a fraction, small ones with three digits of it.
fn cell(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        Value::Number(number) => match number.as_f64() {
            Some(value) if number.is_f64() && value.abs() >= 100.0 => format!("{value:.0}"),
            Some(value) if number.is_f64() && value.abs() >= 10.0 => format!("{value:.1}"),
            Some(value) if number.is_f64() => format!("{value:.3}"),
            _ => number.to_string(),
        },
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_table_is_told_to_people_and_to_programs() {
        let mut findings = Findings::of(&["what", "requests/s", "ratio"]);
        findings.row([json!("calm"), json!(5281.4), Value::Null]);
        findings.row([json!("mute"), json!(5000), json!(0.9467)]);
        findings.bar(Bar::at_least("mute", 0.9467, 0.8));
        findings.note("So it is.");
        let text = findings.text();
        assert!(text.starts_with("| what | requests/s | ratio |\n|---|---:|---:|\n"), "{text}");
        assert!(text.contains("| calm | 5281 | - |\n| mute | 5000 | 0.947 |\n"), "{text}");
        assert!(text.ends_with("wanted at least 0.8: met\n"), "{text}");
        let json = findings.json(json!({ "machine": "m" }));
        assert_eq!((&json["rows"][1]["ratio"], &json["machine"]), (&json!(0.9467), &json!("m")));
        assert_eq!(json["bars"][0]["met"], true);
    }
}
