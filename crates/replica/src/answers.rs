//! What an answer of a copy may be, and the answers that stand in for one.
//!
//! Everything here follows from the request and the answer alone, so that equal answers stay equal
//! at all replicas.

use crate::{
    execute::{Rules, key_reused, replay_table_full, signature_outside_window},
    outcome::Agreed,
};
use quorate_proof::{exchange, response_content, sha256};
use quorate_types::{Call, Digest, Exchange, Request, Response, Wire};

/// Bytes of answers to the calls of one slot, at most. They are kept durably with the report.
pub const SLOT_BYTES_MAX: usize = 8 << 20;

/// The name of an answer, under which it is agreed on and fetched.
pub(crate) fn digest(answer: &Response) -> Digest {
    sha256(&[&b"quorate-copy-answer/1"[..], &answer.to_wire()].concat())
}

/// What one answer of a copy comes to: its covered part, or a 502 of its own where no proof could
/// cover it.
#[must_use]
pub fn admit(rules: &Rules, request: &Request, answer: Response) -> Response {
    let mut answer = exchange::with_defaults(answer, &rules.coverage);
    if response_content(&request.method, &answer).is_empty() {
        answer.body.clear();
    }
    if answer.body.len() > rules.body_max {
        return TOO_LARGE.covered(rules);
    }
    let base = exchange::exchange_base(&rules.authority, request, &answer, &rules.coverage);
    if base.is_err() || is_own(rules, &answer) { UNCOVERABLE.covered(rules) } else { answer }
}

/// What a copy's answers to a slot's calls come to, which are bounded together.
pub(crate) fn admitted(
    rules: &Rules,
    calls: &[Call],
    answers: Vec<Option<Response>>,
) -> Vec<Option<Response>> {
    let mut bytes = 0_usize;
    let mut answers = answers.into_iter();
    let one = |call: &Call| {
        let answer = admit(rules, &call.request, answers.next().flatten()?);
        bytes = bytes.saturating_add(answer.body.len());
        Some(if bytes > SLOT_BYTES_MAX { TOO_LARGE.covered(rules) } else { answer })
    };
    calls.iter().map(one).collect()
}

/// The answer to a call that is void.
pub(crate) fn void(rules: &Rules, agreed: Agreed) -> Option<Response> {
    match agreed {
        Agreed::Answer(_) => None,
        Agreed::Disagree => Some(DISAGREE.covered(rules)),
        Agreed::Silent => Some(SILENT.covered(rules)),
    }
}

/// What a copy's answer comes to where the log says something else of the request; `None` where
/// the copy did as is recorded. Nothing can be told of an answer of several of which none was
/// agreed on, nor of one that was too long together with those beside it in its slot.
#[must_use]
pub fn departure(rules: &Rules, answer: Response, recorded: &Exchange) -> Option<Response> {
    let untold = [DISAGREE, TOO_LARGE].map(|it| it.covered(rules));
    let answer = admit(rules, &recorded.request, answer);
    (answer != recorded.response && !untold.contains(&recorded.response)).then_some(answer)
}

/// Whether the copies of a service executed a request to come to this answer. Who feeds a copy
/// from the log gives it these requests and no others.
#[must_use]
pub fn was_called(exchange: &Exchange) -> bool {
    let answer = &exchange.response;
    let never = [key_reused(), signature_outside_window(), replay_table_full(), SILENT.problem()];
    let problem = answer.field("content-type") == Some("application/problem+json");
    !(problem && never.iter().any(|own| own.status == answer.status && own.body == answer.body))
}

/// Whether an answer pretends to be one that no copy gives.
fn is_own(rules: &Rules, answer: &Response) -> bool {
    let mut own = vec![key_reused(), signature_outside_window(), replay_table_full()];
    own.extend([DISAGREE, SILENT, TOO_LARGE, UNCOVERABLE].map(StandIn::problem));
    own.into_iter()
        .map(|own| exchange::with_defaults(own, &rules.coverage))
        .any(|own| own.status == answer.status && own.body == answer.body)
}

/// A 502 that is recorded where no copy's answer can be.
#[derive(Clone, Copy)]
struct StandIn {
    code: &'static str,
    detail: &'static str,
}

impl StandIn {
    fn problem(self) -> Response {
        Response::problem(502, self.code, self.detail)
    }

    /// As it stands in the log.
    fn covered(self, rules: &Rules) -> Response {
        exchange::with_defaults(self.problem(), &rules.coverage)
    }
}

const DISAGREE: StandIn = StandIn {
    code: "copies-disagree",
    detail: "the service's copies executed the request, and too few of them gave the same answer",
};

const SILENT: StandIn = StandIn {
    code: "copies-silent",
    detail: "too few of the service's copies answered; the request counts as not executed",
};

const TOO_LARGE: StandIn =
    StandIn { code: "copy-too-large", detail: "the service gave a longer answer than is taken" };

const UNCOVERABLE: StandIn = StandIn {
    code: "copy-uncoverable",
    detail: "the service gave an answer that no proof can cover",
};
