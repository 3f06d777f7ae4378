//! Any text as a peer: parsing never panics, what is accepted survives its own text, and an `@` is never echoed.
#![no_main]

use conncache::Peer;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match text.parse::<Peer>() {
        Ok(peer) => {
            let shown = peer.to_string();
            if !text.starts_with("unix://") || !text.contains(char::is_control) {
                assert_eq!(shown.parse(), Ok(peer), "{text:?} became {shown:?}");
            }
        }
        // A path has no user in it.
        Err(error) => assert!(text.starts_with("unix://") || !text.contains('@') || !error.to_string().contains('@')),
    }
    // Constructors take any text; what they make can be shown and compared.
    let peer = Peer::direct(text, 1);
    assert!(!peer.to_string().contains(char::is_control));
    assert_eq!(peer, Peer::direct(text, 1));
});
