//! SIGTERM and SIGINT as readiness of a pipe, so that the loop hears of them like of everything else. Where there are
//! no such signals, none comes.

#[cfg(unix)]
use conncache::mio::{Interest, net::UnixStream};
use conncache::mio::{Registry, Token};
#[cfg(unix)]
use signal_hook::consts::{SIGINT, SIGTERM};
use std::io;
#[cfg(unix)]
use std::sync::{Arc, atomic::AtomicBool};

/// The signals that have come.
pub struct Signals {
    #[cfg(unix)]
    pipe: UnixStream,
}

#[cfg(unix)]
impl Signals {
    /// Hears of them from now on: `token` becomes readable.
    pub fn new(registry: &Registry, token: Token) -> io::Result<Signals> {
        let (mut pipe, far_end) = UnixStream::pair()?;
        let far_end = std::os::fd::OwnedFd::from(far_end);
        for signal in [SIGTERM, SIGINT] {
            signal_hook::low_level::pipe::register(signal, far_end.try_clone()?)?;
        }
        registry.register(&mut pipe, token, Interest::READABLE)?;
        Ok(Signals { pipe })
    }

    /// From the second signal on they end the program, as they do by default, whatever it is busy with.
    pub fn second_ends_program(&self) -> io::Result<()> {
        let came = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT] {
            // In this order, so that the first one finds no earlier one.
            signal_hook::flag::register_conditional_default(signal, Arc::clone(&came))?;
            signal_hook::flag::register(signal, Arc::clone(&came))?;
        }
        Ok(())
    }

    /// Whether a signal came since the last time.
    pub fn came(&mut self) -> bool {
        use std::io::Read;
        let mut came = false;
        while matches!(self.pipe.read(&mut [0; 16]), Ok(n) if n > 0) {
            came = true;
        }
        came
    }
}

#[cfg(not(unix))]
impl Signals {
    /// Does nothing.
    pub fn new(_: &Registry, _: Token) -> io::Result<Signals> {
        Ok(Signals {})
    }

    /// Does nothing.
    pub fn second_ends_program(&self) -> io::Result<()> {
        Ok(())
    }

    /// No.
    pub fn came(&mut self) -> bool {
        false
    }
}
