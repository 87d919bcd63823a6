//! `/ui`: how the replica is, for people, and a box that verifies an exchange in the browser.
//!
//! A few files without a framework, embedded in the binary. The page asks `/status`, and the log
//! and the policy, which are public; it runs no script but these files, and loads nothing else.

use axum::{
    http::{
        HeaderName, HeaderValue,
        header::{
            CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY,
            X_CONTENT_TYPE_OPTIONS,
        },
    },
    response::{IntoResponse, Response},
};

/// A file of the page: its name below `/ui/`, its media type and its text.
type File = (&'static str, &'static str, &'static str);

const SCRIPT: &str = "text/javascript; charset=utf-8";

const FILES: [File; 6] = [
    ("style.css", "text/css; charset=utf-8", include_str!("../ui/style.css")),
    ("icon.svg", "image/svg+xml", include_str!("../ui/icon.svg")),
    ("page.mjs", SCRIPT, include_str!("../ui/page.mjs")),
    ("standing.mjs", SCRIPT, include_str!("../ui/standing.mjs")),
    ("checker.mjs", SCRIPT, include_str!("../ui/checker.mjs")),
    ("verify.mjs", SCRIPT, include_str!("../ui/verify.mjs")),
];

const PAGE: File = ("", "text/html; charset=utf-8", include_str!("../ui/index.html"));

/// Nothing inline, nothing from elsewhere, in no other page's frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

/// `/ui`.
pub(crate) fn page() -> Response {
    answer(&PAGE)
}

/// A file below `/ui/`, if there is one of that name.
pub(crate) fn file(name: &str) -> Option<Response> {
    FILES.iter().find(|(own, ..)| *own == name).map(answer)
}

fn answer((_, kind, text): &File) -> Response {
    let headers: [(HeaderName, HeaderValue); 5] = [
        (CONTENT_TYPE, HeaderValue::from_static(kind)),
        // The next version of the binary may bring others.
        (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    ];
    (headers, *text).into_response()
}
