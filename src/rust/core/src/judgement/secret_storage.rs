//! Secret storage as the account data of a user shows it: its keys, its secrets, and which key a
//! recovery key or passphrase opens.
//!
//! Specification: client-server API, "Secrets". A server may have left out, put back or made up any
//! of it; only what opens under a key that the server does not have is its owner's.

use std::{
    collections::{BTreeMap, BTreeSet},
    str,
};

use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::unique_map::read_object;
use crate::{
    error::{Error, Kind, OrFail, Result},
    primitives::{
        canonical_json::{Json, Object},
        keys::encode_base64,
        passphrase::Passphrase,
        recovery_key,
        secret_storage::StorageKey,
    },
};

/// The type of the account data that names the default key.
pub const DEFAULT_KEY: &str = "m.secret_storage.default_key";
/// What the types of the account data begin with that describe keys.
const KEY: &str = "m.secret_storage.key.";
/// How many keys are tried beside the default one: each may cost a derivation from a passphrase.
const MOST_KEYS: usize = 8;
/// The type of the account data that says whether keys are to be backed up (MSC4287).
const BACKUP_WANTED: &str = "m.key_backup";
/// Element's older one, with `disabled`.
const BACKUP_DECLINED: &str = "m.org.matrix.custom.backup_disabled";

/// The type of the account data that describes a key.
pub fn key_type(key_id: &str) -> String {
    format!("{KEY}{key_id}")
}

/// What opens a key of secret storage.
#[derive(Clone, Copy)]
pub enum StorageSecret<'a> {
    /// The key, as it was written down.
    RecoveryKey(&'a str),
    /// What the key is derived from.
    Passphrase(&'a Passphrase),
}

/// A description of a key, as people see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyInfo {
    /// Its id.
    pub key_id: String,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// It is the default key.
    pub default: bool,
    /// A passphrase opens it.
    pub from_passphrase: bool,
}

/// The account data of a user.
pub struct SecretStorage {
    contents: BTreeMap<String, Object>,
}

#[derive(Deserialize)]
struct Sync<'a> {
    #[serde(borrow)]
    account_data: Option<Events<'a>>,
}

#[derive(Deserialize)]
struct Events<'a> {
    #[serde(borrow)]
    events: Option<Vec<&'a RawValue>>,
}

impl SecretStorage {
    /// Reads the response to an initial sync. An entry that is no event is left out.
    ///
    /// # Errors
    /// [`Kind::Answer`] when this is no such response.
    pub fn read(sync: &str) -> Result<Self> {
        let sync: Sync<'_> =
            read_object(sync).or_fail(Kind::Answer, "The account data cannot be read")?;
        let events = sync.account_data.and_then(|data| data.events).unwrap_or_default();
        let entry = |event: &RawValue| {
            let mut event = Json::parse_object(event.get()).ok()?;
            match (event.remove("type")?, event.remove("content")?) {
                (Json::String(event_type), Json::Object(content)) => Some((event_type, content)),
                _ => None,
            }
        };
        Ok(Self { contents: events.into_iter().filter_map(entry).collect() })
    }

    /// The content of the account data of a type; an empty one stands for none.
    pub fn content(&self, event_type: &str) -> Option<&Object> {
        self.contents.get(event_type).filter(|content| !content.is_empty())
    }

    /// Whether our user wants keys to be backed up; none where nothing is said that can be understood.
    pub fn backup_wanted(&self) -> Option<bool> {
        let flag = |event_type, name| match self.content(event_type)?.get(name)? {
            Json::Bool(flag) => Some(*flag),
            _ => None,
        };
        let wanted = flag(BACKUP_WANTED, "enabled");
        let declined = flag(BACKUP_DECLINED, "disabled");
        // Some clients write only one of them. A user who declined must not find their keys backed
        // up.
        if declined == Some(true) { Some(false) } else { wanted.or(declined.map(|no| !no)) }
    }

    /// The digest of what is stored as the secret `name`: another one is another secret.
    pub fn digest(&self, name: &str) -> Option<String> {
        let text = Json::Object(self.content(name)?.clone()).text().ok()?;
        Some(encode_base64(&Sha256::digest(text)))
    }

