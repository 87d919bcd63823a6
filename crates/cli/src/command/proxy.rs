//! `quorate proxy`: unchanged clients on one side, verified answers from replicas on the other.
//!
//! | file | holds |
//! |---|---|
//! | [`upstream`] | asks gateways, believes proofs, and says why there is no answer |
//! | [`standing`] | which gateway is asked first, and what each of them did |
//!
//! The side that clients see is `quorate_gateway::relay`.

mod standing;
mod upstream;

use super::{curl::parse_url, start::log, stop_signal};
use crate::{
    console::Console,
    failure::{Exit, Failure},
    trust,
};
use quorate_client::{Authorities, Client, Endpoint, Options, Pins};
use quorate_gateway::{GatewayConfig, Limits, Relay};
use quorate_proof::Policy;
use serde_json::json;
use standing::Standing;
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::net::TcpListener;
use upstream::Verified;

/// Arguments.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    quorate proxy --policy policy.txt https://a.example https://b.example\n  \
    quorate proxy --policy policy.txt --listen 127.0.0.1:9000 http://127.0.0.1:740{0,1,2,3}\n  \
    curl http://127.0.0.1:8400/kv/greeting\n\n\
    Clients use the proxy's URL in place of the service's and need no change: what they get was\n\
    verified, and holds nothing that no proof covers. Gateways are asked in the order given; one\n\
    that is down, slow, busy or lying is passed over, and asked later again. docs/proxy.md says\n\
    what becomes of every part of a request. SIGTERM lets open requests end.")]
pub(crate) struct Proxy {
    #[command(flatten)]
    policy: trust::PolicyArgument,
    /// Where clients reach the proxy
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:8400")]
    listen: SocketAddr,
    /// Listen beyond the loopback too, without TLS: whoever is on the way can then change what the
    /// proxy verified
    #[arg(long)]
    insecure_http: bool,
    /// Another authority under which clients reach the proxy (`host:port`, as in `Host`)
    #[arg(long, value_name = "AUTHORITY")]
    alias: Vec<String>,
    /// A web origin whose pages may use the proxy from elsewhere; `*` for all
    #[arg(long, value_name = "ORIGIN")]
    origin: Vec<String>,
    /// Pass on no answer whose agreed time is more seconds ago than this
    #[arg(long, value_name = "SECONDS")]
    max_age: Option<u64>,
    /// Give up after so many seconds, retries included
    #[arg(long, value_name = "SECONDS", default_value_t = 25)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=3600))]
    max_time: u64,
    /// Ask another gateway after so many seconds without an answer
    #[arg(long, value_name = "SECONDS", default_value_t = 6)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=3600))]
    attempt_time: u64,
    /// How many requests may be in progress; twice as many connections may be open
    #[arg(long, value_name = "N", default_value_t = 256)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=65_536))]
    concurrency: u32,
    /// The largest content of a request that is taken, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 20)]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=64 << 20))]
    body_max: u32,
    /// Gateways of the service, the one to ask first before the others
    #[arg(value_name = "URL", required = true)]
    gateways: Vec<String>,
}

impl Proxy {
    /// Serves until it is told to stop.
    pub(crate) fn run(self, console: &Console) -> Result<Exit, Failure> {
        self.check_listen()?;
        let endpoints = self.endpoints()?;
        let policy = Arc::new(self.find_policy(&endpoints)?);
        let authorities = self.policy.authorities();
        if endpoints.iter().any(Endpoint::is_by_tls) {
            authorities.check().map_err(|error| {
                Failure::failed(error.code(), &error).hint(trust::way_out(&error))
            })?;
        }
        log(console.is_json());
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let runtime = runtime.map_err(|error| runtime_failure(&error))?;
        runtime.block_on(self.serve(endpoints, policy, authorities, console))?;
        Ok(Exit::Done)
    }

    async fn serve(
        &self,
        endpoints: Vec<Endpoint>,
        policy: Arc<Policy>,
        authorities: Authorities,
        console: &Console,
    ) -> Result<(), Failure> {
        let listener = TcpListener::bind(self.listen).await.map_err(|error| {
            let in_use = error.kind() == std::io::ErrorKind::AddrInUse;
            let code = if in_use { "port-in-use" } else { "listen" };
            Failure::failed(code, format!("cannot listen on {}: {error}", self.listen))
        })?;
        let address = listener.local_addr().map_err(|error| runtime_failure(&error))?;
        let stop = stop_signal()?;
        let options = Options {
            attempt: Duration::from_secs(self.attempt_time.min(self.max_time)),
            deadline: Duration::from_secs(self.max_time),
            authorities,
            ..Options::default()
        };
        let standing = Arc::new(Standing::new(endpoints.clone(), options.attempt));
        let client = Client::new(policy.clone(), endpoints.clone(), options);
        let upstream = Verified::new(client, standing, self.max_age);
        let relay = Relay::new(&self.config(address, &policy), upstream.clone())
            .map_err(|error| Failure::usage("proxy-setting", error))?;
        upstream.count(relay.counters());
        say_ready(console, address, &endpoints, &policy);
        relay.serve(listener, stop).await;
        Ok(())
    }

