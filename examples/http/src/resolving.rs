//! Names to addresses without stalling the event loop: the system's resolver blocks, so it runs
//! on a few threads, and their answers wake the loop through its `mio::Waker`.
//!
//! A thread ends when there is nothing left to look up. As long as there is a second thread, even an idle one, Linux
//! counts references to the file in every system call of the loop.
//!
//! Surprising: a lookup can't be stopped, since the system's can't be. Whoever loses interest
//! ignores the answer. Dropping the [`Resolver`] never waits; a thread that is stuck in a lookup
//! ends when that returns.

use conncache::mio::Waker;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// How many slow names it takes to hold up the others.
pub const THREADS: usize = 4;

/// Tells lookups apart; never used twice by one [`Resolver`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LookupId(u64);

/// What a lookup found: at least one address, or an error that names the host.
pub type Found = io::Result<Vec<SocketAddr>>;

type Question = (String, u16);
type LookUp = dyn Fn(&str, u16) -> Found + Send + Sync;

/// Looks names up on threads of its own.
pub struct Resolver {
    shared: Arc<Shared>,
    outbox: Sender<(Question, Found)>,
    answers: Receiver<(Question, Found)>,
    /// Who waits for what; the same question is asked once at a time.
    waiting: HashMap<Question, Vec<LookupId>>,
    ready: VecDeque<(LookupId, Found)>,
    next_id: u64,
}

/// What the threads share with the resolver.
struct Shared {
    waker: Arc<Waker>,
    look_up: Box<LookUp>,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    questions: VecDeque<Question>,
    threads: usize,
}

impl Resolver {
    /// A resolver that asks the system. `waker` wakes its loop when [`poll`](Self::poll) has something to give.
    pub fn new(waker: Arc<Waker>) -> Self {
        Self::with(waker, |host, port| (host, port).to_socket_addrs().map(Iterator::collect))
    }

    /// Asks `look_up` instead of the system. It runs on at most [`THREADS`] threads and may block, but
    /// must not panic: its thread would be gone and the answer never come.
    pub fn with(waker: Arc<Waker>, look_up: impl Fn(&str, u16) -> Found + Send + Sync + 'static) -> Self {
        let (outbox, answers) = mpsc::channel();
        let shared = Arc::new(Shared { waker, look_up: Box::new(look_up), queue: Mutex::default() });
        Resolver { shared, outbox, answers, waiting: HashMap::new(), ready: VecDeque::new(), next_id: 0 }
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
            self.shared.wake();
            return id;
        }
        let question = (host.to_owned(), port);
        let ids = self.waiting.entry(question.clone()).or_default();
        ids.push(id);
        if ids.len() == 1 {
            self.ask(question);
        }
        id
    }

    /// Leaves the question to the threads, and starts another thread as long as there are fewer than [`THREADS`].
    fn ask(&mut self, question: Question) {
        let mut queue = self.shared.queue();
        queue.questions.push_back(question);
        if queue.threads == THREADS {
            return;
        }
        queue.threads += 1;
        drop(queue);
        let (shared, outbox) = (Arc::clone(&self.shared), self.outbox.clone());
        let thread = thread::Builder::new().name("resolver".into());
        if let Err(error) = thread.spawn(move || shared.answer(&outbox)) {
            self.without_a_thread(&error);
        }
    }

    /// Fails all open questions if there is no other thread to answer them.
    fn without_a_thread(&mut self, error: &io::Error) {
        let mut queue = self.shared.queue();
        queue.threads -= 1;
        if queue.threads == 0 {
            for question in queue.questions.drain(..) {
                let error = io::Error::new(error.kind(), format!("{}: no thread to look it up: {error}", question.0));
                let _ = self.outbox.send((question, Err(error)));
            }
            self.shared.wake();
        }
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

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a thread does: looks up until nothing is left, or until the resolver is gone.
    fn answer(&self, outbox: &Sender<(Question, Found)>) {
        while let Some(question) = self.next_question() {
            let found = checked(&question.0, (self.look_up)(&question.0, question.1));
            if outbox.send((question, found)).is_err() {
                break;
            }
            self.wake();
        }
    }

    fn next_question(&self) -> Option<Question> {
        let mut queue = self.queue();
        let next = queue.questions.pop_front();
        if next.is_none() {
            queue.threads -= 1;
        }
        next
    }

    fn wake(&self) {
        // If this fails the loop learns of the answer at its next turn; there is nobody to tell.
        let _ = self.waker.wake();
    }
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
