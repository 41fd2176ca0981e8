//! A gateway on a free port, and a caller who speaks raw bytes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use headroom::adapter::parse::parse;
use headroom::adapter::terms::Terms;
use headroom::admin::{Books, Reloads};
use headroom::emit::Style;
use headroom::gateway::{Access, Connection, Connections, Gateway, Listener, Reach, Settings};
use headroom::history::History;
use headroom::ledger::Ledger;
use headroom::ledger::account::Account;
use headroom::ledger::rule::Wishes;
use headroom::origin::Origin;
use headroom::warn::Warnings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(crate) struct Harness {
    pub(crate) address: SocketAddr,
    /// A listener that belongs to `crm` alone.
    pub(crate) own_address: SocketAddr,
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) history: Arc<History>,
    pub(crate) stop: Option<oneshot::Sender<()>>,
    pub(crate) task: JoinHandle<()>,
}

impl Drop for Harness {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A history that is empty and in memory, and nobody to be warned.
pub(crate) fn books(ledger: Arc<Ledger>) -> Books {
    Books {
        ledger,
        history: Arc::new(History::new(None, Default::default(), 0).unwrap()),
        warnings: Warnings::new(Vec::new()),
        reloads: Arc::new(Reloads::new(0)),
    }
}

/// No test waits longer than that for anything that must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The limit that stands on every answer of a connection, also on headroom's own.
pub(crate) const LIMIT: &str = "7";

/// Connections that every test has: `crm`, and `hub`, whose JSON bodies are rewritten.
pub(crate) fn connections(base_url: &str) -> Connections {
    [("crm", false), ("hub", true)]
        .into_iter()
        .map(|(name, rewrite_urls)| connection(name, rewrite_urls, base_url))
        .collect()
}

/// One of them, by any name.
pub(crate) fn connection(name: &str, rewrite_urls: bool, base_url: &str) -> Connection {
    let adapter = parse(name, &adapter(rewrite_urls)).unwrap();
    let terms = Terms::new(&adapter, None, None, &Default::default()).unwrap();
    let wishes = |_: &str| Wishes::default();
    Connection {
        name: name.to_owned(),
        origin: Origin::parse(base_url).unwrap(),
        account: Arc::new(Account::new(name, base_url, &adapter, &terms, &wishes, 100)),
        reach: Reach::Anywhere,
        access: Access::Callers,
        identity: None,
        configured: true,
        max_wait: Duration::from_secs(60),
        terms,
        adapter: Arc::new(adapter),
        style: Style::default(),
    }
}

/// A provider that sends nothing but a word in the body of a refusal.
fn adapter(rewrite_urls: bool) -> String {
    format!(
        r#"
        name = "Stub"
        docs = ["https://example.com"]
        rewrite_urls = {rewrite_urls}

        [policy.stub]
        quota = 7

        [[exhausted]]
        status = 402
        content_type = "application/json"
        body_pattern = "quota"
        policy = "stub"
        retry_after = "60s"
        "#
    )
}

impl Harness {
    pub(crate) async fn new(base_url: &str) -> Self {
        Self::with(base_url, Settings::default()).await
    }

    pub(crate) async fn with(base_url: &str, settings: Settings) -> Self {
        Self::of(connections(base_url), settings).await
    }

    pub(crate) async fn of(connections: Connections, settings: Settings) -> Self {
        let ledger = Arc::new(Ledger::new(Default::default(), None));
        let books = books(ledger);
        let history = Arc::clone(&books.history);
        let gateway = Gateway::new(Arc::new(connections), books, settings);
        let gateway = Arc::new(gateway.unwrap());
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, own_address) = (socket.local_addr().unwrap(), own.local_addr().unwrap());
        let listeners = vec![
            Listener {
                socket,
                connection: None,
            },
            Listener {
                socket: own,
                connection: Some("crm".to_owned()),
            },
        ];
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(Arc::clone(&gateway).serve(listeners, async {
            let _ = stopped.await;
        }));
        Self {
            address,
            own_address,
            gateway,
            history,
            stop: Some(stop),
            task,
        }
    }

    /// Sends these bytes and reads until the gateway closes.
    pub(crate) async fn send(&self, request: impl AsRef<[u8]>) -> String {
        let mut caller = Caller::connect(self.address).await;
        caller.write(request).await;
        caller.rest().await
    }

    /// A request without a body, and `Connection: close`.
    pub(crate) async fn get(&self, target: &str) -> String {
        self.send(format!(
            "GET {target} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            self.address
        ))
        .await
    }
}

/// A connection to the gateway.
pub(crate) struct Caller {
    pub(crate) stream: TcpStream,
}

impl Caller {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self {
            stream: TcpStream::connect(address).await.unwrap(),
        }
    }

    pub(crate) async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Everything until the end of the connection, however it ends.
    pub(crate) async fn rest(&mut self) -> String {
        let mut bytes = Vec::new();
        // A reset keeps what came before it.
        let _ = tokio::time::timeout(PATIENCE, self.stream.read_to_end(&mut bytes))
            .await
            .expect("the end of the answer");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Everything until these words have come.
    pub(crate) async fn until(&mut self, words: &str) -> String {
        let mut bytes = Vec::new();
        let read = async {
            while !String::from_utf8_lossy(&bytes).contains(words) {
                if self.stream.read_buf(&mut bytes).await.unwrap() == 0 {
                    break;
                }
            }
        };
        let timed_out = tokio::time::timeout(PATIENCE, read).await.is_err();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        assert!(
            !timed_out && text.contains(words),
            "{words:?} is not in {text:?}"
        );
        text
    }
}
