//! Servers that behave as a test wants them to.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// Only a test that fails waits so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// Serves on loopback until the test's process ends.
pub struct Server {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Vec<String>>>>,
}

impl Server {
    /// Runs `serve` in a thread for each connection; they are numbered from zero.
    pub fn start(serve: impl Fn(&mut Client, usize) -> io::Result<()> + Send + Sync + 'static) -> Server {
        Server::on("127.0.0.1:0", serve).unwrap()
    }

    /// As [`start`](Server::start), at this address.
    pub fn on(
        address: &str,
        serve: impl Fn(&mut Client, usize) -> io::Result<()> + Send + Sync + 'static,
    ) -> io::Result<Server> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let (serve, seen) = (Arc::new(serve), Arc::new(Mutex::new(Vec::new())));
        let table = Arc::clone(&seen);
        thread::spawn(move || {
            for (number, stream) in listener.incoming().flatten().enumerate() {
                table.lock().unwrap().push(Vec::new());
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                stream.set_nodelay(true).unwrap();
                let mut client = Client { stream, input: Vec::new(), number, seen: Arc::clone(&table) };
                let serve = Arc::clone(&serve);
                thread::spawn(move || serve(&mut client, number));
            }
        });
        Ok(Server { address, seen })
    }

    /// The URL of a path here.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many requests came by each connection.
    pub fn requests(&self) -> Vec<usize> {
        self.seen.lock().unwrap().iter().map(Vec::len).collect()
    }
}

/// The far end of one connection.
pub struct Client {
    pub stream: TcpStream,
    input: Vec<u8>,
    number: usize,
    seen: Arc<Mutex<Vec<Vec<String>>>>,
}

impl Client {
    /// The path of the next request; `None` when there is no further one.
    pub fn request(&mut self) -> io::Result<Option<String>> {
        while self.waiting() == 0 {
            if self.receive()? == 0 {
                return Ok(None);
            }
        }
        let end = self.input.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
        let head: Vec<u8> = self.input.drain(..end).collect();
        let head = String::from_utf8(head).unwrap();
        let path = head.split(' ').nth(1).unwrap().to_owned();
        self.seen.lock().unwrap()[self.number].push(head);
        Ok(Some(path))
    }

    /// Reads more, once; how much.
    pub fn receive(&mut self) -> io::Result<usize> {
        let mut buffer = [0; 4096];
        let n = self.stream.read(&mut buffer)?;
        self.input.extend_from_slice(&buffer[..n]);
        Ok(n)
    }

    /// How many whole requests were received and not taken yet.
    pub fn waiting(&self) -> usize {
        self.input.windows(4).filter(|end| end == b"\r\n\r\n").count()
    }

    pub fn say(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// Answers with this body, as one does.
    pub fn answer(&mut self, body: &str) -> io::Result<()> {
        self.say(response("", body))
    }
}

/// A plain response, with these further lines in its head.
pub fn response(lines: &str, body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{lines}\r\n{body}", body.len())
}
