//! One request and what became of it.

use crate::part_file::PartFile;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A request on its way to its response.
#[derive(Debug)]
pub struct Exchange {
    /// The URL's place in the list.
    pub url: usize,
    pub started: Instant,
    pub deadline: Instant,
    pub way: Way,
    /// Whether it was sent before the one ahead of it was answered.
    pub pipelined: bool,
    /// Zero until the head has come.
    pub status: u16,
    pub body_bytes: u64,
    /// When it got its response, or failed.
    ended: Instant,
    /// Boxed, because exchanges are moved often and most have none.
    sink: Option<Box<Sink>>,
}

/// By what kind of connection a request went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Opened for it.
    New,
    /// One that had served a request before.
    Reused,
    /// Opened for it, after the one it went by first was found dead.
    Retried,
}

impl Way {
    pub fn as_str(self) -> &'static str {
        match self {
            Way::New => "new",
            Way::Reused => "reused",
            Way::Retried => "retried",
        }
    }
}

#[derive(Debug)]
struct Sink {
    path: PathBuf,
    file: Option<PartFile>,
}

impl Exchange {
    pub fn new(url: usize, started: Instant, timeout: Duration) -> Exchange {
        Exchange {
            url,
            started,
            deadline: started + timeout,
            way: Way::New,
            pipelined: false,
            status: 0,
            body_bytes: 0,
            ended: started,
            sink: None,
        }
    }

    /// The body is to go to this file, not only to be counted.
    pub fn write_to(&mut self, path: PathBuf) {
        self.sink = Some(Box::new(Sink { path, file: None }));
    }

    /// Creates the file for the body, unless there is none to be, or it is there.
    ///
    /// # Errors
    ///
    /// Those of the system, as they are: no descriptor may be left.
    pub fn create_file(&mut self) -> io::Result<()> {
        if let Some(sink) = &mut self.sink {
            if sink.file.is_none() {
                sink.file = Some(PartFile::create(&sink.path)?);
            }
        }
        Ok(())
    }

    /// Takes away the file for the body, to be created again when the request's turn comes.
    pub fn remove_file(&mut self) {
        if let Some(sink) = &mut self.sink {
            sink.file = None;
        }
    }

    /// Why [`create_file`](Exchange::create_file) failed, in words.
    pub fn no_file(&self, error: &io::Error) -> String {
        let path = self.sink.as_ref().map(|sink| sink.path.as_path()).unwrap_or(Path::new(""));
        format!("can't create {}: {error}", path.display())
    }

    /// Takes a piece of the body.
    pub fn body(&mut self, piece: &[u8]) -> Result<(), String> {
        self.body_bytes += piece.len() as u64;
        let Some(Sink { path, file: Some(file) }) = self.sink.as_deref_mut() else { return Ok(()) };
        file.write(piece).map_err(|error| format!("can't write {}: {error}", path.display()))
    }

    /// The response is complete: so is the file.
    pub fn finish(&mut self, now: Instant) -> Result<(), String> {
        self.ended = now;
        let Some(Sink { path, file: Some(file) }) = self.sink.take().map(|sink| *sink) else { return Ok(()) };
        file.finish().map_err(|error| format!("can't write {}: {error}", path.display()))
    }

    /// There won't be a response: takes away what there is of its body.
    pub fn abandon(&mut self, now: Instant) {
        self.ended = now;
        self.sink = None;
    }

    /// How long it took.
    pub fn took(&self) -> Duration {
        self.ended.saturating_duration_since(self.started)
    }
}
