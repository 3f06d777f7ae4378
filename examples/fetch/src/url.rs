//! URLs, as far as this client fetches them.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// A URL taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// Whether it is an https one.
    pub secure: bool,
    /// In lower case; an IPv6 address without its brackets.
    pub host: String,
    pub port: u16,
    /// The value of the `Host` field.
    pub authority: String,
    /// What stands in the request line: the path and the query.
    pub path: String,
    /// As it was given, for messages.
    text: String,
}

impl Url {
    /// Takes `http[s]://HOST[:PORT][/PATH][?QUERY]`, an IPv6 address in brackets. A fragment is left out, since servers
    /// never see one.
    pub fn parse(text: &str) -> Result<Url, String> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err("it has to start with http:// or https://".into());
        };
        let secure = scheme.eq_ignore_ascii_case("https");
        if !secure && !scheme.eq_ignore_ascii_case("http") {
            return Err(format!("scheme {scheme:?} is neither http nor https"));
        }
        let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err("a user name or password in a URL is not supported".into());
        }
        let (host, port) = host_and_port(authority, default_port(secure))?;
        check_plain(path)?;
        check_plain(fragment)?;
        let mut authority = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        if port != default_port(secure) {
            authority = format!("{authority}:{port}");
        }
        Ok(Url { secure, host, port, authority, path: escaped(path), text: text.to_owned() })
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn default_port(secure: bool) -> u16 {
    if secure { 443 } else { 80 }
}

/// Takes `HOST[:PORT]`, an IPv6 address in brackets; without them in what it returns.
pub fn host_and_port(authority: &str, default_port: u16) -> Result<(String, u16), String> {
    let (host, port) = split_authority(authority)?;
    Ok((checked_host(host, authority.starts_with('['))?, port.map_or(Ok(default_port), checked_port)?))
}

fn split_authority(authority: &str) -> Result<(&str, Option<&str>), String> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, after) = rest.split_once(']').ok_or("the bracket of the address is not closed")?;
        return match after.strip_prefix(':') {
            None if after.is_empty() => Ok((host, None)),
            None => Err(format!("{after:?} after the address is not a port")),
            port => Ok((host, port)),
        };
    }
    match authority.split_once(':') {
        None => Ok((authority, None)),
        Some((_, port)) if port.contains(':') => Err("an IPv6 address has to stand in brackets".into()),
        Some((host, port)) => Ok((host, Some(port))),
    }
}

fn checked_host(host: &str, bracketed: bool) -> Result<String, String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let numeric = host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let good = match bracketed {
        true => host.parse::<Ipv6Addr>().is_ok(),
        false if numeric => host.parse::<Ipv4Addr>().is_ok(),
        false => host.bytes().all(fits),
    };
    if host.is_empty() || host.len() > 255 || !good {
        return Err(format!("{host:?} is not a host name or address"));
    }
    Ok(host.to_ascii_lowercase())
}

fn checked_port(port: &str) -> Result<u16, String> {
    match port.parse() {
        Ok(number) if number > 0 && port.bytes().all(|byte| byte.is_ascii_digit()) => Ok(number),
        _ => Err(format!("port {port:?} is not a number from 1 to 65535")),
    }
}

/// Refuses what could change the meaning of the request, or of a line that shows the URL.
fn check_plain(text: &str) -> Result<(), String> {
    match text.chars().find(|c| c.is_control() || *c == ' ') {
        Some(bad) => Err(format!("{bad:?} has to be percent-encoded")),
        None => Ok(()),
    }
}

/// The path with what is not ASCII percent-encoded.
fn escaped(path: &str) -> String {
    let mut escaped = if path.starts_with('/') { String::new() } else { String::from("/") };
    for byte in path.bytes() {
        match byte.is_ascii() {
            true => escaped.push(byte.into()),
            false => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}
