//! A server for the smallest examples: answers two lines of one client, each with itself.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};

/// Starts it on a free port of loopback. It hangs up once the sender is dropped.
pub fn start() -> io::Result<(SocketAddr, Sender<()>, JoinHandle<io::Result<()>>)> {
    let server = TcpListener::bind("127.0.0.1:0")?;
    let addr = server.local_addr()?;
    let (hang_up, told) = mpsc::channel();
    let serving = thread::spawn(move || {
        let (conn, _) = server.accept()?;
        for line in BufReader::new(&conn).lines().take(2) {
            (&conn).write_all(format!("{}\n", line?).as_bytes())?;
        }
        let _ = told.recv();
        Ok(())
    });
    Ok((addr, hang_up, serving))
}
