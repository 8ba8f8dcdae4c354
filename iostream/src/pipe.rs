//! Pipes and what is like them as transports: FIFOs, terminals, the standard streams of a child. Tornado's
//! `PipeIOStream` (IO55).

use std::fs::File;
use std::future::poll_fn;
use std::io::{self, IoSlice, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::process::{ChildStderr, ChildStdin, ChildStdout};
use std::rc::Rc;

use ioloop::{Interest, JoinHandle, Notifier, Ready, Registration};
use mio::unix::SourceFd;
use mio::unix::pipe::{Receiver, Sender};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use crate::error::NotPollable;
use crate::transport::{
    Carrier, Direction, IntoTransport, SHORT_MEANS_WAIT, Socket, Transport, attach_anew, sealed::Sealed,
};

/// One descriptor, or two that make up both directions.
struct Pipe {
    /// First, so that it is dropped before the descriptor that it watches.
    reports: Option<Reports>,
    /// Both are the same one where that can be read and written.
    reader: Option<Rc<End>>,
    writer: Option<Rc<End>>,
}

/// A descriptor, non-blocking for as long as it is here.
struct End {
    file: File,
    /// What its description had been set to.
    flags: OFlags,
    is_fifo: bool,
}

impl End {
    fn new(file: File) -> io::Result<End> {
        let kind = file.metadata()?.file_type();
        if kind.is_file() || kind.is_dir() || kind.is_block_device() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, NotPollable));
        }
        let flags = fcntl_getfl(&file)?;
        if !flags.contains(OFlags::NONBLOCK) {
            fcntl_setfl(&file, flags | OFlags::NONBLOCK)?;
        }
        Ok(End { file, flags, is_fifo: kind.is_fifo() })
    }

    fn is_open_for(&self, direction: OFlags) -> bool {
        let mode = self.flags & OFlags::RWMODE;
        mode == direction || mode == OFlags::RDWR
    }

    /// Has `registration` told of what happens here. What epoll refuses, as it does `/dev/null`, never blocks.
    fn attach(&self, registration: &Registration) -> io::Result<()> {
        match attach_anew(&mut SourceFd(&self.file.as_raw_fd()), registration) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                registration.set_ready(Ready::READABLE | Ready::WRITABLE);
                Ok(())
            }
            result => result,
        }
    }

    /// An end that never was attached says so, which is of no interest.
    fn detach(&self, registration: &Registration) {
        let _ = registration.detach(&mut SourceFd(&self.file.as_raw_fd()));
    }
}

impl Drop for End {
    /// The description may be shared, with the shell for one, and others expect it as it was.
    fn drop(&mut self) {
        if !self.flags.contains(OFlags::NONBLOCK) {
            let _ = fcntl_setfl(&self.file, self.flags);
        }
    }
}

impl Pipe {
    /// Of two descriptors, `Err` for one that is open for the wrong direction.
    fn pair(reader: File, writer: File) -> io::Result<Pipe> {
        let (reader, writer) = (End::new(reader)?, End::new(writer)?);
        if !reader.is_open_for(OFlags::RDONLY) || !writer.is_open_for(OFlags::WRONLY) {
            let problem = "the first of a pair must be open for reading, the second for writing";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
        }
        Ok(Pipe { reports: None, reader: Some(Rc::new(reader)), writer: Some(Rc::new(writer)) })
    }

    fn single(file: File) -> io::Result<Pipe> {
        let end = Rc::new(End::new(file)?);
        let open_for = |direction| end.is_open_for(direction).then(|| Rc::clone(&end));
        Ok(Pipe { reports: None, reader: open_for(OFlags::RDONLY), writer: open_for(OFlags::WRONLY) })
    }

    /// The reader of a pair whose other half is another descriptor.
    fn separate_reader(&self) -> Option<&Rc<End>> {
        let writer = self.writer.as_ref()?;
        self.reader.as_ref().filter(|reader| !Rc::ptr_eq(reader, writer))
    }
}

impl Transport for Pipe {
    fn attach(&mut self, registration: &Registration) -> io::Result<()> {
        if let Some(reader) = self.separate_reader() {
            self.reports = Some(Reports::begin(Rc::clone(reader), registration)?);
        }
        let end = self.writer.as_ref().or(self.reader.as_ref());
        end.map_or(Ok(()), |end| end.attach(registration))
    }

