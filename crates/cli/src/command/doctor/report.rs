//! What two copies' answers amount to.

use super::{
    cause::Cause,
    compare::{Difference, Place, Said, compare},
};
use quorate_types::Request;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    sync::Arc,
};

/// The fields whose loss no client notices, so that a configuration may drop them.
const SPARE_FIELDS: &[&str] = &["etag", "cache-control"];

/// Differences of one place and cause, in all requests.
struct Finding {
    /// The method and path of the first.
    request: String,
    place: Place,
    cause: Cause,
    /// Of the first.
    values: [String; 2],
    /// The numbers of the first and the last request, from 1, and how many there are beside the
    /// first.
    first: usize,
    last: usize,
    more: usize,
}

/// See the module.
pub(super) struct Report {
    requests: usize,
    /// How many were answered differently, and how many still are by the configuration.
    differing: usize,
    left: usize,
    findings: Vec<Finding>,
    canonical_json: bool,
    volatile_fields: Vec<String>,
}

impl Report {
    /// Compares the answers. Each copy was asked these requests, some of them several times.
    pub(super) fn new(
        requests: &[Arc<Request>],
        asked: &[usize],
        said: [&[Said]; 2],
        ports: [u16; 2],
    ) -> Self {
        let mut report = Self {
            requests: requests.len(),
            differing: 0,
            left: 0,
            findings: Vec::new(),
            canonical_json: false,
            volatile_fields: Vec::new(),
        };
        let (mut differing, mut left) = (BTreeSet::new(), BTreeSet::new());
        let mut places = BTreeMap::new();
        for ((asked, a), b) in asked.iter().zip(said[0]).zip(said[1]) {
            let Some(request) = requests.get(*asked) else { continue };
            for difference in compare(a, b, ports) {
                differing.insert(asked);
                if !is_configurable(&difference) {
                    left.insert(asked);
                }
                report.enter(asked + 1, request, difference, &mut places);
            }
        }
        (report.differing, report.left) = (differing.len(), left.len());
        report.volatile_fields.sort_unstable();
        report.volatile_fields.dedup();
        report
    }

    fn enter(
        &mut self,
        number: usize,
        request: &Request,
        difference: Difference,
        places: &mut BTreeMap<(Place, Cause), usize>,
    ) {
        if difference.cause == Cause::Spelling {
            self.canonical_json = true;
        } else if let (true, Place::Field(name)) = (is_configurable(&difference), &difference.place)
        {
            self.volatile_fields.push(name.clone());
        }
        let Difference { place, cause, values } = difference;
        let place = place.without_positions();
        let at = *places.entry((place.clone(), cause)).or_insert_with(|| {
            let request = format!("{} {}", request.method, request.path);
            let (first, last) = (number, number);
            self.findings.push(Finding { request, place, cause, values, first, last, more: 0 });
            self.findings.len() - 1
        });
        if let Some(finding) = self.findings.get_mut(at).filter(|finding| finding.last != number) {
            finding.last = number;
            finding.more += 1;
        }
    }

    /// Why the copies cannot stand behind one quorum; `None` when they answered alike.
    pub(super) fn verdict(&self) -> Option<String> {
        let Self { requests, differing, .. } = self;
        (*differing > 0)
            .then(|| format!("{differing} of {requests} requests were answered differently"))
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        if self.differing == 0 {
            return format!("same: 2 copies answered {} requests alike", self.requests);
        }
        for finding in &self.findings {
            let Finding { request, place, values: [a, b], first, more, .. } = finding;
            let more = if *more > 0 { format!(" and {more} more") } else { String::new() };
            let _ = writeln!(
                out,
                "{request}: {place} differs (request {first}{more})\n  {a}\n  {b}\n  -> {}",
                finding.cause.cure()
            );
        }
        if let Some(configuration) = self.configuration() {
            let _ = writeln!(
                out,
                "\nfor `quorate init` or `quorate dev`, which tell clients by the policy:\n\n  {}\n\n\
                 and so in each quorate.toml:\n\n{configuration}\n\
                 with it, {} of {} requests are answered differently",
                self.options().join(" "),
                self.left,
                self.requests
            );
        }
        out
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
        let findings = self.findings.iter().map(|finding| {
            json!({
                "request": finding.request,
                "number": finding.first,
                "more": finding.more,
                "place": finding.place.to_string(),
                "cause": finding.cause,
                "values": finding.values,
                "cure": finding.cause.cure(),
            })
        });
        json!({
            "requests": self.requests,
            "differing": self.differing,
            "differing_when_configured": self.left,
            "findings": findings.collect::<Vec<_>>(),
            "configuration": self.configuration(),
            "options": self.options(),
        })
    }

    /// The same, as options of `quorate init`.
    fn options(&self) -> Vec<&str> {
        let spelling = self.canonical_json.then_some("--canonical-json");
        let fields = self.volatile_fields.iter().flat_map(|name| ["--volatile-field", name]);
        spelling.into_iter().chain(fields).collect()
    }

    /// What makes some of it equal, as a part of `quorate.toml`.
    fn configuration(&self) -> Option<String> {
        let mut out = String::from("[copy]\n");
        if self.canonical_json {
            out.push_str("canonical_json = true\n");
        }
        if !self.volatile_fields.is_empty() {
            let _ = writeln!(out, "volatile_fields = {}", json!(self.volatile_fields));
        }
        (self.canonical_json || !self.volatile_fields.is_empty()).then_some(out)
    }
}

/// Whether a replica can be told to overlook it.
fn is_configurable(difference: &Difference) -> bool {
    match &difference.place {
        Place::Field(name) => SPARE_FIELDS.contains(&name.as_str()),
        _ => difference.cause == Cause::Spelling,
    }
}
