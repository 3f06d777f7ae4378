//! An upstream that closes inactive connections at random moments, and a load that counts the requests that fail.
//!
//! ```text
//! closing upstream LISTEN               serve 612 bytes for any GET; close inactive connections after 1 to 50 ms,
//!                                       every other one by a reset
//! closing load TARGET CLIENTS REQUESTS PAUSE_MS
//!                                       so many requests over so many connections, each client pausing up to so long
//!                                       before each of its requests; prints `requests N failed N` and the failures' kinds
//! ```

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

const BODY: usize = 612;
const PATIENCE: Duration = Duration::from_secs(10);

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["upstream", listen] => upstream(listen),
        ["load", target, clients, requests, pause] => load(target, number(clients), number(requests), number(pause)),
        _ => eprintln!("usage: closing upstream LISTEN | closing load TARGET CLIENTS REQUESTS PAUSE_MS"),
    }
}

fn number(text: &str) -> u64 {
    text.parse().unwrap_or_else(|_| panic!("{text:?} is no number"))
}

fn upstream(listen: &str) {
    let listener = TcpListener::bind(listen).expect("the address is free");
    let response = format!("HTTP/1.1 200 OK\r\nContent-Length: {BODY}\r\n\r\n{}", "x".repeat(BODY));
    for (number, stream) in listener.incoming().flatten().enumerate() {
        let response = response.clone();
        thread::spawn(move || serve(stream, Random(number as u64 + 1), response.as_bytes()));
    }
}

fn serve(mut stream: TcpStream, mut random: Random, response: &[u8]) {
    let _ = stream.set_nodelay(true);
    let (mut buffer, mut filled) = ([0; 4096], 0);
    let mut served = false;
    loop {
        // Inactive is a connection between two requests: one that is new gets its time.
        let inactive = served && filled == 0;
        let patience = if inactive { Duration::from_micros(1_000 + random.below(49_000)) } else { PATIENCE };
        stream.set_read_timeout(Some(patience)).expect("it isn't zero");
        match stream.read(&mut buffer[filled..]) {
            Ok(0) => return,
            Ok(n) => filled += n,
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            Err(_) => break, // inactive for long enough
        }
        if buffer[..filled].ends_with(b"\r\n\r\n") {
            (filled, served) = (0, true);
            if stream.write_all(response).is_err() {
                return;
            }
        }
    }
    if random.below(2) == 0 {
        let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
    }
}

fn load(target: &str, clients: u64, requests: u64, pause_ms: u64) {
    let left = AtomicI64::new(requests as i64);
    let failed = AtomicU64::new(0);
    let kinds = std::sync::Mutex::new(BTreeMap::new());
    thread::scope(|scope| {
        for client in 0..clients {
            let (left, failed, kinds) = (&left, &failed, &kinds);
            scope.spawn(move || {
                let (mut random, mut conn) = (Random(client * 7919 + 1), None);
                while left.fetch_sub(1, Relaxed) > 0 {
                    if pause_ms > 0 {
                        thread::sleep(Duration::from_micros(random.below(pause_ms * 1_000)));
                    }
                    if let Err(kind) = ask(&mut conn, target) {
                        failed.fetch_add(1, Relaxed);
                        *kinds.lock().unwrap().entry(kind).or_insert(0u64) += 1;
                        conn = None;
                    }
                }
            });
        }
    });
    print!("requests {requests} failed {}", failed.into_inner());
    kinds.into_inner().unwrap().iter().for_each(|(kind, count)| print!(" {kind}={count}"));
    println!();
}

/// One request, on the connection there is or on a new one.
fn ask(conn: &mut Option<BufReader<TcpStream>>, target: &str) -> Result<(), String> {
    let kind = |e: std::io::Error| format!("{:?}", e.kind());
    let reader = match conn {
        Some(reader) => reader,
        None => {
            let stream = TcpStream::connect(target).map_err(kind)?;
            stream.set_nodelay(true).map_err(kind)?;
            stream.set_read_timeout(Some(PATIENCE)).map_err(kind)?;
            conn.insert(BufReader::new(stream))
        }
    };
    reader.get_mut().write_all(b"GET /file HTTP/1.1\r\nHost: a\r\n\r\n").map_err(kind)?;
    let (mut head, mut close, mut length, mut status) = (String::new(), false, 0, String::new());
    loop {
        head.clear();
        if reader.read_line(&mut head).map_err(kind)? == 0 {
            return Err("closed".into());
        }
        let line = head.trim_end().to_ascii_lowercase();
        match line.split_once(':').map(|(name, value)| (name, value.trim())) {
            _ if status.is_empty() => status = line.split(' ').nth(1).unwrap_or("?").to_string(),
            _ if line.is_empty() => break,
            Some(("content-length", value)) => length = value.parse().map_err(|_| "length".to_string())?,
            Some(("connection", value)) => close = value == "close",
            _ => {}
        }
    }
    std::io::copy(&mut reader.take(length), &mut std::io::sink()).map_err(kind)?;
    if close {
        *conn = None;
    }
    match (status.as_str(), length as usize) {
        ("200", BODY) => Ok(()),
        _ => Err(status),
    }
}

/// A small generator (xorshift64*).
struct Random(u64);

impl Random {
    fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) * most >> 32
    }
}
