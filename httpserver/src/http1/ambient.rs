//! The fields that all responses of a server share: Server and Date.

use std::io::Write as _;
use std::time::SystemTime;

use crate::headers::{HeaderError, Headers};

/// `Server` and `Date` in wire form, to be copied into each response whose handler set neither.
///
/// A server keeps one per loop and sets the date once a second; there is no clock here. The default has neither field, as
/// Tornado at this layer. RFC 9110 §6.6.1 wants a Date from a server that has a clock.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ambient {
    server: Vec<u8>,
    /// `server`, then the date.
    lines: Vec<u8>,
}

impl Ambient {
    /// With this `Server` field, without a date so far.
    ///
    /// # Errors
    /// [`HeaderError::InvalidValue`] for a control byte.
    pub fn with_server(server: &str) -> Result<Self, HeaderError> {
        let mut field = Headers::new();
        field.add("Server", server)?;
        let server = field.as_bytes().to_vec();
        Ok(Self { lines: server.clone(), server })
    }

    /// Sets the date, in the format of RFC 9110 §5.6.7. Allocates only the first time.
    ///
    /// Times before 1970 and after the year 9999 cannot be written: there is no Date then.
    pub fn set_date(&mut self, now: SystemTime) {
        self.lines.truncate(self.server.len());
        if is_writable(now) {
            // Writing to a vector does not fail.
            let _ = write!(self.lines, "Date: {}\r\n", httpdate::HttpDate::from(now));
        }
    }

    /// Both lines.
    pub(crate) fn lines(&self) -> &[u8] {
        &self.lines
    }

    pub(crate) fn server_line(&self) -> &[u8] {
        &self.server
    }

    pub(crate) fn date_line(&self) -> &[u8] {
        &self.lines[self.server.len()..]
    }
}

/// httpdate panics outside of this range.
fn is_writable(time: SystemTime) -> bool {
    const YEAR_10000: u64 = 253_402_300_800;
    time.duration_since(SystemTime::UNIX_EPOCH).is_ok_and(|since| since.as_secs() < YEAR_10000)
}