    fn detach(&mut self, registration: &Registration) -> io::Result<()> {
        self.reports = None;
        let end = self.writer.as_ref().or(self.reader.as_ref());
        end.into_iter().for_each(|end| end.detach(registration));
        Ok(())
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let end = self.reader.as_ref().ok_or(io::ErrorKind::Unsupported)?;
        (&end.file).read(buffer)
    }

    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let end = self.writer.as_ref().ok_or(io::ErrorKind::Unsupported)?;
        (&end.file).write(data)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let end = self.writer.as_ref().ok_or(io::ErrorKind::Unsupported)?;
        (&end.file).write_vectored(slices)
    }

    /// Closing is how the end of a pipe is told. A terminal has no such thing.
    fn shutdown_write(&mut self) -> io::Result<()> {
        self.writer = None;
        Ok(())
    }

    /// A terminal gives one line at a time.
    fn short_read_means_drained(&self) -> bool {
        SHORT_MEANS_WAIT && self.reader.as_ref().is_some_and(|end| end.is_fifo)
    }

    fn direction(&self) -> Direction {
        match (&self.reader, &self.writer) {
            (Some(_), None) => Direction::ReadOnly,
            (None, Some(_)) => Direction::WriteOnly,
            _ => Direction::Both,
        }
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        let end = self.reader.as_ref().or(self.writer.as_ref());
        end.map(|end| end.file.as_fd())
    }
}

/// Tells a stream what happens to the reader of a pair. That has a registration of its own, because the poller says of a
/// pipe whose writers are gone that both directions are closed, and the other direction is another pipe.
struct Reports {
    task: JoinHandle<()>,
}

impl Reports {
    fn begin(reader: Rc<End>, stream: &Registration) -> io::Result<Reports> {
        let io_loop = stream.io_loop();
        let reader = Watched { registration: Registration::new(&io_loop), end: reader };
        reader.end.attach(&reader.registration)?;
        let stream = stream.notifier();
        Ok(Reports { task: io_loop.spawn(async move { reader.report_to(&stream).await }) })
    }
}

impl Drop for Reports {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Watched {
    registration: Registration,
    end: Rc<End>,
}

impl Watched {
    async fn report_to(&self, stream: &Notifier) {
        loop {
            let ready = poll_fn(|cx| self.registration.poll_ready(cx, Interest::READ)).await;
            self.registration.clear(Ready::READABLE);
            if ready.intersects(Ready::READ_CLOSED | Ready::ERROR) {
                return stream.set_ready(Ready::READABLE | Ready::READ_CLOSED);
            }
            stream.set_ready(Ready::READABLE);
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.end.detach(&self.registration); // the descriptor may live on
    }
}

/// A pipe, a FIFO, a terminal: anything that the poller takes (IO55). Bytes go the way that the descriptor is open for.
/// A stream socket is taken as one.
///
/// The descriptor is made non-blocking, and blocking again, if it was, when the stream closes. Whoever shares its
/// *description*, as standard input, output and error often do with each other and with the shell, sees that too.
///
/// A regular file is refused with [`NotPollable`]. A FIFO that nobody has opened for writing is at its end.
impl IntoTransport for OwnedFd {
    fn into_socket(self) -> io::Result<Carrier> {
        let file = File::from(self);
        if file.metadata()?.file_type().is_socket() {
            return UnixStream::from(OwnedFd::from(file)).into_socket();
        }
        Ok(Carrier(Socket::own(Box::new(Pipe::single(file)?))))
    }
}
impl Sealed for OwnedFd {}

/// A reader and a writer as one stream, each open for its direction: the output and the input of a child, or one's own
/// standard input and output.
///
/// The end of what the reader gives leaves the writer as it is. A write that the writer's peer will not take any more closes
/// the whole stream; where the rest of the input matters then, use two streams.
impl<R: Into<OwnedFd>, W: Into<OwnedFd>> IntoTransport for (R, W) {
    fn into_socket(self) -> io::Result<Carrier> {
        let pipe = Pipe::pair(File::from(self.0.into()), File::from(self.1.into()))?;
        Ok(Carrier(Socket::own(Box::new(pipe))))
    }
}
impl<R, W> Sealed for (R, W) {}

macro_rules! from_descriptor {
    ($($pipe:ty),*) => {$(
        impl IntoTransport for $pipe {
            fn into_socket(self) -> io::Result<Carrier> {
                OwnedFd::from(self).into_socket()
            }
        }
        impl Sealed for $pipe {}
    )*};
}

from_descriptor!(ChildStdin, ChildStdout, ChildStderr, io::PipeReader, io::PipeWriter, Sender, Receiver);
