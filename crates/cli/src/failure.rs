//! How a command ends.

use std::{borrow::Cow, fmt, process::ExitCode};

/// The exit codes that scripts rely on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Exit {
    /// 0: done.
    Done,
    /// 1: failed, or refused.
    Failed,
    /// 2: the command line or a file that it names cannot be used.
    Usage,
    /// 3: an answer, a proof, a log or a policy did not verify.
    NotVerified,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Done => Self::SUCCESS,
            Exit::Failed => Self::from(1),
            Exit::Usage => Self::from(2),
            Exit::NotVerified => Self::from(3),
        }
    }
}

/// Why a command did not do what it was asked: `error[CODE]: message`, and what might help.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Failure {
    /// How the process ends.
    pub(crate) exit: Exit,
    /// A stable code that `quorate explain` knows, unless a server made it up.
    pub(crate) code: Cow<'static, str>,
    /// One sentence, without a full stop.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) hint: Option<String>,
}

impl Failure {
    /// Exit 1.
    pub(crate) fn failed(code: impl Into<Cow<'static, str>>, message: impl fmt::Display) -> Self {
        Self { exit: Exit::Failed, code: code.into(), message: message.to_string(), hint: None }
    }

    /// Exit 2.
    pub(crate) fn usage(code: impl Into<Cow<'static, str>>, message: impl fmt::Display) -> Self {
        Self { exit: Exit::Usage, ..Self::failed(code, message) }
    }

    /// Exit 3.
    pub(crate) fn not_verified(
        code: impl Into<Cow<'static, str>>,
        message: impl fmt::Display,
    ) -> Self {
        Self { exit: Exit::NotVerified, ..Self::failed(code, message) }
    }

    /// Says what to do about it.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// A replica's configuration cannot be used: exit 2.
    pub(crate) fn config(path: &std::path::Path, error: &quorate_node::ConfigError) -> Self {
        match error {
            // It names the file itself.
            quorate_node::ConfigError::Unreadable { .. } => Self::usage(error.code(), error),
            _ => Self::usage(error.code(), format_args!("{}: {error}", path.display())),
        }
    }

    /// A file could not be read or written: exit 1.
    pub(crate) fn file(path: &std::path::Path, error: &std::io::Error) -> Self {
        Self::failed("file", format!("{}: {error}", path.display()))
    }
}
