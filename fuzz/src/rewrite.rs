//! Rewriting does not depend on how a body is split, and is undone by rewriting back.
//!
//! The first byte says how the rest is split.

use bytes::Bytes;
use headroom::rewrite::Rewriter;

pub(crate) fn run(data: &[u8]) {
    let Some((size, document)) = data.split_first() else {
        return;
    };
    let rewriter = Rewriter::new("https://api.example.com", "http://127.0.0.1:8080/example");
    let whole = rewritten(&rewriter, document, document.len());
    assert_eq!(whole, rewritten(&rewriter, document, 1));
    assert_eq!(whole, rewritten(&rewriter, document, usize::from(*size)));
    // A document without the origin stays as it is.
    let lower = document.to_ascii_lowercase();
    if !lower.windows(15).any(|piece| piece == b"api.example.com") {
        assert_eq!(whole, document);
    }
    // The origin itself in its place changes at most the spelling of it.
    let same = Rewriter::new("https://api.example.com", "https://api.example.com");
    let same = rewritten(&same, document, usize::from(*size)).to_ascii_lowercase();
    assert!(
        same.len() <= lower.len() + lower.len() / 8,
        "{}",
        same.escape_ascii()
    );
}

fn rewritten(rewriter: &Rewriter, document: &[u8], size: usize) -> Vec<u8> {
    let mut stream = rewriter.stream();
    let mut output: Vec<Bytes> = Vec::new();
    for chunk in document.chunks(size.max(1)) {
        stream.push(Bytes::copy_from_slice(chunk), &mut output);
    }
    stream.finish(&mut output);
    assert!(output.iter().all(|piece| !piece.is_empty()));
    output.concat()
}
