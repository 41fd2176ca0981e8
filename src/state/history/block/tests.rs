//! What is written is what is read, and damage is told.

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::*;

fn values() -> impl Strategy<Value = Values> {
    let sum = prop_oneof![
        6 => Just(0),
        3 => 0..1_000_u64,
        1 => any::<u64>(),
        1 => (0..64_u32).prop_map(|bits| 1 << bits),
    ];
    prop::array::uniform16(sum).prop_map(Values)
}

fn rows() -> impl Strategy<Value = Vec<(i64, Values)>> {
    let number = prop_oneof![4 => 1..200_i64, 1 => 1..i64::MAX];
    btree_map(number, values(), 0..16).prop_map(|rows| rows.into_iter().collect())
}

fn encode(rows: &[(i64, Values)]) -> Vec<u8> {
    merge(None, rows).unwrap()
}

fn decode(data: &[u8]) -> Result<Vec<(i64, Values)>, Damaged> {
    let block = Block::open(data)?;
    let rows = block.rows().map(|row| Ok((row?.0, row?.1.values())));
    rows.collect()
}

proptest! {
    #[test]
    fn rows_come_back(rows in rows()) {
        let data = encode(&rows);
        prop_assert_eq!(decode(&data), Ok(rows));
    }

    #[test]
    fn what_is_merged_is_the_sum(old in rows(), new in rows()) {
        let merged = merge(Some(&encode(&old)), &new).unwrap();
        let mut expected: std::collections::BTreeMap<i64, Values> = old.into_iter().collect();
        for (number, values) in new {
            expected.entry(number).or_default().add(&values);
        }
        prop_assert_eq!(decode(&merged), Ok(expected.into_iter().collect()));
    }

    #[test]
    fn a_part_of_a_block_is_none(rows in rows(), end in any::<prop::sample::Index>()) {
        let data = encode(&rows);
        prop_assert_eq!(decode(&data[..end.index(data.len())]), Err(Damaged));
    }

    #[test]
    fn damage_is_told_or_gives_rows_and_never_panics(rows in rows(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut data = encode(&rows);
        let at = at.index(data.len());
        data[at] = byte;
        let _whatever = decode(&data);
        let _whatever = merge(Some(&data), &rows);
    }

    #[test]
    fn any_bytes_are_a_block_or_none(mut data in vec(any::<u8>(), 0..200)) {
        let _whatever = decode(&data);
        if let Some(version) = data.first_mut() {
            *version = VERSION;
        }
        if let Ok(rows) = decode(&data) {
            prop_assert!(rows.is_sorted_by(|(a, _), (b, _)| a < b));
        }
    }
}

#[test]
fn a_block_of_another_version_is_none() {
    let mut data = encode(&[(1, Values::default())]);
    data[0] = VERSION + 1;
    assert_eq!(decode(&data), Err(Damaged));
}

#[test]
fn most_sums_take_a_byte_or_two() {
    let row = Values::from(&Sums {
        calls: 17,
        duration_us: 1_400_000,
        upstream_us: 1_300_000,
        bytes_out: 34_000,
        ..Sums::default()
    });
    let rows: Vec<_> = (1..=1_000).map(|number| (number, row)).collect();
    // Step, shape, and what the sums take: nothing else of each row.
    assert!(encode(&rows).len() <= 1_000 * (2 + 1 + 3 + 3 + 3) + 32);
}
