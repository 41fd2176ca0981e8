//! The same over HTTP/2: heads that contradict themselves, and floods.

use std::time::Duration;

use tokio::io::AsyncWriteExt;

use crate::exchange::{OK, body, fields, http2};
use crate::support::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, RESET, SETTINGS, WINDOW_UPDATE,
    block, call, frame, listen, opening,
};
use crate::support::harness::{Caller, Harness};
use crate::support::upstream::Upstream;

type Fields = &'static [(&'static str, &'static str)];

const GOOD: Fields = &[
    (":method", "GET"),
    (":scheme", "http"),
    (":path", "/crm/"),
    (":authority", "a"),
];

#[tokio::test]
async fn heads_that_contradict_themselves_are_refused() {
    let cases: &[Fields] = &[
        // Pseudo-fields.
        &[(":method", "GET"), (":scheme", "http"), (":path", "/crm/")],
        &[(":method", "GET"), (":scheme", "http"), (":authority", "a")],
        &[(":method", "GET"), (":path", "/crm/"), (":authority", "a")],
        &[(":scheme", "http"), (":path", "/crm/"), (":authority", "a")],
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", ""),
            (":authority", "a"),
        ],
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "crm/"),
            (":authority", "a"),
        ],
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "*"),
            (":authority", "a"),
        ],
        &[
            (":method", "GET"),
            (":method", "POST"),
            (":scheme", "http"),
            (":path", "/crm/"),
            (":authority", "a"),
        ],
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/crm/"),
            (":path", "/crm/x"),
            (":authority", "a"),
        ],
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/crm/"),
            (":authority", "a"),
            (":authority", "b"),
        ],
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/crm/"),
            ("x", "y"),
            (":authority", "a"),
        ],
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/crm/"),
            (":authority", "a"),
            (":status", "200"),
        ],
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/crm/"),
            (":authority", "a"),
            (":x", "y"),
        ],
        &[
            (":method", "G T"),
            (":scheme", "http"),
            (":path", "/crm/"),
            (":authority", "a"),
        ],
        &[
            (":method", "GET / HTTP/1.1\r\nX: y"),
            (":scheme", "http"),
            (":path", "/crm/"),
            (":authority", "a"),
        ],
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/crm/ HTTP/1.1\r\nX: y"),
            (":authority", "a"),
        ],
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/crm/x y"),
            (":authority", "a"),
        ],
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/crm/"),
            (":authority", "a\r\nx: y"),
        ],
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/crm/"),
            (":authority", "u@a"),
        ],
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/crm/"),
            (":authority", "a"),
            ("host", "b"),
        ],
        &[(":method", "CONNECT"), (":authority", "a:443")],
        &[
            (":method", "CONNECT"),
            (":protocol", "websocket"),
            (":scheme", "http"),
            (":path", "/crm/"),
            (":authority", "a"),
        ],
        &[
            (":method", "TRACE"),
            (":scheme", "http"),
            (":path", "/crm/"),
            (":authority", "a"),
        ],
        // Fields of one connection (RFC 9113, section 8.2.2).
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/crm/"),
            (":authority", "a"),
            ("connection", "close"),
        ],
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/crm/"),
            (":authority", "a"),
            ("keep-alive", "1"),
        ],
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/crm/"),
            (":authority", "a"),
            ("proxy-connection", "x"),
        ],
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/crm/"),
            (":authority", "a"),
            ("transfer-encoding", "chunked"),
        ],
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/crm/"),
            (":authority", "a"),
            ("upgrade", "websocket"),
        ],
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/crm/"),
            (":authority", "a"),
            ("te", "gzip"),
        ],
        // Names and values.
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/crm/"),
            (":authority", "a"),
            ("X-Upper", "y"),
        ],
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/crm/"),
            (":authority", "a"),
            ("x y", "z"),
        ],
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/crm/"),
            (":authority", "a"),
            ("x\r\nhost", "z"),
        ],
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/crm/"),
            (":authority", "a"),
            ("x:", "z"),
        ],
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/crm/"),
            (":authority", "a"),
            ("", "z"),
        ],
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/crm/"),
            (":authority", "a"),
            ("x", "y\r\nz: 1"),
        ],
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/crm/"),
            (":authority", "a"),
            ("x", "y\nz"),
        ],
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/crm/"),
            (":authority", "a"),
            ("x", "y\0z"),
        ],
        // Lengths.
        &[
            (":method", "POST"),
            (":scheme", "http"),
            (":path", "/crm/"),
            (":authority", "a"),
            ("content-length", "5"),
        ],
        &[
            (":method", "POST"),
            (":scheme", "http"),
            (":path", "/crm/"),
            (":authority", "a"),
            ("content-length", "x"),
        ],
        &[
            (":method", "POST"),
            (":scheme", "http"),
            (":path", "/crm/"),
            (":authority", "a"),
            ("content-length", "+0"),
        ],
        &[
            (":method", "POST"),
            (":scheme", "http"),
            (":path", "/crm/"),
            (":authority", "a"),
            ("expect", "x"),
        ],
    ];
    let upstream = Upstream::answering(OK).await;
    let gateway = Harness::new(&upstream.base_url()).await;
    for fields in cases {
        let mut caller = Caller::connect(gateway.address).await;
        caller.write([opening(), call(1, fields)].concat()).await;
        let said = listen(&mut caller).await;
        assert!(said.refused(), "{fields:?}: {said:?}");
        assert_eq!(upstream.requests(), [""; 0], "{fields:?}");
    }
    // The same way of speaking, and nothing wrong: what is refused above is refused for what is wrong in it.
    let mut caller = Caller::connect(gateway.address).await;
    caller.write([opening(), call(1, GOOD)].concat()).await;
    assert_eq!(listen(&mut caller).await.statuses, [0x88]);
    assert_eq!(upstream.requests().len(), 1);
}

