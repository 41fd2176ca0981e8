//! Providers that go wrong: whatever they do, a caller sees the whole answer, a broken one, or headroom's word for it.

use std::collections::BTreeMap;
use std::time::Duration;

use headroom::clock;
use headroom::gateway::Settings;
use headroom::limits::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::exchange::{OK, body, fields, http2, status};
use crate::support::faulty::{Act, Seen, faults, playing, say};
use crate::support::harness::{Caller, Harness};
use crate::support::upstream::Upstream;

/// Long enough for what arrives, short enough for what does not.
fn hasty() -> Settings {
    Settings {
        limits: Limits {
            answer_timeout: Duration::from_millis(700),
            silence_timeout: Duration::from_millis(700),
            ..Limits::default()
        },
        ..Settings::default()
    }
}

#[tokio::test]
async fn http_1_callers_see_what_became_of_their_call() {
    for fault in faults() {
        let name = fault.name;
        let upstream = playing(fault.acts).await;
        let gateway = Harness::with(&upstream.base_url(), hasty()).await;
        // Not safe to repeat: whatever happens, it goes out once.
        let call =
            "POST /crm/ HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi";
        let answer = gateway.send(call).await;
        match fault.seen {
            Seen::Whole(expected) => {
                assert_eq!(status(&answer), 200, "{name}: {answer}");
                let chunked = format!("{:x}\r\n{expected}\r\n0\r\n\r\n", expected.len());
                let whole = body(&answer) == expected || joined(body(&answer)) == expected;
                assert!(whole, "{name}: {answer} is not {chunked}");
            }
            Seen::Broken => {
                assert_eq!(status(&answer), 200, "{name}: {answer}");
                let ends = answer.ends_with("\r\n0\r\n\r\n") || body(&answer).len() == 10;
                assert!(!ends, "{name}: {answer}");
                let framed = fields(&answer, "content-length").len()
                    + fields(&answer, "transfer-encoding").len();
                assert_eq!(framed, 1, "{name}: {answer}");
            }
            Seen::Failed(expected, token) => {
                assert_eq!(status(&answer), expected, "{name}: {answer}");
                let word = format!("headroom; error={token}");
                assert_eq!(fields(&answer, "proxy-status"), [word], "{name}");
            }
        }
        assert_eq!(upstream.connections(), 1, "{name}");
        assert!(upstream.requests().len() <= 1, "{name}");
    }
}

/// The data of a chunked body that ends well.
fn joined(mut chunks: &str) -> String {
    let mut data = String::new();
    while let Some((size, rest)) = chunks.split_once("\r\n") {
        let Ok(size) = usize::from_str_radix(size, 16) else {
            break;
        };
        if size == 0 {
            return if rest.ends_with("\r\n") {
                data
            } else {
                "no end".to_owned()
            };
        }
        data.push_str(&rest[..size.min(rest.len())]);
        chunks = rest.get(size + 2..).unwrap_or_default();
    }
    "no last chunk".to_owned()
}

#[tokio::test]
async fn http_2_callers_see_what_became_of_their_call() {
    let client = http2();
    for fault in faults() {
        let name = fault.name;
        let upstream = playing(fault.acts).await;
        let gateway = Harness::with(&upstream.base_url(), hasty()).await;
        let url = format!("http://{}/crm/", gateway.address);
        let answer = client.post(url).body("hi").send().await.expect(name);
        let status = answer.status().as_u16();
        let told = answer.headers().get("proxy-status").cloned();
        match (fault.seen, answer.text().await) {
            (Seen::Whole(expected), Ok(text)) => {
                assert_eq!((status, &*text), (200, expected), "{name}")
            }
            (Seen::Broken, Err(_)) => assert_eq!(status, 200, "{name}"),
            (Seen::Failed(expected, token), Ok(_)) => {
                assert_eq!(status, expected, "{name}");
                assert_eq!(
                    told.expect(name),
                    format!("headroom; error={token}"),
                    "{name}"
                );
            }
            (seen, got) => panic!("{name}: {seen:?} became {got:?}"),
        }
        assert_eq!(upstream.connections(), 1, "{name}");
    }
}

/// The setting is for the whole head, however often a byte of it comes; and for each silence in a body.
#[tokio::test]
async fn time_outs_are_as_long_as_they_say() {
    let pause = Duration::from_millis(100);
    let drip = Act::Drip(b"HTTP/1.1 200 OK\r\nx: ".repeat(100), pause);
    let silence = Act::Say(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf".to_vec());
    for (acts, limits) in [
        (vec![Act::Read, Act::Stall], (1_000, 60_000)),
        (vec![Act::Read, drip.clone()], (1_000, 60_000)),
        (vec![Act::Read, silence, Act::Stall], (60_000, 1_000)),
    ] {
        let upstream = playing(acts.clone()).await;
        let settings = Settings {
            limits: Limits {
                answer_timeout: Duration::from_millis(limits.0),
                silence_timeout: Duration::from_millis(limits.1),
                ..Limits::default()
            },
            ..Settings::default()
        };
        let gateway = Harness::with(&upstream.base_url(), settings).await;
        let before = clock::monotonic();
        gateway.get("/crm/").await;
        let took = before.elapsed().as_millis();
        // The upper end has room for a machine that builds other things meanwhile.
        assert!((990..=10_000).contains(&took), "{took} ms: {acts:?}");
    }
}

/// Neither the connection itself nor TLS on it may take longer.
#[tokio::test]
async fn connecting_takes_as_long_as_it_may() {
    let full = TcpSocket::new_v4().unwrap();
    full.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let full = full.listen(1).unwrap();
    let address = full.local_addr().unwrap();
    // Nobody accepts, and the queue is full: who comes now is not even refused.
    let mut waiting = Vec::new();
    let connect = || tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(address));
    while let Ok(stream) = connect().await {
        waiting.push(stream.unwrap());
    }
    let silent = playing(vec![Act::Stall]).await;
    for base_url in [
        format!("http://{address}"),
        format!("https://{}", silent.address),
    ] {
        let settings = Settings {
            limits: Limits {
                connect_timeout: Duration::from_secs(1),
                ..Limits::default()
            },
            ..Settings::default()
        };
        let gateway = Harness::with(&base_url, settings).await;
        let before = clock::monotonic();
        let answer = gateway.get("/crm/").await;
        let took = before.elapsed().as_millis();
        assert_eq!(status(&answer), 504, "{answer}");
        assert_eq!(
            fields(&answer, "proxy-status"),
            ["headroom; error=connection_timeout"]
        );
        assert!((990..=10_000).contains(&took), "{took} ms: {base_url}");
    }
}

