//! The one-time and fallback keys of a device.

use std::collections::{BTreeMap, VecDeque};

use serde_json::Value;

use crate::error::Error;
use crate::json::Object;

/// Keys by algorithm; one-time keys in the order in which they were uploaded.
#[derive(Default)]
pub(crate) struct OneTimeKeys {
    unclaimed: BTreeMap<String, VecDeque<(String, Value)>>,
    fallback: BTreeMap<String, Fallback>,
}

struct Fallback {
    id: String,
    key: Value,
    used: bool,
}

impl OneTimeKeys {
    /// Refuses keys whose ids are malformed, or in use for other keys.
    pub(crate) fn check(&self, keys: &Object) -> Result<(), Error> {
        for (id, key) in keys {
            let algorithm = algorithm(id)?;
            let held = self.unclaimed.get(algorithm).into_iter().flatten();
            if let Some((_, old)) =
                held.into_iter().find(|(held, old)| held == id && !same(old, key))
            {
                let error =
                    format!("One time key {id} already exists. Old key: {old}; new key: {key}");
                return Err(Error::new(400, "M_UNKNOWN", error));
            }
        }
        Ok(())
    }

    pub(crate) fn add(&mut self, keys: Object) -> Result<(), Error> {
        for (id, key) in keys {
            let held = self.unclaimed.entry(algorithm(&id)?.to_owned()).or_default();
            if !held.iter().any(|(held, _)| *held == id) {
                held.push_back((id, key));
            }
        }
        Ok(())
    }

    /// Replaces fallback keys; the same key again stays used if it was.
    pub(crate) fn set_fallback(&mut self, keys: Object) -> Result<(), Error> {
        for (id, key) in keys {
            let algorithm = algorithm(&id)?.to_owned();
            let current = self.fallback.get(&algorithm);
            if current.is_none_or(|current| current.id != id || current.key != key) {
                self.fallback.insert(algorithm, Fallback { id, key, used: false });
            }
        }
        Ok(())
    }

    /// Gives away the oldest one-time key, or else the fallback key, with its id.
    pub(crate) fn claim(&mut self, algorithm: &str) -> Option<(String, Value)> {
        let oldest = self.unclaimed.get_mut(algorithm).and_then(VecDeque::pop_front);
        oldest.or_else(|| {
            let fallback = self.fallback.get_mut(algorithm)?;
            fallback.used = true;
            Some((fallback.id.clone(), fallback.key.clone()))
        })
    }

    /// How many one-time keys are left, without the algorithms of which there are none.
    pub(crate) fn counts(&self) -> BTreeMap<&str, usize> {
        let counts =
            self.unclaimed.iter().map(|(algorithm, held)| (algorithm.as_str(), held.len()));
        counts.filter(|(_, count)| *count > 0).collect()
    }

    pub(crate) fn unused_fallback_types(&self) -> Vec<&str> {
        let unused = self.fallback.iter().filter(|(_, fallback)| !fallback.used);
        unused.map(|(algorithm, _)| algorithm.as_str()).collect()
    }
}

/// The algorithm of a key id like `signed_curve25519:AAAAAQ`.
pub(crate) fn algorithm(id: &str) -> Result<&str, Error> {
    let parts =
        id.split_once(':').filter(|(algorithm, name)| !algorithm.is_empty() && !name.is_empty());
    let invalid = || Error::invalid_param(format!("Invalid key id {id}"));
    parts.map(|(algorithm, _)| algorithm).ok_or_else(invalid)
}

/// Whether two uploads are of one key. A client may have signed it again.
fn same(old: &Value, new: &Value) -> bool {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            let unsigned = |key: &Object| {
                let mut key = key.clone();
                key.remove("signatures");
                key
            };
            unsigned(old) == unsigned(new)
        }
        _ => old == new,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(value: Value) -> Object {
        value.as_object().cloned().unwrap()
    }

    #[test]
    fn keys_are_claimed_in_order_of_upload_then_the_fallback() {
        let mut keys = OneTimeKeys::default();
        keys.add(object(json!({"a:2": 2}))).unwrap();
        keys.add(object(json!({"a:1": 1, "b:1": 1}))).unwrap();
        keys.set_fallback(object(json!({"a:f": "f"}))).unwrap();
        assert_eq!(keys.counts(), BTreeMap::from([("a", 2), ("b", 1)]));
        let claimed: Vec<String> =
            (0..4).filter_map(|_| keys.claim("a")).map(|key| key.0).collect();
        assert_eq!(claimed, ["a:2", "a:1", "a:f", "a:f"]);
        assert_eq!(keys.counts(), BTreeMap::from([("b", 1)]));
        assert!(keys.unused_fallback_types().is_empty());
        assert_eq!(keys.claim("c"), None);
    }

    #[test]
    fn a_fallback_counts_as_new_only_when_it_is() {
        let mut keys = OneTimeKeys::default();
        keys.set_fallback(object(json!({"a:f": "f"}))).unwrap();
        keys.claim("a");
        keys.set_fallback(object(json!({"a:f": "f"}))).unwrap();
        assert!(keys.unused_fallback_types().is_empty());
        keys.set_fallback(object(json!({"a:g": "g"}))).unwrap();
        assert_eq!(keys.unused_fallback_types(), ["a"]);
    }

    #[test]
    fn a_key_may_be_signed_anew_but_not_changed() {
        let mut keys = OneTimeKeys::default();
        keys.add(object(json!({"a:1": {"key": "x", "signatures": {"s": 1}}}))).unwrap();
        assert!(keys.check(&object(json!({"a:1": {"key": "x", "signatures": {}}}))).is_ok());
        assert!(keys.check(&object(json!({"a:1": {"key": "y"}}))).is_err());
        assert!(keys.check(&object(json!({"a1": {}}))).is_err());
    }
}
