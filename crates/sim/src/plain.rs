//! Plans as text: replicas as `r2`, seats by their numbers, times as `12.5ms`.

use crate::{
    describe,
    plan::{Fault, Plan},
    regions::Region,
    rng::Rng,
    seat::{Seat, Seating},
};
use quorate_ledger::memory_disk;
use quorate_types::{ReplicaId, Time};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Something that is written down as something else.
pub trait Plain: Sized {
    /// As what.
    type As: Serialize + for<'de> Deserialize<'de>;

    /// Its written form.
    fn plain(&self) -> Self::As;

    /// What was written down.
    ///
    /// # Errors
    /// What is wrong with it.
    fn of(plain: Self::As) -> Result<Self, String>;
}

/// For `#[serde(with = "plain")]`.
///
/// # Errors
/// Those of the format.
pub fn serialize<T: Plain, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
    value.plain().serialize(to)
}

/// For `#[serde(with = "plain")]`.
///
/// # Errors
/// Those of the format, and what is no such thing.
pub fn deserialize<'de, T: Plain, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    T::of(T::As::deserialize(from)?).map_err(D::Error::custom)
}

impl Plain for ReplicaId {
    type As = String;

    fn plain(&self) -> String {
        self.to_string()
    }

    fn of(plain: String) -> Result<Self, String> {
        let number = plain.strip_prefix('r').and_then(|number| number.parse().ok());
        number.map(Self).ok_or_else(|| format!("{plain:?} is no replica, such as \"r2\""))
    }
}

impl Plain for Region {
    type As = String;

    fn plain(&self) -> String {
        self.name().to_owned()
    }

    fn of(plain: String) -> Result<Self, String> {
        Self::named(&plain).ok_or_else(|| format!("{plain:?} is no region, such as \"eastus\""))
    }
}

impl Plain for Seat {
    type As = u16;

    fn plain(&self) -> u16 {
        self.0
    }

    fn of(plain: u16) -> Result<Self, String> {
        Ok(Self(plain))
    }
}

/// Milliseconds to the nanosecond, without zeros that say nothing.
#[must_use]
pub fn millis(nanos: u64) -> String {
    let (whole, rest) = (nanos / 1_000_000, nanos % 1_000_000);
    if rest == 0 {
        return format!("{whole}ms");
    }
    let fraction = format!("{rest:06}");
    format!("{whole}.{}ms", fraction.trim_end_matches('0'))
}

fn nanos(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no time, such as \"12.5ms\"");
    let number = text.strip_suffix("ms").ok_or_else(wrong)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |part: &str| part.chars().all(|c| c.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) || fraction.len() > 6 {
        return Err(wrong());
    }
    let whole: u64 = whole.parse().map_err(|_| wrong())?;
    let rest: u64 = format!("{fraction:0<6}").parse().map_err(|_| wrong())?;
    whole.checked_mul(1_000_000).and_then(|nanos| nanos.checked_add(rest)).ok_or_else(wrong)
}

impl Plain for Time {
    type As = String;

    fn plain(&self) -> String {
        millis(self.0)
    }

    fn of(plain: String) -> Result<Self, String> {
        nanos(&plain).map(Self)
    }
}

impl Plain for Duration {
    type As = String;

    fn plain(&self) -> String {
        millis(u64::try_from(self.as_nanos()).unwrap_or(u64::MAX))
    }

    fn of(plain: String) -> Result<Self, String> {
        nanos(&plain).map(Self::from_nanos)
    }
}

impl Plain for memory_disk::Fault {
    type As = String;

    fn plain(&self) -> String {
        self.name().to_owned()
    }

    fn of(plain: String) -> Result<Self, String> {
        let fault = Self::ALL.into_iter().find(|fault| fault.name() == plain);
        fault.ok_or_else(|| format!("{plain:?} is no fault of a disk"))
    }
}

/// In hexadecimal digits: other numbers end at 2^63.
impl Plain for Rng {
    type As = String;

    fn plain(&self) -> String {
        format!("{:016x}", self.state())
    }

    fn of(plain: String) -> Result<Self, String> {
        let state = u64::from_str_radix(&plain, 16);
        state.map(Self::new).map_err(|_| format!("{plain:?} is no generator's state"))
    }
}

/// What stands for itself.
macro_rules! itself {
    ($($type:ty),*) => {$(
        impl Plain for $type {
            type As = Self;

            fn plain(&self) -> Self {
                self.clone()
            }

            fn of(plain: Self) -> Result<Self, String> {
                Ok(plain)
            }
        }
    )*};
}

itself!(i64, u64, crate::adversary::Deed, crate::copy::Habit);

impl<T: Plain> Plain for Option<T> {
    type As = Option<T::As>;

    fn plain(&self) -> Self::As {
        self.as_ref().map(T::plain)
    }

    fn of(plain: Self::As) -> Result<Self, String> {
        plain.map(T::of).transpose()
    }
}

impl<T: Plain> Plain for Vec<T> {
    type As = Vec<T::As>;

    fn plain(&self) -> Self::As {
        self.iter().map(T::plain).collect()
    }

    fn of(plain: Self::As) -> Result<Self, String> {
        plain.into_iter().map(T::of).collect()
    }
}

impl<T: Plain + Ord> Plain for BTreeSet<T> {
    type As = Vec<T::As>;

    fn plain(&self) -> Self::As {
        self.iter().map(T::plain).collect()
    }

    fn of(plain: Self::As) -> Result<Self, String> {
        plain.into_iter().map(T::of).collect()
    }
}

impl<A: Plain, B: Plain> Plain for (A, B) {
    type As = (A::As, B::As);

