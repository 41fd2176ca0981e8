//! What typical calls use of every shipped adapter's policies: a table for people to read.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use crate::support::cases::{Case, all, snapshots};
use headroom::adapter::Call;
use headroom::adapter::catalog::Catalog;
use headroom::charge::{Account, Charge, Cost, Lesson, charges, label, lessons, may_teach};
use http::{Method, StatusCode};

/// Beside those of the cases: what no case calls.
const MORE: &[(&str, Method, &str)] = &[
    (
        "airtable",
        Method::GET,
        "/v0/bases/appLkNDICXNqxSDhG/webhooks",
    ),
    (
        "bigcommerce",
        Method::GET,
        "/stores/abc123/v3/catalog/products/77",
    ),
    ("github", Method::POST, "/repos/octocat/hello-world/issues"),
    ("github", Method::POST, "/graphql"),
    ("github", Method::GET, "/rate_limit"),
    (
        "quickbooks",
        Method::POST,
        "/v3/company/4620816365214495910/batch",
    ),
    ("slack", Method::POST, "/api/chat.postMessage"),
    ("slack", Method::POST, "/api/conversations.list"),
    (
        "stripe",
        Method::POST,
        "/v1/payment_intents/pi_3MtwBwLkdIwHu7ix28a3tqPa",
    ),
    ("toggl", Method::GET, "/api/v9/me"),
    ("toggl", Method::GET, "/api/v9/organizations/1234567/users"),
    ("toggl", Method::GET, "/api/v9/workspaces/7654321/projects"),
    ("toggl", Method::GET, "/api/v9/workspaces/404/projects"),
    ("zendesk", Method::PUT, "/api/v2/tickets/35436"),
];

fn path(case: &Case) -> Option<&str> {
    case.recording.circumstance("path")?.split('?').next()
}

#[test]
fn charges_of_shipped_adapters_are_as_reviewed() {
    let who = Account {
        credential: "1f3a9c0d2e4b",
        configured: true,
        secret: (0, 0),
    };
    let learned =
        |_: &str, _: &str, value: &str| (value == "7654321").then(|| Arc::from("1234567"));
    let mut calls: BTreeMap<String, Vec<(Method, String)>> = BTreeMap::new();
    for case in all() {
        let method = case.recording.circumstance("method").unwrap_or("GET");
        let call = (
            method.parse().unwrap(),
            path(&case).unwrap_or("/").to_owned(),
        );
        // One typical call of each provider.
        let known = calls.entry(case.provider.clone()).or_default();
        match known.first_mut() {
            None => known.push(call),
            Some(first) if first.1 == "/" => *first = call,
            Some(_) => {}
        }
    }
    for (id, method, path) in MORE {
        let known = calls.get_mut(*id).unwrap();
        known.push((method.clone(), (*path).to_owned()));
    }
    let mut text = String::new();
    for (id, calls) in calls {
        let adapter = Catalog::default().get(&id).unwrap();
        for (method, path) in calls {
            writeln!(text, "{id}: {method} {path}").unwrap();
            let call = Call {
                method: &method,
                path: Some(&path),
                headers: None,
                body: None,
            };
            for charge in charges(&adapter, &call, &who, &learned) {
                let policy = &adapter.policies[charge.policy];
                let cost = match charge.cost {
                    Cost::Known(cost) => cost.to_string(),
                    Cost::Told => "told".to_owned(),
                };
                let label = label(&adapter, charge.policy, &call, &who, &learned);
                let unknown = charge
                    .partition
                    .unknown
                    .map_or_else(String::new, |unknown| {
                        format!(
                            "  ({} of {} {} is unknown)",
                            unknown.partition, unknown.from, unknown.value
                        )
                    });
                let line = format!(
                    "  {:<24} {cost:>4} {:<20} {label}{unknown}",
                    policy.name,
                    policy.unit.as_str()
                );
                writeln!(text, "{}", line.trim_end()).unwrap();
            }
        }
    }
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(snapshots().join("_charges"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!("shipped", text));
}

/// Only the request's body tells a mutation, which costs five points, from a query.
#[test]
fn a_mutation_at_github_costs_five_points() {
    let github = Catalog::default().get("github").unwrap();
    let who = Account {
        credential: "",
        configured: true,
        secret: (0, 0),
    };
    let cost = |body: &str| {
        let call = Call {
            method: &Method::POST,
            path: Some("/graphql"),
            headers: None,
            body: Some(body.as_bytes()),
        };
        let charges = charges(&github, &call, &who, &|_, _, _| None);
        let points = |name: &str| {
            let of = |charge: &&Charge| &*github.policies[charge.policy].name == name;
            charges.iter().find(of).map(|charge| charge.cost)
        };
        assert_eq!(points("graphql"), Some(Cost::Told));
        points("secondary-graphql-points")
    };
    let query = r#"{"query":"query { viewer { login } }"}"#;
    assert_eq!(cost(query), Some(Cost::Known(1)));
    let mutation = r#"{"query":"\nmutation($id: ID!) { addStar(input: {starrableId: $id}) { clientMutationId } }"}"#;
    assert_eq!(cost(mutation), Some(Cost::Known(5)));
}

/// What Toggl's own answers teach. The adapter's pointers are read by nothing else.
#[test]
fn toggl_teaches_the_organizations_of_workspaces() {
    let toggl = Catalog::default().get("toggl").unwrap();
    for (path, body) in [
        ("/api/v9/workspaces/7", r#"{"id":7,"organization_id":9}"#),
        ("/api/v9/workspaces", r#"[{"id":7,"organization_id":9}]"#),
        ("/api/v9/me/workspaces", r#"[{"id":7,"organization_id":9}]"#),
    ] {
        let call = Call {
            method: &Method::GET,
            path: Some(path),
            headers: None,
            body: None,
        };
        assert!(may_teach(&toggl, &call, StatusCode::OK), "{path}");
        let expected = Lesson {
            partition: "organization",
            from: "workspace",
            value: "7".to_owned(),
            learned: "9".to_owned(),
        };
        assert_eq!(
            lessons(&toggl, &call, body.as_bytes()),
            [expected],
            "{path}"
        );
    }
}