    /// The keys that a secret is encrypted with and that are described, as people know them.
    pub fn keys_of(&self, name: &str) -> Vec<String> {
        let copies = self.content(name).and_then(|content| content.get("encrypted"));
        let copies = copies.and_then(Json::as_object).into_iter().flatten();
        let described = copies.filter_map(|(key_id, copy)| {
            copy.as_object()?;
            let described = self.description(key_id)?;
            Some(match described.get("name").and_then(Json::as_str) {
                Some(name) if !name.is_empty() => format!("{key_id} ({name})"),
                _ => key_id.clone(),
            })
        });
        described.collect()
    }

    /// The id of the default key.
    pub fn default_key(&self) -> Option<&str> {
        self.content(DEFAULT_KEY)?.get("key")?.as_str()
    }

    /// The description of a key. One that was taken back has no algorithm.
    pub fn description(&self, key_id: &str) -> Option<&Object> {
        self.content(&key_type(key_id)).filter(|described| described.contains_key("algorithm"))
    }

    /// The keys that are described.
    pub fn keys(&self) -> Vec<KeyInfo> {
        let ids = self.contents.keys().filter_map(|event_type| event_type.strip_prefix(KEY));
        let info = |key_id: &str| {
            let description = self.description(key_id)?;
            Some(KeyInfo {
                key_id: key_id.to_owned(),
                name: description.get("name").and_then(Json::as_str).map(str::to_owned),
                default: self.default_key() == Some(key_id),
                from_passphrase: description.contains_key("passphrase"),
            })
        };
        ids.filter_map(info).collect()
    }

    /// The secrets: their names, and what they are encrypted to, by the ids of keys.
    pub fn secrets(&self) -> impl Iterator<Item = (&str, &Object)> {
        self.contents.iter().filter_map(|(name, content)| {
            Some((name.as_str(), content.get("encrypted")?.as_object()?))
        })
    }

    /// The names of the secrets that are encrypted with a key.
    pub fn encrypted_with(&self, key_id: &str) -> Vec<&str> {
        let holds = |(name, copies): (_, &Object)| copies.get(key_id)?.as_object().map(|_| name);
        self.secrets().filter_map(holds).collect()
    }

