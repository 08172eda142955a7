//! Secret storage: secrets are put there, and its key is changed.
//!
//! Nothing is written before the cross-signing keys in it were compared with those that the server
//! returns: what is not of our identity must not be encrypted again as if it were.

use zeroize::Zeroizing;

use super::{
    Machine, Millis, Work,
    identity::{self, public},
    key_backup,
};
use crate::{
    error::{Error, Kind, Result},
    judgement::secret_storage::{DEFAULT_KEY, OpenStorage, SecretStorage, StorageSecret, key_type},
    primitives::{
        canonical_json::{Json, Object},
        cross_signing::{SigningKey, Usage},
        key_backup::SECRET,
        keys::encode_base64,
        passphrase::Passphrase,
        seal::random_bytes,
        secret_storage::StorageKey,
    },
    store::records::KeyChange,
};

/// A key of secret storage that is made here.
pub(super) struct NewKey {
    pub(super) key_id: String,
    pub(super) key: StorageKey,
    /// For the server, as text.
    pub(super) description: String,
}

impl NewKey {
    /// From a passphrase, or at random.
    pub(super) fn make(passphrase: Option<&Passphrase>) -> Result<Self> {
        let (key, mut description) = match passphrase {
            Some(passphrase) => StorageKey::new_from_passphrase(passphrase)?,
            None => (StorageKey::random()?, Object::new()),
        };
        description.extend(key.describe()?);
        let key_id = encode_base64(&random_bytes::<24>()?).replace(['+', '/'], "x");
        Ok(Self { key_id, key, description: Json::Object(description).text()? })
    }
}

impl Machine {
    /// The account data that holds `value` as the secret `name` under the default key, as text.
    /// None where it holds that already; another value replaces what it holds for other keys too.
    ///
    /// # Errors
    /// [`Kind::RecoveryKey`] when `secret` is not the default key; [`Kind::SecretStorage`] when
    /// this is no place for a secret, or something in secret storage does not open;
    /// [`Kind::Identity`] when a cross-signing key is not the one the server returns.
    pub fn seal_secret(
        &mut self,
        storage: &SecretStorage,
        secret: StorageSecret<'_>,
        name: &str,
        value: &str,
    ) -> Result<Option<String>> {
        let taken = storage.content(name).is_some_and(|found| !found.contains_key("encrypted"));
        if taken || name.starts_with("m.secret_storage.") {
            return Err(refused(format!("{name} is account data of another kind, and no secret.")));
        }
        let opened = storage.open_default(secret)?;
        self.read(|work| {
            check_secret(work, name, value)?;
            for other in Usage::ALL.map(Usage::secret_name).iter().filter(|other| *other != name) {
                if let Some(stored) = opened.secret(other)? {
                    check_secret(work, other, &stored)?;
                }
            }
            // What does not open is replaced, and while the key changes what other keys hold.
            let stored = opened.secret(name).ok().flatten();
            let changing = identity::own_identity(work)?.key_change.is_some();
            if !changing && stored.is_some_and(|stored| *stored == value) {
                return Ok(None);
            }
            opened.seal(name, value).map(Some)
        })
    }

    /// The account data by which secret storage holds the private keys that are on this device,
    /// those of the identity and of the backup that the server returns, as types and contents: what
    /// it lacks, or holds another value for.
    ///
    /// # Errors
    /// [`Kind::RecoveryKey`] when `secret` is not the default key; [`Kind::SecretStorage`] when that
    /// is no key.
    pub fn seal_held_secrets(
        &mut self,
        storage: &SecretStorage,
        secret: StorageSecret<'_>,
    ) -> Result<Vec<(String, String)>> {
        let opened = storage.open_default(secret)?;
        // A wrong key would lock everybody else out of what is written with it.
        if !opened.proven && !storage.encrypted_with(&opened.key_id).is_empty() {
            return Err(Error::new(
                Kind::RecoveryKey,
                "Nothing in secret storage shows that this is its key.",
            ));
        }
        self.read(|work| {
            let mut contents = Vec::new();
            for (name, value) in held_secrets(work)? {
                let stored = opened.secret(&name).ok().flatten();
                if stored.is_none_or(|stored| *stored != *value) {
                    let content = opened.seal(&name, &value)?;
                    contents.push((name, content));
                }
            }
            Ok(contents)
        })
    }

    /// Whether a change of the key is under way that can go on.
    ///
    /// # Errors
    /// Those of the store.
    pub fn key_change_under_way(&mut self, storage: &SecretStorage) -> Result<bool> {
        self.read(|work| {
            Ok(identity::own_identity(work)?
                .key_change
                .is_some_and(|change| change.goes_on(storage)))
        })
    }

