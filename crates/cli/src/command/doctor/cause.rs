//! What two values that should be equal look like, and how that is cured.

use serde::Serialize;
use serde_json::Value;
use std::time::{SystemTime, UNIX_EPOCH};

/// What the copies' folders and machines are called.
pub(super) const NAMES: [&str; 2] = ["first", "second"];

/// A guess, by the two values alone.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Cause {
    /// A copy, or both, gave no answer.
    Silence,
    /// The same JSON, spelled differently.
    Spelling,
    /// The same elements in another order.
    Order,
    /// A date or a time of day.
    Time,
    /// Drawn at random.
    Random,
    /// Numbers that differ in their last digits.
    Rounding,
    /// The same digits and letters with other signs between them.
    Locale,
    /// The copy's own port.
    Address,
    /// The copy's folder or name.
    Surroundings,
    /// A cookie in which a time or a random number is signed or sealed.
    Session,
    /// None of these.
    Unknown,
}

impl Cause {
    /// What to do about it: a sentence without its first letter in capitals and its full stop.
    pub(super) fn cure(self) -> &'static str {
        match self {
            Self::Silence => {
                "an answer that does not come agrees with nothing: look at what the copy prints, and \
                 at how long it takes"
            }
            Self::Spelling => {
                "the same JSON in another spelling: let `canonical_json` spell it, or write maps in \
                 the order of their keys"
            }
            Self::Order => {
                "the same elements in another order: sort them; a set or a map has another order in \
                 each process"
            }
            Self::Time => {
                "a time: take it from the request's Quorate-Time, in Unix milliseconds, and not from \
                 the clock; write it in UTC"
            }
            Self::Random => {
                "drawn at random: derive it from the request's Quorate-Seed or Quorate-Index, or count"
            }
            Self::Rounding => {
                "numbers that differ in their last digits: count in whole units, or add floats in one \
                 order, on one thread"
            }
            Self::Locale => {
                "written as the copy's locale has it: name the locale where it is written, or set \
                 LC_ALL=C.UTF-8 for all copies"
            }
            Self::Address => {
                "the copy's own address: write a relative reference, or take the name from Host"
            }
            Self::Surroundings => {
                "the copy's folder or its machine's name: leave it out of the answer"
            }
            Self::Session => {
                "a session or a lifetime in a cookie: see \"Cookies and sessions\" in \
                 docs/determinism.md"
            }
            Self::Unknown => {
                "something that differs from process to process: see docs/determinism.md"
            }
        }
    }

    /// The cause of two texts that differ; each copy's port, where it is known.
    pub(super) fn of_texts(a: &str, b: &str, ports: [u16; 2]) -> Self {
        if let (Ok(a), Ok(b)) = (a.parse(), b.parse()) {
            return Self::of_numbers(a, b);
        }
        let same_without = |x: &str, y: &str| a.replace(x, "") == b.replace(y, "");
        if same_without(&ports[0].to_string(), &ports[1].to_string()) {
            Self::Address
        } else if same_without(NAMES[0], NAMES[1]) {
            Self::Surroundings
        } else if looks_like_a_time(a) && looks_like_a_time(b) {
            Self::Time
        } else if words(a) == words(b) && a.bytes().any(|byte| byte.is_ascii_digit()) {
            Self::Locale
        } else if looks_random(a) && looks_random(b) {
            Self::Random
        } else {
            Self::Unknown
        }
    }

    /// The cause of two JSON values that differ, neither of them an object nor an array.
    pub(super) fn of_scalars(a: &Value, b: &Value, ports: [u16; 2]) -> Self {
        match (a, b) {
            (Value::String(a), Value::String(b)) => Self::of_texts(a, b, ports),
            (Value::Number(a), Value::Number(b)) => {
                let float = |number: &serde_json::Number| number.as_f64().unwrap_or(f64::NAN);
                Self::of_numbers(float(a), float(b))
            }
            _ => Self::Unknown,
        }
    }

    fn of_numbers(a: f64, b: f64) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |now| now.as_secs_f64());
        // Seconds to nanoseconds, within two days of now.
        let is_now = |value: f64| {
            [1.0, 1e3, 1e6, 1e9].iter().any(|unit| (value / unit - now).abs() < 172_800.0)
        };
        let in_between = |value: f64| value > 0.0 && value < 1.0 && value.to_string().len() > 12;
        if is_now(a) && is_now(b) {
            Self::Time
        } else if (a - b).abs() <= 1e-9 * a.abs().max(b.abs()) {
            Self::Rounding
        } else if in_between(a) && in_between(b) {
            Self::Random
        } else {
            Self::Unknown
        }
    }
}

/// A text without the signs and blanks in it.
fn words(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).collect()
}

