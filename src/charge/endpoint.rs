//! The template of a path that no adapter describes: what does not look like a word becomes `*`, so that calls of one kind
//! share a budget, and no secret in a path stands in a report. A guess; where it takes a word for an identifier, two
//! endpoints share one budget, which is the safe side.

mod word;

use self::word::is_word;

/// The most segments that are told apart.
const MAX_SEGMENTS: usize = 8;

/// The most bytes of a template.
const MAX_BYTES: usize = 200;

/// Hands the pieces of a path's template to `write`. The path is percent-encoded and without query.
pub(super) fn template(path: &str, write: &mut dyn FnMut(&[u8])) {
    let mut room = MAX_BYTES;
    let mut before: Option<&str> = None;
    let segments = path.split('/').filter(|segment| !segment.is_empty());
    for (index, segment) in segments.enumerate() {
        write(b"/");
        // Matrix parameters are a kind of query.
        let segment = segment.split(';').next().unwrap_or_default();
        let decoded = super::partition::decoded(segment);
        let reduced = reduce(&decoded, before.is_none_or(|before| before == "api"));
        let length = match reduced {
            Reduced::Word => decoded.len(),
            Reduced::Id(extension) => 1 + extension.len(),
        };
        if index == MAX_SEGMENTS || length + 1 > room {
            write(b"**");
            return;
        }
        room -= length + 1;
        before = Some(segment);
        match reduced {
            Reduced::Word => write(&decoded),
            Reduced::Id(extension) => {
                write(b"*");
                write(extension);
            }
        }
    }
    if before.is_none() {
        write(b"/");
    }
}

enum Reduced<'a> {
    Word,
    /// An identifier, and what follows it: `.json`.
    Id(&'a [u8]),
}

fn reduce(segment: &[u8], may_be_version: bool) -> Reduced<'_> {
    // `/2/tweets`, `/api/0/projects`.
    if may_be_version && segment.len() <= 2 && segment.iter().all(u8::is_ascii_digit) {
        return Reduced::Word;
    }
    if is_word(segment) {
        return Reduced::Word;
    }
    let extension = EXTENSIONS
        .into_iter()
        .find(|extension| segment.ends_with(extension) && segment.len() > extension.len());
    Reduced::Id(extension.unwrap_or_default())
}

