//! Names to addresses without stalling the event loop: the system's resolver blocks, so it runs
//! on a few threads, and their answers wake the loop through its `mio::Waker`.
//!
//! Surprising: a lookup can't be stopped, since the system's can't be. Whoever loses interest
//! ignores the answer. Dropping the [`Resolver`] never waits; a thread that is stuck in a lookup
//! ends when that returns.

use conncache::mio::Waker;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread;

/// How many slow names it takes to hold up the others.
pub const THREADS: usize = 4;

/// Tells lookups apart; never used twice by one [`Resolver`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LookupId(u64);

/// What a lookup found: at least one address, or an error that names the host.
pub type Found = io::Result<Vec<SocketAddr>>;

type Question = (String, u16);

/// Looks names up on threads of its own.
pub struct Resolver {
    waker: Arc<Waker>,
    questions: Sender<Question>,
    answers: Receiver<(Question, Found)>,
    /// Who waits for what; the same question is asked once at a time.
    waiting: HashMap<Question, Vec<LookupId>>,
    ready: VecDeque<(LookupId, Found)>,
    next_id: u64,
}

impl Resolver {
    /// Starts the threads. From then on `waker` wakes its loop when [`poll`](Self::poll) has
    /// something to give.
    pub fn new(waker: Arc<Waker>) -> io::Result<Self> {
        Self::with(waker, |host, port| (host, port).to_socket_addrs().map(Iterator::collect))
    }

    /// Asks `look_up` instead of the system. It runs on [`THREADS`] threads and may block, but
    /// must not panic: its thread would be gone and the answer never come.
    pub fn with(waker: Arc<Waker>, look_up: impl Fn(&str, u16) -> Found + Send + Sync + 'static) -> io::Result<Self> {
        let (questions, inbox) = mpsc::channel();
        let (outbox, answers) = mpsc::channel();
        let inbox = Arc::new(Mutex::new(inbox));
        let look_up = Arc::new(look_up);
        for _ in 0..THREADS {
            let (inbox, outbox) = (inbox.clone(), outbox.clone());
            let (waker, look_up) = (waker.clone(), look_up.clone());
            thread::Builder::new().name("resolver".into()).spawn(move || {
                while let Some(question) = next_question(&inbox) {
                    let found = checked(&question.0, look_up(&question.0, question.1));
                    if outbox.send((question, found)).is_err() {
                        break; // the resolver is gone
                    }
                    wake(&waker);
                }
            })?;
        }
        Ok(Resolver { waker, questions, answers, waiting: HashMap::new(), ready: VecDeque::new(), next_id: 0 })
    }

    /// Begins to look up `host` (an IPv6 literal goes without brackets). An address literal needs
    /// no lookup: its answer can be had from [`poll`](Self::poll) at once.
    pub fn lookup(&mut self, host: &str, port: u16) -> LookupId {
        let id = LookupId(self.next_id);
        self.next_id += 1;
        if let Ok(address) = host.parse::<IpAddr>() {
            let found = Ok(vec![SocketAddr::new(address, port)]);
            self.ready.push_back((id, found));
            // So that a host which polls only when woken gets this one as well.
            wake(&self.waker);
            return id;
        }
        let question = (host.to_owned(), port);
        let ids = self.waiting.entry(question.clone()).or_default();
        ids.push(id);
        if ids.len() == 1 && self.questions.send(question.clone()).is_err() {
            self.waiting.remove(&question);
            let error = io::Error::other(format!("{host}: no thread is left to look it up"));
            self.ready.push_back((id, Err(error)));
            wake(&self.waker);
        }
        id
    }

    /// A finished lookup, if there is one. One wake-up may stand for several, so the host calls
    /// this until it gets `None`.
    pub fn poll(&mut self) -> Option<(LookupId, Found)> {
        if self.ready.is_empty() {
            let (question, found) = self.answers.try_recv().ok()?;
            for id in self.waiting.remove(&question).unwrap_or_default() {
                self.ready.push_back((id, copy(&found)));
            }
        }
        self.ready.pop_front()
    }
}

/// The threads take turns at waiting: one in `recv`, the others for the lock. `None`: the
/// resolver is gone.
fn next_question(inbox: &Mutex<Receiver<Question>>) -> Option<Question> {
    inbox.lock().ok()?.recv().ok()
}

fn checked(host: &str, found: Found) -> Found {
    match found {
        Ok(addresses) if addresses.is_empty() => {
            let reason = format!("{host}: the name has no address");
            Err(io::Error::new(io::ErrorKind::NotFound, reason))
        }
        Ok(addresses) => Ok(addresses),
        Err(error) => Err(io::Error::new(error.kind(), format!("{host}: {error}"))),
    }
}

/// Errors can't be cloned; their kind and text can.
fn copy(found: &Found) -> Found {
    match found {
        Ok(addresses) => Ok(addresses.clone()),
        Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
    }
}

fn wake(waker: &Waker) {
    // If this fails the loop learns of the answer at its next turn; there is nobody to tell.
    let _ = waker.wake();
}
