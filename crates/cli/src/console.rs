//! What goes to standard output and standard error.

use crate::failure::Failure;
use serde::Serialize;
use std::io::{IsTerminal as _, Write as _};

/// How results are written.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Standard output for results, standard error for what is said about them.
///
/// A reader that went away (`quorate audit | head`) is not an error: what can no longer be written
/// is dropped.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Console {
    format: Format,
}

impl Console {
    /// A console that writes in this format.
    pub(crate) fn new(format: Format) -> Self {
        Self { format }
    }

    /// Whether results are JSON.
    pub(crate) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Whether a person watches standard error, so that progress is worth showing.
    pub(crate) fn shows_progress(&self) -> bool {
        std::io::stderr().is_terminal()
    }

    /// Writes bytes of a result as they are.
    pub(crate) fn bytes(&self, bytes: &[u8]) {
        let mut out = std::io::stdout().lock();
        let _ = out.write_all(bytes).and_then(|()| out.flush());
    }

    /// Writes a line of a result, for people.
    pub(crate) fn line(&self, text: impl std::fmt::Display) {
        self.bytes(format!("{text}\n").as_bytes());
    }

    /// Writes a result as one line of JSON.
    pub(crate) fn json(&self, value: &impl Serialize) {
        match serde_json::to_string(value) {
            Ok(text) => self.line(text),
            Err(error) => self.note(format_args!("the result has no JSON form: {error}")),
        }
    }

    /// Says something about a result, on standard error.
    pub(crate) fn note(&self, text: impl std::fmt::Display) {
        let _ = writeln!(std::io::stderr().lock(), "{text}");
    }

    /// Says why a command failed: on standard error, as JSON where results are.
    pub(crate) fn failure(&self, failure: &Failure) {
        if self.is_json() {
            self.note(serde_json::json!({ "error": {
                "code": failure.code,
                "message": failure.message,
                "hint": failure.hint,
            }}));
            return;
        }
        self.note(format_args!("error[{}]: {}", failure.code, failure.message));
        if let Some(hint) = &failure.hint {
            self.note(format_args!("hint: {hint}"));
        }
    }
}
