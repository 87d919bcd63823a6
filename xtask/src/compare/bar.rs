//! What is to be reached, and whether it is.

use serde_json::{Value, json};
use std::fmt;

/// A number that is to be reached.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Bar {
    pub(crate) what: String,
    pub(crate) is: f64,
    wanted: f64,
    stretch: Option<f64>,
    /// Whether less is better.
    below: bool,
}

impl Bar {
    /// One that is met by so much, or more.
    pub(crate) fn at_least(what: impl Into<String>, is: f64, wanted: f64) -> Self {
        Self { what: what.into(), is, wanted, stretch: None, below: false }
    }

    /// One that is met by so much, or less.
    pub(crate) fn at_most(what: impl Into<String>, is: f64, wanted: f64) -> Self {
        Self { below: true, ..Self::at_least(what, is, wanted) }
    }

    /// The same, with what one would like better still.
    pub(crate) fn stretch(self, stretch: f64) -> Self {
        Self { stretch: Some(stretch), ..self }
    }

    /// Whether it is met. What is no number meets nothing.
    pub(crate) fn is_met(&self) -> bool {
        self.reaches(self.wanted)
    }

    fn reaches(&self, mark: f64) -> bool {
        if self.below { self.is <= mark } else { self.is >= mark }
    }

    /// For programs.
    pub(crate) fn json(&self) -> Value {
        json!({
            "what": self.what, "is": self.is, "wanted": self.wanted, "stretch": self.stretch,
            "met": self.is_met(),
        })
    }
}

impl fmt::Display for Bar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, is, wanted, stretch, below } = self;
        let verdict = match (self.is_met(), stretch) {
            (true, Some(stretch)) if self.reaches(*stretch) => "met, and the stretch",
            (true, _) => "met",
            (false, _) => "missed",
        };
        let side = if *below { "at most" } else { "at least" };
        write!(f, "bar: {what}: {is:.2}, wanted {side} {wanted}: {verdict}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_met_from_its_own_side() {
        let more = Bar::at_least("more", 6.0, 5.0).stretch(10.0);
        assert_eq!(more.to_string(), "bar: more: 6.00, wanted at least 5: met");
        let less = Bar::at_most("less", 0.1, 0.25).stretch(0.1);
        assert!(less.to_string().ends_with(": met, and the stretch"));
        assert!(!Bar::at_most("errors", 1.0, 0.0).is_met());
        assert!(!Bar::at_least("nothing by nothing", f64::NAN, 0.5).is_met());
    }
}