    fn plain(&self) -> Self::As {
        (self.0.plain(), self.1.plain())
    }

    fn of(plain: Self::As) -> Result<Self, String> {
        Ok((A::of(plain.0)?, B::of(plain.1)?))
    }
}

impl<K: Plain + Ord, V: Plain> Plain for BTreeMap<K, V>
where
    K::As: Ord,
{
    type As = BTreeMap<K::As, V::As>;

    fn plain(&self) -> Self::As {
        self.iter().map(|(key, value)| (key.plain(), value.plain())).collect()
    }

    fn of(plain: Self::As) -> Result<Self, String> {
        plain.into_iter().map(|(key, value)| Ok((K::of(key)?, V::of(value)?))).collect()
    }
}

/// Faults with the time at which they strike, a table each.
pub mod dated {
    use super::{Deserialize, Deserializer, Fault, Serialize, Serializer, Time};

    #[derive(Deserialize, Serialize)]
    struct Dated {
        #[serde(with = "crate::plain")]
        at: Time,
        #[serde(flatten)]
        fault: Fault,
    }

    /// For `#[serde(with = "dated")]`.
    ///
    /// # Errors
    /// Those of the format.
    pub fn serialize<S: Serializer>(faults: &[(Time, Fault)], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(faults.iter().map(|(at, fault)| Dated { at: *at, fault: fault.clone() }))
    }

    /// For `#[serde(with = "dated")]`.
    ///
    /// # Errors
    /// Those of the format.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<(Time, Fault)>, D::Error> {
        let dated = Vec::<Dated>::deserialize(from)?;
        Ok(dated.into_iter().map(|Dated { at, fault }| (at, fault)).collect())
    }
}

impl Plan {
    /// The plan in short, a row for each part: what it is called, and what it holds.
    ///
    /// # Errors
    /// What the format cannot say: numbers from 2^63 on.
    pub fn rows(&self) -> Result<Vec<(String, Vec<String>)>, String> {
        let table = toml::Table::try_from(self).map_err(|error| error.to_string())?;
        let seating = Seating::new(self.n, &self.cast.twins);
        let (mut plain, mut parts) = (Vec::new(), Vec::new());
        for (name, value) in table {
            match value {
                toml::Value::Table(part) => {
                    let cells = part.iter().filter(|(name, value)| says_something(name, value));
                    let cells = cells.map(|(name, value)| cell(name, value));
                    parts.push((name.clone(), cells.collect()));
                }
                toml::Value::Array(_) => {}
                value => plain.push(cell(&name, &value)),
            }
        }
        parts.insert(0, ("plan".to_owned(), plain));
        parts.extend(self.faults.iter().map(|(at, fault)| {
            let fault = describe::fault(fault, |at| seating.name(at));
            ("fault".to_owned(), vec![format!("at {}  {fault}", at.plain())])
        }));
        Ok(parts)
    }

    /// The plan as text that people read and [`Plan::parse`] takes.
    ///
    /// # Errors
    /// What the format cannot say: numbers from 2^63 on.
    pub fn text(&self) -> Result<String, String> {
        toml::to_string(self).map_err(|error| error.to_string())
    }

    /// Reads what [`Plan::text`] wrote.
    ///
    /// # Errors
    /// What is wrong, and in which line.
    pub fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error: toml::de::Error| error.to_string())
    }
}

fn says_something(name: &str, value: &toml::Value) -> bool {
    match value {
        toml::Value::Boolean(said) => *said,
        // Where chance begins tells nobody anything.
        toml::Value::String(_) => name != "rng",
        toml::Value::Array(all) => !all.is_empty(),
        toml::Value::Table(all) => !all.is_empty(),
        _ => true,
    }
}

fn cell(name: &str, value: &toml::Value) -> String {
    format!("{} {}", name.replace('_', " "), in_words(value))
}

fn in_words(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Array(all) => all.iter().map(in_words).collect::<Vec<_>>().join(" "),
        toml::Value::Table(all) => {
            let pairs = all.iter().map(|(name, value)| format!("{name}: {}", in_words(value)));
            pairs.collect::<Vec<_>>().join("; ")
        }
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_read_as_it_was_written() {
        for seed in 0..300 {
            let plan = Plan::draw(seed, 4 + u16::try_from(seed % 7).unwrap());
            let text = plan.text().unwrap();
            assert_eq!(Plan::parse(&text), Ok(plan), "{text}");
        }
        let text = Plan::draw(1, 4).text().unwrap();
        for wrong in [text.replace("clients", "cleints"), text.replacen("ms\"", "\"", 1)] {
            let error = Plan::parse(&wrong).unwrap_err();
            assert!(error.contains("TOML parse error at line"), "{error}");
        }
    }

    #[test]
    fn times_are_written_to_the_nanosecond() {
        for (nanos, text) in
            [(0, "0ms"), (12_500_000, "12.5ms"), (1, "0.000001ms"), (7_000_000_000, "7000ms")]
        {
            assert_eq!(Time(nanos).plain(), text);
            assert_eq!(Time::of(text.to_owned()), Ok(Time(nanos)));
        }
        for wrong in ["", "ms", "1", "1s", ".5ms", "-1ms", "1.0000001ms", "99999999999999999ms"] {
            assert!(Time::of(wrong.to_owned()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn replicas_are_written_by_their_names() {
        let all = BTreeSet::from([ReplicaId(0), ReplicaId(12)]);
        assert_eq!(all.plain(), ["r0", "r12"]);
        assert_eq!(BTreeSet::of(all.plain()), Ok(all));
        assert!(ReplicaId::of("2".to_owned()).is_err());
    }
}