/// What a word or an identifier may end with, to tell in which form an answer is wanted.
const EXTENSIONS: [&[u8]; 16] = [
    b".json", b".xml", b".csv", b".tsv", b".html", b".htm", b".txt", b".pdf", b".yaml", b".yml",
    b".atom", b".rss", b".ics", b".zip", b".png", b".jpg",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn of(path: &str) -> String {
        let mut text = Vec::new();
        template(path, &mut |piece| text.extend_from_slice(piece));
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn identifiers_become_stars_and_words_stay() {
        for (path, expected) in [
            ("/", "/"),
            ("", "/"),
            ("//", "/"),
            ("/v1/customers", "/v1/customers"),
            ("/v1/customers/", "/v1/customers"),
            ("/v1//customers", "/v1/customers"),
            ("/2/tweets/1234567890", "/2/tweets/*"),
            ("/api/0/projects/12/", "/api/0/projects/*"),
            ("/items/0", "/items/*"),
            ("/2.0/folders/0", "/2.0/folders/*"),
            ("/api/1.0/tasks/12", "/api/1.0/tasks/*"),
            ("/tickets/35436.json", "/tickets/*.json"),
            ("/tickets/show_many.json", "/tickets/show_many.json"),
            ("/items/1,2,3", "/items/*"),
            ("/days/2026-11-21", "/days/*"),
            ("/o/3fa85f64-5717-4562-b3fc-2c963f66afa6", "/o/*"),
            ("/o/%7B3fa85f64-5717-4562-b3fc-2c963f66afa6%7D", "/o/*"),
            (
                "/commits/7638417db6d59f3c431d3e1f261cc637155684cd",
                "/commits/*",
            ),
            ("/users/ada%40example.com", "/users/*"),
            ("/users/@me", "/users/@me"),
            ("/v1/customers/cus_NffrFeUfNV2Hib", "/v1/customers/*"),
            ("/v1/payment_intents", "/v1/payment_intents"),
            ("/v1/payment%5Fintents", "/v1/payment_intents"),
            ("/v0/appAb3dEf12h45678/Table", "/v0/*/Table"),
            ("/services/abXcDeFgZhIjKlmNoPqRsTuV", "/services/*"),
            ("/v/hvs.CAESIJx8m2P0qLr7Tt4vNw3K", "/v/*"),
            ("/v/s.Qm8kV2xZ1pLr7Tt4vNw3KbYa", "/v/*"),
            ("/users;jsessionid=5F2A8C1D9E3B4A7C/7", "/users/*"),
            ("/catch/123/b2x9k4q", "/catch/*/*"),
            ("/services/T02K7QXJ9/B03M8RWZ1", "/services/*/*"),
            ("/v1beta1/oauth2/k8s", "/v1beta1/oauth2/k8s"),
            ("/v2.0/utf8", "/v2.0/utf8"),
            (
                "/reports/getAccountsReceivableAgingReport",
                "/reports/getAccountsReceivableAgingReport",
            ),
            (
                "/bot110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw/getMe",
                "/*/getMe",
            ),
            (
                "/list-all-invoices-v2-archived",
                "/list-all-invoices-v2-archived",
            ),
            ("/api/conversations.list", "/api/conversations.list"),
            (
                "/xrpc/com.atproto.server.createSession",
                "/xrpc/com.atproto.server.createSession",
            ),
            ("/caf%C3%A9", "/*"),
            ("/a%00b", "/*"),
            // Secrets.
            ("/hooks/xkqvjzwpthbd", "/hooks/*"),
            ("/hooks/qwmzk-xjvbt-plkrd", "/hooks/*"),
            ("/hooks/ada:secret", "/hooks/*"),
            ("/hooks/ada%3Asecret", "/hooks/*"),
            ("/hooks/YWRh%2FOnN%2BlY3JldA%3D%3D", "/hooks/*"),
            ("/hooks/deadbeef", "/hooks/*"),
            ("/hooks/DeadBeefCafe", "/hooks/*"),
            (
                "/hooks/eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.dozjgNryP4J3jVmNHl0w5N",
                "/hooks/*",
            ),
            (
                "/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX",
                "/services/*/*/*",
            ),
            ("/hooks/JBSWY3DPEHPK3PXP", "/hooks/*"),
            ("/hooks/secret%0A", "/hooks/*"),
            ("/files/xkqvjzwpthbd.token", "/files/*"),
            ("/Contacts('ada')", "/*"),
            ("/a1-b2-c3-d4", "/*"),
            ("/10.0.0.1", "/*"),
            // Words.
            ("/v1p1beta1/v2024-04-01/V2", "/v1p1beta1/v2024-04-01/V2"),
            ("/$batch/getMe/myId", "/$batch/getMe/myId"),
            ("/sobjects/Merchandise__c", "/sobjects/Merchandise__c"),
            ("/app/Table%20name", "/app/Table name"),
            ("/a/b/c/d/e/f/g/h", "/a/b/c/d/e/f/g/h"),
            ("/a/b/c/d/e/f/g/h/i/j", "/a/b/c/d/e/f/g/h/**"),
        ] {
            assert_eq!(of(path), expected, "{path}");
        }
        assert_eq!(of(&format!("/a/{}", "x".repeat(65))), "/a/*");
        let long = format!("/{}", "list-all-".repeat(7)).repeat(4);
        assert_eq!(
            of(&long),
            format!("{}/**", format!("/{}", "list-all-".repeat(7)).repeat(3))
        );
    }
}