    /// Makes a new key for secret storage, from a passphrase or at random, and saves it. A change
    /// that is under way is resumed instead, and needs no `secret`.
    ///
    /// # Errors
    /// [`Kind::RecoveryKey`] when `secret` does not open it, or another passphrase is under way;
    /// [`Kind::SecretStorage`] when a secret does not open and would be lost; [`Kind::Identity`]
    /// when a cross-signing key is not the one the server returns.
    pub fn begin_key_change(
        &mut self,
        now: Millis,
        storage: &SecretStorage,
        secret: Option<StorageSecret<'_>>,
        new_passphrase: Option<&Passphrase>,
    ) -> Result<()> {
        // Slow, where there are passphrases: not while the store waits.
        let opened = secret.map(|secret| storage.open(secret)).transpose();
        let new = NewKey::make(new_passphrase)?;
        self.work(now, |work| {
            let mut own = identity::own_identity(work)?;
            let overtaken = own.key_change.take();
            if let Some(under_way) = overtaken.as_ref().filter(|change| change.goes_on(storage)) {
                return under_way.check_passphrase(new_passphrase);
            }
            if own.new.is_some() {
                return Err(Error::new(
                    Kind::Identity,
                    "An identity is being made. Run mx_crypto_setup() first.",
                ));
            }
            let needed = || Error::new(Kind::RecoveryKey, "The old recovery key is needed.");
            let opened = opened?.ok_or_else(needed)?;
            let mut change = KeyChange::new(storage, opened, new);
            // One that another client overtook leaves no key behind.
            change.retired.extend(overtaken.iter().map(|overtaken| overtaken.key_id.clone()));
            // To see before anything is saved that it can be done.
            change.writes(work, storage)?;
            let known = |kept: &Zeroizing<[u8; 32]>| {
                *kept == change.old_key || overtaken.as_ref().is_some_and(|o| o.key == *kept)
            };
            if own.recovery_key.as_ref().is_some_and(|kept| !known(kept)) {
                return Err(Error::new(
                    Kind::RecoveryKey,
                    "Another recovery key waits to be saved: see mx_crypto_setup()$recovery_key.",
                ));
            }
            own.recovery_key = new_passphrase.is_none().then(|| change.key.clone());
            own.key_change = Some(change);
            work.tx.put_single(&own)
        })
    }

    /// The account data that is to be put next for the change under way, as types and contents.
    /// None: it is done, by what the server returns.
    ///
    /// # Errors
    /// As [`Machine::begin_key_change`].
    pub fn key_change_writes(
        &mut self,
        now: Millis,
        storage: &SecretStorage,
    ) -> Result<Vec<(String, String)>> {
        self.work(now, |work| {
            let change = key_change(work)?;
            if !change.goes_on(storage) {
                return Err(refused("Another client changed the default key meanwhile."));
            }
            let writes = change.writes(work, storage)?;
            if writes.is_empty() {
                let mut own = identity::own_identity(work)?;
                own.key_change = None;
                work.tx.put_single(&own)?;
            }
            let text = |(kind, content)| Ok((kind, Json::Object(content).text()?));
            writes.into_iter().map(text).collect()
        })
    }
}

impl KeyChange {
    fn new(storage: &SecretStorage, opened: OpenStorage<'_>, new: NewKey) -> Self {
        let default = storage.default_key().unwrap_or(&opened.key_id);
        let mut retired = vec![default.to_owned(), opened.key_id.clone()];
        retired.dedup();
        Self {
            key_id: new.key_id,
            key: Zeroizing::new(*new.key.as_bytes()),
            description: new.description,
            old_key: Zeroizing::new(*opened.key.as_bytes()),
            old_key_id: opened.key_id,
            retired,
        }
    }

    /// Whether nobody else has changed the key meanwhile.
    fn goes_on(&self, storage: &SecretStorage) -> bool {
        storage.default_key().is_some_and(|id| id == self.key_id || self.retires(id))
    }

    fn retires(&self, key_id: &str) -> bool {
        self.retired.iter().any(|retired| retired == key_id)
    }

    /// A caller who names a passphrase must not come to believe that it opens a key made from
    /// another one.
    fn check_passphrase(&self, passphrase: Option<&Passphrase>) -> Result<()> {
        let Some(passphrase) = passphrase else { return Ok(()) };
        let description = Json::parse_object(&self.description)?;
        let key = StorageKey::from_passphrase(passphrase, &description);
        if key.is_ok_and(|key| key.as_bytes() == &*self.key) {
            return Ok(());
        }
        Err(Error::new(
            Kind::RecoveryKey,
            "A change to another key is under way. Finish it first, without a new passphrase.",
        ))
    }

