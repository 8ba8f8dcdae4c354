//! A response body encoded as it is written.

use std::io::Write;

use flate2::write::GzEncoder;

use iostream::HeldBytes;

use super::Compression;
use crate::http1::LocalError;

/// What an encoder takes for as long as the response.
pub(crate) const ENCODER_BYTES: usize = 350 * 1024;

/// Encodes one body.
pub(crate) struct Encoder {
    gzip: GzEncoder<Vec<u8>>,
    /// How long the body is to be, before it is encoded.
    length: Option<u64>,
    written: u64,
    _held: HeldBytes,
}

impl Encoder {
    pub(crate) fn new(compression: &Compression, length: Option<u64>) -> Encoder {
        let mut held = HeldBytes::new();
        held.set(ENCODER_BYTES);
        Encoder { gzip: gzip(compression), length, written: 0, _held: held }
    }

    /// Takes a piece, and gives what has become of it and of those before so far.
    pub(crate) fn write(&mut self, data: &[u8]) -> Result<Vec<u8>, LocalError> {
        self.written += data.len() as u64;
        if let Some(declared) = self.length
            && self.written > declared
        {
            return Err(LocalError::TooMuchBody { declared });
        }
        let _infallible = self.gzip.write_all(data); // into memory
        Ok(std::mem::take(self.gzip.get_mut()))
    }

    /// Gives all that was kept back.
    pub(crate) fn flush(&mut self) -> Result<Vec<u8>, LocalError> {
        let _infallible = self.gzip.flush();
        Ok(std::mem::take(self.gzip.get_mut()))
    }

    /// Gives the rest.
    pub(crate) fn finish(&mut self) -> Result<Vec<u8>, LocalError> {
        match self.length.map_or(0, |length| length - self.written) {
            0 => {
                let _infallible = self.gzip.try_finish();
                Ok(std::mem::take(self.gzip.get_mut()))
            }
            missing => Err(LocalError::TooLittleBody { missing }),
        }
    }
}

pub(crate) fn encode_whole(compression: &Compression, data: &[u8]) -> Result<Vec<u8>, LocalError> {
    let mut encoder = Encoder::new(compression, None);
    let mut encoded = encoder.write(data)?;
    encoded.extend_from_slice(&encoder.finish()?);
    Ok(encoded)
}

fn gzip(compression: &Compression) -> GzEncoder<Vec<u8>> {
    GzEncoder::new(Vec::new(), flate2::Compression::new(compression.level.clamp(1, 9)))
}
