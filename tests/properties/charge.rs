//! Whose budget a call uses: the same call the same, another one another, and no secret in sight.

use std::sync::{Arc, LazyLock};

use headroom::adapter::catalog::Catalog;
use headroom::adapter::parse::parse;
use headroom::adapter::{Adapter, Call};
use headroom::charge::{Account, charges, label, lessons, may_teach, needs_request_body};
use headroom::fields::Fields;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use proptest::prelude::*;
use proptest::sample::select;

/// Everything that a partition may be made of.
const ALL_PARTS: &str = r#"
name = "Example"
base_url = "https://api.example.com"
docs = ["https://example.com"]
[policy.items]
quota = 1
partition = ["credential", "account", "endpoint", "method", "{item}", "header:X-Tenant", "header:Authorization"]
applies = { path = ["/items/{item}/**", "/things/{thing}"] }
weights = [{ path = "/items/**", request_body = { "/a" = { pattern = 'b' } }, request_body_pattern = 'c', cost = 3 }]
learn = [
  { partition = "{item}", from = "{thing}", path = "/things/{thing}", json = "/item" },
  { partition = "{item}", from = "{thing}", path = "/things", each = "/*", key = "/id", json = "/item" },
]
[policy.rest]
quota = 1
partition = ["account", "endpoint", "header:X-Tenant"]
applies = "otherwise"
"#;

static ADAPTERS: LazyLock<Vec<Arc<Adapter>>> = LazyLock::new(|| {
    let catalog = Catalog::default();
    let shipped = catalog.ids().into_iter().map(|id| catalog.get(id).unwrap());
    let mut adapters: Vec<_> = shipped.collect();
    let own = Arc::new(parse("example", ALL_PARTS).unwrap());
    // Often enough to be of use among so many.
    adapters.extend(std::iter::repeat_n(own, 20));
    adapters
});

/// A call with all that belongs to it.
#[derive(Debug, Clone)]
struct Made {
    method: Method,
    path: Option<String>,
    tenant: Option<Vec<u8>>,
    body: Option<Vec<u8>>,
}

impl Made {
    fn headers(&self, credential: &str) -> Fields {
        let mut headers = Fields::new();
        let bearer = HeaderValue::from_str(&format!("Bearer {credential}")).unwrap();
        headers.insert(http::header::AUTHORIZATION, bearer);
        if let Some(tenant) = &self.tenant {
            let value = HeaderValue::from_bytes(tenant).unwrap();
            headers.insert(HeaderName::from_static("x-tenant"), value);
        }
        headers
    }

    fn call<'a>(&'a self, headers: &'a Fields) -> Call<'a> {
        Call {
            method: &self.method,
            path: self.path.as_deref(),
            headers: Some(headers),
            body: self.body.as_deref(),
        }
    }
}

fn segment() -> BoxedStrategy<String> {
    prop_oneof![
        4 => select(vec!["items", "things", "api", "v9", "workspaces", "7", "", "graphql", "%", "%4", "%zz", "%C3", "a\"b"])
            .prop_map(str::to_owned),
        2 => proptest::collection::vec(any::<char>(), 0..12).prop_map(String::from_iter),
        1 => "[a-zA-Z0-9_.%-]{0,80}",
    ]
    .boxed()
}

fn made() -> impl Strategy<Value = Made> {
    let path = proptest::collection::vec(segment(), 0..12)
        .prop_map(|parts| format!("/{}", parts.join("/")));
    let byte = prop_oneof![Just(b'\t'), 32_u8..127, 128_u8..=255];
    (
        select(vec![Method::GET, Method::POST, Method::HEAD]),
        proptest::option::weighted(0.9, prop_oneof![9 => path, 1 => any::<String>()]),
        proptest::option::of(proptest::collection::vec(byte, 0..80)),
        proptest::option::of(proptest::collection::vec(any::<u8>(), 0..80)),
    )
        .prop_map(|(method, path, tenant, body)| Made {
            method,
            path,
            tenant,
            body,
        })
}

fn learned(_: &str, _: &str, value: &str) -> Option<Arc<str>> {
    value.len().is_multiple_of(2).then(|| Arc::from(value))
}

/// A text as somebody else would encode it: byte by byte.
fn encoded(text: &str, mask: u32) -> String {
    let mut out = String::new();
    for (at, byte) in text.bytes().enumerate() {
        let plain = byte.is_ascii_alphanumeric() && mask >> (at % 32) & 1 == 0;
        if plain {
            out.push(char::from(byte));
        } else if mask & 1 == 0 {
            out.push_str(&format!("%{byte:02x}"));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

proptest! {
    /// The same call has the same key and label, keys and labels agree, and neither depends on or shows a credential.
    #[test]
    fn keys_and_labels_agree_and_hide_credentials(
        calls in proptest::collection::vec(made(), 2),
        credential in "[a-zA-Z0-9]{16,24}",
        configured in any::<bool>(),
        which in any::<prop::sample::Index>(),
        body in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let adapter = which.get(&ADAPTERS);
        let who = Account { credential: "0123456789ab", configured, secret: (7, 8) };
        let mut seen: Vec<(u128, String)> = Vec::new();
        for made in &calls {
            let headers = made.headers(&credential);
            let call = made.call(&headers);
            let found = charges(adapter, &call, &who, &learned);
            prop_assert_eq!(&found, &charges(adapter, &call, &who, &learned));
            for charge in found {
                let name = label(adapter, charge.policy, &call, &who, &learned);
                prop_assert!(name.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{}", name);
                prop_assert!(!name.contains(&credential), "{}", name);
                for (key, other) in &seen {
                    prop_assert_eq!(*key == charge.partition.key, *other == name);
                }
                seen.push((charge.partition.key, name));
            }
            // These never panic either.
            let _ = needs_request_body(adapter, &call);
            let _ = may_teach(adapter, &call, StatusCode::OK);
            let _ = lessons(adapter, &call, &body);
        }
    }

    /// Other identifiers are other partitions; other spellings of one identifier are not.
    #[test]
    fn other_identifiers_are_other_partitions(
        one in "[a-zA-Z0-9 /%é\"-]{1,70}",
        other in "[a-zA-Z0-9 /%é\"-]{1,70}",
        masks in any::<(u32, u32)>(),
    ) {
        let adapter = parse("example", &ALL_PARTS.replace("\"endpoint\", ", "")).unwrap();
        let who = Account { credential: "0123456789ab", configured: true, secret: (7, 8) };
        let of = |id: &str, mask| {
            let path = format!("/items/{}/x", encoded(id, mask));
            let call = Call { method: &Method::GET, path: Some(&path), headers: None, body: None };
            let key = charges(&adapter, &call, &who, &learned)[0].partition.key;
            (key, label(&adapter, 0, &call, &who, &learned))
        };
        prop_assert_eq!(of(&one, masks.0), of(&one, masks.1));
        let (first, second) = (of(&one, masks.0), of(&other, masks.1));
        prop_assert_eq!(first.0 == second.0, one == other);
        prop_assert_eq!(first.1 == second.1, one == other);
    }
}
