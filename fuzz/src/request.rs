//! The gateway itself between a caller who sends any bytes and providers who look closely at what they get.
//!
//! Whatever the caller sends, it gets well-formed answers or none, and an end; each provider gets requests that nobody can
//! read in two ways, with its own host, and with the connection's credential and no other. `/own` and `/query` have a
//! credential of their own, `/open` passes on that of the caller. What a provider answers depends on words in the path.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use headroom::adapter::parse::parse;
use headroom::adapter::terms::Terms;
use headroom::admin::{Books, Reloads};
use headroom::credential::Credential;
use headroom::emit::Style;
use headroom::gateway::{Access, Connection, Connections, Gateway, Listener, Reach, Settings};
use headroom::history::History;
use headroom::ledger::Ledger;
use headroom::ledger::account::Account;
use headroom::ledger::rule::Wishes;
use headroom::limits::Limits;
use headroom::origin::Origin;
use headroom::warn::Warnings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

use super::wire::{Framing, Head, chunked_length};

/// The credential of the connections that have one.
const CREDENTIAL: &str = "0wn";

/// No input takes longer, in virtual time.
pub(super) const PATIENCE: Duration = Duration::from_secs(600);

pub(crate) fn run(data: &[u8]) {
    thread_local! {
        // Many inputs have one gateway: to make one takes longer than a thousand calls.
        static SITE: Site = Site::new();
    }
    let wrong = SITE.with(|site| {
        site.runtime.block_on(site.call(data));
        let mut wrong = site.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *wrong)
    });
    assert!(wrong.is_empty(), "{wrong:#?} of {}", data.escape_ascii());
}

/// What the providers found wrong.
type Wrong = Arc<Mutex<Vec<String>>>;

struct Site {
    runtime: Runtime,
    address: SocketAddr,
    wrong: Wrong,
}

thread_local! {
    /// Panics of this thread. Tasks hide theirs.
    static PANICS: Cell<usize> = const { Cell::new(0) };
}

/// One whose clock jumps to what is waited for, and which counts panics.
pub(super) fn runtime() -> Runtime {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let _ = PANICS.try_with(|panics| panics.set(panics.get() + 1));
        before(panic);
    }));
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("a runtime")
}

/// Panics of this thread so far.
pub(super) fn panics() -> usize {
    PANICS.with(|panics| panics.get())
}

/// A provider's place of a credential, by the name of its connection.
const PLACES: [(&str, &str, bool); 3] = [
    ("open", "\"bearer\"", false),
    ("own", "\"bearer\"", true),
    ("query", "{ query = \"token\" }", true),
];

impl Site {
    fn new() -> Self {
        let runtime = runtime();
        let wrong = Wrong::default();
        let address = runtime.block_on(start(&wrong)).expect("a gateway");
        Self {
            runtime,
            address,
            wrong,
        }
    }

    /// Sends the bytes, and looks at what comes back until the gateway closes.
    async fn call(&self, data: &[u8]) {
        let before = panics();
        let mut caller = TcpStream::connect(self.address)
            .await
            .expect("a connection");
        // A hundred thousand callers leave no sockets behind.
        caller.set_zero_linger().expect("an open socket");
        let mut answer = Vec::new();
        let (mut reads, mut writes) = caller.split();
        let exchange = async {
            // The gateway may close before it has read all, and reset what it has not.
            let write = async {
                let _ = writes.write_all(data).await;
            };
            let _ = tokio::join!(write, reads.read_to_end(&mut answer));
        };
        let ended = tokio::time::timeout(PATIENCE, exchange).await;
        assert!(ended.is_ok(), "no end of {}", data.escape_ascii());
        assert_eq!(before, panics(), "a panic at {}", data.escape_ascii());
        // HTTP/2 begins with these; its frames are for h2 to judge.
        if !data.starts_with(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") {
            let heads = data.windows(5).any(|piece| piece == b"HEAD ");
            if let Err(why) = check_answers(&answer, heads) {
                panic!(
                    "{why} in {} to {}",
                    answer.escape_ascii(),
                    data.escape_ascii()
                );
            }
        }
    }
}

