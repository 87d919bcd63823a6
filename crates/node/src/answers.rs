//! What proofs do not cover of a service's answers, and what they cover beyond the usual: rules
//! that all members share, and that clients find in the policy they pin.
//!
//! They stand in the policy as comments, which the policy's own grammar passes over, so that every
//! verifier reads such a policy as any other. One rule a line, each in exactly one form:
//!
//! ```text
//! # quorate-answers/1 not-covered json-spelling
//! # quorate-answers/1 not-covered field NAME
//! # quorate-answers/1 covered request-field NAME
//! # quorate-answers/1 covered response-field NAME
//! ```
//!
//! The policy's hash is entry 0 of the log, so the rules are fixed with it.

use quorate_gateway::AnswerStatus;
use quorate_proof::Coverage;
use std::{collections::BTreeSet, fmt};

/// What a line about answers begins with, in whatever version.
const MARK: &str = "# quorate-answers/";

/// The version that this build knows.
const VERSION: &str = "1";

const SPELLING: &str = "not-covered json-spelling";
const VOLATILE: &str = "not-covered field ";
const REQUEST: &str = "covered request-field ";
const RESPONSE: &str = "covered response-field ";

/// The most further fields on each side.
const FIELDS_MAX: usize = 32;

/// See the module.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct AnswerRules {
    /// JSON contents are put into one spelling: how a copy spelled them is not covered.
    pub canonical_json: bool,
    /// Response fields that are dropped: neither covered nor seen by clients.
    pub volatile_fields: BTreeSet<String>,
    /// Further request fields that are covered, in their order.
    pub request_fields: Vec<String>,
    /// Further response fields that are covered, in their order.
    pub response_fields: Vec<String>,
}

/// A rule that cannot be kept, or a line about answers that is none.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AnswerRulesError {
    /// A line that begins as one about answers, and is in none of its forms.
    #[error("line {0} begins as a rule about answers, and is none that this build knows")]
    Line(usize),
    /// A rule that stood before.
    #[error("line {0}: a rule about answers that stood before")]
    Twice(usize),
    /// More fields than a rule may name.
    #[error("{0} fields are named; at most {FIELDS_MAX} may be")]
    TooMany(usize),
    /// Further fields that cannot be covered.
    #[error(
        "{0}: further covered fields are names in lower case, each once, not covered otherwise"
    )]
    Covered(String),
    /// A field that is dropped anyway.
    #[error("{0}: only a response field that is covered otherwise, in lower case, can be volatile")]
    Volatile(String),
}

impl AnswerRulesError {
    /// A stable code that `quorate explain` knows.
    #[must_use]
    pub fn code(&self) -> &'static str {
        "policy-answers"
    }
}

impl AnswerRules {
    /// The rules that stand in a policy; none where it says nothing.
    ///
    /// # Errors
    /// [`AnswerRulesError`]. A rule that is not understood is never passed over: what it drops
    /// would then be taken for a difference, or the other way round.
    pub fn of_policy(text: &str) -> Result<Self, AnswerRulesError> {
        let mut rules = Self::default();
        for (number, line) in (1..).zip(text.lines()) {
            let Some(rest) = line.strip_prefix(MARK) else { continue };
            let wrong = || AnswerRulesError::Line(number);
            let rule = rest.strip_prefix(VERSION).and_then(|it| it.strip_prefix(' '));
            if !rules.enter(rule.ok_or_else(wrong)?).ok_or_else(wrong)? {
                return Err(AnswerRulesError::Twice(number));
            }
        }
        rules.check()?;
        Ok(rules)
    }

    /// Adds a rule. `None` if it is none, `false` if it stood before.
    fn enter(&mut self, rule: &str) -> Option<bool> {
        let push = |fields: &mut Vec<String>, name: &str| {
            let is_new = fields.iter().all(|field| field != name);
            fields.push(name.to_owned());
            is_new
        };
        Some(if rule == SPELLING {
            !std::mem::replace(&mut self.canonical_json, true)
        } else if let Some(name) = rule.strip_prefix(VOLATILE) {
            self.volatile_fields.insert(name.to_owned())
        } else if let Some(name) = rule.strip_prefix(REQUEST) {
            push(&mut self.request_fields, name)
        } else {
            push(&mut self.response_fields, rule.strip_prefix(RESPONSE)?)
        })
    }

    /// Whether such rules can be kept.
    ///
    /// # Errors
    /// [`AnswerRulesError`].
    pub fn check(&self) -> Result<(), AnswerRulesError> {
        let most = [self.request_fields.len(), self.response_fields.len()];
        if let Some(many) = most.into_iter().find(|count| *count > FIELDS_MAX) {
            return Err(AnswerRulesError::TooMany(many));
        }
        let coverage = self.coverage();
        if coverage.check().is_err() {
            let names = [&self.request_fields[..], &self.response_fields].concat();
            return Err(AnswerRulesError::Covered(names.join(", ")));
        }
        let is_kept = |name: &str| coverage.response_fields().any(|kept| kept == name);
        let mut volatile = self.volatile_fields.iter();
        match volatile.find(|name| *name == "quorate-covers" || !is_kept(name)) {
            Some(name) => Err(AnswerRulesError::Volatile(name.clone())),
            None => Ok(()),
        }
    }

