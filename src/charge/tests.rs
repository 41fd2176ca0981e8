//! What each rule of charging does, on adapters of one policy.

use std::sync::Arc;

use http::{HeaderName, HeaderValue, Method};

use super::{Account, Charge, Cost, charges, label, lessons, may_teach, needs_request_body};
use crate::adapter::parse::parse;
use crate::adapter::{Adapter, Call, REQUEST_BODY_LIMIT};
use crate::fields::Fields;

const WHO: Account<'_> = Account {
    credential: "1f3a9c0d2e4b",
    configured: true,
    secret: (1, 2),
};

#[test]
fn the_secret_is_not_written_out() {
    let who = Account {
        secret: (7_777_777, 8_888_888),
        ..WHO
    };
    assert_eq!(
        format!("{who:?}"),
        "Account { credential: \"1f3a9c0d2e4b\", configured: true, .. }"
    );
}

fn adapter(policies: &str) -> Adapter {
    let source = format!(
        "name = \"Example\"\nbase_url = \"https://api.example.com\"\ndocs = [\"https://example.com\"]\n{policies}"
    );
    parse("example", &source)
        .map_err(|mistakes| mistakes.render("example.toml", &source, false))
        .unwrap()
}

/// One policy with a quota and these keys.
fn policy(keys: &str) -> Adapter {
    adapter(&format!("[policy.daily]\nquota = 100\n{keys}"))
}

fn get(path: &str) -> Call<'_> {
    Call {
        method: &Method::GET,
        path: Some(path),
        headers: None,
        body: None,
    }
}

fn nothing(_: &str, _: &str, _: &str) -> Option<Arc<str>> {
    None
}

fn cost(adapter: &Adapter, call: &Call<'_>) -> Option<Cost> {
    let charges = charges(adapter, call, &WHO, &nothing);
    assert!(charges.len() < 2, "{charges:?}");
    charges.first().map(|charge| charge.cost)
}

fn name(adapter: &Adapter, call: &Call<'_>) -> String {
    label(adapter, 0, call, &WHO, &nothing)
}

fn only(adapter: &Adapter, call: &Call<'_>) -> Charge {
    let mut charges = charges(adapter, call, &WHO, &nothing);
    assert_eq!(charges.len(), 1);
    charges.pop().unwrap()
}

