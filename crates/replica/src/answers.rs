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
pub(crate) const SLOT_BYTES_MAX: usize = 8 << 20;

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
        return too_large(rules);
    }
    let base = exchange::exchange_base(&rules.authority, request, &answer, &rules.coverage);
    if base.is_err() || is_own(rules, &answer) { uncoverable(rules) } else { answer }
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
        Some(if bytes > SLOT_BYTES_MAX { too_large(rules) } else { answer })
    };
    calls.iter().map(one).collect()
}

/// The answer to a call that is void.
pub(crate) fn void(rules: &Rules, agreed: Agreed) -> Option<Response> {
    match agreed {
        Agreed::Answer(_) => None,
        Agreed::Disagree => Some(disagree(rules)),
        Agreed::Silent => Some(silent(rules)),
    }
}

/// Whether a copy that gave this answer did what the log says of the request: it gave the answer
/// that was agreed on, or one of several of which none was.
#[must_use]
pub fn is_as_recorded(rules: &Rules, answer: Response, recorded: &Exchange) -> bool {
    admit(rules, &recorded.request, answer) == recorded.response
        || recorded.response == disagree(rules)
}

/// Whether the copies of a service executed a request to come to this answer. Who feeds a copy
/// from the log gives it these requests and no others.
#[must_use]
pub fn was_called(exchange: &Exchange) -> bool {
    let answer = &exchange.response;
    let never = [key_reused(), signature_outside_window(), replay_table_full(), silent_problem()];
    let problem = answer.field("content-type") == Some("application/problem+json");
    !(problem && never.iter().any(|own| own.status == answer.status && own.body == answer.body))
}

/// Whether an answer is what the copies gave: not where they disagreed, nor where it was too long
/// together with those beside it in its slot. An audit can compare no others.
#[must_use]
pub fn is_copies_own(exchange: &Exchange) -> bool {
    let answer = &exchange.response;
    let never = [disagree_problem(), too_large_problem()];
    was_called(exchange) && !never.iter().any(|own| own.body == answer.body)
}

/// Whether an answer pretends to be one that no copy gives.
fn is_own(rules: &Rules, answer: &Response) -> bool {
    let own = [key_reused(), signature_outside_window(), replay_table_full()];
    let mut own = own.map(|it| exchange::with_defaults(it, &rules.coverage)).to_vec();
    own.extend([disagree(rules), silent(rules), too_large(rules), uncoverable(rules)]);
    own.iter().any(|own| own.status == answer.status && own.body == answer.body)
}

fn disagree_problem() -> Response {
    Response::problem(
        502,
        "copies-disagree",
        "the service's copies executed the request, and too few of them gave the same answer",
    )
}

fn disagree(rules: &Rules) -> Response {
    exchange::with_defaults(disagree_problem(), &rules.coverage)
}

fn silent_problem() -> Response {
    Response::problem(
        502,
        "copies-silent",
        "too few of the service's copies answered; the request counts as not executed",
    )
}

fn silent(rules: &Rules) -> Response {
    exchange::with_defaults(silent_problem(), &rules.coverage)
}

fn too_large_problem() -> Response {
    Response::problem(502, "copy-too-large", "the service gave a longer answer than is taken")
}

fn too_large(rules: &Rules) -> Response {
    exchange::with_defaults(too_large_problem(), &rules.coverage)
}

fn uncoverable(rules: &Rules) -> Response {
    let detail = "the service gave an answer that no proof can cover";
    let problem = Response::problem(502, "copy-uncoverable", detail);
    exchange::with_defaults(problem, &rules.coverage)
}
