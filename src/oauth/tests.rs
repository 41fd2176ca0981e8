//! Tokens in virtual time, by an endpoint that does as it is told.

use std::collections::VecDeque;

use tokio::time::advance;

use super::*;
use crate::time::Steady;

/// A token endpoint that answers after a second, what it was told to.
#[derive(Clone, Default)]
struct Endpoint(Arc<Mutex<Script>>);

#[derive(Default)]
struct Script {
    answers: VecDeque<Result<(u64, Option<&'static str>), Reason>>,
    /// The refresh tokens that it was shown.
    shown: Vec<Option<String>>,
}

impl Endpoint {
    fn answers(
        &self,
        answers: impl IntoIterator<Item = Result<(u64, Option<&'static str>), Reason>>,
    ) {
        self.0.lock().unwrap().answers.extend(answers);
    }

    fn asked(&self) -> usize {
        self.0.lock().unwrap().shown.len()
    }
}

impl Ask for Endpoint {
    fn ask<'a>(
        &'a self,
        _: &'a Settings,
        refresh_token: Option<&'a Secret>,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<Issued, Reason>> + Send + 'a>> {
        let (number, answer) = {
            let mut script = self.0.lock().unwrap();
            script
                .shown
                .push(refresh_token.map(|token| token.expose().to_owned()));
            let answer = script.answers.pop_front().unwrap_or(Ok((3_600, None)));
            (script.shown.len(), answer)
        };
        Box::pin(async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let (lifetime, rotated) = answer?;
            Ok(Issued {
                token: Secret::from(format!("token-{number}")),
                lifetime: (lifetime > 0).then(|| Duration::from_secs(lifetime)),
                refresh_token: rotated.map(Secret::from),
            })
        })
    }
}

fn settings(refresh_token: Option<&str>) -> Settings {
    Settings {
        token_url: Url::parse("https://login.example.com/token").unwrap(),
        client_id: "client".to_owned(),
        client_secret: Some(Secret::from("hunter2")),
        refresh_token: refresh_token.map(Secret::from),
        scopes: Vec::new(),
        parameters: Vec::new(),
        client_auth: ClientAuth::Basic,
    }
}

fn tokens(endpoint: &Endpoint) -> Arc<Tokens> {
    let registry = Registry::new(endpoint.clone(), Keeper::default());
    registry.tokens(&settings(None), &CredentialPlace::Bearer)
}

fn shown(outcome: &Outcome) -> String {
    match outcome {
        Ok(token) => String::from_utf8_lossy(token.credential().as_bytes()).into_owned(),
        Err(unavailable) => unavailable.reason.to_string(),
    }
}

async fn secs(secs: u64) {
    advance(Duration::from_secs(secs)).await;
    // Whoever was woken goes on.
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn many_calls_are_one_request() {
    let endpoint = Endpoint::default();
    let tokens = tokens(&endpoint);
    let calls: Vec<_> = (0..50)
        .map(|_| {
            let tokens = Arc::clone(&tokens);
            tokio::spawn(async move { shown(&tokens.token().await) })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap(), "Bearer token-1");
    }
    assert_eq!(endpoint.asked(), 1);
    assert_eq!(shown(&tokens.token().await), "Bearer token-1");
    assert_eq!(endpoint.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_leaves_does_not_take_the_token_along() {
    let endpoint = Endpoint::default();
    let tokens = tokens(&endpoint);
    let left = tokio::time::timeout(Duration::from_millis(10), tokens.token()).await;
    assert!(left.is_err());
    assert_eq!(shown(&tokens.token().await), "Bearer token-1");
    assert_eq!(endpoint.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_token_is_renewed_before_its_end_and_nobody_waits() {
    let endpoint = Endpoint::default();
    endpoint.answers([Ok((600, None)), Ok((600, None))]);
    let tokens = tokens(&endpoint);
    tokens.token().await.unwrap();
    // 60 s ahead, and up to 30 more.
    secs(500).await;
    assert_eq!(shown(&tokens.token().await), "Bearer token-1");
    assert_eq!(endpoint.asked(), 1);
    secs(45).await;
    let before = clock::monotonic();
    assert_eq!(shown(&tokens.token().await), "Bearer token-1");
    assert_eq!(before, clock::monotonic());
    secs(0).await;
    assert_eq!(shown(&tokens.token().await), "Bearer token-1");
    assert_eq!(
        endpoint.asked(),
        2,
        "while one is on its way nobody else asks"
    );
    secs(2).await;
    assert_eq!(shown(&tokens.token().await), "Bearer token-2");
    // Nobody calls for long: then the next one waits.
    secs(700).await;
    assert_eq!(shown(&tokens.token().await), "Bearer token-3");
}

#[tokio::test(start_paused = true)]
async fn a_token_that_ends_at_once_is_good_for_those_who_waited() {
    let endpoint = Endpoint::default();
    endpoint.answers([Ok((1, None)), Ok((1, None))]);
    let tokens = tokens(&endpoint);
    assert_eq!(shown(&tokens.token().await), "Bearer token-1");
    assert_eq!(shown(&tokens.token().await), "Bearer token-2");
}

#[tokio::test(start_paused = true)]
async fn without_a_lifetime_a_token_is_good_until_it_is_refused() {
    let endpoint = Endpoint::default();
    endpoint.answers([Ok((0, None))]);
    let tokens = tokens(&endpoint);
    let token = tokens.token().await.unwrap();
    secs(100_000).await;
    assert_eq!(shown(&tokens.token().await), "Bearer token-1");
    // It was never good: another one would not be either.
    assert!(tokens.refused(&token).is_none());
    token.accepted();
    let renewal = tokens.refused(&token).unwrap();
    assert_eq!(shown(&renewal.ended().await), "Bearer token-2");
    // Who is late with the old one gets the new one.
    let late = tokens.refused(&token).unwrap();
    assert_eq!(shown(&late.ended().await), "Bearer token-2");
    assert_eq!(endpoint.asked(), 2);
    // An endpoint of the provider that answers 401 to every token does not make headroom ask each time.
    let token = tokens.token().await.unwrap();
    token.accepted();
    assert!(tokens.refused(&token).is_none());
    secs(30).await;
    assert!(tokens.refused(&token).is_some());
}

#[tokio::test(start_paused = true)]
async fn after_a_refusal_calls_wait_for_the_next_token_and_take_the_old_one_where_there_is_none() {
    for (answer, then) in [
        (Ok((3_600, None)), "Bearer token-2"),
        (Err(Reason::TimedOut), "Bearer token-1"),
    ] {
        let endpoint = Endpoint::default();
        endpoint.answers([Ok((3_600, None)), answer]);
        let tokens = tokens(&endpoint);
        let first = tokens.token().await.unwrap();
        first.accepted();
        assert!(tokens.refused(&first).is_some());
        // Who comes while it is asked for, and whose call was on its way.
        let later = tokens.token();
        let other = tokens.refused(&first).expect("it is on its way").ended();
        let (later, other) = tokio::join!(later, other);
        assert_eq!(shown(&later), then);
        assert_eq!(other.is_ok(), answer.is_ok());
        assert_eq!(endpoint.asked(), 2);
        // Nobody waits any more.
        let before = clock::monotonic();
        assert_eq!(shown(&tokens.token().await), then);
        assert_eq!(before, clock::monotonic());
    }
}

#[tokio::test(start_paused = true)]
async fn failures_are_told_and_asked_about_more_and_more_seldom() {
    let endpoint = Endpoint::default();
    let down = Reason::Status(503);
    endpoint.answers(vec![Err(down); 12]);
    let tokens = tokens(&endpoint);
    let mut pauses = Vec::new();
    for asked in 1..=10 {
        let unavailable = tokens.token().await.unwrap_err();
        assert_eq!(unavailable.reason, down);
        // Until then nobody asks again.
        let again = tokens.token().await.unwrap_err();
        assert_eq!((again, endpoint.asked()), (unavailable, asked));
        pauses.push(unavailable.retry_after);
        secs(unavailable.retry_after).await;
    }
    assert!(
        pauses.is_sorted_by(|one, next| one <= next || *next >= 60),
        "{pauses:?}"
    );
    assert!(
        pauses[0] <= 2 && (60..=75).contains(&pauses[9]),
        "{pauses:?}"
    );
    endpoint.0.lock().unwrap().answers.clear();
    assert_eq!(shown(&tokens.token().await), "Bearer token-11");
}

#[tokio::test(start_paused = true)]
async fn a_failure_ahead_of_the_end_leaves_the_token_that_is_good() {
    let endpoint = Endpoint::default();
    endpoint.answers([Ok((600, None)), Err(Reason::TimedOut), Ok((600, None))]);
    let tokens = tokens(&endpoint);
    tokens.token().await.unwrap();
    for asked in [2, 3] {
        secs(if asked == 2 { 550 } else { 2 }).await;
        assert_eq!(shown(&tokens.token().await), "Bearer token-1");
        // It begins, and a second later it ends.
        secs(0).await;
        secs(2).await;
        assert_eq!(endpoint.asked(), asked);
    }
    assert_eq!(shown(&tokens.token().await), "Bearer token-3");
}

#[tokio::test(start_paused = true)]
async fn a_rotated_refresh_token_takes_the_place_of_the_one_before() {
    let endpoint = Endpoint::default();
    endpoint.answers([
        Ok((1, Some("second"))),
        Ok((1, None)),
        Ok((1, Some("third"))),
    ]);
    let registry = Registry::new(endpoint.clone(), Keeper::default());
    let tokens = registry.tokens(&settings(Some("first")), &CredentialPlace::Bearer);
    for _ in 0..4 {
        tokens.token().await.unwrap();
    }
    let shown = endpoint.0.lock().unwrap().shown.clone();
    let expected = ["first", "second", "second", "third"];
    assert_eq!(shown, expected.map(|token| Some(token.to_owned())));
    // A file that is read again finds the same tokens; another refresh token begins anew.
    let again = registry.tokens(&settings(Some("first")), &CredentialPlace::Bearer);
    assert!(Arc::ptr_eq(&tokens, &again));
    let other = registry.tokens(&settings(Some("other")), &CredentialPlace::Bearer);
    other.token().await.unwrap();
    let last = endpoint.0.lock().unwrap().shown.pop().unwrap();
    assert_eq!(last.as_deref(), Some("other"));
}

#[tokio::test(start_paused = true)]
async fn a_token_that_cannot_stand_there_is_a_failure() {
    struct Odd;
    impl Ask for Odd {
        fn ask<'a>(
            &'a self,
            _: &'a Settings,
            _: Option<&'a Secret>,
        ) -> std::pin::Pin<Box<dyn Future<Output = Result<Issued, Reason>> + Send + 'a>> {
            Box::pin(async {
                Ok(Issued {
                    token: Secret::from("a\r\nx: y"),
                    lifetime: None,
                    refresh_token: None,
                })
            })
        }
    }
    let registry = Registry::new(Odd, Keeper::default());
    let tokens = registry.tokens(&settings(None), &CredentialPlace::Bearer);
    assert_eq!(tokens.token().await.unwrap_err().reason, Reason::Unfit);
}

#[test]
fn nothing_secret_is_printed() {
    let settings = settings(Some("first"));
    let registry = Registry::new(Endpoint::default(), Keeper::default());
    let tokens = registry.tokens(&settings, &CredentialPlace::Bearer);
    let token = Token::new(Credential::bearer(&Secret::from("hunter2")).unwrap());
    let text = format!("{settings:?} {tokens:?} {registry:?} {token:?}");
    for secret in ["hunter2", "first"] {
        assert!(!text.contains(secret), "{text}");
    }
}

#[test]
fn ahead_is_a_part_of_short_lives() {
    let mut held = Held::default();
    let token = Arc::new(Token::new(
        Credential::bearer(&Secret::from("abc")).unwrap(),
    ));
    let at = |secs: u64| Steady(0).after(Nanos::from_secs(secs));
    for (life, random, renewed, ended) in [
        (3_600, 0, 3_540, 3_595),
        (3_600, 29_999_999_999, 3_511, 3_595),
        (40, 0, 30, 36),
    ] {
        held.succeeded(&token, Some(Nanos::from_secs(life)), Steady(0), random);
        assert!(matches!(held.look(at(renewed - 1)), Look::Use(_)), "{life}");
        assert!(matches!(held.look(at(renewed)), Look::Renew(_)), "{life}");
        assert!(matches!(held.look(at(ended - 1)), Look::Renew(_)), "{life}");
        assert!(matches!(held.look(at(ended)), Look::Need), "{life}");
    }
}