/// Whether a text holds a date (`2026-01-31`, `31.1.2026`, `Jan 31`) or a time of day (`23:59`).
fn looks_like_a_time(text: &str) -> bool {
    const MONTHS_AND_DAYS: [&str; 19] = [
        "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec", "mon",
        "tue", "wed", "thu", "fri", "sat", "sun",
    ];
    let lower = text.to_ascii_lowercase();
    let mut words = lower.split(|c: char| !c.is_ascii_alphanumeric());
    let has_digits = lower.bytes().any(|byte| byte.is_ascii_digit());
    let is_name = |word: &str| word.get(..3).is_some_and(|start| MONTHS_AND_DAYS.contains(&start));
    text.len() <= 64
        && has_digits
        && (words.any(is_name) || has_shape(text, b'-') || has_shape(text, b':') || {
            ['.', '/'].iter().any(|sign| text.matches(*sign).count() == 2 && text.len() <= 10)
        })
}

/// Whether two digits stand on both sides of this sign.
fn has_shape(text: &str, sign: u8) -> bool {
    let is_digit = |byte: &u8| byte.is_ascii_digit();
    // Groups of a UUID look like dates.
    !is_uuid(text)
        && text.as_bytes().windows(5).any(|window| {
            let [a, b, middle, c, d] = window else { return false };
            *middle == sign && [a, b, c, d].into_iter().all(is_digit)
        })
}

fn is_uuid(text: &str) -> bool {
    let groups: Vec<&str> = text.split('-').collect();
    groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
        && text.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
}

/// One word, long enough that nobody chose it.
fn looks_random(text: &str) -> bool {
    let word = text.trim_matches('"');
    let is_of_token = |c: char| c.is_ascii_alphanumeric() || "-_+/=.".contains(c);
    word.len() >= 8 && word.chars().all(is_of_token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn texts(a: &str, b: &str) -> Cause {
        Cause::of_texts(a, b, [9000, 9001])
    }

    #[test]
    fn times_are_seen_in_many_spellings() {
        for (a, b) in [
            ("2026-01-31T23:59:00Z", "2026-01-31T23:59:02Z"),
            ("Sat, 31 Jan 2026 23:59:00 GMT", "Sat, 31 Jan 2026 23:59:02 GMT"),
            ("23:59", "00:00"),
            ("31.1.2026", "1.2.2026"),
            ("1/31/2026", "2/1/2026"),
        ] {
            assert_eq!(texts(a, b), Cause::Time, "{a}");
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let millis = u64::try_from(now.as_millis()).unwrap();
        assert_eq!(Cause::of_scalars(&json!(millis), &json!(millis + 7), [0, 1]), Cause::Time);
        let seconds = now.as_secs_f64();
        assert_eq!(Cause::of_scalars(&json!(seconds), &json!(seconds + 1.5), [0, 1]), Cause::Time);
        assert_eq!(Cause::of_scalars(&json!(3), &json!(4), [0, 1]), Cause::Unknown);
    }

    #[test]
    fn what_is_drawn_at_random_is_seen() {
        let uuids =
            ("8a5b1111-22c1-4f2c-9f1a-0123456789ab", "8a5b1111-22c1-4f2c-9f1a-0123456789ac");
        assert_eq!(texts(uuids.0, uuids.1), Cause::Random);
        assert_eq!(texts("\"9f86d081884c\"", "\"60303ae22b99\""), Cause::Random);
        let (a, b) = (json!(0.123_456_789_012_345), json!(0.987_654_321_012_345));
        assert_eq!(Cause::of_scalars(&a, &b, [0, 1]), Cause::Random);
        assert_eq!(texts("yes", "no"), Cause::Unknown);
    }

    #[test]
    fn rounding_locales_and_addresses_are_seen() {
        let (a, b) = (json!(0.1 + 0.2), json!(0.3));
        assert_eq!(Cause::of_scalars(&a, &b, [0, 1]), Cause::Rounding);
        assert_eq!(texts("1,234.50", "1.234,50"), Cause::Locale);
        assert_eq!(texts("/tmp/x/first/f", "/tmp/x/second/f"), Cause::Surroundings);
        assert_eq!(texts("a1", "b1"), Cause::Unknown);
        assert_eq!(texts("http://h:9000/orders/1", "http://h:9001/orders/1"), Cause::Address);
    }

    #[test]
    fn a_cure_is_a_part_of_a_sentence() {
        for cause in [Cause::Silence, Cause::Spelling, Cause::Order, Cause::Time, Cause::Random] {
            assert!(!cause.cure().ends_with('.') && !cause.cure().contains("  "), "{cause:?}");
        }
    }
}
