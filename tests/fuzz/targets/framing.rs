//! HTTP messages that nobody thought of: parsing never panics, never consumes more than it was given, and comes to the
//! same end however the bytes were cut.
#![no_main]

use http::framing::{request, response};
use libfuzzer_sys::fuzz_target;

/// Feeds `bytes` in pieces of `step`; how many were consumed by complete messages' events, and how it ended.
macro_rules! feed {
    ($parser:expr, $module:ident, $bytes:expr, $step:expr) => {{
        let (mut parser, mut start, mut end, mut ends) = ($parser, 0, 0, 0);
        loop {
            match parser.next(&$bytes[start..end]) {
                Ok((used, event)) => {
                    assert!(used <= end - start, "consumed {used} of {}", end - start);
                    let more = matches!(event, $module::Event::More);
                    let done = matches!(event, $module::Event::End);
                    start += used;
                    ends += usize::from(done);
                    if done {
                        break (start, ends, None);
                    }
                    if more && end == $bytes.len() {
                        break (start, ends, parser.eof().err().map(|error| error.to_string()));
                    }
                    if more {
                        end = $bytes.len().min(end + $step);
                    }
                }
                Err(error) => break (start, ends, Some(error.to_string())),
            }
        }
    }};
}

fuzz_target!(|data: &[u8]| {
    let Some((&kind, bytes)) = data.split_first() else { return };
    let method = ["GET", "HEAD", "POST", "CONNECT"][usize::from(kind) % 4];
    let step = 1 + usize::from(kind / 4);
    let whole = feed!(response::Parser::new(method), response, bytes, bytes.len().max(1));
    let cut = feed!(response::Parser::new(method), response, bytes, step);
    assert_eq!((whole.1, &whole.2), (cut.1, &cut.2));
    let whole = feed!(request::Parser::new(), request, bytes, bytes.len().max(1));
    let cut = feed!(request::Parser::new(), request, bytes, step);
    assert_eq!((whole.1, &whole.2), (cut.1, &cut.2));
});
