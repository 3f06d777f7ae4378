//! A connection without a socket: it does what the test says, and tells what was done to it.

use conncache::mio::event::Source;
use conncache::mio::{Interest, Registry, Token};
use conncache::{Connection, Probe};
use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind};
use std::rc::Rc;

/// Whether mio has to emulate edges here. Then a connection is probed when it becomes inactive, too, and is registered
/// for writing only while it is active.
pub const EDGES_ARE_EMULATED: bool = cfg!(any(windows, mio_unsupported_force_poll_poll));

thread_local! {
    /// Looks at any connection of the thread.
    pub static PROBES: Cell<u64> = const { Cell::new(0) };
}

/// What a look at the connection shall find.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Far {
    #[default]
    Quiet,
    Closed,
    Unsolicited,
    Failed,
}

/// The test's end of a connection.
#[derive(Debug, Default)]
pub struct Wire {
    pub number: usize,
    pub far: Far,
    pub connected: bool,
    pub registered: Option<(Token, Interest)>,
    pub fail_register: bool,
    pub fail_reregister: bool,
    pub fail_deregister: bool,
    /// Calls of `register`, `reregister` and `deregister`, failed ones included.
    pub calls: [u32; 3],
    /// How often it was asked whether it is connected.
    pub asked: u32,
    pub dropped: u32,
}

pub type Shared = Rc<RefCell<Wire>>;

pub struct Scripted(pub Shared);

impl Scripted {
    pub fn new(number: usize) -> (Scripted, Shared) {
        let wire = Rc::new(RefCell::new(Wire { number, connected: true, ..Wire::default() }));
        (Scripted(Rc::clone(&wire)), wire)
    }

    pub fn number(&self) -> usize {
        self.0.borrow().number
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.0.borrow_mut().dropped += 1;
    }
}

fn refused() -> io::Error {
    io::Error::other("as the script says")
}

impl Source for Scripted {
    fn register(&mut self, _: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        let mut wire = self.0.borrow_mut();
        wire.calls[0] += 1;
        if wire.fail_register {
            return Err(refused());
        }
        if wire.registered.is_some() {
            return Err(ErrorKind::AlreadyExists.into());
        }
        wire.registered = Some((token, interest));
        Ok(())
    }

    fn reregister(&mut self, _: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        let mut wire = self.0.borrow_mut();
        wire.calls[1] += 1;
        if wire.fail_reregister {
            return Err(refused());
        }
        if wire.registered.is_none() {
            return Err(ErrorKind::NotFound.into());
        }
        wire.registered = Some((token, interest));
        Ok(())
    }

    fn deregister(&mut self, _: &Registry) -> io::Result<()> {
        let mut wire = self.0.borrow_mut();
        wire.calls[2] += 1;
        if wire.fail_deregister {
            return Err(refused());
        }
        wire.registered.take().map(drop).ok_or_else(|| ErrorKind::NotFound.into())
    }
}

impl Connection for Scripted {
    fn probe(&mut self) -> Probe {
        PROBES.set(PROBES.get() + 1);
        match self.0.borrow().far {
            Far::Quiet => Probe::Quiet,
            Far::Closed => Probe::Closed,
            Far::Unsolicited => Probe::Unsolicited,
            Far::Failed => Probe::Failed(ErrorKind::ConnectionReset.into()),
        }
    }

    fn is_connected(&self) -> bool {
        let mut wire = self.0.borrow_mut();
        wire.asked += 1;
        wire.connected
    }
}
