//! Bodies: where they end, and how chunks are read and written.

use super::error::{Error, Kind};
use super::lines::{is_text, is_token_byte};
use super::{MAX_CHUNK_LINE, MAX_LENGTH, MAX_TRAILERS};

/// How the end of a body is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// After so many bytes; 0 when there is no body.
    Length(u64),
    /// After the last chunk.
    Chunked,
    /// When the connection ends. Only a response can have this.
    UntilClose,
}

/// One step through a body.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// All input is used up and the body goes on.
    More,
    /// The next bytes of the body, never empty and never longer than the input.
    Data(&'a [u8]),
    /// The body is complete.
    End,
}

/// Takes a body out of its framing.
///
/// Chunk lines and trailers are read byte by byte and need no buffer. After an
/// error every further call returns the same error.
#[derive(Debug)]
pub struct Body {
    state: State,
    /// Bytes left of the body or of the chunk; while a size is read, its value.
    left: u64,
    /// Bytes read of the present chunk line or of the trailers.
    line: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Sized,
    UntilClose,
    /// Before the first digit of a chunk size.
    Size,
    SizeDigits,
    /// After whitespace behind a size, which isn't allowed before the end of the line, but is understood alike by all.
    SizeSpace,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// At the start of a line after the last chunk.
    Trailer,
    TrailerName,
    TrailerValue,
    TrailerLf,
    LastLf,
    Done,
    Failed(Error),
}

impl Body {
    /// A body that begins with the next byte.
    pub fn new(framing: Framing) -> Self {
        let (state, left) = match framing {
            Framing::Length(length) => (State::Sized, length),
            Framing::Chunked => (State::Size, 0),
            Framing::UntilClose => (State::UntilClose, 0),
        };
        Body { state, left, line: 0 }
    }

    /// Returns how many bytes of `input` are used up, and what they were.
    #[inline]
    pub fn next<'a>(&mut self, input: &'a [u8]) -> Result<(usize, Piece<'a>), Error> {
        match self.state {
            State::Sized if self.left == 0 => Ok((0, Piece::End)),
            State::Sized if !input.is_empty() => {
                let data = self.data(input);
                Ok((data.len(), Piece::Data(data)))
            }
            _ => self.next_in_framing(input),
        }
    }

    /// The bytes at the start of `input` that belong to the body or to the chunk.
    #[inline]
    fn data<'a>(&mut self, input: &'a [u8]) -> &'a [u8] {
        let fits = usize::try_from(self.left).unwrap_or(usize::MAX);
        let data = &input[..input.len().min(fits)];
        self.left -= data.len() as u64;
        data
    }

    /// [`next`](Body::next) for all kinds of bodies.
    #[inline(never)]
    fn next_in_framing<'a>(&mut self, input: &'a [u8]) -> Result<(usize, Piece<'a>), Error> {
        let mut at = 0;
        loop {
            let rest = &input[at..];
            match &self.state {
                State::Done => return Ok((at, Piece::End)),
                State::Failed(error) => return Err(error.clone()),
                State::Sized if self.left == 0 => self.state = State::Done,
                _ if rest.is_empty() => return Ok((at, Piece::More)),
                State::UntilClose => return Ok((input.len(), Piece::Data(rest))),
                State::Sized | State::Data => {
                    let data = self.data(rest);
                    if self.left == 0 && self.state == State::Data {
                        self.state = State::DataCr;
                    }
                    return Ok((at + data.len(), Piece::Data(data)));
                }
                _ => {
                    self.state = self.step(rest[0]).unwrap_or_else(State::Failed);
                    at += 1;
                }
            }
        }
    }

    /// Tells that the connection has ended. `Ok` means that the body is complete.
    pub fn eof(&mut self) -> Result<(), Error> {
        match &self.state {
            State::Done => Ok(()),
            State::UntilClose => {
                self.state = State::Done;
                Ok(())
            }
            State::Sized if self.left == 0 => Ok(()),
            State::Sized => Err(Error::closed_in_body(Some(self.left))),
            State::Failed(error) => Err(error.clone()),
            _ => Err(Error::closed_in_body(None)),
        }
    }

    /// The state after one byte of chunk framing.
    fn step(&mut self, byte: u8) -> Result<State, Error> {
        self.line += 1;
        let fail = |kind| Err(Error::quoting(kind, &[byte]));
        let (limit, kind) = match self.state {
            State::Size | State::SizeDigits | State::SizeSpace | State::Extension | State::SizeLf => {
                (MAX_CHUNK_LINE, Kind::ChunkLineTooLong)
            }
            _ => (MAX_TRAILERS, Kind::TrailersTooLong),
        };
        if self.line > limit {
            return Err(Error::new(kind));
        }
        Ok(match (&self.state, byte) {
            (State::Size | State::SizeDigits, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                let digit = char::from(byte).to_digit(16).unwrap_or(0);
                if self.left > MAX_LENGTH / 16 {
                    return Err(Error::new(Kind::ChunkTooLarge));
                }
                self.left = self.left * 16 + u64::from(digit);
                State::SizeDigits
            }
            (State::SizeDigits | State::SizeSpace | State::Extension, b'\r') => State::SizeLf,
            (State::SizeDigits | State::SizeSpace, b';') => State::Extension,
            (State::SizeDigits | State::SizeSpace, b' ' | b'\t') => State::SizeSpace,
            (State::SizeDigits | State::SizeSpace | State::Extension, b'\n') => return fail(Kind::ChunkLineEnd),
            (State::Size | State::SizeDigits | State::SizeSpace, _) => {
                return fail(Kind::ChunkSize);
            }
            (State::Extension, _) if is_text(byte) => State::Extension,
            (State::Extension, _) => return fail(Kind::ChunkExtension),

            (State::SizeLf, b'\n') => {
                self.line = 0;
                if self.left == 0 { State::Trailer } else { State::Data }
            }
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => {
                self.line = 0;
                State::Size
            }
            (State::DataCr | State::DataLf, _) => return fail(Kind::ChunkEnd),

            (State::Trailer, b'\r') => State::LastLf,
            (State::TrailerName, b':') => State::TrailerValue,
            (State::Trailer | State::TrailerName, _) if is_token_byte(byte) => State::TrailerName,
            (State::TrailerValue, b'\r') => State::TrailerLf,
            (State::TrailerValue, _) if is_text(byte) => State::TrailerValue,
            (State::Trailer | State::TrailerValue, b'\n') => return fail(Kind::ChunkLineEnd),
            (State::Trailer | State::TrailerName | State::TrailerValue, _) => {
                return fail(Kind::Trailer);
            }
            (State::TrailerLf, b'\n') => State::Trailer,
            (State::LastLf, b'\n') => State::Done,

            (State::SizeLf | State::TrailerLf | State::LastLf, _) => {
                return fail(Kind::ChunkLineEnd);
            }
            // Not framing: `next` does not bring these here.
            (State::Sized | State::UntilClose | State::Data, _) => self.state.clone(),
            (State::Done | State::Failed(_), _) => self.state.clone(),
        })
    }
}

/// Appends `data` as one chunk, and nothing when it is empty: an empty chunk
/// would end the body.
pub fn write_chunk(out: &mut Vec<u8>, data: &[u8]) {
    if !data.is_empty() {
        out.extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
        out.extend_from_slice(data);
        out.extend_from_slice(b"\r\n");
    }
}

/// Appends the end of a chunked body, without trailers.
pub fn write_last_chunk(out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n\r\n");
}
