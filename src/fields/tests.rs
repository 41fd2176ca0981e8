//! Fields against a plain list of names and values.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

type Model = Vec<(String, Vec<u8>)>;

#[derive(Debug, Clone)]
enum Change {
    Append(&'static str, Vec<u8>),
    Written(&'static str, String),
    Insert(&'static str, Vec<u8>),
    Number(&'static str, u64),
    Remove(&'static str),
    Rename(&'static str, &'static str),
    /// Takes out those whose value has an even length.
    Retain,
    /// Writes the values of a name twice.
    Rewrite(&'static str),
}

fn name() -> impl Strategy<Value = &'static str> {
    select(vec!["a", "b", "ab", "date", "x-long-name", "set-cookie"])
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    vec(prop_oneof![b' '..=b'~', Just(b'\t'), 0x80..=u8::MAX], 0..12)
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => (name(), value()).prop_map(|(name, value)| Change::Append(name, value)),
        1 => (name(), "[a-z\n\u{7f}]{0,4}").prop_map(|(name, text)| Change::Written(name, text)),
        2 => (name(), value()).prop_map(|(name, value)| Change::Insert(name, value)),
        1 => (name(), any::<u64>()).prop_map(|(name, number)| Change::Number(name, number)),
        1 => name().prop_map(Change::Remove),
        1 => (name(), name()).prop_map(|(from, to)| Change::Rename(from, to)),
        1 => Just(Change::Retain),
        1 => name().prop_map(Change::Rewrite),
    ]
}

fn put(model: &mut Model, name: &str, value: Vec<u8>) {
    let Some(first) = model.iter().position(|(other, _)| other == name) else {
        return model.push((name.to_owned(), value));
    };
    let rest = model.split_off(first + 1);
    model[first].1 = value;
    model.extend(rest.into_iter().filter(|(other, _)| other != name));
}

fn apply(change: Change, fields: &mut Fields, model: &mut Model) {
    let header = |value: &[u8]| HeaderValue::from_bytes(value).unwrap();
    match change {
        Change::Append(name, value) => {
            fields.append(HeaderName::from_static(name), header(&value));
            model.push((name.to_owned(), value));
        }
        Change::Written(name, text) => {
            let fits = !text.contains(['\n', '\u{7f}']) && !text.is_empty();
            let name = HeaderName::from_static(name);
            let is_written =
                fields.append_written(&name, |out| out.extend_from_slice(text.as_bytes()));
            assert_eq!(is_written, fits);
            model.extend(fits.then(|| (name.to_string(), text.into_bytes())));
        }
        Change::Insert(name, value) => {
            fields.insert(HeaderName::from_static(name), header(&value));
            put(model, name, value);
        }
        Change::Number(name, number) => {
            fields.insert_number(&HeaderName::from_static(name), number);
            put(model, name, number.to_string().into_bytes());
        }
        Change::Remove(name) => {
            fields.remove(name);
            model.retain(|(other, _)| other != name);
        }
        Change::Rename(from, to) => {
            fields.rename(&HeaderName::from_static(from), &HeaderName::from_static(to));
            for (name, _) in model.iter_mut().filter(|(name, _)| name == from) {
                to.clone_into(name);
            }
        }
        Change::Retain => {
            fields.retain(|_, value| value.as_bytes().len() % 2 == 1);
            model.retain(|(_, value)| value.len() % 2 == 1);
        }
        Change::Rewrite(name) => {
            fields.rewrite(|other, value| {
                (other == name.as_bytes()).then(|| value.as_bytes().repeat(2))
            });
            for (_, value) in model.iter_mut().filter(|(other, _)| other == name) {
                *value = value.repeat(2);
            }
        }
    }
}

/// A head as people write it: name, what stands between, value, and the end of the line.
fn head() -> impl Strategy<Value = Vec<(&'static str, &'static str, Vec<u8>, &'static str)>> {
    let name = select(vec!["A", "b", "Date", "X-LONG-name", "set-cookie"]);
    let between = prop_oneof![4 => Just(": "), 1 => select(vec![":", ":  ", ":\t"])];
    let inner = vec(prop_oneof![b'!'..=b'~', 0x80..=u8::MAX], 0..6);
    let end = prop_oneof![4 => Just("\r\n"), 1 => select(vec!["\n", " \r\n", "\t \n"])];
    vec((name, between, inner, end), 0..8)
}

proptest! {
    /// However it is written, and whatever is before and behind it.
    #[test]
    fn parsed_fields_are_those_that_were_written(head in head(), body in value()) {
        let lines = head.iter().map(|(name, between, value, end)| {
            [name.as_bytes(), between.as_bytes(), value, end.as_bytes()].concat()
        });
        let lines = lines.collect::<Vec<_>>().concat();
        let message = [b"HTTP/1.1 200 OK\r\n", &*lines, b"\r\n", &*body].concat();
        let mut space = [httparse::EMPTY_HEADER; 8];
        let mut parsed = httparse::Response::new(&mut space);
        prop_assert!(parsed.parse(&message).unwrap().is_complete());
        let mut fields = Fields::parsed(&message, parsed.headers, (1, 10)).unwrap();
        let model = head.iter().map(|(name, _, value, _)| (name.to_ascii_lowercase(), value.clone()));
        let mut model: Model = model.collect();
        let change = Change::Append("b", b"more".to_vec());
        apply(change, &mut fields, &mut model);
        let all = fields.iter().map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()));
        prop_assert_eq!(all.collect::<Model>(), model.clone());
        let written = model.iter().map(|(name, value)| [name.as_bytes(), b": ", value, b"\r\n"].concat());
        let mut out = Vec::new();
        fields.write_to(&mut out, |_, _| true);
        prop_assert_eq!(out, written.collect::<Vec<_>>().concat());
    }

    #[test]
    fn fields_are_a_list_of_lines(changes in vec(change(), 0..24)) {
        let (mut fields, mut model) = (Fields::new(), Model::new());
        for change in changes {
            apply(change, &mut fields, &mut model);
            let all = fields.iter().map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()));
            prop_assert_eq!(all.collect::<Model>(), model.clone());
        }
        prop_assert_eq!(fields.len(), model.len());
        prop_assert_eq!(fields.is_empty(), model.is_empty());
        for name in ["a", "b", "ab", "date", "x-long-name", "set-cookie", "none", ""] {
            let of_name = model.iter().filter(|(other, _)| other == name);
            let of_name: Vec<&[u8]> = of_name.map(|(_, value)| &**value).collect();
            let got: Vec<&[u8]> = fields.get_all(name).map(Value::as_bytes).collect();
            prop_assert_eq!(&got, &of_name);
            prop_assert_eq!(fields.get(name).map(Value::as_bytes), of_name.first().copied());
            prop_assert_eq!(fields.contains_key(name), !of_name.is_empty());
        }
        let written = |keeps: &dyn Fn(&[u8]) -> bool| {
            let lines = model.iter().filter(|(name, _)| keeps(name.as_bytes()));
            let lines = lines.map(|(name, value)| [name.as_bytes(), b": ", value, b"\r\n"].concat());
            lines.collect::<Vec<_>>().concat()
        };
        let mut out = b"first\r\n".to_vec();
        fields.write_to(&mut out, |_, _| true);
        let all = written(&|_| true);
        prop_assert_eq!(&out[7..], &*all);
        prop_assert_eq!(fields.written_length(), all.len());
        out.clear();
        fields.write_to(&mut out, |name, _| name != b"a");
        prop_assert_eq!(out, written(&|name| name != b"a"));
        // As a map it is the same for each name.
        let map = fields.to_map();
        prop_assert_eq!(map.len(), model.len());
        let again = Fields::from(&map);
        for name in map.keys() {
            prop_assert!(again.get_all(name).eq(fields.get_all(name)));
        }
        prop_assert_eq!(&fields.clone(), &fields);
    }
}