    /// The key that `secret` is: the default key, or another one that secrets are encrypted with.
    ///
    /// # Errors
    /// [`Kind::RecoveryKey`] when it is mistyped, or none of these; [`Kind::SecretStorage`] when
    /// there is no default key, or one that cannot be used.
    pub fn open(&self, secret: StorageSecret<'_>) -> Result<OpenStorage<'_>> {
        let default = self.default_key().ok_or_else(none)?;
        let first = self.open_with(default, secret);
        if first.as_ref().is_ok_and(|opened| opened.proven) {
            return first;
        }
        let named: BTreeSet<&str> =
            self.secrets().flat_map(|(_, copies)| copies.keys()).map(String::as_str).collect();
        let others = named.into_iter().filter(|id| *id != default);
        let others = others.filter(|id| self.description(id).is_some()).take(MOST_KEYS);
        let mut opened = others.filter_map(|id| self.open_with(id, secret).ok());
        opened.find(|opened| opened.proven).map_or(first, Ok)
    }

    /// The default key, to encrypt with.
    ///
    /// # Errors
    /// As [`Self::open`]. A passphrase whose key nothing proves is refused: its iterations are the
    /// server's word, and what is encrypted after one iteration tells the passphrase.
    pub fn open_default(&self, secret: StorageSecret<'_>) -> Result<OpenStorage<'_>> {
        let opened = self.open(secret)?;
        if Some(opened.key_id.as_str()) != self.default_key() {
            return Err(Error::new(
                Kind::RecoveryKey,
                "This opens secret storage, but is not its default key, which is needed to write.",
            ));
        }
        if !opened.proven && matches!(secret, StorageSecret::Passphrase(_)) {
            return Err(Error::new(
                Kind::SecretStorage,
                "Nothing in secret storage shows that this is its passphrase. \
                 Write with the recovery key.",
            ));
        }
        Ok(opened)
    }

    /// A secret; none where there is none of this name.
    ///
    /// # Errors
    /// As [`Self::open`], and [`Kind::SecretStorage`] when it does not open with this key.
    pub fn fetch(
        &self,
        name: &str,
        secret: StorageSecret<'_>,
    ) -> Result<Option<Zeroizing<String>>> {
        if self.content(name).is_none() {
            return Ok(None);
        }
        self.open(secret)?.needed(name).map(Some)
    }

    fn open_with(&self, key_id: &str, secret: StorageSecret<'_>) -> Result<OpenStorage<'_>> {
        let description = self.description(key_id).ok_or_else(|| {
            refused("Secret storage names a default key and does not describe it.")
        })?;
        let key = match secret {
            StorageSecret::RecoveryKey(text) => StorageKey::from_bytes(recovery_key::decode(text)?),
            StorageSecret::Passphrase(text) => StorageKey::from_passphrase(text, description)?,
        };
        let checked = key.check(description)?;
        let mut opened = self.with_key(key_id, key);
        opened.proven = checked || opened.opens_some();
        Ok(opened)
    }

    /// Secret storage with a key of it that is known.
    pub fn with_key(&self, key_id: &str, key: StorageKey) -> OpenStorage<'_> {
        OpenStorage { storage: self, key_id: key_id.to_owned(), key, proven: false }
    }
}

/// Secret storage with one of its keys.
pub struct OpenStorage<'a> {
    storage: &'a SecretStorage,
    /// The id of the key.
    pub key_id: String,
    /// The key.
    pub key: StorageKey,
    /// The check in its description holds, or a secret opens with it. A description may be without
    /// a check, and then every key has to be taken for the right one.
    pub proven: bool,
}

impl OpenStorage<'_> {
    /// A secret; none where nothing of this name is encrypted with this key.
    ///
    /// # Errors
    /// [`Kind::SecretStorage`] when it does not open, or is not text.
    pub fn secret(&self, name: &str) -> Result<Option<Zeroizing<String>>> {
        let copies = self.storage.content(name).and_then(|content| content.get("encrypted"));
        let copy = copies.and_then(Json::as_object).and_then(|copies| copies.get(&self.key_id));
        let Some(copy) = copy.and_then(Json::as_object) else { return Ok(None) };
        let bytes = self.key.decrypt(name, copy)?;
        let text = str::from_utf8(&bytes);
        let text = text.map_err(|_| refused(format!("The secret {name} is not text.")))?;
        Ok(Some(Zeroizing::new(text.to_owned())))
    }

    /// A secret that must be there.
    ///
    /// # Errors
    /// As [`Self::secret`], and [`Kind::SecretStorage`] when it is not there, which names the keys that
    /// open it.
    pub fn needed(&self, name: &str) -> Result<Zeroizing<String>> {
        if let Some(text) = self.secret(name)? {
            return Ok(text);
        }
        let others = self.storage.keys_of(name);
        Err(refused(match others.as_slice() {
            [] => format!("Secret storage does not hold {name}."),
            others => format!(
                "{name} is in secret storage under another key: {}. Give the recovery key or \
                 passphrase of that key.",
                others.join(" or ")
            ),
        }))
    }

    /// The content of account data that holds `value` as the secret `name`, as text.
    ///
    /// # Errors
    /// [`Kind::Internal`] when the system has no randomness.
    pub fn seal(&self, name: &str, value: &str) -> Result<String> {
        let copy = self.key.encrypt(name, value.as_bytes())?;
        let copies = Object::from([(self.key_id.clone(), Json::Object(copy))]);
        Json::Object(Object::from([("encrypted".into(), Json::Object(copies))])).text()
    }

    fn opens_some(&self) -> bool {
        let names = self.storage.encrypted_with(&self.key_id);
        names.into_iter().any(|name| self.secret(name).is_ok())
    }
}

fn refused(message: impl Into<String>) -> Error {
    Error::new(Kind::SecretStorage, message)
}