#[tokio::test]
async fn bodies_are_as_long_as_they_say() {
    let post = |length: &'static str| {
        let fields = [
            GOOD[1],
            GOOD[2],
            GOOD[3],
            (":method", "POST"),
            ("content-length", length),
        ];
        frame(
            HEADERS,
            END_HEADERS,
            1,
            &block(&[fields[3], fields[0], fields[1], fields[2], fields[4]]),
        )
    };
    let upstream = Upstream::answering(OK).await;
    let gateway = Harness::new(&upstream.base_url()).await;
    for (length, data) in [("5", "hell"), ("5", "hellos"), ("0", "x")] {
        let mut caller = Caller::connect(gateway.address).await;
        caller
            .write(
                [
                    opening(),
                    post(length),
                    frame(DATA, END_STREAM, 1, data.as_bytes()),
                ]
                .concat(),
            )
            .await;
        assert!(listen(&mut caller).await.refused(), "{length} {data}");
        assert_eq!(upstream.requests(), [""; 0], "{length} {data}");
    }
    let mut caller = Caller::connect(gateway.address).await;
    caller
        .write([opening(), post("5"), frame(DATA, END_STREAM, 1, b"hello")].concat())
        .await;
    assert_eq!(listen(&mut caller).await.statuses, [0x88]);
    let request = upstream.request();
    assert_eq!(
        (fields(&request, "content-length"), body(&request)),
        (vec!["5"], "hello")
    );
}

/// Who was told something at all was told it before.
const WORD: Duration = Duration::from_secs(2);

/// Writes until everything is written, or the gateway has had enough. Whether it had.
async fn flood(gateway: &Harness, pieces: impl Iterator<Item = Vec<u8>>) -> bool {
    let mut caller = Caller::connect(gateway.address).await;
    caller.write(opening()).await;
    for piece in pieces {
        let writing = caller.stream.write_all(&piece);
        // Who does not read answers is not read for ever either: then the flood stands still.
        match tokio::time::timeout(WORD, writing).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return true,
            Err(_) => return false,
        }
    }
    let said = tokio::time::timeout(WORD, listen(&mut caller)).await;
    said.is_ok_and(|said| said.goaway || said.closed || said.resets > 0)
}

