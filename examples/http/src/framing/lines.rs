//! Takes a head apart into its lines.

use super::error::{Error, Kind, faulty_field, first_line};
use super::{MAX_FIELDS, MAX_HEAD};

/// Where a header line is, counted from the start of its head.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    name: u32,
    name_len: u32,
    value: u32,
    value_len: u32,
    pub meaning: Name,
    /// See [`Field::forward`](super::head::Field::forward).
    pub forward: bool,
}

impl Span {
    pub(super) fn name<'a>(&self, head: &'a [u8]) -> &'a [u8] {
        &head[self.name as usize..][..self.name_len as usize]
    }

    pub(super) fn value<'a>(&self, head: &'a [u8]) -> &'a [u8] {
        &head[self.value as usize..][..self.value_len as usize]
    }
}

/// Finds the end of a head and remembers where its lines are.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// Whether there was a byte of the head.
    pub started: bool,
    /// Bytes of an incomplete head that were searched for its end.
    scanned: usize,
    /// Where the line being searched begins.
    line: usize,
    /// Kept from message to message, for its memory.
    pub spans: Vec<Span>,
}

impl Reader {
    /// Gets ready for the next head; keeps the lines of this one.
    pub(super) fn restart(&mut self) {
        self.started = false;
        self.scanned = 0;
        self.line = 0;
    }

    /// The head that `input` starts with and what `first` reads in its first line, once the head is complete.
    ///
    /// Until then, the next call must pass the same bytes and more after them. Faults of a head are found when it is
    /// complete. Only a wrong line end is found at once, because it would hide whether the head is complete.
    pub(super) fn read<'a, T>(
        &mut self,
        input: &'a [u8],
        first: impl Fn(&'a [u8]) -> Result<T, Error>,
    ) -> Result<Option<(&'a [u8], T)>, Error> {
        let window = &input[..input.len().min(MAX_HEAD)];
        // The lines of a head that comes in many pieces aren't read again with each piece.
        if self.scanned > 0 && self.find_end(window)?.is_none() {
            return Ok(None);
        }
        if let Some((line, length)) = self.read_lines(window) {
            self.restart();
            return Ok(Some((&window[..length], first(&window[..line])?)));
        }
        let Some(length) = self.find_end(window)? else { return Ok(None) };
        let head = &window[..length];
        first(first_line(head))?;
        Err(faulty_field(head).unwrap_or(Error::new(Kind::TooManyFields)))
    }

    /// Remembers the lines of a head in a single pass. Returns the lengths of its first line and of the head. `None` if
    /// it isn't complete, or if there is anything wrong with a line.
    fn read_lines(&mut self, window: &[u8]) -> Option<(usize, usize)> {
        self.spans.clear();
        let first = text_len(window);
        let mut at = line_end(window, first)?;
        while let Some(&byte) = window.get(at) {
            if byte == b'\r' {
                return Some((first, line_end(window, at)?));
            }
            let line = &window[at..];
            let name_len = token_len(line);
            if name_len == 0 || line.get(name_len) != Some(&b':') || self.spans.len() == MAX_FIELDS {
                return None;
            }
            let blanks = line[name_len + 1..].iter().take_while(|&&byte| is_blank(byte)).count();
            let value = at + name_len + 1 + blanks;
            let end = value + text_len(&window[value..]);
            let next = line_end(window, end)?;
            let trailing = window[value..end].iter().rev().take_while(|&&byte| is_blank(byte)).count();
            self.spans.push(Span {
                name: at as u32,
                name_len: name_len as u32,
                value: value as u32,
                value_len: (end - trailing - value) as u32,
                meaning: Name::of(&line[..name_len]),
                forward: true,
            });
            at = next;
        }
        None
    }

    /// The length of the head that `input` starts with, once it is complete. Looks at new bytes only.
    fn find_end(&mut self, window: &[u8]) -> Result<Option<usize>, Error> {
        self.scanned = self.scanned.min(window.len());
        while let Some(found) = find_line_feed(&window[self.scanned..]) {
            let line_feed = self.scanned + found;
            let line = window.get(self.line..line_feed).unwrap_or_default();
            let Some(line) = line.strip_suffix(b"\r") else {
                return Err(Error::quoting(Kind::LineEnd, line));
            };
            if line.is_empty() {
                return Ok(Some(line_feed + 1));
            }
            self.scanned = line_feed + 1;
            self.line = self.scanned;
        }
        self.scanned = window.len();
        if window.len() == MAX_HEAD {
            return Err(Error::new(Kind::HeadTooLong));
        }
        Ok(None)
    }
}

