//! An identity that is made here, and secret storage for it.
//!
//! It is made, saved, and then published: private parts to secret storage, public parts,
//! signatures. After a crash at any step the same keys are used again. The identity that there is
//! already can be put into secret storage in the same way.

use zeroize::Zeroizing;

use super::{
    Machine, Millis, Work, backup_creation,
    identity::{self, UnderWay},
    key_backup,
    secret_storage::NewKey,
    tracking,
};
use crate::{
    error::{Error, Kind, Result},
    judgement::secret_storage::{SecretStorage, StorageSecret},
    primitives::{
        canonical_json::{Json, Numbers, Object},
        cross_signing::{SigningKey, Usage},
        key_backup::SECRET,
        passphrase::Passphrase,
        secret_storage::StorageKey,
    },
    store::records::{NewIdentity, PrivateKeys},
};

/// Where the private parts of a new identity go.
pub enum Storage<'a> {
    /// A key that is made: from a passphrase, or at random.
    New {
        /// The passphrase.
        passphrase: Option<&'a Passphrase>,
    },
    /// The key that secret storage has.
    Existing {
        /// Secret storage.
        storage: &'a SecretStorage,
        /// What opens it.
        secret: StorageSecret<'a>,
    },
}

impl Machine {
    /// Makes an identity and saves it; with `back_up`, the key of a new backup too. One that is
    /// under way is resumed instead. Without `reset` none is made where the server returns one,
    /// even one that is not valid.
    ///
    /// # Errors
    /// [`Kind::Identity`] when there is one; [`Kind::RecoveryKey`], [`Kind::SecretStorage`] when the storage does not open.
    pub fn make_identity(
        &mut self,
        now: Millis,
        storage: &Storage<'_>,
        reset: bool,
        back_up: bool,
    ) -> Result<()> {
        let (key_id, key, description, random, stored) = match *storage {
            Storage::New { passphrase } => {
                let made = NewKey::make(passphrase)?;
                (made.key_id, made.key, Some(made.description), passphrase.is_none(), None)
            }
            Storage::Existing { storage, secret } => {
                let opened = storage.open_default(secret)?;
                let stored = opened.backup_key().ok().filter(|_| !reset);
                (opened.key_id, opened.key, None, false, stored)
            }
        };
        self.work(now, |work| {
            let mut own = identity::own_identity(work)?;
            if own.new.is_some() {
                return Ok(());
            }
            if !reset
                && (own.refused.is_some() || identity::identity(work, &work.own.user_id)?.is_some())
            {
                return Err(Error::new(
                    Kind::Identity,
                    format!(
                        "The server shows an identity of this user already. {}",
                        own.refused.unwrap_or_default()
                    ),
                ));
            }
            let mut private = PrivateKeys::default();
            for usage in Usage::ALL {
                private.set(usage, SigningKey::random()?);
            }
            let storage_key = Zeroizing::new(*key.as_bytes());
            if random {
                // Kept until its owner has it: a kill after the upload must not lose it.
                own.recovery_key = Some(storage_key.clone());
            }
            let replaces =
                identity::identity(work, &work.own.user_id)?.map(|shown| shown.master_key);
            own.new = Some(NewIdentity { private, replaces, key_id, storage_key, description });
            work.tx.put_single(&own)?;
            if back_up { backup_creation::make_backup(work, reset, stored) } else { Ok(()) }
        })
    }

    /// Makes secret storage for the identity there is, from a passphrase or at random, and saves
    /// its key. What is under way is resumed instead.
    ///
    /// # Errors
    /// [`Kind::Identity`] when not all of its private keys are here, or another one is being made.
    pub fn make_secret_storage(
        &mut self,
        now: Millis,
        passphrase: Option<&Passphrase>,
    ) -> Result<()> {
        let made = NewKey::make(passphrase)?;
        self.work(now, |work| {
            let mut own = identity::own_identity(work)?;
            let shown = identity::identity(work, &work.own.user_id)?;
            if let Some(new) = &own.new {
                let master = shown.as_ref().map(|shown| &shown.master_key);
                return match UnderWay::of(new, master) {
                    UnderWay::Unstored => Ok(()),
                    _ => Err(Error::new(
                        Kind::Identity,
                        "An identity is being made. Run mx_crypto_setup() first.",
                    )),
                };
            }
            let shown = shown.filter(|shown| own.refused.is_none() && !shown.changed());
            if !Usage::ALL.iter().all(|usage| identity::holds(&own.private, shown.as_ref(), *usage))
            {
                return Err(Error::new(
                    Kind::Identity,
                    "The private keys of your identity are not all on this device.",
                ));
            }
            let storage_key = Zeroizing::new(*made.key.as_bytes());
            own.recovery_key = passphrase.is_none().then(|| storage_key.clone());
            own.new = Some(NewIdentity {
                private: own.private.clone(),
                replaces: shown.map(|shown| shown.master_key),
                key_id: made.key_id,
                storage_key,
                description: Some(made.description),
            });
            work.tx.put_single(&own)
        })
    }

