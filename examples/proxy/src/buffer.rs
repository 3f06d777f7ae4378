//! Bounded buffers on the two sides of a socket, and the spare memory that they share.
//!
//! A connection holds memory only while bytes wait in it, and not much more than they need: an idle one has none, one
//! that waits for the rest of a head has a small piece. The memory that is used next is the one used last, which is
//! still in the processor's cache.

use conncache::mio::event::Event;
use conncache::mio::net::TcpStream;
use std::io::{self, ErrorKind, IoSlice, Read, Write};

/// How many bytes are read at a time, at most; and how many may wait to be written before reading stops. It is also
/// the longest head that the proxy takes.
pub const BUFFER: usize = 32 * 1024;
/// The least that is allocated.
const SMALL: usize = 512;
/// How many bytes of spare buffers of each kind are kept: enough for a thousand small requests under way at once.
const SPARE: usize = 2 * 1024 * 1024;
/// How many spare texts are kept, each of 1 KiB at most.
const SPARE_TEXTS: usize = 1024;

/// Whether a read that doesn't fill its buffer has emptied the socket, so that the next bytes raise a new event. True
/// where the kernel keeps the edge; where mio emulates it, only a read that would block re-arms it.
const SHORT_MEANS_DONE: bool =
    cfg!(any(target_os = "linux", target_os = "android", target_os = "macos", target_os = "freebsd"));

/// Memory that nobody uses at the moment.
#[derive(Default)]
pub struct Pool {
    inputs: Vec<Box<[u8]>>,
    outputs: Vec<Vec<u8>>,
    /// The capacity of `outputs`, in bytes.
    output_bytes: usize,
    texts: Vec<String>,
}

impl Pool {
    fn input(&mut self) -> Box<[u8]> {
        self.inputs.pop().unwrap_or_else(|| vec![0; BUFFER].into())
    }

    fn put_input(&mut self, memory: Box<[u8]>) {
        if self.inputs.len() < SPARE / BUFFER && memory.len() == BUFFER {
            self.inputs.push(memory);
        }
    }

    /// An empty text.
    pub fn text(&mut self) -> String {
        self.texts.pop().unwrap_or_default()
    }

    pub fn put_text(&mut self, mut text: String) {
        if self.texts.len() < SPARE_TEXTS {
            text.clear();
            self.texts.push(text);
        }
    }

    fn output(&mut self) -> Vec<u8> {
        let Some(memory) = self.outputs.pop() else { return Vec::with_capacity(SMALL) };
        self.output_bytes -= memory.capacity();
        memory
    }

    fn put_output(&mut self, mut memory: Vec<u8>) {
        let bytes = self.output_bytes + memory.capacity();
        if bytes <= SPARE && (1..=2 * BUFFER).contains(&memory.capacity()) {
            memory.clear();
            self.output_bytes = bytes;
            self.outputs.push(memory);
        }
    }
}

/// What one attempt to read brought.
#[derive(Debug, PartialEq, Eq)]
pub enum Fill {
    /// There are more bytes now.
    Bytes,
    /// Nothing for now: an event will tell.
    Blocked,
    /// The other side has sent all that it will.
    Ended,
    /// The buffer is full of bytes that haven't been used up.
    Full,
}

/// Bytes that have come from a socket and haven't been used up, and what is known of those behind them.
#[derive(Default)]
pub struct Inbox {
    memory: Option<Box<[u8]>>,
    start: usize,
    end: usize,
    /// An event told of something to read, and no read has come to its end since.
    readable: bool,
    /// An event told of the end, which no further event will announce: it has to be read up to.
    ending: bool,
    ended: bool,
}

impl Inbox {
    /// Remembers what an event tells of the read side.
    pub fn tell(&mut self, event: &Event) {
        let ending = event.is_read_closed() || event.is_error();
        self.ending |= ending;
        self.readable |= ending || event.is_readable();
    }

    /// Reads next time, whatever was told.
    pub fn look_again(&mut self) {
        self.readable = true;
        self.ending = true;
    }

    pub fn bytes(&self) -> &[u8] {
        self.memory.as_deref().map_or(&[], |memory| &memory[self.start..self.end])
    }

    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Whether the other side is known to have ended its sending.
    pub fn is_ending(&self) -> bool {
        self.ending || self.ended
    }

    /// Whether there is something to do: bytes to use up, or to read.
    pub fn is_ready(&self) -> bool {
        !self.is_empty() || self.readable
    }

    /// Drops the first `used` bytes. If they were the last, the memory goes back.
    pub fn consume(&mut self, used: usize, pool: &mut Pool) {
        self.start += used;
        if used > 0 && self.is_empty() {
            self.release(pool);
        }
    }

    /// Drops everything.
    pub fn release(&mut self, pool: &mut Pool) {
        (self.start, self.end) = (0, 0);
        self.memory.take().into_iter().for_each(|memory| pool.put_input(memory));
    }

