//! Devices of other users: what `/keys/query` and `/keys/claim` tell of them.

use std::{fs, path::Path};

use serde_json::{Value, json};
use vodozemac::olm::Account;

use crate::wire;

/// W7 verifies this many of them, and W3 shares with so many.
pub(crate) const DEVICES: usize = 10_000;
pub(crate) const SHARED_WITH: usize = 1_000;

pub(crate) fn names(i: usize) -> (String, String) {
    (format!("@user{i:05}:demo"), format!("DEVICE{i:05}"))
}

/// Writes `device_keys.jsonl` and `one_time_keys.jsonl` with so many lines, and the two answers made
/// of their beginning.
pub(crate) fn write(dir: &Path, size: usize) {
    let (mut device_keys, mut one_time_keys) = (Vec::new(), Vec::new());
    let (mut query, mut claim) = (json!({}), json!({}));
    for i in 0..size {
        let (user_id, device_id) = names(i);
        let mut account = Account::new();
        let keys = wire::device_keys(&account, &user_id, &device_id);
        account.generate_one_time_keys(1);
        let (key_id, key) = account.one_time_keys().into_iter().next().expect("a key");
        let key = wire::sign(json!({"key": key.to_base64()}), &account, &user_id, &device_id);
        let key = json!({format!("signed_curve25519:{}", key_id.to_base64()): key});
        if i < SHARED_WITH {
            query[&user_id] = json!({&device_id: &keys});
            claim[&user_id] = json!({&device_id: &key});
        }
        one_time_keys.push(key);
        device_keys.push(keys);
    }
    write_lines(&dir.join("device_keys.jsonl"), &device_keys);
    write_lines(&dir.join("one_time_keys.jsonl"), &one_time_keys);
    let write = |name: &str, answer: Value| {
        fs::write(dir.join(name), answer.to_string()).expect("written");
    };
    write("query.json", json!({"device_keys": query, "failures": {}}));
    write("claim.json", json!({"one_time_keys": claim, "failures": {}}));
}

fn write_lines(path: &Path, rows: &[Value]) {
    let lines: String = rows.iter().map(|row| format!("{row}\n")).collect();
    fs::write(path, lines).expect("written");
}
