//! What the program needs to be tried without anything else: an upstream, and a client that asks a few times.

use crate::address::Upstream;
use crate::say;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

const REQUESTS: usize = 3;

/// Starts a server that answers every request with a short text, on a thread per connection.
pub fn start_upstream() -> io::Result<Upstream> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let addr = listener.local_addr()?;
    thread::spawn(move || {
        let mut accepted = 0;
        for stream in listener.incoming() {
            let Ok(stream) = stream else {
                // Out of descriptors, for one: trying again at once would only burn time.
                thread::sleep(Duration::from_millis(50));
                continue;
            };
            accepted += 1;
            thread::spawn(move || serve(stream, accepted));
        }
    });
    say(&format!("upstream at {addr}, in this process"));
    addr.to_string().parse().map_err(io::Error::other)
}

/// Answers requests without bodies until the connection ends.
fn serve(stream: TcpStream, number: usize) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream;
    for request in 1.. {
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
        }
        let body = format!("request {request} on upstream connection {number}\n");
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n", body.len());
        writer.write_all((head + &body).as_bytes())?;
    }
    Ok(())
}

/// Asks the proxy a few times, each time as a new client, and prints the answers.
pub fn start_client(proxy: SocketAddr) {
    thread::spawn(move || {
        for _ in 0..REQUESTS {
            let answer = ask(proxy).unwrap_or_else(|error| error.to_string());
            say(&format!("GET http://{proxy}/ -> {}", answer.trim_end()));
        }
        say(&format!("try: curl -i http://{proxy}/"));
    });
}

fn ask(proxy: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect(proxy)?;
    stream.write_all(format!("GET / HTTP/1.1\r\nHost: {proxy}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut response = String::new();
    stream.read_to_string(&mut response)?;
    Ok(response.split_once("\r\n\r\n").map_or(response.as_str(), |(_, body)| body).to_string())
}
