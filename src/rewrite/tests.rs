//! What the rewriting of a stream promises.

use proptest::prelude::*;
use regex::bytes::Regex;

use super::*;

const ORIGIN: &str = "https://api.github.com";
const REPLACEMENT: &str = "http://127.0.0.1:8080/github";

fn pieces<'a>(rewriter: &Rewriter, chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<Bytes> {
    let mut stream = rewriter.stream();
    let mut output = Vec::new();
    for chunk in chunks {
        stream.push(Bytes::copy_from_slice(chunk), &mut output);
    }
    stream.finish(&mut output);
    output
}

fn rewrite_with(rewriter: &Rewriter, document: &[u8]) -> Vec<u8> {
    pieces(rewriter, [document]).concat()
}

fn rewrite(document: &str) -> String {
    let rewriter = Rewriter::new(ORIGIN, REPLACEMENT);
    String::from_utf8(rewrite_with(&rewriter, document.as_bytes())).unwrap()
}

/// The same by other means: a pattern over the whole document.
fn model(document: &[u8]) -> Vec<u8> {
    let string = Regex::new(r#"(?s-u)"((?:[^"\\]|\\.)*)(\\?)("|\z)"#).unwrap();
    let url = Regex::new(r"(?s-u)\A(?i:https:)(\\?)/(\\?)/(?i:api\.github\.com)(?::443)?(.*)\z");
    let url = url.unwrap();
    let mut output = Vec::new();
    let mut copied = 0;
    for found in string.captures_iter(document) {
        let content = found.get(1).unwrap();
        let closed = found[2].is_empty() && !found[3].is_empty();
        let Some(parts) = url.captures(content.as_bytes()) else {
            continue;
        };
        let rest = parts.get(3).unwrap();
        let ends = match rest.as_bytes() {
            [] => closed,
            [b'/' | b'?' | b'#' | b'{', ..] => true,
            [b'\\', next, ..] => *next == b'/',
            _ => false,
        };
        if ends {
            output.extend_from_slice(&document[copied..content.start()]);
            if parts[1].is_empty() && parts[2].is_empty() {
                output.extend_from_slice(REPLACEMENT.as_bytes());
            } else {
                output.extend_from_slice(REPLACEMENT.replace('/', "\\/").as_bytes());
            }
            copied = content.start() + rest.start();
        }
    }
    output.extend_from_slice(&document[copied..]);
    output
}

#[test]
fn urls_of_the_origin_become_urls_of_the_gateway() {
    for (document, expected) in [
        (
            r#"{"url":"https://api.github.com/users/1","n":1}"#,
            r#"{"url":"http://127.0.0.1:8080/github/users/1","n":1}"#,
        ),
        (
            r#"["https://api.github.com","https:\/\/api.github.com\/a\/b"]"#,
            r#"["http://127.0.0.1:8080/github","http:\/\/127.0.0.1:8080\/github\/a\/b"]"#,
        ),
        (
            r#"["https://api.github.com{/owner}","https://api.github.com?a=1","https://api.github.com#x"]"#,
            r#"["http://127.0.0.1:8080/github{/owner}","http://127.0.0.1:8080/github?a=1","http://127.0.0.1:8080/github#x"]"#,
        ),
        (
            r#"["HTTPS://API.GitHub.com/X","https://api.github.com:443/a","https:\/\/api.github.com:443"]"#,
            r#"["http://127.0.0.1:8080/github/X","http://127.0.0.1:8080/github/a","http:\/\/127.0.0.1:8080\/github"]"#,
        ),
        (
            r#""https://api.github.com\/x""#,
            r#""http://127.0.0.1:8080/github\/x""#,
        ),
        (
            r#"{"https://api.github.com/key":"a\"https://api.github.com/"}"#,
            r#"{"http://127.0.0.1:8080/github/key":"a\"https://api.github.com/"}"#,
        ),
    ] {
        assert_eq!(rewrite(document), expected, "{document}");
        assert_eq!(model(document.as_bytes()), expected.as_bytes(), "the model");
    }
}

#[test]
fn all_else_stays() {
    for document in [
        "",
        "\"",
        "\"\\",
        r#""https://api.github.com"#,
        r#""https://api.github.com\"#,
        r#""https://api.github.com:443"#,
        r"https://api.github.com/outside",
        r#"{"a":https://api.github.com/outside}"#,
        r#"["https://api.github.com.evil.example/"]"#,
        r#"["https://api.github.com:8443/"]"#,
        r#"["https://api.github.com:4430/"]"#,
        r#"["https://api.github.com:44/"]"#,
        r#"["https://api.github.com:/"]"#,
        r#"["https://api.github.com@evil.example/"]"#,
        r#"["https://api.github.com:443@evil.example/"]"#,
        r#"["https://api.github.com\"/"]"#,
        r#"["https://api.github.com\\/"]"#,
        r#"["https://api.github.com\u002f"]"#,
        r#"["http://api.github.com/"]"#,
        r#"[" https://api.github.com/","see https://api.github.com/"]"#,
        r#"["\u0068ttps://api.github.com/"]"#,
        r#"["https:\\/\\/api.github.com/"]"#,
        r#"["\"https://api.github.com/"]"#,
        r#"["\\","x\\\"https://api.github.com/"]"#,
        r#"["https://api.github.comé/","é"]"#,
    ] {
        assert_eq!(rewrite(document), document);
        assert_eq!(
            model(document.as_bytes()),
            document.as_bytes(),
            "the model of {document}"
        );
    }
}

#[test]
fn a_port_of_the_origin_is_part_of_it_unless_it_is_the_default() {
    let rewritten = |origin, document: &str| {
        let rewriter = Rewriter::new(origin, "http://gate/");
        String::from_utf8(rewrite_with(&rewriter, document.as_bytes())).unwrap()
    };
    let document = r#"["http://host/","http://host:80/","http://host:9000/"]"#;
    for origin in [
        "http://host",
        "http://host/",
        "http://host:80",
        "HTTP://HOST:80/",
    ] {
        assert_eq!(
            rewritten(origin, document),
            r#"["http://gate/","http://gate/","http://host:9000/"]"#,
            "{origin}"
        );
    }
    assert_eq!(
        rewritten("http://host:9000", document),
        r#"["http://host/","http://host:80/","http://gate/"]"#
    );
    for origin in ["", "host", "://host", "http://ho\"st", "/"] {
        assert_eq!(rewritten(origin, document), document, "{origin}");
        assert_eq!(rewritten(origin, r#"["","/"]"#), r#"["","/"]"#, "{origin}");
    }
}

#[test]
fn the_replacement_is_escaped() {
    let rewriter = Rewriter::new("http://a", "http://b/\"\\\u{1}");
    assert_eq!(
        rewrite_with(&rewriter, br#"["http://a/x","http:\/\/a"]"#),
        br#"["http://b/\"\\\u0001/x","http:\/\/b\/\"\\\u0001"]"#
    );
}

#[test]
fn untouched_bytes_share_the_memory_of_their_chunk() {
    let rewriter = Rewriter::new(ORIGIN, REPLACEMENT);
    let chunk = Bytes::from(r#"{"a":"https://api.github.com/x","b":"https://other"}"#);
    let memory = chunk.as_ptr_range();
    let mut output = Vec::new();
    rewriter.stream().push(chunk.clone(), &mut output);
    let shared = output
        .iter()
        .filter(|piece| memory.contains(&piece.as_ptr()))
        .map(Bytes::len)
        .sum::<usize>();
    assert_eq!(output.len(), 3);
    assert_eq!(shared, chunk.len() - ORIGIN.len());

    // A document without a match passes as it is, also with a false start at the end of a chunk.
    let mut stream = rewriter.stream();
    let mut output = Vec::new();
    for part in [r#"{"a":"https://api.gi"#, r#"tlab.com"}"#] {
        stream.push(Bytes::from_static(part.as_bytes()), &mut output);
    }
    stream.finish(&mut output);
    assert_eq!(output, [r#"{"a":""#, "https://api.gi", r#"tlab.com"}"#]);
}

/// What documents are made of here: nearly matches, quotes and backslashes in any order.
fn documents() -> impl Strategy<Value = Vec<u8>> {
    let tokens = proptest::sample::select(vec![
        "\"",
        "\"",
        "\"https://api.github.com",
        "\"https:\\/\\/api.github.com",
        "\"HTTPS:/\\/Api.GitHub.com",
        "\"https://api.github.co",
        "https://api.github.com",
        "\\u0068ttps",
        "\\",
        "\\\"",
        "\\\\",
        "/",
        "\\/",
        "/users",
        ":",
        ":443",
        ":8443",
        "443",
        "@",
        ".",
        "?",
        "#",
        "{",
        "}",
        "m",
        "é",
        "😀",
        ",",
        "\n",
        " ",
    ]);
    proptest::collection::vec(tokens, 0..24).prop_map(|tokens| tokens.concat().into_bytes())
}

/// The document in chunks that end at these places.
fn split<'a>(document: &'a [u8], places: &[proptest::sample::Index]) -> Vec<&'a [u8]> {
    let mut ends: Vec<usize> = places
        .iter()
        .map(|place| place.index(document.len() + 1))
        .collect();
    ends.push(document.len());
    ends.sort_unstable();
    let mut start = 0;
    ends.into_iter()
        .map(|end| {
            let chunk = &document[start..end];
            start = end;
            chunk
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn any_split_gives_what_the_model_gives(
        document in documents(),
        places in proptest::collection::vec(any::<proptest::sample::Index>(), 0..12),
    ) {
        let rewriter = Rewriter::new(ORIGIN, REPLACEMENT);
        let expected = model(&document);
        prop_assert_eq!(&rewrite_with(&rewriter, &document), &expected);
        prop_assert_eq!(&pieces(&rewriter, split(&document, &places)).concat(), &expected);
        prop_assert_eq!(&pieces(&rewriter, document.chunks(1)).concat(), &expected);
    }

    #[test]
    fn any_bytes_pass_and_no_piece_is_empty(
        document in proptest::collection::vec(any::<u8>(), 0..200),
        size in 1_usize..20,
    ) {
        let rewriter = Rewriter::new(ORIGIN, REPLACEMENT);
        let output = pieces(&rewriter, document.chunks(size));
        prop_assert!(output.iter().all(|piece| !piece.is_empty()));
        prop_assert_eq!(output.concat(), document);
    }

    #[test]
    fn no_more_is_held_back_than_an_origin(document in documents()) {
        let rewriter = Rewriter::new(ORIGIN, ORIGIN);
        let longest = r"https:\/\/api.github.com:443\".len();
        let mut stream = rewriter.stream();
        let mut output = Vec::new();
        for byte in &document {
            stream.push(Bytes::copy_from_slice(&[*byte]), &mut output);
            prop_assert!(stream.held.iter().map(Bytes::len).sum::<usize>() <= longest);
        }
    }

    #[test]
    fn any_origin_and_replacement_are_taken(origin in "\\PC{0,12}", replacement in "\\PC{0,12}", document in documents()) {
        let rewriter = Rewriter::new(&origin, &replacement);
        let _ = rewrite_with(&rewriter, &document);
    }
}
