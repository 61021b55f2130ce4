//! Remote write 1.0 requests, encoded: protobuf in a snappy block. Written apart from the server's decoder
//! on purpose, so that the two check each other.

/// The encoded labels of one series, ready to be put into requests. Names must ascend.
pub fn label_bytes<'a>(labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in labels {
        let mut label = Vec::with_capacity(name.len() + value.len() + 8);
        push_field(&mut label, 0x0a, name.as_bytes());
        push_field(&mut label, 0x12, value.as_bytes());
        push_field(&mut bytes, 0x0a, &label);
    }
    bytes
}

/// Builds one request after another in the same memory.
pub struct Encoder {
    raw: Vec<u8>,
    series: Vec<u8>,
    sample: Vec<u8>,
    body: Vec<u8>,
    snappy: snap::raw::Encoder,
}

impl Default for Encoder {
    fn default() -> Encoder {
        let empty = Vec::new;
        Encoder {
            raw: empty(),
            series: empty(),
            sample: empty(),
            body: empty(),
            snappy: snap::raw::Encoder::new(),
        }
    }
}

impl Encoder {
    /// Adds a series with its samples: time in milliseconds and value.
    pub fn push(&mut self, labels: &[u8], samples: &[(i64, f64)]) {
        self.series.clear();
        self.series.extend_from_slice(labels);
        for (time_ms, value) in samples {
            self.sample.clear();
            self.sample.push(0x09);
            self.sample.extend_from_slice(&value.to_le_bytes());
            self.sample.push(0x10);
            push_varint(&mut self.sample, *time_ms as u64);
            push_field(&mut self.series, 0x12, &self.sample);
        }
        push_field(&mut self.raw, 0x0a, &self.series);
    }

    /// Says something of a metric: its type by the protocol's number, and its help.
    pub fn push_metadata(&mut self, kind: u8, family: &str, help: &str) {
        self.series.clear();
        self.series.extend_from_slice(&[0x08, kind]);
        push_field(&mut self.series, 0x12, family.as_bytes());
        push_field(&mut self.series, 0x22, help.as_bytes());
        push_field(&mut self.raw, 0x1a, &self.series);
    }

    /// The request's body; the next request begins empty.
    pub fn finish(&mut self) -> Result<&[u8], String> {
        self.body.resize(snap::raw::max_compress_len(self.raw.len()), 0);
        let written = self.snappy.compress(&self.raw, &mut self.body).map_err(|error| error.to_string())?;
        self.body.truncate(written);
        self.raw.clear();
        Ok(&self.body)
    }
}

fn push_field(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    push_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn push_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodes_what_the_protocol_says() {
        let mut encoder = Encoder::default();
        encoder.push(&label_bytes([("__name__", "up")]), &[(300, 1.0)]);
        let raw = snap::raw::Decoder::new().decompress_vec(encoder.finish().unwrap()).unwrap();
        let sample = b"\x12\x0c\x09\0\0\0\0\0\0\xf0\x3f\x10\xac\x02";
        let label = b"\x0a\x0e\x0a\x08__name__\x12\x02up";
        let mut expect = vec![0x0a, (label.len() + sample.len()) as u8];
        expect.extend_from_slice(label);
        expect.extend_from_slice(sample);
        assert_eq!(raw, expect);
    }

    #[test]
    fn a_request_forgets_the_one_before() {
        let mut encoder = Encoder::default();
        encoder.push(&label_bytes([("__name__", "a")]), &[(1, 1.0)]);
        let first = encoder.finish().unwrap().to_vec();
        encoder.push(&label_bytes([("__name__", "a")]), &[(1, 1.0)]);
        assert_eq!(first, encoder.finish().unwrap());
    }
}
