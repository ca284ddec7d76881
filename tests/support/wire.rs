//! The origin's end of a connection: TLS or not, and every way of ending it. It can reset a connection
//! without a foreign call, because it always leaves one byte that it has read already in the kernel's
//! buffer: closing a socket with unread bytes sends RST.

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;

pub struct Wire {
    stream: Arc<TcpStream>,
    /// The last byte handed out is still in the kernel's buffer.
    owed: bool,
}

impl Wire {
    pub fn new(stream: Arc<TcpStream>) -> Self {
        Self { stream, owed: false }
    }

    /// Takes the last byte out of the kernel's buffer and ends with FIN.
    pub fn finish(&mut self) {
        let _ = self.settle();
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    fn settle(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.owed) {
            (&*self.stream).read_exact(&mut [0])?;
        }
        Ok(())
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.settle()?;
        let n = self.stream.peek(buffer)?;
        if n > 0 {
            (&*self.stream).read_exact(&mut buffer[..n - 1])?;
            self.owed = true;
        }
        Ok(n)
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self.stream).write(bytes)
    }

    /// TLS records of one response leave in one system call.
    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        (&*self.stream).write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub enum Channel {
    Plain(Wire),
    Tls(Box<StreamOwned<ServerConnection, Wire>>),
}

impl Channel {
    pub fn plain(wire: Wire) -> Self {
        Self::Plain(wire)
    }

    pub fn handshake(mut wire: Wire, config: Arc<ServerConfig>) -> io::Result<Self> {
        let mut tls = ServerConnection::new(config).map_err(io::Error::other)?;
        tls.set_buffer_limit(None);
        while tls.is_handshaking() {
            if let Err(refused) = tls.complete_io(&mut wire) {
                wire.finish();
                return Err(refused);
            }
        }
        Ok(Self::Tls(Box::new(StreamOwned::new(tls, wire))))
    }

    /// close_notify and FIN.
    pub fn close(mut self) {
        if let Self::Tls(tls) = &mut self {
            tls.conn.send_close_notify();
            let _ = tls.flush();
        }
        self.drop_rudely();
    }

    /// FIN without close_notify.
    pub fn drop_rudely(mut self) {
        match &mut self {
            Self::Plain(wire) => wire.finish(),
            Self::Tls(tls) => tls.sock.finish(),
        }
    }

    /// RST: nothing is said and the owed byte is left where it is.
    pub fn reset(self) {
        drop(self);
    }
}

impl Read for Channel {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(wire) => wire.read(buffer),
            Self::Tls(tls) => tls.read(buffer),
        }
    }
}

impl Write for Channel {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(wire) => wire.write(bytes),
            Self::Tls(tls) => tls.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(wire) => wire.flush(),
            Self::Tls(tls) => tls.flush(),
        }
    }
}
