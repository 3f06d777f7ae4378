//! Servers that others wrote, each a process of the test's own.

use crate::temp_dir::TempDir;
use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
#[cfg(unix)]
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// Only a test that fails waits so long.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A running server, killed when dropped, with all processes that it started.
pub struct Server {
    process: Child,
    pub address: SocketAddr,
}

impl Server {
    /// Starts what `command` says, given an address that was free a moment ago, and waits until it accepts connections
    /// there. It has to stay in the foreground.
    #[track_caller]
    pub fn start(mut command: impl FnMut(SocketAddr) -> Command) -> Server {
        let mut said = String::new();
        for _ in 0..5 {
            let address = unused_address();
            let mut command = command(address);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            #[cfg(unix)]
            command.process_group(0); // some start helpers
            let process = command
                .spawn()
                .unwrap_or_else(|error| panic!("{command:?}: {error}; docs/testing.md tells what to install"));
            let mut server = Server { process, address };
            let end = Instant::now() + PATIENCE;
            while Instant::now() < end && server.process.try_wait().unwrap().is_none() {
                if TcpStream::connect(address).is_ok() {
                    return server;
                }
                thread::sleep(Duration::from_millis(5)); // leaves it the processor
            }
            // Perhaps somebody else took the port.
            said = format!("{command:?}: {:?}", server.process.try_wait());
        }
        panic!("a server doesn't start: {said}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let group = format!("-{}", self.process.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A port that was free a moment ago: servers are told theirs. Nobody is given it twice, nor does the system give it to
/// an outgoing connection, not even to one that looks whether the server is there yet.
pub fn unused_address() -> SocketAddr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    const PORTS: Range<u32> = 10_000..32_000;
    let first = std::process::id().wrapping_mul(997); // tests that run at the same time begin elsewhere
    for _ in PORTS {
        let place = first.wrapping_add(NEXT.fetch_add(1, Relaxed)) % PORTS.len() as u32;
        let address = SocketAddr::from(([127, 0, 0, 1], (PORTS.start + place) as u16));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
    panic!("all ports are taken");
}

/// An stunnel in front of `target`, with the certificate of this directory.
#[track_caller]
pub fn stunnel(certificate: &str, target: SocketAddr) -> Server {
    Server::start(|address| {
        let file = format!("{certificate}/stunnel.conf");
        let config = format!(
            "foreground = yes\npid =\nsyslog = no\n[tls]\naccept = {address}\nconnect = {target}\n\
            cert = {certificate}/cert.pem\nkey = {certificate}/key.pem\n"
        );
        fs::write(&file, config).unwrap();
        let mut command = Command::new("stunnel4");
        command.arg(file);
        command
    })
}

/// An nginx that writes down which request came by which connection.
pub struct Nginx {
    _server: Server,
    pub dir: TempDir,
    pub address: SocketAddr,
    /// For a `listen` in the settings.
    pub other: SocketAddr,
}

impl Nginx {
    /// Starts it with these lines in its `http` and `server` blocks. `DIR` in them stands for its directory, and `OTHER`
    /// for an address that is free.
    #[track_caller]
    pub fn start(name: &str, http: &str, server: &str) -> Nginx {
        let dir = TempDir::new(name);
        let d = dir.path().to_owned();
        fs::create_dir_all(&d).unwrap();
        let temp: String =
            ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(|of| format!("{of}_temp_path {d}/{of};")).concat();
        let mut other = unused_address();
        let running = Server::start(|address| {
            other = unused_address();
            // Its own address is the last one that it opens: who can connect there can connect to all.
            let config = format!(
                "daemon off; master_process off; user root; pid {d}/nginx.pid; error_log {d}/error.log;
                events {{ worker_connections 4096; }}
                http {{
                    log_format counted '$connection $status $request_uri';
                    access_log {d}/access.log counted; default_type text/plain;
                    {temp} {http}
                    server {{ {server} listen {address}; }}
                }}"
            );
            let config = config.replace("DIR", &d).replace("OTHER", &other.to_string());
            fs::write(format!("{d}/nginx.conf"), config).unwrap();
            let mut command = Command::new("nginx");
            command.args(["-c", &format!("{d}/nginx.conf")]);
            command
        });
        Nginx { address: running.address, _server: running, dir, other }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The log, once there are `requests` in it: a line is written behind its response. Less if that takes too long.
    pub fn log(&self, requests: usize) -> Log {
        let end = Instant::now() + PATIENCE;
        loop {
            let log = self.log_so_far();
            if log.0.len() >= requests || Instant::now() > end {
                return log;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn log_so_far(&self) -> Log {
        let text = fs::read_to_string(format!("{}/access.log", self.dir.path())).unwrap();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let entries = whole.lines().map(|line| {
            let mut fields = line.split(' ');
            let mut field = || fields.next().unwrap();
            (field().parse().unwrap(), field().parse().unwrap(), field().to_owned())
        });
        Log(entries.collect())
    }
}

/// Of each request, in the order in which they were answered: the connection's number, the status, the URI.
pub struct Log(pub Vec<(u64, u16, String)>);

impl Log {
    /// How many requests came by each connection.
    pub fn connections(&self) -> BTreeMap<u64, usize> {
        let mut connections = BTreeMap::new();
        for (connection, ..) in &self.0 {
            *connections.entry(*connection).or_default() += 1;
        }
        connections
    }
}
