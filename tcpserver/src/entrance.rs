//! One way into a server: what is said of its listeners, and shared by all connections that come through them.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use iostream::StreamOptions;

use crate::handle::ServerHandle;

/// How a server treats the connections of some of its listeners: see [`TcpServer::with`](crate::TcpServer::with). What is not
/// said here is a matter of the server as a whole.
///
/// ```
/// use tcpserver::ListenOptions;
/// use std::time::Duration;
///
/// let admin = ListenOptions::new().label("admin").linger(Duration::ZERO);
/// # let _ = admin;
/// ```
#[derive(Clone, Debug)]
pub struct ListenOptions {
    pub(crate) stream: StreamOptions,
    pub(crate) linger: Duration,
    pub(crate) label: Option<Arc<str>>,
}

impl ListenOptions {
    /// The defaults: no label, the limits of [`StreamOptions`], a linger of 5 seconds.
    #[must_use]
    pub fn new() -> ListenOptions {
        ListenOptions { stream: StreamOptions::default(), linger: LINGER, label: None }
    }

    /// A name for the listeners, which stands in the span of their connections and in the line that is logged of one that
    /// fails. None by default.
    #[must_use]
    pub fn label(mut self, label: impl Into<Arc<str>>) -> ListenOptions {
        self.label = Some(label.into());
        self
    }

    /// The limits of the streams.
    #[must_use]
    #[doc(alias = "max_buffer_size")]
    #[doc(alias = "read_chunk_size")]
    pub fn stream_options(mut self, options: StreamOptions) -> ListenOptions {
        self.stream = options;
        self
    }

    /// How long a connection whose handler has ended may take to send what was written and, where the peer was still
    /// talking, to hear it out. 5 seconds by default; then it is closed as it is.
    #[must_use]
    pub fn linger(mut self, limit: Duration) -> ListenOptions {
        self.linger = limit;
        self
    }
}

impl Default for ListenOptions {
    fn default() -> ListenOptions {
        ListenOptions::new()
    }
}

/// A server with the options of some of its listeners. Each connection keeps the entrance through which it came.
#[derive(Debug)]
pub(crate) struct Entrance {
    pub(crate) server: ServerHandle,
    pub(crate) options: ListenOptions,
    /// Those of `options`, as streams take them.
    pub(crate) stream_options: Rc<StreamOptions>,
}

impl Entrance {
    pub(crate) fn new(server: ServerHandle, options: ListenOptions) -> Rc<Entrance> {
        let stream_options = Rc::new(options.stream);
        Rc::new(Entrance { server, options, stream_options })
    }

    pub(crate) fn label(&self) -> Option<&str> {
        self.options.label.as_deref()
    }
}

/// How long a connection may take to end after its handler has, unless something else is said.
const LINGER: Duration = Duration::from_secs(5);