/// Whole answers one behind the other; the last may break off. Where a call may be HEAD, only the first head can be read.
pub(super) fn check_answers(answer: &[u8], heads: bool) -> Result<(), String> {
    let mut rest = answer;
    while let Some(head) = Head::read(rest)? {
        let code = head
            .first
            .strip_prefix("HTTP/1.1 ")
            .or_else(|| head.first.strip_prefix("HTTP/1.0 "));
        let code = code
            .and_then(|line| line.get(..3)?.parse::<u16>().ok())
            .ok_or_else(|| format!("{head:?}"))?;
        let framing = head.framing()?;
        rest = &rest[head.length..];
        if heads {
            return Ok(());
        }
        let length = match framing {
            _ if code < 200 || code == 204 || code == 304 => 0,
            Framing::Length(length) => length,
            Framing::Chunked => chunked_length(rest)?.unwrap_or(usize::MAX),
            // To the end of the connection.
            Framing::None => usize::MAX,
        };
        rest = rest.get(length..).unwrap_or_default();
    }
    if rest.is_empty() || b"HTTP/1.1".starts_with(rest.get(..8).unwrap_or(rest)) {
        Ok(())
    } else {
        Err(format!("{} behind an answer", rest.escape_ascii()))
    }
}

/// The providers and the gateway before them.
async fn start(wrong: &Wrong) -> io::Result<SocketAddr> {
    let mut connections = Vec::new();
    for (name, place, is_own) in PLACES {
        let provider = TcpListener::bind("127.0.0.1:0").await?;
        let address = provider.local_addr()?;
        connections.push(connection(
            name,
            place,
            is_own,
            &format!("http://{address}"),
        ));
        let wrong = Arc::clone(wrong);
        tokio::spawn(async move {
            while let Ok((stream, _)) = provider.accept().await {
                tokio::spawn(provide(stream, name, address, Arc::clone(&wrong)));
            }
        });
    }
    serve(connections).await
}

/// A gateway to these.
pub(super) async fn serve(connections: Vec<Connection>) -> io::Result<SocketAddr> {
    let second = Duration::from_secs(1);
    let settings = Settings {
        // Each is waited for in steps of what the gateway does by the clock.
        limits: Limits {
            head_timeout: second,
            body_timeout: second,
            send_timeout: second,
            idle_timeout: second,
            answer_timeout: second,
            silence_timeout: second,
            ..Limits::default()
        },
        read_ahead_timeout: second,
        ..Settings::default()
    };
    let history = History::new(None, Default::default(), 0).map_err(io::Error::other)?;
    let books = Books {
        ledger: Arc::new(Ledger::new(Default::default(), None)),
        history: Arc::new(history),
        warnings: Warnings::new(Vec::new()),
        reloads: Arc::new(Reloads::new(0)),
    };
    let connections: Connections = connections.into_iter().collect();
    let gateway = Gateway::new(Arc::new(connections), books, settings).map_err(io::Error::other)?;
    let socket = TcpListener::bind("127.0.0.1:0").await?;
    let address = socket.local_addr()?;
    let listener = Listener {
        socket,
        connection: None,
    };
    tokio::spawn(Arc::new(gateway).serve(vec![listener], std::future::pending()));
    Ok(address)
}

pub(super) fn connection(name: &str, place: &str, is_own: bool, base_url: &str) -> Connection {
    let adapter = format!(
        "name = \"Stub\"\ndocs = [\"https://example.com\"]\nrewrite_urls = true\ncredential = {place}\n\
         [policy.stub]\nlimit = \"x-limit\"\nremaining = \"x-left\"\nreset = {{ header = \"x-reset\", form = \"seconds\" }}\n\
         [[exhausted]]\nstatus = 402\nbody_pattern = \"quota\"\npolicy = \"stub\"\nretry_after = \"60s\"\n"
    );
    let adapter = parse(name, &adapter)
        .unwrap_or_else(|mistakes| panic!("{}", mistakes.render("stub", &adapter, false)));
    let terms =
        Terms::new(&adapter, None, None, &Default::default()).expect("terms without a plan");
    let wishes = |_: &str| Wishes::default();
    let access = if is_own {
        Access::Own(
            Credential::new(&adapter.credential, &CREDENTIAL.into())
                .expect("a credential that fits"),
        )
    } else {
        Access::Callers
    };
    Connection {
        name: name.to_owned(),
        origin: Origin::parse(base_url).expect("an origin"),
        account: Arc::new(Account::new(name, base_url, &adapter, &terms, &wishes, 100)),
        reach: Reach::Anywhere,
        access,
        identity: None,
        configured: true,
        max_wait: Duration::ZERO,
        terms,
        adapter: Arc::new(adapter),
        style: Style::default(),
    }
}

