//! Several threads: each has a loop, a cache and listeners of its own, and shares nothing with the others.
//!
//! The first one hears of signals, serves the status page, and tells the others what to do.

use crate::figures::Figures;
use crate::proxy::Proxy;
use conncache::mio::{Token, Waker};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

/// Somebody has said something.
pub const WAKE: Token = Token(3);
/// How long the status page waits for a thread. A turn of its loop is much shorter.
const PATIENCE: Duration = Duration::from_secs(1);

/// What the first thread tells another one.
pub enum Order {
    Drain,
    Tell(Sender<Figures>),
}

/// What a thread knows of others: nothing, if it is the only one.
#[derive(Default)]
pub struct Crew {
    /// In the first thread: the others.
    pub others: Vec<Colleague>,
    /// In the first thread: how the others ended.
    pub ended: Option<Receiver<io::Result<()>>>,
    /// What wakes this thread, if anything does. A waker that is dropped takes its last event along.
    pub waker: Option<Arc<Waker>>,
    /// In the other threads.
    pub orders: Option<Receiver<Order>>,
    /// In the first thread: how many others haven't ended.
    pub running: usize,
}

/// Another thread.
pub struct Colleague {
    pub orders: Sender<Order>,
    pub waker: Arc<Waker>,
    /// What it told last.
    pub figures: Option<Figures>,
}

impl Colleague {
    /// One that has ended hears nothing, and need not.
    fn tell(&self, order: Order) {
        let _ = self.orders.send(order);
        let _ = self.waker.wake();
    }
}

impl Crew {
    /// Has the others drain.
    pub fn drain(&self) {
        self.others.iter().for_each(|other| other.tell(Order::Drain));
    }

    /// Adds the others' figures: the last ones of a thread that doesn't answer in time or has ended.
    fn add_to(&mut self, figures: &mut Figures) {
        let answers: Vec<Receiver<Figures>> = self
            .others
            .iter()
            .map(|other| {
                let (tell, answer) = channel();
                other.tell(Order::Tell(tell));
                answer
            })
            .collect();
        for (other, answer) in self.others.iter_mut().zip(answers) {
            if let Ok(figures) = answer.recv_timeout(PATIENCE) {
                other.figures = Some(figures);
            }
            other.figures.iter().for_each(|others| figures.add(others));
        }
    }
}

impl Proxy {
    /// The figures of all threads.
    pub fn all_figures(&mut self) -> Figures {
        let mut figures = self.figures();
        self.crew.add_to(&mut figures);
        figures
    }

    /// Does what another thread asks for; an error if another thread has failed.
    pub fn hear(&mut self) -> io::Result<()> {
        while let Some(Ok(ended)) = self.crew.ended.as_ref().map(Receiver::try_recv) {
            self.crew.running -= 1;
            ended?;
        }
        while let Some(Ok(order)) = self.crew.orders.as_ref().map(Receiver::try_recv) {
            match order {
                Order::Drain if !self.draining => self.drain(),
                Order::Drain => {}
                // Whoever asked may have lost patience.
                Order::Tell(to) => drop(to.send(self.figures())),
            }
        }
        Ok(())
    }
}
