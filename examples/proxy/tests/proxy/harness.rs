//! The proxy as a child process, with clients and upstreams in this one. Every wait is bounded.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use testing::nobody::refusing;

/// Longer than anything takes that goes well.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub struct Proxy {
    pub child: Child,
    pub addr: SocketAddr,
    pub status: SocketAddr,
    log: Arc<Mutex<String>>,
}

pub const BINARY: &str = env!("CARGO_BIN_EXE_proxy");

impl Proxy {
    pub fn start(upstreams: &[SocketAddr], more: &[&str]) -> Proxy {
        Proxy::start_as(Command::new(BINARY), upstreams, more)
    }

    /// With so few descriptors.
    pub fn start_with_descriptors(most: usize, upstreams: &[SocketAddr], more: &[&str]) -> Proxy {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit -n {most}; exec \"$0\" \"$@\"")]).arg(BINARY);
        Proxy::start_as(command, upstreams, more)
    }

    pub fn start_as(mut command: Command, upstreams: &[SocketAddr], more: &[&str]) -> Proxy {
        command.args(["--listen", "127.0.0.1:0", "--status", "127.0.0.1:0", "-v"]);
        if !upstreams.is_empty() {
            let upstreams: Vec<String> = upstreams.iter().map(ToString::to_string).collect();
            command.args(["--upstream", &upstreams.join(",")]);
        }
        command.args(more).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the proxy can be started");
        let log = Arc::new(Mutex::new(String::new()));
        let (tell, lines) = mpsc::channel();
        let out = child.stdout.take().expect("piped");
        thread::spawn(move || BufReader::new(out).lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
        let (err, to_log) = (child.stderr.take().expect("piped"), Arc::clone(&log));
        thread::spawn(move || {
            for line in BufReader::new(err).lines().map_while(Result::ok) {
                to_log.lock().unwrap().push_str(&format!("{line}\n"));
            }
        });
        let mut proxy =
            Proxy { child, addr: SocketAddr::from(([0; 4], 0)), status: SocketAddr::from(([0; 4], 0)), log };
        proxy.addr = proxy.address(&lines, "listening on http://");
        proxy.status = proxy.address(&lines, "status on http://");
        proxy
    }

    fn address(&self, lines: &Receiver<String>, prefix: &str) -> SocketAddr {
        let line = lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no address; log:\n{}", self.log()));
        let addr = line.strip_prefix(prefix).and_then(|rest| rest.strip_suffix('/'));
        addr.and_then(|addr| addr.parse().ok()).unwrap_or_else(|| panic!("{line:?} is no {prefix:?}"))
    }

    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub fn wait_for_log(&self, text: &str) {
        wait_until(|| self.log().contains(text), || format!("{text:?} in the log:\n{}", self.log()));
    }

    pub fn client(&self) -> Client {
        Client::connect(self.addr)
    }

    /// A number from the status page's figures: the first one behind this name.
    pub fn figure(&self, name: &str) -> u64 {
        let json = self.json();
        let (_, rest) = json.split_once(&format!("\"{name}\":")).unwrap_or_else(|| panic!("no {name} in {json}"));
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().unwrap_or_else(|_| panic!("{name} is no number in {json}"))
    }

    pub fn json(&self) -> String {
        let mut client = Client::connect(self.status);
        client.send("GET /status.json HTTP/1.1\r\nHost: s\r\nConnection: close\r\n\r\n");
        let response = client.response();
        assert_eq!(response.status, 200);
        String::from_utf8(response.body).expect("JSON is UTF-8")
    }

    pub fn wait_for_figure(&self, name: &str, value: u64) {
        wait_until(|| self.figure(name) == value, || format!("{name} = {value} in {}", self.json()));
    }

    /// The most memory that the process has had, in KiB; `None` where nobody tells.
    pub fn peak_kib(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
        line.split_whitespace().nth(1)?.parse().ok()
    }

    pub fn terminate(&self) {
        self.signal("TERM");
    }

    pub fn signal(&self, name: &str) {
        let done = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(done.is_ok_and(|status| status.success()), "kill works");
    }

    /// Stops the process until it is sent CONT.
    #[cfg(target_os = "linux")]
    pub fn stop(&self) {
        self.signal("STOP");
        let stat = || std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("/proc tells it");
        wait_until(|| stat().contains(") T "), || format!("the process to stop: {}", stat()));
    }

    /// Waits for the process to end by itself; whether it did so well.
    pub fn ended_well(&mut self) -> bool {
        let mut status = None;
        wait_until(
            || {
                status = self.child.try_wait().expect("the child can be asked");
                status.is_some()
            },
            || "the proxy's end".to_string(),
        );
        status.is_some_and(|status| status.success())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("the proxy's log:\n{}", self.log());
        }
    }
}

#[track_caller]
pub fn wait_until(mut condition: impl FnMut() -> bool, what: impl Fn() -> String) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "waited in vain for {}", what());
        thread::sleep(Duration::from_millis(5)); // between two looks; nothing depends on how long
    }
}

/// One end of a connection that speaks HTTP by hand.
pub struct Client {
    pub reader: BufReader<TcpStream>,
}

#[derive(Debug)]
pub struct Response {
    pub status: u16,
    /// The head as it came.
    pub head: String,
    pub body: Vec<u8>,
}