    /// Reads once, if something was told of.
    pub fn fill(&mut self, stream: &mut TcpStream, pool: &mut Pool) -> io::Result<Fill> {
        if self.ended {
            return Ok(Fill::Ended);
        }
        if !self.readable {
            self.keep_small(pool);
            return Ok(Fill::Blocked);
        }
        if self.memory.as_ref().is_some_and(|memory| memory.len() < BUFFER) {
            self.move_to(pool.input(), pool);
        }
        let memory = self.memory.get_or_insert_with(|| pool.input());
        if self.start > 0 {
            memory.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.end == memory.len() {
            return Ok(Fill::Full);
        }
        let result = loop {
            match stream.read(&mut memory[self.end..]) {
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                result => break result,
            }
        };
        let filled = match result {
            Ok(0) => {
                self.ended = true;
                Fill::Ended
            }
            Ok(n) => {
                self.end += n;
                self.readable = self.end == memory.len() || self.ending || !SHORT_MEANS_DONE;
                return Ok(Fill::Bytes);
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock => {
                (self.readable, self.ending) = (false, false);
                Fill::Blocked
            }
            Err(e) => return Err(e),
        };
        self.keep_small(pool);
        Ok(filled)
    }

    /// Moves what waits for more to memory of its own size.
    fn keep_small(&mut self, pool: &mut Pool) {
        let room = (self.end - self.start).next_power_of_two().max(SMALL);
        if self.is_empty() {
            self.release(pool);
        } else if self.memory.as_ref().is_some_and(|memory| memory.len() > room) {
            self.move_to(vec![0; room].into(), pool);
        }
    }

    fn move_to(&mut self, mut memory: Box<[u8]>, pool: &mut Pool) {
        let len = self.end - self.start;
        memory[..len].copy_from_slice(self.bytes());
        self.release(pool);
        (self.memory, self.end) = (Some(memory), len);
    }
}

/// Bytes that wait to be written to a socket.
#[derive(Default)]
pub struct Outbox {
    bytes: Vec<u8>,
    sent: usize,
    /// The socket is full: an event will tell when it isn't.
    blocked: bool,
}

impl Outbox {
    /// Where to append. The memory comes from the pool if there was none; what is written is forgotten.
    pub fn open(&mut self, pool: &mut Pool) -> &mut Vec<u8> {
        self.forget_sent();
        self.append(pool)
    }

    /// Where to append behind all that is held, written or not. The memory comes from the pool if there was none.
    pub fn append(&mut self, pool: &mut Pool) -> &mut Vec<u8> {
        if self.bytes.capacity() == 0 {
            self.bytes = pool.output();
        }
        &mut self.bytes
    }

    pub fn waiting(&self) -> usize {
        self.bytes.len() - self.sent
    }

    /// How much is held, written or not.
    pub fn kept(&self) -> usize {
        self.bytes.len()
    }

    pub fn is_full(&self) -> bool {
        self.waiting() >= BUFFER
    }

    /// Whether something waits that the socket may take.
    pub fn is_ready(&self) -> bool {
        self.waiting() > 0 && !self.blocked
    }

    /// The socket may take bytes again.
    pub fn unblock(&mut self) {
        self.blocked = false;
    }

    /// Writes what waits, and `more` behind it, as far as the socket takes it; keeps the rest. Returns how much was
    /// written.
    pub fn send(&mut self, stream: &mut TcpStream, more: &[u8]) -> io::Result<usize> {
        let (mut written, mut skip) = (0, 0);
        while !self.blocked && self.waiting() + more.len() > skip {
            let slices = [IoSlice::new(&self.bytes[self.sent..]), IoSlice::new(&more[skip..])];
            let all = slices[0].len() + slices[1].len();
            let result = match (slices[0].is_empty(), slices[1].is_empty()) {
                (false, true) => stream.write(&slices[0]),
                (true, _) => stream.write(&slices[1]),
                _ => stream.write_vectored(&slices),
            };
            match result {
                Ok(n) => {
                    written += n;
                    let kept = n.min(self.waiting());
                    self.sent += kept;
                    skip += n - kept;
                    self.blocked = n < all && SHORT_MEANS_DONE;
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => self.blocked = true,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        if skip < more.len() {
            self.forget_sent();
            self.bytes.extend_from_slice(&more[skip..]);
        }
        Ok(written)
    }

    /// Gives the memory back, once all is written.
    pub fn release_if_sent(&mut self, pool: &mut Pool) {
        if self.waiting() == 0 {
            self.sent = 0;
            pool.put_output(std::mem::take(&mut self.bytes));
        }
    }

    /// Everything is to be written once more, to another socket.
    pub fn rewind(&mut self) {
        self.sent = 0;
        self.blocked = false;
    }

    /// Forgets everything.
    pub fn clear(&mut self, pool: &mut Pool) {
        pool.put_output(std::mem::take(&mut self.bytes));
        self.rewind();
    }

    /// Forgets what is written.
    pub fn forget_sent(&mut self) {
        if self.sent > 0 {
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
    }
}