#[test]
fn what_is_sensitive_stays_so_and_is_not_shown() {
    let mut secret = HeaderValue::from_static("secret");
    secret.set_sensitive(true);
    let mut fields = Fields::new();
    fields.append(http::header::AUTHORIZATION, &secret);
    fields.append(http::header::HOST, HeaderValue::from_static("h"));
    fields.rename(&http::header::AUTHORIZATION, &http::header::COOKIE);
    fields.rewrite(|_, value| Some(value.as_bytes().to_vec()));
    assert_eq!(
        format!("{fields:?}"),
        "{\"cookie\": Sensitive, \"host\": \"h\"}"
    );
    let map = fields.to_map();
    assert!(map[http::header::COOKIE].is_sensitive() && !map[http::header::HOST].is_sensitive());
    assert!(Fields::from(map).get("cookie").unwrap().is_sensitive());
}

#[test]
fn what_is_no_name_or_no_text_is_none() {
    let long = "a".repeat(usize::from(u16::MAX) + 1);
    for name in ["", &long] {
        let field = httparse::Header { name, value: b"" };
        assert_eq!(Fields::parsed(b"", &[field], (0, 0)), Err(Unwritable));
    }
    let name = HeaderName::from_static("a");
    let mut fields = Fields::new();
    fields.append(&name, HeaderValue::from_bytes(b"caf\xe9").unwrap());
    assert_eq!(fields.get("a").unwrap().text(), None);
    let unfit = b"a\nb".to_vec();
    fields.rewrite(|_, _| Some(unfit.clone()));
    assert_eq!(fields.get("a").unwrap().as_bytes(), b"caf\xe9");
}
