//! A small HTTP server on loopback, for the demonstration.

use http::framing::request::{Event, Parser};
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// How long to wait before another connection is accepted when that has failed.
const AFTER_FAILURE: Duration = Duration::from_millis(10);

/// Answers every request with a line of text, and keeps its connections open until told otherwise.
pub struct Server {
    pub address: SocketAddr,
    open: Arc<Mutex<HashMap<SocketAddr, TcpStream>>>,
}

impl Server {
    /// Starts to serve, in threads that end with the program.
    pub fn start() -> io::Result<Server> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let open = Arc::new(Mutex::new(HashMap::new()));
        let table = Arc::clone(&open);
        thread::spawn(move || {
            for conn in listener.incoming() {
                let Ok(conn) = conn else {
                    // No descriptor is left, as a rule: the next attempt would fail as well.
                    thread::sleep(AFTER_FAILURE);
                    continue;
                };
                let table = Arc::clone(&table);
                thread::spawn(move || {
                    let Ok(client) = conn.peer_addr() else { return };
                    if let Ok(twin) = conn.try_clone() {
                        table.lock().unwrap().insert(client, twin);
                    }
                    let _ = serve(conn);
                    table.lock().unwrap().remove(&client);
                });
            }
        });
        Ok(Server { address, open })
    }

    /// Closes all connections.
    pub fn hang_up(&self) {
        for conn in self.open.lock().unwrap().values() {
            let _ = conn.shutdown(Shutdown::Both);
        }
    }
}

fn serve(mut conn: TcpStream) -> io::Result<()> {
    let mut parser = Parser::new();
    let mut input = Vec::new();
    let mut response = String::new();
    loop {
        let (used, event) = parser.next(&input).map_err(io::Error::other)?;
        let complete = match event {
            Event::More => {
                input.drain(..used);
                let mut buffer = [0; 4096];
                match conn.read(&mut buffer)? {
                    0 => return Ok(()),
                    n => input.extend_from_slice(&buffer[..n]),
                }
                continue;
            }
            Event::Head(request) => {
                let body = format!("This is {}.\n", request.path);
                response = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
                if request.method != "HEAD" {
                    response.push_str(&body);
                }
                false
            }
            Event::End => true,
            _ => false,
        };
        input.drain(..used);
        if complete {
            parser.reset();
            conn.write_all(response.as_bytes())?;
        }
    }
}