#[tokio::test]
async fn an_answer_before_the_end_of_an_upload_passes() {
    const LENGTH: usize = 8 << 20;
    let refusal = "HTTP/1.1 413 Too Long\r\nconnection: close\r\ncontent-length: 2\r\n\r\nno";
    let upstream = playing(vec![Act::ReadHead, say(refusal), Act::Settle]).await;
    let gateway = Harness::new(&upstream.base_url()).await;
    let head = format!("POST /crm/ HTTP/1.1\r\nHost: a\r\nContent-Length: {LENGTH}\r\n\r\n");
    let mut caller = Caller::connect(gateway.address).await;
    caller.write(head).await;
    let (mut reading, mut writing) = caller.stream.split();
    let upload = async {
        // It may be cut short.
        let _ = writing.write_all(&vec![b'x'; LENGTH]).await;
    };
    let answer = async {
        let mut answer = vec![0; 1_024];
        let length = reading.read(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer[..length]).into_owned()
    };
    let ((), answer) = tokio::join!(upload, answer);
    assert_eq!((status(&answer), body(&answer)), (413, "no"), "{answer}");
}

/// A provider that closes each connection behind its answer without saying so, just as the next call comes.
#[tokio::test]
async fn every_call_that_is_not_safe_goes_out_once() {
    let upstream = Upstream::scripted(|mut peer, number| async move {
        for _ in 0..=number % 3 {
            peer.request().await?;
            peer.write(OK).await?;
        }
        match number % 2 {
            0 => Ok(()),
            _ => peer.reset(),
        }
    })
    .await;
    let gateway = Harness::new(&upstream.base_url()).await;
    let mut tries = 0;
    for method in ["POST", "PATCH"].into_iter().cycle().take(120) {
        tries += 1;
        let call = format!(
            "{method} /crm/{tries} HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi"
        );
        let answer = gateway.send(call).await;
        assert!(matches!(status(&answer), 200 | 502), "{answer}");
    }
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    for request in upstream.requests() {
        *times
            .entry(request.lines().next().unwrap().to_owned())
            .or_default() += 1;
    }
    assert!(times.len() > 60, "{times:?}");
    assert!(times.values().all(|&count| count == 1), "{times:?}");
}

#[tokio::test]
async fn safe_calls_survive_a_provider_that_closes_kept_connections() {
    let upstream = Upstream::scripted(|mut peer, number| async move {
        for _ in 0..=number % 3 {
            peer.request().await?;
            peer.write(OK).await?;
        }
        // In the middle of the next one.
        peer.head().await?;
        peer.reset()
    })
    .await;
    let gateway = Harness::new(&upstream.base_url()).await;
    for number in 0..60 {
        let answer = gateway.get(&format!("/crm/{number}")).await;
        assert_eq!(status(&answer), 200, "{number}: {answer}");
    }
}

/// What came behind an answer is nobody's.
#[tokio::test]
async fn an_answer_in_advance_is_not_given_to_the_next_caller() {
    let forged = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged";
    let upstream = Upstream::scripted(move |mut peer, _| async move {
        loop {
            peer.request().await?;
            peer.write(format!("{OK}{forged}")).await?;
        }
    })
    .await;
    let gateway = Harness::new(&upstream.base_url()).await;
    let mut caller = Caller::connect(gateway.address).await;
    for _ in 0..5 {
        caller.write("GET /crm/ HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let answer = caller.until("\r\n\r\nok").await;
        assert!(!answer.contains("forged"), "{answer}");
    }
}

#[tokio::test]
async fn trailers_reach_callers_of_http_2() {
    let upstream = Upstream::answering(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n2\r\nok\r\n0\r\nx-sum: 9\r\n\r\n",
    )
    .await;
    let gateway = Harness::new(&upstream.base_url()).await;
    let url = format!("http://{}/crm/", gateway.address);
    let answer = http2()
        .get(url)
        .header("te", "trailers")
        .send()
        .await
        .unwrap();
    let whole = http_body_util::BodyExt::collect(reqwest::Body::from(answer))
        .await
        .unwrap();
    assert_eq!(whole.trailers().unwrap()["x-sum"], "9");
    assert_eq!(whole.to_bytes(), "ok");
    assert_eq!(fields(&upstream.request(), "te"), ["trailers"]);
}
