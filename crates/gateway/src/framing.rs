//! Where an HTTP/1.1 request ends, read strictly.
//!
//! The HTTP library behind this file forgives: it drops a `Content-Length` beside chunks, joins two
//! equal ones, cuts a fragment off the target, takes a bare line feed for a line's end. Each is a
//! place where another server on the way may read another request. So a head is examined here
//! first, byte for byte, and what is not plain is refused with a code.

use crate::{codes, limits::Limits};
use httparse::{Error as ParseError, Status};
use quorate_types::Refusal;
use std::mem::MaybeUninit;

/// The most header lines that can be configured: those for which the library has room at hand.
pub(crate) const HEADER_LINES_MOST: usize = 100;

/// How much content follows a head.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Content {
    /// So many bytes.
    Bytes(u64),
    /// Chunks, to the last one and its trailer.
    Chunks,
}

/// Looks for the end of a head as bytes come in.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct HeadScan {
    seen: usize,
    line_start: usize,
    /// Where the start line ends, once it did.
    start_line_end: Option<usize>,
}

impl HeadScan {
    /// The head's length, once it is whole. `bytes` are those given before and possibly more.
    ///
    /// # Errors
    /// A bare line feed, or more bytes than allowed.
    pub(crate) fn advance(
        &mut self,
        bytes: &[u8],
        limits: &Limits,
    ) -> Result<Option<usize>, Refusal> {
        while let Some(offset) = bytes[self.seen..].iter().position(|&byte| byte == b'\n') {
            let feed = self.seen + offset;
            self.seen = feed + 1;
            let Some(line) = bytes[self.line_start..feed].strip_suffix(b"\r") else {
                return Err(codes::HEAD_MALFORMED.refusal("a line ends with a bare line feed"));
            };
            if line.is_empty() && self.start_line_end.is_some() {
                return self.within(self.seen, limits).map(|()| Some(self.seen));
            }
            // Empty lines before the start line are skipped (RFC 9112, section 2.2).
            if !line.is_empty() {
                self.start_line_end.get_or_insert(self.seen);
            }
            self.line_start = self.seen;
        }
        self.seen = bytes.len();
        self.within(self.seen, limits).map(|()| None)
    }

    fn within(&self, length: usize, limits: &Limits) -> Result<(), Refusal> {
        let start_line = self.start_line_end.unwrap_or(length);
        check_head_length(start_line, length, limits.head_bytes_max)
    }
}

/// Refuses a head above its limit; the target is to blame where it takes the greater part.
pub(crate) fn check_head_length(target: usize, head: usize, most: usize) -> Result<(), Refusal> {
    if head <= most {
        return Ok(());
    }
    let code = if target > most / 2 { codes::TARGET_TOO_LONG } else { codes::HEAD_TOO_LARGE };
    Err(code.refusal(format!("the request head may have {most} bytes")))
}

/// The refusal of too many header lines.
pub(crate) fn too_many_headers(most: usize) -> Refusal {
    codes::TOO_MANY_HEADERS.refusal(format!("a request may have {most} header lines"))
}

/// Examines a whole head, empty line included.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn examine(head: &[u8], limits: &Limits) -> Result<Content, Refusal> {
    let mut lines = [const { MaybeUninit::uninit() }; HEADER_LINES_MOST];
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(head, &mut lines) {
        Ok(Status::Complete(_)) => {}
        Ok(Status::Partial) => return Err(codes::HEAD_MALFORMED.refusal("the head is cut off")),
        Err(error) => return Err(unparsable(head, error, limits)),
    }
    if request.headers.len() > limits.header_lines_max {
        return Err(too_many_headers(limits.header_lines_max));
    }
    check_target(request.method.unwrap_or_default(), request.path.unwrap_or_default())?;
    content(request.headers, request.version == Some(1))
}

fn unparsable(head: &[u8], error: ParseError, limits: &Limits) -> Refusal {
    let folded = |pair: &[u8]| pair[0] == b'\n' && matches!(pair[1], b' ' | b'\t');
    match error {
        ParseError::TooManyHeaders => too_many_headers(limits.header_lines_max),
        ParseError::HeaderName if head.windows(2).any(folded) => {
            codes::HEADER_FOLDED.refusal("a header line is continued on the next line")
        }
        ParseError::Version => codes::HEAD_MALFORMED.refusal("the HTTP version is not 1.0 or 1.1"),
        ParseError::HeaderName => codes::HEAD_MALFORMED.refusal("a header name is not a token"),
        ParseError::HeaderValue => {
            codes::HEAD_MALFORMED.refusal("a header value holds a control character")
        }
        ParseError::Token => codes::HEAD_MALFORMED.refusal("the request line does not parse"),
        _ => codes::HEAD_MALFORMED.refusal("the request head does not parse"),
    }
}

