//! Proxies that answer anything: a handshake never panics, and never consumes bytes of the tunnel behind it.
#![no_main]

use http::tunnel::{Credentials, Handshake, Step, http_connect, socks5};
use libfuzzer_sys::fuzz_target;

fn drive(mut handshake: Handshake, bytes: &[u8], step: usize) -> Result<Option<usize>, String> {
    let mut start = 0;
    loop {
        let outgoing = handshake.outgoing().len();
        handshake.sent(outgoing);
        let piece = &bytes[start..bytes.len().min(start + step)];
        if piece.is_empty() {
            return Err(handshake.closed().to_string());
        }
        match handshake.received(piece) {
            Ok(Step::More) => start += piece.len(),
            Ok(Step::Done { consumed }) => {
                assert!(consumed <= piece.len());
                return Ok(Some(start + consumed));
            }
            Err(error) => return Err(error.to_string()),
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((&kind, bytes)) = data.split_first() else { return };
    let credentials = Credentials { user: "user".into(), password: "hunter2".into() };
    let credentials = (kind & 1 == 1).then_some(&credentials);
    let make = |socks: bool| {
        let open = if socks { socks5::handshake } else { http_connect::handshake };
        open("the proxy", "example.org", 443, credentials).expect("the host and the credentials are good")
    };
    let bytewise = drive(make(kind & 2 == 2), bytes, 1);
    assert!(!format!("{bytewise:?}").contains("hunter2") || bytes.windows(7).any(|window| window == b"hunter2"));
    let _ = drive(make(kind & 2 == 2), bytes, 1 + usize::from(kind / 4));
});
