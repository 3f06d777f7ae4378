//! Proxies of the tests' own.

use crate::server::{Client, Server};
use std::io::{self, Read};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;

/// An HTTP proxy: its tunnels lead to `to`, whatever their names; a request in absolute form it answers itself, with
/// the URL. Closes after so many of those.
pub fn http_proxy(to: SocketAddr, most: usize) -> Server {
    Server::start(move |client, _| {
        for _ in 0..most {
            let Some(target) = client.request()? else { break };
            if !target.starts_with("http://") {
                return tunnel(client, to, b"HTTP/1.1 200 Connection established\r\n\r\n");
            }
            client.answer(&target)?;
        }
        Ok(())
    })
}

/// A SOCKS5 proxy whose tunnels lead to `to`. Notes `USER:PASSWORD@HOST:PORT`.
pub fn socks5(to: SocketAddr) -> Server {
    Server::start(move |client, _| {
        let user = socks5_greeting(client)?;
        let target = socks5_target(client)?;
        client.note(format!("{user}@{target}"));
        tunnel(client, to, &[5, 0, 0, 1, 0, 0, 0, 0, 0, 0])
    })
}

/// Asks for user name and password if they are offered.
pub fn socks5_greeting(client: &mut Client) -> io::Result<String> {
    let [_, count] = bytes(client)?;
    let methods = some_bytes(client, count)?;
    if !methods.contains(&2) {
        client.say([5, 0])?;
        return Ok(String::new());
    }
    client.say([5, 2])?;
    let [_, len] = bytes(client)?;
    let user = some_bytes(client, len)?;
    let [len] = bytes(client)?;
    let password = some_bytes(client, len)?;
    client.say([1, 0])?;
    Ok(format!("{}:{}", String::from_utf8(user).unwrap(), String::from_utf8(password).unwrap()))
}

/// What the client wants to be connected to.
pub fn socks5_target(client: &mut Client) -> io::Result<String> {
    let [5, 1, 0, kind] = bytes(client)? else { return Err(io::ErrorKind::InvalidData.into()) };
    let host = match kind {
        1 => std::net::Ipv4Addr::from(bytes::<4>(client)?).to_string(),
        4 => std::net::Ipv6Addr::from(bytes::<16>(client)?).to_string(),
        _ => {
            let [len] = bytes(client)?;
            String::from_utf8(some_bytes(client, len)?).unwrap()
        }
    };
    Ok(format!("{host}:{}", u16::from_be_bytes(bytes(client)?)))
}

fn bytes<const N: usize>(client: &mut Client) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    client.stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn some_bytes(client: &mut Client, len: u8) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; len.into()];
    client.stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Says so, and passes bytes on from then on, in both directions.
fn tunnel(client: &mut Client, to: SocketAddr, answer: &[u8]) -> io::Result<()> {
    let server = TcpStream::connect(to)?;
    server.set_nodelay(true)?;
    client.say(answer)?;
    let (mut up, mut down) = (client.stream.try_clone()?, server.try_clone()?);
    thread::spawn(move || {
        let mut server = server;
        let _ = io::copy(&mut up, &mut server);
        let _ = server.shutdown(Shutdown::Write);
    });
    let _ = io::copy(&mut down, &mut client.stream);
    client.stream.shutdown(Shutdown::Write)
}
