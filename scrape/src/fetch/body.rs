//! The body of a scrape, read and decompressed piece by piece so that nothing grows beyond its limit:
//! neither an endless body nor a gzip bomb. The limit counts decompressed bytes.

use flate2::write::MultiGzDecoder;
use std::io::Write;

/// Why a body was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BodyError {
    TooLarge,
    Gzip(String),
}

/// Bytes that refuse to grow beyond their limit.
struct Capped {
    bytes: Vec<u8>,
    limit: usize,
    cut: bool,
}

impl Write for Capped {
    fn write(&mut self, piece: &[u8]) -> std::io::Result<usize> {
        if self.bytes.len() + piece.len() > self.limit {
            self.cut = true;
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(piece);
        Ok(piece.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A body under construction.
pub struct Body {
    form: Form,
}

enum Form {
    Plain(Capped),
    Gzip(Box<MultiGzDecoder<Capped>>),
}

impl Body {
    /// Fills `buffer`, whose memory is used again.
    pub fn new(mut buffer: Vec<u8>, gzip: bool, limit: usize) -> Body {
        buffer.clear();
        let capped = Capped { bytes: buffer, limit, cut: false };
        Body {
            form: if gzip { Form::Gzip(Box::new(MultiGzDecoder::new(capped))) } else { Form::Plain(capped) },
        }
    }

    pub fn push(&mut self, piece: &[u8]) -> Result<(), BodyError> {
        match &mut self.form {
            Form::Plain(capped) => capped.write_all(piece).map_err(|_| BodyError::TooLarge),
            Form::Gzip(decoder) => decoder.write_all(piece).map_err(|e| gzip_error(decoder.get_ref(), &e)),
        }
    }

    pub fn finish(self) -> Result<Vec<u8>, BodyError> {
        match self.form {
            Form::Plain(capped) => Ok(capped.bytes),
            Form::Gzip(mut decoder) => {
                decoder.try_finish().map_err(|e| gzip_error(decoder.get_ref(), &e))?;
                Ok(std::mem::take(&mut decoder.get_mut().bytes))
            }
        }
    }
}

fn gzip_error(capped: &Capped, error: &std::io::Error) -> BodyError {
    if capped.cut { BodyError::TooLarge } else { BodyError::Gzip(format!("gzip: {error}")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(text).expect("compress");
        encoder.finish().expect("compress")
    }

    fn read(pieces: &[u8], gzip: bool, limit: usize) -> Result<Vec<u8>, BodyError> {
        let mut body = Body::new(Vec::new(), gzip, limit);
        for piece in pieces.chunks(7) {
            body.push(piece)?;
        }
        body.finish()
    }

    #[test]
    fn bodies_come_out_whole_or_not_at_all() {
        let text = b"up 1\n".repeat(100);
        assert_eq!(read(&text, false, 500), Ok(text.clone()));
        assert_eq!(read(&text, false, 499), Err(BodyError::TooLarge));
        let packed = gzip(&text);
        assert_eq!(read(&packed, true, 500), Ok(text.clone()));
        assert_eq!(read(&packed, true, 499), Err(BodyError::TooLarge));
        assert_eq!(read(&[packed.clone(), packed.clone()].concat(), true, 1000), Ok(text.repeat(2)));
        assert!(matches!(read(&packed[..packed.len() - 9], true, 500), Err(BodyError::Gzip(_))));
        assert!(matches!(read(&text, true, 500), Err(BodyError::Gzip(_))));
    }

    #[test]
    fn a_gzip_bomb_stops_at_the_limit() {
        let bomb = gzip(&vec![b'a'; 64 << 20]);
        assert!(bomb.len() < 100_000);
        let mut body = Body::new(Vec::new(), true, 1 << 20);
        assert_eq!(bomb.chunks(1_000).find_map(|piece| body.push(piece).err()), Some(BodyError::TooLarge));
    }
}
