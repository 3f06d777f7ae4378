//! Takes a head apart into its lines.

use super::error::{Error, Kind, faulty_field, first_line};
use super::{MAX_FIELDS, MAX_HEAD};

/// Where a header line is, counted from the start of its head.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    start: u32,
    colon: u32,
    end: u32,
    pub meaning: Name,
    /// See [`Field::forward`](super::head::Field::forward).
    pub forward: bool,
}

impl Span {
    #[inline]
    pub(super) fn name<'a>(&self, head: &'a [u8]) -> &'a [u8] {
        &head[self.start as usize..self.colon as usize]
    }

    /// The value, without the blanks around it.
    pub(super) fn value<'a>(&self, head: &'a [u8]) -> &'a [u8] {
        head[self.colon as usize + 1..self.end as usize].trim_ascii()
    }

    /// The whole line, with its end.
    #[inline]
    pub(super) fn line<'a>(&self, head: &'a [u8]) -> &'a [u8] {
        &head[self.start as usize..self.end as usize + 2]
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
        loop {
            let line = &window[at..];
            let colon = token_len(line);
            match line.get(colon)? {
                b':' if colon > 0 && self.spans.len() < MAX_FIELDS => {}
                b'\r' if colon == 0 => return Some((first, line_end(window, at)?)),
                _ => return None,
            }
            let end = colon + 1 + text_len(&line[colon + 1..]);
            let next = at + line_end(line, end)?;
            self.spans.push(Span {
                start: at as u32,
                colon: (at + colon) as u32,
                end: (at + end) as u32,
                meaning: Name::of(&line[..colon]),
                forward: true,
            });
            at = next;
        }
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
        match (name.len(), name[0] | 0x20) {
            (2, b't') if eq_ignore_case(name, b"te") => Name::HopByHop,
            (4, b'h') if eq_ignore_case(name, b"host") => Name::Host,
            (6, b'e') if eq_ignore_case(name, b"expect") => Name::Expect,
            (7, b't') if eq_ignore_case(name, b"trailer") => Name::HopByHop,
            (7, b'u') if eq_ignore_case(name, b"upgrade") => Name::HopByHop,
            (10, b'c') if eq_ignore_case(name, b"connection") => Name::Connection,
            (10, b'k') if eq_ignore_case(name, b"keep-alive") => Name::KeepAlive,
            (14, b'c') if eq_ignore_case(name, b"content-length") => Name::ContentLength,
            (16, b'p') if eq_ignore_case(name, b"proxy-connection") => Name::HopByHop,
            (17, b't') if eq_ignore_case(name, b"transfer-encoding") => Name::TransferEncoding,
            (18, b'p') if eq_ignore_case(name, b"proxy-authenticate") => Name::HopByHop,
            (19, b'p') if eq_ignore_case(name, b"proxy-authorization") => Name::HopByHop,
            _ => Name::Other,
        }
    }
}

/// Whether `text` is `known`, in whatever case. `known` has to be in lower case, and `text` without control characters
/// other than tabs. Of the bytes left, the bit set here turns only upper-case letters into something that a known word
/// contains.
pub(super) fn eq_ignore_case<const N: usize>(text: &[u8], known: &[u8; N]) -> bool {
    // Without an early exit, this is compiled to a few wide comparisons.
    let differ = |found, (byte, known): (&u8, &u8)| found | ((byte | 0x20) ^ known);
    text.len() == N && text.iter().zip(known).fold(0, differ) == 0
}

/// Where the next line begins, if this one's end is at `at`.
fn line_end(window: &[u8], at: usize) -> Option<usize> {
    window[at..].starts_with(b"\r\n").then_some(at + 2)
}

/// How many bytes at the start of `bytes` may stand in a header name. Most are letters, which are tested eight at a time.
fn token_len(bytes: &[u8]) -> usize {
    let mut len = 0;
    loop {
        len += bytes[len..].first_chunk().map_or(0, letters);
        match bytes.get(len) {
            Some(&byte) if is_token_byte(byte) => len += 1,
            _ => return len,
        }
    }
}

/// How many bytes at the start of `block` are letters. Tests all of them at once.
fn letters(block: &[u8; 8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    let word = u64::from_le_bytes(*block);
    // The highest bit of each byte is cleared. A sum sets it again if the rest is large enough, and never carries into the
    // next byte.
    let lower = (word | (0x20 * ONES)) & (0x7f * ONES);
    let from_a = lower + (0x80 - b'a' as u64) * ONES;
    let after_z = lower + (0x7f - b'z' as u64) * ONES;
    let others = (!from_a | after_z | word) & (0x80 * ONES);
    others.trailing_zeros() as usize / 8
}

/// How many bytes at the start of `bytes` may stand in a header value.
fn text_len(bytes: &[u8]) -> usize {
    run_len(bytes, is_text)
}

/// The first LF in `bytes`.
fn find_line_feed(bytes: &[u8]) -> Option<usize> {
    let at = run_len(bytes, |byte| byte != b'\n');
    (at < bytes.len()).then_some(at)
}

/// How many bytes at the start of `bytes` are of the kind that `is_kind` tells. If it has no branches, the tests of a
/// whole block are compiled to a few wide ones.
#[inline(always)] // else `is_kind` is called for each byte
pub(super) fn run_len(bytes: &[u8], is_kind: impl Fn(u8) -> bool) -> usize {
    const BLOCK: usize = 16;
    let mut len = 0;
    while let Some(block) = bytes[len..].first_chunk::<BLOCK>() {
        let mut others = [0; BLOCK];
        for (other, &byte) in others.iter_mut().zip(block) {
            *other = if is_kind(byte) { 0 } else { u8::MAX };
        }
        match u128::from_le_bytes(others) {
            0 => len += BLOCK,
            others => return len + others.trailing_zeros() as usize / 8,
        }
    }
    len + bytes[len..].iter().take_while(|&&byte| is_kind(byte)).count()
}

/// Whether `byte` may stand in a header name or a method.
pub(super) fn is_token_byte(byte: u8) -> bool {
    const TABLE: [bool; 256] = alphanumeric_or(b"!#$%&'*+-.^_`|~");
    TABLE[usize::from(byte)]
}

/// A table that says of each byte whether it is a letter, a digit or one of the `others`.
pub(super) const fn alphanumeric_or(others: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut at = 0;
    while at < others.len() {
        table[others[at] as usize] = true;
        at += 1;
    }
    table
}

/// Whether `byte` may stand in a header value or in a chunk extension.
pub(super) fn is_text(byte: u8) -> bool {
    // Without branches, for `run_len`.
    (byte == b'\t') | ((byte >= b' ') & (byte != 0x7f))
}