    /// Gives up an identity under way.
    ///
    /// # Errors
    /// Those of the store.
    pub fn abandon_identity(&mut self, now: Millis) -> Result<()> {
        self.work(now, |work| abandon_identity(work))
    }

    /// The account data of the identity under way, as types and contents, in the order in which
    /// they are to be put: the default key last, when everything is there. If another client has
    /// made secret storage for the identity meanwhile, none are left, and the identity is no longer
    /// under way.
    ///
    /// # Errors
    /// [`Kind::Internal`] when no identity is under way.
    pub fn identity_account_data(
        &mut self,
        now: Millis,
        storage: &SecretStorage,
    ) -> Result<Vec<(String, String)>> {
        self.work(now, |work| {
            let new = new_identity(work)?;
            let shown = identity::identity(work, &work.own.user_id)?.map(|shown| shown.master_key);
            let kept = UnderWay::of(&new, shown.as_ref()) == UnderWay::Unstored;
            if kept && storage.default_key().is_some_and(|key_id| key_id != new.key_id) {
                abandon_identity(work)?;
                return Ok(Vec::new());
            }
            let key = StorageKey::from_bytes(new.storage_key.clone());
            let opened = storage.with_key(&new.key_id, key);
            let mut data = Vec::new();
            if let Some(description) = &new.description {
                let event_type = format!("m.secret_storage.key.{}", new.key_id);
                data.push((event_type, description.clone()));
            }
            let mut secrets = Vec::new();
            for usage in Usage::ALL {
                let private = new.private.get(usage).map(SigningKey::to_base64);
                secrets.push((usage.secret_name(), private.ok_or_else(incomplete)?));
            }
            let backup = key_backup::key_backup(work)?;
            let backup_key = match &backup.new {
                Some(new) => Some(&new.key),
                None => backup.open().map(|(_, key)| key),
            };
            secrets.extend(backup_key.map(|key| (SECRET.to_owned(), key.to_base64())));
            for (name, private) in secrets {
                let content = opened.seal(&name, &private)?;
                data.push((name, content));
            }
            if new.description.is_some() {
                let content = Object::from([("key".into(), Json::String(new.key_id.clone()))]);
                let text = Json::Object(content).text()?;
                data.push(("m.secret_storage.default_key".into(), text));
            }
            Ok(data)
        })
    }

    /// The body of `POST /keys/device_signing/upload` for the identity under way, with what
    /// authenticates the user, as text, where the server asked for it.
    ///
    /// # Errors
    /// [`Kind::Internal`] when no identity is under way.
    pub fn signing_keys_upload(&mut self, auth: Option<&str>) -> Result<String> {
        self.read(|work| {
            let new = new_identity(work)?;
            let user_id = work.own.user_id.clone();
            let master = new.private.master.as_ref().ok_or_else(incomplete)?;
            let mut body = Object::new();
            for usage in Usage::ALL {
                let key = new.private.get(usage).ok_or_else(incomplete)?;
                let mut object = key.published(&user_id, usage);
                if usage == Usage::Master {
                    identity::sign_with_device(work, &mut object)?;
                } else {
                    master.sign(&mut object, &user_id)?;
                }
                body.insert(format!("{}_key", usage.as_str()), Json::Object(object));
            }
            if let Some(auth) = auth {
                body.insert("auth".into(), Json::parse(auth)?);
            }
            Json::Object(body).canonical(Numbers::Canonical)
        })
    }

    /// Records that the server has the public parts. The identity is ours from now on.
    ///
    /// # Errors
    /// [`Kind::Internal`] when no identity is under way.
    pub fn identity_published(&mut self, now: Millis) -> Result<()> {
        self.work(now, |work| {
            let mut own = identity::own_identity(work)?;
            own.private = own.new.take().ok_or_else(incomplete)?.private;
            work.tx.put_single(&own)?;
            backup_creation::backup_key_stored(work)?;
            tracking::mark_outdated(work, &work.own.user_id)
        })
    }
}

fn abandon_identity(work: &Work<'_>) -> Result<()> {
    let mut own = identity::own_identity(work)?;
    own.new = None;
    own.recovery_key = None;
    work.tx.put_single(&own)?;
    backup_creation::abandon_backup(work)
}

fn new_identity(work: &Work<'_>) -> Result<NewIdentity> {
    identity::own_identity(work)?.new.ok_or_else(incomplete)
}

fn incomplete() -> Error {
    Error::new(Kind::Internal, "No identity is being made.")
}