/// Whether a target is in origin form, of bytes that a target may hold.
///
/// # Errors
/// `target-form` or `target-malformed`.
pub(crate) fn check_target(method: &str, target: &str) -> Result<(), Refusal> {
    if method == "CONNECT" {
        return Err(codes::METHOD_UNSUPPORTED.refusal("CONNECT cannot be ordered"));
    }
    if !target.starts_with('/') {
        return Err(codes::TARGET_FORM.refusal("the target does not start with a slash"));
    }
    if !target.is_ascii() {
        return Err(codes::TARGET_MALFORMED.refusal("the target holds a byte outside ASCII"));
    }
    let mut query = false;
    for byte in target.bytes() {
        let right = match byte {
            b'?' => true,
            b'#' => {
                return Err(codes::TARGET_MALFORMED.refusal("the target holds a fragment"));
            }
            b'<' | b'>' => false,
            // What the library's two maps of target bytes differ in.
            b'`' => query,
            b'"' => !query,
            _ => byte.is_ascii_graphic(),
        };
        if !right {
            let detail = format!("the target holds the byte 0x{byte:02x}, which must be encoded");
            return Err(codes::TARGET_MALFORMED.refusal(detail));
        }
        query |= byte == b'?';
    }
    Ok(())
}

fn content(headers: &[httparse::Header<'_>], http_11: bool) -> Result<Content, Refusal> {
    let mut length = None;
    let mut chunks = false;
    for header in headers {
        match header.name.len() {
            14 if header.name.eq_ignore_ascii_case("content-length") => {
                if length.is_some() {
                    return Err(codes::FRAMING_AMBIGUOUS.refusal("Content-Length stands twice"));
                }
                length = Some(parse_length(header.value)?);
            }
            17 if header.name.eq_ignore_ascii_case("transfer-encoding") => {
                if chunks {
                    return Err(codes::FRAMING_AMBIGUOUS.refusal("Transfer-Encoding stands twice"));
                }
                if !http_11 || !header.value.eq_ignore_ascii_case(b"chunked") {
                    let detail = "the only Transfer-Encoding is chunked, and in HTTP/1.1 alone";
                    return Err(codes::FRAMING_MALFORMED.refusal(detail));
                }
                chunks = true;
            }
            _ => {}
        }
    }
    match (length, chunks) {
        (Some(_), true) => {
            let detail = "Content-Length and Transfer-Encoding stand together";
            Err(codes::FRAMING_AMBIGUOUS.refusal(detail))
        }
        (_, true) => Ok(Content::Chunks),
        (length, false) => Ok(Content::Bytes(length.unwrap_or(0))),
    }
}

fn parse_length(value: &[u8]) -> Result<u64, Refusal> {
    let digits = !value.is_empty() && value.len() <= 18 && value.iter().all(u8::is_ascii_digit);
    let number = std::str::from_utf8(value).ok().filter(|_| digits);
    number.and_then(|text| text.parse().ok()).ok_or_else(|| {
        codes::FRAMING_MALFORMED.refusal("the Content-Length is not a plain decimal number")
    })
}

/// Follows chunked content to its end (RFC 9112, section 7.1), without keeping any of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChunkTrail {
    at: Place,
    /// Bytes of chunk extensions and trailers so far: what a client could send without end.
    overhead: usize,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Place {
    /// In a size of so many digits and this value.
    Size {
        digits: u8,
        value: u64,
    },
    /// In an extension of a chunk of that size.
    Extension {
        value: u64,
    },
    /// Before the line feed that ends a size line.
    SizeEnd {
        value: u64,
    },
    /// In the data, so many bytes before its end.
    Data {
        left: u64,
    },
    /// Before the CR, then the LF, behind the data.
    DataCr,
    DataLf,
    /// In the trailer: in a line (or at its start), or before its line feed.
    Trailer {
        line: bool,
    },
    TrailerEnd {
        line: bool,
    },
    /// Behind the last byte.
    Done,
}

/// Chunks that do not parse.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct BadChunk;

impl ChunkTrail {
    /// Bytes that extensions and trailers may have in one request.
    const OVERHEAD_MOST: usize = 16 << 10;

    /// At the first byte of chunked content.
    pub(crate) fn new() -> Self {
        Self { at: Place::Size { digits: 0, value: 0 }, overhead: 0 }
    }

    /// Whether the content is over.
    pub(crate) fn is_done(&self) -> bool {
        self.at == Place::Done
    }

    /// How many of `bytes` belong to this content.
    ///
    /// # Errors
    /// [`BadChunk`]; the content has no end then.
    pub(crate) fn advance(&mut self, bytes: &[u8]) -> Result<usize, BadChunk> {
        let mut used = 0;
        while let Some(&byte) = bytes.get(used).filter(|_| !self.is_done()) {
            if let Place::Data { left } = self.at {
                let here = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len() - used);
                used += here;
                let left = left - here as u64;
                self.at = if left == 0 { Place::DataCr } else { Place::Data { left } };
                continue;
            }
            self.at = self.step(byte)?;
            used += 1;
        }
        Ok(used)
    }

    fn step(&mut self, byte: u8) -> Result<Place, BadChunk> {
        Ok(match (self.at, byte) {
            (Place::Size { digits, value }, _) if byte.is_ascii_hexdigit() && digits < 15 => {
                let digit = char::from(byte).to_digit(16).ok_or(BadChunk)?;
                Place::Size { digits: digits + 1, value: value << 4 | u64::from(digit) }
            }
            (Place::Size { digits: 1.., value }, b'\r') => Place::SizeEnd { value },
            (Place::Size { digits: 1.., value }, b';') => Place::Extension { value },
            (Place::Extension { value }, b'\r') => Place::SizeEnd { value },
            (Place::Extension { .. }, b' '..=b'~' | b'\t') => self.charge()?,
            (Place::SizeEnd { value: 0 }, b'\n') => Place::Trailer { line: false },
            (Place::SizeEnd { value }, b'\n') => Place::Data { left: value },
            (Place::DataCr, b'\r') => Place::DataLf,
            (Place::DataLf, b'\n') => Place::Size { digits: 0, value: 0 },
            (Place::Trailer { line }, b'\r') => Place::TrailerEnd { line },
            (Place::Trailer { .. }, b' '..=b'~' | b'\t' | 0x80..) => {
                self.charge()?;
                Place::Trailer { line: true }
            }
            (Place::TrailerEnd { line: true }, b'\n') => Place::Trailer { line: false },
            (Place::TrailerEnd { line: false }, b'\n') => Place::Done,
            _ => return Err(BadChunk),
        })
    }

    /// Counts a byte of an extension or a trailer; the place stays.
    fn charge(&mut self) -> Result<Place, BadChunk> {
        self.overhead += 1;
        if self.overhead > Self::OVERHEAD_MOST { Err(BadChunk) } else { Ok(self.at) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn examined(head: &str) -> Result<Content, &'static str> {
        let limits = Limits::default();
        let mut scan = HeadScan::default();
        match scan.advance(head.as_bytes(), &limits) {
            Ok(Some(length)) => {
                assert_eq!(length, head.len(), "{head:?}");
                examine(head.as_bytes(), &limits).map_err(|refusal| refusal.code)
            }
            Ok(None) => Err("unfinished"),
            Err(refusal) => Err(refusal.code),
        }
    }

    #[test]
    fn a_plain_head_says_how_much_content_follows() {
        assert_eq!(examined("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), Ok(Content::Bytes(0)));
        assert_eq!(examined("\r\n\r\nGET / HTTP/1.0\r\n\r\n"), Ok(Content::Bytes(0)));
        assert_eq!(
            examined("PUT /a HTTP/1.1\r\nhost: a\r\ncontent-LENGTH:  17 \r\n\r\n"),
            Ok(Content::Bytes(17))
        );
        assert_eq!(
            examined("PUT /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n"),
            Ok(Content::Chunks)
        );
    }

    #[test]
    fn what_two_readers_could_read_differently_is_refused() {
        for (lines, code) in [
            ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "framing-ambiguous"),
            ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "framing-ambiguous"),
            ("Content-Length: 5\r\nContent-Length: 5\r\n", "framing-ambiguous"),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "framing-ambiguous"),
            ("Content-Length: 5, 5\r\n", "framing-malformed"),
            ("Content-Length: +5\r\n", "framing-malformed"),
            ("Content-Length: 0x5\r\n", "framing-malformed"),
            ("Content-Length: \r\n", "framing-malformed"),
            ("Content-Length: 99999999999999999999\r\n", "framing-malformed"),
            ("Transfer-Encoding: gzip, chunked\r\n", "framing-malformed"),
            ("Transfer-Encoding: identity\r\n", "framing-malformed"),
            ("Transfer-Encoding:\x0bchunked\r\n", "head-malformed"),
            ("Content-Length : 5\r\n", "head-malformed"),
            (" Content-Length: 5\r\n", "header-folded"),
            ("A: b\r\n c\r\n", "header-folded"),
            ("A: b\r\n\tc\r\n", "header-folded"),
            ("A: b\n", "head-malformed"),
            ("A: b\rc\r\n", "head-malformed"),
            ("A: b\0c\r\n", "head-malformed"),
            ("A b\r\n", "head-malformed"),
        ] {
            let head = format!("PUT / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
            assert_eq!(examined(&head), Err(code), "{lines:?}");
        }
        let old = "PUT / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(examined(old), Err("framing-malformed"));
    }

    #[test]
    fn a_target_is_in_origin_form_or_refused() {
        for (line, code) in [
            ("GET http://a/ HTTP/1.1", "target-form"),
            ("OPTIONS * HTTP/1.1", "target-form"),
            ("GET a HTTP/1.1", "target-form"),
            ("GET ?a HTTP/1.1", "target-form"),
            ("CONNECT a:80 HTTP/1.1", "method-unsupported"),
            ("GET /a#b HTTP/1.1", "target-malformed"),
            ("GET /a?#b HTTP/1.1", "target-malformed"),
            ("GET /\u{e9} HTTP/1.1", "target-malformed"),
            ("GET /<a> HTTP/1.1", "target-malformed"),
            ("GET  / HTTP/1.1", "head-malformed"),
            ("GET /a b HTTP/1.1", "head-malformed"),
            ("GET / HTTP/2.0", "head-malformed"),
            ("GET / HTTP/1.2", "head-malformed"),
            ("GET /", "head-malformed"),
            ("G@T / HTTP/1.1", "head-malformed"),
        ] {
            assert_eq!(examined(&format!("{line}\r\nHost: a\r\n\r\n")), Err(code), "{line:?}");
        }
    }

    #[test]
    fn a_target_passes_here_exactly_when_the_library_keeps_it_whole() {
        for byte in 0x21..=0x7e_u8 {
            for target in [format!("/a{}b", char::from(byte)), format!("/a?{}b", char::from(byte))]
            {
                let kept = http::uri::PathAndQuery::try_from(target.as_str())
                    .is_ok_and(|parsed| parsed.as_str() == target);
                let passes = check_target("GET", &target).is_ok();
                assert!(!passes || kept, "{target}: {passes} {kept}");
                assert!(!kept || passes || byte == b'#', "{target}: {passes} {kept}");
            }
        }
    }

    #[test]
    fn a_head_above_the_limit_is_refused_before_it_ends() {
        let limits = Limits { head_bytes_max: 64, ..Limits::default() };
        let mut scan = HeadScan::default();
        let long = format!("GET /{}", "a".repeat(64));
        assert_eq!(scan.advance(long.as_bytes(), &limits).unwrap_err().status, 414);
        let mut scan = HeadScan::default();
        let long = format!("GET / HTTP/1.1\r\nA: {}", "a".repeat(64));
        assert_eq!(scan.advance(long.as_bytes(), &limits).unwrap_err().status, 431);
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(101));
        assert_eq!(examined(&many), Err("too-many-headers"));
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(300));
        assert_eq!(examined(&many), Err("too-many-headers"));
    }

    #[test]
    fn a_head_is_found_whatever_pieces_it_comes_in() {
        let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nrest";
        let mut scan = HeadScan::default();
        for end in 0..head.len() - 4 {
            assert_eq!(scan.advance(&head[..end], &Limits::default()), Ok(None), "{end}");
        }
        let found = scan.advance(head, &Limits::default());
        assert_eq!(found, Ok(Some(head.len() - 4)));
    }

    #[test]
    fn chunks_are_followed_to_their_end_and_no_further() {
        let text = b"5\r\nhello\r\n00A;x=\"y\"\r\n0123456789\r\n0\r\nT: 1\r\nU: 2\r\n\r\nGET /";
        for piece in 1..text.len() {
            let (mut trail, mut used) = (ChunkTrail::new(), 0);
            for part in text.chunks(piece) {
                used += trail.advance(part).unwrap();
            }
            assert!(trail.is_done());
            assert_eq!(used, text.len() - 5, "pieces of {piece}");
        }
    }

    #[test]
    fn malformed_chunks_are_refused() {
        for text in [
            "\r\n",
            ";\r\n",
            "g\r\n",
            "5 \r\n",
            "5\n",
            "0x5\r\n",
            "-1\r\n",
            "5\r\nhello0\r\n",
            "5\r\nhello\n",
            "1000000000000000\r\n",
            "0\r\nA: b\n",
            "0\r\n\rx",
            "5;a\0\r\n",
        ] {
            assert_eq!(ChunkTrail::new().advance(text.as_bytes()), Err(BadChunk), "{text:?}");
        }
        let flood = format!("5;{}", "a".repeat(20_000));
        assert_eq!(ChunkTrail::new().advance(flood.as_bytes()), Err(BadChunk));
        let flood = format!("0\r\n{}", "a: b\r\n".repeat(20_000));
        assert_eq!(ChunkTrail::new().advance(flood.as_bytes()), Err(BadChunk));
    }
}
