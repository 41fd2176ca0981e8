//! What a consumer may call.

use super::*;

async fn called(site: &Site, method: &str, target: &str, lines: &str) -> (u16, String) {
    let request = format!(
        "{method} {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nheadroom-key: {}\r\n{lines}\r\n",
        reports()
    );
    let mut caller = crate::support::harness::Caller::connect(site.program.address()).await;
    caller.write(request).await;
    let answer = caller.rest().await;
    let code = match status(&answer) {
        200 => String::new(),
        _ => code(&answer),
    };
    (status(&answer), code)
}

#[tokio::test]
async fn connections_methods_and_paths() {
    let limits = "connections = [\"bearer\"]\nmethods = [\"GET\"]\npaths = [\"/crm/v3/objects/**\", \"/me\"]";
    let site = Site::new(&consumer("reports", &reports(), limits)).await;
    let mut sent = 0;
    for (method, target, lines, word) in [
        ("GET", "/bearer/crm/v3/objects/contacts/1", "", ""),
        ("GET", "/bearer/crm/v3/objects?limit=/../x", "", ""),
        ("GET", "/bearer/me", "", ""),
        ("GET", "/bearer/crm/v3/%6Fbjects/a%20b", "", ""),
        (
            "GET",
            "/header/crm/v3/objects/contacts",
            "",
            "forbidden-connection",
        ),
        (
            "POST",
            "/bearer/me",
            "Content-Length: 0\r\n",
            "forbidden-method",
        ),
        ("DELETE", "/bearer/me", "", "forbidden-method"),
        ("get", "/bearer/me", "", "forbidden-method"),
        (
            "GET",
            "/bearer/me",
            "X-HTTP-Method-Override: DELETE\r\n",
            "forbidden-method",
        ),
        (
            "GET",
            "/bearer/me",
            "X-Method-Override: DELETE\r\n",
            "forbidden-method",
        ),
        (
            "GET",
            "/bearer/me?a=b&_method=delete",
            "",
            "forbidden-method",
        ),
        // As CGI reads it, and as some frameworks and APIs do.
        (
            "GET",
            "/bearer/me",
            "X_HTTP_Method_Override: DELETE\r\n",
            "forbidden-method",
        ),
        (
            "GET",
            "/bearer/me?a=b;%5Fmethod=delete",
            "",
            "forbidden-method",
        ),
        (
            "GET",
            "/bearer/me?X-HTTP-Method-Override=DELETE",
            "",
            "forbidden-method",
        ),
        ("GET", "/bearer/me?method=Delete", "", "forbidden-method"),
        ("GET", "/bearer/me?method=%64elete", "", "forbidden-method"),
        ("GET", "/bearer/me?method=photos.delete&methods=put", "", ""),
        (
            "GET",
            "/bearer/me",
            "X_Original_URL: /crm/v3/owners\r\n",
            "forbidden-path",
        ),
        (
            "GET",
            "/bearer/me",
            "X-Original-URL: /crm/v3/owners\r\n",
            "forbidden-path",
        ),
        ("GET", "/bearer/crm/v3/owners", "", "forbidden-path"),
        ("GET", "/bearer/crm/v3/objectsx", "", "forbidden-path"),
        ("GET", "/bearer/CRM/v3/objects/a", "", "forbidden-path"),
        ("GET", "/bearer//crm/v3/objects/a", "", "forbidden-path"),
        ("GET", "/bearer/crm//v3/objects/a", "", "forbidden-path"),
        ("GET", "/bearer/crm/v3/objects//a", "", "forbidden-path"),
        ("GET", "/bearer/crm/v3/objects/a%2Fb", "", "forbidden-path"),
        ("GET", "/bearer/crm/v3/objects/a%5cb", "", "forbidden-path"),
        (
            "GET",
            "/bearer/crm/v3/objects/a;x=1/b",
            "",
            "forbidden-path",
        ),
        (
            "GET",
            "/bearer/crm/v3/objects/%252e%252e",
            "",
            "dot-segment",
        ),
        ("GET", "/bearer/crm/v3/objects/../owners", "", "dot-segment"),
        ("GET", "/bearer/crm%2Fv3%2Fobjects/a", "", "forbidden-path"),
        ("GET", "/bearer/", "", "forbidden-path"),
    ] {
        let (status, code) = called(&site, method, target, lines).await;
        assert_eq!(code, word, "{method} {target} {lines}");
        let expected = match word {
            "" => 200,
            "dot-segment" => 400,
            _ => 403,
        };
        assert_eq!(status, expected, "{method} {target}");
        sent += usize::from(word.is_empty());
        assert_eq!(site.upstream.requests().len(), sent, "{method} {target}");
    }
}

/// One that is not limited may do all that passes without consumers.
#[tokio::test]
async fn without_limits_everything_passes() {
    let site = Site::new(&consumer("reports", &reports(), "")).await;
    for (method, target, lines) in [
        ("PROPFIND", "/bearer//a%2Fb;c", ""),
        (
            "GET",
            "/bearer/a?_method=x",
            "X-HTTP-Method-Override: DELETE\r\nX-Original-URL: /b\r\n",
        ),
    ] {
        assert_eq!(
            called(&site, method, target, lines).await.0,
            200,
            "{target}"
        );
    }
}
