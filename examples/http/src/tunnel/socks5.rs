//! A tunnel through a SOCKS5 proxy (RFC 1928), without or with a user name and password
//! (RFC 1929). Names go to the proxy as they are: it resolves them, this side never does.
//!
//! Surprising: with credentials the proxy may still choose to do without them; without, it can't
//! ask for them. And a proxy that answers ahead of the question is refused, since whatever it
//! said can't be an answer.

use super::{Credentials, Handshake, HandshakeError, Protocol, Target};

const VERSION: u8 = 5;
const AUTH_VERSION: u8 = 1;
const NO_AUTH: u8 = 0;
const USER_PASSWORD: u8 = 2;
const NOTHING_ACCEPTABLE: u8 = 0xff;
const CONNECT: u8 = 1;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

/// Asks for a tunnel to `host`, a name or an address literal (IPv6 without brackets).
///
/// Fails at once, by the name of the field, when `host` or the credentials can't be sent: each is
/// to be of 1 to 255 bytes.
pub fn handshake(
    hop: &str,
    host: &str,
    port: u16,
    credentials: Option<&Credentials>,
) -> Result<Handshake, HandshakeError> {
    let refuse = |reason: String| HandshakeError::new(hop, reason);
    let target = Target::new(host).map_err(refuse)?;
    let auth = credentials.map(auth_request).transpose().map_err(refuse)?;
    let greeting = match auth {
        None => vec![VERSION, 1, NO_AUTH],
        Some(_) => vec![VERSION, 2, NO_AUTH, USER_PASSWORD],
    };
    let socks5 = Socks5 {
        waiting_for: Answer::Method,
        answer: Vec::new(),
        auth,
        connect: connect_request(&target, port),
        target: format!("{target}:{port}"),
    };
    Ok(Handshake::new(hop, greeting, socks5))
}

fn auth_request(credentials: &Credentials) -> Result<Vec<u8>, String> {
    let mut request = vec![AUTH_VERSION];
    let fields = [("user name", &credentials.user), ("password", &credentials.password)];
    for (field, value) in fields {
        let len = u8::try_from(value.len()).map_err(|_| format!("the {field} is longer than 255 bytes"))?;
        if len == 0 {
            return Err(format!("the {field} is empty"));
        }
        request.push(len);
        request.extend_from_slice(value.as_bytes());
    }
    Ok(request)
}

fn connect_request(target: &Target, port: u16) -> Vec<u8> {
    let mut request = vec![VERSION, CONNECT, 0];
    match target {
        Target::V4(address) => {
            request.push(IPV4);
            request.extend_from_slice(&address.octets());
        }
        Target::V6(address) => {
            request.push(IPV6);
            request.extend_from_slice(&address.octets());
        }
        Target::Name(name) => {
            let len = u8::try_from(name.len()).expect("a target's name has at most 255 bytes");
            request.extend_from_slice(&[NAME, len]);
            request.extend_from_slice(name.as_bytes());
        }
    }
    request.extend_from_slice(&port.to_be_bytes());
    request
}

struct Socks5 {
    waiting_for: Answer,
    /// As much as has come of the answer waited for.
    answer: Vec<u8>,
    /// The request with user name and password, if there are any.
    auth: Option<Vec<u8>>,
    connect: Vec<u8>,
    target: String,
}

#[derive(Clone, Copy)]
enum Answer {
    Method,
    Auth,
    Connect,
}

impl Socks5 {
    fn ask(&mut self, waiting_for: Answer, request: &[u8], out: &mut Vec<u8>) {
        self.waiting_for = waiting_for;
        self.answer.clear();
        out.extend_from_slice(request);
    }
}

impl Protocol for Socks5 {
    /// Judges each byte as it comes, for some proxies send only the beginning of a refusal.
    fn byte(&mut self, byte: u8, out: &mut Vec<u8>) -> Result<bool, String> {
        if !out.is_empty() {
            return Err("answered before it was asked".into());
        }
        self.answer.push(byte);
        match (self.waiting_for, self.answer.as_slice()) {
            (Answer::Method | Answer::Connect, &[version]) if version != VERSION => {
                return Err(format!("answered in version {version}, not in {VERSION}"));
            }
            (Answer::Auth, &[version]) if version != AUTH_VERSION => {
                return Err(format!("answered the user name and password in version {version}, not in {AUTH_VERSION}"));
            }
            (_, &[_]) => {}

            (Answer::Method, &[_, method]) => match (method, self.auth.take()) {
                (NO_AUTH, _) => self.ask(Answer::Connect, &self.connect.clone(), out),
                (USER_PASSWORD, Some(auth)) => self.ask(Answer::Auth, &auth, out),
                (NOTHING_ACCEPTABLE, None) => {
                    return Err("wants authentication, and there is none to offer".into());
                }
                (NOTHING_ACCEPTABLE, Some(_)) => {
                    return Err("accepts neither user name and password nor their absence".into());
                }
                (method, _) => {
                    return Err(format!("chose authentication method {method}, which was not offered"));
                }
            },

            (Answer::Auth, &[_, 0]) => self.ask(Answer::Connect, &self.connect.clone(), out),
            (Answer::Auth, &[_, status]) => {
                return Err(format!("refused the user name and password (status {status})"));
            }

            // version, reply, reserved (whatever it is), address type, address, port
            (Answer::Connect, &[_, reply]) if reply != 0 => {
                let meaning = meaning(reply);
                return Err(format!("no connection to {}: {meaning} (reply {reply})", self.target));
            }
            (Answer::Connect, &[_, _] | &[_, _, _]) => {}
            (Answer::Connect, &[_, _, _, IPV4, ref rest @ ..]) => return Ok(rest.len() == 4 + 2),
            (Answer::Connect, &[_, _, _, IPV6, ref rest @ ..]) => return Ok(rest.len() == 16 + 2),
            (Answer::Connect, &[_, _, _, NAME]) => {}
            (Answer::Connect, &[_, _, _, NAME, len, ref rest @ ..]) => {
                return Ok(rest.len() == usize::from(len) + 2);
            }
            (Answer::Connect, &[_, _, _, kind, ..]) => {
                return Err(format!("answered with an address of unknown type {kind}"));
            }

            _ => unreachable!("two bytes end the other answers, and there is one"),
        }
        Ok(false)
    }

    fn waiting_for(&self) -> &'static str {
        match self.waiting_for {
            Answer::Method => "the choice of an authentication method",
            Answer::Auth => "the answer to the user name and password",
            Answer::Connect => "the answer to CONNECT",
        }
    }
}

fn meaning(reply: u8) -> &'static str {
    match reply {
        1 => "general failure",
        2 => "its rules forbid it",
        3 => "network unreachable",
        4 => "host unreachable",
        5 => "connection refused",
        6 => "time to live expired",
        7 => "it does not know the command CONNECT",
        8 => "it does not know this type of address",
        _ => "unknown reason",
    }
}