#[tokio::test]
async fn floods_end_or_stand_still_and_others_are_served() {
    let upstream = Upstream::answering(OK).await;
    let gateway = Harness::new(&upstream.base_url()).await;
    let filler = block(&[("x", &"v".repeat(1_000))]);
    let open = frame(HEADERS, END_STREAM, 1, &block(GOOD));
    let endless = std::iter::once(open.clone())
        .chain((0..10_000).map(|_| frame(CONTINUATION, 0, 1, &filler)));
    assert!(flood(&gateway, endless).await, "fields without end");
    let empty = std::iter::once(open).chain((0..100_000).map(|_| frame(CONTINUATION, 0, 1, &[])));
    assert!(flood(&gateway, empty).await, "frames without fields");
    let resets = (0..10_000_u32).map(|one| {
        let stream = 2 * one + 1;
        [call(stream, GOOD), frame(RESET, 0, stream, &[0, 0, 0, 8])].concat()
    });
    assert!(flood(&gateway, resets).await, "calls that are taken back");
    let pings = (0..2_000).map(|_| frame(PING, 0, 0, &[7; 8]).repeat(100));
    flood(&gateway, pings).await;
    let settings = (0..2_000).map(|_| frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 255, 255]).repeat(100));
    flood(&gateway, settings).await;
    let windows = (0..100).map(|_| frame(WINDOW_UPDATE, 0, 0, &[0x7f, 255, 255, 255]));
    assert!(flood(&gateway, windows).await, "windows beyond numbers");
    // One value put into the table, and then named over and over.
    let mut bomb = vec![0x40, 1, b'x', 127, 0xb9, 0x16];
    bomb.extend([b'v'; 3_000]);
    bomb.extend([0xbe; 8_000]);
    let bomb = [block(GOOD), bomb].concat();
    let bombs = std::iter::once(frame(HEADERS, END_HEADERS | END_STREAM, 1, &bomb));
    let mut caller = Caller::connect(gateway.address).await;
    caller
        .write([opening(), bombs.flatten().collect()].concat())
        .await;
    assert!(listen(&mut caller).await.refused(), "a bomb of fields");
    // Of the calls that were taken back some may have been on their way.
    assert!(upstream.connections() < 200, "{}", upstream.connections());
    let url = format!("http://{}/crm/", gateway.address);
    let answer = http2().get(url).send().await.unwrap();
    assert_eq!(answer.status(), 200);
}

/// curl, httpx and got drop an answer behind which the stream is reset while they still write.
#[tokio::test]
async fn who_is_answered_before_it_has_written_all_is_not_reset() {
    let gateway = Harness::new("http://127.0.0.1:1").await;
    let mut caller = Caller::connect(gateway.address).await;
    let begin = |stream, path| {
        let fields = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", path),
            (":authority", "a"),
        ];
        frame(HEADERS, END_HEADERS, stream, &block(&fields))
    };
    for stream in [1, 3, 5] {
        let bytes = match stream {
            1 => [opening(), begin(1, "/nothing/")].concat(),
            _ => begin(stream, "/nothing/"),
        };
        caller.stream.write_all(&bytes).await.unwrap();
        // 404 is in the static table; what is reset would be heard of before the next answer.
        let said = listen(&mut caller).await;
        assert_eq!((said.statuses.as_slice(), said.resets), (&[0x8d][..], 0));
        let data = [
            frame(DATA, 0, stream, &[b'x'; 10_000]),
            frame(DATA, END_STREAM, stream, b"end"),
        ];
        caller.stream.write_all(&data.concat()).await.unwrap();
    }
}
