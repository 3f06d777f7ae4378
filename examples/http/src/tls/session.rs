//! The session: what goes between it and the socket, and what its failures are called.

use super::MOST_WITHOUT_DATA;
use crate::trust::is_authoritys_own;
use conncache::Probe;
use rustls::{CertificateError, ClientConnection, InvalidMessage};
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};

/// A session, and whose it is.
pub(super) struct Tls {
    pub(super) session: ClientConnection,
    host: Box<str>,
    /// How many bytes have come since the last that were data, or since the owner's last write.
    without_data: usize,
    /// Whether bytes of the owner's wait for the socket.
    unsent: bool,
}

impl Tls {
    /// A session that nothing has been sent for.
    pub(super) fn new(session: ClientConnection, host: &str) -> Tls {
        Tls { session, host: host.into(), without_data: 0, unsent: false }
    }

    /// The verdict on an inactive connection. The order of the questions matters:
    ///
    /// 1. The owner's own leftovers, and then the session's: data may be decrypted already, with not a byte left in the
    ///    socket.
    /// 2. Then the socket, read until it would block, for only this arms the edge again; so no other way leads to
    ///    `Quiet`. Each piece goes through the session, which keeps what tickets it finds.
    ///
    /// Nothing is written: the answer to a key update may wait, and goes before the next owner's bytes.
    ///
    /// Of a record whose end hasn't come nothing can be known, not even its kind: that is quiet. If it turns out to be
    /// data after the hand-out, the next owner reads it first. But then a peer can always send that a moment later.
    pub(super) fn probe(&mut self, socket: &mut impl Read) -> Probe {
        if self.session.is_handshaking() {
            // Possible if TLS was started on a connection that the cache had already known as connected.
            return Probe::Failed(self.error(ErrorKind::NotConnected, "the handshake isn't over"));
        }
        if self.unsent {
            return Probe::Unsolicited;
        }
        loop {
            match self.session.process_new_packets() {
                Ok(state) if state.plaintext_bytes_to_read() > 0 => return Probe::Unsolicited,
                Ok(_) if self.without_data > MOST_WITHOUT_DATA => return Probe::Unsolicited,
                Ok(_) => {}
                // A fatal alert, or what doesn't decrypt.
                Err(error) => return Probe::Failed(self.explain(&error)),
            }
            match self.session.read_tls(socket) {
                // Also after close_notify, whether or not the socket is closed as well: no answer will come.
                Ok(0) => return Probe::Closed,
                Ok(n) => self.without_data += n,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Probe::Quiet,
                Err(error) => return Probe::Failed(error),
            }
        }
    }

    pub(super) fn handshake(&mut self, socket: &mut (impl Read + Write)) -> io::Result<bool> {
        loop {
            match self.send(socket) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                sent => sent.map_err(|error| self.error(error.kind(), &error))?,
            }
            if !self.session.is_handshaking() {
                // The last of it may be ours: the peer waits for that.
                return Ok(!self.session.wants_write());
            }
            match self.receive(socket) {
                Ok(0) => return Err(self.error(ErrorKind::UnexpectedEof, "closed during the handshake")),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
    }

    pub(super) fn read(&mut self, socket: &mut (impl Read + Write), buf: &mut [u8]) -> io::Result<usize> {
        if self.session.is_handshaking() && !self.handshake(socket)? {
            return Err(ErrorKind::WouldBlock.into());
        }
        // What waits for the socket goes now if it can. If it can't, ever: the answer may have been sent before that.
        let _ = self.send(socket);
        loop {
            match self.session.reader().read(buf) {
                Ok(n) => {
                    self.without_data = 0;
                    return Ok(n);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(self.error(error.kind(), "closed without saying so; data may be missing")),
            }
            // At the end this returns 0, and the session then knows how to call it.
            self.receive(socket)?;
            if self.without_data > MOST_WITHOUT_DATA {
                let why = format!("more than {MOST_WITHOUT_DATA} bytes in a row without data");
                return Err(self.error(ErrorKind::InvalidData, why));
            }
        }
    }

    pub(super) fn write(&mut self, socket: &mut (impl Read + Write), buf: &[u8]) -> io::Result<usize> {
        if self.session.is_handshaking() && !self.handshake(socket)? {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.send(socket)?;
        let taken = self.session.writer().write(buf)?;
        self.without_data = 0;
        match self.send(socket) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => self.unsent = true,
            sent => sent?,
        }
        Ok(taken)
    }

    /// Sends what the session has to send. `WouldBlock` if that isn't all.
    pub(super) fn send(&mut self, socket: &mut impl Write) -> io::Result<()> {
        while self.session.wants_write() {
            match self.session.write_tls(socket) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.unsent = false;
        Ok(())
    }

    /// Reads from the socket once, and lets the session see it; how many bytes there were.
    fn receive(&mut self, socket: &mut (impl Read + Write)) -> io::Result<usize> {
        let read = loop {
            match self.session.read_tls(socket) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        // In any case, since a session that has failed says so again.
        if let Err(error) = self.session.process_new_packets() {
            // It has an alert for the peer, to say why.
            let _ = self.send(socket);
            return Err(self.explain(&error));
        }
        match read {
            Ok(n) => {
                self.without_data += n;
                Ok(n)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Err(error),
            Err(error) => Err(self.error(error.kind(), &error)),
        }
    }

    fn explain(&self, error: &rustls::Error) -> io::Error {
        let why = match error {
            rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
                "its certificate was issued by nobody who is trusted here".to_owned()
            }
            rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => "it doesn't speak TLS".to_owned(),
            error if is_authoritys_own(error) => {
                "its certificate is marked as an authority's, not a server's; it is accepted only if that very certificate \
                 is given as trusted"
                    .to_owned()
            }
            rustls::Error::InvalidCertificate(why) => why.to_string(),
            rustls::Error::AlertReceived(alert) => format!("it gave up: {alert:?}"),
            other => other.to_string(),
        };
        self.error(ErrorKind::InvalidData, why)
    }

    fn error(&self, kind: ErrorKind, why: impl fmt::Display) -> io::Error {
        io::Error::new(kind, format!("tls with {}: {why}", self.host))
    }
}
