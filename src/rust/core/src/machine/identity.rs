//! Our own identity, step by step.
//!
//! An identity is made, saved, and then published: private parts to secret storage, public parts,
//! signatures. After a crash at any step the same keys go on.

use std::collections::BTreeSet;

use zeroize::Zeroizing;

use super::{Machine, Work, secret_storage::NewKey};
use crate::{
    error::{Error, Kind, Result},
    judgement::secret_storage::{SecretStorage, StorageSecret},
    primitives::{
        canonical_json::{Json, Numbers, Object},
        cross_signing::{SigningKey, Usage},
        key_backup::SECRET,
        recovery_key,
        secret_storage::StorageKey,
        signing,
    },
    store::records::{Device, Identity, NewIdentity, OwnIdentity, PrivateKeys},
};

/// Where the private parts of a new identity go.
pub enum Storage<'a> {
    /// A key that is made: from a passphrase, or at random.
    New {
        /// The passphrase.
        passphrase: Option<&'a str>,
    },
    /// The key that secret storage has.
    Existing {
        /// Secret storage.
        storage: &'a SecretStorage,
        /// What opens it.
        secret: StorageSecret<'a>,
    },
}

/// What has become of an identity that was made here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnderWay {
    /// The server shows what it showed when the identity was made: it can be published.
    Resumable,
    /// The server shows it already.
    Published,
    /// The server shows another, which somebody else made meanwhile.
    Overtaken,
}

impl UnderWay {
    /// The name of the state.
    pub const fn as_str(self) -> &'static str {
        match self {
            UnderWay::Resumable => "resumable",
            UnderWay::Published => "published",
            UnderWay::Overtaken => "overtaken",
        }
    }
}

/// How far our own identity is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityStatus {
    /// The master key the server shows.
    pub published: Option<String>,
    /// It is another than the one that was pinned.
    pub changed: bool,
    /// Why what the server shows is no identity at all, if it is none.
    pub refused: Option<String>,
    /// Whether the private master, self-signing and user-signing keys of it are held here.
    pub held: [bool; 3],
    /// This device is signed by it.
    pub device_signed: bool,
    /// An identity that was made and is not published whole.
    pub under_way: Option<UnderWay>,
    /// There is a recovery key that nobody has said to have saved.
    pub recovery_key: bool,
}

impl Machine {
    /// How far our own identity is, by what the server was last heard to show.
    ///
    /// # Errors
    /// Those of the store.
    pub fn identity_status(&mut self) -> Result<IdentityStatus> {
        self.work(0, |work| {
            let own = work.own_identity()?;
            let shown = work.identity(&work.own.user_id)?;
            let device = work.own_device()?;
            let held = Usage::ALL.map(|usage| work.holds(&own.private, shown.as_ref(), usage));
            let under_way = own.new.as_ref().map(|new| {
                let shown = shown.as_ref().map(|shown| &shown.master_key);
                let made = new.private.master.as_ref().map(SigningKey::public);
                match shown {
                    Some(_) if shown == made.as_ref() => UnderWay::Published,
                    _ if shown == new.replaces.as_ref() => UnderWay::Resumable,
                    _ => UnderWay::Overtaken,
                }
            });
            let self_signing = shown.as_ref().and_then(|shown| shown.self_signing_key.as_ref());
            Ok(IdentityStatus {
                published: shown.as_ref().map(|shown| shown.master_key.clone()),
                changed: shown.as_ref().is_some_and(Identity::changed),
                refused: own.refused,
                held,
                device_signed: self_signing.is_some()
                    && device.and_then(|device| device.signed_by).as_ref() == self_signing,
                under_way,
                recovery_key: own.recovery_key.is_some(),
            })
        })
    }

