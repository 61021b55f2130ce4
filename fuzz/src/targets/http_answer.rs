//! What a target may answer to a scrape: head and body are the same however the bytes come in, and no body is longer
//! than what came.

use hearth_scrape::payload::read_pieces;

pub fn run(data: &[u8]) {
    // Whether the connection can be kept shows where more comes than was asked for, which small pieces do not show.
    let read = |piece_bytes| {
        let (head, body) = read_pieces(data, piece_bytes)?;
        assert!(body.len() <= data.len());
        Some((head.status, head.reason, head.content_type, head.content_encoding, body))
    };
    let whole = read(data.len());
    for piece_bytes in [1, 7] {
        assert_eq!(read(piece_bytes), whole, "in pieces of {piece_bytes}");
    }
}