    /// Which fields are covered.
    #[must_use]
    pub fn coverage(&self) -> Coverage {
        Coverage { request: self.request_fields.clone(), response: self.response_fields.clone() }
    }

    /// The lines for a policy; empty where there are no rules.
    #[must_use]
    pub fn policy_lines(&self) -> String {
        self.rules().map(|rule| format!("{MARK}{VERSION} {rule}\n")).collect()
    }

    /// The same for programs that ask.
    #[must_use]
    pub fn status(&self) -> AnswerStatus {
        AnswerStatus {
            canonical_json: self.canonical_json,
            volatile_fields: self.volatile_fields.iter().cloned().collect(),
            request_fields: self.request_fields.clone(),
            response_fields: self.response_fields.clone(),
        }
    }

    fn rules(&self) -> impl Iterator<Item = String> + '_ {
        let spelling = self.canonical_json.then(|| SPELLING.to_owned());
        let of = |start: &'static str| move |name: &String| format!("{start}{name}");
        spelling
            .into_iter()
            .chain(self.volatile_fields.iter().map(of(VOLATILE)))
            .chain(self.request_fields.iter().map(of(REQUEST)))
            .chain(self.response_fields.iter().map(of(RESPONSE)))
    }
}

impl From<&AnswerStatus> for AnswerRules {
    fn from(status: &AnswerStatus) -> Self {
        Self {
            canonical_json: status.canonical_json,
            volatile_fields: status.volatile_fields.iter().cloned().collect(),
            request_fields: status.request_fields.clone(),
            response_fields: status.response_fields.clone(),
        }
    }
}

impl fmt::Display for AnswerRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rules: Vec<String> = self.rules().collect();
        f.write_str(if rules.is_empty() { "nothing" } else { "" })?;
        f.write_str(&rules.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> AnswerRules {
        AnswerRules {
            canonical_json: true,
            volatile_fields: ["etag", "x-total"].map(str::to_owned).into(),
            request_fields: vec!["x-api-key".to_owned()],
            response_fields: vec!["x-total".to_owned(), "x-page".to_owned()],
        }
    }

    #[test]
    fn what_was_written_into_a_policy_reads_back() {
        let text = "# quorate-answers/1 not-covered json-spelling\n\
                    # quorate-answers/1 not-covered field etag\n\
                    # quorate-answers/1 not-covered field x-total\n\
                    # quorate-answers/1 covered request-field x-api-key\n\
                    # quorate-answers/1 covered response-field x-total\n\
                    # quorate-answers/1 covered response-field x-page\n";
        assert_eq!(rules().policy_lines(), text);
        let among = format!("# another comment\n{text}# quorate answers nothing\nlog x\n");
        assert_eq!(AnswerRules::of_policy(&among), Ok(rules()));
        assert_eq!(AnswerRules::of_policy("log x\n"), Ok(AnswerRules::default()));
        assert_eq!(AnswerRules::default().policy_lines(), "");
        assert_eq!(AnswerRules::default().to_string(), "nothing");
        assert_eq!(AnswerRules::from(&rules().status()), rules());
        let said = rules().to_string();
        assert!(said.starts_with("not-covered json-spelling, not-covered field etag"), "{said}");
    }

    #[test]
    fn a_line_that_is_not_understood_is_never_passed_over() {
        let error = |rule: &str| {
            let text = format!("# a comment\n# quorate-answers/{rule}\n");
            AnswerRules::of_policy(&text).unwrap_err()
        };
        for rule in [
            "2 not-covered json-spelling",
            "1",
            "1  not-covered json-spelling",
            "1 not-covered json-spelling ",
            "1 not-covered",
            "1 covered field etag",
        ] {
            assert_eq!(error(rule), AnswerRulesError::Line(2), "{rule}");
        }
        let twice = "1 not-covered field etag\n# quorate-answers/1 not-covered field etag";
        assert_eq!(error(twice), AnswerRulesError::Twice(3));
        let wrong = AnswerRulesError::Volatile("date".to_owned());
        assert_eq!(error("1 not-covered field date"), wrong);
        let wrong = AnswerRulesError::Covered("etag".to_owned());
        assert_eq!(error("1 covered response-field etag"), wrong);
        let wrong = AnswerRulesError::Volatile(String::new());
        assert_eq!(error("1 not-covered field "), wrong);
    }
}
