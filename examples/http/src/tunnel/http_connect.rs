//! A tunnel through an HTTP proxy, by CONNECT (RFC 9110, section 9.3.6), without or with a user
//! name and password (RFC 7617). Names go to the proxy as they are: it resolves them.
//!
//! Surprising: a 2xx answer ends with its head whatever `Content-Length` or `Transfer-Encoding`
//! it carries. The bytes after it are the tunnel's. And the error for a refusal quotes the proxy's
//! own reason, whatever that repeats.

use super::{Credentials, Handshake, HandshakeError, Protocol, Target};

/// More than this much of heads, all interim ones included, is refused.
pub const MAX_HEAD: usize = 64 * 1024;
const MAX_HEADERS: usize = 128;
const MAX_REASON: usize = 100;

/// Asks for a tunnel to `host`, a name or an address literal (IPv6 without brackets).
///
/// Fails at once, by the name of the field, when `host` or the credentials can't be sent: a user
/// name has no colon in it, and neither field has control characters.
pub fn handshake(
    hop: &str,
    host: &str,
    port: u16,
    credentials: Option<&Credentials>,
) -> Result<Handshake, HandshakeError> {
    let refuse = |reason: String| HandshakeError::new(hop, reason);
    let target = Target::new(host).map_err(refuse)?;
    let target = format!("{target}:{port}");
    let authorization = match credentials {
        None => String::new(),
        Some(credentials) => authorization(credentials).map_err(refuse)?,
    };
    let request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{authorization}\r\n");
    let http = HttpConnect { target, head: Vec::new(), received: 0 };
    Ok(Handshake::new(hop, request.into_bytes(), http))
}

/// The `Proxy-Authorization` line, its end included: for requests in absolute form, too. Fails as [`handshake`] does.
pub fn authorization(credentials: &Credentials) -> Result<String, String> {
    let Credentials { user, password } = credentials;
    if user.contains(':') {
        return Err("the user name has a colon in it".into());
    }
    for (field, value) in [("user name", user), ("password", password)] {
        if value.contains(char::is_control) {
            return Err(format!("the {field} has a control character in it"));
        }
    }
    let token = base64(format!("{user}:{password}").as_bytes());
    Ok(format!("Proxy-Authorization: Basic {token}\r\n"))
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let mut group = [0; 4];
        group[1..=chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes(group);
        for digit in 0..4 {
            text.push(if digit <= chunk.len() {
                char::from(DIGITS[(bits >> (18 - 6 * digit)) as usize % 64])
            } else {
                '='
            });
        }
    }
    text
}

struct HttpConnect {
    target: String,
    /// As much as has come of the head of an answer.
    head: Vec<u8>,
    /// Over all heads.
    received: usize,
}

impl Protocol for HttpConnect {
    /// Looks for the end of the head only at its last bytes and parses it once, when whole.
    fn byte(&mut self, byte: u8, out: &mut Vec<u8>) -> Result<bool, String> {
        const START: &[u8] = b"HTTP/1.";
        self.received += 1;
        if self.received > MAX_HEAD {
            return Err(format!("the head of its answer is over {MAX_HEAD} bytes"));
        }
        self.head.push(byte);
        // At once: what does not speak HTTP may never send an empty line either.
        let start = &self.head[..self.head.len().min(START.len())];
        if !START.starts_with(start) {
            let start = start.escape_ascii();
            return Err(format!("does not answer in HTTP/1 (but with \"{start}\")"));
        }
        if !self.head.ends_with(b"\n\r\n") && !self.head.ends_with(b"\n\n") {
            return Ok(false);
        }
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        // Where the parser saw the end elsewhere, bytes of the tunnel could be lost.
        let code = match response.parse(&self.head) {
            Ok(httparse::Status::Complete(len)) if len == self.head.len() => response.code,
            Ok(_) => None,
            Err(error) => return Err(format!("the head of its answer is malformed: {error}")),
        };
        match code {
            None => Err("the head of its answer is malformed".into()),
            Some(200..=299) if !out.is_empty() => Err("answered before it was asked".into()),
            Some(200..=299) => Ok(true),
            // 101 is no interim answer, and nobody asked for it.
            Some(100 | 102..=199) => {
                self.head.clear();
                Ok(false)
            }
            Some(code) => {
                // Only visible ASCII, blanks and tabs: the parser hides a reason with more.
                let reason = response.reason.unwrap_or_default();
                let reason: String = reason.chars().take(MAX_REASON).collect();
                let text = format!("no connection to {}: {code:03} {reason}", self.target);
                Err(text.trim_end().to_owned())
            }
        }
    }

    fn waiting_for(&self) -> &'static str {
        "the answer to CONNECT"
    }
}
