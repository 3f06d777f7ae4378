//! Servers that behave as a test wants them to.

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// Only a test that fails waits so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// Serves on loopback until the test's process ends.
pub struct Server {
    scheme: &'static str,
    address: SocketAddr,
    seen: Seen,
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
        let streams = std::iter::from_fn(move || Some(listener.accept().map(|(stream, _)| prepared(stream))));
        Ok(Server { scheme: "http", address, seen: accept(streams, serve) })
    }

    /// As [`start`](Server::start), with TLS. What `serve` hasn't said it ended is said to be, before it is closed.
    pub fn start_tls(
        config: ServerConfig,
        serve: impl Fn(&mut Client<Tls>, usize) -> io::Result<()> + Send + Sync + 'static,
    ) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = accept(tls_streams(listener, config), move |client, number| {
            serve(client, number)?;
            client.stream.conn.send_close_notify();
            client.stream.flush()
        });
        Server { scheme: "https", address, seen }
    }

    /// The URL of a path here.
    pub fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.address)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many requests came by each connection.
    pub fn requests(&self) -> Vec<usize> {
        self.seen.lock().unwrap().iter().map(Vec::len).collect()
    }

    /// The heads that came by each connection, and what else was noted.
    pub fn heads(&self) -> Vec<Vec<String>> {
        self.seen.lock().unwrap().clone()
    }
}

/// What was noted of each connection.
type Seen = Arc<Mutex<Vec<Vec<String>>>>;
/// A connection with TLS.
pub type Tls = StreamOwned<ServerConnection, TcpStream>;

/// Runs `serve` in a thread for each of these connections.
pub fn accept<S: Send + 'static>(
    streams: impl Iterator<Item = io::Result<S>> + Send + 'static,
    serve: impl Fn(&mut Client<S>, usize) -> io::Result<()> + Send + Sync + 'static,
) -> Seen {
    let (serve, seen) = (Arc::new(serve), Seen::default());
    let table = Arc::clone(&seen);
    thread::spawn(move || {
        for (number, stream) in streams.flatten().enumerate() {
            table.lock().unwrap().push(Vec::new());
            let mut client = Client { stream, input: Vec::new(), number, seen: Arc::clone(&table) };
            let serve = Arc::clone(&serve);
            thread::spawn(move || serve(&mut client, number));
        }
    });
    seen
}

fn prepared(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

fn tls_streams(listener: TcpListener, config: ServerConfig) -> impl Iterator<Item = io::Result<Tls>> + Send {
    let config = Arc::new(config);
    std::iter::from_fn(move || {
        let session = ServerConnection::new(Arc::clone(&config)).unwrap();
        Some(listener.accept().map(|(stream, _)| StreamOwned::new(session, prepared(stream))))
    })
}

/// The far end of one connection.
pub struct Client<S = TcpStream> {
    pub stream: S,
    input: Vec<u8>,
    number: usize,
    seen: Seen,
}

impl<S: Read + Write> Client<S> {
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
        self.note(head);
        Ok(Some(path))
    }

    /// Keeps this with what is known of the connection.
    pub fn note(&mut self, text: String) {
        self.seen.lock().unwrap()[self.number].push(text);
    }

    /// Answers so many requests with the paths they ask for, as long as there are any.
    pub fn echo(&mut self, most: usize) -> io::Result<()> {
        for _ in 0..most {
            match self.request()? {
                Some(path) => self.answer(&path)?,
                None => break,
            }
        }
        Ok(())
    }

    /// Reads more, once; how much.
    pub fn receive(&mut self) -> io::Result<usize> {
        let mut buffer = [0; 4096];
        let n = loop {
            match self.stream.read(&mut buffer) {
                // The process was stopped for a while.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => break done?,
            }
        };
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