    /// What is to be put next, by what the server returns: the new key beside the old one, then the
    /// default key, and then nothing stays that a retired key opens. So secrets can be read at any
    /// moment by anyone who has the default key, and a step that was lost is taken again.
    fn writes(&self, work: &Work<'_>, storage: &SecretStorage) -> Result<Vec<(String, Object)>> {
        let switched = storage.default_key() == Some(&self.key_id);
        let mut writes = Vec::new();
        let description = Json::parse_object(&self.description)?;
        if storage.description(&self.key_id) != Some(&description) {
            writes.push((key_type(&self.key_id), description));
        }
        for (name, copies) in storage.secrets() {
            if !copies.keys().any(|key_id| self.retires(key_id)) {
                continue;
            }
            let wanted = self.copies(work, storage, (name, copies), switched)?;
            if wanted != *copies {
                let mut content = storage.content(name).cloned().unwrap_or_default();
                content.insert("encrypted".into(), Json::Object(wanted));
                writes.push((name.to_owned(), content));
            }
        }
        if switched {
            let mut described = self.retired.iter().map(|id| key_type(id)).collect::<Vec<_>>();
            described.retain(|kind| storage.content(kind).is_some());
            writes.extend(described.into_iter().map(|kind| (kind, Object::new())));
        } else if writes.is_empty() {
            let key_id = Json::String(self.key_id.clone());
            writes.push((DEFAULT_KEY.to_owned(), Object::from([("key".into(), key_id)])));
        }
        Ok(writes)
    }

    /// What a secret is to be encrypted to.
    fn copies(
        &self,
        work: &Work<'_>,
        storage: &SecretStorage,
        (name, copies): (&str, &Object),
        switched: bool,
    ) -> Result<Object> {
        let key = |bytes: &Zeroizing<[u8; 32]>| StorageKey::from_bytes(bytes.clone());
        let new = storage.with_key(&self.key_id, key(&self.key));
        let old = storage.with_key(&self.old_key_id, key(&self.old_key));
        let (in_new, in_old) = (new.secret(name), old.secret(name)?);
        let value = match &in_new {
            // As long as everybody reads the old copy, the new one is made again.
            _ if !switched => in_old.as_ref(),
            // The iv of a copy is not authenticated: a server can turn it into another text.
            Ok(Some(value)) if in_old.as_ref().is_none_or(|old| old == value) => Some(value),
            Ok(None) => in_old.as_ref(),
            _ => return Err(refused(format!("The secret {name} was altered. Store it anew."))),
        };
        let value = value.ok_or_else(|| {
            refused(format!("The secret {name} does not open with this key, and would be lost."))
        })?;
        check_secret(work, name, value)?;
        let mut wanted = copies.clone();
        if switched {
            wanted.retain(|id, _| !self.retires(id) && storage.description(id).is_some());
        }
        if !in_new.as_ref().is_ok_and(|copy| copy.as_ref() == Some(value)) {
            let copy = new.key.encrypt(name, value.as_bytes())?;
            wanted.insert(self.key_id.clone(), Json::Object(copy));
        }
        Ok(wanted)
    }
}

fn key_change(work: &Work<'_>) -> Result<KeyChange> {
    let missing = || Error::new(Kind::Internal, "The key of secret storage is not changing.");
    identity::own_identity(work)?.key_change.ok_or_else(missing)
}

/// The private keys on this device that secret storage is for, as names and texts. Those of an
/// identity that changed, or does not hold, are not among them.
fn held_secrets(work: &Work<'_>) -> Result<Vec<(String, Zeroizing<String>)>> {
    let own = identity::own_identity(work)?;
    let shown = identity::identity(work, &work.own.user_id)?;
    let shown = shown.filter(|shown| own.refused.is_none() && !shown.changed());
    let held = Usage::ALL.into_iter().filter(|u| identity::holds(&own.private, shown.as_ref(), *u));
    let text = |usage| Some((Usage::secret_name(usage), own.private.get(usage)?.to_base64()));
    let mut secrets: Vec<_> = held.filter_map(text).collect();
    let backup = key_backup::key_backup(work)?;
    secrets.extend(backup.open().map(|(_, key)| (SECRET.to_owned(), key.to_base64())));
    Ok(secrets)
}

/// A private cross-signing key must be that of the identity the server returns, which must be the
/// pinned one.
fn check_secret(work: &Work<'_>, name: &str, value: &str) -> Result<()> {
    if !name.starts_with("m.cross_signing.") {
        return Ok(());
    }
    let refused = identity::own_identity(work)?.refused.is_some();
    let shown = identity::identity(work, &work.own.user_id)?;
    let shown = shown.filter(|shown| !refused && !shown.changed());
    let usage = Usage::ALL.into_iter().find(|usage| usage.secret_name() == name);
    let published = shown.zip(usage).and_then(|(shown, usage)| public(&shown, usage));
    let stored = SigningKey::from_base64(value).ok().map(|private| private.public());
    if stored.is_some() && stored == published {
        return Ok(());
    }
    Err(Error::new(
        Kind::Identity,
        format!(
            "The secret {name} is not the private part of the identity that the server shows, \
             or that is not the one this device knows. Run mx_crypto_setup() first."
        ),
    ))
}

fn refused(message: impl Into<String>) -> Error {
    Error::new(Kind::SecretStorage, message)
}
