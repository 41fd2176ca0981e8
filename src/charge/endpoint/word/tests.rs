//! What passes for a word: those of known APIs, and few random segments.

use std::path::Path;

use super::is_word;

/// Steele and Vigna's SplitMix64: the same numbers in each run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn segment(&mut self, alphabet: &[u8], length: usize) -> Vec<u8> {
        let letters = (0..length).map(|_| alphabet[self.next() as usize % alphabet.len()]);
        letters.collect()
    }
}

/// The table at the head of the module.
#[test]
fn few_random_segments_pass_for_words() {
    const TRIES: usize = 20_000;
    let lower = b"abcdefghijklmnopqrstuvwxyz".as_slice();
    let upper = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ".as_slice();
    let digits = b"0123456789".as_slice();
    let of = |sets: &[&[u8]]| sets.concat();
    // In thousandths, for lengths of 8, 12, 16 and 24.
    let one_case = [55, 8, 5, 1];
    let mixed = [30, 9, 3, 1];
    let alphabets = [
        ("lower", of(&[lower]), one_case),
        ("upper", of(&[upper]), one_case),
        ("letters", of(&[lower, upper]), mixed),
        ("base32", of(&[upper, b"234567"]), mixed),
        ("lower base32", of(&[lower, b"234567"]), mixed),
        ("base36", of(&[lower, digits]), mixed),
        ("base62", of(&[lower, upper, digits]), mixed),
        ("base64url", of(&[lower, upper, digits, b"-_"]), mixed),
        ("base64", of(&[lower, upper, digits, b"+/"]), mixed),
        ("hex", b"0123456789abcdef".to_vec(), [0; 4]),
        ("HEX", b"0123456789ABCDEF".to_vec(), [0; 4]),
    ];
    let mut random = Random(4);
    for (name, alphabet, most) in alphabets {
        for (length, most) in [8, 12, 16, 24].into_iter().zip(most) {
            let passed = (0..TRIES)
                .filter(|_| is_word(&random.segment(&alphabet, length)))
                .count();
            assert!(passed * 1_000 <= most * TRIES, "{name} {length}: {passed}");
        }
    }
}

/// What stands in these paths and names one thing of many.
fn is_name(segment: &str) -> bool {
    const NAMES: [&str; 8] = [
        "4z7mp4ioxvmh",
        "a00D0000008pQSNIA2",
        "abc123",
        "act_66782684",
        "act_XXX",
        "appXXXXXXXXXXXXXX",
        "bc32cj3kyfet",
        "35436.json",
    ];
    let is_number = segment
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'-');
    is_number || segment.contains(['{', '*', '%', '<']) || NAMES.contains(&segment)
}

/// Every path that an adapter or a case of it names.
fn paths() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut texts = Vec::new();
    let mut folders = vec![root.join("providers"), root.join("snapshots")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let is_text = path
                .extension()
                .is_some_and(|end| end == "toml" || end == "http");
            if path.is_dir() && !path.ends_with("_rejected") {
                folders.push(path);
            } else if is_text {
                texts.push(std::fs::read_to_string(path).unwrap());
            }
        }
    }
    let mut paths = Vec::new();
    for line in texts.iter().flat_map(|text| text.lines()) {
        if let Some(path) = line.strip_prefix("# path: ") {
            paths.push(path.to_owned());
        } else if line.contains("path") && !line.starts_with('#') {
            let quoted = line.split('"').skip(1).step_by(2);
            paths.extend(
                quoted
                    .filter(|text| text.starts_with('/'))
                    .map(str::to_owned),
            );
        }
    }
    paths
}

#[test]
fn words_of_the_catalogue_are_words() {
    let paths = paths();
    assert!(paths.len() > 300, "{}", paths.len());
    let mut others = std::collections::BTreeSet::new();
    for path in &paths {
        let path = path.split('?').next().unwrap();
        for segment in path.split('/').filter(|segment| !segment.is_empty()) {
            if !is_word(segment.as_bytes()) && !is_name(segment) {
                others.insert(segment);
            }
        }
    }
    assert!(others.is_empty(), "{others:?}");
}

/// Of APIs that are not in the catalogue, too.
#[test]
fn words_of_other_apis_are_words() {
    let words = "acceptances access_tokens addAccessConfig advanced_search \
        aggregatedList analyzeIamPolicy api.xro app-manifests authorization_code autocomplete \
        backupSchedules batch_update batchGet branches buckets bulk-delete calendarList channels \
        chat.postMessage check-runs code-scanning codeowners collaborators commits \
        com.atproto.server.createSession content-exclusion credit_notes crossReference databases \
        default-setup delete_all dependency-graph domains downloads external_accounts \
        fine_tuning followers fork generate-notes getAccountsReceivableAgingReport getMe gists \
        gitignore gpg_keys helix hooks i18n installation invoices issue_comments jobs k8s keys \
        labels languages line_items list-all-invoices-v2-archived markdown me \
        memberships messages meter_events milestones notifications oauth2 objects openapi \
        organizations payment_intents payment_methods photos private-apps products projects \
        pull-requests quota rate_limit reactions refunds releases repos requested_reviewers \
        rest restapi s3 SCIM sandboxEnvironments sendMessage settings show_many.json sobjects \
        stargazers statuses subscription_schedules subscriptions tax_ids teams test_helpers \
        threads tickets tokens topics traffic transcriptions transfers tweets UpdateTableObjects \
        users users.list utf8 v1 v1beta1 v2.0 v23.0 v60.0 v2021-02-25 webhook_endpoints webhooks \
        workflows workspaces wp-json xrpc zones README.md Account Merchandise__c _search \
        .well-known SObjects HTMLPage ISSUES";
    let others: Vec<_> = words
        .split_whitespace()
        .filter(|word| !is_word(word.as_bytes()))
        .collect();
    assert!(others.is_empty(), "{others:?}");
}

/// Lower-case letters alone are judged in a shorter way, and alike.
#[test]
fn plain_words_are_judged_as_all_others() {
    let mut random = Random(7);
    let mut words = 0;
    for length in 1..=70 {
        for alphabet in [&b"abcdefghijklmnopqrstuvwxyz"[..], b"abcdef", b"aeinrst"] {
            for _ in 0..200 {
                let segment = random.segment(alphabet, length);
                assert_eq!(
                    is_word(&segment),
                    super::is_any_word(&segment),
                    "{}",
                    String::from_utf8_lossy(&segment)
                );
                words += usize::from(is_word(&segment));
            }
        }
    }
    assert!((1_000..70 * 3 * 200 - 1_000).contains(&words), "{words}");
    for word in super::JARGON {
        assert!(is_word(word.as_bytes()) && super::is_any_word(word.as_bytes()));
    }
}
