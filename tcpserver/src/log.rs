//! Lines for the log where the server goes on behind them.

use ioloop::caught;

/// Writes a line. Who listens to the log is somebody's code: `eprintln!`, to which many of them come in the end, panics when nobody reads
/// the standard error any more. That is to cost the line, and neither a listener nor an orderly end.
pub(crate) fn logged(line: impl FnOnce()) {
    let _written = caught(line);
}
