//! The least that an HTTP client on a mio loop can do: it sends a fixed request, and takes so many bytes for the
//! response, whatever they are. It knows no cache, no time-out and no error but its own end.
//!
//! ```text
//! bare ADDRESS PATH LENGTH REQUESTS CONNECTIONS      LENGTH: of a whole response, head and body
//! ```

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use std::error::Error;
use std::io::{ErrorKind, Read, Write};

struct Conn {
    stream: TcpStream,
    asked: bool,
    received: usize,
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [address, path, length, requests, connections] = &args[..] else {
        return Err("usage: bare ADDRESS PATH LENGTH REQUESTS CONNECTIONS".into());
    };
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: conncache-fetch\r\nAccept: */*\r\n\r\n");
    let (length, requests): (usize, u64) = (length.parse()?, requests.parse()?);
    let address = address.parse()?;
    let mut poll = Poll::new()?;
    let mut conns = Vec::new();
    for token in 0..connections.parse()? {
        let mut stream = TcpStream::connect(address)?;
        poll.registry().register(&mut stream, Token(token), Interest::READABLE | Interest::WRITABLE)?;
        conns.push(Conn { stream, asked: false, received: 0 });
    }
    let (mut to_ask, mut to_answer) = (requests, requests);
    let mut events = Events::with_capacity(1024);
    let mut buffer = vec![0; 128 * 1024];
    while to_answer > 0 {
        poll.poll(&mut events, None)?;
        for event in &events {
            let conn = &mut conns[event.token().0];
            if conn.asked && event.is_readable() {
                // One read, for a short one has taken all that there was.
                conn.received += match conn.stream.read(&mut buffer) {
                    Ok(0) => return Err("the server has closed".into()),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
                    read => read?,
                };
                if conn.received < length {
                    continue;
                }
                if conn.received > length {
                    return Err(format!("{} bytes instead of {length}", conn.received).into());
                }
                to_answer -= 1;
                (conn.asked, conn.received) = (false, 0);
            }
            if !conn.asked && to_ask > 0 {
                if conn.stream.write(request.as_bytes())? < request.len() {
                    return Err("the socket doesn't take a whole request".into());
                }
                conn.asked = true;
                to_ask -= 1;
            }
        }
    }
    Ok(())
}
