//! A small HTTP server on threads of its own.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// After this many answers it hangs up, unannounced. On every other connection it waits for one more request first, as
/// if request and hangup had crossed on the way.
const ANSWERS: usize = 10;

/// A server that answers `GET /x` with `x`, and hangs up when it likes.
pub struct Server {
    pub addr: SocketAddr,
    /// Clients that still have requests.
    busy: AtomicUsize,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Server {
    pub fn start(clients: usize) -> io::Result<Server> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let server = Server { addr: listener.local_addr()?, busy: clients.into(), open: Arc::default() };
        let open = Arc::clone(&server.open);
        thread::spawn(move || -> io::Result<()> {
            for waits in [false, true].into_iter().cycle() {
                let (stream, _) = listener.accept()?;
                open.lock().expect("nobody panics with it").push(stream.try_clone()?);
                thread::spawn(move || answer(&stream, waits));
            }
            Ok(())
        });
        Ok(server)
    }

    /// A client has no more requests. After the last of them, it hangs up on everybody.
    pub fn client_is_done(&self) {
        if self.busy.fetch_sub(1, Ordering::AcqRel) > 1 {
            return;
        }
        for stream in self.open.lock().expect("nobody panics with it").drain(..) {
            let _ = stream.shutdown(Shutdown::Both); // an error means that it is closed already
        }
    }
}

fn answer(stream: &TcpStream, waits: bool) -> io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    for _ in 0..ANSWERS {
        let Some(request) = lines.next() else { break };
        let request = request?;
        let path = request.split(' ').nth(1).unwrap_or("/");
        while lines.next().transpose()?.is_some_and(|field| !field.is_empty()) {}
        let body = &path[1..];
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let mut stream = stream;
        stream.write_all(answer.as_bytes())?;
    }
    if waits {
        lines.next().transpose()?;
    }
    stream.shutdown(Shutdown::Both)
}