    fn config(&self, address: SocketAddr, policy: &Policy) -> GatewayConfig {
        let name = policy.origin().name.clone();
        let concurrency = usize::try_from(self.concurrency).unwrap_or(usize::MAX);
        let body_bytes_max = usize::try_from(self.body_max).unwrap_or(usize::MAX);
        let limits = Limits {
            body_bytes_max,
            // Room for the fields that the proxy adds, below a gateway's own limits.
            head_bytes_max: 15 << 10,
            header_lines_max: 96,
            connections_max: concurrency.saturating_mul(2),
            in_flight_max: concurrency,
            // Behind a local proxy one address is as good as everybody.
            in_flight_per_client_max: concurrency,
            in_flight_body_bytes_max: (64 << 20).max(body_bytes_max),
            ..Limits::default()
        };
        GatewayConfig {
            aliases: aliases(address, &name, &self.alias),
            cors_origins: self.origin.clone(),
            limits,
            ..GatewayConfig::new(name)
        }
    }

    fn check_listen(&self) -> Result<(), Failure> {
        if self.listen.ip().is_loopback() || self.insecure_http {
            return Ok(());
        }
        let message = format!("{} can be reached from elsewhere, without TLS", self.listen);
        Err(Failure::usage("insecure-http", message)
            .hint("listen on 127.0.0.1, or say --insecure-http where the network is trusted"))
    }

    fn endpoints(&self) -> Result<Vec<Endpoint>, Failure> {
        let mut endpoints = Vec::with_capacity(self.gateways.len());
        for text in &self.gateways {
            let url = parse_url(text)?;
            if url.path != "/" || url.query != "?" {
                let message = format!("`{text}` names more than a gateway");
                return Err(Failure::usage("proxy-url", message)
                    .hint("a client's path and query are passed on as they are"));
            }
            if !endpoints.contains(&url.endpoint) {
                endpoints.push(url.endpoint);
            }
        }
        Ok(endpoints)
    }

    /// The policy that the caller named, or one that was pinned: never one that a gateway serves.
    fn find_policy(&self, endpoints: &[Endpoint]) -> Result<Policy, Failure> {
        if let Some(path) = self.policy.given() {
            return trust::read_policy(&path);
        }
        let pins = Pins::of_user().map_err(trust::pin_failure)?;
        for endpoint in endpoints {
            if let Some(policy) = pins.find(endpoint).map_err(trust::pin_failure)? {
                return Ok(policy);
            }
        }
        Err(Failure::usage("policy-needed", "there is no policy to verify by")
            .hint("name it by --policy or $QUORATE_POLICY"))
    }
}

/// The values of `Host` that mean this proxy: those that lead to it from this machine, the
/// service's own name, which is one already, with the proxy's port, and what the caller adds.
fn aliases(address: SocketAddr, name: &str, more: &[String]) -> Vec<String> {
    let port = address.port();
    let mut hosts = vec![address.to_string(), format!("{name}:{port}")];
    for local in ["127.0.0.1", "[::1]", "localhost"] {
        hosts.push(format!("{local}:{port}"));
        if port == 80 {
            hosts.push(local.to_owned());
        }
    }
    hosts.extend(more.iter().cloned());
    hosts
}

fn say_ready(console: &Console, address: SocketAddr, gateways: &[Endpoint], policy: &Policy) {
    let url = format!("http://{address}");
    let metrics = format!("{url}/.well-known/quorate/proxy/metrics");
    let gateways: Vec<_> = gateways.iter().map(ToString::to_string).collect();
    if console.is_json() {
        console.json(&json!({
            "event": "ready",
            "url": url,
            "metrics": metrics,
            "gateways": gateways,
            "origin": policy.origin_text(),
            "development": policy.is_development(),
        }));
        return;
    }
    let keys = if policy.is_development() { " (development keys)" } else { "" };
    console.line(format_args!(
        "ready: {url} for {}{keys}\ngateways   {}\nmetrics    {metrics}\n\
         stop       Ctrl-C",
        policy.origin().name,
        gateways.join(" "),
    ));
}

fn runtime_failure(error: &std::io::Error) -> Failure {
    Failure::failed("runtime", error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_answers_to_the_names_that_lead_to_it() {
        let of = |text: &str| aliases(text.parse().unwrap(), "shop.example", &[]);
        for host in ["127.0.0.1:8400", "localhost:8400", "[::1]:8400", "shop.example:8400"] {
            assert!(of("127.0.0.1:8400").iter().any(|alias| alias == host), "{host}");
        }
        assert!(of("[::1]:80").iter().any(|alias| alias == "localhost"));
        let more = aliases("0.0.0.0:1".parse().unwrap(), "n", &["proxy.example".to_owned()]);
        assert!(more.iter().any(|alias| alias == "proxy.example"));
    }
}