fn none() -> Error {
    refused("The account has no secret storage. mx_crypto_setup() makes it.")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALGORITHM: &str = r#"{"algorithm":"m.secret_storage.v1.aes-hmac-sha2"}"#;

    fn key(byte: u8) -> StorageKey {
        StorageKey::from_bytes(Zeroizing::new([byte; 32]))
    }

    fn storage(entries: &[(&str, String)]) -> SecretStorage {
        let event = |(kind, content): &(&str, String)| {
            format!(r#"{{"type":"{kind}","content":{content}}}"#)
        };
        let events: Vec<String> = entries.iter().map(event).collect();
        let sync = format!(r#"{{"account_data":{{"events":[{}]}}}}"#, events.join(","));
        SecretStorage::read(&sync).unwrap()
    }

    fn described(byte: u8) -> String {
        Json::Object(key(byte).describe().unwrap()).text().unwrap()
    }

    fn encrypted(name: &str, byte: u8, key_id: &str) -> String {
        let copy = Json::Object(key(byte).encrypt(name, b"text").unwrap()).text().unwrap();
        format!(r#"{{"encrypted":{{"{key_id}":{copy}}}}}"#)
    }

    fn default_key(key_id: &str) -> (&'static str, String) {
        (DEFAULT_KEY, format!(r#"{{"key":"{key_id}"}}"#))
    }

    fn opened(storage: &SecretStorage, byte: u8) -> Result<String, Kind> {
        let text = recovery_key::encode(&[byte; 32]);
        let opened = storage.open(StorageSecret::RecoveryKey(&text));
        opened.map(|opened| opened.key_id).map_err(|error| error.kind)
    }

    #[test]
    fn the_key_is_found_among_several() {
        let several = storage(&[
            default_key("a"),
            ("m.secret_storage.key.a", described(1)),
            ("m.secret_storage.key.b", described(2)),
            ("m.secret_storage.key.c", described(3)),
            ("x", encrypted("x", 2, "b")),
        ]);
        assert_eq!(opened(&several, 1).as_deref(), Ok("a"));
        assert_eq!(opened(&several, 2).as_deref(), Ok("b"));
        // No secret is encrypted with it.
        assert_eq!(opened(&several, 3), Err(Kind::RecoveryKey));
        assert_eq!(opened(&several, 4), Err(Kind::RecoveryKey));
        let typo = several.open(StorageSecret::RecoveryKey("EsTc")).err().unwrap();
        assert!(typo.message.contains("48 characters"), "{}", typo.message);
    }

    #[test]
    fn without_a_check_the_secrets_tell_which_key_it_is() {
        let unchecked = storage(&[
            default_key("a"),
            ("m.secret_storage.key.a", ALGORITHM.into()),
            ("m.secret_storage.key.b", ALGORITHM.into()),
            ("x", encrypted("x", 2, "b")),
        ]);
        assert_eq!(opened(&unchecked, 2).as_deref(), Ok("b"));
        // Nothing says that it is wrong.
        assert_eq!(opened(&unchecked, 1).as_deref(), Ok("a"));
    }

    #[test]
    fn keys_without_end_are_not_tried() {
        let ids: Vec<String> = (10..=10 + MOST_KEYS).map(|n| format!("k{n}")).collect();
        let types: Vec<String> = ids.iter().map(|id| key_type(id)).collect();
        let mut entries = vec![default_key("a"), ("m.secret_storage.key.a", described(1))];
        entries.extend(types.iter().map(|kind| (kind.as_str(), described(2))));
        let copies: Vec<String> = ids.iter().map(|id| format!(r#""{id}":{{}}"#)).collect();
        let content = format!(r#"{{"encrypted":{{{}}}}}"#, copies.join(","));
        entries.push(("x", content));
        assert_eq!(opened(&storage(&entries), 2).as_deref(), Ok("k10"));
        // The last one is one too many.
        let last = entries.len() - 2;
        for entry in &mut entries[2..last] {
            entry.1 = described(1);
        }
        assert_eq!(opened(&storage(&entries), 2), Err(Kind::RecoveryKey));
    }

    #[test]
    fn only_the_default_key_writes_and_a_passphrase_must_be_proven() {
        let how = r#""passphrase":{"algorithm":"m.pbkdf2","salt":"x","iterations":1}"#;
        let weak = ALGORITHM.replace('}', &format!(",{how}}}"));
        let unproven = storage(&[default_key("a"), ("m.secret_storage.key.a", weak)]);
        let passphrase = Passphrase::new("the eagle lands");
        assert!(unproven.open(StorageSecret::Passphrase(&passphrase)).is_ok());
        let refused = unproven
            .open_default(StorageSecret::Passphrase(&passphrase))
            .err()
            .map(|error| error.kind);
        assert_eq!(refused, Some(Kind::SecretStorage));
        let second = storage(&[
            default_key("a"),
            ("m.secret_storage.key.a", described(1)),
            ("m.secret_storage.key.b", described(2)),
            ("x", encrypted("x", 2, "b")),
        ]);
        let text = recovery_key::encode(&[2; 32]);
        let refused = second.open_default(StorageSecret::RecoveryKey(&text)).err();
        assert_eq!(refused.map(|error| error.kind), Some(Kind::RecoveryKey));
    }

    #[test]
    fn odd_account_data_is_left_out_or_refused() {
        for bad in ["", "5", "[]", r#"{"account_data":5}"#, r#"{"account_data":{"events":{}}}"#] {
            let refused = SecretStorage::read(bad).err().map(|error| error.kind);
            assert_eq!(refused, Some(Kind::Answer), "{bad}");
        }
        let odd = r#"{"account_data":{"events":[5,{"type":1,"content":{}},
            {"type":"x","content":{"a":1,"a":2}},{"type":"y","content":{"a":1}}]}}"#;
        let odd = SecretStorage::read(odd).unwrap();
        assert!(odd.content("x").is_none() && odd.content("y").is_some());
        assert!(SecretStorage::read("{}").unwrap().default_key().is_none());
        assert_eq!(opened(&odd, 1), Err(Kind::SecretStorage));
        let copy = ("x", r#"{"encrypted":{"a":5}}"#.to_owned());
        let malformed =
            storage(&[default_key("a"), ("m.secret_storage.key.a", described(1)), copy]);
        let opened = malformed.with_key("a", key(1));
        assert!(opened.secret("x").unwrap().is_none());
        assert!(malformed.encrypted_with("a").is_empty());
    }

    #[test]
    fn a_backup_that_was_declined_under_either_name_is_not_wanted() {
        let wanted = |new: &str, old: &str| {
            let entries = [(BACKUP_WANTED, new.to_owned()), (BACKUP_DECLINED, old.to_owned())];
            storage(&entries).backup_wanted()
        };
        let (yes, no) = (r#"{"enabled":true}"#, r#"{"enabled":false}"#);
        let (declined, kept) = (r#"{"disabled":true}"#, r#"{"disabled":false}"#);
        assert_eq!(wanted("{}", "{}"), None);
        assert_eq!(wanted(yes, "{}"), Some(true));
        assert_eq!(wanted("{}", kept), Some(true));
        for (new, old) in
            [(no, "{}"), ("{}", declined), (yes, declined), (no, kept), (no, declined)]
        {
            assert_eq!(wanted(new, old), Some(false), "{new} {old}");
        }
        assert_eq!(wanted(r#"{"enabled":1}"#, r#"{"disabled":"true"}"#), None);
    }

    #[test]
    fn what_another_key_opens_is_named_with_it() {
        let named = described(2).replacen('{', r#"{"name":"Old phone","#, 1);
        let several = storage(&[
            default_key("a"),
            ("m.secret_storage.key.a", described(1)),
            ("m.secret_storage.key.b", named),
            ("x", encrypted("x", 1, "a")),
            ("y", encrypted("y", 2, "b")),
        ]);
        let fetch = |name: &str, byte: u8| {
            let text = recovery_key::encode(&[byte; 32]);
            several.fetch(name, StorageSecret::RecoveryKey(&text))
        };
        assert_eq!(fetch("x", 1).unwrap().unwrap().as_str(), "text");
        assert_eq!(fetch("y", 2).unwrap().unwrap().as_str(), "text");
        assert!(fetch("y", 1).unwrap_err().message.contains("b (Old phone)"));
        assert!(fetch("x", 2).unwrap_err().message.contains(": a."));
        assert!(fetch("z", 1).unwrap().is_none());
    }
}
