//! By Unix-domain sockets.

use crate::program::{FEW, TempDir, fetch};
use crate::server::{Client, accept, response};
use rustls::{ServerConnection, StreamOwned};
use std::io::{self, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;
use testing::certificates::Authority;

type Seen = Arc<Mutex<Vec<Vec<String>>>>;

fn listen(path: &str, serve: fn(&mut Client<UnixStream>) -> io::Result<()>) -> Seen {
    let listener = UnixListener::bind(path).unwrap();
    let streams = std::iter::from_fn(move || Some(listener.accept().map(|(stream, _)| stream)));
    accept(streams, move |client, _| serve(client))
}

fn socket_in(dir: &TempDir) -> String {
    std::fs::create_dir_all(dir.path()).unwrap();
    format!("{}/socket", dir.path())
}

#[test]
fn two_hundred_bodies_come_by_few_connections() {
    let dir = TempDir::new("unix");
    let path = socket_in(&dir);
    listen(&path, |client| client.echo(5));
    let bodies = format!("{}/bodies", dir.path());
    let urls: Vec<String> = (0..100).map(|k| format!("http://host-{}.invalid/{k}", k % 2)).collect();
    let mut args = vec!["-q", "-c", "3", "-n", "2", "--unix", &path, "--output", &bodies];
    args.extend(urls.iter().map(String::as_str));
    let run = fetch(&args);
    run.expect(&[("responses", 200), ("failed", 0)]);
    let opened = run.report().number("opened");
    assert!(FEW.contains(&opened), "{opened} opened");
    for k in 0..200 {
        assert_eq!(dir.read(format!("bodies/{k}")), Some(format!("/{}", k % 100).into_bytes()));
    }
}

#[test]
fn one_connection_serves_several_hosts_and_is_told_which() {
    let dir = TempDir::new("unix-hosts");
    let path = socket_in(&dir);
    let seen = listen(&path, |client| client.echo(5));
    let args = ["-c", "1", "--unix", &path, "http://one.invalid/", "http://two.invalid/"];
    fetch(&args).expect(&[("responses", 2), ("opened", 1), ("reused", 1)]);
    let seen = seen.lock().unwrap();
    let [one, two] = &seen[0][..] else { panic!("{seen:?}") };
    assert!(one.contains("\r\nHost: one.invalid\r\n") && two.contains("\r\nHost: two.invalid\r\n"), "{seen:?}");
}

#[test]
fn a_socket_that_is_not_there_is_named() {
    let dir = TempDir::new("no-unix");
    let path = socket_in(&dir);
    let run = fetch(&["--unix", &path, "-n", "2", "http://name/"]);
    run.expect(&[("failed", 2), ("opened", 0), ("not_connected", 0)]);
    assert!(run.err.contains(&format!("can't connect to unix://{path}: No such file")), "{}", run.err);
    drop(UnixListener::bind(&path).unwrap());
    let run = fetch(&["--unix", &path, "http://name/"]);
    assert!(run.err.contains(&format!("can't connect to unix://{path}: Connection refused")), "{}", run.err);
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_queue_is_waited_for() {
    use socket2::{Domain, SockAddr, Socket, Type};
    let dir = TempDir::new("unix-queue");
    let path = socket_in(&dir);
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    socket.bind(&SockAddr::unix(&path).unwrap()).unwrap();
    socket.listen(0).unwrap();
    let in_queue = UnixStream::connect(&path).unwrap();
    let run = fetch(&["--unix", &path, "--timeout", "0.5", "http://name/"]);
    run.expect(&[("failed", 1), ("opened", 0)]);
    assert!(run.err.contains(&format!("can't connect to unix://{path}: ")), "{}", run.err);
    drop(in_queue);
    let listener = UnixListener::from(std::os::fd::OwnedFd::from(socket));
    let streams = std::iter::from_fn(move || Some(listener.accept().map(|(stream, _)| stream)));
    accept(streams, |client, _| client.echo(1));
    fetch(&["--unix", &path, "-c", "9", "-n", "99", "http://name/"]).expect(&[("responses", 99), ("failed", 0)]);
}

/// The path says nothing about who is there: what was shown for one name doesn't count for another.
#[test]
fn two_names_with_tls_at_one_path_never_share_a_connection() {
    let dir = TempDir::new("unix-tls");
    let path = socket_in(&dir);
    let authority = Authority::new();
    let params = rcgen::CertificateParams::new(["one.test".to_owned(), "two.test".to_owned()]).unwrap();
    let config = Arc::new(authority.server_with(&rustls::version::TLS13, params));
    let listener = UnixListener::bind(&path).unwrap();
    let streams = std::iter::from_fn(move || {
        let session = ServerConnection::new(Arc::clone(&config)).unwrap();
        Some(listener.accept().map(|(stream, _)| StreamOwned::new(session, stream)))
    });
    let seen = accept(streams, |client, _| {
        client.echo(100)?;
        client.stream.conn.send_close_notify();
        client.stream.flush()
    });
    let pem = format!("{}/authority.pem", dir.path());
    std::fs::write(&pem, authority.pem()).unwrap();
    let args = ["--unix", &path, "--cacert", &pem, "-c", "1", "-n", "5", "https://one.test/", "https://two.test/"];
    fetch(&args).expect(&[("responses", 10), ("opened", 2), ("handshakes_full", 2), ("reused", 8)]);
    for heads in seen.lock().unwrap().iter() {
        let host = if heads[0].contains("one.test") { "Host: one.test" } else { "Host: two.test" };
        assert!(heads.iter().all(|head| head.contains(host)), "{heads:?}");
    }
}

/// The server answers four pipelined requests when it has read the beginning of the first. Their lengths differ from run
/// to run, so that in some run the socket takes all but the last piece, which TLS holds.
#[test]
fn a_connection_is_kept_only_if_its_requests_were_sent_whole() {
    let dir = TempDir::new("unix-early");
    let path = socket_in(&dir);
    let authority = Authority::new();
    let config = Arc::new(authority.server(&rustls::version::TLS13));
    let listener = UnixListener::bind(&path).unwrap();
    let streams = std::iter::from_fn(move || {
        let session = ServerConnection::new(Arc::clone(&config)).unwrap();
        Some(listener.accept().map(|(stream, _)| StreamOwned::new(session, stream)))
    });
    let (end, ended) = mpsc::channel::<()>();
    let (arrive, arrived) = mpsc::channel();
    let channels = Mutex::new((ended, arrive));
    accept(streams, move |client, _| {
        client.echo(1)?;
        client.receive()?;
        client.say(response("", "early").repeat(4))?;
        let (ended, arrive) = &*channels.lock().unwrap();
        let _ = ended.recv();
        while client.receive().is_ok_and(|n| n > 0) {}
        let _ = arrive.send(client.waiting());
        Ok(())
    });
    let pem = format!("{}/authority.pem", dir.path());
    std::fs::write(&pem, authority.pem()).unwrap();
    for length in (50_000..74_000).step_by(2_000) {
        let url = format!("https://localhost/{}", "x".repeat(length));
        let run = fetch(&["-q", "-c", "1", "-n", "5", "-p", "4", "--unix", &path, "--cacert", &pem, &url]);
        run.expect(&[("responses", 5), ("opened", 1)]);
        end.send(()).unwrap();
        let sent_whole = arrived.recv_timeout(Duration::from_secs(60)).unwrap() == 4;
        assert_eq!(run.report().number("kept"), f64::from(u8::from(sent_whole)), "{length}");
    }
}