    /// Makes an identity and saves it, with `back_up` the key of a new backup too. One that is under
    /// way is gone on with instead. Without `reset` none is made where the server shows one, also one
    /// that does not hold.
    ///
    /// # Errors
    /// [`Kind::Identity`] when there is one; [`Kind::RecoveryKey`], [`Kind::SecretStorage`] when the storage does not open.
    pub fn make_identity(
        &mut self,
        storage: &Storage<'_>,
        reset: bool,
        back_up: bool,
    ) -> Result<()> {
        let (key_id, key, description, random) = match *storage {
            Storage::New { passphrase } => {
                let made = NewKey::make(passphrase)?;
                (made.key_id, made.key, Some(made.description), passphrase.is_none())
            }
            Storage::Existing { storage, secret } => {
                let opened = storage.open_default(secret)?;
                (opened.key_id, opened.key, None, false)
            }
        };
        self.work(0, |work| {
            let mut own = work.own_identity()?;
            if own.new.is_some() {
                return Ok(());
            }
            if !reset && (own.refused.is_some() || work.identity(&work.own.user_id)?.is_some()) {
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
            let replaces = work.identity(&work.own.user_id)?.map(|shown| shown.master_key);
            own.new = Some(NewIdentity { private, replaces, key_id, storage_key, description });
            work.tx.put_single(&own)?;
            if back_up { work.make_backup(reset) } else { Ok(()) }
        })
    }

    /// Gives up an identity under way.
    ///
    /// # Errors
    /// Those of the store.
    pub fn abandon_identity(&mut self) -> Result<()> {
        self.work(0, |work| {
            let mut own = work.own_identity()?;
            own.new = None;
            own.recovery_key = None;
            work.tx.put_single(&own)?;
            work.abandon_backup()
        })
    }

    /// The account data of the identity under way, as types and contents, in the order in which
    /// they are to be put: the default key last, when everything is there.
    ///
    /// # Errors
    /// [`Kind::Internal`] when no identity is under way.
    pub fn identity_account_data(&mut self) -> Result<Vec<(String, String)>> {
        self.work(0, |work| {
            let new = work.new_identity()?;
            let key = StorageKey::from_bytes(new.storage_key.clone());
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
            let backup = work.key_backup()?.new;
            secrets.extend(backup.map(|backup| (SECRET.to_owned(), backup.key.to_base64())));
            for (name, private) in secrets {
                let sealed = key.encrypt(&name, private.as_bytes())?;
                let of_key = Object::from([(new.key_id.clone(), Json::Object(sealed))]);
                let content = Object::from([("encrypted".into(), Json::Object(of_key))]);
                data.push((name, Json::Object(content).text()?));
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
        self.work(0, |work| {
            let new = work.new_identity()?;
            let user_id = work.own.user_id.clone();
            let master = new.private.master.as_ref().ok_or_else(incomplete)?;
            let mut body = Object::new();
            for usage in Usage::ALL {
                let key = new.private.get(usage).ok_or_else(incomplete)?;
                let mut object = key.published(&user_id, usage);
                if usage == Usage::Master {
                    work.sign_with_device(&mut object)?;
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

    /// Takes in that the server has the public parts. The identity is ours from now on.
    ///
    /// # Errors
    /// [`Kind::Internal`] when no identity is under way.
    pub fn identity_published(&mut self) -> Result<()> {
        self.work(0, |work| {
            let mut own = work.own_identity()?;
            own.private = own.new.take().ok_or_else(incomplete)?.private;
            work.tx.put_single(&own)?;
            work.backup_key_stored()?;
            work.mark_outdated(&work.own.user_id)
        })
    }

    /// Opens secret storage and takes the private parts of the published identity from it: all that
    /// are there, and at least the one that signs devices.
    ///
    /// # Errors
    /// [`Kind::RecoveryKey`] when the key is mistyped or another's; [`Kind::SecretStorage`] when a
    /// secret does not open; [`Kind::Identity`] when one is not of the identity the server shows.
    pub fn import_identity(
        &mut self,
        storage: &SecretStorage,
        secret: StorageSecret<'_>,
    ) -> Result<()> {
        let opened = storage.open(secret)?;
        self.work(0, |work| {
            let shown = work.identity(&work.own.user_id)?.ok_or_else(|| {
                Error::new(Kind::Identity, "The server shows no identity of this user.")
            })?;
            let mut own = work.own_identity()?;
            // Keys of an identity that was replaced vouch for nothing any more.
            for usage in Usage::ALL {
                if !work.holds(&own.private, Some(&shown), usage) {
                    own.private.forget(usage);
                }
            }
            let mut found = BTreeSet::new();
            for usage in Usage::ALL {
                let Some(text) = opened.secret(&usage.secret_name())? else { continue };
                let private = SigningKey::from_base64(&text)?;
                if Some(private.public()) != public(&shown, usage) {
                    return Err(Error::new(
                        Kind::Identity,
                        format!(
                            "The {} key in secret storage is not the one the server shows. \
                             Another client made a new identity, or the server shows a false one.",
                            usage.as_str()
                        ),
                    ));
                }
                own.private.set(usage, private);
                found.insert(usage);
            }
            if !found.contains(&Usage::SelfSigning) {
                return Err(Error::new(
                    Kind::SecretStorage,
                    "Secret storage does not hold the key that signs devices.",
                ));
            }
            if found.contains(&Usage::Master) && shown.changed() {
                // Whoever has the private part says whose identity it is.
                let pinned = shown.master_key.clone();
                work.tx.put(&Identity { pinned, ..shown })?;
            }
            work.put_own_identity(&own)
        })
    }

    /// The body of `POST /keys/signatures/upload` by which our identity and this device vouch for
    /// each other. None when the self-signing key is not held.
    ///
    /// # Errors
    /// Those of the store.
    pub fn signatures_upload(&mut self) -> Result<Option<String>> {
        self.work(0, |work| {
            let own = work.own_identity()?;
            let user_id = work.own.user_id.clone();
            let Some(shown) = work.identity(&user_id)? else { return Ok(None) };
            if !work.holds(&own.private, Some(&shown), Usage::SelfSigning) {
                return Ok(None);
            }
            let Some(self_signing) = &own.private.self_signing else { return Ok(None) };
            let mut device = Json::parse_object(&work.own.device_keys)?;
            self_signing.sign(&mut device, &user_id)?;
            let mut signed = Object::from([(work.own.device_id.clone(), Json::Object(device))]);
            if work.holds(&own.private, Some(&shown), Usage::Master) {
                let mut master = Json::parse_object(&shown.master)?;
                master.remove("signatures");
                work.sign_with_device(&mut master)?;
                signed.insert(shown.master_key, Json::Object(master));
            }
            let body = Object::from([(user_id, Json::Object(signed))]);
            Json::Object(body).canonical(Numbers::Canonical).map(Some)
        })
    }

    /// The recovery key that nobody has said to have saved.
    ///
    /// # Errors
    /// Those of the store.
    pub fn recovery_key(&mut self) -> Result<Option<Zeroizing<String>>> {
        self.work(0, |work| {
            Ok(work.own_identity()?.recovery_key.map(|key| recovery_key::encode(&key)))
        })
    }

    /// Takes in that the owner has saved the recovery key. It is forgotten here.
    ///
    /// # Errors
    /// Those of the store.
    pub fn recovery_key_saved(&mut self) -> Result<()> {
        self.work(0, |work| {
            let mut own = work.own_identity()?;
            own.recovery_key = None;
            work.tx.put_single(&own)
        })
    }
}

impl Work<'_> {
    pub(super) fn own_identity(&self) -> Result<OwnIdentity> {
        Ok(self.tx.get_single()?.unwrap_or_default())
    }

    fn new_identity(&self) -> Result<NewIdentity> {
        self.own_identity()?.new.ok_or_else(incomplete)
    }

    pub(super) fn identity(&self, user_id: &str) -> Result<Option<Identity>> {
        self.tx.get(&[user_id.into()])
    }

    pub(super) fn own_device(&self) -> Result<Option<Device>> {
        self.tx.get(&[self.own.user_id.as_str().into(), self.own.device_id.as_str().into()])
    }

    /// Whether the private key for `usage` is held, and is that of the identity shown.
    pub(super) fn holds(
        &self,
        private: &PrivateKeys,
        shown: Option<&Identity>,
        usage: Usage,
    ) -> bool {
        let published = shown.and_then(|shown| public(shown, usage));
        published.is_some() && private.get(usage).map(SigningKey::public) == published
    }

    pub(super) fn sign_with_device(&mut self, object: &mut Object) -> Result<()> {
        let (user_id, key_id) =
            (self.own.user_id.clone(), format!("ed25519:{}", self.own.device_id));
        let account = self.account()?;
        signing::sign(object, &user_id, &key_id, |bytes| account.sign(bytes))
    }
}

pub(super) fn public(identity: &Identity, usage: Usage) -> Option<String> {
    match usage {
        Usage::Master => Some(identity.master_key.clone()),
        Usage::SelfSigning => identity.self_signing_key.clone(),
        Usage::UserSigning => identity.user_signing_key.clone(),
    }
}

fn incomplete() -> Error {
    Error::new(Kind::Internal, "No identity is being made.")
}
