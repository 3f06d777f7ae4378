//! Requests that a client sends without waiting for answers: which of them go upstream before their turn, and how many
//! segments the answers take.

use crate::harness::{Client, PATIENCE, Proxy, Upstream, ok};
use std::collections::HashSet;
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// An upstream that tells of each request by its path, and answers it when it is let.
struct Gated {
    upstream: Upstream,
    came: Receiver<String>,
    answered: Receiver<String>,
    open: Arc<(Mutex<HashSet<String>>, Condvar)>,
}

impl Gated {
    /// `answer` makes an answer of a path.
    fn start(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> Gated {
        let (tell_came, came) = mpsc::channel();
        let (tell_answered, answered) = mpsc::channel();
        let open = Arc::new((Mutex::new(HashSet::new()), Condvar::new()));
        let gate = Arc::clone(&open);
        let upstream = Upstream::start(move |mut conn, _| {
            while let Some(path) = conn.head().split(' ').nth(1).map(str::to_string) {
                tell_came.send(path.clone()).unwrap();
                let (paths, changed) = &*gate;
                drop(changed.wait_while(paths.lock().unwrap(), |paths| !paths.contains(&path)).unwrap());
                conn.send(&answer(&path));
                tell_answered.send(path).unwrap();
            }
        });
        Gated { upstream, came, answered, open }
    }

    fn proxy(&self, more: &[&str]) -> Proxy {
        Proxy::start(&[self.upstream.addr], more)
    }

    /// The paths of the next requests, in any order.
    fn next(&self, count: usize) -> HashSet<String> {
        (0..count).map(|_| self.came.recv_timeout(PATIENCE).expect("a request comes")).collect()
    }

    /// Returns when the answer has been sent.
    fn let_go(&self, path: &str) {
        self.open.0.lock().unwrap().insert(path.to_string());
        self.open.1.notify_all();
        assert_eq!(self.answered.recv_timeout(PATIENCE).expect("it is answered"), path);
    }
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

fn paths(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("/{n}")).collect()
}

fn assert_answers(client: &mut Client, paths: &[String]) {
    for path in paths {
        let response = client.response();
        assert_eq!((response.status, response.body), (200, path.as_bytes().to_vec()));
    }
}

/// How many segments with data have come on this connection, as the kernel counts.
#[cfg(target_os = "linux")]
fn segments(stream: &TcpStream) -> u32 {
    use std::os::fd::AsRawFd;
    /// Where `tcpi_data_segs_in` is in `struct tcp_info`.
    const AT: usize = 152;
    let mut info = [0u8; 256];
    let mut len = info.len() as libc::socklen_t;
    // SAFETY: the kernel writes no more than `len` bytes.
    let done = unsafe {
        let to = info.as_mut_ptr().cast();
        libc::getsockopt(stream.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, to, &mut len)
    };
    assert!(done == 0 && len as usize >= AT + 4, "TCP_INFO has this number");
    u32::from_ne_bytes(info[AT..AT + 4].try_into().unwrap())
}

#[test]
#[cfg(target_os = "linux")]
fn answers_that_come_in_one_turn_leave_in_one_segment() {
    let gated = Gated::start(ok);
    let proxy = gated.proxy(&[]);
    let mut client = proxy.client();
    let paths = paths(8);
    client.send(&paths.iter().map(|path| get(path)).collect::<String>());
    // All are there before one is answered.
    assert_eq!(gated.next(8), paths.iter().cloned().collect());
    proxy.stop();
    paths.iter().for_each(|path| gated.let_go(path));
    proxy.signal("CONT");
    assert_answers(&mut client, &paths);
    assert_eq!(segments(client.stream()), 1);
}

#[test]
#[cfg(target_os = "linux")]
fn answers_that_wait_for_an_earlier_one_leave_with_it_in_one_segment() {
    let gated = Gated::start(ok);
    let proxy = gated.proxy(&[]);
    let mut client = proxy.client();
    let paths = paths(8);
    client.send(&paths.iter().map(|path| get(path)).collect::<String>());
    gated.next(8);
    paths.iter().rev().for_each(|path| gated.let_go(path));
    assert_answers(&mut client, &paths);
    assert_eq!(segments(client.stream()), 1);
}

#[test]
#[cfg(target_os = "linux")]
fn answers_of_the_proxy_itself_leave_in_one_segment() {
    let upstream = Upstream::answering(|_, _| ok(""));
    let proxy = Proxy::start(&[upstream.addr], &[]);
    let mut client = Client::connect(proxy.status);
    client.send(&get("/nothing").repeat(8));
    for _ in 0..8 {
        assert_eq!(client.response().status, 404);
    }
    assert_eq!(segments(client.stream()), 1);
}

#[test]
#[cfg(target_os = "linux")]
fn head_and_body_that_come_together_go_on_in_one_segment() {
    let (tell, told) = mpsc::channel();
    let upstream = Upstream::start(move |mut conn, _| {
        let head = conn.head();
        conn.body(&head);
        tell.send(segments(conn.stream())).unwrap();
        conn.send(&ok("answer"));
        conn.is_at_end();
    });
    let proxy = Proxy::start(&[upstream.addr], &[]);
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
    assert_eq!(client.response().body, b"answer");
    assert_eq!((told.recv().unwrap(), segments(client.stream())), (1, 1));
}

#[test]
fn only_so_many_requests_of_a_client_go_ahead() {
    let gated = Gated::start(ok);
    let proxy = gated.proxy(&[]);
    let mut client = proxy.client();
    let paths = paths(40);
    client.send(&paths.iter().map(|path| get(path)).collect::<String>());
    assert_eq!(gated.next(16), paths[..16].iter().cloned().collect());
    assert_eq!(proxy.figure("active"), 16);
    // One more for each that is answered.
    gated.let_go("/0");
    assert_eq!(gated.next(1), HashSet::from(["/16".into()]));
    for path in &paths[1..] {
        gated.let_go(path);
    }
    assert_answers(&mut client, &paths);
    assert_eq!(proxy.figure("requests"), 40);
    assert_eq!(gated.upstream.accepted(), 16);
}

#[test]
fn what_changes_something_passes_nothing_and_is_passed_by_nothing() {
    let gated = Gated::start(ok);
    let proxy = gated.proxy(&[]);
    let mut client = proxy.client();
    let post = "POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";
    client.send(&[&get("/0"), post, &get("/2")].concat());
    for path in paths(3) {
        assert_eq!(gated.next(1), HashSet::from([path.clone()]));
        assert_eq!(proxy.figure("active"), 1);
        gated.let_go(&path);
        let response = client.response();
        assert_eq!((response.status, response.body), (200, path.into_bytes()));
    }
}

#[test]
fn requests_with_a_body_or_an_authentication_of_the_connection_do_not_go_ahead() {
    let with_body = "GET /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 0000\r\n\r\n".replace("0000", "3") + "abc";
    let authenticating = "GET /1 HTTP/1.1\r\nHost: a\r\nAuthorization: NTLM abc\r\n\r\n".to_string();
    let upgrading = "GET /1 HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n".to_string();
    for second in [with_body, authenticating, upgrading] {
        let gated = Gated::start(ok);
        let proxy = gated.proxy(&[]);
        let mut client = proxy.client();
        client.send(&(get("/0") + &second));
        assert_eq!(gated.next(1), HashSet::from(["/0".into()]));
        assert_eq!(proxy.figure("active"), 1, "{second}");
        gated.let_go("/0");
        assert_answers(&mut client, &["/0".into()]);
        assert_eq!(gated.next(1), HashSet::from(["/1".into()]));
    }
}

#[test]
fn a_request_whose_connection_dies_before_its_turn_is_repeated_in_its_turn() {
    // Of the connections, the second one dies at its second request.
    let (tell, told) = mpsc::channel();
    let together = Arc::new(std::sync::Barrier::new(2));
    let gate = Arc::clone(&together);
    let upstream = Upstream::start(move |mut conn, number| {
        for use_ in 1.. {
            let head = conn.head();
            let Some(path) = head.split(' ').nth(1) else { return };
            if path == "/warm" {
                gate.wait();
            }
            if use_ == 2 {
                tell.send(path.to_string()).unwrap();
                if number == 2 {
                    return;
                }
            }
            conn.send(&ok(path));
        }
    });
    let proxy = Proxy::start(&[upstream.addr], &[]);
    let mut clients = [proxy.client(), proxy.client()];
    clients.iter_mut().for_each(|client| client.send(&get("/warm")));
    clients.iter_mut().for_each(|client| drop(client.response()));
    proxy.wait_for_figure("inactive", 2);
    let paths = paths(2);
    clients[0].send(&(get("/0") + &get("/1")));
    assert_answers(&mut clients[0], &paths);
    assert_eq!(HashSet::from([told.recv().unwrap(), told.recv().unwrap()]), paths.into_iter().collect());
    assert_eq!(proxy.figure("handed_out_dead"), 1);
    assert_eq!(proxy.figure("retried"), 1);
    assert_eq!(upstream.accepted(), 3);
}

#[test]
fn a_request_whose_connection_is_refused_before_its_turn_is_sent_in_its_turn() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = Proxy::start(&[listener.local_addr().unwrap()], &["--connect-timeout", "1000"]);
    let mut client = proxy.client();
    client.send(&get("/warm"));
    let mut conn = Client::of(listener.accept().unwrap().0);
    drop(listener);
    conn.head();
    conn.send(&ok("/warm"));
    assert_answers(&mut client, &["/warm".into()]);
    client.send(&(get("/0") + &get("/1")));
    conn.head();
    proxy.wait_for_figure("active", 1);
    for path in paths(2) {
        conn.send(&ok(&path));
        assert_answers(&mut client, std::slice::from_ref(&path));
        if path == "/0" {
            assert!(conn.head().starts_with("GET /1 "));
        }
    }
}

