//! Takes a head apart into its lines.

use super::error::{Error, Kind, faulty_field, first_line};
use super::{MAX_FIELDS, MAX_HEAD};
use wide::u8x16;

/// Where a header line is, counted from the start of its head.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    start: u32,
    colon: u32,
    end: u32,
    /// Whether the name may be one of those that mean something here. It is told without a branch, which would be
    /// mispredicted.
    pub notable: bool,
    /// See [`Field::forward`](super::head::Field::forward).
    pub forward: bool,
}

impl Span {
    #[inline]
    pub(super) fn name<'a>(&self, head: &'a [u8]) -> &'a [u8] {
        &head[self.start as usize..self.colon as usize]
    }

    #[inline]
    pub(super) fn name_len(&self) -> usize {
        (self.colon - self.start) as usize
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

/// The length of a head, the head, and what was read in its first line.
pub(super) type Complete<'a, T> = (usize, &'a [u8], T);

impl Reader {
    /// Gets ready for the next head; keeps the lines of this one.
    pub(super) fn restart(&mut self) {
        self.started = false;
        self.scanned = 0;
        self.line = 0;
    }

    /// The head that `input` starts with, once it is complete.
    ///
    /// Until then, the next call must pass the same bytes and more after them. Faults of a head are found when it is
    /// complete. Only a wrong line end is found at once, because it would hide whether the head is complete.
    ///
    /// With `tidied`, a head may have lines that end in a bare LF, that are folded, or that have blanks before their
    /// colons. Then the head that comes back is a tidied copy.
    pub(super) fn read<'a, T>(
        &mut self,
        input: &'a [u8],
        tidied: Option<&'a mut Vec<u8>>,
        first: impl Fn(&'a [u8]) -> Result<T, Error>,
    ) -> Result<Option<Complete<'a, T>>, Error> {
        let window = &input[..input.len().min(MAX_HEAD)];
        let lenient = tidied.is_some();
        // The lines of a head that comes in many pieces aren't read again with each piece.
        if self.scanned > 0 && self.find_end(window, lenient)?.is_none() {
            return Ok(None);
        }
        if let Some((line, length)) = self.read_lines(window) {
            self.restart();
            return Ok(Some((length, &window[..length], first(&window[..line])?)));
        }
        let Some(length) = self.find_end(window, lenient)? else { return Ok(None) };
        let mut head = &window[..length];
        if let Some(tidied) = tidied {
            tidy(head, tidied);
            head = tidied;
            if let Some((line, _)) = self.read_lines(head) {
                self.restart();
                return Ok(Some((length, head, first(&head[..line])?)));
            }
        }
        first(first_line(head))?;
        Err(faulty_field(head).unwrap_or(Error::new(Kind::TooManyFields)))
    }

    /// Remembers the lines of a head in a single pass. Returns the lengths of its first line and of the head. `None` if
    /// it isn't complete, or if there is anything wrong with a line.
    fn read_lines(&mut self, window: &[u8]) -> Option<(usize, usize)> {
        let passed = |rest: &[u8]| window.len() - rest.len();
        self.spans.clear();
        let mut rest = after_text(window);
        let first = passed(rest);
        loop {
            let line = rest.strip_prefix(b"\r\n")?;
            let value = match after_token(line) {
                [b':', value @ ..] => value,
                [b'\r', b'\n', after @ ..] if after.len() + 2 == line.len() => return Some((first, passed(after))),
                _ => return None,
            };
            let (start, colon) = (passed(line), passed(value) - 1);
            if colon == start || self.spans.len() == MAX_FIELDS {
                return None;
            }
            rest = after_text(value);
            self.spans.push(Span {
                start: start as u32,
                colon: colon as u32,
                end: passed(rest) as u32,
                notable: NOTABLE >> sum(line[0], colon - start) & 1 == 1,
                forward: true,
            });
        }
    }

    /// The length of the head that `input` starts with, once it is complete. Looks at new bytes only.
    fn find_end(&mut self, window: &[u8], lenient: bool) -> Result<Option<usize>, Error> {
        self.scanned = self.scanned.min(window.len());
        while let Some(found) = find_line_feed(&window[self.scanned..]) {
            let line_feed = self.scanned + found;
            let line = window.get(self.line..line_feed).unwrap_or_default();
            let line = match line.strip_suffix(b"\r") {
                Some(line) => line,
                None if lenient => line,
                None => return Err(Error::quoting(Kind::LineEnd, line)),
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

/// Copies a head, line by line: each ends in CRLF, folded ones become one, and blanks before a colon are left out.
fn tidy(head: &[u8], tidied: &mut Vec<u8>) {
    const END: &[u8] = b"\r\n";
    tidied.clear();
    for (at, line) in head.split_inclusive(|&byte| byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let is_first = at == 0;
        let colon = line.iter().position(|&byte| byte == b':').filter(|_| !is_first);
        let (mut name, value) = line.split_at(colon.unwrap_or(line.len()));
        // What follows the first line can't belong to it.
        if at > 1 && matches!(line, [b' ' | b'\t', ..]) {
            tidied.truncate(tidied.len() - END.len());
        } else if colon.is_some() {
            while let [shorter @ .., b' ' | b'\t'] = name {
                name = shorter;
            }
        }
        [name, value, END].iter().for_each(|part| tidied.extend_from_slice(part));
    }
}

/// The sums of the names that mean something here, a bit for each.
const NOTABLE: u32 = {
    let names = [
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    let (mut bits, mut at) = (0, 0);
    while at < names.len() {
        bits |= 1 << sum(names[at].as_bytes()[0], names[at].len());
        at += 1;
    }
    bits
};

/// A number below 32 that most names differ in, made of a name's length and first letter, in whatever case that is.
const fn sum(first: u8, len: usize) -> u32 {
    (first as u32 + len as u32) % 32
}

/// Whether `text` is `known`, in whatever case. `known` has to be in lower case, and `text` without control characters
/// other than tabs. Of the bytes left, the bit set here turns only upper-case letters into something that a known word
/// contains.
pub(super) fn eq_ignore_case<const N: usize>(text: &[u8], known: &[u8; N]) -> bool {
    // Without an early exit, this is compiled to a few wide comparisons.
    let differ = |found, (byte, known): (&u8, &u8)| found | ((byte | 0x20) ^ known);
    text.len() == N && text.iter().zip(known).fold(0, differ) == 0
}

/// What follows the bytes that may stand in a header name.
#[inline(always)]
pub(super) fn after_token(bytes: &[u8]) -> &[u8] {
    // Most are letters and hyphens.
    let likely = |bytes: u8x16| {
        let lower = bytes | u8x16::splat(0x20);
        let letters = lower.max(u8x16::splat(b'a')).min(u8x16::splat(b'z')).cmp_eq(lower);
        letters | bytes.cmp_eq(u8x16::splat(b'-'))
    };
    after_run(bytes, likely, is_token_byte)
}

/// What follows the bytes that may stand in a header value.
#[inline(always)]
fn after_text(bytes: &[u8]) -> &[u8] {
    // All but tabs.
    let likely = |bytes: u8x16| {
        let no_control = bytes.max(u8x16::splat(b' ')).cmp_eq(bytes);
        no_control & !bytes.cmp_eq(u8x16::splat(0x7f))
    };
    after_run(bytes, likely, is_text)
}

/// What follows the bytes that may stand in a request's target.
#[inline(always)]
pub(super) fn after_target(bytes: &[u8]) -> &[u8] {
    let likely = |bytes: u8x16| {
        let visible = bytes.max(u8x16::splat(b'!')).min(u8x16::splat(b'~')).cmp_eq(bytes);
        visible & !bytes.cmp_eq(u8x16::splat(b'#'))
    };
    after_run(bytes, likely, |byte| byte.is_ascii_graphic() && byte != b'#')
}

/// What follows the bytes of a kind. `likely` tests 16 bytes at once. It may miss some that are of the kind.
#[inline(always)]
fn after_run(bytes: &[u8], likely: impl Fn(u8x16) -> u8x16, is_kind: impl Fn(u8) -> bool) -> &[u8] {
    let mut rest = bytes;
    loop {
        if let Some((block, after)) = rest.split_first_chunk() {
            match !likely(u8x16::new(*block)).move_mask() as u16 {
                0 => {
                    rest = after;
                    continue;
                }
                others => rest = &rest[others.trailing_zeros() as usize..],
            }
        }
        match rest {
            [byte, after @ ..] if is_kind(*byte) => rest = after,
            _ => return rest,
        }
    }
}

/// The first LF in `bytes`.
fn find_line_feed(bytes: &[u8]) -> Option<usize> {
    let rest = after_run(bytes, |bytes| !bytes.cmp_eq(u8x16::splat(b'\n')), |byte| byte != b'\n');
    (!rest.is_empty()).then_some(bytes.len() - rest.len())
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
    byte == b'\t' || byte >= b' ' && byte != 0x7f
}
