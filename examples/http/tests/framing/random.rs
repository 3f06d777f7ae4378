//! Messages that nobody thought of.

use crate::run;
use crate::tables::{GOOD_REQUESTS, GOOD_RESPONSES};
use http::framing::{request, response};

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    fn byte(&mut self) -> u8 {
        const TELLING: &[u8] = b"\r\n\r\n :,;=\t\0\x7f\xff059afxHTP/1.";
        match self.below(3) {
            0 => self.next() as u8,
            _ => TELLING[self.below(TELLING.len())],
        }
    }

    fn mutate(&mut self, message: &mut Vec<u8>, other: &[u8]) {
        for _ in 0..=self.below(3) {
            let at = self.below(message.len() + 1);
            let end = (at + self.below(8)).min(message.len());
            match self.below(5) {
                0 => message.insert(at, self.byte()),
                1 => drop(message.drain(at..end)),
                2 => {
                    let copy = message[at..end].to_vec();
                    let to = self.below(message.len() + 1);
                    message.splice(to..to, copy);
                }
                3 => {
                    let from = self.below(other.len());
                    message.truncate(at);
                    message.extend_from_slice(&other[from..]);
                }
                _ => {
                    let byte = self.byte();
                    if let Some(old) = message.get_mut(at) {
                        *old = byte;
                    }
                }
            }
        }
    }

    fn cuts(&mut self, length: usize) -> Vec<usize> {
        let mut cuts: Vec<usize> = (0..self.below(6)).map(|_| self.below(length + 1)).collect();
        cuts.sort_unstable();
        cuts
    }
}

/// What no accepted request may have, read off its bytes in another way.
fn assert_strict(message: &[u8]) {
    let Ok((used, request::Event::Head(_))) = request::Parser::new().next(message) else {
        return;
    };
    let shown = message.escape_ascii();
    let head = String::from_utf8_lossy(&message[..used]);
    let head = head.strip_prefix("\r\n").unwrap_or(&head).strip_suffix("\r\n\r\n").unwrap();
    let lines: Vec<&str> = head.split("\r\n").collect();
    assert!(!head.replace("\r\n", "").contains(|c: char| c != '\t' && c.is_ascii_control()), "{shown}");
    assert_eq!(lines[0].split(' ').count(), 3, "{shown}");
    let mut counts = [0; 3];
    for line in &lines[1..] {
        let (name, value) = line.split_once(':').expect("a colon");
        assert!(!name.is_empty() && !name.contains([' ', '\t']), "{shown}");
        match name.to_ascii_lowercase().as_str() {
            "host" => counts[0] += 1,
            "content-length" => {
                counts[1] += 1;
                assert!(value.trim().bytes().all(|byte| byte.is_ascii_digit()), "{shown}");
            }
            "transfer-encoding" => {
                counts[2] += 1;
                assert!(value.trim().eq_ignore_ascii_case("chunked"), "{shown}");
                assert!(lines[0].ends_with(" HTTP/1.1"), "{shown}");
            }
            _ => {}
        }
    }
    assert!(counts[0] == 1 || (counts[0] == 0 && lines[0].ends_with(" HTTP/1.0")), "{shown}");
    assert!(counts[1] + counts[2] <= 1, "{shown}");
}

#[test]
fn random_bytes_and_mutations() {
    const SEED: u64 = 0x5eed_0fc0_ffee;
    const ROUNDS: usize = 20_000;
    println!("seed {SEED:#x}");
    let mut random = Random(SEED);
    let responses: Vec<_> = GOOD_RESPONSES.iter().map(|case| case.1.as_bytes()).collect();
    let requests: Vec<_> = GOOD_REQUESTS.iter().map(|case| case.0.as_bytes()).collect();
    let mut accepted = 0;
    for round in 0..ROUNDS {
        for valid in [&responses, &requests] {
            let mut message = valid[random.below(valid.len())].to_vec();
            let other = valid[random.below(valid.len())];
            if round % 10 == 0 {
                message = (0..random.below(200)).map(|_| random.byte()).collect();
            } else {
                random.mutate(&mut message, other);
            }
            let cuts = random.cuts(message.len());
            let shown = format!("{} cut at {cuts:?}", message.escape_ascii());
            for method in ["GET", "HEAD"] {
                let whole = run(response::Parser::new(method), &message, &[]);
                assert_eq!(run(response::Parser::new(method), &message, &cuts), whole, "{shown}");
                accepted += usize::from(whole.contains("| end"));
            }
            let whole = run(request::Parser::new(), &message, &[]);
            assert_eq!(run(request::Parser::new(), &message, &cuts), whole, "{shown}");
            accepted += usize::from(whole.contains("| end"));
            assert_strict(&message);
        }
    }
    // Neither all refused nor all accepted, or the mutations are no test.
    assert!((ROUNDS / 10..ROUNDS * 5).contains(&accepted), "{accepted} accepted");
}
