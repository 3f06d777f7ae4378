//! The server at the far end: an nginx that answers with the request's own path, and can be kept from answering one.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};
use testing::certificates::Authority;
use testing::servers::{Nginx, PATIENCE};
use testing::temp_dir::TempDir;

/// Closes after three requests, and after a second without one.
pub struct Origin {
    pub nginx: Nginx,
    /// Has `cert.pem` and `key.pem`, and `authority.pem` to trust in.
    pub certificate: TempDir,
    held: TcpListener,
}

impl Origin {
    #[track_caller]
    pub fn start(name: &str) -> Origin {
        Origin::with_tls(name, "TLSv1.3")
    }

    /// Its TLS, on `nginx.other`, is of this version.
    #[track_caller]
    pub fn with_tls(name: &str, version: &str) -> Origin {
        let held = TcpListener::bind("127.0.0.1:0").unwrap();
        let certificate = TempDir::new(&format!("{name}-certificate"));
        let at = certificate.path();
        let authority = Authority::new();
        authority.issue_to(at);
        fs::write(format!("{at}/authority.pem"), authority.pem()).unwrap();
        let server = format!(
            "listen OTHER ssl; ssl_protocols {version};
            ssl_certificate {at}/cert.pem; ssl_certificate_key {at}/key.pem;
            listen unix:DIR/socket;
            location /uri/ {{ return 200 $request_uri; }}
            location /held {{ proxy_pass http://{}; proxy_read_timeout 900s; }}",
            held.local_addr().unwrap()
        );
        let nginx = Nginx::start(name, "keepalive_requests 3; keepalive_timeout 1s;", &server);
        Origin { nginx, certificate, held }
    }

    pub fn url(&self) -> String {
        self.nginx.url("")
    }

    /// By the name that the certificate is for.
    pub fn https_url(&self) -> String {
        format!("https://localhost:{}", self.nginx.other.port())
    }

    pub fn socket(&self) -> String {
        format!("{}/socket", self.nginx.dir.path())
    }

    pub fn trust(&self) -> String {
        format!("{}/authority.pem", self.certificate.path())
    }

    /// Answers `/held`, once it has been asked for.
    #[track_caller]
    pub fn release(&self) {
        self.held.set_nonblocking(true).unwrap();
        let end = Instant::now() + PATIENCE;
        let mut client = loop {
            match self.held.accept() {
                Ok((client, _)) => break client,
                Err(error) if error.kind() == ErrorKind::WouldBlock && Instant::now() < end => {
                    thread::sleep(Duration::from_millis(5));
                }
                Err(error) => panic!("nobody asked for /held: {error}"),
            }
        };
        client.set_nonblocking(false).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut lines = BufReader::new(client.try_clone().unwrap()).lines();
        while lines.next().is_some_and(|line| !line.unwrap().is_empty()) {}
        client.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n/held").unwrap();
    }
}
