//! Plays a proxy's side of a handshake, cut up in every way.

use http::tunnel::{Handshake, Step};

/// What the client is to say, and what the proxy says to that.
pub type Turn = (Vec<u8>, Vec<u8>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The handshake is done; these bytes came through the tunnel.
    Tunnel(Vec<u8>),
    Failed(String),
    /// The proxy had nothing more to say: the error for a connection closed there.
    Closed(String),
}

#[derive(Clone, Copy, Debug)]
enum Cut {
    Nowhere,
    At(usize),
    Everywhere,
}

impl Cut {
    /// `at` counts over all turns; `before` is how much came in the turns before.
    fn pieces(self, bytes: &[u8], before: usize) -> Vec<&[u8]> {
        match self {
            Cut::At(at) if at > before && at < before + bytes.len() => {
                let (head, tail) = bytes.split_at(at - before);
                vec![head, tail]
            }
            Cut::Everywhere => bytes.chunks(1).collect(),
            _ => vec![bytes],
        }
    }
}

/// The outcome, which must be the same however the proxy's bytes are cut and the client's are
/// written.
#[track_caller]
pub fn outcome(make: &dyn Fn() -> Handshake, turns: &[Turn]) -> Outcome {
    let whole = play(make(), turns, Cut::Nowhere);
    let len = turns.iter().map(|turn| turn.1.len()).sum();
    for cut in (1..len).map(Cut::At).chain([Cut::Everywhere]) {
        assert_eq!(play(make(), turns, cut), whole, "{cut:?}");
    }
    whole
}

/// Also plays the conversation up to each byte of the proxy's: it must never be done early, and
/// an end of file there must be an error that names the hop and what was missing.
#[track_caller]
pub fn tunnel(make: &dyn Fn() -> Handshake, turns: &[Turn]) {
    let leftover = b"SSH-2.0-first\r\n\r\n\x05\x00HTTP/1.1 407 No\r\n\r\n";
    assert_eq!(outcome(make, turns), Outcome::Tunnel(Vec::new()));

    let mut chatty = turns.to_vec();
    chatty.last_mut().unwrap().1.extend_from_slice(leftover);
    assert_eq!(outcome(make, &chatty), Outcome::Tunnel(leftover.to_vec()));

    for turn in 0..turns.len() {
        for len in 0..turns[turn].1.len() {
            let mut short = turns[..=turn].to_vec();
            short[turn].1.truncate(len);
            let Outcome::Closed(text) = play(make(), &short, Cut::Nowhere) else {
                panic!("not closed in turn {turn} after {len} bytes");
            };
            assert!(text.contains(": closed during the handshake, while waiting for the "), "{text}");
        }
    }
}

fn play(mut handshake: Handshake, turns: &[Turn], cut: Cut) -> Outcome {
    let mut before = 0;
    for (question, answer) in turns {
        if matches!(cut, Cut::Everywhere) {
            let mut written = Vec::new();
            while let Some(&byte) = handshake.outgoing().first() {
                written.push(byte);
                handshake.sent(1);
            }
            assert_eq!(&written, question);
        } else {
            assert_eq!(handshake.outgoing(), question);
            handshake.sent(question.len());
        }
        assert_eq!(handshake.received(b""), Ok(Step::More));

        let mut unread = answer.as_slice();
        for piece in cut.pieces(answer, before) {
            match handshake.received(piece) {
                Ok(Step::More) => unread = &unread[piece.len()..],
                Ok(Step::Done { consumed }) => {
                    assert!(consumed <= piece.len());
                    assert!(handshake.outgoing().is_empty());
                    let again = handshake.received(piece);
                    assert_eq!(again, Ok(Step::Done { consumed: 0 }));
                    return Outcome::Tunnel(unread[consumed..].to_vec());
                }
                Err(error) => {
                    assert!(handshake.outgoing().is_empty());
                    assert_eq!(handshake.received(b"\x05\x00"), Err(error.clone()));
                    return Outcome::Failed(error.to_string());
                }
            }
        }
        before += answer.len();
    }
    Outcome::Closed(handshake.closed().to_string())
}

/// Answers a handshake with garbage: whole, in random pieces, and byte by byte. It must not panic,
/// take more than it was given, or depend on the pieces.
pub fn withstand(make: &dyn Fn() -> Handshake, garbage: &[u8], random: &mut Random) {
    let mut pieces = Vec::new();
    let mut rest = garbage;
    while !rest.is_empty() {
        let (piece, others) = rest.split_at(1 + random.below(rest.len()));
        pieces.push(piece);
        rest = others;
    }
    // What the handshake asks on the way stays unsent, so that the pieces make no difference.
    let whole = feed(make(), &[garbage], false);
    assert_eq!(feed(make(), &pieces, false), whole, "{pieces:?}");
    // Here it is sent: this gets further.
    let bytes: Vec<&[u8]> = garbage.chunks(1).collect();
    let _ = feed(make(), &bytes, true);
}

/// How many bytes the handshake took to be done, if it was.
fn feed(mut handshake: Handshake, pieces: &[&[u8]], send: bool) -> Result<Option<usize>, String> {
    handshake.sent(handshake.outgoing().len());
    let mut taken = 0;
    for piece in pieces {
        match handshake.received(piece).map_err(|e| e.to_string())? {
            Step::More => taken += piece.len(),
            Step::Done { consumed } => {
                assert!((1..=piece.len()).contains(&consumed));
                return Ok(Some(taken + consumed));
            }
        }
        if send {
            handshake.sent(handshake.outgoing().len());
        }
    }
    Ok(None)
}

/// Numbers that look random and are the same for the same seed.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Random(seed)
    }

    /// Splitmix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    /// Mostly `pieces` in any order, some bytes of any value between.
    pub fn garbage(&mut self, pieces: &[&[u8]]) -> Vec<u8> {
        let mut garbage = Vec::new();
        for _ in 0..self.below(12) {
            if self.below(8) == 0 {
                garbage.push(self.below(256) as u8);
            } else {
                garbage.extend_from_slice(pieces[self.below(pieces.len())]);
            }
        }
        garbage
    }
}
