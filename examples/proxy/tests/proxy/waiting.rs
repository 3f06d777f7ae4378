//! Limits on the connections to an upstream, and the line of those who wait.

use crate::harness::{Client, PATIENCE, Proxy, Upstream, field, nobody, ok, wait_until};
use std::net::{Shutdown, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const AT_MOST_ONE: &[&str] = &["--max-connections-per-upstream", "1", "--wait", "1000", "--timeout", "1000"];

/// An upstream that tells of each request, and answers when it is let; with the path.
struct Held {
    upstream: Upstream,
    came: Receiver<String>,
    go: Sender<Answer>,
}

enum Answer {
    Whole,
    /// And closes, as it says.
    Last,
    None,
}

impl Held {
    fn start() -> Held {
        let (tell, came) = mpsc::channel();
        let (go, wait) = mpsc::channel();
        let wait = Mutex::new(wait);
        let upstream = Upstream::start(move |mut conn, _| {
            while let Some(path) = path(&conn.head()) {
                tell.send(path.clone()).unwrap();
                let answer = wait.lock().unwrap().recv().unwrap();
                match answer {
                    Answer::Whole => conn.send(&ok(&path)),
                    Answer::Last => return conn.send(&ok(&path).replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")),
                    Answer::None => return,
                }
            }
        });
        Held { upstream, came, go }
    }

    fn addr(&self) -> SocketAddr {
        self.upstream.addr
    }

    /// The next request comes.
    fn next(&self) -> String {
        self.came.recv_timeout(PATIENCE).expect("a request comes")
    }

    fn let_go(&self) {
        self.go.send(Answer::Whole).unwrap();
    }
}

fn path(head: &str) -> Option<String> {
    head.split(' ').nth(1).map(str::to_string)
}

fn ask(proxy: &Proxy, path: &str) -> Client {
    let mut client = proxy.client();
    client.send(&get(path));
    client
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

/// Clients that wait in this order, behind one that has the only connection.
fn line(proxy: &Proxy, held: &Held, paths: &[&str]) -> (Client, Vec<Client>) {
    let first = ask(proxy, "/first");
    assert_eq!(held.next(), "/first");
    let line = paths.iter().enumerate().map(|(at, path)| {
        let client = ask(proxy, path);
        proxy.wait_for_figure("waiting", at as u64 + 1);
        client
    });
    (first, line.collect())
}

fn answer(client: &mut Client) -> (u16, String) {
    let response = client.response();
    (response.status, String::from_utf8(response.body).unwrap())
}

#[test]
fn many_clients_share_two_connections_to_an_upstream_that_hangs_up() {
    const CLIENTS: usize = 50;
    const REQUESTS: usize = 20;
    let (standing, busy) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let (most, hangups) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (most_seen, hung_up) = (Arc::clone(&most), Arc::clone(&hangups));
    let upstream = Upstream::start(move |mut conn, number| {
        // A connection that the proxy has closed may be noticed a little later than the next one comes.
        standing.fetch_add(1, Ordering::SeqCst);
        wait_until(|| standing.load(Ordering::SeqCst) <= 2, || "at most two connections".into());
        for served in 1.. {
            let Some(path) = path(&conn.head()) else { break };
            most_seen.fetch_max(busy.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::thread::yield_now();
            busy.fetch_sub(1, Ordering::SeqCst);
            // Only a connection that has served is closed without an answer: such a request is repeated.
            let silent = served > 1 && (number + served) % 7 == 0;
            if !silent {
                conn.send(&ok(&path));
            }
            if silent || (number + served) % 11 == 0 {
                hung_up.fetch_add(1, Ordering::SeqCst);
                break;
            }
        }
        standing.fetch_sub(1, Ordering::SeqCst);
    });
    let proxy = Proxy::start(&[upstream.addr], &["--max-connections-per-upstream", "2", "--wait", "1000"]);
    std::thread::scope(|scope| {
        for number in 0..CLIENTS {
            let proxy = &proxy;
            scope.spawn(move || {
                let mut client = proxy.client();
                for request in 0..REQUESTS {
                    let path = format!("/{number}/{request}");
                    client.send(&get(&path));
                    assert_eq!(answer(&mut client), (200, path));
                }
            });
        }
    });
    assert!(most.load(Ordering::SeqCst) <= 2, "{most:?} requests at once");
    assert!(hangups.load(Ordering::SeqCst) > CLIENTS, "{hangups:?} hangups");
    assert_eq!((proxy.figure("passed_on"), proxy.figure("waiting")), ((CLIENTS * REQUESTS) as u64, 0));
    assert!(proxy.figure("waited") > CLIENTS as u64, "{}", proxy.json());
}

#[test]
fn those_who_wait_are_served_in_the_order_in_which_they_came() {
    let held = Held::start();
    let proxy = Proxy::start(&[held.addr()], AT_MOST_ONE);
    let paths = ["/1", "/2", "/3", "/4", "/5", "/6"];
    let (mut first, mut line) = line(&proxy, &held, &paths);
    held.let_go();
    assert_eq!(answer(&mut first), (200, "/first".into()));
    for (path, client) in paths.iter().zip(&mut line) {
        assert_eq!(held.next(), *path);
        // After two of the answers the upstream hangs up.
        held.go.send(if path.ends_with(['2', '4']) { Answer::Last } else { Answer::Whole }).unwrap();
        assert_eq!(answer(client), (200, path.to_string()));
    }
    assert_eq!(held.upstream.accepted(), 3);
}

#[test]
fn a_request_that_can_not_be_repeated_waits_in_the_same_line() {
    let held = Held::start();
    let proxy = Proxy::start(&[held.addr()], AT_MOST_ONE);
    let (_first, mut line) = line(&proxy, &held, &["/1"]);
    let mut post = proxy.client();
    post.send("POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    proxy.wait_for_figure("waiting", 2);
    line.push(post);
    line.push(ask(&proxy, "/3"));
    proxy.wait_for_figure("waiting", 3);
    for path in ["/1", "/2", "/3"] {
        held.let_go();
        assert_eq!(held.next(), path);
    }
    held.let_go();
    let answers: Vec<(u16, String)> = line.iter_mut().map(answer).collect();
    assert_eq!(answers, [(200, "/1".into()), (200, "/2".into()), (200, "/3".into())]);
    assert_eq!(held.upstream.accepted(), 1);
}

#[test]
fn a_request_whose_connection_died_is_repeated_though_others_wait() {
    let held = Held::start();
    let proxy = Proxy::start(&[held.addr()], AT_MOST_ONE);
    let (_first, mut line) = line(&proxy, &held, &["/1", "/2"]);
    held.let_go();
    assert_eq!(held.next(), "/1");
    held.go.send(Answer::None).unwrap();
    let mut came = Vec::new();
    for _ in 0..2 {
        came.push(held.next());
        held.let_go();
    }
    came.sort();
    assert_eq!(came, ["/1", "/2"]);
    assert_eq!(line.iter_mut().map(answer).collect::<Vec<_>>(), [(200, "/1".into()), (200, "/2".into())]);
}

#[test]
fn clients_that_leave_the_line_are_not_served_and_nobody_else_is_forgotten() {
    let held = Held::start();
    let proxy = Proxy::start(&[held.addr()], AT_MOST_ONE);
    let paths = ["/1", "/2", "/3", "/4", "/5"];
    let (mut first, mut line) = line(&proxy, &held, &paths);
    // A reset, an end, and an end of the sending alone.
    let reset = line.remove(4);
    socket2::SockRef::from(reset.reader.get_ref()).set_linger(Some(Duration::ZERO)).unwrap();
    drop(reset);
    proxy.wait_for_figure("waiting", 4);
    drop(line.remove(2));
    proxy.wait_for_figure("waiting", 3);
    let mut half_closed = line.remove(0);
    half_closed.stream().shutdown(Shutdown::Write).unwrap();
    assert_eq!(answer(&mut half_closed).0, 503);
    assert!(half_closed.is_at_end());
    proxy.wait_for_figure("waiting", 2);
    held.let_go();
    assert_eq!(answer(&mut first), (200, "/first".into()));
    for (path, client) in ["/2", "/4"].iter().zip(&mut line) {
        assert_eq!(held.next(), *path);
        held.let_go();
        assert_eq!(answer(client), (200, path.to_string()));
    }
    // What clients bring about is not a warning.
    assert!(!proxy.log().contains("WARN"), "{}", proxy.log());
}

#[test]
fn beyond_the_longest_line_the_answer_is_a_503_at_once() {
    let held = Held::start();
    let mut options = AT_MOST_ONE.to_vec();
    options.extend(["--max-waiting", "2"]);
    let proxy = Proxy::start(&[held.addr()], &options);
    let (mut first, mut line) = line(&proxy, &held, &["/1", "/2"]);
    let mut third = ask(&proxy, "/3");
    let response = third.response();
    assert_eq!((response.status, field(&response.head, "connection")), (503, None));
    let mut status = Client::connect(proxy.status);
    status.send(&get("/metrics"));
    let metrics = String::from_utf8(status.response().body).unwrap();
    for line in [
        "requests_waiting 2".to_string(),
        "requests_waited_total 2".into(),
        format!("upstream_requests_waiting{{upstream=\"{}\"}} 2", held.addr()),
        format!("upstream_connections{{upstream=\"{}\",state=\"active\"}} 1", held.addr()),
    ] {
        assert!(metrics.lines().any(|of| of.strip_prefix("conncache_proxy_") == Some(&line)), "{line} in {metrics}");
    }
    for _ in 0..3 {
        held.let_go();
    }
    assert_eq!(answer(&mut first).0, 200);
    line.iter_mut().for_each(|client| assert_eq!(answer(client).0, 200));
    // The connection of the client that was refused goes on.
    third.send(&get("/4"));
    held.let_go();
    assert_eq!(answer(&mut third), (200, "/4".into()));
}

#[test]
fn a_request_that_waits_in_vain_is_answered_with_503() {
    let held = Held::start();
    let proxy =
        Proxy::start(&[held.addr()], &["--max-connections-per-upstream", "1", "--wait", "0.1", "--timeout", "1000"]);
    let mut first = ask(&proxy, "/first");
    assert_eq!(held.next(), "/first");
    assert_eq!(answer(&mut ask(&proxy, "/1")).0, 503);
    proxy.wait_for_log(&format!("no room for a connection to {} within", held.addr()));
    assert_eq!((proxy.figure("timed_out"), proxy.figure("waiting")), (1, 0));
    held.let_go();
    assert_eq!(answer(&mut first), (200, "/first".into()));
}

#[test]
fn an_upstream_with_room_is_asked_before_one_without() {
    let held = Held::start();
    let other = Upstream::answering(|_, _| ok("other"));
    let proxy = Proxy::start(&[held.addr(), other.addr], AT_MOST_ONE);
    let mut first = ask(&proxy, "/first");
    assert_eq!(held.next(), "/first");
    for _ in 0..4 {
        assert_eq!(answer(&mut ask(&proxy, "/")), (200, "other".into()));
    }
    assert_eq!(proxy.figure("waited"), 0);
    held.let_go();
    assert_eq!(answer(&mut first), (200, "/first".into()));
}

#[test]
fn who_waits_for_an_upstream_that_fails_goes_to_another() {
    let (failing, other) = (Held::start(), Held::start());
    let mut options = AT_MOST_ONE.to_vec();
    options.extend(["--quarantine", "1000"]);
    let proxy = Proxy::start(&[failing.addr(), other.addr()], &options);
    let mut first = proxy.client();
    first.send("POST /first HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(failing.next(), "/first");
    let mut second = ask(&proxy, "/second");
    assert_eq!(other.next(), "/second");
    // Both have what they may: these two wait, one for each.
    let mut line: Vec<Client> = ["/1", "/2"].iter().map(|path| ask(&proxy, path)).collect();
    proxy.wait_for_figure("waiting", 2);
    failing.go.send(Answer::None).unwrap();
    assert_eq!(answer(&mut first).0, 502);
    proxy.wait_for_log(&format!("event=quarantine peer={}", failing.addr()));
    for _ in 0..3 {
        other.let_go();
    }
    assert_eq!(answer(&mut second).0, 200);
    assert_eq!(line.iter_mut().map(answer).collect::<Vec<_>>(), [(200, "/1".into()), (200, "/2".into())]);
    assert_eq!((failing.upstream.accepted(), other.upstream.accepted()), (1, 1));
}

#[test]
fn who_waits_comes_back_to_an_upstream_that_is_well_again() {
    let upstreams = [Held::start(), Held::start()];
    let mut options = AT_MOST_ONE.to_vec();
    options.extend(["--quarantine", "0.3"]);
    let proxy = Proxy::start(&upstreams.each_ref().map(Held::addr), &options);
    let mut broken = upstreams.each_ref().map(|upstream| {
        let mut client = proxy.client();
        client.send("POST /broken HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(upstream.next(), "/broken");
        client
    });
    let mut waiting = ask(&proxy, "/waiting");
    proxy.wait_for_figure("waiting", 1);
    for (client, upstream) in broken.iter_mut().zip(&upstreams) {
        upstream.go.send(Answer::None).unwrap();
        assert_eq!(answer(client).0, 502);
        if upstream.addr() == upstreams[0].addr() {
            wait_until(|| !proxy.json().contains("quarantined"), || "the end of the quarantine".into());
            assert_eq!(proxy.figure("waiting"), 1, "it has gone to the other one");
        }
    }
    assert_eq!(upstreams[0].next(), "/waiting");
    upstreams[0].let_go();
    assert_eq!(answer(&mut waiting), (200, "/waiting".into()));
}

#[test]
fn who_waits_for_an_upstream_stays_when_all_have_failed() {
    let (failed, failing) = (nobody(), Held::start());
    let mut options = AT_MOST_ONE.to_vec();
    options.extend(["--quarantine", "1000"]);
    let proxy = Proxy::start(&[failed, failing.addr()], &options);
    let mut first = proxy.client();
    first.send("POST /first HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    proxy.wait_for_log(&format!("event=quarantine peer={failed}"));
    assert_eq!(failing.next(), "/first");
    let mut second = ask(&proxy, "/second");
    proxy.wait_for_figure("waiting", 1);
    failing.go.send(Answer::None).unwrap();
    assert_eq!(answer(&mut first).0, 502);
    proxy.wait_for_log(&format!("event=quarantine peer={}", failing.addr()));
    assert_eq!(failing.next(), "/second");
    failing.let_go();
    assert_eq!(answer(&mut second), (200, "/second".into()));
}

#[cfg_attr(not(unix), ignore = "there is no SIGTERM")]
#[test]
fn who_waits_when_sigterm_comes_is_still_served() {
    let held = Held::start();
    let mut options = AT_MOST_ONE.to_vec();
    options.extend(["--grace", "0"]);
    let mut proxy = Proxy::start(&[held.addr()], &options);
    let (first, mut line) = line(&proxy, &held, &["/1", "/2", "/3"]);
    proxy.terminate();
    proxy.wait_for_log("event=drain");
    for _ in 0..4 {
        held.let_go();
    }
    line.insert(0, first);
    for (path, client) in ["/first", "/1", "/2", "/3"].iter().zip(&mut line) {
        let response = client.response();
        assert_eq!((response.status, field(&response.head, "connection")), (200, Some("close")));
        assert_eq!(response.body, path.as_bytes());
    }
    assert_eq!(held.upstream.accepted(), 1, "the connection is kept for those who wait");
    drop(line);
    assert!(proxy.ended_well());
}
