//! Reading from a socket and writing to it: the two calls that a connection consists of, and the system's own on Linux.
//!
//! The C library's are points at which a thread may be cancelled: where there is more than one, each is framed by two locked
//! instructions, among some 50 that it costs. Nobody cancels threads of Rust.

use std::io::{self, IoSlice};

#[cfg(target_os = "linux")]
mod system {
    use std::os::fd::AsFd;

    use rustix::io::writev;
    use rustix::net::{RecvFlags, SendFlags, recv, send};

    use super::{IoSlice, io};

    #[inline]
    pub(crate) fn read(socket: &mut impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(recv(socket, buffer, RecvFlags::empty())?.0)
    }

    #[inline]
    pub(crate) fn write(socket: &mut impl AsFd, data: &[u8]) -> io::Result<usize> {
        Ok(send(socket, data, SendFlags::NOSIGNAL)?)
    }

    #[inline]
    pub(crate) fn write_vectored(socket: &mut impl AsFd, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        Ok(writev(socket, slices)?)
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::io::{Read, Write};

    use super::{IoSlice, io};

    pub(crate) fn read(socket: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
        socket.read(buffer)
    }

    pub(crate) fn write(socket: &mut impl Write, data: &[u8]) -> io::Result<usize> {
        socket.write(data)
    }

    pub(crate) fn write_vectored(socket: &mut impl Write, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        socket.write_vectored(slices)
    }
}

pub(crate) use system::{read, write, write_vectored};