/// The header names that mean something here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    ContentLength,
    TransferEncoding,
    Connection,
    KeepAlive,
    Host,
    Expect,
    /// Concerns one connection and is never passed on, though not used here.
    HopByHop,
    Other,
}

impl Name {
    fn of(name: &[u8]) -> Self {
        // The length and the first letter rule out most names before any comparison.
        let (known, meaning): (&[u8], Name) = match (name.len(), name[0].to_ascii_lowercase()) {
            (2, b't') => (b"te", Name::HopByHop),
            (4, b'h') => (b"host", Name::Host),
            (6, b'e') => (b"expect", Name::Expect),
            (7, b'u') => (b"upgrade", Name::HopByHop),
            (7, b't') => (b"trailer", Name::HopByHop),
            (10, b'c') => (b"connection", Name::Connection),
            (10, b'k') => (b"keep-alive", Name::KeepAlive),
            (14, b'c') => (b"content-length", Name::ContentLength),
            (16, b'p') => (b"proxy-connection", Name::HopByHop),
            (17, b't') => (b"transfer-encoding", Name::TransferEncoding),
            (18, b'p') => (b"proxy-authenticate", Name::HopByHop),
            (19, b'p') => (b"proxy-authorization", Name::HopByHop),
            _ => return Name::Other,
        };
        // Of all bytes allowed in a name, only a letter's other case differs from the letter in just this bit.
        let is_known = name.iter().zip(known).all(|(byte, known)| byte | 0x20 == *known);
        if is_known { meaning } else { Name::Other }
    }
}

/// Where the next line begins, if this one's end is at `at`.
fn line_end(window: &[u8], at: usize) -> Option<usize> {
    window[at..].starts_with(b"\r\n").then_some(at + 2)
}

/// How many bytes at the start of `bytes` may stand in a header name.
#[inline(never)] // inlined, each byte takes half as many instructions again
fn token_len(bytes: &[u8]) -> usize {
    bytes.iter().position(|&byte| !is_token_byte(byte)).unwrap_or(bytes.len())
}

/// How many bytes at the start of `bytes` may stand in a header value. Looks at eight at a time.
fn text_len(bytes: &[u8]) -> usize {
    let mut len = 0;
    while let Some(block) = bytes[len..].first_chunk() {
        len += match controls(u64::from_le_bytes(*block)) {
            0 => 8,
            found => {
                let found = found.trailing_zeros() as usize / 8;
                if block[found] != b'\t' {
                    return len + found;
                }
                found + 1
            }
        };
    }
    len + bytes[len..].iter().take_while(|&&byte| is_text(byte)).count()
}

/// Marks the first byte of `word`, counted from the lowest one, that is a control character: sets its highest bit. The
/// bits of later bytes say nothing. Zero if there is none.
fn controls(word: u64) -> u64 {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    let delete = word ^ (0x7f * ONES);
    // Each subtraction borrows from the next byte only where it has found one.
    let found = (word.wrapping_sub(0x20 * ONES) & !word) | (delete.wrapping_sub(ONES) & !delete);
    found & (0x80 * ONES)
}

/// The first LF in `bytes`. Compilers turn the search by blocks, without a way
/// out in the middle of one, into a few wide comparisons.
fn find_line_feed(bytes: &[u8]) -> Option<usize> {
    const BLOCK: usize = 16;
    let lacks = |block: &&[u8]| !block.iter().fold(false, |found, &byte| found | (byte == b'\n'));
    let skipped = BLOCK * bytes.chunks_exact(BLOCK).take_while(lacks).count();
    let found = bytes[skipped..].iter().position(|&byte| byte == b'\n')?;
    Some(skipped + found)
}

/// Whether `byte` may stand in a header name or a method.
pub(super) fn is_token_byte(byte: u8) -> bool {
    TOKEN[usize::from(byte)]
}

/// Whether `byte` may stand in a header value or in a chunk extension.
pub(super) fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let others = b"!#$%&'*+-.^_`|~";
    let mut at = 0;
    while at < others.len() {
        table[others[at] as usize] = true;
        at += 1;
    }
    table
};
