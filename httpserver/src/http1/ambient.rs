//! What nearly all responses of a server begin with: the status line of 200, Server and Date.

use std::io::Write as _;
use std::time::SystemTime;

use crate::headers::{HeaderError, Headers};

/// `Server` and `Date` in wire form, to be copied into each response whose handler set neither.
///
/// A server keeps one per loop and sets the date once a second; there is no clock here. The default has neither field, as
/// Tornado at this layer. RFC 9110 §6.6.1 wants a Date from a server that has a clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ambient {
    /// [`OK_LINE`], then Server, then Date: in one piece, because most responses begin with all three.
    opening: Vec<u8>,
    /// Where Date begins.
    date: usize,
}

/// The status line of most responses.
pub(crate) const OK_LINE: &[u8] = b"HTTP/1.1 200 OK\r\n";

impl Ambient {
    /// With this `Server` field, without a date so far.
    ///
    /// # Errors
    /// [`HeaderError::InvalidValue`] for a control byte.
    pub fn with_server(server: &str) -> Result<Self, HeaderError> {
        let mut field = Headers::new();
        field.add("Server", server)?;
        let opening = [OK_LINE, field.as_bytes()].concat();
        Ok(Self { date: opening.len(), opening })
    }

    /// Sets the date, in the format of RFC 9110 §5.6.7. Allocates only the first time.
    ///
    /// Times before 1970 and after the year 9999 cannot be written: there is no Date then.
    pub fn set_date(&mut self, now: SystemTime) {
        self.opening.truncate(self.date);
        if is_writable(now) {
            // Writing to a vector does not fail.
            let _ = write!(self.opening, "Date: {}\r\n", httpdate::HttpDate::from(now));
        }
    }

    /// The status line of 200 and both fields.
    #[inline]
    pub(crate) fn opening(&self) -> &[u8] {
        &self.opening
    }

    /// Both fields.
    pub(crate) fn lines(&self) -> &[u8] {
        &self.opening[OK_LINE.len()..]
    }

    pub(crate) fn server_line(&self) -> &[u8] {
        &self.opening[OK_LINE.len()..self.date]
    }

    pub(crate) fn date_line(&self) -> &[u8] {
        &self.opening[self.date..]
    }
}

impl Default for Ambient {
    fn default() -> Self {
        Self { opening: OK_LINE.to_vec(), date: OK_LINE.len() }
    }
}

/// httpdate panics outside of this range.
fn is_writable(time: SystemTime) -> bool {
    const YEAR_10000: u64 = 253_402_300_800;
    time.duration_since(SystemTime::UNIX_EPOCH).is_ok_and(|since| since.as_secs() < YEAR_10000)
}
