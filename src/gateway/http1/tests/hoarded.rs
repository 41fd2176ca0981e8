//! Bodies that somebody holds for longer than they come.

use std::sync::{Arc, Mutex};

use http_body_util::BodyExt as _;

use super::alike::runtime;
use super::served::{Log, answer, answers, served};
use super::*;
use crate::gateway::body::{Attended, Body as AnswerBody};
use crate::gateway::heads::{Reply, RequestHead};
use crate::gateway::present::Present;
use crate::gateway::pulse::Pulse;
use crate::limits::Limits;

/// Keeps the body of each call until the next call has begun.
struct Hoarder(Arc<Mutex<Option<Inflow>>>, Log);

impl Host for Hoarder {
    type Call = Pin<Box<dyn Future<Output = Reply<Attended>> + Send>>;

    fn call(&self, head: RequestHead, body: Option<Inflow>) -> Self::Call {
        let kept = Arc::clone(&self.0);
        let log = Arc::clone(&self.1);
        Box::pin(async move {
            let mut body = body.unwrap();
            let mut pieces = Pieces::default();
            let before = kept.lock().unwrap().take();
            assert!(before.as_ref().is_none_or(HttpBody::is_end_stream));
            drop(before);
            while let Some(frame) = body.frame().await {
                pieces.frames.push_back(Some(Ok(frame.unwrap())));
            }
            *kept.lock().unwrap() = Some(body);
            let presence = Pulse::new(Limits::default()).begin();
            assert_eq!(head.present, Present::of(&head.headers));
            let answer = answer(head.to_request(pieces), log).await;
            Reply::from(answer).map(|body| Attended::new(AnswerBody::Page(body), presence, None))
        })
    }

    fn refuse(&self, unfit: Unfit) -> Reply<AnswerBody> {
        panic!("{unfit:?}");
    }
}

/// Whoever still holds a body that has ended does nothing to the next one when it lets go of it.
#[test]
fn a_body_that_is_let_go_late_is_not_the_next_one() {
    let call = "POST / HTTP/1.1\r\ncontent-length: 5\r\n\r\n";
    let pieces = [call, "hello", call, "wor", "ld", call, "again"];
    let pieces = pieces.map(|piece| piece.as_bytes().to_vec()).to_vec();
    let log = Log::default();
    let answered = runtime().block_on(served(
        64,
        Hoarder(Arc::default(), Arc::clone(&log)),
        pieces,
    ));
    let bodies: Vec<_> = log
        .lock()
        .unwrap()
        .iter()
        .map(|asked| asked.body.clone())
        .collect();
    let expected = ["hello", "world", "again"].map(|body| Ok((Bytes::from(body), None)));
    assert_eq!(bodies, expected);
    assert_eq!(answers(&answered).len(), 3);
}