/// One connection to a provider.
async fn provide(mut stream: TcpStream, name: &'static str, address: SocketAddr, wrong: Wrong) {
    let mut read = Vec::new();
    loop {
        let head = loop {
            match Head::read(&read) {
                Ok(Some(head)) => break head,
                Ok(None) => {}
                Err(why) => return tell(&wrong, name, why),
            }
            if !more(&mut stream, &mut read).await {
                return;
            }
        };
        read.drain(..head.length);
        let framing = match check_request(&head, name, address) {
            Ok(framing) => framing,
            Err(why) => return tell(&wrong, name, why),
        };
        loop {
            let length = match framing {
                Framing::None => Some(0),
                Framing::Length(length) => Some(length).filter(|length| *length <= read.len()),
                Framing::Chunked => match chunked_length(&read) {
                    Ok(length) => length,
                    Err(why) => return tell(&wrong, name, why),
                },
            };
            if let Some(length) = length {
                read.drain(..length);
                break;
            }
            if !more(&mut stream, &mut read).await {
                return;
            }
        }
        if !respond(&mut stream, &head.first, address).await {
            return;
        }
    }
}

fn tell(wrong: &Wrong, name: &str, why: String) {
    wrong
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(format!("{name}: {why}"));
}

async fn more(stream: &mut TcpStream, read: &mut Vec<u8>) -> bool {
    stream.read_buf(read).await.is_ok_and(|length| length > 0)
}

/// Nobody can read it in two ways, and it is for this provider.
fn check_request(head: &Head, name: &str, address: SocketAddr) -> Result<Framing, String> {
    let mut words = head.first.split(' ');
    let (method, target, version) = (words.next(), words.next(), words.next());
    let is_target = target.is_some_and(|target| target.starts_with('/') && !target.contains('#'));
    if method.is_none_or(str::is_empty)
        || !is_target
        || version != Some("HTTP/1.1")
        || words.next().is_some()
    {
        return Err(format!("request line of {head:?}"));
    }
    if head.all("host") != [address.to_string().as_bytes()] {
        return Err(format!("host of {head:?}"));
    }
    let path = target
        .unwrap_or_default()
        .split('?')
        .next()
        .unwrap_or_default();
    let dots = |segment: &str| {
        matches!(
            segment.to_ascii_lowercase().replace("%2e", ".").as_str(),
            "." | ".."
        )
    };
    if path.split('/').any(dots) {
        return Err(format!("dots in {head:?}"));
    }
    // A TE goes on where it is `trailers`, and is of this connection alone.
    if head.all("connection").iter().any(|line| *line != b"te") {
        return Err(format!("connection of {head:?}"));
    }
    for gone in ["keep-alive", "upgrade", "proxy-connection", "headroom-key"] {
        if !head.all(gone).is_empty() {
            return Err(format!("{gone} of {head:?}"));
        }
    }
    let credentials = head.all("authorization");
    let tokens = target.unwrap_or_default().matches("token=0wn").count();
    let foreign = ["cookie", "proxy-authorization"]
        .iter()
        .any(|name| !head.all(name).is_empty());
    let fits = match name {
        "own" => credentials == [b"Bearer 0wn"] && !foreign,
        "query" => credentials.is_empty() && tokens == 1 && !foreign,
        _ => !credentials.contains(&b"Bearer 0wn".as_slice()) || tokens == 0,
    };
    if !fits {
        return Err(format!("credentials of {head:?}"));
    }
    head.framing()
}

/// As the words in the path say. Whether the connection goes on.
async fn respond(stream: &mut TcpStream, request: &str, address: SocketAddr) -> bool {
    let body = format!("{{\"url\":\"http://{address}/a\",\"quota\":1}}");
    let length = body.len();
    let plain = |status: &str, more: &str| {
        format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n{more}\r\n{body}"
        )
    };
    let is_head = request.starts_with("HEAD ");
    let answer = match request {
        _ if request.contains("gone") => return false,
        _ if request.contains("silent") => {
            tokio::time::sleep(Duration::from_secs(5)).await;
            return false;
        }
        _ if is_head => "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n".to_owned(),
        _ if request.contains("chunked") => format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n{length:x}\r\n{body}\r\n0\r\n\r\n"
        ),
        _ if request.contains("short") => {
            "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort".to_owned()
        }
        _ if request.contains("empty") => "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
        _ if request.contains("moved") => {
            plain("302 Found", &format!("location: http://{address}/b\r\n"))
        }
        _ if request.contains("spent") => plain("402 Payment Required", ""),
        _ if request.contains("early") => format!(
            "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n{}",
            plain("200 OK", "")
        ),
        _ => plain(
            "200 OK",
            "x-limit: 100\r\nx-left: 99\r\nx-reset: 60\r\nratelimit-reset: x\r\n",
        ),
    };
    stream.write_all(answer.as_bytes()).await.is_ok() && !request.contains("short")
}
