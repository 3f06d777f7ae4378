//! SIGTERM and SIGINT as readiness of a pipe, so that the loop hears of them like of everything else. Where there are
//! no such signals, none comes.

#[cfg(unix)]
use conncache::mio::{Interest, net::UnixStream};
use conncache::mio::{Registry, Token};
use std::io;

pub struct Signals {
    #[cfg(unix)]
    pipe: UnixStream,
}

#[cfg(unix)]
impl Signals {
    pub fn new(registry: &Registry, token: Token) -> io::Result<Signals> {
        use signal_hook::consts::{SIGINT, SIGTERM};
        let (mut pipe, far_end) = UnixStream::pair()?;
        let far_end = std::os::fd::OwnedFd::from(far_end);
        for signal in [SIGTERM, SIGINT] {
            signal_hook::low_level::pipe::register(signal, far_end.try_clone()?)?;
        }
        registry.register(&mut pipe, token, Interest::READABLE)?;
        Ok(Signals { pipe })
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
    pub fn new(_: &Registry, _: Token) -> io::Result<Signals> {
        Ok(Signals {})
    }

    pub fn came(&mut self) -> bool {
        false
    }
}
