//! The switch to another protocol.

use http::framing::error::Kind;
use http::framing::{request, response};

#[test]
fn a_request_asks_to_switch_when_its_connection_line_says_so() {
    let asked = |version: &str, connection: &str| {
        let head = format!("GET / HTTP/{version}\r\nHost: a\r\n{connection}Upgrade: websocket\r\n\r\n");
        match request::Parser::new().next(head.as_bytes()).unwrap().1 {
            request::Event::Head(request) => request.upgrade.map(<[u8]>::to_vec),
            event => panic!("{event:?}"),
        }
    };
    for connection in ["Connection: upgrade\r\n", "Connection: keep-alive, UPGRADE\r\n"] {
        assert_eq!(asked("1.1", connection).as_deref(), Some(&b"websocket"[..]), "{connection}");
        assert_eq!(asked("1.0", connection), None);
    }
    for connection in ["", "Connection: close\r\n", "Connection: upgrades\r\n"] {
        assert_eq!(asked("1.1", connection), None, "{connection}");
    }
}

#[test]
fn a_response_switches_only_to_what_was_asked_for() {
    let first = |asked: bool, head: &str| {
        let mut parser = response::Parser::new("GET");
        if asked {
            parser.expect_upgrade("websocket");
        }
        match parser.next(head.as_bytes()).map(|(used, event)| (used, format!("{event:?}"))) {
            Ok((used, event)) => {
                assert!(event.starts_with("Head"), "{event}");
                // What follows is the other protocol's.
                let frame = [0x81, 0, 13, 10];
                assert!(matches!(parser.next(&frame), Ok((4, response::Event::Data(data))) if data == frame));
                parser.eof().unwrap();
                assert!(matches!(parser.next(b""), Ok((0, response::Event::End))));
                assert!(!parser.keep_alive());
                Ok(used)
            }
            Err(error) => Err(error.kind()),
        }
    };
    let switched = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n";
    assert_eq!(first(true, switched), Ok(switched.len()));
    for (asked, head) in [
        (false, switched.to_string()),
        (true, switched.replace("WebSocket", "h2c")),
        (true, switched.replace("Connection: Upgrade\r\n", "")),
        (true, switched.replace("Upgrade: WebSocket\r\n", "")),
    ] {
        assert_eq!(first(asked, &head), Err(Kind::Switched), "{asked} {head}");
    }
}