impl Client {
    pub fn connect(addr: SocketAddr) -> Client {
        Client::of(TcpStream::connect(addr).expect("it listens"))
    }

    pub fn of(stream: TcpStream) -> Client {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Client { reader: BufReader::new(stream) }
    }

    pub fn stream(&mut self) -> &mut TcpStream {
        self.reader.get_mut()
    }

    pub fn send(&mut self, text: &str) {
        self.stream().write_all(text.as_bytes()).expect("what is sent is taken");
    }

    /// Sends a byte, again and again, until the other side answers or closes; whether it did in time.
    pub fn trickle(&mut self, byte: u8) -> bool {
        let pause = Duration::from_millis(5);
        self.stream().set_read_timeout(Some(pause)).unwrap();
        let end = Instant::now() + PATIENCE;
        let mut reacted = false;
        while !reacted && Instant::now() < end {
            reacted = self.stream().write_all(&[byte]).is_err();
            reacted |= match self.reader.fill_buf() {
                Err(e) => !matches!(
                    e.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
                ),
                Ok(_) => true,
            };
        }
        self.stream().set_read_timeout(Some(PATIENCE)).unwrap();
        reacted
    }

    /// A head, with its empty line; empty at the end of the connection.
    pub fn head(&mut self) -> String {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.reader.read_line(&mut head).expect("a head comes in time") == 0 {
                break;
            }
        }
        head
    }

    pub fn response(&mut self) -> Response {
        self.response_to("GET")
    }

    pub fn response_to(&mut self, method: &str) -> Response {
        let head = self.head();
        let status = head.get(9..12).and_then(|digits| digits.parse().ok());
        let status = status.unwrap_or_else(|| panic!("{head:?} is no response"));
        let has_body = method != "HEAD" && status >= 200 && status != 204 && status != 304;
        let body = if has_body { self.body(&head) } else { Vec::new() };
        Response { status, head, body }
    }

    /// The body that this head announces.
    pub fn body(&mut self, head: &str) -> Vec<u8> {
        let mut body = Vec::new();
        if let Some(length) = field(head, "content-length") {
            body.resize(length.parse().expect("a number"), 0);
            self.reader.read_exact(&mut body).expect("the body is whole");
        } else if field(head, "transfer-encoding").is_some() {
            while let Some(chunk) = self.chunk() {
                body.extend(chunk);
            }
        } else if head.starts_with("HTTP/") {
            self.reader.read_to_end(&mut body).expect("the body ends");
        }
        body
    }

    /// A chunk; `None` for the last one.
    pub fn chunk(&mut self) -> Option<Vec<u8>> {
        let mut line = String::new();
        self.reader.read_line(&mut line).expect("a chunk's size");
        let size = usize::from_str_radix(line.trim_end(), 16).unwrap_or_else(|_| panic!("{line:?} is no chunk size"));
        let mut chunk = vec![0; size + 2];
        self.reader.read_exact(&mut chunk).expect("the chunk is whole");
        assert!(chunk.ends_with(b"\r\n"));
        chunk.truncate(size);
        (size > 0).then_some(chunk)
    }

    /// Whether the other side has closed, with nothing left to read.
    pub fn is_at_end(&mut self) -> bool {
        match self.reader.fill_buf() {
            Ok(bytes) => bytes.is_empty(),
            // The process was stopped for a while.
            Err(e) if e.kind() == io::ErrorKind::Interrupted => self.is_at_end(),
            Err(e) => matches!(e.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe),
        }
    }
}

/// The value of a head's line.
pub fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let lines = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    lines.filter(|(of, _)| of.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
}

/// A server that does what the test says with each of its connections, on a thread of its own.
pub struct Upstream {
    pub addr: SocketAddr,
    accepted: Arc<AtomicUsize>,
}

impl Upstream {
    /// `serve` is given each connection and its number, from 1.
    pub fn start(serve: impl Fn(Client, usize) + Send + Sync + 'static) -> Upstream {
        Upstream::on("127.0.0.1:0", serve)
    }

    pub fn on(addr: &str, serve: impl Fn(Client, usize) + Send + Sync + 'static) -> Upstream {
        let listener = TcpListener::bind(addr).expect("a port is free");
        let addr = listener.local_addr().unwrap();
        let accepted = Arc::new(AtomicUsize::new(0));
        let (count, serve) = (Arc::clone(&accepted), Arc::new(serve));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let number = count.fetch_add(1, Ordering::SeqCst) + 1;
                let serve = Arc::clone(&serve);
                thread::spawn(move || serve(Client::of(stream), number));
            }
        });
        Upstream { addr, accepted }
    }

    /// Answers each request by what `answer` makes of its head and body, until the connection ends.
    pub fn answering(answer: impl Fn(&str, &[u8]) -> String + Send + Sync + 'static) -> Upstream {
        Upstream::start(move |mut conn, _| {
            loop {
                let head = conn.head();
                if head.is_empty() {
                    return;
                }
                let body = conn.body(&head);
                conn.send(&answer(&head, &body));
            }
        })
    }

    /// How many connections were made to it.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

/// A response with this body.
pub fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// An address that refuses connections until the process ends.
pub fn nobody() -> SocketAddr {
    let (socket, addr) = refusing();
    std::mem::forget(socket);
    addr
}
