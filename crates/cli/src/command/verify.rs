//! `quorate verify`: an offline check of a saved exchange, or of evidence against a replica.

mod evidence;

use crate::{
    console::Console,
    failure::{Exit, Failure},
    trust, verdict,
};
use quorate_proof::{Policy, Strict, Verdict, parse_request, parse_response, verify};
use std::{
    fs,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

/// Arguments.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    quorate curl --save x http://127.0.0.1:7400/kv/greeting\n  \
    quorate verify --policy policy.txt --request x/request.http --response x/response.http\n  \
    quorate status --output json http://127.0.0.1:7400 | quorate verify --evidence -\n  \
    quorate verify --policy policy.txt --config r0/quorate.toml --evidence evidence.json\n\n\
    Nothing is asked of the network. Whatever is wrong inside these files is exit 3.")]
pub(crate) struct Verify {
    #[command(flatten)]
    policy: PolicyFile,
    /// The request, in HTTP/1.1 text form
    #[arg(long, value_name = "FILE", required_unless_present = "evidence", requires = "response")]
    request: Option<PathBuf>,
    /// The response, in HTTP/1.1 text form
    #[arg(long, value_name = "FILE", required_unless_present = "evidence", requires = "request")]
    response: Option<PathBuf>,
    /// Refuse an answer whose agreed time is more seconds ago than this
    #[arg(long, value_name = "SECONDS")]
    max_age: Option<u64>,
    /// Evidence against a replica instead of an exchange: what `quorate status --output json`
    /// prints, or one of the objects in its `divergent`; - reads standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["request", "response", "max_age"])]
    evidence: Option<PathBuf>,
    /// A quorate.toml of the cluster, trusted as the policy is: evidence that consists of votes is
    /// checked by the vote keys in it
    #[arg(long, value_name = "FILE", requires = "evidence")]
    config: Option<PathBuf>,
}

/// The policy of a check without a network.
#[derive(clap::Args)]
struct PolicyFile {
    /// The policy to believe; else $QUORATE_POLICY
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
}

impl Verify {
    /// Verifies.
    pub(crate) fn run(self, console: &Console) -> Result<Exit, Failure> {
        if let Some(path) = &self.evidence {
            return evidence::run(console, &self.policy, path, self.config.as_deref());
        }
        let (Some(request), Some(response)) = (&self.request, &self.response) else {
            return Err(Failure::usage("arguments", "neither an exchange nor evidence was named"));
        };
        match self.verdict(request, response) {
            Ok((verdict, policy)) => {
                let report = verdict::Report::new(&verdict, policy.origin_text(), false);
                if console.is_json() {
                    console.json(&report);
                } else {
                    console.line(report.line());
                }
                Ok(Exit::Done)
            }
            Err(failure) => {
                if console.is_json() && failure.exit == Exit::NotVerified {
                    console.json(&unverified(&failure));
                }
                Err(failure)
            }
        }
    }

    fn verdict(&self, request: &Path, response: &Path) -> Result<(Verdict, Policy), Failure> {
        let policy = self.policy.read()?;
        let (asked, answered) = (read(request)?, read(response)?);
        let sent = parse_request(&asked).map_err(|error| within(request, error.code(), &error))?;
        let received = parse_response(&answered, &sent.method)
            .map_err(|error| within(response, error.code(), &error))?;
        let verdict = verify(&policy, &Strict, &sent, &received)
            .map_err(|error| Failure::not_verified(error.code(), &error))?;
        check_age(&verdict, self.max_age)?;
        Ok((verdict, policy))
    }
}

impl PolicyFile {
    fn read(&self) -> Result<Policy, Failure> {
        let argument = trust::PolicyArgument { policy: self.policy.clone(), ..Default::default() };
        let path = argument.given().ok_or_else(|| {
            Failure::usage("policy-needed", "there is no policy to verify by")
                .hint("name it by --policy or $QUORATE_POLICY")
        })?;
        trust::read_policy(&path)
    }
}

/// The JSON of what is not verified.
pub(crate) fn unverified(failure: &Failure) -> serde_json::Value {
    serde_json::json!({
        "verified": false,
        "code": failure.code,
        "reason": failure.message,
    })
}

/// Refuses what was agreed longer ago than the caller accepts.
pub(crate) fn check_age(verdict: &Verdict, max_age_s: Option<u64>) -> Result<(), Failure> {
    let Some(most_s) = max_age_s else { return Ok(()) };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let age_s = now.as_secs().saturating_sub(verdict.facts.time.seconds());
    if age_s <= most_s {
        return Ok(());
    }
    let message = format!("the answer was agreed {age_s} s ago; at most {most_s} s are accepted");
    Err(Failure::not_verified("too-old", message)
        .hint("a gateway may replay old answers; ask another, and see whether the clock is right"))
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|error| Failure::file(path, &error))
}

fn within(path: &Path, code: &'static str, error: &dyn std::fmt::Display) -> Failure {
    Failure::not_verified(code, format!("{}: {error}", path.display()))
}