#[test]
fn requests_whose_connections_are_refused_before_their_turn_are_answered_in_their_turn() {
    let proxy = Proxy::start(&[crate::harness::nobody()], &[]);
    let mut client = proxy.client();
    client.send(&paths(4).iter().map(|path| get(path)).collect::<String>());
    for _ in 0..4 {
        assert_eq!(client.response().status, 502);
    }
    assert_eq!(proxy.figure("requests"), 4);
}

#[test]
fn a_client_that_goes_away_takes_its_requests_along() {
    let gated = Gated::start(ok);
    let proxy = gated.proxy(&[]);
    let mut client = proxy.client();
    client.send(&paths(5).iter().map(|path| get(path)).collect::<String>());
    gated.next(5);
    socket2::SockRef::from(&*client.stream()).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    proxy.wait_for_figure("active", 0);
    assert_eq!(proxy.figure("inactive"), 0);
}

#[test]
fn an_answer_that_ends_the_connection_is_the_last_one() {
    // Only the end of the connection can show an HTTP/1.0 client where this answer ends.
    let gated =
        Gated::start(|path| format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{path}\r\n0\r\n\r\n"));
    let proxy = gated.proxy(&[]);
    let mut client = proxy.client();
    let request = |path: &String| format!("GET {path} HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n");
    let paths = paths(3);
    client.send(&paths.iter().map(request).collect::<String>());
    gated.next(3);
    gated.let_go("/2");
    gated.let_go("/0");
    assert_answers(&mut client, &paths[..1]);
    assert!(client.is_at_end());
    // The first one alone can carry another request.
    proxy.wait_for_figure("active", 0);
    assert_eq!(proxy.figure("inactive"), 1);
}

#[test]
fn requests_beyond_the_limit_of_connections_are_sent_in_their_turn() {
    let gated = Gated::start(ok);
    let proxy = gated.proxy(&["--max-connections-per-upstream", "2"]);
    let mut client = proxy.client();
    let paths = paths(6);
    client.send(&paths.iter().map(|path| get(path)).collect::<String>());
    assert_eq!(gated.next(2), HashSet::from(["/0".into(), "/1".into()]));
    paths.iter().for_each(|path| gated.let_go(path));
    assert_answers(&mut client, &paths);
    assert_eq!(gated.upstream.accepted(), 2);
    assert_eq!(proxy.figure("waiting"), 0);
}

#[test]
fn what_is_wrong_with_a_request_is_said_in_its_turn() {
    let gated = Gated::start(ok);
    let proxy = gated.proxy(&[]);
    let mut client = proxy.client();
    client.send(&(get("/0") + &get("/1") + "GET /2 HTTP/1.1\r\nno host\r\n\r\n" + &get("/3")));
    assert_eq!(gated.next(2), HashSet::from(["/0".into(), "/1".into()]));
    gated.let_go("/1");
    gated.let_go("/0");
    assert_answers(&mut client, &paths(2));
    assert_eq!(client.response().status, 400);
    assert!(client.is_at_end());
}