fn headers(lines: &[(&'static str, &[u8])]) -> Fields {
    lines
        .iter()
        .map(|(name, value)| {
            let value = HeaderValue::from_bytes(value).unwrap();
            (HeaderName::from_static(name), value)
        })
        .collect()
}

#[test]
fn units_that_count_calls_cost_one_and_the_others_wait_for_the_answer() {
    for unit in ["requests", "messages", "posts", "pulls", "jobs"] {
        let adapter = policy(&format!("unit = \"{unit}\""));
        assert_eq!(cost(&adapter, &get("/")), Some(Cost::Known(1)), "{unit}");
    }
    for unit in ["tokens", "points", "credits", "percent", "audio-seconds"] {
        let adapter = policy(&format!("unit = \"{unit}\""));
        assert_eq!(cost(&adapter, &get("/")), Some(Cost::Told), "{unit}");
        let adapter = policy(&format!(
            "unit = \"{unit}\"\nweights = [{{ path = \"/dear\", cost = 5 }}]"
        ));
        assert_eq!(cost(&adapter, &get("/dear")), Some(Cost::Known(5)));
        assert_eq!(cost(&adapter, &get("/")), Some(Cost::Known(1)), "{unit}");
    }
    assert_eq!(Cost::Told.before_answer(), 0);
    assert_eq!(Cost::Known(3).before_answer(), 3);
}

#[test]
fn the_first_weight_that_fits_counts_and_zero_is_no_charge() {
    let adapter = policy(
        "weights = [{ path = \"/free\", cost = 0 }, { path = \"/**\", method = \"POST\", cost = 5 }]",
    );
    let post = |path| Call {
        method: &Method::POST,
        ..get(path)
    };
    assert_eq!(cost(&adapter, &post("/free")), None);
    assert_eq!(cost(&adapter, &post("/x")), Some(Cost::Known(5)));
    assert_eq!(cost(&adapter, &get("/x")), Some(Cost::Known(1)));
}

#[test]
fn what_is_unknown_costs_the_dearest_that_may_fit() {
    let adapter = policy(
        "weights = [{ path = \"/a\", cost = 3 }, { path = \"/b\", cost = 0 }, { method = \"GET\", cost = 2 }]",
    );
    let unknown = Call {
        path: None,
        ..get("/")
    };
    assert_eq!(cost(&adapter, &unknown), Some(Cost::Known(3)));
    let adapter = policy("weights = [{ path = \"/b\", cost = 0 }]");
    assert_eq!(cost(&adapter, &unknown), Some(Cost::Known(1)));
}

const GRAPHQL: &str = r#"
unit = "points"
weights = [
    { path = "/graphql", request_body = { "/query" = { pattern = '\bmutation\b' } }, cost = 5 },
    { path = "/rpc", request_body_pattern = '"dear"', cost = 7 },
]
"#;

#[test]
fn a_weight_may_look_at_the_body() {
    let adapter = policy(GRAPHQL);
    let with = |path, body: Option<&[u8]>| {
        let call = Call { body, ..get(path) };
        cost(&adapter, &call).unwrap().before_answer()
    };
    let graphql = |body: &str| with("/graphql", Some(body.as_bytes()));
    assert_eq!(graphql(r#"{"query":"{ viewer { login } }"}"#), 1);
    assert_eq!(graphql(r#"{"query":"\nmutation { x }"}"#), 5);
    assert_eq!(
        graphql(r#"{"variables":{"a":"mutation"},"query":"{ x }"}"#),
        1
    );
    assert_eq!(graphql("not JSON"), 1);
    assert_eq!(graphql(""), 1);
    // Not known, which is not "no".
    assert_eq!(with("/graphql", None), 5);
    assert_eq!(with("/rpc", None), 7);
    assert_eq!(with("/other", None), 1);
    // What stands behind the beginning is not known either.
    let long = format!("{{\"variables\":\"{}", "x".repeat(REQUEST_BODY_LIMIT));
    assert_eq!(graphql(&long), 5);
    assert_eq!(with("/rpc", Some(long.as_bytes())), 7);
    let late = format!("{}\"dear\"", "x".repeat(100));
    assert_eq!(with("/rpc", Some(late.as_bytes())), 7);
    assert_eq!(with("/rpc", Some(b"\"cheap\"")), 1);
}

#[test]
fn a_compressed_body_is_not_known() {
    let adapter = policy(GRAPHQL);
    for (coding, expected) in [("gzip", 7), ("identity", 1), ("Identity", 1)] {
        let headers = headers(&[("content-encoding", coding.as_bytes())]);
        let call = Call {
            headers: Some(&headers),
            body: Some(b"\x1f\x8b"),
            ..get("/rpc")
        };
        assert_eq!(cost(&adapter, &call), Some(Cost::Known(expected)));
    }
}

#[test]
fn only_requests_whose_weight_depends_on_it_are_read() {
    let with = policy(GRAPHQL);
    assert!(needs_request_body(&with, &get("/graphql")));
    assert!(needs_request_body(&with, &get("/rpc")));
    assert!(!needs_request_body(&with, &get("/other")));
    assert!(!needs_request_body(&policy(""), &get("/graphql")));
    let applies =
        policy("applies = { path = \"/rpc\", method = \"POST\", request_body_pattern = 'dear' }");
    assert!(!needs_request_body(&applies, &get("/rpc")));
    let post = Call {
        method: &Method::POST,
        ..get("/rpc")
    };
    assert!(needs_request_body(&applies, &post));
    let says = |body| charges(&applies, &Call { body, ..post }, &WHO, &nothing).len();
    assert_eq!(says(Some(&b"dear"[..])), 1);
    assert_eq!(says(Some(b"cheap")), 0);
    // Where it is not known, the order of the file decides, and this is the first policy.
    assert_eq!(says(None), 1);
}

#[test]
fn what_is_uncounted_still_is_in_flight() {
    let adapter = adapter(
        "[policy.daily]\nquota = 100\n[policy.busy]\nunit = \"concurrent-requests\"\nkind = \"concurrent\"\nquota = 3\n\
         [[uncounted]]\npath = \"/free\"",
    );
    let of = |path| -> Vec<usize> {
        let call = get(path);
        let charges = charges(&adapter, &call, &WHO, &nothing);
        charges.iter().map(|charge| charge.policy).collect()
    };
    assert_eq!(of("/free"), [1]);
    assert_eq!(of("/dear"), [0, 1]);
}

#[test]
fn a_policy_for_other_requests_charges_nothing() {
    let adapter = adapter(
        "[policy.items]\nquota = 1\napplies = { path = \"/items/**\" }\n\
         [policy.rest]\nquota = 1\napplies = \"otherwise\"",
    );
    let of = |path| only(&adapter, &get(path)).policy;
    assert_eq!(of("/items/1"), 0);
    assert_eq!(of("/users/1"), 1);
}

#[test]
fn an_unconfigured_mount_tells_accounts_apart_by_credential() {
    let adapter = policy("partition = [\"account\", \"address\", \"host\"]");
    let guest = Account {
        configured: false,
        ..WHO
    };
    let call = get("/");
    assert_eq!(label(&adapter, 0, &call, &WHO, &nothing), "");
    assert_eq!(
        label(&adapter, 0, &call, &guest, &nothing),
        "account=1f3a9c0d2e4b"
    );
    let key = |who| charges(&adapter, &call, &who, &nothing)[0].partition.key;
    let other = |who| Account {
        credential: "ffffffffffff",
        ..who
    };
    assert_eq!(key(WHO), key(other(WHO)));
    assert_ne!(key(guest), key(other(guest)));
}

#[test]
fn labels_name_their_parts() {
    for (keys, path, expected) in [
        ("", "/", "credential=1f3a9c0d2e4b"),
        ("partition = \"method\"", "/", "method=GET"),
        (
            "partition = \"endpoint\"",
            "/users/42",
            "endpoint=\"GET /users/*\"",
        ),
        (
            "partition = \"endpoint\"",
            "/users/42/",
            "endpoint=\"GET /users/*\"",
        ),
        (
            "partition = \"endpoint\"\napplies = { path = [\"/users/**\", \"/users/{id}/name\"] }",
            "/users/ada/name",
            "endpoint=\"GET /users/{id}/name\"",
        ),
        (
            "partition = \"{item}\"\napplies = { path = \"/items/{item}\" }",
            "/items/say\"hi\"",
            "item=\"say\\\"hi\\\"\"",
        ),
        (
            "partition = [\"credential\", \"{item}\"]\napplies = { path = \"/items/{item}/**\" }",
            "/items/a%7eb%2D1/x",
            "credential=1f3a9c0d2e4b/item=a~b-1",
        ),
        (
            "partition = \"{item}\"\napplies = { path = \"/items/{item}\" }",
            "/items/a%2Fb",
            "item=\"a/b\"",
        ),
        (
            "partition = \"{item}\"\napplies = { path = \"/items/{item}\" }",
            "/items/-",
            "item=\"-\"",
        ),
        (
            "partition = \"{item}\"\napplies = { path = \"/items/{item}\" }",
            "/items/%3F",
            "item=\"?\"",
        ),
    ] {
        assert_eq!(name(&policy(keys), &get(path)), expected, "{keys} {path}");
    }
}

#[test]
fn an_excluded_path_captures_nothing() {
    // As Airtable's: the first template fits the path of the second, but its condition does not.
    let adapter = policy(
        "partition = \"{base}\"\napplies = [{ path = \"/v0/{base}/**\", not_path = \"/v0/bases/**\" }, \
         { path = \"/v0/bases/{base}/**\" }]",
    );
    assert_eq!(name(&adapter, &get("/v0/app1/x")), "base=app1");
    assert_eq!(name(&adapter, &get("/v0/bases/app1/x")), "base=app1");
}

#[test]
fn headers_are_shown_only_if_they_are_short_plain_and_no_secret() {
    let adapter = policy("partition = \"header:X-Tenant\"");
    let of = |value: &[u8]| {
        let headers = headers(&[("x-tenant", value)]);
        let call = Call {
            headers: Some(&headers),
            ..get("/")
        };
        name(&adapter, &call)
    };
    assert_eq!(of(b"acme-1"), "x-tenant=acme-1");
    assert_eq!(of(b" acme-1 "), "x-tenant=acme-1");
    assert_eq!(of(b"a \"b\" \\"), "x-tenant=\"a \\\"b\\\" \\\\\"");
    assert_eq!(of(b""), "x-tenant=\"\"");
    for hidden in [&b"caf\xc3\xa9"[..], b"a\tb", &[b'x'; 65]] {
        let label = of(hidden);
        let hash = label.strip_prefix("x-tenant=#").unwrap();
        assert_eq!(hash.len(), 16, "{label}");
        assert!(hash.bytes().all(|byte| byte.is_ascii_hexdigit()));
    }
    // What looks like a hash is none.
    assert_eq!(of(b"#0123456789abcdef"), "x-tenant=\"#0123456789abcdef\"");
    let none = Fields::new();
    let call = Call {
        headers: Some(&none),
        ..get("/")
    };
    assert_eq!(name(&adapter, &call), "x-tenant=-");
    assert_eq!(name(&adapter, &get("/")), "x-tenant=?");
}

#[test]
fn secrets_are_hashed_by_name_by_place_and_by_mark() {
    let mut marked = HeaderValue::from_static("hush");
    marked.set_sensitive(true);
    for (top, header, value) in [
        ("", "authorization", HeaderValue::from_static("hush")),
        ("", "x-api-key", HeaderValue::from_static("hush")),
        ("", "cookie", HeaderValue::from_static("hush")),
        ("", "x-tenant", marked),
        (
            "credential = { header = \"X-Who\" }\n",
            "x-who",
            HeaderValue::from_static("hush"),
        ),
    ] {
        let adapter = adapter(&format!(
            "{top}[policy.daily]\nquota = 1\npartition = \"header:{header}\""
        ));
        let headers: Fields = [(HeaderName::from_static(header), value)]
            .into_iter()
            .collect();
        let call = Call {
            headers: Some(&headers),
            ..get("/")
        };
        let label = name(&adapter, &call);
        assert!(label.starts_with(&format!("{header}=#")), "{label}");
        assert!(!label.contains("hush"), "{label}");
    }
}

const TOGGL: &str = r#"
partition = ["credential", "{organization}"]
applies = { path = ["/organizations/{organization}/**", "/workspaces/{workspace}/**"] }
learn = [
  { partition = "{organization}", from = "{workspace}", path = "/workspaces/{workspace}", json = "/organization_id" },
  { partition = "{organization}", from = "{workspace}", path = "/me/workspaces", each = "/*", key = "/id", json = "/organization_id" },
]
"#;

#[test]
fn a_partition_that_the_path_does_not_name_is_learned() {
    let adapter = policy(TOGGL);
    let direct = only(&adapter, &get("/organizations/9/users")).partition;
    assert_eq!(direct.unknown, None);
    assert_ne!(direct.key, direct.shared);
    let before = only(&adapter, &get("/workspaces/7/projects")).partition;
    let unknown = before.unknown.as_ref().unwrap();
    assert_eq!(
        (&*unknown.partition, &*unknown.from, &*unknown.value),
        ("organization", "workspace", "7")
    );
    assert_eq!(before.key, before.shared);
    assert_eq!(before.shared, direct.shared);
    assert_eq!(
        name(&adapter, &get("/workspaces/7/projects")),
        "credential=1f3a9c0d2e4b/organization=?"
    );
    let learned = |partition: &str, from: &str, value: &str| {
        assert_eq!((partition, from, value), ("organization", "workspace", "7"));
        Some(Arc::from("9"))
    };
    let call = get("/workspaces/%37/projects");
    let after = &charges(&adapter, &call, &WHO, &learned)[0].partition;
    assert_eq!(after.key, direct.key);
    assert_eq!(after.shared, before.shared);
    assert_eq!(after.unknown, None);
    assert_eq!(
        label(&adapter, 0, &call, &WHO, &learned),
        "credential=1f3a9c0d2e4b/organization=9"
    );
}

#[test]
fn answers_and_lists_of_them_teach() {
    let adapter = policy(TOGGL);
    let told = |path, body: &str| -> Vec<(String, String)> {
        let call = get(path);
        lessons(&adapter, &call, body.as_bytes())
            .into_iter()
            .map(|lesson| {
                assert_eq!(
                    (lesson.partition, lesson.from),
                    ("organization", "workspace")
                );
                (lesson.value, lesson.learned)
            })
            .collect()
    };
    let pair = |value: &str, learned: &str| (value.to_owned(), learned.to_owned());
    assert_eq!(
        told("/workspaces/%37", r#"{"id":7,"organization_id":9}"#),
        [pair("7", "9")]
    );
    assert_eq!(
        told(
            "/me/workspaces",
            r#"[{"id":7,"organization_id":9},{"id":8},{"organization_id":9},{"id":6,"organization_id":"x"}]"#
        ),
        [pair("7", "9"), pair("6", "x")]
    );
    for (path, body) in [
        ("/workspaces/7", "{}"),
        ("/workspaces/7", r#"{"organization_id":null}"#),
        ("/workspaces/7", r#"{"organization_id":""}"#),
        ("/workspaces/7", r#"{"organization_id":{}}"#),
        ("/workspaces/7", "not JSON"),
        ("/workspaces/7", ""),
        ("/workspaces/7/projects", r#"{"organization_id":9}"#),
        ("/me/workspaces", "{}"),
        ("/me/workspaces", "[[],1,null]"),
    ] {
        assert_eq!(told(path, body), [], "{path} {body}");
    }
}

#[test]
fn only_good_answers_with_a_body_teach() {
    let adapter = policy(TOGGL);
    let teaches = |method: &Method, path, status: u16| {
        let call = Call {
            method,
            ..get(path)
        };
        may_teach(&adapter, &call, http::StatusCode::from_u16(status).unwrap())
    };
    assert!(teaches(&Method::GET, "/workspaces/7", 200));
    assert!(teaches(&Method::PUT, "/workspaces/7", 200));
    assert!(teaches(&Method::GET, "/me/workspaces", 200));
    assert!(!teaches(&Method::HEAD, "/workspaces/7", 200));
    assert!(!teaches(&Method::GET, "/workspaces/7", 404));
    assert!(!teaches(&Method::GET, "/workspaces/7/projects", 200));
}

/// They may be stored, and a partition that got another key would have all its quota again.
#[test]
fn keys_stay_the_same_from_one_start_and_one_compiler_to_the_next() {
    let charge = only(&policy(""), &get("/"));
    assert_eq!(
        charge.partition.key,
        36_582_708_816_356_681_472_621_121_994_687_297_112
    );
    let other = Account {
        secret: (1, 3),
        ..WHO
    };
    let charges = charges(&policy(""), &get("/"), &other, &nothing);
    assert_ne!(charges[0].partition.key, charge.partition.key);
}
