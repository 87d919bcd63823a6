//! `quorate version`.

use crate::{
    console::Console,
    failure::{Exit, Failure},
};
use serde::Serialize;

/// Arguments.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  quorate version\n  quorate version --verbose --output json")]
pub(crate) struct Version {
    /// Tell also the target, the profile, and the formats and engines that it knows
    #[arg(long, short)]
    verbose: bool,
}

#[derive(Serialize)]
struct Build {
    version: &'static str,
    target: String,
    profile: &'static str,
    engines: &'static [&'static str],
    services: &'static [&'static str],
    formats: &'static [&'static str],
}

impl Version {
    /// Prints it.
    pub(crate) fn run(self, console: &Console) -> Result<Exit, Failure> {
        let build = Build {
            version: env!("CARGO_PKG_VERSION"),
            target: format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
            profile: if cfg!(debug_assertions) { "debug" } else { "release" },
            engines: &["pbft"],
            services: &quorate_service::BUILTIN,
            formats: &[
                "quorate-exchange/1",
                "c2sp.org/tlog-proof@v1",
                "c2sp.org/tlog-checkpoint",
                "c2sp.org/tlog-tiles",
                "c2sp.org/tlog-policy",
            ],
        };
        match (console.is_json(), self.verbose) {
            (true, true) => console.json(&build),
            (true, false) => console.json(&serde_json::json!({ "version": build.version })),
            (false, false) => console.line(format_args!("quorate {}", build.version)),
            (false, true) => console.line(format_args!(
                "quorate {}\ntarget:   {} ({})\nengines:  {}\nservices: {}\nformats:  {}",
                build.version,
                build.target,
                build.profile,
                build.engines.join(", "),
                build.services.join(", "),
                build.formats.join(", ")
            )),
        }
        Ok(Exit::Done)
    }
}
